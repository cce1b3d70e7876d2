//! The edge: takes clicks, pixels, postbacks and conversions in, and answers when they are durable.
//!
//! Modules stand in the order an event travels: a route reads the request, looks at the catalog, stamps an event, and
//! waits for the appender. Nothing here decides what an event is worth; that is the processor's.

mod door;
mod router;
mod settings;

// What all routes share.
mod edge;

// What a request says, and who says it.
mod address;
mod agent;
mod body;
mod client;
mod cors;
mod fields;
mod host;
mod limits;
mod place;
mod post;
mod privacy;
mod query_pairs;
mod reader;
mod reference;
mod sender;
mod signature;
mod source_proof;
mod text;
mod unresolved;
mod visit;

// A click or an impression.
mod aim;
mod arrival;
mod caps;
mod caps_follower;
mod click;
mod click_destination;
mod click_parameters;
mod destination;
mod hit_fields;
mod impression;
mod safe_destination;
mod signed_destination;
mod smart_link;
mod track;

// A conversion, by each of its ways, and what becomes of it.
mod conversion_fields;
mod conversions;
mod money_fields;
mod pixel;
mod postback;
mod refund;
mod status_words;

// Many of them at once.
mod batch;
mod batch_lines;
mod inflate;

// What pages load.
mod script;

// To the log, and back to the client.
mod answer;
mod appender;
mod error;
mod metrics;
mod spool;

#[cfg(any(fuzzing, test))]
pub mod fuzzing;

pub use agent::ListError;
pub use door::{Door, door};
pub use edge::{Edge, Parts};
pub use error::StartError;
pub use limits::LimitSettings;
pub use place::PlaceError;
pub use router::api_router;
pub use settings::IngestSettings;
