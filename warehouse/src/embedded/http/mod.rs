//! The subset of ClickHouse's HTTP interface that the `clickhouse` crate, `curl` and `clickhouse-connect` use.

mod answer;
mod auth;
mod encoding;
mod frames;
mod request;
mod server;

pub(crate) use auth::Credentials;
pub(crate) use server::{Server, ServerSettings};
