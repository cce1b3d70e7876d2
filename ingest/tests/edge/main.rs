//! The edge through its HTTP routes, on the embedded log, judged by what it answers and by the events it wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, in its fixtures, too"
)]

mod bad_bodies;
mod bad_input;
mod batch;
mod batch_bounds;
mod browser_routes;
mod click;
mod click_caps;
mod click_destination;
mod click_offer;
mod click_parameters;
mod click_rules;
mod click_sockets;
mod client;
mod conversions;
mod fault;
mod fixture;
mod harness;
mod hosts;
mod impression;
mod limits;
mod named_sources;
mod pixel;
mod postback;
mod protocols;
mod refund;
mod signature;
mod source_language;
mod spool;
mod spool_and_catalog;
mod surroundings;
