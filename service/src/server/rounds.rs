//! The rounds: now and then every connection is looked at, so that none needs a timer of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::pulse::{Look, Phase, Pulse, Wish};
use super::refusal;
use super::settings::ServeSettings;

/// The longest time between two rounds. A connection keeps its buffers for one or two of them after its last request: with
/// many connections that each ask now and then, this is most of the memory.
const LONGEST_ROUND: Duration = Duration::from_millis(100);
/// The shortest: short limits are for tests.
const SHORTEST_ROUND: Duration = Duration::from_millis(5);
/// Rounds in the shortest of the limits.
const ROUNDS_IN_A_LIMIT: u32 = 4;

/// How long a connection may do what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    head: Duration,
    idle: Duration,
}

impl Patience {
    pub(super) const fn of(settings: &ServeSettings) -> Self {
        Self { head: settings.header_read_timeout(), idle: settings.idle_timeout() }
    }

    pub(super) fn round(&self) -> Duration {
        (self.head.min(self.idle) / ROUNDS_IN_A_LIMIT).clamp(SHORTEST_ROUND, LONGEST_ROUND)
    }
}

/// A connection as the rounds know it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) pulse: Arc<Pulse>,
    pub(super) task: AbortHandle,
    since: Since,
}

/// What a round finds to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    LetBe,
    Say(Wish),
    CutOff,
}

impl Watched {
    pub(super) fn new(pulse: Arc<Pulse>, task: AbortHandle, now: Instant) -> Self {
        let since = Since::new(pulse.look(), now);
        Self { pulse, task, since }
    }

    /// Looks after the connection.
    pub(super) fn round(&mut self, patience: &Patience, now: Instant) {
        match self.since.judge(self.pulse.look(), patience, now) {
            Verdict::LetBe => {}
            Verdict::Say(wish) => self.pulse.wish(wish),
            Verdict::CutOff => self.task.abort(),
        }
    }
}

/// Since when a connection is as it is, as far as the rounds have seen.
#[derive(Debug)]
struct Since {
    last: Look,
    /// It did something.
    movement: Instant,
    /// It began a request, or was at work on one.
    request: Instant,
    /// It was not in the middle of a head.
    head: Instant,
}

impl Since {
    const fn new(first: Look, now: Instant) -> Self {
        Self { last: first, movement: now, request: now, head: now }
    }

    fn judge(&mut self, look: Look, patience: &Patience, now: Instant) -> Verdict {
        let last = std::mem::replace(&mut self.last, look);
        let has_request = look.is_working || look.requests != last.requests;
        let has_moved = look.moved != last.moved || look.phase != last.phase;
        if has_request || look.phase != last.phase {
            self.request = now;
        }
        if has_request || has_moved {
            self.movement = now;
        }
        if has_request || !look.is_in_head {
            self.head = now;
        }
        let is_over = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        match look.phase {
            Phase::Opening if is_over(self.request, patience.head) => Verdict::CutOff,
            Phase::Parked if is_over(self.movement, patience.idle) => Verdict::CutOff,
            // What takes long now is our own work.
            Phase::Http1 | Phase::Http2 if look.is_working => Verdict::LetBe,
            // It was told, and does not even read that.
            Phase::Http1 if is_over(self.head, patience.head + refusal::DEADLINE) => Verdict::CutOff,
            Phase::Http1 if is_over(self.head, patience.head) => Verdict::Say(Wish::TimeOut),
            // It holds an answer that its client does not read; else it would have been parked.
            Phase::Http1 if is_over(self.movement, patience.idle) => Verdict::CutOff,
            Phase::Http1 if !has_request && !has_moved && !look.is_in_head => Verdict::Say(Wish::Park),
            Phase::Http2 if is_over(self.request, patience.idle * 2) => Verdict::CutOff,
            Phase::Http2 if is_over(self.request, patience.idle) => Verdict::Say(Wish::Drain),
            Phase::Opening | Phase::Parked | Phase::Http1 | Phase::Http2 => Verdict::LetBe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { head: Duration::from_secs(10), idle: Duration::from_secs(60) };

    fn look(phase: Phase, pulse: &Pulse) -> Look {
        pulse.enter(phase);
        pulse.look()
    }

    /// The seconds at which something is found to do, until the connection is cut off.
    fn verdicts(phase: Phase, pulse: &Pulse, mut each: impl FnMut(u64, &Pulse)) -> Vec<(u64, Verdict)> {
        let start = Instant::now();
        let mut since = Since::new(look(phase, pulse), start);
        let mut found = Vec::new();
        for second in 1..=200 {
            each(second, pulse);
            let now = start + Duration::from_secs(second);
            match since.judge(pulse.look(), &PATIENCE, now) {
                Verdict::LetBe => {}
                Verdict::CutOff => {
                    found.push((second, Verdict::CutOff));
                    return found;
                }
                verdict @ Verdict::Say(_) => {
                    if found.last().is_none_or(|(_, last)| *last != verdict) {
                        found.push((second, verdict));
                    }
                }
            }
        }
        found
    }

    #[test]
    fn who_says_nothing_is_cut_off() {
        let nothing = |_: u64, _: &Pulse| {};
        assert_eq!(verdicts(Phase::Opening, &Pulse::default(), nothing), [(10, Verdict::CutOff)]);
        assert_eq!(verdicts(Phase::Parked, &Pulse::default(), nothing), [(60, Verdict::CutOff)]);
        assert_eq!(
            verdicts(Phase::Http2, &Pulse::default(), nothing),
            [(60, Verdict::Say(Wish::Drain)), (120, Verdict::CutOff)]
        );
    }

    #[test]
    fn a_head_that_trickles_in_is_timed_out() {
        let trickle = |_: u64, pulse: &Pulse| pulse.note_read();
        let found = verdicts(Phase::Http1, &Pulse::default(), trickle);
        assert_eq!(found, [(10, Verdict::Say(Wish::TimeOut)), (12, Verdict::CutOff)]);
    }

    #[test]
    fn a_calm_connection_is_parked_and_a_busy_one_is_not() {
        let found = verdicts(Phase::Http1, &Pulse::default(), |second, pulse| {
            if second == 3 {
                pulse.note_read();
                pulse.begin_request();
            }
            if second == 150 {
                pulse.end_request();
                pulse.note_write();
            }
        });
        // Our own work may take as long as it likes.
        assert_eq!(found, [(1, Verdict::Say(Wish::Park)), (210, Verdict::CutOff)][..1]);
        let found = verdicts(Phase::Http1, &Pulse::default(), |_, pulse| {
            pulse.note_read();
            pulse.begin_request();
            pulse.end_request();
            pulse.note_write();
        });
        assert_eq!(found, []);
    }

    #[test]
    fn an_answer_that_nobody_reads_is_given_up() {
        let found = verdicts(Phase::Http1, &Pulse::default(), |_, _| {});
        // Parking does not succeed while an answer is being written.
        assert_eq!(found, [(1, Verdict::Say(Wish::Park)), (60, Verdict::CutOff)]);
    }
}
