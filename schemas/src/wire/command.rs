//! Commands on the wire, and who gave them.

use bytes::Bytes;

use super::conversion::{optional_status_from_pb, status_to_pb};
use super::pb_events as pb;
use super::{WireError, id, id_bytes, optional_id, optional_id_bytes, present};
use crate::event::{Actor, Command};

pub(super) fn command_to_pb(command: Command) -> pb::Command {
    pb::Command {
        conversion: id_bytes(command.conversion),
        to: status_to_pb(command.to).into(),
        expected_version: command.expected_version,
        reason: command.reason,
        note: command.note,
        actor: Some(actor_to_pb(command.actor)),
        request_id: command.request_id,
        test: command.test,
    }
}

pub(super) fn command_from_pb(command: pb::Command) -> Result<Command, WireError> {
    Ok(Command {
        conversion: id(&command.conversion, "command.conversion")?,
        to: present(optional_status_from_pb(command.to)?, "command.to")?,
        expected_version: command.expected_version,
        reason: command.reason,
        note: command.note,
        actor: actor_from_pb(&present(command.actor, "command.actor")?)?,
        request_id: command.request_id,
        test: command.test,
    })
}

pub(super) fn actor_to_pb(actor: Actor) -> pb::Actor {
    let (kind, id) = match actor {
        Actor::System => (pb::ActorKind::System, Bytes::new()),
        Actor::Key(key) => (pb::ActorKind::Key, id_bytes(key)),
        Actor::Source(source) => (pb::ActorKind::Source, optional_id_bytes(source)),
    };
    pb::Actor { kind: kind.into(), id }
}

pub(super) fn actor_from_pb(actor: &pb::Actor) -> Result<Actor, WireError> {
    match pb::ActorKind::try_from(actor.kind) {
        Ok(pb::ActorKind::System) if actor.id.is_empty() => Ok(Actor::System),
        Ok(pb::ActorKind::Key) => Ok(Actor::Key(id(&actor.id, "actor.id")?)),
        Ok(pb::ActorKind::Source) => Ok(Actor::Source(optional_id(&actor.id, "actor.id")?)),
        Ok(pb::ActorKind::System | pb::ActorKind::Unspecified) | Err(_) => {
            Err(WireError::Impossible("actor"))
        }
    }
}
