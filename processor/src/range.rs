//! Deciding a range of events into one record of facts, on a speculative copy of a state.

use std::collections::VecDeque;

use schemas::fact::Record;
use schemas::wire;

use crate::core::{self, CORE_VERSION, Changes, Head, Input, Overlay, State};
use crate::core_catalog::CoreCatalog;
use crate::error::Error;
use crate::originals::{Held, Turn};

/// Decides events that follow on `head`, and takes them out: as many as there are and are asked for. An event whose catalog revision
/// cannot be had, or that is not this generation's to decide, ends the range before it.
///
/// # Errors
/// Why the first event cannot be decided; [`Error::Foreign`] if one does not follow. The inner one is why it is not decided now.
pub(crate) async fn decide_range(
    state: &dyn State,
    head: &Head,
    turn: Turn<'_>,
    catalog: &mut CoreCatalog,
    (inputs, most): (&mut VecDeque<Input>, usize),
) -> Result<Result<(Record, Changes), Held>, Error> {
    let mut overlay = Overlay::new(state, head.clone());
    let mut decisions = Vec::with_capacity(most);
    let mut last = None;
    while decisions.len() < most
        && let Some(input) = inputs.front()
    {
        if input.position != overlay.head().source {
            return Err(Error::Foreign("the position in the state"));
        }
        if let Ok(event) = &input.event
            && let Err(error) = catalog.advance_for(input.position, event.catalog).await
        {
            if decisions.is_empty() {
                return Err(error);
            }
            // What comes before it can be decided all the same; then it is first and says why it cannot.
            break;
        }
        let original = match turn.of(input.position, catalog.get()) {
            Ok(original) => original,
            Err(held) if decisions.is_empty() => return Ok(Err(held)),
            Err(_) => break,
        };
        let Some(input) = inputs.pop_front() else { break };
        last = Some(input.payload.clone());
        decisions.push(core::decide_as(&mut overlay, catalog.get(), input, original)?);
    }
    let last_event = last.map_or(head.last_event, |last| wire::hash_record(&last));
    let record = Record {
        core_version: CORE_VERSION,
        partition: turn.partition,
        previous: head.record_hash,
        first_seq: head.next_seq,
        source_from: head.source,
        source_to: overlay.head().source,
        catalog: overlay.head().catalog,
        last_event,
        decisions,
    };
    let mut changes = overlay.into_changes();
    changes.head.last_event = last_event;
    Ok(Ok((record, changes)))
}
