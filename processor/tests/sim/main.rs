//! The processor in simulation: the owner and the core as they are, a log, a clock and a schedule that a seed decides.
//!
//! `SIM_SEED=7 cargo test -p processor --test sim` replays one seed, `SIM_SEEDS=100000` tries as many.
//!
//! The modules say `cfg(test)` so that the lints know their functions for tests, too.

#[cfg(test)]
mod alone;
#[cfg(test)]
mod checker;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod log;
#[cfg(test)]
mod memory;
#[cfg(test)]
#[path = "../it/scene/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the core also use a core that checks itself")]
mod scene;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod world;
