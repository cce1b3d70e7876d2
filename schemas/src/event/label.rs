//! The labels that the edge and the core set.

/// Makes each label a constant, and all of them a list.
macro_rules! labels {
    ($($(#[$doc:meta])+ $name:ident = $text:literal;)+) => {
        $($(#[$doc])+ pub const $name: &str = $text;)+
        /// Every label.
        pub const ALL: &[&str] = &[$($name),+];
    };
}

labels! {
    /// The request was a `HEAD`.
    HEAD = "head";
    /// The browser fetched ahead of a click that may never come.
    PREFETCH = "prefetch";
    /// A program, not a person; one of the `bot_` labels says how it is known.
    BOT = "bot";
    /// The agent is on the list of known bots.
    BOT_PATTERN = "bot_pattern";
    /// The agent is a general HTTP client.
    BOT_CLIENT = "bot_client";
    /// There was no agent.
    BOT_EMPTY_AGENT = "bot_empty_agent";
    /// The agent makes previews of links for a messenger or a network.
    BOT_PREVIEW = "bot_preview";
    /// More requests than the rate limit allows: recorded, and not refused.
    RATE = "rate";
    /// A parameter holds a macro that the system before us left unresolved.
    UNRESOLVED_MACRO = "unresolved_macro";
    /// The address had a second `?`, which was read as `&`.
    REPAIRED_URL = "repaired_url";
    /// The wanted destination is not allowed; the stored one was used.
    UNSAFE_DESTINATION = "unsafe_destination";
    /// The partner in the request is unknown, archived or foreign.
    UNKNOWN_PARTNER = "unknown_partner";
    /// A parameter stood more than once; the first counted.
    REPEATED_PARAMETER = "repeated_parameter";
    /// Parameters beyond the bounds were dropped.
    DROPPED_PARAMETER = "dropped_parameter";
    /// A pixel came without `Origin` and `Referer`.
    NO_ORIGIN = "no_origin";
    /// The sender named no currency and no offer: the amount stands in the workspace's currency until the click's
    /// offer is known.
    DEFAULT_CURRENCY = "default_currency";
    /// The offer has no such goal.
    UNKNOWN_GOAL = "unknown_goal";
    /// The source's word for the status is on no list of ours.
    UNKNOWN_STATUS = "unknown_status";
    /// The visitor did not consent: nothing was kept that tells visitors apart.
    NO_CONSENT = "no_consent";
    /// The browser asks not to be tracked, by Global Privacy Control.
    GPC = "gpc";
    /// The browser asks not to be tracked, by `DNT`.
    DNT = "dnt";
    /// Beyond a cap.
    CAP = "cap";
    /// The edge knew the catalog from its disk only, while the log was away.
    STALE_CATALOG = "stale_catalog";
    /// It came after a conversion that it would have been a touch of, when that was approved already or long past; the core's to
    /// say.
    LATE = "late";
    /// Of its visitor the first click on the link in 24 hours; the core's to say.
    UNIQUE_LINK_24H = "unique_link_24h";
    /// Of its visitor the first click on the offer in 24 hours; the core's to say.
    UNIQUE_OFFER_24H = "unique_offer_24h";
}

/// Labels that leave a hit out of net numbers and out of attribution.
pub const NOT_COUNTED: [&str; 4] = [HEAD, PREFETCH, BOT, RATE];
