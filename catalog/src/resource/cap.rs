//! Caps: what an offer or a link takes at most in a window of time.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Unit, Zoned};
use schemas::cap::CapPlace;
use schemas::id::PartnerId;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Link, MICROS_PER_DAY, Offer};

const MICROS_PER_HOUR: i64 = MICROS_PER_DAY / 24;

/// What an offer or a link takes at most in a window of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// What is counted.
    pub metric: CapMetric,
    /// In which time.
    pub window: CapWindow,
    /// The IANA time zone of the window; `None`: the workspace's.
    pub timezone: Option<String>,
    /// How many it takes.
    pub value: u64,
    /// Whether all partners share it.
    pub per: CapScope,
    /// What becomes of what is beyond it.
    pub on_exceed: OnExceed,
}

/// What a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapMetric {
    /// Clicks that count: none of bots, for one.
    Clicks,
    /// Conversions that are neither rejected nor reversed.
    Conversions,
}

/// The time in which a cap counts. Windows are half-open and follow the clocks of their time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapWindow {
    /// From full hour to full hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
    /// For ever.
    Total,
}

/// Whether all partners share a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapScope {
    /// They do.
    #[default]
    All,
    /// Each has its own.
    Partner,
}

/// What becomes of what is beyond a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExceed {
    /// It counts, with the label `cap`.
    #[default]
    Flag,
    /// Clicks go to the fallback address.
    Fallback,
    /// Conversions wait for a decision.
    Pending,
    /// Conversions are rejected.
    Reject,
}

/// What caps count on these, each with its owner's id: those of the offer, then those of the link.
pub fn caps_of<'c>(
    offer: Option<&'c Offer>,
    link: Option<&'c Link>,
) -> impl Iterator<Item = (&'c Cap, &'c [u8; 16])> + use<'c> {
    let of_offer = offer.into_iter().flat_map(|offer| offer.caps.iter().map(|cap| (cap, offer.id.bytes())));
    let of_link = link.into_iter().flat_map(|link| link.caps.iter().map(|cap| (cap, link.id.bytes())));
    of_offer.chain(of_link)
}

impl Cap {
    /// The name of its count, for the offer or link with this id. It covers what is counted and not the limit: a cap that is
    /// raised goes on where it is, and two caps that differ in their limit only share a count. The counts of a cap per
    /// partner are told apart by this key and the partner.
    pub fn key(&self, owner: &[u8; 16]) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(b"cap\n");
        hash.update(owner);
        hash.update([self.metric.code(), self.window.code(), self.per.code()]);
        hash.update(self.timezone.as_deref().unwrap_or_default());
        let digest: [u8; 32] = hash.finalize().into();
        std::array::from_fn(|index| digest[index])
    }

    /// Where it counts what comes at this time, for the offer or link with this id; `None` for a cap per partner where there
    /// is no partner.
    pub fn place(
        &self,
        owner: &[u8; 16],
        partner: Option<PartnerId>,
        at: Timestamp,
        workspace_timezone: &str,
    ) -> Option<CapPlace> {
        let partner = match self.per {
            CapScope::All => None,
            CapScope::Partner => Some(partner?),
        };
        let window_start = self.window_start(at, workspace_timezone);
        let ends_by = window_start.saturating_add(self.window.longest_micros());
        Some(CapPlace { cap: self.key(owner), window_start, ends_by, partner })
    }

    /// When the window began that `at` is in; `workspace_timezone` counts where the cap names none.
    pub fn window_start(&self, at: Timestamp, workspace_timezone: &str) -> Timestamp {
        if self.window == CapWindow::Total {
            return Timestamp::default();
        }
        let name = self.timezone.as_deref().unwrap_or(workspace_timezone);
        // The name was checked when it was saved; a build whose tables lack it counts in UTC rather than not at all.
        let zone = TimeZone::get(name).unwrap_or(TimeZone::UTC);
        let start = jiff::Timestamp::from_microsecond(at.micros())
            .ok()
            .and_then(|time| self.window.start(&time.to_zoned(zone)).ok());
        start.map_or(at, |start| Timestamp::from_micros(start.as_microsecond()))
    }
}

impl CapMetric {
    const fn code(self) -> u8 {
        match self {
            Self::Clicks => 1,
            Self::Conversions => 2,
        }
    }
}

impl CapScope {
    const fn code(self) -> u8 {
        match self {
            Self::All => 1,
            Self::Partner => 2,
        }
    }
}

impl CapWindow {
    const fn code(self) -> u8 {
        match self {
            Self::Hour => 1,
            Self::Day => 2,
            Self::Week => 3,
            Self::Month => 4,
            Self::Total => 5,
        }
    }

    /// An hour more than the longest one has: clocks are turned back.
    const fn longest_micros(self) -> i64 {
        match self {
            Self::Hour => 2 * MICROS_PER_HOUR,
            Self::Day => MICROS_PER_DAY + MICROS_PER_HOUR,
            Self::Week => 7 * MICROS_PER_DAY + MICROS_PER_HOUR,
            Self::Month => 31 * MICROS_PER_DAY + MICROS_PER_HOUR,
            Self::Total => i64::MAX,
        }
    }

    fn start(self, at: &Zoned) -> Result<jiff::Timestamp, jiff::Error> {
        let start = match self {
            Self::Hour => {
                // Rounded as an instant at a fixed offset: the hour that a clock shows twice is two windows.
                let fixed = at.with_time_zone(at.offset().to_time_zone());
                fixed.round(jiff::ZonedRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Trunc))?
            }
            Self::Day => at.start_of_day()?,
            Self::Week => {
                let days = at.weekday().since(Weekday::Monday);
                let monday = at.date().checked_sub(jiff::Span::new().days(days))?;
                monday.to_zoned(at.time_zone().clone())?
            }
            Self::Month => at.first_of_month()?.start_of_day()?,
            Self::Total => return Ok(jiff::Timestamp::UNIX_EPOCH),
        };
        Ok(start.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(window: CapWindow, timezone: Option<&str>) -> Cap {
        Cap {
            metric: CapMetric::Clicks,
            window,
            timezone: timezone.map(str::to_owned),
            value: 10,
            per: CapScope::All,
            on_exceed: OnExceed::Flag,
        }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn windows_begin_where_the_clocks_of_their_zone_say() {
        for (window, zone, at, start) in [
            (CapWindow::Hour, "UTC", "2026-11-20T13:59:59.999999Z", "2026-11-20T13:00:00Z"),
            (CapWindow::Hour, "Asia/Kathmandu", "2026-11-20T13:50:00Z", "2026-11-20T13:15:00Z"),
            (CapWindow::Day, "UTC", "2026-11-20T00:00:00Z", "2026-11-20T00:00:00Z"),
            (CapWindow::Day, "Europe/Berlin", "2026-11-20T23:30:00Z", "2026-11-20T23:00:00Z"),
            (CapWindow::Week, "UTC", "2026-11-20T13:00:00Z", "2026-11-16T00:00:00Z"),
            (CapWindow::Week, "UTC", "2026-11-16T00:00:00Z", "2026-11-16T00:00:00Z"),
            (CapWindow::Week, "UTC", "2026-11-15T23:59:59Z", "2026-11-09T00:00:00Z"),
            (CapWindow::Month, "America/New_York", "2026-12-01T04:59:59Z", "2026-11-01T04:00:00Z"),
            (CapWindow::Total, "UTC", "2026-11-20T13:00:00Z", "1970-01-01T00:00:00Z"),
            // The night in which the clocks of Berlin go forward: the day has 23 hours.
            (CapWindow::Day, "Europe/Berlin", "2026-03-29T21:59:59Z", "2026-03-28T23:00:00Z"),
            (CapWindow::Day, "Europe/Berlin", "2026-03-29T22:00:00Z", "2026-03-29T22:00:00Z"),
            // The night in which they go back: two hours look alike, and are two windows.
            (CapWindow::Hour, "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z"),
            (CapWindow::Hour, "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z"),
        ] {
            let wanted = time(start);
            assert_eq!(
                cap(window, Some(zone)).window_start(time(at), "UTC"),
                wanted,
                "{window:?} {zone} {at}"
            );
            assert_eq!(cap(window, None).window_start(time(at), zone), wanted, "{window:?} {zone} {at}");
        }
    }

    #[test]
    fn a_count_has_the_name_of_what_is_counted() {
        let cap = cap(CapWindow::Day, None);
        let key = cap.key(&[1; 16]);
        // Counts outlive builds.
        assert_eq!(schemas::hex::encode(&key), "13570953e39ca905b28128bbdcdcb6b2");
        assert_eq!(Cap { value: 11, on_exceed: OnExceed::Fallback, ..cap.clone() }.key(&[1; 16]), key);
        assert_ne!(cap.key(&[2; 16]), key);
        for other in [
            Cap { metric: CapMetric::Conversions, ..cap.clone() },
            Cap { window: CapWindow::Hour, ..cap.clone() },
            Cap { per: CapScope::Partner, ..cap.clone() },
            Cap { timezone: Some("UTC".into()), ..cap.clone() },
        ] {
            assert_ne!(other.key(&[1; 16]), key, "{other:?}");
        }
    }
}
