//! Rows that prove themselves: the projection, the deduplication token and the constraint.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use schemas::table::{MIGRATIONS, Table};
use warehouse::batch::{Batch, BatchBuilder, Seconds};
use warehouse::error::code;
use warehouse::{Marks, Migration, Range, Sink, migrate};

use crate::batch::settings;
use crate::harness::{Harness, eventually, limits};

/// The parts of an append-only table that the range check rests on.
const TABLE: &str = "CREATE TABLE facts (log_partition UInt16, cut UInt64, chunk UInt16, row_seq UInt64, \
    insert_before DateTime('UTC'), \
    PROJECTION marks (SELECT log_partition, cut, chunk, count(), min(row_seq), max(row_seq), sum(row_seq), \
    sum(row_seq * row_seq) GROUP BY log_partition, cut, chunk), \
    CONSTRAINT sent_in_time CHECK now() <= insert_before) \
    ENGINE = MergeTree ORDER BY (log_partition, row_seq) \
    SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1";

const PING: Duration = Duration::from_secs(5);

/// As many rows as the largest INSERT has.
const MOST_ROWS: u64 = 500_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_insert_is_one_part() {
    let (harness, sink) = table().await;
    insert(&sink, &rows(7, 0, MOST_ROWS), 60, "a").await.unwrap();
    let parts = "SELECT count(), sum(rows) FROM system.parts WHERE active AND table = 'facts' AND level = 0";
    assert_eq!(harness.ask(parts), "1\t500000");
    assert_eq!(marks(&sink, 7).await, Marks::of_range(0, MOST_ROWS));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_projection_answers_the_marks() {
    let (harness, sink) = table().await;
    assert_eq!(marks(&sink, 7).await, Marks::default());
    insert(&sink, &rows(7, 10, 1000), 60, "a").await.unwrap();
    insert(&sink, &rows(8, 1010, 1000), 60, "b").await.unwrap();
    assert_eq!(marks(&sink, 7).await, Marks::of_range(10, 1000));
    assert_eq!(marks(&sink, 8).await, Marks::of_range(1010, 1000));
    let plan = harness.ask(
        "EXPLAIN projections = 1 SELECT count(), min(row_seq), max(row_seq), sum(row_seq), sum(row_seq * row_seq) \
         FROM facts WHERE log_partition = 0 AND cut = 7 AND chunk = 1",
    );
    assert!(plan.contains("ReadFromMergeTree (marks)"), "{plan}");
    // Of several in their order, of which one has none.
    let of = [8, 9, 7].map(|cut| Range { table: "facts", log_partition: 0, cut, chunk: 1 });
    let found = sink.marks(&of, &limits()).await.unwrap();
    assert_eq!(found, [Marks::of_range(1010, 1000), Marks::default(), Marks::of_range(10, 1000)]);
    assert_eq!(sink.marks(&[], &limits()).await.unwrap(), []);
    // Of all cuts so far, too.
    let through = async |cut| sink.marks_through("facts", 0, cut, &limits()).await.unwrap();
    assert_eq!((through(6).await, through(7).await), (Marks::default(), Marks::of_range(10, 1000)));
    assert_eq!(through(8).await, Marks::of_range(10, 2000));
    let plan = harness.ask(
        "EXPLAIN projections = 1 SELECT count(), min(row_seq), max(row_seq), sum(row_seq), sum(row_seq * row_seq) \
         FROM facts WHERE log_partition = 0 AND cut <= 8",
    );
    assert!(plan.contains("ReadFromMergeTree (marks)"), "{plan}");
    let read = harness.curl(
        &[],
        "query=SELECT+count(),min(row_seq),sum(row_seq)+FROM+facts+WHERE+log_partition=0+AND+cut=7+AND+chunk=1",
    );
    assert!(read.summary("read_rows") <= 2, "the rows themselves are not read");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_once_even_after_a_restart() {
    let (harness, sink) = table().await;
    for _ in 0..3 {
        insert(&sink, &rows(7, 0, 100), 60, "same").await.unwrap();
    }
    assert_eq!(marks(&sink, 7).await, Marks::of_range(0, 100));
    let directory = harness.directory;
    harness.engine.stop(std::time::Duration::from_secs(20)).await;
    let again = crate::harness::settings(directory.path());
    let engine = warehouse::embedded::EmbeddedEngine::start(again).await.unwrap();
    let (sink, _) = warehouse::connect(&engine.endpoint());
    insert(&sink, &rows(7, 0, 100), 60, "same").await.unwrap();
    assert_eq!(marks(&sink, 7).await, Marks::of_range(0, 100));
    // The same rows under another token are rows once more: it is the range check that keeps them out.
    insert(&sink, &rows(7, 0, 100), 60, "other").await.unwrap();
    assert_eq!(marks(&sink, 7).await.count, 200);
    engine.stop(std::time::Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_insert_is_refused_whole() {
    let (harness, sink) = table().await;
    let late = insert(&sink, &rows(7, 0, 100), -5, "late").await.unwrap_err();
    assert_eq!((late.code(), late.is_retriable()), (Some(code::VIOLATED_CONSTRAINT), false), "{late}");
    assert_eq!(marks(&sink, 7).await, Marks::default());
    // The refused token is free again.
    insert(&sink, &rows(7, 0, 100), 60, "late").await.unwrap();
    assert_eq!(marks(&sink, 7).await, Marks::of_range(0, 100));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_append_only_table_of_the_project_proves_its_rows() {
    let harness = Harness::start().await;
    let migrations: Vec<Migration<'_>> = MIGRATIONS.iter().map(Migration::from).collect();
    migrate(&harness.endpoint(), &migrations).await.unwrap();
    let (sink, _) = harness.connect();
    for table in Table::ALL.map(Table::name) {
        let insert = |seconds: i64| {
            let sql = format!(
                "INSERT INTO {table} (log_partition, cut, chunk, row_seq, insert_before) \
                 SELECT 0, 7, 1, number + 5, now() + {seconds} FROM numbers(100)"
            );
            harness.curl(&["--data-binary", &sql], "")
        };
        assert_eq!(insert(-5).header("x-clickhouse-exception-code"), Some("469"), "{table}");
        assert_eq!(insert(60).status, 200, "{table}");
        let found = marks_in(&sink, table, 7).await.unwrap();
        assert_eq!(found, Marks::of_range(5, 100), "{table}");
        let plan = harness.ask(&format!(
            "EXPLAIN projections = 1 SELECT count(), min(row_seq), max(row_seq), sum(row_seq), sum(row_seq * row_seq) \
             FROM {table} WHERE log_partition = 0 AND cut = 7 AND chunk = 1"
        ));
        assert!(plan.contains("ReadFromMergeTree (marks)"), "{table}: {plan}");
    }
    harness.stop().await;
}

/// The sink's protocol in small: ask, insert what is missing, ask again; the engine is killed in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_while_the_engine_is_killed() {
    const CUTS: u64 = 24;
    const ROWS: u64 = 20_000;
    let (harness, sink) = table().await;
    for cut in 0..CUTS {
        let expected = Marks::of_range(cut * ROWS, ROWS);
        let batch = rows(cut, cut * ROWS, ROWS);
        for attempt in 0_u32.. {
            eventually("the engine to answer", async || sink.reader().ping(PING).await.is_ok()).await;
            match marks_in(&sink, "facts", cut).await {
                Ok(found) if found == expected => break,
                Ok(found) => assert_eq!(found, Marks::default(), "a part of cut {cut}"),
                Err(error) => {
                    assert!(error.is_retriable(), "{error}");
                    continue;
                }
            }
            let token = format!("{cut}/{attempt}");
            let inserted = async {
                let result = insert(&sink, &batch, 60, &token).await;
                assert!(result.as_ref().map_or_else(warehouse::Error::is_retriable, |()| true), "{result:?}");
            };
            // The first attempt of every third cut meets a kill, each a little later than the one before.
            let kill = attempt == 0 && cut % 3 == 0;
            tokio::join!(inserted, async {
                if kill {
                    tokio::time::sleep(Duration::from_millis(cut * 2)).await;
                    kill_child(&harness);
                }
            });
        }
    }
    let all = harness.ask("SELECT count(), uniqExact(row_seq), max(row_seq) FROM facts");
    assert_eq!(all, format!("{0}\t{0}\t{1}", CUTS * ROWS, CUTS * ROWS - 1));
    harness.stop().await;
}

fn kill_child(harness: &Harness) {
    if let Some(pid) = harness.engine.pid() {
        // It may be between two lives already.
        let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL);
    }
}

async fn table() -> (Harness, Sink) {
    let harness = Harness::start().await;
    harness.execute(TABLE);
    let (sink, _) = harness.connect();
    (harness, sink)
}

fn rows(cut: u64, first: u64, count: u64) -> Batch {
    BatchBuilder::new()
        .column("log_partition", (0..count).map(|_| 0_u16))
        .column("cut", (0..count).map(|_| cut))
        .column("chunk", (0..count).map(|_| 1_u16))
        .column("row_seq", first..first + count)
        .build()
        .unwrap()
}

async fn insert(sink: &Sink, rows: &Batch, seconds: i64, token: &str) -> Result<(), warehouse::Error> {
    #[allow(clippy::disallowed_methods, reason = "the constraint compares with the engine's own wall clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = u32::try_from(now.checked_add_signed(seconds).unwrap()).unwrap();
    let rows = rows.with_constant("insert_before", Seconds(before))?;
    sink.insert("facts", rows.to_arrow_stream()?, &settings(token)).await
}

async fn marks(sink: &Sink, cut: u64) -> Marks {
    marks_in(sink, "facts", cut).await.unwrap()
}

async fn marks_in(sink: &Sink, table: &'static str, cut: u64) -> Result<Marks, warehouse::Error> {
    let of = Range { table, log_partition: 0, cut, chunk: 1 };
    Ok(sink.marks(&[of], &limits()).await?[0])
}
