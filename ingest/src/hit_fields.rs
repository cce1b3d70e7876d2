//! From named values to a click or an impression, for those that come without a redirect.
//!
//! A page tells of its own visitor: the agent, the address and the language are those of the request. A server tells of
//! somebody else's: what it does not say of them is unknown.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use catalog::macros::SUB_NAMES;
use catalog::{Catalog, Link, Offer};
use http::header::{ACCEPT_LANGUAGE, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use schemas::event::{Body, Click, Hit, Impression, label};
use schemas::id::{ClickId, VisitorId, WorkspaceNumber};

use crate::aim::{Aim, NO_LINK, NO_OFFER, tracking_domain};
use crate::click_parameters::{MAX_PASSED, MAX_PASSED_BYTES};
use crate::client::Asked;
use crate::edge::Edge;
use crate::error::Refusal;
use crate::fields::{Field, Fields};
use crate::money_fields::take_price;
use crate::post::Read;
use crate::reader::{MAX_TEXT_BYTES, Reader};
use crate::reference::{Unresolved, resolve};
use crate::sender::Sender;
use crate::text::cut;
use crate::unresolved;

/// Bytes of addresses and agents.
const MAX_LONG_BYTES: usize = 1_024;
/// A server that says nothing of consent has it: it is not the browser that we ask.
const GIVEN: &str = "1";

/// Reads a click.
pub(crate) fn read_click(edge: &Edge, fields: Fields<'_>, sender: &Sender<'_>) -> Result<Read, Refusal> {
    let id: ClickId = edge.new_id(sender.incoming.received_at, sender.workspace.number);
    let mut reader = hit_reader(fields);
    let ext_click_id = reader.text_or_empty(&["ext_click_id"]);
    let stated = reader.text(&["url"], MAX_LONG_BYTES).map(|(_, text)| text.into_owned());
    let page = || sender.incoming.parts.headers.get(REFERER)?.to_str().ok();
    let page = || page().filter(|_| sender.is_page()).map(|page| cut(page, MAX_LONG_BYTES).to_owned());
    let destination_url = stated.or_else(page);
    // The id of an older click, which pages send along with everything.
    reader.take(&["click_id"]);
    let hit = read_hit(edge, reader, sender)?;
    let answered = Some((id, hit.visitor));
    let destination_url = destination_url.unwrap_or_default();
    let click = Click { id, hit, ext_click_id, destination_url, choice: None };
    Ok(Read { body: Body::Click(Box::new(click)), is_incomplete: false, click: answered })
}

/// Reads an impression.
pub(crate) fn read_impression(edge: &Edge, fields: Fields<'_>, sender: &Sender<'_>) -> Result<Read, Refusal> {
    let id = edge.new_id(sender.incoming.received_at, sender.workspace.number);
    let hit = read_hit(edge, hit_reader(fields), sender)?;
    let body = Body::Impression(Box::new(Impression { id, hit }));
    Ok(Read { body, is_incomplete: false, click: None })
}

/// A reader that has seen whether a macro of another system stands anywhere.
fn hit_reader(fields: Fields<'_>) -> Reader<'_> {
    let is_unresolved = fields.texts().any(unresolved::has_macro);
    Reader { is_unresolved, ..Reader::new(fields, false) }
}

fn read_hit(edge: &Edge, mut reader: Reader<'_>, sender: &Sender<'_>) -> Result<Hit, Refusal> {
    let aim = target(edge, &mut reader, sender)?;
    let Aim { link, offer, .. } = aim;
    let mut hit = Hit::new(offer.id, reader.occurred_at(sender.incoming.received_at));
    hit.link = link.map(|link| link.id);
    hit.labels = sender.labels.to_vec();
    if reader.is_repeated() {
        hit.labels.push(label::REPEATED_PARAMETER.to_owned());
    }
    if reader.is_unresolved {
        hit.labels.push(label::UNRESOLVED_MACRO.to_owned());
    }
    let named = reader.text(&["partner", "via", "affiliateSlug"], MAX_TEXT_BYTES);
    let (partner, is_unknown_partner) = aim.partner(sender.catalog, named.as_ref().map(|(_, text)| &**text));
    hit.partner = partner;
    if is_unknown_partner {
        hit.labels.push(label::UNKNOWN_PARTNER.to_owned());
    }
    let creative = reader.text(&["creative"], MAX_TEXT_BYTES).map(|(_, text)| text.into_owned());
    hit.creative = creative.or_else(|| link.and_then(|link| link.creative.clone())).unwrap_or_default();
    hit.source_id = reader.text_or_empty(&["source_id"]);
    hit.subs = SUB_NAMES.map(|name| reader.text_or_empty(&[name])).into();
    let used = hit.subs.iter().rposition(|sub| !sub.is_empty()).map_or(0, |last| last + 1);
    hit.subs.truncate(used);
    hit.cost = take_price(&mut reader, offer.currency);
    read_client(edge, &mut reader, sender, &mut hit);
    hit.test = sender.is_test;
    if !reader.faults.is_empty() {
        return Err(Refusal::Invalid(reader.faults));
    }
    keep_unknown(reader, &mut hit);
    Ok(hit)
}

/// What the request names: a link, or an offer by itself.
fn target<'c>(edge: &Edge, reader: &mut Reader<'_>, sender: &Sender<'c>) -> Result<Aim<'c>, Refusal> {
    let (catalog, workspace): (&'c Catalog, WorkspaceNumber) = (sender.catalog, sender.workspace.number);
    let aim = |link, offer| {
        let aim = Aim { workspace: sender.workspace, domain: None, link, offer };
        Some(aim).filter(|aim| aim.is_live(sender.incoming.received_at))
    };
    if let Some((_, text)) = reader.text(&["link"], MAX_TEXT_BYTES) {
        reader.take(&["offer"]);
        let domain = tracking_domain(edge, catalog, sender.incoming.parts).map(|domain| domain.id);
        let by_key = || catalog.link_by_key(domain, &text).filter(|link| link.workspace == workspace);
        let link = resolve::<Link>(catalog, workspace, &text).ok().or_else(by_key);
        let offer = link.and_then(|link| catalog.offer(workspace, link.offer));
        return offer.and_then(|offer| aim(link, offer)).ok_or(Refusal::NotFound(NO_LINK));
    }
    let Some((name, text)) = reader.text(&["offer"], MAX_TEXT_BYTES) else {
        return Err(Refusal::invalid("link", "must be given, or an offer"));
    };
    match resolve::<Offer>(catalog, workspace, &text) {
        Ok(offer) => aim(None, offer).ok_or(Refusal::NotFound(NO_OFFER)),
        Err(Unresolved::Unknown(_)) => Err(Refusal::NotFound(NO_OFFER)),
        Err(Unresolved::Malformed) => {
            Err(Refusal::invalid(name, "must be an offer_ id or ext:{source}:{external_id}"))
        }
    }
}

/// The visitor, and what is known of its browser: by the request of a page, or by what a server says of it.
fn read_client(edge: &Edge, reader: &mut Reader<'_>, sender: &Sender<'_>, hit: &mut Hit) {
    let stated: Option<VisitorId> = reader.id(&["visitor_id"]);
    let consent = reader.consent();
    let mut text = |name| reader.text(&[name], MAX_LONG_BYTES).map(|(_, text)| text);
    let (referrer, agent, language, ip) =
        (text("referrer"), text("user_agent"), text("language"), text("ip"));
    let mut told = HeaderMap::new();
    let asked = if sender.is_page() {
        Asked {
            headers: &sender.incoming.parts.headers,
            peer: sender.incoming.peer,
            client: sender.incoming.address,
            consent: consent.as_deref(),
        }
    } else {
        let mut tell = |name, value: Option<&str>| {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                told.insert(name, value);
            }
        };
        tell(USER_AGENT, agent.as_deref());
        tell(ACCEPT_LANGUAGE, language.as_deref());
        let client = ip.and_then(|ip| ip.parse().ok()).map(|ip: IpAddr| ip.to_canonical());
        Asked { headers: &told, peer: client, client, consent: consent.as_deref().or(Some(GIVEN)) }
    };
    let mut seen = edge.clients().look(&asked, sender.workspace);
    if !asked.headers.contains_key(USER_AGENT) && !sender.is_page() {
        // A server that tells of no agent does not say that there was none.
        seen.agent = Arc::default();
    }
    if seen.refusals.is_empty() {
        let new = || edge.new_id(sender.incoming.received_at, WorkspaceNumber::NONE);
        let known = stated.or(seen.visitor);
        hit.visitor = known.or_else(|| sender.is_page().then(new));
    }
    seen.fill(hit);
    // What a page sends as `Referer` is the page itself.
    hit.referrer = referrer.map(Cow::into_owned).unwrap_or_default();
}

/// Keeps what nobody asked for, within the bounds of a redirect's parameters.
fn keep_unknown(reader: Reader<'_>, hit: &mut Hit) {
    let mut is_dropped = false;
    for (name, field) in reader.fields.rest() {
        let text = match field {
            Field::Text(text) => text.into_owned(),
            Field::Json(serde_json::Value::Null) => continue,
            Field::Json(value) => value.to_string(),
        };
        if hit.params.len() == MAX_PASSED
            || name.is_empty()
            || name.len() > MAX_PASSED_BYTES
            || text.len() > MAX_PASSED_BYTES
        {
            is_dropped = true;
        } else {
            hit.params.push((name.into_owned(), text));
        }
    }
    if is_dropped {
        hit.labels.push(label::DROPPED_PARAMETER.to_owned());
    }
}
