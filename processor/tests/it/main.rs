//! What the processor promises, over real parts: the core on a map, owners on the embedded log, sinks on the embedded engine.
//!
//! The modules say `cfg(test)` so that the lints know their functions for tests, too.

#[cfg(test)]
mod archive;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod owner;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod sink;
#[cfg(test)]
mod site;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod verify;
