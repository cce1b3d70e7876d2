//! The edge: takes clicks, pixels, postbacks and conversions in, and answers when they are durable.
//!
//! Modules stand in the order an event travels: a route reads the request, looks at the catalog, stamps an event, and
//! waits for the appender. Nothing here decides what an event is worth; that is the processor's.
//!
//! Not built yet, and not pretended: signatures, rate limits.

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
mod host;
mod place;
mod privacy;
mod query_pairs;
mod reference;
mod sender;
mod text;
mod unresolved;

// A click or an impression.
mod aim;
mod arrival;
mod caps;
mod caps_follower;
mod click;
mod click_destination;
mod click_parameters;
mod destination;
mod impression;
mod safe_destination;
mod signed_destination;
mod smart_link;

// A conversion, by each of its ways.
mod conversion_fields;
mod conversions;
mod fields;
mod money_fields;
mod pixel;
mod postback;

// What pages load.
mod script;

// To the log, and back to the client.
mod answer;
mod appender;
mod error;
mod metrics;
mod spool;

pub use agent::ListError;
pub use door::{Door, door};
pub use edge::{Edge, Parts};
pub use error::StartError;
pub use place::PlaceError;
pub use router::{api_router, router};
pub use settings::IngestSettings;
