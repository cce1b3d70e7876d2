//! `GET /i/{link_key}` and `/i.gif?offer=…&partner=…`: an advertisement was shown.
//!
//! The answer is always the image. Its headers tell what became of the impression: `X-Receipt`, or `X-Error`.

use axum::response::Response;
use schemas::event::{Body, Impression};
use schemas::id::EventId;

use crate::aim::{Found, NO_LINK, NO_OFFER, Named, find};
use crate::answer::{gif, set_cookie};
use crate::appender::Caller;
use crate::arrival::{Arrival, Arrived, Arriving};
use crate::click_parameters::{ClickParameters, Naming};
use crate::edge::{Edge, Stamped, Understood};
use crate::error::Refusal;
use crate::metrics::Route;
use crate::visit::Visit;

const PREFIX: &str = "/i/";

/// An impression that is ready to be recorded.
struct Shown {
    impression: Stamped,
    cookie: Option<String>,
}

/// Answers an impression whose address names what was shown in this way.
pub(crate) async fn show(edge: &Edge, visit: &Visit, naming: Naming) -> Response {
    let received = edge.metrics().receive(Route::Impression);
    match recorded(edge, visit, naming).await {
        Ok((receipt, cookie)) => {
            received.acknowledged();
            let mut response = gif(Ok(receipt));
            set_cookie(response.headers_mut(), cookie);
            response
        }
        Err(refused) => {
            received.refused(refused.code());
            gif(Err(refused.code()))
        }
    }
}

async fn recorded(edge: &Edge, visit: &Visit, naming: Naming) -> Result<(EventId, Option<String>), Refusal> {
    let parts = &visit.parts;
    edge.check_uri(&parts.uri)?;
    let parameters = ClickParameters::read(visit.query(), naming);
    let (named, nothing) = match naming {
        Naming::ByLink => (Named::link(parts.uri.path(), PREFIX)?, NO_LINK),
        Naming::ByOffer => (Named::offer(parameters.offer.as_ref())?, NO_OFFER),
    };
    let arriving = Arriving::now(edge, visit, parameters);
    let shown = edge.understand(|catalog| {
        let found = find(edge, catalog, parts, &named);
        let is_incomplete = matches!(found, Ok(Found::Unknown(_)));
        let value = found.and_then(|found| match found {
            Found::Aim(aim) if aim.is_live(arriving.now) => {
                Ok(shown(&Arrival { edge, catalog, aim, arriving: &arriving }))
            }
            Found::Aim(_) | Found::Unknown(_) => Err(Refusal::NotFound(nothing)),
        });
        Understood { value, is_incomplete }
    });
    let Shown { impression, cookie } = shown.await?;
    Ok((edge.record(impression, Caller::Browser { arrived: visit.arrived }).await?, cookie))
}

fn shown(arrival: &Arrival<'_>) -> Shown {
    let Arrival { edge, catalog, aim, arriving } = arrival;
    let Arrived { hit, cookie } = arrival.arrived();
    let id = edge.new_id(arriving.now, aim.workspace.number);
    let body = Body::Impression(Box::new(Impression { id, hit }));
    Shown { impression: edge.stamp(catalog, aim.workspace, arriving.now, body), cookie }
}
