//! `GET·HEAD /c/{link_key}`: record the click, then redirect.
//!
//! Without a stored, live link there is no click: the caller is sent to the fallback URL of the link, its offer or its
//! workspace, without receipt, or gets a 404. An unknown key belongs to no workspace; where the installation has only
//! one, its fallback URL is meant.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use catalog::macros::{Macro, Template};
use catalog::{Catalog, Link, Offer, Workspace};
use http::request::Parts;
use http::{Method, StatusCode};
use schemas::event::{Body, Click, Hit, label};
use schemas::id::{ClickId, PartnerId, WorkspaceNumber};
use schemas::time::Timestamp;

use crate::answer::{Form, Redirect, refusal};
use crate::click_parameters::{ClickParameters, Naming};
use crate::client;
use crate::destination::{Destination, location};
use crate::edge::{Edge, Stamped, Understood};
use crate::error::Refusal;
use crate::metrics::Route;
use crate::reference::resolve_partner;

const PREFIX: &str = "/c/";
const MAX_KEY_BYTES: usize = 64;
const NO_LINK: &str = "This link does not exist";

/// What a look at the catalog says of a key.
enum Seen {
    Unknown,
    /// A link that takes no clicks, and where they go instead.
    Gone(Option<String>),
    Live(Followed),
}

/// A click that is ready to be recorded, and its answer.
struct Followed {
    click: Stamped,
    redirect: Redirect,
}

/// Answers a click.
pub(crate) async fn follow(State(edge): State<Edge>, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    let received = edge.metrics().receive(Route::Click);
    let refused = match seen(&edge, &parts).await {
        Ok(Seen::Live(followed)) => {
            let Followed { click, mut redirect } = followed;
            match edge.record(click).await {
                Ok(receipt) => {
                    received.acknowledged();
                    redirect.receipt = Some(receipt);
                }
                // Nobody who follows a link shall suffer from a log that is away.
                Err(_) => received.unrecorded(),
            }
            return redirect.into_response();
        }
        Ok(Seen::Gone(Some(fallback))) => match location(&fallback) {
            Some(location) => {
                received.fallback();
                return Redirect { status: StatusCode::FOUND, location, receipt: None, cookie: None }
                    .into_response();
            }
            None => Refusal::NotFound(NO_LINK),
        },
        Ok(Seen::Gone(None) | Seen::Unknown) => Refusal::NotFound(NO_LINK),
        Err(refused) => refused,
    };
    received.refused(refused.code());
    refusal(&refused, Form::of_click(&parts.headers), &edge.request_id(&parts.extensions))
}

async fn seen(edge: &Edge, parts: &Parts) -> Result<Seen, Refusal> {
    edge.check_uri(&parts.uri)?;
    let key = link_key(parts.uri.path()).ok_or(Refusal::NotFound(NO_LINK))?;
    let now = edge.now();
    let seen = edge.understand(|catalog| match catalog.link_by_key(None, key) {
        None => Understood { value: Ok(unknown(catalog)), is_incomplete: true },
        Some(link) => Understood { value: look(edge, catalog, link, parts, now), is_incomplete: false },
    });
    seen.await
}

/// The key in the path. What is no key needs no look.
fn link_key(path: &str) -> Option<&str> {
    let key = path.strip_prefix(PREFIX)?;
    let is_key = (1..=MAX_KEY_BYTES).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    is_key.then_some(key)
}

fn unknown(catalog: &Catalog) -> Seen {
    let mut workspaces = catalog.workspaces();
    match (workspaces.next(), workspaces.next()) {
        (Some(only), None) => Seen::Gone(only.fallback_url.clone()),
        _ => Seen::Unknown,
    }
}

fn look(edge: &Edge, catalog: &Catalog, link: &Link, parts: &Parts, now: Timestamp) -> Result<Seen, Refusal> {
    // The fold takes no link without its workspace and its offer.
    let workspace = catalog.workspace(link.workspace).ok_or(Refusal::ServerError)?;
    let offer = catalog.offer(link.workspace, link.offer).ok_or(Refusal::ServerError)?;
    let is_live = !link.meta.archived
        && !offer.meta.archived
        && !workspace.meta.archived
        && link.expires_at.is_none_or(|expires_at| now < expires_at);
    if !is_live {
        let fallback = link.fallback_url.as_ref().or(offer.fallback_url.as_ref());
        return Ok(Seen::Gone(fallback.or(workspace.fallback_url.as_ref()).cloned()));
    }
    Clicked { edge, catalog, workspace, offer, link, parts, now }.followed().map(Seen::Live)
}

/// A click on a live link.
struct Clicked<'a> {
    edge: &'a Edge,
    catalog: &'a Catalog,
    workspace: &'a Workspace,
    offer: &'a Offer,
    link: &'a Link,
    parts: &'a Parts,
    now: Timestamp,
}

impl Clicked<'_> {
    fn followed(&self) -> Result<Followed, Refusal> {
        let headers = &self.parts.headers;
        let parameters = ClickParameters::read(self.parts.uri.query().unwrap_or_default(), Naming::ByLink);
        let mut labels = self.labels(&parameters);
        let via = parameters.partner();
        let partner = match via {
            None => self.link.partner.and_then(|id| self.catalog.partner(self.workspace.number, id)),
            Some(via) => resolve_partner(self.catalog, self.workspace.number, via).ok(),
        };
        let partner = partner.filter(|partner| !partner.meta.archived).map(|partner| partner.id);
        if partner.is_none() && (via.is_some() || self.link.partner.is_some()) {
            labels.push(label::UNKNOWN_PARTNER.to_owned());
        }
        let id: ClickId = self.edge.new_id(self.now, self.workspace.number);
        let destination_url = self.destination(id, partner, &parameters)?;
        let location = location(&destination_url).ok_or(Refusal::ServerError)?;
        let (visitor, cookie) = self.visitor();
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
        let hit = Hit {
            link: Some(self.link.id),
            partner,
            visitor,
            creative: match (&parameters.creative, &self.link.creative) {
                (Some(stated), _) => stated.as_ref().to_owned(),
                (None, stored) => stored.clone().unwrap_or_default(),
            },
            subs: parameters.stored_subs(),
            source_id: owned(&parameters.source_id),
            labels,
            referrer: client::referrer(headers),
            user_agent: client::user_agent(headers),
            address: self.address(),
            ..Hit::new(self.offer.id, self.now)
        };
        let mut click =
            Click { id, hit, ext_click_id: owned(&parameters.ext_click_id), destination_url, choice: None };
        click.hit.params = parameters
            .passed
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let status = StatusCode::from_u16(self.link.redirect_status).unwrap_or(StatusCode::FOUND);
        let click = self.edge.stamp(self.catalog, self.workspace, self.now, Body::Click(Box::new(click)));
        Ok(Followed { click, redirect: Redirect { status, location, receipt: None, cookie } })
    }

    fn labels(&self, parameters: &ClickParameters<'_>) -> Vec<String> {
        let applying = [
            (label::HEAD, self.parts.method == Method::HEAD),
            (label::PREFETCH, client::is_prefetch(&self.parts.headers)),
            (label::REPEATED_PARAMETER, parameters.is_repeated),
            (label::DROPPED_PARAMETER, parameters.is_dropped),
        ];
        applying.into_iter().filter(|(_, applies)| *applies).map(|(label, _)| label.to_owned()).collect()
    }

    fn destination(
        &self,
        id: ClickId,
        partner: Option<PartnerId>,
        parameters: &ClickParameters<'_>,
    ) -> Result<String, Refusal> {
        let stored = self.link.destination_url.as_ref().unwrap_or(&self.offer.destination_url);
        // The catalog takes no address that it cannot parse.
        let template = Template::parse(stored).map_err(|_| Refusal::ServerError)?;
        let click_id = id.to_string();
        let destination = Destination {
            template: &template,
            click_id: &click_id,
            click_id_param: &self.offer.click_id_param,
            passed: &parameters.passed,
        };
        Ok(destination.render(|name| -> Cow<'_, str> {
            match name {
                Macro::ClickId => click_id.as_str().into(),
                Macro::Link => self.link.id.to_string().into(),
                Macro::Offer => self.offer.id.to_string().into(),
                Macro::Partner => partner.map(|id| id.to_string()).unwrap_or_default().into(),
                Macro::Sub(number) => {
                    let sub = parameters.subs.get(usize::from(number).wrapping_sub(1));
                    sub.and_then(Option::as_deref).unwrap_or_default().into()
                }
                Macro::SourceId => parameters.source_id.as_deref().unwrap_or_default().into(),
                Macro::Timestamp => self.now.unix_seconds().to_string().into(),
                Macro::Rand => random_part(id).to_string().into(),
                // Known from the address and the agent by a later step; until then their defaults stand.
                Macro::Campaign | Macro::Country | Macro::Device | Macro::Os | Macro::Browser => "".into(),
            }
        }))
    }

    /// The visitor, and the cookie that makes a new one known again. Neither for those who refuse to be followed.
    fn visitor(&self) -> (Option<schemas::id::VisitorId>, Option<String>) {
        let headers = &self.parts.headers;
        if client::refuses_tracking(headers) {
            return (None, None);
        }
        if let Some(known) = client::visitor(headers) {
            return (Some(known), None);
        }
        let new = self.edge.new_id(self.now, WorkspaceNumber::NONE);
        (Some(new), Some(client::visitor_cookie(new, self.edge.settings().is_https())))
    }

    fn address(&self) -> String {
        let Some(ConnectInfo(peer)) = self.parts.extensions.get::<ConnectInfo<SocketAddr>>() else {
            return String::new();
        };
        let trusted = &self.edge.settings().trusted_proxies;
        client::truncated(client::address(peer.ip(), &self.parts.headers, trusted))
    }
}

/// The random bits below the workspace number: enough against caches, and no more work than to read them.
fn random_part(id: ClickId) -> u64 {
    u128::from_be_bytes(*id.bytes()) as u64 & ((1 << 38) - 1)
}
