//! From a resource that was read to the log's verdict on it, and to the answer.

use axum::Json;
use axum::response::{IntoResponse, Response};
use catalog::{
    Accepted, Actor, ActorKind, Change, Expected, Idempotency, Proposal, ProposeError, Rejected, ResourceKind,
};
use http::{HeaderValue, StatusCode};
use schemas::time::Timestamp;

use super::crud::Crud;
use super::idempotency::REPLAYED;
use crate::auth::Caller;
use crate::error::Error;
use crate::state::Desk;

/// A change of one resource, ready to be proposed.
#[derive(Debug)]
pub(crate) struct Draft<T> {
    pub(crate) resource: T,
    pub(crate) expected: Expected,
    /// A secret that was made for it, which is shown this once.
    pub(crate) secret: Option<String>,
    pub(crate) at: Timestamp,
}

/// A resource as the log has accepted it.
#[derive(Debug)]
pub(crate) struct Stored<T> {
    pub(crate) resource: T,
    secret: Option<String>,
    replayed: bool,
}

impl<T: Crud> Stored<T> {
    /// A resource that did not have to be changed.
    pub(crate) const fn unchanged(resource: T) -> Self {
        Self { resource, secret: None, replayed: false }
    }

    /// The answer that was given under this key before, if this node knows of one. Asked first, so that a repetition gets
    /// its answer even if the same request could not be made any more.
    pub(crate) fn replay(
        desk: &Desk,
        caller: &Caller,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<Self>, Error> {
        let Some(idempotency) = idempotency else { return Ok(None) };
        match desk.catalog().read().answered(caller.workspace, idempotency, desk.now()) {
            None => Ok(None),
            Some(Ok(accepted)) => Self::from_accepted(accepted, None).map(Some),
            Some(Err(rejected)) => Err(refused(rejected)),
        }
    }

    fn from_accepted(accepted: Accepted, secret: Option<String>) -> Result<Self, Error> {
        let Accepted { replayed, resources, .. } = accepted;
        let resource = resources.into_iter().next().and_then(T::from_resource);
        let resource = resource
            .ok_or_else(|| Error::Internal("the log answered with another kind of resource".to_owned()))?;
        // Of a secret the log has the hash only: a repetition cannot show it again.
        let secret = secret.filter(|_| !replayed);
        Ok(Self { resource, secret, replayed })
    }

    /// The answer.
    pub(crate) fn answer(self, desk: &Desk, status: StatusCode) -> Response {
        let mut response = (status, Json(self.resource.view(desk, self.secret))).into_response();
        if self.replayed {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// Proposes a change and waits for the verdict.
pub(crate) async fn propose<T: Crud>(
    desk: &Desk,
    caller: &Caller,
    draft: Draft<T>,
    idempotency: Option<Idempotency>,
) -> Result<Result<Stored<T>, Rejected>, Error> {
    let Draft { resource, expected, secret, at } = draft;
    let change = Change::Put { resource: resource.into(), expected };
    match propose_change(desk, caller, change, at, idempotency).await? {
        Ok(accepted) => Stored::from_accepted(accepted, secret).map(Ok),
        Err(rejected) => Ok(Err(rejected)),
    }
}

/// Proposes a change of whatever resource and waits for the verdict.
pub(crate) async fn propose_change(
    desk: &Desk,
    caller: &Caller,
    change: Change,
    at: Timestamp,
    idempotency: Option<Idempotency>,
) -> Result<Result<Accepted, Rejected>, Error> {
    let proposal = Proposal {
        id: desk.new_id(caller.workspace),
        workspace: caller.workspace,
        actor: Actor { kind: ActorKind::Key, id: caller.key.to_string() },
        request_id: caller.request_id.clone(),
        at,
        idempotency,
        changes: vec![change],
    };
    match desk.catalog().propose(proposal).await {
        Ok(accepted) => Ok(Ok(accepted)),
        Err(ProposeError::Rejected(rejected)) => Ok(Err(rejected)),
        Err(error) => Err(failed(error)),
    }
}

/// The error for a verdict against a change.
pub(crate) fn refused(rejected: Rejected) -> Error {
    let message = rejected.to_string();
    match rejected {
        Rejected::NotFound { kind, .. } => Error::not_found(kind.as_str()),
        Rejected::Exists { field, kind, id } => {
            let name = if kind == ResourceKind::Link && field == "key" { "link key" } else { field };
            let by = if id.is_empty() { String::new() } else { format!(" by {id}") };
            let message = format!("the {name} is taken{by}");
            Error::Conflict { message, field: Some(field.to_owned()), current_version: None }
        }
        Rejected::VersionConflict { current } => version_conflict(current),
        Rejected::IdempotencyConflict => Error::IdempotencyConflict,
        Rejected::UnknownReference { field } => {
            Error::invalid(field, "refers to nothing that is there, or to something archived")
        }
        Rejected::Immutable { field } => Error::invalid(field, "cannot be changed"),
        Rejected::Limit { what, .. } => Error::invalid(what, message),
    }
}

pub(crate) fn version_conflict(current: u64) -> Error {
    let message = format!("the resource has version {current}");
    Error::Conflict { message, field: Some("expected_version".to_owned()), current_version: Some(current) }
}

fn failed(error: ProposeError) -> Error {
    match error {
        ProposeError::Invalid(faults) => Error::InvalidFields(faults),
        ProposeError::Rejected(rejected) => refused(rejected),
        ProposeError::Unwritable(reason) => Error::Internal(reason.to_string()),
        ProposeError::Log(_) | ProposeError::Busy | ProposeError::Timeout | ProposeError::Halted(_) => {
            Error::Unavailable { part: "the catalog", reason: error.to_string() }
        }
    }
}
