//! The log lets go what is in the archive, and only what nobody needs any more.

use std::time::Duration;

use processor::Objects;
use processor::store::{Committed as _, Store};
use schemas::table::Table;

use super::warehouse::Warehouse;
use crate::scene::{DAY, Traffic};
use crate::site::{EVENTS, FACTS, Site};
use crate::snapshot::failover::{POSITION, Processor, SOURCE};

const ARCHIVED: &str = "tributary_archive_position{partition=\"0\",topic=\"facts\"}";
const WEEK: u64 = 7 * 24;

async fn clicks(site: &Site, edge: &mut Traffic, count: i64) {
    for n in 0..count {
        site.send(&edge.click(n, |_| {})).await;
    }
    site.send(&Traffic::of_edge(0).tick(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_cut_below_snapshots_and_sink_and_everything_goes_on() {
    let warehouse = Warehouse::of(Site::with_small_segments().await).await;
    let site = &warehouse.site;
    let database = warehouse.database("one").await;
    let objects = Objects::in_directory(&site.dir.path().join("objects")).unwrap();
    let mut edge = site.edge(1);
    clicks(site, &mut edge, 200).await;

    // Two snapshots, and all is old; but the warehouse has nothing yet.
    let processor =
        Processor::start_with(site, &site.state_dir("state"), &objects, (&database.endpoint, WEEK));
    processor.reaches(SOURCE, |source| source >= 201).await;
    processor.reaches(POSITION, |_| true).await;
    site.clock.advance(Duration::from_micros(10 * DAY as u64));
    clicks(site, &mut edge, 10).await;
    processor.reaches(SOURCE, |source| source >= 212).await;
    let end = site.log.bounds(FACTS).await.unwrap().end;
    processor.reaches(POSITION, |position| position + 1 >= end).await;
    assert_eq!(site.log.bounds(FACTS).await.unwrap().start, 0);

    // Now it has the first cut.
    warehouse.load(&database, 2).await.unwrap();
    clicks(site, &mut edge, 10).await;
    processor.reaches(ARCHIVED, |position| position > 0).await;
    processor.stop().await;
    let first = snapshot_positions(site).into_iter().next().unwrap();
    for partition in [EVENTS, FACTS] {
        assert!(site.log.bounds(partition).await.unwrap().start > 0, "{partition}");
    }
    assert!(site.log.bounds(FACTS).await.unwrap().start <= first);

    // Another machine decides on, and the sink goes on where it was: every row once.
    let processor =
        Processor::start_with(site, &site.state_dir("other"), &objects, (&database.endpoint, WEEK));
    clicks(site, &mut edge, 30).await;
    let end = site.log.bounds(EVENTS).await.unwrap().end;
    processor.reaches(SOURCE, |source| source >= end).await;
    processor.stop().await;
    let head = Store::open(&site.state_dir("other/p0"), 0).unwrap().head().unwrap();
    assert_eq!((head.counters.outcomes[0], head.imbalance()), (250, 0));
    warehouse.load(&database, head.cut).await.unwrap();
    let rows = head.rows;
    let expected: Vec<[u64; 3]> = Table::ALL.iter().map(|table| [rows.get(*table); 3]).collect();
    assert_eq!(database.density().await, expected);

    // What the log has no more comes from the archive: a new warehouse is filled, and a state without any snapshot.
    let new = warehouse.database("two").await;
    warehouse.load(&new, head.cut).await.unwrap();
    assert_eq!(new.contents().await, database.contents().await);
    std::fs::remove_dir_all(site.dir.path().join("objects/snapshots")).unwrap();
    let processor =
        Processor::start_with(site, &site.state_dir("third"), &objects, (&database.endpoint, WEEK));
    processor.reaches(SOURCE, |source| source >= end).await;
    processor.stop().await;
    assert_eq!(Store::open(&site.state_dir("third/p0"), 0).unwrap().head().unwrap(), head);
    warehouse.stop().await;
}

/// Positions of the snapshots in the store, the oldest first.
fn snapshot_positions(site: &Site) -> Vec<u64> {
    let files = std::fs::read_dir(site.dir.path().join("objects/snapshots/0")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut positions: Vec<u64> = names.filter_map(|name| name.split_once('-')?.0.parse().ok()).collect();
    positions.sort_unstable();
    positions
}
