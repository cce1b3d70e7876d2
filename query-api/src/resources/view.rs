//! What every resource carries, in the form of answers.

use catalog::{Entity, Meta};
use schemas::time::Timestamp;
use serde::Serialize;

/// The first fields of an answer.
#[derive(Debug, Serialize)]
pub(crate) struct Head {
    id: String,
    status: &'static str,
}

impl Head {
    pub(crate) fn of<T: Entity>(resource: &T) -> Self {
        let status = if resource.meta().archived { "archived" } else { "active" };
        Self { id: resource.id().to_string(), status }
    }

    /// The head of a resource that has more statuses than others.
    pub(crate) fn with_status<T: Entity>(resource: &T, status: &'static str) -> Self {
        Self { status, ..Self::of(resource) }
    }
}

/// The last fields of an answer.
#[derive(Debug, Serialize)]
pub(crate) struct Tail {
    external_source: Option<String>,
    external_id: Option<String>,
    tags: Vec<String>,
    metadata: serde_json::Map<String, serde_json::Value>,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Tail {
    pub(crate) fn of<T: Entity>(resource: &T) -> Self {
        Self::of_meta(resource.meta())
    }

    pub(crate) fn of_meta(meta: &Meta) -> Self {
        Self {
            external_source: meta.external.as_ref().map(|external| external.source.clone()),
            external_id: meta.external.as_ref().map(|external| external.id.clone()),
            tags: meta.tags.clone(),
            metadata: meta.metadata.clone(),
            version: meta.version,
            created_at: meta.created_at,
            updated_at: meta.updated_at,
        }
    }
}
