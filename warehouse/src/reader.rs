//! Reading: bound parameters, and a limit on every query.

use std::time::Duration;

use clickhouse::query::Query;
use clickhouse::{Client, RowOwned, RowRead};
use schemas::generation::Generation;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::connection::{client, plain_name, whole_seconds, within};
use crate::{Endpoint, Error};

/// What is left for the answer's way after the server's own time limit, so that its exception arrives.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// What one query may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long it may run.
    pub timeout: Duration,
    /// How much memory it may use.
    pub memory_bytes: u64,
    /// How many rows it may answer; one more is an error, not a cut.
    pub result_rows: u64,
    /// The query's id in the server's logs.
    pub query_id: Option<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            memory_bytes: 512 << 20,
            result_rows: 1_000_000,
            query_id: None,
        }
    }
}

/// A value for a `{name:Type}` of a query.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Param {
    /// For `Bool`.
    Bool(bool),
    /// For unsigned integers.
    U64(u64),
    /// For signed integers, and for times in microseconds.
    I64(i64),
    /// For `String`, `LowCardinality(String)` and names of time zones.
    Text(String),
    /// For `Array(UInt64)` and its like.
    U64s(Vec<u64>),
    /// For `Array(String)`.
    Texts(Vec<String>),
}

macro_rules! params_from {
    ($($kind:ty => $variant:ident;)+) => {$(
        impl From<$kind> for Param {
            fn from(value: $kind) -> Self {
                Self::$variant(value.into())
            }
        }
    )+};
}

params_from! {
    bool => Bool;
    u8 => U64;
    u16 => U64;
    u32 => U64;
    u64 => U64;
    i8 => I64;
    i16 => I64;
    i32 => I64;
    i64 => I64;
    &str => Text;
    String => Text;
    Vec<u64> => U64s;
    Vec<String> => Texts;
}

impl Param {
    /// 16 bytes for `unhex({name:String})`: bytes that are no text cannot be bound as they are.
    pub fn hex(bytes: [u8; 16]) -> Self {
        Self::Text(schemas::hex::encode(&bytes))
    }
}

/// Reads from the warehouse.
#[derive(Clone, Debug)]
pub struct Reader {
    client: Client,
    /// The database of the first generation.
    first_database: String,
    database: String,
}

impl Reader {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        let database = endpoint.database.clone();
        Self { client: client(endpoint), first_database: database.clone(), database }
    }

    /// The same for the tables of another generation.
    #[must_use]
    pub fn of_generation(&self, generation: Generation) -> Self {
        let database = generation.database(&self.first_database);
        let client = self.client.clone().with_database(&database);
        Self { client, first_database: self.first_database.clone(), database }
    }

    /// The database of the tables.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// The rows of a query; their types are checked against the columns'.
    pub async fn rows<T>(&self, sql: &str, params: &[(&str, Param)], limits: &Limits) -> Result<Vec<T>, Error>
    where
        T: RowOwned + RowRead,
    {
        let query = self.query(sql, params, limits)?;
        within(limits.timeout + ANSWER_MARGIN, query.fetch_all::<T>()).await
    }

    /// The rows of a query whose columns are not known beforehand, as JSON objects. Integers of up to 64 bits are
    /// JSON numbers (exact in `serde_json`); wider ones and decimals must be cast to `String` by the query.
    pub async fn json(
        &self,
        sql: &str,
        params: &[(&str, Param)],
        limits: &Limits,
    ) -> Result<Vec<Map<String, Value>>, Error> {
        let query = self
            .query(sql, params, limits)?
            .with_setting("output_format_json_quote_64bit_integers", "0")
            .with_setting("output_format_json_quote_denormals", "1");
        let fetched = async { query.fetch_bytes("JSONEachRow")?.collect().await };
        let bytes = within(limits.timeout + ANSWER_MARGIN, fetched).await?;
        let rows = serde_json::Deserializer::from_slice(&bytes).into_iter::<Map<String, Value>>();
        rows.collect::<Result<_, _>>().map_err(|error| Error::Decode(error.to_string()))
    }

    /// Whether the warehouse answers.
    pub async fn ping(&self, timeout: Duration) -> Result<(), Error> {
        within(timeout, self.client.query_raw("SELECT 1").fetch_one::<u8>()).await.map(|_| ())
    }

    fn query(&self, sql: &str, params: &[(&str, Param)], limits: &Limits) -> Result<Query, Error> {
        let mut query = self
            .client
            .query_raw(sql)
            // A reader writes nothing, whatever its query says; 2 leaves the settings below changeable.
            .with_setting("readonly", "2")
            .with_setting("max_execution_time", whole_seconds(limits.timeout))
            .with_setting("max_memory_usage", limits.memory_bytes.to_string())
            .with_setting("max_result_rows", limits.result_rows.to_string())
            .with_setting("result_overflow_mode", "throw");
        if let Some(query_id) = &limits.query_id {
            query = query.with_setting("query_id", query_id);
        }
        for (name, value) in params {
            query = query.param(plain_name(name)?, value);
        }
        Ok(query)
    }
}
