//! From an HTTP request to an [`Execution`]: the URL's parameters, the headers and the body.

use std::borrow::Cow;
use std::convert::Infallible;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Method, header};
use url::form_urlencoded;
use uuid::Uuid;

use super::super::engine::{Execution, InsertData};
use super::super::exception::{Exception, code};
use super::super::statement;
use super::encoding::{Coding, too_large};

/// The format of an answer that nobody chose a format for, as on a server.
const DEFAULT_FORMAT: &str = "TabSeparated";

/// The longest statement, an `INSERT`'s data aside; the engine's own `max_query_size` is lower until it is raised.
const MAX_STATEMENT_BYTES: usize = 16 << 20;

/// Parameters of the interface that say nothing about the session: every other one is a setting.
/// `client_protocol_version` asks for extras in `Native` that clients probe for and do without.
const NOT_SETTINGS: [&str; 13] = [
    "buffer_size",
    "client_protocol_version",
    "close_session",
    "compress",
    "decompress",
    "enable_http_compression",
    "quota_key",
    "role",
    "session_check",
    "session_id",
    "session_timeout",
    "stacktrace",
    "wait_end_of_query",
];

/// The URL's part of a request, read before the body.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) query_id: Option<String>,
    query: Option<String>,
    database: Option<String>,
    default_format: Option<String>,
    settings: Vec<(String, String)>,
    bound: Vec<(String, String)>,
    plain_answer: bool,
    framed_answer: bool,
    /// Whether the body is in ClickHouse's own frames.
    pub(crate) framed_body: bool,
}

impl Parameters {
    /// Reads the URL's query part.
    pub(crate) fn of(query: &str) -> Self {
        let mut read = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            read.take(&name, value.into_owned());
        }
        read
    }

    fn take(&mut self, name: &str, value: String) {
        match name {
            "query" => self.query = Some(value),
            "database" => self.database = Some(value),
            "default_format" => self.default_format = Some(value),
            "user" => self.user = Some(value),
            "password" => self.password = Some(value),
            "query_id" => self.query_id = Some(value).filter(|id| !id.is_empty()),
            "enable_http_compression" => self.plain_answer = !truth(&value),
            "compress" => self.framed_answer = truth(&value),
            "decompress" => self.framed_body = truth(&value),
            name if NOT_SETTINGS.contains(&name) => {}
            name => match name.strip_prefix("param_") {
                Some(bound) => self.bound.push((bound.to_owned(), value)),
                None => self.settings.push((name.to_owned(), value)),
            },
        }
    }

    /// Reads the fields of a form: how the `clickhouse` crate sends a query with bound parameters. Answers what
    /// is left of the body.
    pub(crate) async fn take_form(&mut self, headers: &HeaderMap, body: Bytes) -> Result<Bytes, Exception> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let Some(boundary) = content_type.and_then(|value| multer::parse_boundary(value).ok()) else {
            return Ok(body);
        };
        let broken = |error: multer::Error| {
            Exception::new(code::BAD_ARGUMENTS, "BAD_ARGUMENTS", &format!("The form cannot be read: {error}"))
        };
        let whole = stream::once(async { Ok::<_, Infallible>(body) });
        let mut form = multer::Multipart::new(whole, boundary);
        while let Some(field) = form.next_field().await.map_err(broken)? {
            if field.file_name().is_some() {
                return Err(not_implemented("External tables (files in a form) are not supported"));
            }
            let name = field.name().unwrap_or_default().to_owned();
            let value = field.bytes().await.map_err(broken)?;
            let value = String::from_utf8(value.into()).map_err(|_| not_utf8())?;
            self.take(&name, value);
        }
        Ok(Bytes::new())
    }

    /// The coding of the answer, if client and settings allow one.
    pub(crate) fn answer_coding(&self, headers: &HeaderMap) -> Option<Coding> {
        if self.framed_answer {
            return Some(Coding::Frames);
        }
        let offered = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
        if self.plain_answer { None } else { Coding::accepted(offered) }
    }

    /// The whole request, with its decoded body.
    pub(crate) fn execution(
        self,
        method: &Method,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Execution, Exception> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (sql, insert) = split(self.query.as_deref(), body)?;
        let format = statement::output_format(&sql)
            .map(str::to_owned)
            .or(self.default_format)
            .or_else(|| text("x-clickhouse-format"))
            .unwrap_or_else(|| DEFAULT_FORMAT.to_owned());
        Ok(Execution {
            sql,
            insert,
            format,
            database: self.database.or_else(|| text("x-clickhouse-database")),
            settings: self.settings,
            parameters: self.bound,
            read_only: method == Method::GET || method == Method::HEAD,
            mark: Uuid::new_v4().to_string(),
        })
    }
}

fn truth(value: &str) -> bool {
    !matches!(value, "" | "0" | "false")
}

fn not_implemented(message: &str) -> Exception {
    Exception::new(code::NOT_IMPLEMENTED, "NOT_IMPLEMENTED", message)
}

/// Divides a request into statement and data. The statement may stand in the URL, in the body, or begin in the
/// one and go on in the other.
fn split(query: Option<&str>, body: Bytes) -> Result<(String, Option<InsertData>), Exception> {
    let url = query.unwrap_or_default();
    if let Some(head) = statement::insert_head(url.as_bytes()) {
        let rest = &url.as_bytes()[head.data_at..];
        let data = if rest.is_empty() { body } else { Bytes::from([rest, &body[..]].concat()) };
        return Ok((head.statement.to_owned(), Some(InsertData { format: head.format.to_owned(), data })));
    }
    let text = match (url.is_empty(), body.is_empty()) {
        (true, _) => body,
        (false, true) => Bytes::copy_from_slice(url.as_bytes()),
        (false, false) => Bytes::from([url.as_bytes(), b"\n", &body[..]].concat()),
    };
    if let Some(head) = statement::insert_head(&text) {
        let data = text.slice(head.data_at..);
        return Ok((head.statement.to_owned(), Some(InsertData { format: head.format.to_owned(), data })));
    }
    if text.len() > MAX_STATEMENT_BYTES {
        return Err(too_large(MAX_STATEMENT_BYTES));
    }
    match String::from_utf8_lossy(&text) {
        Cow::Borrowed(sql) => Ok((sql.to_owned(), None)),
        Cow::Owned(_) => Err(not_utf8()),
    }
}

fn not_utf8() -> Exception {
    Exception::new(code::BAD_ARGUMENTS, "BAD_ARGUMENTS", "The query is not valid UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(query: &str, body: &'static [u8]) -> Execution {
        let parameters = Parameters::of(query);
        parameters.execution(&Method::POST, &HeaderMap::new(), Bytes::from_static(body)).unwrap()
    }

    #[test]
    fn parameters_settings_and_the_rest_are_told_apart() {
        let query =
            "query=SELECT+%7Ba%3AString%7D&param_a=x%27y&max_threads=1&session_id=s&database=d&query_id=q";
        let read = execution(query, b"");
        assert_eq!(read.sql, "SELECT {a:String}");
        assert_eq!(read.parameters, [("a".to_owned(), "x'y".to_owned())]);
        assert_eq!(read.settings, [("max_threads".to_owned(), "1".to_owned())]);
        assert_eq!(read.database.as_deref(), Some("d"));
        assert_eq!(read.format, "TabSeparated");
    }

    #[test]
    fn an_insert_is_read_wherever_it_begins() {
        for (query, body) in [
            ("query=INSERT+INTO+t+FORMAT+CSV", &b"1;\n2\n"[..]),
            ("query=INSERT+INTO+t", b"FORMAT CSV\n1;\n2\n"),
            ("", b"INSERT INTO t FORMAT CSV\n1;\n2\n"),
        ] {
            let read = execution(query, body);
            let insert = read.insert.unwrap();
            assert_eq!(read.sql.trim_end(), "INSERT INTO t", "{query}");
            assert_eq!((insert.format.as_str(), &insert.data[..]), ("CSV", &b"1;\n2\n"[..]), "{query}");
        }
    }

    #[test]
    fn a_query_in_two_parts_is_joined() {
        assert_eq!(execution("query=SELECT+1", b"FORMAT JSON").sql, "SELECT 1\nFORMAT JSON");
        assert_eq!(execution("query=SELECT+1", b"FORMAT JSON").format, "JSON");
    }
}
