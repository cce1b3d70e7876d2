//! Exchange rates as readers look them up.
//!
//! A rate holds in its own direction only: from the rate of euros in dollars nobody derives that of dollars in euros, and no
//! rate is made of two others. What banks and feeds say of either direction differs, and an amount must be what the customer
//! can work out from one number.

use std::ops::Bound;

use jiff::civil::Date;
use schemas::id::WorkspaceNumber;
use schemas::money::Currency;

use super::Catalog;
use crate::resource::{Rate, RateKey};

impl Catalog {
    /// The rate that holds between these currencies on a day: the newest one of that day or of one of the
    /// [`MAX_RATE_AGE_DAYS`](crate::MAX_RATE_AGE_DAYS) days before.
    ///
    /// The day of an amount is that in UTC of its conversion's `occurred_at`
    /// ([`Timestamp::utc_date`](schemas::time::Timestamp::utc_date)): that is when it was earned, and a day that followed a
    /// workspace's time zone would change with it.
    pub fn rate(&self, workspace: WorkspaceNumber, from: Currency, to: Currency, on: Date) -> Option<&Rate> {
        self.tables.rates(workspace)?.newest(from, to, on)
    }

    /// The rate with exactly this key.
    pub fn rate_of(&self, workspace: WorkspaceNumber, key: &RateKey) -> Option<&Rate> {
        self.tables.rates(workspace)?.get(key)
    }

    /// The workspace's rates between two keys, ascending by key; none where the first bound lies behind the last.
    pub fn rates(
        &self,
        workspace: WorkspaceNumber,
        first: Bound<RateKey>,
        last: Bound<RateKey>,
    ) -> impl DoubleEndedIterator<Item = &Rate> {
        self.tables.rates(workspace).into_iter().flat_map(move |rates| rates.between(first, last))
    }

    /// The number of the revision that changed a rate of the workspace last; 0 if it has none. While it stays, so does every
    /// answer of [`Catalog::rate`].
    pub fn rates_revision(&self, workspace: WorkspaceNumber) -> u64 {
        self.tables.rates(workspace).map_or(0, crate::table::Rates::revision)
    }

    /// The rates that came or changed after the revision with this number, in the order of their last changes.
    pub fn rates_changed_after(
        &self,
        workspace: WorkspaceNumber,
        revision: u64,
    ) -> impl Iterator<Item = &Rate> {
        self.tables.rates(workspace).into_iter().flat_map(move |rates| rates.changed_after(revision))
    }
}
