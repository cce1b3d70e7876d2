//! Sources: the systems that send conversions.

use std::collections::BTreeMap;

use ipnet::IpNet;
use schemas::event::Status;
use schemas::id::{SourceId, WorkspaceNumber};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Meta, PreviousSecret, SecretHash, sha256_hex};
use crate::seal::SealedSecret;

/// A system that sends conversions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// Whose source.
    pub workspace: WorkspaceNumber,
    /// Its name.
    pub name: String,
    /// How it shows that it is the one.
    pub auth: SourceAuth,
    /// The networks that it sends from; none: any.
    pub allowed_cidrs: Vec<IpNet>,
    /// Its own names of fields, and what they are called here.
    pub params: BTreeMap<String, String>,
    /// Its own words for a status, and what they mean here.
    pub status_map: BTreeMap<String, Status>,
    /// Values of fields that a request of it does not have.
    pub defaults: BTreeMap<String, String>,
    /// What every resource carries.
    pub meta: Meta,
}

/// How a source shows that it is the one. After a rotation two secrets are good, until the first one's grace is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceAuth {
    /// Not at all; its conversions wait for a decision.
    Open,
    /// By a token.
    Token {
        /// The token's hash.
        #[serde(with = "sha256_hex")]
        sha256: SecretHash,
        /// The token before the last rotation.
        previous: Option<PreviousSecret>,
    },
    /// By a signature under a secret that both sides know.
    Signed {
        /// The secret.
        secret: SealedSecret,
        /// The secret before the last rotation.
        previous: Option<PreviousSealed>,
    },
}

/// The sealed secret before the last rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousSealed {
    /// The secret.
    pub secret: SealedSecret,
    /// Until when it is good.
    pub valid_until: Timestamp,
}
