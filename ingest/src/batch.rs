//! `POST /api/v1/events/batch`: many events at once, each with an outcome of its own.
//!
//! What is wrong with the request as a whole (its size, its compression, a broken array) is said before anything of it is
//! recorded. After that every event is for itself: a wrong one does not spoil its neighbours, and each answer says
//! `accepted` only of an event that is durable.

use std::collections::VecDeque;

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use schemas::error_code::{ErrorCode, FieldError};
use schemas::id::EventId;
use serde::Serialize;

use crate::answer::{Form, NO_STORE, Reply, refusal};
use crate::appender::{Caller, Ticket};
use crate::batch_lines::Shape;
use crate::body;
use crate::conversion_fields::DEFAULT_GOAL;
use crate::edge::{Edge, Stamped, Understood, may_be_news};
use crate::error::Refusal;
use crate::fields::Fields;
use crate::inflate::{self, Encoding, Inflated};
use crate::limits::Class;
use crate::metrics::Route;
use crate::post::{JSON, Read, admit, check_accepts, refused_sender};
use crate::sender::{Incoming, NO_KEY, Sender, presented_key, refuse_secret_in_url};
use crate::signature::{Signature, Signed};
use crate::track::LEAD_GOAL;
use crate::{conversions, hit_fields, refund};

/// Bytes of a batch, as it is sent and as it is inflated.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Events that are read within one look at the catalog, so that neither it nor other requests wait for long.
const LOOK_EVENTS: usize = 256;
/// Such parts that may be on their way to the log while the next one is read.
const SLICES_UNDER_WAY: usize = 8;
/// Faults of one event that are told: ten thousand events could have a dozen each.
const MAX_ITEM_FAULTS: usize = 5;
const NDJSON: &str = "application/x-ndjson";
/// What else senders call it.
const NDJSON_NAMES: [&str; 4] = [NDJSON, "application/ndjson", "application/jsonl", "application/json-lines"];

/// What became of one event.
enum Outcome {
    Accepted(EventId),
    Refused(Refusal),
}

/// What became of one event, as it is told.
#[derive(Debug, Serialize)]
struct Item<'o> {
    index: usize,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    details: &'o [FieldError],
}

/// The answer to an array.
#[derive(Debug, Serialize)]
struct Answer<'o> {
    accepted: usize,
    rejected: usize,
    items: Vec<Item<'o>>,
}

/// Answers a batch.
pub(crate) async fn accept(State(edge): State<Edge>, request: Request) -> Response {
    let received = edge.metrics().receive(Route::Batch);
    let (parts, body) = request.into_parts();
    let mut reply = Reply::default();
    let mut response = match recorded(&edge, &parts, body, &mut reply).await {
        Ok((shape, outcomes)) => {
            received.acknowledged();
            answer(shape, &outcomes)
        }
        Err(refused) => {
            received.refused(refused.code());
            refusal(&refused, Form::Json, &edge.request_id(&parts.extensions))
        }
    };
    reply.apply(response.headers_mut());
    response
}

async fn recorded(
    edge: &Edge,
    parts: &Parts,
    body: axum::body::Body,
    reply: &mut Reply,
) -> Result<(Shape, Vec<Outcome>), Refusal> {
    edge.check_uri(&parts.uri)?;
    refuse_secret_in_url(&parts.uri)?;
    let Some(key) = presented_key(&parts.headers) else {
        return Err(refused_sender(edge, parts, Refusal::Unauthorized(NO_KEY), reply));
    };
    admit(edge, key, parts, Some(Class::Events), reply).await?;
    let shape = shape(parts)?;
    let encoding = Encoding::of(&parts.headers)?;
    let inflated = inflate::read(body, encoding, MAX_BATCH_BYTES, edge.batch_memory()).await?;
    let Inflated { bytes, sent_sha256, .. } = &inflated;
    let events = shape.events(bytes)?;
    let signed = Signature::of(parts).map(|signature| Signed {
        signature,
        method: &parts.method,
        uri: &parts.uri,
        body_sha256: *sent_sha256,
    });
    let batch = Batch { edge, key, incoming: edge.incoming(parts, signed, edge.now()) };
    let outcomes = batch.record(&events).await?;
    count(edge, &outcomes);
    let is_away = |outcome: &Outcome| matches!(outcome, Outcome::Refused(Refusal::Unavailable));
    if !outcomes.is_empty() && outcomes.iter().all(is_away) {
        return Err(Refusal::Unavailable);
    }
    Ok((shape, outcomes))
}

fn shape(parts: &Parts) -> Result<Shape, Refusal> {
    if body::is_type(&parts.headers, JSON) {
        check_accepts(&parts.headers, &[JSON])?;
        Ok(Shape::Array)
    } else if NDJSON_NAMES.iter().any(|name| body::is_type(&parts.headers, name)) {
        check_accepts(&parts.headers, &[NDJSON, "application/ndjson", JSON])?;
        Ok(Shape::Lines)
    } else {
        Err(Refusal::UnsupportedMediaType { wanted: "application/json or application/x-ndjson" })
    }
}

fn count(edge: &Edge, outcomes: &[Outcome]) {
    let accepted = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Accepted(_))).count();
    edge.metrics().batch_events(accepted, outcomes.len() - accepted);
}

/// A batch that was let in.
struct Batch<'r> {
    edge: &'r Edge,
    key: &'r str,
    incoming: Incoming<'r>,
}

/// Events that were read within one look at the catalog.
struct Slice {
    events: Vec<Result<Stamped, Refusal>>,
    is_incomplete: bool,
}

impl Slice {
    /// Events of which each is refused for the same reason.
    fn refused(refused: &Refusal, events: usize) -> Self {
        Self { events: (0..events).map(|_| Err(refused.clone())).collect(), is_incomplete: false }
    }
}

/// An event on its way to the log, or why it is not.
type UnderWay = Result<(EventId, Ticket), Refusal>;

impl Batch<'_> {
    /// Reads the events, and records those that are right. While one part is on its way to the log the next is read.
    ///
    /// # Errors
    /// The refusal of a sender who may not send, if none of the events is on its way.
    async fn record(&self, texts: &[&[u8]]) -> Result<Vec<Outcome>, Refusal> {
        let mut told = Vec::with_capacity(texts.len());
        let mut under_way = VecDeque::new();
        let mut has_caught_up = false;
        for (number, texts) in texts.chunks(LOOK_EVENTS).enumerate() {
            let look = |catalog: &catalog::Catalog| {
                let value = self.read(catalog, number * LOOK_EVENTS, texts);
                let is_incomplete = !has_caught_up && value.as_ref().is_ok_and(|slice| slice.is_incomplete);
                Understood { value, is_incomplete }
            };
            let slice = match self.edge.understand(look).await {
                Ok(slice) => slice,
                Err(refused) if number == 0 => return Err(refused),
                // What came before is on its way, and its receipts are told: only these are refused.
                Err(refused) => Slice::refused(&refused, texts.len()),
            };
            // One look at the log's end is enough for a batch.
            has_caught_up |= slice.is_incomplete;
            under_way.push_back(self.append(slice));
            if under_way.len() > SLICES_UNDER_WAY
                && let Some(oldest) = under_way.pop_front()
            {
                outcomes(oldest, &mut told).await;
            }
            // Other connections of this thread have waited for this part.
            tokio::task::yield_now().await;
        }
        for slice in under_way {
            outcomes(slice, &mut told).await;
        }
        Ok(told)
    }

    fn read(&self, catalog: &catalog::Catalog, first: usize, texts: &[&[u8]]) -> Result<Slice, Refusal> {
        let mut sender = Sender::by_key(catalog, self.key, self.incoming)?;
        sender.check_secret()?;
        let mut events = Vec::with_capacity(texts.len());
        let mut is_incomplete = false;
        for (number, text) in texts.iter().enumerate() {
            sender.line = Some(first + number);
            let read = self.read_one(text, &sender).map_err(|refused| refused.shortened(MAX_ITEM_FAULTS));
            is_incomplete |= match &read {
                Ok(read) => read.is_incomplete,
                Err(refused) => may_be_news(refused),
            };
            let received_at = self.incoming.received_at;
            events.push(read.map(|read| self.edge.stamp(catalog, sender.workspace, received_at, read.body)));
        }
        Ok(Slice { events, is_incomplete })
    }

    fn read_one(&self, text: &[u8], sender: &Sender<'_>) -> Result<Read, Refusal> {
        // A document takes many times its bytes once it is read, and a batch of one event is no reason to have more of it
        // than an event by itself may.
        let limit = self.edge.settings().max_body_bytes;
        if text.len() > limit {
            return Err(Refusal::EventTooLarge { limit });
        }
        let mut fields = Fields::from_json(text)?;
        let kind = fields.take_text("type");
        match kind.as_deref() {
            Some("click") => hit_fields::read_click(self.edge, fields, sender),
            Some("impression") => hit_fields::read_impression(self.edge, fields, sender),
            Some("lead") => conversions::read(fields, LEAD_GOAL, sender),
            Some("conversion") => conversions::read(fields, DEFAULT_GOAL, sender),
            Some("refund") => refund::read(fields, sender),
            Some(_) | None => {
                Err(Refusal::invalid("type", "must be one of click, impression, lead, conversion, refund"))
            }
        }
    }

    /// Hands the slice's events over: they are on their way from now on.
    fn append(&self, slice: Slice) -> Vec<UnderWay> {
        let append = |stamped: Stamped| {
            let receipt = stamped.event.id;
            Ok((receipt, self.edge.report(stamped, Caller::System)?))
        };
        slice.events.into_iter().map(|event| event.and_then(append)).collect()
    }
}

async fn outcomes(under_way: Vec<UnderWay>, outcomes: &mut Vec<Outcome>) {
    for event in under_way {
        outcomes.push(match event {
            // All events of a group have one answer: after the first of them nobody waits.
            Ok((receipt, ticket)) => match ticket.durable().await {
                Ok(()) => Outcome::Accepted(receipt),
                Err(error) => Outcome::Refused(error.into()),
            },
            Err(refused) => Outcome::Refused(refused),
        });
    }
}

fn item(index: usize, outcome: &Outcome) -> Item<'_> {
    let base = Item {
        index,
        status: "rejected",
        receipt: None,
        error: None,
        field: None,
        message: None,
        details: &[],
    };
    match outcome {
        Outcome::Accepted(receipt) => Item { status: "accepted", receipt: Some(*receipt), ..base },
        Outcome::Refused(refused) => {
            let faults = refused.faults();
            Item {
                error: Some(refused.code()),
                field: faults.first().map(|fault| fault.field.as_str()),
                message: Some(refused.to_string()),
                details: if faults.len() > 1 { faults } else { &[] },
                ..base
            }
        }
    }
}

fn answer(shape: Shape, outcomes: &[Outcome]) -> Response {
    let items = outcomes.iter().enumerate().map(|(index, outcome)| item(index, outcome));
    // Writing these to memory does not fail.
    let mut text = Vec::with_capacity(96 * outcomes.len() + 64);
    let content_type = match shape {
        Shape::Lines => {
            for item in items {
                let _ = serde_json::to_writer(&mut text, &item);
                text.push(b'\n');
            }
            NDJSON
        }
        Shape::Array => {
            let accepted = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Accepted(_))).count();
            let rejected = outcomes.len() - accepted;
            let _ = serde_json::to_writer(&mut text, &Answer { accepted, rejected, items: items.collect() });
            JSON
        }
    };
    let mut response = Response::new(axum::body::Body::from(text));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}
