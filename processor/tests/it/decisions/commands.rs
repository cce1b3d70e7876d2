//! Commands: somebody at the desk moves a conversion.

use schemas::event::{Actor, Command, Conversion, Event, Status, Trust};
use schemas::fact::{Fact, OutcomeStatus, Subject, reason};
use schemas::id::{ConversionId, WorkspaceNumber};
use schemas::money::{Currency, Money};

use crate::scene::{
    CAPPED_OFFER, Core, HOUR, REJECTING_OFFER, Traffic, click_id, event_id, id, outcome, outcomes, revision,
    usd,
};

/// A shop with one conversion, and somebody at the desk.
struct Shop {
    core: Core,
    edge: Traffic,
    desk: Traffic,
    conversion: ConversionId,
}

impl Shop {
    fn new(edit: impl FnOnce(&mut Conversion)) -> Self {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let click = edge.click(0, |_| {});
        core.feed(&click);
        let sale = edge.conversion(HOUR, |it| {
            (it.click, it.transaction_id) = (Some(click_id(&click)), "t1".into());
            edit(it);
        });
        core.feed(&sale);
        Self { core, edge, desk: Traffic::of_edge(9), conversion: event_id(&sale).rename() }
    }

    fn command(&mut self, to: Status, edit: impl FnOnce(&mut Command)) -> Event {
        self.desk.command(2 * HOUR, self.conversion, to, edit)
    }

    fn tell(&mut self, to: Status, edit: impl FnOnce(&mut Command)) -> Vec<Fact> {
        let command = self.command(to, edit);
        self.core.feed(&command)
    }

    /// What a command changed: the status before and after.
    fn moved(&mut self, to: Status) -> (Status, Status) {
        let facts = self.tell(to, |_| {});
        assert_eq!(outcome(&facts), (OutcomeStatus::Updated, ""));
        let revision = revision(&facts);
        (revision.before.unwrap().status, revision.after.status)
    }
}

fn pending(it: &mut Conversion) {
    it.status = Some(Status::Pending);
}

#[test]
fn a_command_makes_a_revision_that_says_who_and_why() {
    let mut shop = Shop::new(pending);
    let command = shop.command(Status::Approved, |it| {
        it.expected_version = Some(1);
        (it.reason, it.note) = ("checked".into(), "by hand".into());
    });
    let facts = shop.core.feed(&command);
    let [outcome] = outcomes(&facts)[..] else { panic!("not one outcome: {facts:?}") };
    assert_eq!((outcome.subject, outcome.status), (Subject::Command, OutcomeStatus::Updated));
    assert_eq!((outcome.conversion, outcome.mark), (Some(shop.conversion), command.mark));
    let revision = revision(&facts);
    assert_eq!((revision.version, revision.event, revision.change.as_str()), (2, command.id, "status"));
    let (before, after) = (revision.before.unwrap(), revision.after);
    assert_eq!((before.status, after.status), (Status::Pending, Status::Approved));
    assert_eq!((before.revenue_micros, after.revenue_micros), (80_000_000, 80_000_000));
    let cause = &revision.cause;
    assert_eq!((cause.actor, cause.request_id.as_str()), (Actor::Key(id(7)), "req_1"));
    assert_eq!((cause.reason.as_str(), cause.note.as_str()), ("checked", "by hand"));
    assert_eq!(revision.reason, "", "the words of a person are no reason of the core");
    // What a source changes afterwards does not carry them on.
    let refund = shop.edge.refund(3 * HOUR, |it| it.amount = Some(usd(1)));
    let cause = self::revision(&shop.core.feed(&refund)).cause.clone();
    assert_eq!((cause.actor, cause.reason.as_str(), cause.note.as_str()), (Actor::Source(None), "", ""));
}

#[test]
fn commands_take_every_step_of_the_life_cycle_and_no_other() {
    for start in Status::ALL {
        for to in Status::ALL {
            let mut shop = Shop::new(pending);
            // The shortest way to where it starts.
            let way: &[Status] = match start {
                Status::Pending => &[],
                Status::Hold => &[Status::Hold],
                Status::Approved => &[Status::Approved],
                Status::Rejected => &[Status::Rejected],
                Status::Reversed => &[Status::Approved, Status::Reversed],
                Status::Paid => &[Status::Approved, Status::Paid],
            };
            for step in way {
                shop.moved(*step);
            }
            let version = u32::try_from(way.len()).unwrap() + 1;
            let facts = shop.tell(to, |it| it.expected_version = Some(version));
            if start == to {
                assert_eq!(outcome(&facts), (OutcomeStatus::Duplicate, ""), "{start:?}");
                assert_eq!(facts.len(), 1, "nothing changes: {facts:?}");
            } else if start.may_become(to) {
                assert_eq!(outcome(&facts), (OutcomeStatus::Updated, ""));
                assert_eq!((revision(&facts).version, revision(&facts).after.status), (version + 1, to));
            } else {
                let refused = (OutcomeStatus::Conflict, reason::STATUS_NOT_REACHABLE);
                assert_eq!(outcome(&facts), refused, "{start:?} {to:?}");
                assert_eq!(outcomes(&facts)[0].conversion, Some(shop.conversion));
                assert_eq!(facts.len(), 1, "nothing changes: {facts:?}");
            }
        }
    }
}

#[test]
fn another_version_is_a_conflict_whatever_the_status() {
    let mut shop = Shop::new(pending);
    shop.moved(Status::Approved);
    for (to, expected) in [(Status::Paid, 1), (Status::Paid, 3), (Status::Approved, 1), (Status::Pending, 0)]
    {
        let facts = shop.tell(to, |it| it.expected_version = Some(expected));
        assert_eq!(outcome(&facts), (OutcomeStatus::Conflict, reason::VERSION_MISMATCH), "{to:?} {expected}");
    }
    assert_eq!(shop.moved(Status::Paid), (Status::Approved, Status::Paid));
}

#[test]
fn a_delivery_that_came_again_is_the_same_command() {
    let mut shop = Shop::new(pending);
    let command = shop.command(Status::Approved, |_| {});
    shop.core.feed(&command);
    shop.moved(Status::Hold);
    let facts = shop.core.feed(&command);
    assert!(matches!(facts[..], [Fact::Redelivered(mark)] if Some(mark) == command.mark), "{facts:?}");
    assert_eq!(shop.moved(Status::Rejected), (Status::Hold, Status::Rejected));
}

#[test]
fn what_is_not_there_is_unknown() {
    let mut shop = Shop::new(pending);
    let unknown = (OutcomeStatus::Rejected, reason::UNKNOWN_CONVERSION);
    let never = shop.edge.conversion(0, |_| {});
    // Nobody reported it; another workspace's; one that waits for its click.
    shop.conversion = event_id(&never).rename();
    assert_eq!(outcome(&shop.tell(Status::Approved, |_| {})), unknown);
    shop.conversion = id(1);
    assert_ne!(shop.conversion.workspace(), crate::scene::WORKSPACE);
    assert_eq!(outcome(&shop.tell(Status::Approved, |_| {})), unknown);
    let absent = shop.edge.click(0, |_| {});
    let waits = shop.edge.conversion(HOUR, |it| it.click = Some(click_id(&absent)));
    shop.core.feed(&waits);
    shop.conversion = event_id(&waits).rename();
    assert_eq!(outcome(&shop.tell(Status::Rejected, |_| {})), unknown);
    let mut elsewhere = shop.command(Status::Approved, |_| {});
    elsewhere.workspace = WorkspaceNumber::new(77).unwrap();
    let facts = shop.core.feed(&elsewhere);
    assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, reason::UNKNOWN_WORKSPACE));
}

#[test]
fn a_test_key_moves_no_real_conversion() {
    let mut shop = Shop::new(pending);
    let facts = shop.tell(Status::Approved, |it| it.test = true);
    assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, reason::UNKNOWN_CONVERSION));
    let mut shop = Shop::new(|it| (it.status, it.test) = (Some(Status::Pending), true));
    for (to, test) in [(Status::Approved, true), (Status::Paid, false)] {
        let facts = shop.tell(to, |it| it.test = test);
        assert_eq!(outcome(&facts), (OutcomeStatus::Updated, ""));
        assert!(outcomes(&facts)[0].test, "the conversion is a test's");
    }
}

#[test]
fn what_has_no_rate_is_refused_or_waits() {
    let without_rate = |it: &mut Conversion| {
        it.amount = Some(Money { micros: 1_000_000, currency: Currency::from_code("EUR").unwrap() });
    };
    for to in [Status::Approved, Status::Hold] {
        let mut shop = Shop::new(without_rate);
        let facts = shop.tell(to, |_| {});
        assert_eq!(outcome(&facts), (OutcomeStatus::Conflict, reason::NO_RATE));
        assert_eq!(shop.moved(Status::Rejected), (Status::Pending, Status::Rejected));
        // A way around by the refusal is none.
        let facts = shop.tell(Status::Approved, |_| {});
        assert_eq!(outcome(&facts), (OutcomeStatus::Conflict, reason::NO_RATE));
    }
}

#[test]
fn a_person_may_trust_whom_the_core_does_not() {
    let mut shop = Shop::new(|it| it.trust = Trust::Open);
    let facts = shop.tell(Status::Approved, |_| {});
    assert_eq!(outcome(&facts), (OutcomeStatus::Updated, ""));
    assert_eq!(revision(&facts).reason, "");
}

/// One less or one more, of the counts of caps.
fn counted(facts: &[Fact]) -> Vec<bool> {
    let counted = |fact: &Fact| if let Fact::CapCounted(it) = fact { Some(it.is_withdrawal) } else { None };
    facts.iter().filter_map(counted).collect()
}

#[test]
fn a_person_decides_beyond_a_cap_and_the_counts_follow() {
    for (offer, fits, held) in [(CAPPED_OFFER, 2, Status::Pending), (REJECTING_OFFER, 1, Status::Rejected)] {
        let (mut core, mut edge, mut desk) = (Core::new(), Traffic::of_edge(1), Traffic::of_edge(9));
        let click = edge.click(0, |it| (it.offer, it.link) = (offer, None));
        core.feed(&click);
        let mut last = None;
        for number in 0..=fits {
            let sale = edge.conversion(0, |it| {
                (it.click, it.transaction_id) = (Some(click_id(&click)), format!("t{number}"));
            });
            let facts = core.feed(&sale);
            last = Some((event_id(&sale).rename(), revision(&facts).after.status));
        }
        let (conversion, status) = last.unwrap();
        assert_eq!(status, held);
        let facts = core.feed(&desk.command(1, conversion, Status::Approved, |_| {}));
        assert_eq!(outcome(&facts), (OutcomeStatus::Updated, ""));
        assert_eq!((revision(&facts).after.status, revision(&facts).reason.as_str()), (Status::Approved, ""));
        // A pending one was counted already.
        let expected = if held == Status::Pending { vec![] } else { vec![false] };
        assert_eq!(counted(&facts), expected);
        let facts = core.feed(&desk.command(2, conversion, Status::Reversed, |_| {}));
        assert_eq!(counted(&facts), [true]);
    }
}

#[test]
fn what_a_person_has_rejected_no_report_takes_back() {
    let mut shop = Shop::new(pending);
    assert_eq!(shop.moved(Status::Rejected), (Status::Pending, Status::Rejected));
    let report = |shop: &mut Shop| {
        let event = shop.edge.conversion(3 * HOUR, |it| {
            (it.transaction_id, it.status) = ("t1".into(), Some(Status::Approved));
        });
        shop.core.feed(&event)
    };
    assert_eq!(outcome(&report(&mut shop)), (OutcomeStatus::Conflict, reason::DECIDED_BY_HAND));
    assert_eq!(shop.moved(Status::Approved), (Status::Rejected, Status::Approved));
    assert_eq!(outcome(&report(&mut shop)).0, OutcomeStatus::Duplicate);
}

#[test]
fn that_a_person_has_rejected_is_known_after_a_rate_came_too() {
    let euro = Some(Money { micros: 1_000_000, currency: Currency::from_code("EUR").unwrap() });
    let mut shop = Shop::new(|it| it.amount = euro);
    assert_eq!(shop.moved(Status::Rejected), (Status::Pending, Status::Rejected));
    shop.core.put_rate("2026-11-10", "EUR", "2");
    let facts = shop.core.tick();
    assert_eq!((revision(&facts).version, revision(&facts).after.amount_micros), (3, Some(2_000_000)));
    let approval = shop.edge.conversion(3 * HOUR, |it| {
        (it.transaction_id, it.status, it.amount) = ("t1".into(), Some(Status::Approved), euro);
    });
    let facts = shop.core.feed(&approval);
    assert_eq!(outcome(&facts), (OutcomeStatus::Conflict, reason::DECIDED_BY_HAND));
}
