//! Amounts in another currency than the workspace's.

use processor::core::is_waiting_for_rates;
use schemas::event::{Conversion, Status};
use schemas::fact::{Change, Fact, SweepReached};
use schemas::money::{Currency, Money};

use crate::scene::{Core, DAY, EURO_OFFER, HOUR, Traffic, id, revision, revisions, usd};

fn euros(units: i64) -> Money {
    Money { currency: Currency::from_code("EUR").unwrap(), ..usd(units) }
}

/// A sale of 80 euros to the partner's credit.
fn in_euros(it: &mut Conversion) {
    (it.amount, it.partner, it.offer) = (Some(euros(80)), Some(id(1)), Some(id(1)));
}

/// The same as the transaction `t1`.
fn first(it: &mut Conversion) {
    in_euros(it);
    it.transaction_id = "t1".into();
}

fn sweeps(facts: &[Fact]) -> Vec<SweepReached> {
    facts
        .iter()
        .filter_map(|fact| if let Fact::RateSweep(it) = fact { Some(it.reached) } else { None })
        .collect()
}

#[test]
fn an_amount_is_converted_by_the_rate_of_its_day_which_is_kept() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.put_rate("2026-11-08", "EUR", "1.1");
    core.put_rate("2026-11-11", "EUR", "2");
    let facts = core.feed(&edge.conversion(0, in_euros));
    let converted = revision(&facts);
    assert_eq!((converted.after.amount_micros, converted.after.payout_micros), (Some(88_000_000), 8_800_000));
    assert_eq!((converted.after.status, converted.reason.as_str()), (Status::Approved, ""));
    let [rate] = &converted.rates[..] else { panic!("{converted:?}") };
    assert_eq!((rate.date.to_string(), rate.rate.to_string()), ("2026-11-08".into(), "1.1".into()));
    // The day is that on which it occurred, not that on which it came.
    core.now = 3 * DAY;
    let facts = core.feed(&edge.conversion(DAY, in_euros));
    assert_eq!(revision(&facts).after.amount_micros, Some(160_000_000));
    assert!(!is_waiting_for_rates(&core.state).unwrap());
}

#[test]
fn what_waited_for_a_rate_is_revised_when_it_comes() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let facts = core.feed(&edge.conversion(0, first));
    let waiting = revision(&facts).clone();
    assert_eq!((waiting.after.status, waiting.reason.as_str()), (Status::Pending, "no_rate"));
    assert_eq!((waiting.after.amount_micros, waiting.after.payout_micros), (None, 0));
    assert!(is_waiting_for_rates(&core.state).unwrap());
    // Rates of other days, of other currencies and in the other direction are none.
    core.put_rate("2026-11-02", "EUR", "1.5");
    core.put_rate("2026-11-11", "EUR", "1.5");
    core.put_rate("2026-11-10", "GBP", "1.5");
    assert!(revisions(&core.tick()).is_empty());
    core.put_rate("2026-11-09", "EUR", "1.25");
    let facts = core.tick();
    assert_eq!(sweeps(&facts), [SweepReached::Start, SweepReached::End]);
    let revised = revision(&facts);
    assert_eq!((revised.conversion, revised.version, revised.change), (waiting.conversion, 2, Change::Rate));
    assert_eq!((revised.before, revised.after.amount_micros), (Some(waiting.after), Some(100_000_000)));
    assert_eq!((revised.after.status, revised.reason.as_str()), (Status::Approved, ""));
    assert_eq!((revised.after.payout_micros, revised.rates.len()), (10_000_000, 1));
    assert!(!is_waiting_for_rates(&core.state).unwrap() && core.head.rate_sweeps == 0);
    // A better rate comes too late.
    core.put_rate("2026-11-09", "EUR", "9");
    assert!(revisions(&core.tick()).is_empty());
    let facts = core.feed(&edge.refund(HOUR, |it| it.amount = Some(euros(40))));
    assert_eq!(revision(&facts).after.payout_micros, 5_000_000, "what is left is by the same rate");
}

#[test]
fn a_payout_may_need_a_rate_of_its_own() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(-HOUR, |it| (it.visitor, it.offer) = (Some(id(9)), EURO_OFFER));
    core.feed(&click);
    let pounds = Money { currency: Currency::from_code("GBP").unwrap(), ..usd(10) };
    let facts = core.feed(&edge.conversion(0, |it| {
        (it.goal, it.visitor, it.amount) = ("euro".into(), Some(id(9)), Some(pounds));
    }));
    let lacking: Vec<_> = revision(&facts).lacks_rates_of.iter().map(|it| it.code().to_owned()).collect();
    assert_eq!(lacking, ["GBP", "EUR"]);
    core.put_rate("2026-11-10", "GBP", "2");
    let facts = core.tick();
    let half = revision(&facts);
    assert_eq!((half.after.amount_micros, half.after.payout_micros), (Some(20_000_000), 0));
    assert_eq!((half.after.status, half.reason.as_str()), (Status::Pending, "no_rate"));
    core.put_rate("2026-11-10", "EUR", "1.5");
    let facts = core.tick();
    let whole = revision(&facts);
    assert_eq!((whole.after.amount_micros, whole.after.payout_micros), (Some(20_000_000), 4_500_000));
    assert_eq!((whole.after.status, whole.rates.len()), (Status::Approved, 2));
}

#[test]
fn more_than_a_thousand_that_wait_are_revised_with_the_next_events_and_each_once() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    for n in 0..2_300 {
        let event = edge.conversion(n, |it| {
            in_euros(it);
            it.transaction_id = format!("t{n}");
        });
        core.feed_fast(&event);
    }
    core.put_rate("2026-11-10", "EUR", "2");
    let mut counts = Vec::new();
    while counts.is_empty() || core.head.rate_sweeps > 0 {
        let event = edge.tick(core.now);
        let facts = core.feed_fast(&event);
        counts.push(revisions(&facts).len());
        assert!(revisions(&facts).iter().all(|it| it.after.revenue_micros == 160_000_000));
    }
    assert_eq!((counts.iter().sum::<usize>(), counts.iter().max()), (2_300, Some(&1_000)));
    assert!(!is_waiting_for_rates(&core.state).unwrap());
}

#[test]
fn what_a_person_rejected_meanwhile_stays_rejected() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.feed(&edge.conversion(0, first));
    let facts = core.feed(&edge.conversion(0, |it| {
        first(it);
        it.status = Some(Status::Rejected);
    }));
    assert_eq!(revision(&facts).after.status, Status::Rejected);
    core.put_rate("2026-11-10", "EUR", "2");
    let facts = core.tick();
    let revised = revision(&facts);
    assert_eq!((revised.after.status, revised.after.payout_micros), (Status::Rejected, 16_000_000));
}

#[test]
fn what_was_rejected_while_it_lacked_two_rates_gets_both_and_is_not_approved_before() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.feed(&edge.click(-HOUR, |it| (it.visitor, it.offer) = (Some(id(9)), EURO_OFFER)));
    let pounds = Money { currency: Currency::from_code("GBP").unwrap(), ..usd(10) };
    let say = |status| {
        move |it: &mut Conversion| {
            (it.goal, it.visitor, it.amount) = ("euro".into(), Some(id(9)), Some(pounds));
            (it.transaction_id, it.status) = ("t1".into(), status);
        }
    };
    core.feed(&edge.conversion(0, say(None)));
    core.feed(&edge.conversion(0, say(Some(Status::Rejected))));
    core.put_rate("2026-11-10", "GBP", "2");
    let facts = core.tick();
    assert_eq!((revision(&facts).after.status, revision(&facts).after.payout_micros), (Status::Rejected, 0));
    assert!(is_waiting_for_rates(&core.state).unwrap(), "for the euro");
    let facts = core.feed(&edge.conversion(0, say(Some(Status::Approved))));
    assert!(revisions(&facts).is_empty(), "nobody knows yet what it is worth");
    core.put_rate("2026-11-10", "EUR", "1.5");
    let facts = core.tick();
    assert_eq!(
        (revision(&facts).after.status, revision(&facts).after.payout_micros),
        (Status::Rejected, 4_500_000)
    );
    assert!(!is_waiting_for_rates(&core.state).unwrap());
}

#[test]
fn what_its_sender_rejects_at_once_waits_for_its_rate_as_well() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let say = |status| {
        move |it: &mut Conversion| {
            first(it);
            it.status = Some(status);
        }
    };
    let facts = core.feed(&edge.conversion(0, say(Status::Rejected)));
    assert_eq!((revision(&facts).after.status, revision(&facts).reason.as_str()), (Status::Rejected, ""));
    let facts = core.feed(&edge.conversion(0, say(Status::Approved)));
    assert!(revisions(&facts).is_empty(), "nobody knows yet what it is worth");
    core.put_rate("2026-11-10", "EUR", "2");
    let facts = core.tick();
    assert_eq!(
        (revision(&facts).after.status, revision(&facts).after.payout_micros),
        (Status::Rejected, 16_000_000)
    );
    let facts = core.feed(&edge.conversion(0, say(Status::Approved)));
    assert_eq!(revision(&facts).after.status, Status::Approved);
}
