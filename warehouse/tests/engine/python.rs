//! The interface as a notebook sees it: `clickhouse-connect`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::harness::{Harness, script};

const SCRIPT: &str = r#"
import sys
from datetime import datetime, timezone
import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError

port, user, password = sys.stdin.read().split()
client = clickhouse_connect.get_client(host="127.0.0.1", port=int(port), username=user, password=password,
                                       database="tributary")
assert client.ping()
assert client.command("SELECT 40 + 2") == 42
client.command("CREATE TABLE py (id UInt64, name String, at DateTime64(6, 'UTC'), tags Array(String), m Map(String, String),"
               " n Nullable(Int32), low LowCardinality(String)) ENGINE = MergeTree ORDER BY id")
at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
rows = [[i, f"na;me\n{i}", at, ["a", "b"], {"k": "v"}, None if i % 2 else i, "x"] for i in range(1000)]
summary = client.insert("py", rows, column_names=["id", "name", "at", "tags", "m", "n", "low"])
assert summary.written_rows == 1000, summary.written_rows
result = client.query("SELECT * FROM py WHERE id = {id:UInt64} AND name = {name:String}",
                      parameters={"id": 7, "name": "na;me\n7"})
assert result.column_names == ("id", "name", "at", "tags", "m", "n", "low"), result.column_names
row = result.result_rows[0]
assert row[:2] == (7, "na;me\n7") and row[3:] == (["a", "b"], {"k": "v"}, None, "x"), row
assert row[2].replace(tzinfo=timezone.utc) == at, row[2]
assert client.query("SELECT count(), sum(id) FROM py").result_rows == [(1000, 499500)]
assert len(client.query("SELECT number, toString(number) FROM numbers(300000)").result_rows) == 300000
assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 2}).result_rows == [(2,)]
with client.query_row_block_stream("SELECT number FROM numbers(500000)") as stream:
    assert sum(len(block) for block in stream) == 500000
assert client.raw_query("SELECT 1 AS x", fmt="JSONEachRow") == b'{"x":1}\n'
client.raw_insert("py", ["id", "name"], b"5000,raw\n", fmt="CSV", compression=None)
assert client.command("SELECT name FROM py WHERE id = 5000") == "raw"
try:
    client.query("SELECT * FROM nope")
    raise SystemExit("no error")
except DatabaseError as error:
    assert "UNKNOWN_TABLE" in str(error) or "code: 60" in str(error).lower(), error
for compress in ("zstd", "lz4", "gzip"):
    other = clickhouse_connect.get_client(host="127.0.0.1", port=int(port), username=user, password=password,
                                          database="tributary", compress=compress)
    other.insert("py", [[10000, compress]], column_names=["id", "name"])
    assert other.query("SELECT count() FROM py WHERE name = {n:String}", parameters={"n": compress}).result_rows == [(1,)]
print("all good")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn clickhouse_connect_reads_and_writes() {
    let harness = Harness::start().await;
    let endpoint = harness.endpoint();
    let port = endpoint.url.rsplit(':').next().unwrap().to_owned();
    let mut child = Command::new(script("python.sh"))
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    write!(stdin, "{port} {} {}", endpoint.user, endpoint.password).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), "all good", "{}", String::from_utf8_lossy(&output.stderr));
    harness.stop().await;
}
