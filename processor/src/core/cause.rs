//! Who is behind an event.

use schemas::event::{Actor, Body, Event};
use schemas::fact::Cause;

/// Who is behind a revision that this event causes, and what they said of it.
pub(super) fn cause(event: &Event) -> Cause {
    match &event.body {
        Body::Command(command) => Cause {
            actor: command.actor,
            request_id: command.request_id.clone(),
            reason: command.reason.clone(),
            note: command.note.clone(),
        },
        Body::Conversion(conversion) => of(Actor::Source(conversion.source)),
        Body::Refund(refund) => of(Actor::Source(refund.source)),
        Body::Click(_) | Body::Impression(_) | Body::Delayed(_) | Body::Tick => of_system(),
    }
}

/// Nobody's doing: what was known before comes out differently now.
pub(super) const fn of_system() -> Cause {
    of(Actor::System)
}

const fn of(actor: Actor) -> Cause {
    Cause { actor, request_id: String::new(), reason: String::new(), note: String::new() }
}
