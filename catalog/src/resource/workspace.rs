//! Workspaces: the customers of an installation.

use schemas::id::{WorkspaceId, WorkspaceNumber};
use schemas::money::Currency;
use serde::{Deserialize, Serialize};

use super::{MICROS_PER_DAY, Meta};

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
    /// How conversions find the touches that they belong to.
    pub attribution: Attribution,
    /// What is kept of the addresses that clicks come from.
    pub ip_storage: IpStorage,
    /// Whether visitors are recognised.
    pub privacy: Privacy,
    /// What every resource carries.
    pub meta: Meta,
}

/// How conversions find the touches that they belong to, and how touches share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribution {
    /// The model that says whose a conversion is.
    pub payable_model: Model,
    /// How far back a conversion looks for its click, unless the offer says otherwise.
    pub click_lookback_micros: i64,
    /// How far back it looks for an impression where no click counts, unless the offer says otherwise.
    pub view_lookback_micros: i64,
    /// A touch that is closer to the conversion did not cause it.
    pub min_time_to_convert_micros: i64,
    /// After how long a touch counts half as much in the model of time decay.
    pub time_decay_half_life_micros: i64,
    /// What the first touch, those between, and the last one share in the position based model, in percent.
    pub position_weights: [u8; 3],
    /// In which order a report's words are asked whose it is; each stands once.
    pub identify_by: [Identifier; 5],
}

/// What a report can say of whose conversion it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identifier {
    /// The click that led to it.
    ClickId,
    /// The browser.
    VisitorId,
    /// The sender's customer.
    CustomerId,
    /// The customer's e-mail address.
    Email,
    /// A coupon, which is a partner's.
    Coupon,
}

impl Identifier {
    /// Every identifier, in the default order.
    pub const ALL: [Self; 5] = [Self::ClickId, Self::VisitorId, Self::CustomerId, Self::Email, Self::Coupon];

    /// The word in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClickId => "click_id",
            Self::VisitorId => "visitor_id",
            Self::CustomerId => "customer_id",
            Self::Email => "email",
            Self::Coupon => "coupon",
        }
    }
}

impl Default for Attribution {
    fn default() -> Self {
        Self {
            payable_model: Model::LastTouch,
            click_lookback_micros: 30 * MICROS_PER_DAY,
            view_lookback_micros: MICROS_PER_DAY,
            min_time_to_convert_micros: 0,
            time_decay_half_life_micros: 7 * MICROS_PER_DAY,
            position_weights: [40, 20, 40],
            identify_by: Identifier::ALL,
        }
    }
}

/// How a conversion is shared among its touches. All are computed for every conversion; one is payable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// All of it to the last touch.
    LastTouch,
    /// All of it to the first touch.
    FirstTouch,
    /// The same to each.
    Linear,
    /// Half as much for each half-life that a touch lies further back.
    TimeDecay,
    /// A share to the first, one to the last, and one to all between.
    PositionBased,
}

impl Model {
    /// Every model.
    pub const ALL: [Self; 5] =
        [Self::LastTouch, Self::FirstTouch, Self::Linear, Self::TimeDecay, Self::PositionBased];

    /// The word in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LastTouch => "last_touch",
            Self::FirstTouch => "first_touch",
            Self::Linear => "linear",
            Self::TimeDecay => "time_decay",
            Self::PositionBased => "position_based",
        }
    }
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
