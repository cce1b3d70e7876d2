//! What each cell's type becomes in the table: the mapping that `warehouse::batch` documents.

use warehouse::InsertSettings;
use warehouse::batch::{BatchBuilder, Days, Micros, Seconds};

use crate::harness::Harness;

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_arrives_as_its_column() {
    let harness = Harness::start().await;
    harness.execute(
        "CREATE TABLE cells (u8 UInt8, u16 UInt16, u32 UInt32, u64 UInt64, i8 Int8, i16 Int16, i32 Int32, \
         i64 Int64, f Float64, b Bool, at DateTime64(6, 'UTC'), s DateTime('UTC'), plain DateTime, d Date, \
         id FixedString(16), text String, low LowCardinality(String), bytes String, list Array(LowCardinality(String)), \
         texts Array(String), map Map(String, String), lmap Map(LowCardinality(String), String), nu Nullable(UInt32), \
         nt Nullable(String), nat Nullable(DateTime64(6, 'UTC')), other UInt8 DEFAULT 9) ENGINE = MergeTree ORDER BY u64",
    );
    let id: [u8; 16] = *b"\x01\xff\x00;\n'\\abcdefghi";
    let batch = BatchBuilder::new()
        .column("u8", [u8::MAX, 0])
        .column("u16", [u16::MAX, 0])
        .column("u32", [u32::MAX, 0])
        .column("u64", [u64::MAX, 0])
        .column("i8", [i8::MIN, 0])
        .column("i16", [i16::MIN, 0])
        .column("i32", [i32::MIN, 0])
        .column("i64", [i64::MIN, 0])
        .column("f", [-0.5_f64, 0.0])
        .column("b", [true, false])
        .column("at", [Micros(1_767_323_045_678_901), Micros(-1)])
        .column("s", [Seconds(1_767_323_045), Seconds(0)])
        .column("plain", [Seconds(u32::MAX), Seconds(0)])
        .column("d", [Days(20_455), Days(0)])
        .column("id", [id, [0; 16]])
        .column("text", ["it's;\n\u{0}ä", ""])
        .column("low", ["x", ""])
        .column("bytes", [&b"\xff\x00"[..], b""])
        .column("list", [vec!["a", "b"], vec![]])
        .column("texts", [vec!["c;"], vec![]])
        .column("map", [vec![("k", "v"), ("l", "w")], vec![]])
        .column("lmap", [vec![("k", "v")], vec![]])
        .column("nu", [Some(7_u32), None])
        .column("nt", [Some("t"), None])
        .column("nat", [Some(Micros(1)), None])
        .build()
        .unwrap();
    let (sink, _) = harness.connect();
    sink.insert("cells", batch.to_arrow_stream().unwrap(), &settings("one")).await.unwrap();
    let row = harness.ask(
        "SELECT u8, u16, u32, u64, i8, i16, i32, i64, f, b, at, s, toUnixTimestamp(plain), d, hex(id), hex(text), low, \
         hex(bytes), list, texts, map, lmap, nu, nt, nat, other FROM cells ORDER BY u64 DESC",
    );
    let lines: Vec<&str> = row.lines().collect();
    assert_eq!(
        lines[0],
        "255\t65535\t4294967295\t18446744073709551615\t-128\t-32768\t-2147483648\t-9223372036854775808\t-0.5\ttrue\t\
         2026-01-02 03:04:05.678901\t2026-01-02 03:04:05\t4294967295\t2026-01-02\t01FF003B0A275C616263646566676869\t\
         697427733B0A00C3A4\tx\tFF00\t['a','b']\t['c;']\t{'k':'v','l':'w'}\t{'k':'v'}\t7\tt\t1970-01-01 00:00:00.000001\t9"
    );
    assert_eq!(
        lines[1],
        "0\t0\t0\t0\t0\t0\t0\t0\t0\tfalse\t1969-12-31 23:59:59.999999\t1970-01-01 00:00:00\t0\t1970-01-01\t\
         00000000000000000000000000000000\t\t\t\t[]\t[]\t{}\t{}\t\\N\t\\N\t\\N\t9"
    );
    harness.stop().await;
}

pub(crate) fn settings(token: &str) -> InsertSettings {
    InsertSettings { dedup_token: token.to_owned(), timeout: std::time::Duration::from_secs(30) }
}
