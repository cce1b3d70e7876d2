//! The desk: reports, lists, receipts and the catalog over HTTP.
//!
//! A request passes the modules in this order: its limits and id, its key ([`auth`]), its parameters or body, the
//! route's own module, and on the way back [`error`], which gives every error the contract's shape.

pub mod auth;
pub mod body;
mod commands;
mod conversions;
pub mod error;
mod filter;
mod health;
mod hits;
mod list;
mod metrics;
pub mod page;
pub mod params;
mod range;
mod receipts;
mod reference;
mod reports;
mod resources;
mod routes;
pub mod settings;
mod show;
mod sql;
pub mod state;
mod store;
mod test_rows;

pub use routes::{Edge, router};
pub use settings::QueryApiSettings;
pub use state::{Desk, Parts, Problems, StartError};
