//! The warehouse seam: everything that Tributary says to ClickHouse, and the engine that it brings along.
//!
//! There is one client (the `clickhouse` crate over HTTP), one dialect and one set of queries. Whether a
//! ClickHouse cluster or the embedded engine answers is a matter of the [`Endpoint`].

pub mod embedded;
mod endpoint;

pub use endpoint::Endpoint;
