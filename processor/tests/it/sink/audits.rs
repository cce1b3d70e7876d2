//! Rows that are lost or doubled behind the sink are found.

use processor::Metrics;
use processor::sink::Auditor;
use processor::verify::TableRows;
use prometheus::Registry;

use super::exact::batches;
use super::warehouse::Warehouse;
use crate::site::PATIENCE;

/// What an audit finds wrong: table, missing, extra.
async fn wrong(auditor: &Auditor) -> Vec<(&'static str, u64, u64)> {
    let (cut, tables) = auditor.audit().await.unwrap().unwrap();
    assert_eq!((cut, tables.len()), (5, 5));
    let is_wrong = |it: &TableRows| it.missing + it.extra > 0;
    tables.into_iter().filter(is_wrong).map(|it| (it.table, it.missing, it.extra)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_or_doubled_behind_the_sink_is_found() {
    let warehouse = Warehouse::start().await;
    let batches = batches(&mut warehouse.site.edge(1));
    warehouse.decide(&batches).await;
    let database = warehouse.database("one").await;
    let (writer, _) = warehouse::connect(&database.endpoint);
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let auditor = Auditor { warehouse: writer, partition: 0, period: PATIENCE, metrics: metrics.audit(0) };
    assert!(auditor.audit().await.unwrap().is_none(), "nothing is finished");
    warehouse.load(&database, 5).await.unwrap();
    assert!(wrong(&auditor).await.is_empty());
    let again = "INSERT INTO outcomes SELECT * REPLACE (now() + 30 AS insert_before) FROM outcomes WHERE row_seq IN (2, 3)";
    database.execute(again).await;
    assert_eq!(wrong(&auditor).await, [("outcomes", 0, 2)]);
    database.execute("ALTER TABLE clicks DELETE WHERE row_seq = 7 SETTINGS mutations_sync = 2").await;
    assert_eq!(wrong(&auditor).await, [("clicks", 1, 0), ("outcomes", 0, 2)]);
    // One is gone and another is there in its stead: the count is right and the rows are not.
    let beyond = "INSERT INTO clicks SELECT * REPLACE (now() + 30 AS insert_before, 99 AS row_seq) FROM (SELECT * FROM clicks WHERE row_seq = 8)";
    database.execute(beyond).await;
    assert_eq!(wrong(&auditor).await, [("clicks", 1, 1), ("outcomes", 0, 2)]);
    warehouse.stop().await;
}
