//! `GET·POST /postback`: a conversion from a system that can only fire a URL.
//!
//! Whoever is not a source gets one and the same 401. From a source every request is kept: a wrong value is stored as the
//! conversion's fault, and ends as rejected where the sender can see it, because such systems read no answers.

use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode};
use schemas::error_code::FieldError;
use schemas::event::Body;

use crate::answer::{Recorded, Reply, reported};
use crate::appender::Caller;
use crate::body::{self, Whole};
use crate::conversion_fields::{self, DEFAULT_GOAL, Reading, kept};
use crate::edge::{Edge, Stamped, Understood, may_be_news};
use crate::error::Refusal;
use crate::fields::Fields;
use crate::limits::{Class, Party};
use crate::metrics::Route;
use crate::post::{JSON, refused_sender};
use crate::sender::{Sender, idempotency_key, refuse_secret_in_url};
use crate::signature::Signed;
use crate::source_proof::header_token;

const FORM: &str = "application/x-www-form-urlencoded";

/// Answers a postback.
pub(crate) async fn report(State(edge): State<Edge>, request: Request) -> Response {
    let received = edge.metrics().receive(Route::Postback);
    let (parts, body) = request.into_parts();
    let mut reply = Reply::default();
    let recorded = recorded(&edge, &parts, body, &mut reply).await;
    reported(received, StatusCode::OK, recorded, &reply, || edge.request_id(&parts.extensions))
}

/// A postback's values, and what is wrong with how they came.
struct Values<'b> {
    fields: Fields<'b>,
    /// All values are texts.
    is_flat: bool,
    fault: Option<FieldError>,
}

/// A postback that is ready to be recorded.
struct Kept {
    stamped: Stamped,
    counted: Option<(Class, Party)>,
    is_incomplete: bool,
}

async fn recorded(
    edge: &Edge,
    parts: &Parts,
    body: axum::body::Body,
    reply: &mut Reply,
) -> Result<Recorded, Refusal> {
    edge.check_uri(&parts.uri)?;
    refuse_secret_in_url(&parts.uri)?;
    let bytes = match parts.method {
        Method::POST => edge.bodies().read(body).await?,
        _ => Whole::default(),
    };
    let Values { mut fields, is_flat, mut fault } = values(parts, &bytes);
    let idempotency_key = idempotency_key(&parts.headers).unwrap_or_else(|wrong| {
        fault.get_or_insert(wrong);
        ""
    });
    let (src, token) = (fields.take_text("src"), fields.take_text("token"));
    let token = token.as_deref().filter(|token| !token.is_empty());
    let token = token.or_else(|| header_token(&parts.headers));
    let incoming = edge.incoming(parts, Signed::of(parts, &bytes), edge.now());
    let understood = edge.understand(|catalog| {
        let read = || -> Result<Kept, Refusal> {
            let mut sender = Sender::by_source(catalog, src.as_deref(), token, incoming)?;
            sender.idempotency_key = idempotency_key;
            let Reading { mut conversion, faults, has_unknown_reference } =
                conversion_fields::read(fields.clone(), is_flat, DEFAULT_GOAL, &sender)?;
            if let Some(fault) = fault.iter().chain(&faults).next() {
                conversion.fault = Some(kept(fault));
            }
            let body = Body::Conversion(Box::new(conversion));
            let stamped = edge.stamp(catalog, sender.workspace, incoming.received_at, body);
            Ok(Kept { stamped, counted: sender.counted(), is_incomplete: has_unknown_reference })
        };
        let value = read();
        let is_incomplete = match &value {
            Ok(kept) => kept.is_incomplete,
            Err(refused) => may_be_news(refused),
        };
        Understood { value, is_incomplete }
    });
    let Kept { stamped, counted, .. } = match understood.await {
        Ok(understood) => understood,
        Err(refused) => return Err(refused_sender(edge, parts, refused, reply)),
    };
    if let Some((class, party)) = counted {
        reply.count(edge.limits(), class, party)?;
    }
    Ok(Recorded { receipt: edge.record(stamped, Caller::System).await?, click: None })
}

/// Reads the query and, after it, the body: a form, or the members of a JSON object.
fn values<'b>(parts: &'b Parts, bytes: &'b [u8]) -> Values<'b> {
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    if bytes.is_empty() || body::is_type(&parts.headers, FORM) {
        return Values { fields: Fields::from_pairs(&[query, bytes]), is_flat: true, fault: None };
    }
    let flat = Fields::from_pairs(&[query]);
    let fault = |message: String| Some(FieldError { field: "body".to_owned(), message });
    if !body::is_type(&parts.headers, JSON) {
        let message = format!("the body's content type must be {FORM} or {JSON}");
        return Values { fields: flat, is_flat: true, fault: fault(message) };
    }
    match Fields::from_json(bytes) {
        Ok(members) => Values { fields: flat.with(members), is_flat: false, fault: None },
        Err(refused) => Values { fields: flat, is_flat: true, fault: fault(refused.to_string()) },
    }
}
