//! What the tests speak: one installation's catalog, its traffic, and a core that checks itself at every step.

mod core;
pub(crate) mod installation;
mod traffic;

pub(crate) use self::core::{Core, Map, commit, outcome, outcomes, revision, revisions};
pub(crate) use installation::{
    CAPPED_OFFER, COUPON, EURO_OFFER, FAVOURITE, OFFER, OTHER_OFFER, PARTNER, REJECTING_OFFER, WORKSPACE,
    catalog, catalog_with, folded, id, lookback_proposal, projection_proposal, proposals, usd,
};
pub(crate) use traffic::{DAY, HOUR, MINUTE, SECOND, T0, Traffic, click_id, event_id};
