//! The interface as the `clickhouse` crate and our own reader see it.

use std::time::Duration;

use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};
use warehouse::error::code;
use warehouse::{Endpoint, Error, Limits, Param};

use crate::harness::{Harness, eventually, limits};

#[derive(Debug, PartialEq, Row, Serialize, Deserialize)]
struct Visit {
    id: u64,
    name: String,
    tags: Vec<String>,
    score: Option<i32>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_inserts_and_reads() {
    let harness = Harness::start().await;
    for compression in [clickhouse::Compression::None, clickhouse::Compression::Lz4] {
        let client = Client::default().with_compression(compression);
        inserts_and_reads(&harness, client).await;
    }
    harness.stop().await;
}

async fn inserts_and_reads(harness: &Harness, client: Client) {
    let endpoint = harness.endpoint();
    let client = client
        .with_url(&endpoint.url)
        .with_user(&endpoint.user)
        .with_password(&endpoint.password)
        .with_database(&endpoint.database);
    let table = "CREATE OR REPLACE TABLE visits (id UInt64, name String, tags Array(String), score Nullable(Int32)) \
                 ENGINE = MergeTree ORDER BY id";
    client.query(table).execute().await.unwrap();
    let mut insert = client.insert::<Visit>("visits").await.unwrap();
    for id in 0..1000 {
        insert.write(&visit(id)).await.unwrap();
    }
    insert.end().await.unwrap();
    let found = client
        .query("SELECT ?fields FROM visits WHERE name = ? AND id < {top:UInt64}")
        .bind("it's;\n7")
        .param("top", 500)
        .fetch_all::<Visit>()
        .await
        .unwrap();
    assert_eq!(found, [visit(7)]);
    let many = client.query("SELECT number FROM numbers(1000000)").fetch_all::<u64>().await.unwrap();
    assert!(many.iter().copied().eq(0..1_000_000));
    let late = client
        .query("SELECT throwIf(number = 5000000) FROM numbers(10000000)")
        .fetch_all::<u8>()
        .await
        .unwrap_err();
    assert!(late.to_string().contains("Code: 395."), "{late}");
}

fn visit(id: u64) -> Visit {
    let score = id.is_multiple_of(2).then_some(-1);
    Visit { id, name: format!("it's;\n{id}"), tags: vec![format!("t{id}")], score }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_binds_values_and_keeps_its_limits() {
    let harness = Harness::start().await;
    let (_, reader) = harness.connect();
    let awkward = "it's\t{x:String}\\ \n; -- ?";
    let params = [
        ("text", Param::from(awkward)),
        ("high", Param::from(u64::MAX)),
        ("low", Param::from(i64::MIN)),
        ("list", Param::from(vec!["a'b".to_owned(), "c\\d".to_owned()])),
        ("id", Param::hex([0xff; 16])),
    ];
    let sql = "SELECT {text:String} AS text, {high:UInt64} AS high, {low:Int64} AS low, \
               {list:Array(String)} AS list, unhex({id:String}) = unhex('ffffffffffffffffffffffffffffffff') AS same";
    let rows = reader.json(sql, &params, &limits()).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["text"], awkward);
    assert_eq!((rows[0]["high"].as_u64(), rows[0]["low"].as_i64()), (Some(u64::MAX), Some(i64::MIN)));
    assert_eq!((&rows[0]["list"], rows[0]["same"].as_u64()), (&serde_json::json!(["a'b", "c\\d"]), Some(1)));
    let typed = reader.rows::<(u64, String)>("SELECT {high:UInt64}, {text:String}", &params, &limits()).await;
    assert_eq!(typed.unwrap(), [(u64::MAX, awkward.to_owned())]);

    let refused = reader.json("CREATE DATABASE x", &[], &limits()).await.unwrap_err();
    assert!(!refused.is_retriable(), "{refused}");
    let few = Limits { result_rows: 10, ..limits() };
    let many = reader.json("SELECT number FROM numbers(11)", &[], &few).await.unwrap_err();
    assert_eq!(many.code(), Some(code::TOO_MANY_ROWS_OR_BYTES), "{many}");
    let small = Limits { memory_bytes: 1 << 20, ..limits() };
    let hungry =
        reader.json("SELECT groupArray(number) FROM numbers(10000000)", &[], &small).await.unwrap_err();
    assert_eq!((hungry.code(), hungry.is_retriable()), (Some(code::MEMORY_LIMIT_EXCEEDED), true), "{hungry}");
    let short = Limits { timeout: Duration::from_secs(1), ..limits() };
    let endless = "SELECT max(sipHash64(number)) AS m FROM numbers(100000000000)";
    let slow = reader.json(endless, &[], &short).await.unwrap_err();
    assert_eq!((slow.code(), slow.is_retriable()), (Some(code::TIMEOUT_EXCEEDED), true), "{slow}");
    assert!(matches!(
        reader.json("SELECT 1", &[("a b", Param::from(1_u8))], &limits()).await,
        Err(Error::Request(_))
    ));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_is_not_there_is_unavailable() {
    let gone = Endpoint::new("http://127.0.0.1:1", "u", "p", "d");
    let (_, reader) = warehouse::connect(&gone);
    let error = reader.ping(Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && error.is_retriable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_run_side_by_side_and_more_than_run_at_once_wait() {
    let harness = Harness::start().await;
    let (_, reader) = harness.connect();
    let few = limits();
    let slow = (0..4).map(|_| reader.rows::<u8>("SELECT sleep(3)", &[], &few));
    let together = async {
        eventually("four statements at once", async || {
            harness.ask("SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep(3)%'") == "4"
        })
        .await;
    };
    let (slow, ()) = tokio::join!(futures::future::join_all(slow), together);
    assert!(slow.iter().all(Result::is_ok), "{slow:?}");
    let many = (0..100_u64).map(|n| {
        let (reader, few) = (reader.clone(), limits());
        async move { reader.rows::<u64>("SELECT {n:UInt64}", &[("n", Param::from(n))], &few).await.unwrap() }
    });
    let answers = futures::future::join_all(many).await;
    assert!(answers.into_iter().flatten().eq(0..100));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_client_goes_away_is_cancelled() {
    let harness = Harness::start().await;
    let running = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64%' AND query NOT LIKE '%processes%'";
    let (_, reader) = harness.connect();
    let patient = Limits { timeout: Duration::from_secs(600), ..limits() };
    {
        let endless =
            reader.json("SELECT max(sipHash64(number)) FROM numbers(10000000000000)", &[], &patient);
        let begun = eventually("the statement to run", async || harness.ask(running) == "1");
        tokio::select! {
            answer = endless => panic!("{answer:?}"),
            () = begun => {}
        }
    }
    eventually("the statement to be gone", async || harness.ask(running) == "0").await;
    harness.stop().await;
}
