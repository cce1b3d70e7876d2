//! When each request is due.

use std::time::Duration;

use jiff::Timestamp;

/// How fast a run goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as the connections carry it.
    Unpaced,
    /// So many requests a second, evenly.
    Rate(f64),
    /// So many times as fast as the log was written.
    Speed(f64),
}

impl Pace {
    /// Whether the pace can be followed at all.
    pub fn check(self) -> Result<Self, String> {
        match self {
            Self::Unpaced => Ok(self),
            Self::Rate(number) | Self::Speed(number) if number.is_finite() && number > 0.0 => Ok(self),
            Self::Rate(number) => Err(format!("a rate of {number} is not more than 0")),
            Self::Speed(number) => Err(format!("a speed of {number} is not more than 0")),
        }
    }
}

/// Gives out due times, as the time since the start of the run. They never go backwards.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    given: u64,
    first: Option<Timestamp>,
    latest: Duration,
}

impl Schedule {
    /// A schedule that has not begun.
    pub fn new(pace: Pace) -> Self {
        Self { pace, given: 0, first: None, latest: Duration::ZERO }
    }

    /// When the next request is due, or nothing if that is at once. `logged` is its time in the log.
    pub fn next_due(&mut self, logged: Option<Timestamp>) -> Option<Duration> {
        let number = self.given;
        self.given += 1;
        let due = match self.pace {
            Pace::Unpaced => return None,
            Pace::Rate(rate) => seconds(number as f64 / rate),
            Pace::Speed(speed) => {
                let logged = logged?;
                let first = *self.first.get_or_insert(logged);
                seconds(logged.duration_since(first).as_secs_f64() / speed)
            }
        };
        // A server logs when it answers, so a log is only nearly in order.
        self.latest = self.latest.max(due);
        Some(self.latest)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_even_and_does_not_drift() {
        let mut schedule = Schedule::new(Pace::Rate(30_000.0));
        let due: Vec<_> = (0..=90_000).map(|_| schedule.next_due(None).unwrap()).collect();
        assert_eq!(due[0], Duration::ZERO);
        assert_eq!(due[90_000], Duration::from_secs(3));
        assert!(due.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_speed_follows_the_log_and_never_goes_back() {
        let mut schedule = Schedule::new(Pace::Speed(10.0));
        let at = |second: i64| Some(Timestamp::from_second(1_000 + second).unwrap());
        let due = [0, 20, 10, 50].map(|second| schedule.next_due(at(second)).unwrap().as_secs());
        assert_eq!(due, [0, 2, 2, 5]);
    }

    #[test]
    fn an_impossible_pace_is_refused() {
        assert!(Pace::Rate(0.0).check().is_err());
        assert!(Pace::Speed(f64::NAN).check().is_err());
        assert!(Pace::Rate(0.5).check().is_ok());
        assert_eq!(Schedule::new(Pace::Unpaced).next_due(None), None);
    }
}
