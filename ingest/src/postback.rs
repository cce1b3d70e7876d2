//! `GET·POST /postback`: a conversion from a system that can only fire a URL.
//!
//! Whoever is not a source gets one and the same 401. From a source every request is kept: a wrong value is stored as the
//! conversion's fault, and ends as rejected where the sender can see it, because such systems read no answers.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use schemas::error_code::FieldError;
use schemas::event::{Body, Fault};
use schemas::id::EventId;

use crate::answer::reported;
use crate::body;
use crate::conversion_fields::{self, INVALID_VALUE, Reading};
use crate::edge::{Edge, Stamped, Understood, may_be_news};
use crate::error::Refusal;
use crate::fields::Fields;
use crate::metrics::Route;
use crate::sender::{Sender, X_POSTBACK_TOKEN, idempotency_key, refuse_secret_in_url};

const FORM: &str = "application/x-www-form-urlencoded";

/// Answers a postback.
pub(crate) async fn report(State(edge): State<Edge>, request: Request) -> Response {
    let received = edge.metrics().receive(Route::Postback);
    let (parts, body) = request.into_parts();
    let recorded = recorded(&edge, &parts, body).await;
    reported(received, StatusCode::OK, recorded, || edge.request_id(&parts.extensions))
}

async fn recorded(
    edge: &Edge,
    parts: &http::request::Parts,
    body: axum::body::Body,
) -> Result<EventId, Refusal> {
    edge.check_uri(&parts.uri)?;
    refuse_secret_in_url(&parts.uri)?;
    let mut fields = Fields::default();
    fields.add_pairs(parts.uri.query().unwrap_or_default().as_bytes());
    let (idempotency_key, mut fault) = match idempotency_key(&parts.headers) {
        Ok(key) => (key, None),
        Err(fault) => ("", Some(fault)),
    };
    if parts.method == Method::POST {
        let bytes = body::read(body, edge.settings().max_body_bytes).await?;
        if bytes.is_empty() || body::is_type(&parts.headers, FORM) {
            fields.add_pairs(&bytes);
        } else {
            let message = format!("the body's content type must be {FORM}");
            fault = Some(FieldError { field: "body".to_owned(), message });
        }
    }
    let received_at = edge.now();
    let src = fields.take_text("src");
    let token = fields.take_text("token");
    let header = parts.headers.get(X_POSTBACK_TOKEN).and_then(|value| value.to_str().ok());
    let token = token.as_deref().filter(|token| !token.is_empty()).or(header);
    let understood = edge.understand(|catalog| {
        let read = || -> Result<(Stamped, bool), Refusal> {
            let mut sender = Sender::by_source(catalog, src.as_deref(), token, received_at)?;
            sender.idempotency_key = idempotency_key;
            let reading = conversion_fields::read(fields.clone(), true, &sender);
            let Reading { mut conversion, faults, has_unknown_reference } = reading;
            if let Some(fault) = fault.iter().chain(&faults).next() {
                conversion.fault = Some(kept(fault));
            }
            let body = Body::Conversion(Box::new(conversion));
            Ok((edge.stamp(catalog, sender.workspace, received_at, body), has_unknown_reference))
        };
        let value = read();
        let is_incomplete = match &value {
            Ok((_, has_unknown_reference)) => *has_unknown_reference,
            Err(refused) => may_be_news(refused),
        };
        Understood { value: value.map(|(stamped, _)| stamped), is_incomplete }
    });
    Ok(edge.record(understood.await?).await?)
}

fn kept(fault: &FieldError) -> Fault {
    Fault { reason: INVALID_VALUE.to_owned(), field: fault.field.clone(), message: fault.message.clone() }
}
