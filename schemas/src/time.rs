//! Instants: microseconds since 1970, UTC; and days of the calendar.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in microseconds since 1970-01-01T00:00:00Z. Its text form is RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 time with an offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time with an offset, such as 2026-11-01T12:00:00Z")]
pub struct InvalidTimestamp;

/// A text that is no day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a date such as 2026-11-01")]
pub struct InvalidDate;

/// Parses a day of the calendar, `YYYY-MM-DD` and nothing else.
///
/// # Errors
/// [`InvalidDate`] for any other text, and for a day that there is not.
pub fn parse_date(text: &str) -> Result<Date, InvalidDate> {
    // What this parser takes beside (a time, a zone, other spellings) is none of ours.
    text.parse().ok().filter(|date: &Date| date.to_string() == text && date.year() >= 0).ok_or(InvalidDate)
}

impl Timestamp {
    /// The instant this many microseconds after 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970, rounded down, 0 before 1970.
    pub const fn unix_ms(self) -> u64 {
        if self.0 < 0 { 0 } else { self.0 as u64 / 1000 }
    }

    /// Seconds since 1970, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Its day in UTC; the first and the last day of the calendar for instants beyond it.
    pub fn utc_date(self) -> Date {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => TimeZone::UTC.to_datetime(time).date(),
            Err(_) if self.0 < 0 => Date::MIN,
            Err(_) => Date::MAX,
        }
    }

    /// When a day begins in UTC; stops at the ends of the range.
    pub fn at_start_of(date: Date) -> Self {
        match date.to_zoned(TimeZone::UTC) {
            Ok(start) => Self(start.timestamp().as_microsecond()),
            Err(_) if date.year() < 0 => Self(i64::MIN),
            Err(_) => Self(i64::MAX),
        }
    }

    /// This many microseconds later; stops at the ends of the range.
    pub const fn saturating_add(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this instant; stops at the ends of the range.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => time.fmt(f),
            // Only an instant beyond the year 9999 comes here; a number is better than a panic.
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let time: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp)?;
        Ok(Self(time.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_rfc_3339_in_utc() {
        let time: Timestamp = "2026-11-01T05:30:00.25+05:30".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-01T00:00:00.25Z");
        assert_eq!("2026-11-01".parse::<Timestamp>(), Err(InvalidTimestamp));
        assert_eq!("2026-11-01T05:30:00".parse::<Timestamp>(), Err(InvalidTimestamp));
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9223372036854775807us");
    }

    #[test]
    fn a_date_has_one_spelling() {
        for text in ["2026-11-01", "2024-02-29", "0000-01-01", "9999-12-31"] {
            assert_eq!(parse_date(text).map(|date| date.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "2026-11-1",
            "20261101",
            "2026-02-29",
            "2026-13-01",
            "2026-11-01T00:00:00",
            "2026-11-01[UTC]",
            "+002026-11-01",
            "-000001-01-01",
            " 2026-11-01",
        ] {
            assert_eq!(parse_date(text), Err(InvalidDate), "{text:?}");
        }
    }

    #[test]
    fn an_instants_day_is_that_of_utc() {
        for (text, date) in [
            ("2026-11-01T00:00:00Z", "2026-11-01"),
            ("2026-10-31T23:59:59.999999Z", "2026-10-31"),
            ("2026-11-01T05:29:59+05:30", "2026-10-31"),
            ("1969-12-31T23:59:59Z", "1969-12-31"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().utc_date(), parse_date(date).unwrap(), "{text}");
        }
        let date = parse_date("2026-11-01").unwrap();
        assert_eq!(Timestamp::at_start_of(date).to_string(), "2026-11-01T00:00:00Z");
        assert_eq!(Timestamp::from_micros(i64::MAX).utc_date(), Date::MAX);
        assert_eq!(Timestamp::from_micros(i64::MIN).utc_date(), Date::MIN);
    }
}
