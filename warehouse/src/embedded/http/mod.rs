//! The subset of ClickHouse's HTTP interface that the `clickhouse` crate, `curl` and `clickhouse-connect` use.
//!
//! In it: `/` by GET (which changes nothing) and POST, `/ping`; statements in the URL, the body, a form, or begun in
//! one and continued in the next; bound parameters, settings, database and format; credentials in three places;
//! bodies and answers in gzip, deflate, zstd, lz4 and ClickHouse's own frames; summaries, exceptions with their
//! codes, also in the middle of an answer; a statement whose client has gone is cancelled.
//!
//! Not in it: sessions that outlive a request (`session_id` is taken and means nothing, so temporary tables end with
//! their statement), external tables, progress headers, `KILL QUERY` by a `query_id` of one's own.

mod answer;
mod auth;
mod encoding;
mod frames;
mod request;
mod server;

pub(crate) use auth::Credentials;
pub(crate) use server::{Server, ServerSettings};
