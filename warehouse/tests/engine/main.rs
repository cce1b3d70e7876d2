//! The warehouse against the real engine: every test starts a child of its own.
//!
//! The modules say `cfg(test)` so that the lints know their functions for tests, too.

#[cfg(test)]
mod batch;
#[cfg(test)]
mod client;
#[cfg(test)]
mod curl;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod marks;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod python;
#[cfg(test)]
mod restart;
