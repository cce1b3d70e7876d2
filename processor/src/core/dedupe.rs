//! The keys by which conversions and refunds are recognised: API section "Dedupe key".

use schemas::event::{Conversion, Event, Refund};
use schemas::fact::DedupeKey;
use schemas::id::{EventId, SourceId};
use sha2::{Digest, Sha256};

use super::key;

/// The key of a report: workspace, source, goal, and the transaction id, else the client's event id, else the click; an event
/// with none of them is its own key.
pub(super) fn key_of_report(event: &Event, conversion: &Conversion) -> DedupeKey {
    let (kind, key): (&[u8], &[u8]) = if !conversion.transaction_id.is_empty() {
        (TRANSACTION, conversion.transaction_id.as_bytes())
    } else if !conversion.client_event_id.is_empty() {
        (b"event", conversion.client_event_id.as_bytes())
    } else if let Some(click) = &conversion.click {
        (b"click", click.bytes())
    } else {
        (RECEIPT, event.id.bytes())
    };
    let goal = Goal { source: conversion.source, goal: &conversion.goal, test: conversion.test };
    key_of(event, &goal, kind, key)
}

/// The key of a report that is its own: a repetition that counts.
pub(super) fn key_of_receipt(event: &Event, conversion: &Conversion) -> DedupeKey {
    let goal = Goal { source: conversion.source, goal: &conversion.goal, test: conversion.test };
    key_of(event, &goal, RECEIPT, event.id.bytes())
}

/// The key of the report that a refund speaks of by its transaction.
pub(super) fn key_of_refunded(event: &Event, refund: &Refund) -> DedupeKey {
    let goal = Goal { source: refund.source, goal: &refund.goal, test: refund.test };
    key_of(event, &goal, TRANSACTION, refund.transaction_id.as_bytes())
}

/// The key of a refund among those of its conversion; one without an id is its own.
pub(super) fn key_of_refund(event: EventId, refund_id: &str) -> key::Digest {
    if refund_id.is_empty() { *event.bytes() } else { digest(refund_id.as_bytes()) }
}

/// The first 16 bytes of the SHA-256 of a text.
pub(super) fn digest(text: &[u8]) -> key::Digest {
    first(Sha256::digest(text).into())
}

const TRANSACTION: &[u8] = b"transaction";
const RECEIPT: &[u8] = b"receipt";

/// Whose transaction ids these are.
struct Goal<'a> {
    source: Option<SourceId>,
    goal: &'a str,
    /// A test never meets the live conversion that it rehearses.
    test: bool,
}

fn key_of(event: &Event, goal: &Goal<'_>, kind: &[u8], key: &[u8]) -> DedupeKey {
    let source: &[u8] = goal.source.as_ref().map_or(b"default", |source| source.bytes());
    let mut hash = Sha256::new();
    hash.update(event.workspace.get().to_be_bytes());
    hash.update([u8::from(goal.test)]);
    for part in [source, goal.goal.as_bytes(), kind, key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    first(hash.finalize().into())
}

fn first(digest: [u8; 32]) -> key::Digest {
    std::array::from_fn(|index| digest[index])
}
