//! What the processor promises, over real parts: the core on a map, owners on the embedded log, sinks on the embedded engine.

mod decisions;
mod owner;
mod scene;
mod sink;
mod site;
