//! Workspaces: the customers of an installation.

use schemas::id::{WorkspaceId, WorkspaceNumber};
use schemas::money::Currency;
use serde::{Deserialize, Serialize};

use super::Meta;

/// A customer of the installation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// Its number in ids and rows.
    pub number: WorkspaceNumber,
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// The currency of its reports.
    pub currency: Currency,
    /// The IANA time zone of its reports.
    pub timezone: String,
    /// Where clicks go that have no other destination.
    pub fallback_url: Option<String>,
    /// The partition of `events` that holds all its events.
    pub partition: u32,
    /// How far back a conversion looks for its click, unless the offer says otherwise.
    pub click_lookback_micros: i64,
    /// What is kept of the addresses that clicks come from.
    pub ip_storage: IpStorage,
    /// Whether visitors are recognised.
    pub privacy: Privacy,
    /// What every resource carries.
    pub meta: Meta,
}

/// What is kept of the addresses that clicks come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpStorage {
    /// Nothing.
    None,
    /// The network: 24 bits of an IPv4 address, 48 of an IPv6 address.
    #[default]
    Truncated,
    /// The whole address.
    Full,
}

/// Whether visitors are recognised. Whoever is not gets no cookie and no visitor id: only the click id leads from a
/// conversion to its click.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// Whoever sends Global Privacy Control (`Sec-GPC: 1`) is not recognised.
    pub honour_gpc: bool,
    /// Whoever sends `DNT: 1` is not recognised.
    pub honour_dnt: bool,
    /// What holds for a visitor who said nothing.
    pub consent: Consent,
}

impl Default for Privacy {
    fn default() -> Self {
        Self { honour_gpc: true, honour_dnt: true, consent: Consent::Assumed }
    }
}

/// What holds for a visitor who said nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// The visitor agrees until `consent=0` says otherwise.
    #[default]
    Assumed,
    /// The visitor does not agree until `consent=1` says so.
    Required,
}
