//! `GET /p.gif`: a conversion from a page that can only load an image.
//!
//! The answer is always the image. Its headers tell what became of the conversion: `X-Receipt`, or `X-Error`.

use axum::response::Response;
use schemas::event::{Body, label};
use schemas::id::EventId;

use crate::answer::gif;
use crate::appender::Caller;
use crate::conversion_fields::{self, DEFAULT_GOAL, Reading};
use crate::edge::{Edge, Stamped, Understood, may_be_news};
use crate::error::Refusal;
use crate::fields::Fields;
use crate::metrics::Route;
use crate::sender::{Sender, refuse_secret_in_url};
use crate::visit::Visit;

const NO_KEY: &str = "send a pixel's id as ?px=px_… or a publishable key as ?key=tb_pub_…";

/// Answers a pixel.
pub(crate) async fn fire(edge: &Edge, visit: &Visit) -> Response {
    let received = edge.metrics().receive(Route::Pixel);
    match recorded(edge, visit).await {
        Ok(receipt) => {
            received.acknowledged();
            gif(Ok(receipt))
        }
        Err(refused) => {
            received.refused(refused.code());
            gif(Err(refused.code()))
        }
    }
}

async fn recorded(edge: &Edge, visit: &Visit) -> Result<EventId, Refusal> {
    edge.check_uri(&visit.parts.uri)?;
    refuse_secret_in_url(&visit.parts.uri)?;
    let mut fields = Fields::from_pairs(&[visit.query().as_bytes()]);
    let mut given = |name| fields.take_text(name).filter(|text| !text.is_empty());
    let (px, key) = (given("px"), given("key"));
    if px.is_none() && key.is_none() {
        return Err(Refusal::Unauthorized(NO_KEY));
    }
    let incoming = visit.incoming(edge, edge.now());
    let is_excess = edge.is_excess(visit.client);
    let understood = edge.understand(|catalog| {
        let read = || -> Result<(Stamped, bool), Refusal> {
            let mut sender = match (&px, &key) {
                (Some(px), _) => Sender::by_pixel(catalog, px, incoming)?,
                (None, key) => Sender::by_pixel_key(catalog, key.as_deref().unwrap_or_default(), incoming)?,
            };
            if is_excess {
                sender.labels.push(label::RATE.to_owned());
            }
            let Reading { conversion, faults, has_unknown_reference } =
                conversion_fields::read(fields.clone(), true, DEFAULT_GOAL, &sender)?;
            if !faults.is_empty() {
                return Err(Refusal::Invalid(faults));
            }
            let body = Body::Conversion(Box::new(conversion));
            Ok((edge.stamp(catalog, sender.workspace, incoming.received_at, body), has_unknown_reference))
        };
        let value = read();
        let is_incomplete = match &value {
            Ok((_, has_unknown_reference)) => *has_unknown_reference,
            Err(refused) => may_be_news(refused),
        };
        Understood { value: value.map(|(stamped, _)| stamped), is_incomplete }
    });
    Ok(edge.record(understood.await?, Caller::Browser { arrived: visit.arrived }).await?)
}
