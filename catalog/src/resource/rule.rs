//! The rules of smart links as they are kept; [`crate::rule`] evaluates them.

use std::fmt;
use std::str::FromStr;

use schemas::id::{OfferId, RuleId};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::macros::{SUB_NAMES, SUBS};

/// Sends the clicks that it matches to one of its targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its id: what clicks and reports name, and what makes a visitor's share of it.
    pub id: RuleId,
    /// What it matches.
    pub when: Condition,
    /// Where its clicks go, each visitor always to the same one.
    pub to: Vec<Target>,
}

/// Where a share of a rule's clicks goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Where.
    pub destination: TargetDestination,
    /// Its share, relative to the other targets' weights.
    pub weight: u32,
}

/// Where clicks go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetDestination {
    /// To this address; a template of [`crate::macros`].
    Url(String),
    /// To the destination of this offer, for which the click then counts.
    Offer(OfferId),
}

/// What a rule matches: the contract's filter tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// All of them; without any, everything.
    And(Vec<Self>),
    /// At least one of them; without any, nothing.
    Or(Vec<Self>),
    /// What it does not match.
    Not(Box<Self>),
    /// One comparison.
    #[serde(untagged)]
    Test(Test),
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What is compared.
    pub field: Field,
    /// How.
    pub op: Op,
    /// With what.
    pub value: Vec<String>,
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// With one of the values.
    Eq,
    /// With none of the values, an unknown value included.
    Not,
    /// More than the value.
    Gt,
    /// The value or more.
    Gte,
    /// Less than the value.
    Lt,
    /// The value or less.
    Lte,
    /// Holds one of the values, whatever the case.
    Contains,
    /// Whether there is no value (`true`) or one (`false`).
    IsNull,
}

impl Op {
    /// Every operator.
    pub const ALL: [Self; 8] =
        [Self::Eq, Self::Not, Self::Gt, Self::Gte, Self::Lt, Self::Lte, Self::Contains, Self::IsNull];

    /// The word in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Not => "not",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Contains => "contains",
            Self::IsNull => "is_null",
        }
    }
}

/// What a rule can ask about a click.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// ISO 3166-1 alpha-2, `DE`.
    Country,
    /// ISO 3166-2, `DE-BE`.
    Region,
    /// A city's name.
    City,
    /// `desktop`, `mobile`, `tablet`, `tv`, `bot` or `other`.
    Device,
    /// The operating system's family.
    Os,
    /// The browser's family.
    Browser,
    /// The first of the visitor's languages, without its region: `de`.
    Language,
    /// The domain that the visitor comes from, without `www.`.
    Referrer,
    /// The campaign parameter `utm_source`.
    UtmSource,
    /// The campaign parameter `utm_medium`.
    UtmMedium,
    /// The campaign parameter `utm_campaign`.
    UtmCampaign,
    /// The campaign parameter `utm_term`.
    UtmTerm,
    /// The campaign parameter `utm_content`.
    UtmContent,
    /// `sub1` to `sub10`, by number.
    Sub(u8),
    /// The hour of the day in the workspace's time zone, `0` to `23`.
    Hour,
    /// The day of the week in the workspace's time zone, `mon` to `sun`.
    Weekday,
    /// `new` or `returning`.
    Visitor,
    /// `true` or `false`.
    Bot,
}

/// A text that names no field of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a field of rules")]
pub struct InvalidField;

impl Field {
    /// Every field.
    pub fn all() -> impl Iterator<Item = Self> {
        let fixed = [
            Self::Country,
            Self::Region,
            Self::City,
            Self::Device,
            Self::Os,
            Self::Browser,
            Self::Language,
            Self::Referrer,
            Self::UtmSource,
            Self::UtmMedium,
            Self::UtmCampaign,
            Self::UtmTerm,
            Self::UtmContent,
            Self::Hour,
            Self::Weekday,
            Self::Visitor,
            Self::Bot,
        ];
        fixed.into_iter().chain((1..=SUBS).map(Self::Sub))
    }

    /// The word in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::Region => "region",
            Self::City => "city",
            Self::Device => "device",
            Self::Os => "os",
            Self::Browser => "browser",
            Self::Language => "language",
            Self::Referrer => "referrer",
            Self::UtmSource => "utm_source",
            Self::UtmMedium => "utm_medium",
            Self::UtmCampaign => "utm_campaign",
            Self::UtmTerm => "utm_term",
            Self::UtmContent => "utm_content",
            Self::Sub(number) => sub_name(number),
            Self::Hour => "hour",
            Self::Weekday => "weekday",
            Self::Visitor => "visitor",
            Self::Bot => "bot",
        }
    }
}

const fn sub_name(number: u8) -> &'static str {
    match number {
        1..=SUBS => SUB_NAMES[number as usize - 1],
        _ => "",
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Field {
    type Err = InvalidField;

    fn from_str(text: &str) -> Result<Self, InvalidField> {
        Self::all().find(|field| field.as_str() == text).ok_or(InvalidField)
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
