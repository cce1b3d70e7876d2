//! Whoever decides, and however often: one chain, one outcome for each event.

use std::sync::Arc;
use std::time::Duration;

use processor::store::Committed as _;
use schemas::event::Event;
use schemas::fact::OutcomeStatus;
use schemas::wire;
use service::clock::Clock as _;

use crate::scene::{HOUR, MINUTE, SECOND, click_id, event_id};
use crate::site::{FACTS, Site};

/// Clicks, each with a conversion that comes before it or after it.
fn traffic(site: &Site, edge: u8, count: usize) -> Vec<Event> {
    let mut edge = site.edge(edge);
    (0..count)
        .flat_map(|n| {
            let click = edge.click(0, |_| {});
            let conversion = edge.conversion(HOUR, |it| it.click = Some(click_id(&click)));
            if n % 3 == 0 { [conversion, click] } else { [click, conversion] }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_decides_and_after_a_restart_goes_on() {
    let site = Site::start().await;
    let events = traffic(&site, 1, 20);
    let (before, after) = events.split_at(19);
    for part in [before, after] {
        let store = site.store("state");
        let owner = site.owner(&store);
        for event in part {
            site.send(event).await;
        }
        let head = site.decided(&store).await;
        assert_eq!(head.imbalance(), 0);
        owner.stop().await.unwrap();
    }
    let head = site.store("state").head().unwrap();
    assert_eq!((head.received(), head.counters.outcomes[OutcomeStatus::Recorded as usize]), (40, 40));
    let (records, ignored) = site.chain().await;
    assert_eq!((records.last().unwrap().source_to, ignored), (40, 0));
    assert_eq!(records.iter().map(|record| record.decisions.len()).sum::<usize>(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_of_one_partition_settle_every_event_once() {
    let site = Site::start().await;
    let stores = [site.store("one"), site.store("two")];
    // Other batches make other records: they race on every range.
    let owners = [4, 7].map(|batch| site.owner_with(&stores[batch % 2], site.clock.clone(), batch));
    let mut edge = site.edge(1);
    let mut sent = Vec::new();
    for n in 0..300 {
        let click = edge.click(n, |_| {});
        site.send(&click).await;
        sent.push(event_id(&click));
    }
    let heads = [site.decided(&stores[0]).await, site.decided(&stores[1]).await];
    assert_eq!(heads[0], heads[1], "both stand on the same chain");
    for owner in owners {
        owner.stop().await.unwrap();
    }
    let outcomes = site.outcomes().await;
    assert_eq!(outcomes.len(), sent.len());
    assert!(sent.iter().all(|event| outcomes[event].status == OutcomeStatus::Recorded));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_paused_while_another_decided_follows_it() {
    let site = Site::start().await;
    let [paused, busy] = ["paused", "busy"].map(|name| site.store(name));
    let events = traffic(&site, 1, 30);
    let owner = site.owner(&paused);
    for event in &events[..20] {
        site.send(event).await;
    }
    site.decided(&paused).await;
    owner.stop().await.unwrap();
    let other = site.owner_with(&busy, site.clock.clone(), 2);
    for event in &events[20..] {
        site.send(event).await;
    }
    let expected = site.decided(&busy).await;
    let owner = site.owner(&paused);
    assert_eq!(site.decided(&paused).await, expected);
    // And both go on together.
    let more = traffic(&site, 2, 10);
    for event in &more {
        site.send(event).await;
    }
    assert_eq!(site.decided(&paused).await.counters, site.decided(&busy).await.counters);
    for owner in [owner, other] {
        owner.stop().await.unwrap();
    }
    let outcomes = site.outcomes_of_settled().await;
    assert_eq!(outcomes, events.len() + more.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_lands_late_is_ignored_by_owner_and_reader() {
    let site = Site::start().await;
    let store = site.store("state");
    let owner = site.owner(&store);
    for event in traffic(&site, 1, 5) {
        site.send(&event).await;
    }
    let head = site.decided(&store).await;
    let (records, _) = site.chain().await;
    // The first record once more, and one by somebody who saw the log half as long.
    let first = wire::encode_record(records[0].clone());
    site.append(FACTS, first).await;
    let mut short = records[0].clone();
    short.decisions.truncate(1);
    short.source_to = short.source_from + 1;
    site.append(FACTS, wire::encode_record(short)).await;
    for event in traffic(&site, 2, 5) {
        site.send(&event).await;
    }
    let after = site.decided(&store).await;
    assert_eq!(after.received(), head.received() + 10);
    owner.stop().await.unwrap();
    assert_eq!(site.chain().await.1, 2, "two records are not of the chain");
    assert_eq!(site.outcomes_of_settled().await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_stands_in_the_log_twice_counts_once() {
    let site = Site::start().await;
    let store = site.store("state");
    let owner = site.owner(&store);
    let events = traffic(&site, 1, 10);
    for event in events.iter().chain(&events) {
        site.send(event).await;
    }
    let head = site.decided(&store).await;
    assert_eq!((head.received(), head.counters.redelivered), (20, 20));
    owner.stop().await.unwrap();
    assert_eq!(site.outcomes_of_settled().await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_that_is_lost_or_set_back_is_folded_again_from_the_chain() {
    let site = Site::start().await;
    let events = traffic(&site, 1, 40);
    let store = site.store("state");
    let owner = site.owner_with(&store, site.clock.clone(), 5);
    for event in &events[..40] {
        site.send(event).await;
    }
    site.decided(&store).await;
    owner.stop().await.unwrap();
    drop(store);
    site.copy_state("state", &site.state_dir("old"));
    let store = site.store("state");
    let owner = site.owner_with(&store, site.clock.clone(), 5);
    for event in &events[40..] {
        site.send(event).await;
    }
    let expected = site.decided(&store).await;
    owner.stop().await.unwrap();
    drop(store);
    site.forget("state");
    let records = site.chain().await.0;
    for name in ["state", "old"] {
        let store = site.store(name);
        let owner = site.owner(&store);
        assert_eq!(site.decided(&store).await, expected, "{name}");
        owner.stop().await.unwrap();
        assert_eq!(site.chain().await.0, records, "nothing was decided once more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_that_wait_for_a_cut_bring_a_tick_and_waits_that_are_over_another() {
    let site = Site::start().await;
    let store = site.store("state");
    let owner = site.owner(&store);
    let mut edge = site.edge(1);
    let absent = edge.click(0, |_| {});
    site.send(&edge.conversion(0, |it| it.click = Some(click_id(&absent)))).await;
    site.decided(&store).await;
    let reached = async |what: &str, holds: &dyn Fn(&processor::core::Head) -> bool, step: i64| {
        for _ in 0..2_000 {
            let head = store.head().unwrap();
            if holds(&head) {
                return head;
            }
            site.clock.advance(Duration::from_micros(step.unsigned_abs()));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not in time: {what}");
    };
    let head = reached("a cut", &|head| head.cut == 1, SECOND / 4).await;
    assert_eq!(head.counters.outcomes[OutcomeStatus::Parked as usize], 1);
    let head = reached("the end of the wait", &|head| head.cut == 2, 24 * HOUR).await;
    assert_eq!(head.counters.outcomes[OutcomeStatus::Rejected as usize], 1);
    assert_eq!((head.counters.outcomes[OutcomeStatus::Parked as usize], head.imbalance()), (0, 0));
    owner.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_stops_no_cut() {
    let site = Site::start().await;
    let store = site.store("state");
    let owner = site.owner(&store);
    let mut edge = site.edge(1);
    for cut in 1..=2 {
        site.send(&edge.click(0, |_| {})).await;
        site.decided(&store).await;
        let mut polls = 0;
        while store.head().unwrap().cut < cut {
            polls += 1;
            assert!(polls < 2_000, "cut {cut} did not come");
            // Together less than the clock is set back.
            site.clock.advance(Duration::from_millis(100));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        site.clock.set(site.clock.now_micros() - 5 * MINUTE);
    }
    owner.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_whose_facts_do_not_fit_into_one_record_are_decided_in_several() {
    let site = Site::start().await;
    let store = site.store("state");
    let mut edge = site.edge(1);
    let long = "x".repeat(200_000);
    for n in 0..60 {
        site.send(&edge.click(n, |it| it.user_agent.clone_from(&long))).await;
    }
    // All of them are there before the owner begins: twelve megabytes at once.
    let owner = site.owner(&store);
    let head = site.decided(&store).await;
    assert_eq!(head.received(), 60);
    owner.stop().await.unwrap();
    let sizes: Vec<usize> = site.facts_log().await.iter().map(|(_, payload)| payload.len()).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size <= 3 << 20), "{sizes:?}");
    assert_eq!(site.outcomes().await.len(), 60);
    assert_eq!(Arc::strong_count(&store), 1);
}
