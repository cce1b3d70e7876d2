//! Nine months of clicks and conversions of both workspaces, dense where clocks change.

use schemas::event::Status;
use schemas::id::{ClickKind, ConversionKind, EventKind};
use schemas::time::Timestamp;

use crate::harness::{Harness, NOW};
use crate::rows::{self, Click, NONE, Revision};

/// How wide around a change of the clock rows are dense: six hours.
const CLOSE: i64 = 6 * 3_600_000_000;
/// Changes of the clock in the zones of the tests, between which and around which the rows lie.
const CHANGES: [&str; 6] = [
    "2026-03-08T07:00:00Z",
    "2026-04-04T14:00:00Z",
    "2026-04-04T15:00:00Z",
    "2026-09-26T14:00:00Z",
    "2026-10-03T15:30:00Z",
    "2026-11-01T06:00:00Z",
];

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*: Marsaglia's xorshift, its output multiplied.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

/// Rows of both workspaces, spread over nine months and dense around every change of a clock.
pub(crate) struct Rows {
    pub(crate) clicks: Vec<Click>,
    pub(crate) revisions: Vec<Revision>,
}

fn instants(dice: &mut Dice, spread: u64, around: u64) -> Vec<Timestamp> {
    let from: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
    let span = NOW.micros() - from.micros();
    let mut found: Vec<_> = (0..spread)
        .map(|_| from.saturating_add(i64::try_from(dice.below(span.unsigned_abs())).unwrap()))
        .collect();
    for change in CHANGES {
        let change: Timestamp = change.parse().unwrap();
        found.extend((0..around).map(|_| {
            change.saturating_add(i64::try_from(dice.below(CLOSE.unsigned_abs())).unwrap() - CLOSE / 2)
        }));
    }
    found
}

fn make(harness: &mut Harness) -> Rows {
    let mut dice = Dice(11);
    let mut rows = Rows { clicks: Vec::new(), revisions: Vec::new() };
    for at in instants(&mut dice, 1_200, 200) {
        let tenant = if dice.below(8) == 0 { harness.second.clone() } else { harness.first.clone() };
        let partners = tenant.partners.len() as u64 + 1;
        let partner = tenant.partners.get(usize::try_from(dice.below(partners)).unwrap());
        rows.clicks.push(Click {
            workspace: tenant.number,
            at,
            id: *harness.id::<ClickKind>(at, tenant.number).bytes(),
            receipt: *harness.id::<EventKind>(at, tenant.number).bytes(),
            partner: partner.map_or(NONE, |id| *id.bytes()),
            sub1: format!("s{}", dice.below(4)),
            counted: dice.below(10) > 0,
            test: dice.below(20) == 0,
            cut: 1,
        });
    }
    for at in instants(&mut dice, 200, 40) {
        let tenant = if dice.below(8) == 0 { harness.second.clone() } else { harness.first.clone() };
        let partner = tenant.partners[usize::try_from(dice.below(tenant.partners.len() as u64)).unwrap()];
        let mut last = Revision {
            workspace: tenant.number,
            at,
            conversion: *harness.id::<ConversionKind>(at, tenant.number).bytes(),
            version: 1,
            offer: NONE,
            partner: *partner.bytes(),
            sub1: format!("s{}", dice.below(4)),
            goal: ["sale", "lead"][usize::try_from(dice.below(2)).unwrap()],
            before: None,
            after: Status::Pending,
            revenue: i64::try_from(dice.below(90_000)).unwrap() * 10_000,
            payout: i64::try_from(dice.below(9_000)).unwrap() * 10_000,
            payout_rule: "offer_goal",
            test: dice.below(20) == 0,
            cut: 1,
        };
        rows.revisions.push(last.clone());
        let way = [Status::Approved, Status::Paid, Status::Reversed];
        let steps = usize::try_from(dice.below(4)).unwrap();
        let way = if dice.below(3) == 0 { &[Status::Rejected][..] } else { &way[..steps] };
        for status in way {
            last = Revision { version: last.version + 1, before: Some(last.after), after: *status, ..last };
            rows.revisions.push(last.clone());
        }
    }
    rows
}

/// A desk on these rows.
pub(crate) async fn loaded() -> (Harness, Rows) {
    let mut harness = Harness::start().await;
    let rows = make(&mut harness);
    rows::clicks(&harness.sink, &rows.clicks).await;
    rows::revisions(&harness.sink, &rows.revisions).await;
    rows::finish_cut(&harness.sink, 1, NOW).await;
    (harness, rows)
}
