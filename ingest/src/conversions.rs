//! `POST /api/v1/conversions`: a conversion as JSON, from a server or, with a publishable key, from a page.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use schemas::event::Body;
use schemas::id::EventId;

use crate::answer::reported;
use crate::body;
use crate::conversion_fields::{self, Reading};
use crate::edge::{Edge, Stamped, Understood, may_be_news};
use crate::error::Refusal;
use crate::fields::Fields;
use crate::metrics::Route;
use crate::sender::{Sender, idempotency_key, presented_key, refuse_secret_in_url};

const JSON: &str = "application/json";

/// Answers a reported conversion.
pub(crate) async fn report(State(edge): State<Edge>, request: Request) -> Response {
    let received = edge.metrics().receive(Route::Conversions);
    let (parts, body) = request.into_parts();
    let recorded = recorded(&edge, &parts, body).await;
    reported(received, StatusCode::ACCEPTED, recorded, || edge.request_id(&parts.extensions))
}

async fn recorded(
    edge: &Edge,
    parts: &http::request::Parts,
    body: axum::body::Body,
) -> Result<EventId, Refusal> {
    edge.check_uri(&parts.uri)?;
    refuse_secret_in_url(&parts.uri)?;
    let key = presented_key(&parts.headers)?;
    // Who may not send is told so before a byte of the body is read, and nobody else has one parsed.
    let check = edge.understand(|catalog| {
        let sender = Sender::by_key(catalog, key, &parts.headers, edge.now());
        Understood { is_incomplete: sender.as_ref().is_err_and(may_be_news), value: sender.map(|_| ()) }
    });
    check.await?;
    if !body::is_type(&parts.headers, JSON) {
        return Err(Refusal::UnsupportedMediaType { wanted: JSON });
    }
    let bytes = body::read(body, edge.settings().max_body_bytes).await?;
    let received_at = edge.now();
    let fields = Fields::from_json(&bytes)?;
    let idempotency_key = idempotency_key(&parts.headers).map_err(|fault| Refusal::Invalid(vec![fault]))?;
    let understood = edge.understand(|catalog| {
        let read = || -> Result<(Stamped, bool), Refusal> {
            let mut sender = Sender::by_key(catalog, key, &parts.headers, received_at)?;
            sender.idempotency_key = idempotency_key;
            let Reading { conversion, faults, has_unknown_reference } =
                conversion_fields::read(fields.clone(), false, &sender);
            if !faults.is_empty() {
                return Err(Refusal::Invalid(faults));
            }
            let body = Body::Conversion(Box::new(conversion));
            Ok((edge.stamp(catalog, sender.workspace, received_at, body), has_unknown_reference))
        };
        let value = read();
        let is_incomplete = matches!(value, Ok((_, true)));
        Understood { value: value.map(|(stamped, _)| stamped), is_incomplete }
    });
    Ok(edge.record(understood.await?).await?)
}
