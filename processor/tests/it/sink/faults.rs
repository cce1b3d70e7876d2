//! What a sink finds half done, what it refuses to touch, and what dies under it.

use processor::{Error, Health, Metrics};
use schemas::event::Event;
use warehouse::error::code;

use super::exact::batches;
use super::warehouse::{Database, Warehouse};

/// A warehouse with all rows loaded, to take rows from.
async fn loaded() -> (Warehouse, Database) {
    let warehouse = Warehouse::start().await;
    let batches = batches(&mut warehouse.site.edge(1));
    warehouse.decide(&batches).await;
    let whole = warehouse.database("whole").await;
    warehouse.load(&whole, 5).await.unwrap();
    (warehouse, whole)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_life_left_of_a_cut_is_completed_and_nothing_is_loaded_twice() {
    let (warehouse, whole) = loaded().await;
    let expected = whole.contents().await;
    for (number, left) in [
        // Nothing but rows of the first cut; all of one table; a beginning of another; the row that says finished, at last.
        &[("clicks", "cut = 1")][..],
        &[("clicks", "cut <= 2"), ("outcomes", "cut = 1"), ("outcomes", "cut = 2 AND row_seq < 9")],
        &[
            ("clicks", "1"),
            ("impressions", "1"),
            ("conversion_revisions", "1"),
            ("credits", "1"),
            ("outcomes", "1"),
        ],
        &[("credits", "row_seq = 1"), ("clicks", "cut = 1 OR row_seq = 3")],
    ]
    .into_iter()
    .enumerate()
    {
        let database = warehouse.database(&format!("half{number}")).await;
        for (table, condition) in left {
            database.take(&whole, table, condition).await;
        }
        warehouse.load(&database, 5).await.unwrap();
        assert_eq!(database.contents().await, expected, "{left:?}");
    }
    // One that was finished up to a cut goes on after it, and a second run changes nothing.
    let database = warehouse.database("finished").await;
    for table in ["clicks", "impressions", "conversion_revisions", "credits", "outcomes"] {
        database.take(&whole, table, "cut <= 3").await;
    }
    database.execute("INSERT INTO cuts SELECT * FROM whole.cuts WHERE cut <= 3").await;
    database.execute("INSERT INTO conversions SELECT * FROM whole.conversions WHERE version = 1").await;
    for _ in 0..2 {
        warehouse.load(&database, 5).await.unwrap();
        assert_eq!(database.contents().await, expected);
    }
    warehouse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_nothing_explains_halt_the_sink() {
    let (warehouse, whole) = loaded().await;
    for (number, left) in [
        &["cut = 2 AND row_seq != 5"][..],
        &["cut = 2 AND row_seq > 5"],
        &["cut = 2", "cut = 2 AND row_seq = 7"],
        &["cut = 2 AND row_seq < 9", "cut = 2 AND row_seq = 4"],
    ]
    .into_iter()
    .enumerate()
    {
        let database = warehouse.database(&format!("odd{number}")).await;
        for condition in left {
            database.take(&whole, "clicks", condition).await;
        }
        let before = database.rows::<u64>("SELECT count() FROM clicks").await[0];
        let error = warehouse.sink(&database).ended().await.unwrap_err();
        let Error::UnexplainedRows { table: "clicks", partition: 0, cut: 2, chunk: 0, .. } = &error else {
            panic!("{left:?}: {error}");
        };
        assert!(!error.is_retriable());
        assert_eq!(database.rows::<u64>("SELECT max(cut) FROM cuts").await, [1]);
        let now = database.rows::<u64>("SELECT count() FROM clicks WHERE cut = 2").await[0];
        assert_eq!(now, before, "nothing is added to what is wrong");
    }
    warehouse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_arrive_too_late_are_refused_and_sent_again_in_time() {
    let warehouse = Warehouse::start().await;
    let batch: Vec<Event> = {
        let mut edge = warehouse.site.edge(1);
        (0..10).map(|n| edge.click(n, |_| {})).collect()
    };
    let rows = warehouse.decide(&[batch]).await;
    let database = warehouse.database("one").await;
    // By this table's clock an hour passes between the question and the INSERT.
    let constrain = async |check: &str| {
        database.execute("ALTER TABLE clicks DROP CONSTRAINT sent_in_time").await;
        database.execute(&format!("ALTER TABLE clicks ADD CONSTRAINT sent_in_time CHECK {check}")).await;
    };
    constrain("now() + 3600 <= insert_before").await;
    let error = warehouse.sink(&database).ended().await.unwrap_err();
    let Error::Warehouse(refused) = &error else { panic!("{error}") };
    assert_eq!(refused.code(), Some(code::VIOLATED_CONSTRAINT), "{error}");
    assert!(error.is_retriable(), "{error}");
    assert_eq!(database.density().await[0], [0, 0, 0]);
    constrain("now() <= insert_before").await;
    warehouse.load(&database, 1).await.unwrap();
    assert_eq!(database.density().await, rows.map(|count| [count; 3]));
    warehouse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_was_filled_from_another_log_halts_the_sink() {
    let (warehouse, whole) = loaded().await;
    for replaced in ["repeat('0', 64) AS record_hash", "1000 AS record"] {
        let database = warehouse.database(if replaced.contains("hash") { "other" } else { "longer" }).await;
        database.execute(&format!("INSERT INTO cuts SELECT * REPLACE ({replaced}) FROM whole.cuts")).await;
        let error = warehouse.sink(&database).ended().await.unwrap_err();
        assert!(matches!(error, Error::Foreign(_)), "{error}");
    }
    assert_eq!(whole.rows::<u64>("SELECT max(cut) FROM cuts").await, [5]);
    warehouse.stop().await;
}

/// A sink whose next cut counts other rows than its facts give: its position in the warehouse was changed.
async fn miscounted(warehouse: &Warehouse) -> Database {
    let database = warehouse.database("miscounted").await;
    database
        .execute("INSERT INTO cuts SELECT * REPLACE (clicks + 1 AS clicks) FROM whole.cuts WHERE cut <= 3")
        .await;
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_that_counts_other_rows_than_its_facts_give_halts_the_sink() {
    let (warehouse, _whole) = loaded().await;
    let database = miscounted(&warehouse).await;
    let error = warehouse.sink(&database).ended().await.unwrap_err();
    let Error::CutMismatch { cut: 4, table: "clicks", expected: 22, found: 23 } = &error else {
        panic!("{error}");
    };
    assert_eq!(error.to_string(), "cut 4 counts 22 rows of clicks, its facts give 23");
    assert!(!error.is_retriable());
    assert_eq!(database.rows::<u64>("SELECT max(cut) FROM cuts").await, [3], "nothing is written");
    warehouse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_sink_that_looks_again_stays_halted_until_it_got_past_the_reason() {
    let (warehouse, _whole) = loaded().await;
    let database = miscounted(&warehouse).await;
    let (health, metrics) = (Health::default(), Metrics::register(&prometheus::Registry::new()).unwrap());
    let partition = health.partition("sink", 0, &metrics);
    partition.halted(&"odd");
    let again = warehouse.sink_of_health(&database, partition.clone(), &metrics).ended().await;
    assert!(matches!(again, Err(Error::CutMismatch { .. })), "{again:?}");
    assert_eq!(health.problems(), ["sink 0 halted: odd"]);
    database.execute("INSERT INTO cuts SELECT * FROM whole.cuts WHERE cut <= 3").await;
    let sink = warehouse.sink_of_health(&database, partition.clone(), &metrics);
    database.reached(5).await;
    sink.stop().await.unwrap();
    assert!(health.problems().is_empty(), "{:?}", health.problems());
    // One that finds nothing more to load is past everything, too.
    partition.retrying(&"away");
    let sink = warehouse.sink_of_health(&database, partition, &metrics);
    let begun = std::time::Instant::now();
    while !health.problems().is_empty() {
        assert!(begun.elapsed() < crate::site::PATIENCE, "{:?}", health.problems());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    sink.stop().await.unwrap();
    warehouse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_finished_only_when_the_warehouse_has_the_row_that_says_so() {
    let (warehouse, whole) = loaded().await;
    let database = warehouse.database("deaf").await;
    // It takes every row with a yes and keeps none.
    database.execute("DROP TABLE cuts").await;
    database.execute("CREATE TABLE cuts AS whole.cuts ENGINE = Null").await;
    let error = warehouse.sink(&database).ended().await.unwrap_err();
    assert!(matches!(error, Error::CutNotFinished { cut: 1 }) && error.is_retriable(), "{error}");
    database.execute("DROP TABLE cuts").await;
    database.execute("CREATE TABLE cuts AS whole.cuts").await;
    warehouse.load(&database, 5).await.unwrap();
    assert_eq!(database.contents().await, whole.contents().await);
    warehouse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversions_that_are_taken_with_a_yes_and_not_kept_are_missed() {
    let (warehouse, whole) = loaded().await;
    let database = warehouse.database("deaf").await;
    database.execute("DROP TABLE conversions").await;
    database.execute("CREATE TABLE conversions AS whole.conversions ENGINE = Null").await;
    let error = warehouse.sink(&database).ended().await.unwrap_err();
    assert!(matches!(error, Error::ConversionsNotTaken { cut: 1 }) && error.is_retriable(), "{error}");
    database.execute("DROP TABLE conversions").await;
    database.execute("CREATE TABLE conversions AS whole.conversions").await;
    warehouse.load(&database, 5).await.unwrap();
    assert_eq!(database.contents().await, whole.contents().await);
    warehouse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_again_and_again_ends_up_with_every_row_once() {
    let warehouse = Warehouse::start().await;
    let mut edge = warehouse.site.edge(1);
    let batches: Vec<Vec<Event>> =
        (0..30).map(|_| (0..40).map(|n| edge.click(n, |_| {})).collect()).collect();
    let rows = warehouse.decide(&batches).await;
    let database = warehouse.database("one").await;
    let (shutdown, tasks, health) = warehouse.kept_sink(&database);
    for cut in [3, 9, 15] {
        database.passed(cut).await;
        let pid = warehouse.engine.pid().unwrap();
        let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(killed.success());
    }
    database.reached(30).await;
    shutdown.trigger();
    tasks.join_all(crate::site::PATIENCE).await.unwrap();
    assert_eq!(database.density().await, rows.map(|count| [count; 3]), "{:?}", health.problems());
    warehouse.stop().await;
}
