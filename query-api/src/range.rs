//! Which instants a report covers, and where its days begin.
//!
//! Time zones are jiff's alone, compiled in. The engine is told the zone's offsets within the range as numbers
//! ([`Offsets`]), so that its own table of zones, which is another edition and rounds some of them, decides nothing.

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, ToSpan};
use schemas::time::Timestamp;

use crate::error::Error;
use crate::params::{Params, parse_time};

/// The longest range, in days.
pub(crate) const MAX_RANGE_DAYS: i64 = 3_660;
/// Days of a report that names no range.
const DEFAULT_DAYS: i32 = 30;
/// The instants that the engine's `Date` can hold in every time zone: 1970-01-02 to 2149-01-01.
const FIRST_MICROS: i64 = 86_400 * MICROS;
const LAST_MICROS: i64 = 5_648_745_600 * MICROS;
const MICROS: i64 = 1_000_000;

/// A time zone of the IANA database.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    zone: TimeZone,
    name: String,
}

impl Zone {
    /// The zone with this name; `field` is named if there is none.
    pub(crate) fn parse(field: &str, name: &str) -> Result<Self, Error> {
        let found = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
        let zone = found.ok_or_else(|| {
            Error::invalid(field, "must be a time zone of the IANA database, such as Europe/Berlin")
        })?;
        let name = zone.iana_name().unwrap_or(name).to_owned();
        Ok(Self { zone, name })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The instant as a clock in this zone shows it, with its offset.
    pub(crate) fn show(&self, instant: Timestamp) -> String {
        match jiff::Timestamp::from_microsecond(instant.micros()) {
            Ok(time) => time.display_with_offset(self.zone.to_offset(time)).to_string(),
            // Beyond the year 9999, where nothing can be stored.
            Err(_) => instant.to_string(),
        }
    }

    fn today(&self, now: Timestamp) -> Result<Date, Error> {
        let now = jiff::Timestamp::from_microsecond(now.micros());
        let now = now.map_err(|error| Error::Internal(format!("the clock: {error}")))?;
        Ok(now.to_zoned(self.zone.clone()).date())
    }

    /// The first instant of a day. Where clocks skip midnight, the day begins later; where they repeat it, at the first.
    fn start_of(&self, day: Date, field: &str) -> Result<Timestamp, Error> {
        let start = day.to_zoned(self.zone.clone()).map_err(|_| out_of_range(field))?;
        Ok(Timestamp::from_micros(start.timestamp().as_microsecond()))
    }
}

/// Half-open: `from` belongs to it, `to` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl Range {
    /// Takes `from` and `to`, or `period`, from the parameters; else the last 30 days, today included.
    pub(crate) fn take(params: &mut Params, zone: &Zone, now: Timestamp) -> Result<Self, Error> {
        let (from, to) = (params.take("from")?, params.take("to")?);
        let range = match params.take("period")? {
            Some(_) if from.is_some() || to.is_some() => {
                return Err(Error::invalid("period", "cannot stand beside from and to"));
            }
            Some(period) => Self::of_period(&period, zone, now)?,
            None => Self::of_bounds(from.as_deref(), to.as_deref(), zone, now)?,
        };
        range.check()
    }

    fn of_period(period: &str, zone: &Zone, now: Timestamp) -> Result<Self, Error> {
        let today = zone.today(now)?;
        let tomorrow = plus(today, 1.day(), "period")?;
        let (first, end) = match period {
            "today" => (today, tomorrow),
            "7d" => (plus(today, -6.days(), "period")?, tomorrow),
            "30d" => (plus(today, (1 - DEFAULT_DAYS).days(), "period")?, tomorrow),
            "mtd" => (today.first_of_month(), tomorrow),
            "last_month" => {
                let month = today.first_of_month();
                (plus(month, -1.month(), "period")?, month)
            }
            _ => return Err(Error::invalid("period", "must be one of today, 7d, 30d, mtd, last_month")),
        };
        Ok(Self { from: zone.start_of(first, "period")?, to: zone.start_of(end, "period")? })
    }

    fn of_bounds(from: Option<&str>, to: Option<&str>, zone: &Zone, now: Timestamp) -> Result<Self, Error> {
        let to = match to {
            Some(text) => Bound::parse("to", text)?,
            None => Bound::Day(plus(zone.today(now)?, 1.day(), "to")?),
        };
        let from = match from {
            Some(text) => Bound::parse("from", text)?,
            None => to.days_earlier(DEFAULT_DAYS)?,
        };
        Ok(Self { from: from.instant("from", zone)?, to: to.instant("to", zone)? })
    }

    /// Refuses what cannot be a range.
    pub(crate) fn check(self) -> Result<Self, Error> {
        if self.from.micros() < FIRST_MICROS {
            return Err(out_of_range("from"));
        }
        if self.to.micros() > LAST_MICROS {
            return Err(out_of_range("to"));
        }
        if self.to <= self.from {
            return Err(Error::invalid("to", "must be later than from: the range is half-open"));
        }
        if self.to.micros_since(self.from) > MAX_RANGE_DAYS * 86_400 * MICROS {
            return Err(Error::invalid("from", format!("the range may have at most {MAX_RANGE_DAYS} days")));
        }
        Ok(self)
    }
}

/// One end of a range as it was written.
enum Bound {
    Day(Date),
    Instant(Timestamp),
}

impl Bound {
    fn parse(field: &str, text: &str) -> Result<Self, Error> {
        let is_date = text.len() == "2026-11-01".len();
        if let Some(day) = is_date.then(|| text.parse().ok()).flatten() {
            return Ok(Self::Day(day));
        }
        parse_time(text).map(Self::Instant).map_err(|_| {
            Error::invalid(field, "must be a date (2026-11-01) or an RFC 3339 time (2026-11-01T12:00:00Z)")
        })
    }

    fn instant(self, field: &str, zone: &Zone) -> Result<Timestamp, Error> {
        match self {
            Self::Day(day) => zone.start_of(day, field),
            Self::Instant(instant) => Ok(instant),
        }
    }

    fn days_earlier(&self, days: i32) -> Result<Self, Error> {
        match self {
            Self::Day(day) => plus(*day, (-days).days(), "to").map(Self::Day),
            Self::Instant(instant) => {
                Ok(Self::Instant(instant.saturating_add(-i64::from(days) * 86_400 * MICROS)))
            }
        }
    }
}

fn plus(day: Date, span: Span, field: &str) -> Result<Date, Error> {
    day.checked_add(span).map_err(|_| out_of_range(field))
}

fn out_of_range(field: &str) -> Error {
    Error::invalid(field, "must be between 1970-01-02 and 2148-12-31")
}

/// How long a bucket of time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interval {
    /// A quarter of an hour.
    Quarter,
    /// An hour of the local clock.
    Hour,
    /// A local day: 23, 24 or 25 hours.
    Day,
    /// From Monday.
    Week,
    /// A calendar month.
    Month,
}

impl Interval {
    const ALL: [Self; 5] = [Self::Quarter, Self::Hour, Self::Day, Self::Week, Self::Month];

    /// The word in the contract.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Quarter => "15m",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The interval with this word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interval| interval.as_str() == word)
    }

    /// The bucket of `occurred_at` as an SQL expression: unix seconds of its start, or a `Date`.
    pub(crate) fn bucket(self, offsets: &Offsets) -> String {
        let seconds = "intDiv(toUnixTimestamp64Micro(occurred_at), 1000000)";
        let local = format!("({seconds} + {})", offsets.sql(seconds, |piece| piece.offset_seconds));
        let date = format!("toDate(intDiv({local}, 86400))");
        match self {
            Self::Quarter => offsets.clock_bucket(seconds, &local, 900),
            Self::Hour => offsets.clock_bucket(seconds, &local, 3_600),
            Self::Day => date,
            Self::Week => format!("toMonday({date})"),
            Self::Month => format!("toStartOfMonth({date})"),
        }
    }
}

/// The offsets from UTC that a zone has within a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offsets {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// From when on, in unix seconds; the first piece is taken to begin with time.
    since_seconds: i64,
    offset_seconds: i64,
}

impl Offsets {
    /// The zone's offsets in this range.
    pub(crate) fn within(range: Range, zone: &Zone) -> Result<Self, Error> {
        let internal = |error: jiff::Error| Error::Internal(format!("time zone: {error}"));
        let from = jiff::Timestamp::from_microsecond(range.from.micros()).map_err(internal)?;
        let to = jiff::Timestamp::from_microsecond(range.to.micros()).map_err(internal)?;
        let seconds = |offset: Offset| i64::from(offset.seconds());
        let mut pieces = vec![Piece { since_seconds: 0, offset_seconds: seconds(zone.zone.to_offset(from)) }];
        for change in zone.zone.following(from).take_while(|change| change.timestamp() < to) {
            let offset_seconds = seconds(change.offset());
            // Some changes are of the zone's abbreviation alone.
            if pieces.last().is_none_or(|last| last.offset_seconds != offset_seconds) {
                pieces.push(Piece { since_seconds: change.timestamp().as_second(), offset_seconds });
            }
        }
        Ok(Self { pieces })
    }

    /// What holds at an instant, as SQL. The numbers are ours: nothing that a client wrote stands in the text.
    fn sql(&self, seconds: &str, of: impl Fn(&Piece) -> i64) -> String {
        let Some((last, earlier)) = self.pieces.split_last() else { return "0".to_owned() };
        if earlier.is_empty() {
            return of(last).to_string();
        }
        let mut text = "multiIf(".to_owned();
        for (piece, next) in self.pieces.iter().zip(self.pieces.iter().skip(1)) {
            text.push_str(&format!("{seconds} < {}, {}, ", next.since_seconds, of(piece)));
        }
        text.push_str(&format!("{})", of(last)));
        text
    }

    /// The start of the local hour, or quarter, that an instant lies in. An hour that a change of the clock cuts in two
    /// (Lord Howe Island changes by 30 minutes) is two buckets, the second from the change on.
    fn clock_bucket(&self, seconds: &str, local: &str, width: i64) -> String {
        let start = format!("({seconds} - {local} % {width})");
        if self.pieces.len() < 2 {
            return start;
        }
        format!("greatest({start}, {})", self.sql(seconds, |piece| piece.since_seconds))
    }
}

#[cfg(test)]
mod tests;
