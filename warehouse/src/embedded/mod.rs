//! The embedded engine: ClickHouse as a library in a supervised child process, behind ClickHouse's own HTTP
//! interface. The parent half is [`EmbeddedEngine`], the child half [`run_child`].

mod child;
mod directory;
mod engine;
mod exception;
mod ffi;
mod http;
mod process;
mod statement;
mod supervisor;

pub use child::run_child;
pub use supervisor::{EmbeddedEngine, EmbeddedSettings, Password, StartError};

/// The subcommand that the supervisor gives its program: `tributary engine …`.
pub const SUBCOMMAND: &str = "engine";

/// The engine's one user.
const USER: &str = "tributary";
