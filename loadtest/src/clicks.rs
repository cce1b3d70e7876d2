//! Clicks at a constant rate.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use crate::LoadError;
use crate::drive::{Job, Load};
use crate::replay::click_path;
use crate::schedule::{Pace, Schedule};
use crate::wire::Target;

/// So many different clients click in turn.
const CLIENTS: u32 = 1_024;

const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

/// Clicks to come. The requests' bytes are built beforehand.
#[derive(Debug)]
pub struct Clicks {
    requests: Vec<Rc<[u8]>>,
    schedule: Schedule,
    given: u64,
    count: u64,
}

impl Clicks {
    /// `rate` clicks a second on one link, for so long.
    pub fn new(target: &Target, link: &str, rate: f64, duration: Duration) -> Result<Self, LoadError> {
        let pace = Pace::Rate(rate).check().map_err(LoadError::Arguments)?;
        let path = click_path(link)?;
        let request = |client: u32| {
            let [_, a, b, c] = client.to_be_bytes();
            let address = format!("10.{a}.{b}.{c}");
            target.request("GET", &path, &[("User-Agent", USER_AGENT), ("X-Forwarded-For", &address)]).into()
        };
        Ok(Self {
            requests: (0..CLIENTS).map(request).collect(),
            schedule: Schedule::new(pace),
            given: 0,
            count: (rate * duration.as_secs_f64()) as u64,
        })
    }
}

impl Load for Clicks {
    fn next_job(&mut self) -> Result<Option<Job>, LoadError> {
        if self.given == self.count {
            return Ok(None);
        }
        let client = usize::try_from(self.given % u64::from(CLIENTS)).unwrap_or_default();
        self.given += 1;
        let request = Rc::clone(&self.requests[client]);
        Ok(Some(Job { due: self.schedule.next_due(None), method: Cow::Borrowed("GET"), request }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_clicks_as_rate_and_time_say() {
        let target = Target::parse("http://127.0.0.1:1").unwrap();
        let mut clicks = Clicks::new(&target, "anna", 500.0, Duration::from_secs(3)).unwrap();
        let mut count = 0;
        while let Some(job) = clicks.next_job().unwrap() {
            assert!(job.due.unwrap() < Duration::from_secs(3));
            count += 1;
        }
        assert_eq!(count, 1_500);
        assert!(Clicks::new(&target, "anna", -1.0, Duration::from_secs(3)).is_err());
    }
}
