//! Proposals on the wire: a versioned protobuf envelope around the JSON of each resource, read strictly.

use bytes::Bytes;
use prost::Message;
use schemas::id::{ProposalId, WorkspaceNumber};
use schemas::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::RecordError;
use crate::proposal::{Actor, ActorKind, Change, Expected, Idempotency, MAX_CHANGES, Proposal};
use crate::resource::{Resource, ResourceKind};

/// Version of a proposal on the wire.
pub const PROPOSAL_VERSION: u32 = 1;

/// The generated code of these messages is public within the crate only.
mod pb {
    use bytes::Bytes;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Proposal {
        #[prost(uint32, tag = "1")]
        pub(super) version: u32,
        #[prost(bytes = "bytes", tag = "2")]
        pub(super) id: Bytes,
        #[prost(uint32, tag = "3")]
        pub(super) workspace: u32,
        #[prost(enumeration = "ActorKind", tag = "4")]
        pub(super) actor_kind: i32,
        #[prost(string, tag = "5")]
        pub(super) actor_id: String,
        #[prost(string, tag = "6")]
        pub(super) request_id: String,
        #[prost(int64, tag = "7")]
        pub(super) at: i64,
        #[prost(message, optional, tag = "8")]
        pub(super) idempotency: Option<Idempotency>,
        #[prost(message, repeated, tag = "9")]
        pub(super) changes: Vec<Change>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Idempotency {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(bytes = "bytes", tag = "2")]
        pub(super) payload_sha256: Bytes,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Change {
        #[prost(oneof = "Operation", tags = "1")]
        pub(super) operation: Option<Operation>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Operation {
        #[prost(message, tag = "1")]
        Put(Put),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Put {
        #[prost(enumeration = "Kind", tag = "1")]
        pub(super) kind: i32,
        #[prost(bytes = "bytes", tag = "2")]
        pub(super) body: Bytes,
        #[prost(enumeration = "Expected", tag = "3")]
        pub(super) expected: i32,
        #[prost(uint64, tag = "4")]
        pub(super) expected_version: u64,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
    #[repr(i32)]
    pub(super) enum ActorKind {
        Unspecified = 0,
        System = 1,
        Key = 2,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
    #[repr(i32)]
    pub(super) enum Expected {
        Unspecified = 0,
        New = 1,
        Version = 2,
        Any = 3,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
    #[repr(i32)]
    pub(super) enum Kind {
        Unspecified = 0,
        Installation = 1,
        Workspace = 2,
        Offer = 3,
        Partner = 4,
        Link = 5,
        Source = 6,
        Key = 7,
        Pixel = 8,
        Domain = 9,
        Rate = 10,
        Projection = 11,
    }
}

/// The bytes of a proposal.
///
/// # Errors
/// [`RecordError::Body`] if a resource has no JSON form.
pub fn encode(proposal: &Proposal) -> Result<Bytes, RecordError> {
    let message = pb::Proposal {
        version: PROPOSAL_VERSION,
        id: Bytes::copy_from_slice(proposal.id.bytes()),
        workspace: proposal.workspace.get(),
        actor_kind: match proposal.actor.kind {
            ActorKind::System => pb::ActorKind::System.into(),
            ActorKind::Key => pb::ActorKind::Key.into(),
        },
        actor_id: proposal.actor.id.clone(),
        request_id: proposal.request_id.clone(),
        at: proposal.at.micros(),
        idempotency: proposal.idempotency.as_ref().map(|idempotency| pb::Idempotency {
            key: idempotency.key.clone(),
            payload_sha256: Bytes::copy_from_slice(&idempotency.payload_sha256),
        }),
        changes: proposal.changes.iter().map(change_to_pb).collect::<Result<_, _>>()?,
    };
    Ok(message.encode_to_vec().into())
}

/// The proposal in these bytes. What [`encode`] would not have written is refused: whoever guesses at a catalog pays
/// the wrong person.
///
/// # Errors
/// [`RecordError`] if the bytes are not exactly a proposal of a known version.
pub fn decode(bytes: &Bytes) -> Result<Proposal, RecordError> {
    let message = pb::Proposal::decode(bytes.clone()).map_err(|_| RecordError::Encoding)?;
    if message.version != PROPOSAL_VERSION {
        return Err(RecordError::UnknownVersion(message.version));
    }
    if message.encode_to_vec() != *bytes {
        return Err(RecordError::UnknownField);
    }
    if message.changes.len() > MAX_CHANGES {
        return Err(RecordError::Impossible("changes"));
    }
    let actor_kind = match pb::ActorKind::try_from(message.actor_kind) {
        Ok(pb::ActorKind::System) => ActorKind::System,
        Ok(pb::ActorKind::Key) => ActorKind::Key,
        Ok(pb::ActorKind::Unspecified) | Err(_) => return Err(RecordError::Impossible("actor_kind")),
    };
    Ok(Proposal {
        id: ProposalId::from_slice(&message.id).ok_or(RecordError::Impossible("id"))?,
        workspace: WorkspaceNumber::new(message.workspace).ok_or(RecordError::Impossible("workspace"))?,
        actor: Actor { kind: actor_kind, id: message.actor_id },
        request_id: message.request_id,
        at: Timestamp::from_micros(message.at),
        idempotency: message.idempotency.map(idempotency_from_pb).transpose()?,
        changes: message.changes.into_iter().map(change_from_pb).collect::<Result<_, _>>()?,
    })
}

fn idempotency_from_pb(idempotency: pb::Idempotency) -> Result<Idempotency, RecordError> {
    let payload_sha256 = idempotency.payload_sha256.as_ref().try_into();
    Ok(Idempotency {
        key: idempotency.key,
        payload_sha256: payload_sha256.map_err(|_| RecordError::Impossible("payload_sha256"))?,
    })
}

fn change_to_pb(change: &Change) -> Result<pb::Change, RecordError> {
    let Change::Put { resource, expected } = change;
    let (expected, expected_version) = match expected {
        Expected::New => (pb::Expected::New, 0),
        Expected::Version(version) => (pb::Expected::Version, *version),
        Expected::Any => (pb::Expected::Any, 0),
    };
    let put = pb::Put {
        kind: kind_to_pb(resource.kind()).into(),
        body: body(resource)?,
        expected: expected.into(),
        expected_version,
    };
    Ok(pb::Change { operation: Some(pb::Operation::Put(put)) })
}

fn change_from_pb(change: pb::Change) -> Result<Change, RecordError> {
    let Some(pb::Operation::Put(put)) = change.operation else {
        return Err(RecordError::Impossible("operation"));
    };
    let expected = match (pb::Expected::try_from(put.expected), put.expected_version) {
        (Ok(pb::Expected::New), 0) => Expected::New,
        (Ok(pb::Expected::Any), 0) => Expected::Any,
        (Ok(pb::Expected::Version), version) => Expected::Version(version),
        (Ok(pb::Expected::New | pb::Expected::Any | pb::Expected::Unspecified) | Err(_), _) => {
            return Err(RecordError::Impossible("expected"));
        }
    };
    let kind = pb::Kind::try_from(put.kind).map_err(|_| RecordError::Impossible("kind"))?;
    Ok(Change::Put { resource: resource(kind, &put.body)?, expected })
}

const fn kind_to_pb(kind: ResourceKind) -> pb::Kind {
    match kind {
        ResourceKind::Installation => pb::Kind::Installation,
        ResourceKind::Workspace => pb::Kind::Workspace,
        ResourceKind::Offer => pb::Kind::Offer,
        ResourceKind::Partner => pb::Kind::Partner,
        ResourceKind::Link => pb::Kind::Link,
        ResourceKind::Source => pb::Kind::Source,
        ResourceKind::Key => pb::Kind::Key,
        ResourceKind::Pixel => pb::Kind::Pixel,
        ResourceKind::Domain => pb::Kind::Domain,
        ResourceKind::Rate => pb::Kind::Rate,
        ResourceKind::Projection => pb::Kind::Projection,
    }
}

fn body(resource: &Resource) -> Result<Bytes, RecordError> {
    fn json(resource: &impl Serialize) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(resource)
    }
    let body = match resource {
        Resource::Installation(installation) => json(installation),
        Resource::Workspace(workspace) => json(workspace),
        Resource::Offer(offer) => json(offer),
        Resource::Partner(partner) => json(partner),
        Resource::Link(link) => json(link),
        Resource::Source(source) => json(source),
        Resource::Key(key) => json(key),
        Resource::Pixel(pixel) => json(pixel),
        Resource::Domain(domain) => json(domain),
        Resource::Rate(rate) => json(rate),
        Resource::Projection(projection) => json(projection),
    };
    body.map(Bytes::from)
        .map_err(|error| RecordError::Body { kind: resource.kind().as_str(), reason: error.to_string() })
}

fn resource(kind: pb::Kind, body: &[u8]) -> Result<Resource, RecordError> {
    fn json<T: DeserializeOwned>(kind: ResourceKind, body: &[u8]) -> Result<T, RecordError> {
        serde_json::from_slice(body)
            .map_err(|error| RecordError::Body { kind: kind.as_str(), reason: error.to_string() })
    }
    Ok(match kind {
        pb::Kind::Unspecified => return Err(RecordError::Impossible("kind")),
        pb::Kind::Installation => Resource::Installation(json(ResourceKind::Installation, body)?),
        pb::Kind::Workspace => Resource::Workspace(json(ResourceKind::Workspace, body)?),
        pb::Kind::Offer => Resource::Offer(json(ResourceKind::Offer, body)?),
        pb::Kind::Partner => Resource::Partner(json(ResourceKind::Partner, body)?),
        pb::Kind::Link => Resource::Link(json(ResourceKind::Link, body)?),
        pb::Kind::Source => Resource::Source(json(ResourceKind::Source, body)?),
        pb::Kind::Key => Resource::Key(json(ResourceKind::Key, body)?),
        pb::Kind::Pixel => Resource::Pixel(json(ResourceKind::Pixel, body)?),
        pb::Kind::Domain => Resource::Domain(json(ResourceKind::Domain, body)?),
        pb::Kind::Rate => Resource::Rate(json(ResourceKind::Rate, body)?),
        pb::Kind::Projection => Resource::Projection(json(ResourceKind::Projection, body)?),
    })
}
