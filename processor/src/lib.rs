//! The processor: dedupe, identify, attribute; facts out of events, rows out of facts.
//!
//! [`core`] is pure. Around it an [`owner`] decides ranges of events, appends their facts as one record to the
//! [`chain`], and commits [`store`]d state only for records that it has read back as accepted. The [`sink`] turns accepted
//! facts into rows of the warehouse. A [`snapshot`] is the state at one record, where it outlives the machine; the
//! [`archive`] takes from the log what is old. The [`runner`] keeps every partition going, and [`verify`] decides all of it once more.

mod apart_metrics;
pub mod archive;
pub mod assignment;
mod caps;
pub mod chain;
pub mod core;
mod core_catalog;
mod error;
mod failpoint;
mod flights;
mod forget;
mod generations;
mod health;
mod metrics;
mod objects;
mod originals;
pub mod owner;
mod range;
mod read_back;
mod reading;
mod results;
mod resume;
pub mod runner;
mod settings;
mod share;
pub mod sink;
pub mod snapshot;
pub mod store;
mod ticker;
mod touches;
pub mod verify;
mod workers;

pub use error::Error;
pub use failpoint::{Failpoint, Failpoints};
pub use generations::{data_through, decides_by_itself, take_away_objects};
pub use health::{Health, PartitionHealth, State as PartitionState};
pub use metrics::{Metrics, SnapshotMetrics};
pub use objects::{ObjectStoreSettings, Objects, ObjectsError};
pub use runner::{Surroundings, start_processor, start_sink};
pub use settings::{ProcessorSettings, SinkSettings};
pub use share::Share;
pub use workers::Workers;
