//! The labels that the edge and the core set.

/// The request was a `HEAD`.
pub const HEAD: &str = "head";
/// The browser fetched ahead of a click that may never come.
pub const PREFETCH: &str = "prefetch";
/// A program, not a person; one of the `bot_` labels says how it is known.
pub const BOT: &str = "bot";
/// The agent is on the list of known bots.
pub const BOT_PATTERN: &str = "bot_pattern";
/// The agent is a general HTTP client.
pub const BOT_CLIENT: &str = "bot_client";
/// There was no agent.
pub const BOT_EMPTY_AGENT: &str = "bot_empty_agent";
/// The agent makes previews of links for a messenger or a network.
pub const BOT_PREVIEW: &str = "bot_preview";
/// More requests than the rate limit allows: recorded, and not refused.
pub const RATE: &str = "rate";
/// A parameter holds a macro that the system before us left unresolved.
pub const UNRESOLVED_MACRO: &str = "unresolved_macro";
/// The address had a second `?`, which was read as `&`.
pub const REPAIRED_URL: &str = "repaired_url";
/// The wanted destination is not allowed; the stored one was used.
pub const UNSAFE_DESTINATION: &str = "unsafe_destination";
/// The partner in the request is unknown, archived or foreign.
pub const UNKNOWN_PARTNER: &str = "unknown_partner";
/// A parameter stood more than once; the first counted.
pub const REPEATED_PARAMETER: &str = "repeated_parameter";
/// Parameters beyond the bounds were dropped.
pub const DROPPED_PARAMETER: &str = "dropped_parameter";
/// A pixel came without `Origin` and `Referer`.
pub const NO_ORIGIN: &str = "no_origin";
/// The sender named no currency and no offer: the amount stands in the workspace's currency until the click's
/// offer is known.
pub const DEFAULT_CURRENCY: &str = "default_currency";
/// The offer has no such goal.
pub const UNKNOWN_GOAL: &str = "unknown_goal";
/// The source's word for the status is on no list of ours.
pub const UNKNOWN_STATUS: &str = "unknown_status";
/// The visitor did not consent: nothing was kept that tells visitors apart.
pub const NO_CONSENT: &str = "no_consent";
/// The browser asks not to be tracked, by Global Privacy Control.
pub const GPC: &str = "gpc";
/// The browser asks not to be tracked, by `DNT`.
pub const DNT: &str = "dnt";
/// Beyond a cap.
pub const CAP: &str = "cap";
/// The edge knew the catalog from its disk only, while the log was away.
pub const STALE_CATALOG: &str = "stale_catalog";

/// Labels that leave a hit out of net numbers and out of attribution.
pub const NOT_COUNTED: [&str; 4] = [HEAD, PREFETCH, BOT, RATE];
