//! The processor in simulation: core, owner, keeper of snapshots, sink and what keeps them going as they are; a log, a warehouse, an
//! object store, clocks and a schedule that a seed decides.
//!
//! `SIM_SEED=7 cargo test -p processor --test sim` replays one seed, `SIM_SEEDS=100000` tries as many.
//!
//! The modules say `cfg(test)` so that the lints know their functions for tests, too.

#[cfg(test)]
mod alone;
#[cfg(test)]
mod blocks;
#[cfg(test)]
mod breach;
#[cfg(test)]
mod broken;
#[cfg(test)]
mod checker;
#[cfg(test)]
mod finish;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod log;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod newer;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod order;
#[cfg(test)]
mod overtaken;
#[cfg(test)]
mod pause;
#[cfg(test)]
mod place;
#[cfg(test)]
mod races;
#[cfg(test)]
mod rows;
#[cfg(test)]
#[path = "../it/scene/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the core also use a core that checks itself")]
mod scene;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod waits;
#[cfg(test)]
mod world;
