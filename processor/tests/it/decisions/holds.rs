//! Conversions that are approved some days after they were recorded.

use processor::core::is_timer_due;
use schemas::event::Status;
use schemas::fact::{Change, Fact};

use crate::scene::{Core, DAY, HOUR, T0, Traffic, id, revision, revisions};

fn held(core: &mut Core, edge: &mut Traffic, transaction: &str) -> Vec<Fact> {
    let event = edge.conversion(core.now, |it| {
        (it.goal, it.transaction_id) = ("held".into(), transaction.into());
        (it.partner, it.offer) = (Some(id(1)), Some(id(1)));
    });
    core.feed(&event)
}

fn is_due(core: &Core) -> bool {
    is_timer_due(&core.state, &core.head, T0 + core.now).unwrap()
}

#[test]
fn a_held_conversion_counts_and_is_approved_when_its_days_are_over() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let facts = held(&mut core, &mut edge, "t1");
    let first = revision(&facts).clone();
    assert_eq!((first.after.status, first.reason.as_str()), (Status::Hold, "hold_days"));
    assert_eq!((first.after.revenue_micros, first.after.payout_micros), (80_000_000, 8_000_000));
    core.now = 14 * DAY - 1;
    assert!(!is_due(&core));
    assert!(revisions(&core.tick()).is_empty());
    core.now = 14 * DAY;
    assert!(is_due(&core));
    let facts = core.tick();
    let approved = revision(&facts);
    assert_eq!(
        (approved.after.status, approved.change, approved.version),
        (Status::Approved, Change::Status, 2)
    );
    assert_eq!((approved.reason.as_str(), approved.before), ("", Some(first.after)));
    assert!(!is_due(&core), "nothing is left to wait for");
    assert!(revisions(&core.tick()).is_empty());
}

/// Decides about the conversion that is held.
type Decide = fn(&mut Core, &mut Traffic);

#[test]
fn whoever_decides_before_ends_the_hold() {
    let decisions: [(&str, Decide, Status); 3] = [
        ("approved", |core, edge| report(core, edge, Status::Approved), Status::Approved),
        ("rejected", |core, edge| report(core, edge, Status::Rejected), Status::Rejected),
        (
            "refunded",
            |core, edge| {
                core.feed(&edge.refund(HOUR, |it| it.goal = "held".into()));
            },
            Status::Reversed,
        ),
    ];
    for (what, decide, status) in decisions {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        held(&mut core, &mut edge, "t1");
        decide(&mut core, &mut edge);
        core.now = 20 * DAY;
        assert!(!is_due(&core), "{what}");
        assert!(revisions(&core.tick()).is_empty(), "{what}: {status:?} stands");
    }
}

fn report(core: &mut Core, edge: &mut Traffic, status: Status) {
    let facts = core.feed(&edge.conversion(HOUR, |it| {
        (it.goal, it.transaction_id, it.status) = ("held".into(), "t1".into(), Some(status));
    }));
    assert_eq!(revision(&facts).after.status, status);
}

#[test]
fn a_senders_word_comes_before_the_hold_and_a_part_that_goes_back_does_not_end_it() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let facts = core.feed(&edge.conversion(0, |it| {
        (it.goal, it.status) = ("held".into(), Some(Status::Approved));
        (it.partner, it.offer) = (Some(id(1)), Some(id(1)));
    }));
    assert_eq!(revision(&facts).after.status, Status::Approved);
    held(&mut core, &mut edge, "t1");
    let facts = core.feed(&edge.refund(HOUR, |it| {
        (it.goal, it.amount) = ("held".into(), Some(crate::scene::usd(20)));
    }));
    assert_eq!(
        (revision(&facts).after.status, revision(&facts).reason.as_str()),
        (Status::Hold, "hold_days")
    );
    core.now = 14 * DAY;
    let facts = core.tick();
    let approved = revision(&facts);
    assert_eq!((approved.after.status, approved.after.payout_micros), (Status::Approved, 6_000_000));
}

#[test]
fn more_holds_than_one_tick_ends_go_with_the_next() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let mut ended = 0;
    for n in 0..1_500 {
        let event = edge.conversion(0, |it| {
            (it.goal, it.transaction_id) = ("held".into(), format!("t{n}"));
            (it.partner, it.offer) = (Some(id(1)), Some(id(1)));
        });
        core.feed_fast(&event);
    }
    core.now = 15 * DAY;
    while is_due(&core) {
        let tick = edge.tick(core.now);
        let approved = revisions(&core.feed_fast(&tick)).len();
        assert!((1..=1_000).contains(&approved));
        ended += approved;
    }
    assert_eq!(ended, 1_500);
}
