//! The warehouse seam: everything that Tributary says to ClickHouse, and the engine that it brings along.
//!
//! There is one client (the `clickhouse` crate over HTTP), one dialect and one set of queries. Whether a
//! ClickHouse cluster or the embedded engine answers is a matter of the [`Endpoint`].

pub mod batch;
mod connection;
pub mod embedded;
mod endpoint;
pub mod error;
mod migrations;
mod reader;
mod sink;

pub use clickhouse::Row;
pub use connection::connect;
pub use endpoint::Endpoint;
pub use error::Error;
pub use migrations::{MigrateError, Migration, migrate, take_away};
pub use reader::{Limits, Param, Reader};
pub use sink::{InsertSettings, Marks, Range, Sink};
