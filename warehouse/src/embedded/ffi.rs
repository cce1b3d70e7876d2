//! The engine library, `libchdb.so`: the only file of the project with unsafe code.
//!
//! The shape of the safe types keeps the library's rules: a [`Stream`] or an [`InsertStream`] borrows its
//! [`Connection`] mutably, so a second statement on a connection with an open stream does not compile, and
//! every handle is destroyed by the `Drop` of the type that owns it, before its connection is closed.
#![allow(unsafe_code, reason = "the engine has a C interface; nothing outside this file touches it")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use super::exception::Exception;

/// `chdb_connection *`: where the library keeps one connection.
type ConnectionSlot = *mut *mut c_void;
type ResultHandle = *mut c_void;
type InsertHandle = *mut c_void;

type QueryFn = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const *const c_char,
    *const usize,
    *const *const c_char,
    *const usize,
    usize,
) -> *mut c_void;
type ReadCounterFn = unsafe extern "C" fn(ResultHandle) -> u64;

/// Declares the table of the library's functions and its loader, so that a name stands once.
macro_rules! functions {
    ($($name:ident: $symbol:literal, $kind:ty;)+) => {
        struct Functions { $($name: $kind,)+ }

        impl Functions {
            /// # Safety
            /// The library must be chDB at the pinned version, whose `chdb.h` the types here repeat.
            unsafe fn load(library: &libloading::Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    // SAFETY: the symbol's type is the caller's promise.
                    $($name: unsafe { *library.get::<$kind>($symbol)? },)+
                })
            }
        }
    };
}

functions! {
    set_signal_handlers_enabled: b"chdb_set_signal_handlers_enabled\0", unsafe extern "C" fn(c_int);
    connect: b"chdb_connect\0", unsafe extern "C" fn(c_int, *const *const c_char) -> ConnectionSlot;
    close: b"chdb_close_conn\0", unsafe extern "C" fn(ConnectionSlot);
    query: b"chdb_query_with_params_n\0", QueryFn;
    stream: b"chdb_stream_query_with_params_n\0", QueryFn;
    insert: b"chdb_stream_insert_with_params_n\0", QueryFn;
    fetch: b"chdb_stream_fetch_result\0", unsafe extern "C" fn(*mut c_void, ResultHandle) -> ResultHandle;
    cancel: b"chdb_stream_cancel_query\0", unsafe extern "C" fn(*mut c_void, ResultHandle);
    destroy_result: b"chdb_destroy_query_result\0", unsafe extern "C" fn(ResultHandle);
    insert_append: b"chdb_stream_append\0", unsafe extern "C" fn(InsertHandle, *const c_void, usize) -> c_int;
    insert_done: b"chdb_stream_done\0", unsafe extern "C" fn(InsertHandle) -> ResultHandle;
    insert_error: b"chdb_stream_insert_error\0", unsafe extern "C" fn(InsertHandle) -> *const c_char;
    insert_destroy: b"chdb_destroy_insert_stream\0", unsafe extern "C" fn(InsertHandle);
    buffer: b"chdb_result_buffer\0", unsafe extern "C" fn(ResultHandle) -> *const u8;
    length: b"chdb_result_length\0", unsafe extern "C" fn(ResultHandle) -> usize;
    error: b"chdb_result_error\0", unsafe extern "C" fn(ResultHandle) -> *const c_char;
    rows: b"chdb_result_rows_read\0", ReadCounterFn;
    bytes: b"chdb_result_bytes_read\0", ReadCounterFn;
    storage_rows: b"chdb_result_storage_rows_read\0", ReadCounterFn;
    storage_bytes: b"chdb_result_storage_bytes_read\0", ReadCounterFn;
    rows_written: b"chdb_result_rows_written\0", ReadCounterFn;
    bytes_written: b"chdb_result_bytes_written\0", ReadCounterFn;
    classify: b"chdb_classify_query_n\0", unsafe extern "C" fn(
        *mut c_void, *const c_char, usize, *const c_char, usize, *mut RawAnalysis) -> c_int;
}

/// `chdb_query_analysis_v1`.
#[repr(C)]
struct RawAnalysis {
    struct_size: u32,
    statement_count: u32,
    flags: u32,
    query_class: u32,
}

/// The loaded library. It is never unloaded: the engine's threads outlive every connection.
pub(crate) struct Library {
    functions: Functions,
    _library: ManuallyDrop<libloading::Library>,
}

impl Library {
    /// Loads `libchdb.so` and keeps its hands off this process's signals.
    pub(crate) fn load(path: &Path) -> Result<Arc<Self>, libloading::Error> {
        // SAFETY: the library's initialisers are those of the pinned engine; they run before any other thread
        // of the child uses it.
        let library = unsafe { libloading::Library::new(path)? };
        // SAFETY: the version is pinned and checked right after the first connection.
        let functions = unsafe { Functions::load(&library)? };
        // SAFETY: called before the first connection, as the library asks.
        unsafe { (functions.set_signal_handlers_enabled)(0) };
        Ok(Arc::new(Self { functions, _library: ManuallyDrop::new(library) }))
    }
}

/// What a statement read and wrote, and what it answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) result_rows: u64,
    pub(crate) result_bytes: u64,
    pub(crate) read_rows: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_rows: u64,
    pub(crate) written_bytes: u64,
}

impl Counters {
    pub(crate) fn add(&mut self, other: Self) {
        self.result_rows += other.result_rows;
        self.result_bytes += other.result_bytes;
        self.read_rows += other.read_rows;
        self.read_bytes += other.read_bytes;
        self.written_rows += other.written_rows;
        self.written_bytes += other.written_bytes;
    }
}

/// One piece of an answer.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) data: Vec<u8>,
    pub(crate) counters: Counters,
}

/// What a text does, as the engine's own parser sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatementClass {
    ReadOnly,
    Mutating,
    MutatingGlobal,
    Control,
    Unknown,
}

/// The engine's reading of a text that has not run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Analysis {
    pub(crate) statement_count: u32,
    pub(crate) class: StatementClass,
}

/// A bound parameter: its name, and its value as ClickHouse writes values in tab-separated text.
pub(crate) type Parameter = (String, String);

/// The pointer and length arrays that the library takes for parameters.
struct ParameterArrays {
    names: Vec<*const c_char>,
    name_lengths: Vec<usize>,
    values: Vec<*const c_char>,
    value_lengths: Vec<usize>,
}

impl ParameterArrays {
    fn of(parameters: &[Parameter]) -> Self {
        Self {
            names: parameters.iter().map(|(name, _)| name.as_ptr().cast()).collect(),
            name_lengths: parameters.iter().map(|(name, _)| name.len()).collect(),
            values: parameters.iter().map(|(_, value)| value.as_ptr().cast()).collect(),
            value_lengths: parameters.iter().map(|(_, value)| value.len()).collect(),
        }
    }
}

/// One connection to the engine: one session, one statement at a time, any thread.
pub(crate) struct Connection {
    library: Arc<Library>,
    slot: ConnectionSlot,
}

// SAFETY: a connection may be used from any thread as long as it is one at a time, which `&mut self` keeps.
unsafe impl Send for Connection {}

impl Connection {
    /// Opens a connection; the first one of the process starts the engine on the `--path` of `arguments`.
    pub(crate) fn open(library: &Arc<Library>, arguments: &[CString]) -> Result<Self, Exception> {
        let mut argv: Vec<*const c_char> = vec![c"tributary".as_ptr()];
        argv.extend(arguments.iter().map(|argument| argument.as_ptr()));
        let count = c_int::try_from(argv.len()).map_err(|_| Exception::connection_refused())?;
        // SAFETY: `argv` holds `count` pointers to strings that live through the call.
        let slot = unsafe { (library.functions.connect)(count, argv.as_ptr()) };
        // SAFETY: a slot that is not null points at one connection.
        if slot.is_null() || unsafe { *slot }.is_null() {
            return Err(Exception::connection_refused());
        }
        Ok(Self { library: Arc::clone(library), slot })
    }

    fn raw(&self) -> *mut c_void {
        // SAFETY: `open` checked the slot, and only `drop` frees it.
        unsafe { *self.slot }
    }

    fn call(&self, function: QueryFn, sql: &str, format: &str, parameters: &[Parameter]) -> *mut c_void {
        let arrays = ParameterArrays::of(parameters);
        // SAFETY: every pointer is live through the call and has its length beside it.
        unsafe {
            function(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                arrays.names.as_ptr(),
                arrays.name_lengths.as_ptr(),
                arrays.values.as_ptr(),
                arrays.value_lengths.as_ptr(),
                parameters.len(),
            )
        }
    }

    /// Runs a statement and returns its whole answer.
    pub(crate) fn query(
        &mut self,
        sql: &str,
        format: &str,
        parameters: &[Parameter],
    ) -> Result<Block, Exception> {
        let handle = self.call(self.library.functions.query, sql, format, parameters);
        Answer::of(&self.library, handle)?.block()
    }

    /// Starts a `SELECT` whose answer is fetched in pieces.
    pub(crate) fn stream(
        &mut self,
        sql: &str,
        format: &str,
        parameters: &[Parameter],
    ) -> Result<Stream<'_>, Exception> {
        let handle = self.call(self.library.functions.stream, sql, format, parameters);
        let answer = Answer::of(&self.library, handle)?;
        answer.check()?;
        let connection = self.raw();
        Ok(Stream { answer, connection, finished: false, _connection: PhantomData })
    }

    /// Starts an `INSERT` whose data follows in `format`.
    pub(crate) fn insert(
        &mut self,
        sql: &str,
        format: &str,
        parameters: &[Parameter],
    ) -> Result<InsertStream<'_>, Exception> {
        let handle = self.call(self.library.functions.insert, sql, format, parameters);
        if handle.is_null() {
            return Err(Exception::no_answer());
        }
        let library = Arc::clone(&self.library);
        let stream = InsertStream { library, handle, _connection: PhantomData };
        stream.check()?;
        Ok(stream)
    }

    /// What `sql` would do.
    pub(crate) fn classify(&mut self, sql: &str) -> Analysis {
        let mut raw = RawAnalysis { struct_size: 16, statement_count: 0, flags: 0, query_class: 4 };
        // SAFETY: the text is live through the call, and `raw` is the struct that its size names.
        let state = unsafe {
            (self.library.functions.classify)(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                ptr::null(),
                0,
                &raw mut raw,
            )
        };
        let class = match (state, raw.query_class) {
            (0, 0) => StatementClass::ReadOnly,
            (0, 1) => StatementClass::Mutating,
            (0, 2) => StatementClass::MutatingGlobal,
            (0, 3) => StatementClass::Control,
            _ => StatementClass::Unknown,
        };
        Analysis { statement_count: raw.statement_count, class }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: streams borrow the connection, so none is left; the slot is not used again.
        unsafe { (self.library.functions.close)(self.slot) };
    }
}

/// A result handle of the library.
struct Answer {
    library: Arc<Library>,
    handle: ResultHandle,
}

impl Answer {
    fn of(library: &Arc<Library>, handle: ResultHandle) -> Result<Self, Exception> {
        if handle.is_null() {
            return Err(Exception::no_answer());
        }
        Ok(Self { library: Arc::clone(library), handle })
    }

    fn check(&self) -> Result<(), Exception> {
        // SAFETY: the handle is live; the text, if any, lives as long as the handle.
        let text = unsafe { text_of((self.library.functions.error)(self.handle)) };
        text.map_or(Ok(()), |text| Err(Exception::from_engine(&text)))
    }

    fn block(self) -> Result<Block, Exception> {
        self.check()?;
        let functions = &self.library.functions;
        let count = |counter: ReadCounterFn| {
            // SAFETY: the handle is live.
            unsafe { counter(self.handle) }
        };
        let counters = Counters {
            result_rows: count(functions.rows),
            result_bytes: count(functions.bytes),
            read_rows: count(functions.storage_rows),
            read_bytes: count(functions.storage_bytes),
            written_rows: count(functions.rows_written),
            written_bytes: count(functions.bytes_written),
        };
        // SAFETY: the handle is live.
        let (buffer, length) = unsafe { ((functions.buffer)(self.handle), (functions.length)(self.handle)) };
        let data = if buffer.is_null() || length == 0 {
            Vec::new()
        } else {
            // SAFETY: the library promises `length` bytes at `buffer` for as long as the handle lives.
            unsafe { std::slice::from_raw_parts(buffer, length) }.to_vec()
        };
        Ok(Block { data, counters })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the handle is live and not used again.
        unsafe { (self.library.functions.destroy_result)(self.handle) };
    }
}

/// A `SELECT` under way. Dropped before its end, it is cancelled.
pub(crate) struct Stream<'a> {
    answer: Answer,
    connection: *mut c_void,
    finished: bool,
    _connection: PhantomData<&'a mut Connection>,
}

impl Stream<'_> {
    /// The next piece, or `None` after the last.
    pub(crate) fn fetch(&mut self) -> Result<Option<Block>, Exception> {
        if self.finished {
            return Ok(None);
        }
        // SAFETY: both handles are live, and `&mut self` keeps fetches one at a time.
        let handle = unsafe { (self.answer.library.functions.fetch)(self.connection, self.answer.handle) };
        let fetched = Answer::of(&self.answer.library, handle).and_then(Answer::block);
        self.finished = fetched.as_ref().map_or(true, |block| block.data.is_empty());
        fetched.map(|block| (!self.finished).then_some(block))
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // SAFETY: both handles are live; the answer is destroyed after this.
            unsafe { (self.answer.library.functions.cancel)(self.connection, self.answer.handle) };
        }
    }
}

/// An `INSERT` under way. Dropped before [`InsertStream::finish`], it is aborted.
pub(crate) struct InsertStream<'a> {
    library: Arc<Library>,
    handle: InsertHandle,
    _connection: PhantomData<&'a mut Connection>,
}

impl InsertStream<'_> {
    fn check(&self) -> Result<(), Exception> {
        // SAFETY: the handle is live; the text, if any, lives as long as the handle.
        let text = unsafe { text_of((self.library.functions.insert_error)(self.handle)) };
        text.map_or(Ok(()), |text| Err(Exception::from_engine(&text)))
    }

    /// Hands over a piece of the data.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), Exception> {
        // SAFETY: the handle is live, and the library copies the bytes before it returns.
        let state =
            unsafe { (self.library.functions.insert_append)(self.handle, data.as_ptr().cast(), data.len()) };
        if state == 0 {
            return Ok(());
        }
        self.check()?;
        Err(Exception::no_answer())
    }

    /// Ends the data and waits for the commit.
    pub(crate) fn finish(self) -> Result<Counters, Exception> {
        // SAFETY: the handle is live.
        let handle = unsafe { (self.library.functions.insert_done)(self.handle) };
        Answer::of(&self.library, handle).and_then(Answer::block).map(|block| block.counters)
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is live and not used again; the library aborts what was not finished.
        unsafe { (self.library.functions.insert_destroy)(self.handle) };
    }
}

/// # Safety
/// `text` is null or points at a string that ends with a zero byte.
unsafe fn text_of(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
