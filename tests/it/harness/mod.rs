//! One harness for both engine sets: `tributary up` on embedded engines, and the four roles on a real Kafka and
//! ClickHouse's HTTP interface.

mod client;
mod log;
mod process;
mod stack;
mod traffic;

pub use client::{BROWSER, Campaign, POLL, SETTLE_LIMIT, wait_for};
pub use log::{ImaginaryEdge, first_workspace, now};
pub use process::{Process, binary, free_port, repository};
pub use stack::{Engines, HITS_PER_MINUTE, Role, Stack, engine_library};
pub use traffic::{Habits, Traffic};

/// Makes of each `async fn name(engines: Engines)` two tests, `embedded::name` and `cluster::name`.
macro_rules! on_both_engine_sets {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::harness::Engines::Embedded).await;
            })+
        }
        mod cluster {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::harness::Engines::Cluster).await;
            })+
        }
    };
}
pub(crate) use on_both_engine_sets;
