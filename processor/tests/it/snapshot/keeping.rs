//! What a snapshot is worth: the fold of the chain at its record, or nothing.

use std::time::Duration;

use processor::core::State as _;
use schemas::event::label;
use schemas::fact::Fact;

use super::{all, traffic};
use crate::scene::{DAY, id};
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_state_is_the_fold_at_that_record_to_the_byte() {
    let site = Site::start().await;
    let events = traffic(&mut site.edge(1), 40);
    site.decide("state", &events[..50]).await;
    let expected = all(&site.store("state"));
    let snapshot = site.take("state").await;
    assert_eq!(Some(snapshot.position), expected.1.record);
    assert_eq!(site.take("state").await, snapshot, "nothing was committed: nothing is written");
    site.decide("state", &events[50..]).await;

    let restored = site.store("restored");
    assert!(restored.is_empty().unwrap());
    assert_eq!(site.snapshots().restore(&*restored).await.unwrap(), Some(snapshot));
    assert_eq!(all(&restored), expected);
    // From there on it is folded like any other, and stands where the fold from nothing stands.
    drop(restored);
    for name in ["restored", "folded"] {
        site.decide(name, &[]).await;
        assert_eq!(all(&site.store(name)), all(&site.store("state")), "{name}");
    }
    assert_eq!(site.outcomes_of_settled().await, events.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_passed_over_and_the_one_before_it_is_taken() {
    let site = Site::start().await;
    let events = traffic(&mut site.edge(1), 60);
    site.decide("state", &events[..40]).await;
    let older = site.take("state").await;
    let expected = all(&site.store("state"));
    site.decide("state", &events[40..]).await;
    let newest = site.take("state").await;
    let file = site.file_of(&newest);
    let whole = std::fs::read(&file).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    for (damaged, name) in [(&whole[..whole.len() - 40], "cut"), (&changed, "changed"), (&[], "emptied")] {
        std::fs::write(&file, damaged).unwrap();
        let store = site.store(name);
        assert_eq!(site.snapshots().restore(&*store).await.unwrap(), Some(older.clone()), "{name}");
        assert_eq!(all(&store), expected, "{name}: nothing of the damaged one is left");
    }
    // With no other left the state is empty, and folded from nothing.
    std::fs::remove_file(site.file_of(&older)).unwrap();
    let store = site.store("none");
    site.snapshots().fill(&*store).await.unwrap();
    assert!(store.is_empty().unwrap() && all(&store).0.is_empty());
    // A snapshot that takes another's name is worth as little as its content.
    std::fs::write(&file, &whole).unwrap();
    std::fs::rename(&file, site.file_of(&older)).unwrap();
    assert_eq!(site.snapshots().restore(&*store).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_history_is_refused_and_left_alone() {
    let [ours, theirs] = [Site::start().await, Site::start().await];
    let events = traffic(&mut ours.edge(1), 30);
    ours.decide("state", &events[..20]).await;
    theirs.decide("state", &traffic(&mut theirs.edge(2), 10)).await;
    let foreign = theirs.take("state").await;
    let file = ours.file_of(&foreign);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::copy(theirs.file_of(&foreign), &file).unwrap();
    let store = ours.store("restored");
    assert_eq!(ours.snapshots().restore(&*store).await.unwrap(), None);
    assert!(store.is_empty().unwrap());
    let mut kept = vec![ours.take("state").await];
    for events in events[20..].chunks(20) {
        ours.decide("state", events).await;
        kept.insert(0, ours.take("state").await);
    }
    assert_eq!(ours.snapshots().restore(&*store).await.unwrap().as_ref(), kept.first());
    // Of our own only the newest two stay.
    assert_eq!(ours.snapshots().kept().await.unwrap(), kept);
    assert_eq!(ours.snapshots().prune(2).await.unwrap(), kept[..2]);
    assert_eq!(ours.snapshots().kept().await.unwrap(), kept[..2]);
    assert!(file.is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_are_over_are_no_part_of_a_snapshot_and_nobody_misses_them() {
    let site = Site::start().await;
    let mut edge = site.edge(1);
    let mut click =
        |at, visitor| edge.click(at, |hit| (hit.visitor, hit.link) = (Some(id(visitor)), Some(id(1))));
    site.decide("state", &[click(0, 7)]).await;
    site.clock.advance(Duration::from_micros(DAY.unsigned_abs()));
    site.decide("state", &[click(DAY, 8)]).await;
    site.take("state").await;
    let restored = site.store("restored");
    site.snapshots().restore(&*restored).await.unwrap().unwrap();
    assert_eq!(
        restored.scan(b"u", b"v", 9, false).unwrap().len(),
        2,
        "of the second visitor, on link and offer"
    );
    drop(restored);
    site.decide("restored", &[click(DAY, 7), click(DAY, 8)]).await;
    let mut unique = Vec::new();
    for fact in site.chain().await.0.into_iter().flat_map(|it| it.decisions).flat_map(|it| it.facts) {
        if let Fact::Click(fact) = fact {
            unique.push(fact.click.hit.labels.iter().any(|known| known == label::UNIQUE_LINK_24H));
        }
    }
    assert_eq!(unique, [true, true, true, false]);
}
