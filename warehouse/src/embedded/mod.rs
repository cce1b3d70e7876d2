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

/// The pinned engine's package version: `deploy/engine/fetch.sh` puts it in `.cache/engine/VERSION/libchdb.so`.
pub const PACKAGE_VERSION: &str = "26.7.3-stable.1";

#[cfg(test)]
mod tests {
    use super::PACKAGE_VERSION;

    #[test]
    fn the_script_fetches_the_version_that_is_pinned_here() {
        let script = include_str!("../../../deploy/engine/fetch.sh");
        assert!(script.contains(&format!("\nVERSION='{PACKAGE_VERSION}'\n")));
    }
}
