//! The interface as `curl` sees it.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use crate::harness::{Harness, curl};

#[tokio::test(flavor = "multi_thread")]
async fn queries_by_get_and_post_with_parameters_and_formats() {
    let harness = Harness::start().await;
    assert_eq!(harness.curl(&[], "query=SELECT+1").text(), "1\n");
    assert_eq!(harness.curl(&["--data-binary", "SELECT 2"], "").text(), "2\n");
    assert_eq!(harness.curl(&["--data-binary", "+ 1"], "query=SELECT+2").text(), "3\n");

    let bound = "query=SELECT+%7Ba:String%7D,%7Bn:UInt64%7D,%7Bl:Array(String)%7D&param_a=it's;--%5Ct&param_n=7\
                 &param_l=%5B'x','y'%5D";
    assert_eq!(harness.curl(&["--globoff"], bound).text(), "it\\'s;--\\t\t7\t['x','y']\n");

    let json = harness.curl(&[], "query=SELECT+number+FROM+numbers(3)&default_format=JSON");
    let parsed: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!((&parsed["rows"], &parsed["data"][2]["number"]), (&3.into(), &2.into()));
    assert_eq!(json.header("content-type"), Some("application/json; charset=UTF-8"));
    let csv = harness.curl(&["--header", "X-ClickHouse-Format: CSV"], "query=SELECT+'a',2");
    assert_eq!((csv.text().as_str(), csv.header("x-clickhouse-format")), ("\"a\",2\n", Some("CSV")));
    assert_eq!(harness.curl(&[], "query=SELECT+1+AS+x+FORMAT+JSONEachRow").text(), "{\"x\":1}\n");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_whole_in_every_format() {
    let harness = Harness::start().await;
    for (format, bytes) in
        [("TSV", 2_688_890), ("RowBinary", 3_200_000), ("RowBinaryWithNamesAndTypes", 3_200_015)]
    {
        let sql = format!("SELECT number FROM numbers(400000) FORMAT {format}");
        let answer = harness.curl(&["--data-binary", &sql], "");
        assert_eq!((answer.status, answer.body.len()), (200, bytes), "{format}");
    }
    let sql = "SELECT number FROM numbers(400000) FORMAT JSONCompact";
    let parsed: serde_json::Value =
        serde_json::from_slice(&harness.curl(&["--data-binary", sql], "").body).unwrap();
    assert_eq!((parsed["data"].as_array().unwrap().len(), &parsed["rows"]), (400_000, &400_000.into()));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_hold_for_their_request_alone() {
    let harness = Harness::start().await;
    let ask = "query=SELECT+getSetting('max_threads')";
    assert_eq!(harness.curl(&[], &format!("{ask}&max_threads=3")).text(), "3\n");
    assert_ne!(harness.curl(&[], &format!("{ask}&session_id=s")).text(), "3\n");
    let unknown = harness.curl(&[], &format!("{ask}&no_such_setting=1"));
    assert_eq!((unknown.status, unknown.header("x-clickhouse-exception-code")), (404, Some("115")));
    let injected = harness.curl(&[], &format!("{ask}&max_threads%3D1,readonly=1"));
    assert_eq!(injected.header("x-clickhouse-exception-code"), Some("115"), "{}", injected.text());
    let value = harness.curl(&[], &format!("{ask}&max_threads=1',+readonly='1"));
    assert_ne!(value.status, 200, "{}", value.text());

    harness.execute("CREATE DATABASE other");
    assert_eq!(harness.curl(&[], "query=SELECT+currentDatabase()&database=other").text(), "other\n");
    assert_eq!(harness.curl(&[], "query=SELECT+currentDatabase()").text(), "tributary\n");
    assert_eq!(
        harness.curl(&[], "query=SELECT+1&database=nope").header("x-clickhouse-exception-code"),
        Some("81")
    );
    let slow = "query=SELECT+max(sipHash64(number))+FROM+numbers(100000000000)&max_execution_time=1";
    assert_eq!(harness.curl(&[], slow).header("x-clickhouse-exception-code"), Some("159"));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_taken_from_each_place_and_checked() {
    let harness = Harness::start().await;
    let endpoint = harness.endpoint();
    let url = format!("{}/?query=SELECT+1", endpoint.url);
    let user = format!("X-ClickHouse-User: {}", endpoint.user);
    let key = format!("X-ClickHouse-Key: {}", endpoint.password);
    assert_eq!(curl(&["--header", &user, "--header", &key], &url).text(), "1\n");
    let in_url = format!("{url}&user={}&password={}", endpoint.user, endpoint.password);
    assert_eq!(curl::<&str>(&[], &in_url).text(), "1\n");

    let missing = curl::<&str>(&[], &url);
    assert_eq!((missing.status, missing.header("x-clickhouse-exception-code")), (401, Some("516")));
    let wrong = curl(&["--user", "tributary:wrong"], &url);
    assert_eq!((wrong.status, wrong.header("x-clickhouse-exception-code")), (403, Some("516")));
    assert!(wrong.text().starts_with("Code: 516. DB::Exception: Authentication failed"), "{}", wrong.text());

    let ping = curl::<&str>(&[], &format!("{}/ping", endpoint.url));
    assert_eq!((ping.status, ping.text().as_str()), (200, "Ok.\n"));
    assert_eq!(curl::<&str>(&[], &format!("{}/play", endpoint.url)).status, 404);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_take_any_bytes_and_every_encoding() {
    let harness = Harness::start().await;
    harness.execute("CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a");
    // Every byte value stands in these rows: line ends and semicolons, which would end data inside a text.
    let rows: Vec<u8> = (0..1000_u64)
        .flat_map(|a| [&a.to_le_bytes()[..], &[3, b';', b'\n', u8::try_from(a % 256).unwrap()]].concat())
        .collect();
    let insert = "query=INSERT+INTO+t+FORMAT+RowBinary";
    for (encoding, body) in [
        (None, rows.clone()),
        (
            Some("gzip"),
            written(GzEncoder::new(Vec::new(), Compression::fast()), &rows, |e| e.finish().unwrap()),
        ),
        (
            Some("deflate"),
            written(ZlibEncoder::new(Vec::new(), Compression::fast()), &rows, |e| e.finish().unwrap()),
        ),
        (Some("zstd"), zstd::encode_all(&rows[..], 3).unwrap()),
        (Some("lz4"), written(FrameEncoder::new(Vec::new()), &rows, |e| e.finish().unwrap())),
    ] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&body).unwrap();
        let data = format!("@{}", file.path().display());
        let header = encoding.map(|encoding| format!("Content-Encoding: {encoding}")).unwrap_or_default();
        let answer = harness.curl(&["--header", &header, "--data-binary", &data], insert);
        assert_eq!(
            (answer.status, answer.summary("written_rows")),
            (200, 1000),
            "{encoding:?}: {}",
            answer.text()
        );
        let sums = harness.ask("SELECT count(), sum(a), uniqExact(s) FROM t");
        assert_eq!(sums, "1000\t499500\t256", "{encoding:?}");
        harness.execute("TRUNCATE TABLE t");
    }
    let inline = "INSERT INTO t (s, a) FORMAT JSONEachRow\n{\"a\":1,\"s\":\"x;\\ny\"}\n{\"a\":2,\"s\":\"\"}";
    assert_eq!(harness.curl(&["--data-binary", inline], "").summary("written_rows"), 2);
    harness.execute("INSERT INTO t VALUES (3, 'it''s'), (4, '')");
    assert_eq!(harness.ask("SELECT count(), sum(a) FROM t"), "4\t10");
    harness.stop().await;
}

fn written<W: std::io::Write>(mut encoder: W, data: &[u8], finish: fn(W) -> Vec<u8>) -> Vec<u8> {
    encoder.write_all(data).unwrap();
    finish(encoder)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_encoded_as_the_client_accepts() {
    let harness = Harness::start().await;
    for sql in ["SELECT number FROM numbers(1000)", "SELECT number FROM numbers(1000000)"] {
        let plain = harness.curl(&["--data-binary", sql], "").body;
        for encoding in ["gzip", "zstd", "lz4"] {
            let header = format!("Accept-Encoding: {encoding}");
            let answer =
                harness.curl(&["--header", &header, "--data-binary", sql], "enable_http_compression=1");
            assert_eq!(answer.header("content-encoding"), Some(encoding));
            let mut decoded = Vec::new();
            match encoding {
                "gzip" => GzDecoder::new(&answer.body[..]).read_to_end(&mut decoded).unwrap(),
                "zstd" => zstd::Decoder::new(&answer.body[..]).unwrap().read_to_end(&mut decoded).unwrap(),
                _ => FrameDecoder::new(&answer.body[..]).read_to_end(&mut decoded).unwrap(),
            };
            assert!(decoded == plain, "{encoding} of {sql}");
        }
        let off = harness
            .curl(&["--header", "Accept-Encoding: gzip", "--data-binary", sql], "enable_http_compression=0");
        assert_eq!(off.header("content-encoding"), None);
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_clickhouses_codes_and_statuses() {
    let harness = Harness::start().await;
    for (sql, status, code) in [
        ("SELEC 1", 400, "62"),
        ("", 400, "62"),
        ("-- nothing", 400, "62"),
        ("SELECT 1; SELECT 2", 400, "62"),
        ("SELECT * FROM nope", 404, "60"),
        ("SELECT nope", 404, "47"),
        ("SELECT {a:String}", 400, "456"),
        ("SELECT 1 INTO OUTFILE '/tmp/never-written'", 500, "358"),
        ("SELECT 1 FORMAT NoSuchFormat", 404, "73"),
        ("SELECT groupArray(number) FROM numbers(1000000000)", 500, "241"),
    ] {
        let answer = harness.curl(&["--data-binary", sql], "");
        let found = (answer.status, answer.header("x-clickhouse-exception-code"));
        assert_eq!(found, (status, Some(code)), "{sql}: {}", answer.text());
        assert!(
            answer.text().starts_with(&format!("Code: {code}. DB::Exception: ")),
            "{sql}: {}",
            answer.text()
        );
    }
    let changed = harness.curl(&[], "query=CREATE+DATABASE+x");
    assert_eq!(changed.header("x-clickhouse-exception-code"), Some("164"));
    let broken = harness.curl(&["--header", "Content-Encoding: gzip", "--data-binary", "SELECT 1"], "");
    assert_eq!(broken.header("x-clickhouse-exception-code"), Some("271"));
    assert!(!std::path::Path::new("/tmp/never-written").exists());
    assert_eq!(harness.ask("SELECT 1"), "1");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_the_answer_began_breaks_it_off() {
    let harness = Harness::start().await;
    let sql = "SELECT throwIf(number = 5000000) FROM numbers(10000000)";
    let answer = harness.curl(&["--data-binary", sql], "max_threads=1");
    assert_eq!(answer.status, 200);
    assert_ne!(answer.exit, 0, "the connection is closed before the body's end");
    let tag = answer.header("x-clickhouse-exception-tag").unwrap();
    assert!(answer.text().contains(&format!("__exception__\r\n{tag}\r\nCode: 395.")));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_headers_say_what_was_read_and_by_which_query() {
    let harness = Harness::start().await;
    let answer = harness.curl(&[], "query=SELECT+sum(number)+FROM+numbers(1000)&query_id=mine");
    assert_eq!(answer.header("x-clickhouse-query-id"), Some("mine"));
    assert_eq!(answer.header("x-clickhouse-timezone"), Some("UTC"));
    assert!(answer.header("x-clickhouse-server-display-name").is_some());
    assert_eq!((answer.summary("read_rows"), answer.summary("result_rows")), (1000, 1));
    harness.stop().await;
}
