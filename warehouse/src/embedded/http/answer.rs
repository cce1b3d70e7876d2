//! Answers: ClickHouse's headers, a body that is sent whole or in pieces, and exceptions.

use std::time::Instant;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::super::exception::Exception;
use super::super::ffi::Counters;
use super::encoding::Coding;

/// The body of every answer.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, BrokenOff>;

/// Ends a body in the middle, so that a client that knows no exception tags sees a broken answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the statement failed after its answer had begun")]
pub(crate) struct BrokenOff;

/// What the headers tell before the body.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) format: String,
    pub(crate) query_id: String,
    pub(crate) coding: Option<Coding>,
    pub(crate) counters: Counters,
    pub(crate) started: Instant,
    /// Set when the body is sent in pieces: marks an exception in the middle of them.
    pub(crate) exception_tag: Option<String>,
}

/// The body of an answer as its statement produces it.
pub(crate) enum Pieces {
    Whole(Bytes),
    Stream { first: Bytes, rest: mpsc::Receiver<Result<Bytes, BrokenOff>> },
}

/// An answer of the server itself.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(whole(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    set(&mut response, "content-type", "text/html; charset=UTF-8");
    response
}

/// The answer of a statement that began well.
pub(crate) fn success(head: &Head, pieces: Pieces) -> Response<AnswerBody> {
    let body = match pieces {
        Pieces::Whole(bytes) => whole(bytes),
        Pieces::Stream { first, rest } => stream_of(first, rest),
    };
    let mut response = Response::new(body);
    set(&mut response, "content-type", content_type(&head.format));
    set(&mut response, "x-clickhouse-format", &head.format);
    set(&mut response, "x-clickhouse-query-id", &head.query_id);
    set(&mut response, "x-clickhouse-summary", &summary(head.counters, head.started));
    if let Some(name) = head.coding.and_then(Coding::name) {
        set(&mut response, "content-encoding", name);
    }
    if let Some(tag) = &head.exception_tag {
        set(&mut response, "x-clickhouse-exception-tag", tag);
    }
    with_server(response)
}

/// The answer of a statement that failed before anything was sent.
pub(crate) fn failure(exception: &Exception, query_id: &str) -> Response<AnswerBody> {
    let mut response = Response::new(whole(Bytes::from(format!("{}\n", exception.text))));
    *response.status_mut() = exception.status();
    set(&mut response, "content-type", "text/plain; charset=UTF-8");
    set(&mut response, "x-clickhouse-exception-code", &exception.code.to_string());
    set(&mut response, "x-clickhouse-query-id", query_id);
    with_server(response)
}

/// The answer to a request without credentials.
pub(crate) fn unauthorized(exception: &Exception) -> Response<AnswerBody> {
    let mut response = failure(exception, "");
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    set(&mut response, "www-authenticate", "Basic realm=\"ClickHouse server HTTP API\"");
    response
}

/// How ClickHouse ends a body whose statement failed on the way (since 25.11).
pub(crate) fn exception_block(exception: &Exception, tag: &str) -> Vec<u8> {
    let message = format!("{}\n", exception.text);
    let length = message.len();
    format!("\r\n__exception__\r\n{tag}\r\n{message}{length} {tag}\r\n__exception__\r\n").into_bytes()
}

fn whole(bytes: Bytes) -> AnswerBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn stream_of(first: Bytes, rest: mpsc::Receiver<Result<Bytes, BrokenOff>>) -> AnswerBody {
    let rest = stream::unfold(rest, |mut rest| async move {
        let piece = rest.recv().await?;
        if piece.is_err() {
            // hyper drops what it has not flushed when a body fails: it flushes while the body waits.
            tokio::task::yield_now().await;
        }
        Some((piece.map(Frame::data), rest))
    });
    StreamBody::new(stream::once(async move { Ok(Frame::data(first)) }).chain(rest)).boxed_unsync()
}

fn set(response: &mut Response<AnswerBody>, name: &'static str, value: &str) {
    // A value that no header can hold (a query id with a line end) is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(header::HeaderName::from_static(name), value);
    }
}

fn with_server(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    set(&mut response, "x-clickhouse-server-display-name", "tributary");
    set(&mut response, "x-clickhouse-timezone", "UTC");
    response
}

/// Numbers as JSON strings, as ClickHouse writes them.
fn summary(counters: Counters, started: Instant) -> String {
    let elapsed_ns = started.elapsed().as_nanos();
    let Counters { result_rows, result_bytes, read_rows, read_bytes, written_rows, written_bytes } = counters;
    format!(
        "{{\"read_rows\":\"{read_rows}\",\"read_bytes\":\"{read_bytes}\",\"written_rows\":\"{written_rows}\",\
         \"written_bytes\":\"{written_bytes}\",\"total_rows_to_read\":\"{read_rows}\",\
         \"result_rows\":\"{result_rows}\",\"result_bytes\":\"{result_bytes}\",\"elapsed_ns\":\"{elapsed_ns}\"}}"
    )
}

fn content_type(format: &str) -> &'static str {
    match format {
        "TabSeparated"
        | "TSV"
        | "TabSeparatedRaw"
        | "TSVRaw"
        | "TabSeparatedWithNames"
        | "TSVWithNames"
        | "TabSeparatedWithNamesAndTypes"
        | "TSVWithNamesAndTypes" => "text/tab-separated-values; charset=UTF-8",
        "CSV" => "text/csv; charset=UTF-8; header=absent",
        "CSVWithNames" | "CSVWithNamesAndTypes" => "text/csv; charset=UTF-8; header=present",
        "JSON"
        | "JSONStrings"
        | "JSONCompact"
        | "JSONCompactStrings"
        | "JSONColumns"
        | "JSONColumnsWithMetadata"
        | "JSONObjectEachRow" => "application/json; charset=UTF-8",
        "JSONEachRow"
        | "JSONLines"
        | "NDJSON"
        | "JSONStringsEachRow"
        | "JSONCompactEachRow"
        | "JSONCompactStringsEachRow" => "application/x-ndjson; charset=UTF-8",
        "XML" => "application/xml; charset=UTF-8",
        "Native"
        | "RowBinary"
        | "RowBinaryWithNames"
        | "RowBinaryWithNamesAndTypes"
        | "Arrow"
        | "ArrowStream"
        | "Parquet"
        | "ORC"
        | "Avro"
        | "Npy"
        | "MsgPack"
        | "BSONEachRow" => "application/octet-stream",
        _ => "text/plain; charset=UTF-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_json_with_numbers_as_strings() {
        let counters = Counters { read_rows: 7, ..Counters::default() };
        let parsed: serde_json::Value = serde_json::from_str(&summary(counters, Instant::now())).unwrap();
        assert_eq!(parsed["read_rows"], "7");
        assert!(parsed["elapsed_ns"].is_string());
    }

    #[test]
    fn a_late_exception_states_its_length() {
        let exception = Exception::new(1, "X", "late");
        let block = String::from_utf8(exception_block(&exception, "tag")).unwrap();
        assert!(block.starts_with("\r\n__exception__\r\ntag\r\nCode: 1. DB::Exception: late (X)\n"));
        assert!(block.ends_with("\n33 tag\r\n__exception__\r\n"), "{block}");
    }
}
