//! What Tributary's data is: ids, money, time, events, facts, rows, topics, tables and API errors.
//!
//! Pure definitions: no I/O, no async, no clock. Modules stand in the order an event travels.

pub mod cap;
pub mod error_code;
pub mod event;
pub mod fact;
pub mod generation;
pub mod hex;
pub mod id;
pub mod money;
pub mod result;
pub mod table;
pub mod time;
pub mod topic;
pub mod wire;
