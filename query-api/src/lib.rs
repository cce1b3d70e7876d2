//! The desk: reports, lists, receipts and the catalog over HTTP.
//!
//! A request passes the modules in this order: its limits and id, its key ([`auth`]), its parameters or body, the
//! route's own module, and on the way back [`error`], which gives every error the contract's shape.

pub mod auth;
pub mod body;
pub mod error;
mod metrics;
pub mod page;
pub mod params;
mod routes;
pub mod settings;
pub mod state;

pub use routes::{Edge, router};
pub use settings::QueryApiSettings;
pub use state::{Desk, Parts};
