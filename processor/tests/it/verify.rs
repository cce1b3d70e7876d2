//! What was decided is decided once more and compared.

use std::time::Duration;

use catalog::Projection;
use processor::archive::{Archive, Mover};
use processor::assignment::PartitionOf;
use processor::core::CORE_VERSION;
use processor::snapshot::Snapshots;
use processor::store::Committed as _;
use processor::verify::{Beginning, Question, Verified, Verifier};
use processor::{Error, Metrics, Objects};
use schemas::fact::{Fact, Record};
use schemas::time::Timestamp;
use schemas::wire;
use service::clock::Clock as _;

use crate::scene::{DAY, HOUR, click_id};
use crate::site::{EVENTS, FACTS, Site};

fn objects(site: &Site) -> Objects {
    Objects::in_directory(&site.dir.path().join("objects")).unwrap()
}

async fn verify(site: &Site, beginning: Beginning, until: Option<u64>) -> Result<Verified, Error> {
    let verifier = Verifier {
        log: site.log.clone(),
        objects: Some(objects(site)),
        partition: 0,
        projection: Projection::FIRST,
    };
    verifier.verify(beginning, Question { until, cut: None }).await
}

/// An installation in which conversions wait for clicks, and a snapshot was taken half way.
async fn decided() -> Site {
    let site = Site::with_small_segments().await;
    let mut edge = site.edge(1);
    for half in 0..2 {
        let store = site.store("state");
        let owner = site.owner_with(&store, site.clock.clone(), 4);
        for n in 0..60 {
            let click = edge.click(n, |_| {});
            site.send(&edge.conversion(HOUR, |it| it.click = Some(click_id(&click)))).await;
            site.send(&click).await;
        }
        site.decided(&store).await;
        owner.stop().await.unwrap();
        if half == 0 {
            snapshots(&site).take(&store.view()).await.unwrap().unwrap();
        }
    }
    site
}

fn snapshots(site: &Site) -> Snapshots {
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap().snapshots(0);
    Snapshots::new(objects(site), site.log.clone(), PartitionOf::first(0), metrics)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_owners_decided_is_decided_again_to_the_byte() {
    let site = decided().await;
    let head = site.store("state").head().unwrap();
    let (records, _) = site.chain().await;
    let whole = verify(&site, Beginning::default(), None).await.unwrap();
    assert_eq!((whole.from, whole.to, whole.records), (0, head.source, records.len() as u64));
    assert_eq!((whole.facts, whole.difference.clone()), (head.next_seq - 1, None));
    let part = verify(&site, Beginning::default(), Some(50)).await.unwrap();
    assert!(part.to > 50 && part.to < 60 && part.difference.is_none(), "{part:?}");

    let kept = snapshots(&site).kept().await.unwrap();
    let beginning = snapshots(&site).load(&kept[0]).await.unwrap();
    let rest = verify(&site, beginning, None).await.unwrap();
    assert_eq!((rest.from, rest.to, rest.difference), (120, head.source, None));

    // What the log has no more comes from the archive.
    site.clock.advance(Duration::from_micros(3 * DAY as u64));
    let old = Timestamp::from_micros(site.clock.now_micros() - DAY);
    for (partition, needed) in [(EVENTS, 119), (FACTS, kept[0].position)] {
        let mover = Mover::new(Archive::new(objects(&site), site.log.clone(), partition));
        assert_eq!(mover.pass(needed, old).await.unwrap(), needed);
        assert!(site.log.bounds(partition).await.unwrap().start > 0, "{partition}");
    }
    assert_eq!(verify(&site, Beginning::default(), None).await.unwrap(), whole);
}

/// The installation's log, with another record of facts in place of one.
async fn with_record(site: &Site, index: usize, edit: impl FnOnce(&mut Record)) -> Site {
    let copy = Site::start().await;
    for payload in site.events_log().await {
        copy.append(EVENTS, payload).await;
    }
    let (mut records, _) = site.chain().await;
    edit(&mut records[index]);
    let mut previous = records[0].previous;
    for record in &mut records {
        record.previous = previous;
        let payload = wire::encode_record(record.clone());
        previous = wire::hash_record(&payload);
        copy.append(FACTS, payload).await;
    }
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_fact_that_was_decided_otherwise_is_shown() {
    let site = decided().await;
    let (records, _) = site.chain().await;
    let event = records[5].decisions[0].source;
    let other = with_record(&site, 5, |record| {
        let mut facts = record.decisions[0].facts.iter_mut().rev();
        let outcome =
            facts.find_map(|fact| if let Fact::Outcome(outcome) = fact { Some(outcome) } else { None });
        outcome.unwrap().reason = "bribed".into();
    })
    .await;
    let verified = verify(&other, Beginning::default(), None).await.unwrap();
    let difference = verified.difference.unwrap();
    assert_eq!((verified.records, difference.record, difference.event), (5, 5, Some(event)));
    assert!(
        difference.accepted.contains("bribed") && !difference.decided.contains("bribed"),
        "{difference:?}"
    );

    // The decisions may be right and what is said around them wrong.
    let other = with_record(&site, 3, |record| record.last_event = [9; 32]).await;
    let difference = verify(&other, Beginning::default(), None).await.unwrap().difference.unwrap();
    assert_eq!((difference.record, difference.event), (3, None));
    assert!(difference.accepted.contains("[9, 9, 9,"), "{difference:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_core_decided_is_not_judged_by_this_one() {
    let site = decided().await;
    for version in [CORE_VERSION - 1, CORE_VERSION + 1] {
        let other = with_record(&site, 2, |record| record.core_version = version).await;
        let error = verify(&other, Beginning::default(), None).await.unwrap_err();
        assert!(
            matches!(error, Error::OtherCore { position: 2, version: found } if found == version),
            "{error}"
        );
    }
}
