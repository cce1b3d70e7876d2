//! Sinks of a partition: the embedded log in, tables of the embedded engine out.

mod audits;
mod exact;
mod faults;
mod retention;
mod verified;
mod warehouse;
