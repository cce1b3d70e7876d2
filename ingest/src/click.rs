//! `GET·HEAD /c/{link_key}` and `/click?offer=…&partner=…`: record the click, then redirect. On a tracking domain a link's
//! key is a path by itself, `/{link_key}`.
//!
//! Without something live to click on there is no click: the caller is sent to the fallback URL of the link, its offer, the
//! domain or the workspace, without receipt, or gets a 404. An unknown name on the installation's own address belongs to no
//! workspace; where the installation has only one, its fallback URL is meant.

use axum::response::{IntoResponse, Response};
use catalog::Catalog;
use http::StatusCode;
use http::request::Parts;
use schemas::event::{Body, Click, label};
use schemas::id::ClickId;

use crate::aim::{Found, NO_LINK, NO_OFFER, Named, find, tracking_domain};
use crate::answer::{Form, Redirect, refusal};
use crate::appender::Caller;
use crate::arrival::{Arrival, Arrived, Arriving};
use crate::caps::Clicked;
use crate::click_destination::{Wish, destination};
use crate::click_parameters::{ClickParameters, Naming};
use crate::destination::location;
use crate::edge::{Edge, Stamped, Understood};
use crate::error::Refusal;
use crate::host::named_host;
use crate::metrics::Route;
use crate::smart_link::Lead;
use crate::visit::Visit;

const PREFIX: &str = "/c/";
const SHORT_PREFIX: &str = "/";

/// How a click's address is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `/c/{link_key}`
    Link,
    /// `/{link_key}` on a tracking domain.
    ShortLink,
    /// `/click?offer=…`
    Offer,
}

/// What a look at the catalog says of a click.
enum Seen {
    /// Nothing takes it; where it goes instead.
    Gone(Option<String>),
    /// It is ready to be recorded and answered.
    Live(Followed),
}

/// A click that is ready to be recorded, and its answer.
struct Followed {
    click: Stamped,
    redirect: Redirect,
}

/// Answers a click whose address is written in this way; in a short one only where [`is_short_link`] says so.
pub(crate) async fn follow(edge: &Edge, visit: &Visit, way: Way) -> Response {
    let received = edge.metrics().receive(Route::Click);
    let refused = match seen(edge, visit, way).await {
        Ok(Seen::Live(followed)) => {
            let Followed { click, mut redirect } = followed;
            match edge.record(click, Caller::Browser { arrived: visit.arrived }).await {
                Ok(receipt) => {
                    received.acknowledged();
                    redirect.receipt = Some(receipt);
                }
                // Nobody who follows a link shall suffer from a log that is away.
                Err(error) => received.unrecorded(error.reason()),
            }
            return redirect.into_response();
        }
        Ok(Seen::Gone(fallback)) => match fallback.as_deref().and_then(location) {
            Some(location) => {
                received.fallback();
                return Redirect { status: StatusCode::FOUND, location, receipt: None, cookie: None }
                    .into_response();
            }
            None => way.nothing(),
        },
        Err(refused) => refused,
    };
    received.refused(refused.code());
    refusal(&refused, Form::of_click(&visit.parts.headers), visit.request_id.as_str())
}

impl Way {
    const fn naming(self) -> Naming {
        match self {
            Self::Link | Self::ShortLink => Naming::ByLink,
            Self::Offer => Naming::ByOffer,
        }
    }

    fn named<'r>(self, path: &'r str, parameters: &ClickParameters<'r>) -> Result<Named<'r>, Refusal> {
        match self {
            Self::Link => Named::link(path, PREFIX),
            Self::ShortLink => Named::link(path, SHORT_PREFIX),
            Self::Offer => Named::offer(parameters.offer.as_ref()),
        }
    }

    const fn nothing(self) -> Refusal {
        match self {
            Self::Link | Self::ShortLink => Refusal::NotFound(NO_LINK),
            Self::Offer => Refusal::NotFound(NO_OFFER),
        }
    }
}

async fn seen(edge: &Edge, visit: &Visit, way: Way) -> Result<Seen, Refusal> {
    let parts = &visit.parts;
    edge.check_uri(&parts.uri)?;
    let parameters = ClickParameters::read(visit.query(), way.naming());
    let named = way.named(parts.uri.path(), &parameters)?;
    let arriving = Arriving::now(edge, visit, parameters);
    let seen = edge.understand(|catalog| {
        let found = find(edge, catalog, parts, &named);
        let is_incomplete = matches!(found, Ok(Found::Unknown(_)));
        let value = found.and_then(|found| match found {
            Found::Unknown(fallback) => Ok(Seen::Gone(fallback.map(str::to_owned))),
            Found::Aim(aim) => followed(&Arrival { edge, catalog, aim, arriving: &arriving }),
        });
        Understood { value, is_incomplete }
    });
    seen.await
}

/// The click and its answer, unless what it is aimed at takes no clicks.
fn followed(arrival: &Arrival<'_>) -> Result<Seen, Refusal> {
    let Arrival { edge, catalog, aim, arriving } = *arrival;
    if !aim.is_link_live(arriving.now) {
        return Ok(Seen::Gone(aim.fallback().map(str::to_owned)));
    }
    let id: ClickId = edge.new_id(arriving.now, aim.workspace.number);
    let arrived = arrival.arrived();
    let wish = Wish::of(arrival);
    let lead = match &wish {
        // Who names the destination leaves nothing to the rules.
        Wish::Allowed(address) => Lead { address, ..Lead::plain(aim) },
        Wish::None | Wish::Unsafe => Lead::chosen(arrival, &arrived, id)?,
    };
    if !lead.aim.is_live(arriving.now) {
        return Ok(Seen::Gone(lead.aim.fallback().map(str::to_owned)));
    }
    let Arrived { mut hit, cookie } = arrived;
    hit.offer = lead.aim.offer.id;
    if wish == Wish::Unsafe {
        hit.labels.push(label::UNSAFE_DESTINATION.to_owned());
    }
    let fallback = lead.aim.fallback();
    let clicked = Clicked { aim: lead.aim, hit: &hit, received_at: arriving.now };
    let is_let_through = edge.caps().let_through(&clicked, fallback.is_some());
    let (destination_url, choice) = match fallback.filter(|_| !is_let_through) {
        Some(fallback) => {
            hit.labels.push(label::CAP.to_owned());
            (fallback.to_owned(), None)
        }
        None => (destination(&lead, arriving, id, &hit)?, lead.choice),
    };
    let unfit = || Refusal::broken(format_args!("the address of {} is none for a header", lead.aim.offer.id));
    let location = location(&destination_url).ok_or_else(unfit)?;
    let ext_click_id = arriving.parameters.ext_click_id.as_deref().unwrap_or_default().to_owned();
    let click = Click { id, hit, ext_click_id, destination_url, choice };
    let click = edge.stamp(catalog, aim.workspace, arriving.now, Body::Click(Box::new(click)));
    let status = aim.link.and_then(|link| StatusCode::from_u16(link.redirect_status).ok());
    let status = status.unwrap_or(StatusCode::FOUND);
    Ok(Seen::Live(Followed { click, redirect: Redirect { status, location, receipt: None, cookie } }))
}

/// Whether this is a link's key on a tracking domain, which may be younger than this edge's catalog.
pub(crate) async fn is_short_link(edge: &Edge, parts: &Parts) -> bool {
    let Some(host) = named_host(parts).filter(|_| Named::link(parts.uri.path(), SHORT_PREFIX).is_ok()) else {
        return false;
    };
    let is_own = edge.is_public_host(&host);
    let look = |catalog: &Catalog| Understood {
        value: tracking_domain(edge, catalog, parts).is_some(),
        is_incomplete: !is_own && catalog.domain_by_host(&host).is_none(),
    };
    edge.understand(look).await
}
