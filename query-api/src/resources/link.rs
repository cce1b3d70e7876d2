//! Links.

use catalog::resource::DEFAULT_REDIRECT_STATUS;
use catalog::validate::REDIRECT_STATUSES;
use catalog::{Cap, Catalog, Domain, DomainRole, Link, Meta, Offer, Partner, Workspace};
use schemas::id::{DomainId, Id, LinkId, OfferId};
use schemas::time::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::crud::{Context, Crud, Filter};
use super::fields::{Fields, Purpose};
use super::rule::RuleView;
use super::view::{Head, Tail};
use super::{cap, reference, rule, value};
use crate::auth::{Read, Write};
use crate::error::Error;
use crate::params::Params;
use crate::state::Desk;

/// Characters of a key that is made here: 48 random bits and more.
const MADE_KEY_CHARACTERS: usize = 9;
/// The letters of such a key, without those that people confuse.
const LETTERS: &[u8; 57] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// Stands for an offer that was not named; the missing field is a fault, so it is never proposed.
const NO_OFFER: OfferId = Id::from_bytes(NOTHING);
/// The id of what is not there.
const NOTHING: [u8; 16] = [0; 16];

impl Crud for Link {
    type Reads = Read;
    type Writes = Write;
    type View = LinkView;
    const PATH: &'static str = "links";

    fn blank(context: &Context<'_>, before: Option<&Self>) -> Self {
        let workspace = context.workspace.number;
        let id = before.map_or_else(|| context.desk.new_id(workspace), |before| before.id);
        Self {
            id,
            workspace,
            // A replacement that names no key keeps the one that is out in the world.
            key: before.map_or_else(|| made_key(id), |before| before.key.clone()),
            offer: NO_OFFER,
            partner: None,
            creative: None,
            destination_url: None,
            redirect_status: DEFAULT_REDIRECT_STATUS,
            fallback_url: None,
            expires_at: None,
            domain: None,
            rules: Vec::new(),
            caps: Vec::new(),
            meta: Meta::new(context.at),
        }
    }

    fn read(&mut self, fields: &mut Fields, context: &Context<'_>, before: Option<&Self>) {
        fields.required("offer", &mut self.offer, |value| reference::id::<Offer>(context, value));
        fields.optional("partner", &mut self.partner, |value| reference::id::<Partner>(context, value));
        fields.optional("domain", &mut self.domain, |value| domain(context, value));
        let key = self.key.clone();
        match (before, fields.purpose()) {
            (Some(_), Purpose::Patch) => fields.required("key", &mut self.key, value::text),
            (Some(_), Purpose::Whole) | (None, _) => {
                fields.defaulted("key", &mut self.key, key, value::text);
            }
        }
        fields.optional("creative", &mut self.creative, value::text);
        fields.optional("destination_url", &mut self.destination_url, value::text);
        fields.defaulted("redirect_status", &mut self.redirect_status, DEFAULT_REDIRECT_STATUS, status);
        fields.optional("fallback_url", &mut self.fallback_url, value::text);
        fields.optional("expires_at", &mut self.expires_at, value::time);
        rule::read(fields, &mut self.rules, context, before.map_or(&[][..], |before| &before.rules));
        cap::read(fields, &mut self.caps);
    }

    fn filter(params: &mut Params, catalog: &Catalog, workspace: &Workspace) -> Result<Filter<Self>, Error> {
        let offers = referents::<Offer>(params, "offer", catalog, workspace)?;
        let partners = referents::<Partner>(params, "partner", catalog, workspace)?;
        Ok(Box::new(move |link| {
            let offer = offers.as_ref().is_none_or(|offers| offers.contains(&link.offer));
            let partner = link.partner.unwrap_or(Id::from_bytes(NOTHING));
            let partner = |partners: &Vec<_>| partners.contains(&partner);
            offer && partners.as_ref().is_none_or(partner)
        }))
    }

    fn view(&self, desk: &Desk, _secret: Option<String>) -> LinkView {
        LinkView {
            head: Head::of(self),
            key: self.key.clone(),
            url: url(self, desk),
            domain: self.domain.map(|domain| domain.to_string()),
            offer: self.offer.to_string(),
            partner: self.partner.map(|partner| partner.to_string()),
            creative: self.creative.clone(),
            destination_url: self.destination_url.clone(),
            redirect_status: self.redirect_status,
            fallback_url: self.fallback_url.clone(),
            expires_at: self.expires_at,
            rules: self.rules.iter().map(RuleView::of).collect(),
            caps: self.caps.clone(),
            tail: Tail::of(self),
        }
    }
}

/// The ids that a filter names, [`NOTHING`] for an empty value; `None` if there is no such filter.
fn referents<T: Crud>(
    params: &mut Params,
    name: &str,
    catalog: &Catalog,
    workspace: &Workspace,
) -> Result<Option<Vec<Id<T::IdKind>>>, Error> {
    let Some(texts) = params.take_list(name)? else { return Ok(None) };
    let id = |text: &String| {
        if text.is_empty() {
            return Ok(Id::from_bytes(NOTHING));
        }
        let found = reference::find::<T>(catalog, workspace, text);
        found.map(T::id).ok_or_else(|| Error::invalid(name, format!("there is no such {}", T::KIND.as_str())))
    };
    texts.iter().map(id).collect::<Result<_, _>>().map(Some)
}

/// A tracking domain, by id, external name or host name: on a domain of the API no link can be opened.
fn domain(context: &Context<'_>, value: Value) -> Result<DomainId, String> {
    let id = reference::id::<Domain>(context, value)?;
    let role = context.catalog.domain(id).map(|domain| domain.role);
    match role {
        Some(DomainRole::Tracking) => Ok(id),
        Some(DomainRole::Api) | None => Err("must be a domain with the role tracking".to_owned()),
    }
}

/// The link's address: on its own domain, else on the edge's.
fn url(link: &Link, desk: &Desk) -> String {
    let edge = desk.settings().edge_url.trim_end_matches('/');
    let catalog = desk.catalog().read();
    match link.domain.and_then(|domain| catalog.domain(domain)) {
        Some(domain) => {
            let scheme = edge.split_once("://").map_or("https", |(scheme, _)| scheme);
            format!("{scheme}://{}/{}", domain.hostname, link.key)
        }
        None => format!("{edge}/c/{}", link.key),
    }
}

fn status(value: Value) -> Result<u16, String> {
    let status = value.as_u64().and_then(|status| u16::try_from(status).ok());
    status.filter(|status| REDIRECT_STATUSES.contains(status)).ok_or_else(|| "must be 302 or 307".to_owned())
}

/// A key for a link that names none: it follows from the link's id, whose random bits make it unique.
fn made_key(id: LinkId) -> String {
    let hash = Sha256::digest(id.bytes());
    hash.iter()
        .take(MADE_KEY_CHARACTERS)
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect()
}

/// A link in answers.
#[derive(Debug, Serialize)]
pub(crate) struct LinkView {
    #[serde(flatten)]
    head: Head,
    key: String,
    url: String,
    domain: Option<String>,
    offer: String,
    partner: Option<String>,
    creative: Option<String>,
    destination_url: Option<String>,
    redirect_status: u16,
    fallback_url: Option<String>,
    expires_at: Option<Timestamp>,
    rules: Vec<RuleView>,
    caps: Vec<Cap>,
    #[serde(flatten)]
    tail: Tail,
}
