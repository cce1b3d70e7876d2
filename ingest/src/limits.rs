//! Rate limits: how many requests of a class one sender may make in a minute.
//!
//! The generic cell rate algorithm is `governor`'s; the table of senders is ours, because senders are strangers and their
//! number is not ours to choose: it has a fixed size. Where a new sender finds no room, the one that is nearest to its
//! full quota is forgotten, which costs at most a little of what it had used up.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use schemas::id::{KeyId, SourceId};
use serde::{Deserialize, Serialize};

/// How many requests of each class a sender may make in a minute; 0 is without limit. A minute's worth may come at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Clicks, leads and sales from pages, for each client address.
    pub browser_per_minute: u32,
    /// Conversions, refunds and postbacks from servers, for each key or source; refused senders, for each address.
    pub s2s_per_minute: u32,
    /// Batches, for each key.
    pub events_per_minute: u32,
    /// Redirects and pixels, for each client address. None is refused: those beyond have the label `rate` and do not count.
    pub hits_per_minute: u32,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self { browser_per_minute: 60, s2s_per_minute: 6_000, events_per_minute: 600, hits_per_minute: 600 }
    }
}

/// Requests that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Browser,
    ServerToServer,
    Events,
    Hits,
}

/// Who makes the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Party {
    Key(KeyId),
    Source(SourceId),
    Address(IpAddr),
}

impl Party {
    /// The party at this address. Whoever has an IPv6 address has all of its network.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        })
    }
}

/// How far a sender is from its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    limit: u32,
    remaining: u32,
    /// Seconds until the whole quota is there again.
    reset_seconds: u64,
    /// Seconds until the next request is taken; `None` if this one was.
    pub(crate) retry_after_seconds: Option<u64>,
}

impl Standing {
    /// Tells the client.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        let values = [
            HeaderValue::from(self.limit),
            HeaderValue::from(self.remaining),
            HeaderValue::from(self.reset_seconds),
        ];
        for ((name, long_name), value) in HEADERS.into_iter().zip(values) {
            headers.insert(name, value.clone());
            headers.insert(long_name, value);
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}

const HEADERS: [(HeaderName, HeaderName); 3] = [
    (HeaderName::from_static("ratelimit-limit"), HeaderName::from_static("x-ratelimit-limit")),
    (HeaderName::from_static("ratelimit-remaining"), HeaderName::from_static("x-ratelimit-remaining")),
    (HeaderName::from_static("ratelimit-reset"), HeaderName::from_static("x-ratelimit-reset")),
];

/// The limits of all classes.
#[derive(Debug)]
pub(crate) struct Limits {
    classes: [Option<Limiter<MonotonicClock>>; 4],
}

impl Limits {
    pub(crate) fn new(settings: &LimitSettings) -> Self {
        let LimitSettings { browser_per_minute, s2s_per_minute, events_per_minute, hits_per_minute } =
            *settings;
        let classes = [browser_per_minute, s2s_per_minute, events_per_minute, hits_per_minute];
        Self {
            classes: classes
                .map(|limit| NonZeroU32::new(limit).map(|limit| Limiter::new(limit, MonotonicClock))),
        }
    }

    /// Counts a request; `None` if its class has no limit.
    pub(crate) fn count(&self, class: Class, party: Party) -> Option<Standing> {
        self.classes[class as usize].as_ref().map(|limiter| limiter.count(party))
    }

    /// Counts a redirect or a pixel; whether it is one too many.
    pub(crate) fn is_excess(&self, address: IpAddr) -> bool {
        let standing = self.count(Class::Hits, Party::at(address));
        standing.is_some_and(|standing| standing.retry_after_seconds.is_some())
    }
}

/// The limit of one class.
#[derive(Debug)]
struct Limiter<C: Clock> {
    limiter: RateLimiter<u64, Table, C, StateInformationMiddleware>,
    limit: NonZeroU32,
    /// Seeded at random: nobody can choose whom he shares a place with.
    hasher: RandomState,
}

impl<C: Clock> Limiter<C> {
    fn new(limit: NonZeroU32, clock: C) -> Self {
        let limiter = RateLimiter::<_, _, C, governor::middleware::NoOpMiddleware<C::Instant>>::new(
            Quota::per_minute(limit),
            Table::new(BUCKETS),
            clock,
        );
        Self { limiter: limiter.with_middleware(), limit, hasher: RandomState::new() }
    }

    fn count(&self, party: Party) -> Standing {
        let standing = |remaining: u32, retry_after_seconds| {
            let used = u64::from(self.limit.get().saturating_sub(remaining));
            let reset_seconds = (used * 60).div_ceil(u64::from(self.limit.get()));
            Standing { limit: self.limit.get(), remaining, reset_seconds, retry_after_seconds }
        };
        match self.limiter.check_key(&self.hasher.hash_one(party)) {
            Ok(state) => standing(StateSnapshot::remaining_burst_capacity(&state), None),
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.limiter.clock().now());
                let seconds = wait.as_secs() + u64::from(wait > Duration::from_secs(wait.as_secs()));
                standing(0, Some(seconds.max(1)))
            }
        }
    }
}

/// Buckets of the table, a power of two, and places in each: with them it holds 32,768 senders in 512 KiB.
const BUCKETS: usize = 4_096;
const PLACES: usize = 8;

/// A sender's hash, and when its quota will be full again. All zero is a free place.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    tag: u64,
    full_at: u64,
}

/// The senders that were seen last.
#[derive(Debug)]
struct Table {
    buckets: Box<[Mutex<[Place; PLACES]>]>,
}

impl Table {
    fn new(buckets: usize) -> Self {
        Self { buckets: (0..buckets).map(|_| Mutex::default()).collect() }
    }
}

impl StateStore for Table {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let tag = (*key).max(1);
        let mut places = self.buckets[tag as usize & (self.buckets.len() - 1)].lock();
        let known = places.iter().position(|place| place.tag == tag);
        let (outcome, full_at) = f(known.map(|place| places[place].full_at.into()))?;
        let place = match known {
            Some(place) => Some(&mut places[place]),
            None => places.iter_mut().min_by_key(|place| place.full_at),
        };
        if let Some(place) = place {
            *place = Place { tag, full_at: full_at.into() };
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(limit: u32) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        clock.advance(Duration::from_secs(1));
        (Limiter::new(NonZeroU32::new(limit).unwrap(), clock.clone()), clock)
    }

    fn address(number: u32) -> Party {
        Party::at(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn a_minutes_worth_may_come_at_once_and_comes_back_evenly() {
        let (limiter, clock) = limiter(60);
        for used in 1..=60 {
            let standing = limiter.count(address(1));
            assert_eq!((standing.limit, standing.remaining), (60, 60 - used));
            assert_eq!((standing.reset_seconds, standing.retry_after_seconds), (u64::from(used), None));
        }
        let refused = limiter.count(address(1));
        assert_eq!((refused.remaining, refused.reset_seconds, refused.retry_after_seconds), (0, 60, Some(1)));
        assert_eq!(limiter.count(address(2)).remaining, 59);
        clock.advance(Duration::from_millis(2_500));
        let taken: Vec<_> = (0..3).map(|_| limiter.count(address(1)).retry_after_seconds.is_none()).collect();
        assert_eq!(taken, [true, true, false]);
    }

    #[test]
    fn a_flood_of_senders_takes_no_more_room_and_forgets_nobody_who_is_over_the_limit() {
        let (limiter, _clock) = limiter(10);
        for _ in 0..10 {
            limiter.count(address(0));
        }
        // Each of them made one request: the one who is at the limit is the last to be forgotten.
        for number in 1..200_000 {
            limiter.count(address(number));
        }
        assert!(limiter.count(address(0)).retry_after_seconds.is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_sender() {
        let at = |text: &str| Party::at(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:203.0.113.7"), at("203.0.113.7"));
    }

    #[test]
    fn every_answer_has_both_forms_and_a_refusal_says_when() {
        let standing = Standing { limit: 60, remaining: 0, reset_seconds: 59, retry_after_seconds: Some(2) };
        let mut headers = HeaderMap::new();
        standing.apply(&mut headers);
        for prefix in ["", "x-"] {
            for (name, value) in [("limit", "60"), ("remaining", "0"), ("reset", "59")] {
                assert_eq!(headers[&format!("{prefix}ratelimit-{name}")], value);
            }
        }
        assert_eq!(headers["retry-after"], "2");
    }

    #[test]
    fn zero_is_without_limit_and_excess_is_told() {
        let settings = LimitSettings { hits_per_minute: 2, s2s_per_minute: 0, ..LimitSettings::default() };
        let limits = Limits::new(&settings);
        assert_eq!(limits.count(Class::ServerToServer, address(1)), None);
        let at = IpAddr::from([203, 0, 113, 7]);
        assert_eq!([(); 3].map(|()| limits.is_excess(at)), [false, false, true]);
    }
}
