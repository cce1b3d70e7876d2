//! Nonces of signed requests.

use processor::core::WAIT_MICROS;
use schemas::event::{Event, Nonce};
use schemas::fact::{Fact, OutcomeStatus};

use crate::scene::{Core, DAY, HOUR, Traffic, event_id, id, outcome, outcomes};

fn nonce(text: &str, body: u8) -> Option<Nonce> {
    Some(Nonce { text: text.to_owned(), body_sha256: [body; 32] })
}

/// A sale of the source with a nonce, under a transaction of its own.
fn sale(edge: &mut Traffic, transaction: u8, nonce: Option<Nonce>) -> Event {
    edge.conversion(HOUR, |it| {
        (it.transaction_id, it.source, it.nonce) = (transaction.to_string(), Some(id(3)), nonce);
    })
}

#[test]
fn the_same_body_again_is_a_duplicate_and_another_one_a_replay() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let first = sale(&mut edge, 1, nonce("n", 1));
    assert_eq!(outcome(&core.feed(&first)).0, OutcomeStatus::Recorded);
    // Another edge had the request sent again in its spool, for as long as an edge may.
    core.now = 7 * DAY;
    let facts = core.feed(&sale(&mut edge, 1, nonce("n", 1)));
    let [again] = outcomes(&facts)[..] else { panic!("{facts:?}") };
    assert_eq!((again.status, again.original), (OutcomeStatus::Duplicate, Some(event_id(&first))));
    assert_eq!(again.conversion, Some(event_id(&first).rename()));
    let facts = core.feed(&sale(&mut edge, 2, nonce("n", 2)));
    assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, "replayed_nonce"));
    let refund = edge.refund(HOUR, |it| (it.source, it.nonce) = (Some(id(3)), nonce("n", 2)));
    assert_eq!(outcome(&core.feed(&refund)), (OutcomeStatus::Rejected, "replayed_nonce"));
}

#[test]
fn each_source_has_nonces_of_its_own() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.feed(&sale(&mut edge, 1, nonce("n", 1)));
    let other = edge.conversion(HOUR, |it| it.nonce = nonce("n", 2));
    assert_eq!(outcome(&core.feed(&other)).0, OutcomeStatus::Recorded);
    assert_eq!(outcome(&core.feed(&sale(&mut edge, 2, nonce("m", 2)))).0, OutcomeStatus::Recorded);
    assert_eq!(outcome(&core.feed(&sale(&mut edge, 3, None))).0, OutcomeStatus::Recorded);
}

#[test]
fn a_nonce_is_forgotten_when_no_delivery_can_be_so_late_whether_swept_or_not() {
    for ticks in [false, true] {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        core.feed(&sale(&mut edge, 1, nonce("n", 1)));
        let remembered = core.state.len();
        core.now = WAIT_MICROS + 1;
        if ticks {
            core.tick();
            assert_eq!(core.state.len(), remembered - 3, "the nonce, its age and the marks of its edge");
        }
        let facts = core.feed(&sale(&mut edge, 2, nonce("n", 2)));
        assert_eq!(outcome(&facts).0, OutcomeStatus::Recorded);
        // And is remembered from then on.
        core.now = 2 * WAIT_MICROS;
        core.tick();
        let facts = core.feed(&sale(&mut edge, 3, nonce("n", 3)));
        assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, "replayed_nonce"));
    }
}

#[test]
fn one_that_waited_has_used_its_nonce_once() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let refund = edge.refund(HOUR, |it| it.nonce = nonce("n", 1));
    assert_eq!(outcome(&core.feed(&refund)).0, OutcomeStatus::Parked);
    let facts = core.feed(&edge.conversion(HOUR, |it| it.transaction_id = "t1".into()));
    let ends: Vec<_> = outcomes(&facts).iter().map(|it| it.status).collect();
    assert_eq!(ends, [OutcomeStatus::Recorded, OutcomeStatus::Recorded]);
    assert!(!facts.iter().any(|fact| matches!(fact, Fact::Nonce(_))));
}
