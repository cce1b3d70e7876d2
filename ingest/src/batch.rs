//! `POST /api/v1/events/batch`: many events at once, each with an outcome of its own.
//!
//! **Lines are recorded as they come.** A line is on its way to the log as soon as it is complete, whatever follows it, so
//! that a batch takes the memory of a line, of a piece of what follows, and of the outcomes, which are told at the end,
//! all together and in order. What is wrong with the request before its first line (key, rate, type, stated size, a
//! body that does not inflate) is its answer, and nothing is recorded. What is found later (one event or byte too many,
//! a compressed stream that is damaged or breaks off, a client that takes too long) cannot take back what is recorded
//! already: the answer has the outcomes of all lines before it, and one more, of the line at which the reading stopped.
//! Of a line that has no outcome nothing was recorded. The checksum of a compressed stream comes last, after its lines.
//!
//! **Two kinds of batches are read whole** before anything of them is recorded, which the shared memory bounds. An array
//! is one document: if its end is wrong or missing it is not JSON, and then none of it counts. A signature covers the
//! whole body: before the last byte nobody knows whether the source speaks.
//!
//! Every event is for itself: a wrong one does not spoil its neighbours, and each answer says `accepted` only of an event
//! that is durable.

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
use crate::batch_lines::{Lines, Shape};
use crate::body;
use crate::conversion_fields::DEFAULT_GOAL;
use crate::edge::{Edge, Stamped, Understood, may_be_news};
use crate::error::Refusal;
use crate::fields::Fields;
use crate::inflate::{self, Arriving, Encoding, Inflated, Share};
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
/// Events that may be on their way to the log while the next ones are read.
const EVENTS_UNDER_WAY: usize = 8 * LOOK_EVENTS;
/// Faults of one event that are told: ten thousand events could have a dozen each.
const MAX_ITEM_FAULTS: usize = 5;
/// What is said beside the reason where the reading stopped.
const UNREAD: &str = "; nothing was read from here on";
const NDJSON: &str = "application/x-ndjson";
/// What else senders call it.
const NDJSON_NAMES: [&str; 4] = [NDJSON, "application/ndjson", "application/jsonl", "application/json-lines"];

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

/// Answers a batch.
pub(crate) async fn accept(State(edge): State<Edge>, request: Request) -> Response {
    let received = edge.metrics().receive(Route::Batch);
    let (parts, body) = request.into_parts();
    let mut reply = Reply::default();
    let mut response = match recorded(&edge, &parts, body, &mut reply).await {
        Ok(told) => {
            received.acknowledged();
            told.answer()
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
) -> Result<Told, Refusal> {
    edge.check_uri(&parts.uri)?;
    refuse_secret_in_url(&parts.uri)?;
    let Some(key) = presented_key(&parts.headers) else {
        return Err(refused_sender(edge, parts, Refusal::Unauthorized(NO_KEY), reply));
    };
    admit(edge, key, parts, Some(Class::Events), reply).await?;
    let shape = shape(parts)?;
    let body =
        Arriving::new(body, Encoding::of(&parts.headers)?, MAX_BATCH_BYTES, edge.settings().body_timeout())?;
    let told = match (shape, Signature::of(parts)) {
        (Shape::Lines, None) => {
            let incoming = edge.incoming(parts, None, edge.now());
            Batch::new(edge, key, incoming, shape).stream(body, edge.batch_memory().share()).await?
        }
        (Shape::Array | Shape::Lines, signature) => {
            let inflated = inflate::read(body, signature.is_some(), edge.batch_memory()).await?;
            let Inflated { bytes, sent_sha256, .. } = &inflated;
            let events = shape.events(bytes)?;
            let signed = signature.zip(*sent_sha256).map(|(signature, body_sha256)| Signed {
                signature,
                method: &parts.method,
                uri: &parts.uri,
                body_sha256,
            });
            let incoming = edge.incoming(parts, signed, edge.now());
            Batch::new(edge, key, incoming, shape).whole(&events).await?
        }
    };
    if told.is_away() { Err(Refusal::Unavailable) } else { Ok(told) }
}

fn shape(parts: &Parts) -> Result<Shape, Refusal> {
    if body::is_type(&parts.headers, JSON) {
        check_accepts(&parts.headers, &[JSON])?;
        Ok(Shape::Array)
    } else if NDJSON_NAMES.iter().any(|name| body::is_type(&parts.headers, name)) {
        // Lines are answered with lines; by which of their names somebody takes them is the same.
        check_accepts(&parts.headers, &NDJSON_NAMES)?;
        Ok(Shape::Lines)
    } else {
        Err(Refusal::UnsupportedMediaType { wanted: "application/json or application/x-ndjson" })
    }
}

/// A batch that was let in.
struct Batch<'r> {
    edge: &'r Edge,
    key: &'r str,
    incoming: Incoming<'r>,
    /// How many events were read.
    events: usize,
    has_caught_up: bool,
    under_way: VecDeque<Vec<UnderWay>>,
    events_under_way: usize,
    told: Told,
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

impl<'r> Batch<'r> {
    fn new(edge: &'r Edge, key: &'r str, incoming: Incoming<'r>, shape: Shape) -> Self {
        Self {
            edge,
            key,
            incoming,
            events: 0,
            has_caught_up: false,
            under_way: VecDeque::new(),
            events_under_way: 0,
            told: Told::new(shape),
        }
    }

    /// Records events that are all there.
    ///
    /// # Errors
    /// The refusal of a sender who may not send, if none of the events is on its way.
    async fn whole(mut self, texts: &[&[u8]]) -> Result<Told, Refusal> {
        for texts in texts.chunks(LOOK_EVENTS) {
            self.record(texts).await?;
        }
        self.tell(0).await;
        Ok(self.told)
    }

    /// Records lines as they come.
    ///
    /// # Errors
    /// Why none was read.
    async fn stream(mut self, mut body: Arriving, mut share: Share<'_>) -> Result<Told, Refusal> {
        let ended = self.record_lines(&mut body, &mut share).await;
        match &ended {
            Err(refused) if self.events == 0 => return Err(refused.clone()),
            Err(_) => body.discard().await,
            Ok(()) => {}
        }
        self.tell(0).await;
        if let Err(refused) = ended
            && !self.told.is_away()
        {
            self.told.stop(&refused);
            self.edge.metrics().batch_events(0, 1);
        }
        Ok(self.told)
    }

    /// Reads lines until the body ends, or until something is wrong that is more than a line.
    async fn record_lines(&mut self, body: &mut Arriving, share: &mut Share<'_>) -> Result<(), Refusal> {
        let mut lines = Lines::new(self.edge.settings().max_body_bytes);
        loop {
            let pulled = body.pull(lines.tail()).await;
            share.cover(lines.held() + body.held() + self.told.text.capacity())?;
            self.incoming.received_at = self.edge.now();
            loop {
                let texts = lines.next(LOOK_EVENTS, matches!(pulled, Ok(false)))?;
                if texts.is_empty() {
                    break;
                }
                self.record(&texts).await?;
            }
            if !pulled? {
                return Ok(());
            }
            lines.settle();
            // Blanks without end are no reason for others to wait.
            tokio::task::yield_now().await;
        }
    }

    /// Reads the next events, and sends those that are right on their way. While these go to the log the next are read.
    async fn record(&mut self, texts: &[&[u8]]) -> Result<(), Refusal> {
        let this = &*self;
        let look = |catalog: &catalog::Catalog| {
            let value = this.read(catalog, texts);
            let is_incomplete = !this.has_caught_up && value.as_ref().is_ok_and(|slice| slice.is_incomplete);
            Understood { value, is_incomplete }
        };
        let slice = match this.edge.understand(look).await {
            Ok(slice) => slice,
            Err(refused) if this.events == 0 => return Err(refused),
            // What came before is on its way, and its receipts are told: only these are refused.
            Err(refused) => Slice::refused(&refused, texts.len()),
        };
        // One look at the log's end is enough for a batch.
        self.has_caught_up |= slice.is_incomplete;
        self.events += texts.len();
        self.events_under_way += texts.len();
        self.under_way.push_back(self.append(slice));
        self.tell(EVENTS_UNDER_WAY).await;
        // Other connections of this thread have waited for these.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Notes the outcomes of the oldest events, until no more than this many are under way.
    async fn tell(&mut self, most: usize) {
        while self.events_under_way > most
            && let Some(oldest) = self.under_way.pop_front()
        {
            self.events_under_way -= oldest.len();
            let (items, accepted) = (self.told.items, self.told.accepted);
            for event in oldest {
                self.told.tell(&outcome(event).await);
            }
            let (items, accepted) = (self.told.items - items, self.told.accepted - accepted);
            self.edge.metrics().batch_events(accepted, items - accepted);
        }
    }

    fn read(&self, catalog: &catalog::Catalog, texts: &[&[u8]]) -> Result<Slice, Refusal> {
        let mut sender = Sender::by_key(catalog, self.key, self.incoming)?;
        sender.check_secret()?;
        let mut events = Vec::with_capacity(texts.len());
        let mut is_incomplete = false;
        for (number, text) in texts.iter().enumerate() {
            sender.line = Some(self.events + number);
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

/// What became of one event: its receipt, or why it has none.
async fn outcome(event: UnderWay) -> Result<EventId, Refusal> {
    let (receipt, ticket) = event?;
    // All events of a group have one answer: after the first of them nobody waits.
    ticket.durable().await?;
    Ok(receipt)
}

/// The outcomes, written as they are told.
struct Told {
    shape: Shape,
    text: Vec<u8>,
    items: usize,
    accepted: usize,
    /// Items that were refused because neither log nor spool took them.
    away: usize,
}

impl Told {
    const fn new(shape: Shape) -> Self {
        Self { shape, text: Vec::new(), items: 0, accepted: 0, away: 0 }
    }

    fn tell(&mut self, outcome: &Result<EventId, Refusal>) {
        match outcome {
            Ok(receipt) => {
                self.accepted += 1;
                self.write(&Item {
                    status: "accepted",
                    receipt: Some(*receipt),
                    ..Item::rejected(self.items)
                });
            }
            Err(refused) => {
                self.away += usize::from(matches!(refused, Refusal::Unavailable));
                self.write(&Item::refused(self.items, refused));
            }
        }
    }

    /// Tells of the event at which the reading stopped.
    fn stop(&mut self, refused: &Refusal) {
        let message = Some(format!("{refused}{UNREAD}"));
        self.write(&Item { message, ..Item::refused(self.items, refused) });
    }

    /// Whether neither log nor spool took any event.
    const fn is_away(&self) -> bool {
        self.items > 0 && self.away == self.items
    }

    fn write(&mut self, item: &Item<'_>) {
        self.items += 1;
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.text, item);
        self.text.push(match self.shape {
            Shape::Lines => b'\n',
            Shape::Array => b',',
        });
    }

    fn answer(self) -> Response {
        let Self { shape, mut text, items, accepted, .. } = self;
        let (content_type, text) = match shape {
            Shape::Lines => (NDJSON, text),
            Shape::Array => {
                let rejected = items - accepted;
                let mut whole =
                    format!("{{\"accepted\":{accepted},\"rejected\":{rejected},\"items\":[").into_bytes();
                text.pop();
                whole.append(&mut text);
                whole.extend_from_slice(b"]}");
                (JSON, whole)
            }
        };
        let mut response = Response::new(axum::body::Body::from(text));
        *response.status_mut() = StatusCode::ACCEPTED;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        response
    }
}

impl<'o> Item<'o> {
    const fn rejected(index: usize) -> Self {
        Item {
            index,
            status: "rejected",
            receipt: None,
            error: None,
            field: None,
            message: None,
            details: &[],
        }
    }

    fn refused(index: usize, refused: &'o Refusal) -> Self {
        let faults = refused.faults();
        Item {
            error: Some(refused.code()),
            field: faults.first().map(|fault| fault.field.as_str()),
            message: Some(refused.to_string()),
            details: if faults.len() > 1 { faults } else { &[] },
            ..Self::rejected(index)
        }
    }
}
