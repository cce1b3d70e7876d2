//! Any history at all: what is decided is what is applied, whatever the batches, the order of arrival and the repetitions.

use bytes::Bytes;
use processor::core::{CORE_VERSION, Head, Input, Overlay, apply_record, decide};
use proptest::prelude::*;
use schemas::event::{Event, Nonce, Status, Trust};
use schemas::fact::{Decision, Fact, Record, Values};
use schemas::time::Timestamp;
use schemas::wire;

use crate::scene::{
    CAPPED_OFFER, Core, DAY, HOUR, Map, OFFER, REJECTING_OFFER, SECOND, T0, Traffic, catalog, click_id,
    commit, id, usd,
};

/// One step of a history; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Click,
    /// By the click's number; a click beyond those made is one that never comes.
    Conversion {
        click: usize,
        transaction: u8,
        amount: i64,
        trust: Trust,
        status: Option<Status>,
    },
    Visitor {
        visitor: u8,
    },
    /// By its transaction.
    Refund {
        transaction: u8,
        refund_id: u8,
        amount: Option<i64>,
    },
    /// An earlier delivery stands in the log once more.
    Again {
        event: usize,
    },
    Tick,
    Rubbish(Vec<u8>),
    Wait {
        hours: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let trust = prop::sample::select(vec![Trust::Secret, Trust::Token, Trust::Publishable, Trust::Open]);
    let status = prop::option::of(prop::sample::select(Status::ALL.to_vec()));
    prop_oneof![
        6 => Just(Step::Click),
        6 => (0..40_usize, 0..6_u8, 1..4_i64, trust, status).prop_map(
            |(click, transaction, amount, trust, status)| Step::Conversion { click, transaction, amount, trust, status }
        ),
        2 => (0..4_u8).prop_map(|visitor| Step::Visitor { visitor }),
        3 => (0..8_u8, 0..3_u8, prop::option::of(1..3_i64)).prop_map(
            |(transaction, refund_id, amount)| Step::Refund { transaction, refund_id, amount }
        ),
        3 => (0..60_usize).prop_map(|event| Step::Again { event }),
        2 => Just(Step::Tick),
        1 => prop::collection::vec(any::<u8>(), 0..30).prop_map(Step::Rubbish),
        1 => (1..200_i64).prop_map(|hours| Step::Wait { hours }),
    ]
}

fn nonce(number: u8) -> Nonce {
    Nonce { text: number.to_string(), body_sha256: [number % 2; 32] }
}

/// The log that the steps make. Every click is made first, so that a conversion can name one that comes later.
fn log(steps: &[Step]) -> Vec<Input> {
    let mut edge = Traffic::of_edge(1);
    let mut now = 0;
    let clicks: Vec<Event> = (0..40)
        .map(|n| {
            edge.click(n * HOUR, |it| {
                it.visitor = Some(id(n as u8 % 4));
                it.offer = [OFFER, CAPPED_OFFER, REJECTING_OFFER][n as usize % 3];
            })
        })
        .collect();
    let mut arrived = 0;
    let mut events: Vec<Bytes> = Vec::new();
    let mut inputs = Vec::new();
    for step in steps {
        let payload = match step {
            Step::Click if arrived == clicks.len() => continue,
            Step::Click => {
                arrived += 1;
                wire::encode_event(clicks[arrived - 1].clone())
            }
            Step::Conversion { click, transaction, amount, trust, status } => {
                wire::encode_event(edge.conversion(40 * HOUR, |it| {
                    (it.click, it.amount) = (Some(click_id(&clicks[*click])), Some(usd(*amount)));
                    (it.trust, it.status, it.transaction_id) = (*trust, *status, format!("t{transaction}"));
                }))
            }
            Step::Visitor { visitor } => {
                wire::encode_event(edge.conversion(20 * HOUR, |it| it.visitor = Some(id(*visitor))))
            }
            Step::Refund { transaction, refund_id, amount } => {
                wire::encode_event(edge.refund(30 * HOUR, |it| {
                    (it.transaction_id, it.refund_id) = (format!("t{transaction}"), format!("r{refund_id}"));
                    (it.amount, it.nonce) = (amount.map(usd), Some(nonce(*refund_id)));
                }))
            }
            Step::Again { event } if *event < events.len() => events[*event].clone(),
            Step::Again { .. } => continue,
            Step::Tick => wire::encode_event(edge.tick(now)),
            Step::Rubbish(bytes) => bytes.clone().into(),
            Step::Wait { hours } => {
                now += hours * HOUR;
                continue;
            }
        };
        now += SECOND;
        events.push(payload.clone());
        inputs.push(Input::read(&eventlog::Record {
            position: inputs.len() as u64,
            log_time: Timestamp::from_micros(T0 + now),
            key: Bytes::new(),
            payload,
        }));
    }
    inputs
}

/// Decides the log in ranges of these lengths; gives the records and the state after each.
fn decide_in(inputs: &[Input], lengths: &[usize]) -> (Vec<Record>, Vec<(Map, Head)>) {
    let catalog = catalog();
    let (mut state, mut head) = (Map::new(), Head::default());
    let (mut records, mut states) = (Vec::new(), Vec::new());
    let mut lengths = lengths.iter().cycle();
    let mut rest = inputs;
    while !rest.is_empty() {
        let (range, after) = rest.split_at((*lengths.next().unwrap()).min(rest.len()));
        rest = after;
        let mut overlay = Overlay::new(&state, head.clone());
        let decisions: Vec<Decision> =
            range.iter().map(|input| decide(&mut overlay, &catalog, input.clone()).unwrap()).collect();
        let last_event = wire::hash_record(&range[range.len() - 1].payload);
        let record = Record {
            core_version: CORE_VERSION,
            partition: 0,
            previous: head.record_hash,
            first_seq: head.next_seq,
            source_from: head.source,
            source_to: overlay.head().source,
            catalog: catalog.revision(),
            last_event,
            decisions,
        };
        let mut changes = overlay.into_changes();
        changes.head.last_event = last_event;
        changes.head.record = Some(records.len() as u64);
        changes.head.record_hash = wire::hash_record(&wire::encode_record(record.clone()));
        commit(&mut state, &mut head, changes);
        assert_eq!(head.imbalance(), 0);
        records.push(record);
        states.push((state.clone(), head.clone()));
    }
    (records, states)
}

fn decisions(records: &[Record]) -> Vec<Decision> {
    records.iter().flat_map(|record| record.decisions.clone()).collect()
}

/// Counted conversions, revenue and payout over all revisions: what reports add up.
fn sums(facts: impl Iterator<Item = Fact>) -> (i64, i64, i64) {
    let part = |values: Option<&Values>| match values {
        Some(values) if values.status.is_counted() => (1, values.revenue_micros, values.payout_micros),
        Some(_) | None => (0, 0, 0),
    };
    facts.fold((0, 0, 0), |sum, fact| {
        let Fact::Revision(revision) = fact else { return sum };
        let (before, after) = (part(revision.before.as_ref()), part(Some(&revision.after)));
        (sum.0 + after.0 - before.0, sum.1 + after.1 - before.1, sum.2 + after.2 - before.2)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_others_decided_is_applied_to_the_same_state_through_the_wire(
        steps in prop::collection::vec(step(), 1..80), length in 1..20_usize,
    ) {
        let (records, states) = decide_in(&log(&steps), &[length]);
        let (mut state, mut head) = (Map::new(), Head::default());
        for (position, (record, expected)) in records.iter().zip(&states).enumerate() {
            let bytes = wire::encode_record(record.clone());
            let read = wire::decode_record(bytes.clone()).unwrap();
            prop_assert_eq!(&read, record);
            let mut overlay = Overlay::new(&state, head.clone());
            apply_record(&mut overlay, &read, position as u64, wire::hash_record(&bytes)).unwrap();
            let changes = overlay.into_changes();
            commit(&mut state, &mut head, changes);
            prop_assert_eq!(&(state.clone(), head.clone()), expected);
            prop_assert_eq!(Head::decode(&head.encode()).unwrap(), head.clone());
        }
    }

    #[test]
    fn other_batches_give_the_same_decisions_and_state(
        steps in prop::collection::vec(step(), 1..80), lengths in prop::collection::vec(1..30_usize, 1..5),
    ) {
        let inputs = log(&steps);
        let (one, one_states) = decide_in(&inputs, &[1]);
        let (other, other_states) = decide_in(&inputs, &lengths);
        prop_assert_eq!(decisions(&one), decisions(&other));
        let last = |states: Vec<(Map, Head)>| {
            // Where the records lie differs; nothing else does.
            states.into_iter().next_back().map(|(state, head)| (state, Head { record: None, record_hash: [0; 32], ..head }))
        };
        prop_assert_eq!(last(one_states), last(other_states));
    }

    #[test]
    fn the_order_of_arrival_changes_no_sum(
        clicks in 1..12_usize,
        conversions in prop::collection::vec((0..12_usize, 1..1_000_i64, -HOUR..DAY * 40, any::<bool>()), 1..20),
        shuffle in any::<u64>(),
    ) {
        let mut edge = Traffic::of_edge(1);
        let clicks: Vec<Event> = (0..clicks).map(|n| edge.click(0, |it| it.visitor = Some(id(n as u8)))).collect();
        let mut events = clicks.clone();
        for (n, (click, amount, at, pixel)) in conversions.into_iter().enumerate() {
            // A pixel and a server may report one sale, in any order.
            for trust in [Some(Trust::Secret), (amount % 2 == 0).then_some(Trust::Token), pixel.then_some(Trust::Publishable)].into_iter().flatten() {
                events.push(edge.conversion(at, |it| {
                    (it.click, it.amount) = (Some(click_id(&clicks[click % clicks.len()])), Some(usd(amount)));
                    (it.trust, it.transaction_id) = (trust, format!("t{n}"));
                }));
            }
            // A part of it goes back, perhaps before anybody knows of it.
            if amount % 3 == 0 {
                events.push(edge.refund(at, |it| {
                    (it.transaction_id, it.amount) = (format!("t{n}"), Some(usd(amount / 3)));
                }));
            }
        }
        let total = |events: &[Event]| {
            let mut core = Core::new();
            let facts: Vec<Fact> = events.iter().flat_map(|event| core.feed_fast(event)).collect();
            (sums(facts.into_iter()), core.head.received())
        };
        let in_order = total(&events);
        let mut ids = shuffle;
        for at in (1..events.len()).rev() {
            ids = ids.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            events.swap(at, (ids >> 33) as usize % (at + 1));
        }
        prop_assert_eq!(total(&events), in_order);
    }

    #[test]
    fn every_delivery_twice_changes_nothing_but_the_count_of_redeliveries(
        steps in prop::collection::vec(step(), 1..60), gap in 0..5_usize,
    ) {
        // Rubbish has no mark: each piece is its own. Ticks are no deliveries. Both are left out here.
        let inputs: Vec<Input> = log(&steps)
            .into_iter()
            .filter(|input| input.event.as_ref().is_ok_and(|event| event.mark.is_some()))
            .collect();
        let mut once = Core::new();
        let mut twice = Core::new();
        for (n, input) in inputs.iter().enumerate() {
            let event = input.event.as_ref().unwrap();
            let facts = once.feed_fast(event);
            prop_assert_eq!(twice.feed_fast(event), facts);
            let again = inputs[n.saturating_sub(gap)].event.as_ref().unwrap();
            let is_redelivery = matches!(twice.feed_fast(again)[..], [Fact::Redelivered(_)]);
            prop_assert!(is_redelivery);
        }
        let (one, two) = (once.head.counters, twice.head.counters);
        prop_assert_eq!(two.redelivered, one.redelivered + inputs.len() as u64);
        prop_assert_eq!((twice.head.received(), two.outcomes, twice.head.rows), (once.head.received(), one.outcomes, once.head.rows));
        // What waits is keyed by the number of the fact that parked it, and redeliveries are facts.
        let settled = |state: &Map| -> Map {
            state.iter().filter(|(key, _)| !b"pq".contains(&key[0])).map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        prop_assert_eq!(settled(&twice.state), settled(&once.state));
        prop_assert_eq!(twice.state.len(), once.state.len());
    }
}
