//! The exchange rates of one workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use jiff::civil::Date;
use schemas::money::Currency;

use crate::resource::{Rate, RateKey};

/// How many days before the day in question a rate may be at most. Nobody publishes rates on weekends and holidays: from the
/// Thursday before Easter it is five days until the next one, and a feed may miss one or two. What is older is no rate of
/// that day any more but the sign of a feed that has broken.
pub const MAX_RATE_AGE_DAYS: usize = 7;
/// Most rates of a workspace: every day's of 50 currencies for more than ten years. The catalog is in the memory of every
/// node, where this many take some 30 MB.
pub const MAX_RATES: usize = 200_000;

/// The rates of one workspace.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rates {
    rows: BTreeMap<RateKey, Rate>,
    /// Each rate once, by the revision that changed it last.
    changes: BTreeSet<(u64, RateKey)>,
}

impl Rates {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn get(&self, key: &RateKey) -> Option<&Rate> {
        self.rows.get(key)
    }

    /// The newest rate between these currencies, in this direction, of the day `on` or of one of the days before.
    pub(crate) fn newest(&self, from: Currency, to: Currency, on: Date) -> Option<&Rate> {
        let days = std::iter::successors(Some(on), |day| day.yesterday().ok()).take(MAX_RATE_AGE_DAYS + 1);
        days.filter_map(|date| self.rows.get(&RateKey { date, from, to })).next()
    }

    /// The rates between two keys, ascending by key; none where the first bound lies behind the last.
    pub(crate) fn between(
        &self,
        first: Bound<RateKey>,
        last: Bound<RateKey>,
    ) -> impl DoubleEndedIterator<Item = &Rate> {
        // The map's own range panics on bounds that hold nothing.
        let holds_keys = match (first, last) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
            (Bound::Included(first), Bound::Included(last)) => first <= last,
            (
                Bound::Included(first) | Bound::Excluded(first),
                Bound::Included(last) | Bound::Excluded(last),
            ) => first < last,
        };
        let rows = holds_keys.then(|| self.rows.range((first, last)));
        rows.into_iter().flatten().map(|(_, rate)| rate)
    }

    /// The revision that changed a rate last.
    pub(crate) fn revision(&self) -> u64 {
        self.changes.last().map_or(0, |(revision, _)| *revision)
    }

    /// The rates that were changed after this revision, in the order of their last changes.
    pub(crate) fn changed_after(&self, revision: u64) -> impl Iterator<Item = &Rate> {
        let changes =
            revision.checked_add(1).map(|first| self.changes.range((first, RateKey::first_of(Date::MIN))..));
        changes.into_iter().flatten().filter_map(|(_, key)| self.rows.get(key))
    }

    pub(crate) fn put(&mut self, rate: Rate) -> Option<Rate> {
        let (key, revision) = (rate.key(), rate.stamp.revision);
        let previous = self.rows.insert(key, rate);
        if let Some(previous) = &previous {
            self.changes.remove(&(previous.stamp.revision, key));
        }
        self.changes.insert((revision, key));
        previous
    }

    pub(crate) fn remove(&mut self, rate: &Rate) {
        if let Some(present) = self.rows.remove(&rate.key()) {
            self.changes.remove(&(present.stamp.revision, present.key()));
        }
    }
}
