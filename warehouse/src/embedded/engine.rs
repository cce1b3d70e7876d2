//! The engine as the HTTP server sees it: one execution, one connection, one answer in pieces.
//!
//! Every execution has a connection of its own: opening one costs 0.15 ms, and nothing of a request (its
//! settings, its database, its temporary tables) can leak into the next. It also avoids a trap of the library:
//! after a failed statement, a connection may give a later one the bytes of an earlier answer.

use std::ffi::CString;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::exception::{Exception, code};
use super::ffi::{Analysis, Block, Connection, Counters, Library, Parameter, StatementClass};
use super::statement;

/// The version that `SELECT version()` of the pinned library answers.
pub(crate) const ENGINE_VERSION: &str = "26.7.2.1";

/// The database of the project's tables. Not `default`: in the library, that one also reads files by name.
pub(crate) const DATABASE: &str = "tributary";

/// Pieces of an `INSERT`'s data as they are handed to the engine.
const INSERT_PIECE_BYTES: usize = 1 << 20;

/// Each of the engine's four caches may take this part of its memory.
const CACHE_SHARE: u64 = 16;

/// Formats whose answer in pieces is byte for byte the answer as a whole. The others repeat a header or
/// count only the last piece in their footer, so they are answered as a whole.
const STREAMED_FORMATS: [&str; 14] = [
    "CSV",
    "JSONCompactEachRow",
    "JSONCompactStringsEachRow",
    "JSONEachRow",
    "JSONLines",
    "JSONStringsEachRow",
    "LineAsString",
    "NDJSON",
    "Native",
    "RowBinary",
    "TSKV",
    "TSV",
    "TabSeparated",
    "TabSeparatedRaw",
];

/// The format that repeats a plain header in each piece: the `clickhouse` crate asks for it.
const HEADED_FORMAT: &str = "RowBinaryWithNamesAndTypes";

/// What one request wants done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Execution {
    /// The statement; of an `INSERT` with data, its head.
    pub(crate) sql: String,
    /// The format of an `INSERT`'s data, with the data.
    pub(crate) insert: Option<InsertData>,
    /// The format of the answer.
    pub(crate) format: String,
    pub(crate) database: Option<String>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) parameters: Vec<Parameter>,
    /// Only statements that change nothing: what a GET may do.
    pub(crate) read_only: bool,
    /// What [`Engine::cancel`] finds the statement by; of letters, digits and `-`.
    pub(crate) mark: String,
}

/// The data of an `INSERT`.
#[derive(Clone, Debug, Default)]
pub(crate) struct InsertData {
    pub(crate) format: String,
    pub(crate) data: bytes::Bytes,
}

/// How much memory the engine may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) memory_bytes: u64,
    pub(crate) query_memory_bytes: u64,
    pub(crate) execution_time_s: u64,
}

/// The running engine.
pub(crate) struct Engine {
    library: Arc<Library>,
    arguments: Vec<CString>,
    /// Keeps the engine up while no request is there: it shuts down with its last connection.
    _anchor: Mutex<Connection>,
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot load the engine library: {0}")]
    Library(#[from] libloading::Error),
    #[error(
        "the engine library is version {found}, but {ENGINE_VERSION} is needed: run deploy/engine/fetch.sh"
    )]
    Version { found: String },
    #[error("the data directory's path holds a zero byte")]
    Path,
    #[error("the engine does not open its data: {0}")]
    Open(String),
}

impl Engine {
    /// Loads the library and opens the data in `directory`.
    pub(crate) fn start(library: &Path, directory: &Path, limits: Limits) -> Result<Self, StartError> {
        let library = Library::load(library)?;
        let session = [
            format!("--path={}", directory.display()),
            format!("--max_execution_time={}", limits.execution_time_s),
            format!("--max_memory_usage={}", limits.query_memory_bytes),
            // A bare expression is a statement in the library, but a syntax error on a server.
            "--implicit_select=0".to_owned(),
        ];
        let cache = limits.memory_bytes / CACHE_SHARE;
        // The caches' defaults are made for servers: several GiB each.
        let server = [
            format!("--max_server_memory_usage={}", limits.memory_bytes),
            format!("--mark_cache_size={cache}"),
            format!("--index_mark_cache_size={cache}"),
            format!("--primary_index_cache_size={cache}"),
            format!("--query_condition_cache_size={cache}"),
        ];
        let arguments = c_strings(&session)?;
        let first: Vec<CString> = arguments.iter().cloned().chain(c_strings(&server)?).collect();
        let mut anchor =
            Connection::open(&library, &first).map_err(|exception| StartError::Open(exception.text))?;
        let mut ask = |sql: &str| {
            let block = anchor.query(sql, "TabSeparatedRaw", &[]);
            block.map_err(|exception| StartError::Open(exception.text))
        };
        let version = String::from_utf8_lossy(&ask("SELECT version()")?.data).trim().to_owned();
        if version != ENGINE_VERSION {
            return Err(StartError::Version { found: version });
        }
        ask(&format!("CREATE DATABASE IF NOT EXISTS {DATABASE} ENGINE = Atomic"))?;
        Ok(Self { library, arguments, _anchor: Mutex::new(anchor) })
    }

    /// Runs one request and hands its answer to `output`, piece by piece; `output` may break off.
    pub(crate) fn execute(
        &self,
        execution: &Execution,
        output: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), Exception> {
        let mut connection = self.open(&execution.mark)?;
        prepare(&mut connection, execution)?;
        let analysis = connection.classify(&execution.sql);
        check(execution, analysis)?;
        if let Some(insert) = &execution.insert {
            let counters = insert_data(&mut connection, execution, insert)?;
            let _ = output(Block { data: Vec::new(), counters });
            return Ok(());
        }
        let streamed = analysis.class == StatementClass::ReadOnly && statement::is_select(&execution.sql);
        let headed = execution.format == HEADED_FORMAT;
        if streamed && (headed || STREAMED_FORMATS.contains(&execution.format.as_str())) {
            return stream(&mut connection, execution, headed, output);
        }
        let block = connection.query(&execution.sql, &execution.format, &execution.parameters)?;
        let _ = output(block);
        Ok(())
    }

    /// Cancels the statement with this mark, if it runs. The library cannot break off a statement that has not
    /// begun to answer, but the engine can, asked by another connection.
    pub(crate) fn cancel(&self, mark: &str) -> Result<(), Exception> {
        let mut connection = self.open("")?;
        let mark = statement::quoted(mark, '\'');
        let sql = format!("KILL QUERY WHERE Settings['log_comment'] = {mark} ASYNC");
        connection.query(&sql, "Null", &[]).map(|_| ())
    }

    fn open(&self, mark: &str) -> Result<Connection, Exception> {
        let mark =
            CString::new(format!("--log_comment={mark}")).map_err(|_| Exception::connection_refused())?;
        let arguments: Vec<CString> = self.arguments.iter().cloned().chain([mark]).collect();
        Connection::open(&self.library, &arguments)
    }
}

fn c_strings(arguments: &[String]) -> Result<Vec<CString>, StartError> {
    arguments.iter().map(|argument| CString::new(argument.as_str()).map_err(|_| StartError::Path)).collect()
}

/// Gives the session its database and settings.
fn prepare(connection: &mut Connection, execution: &Execution) -> Result<(), Exception> {
    let database = execution.database.as_deref().filter(|name| !name.is_empty()).unwrap_or(DATABASE);
    connection.query(&format!("USE {}", statement::quoted(database, '`')), "Null", &[])?;
    if execution.settings.is_empty() {
        return Ok(());
    }
    let mut changes = Vec::with_capacity(execution.settings.len());
    for (name, value) in &execution.settings {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if name.is_empty() || !name.chars().all(plain) {
            let message = format!("Unknown setting {}", statement::quoted(name, '\''));
            return Err(Exception::new(code::UNKNOWN_SETTING, "UNKNOWN_SETTING", &message));
        }
        changes.push(format!("{name} = {}", statement::quoted(value, '\'')));
    }
    connection.query(&format!("SET {}", changes.join(", ")), "Null", &[]).map(|_| ())
}

/// Refuses what ClickHouse's HTTP interface refuses and the library would do.
fn check(execution: &Execution, analysis: Analysis) -> Result<(), Exception> {
    if statement::first_word(&execution.sql).is_empty() {
        return Err(Exception::new(code::SYNTAX_ERROR, "SYNTAX_ERROR", "Syntax error: Empty query"));
    }
    if analysis.statement_count > 1 {
        let message = "Syntax error (Multi-statements are not allowed)";
        return Err(Exception::new(code::SYNTAX_ERROR, "SYNTAX_ERROR", message));
    }
    if statement::writes_a_file(&execution.sql) {
        let message = "INTO OUTFILE is not allowed";
        return Err(Exception::new(code::INTO_OUTFILE_NOT_ALLOWED, "INTO_OUTFILE_NOT_ALLOWED", message));
    }
    let changes = match analysis.class {
        StatementClass::ReadOnly => false,
        // What does not parse changes nothing, and the engine's own syntax error says more.
        StatementClass::Unknown => analysis.statement_count > 0,
        StatementClass::Mutating | StatementClass::MutatingGlobal | StatementClass::Control => true,
    };
    if execution.read_only && changes {
        let message = "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. \
                       You should use method POST for modifying queries";
        return Err(Exception::new(code::READONLY, "READONLY", message));
    }
    Ok(())
}

/// Streams an `INSERT`'s data. Data inside the statement's text would be cut at line ends and semicolons.
fn insert_data(
    connection: &mut Connection,
    execution: &Execution,
    insert: &InsertData,
) -> Result<Counters, Exception> {
    let mut stream = connection.insert(&execution.sql, &insert.format, &execution.parameters)?;
    for piece in insert.data.chunks(INSERT_PIECE_BYTES) {
        stream.append(piece)?;
    }
    let mut counters = stream.finish()?;
    // As on a server: what was read is what was written.
    counters.read_rows = counters.written_rows;
    counters.read_bytes = counters.written_bytes;
    counters.result_rows = counters.written_rows;
    counters.result_bytes = counters.written_bytes;
    Ok(counters)
}

fn stream(
    connection: &mut Connection,
    execution: &Execution,
    headed: bool,
    output: &mut dyn FnMut(Block) -> ControlFlow<()>,
) -> Result<(), Exception> {
    let mut stream = connection.stream(&execution.sql, &execution.format, &execution.parameters)?;
    let mut header: Option<Vec<u8>> = None;
    while let Some(mut block) = stream.fetch()? {
        match &header {
            None if headed => header = Some(names_and_types(&block.data).to_vec()),
            Some(header) if block.data.starts_with(header) => {
                block.data.drain(..header.len());
            }
            None | Some(_) => {}
        }
        if output(block).is_break() {
            break;
        }
    }
    Ok(())
}

/// The header of `RowBinaryWithNamesAndTypes`: a count, as many names, as many types.
fn names_and_types(data: &[u8]) -> &[u8] {
    let mut at = 0;
    let columns = variable_length(data, &mut at);
    for _ in 0..columns.saturating_mul(2) {
        let length = usize::try_from(variable_length(data, &mut at)).unwrap_or(usize::MAX);
        at = at.saturating_add(length);
        if at >= data.len() {
            break;
        }
    }
    &data[..at.min(data.len())]
}

/// A LEB128 number.
fn variable_length(data: &[u8], at: &mut usize) -> u64 {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let Some(byte) = data.get(*at) else { break };
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_ends_before_the_rows() {
        let data = b"\x02\x06number\x01s\x06UInt64\x06String\x81\xff";
        assert_eq!(names_and_types(data), &data[..data.len() - 2]);
        assert_eq!(names_and_types(b""), b"");
        assert_eq!(names_and_types(b"\xff\xff\xff\x01a"), b"\xff\xff\xff\x01a");
    }
}
