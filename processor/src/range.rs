//! Deciding a range of events into one record of facts, on a speculative copy of a state.

use schemas::fact::Record;
use schemas::wire;

use crate::core::{self, CORE_VERSION, Changes, Head, Input, Overlay, State};
use crate::core_catalog::CoreCatalog;
use crate::error::Error;

/// Decides events that follow on `head`. An event whose catalog revision cannot be had ends the range before it.
///
/// # Errors
/// Why the first event cannot be decided.
pub(crate) async fn decide_range(
    state: &dyn State,
    head: &Head,
    partition: u32,
    catalog: &mut CoreCatalog,
    inputs: &[Input],
) -> Result<(Record, Changes), Error> {
    let mut overlay = Overlay::new(state, head.clone());
    let mut decisions = Vec::with_capacity(inputs.len());
    for input in inputs {
        if let Ok(event) = &input.event
            && let Err(error) = catalog.advance_for(input.position, event.catalog).await
        {
            if decisions.is_empty() {
                return Err(error);
            }
            // What comes before it can be decided all the same; then it is first and says why it cannot.
            break;
        }
        decisions.push(core::decide(&mut overlay, catalog.get(), input)?);
    }
    let last_event = decisions
        .len()
        .checked_sub(1)
        .map_or(head.last_event, |last| wire::hash_record(&inputs[last].payload));
    let record = Record {
        core_version: CORE_VERSION,
        partition,
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
    Ok((record, changes))
}
