//! What a program that is made for tests puts into a process of this crate. The product's own binary puts nothing there, and no
//! setting does.

use std::sync::Arc;

use processor::Failpoints;
use warehouse::{Endpoint, Sink};

/// What stands between the sink and its warehouse: given the warehouse's address, gives the one that the sink uses instead.
pub type BeforeWarehouse = Arc<dyn Fn(Endpoint) -> Endpoint + Send + Sync>;

/// What is put into a process: nothing, by default.
#[derive(Clone, Default)]
pub struct Interference {
    /// Where processor and sink may be struck.
    pub failpoints: Failpoints,
    /// What stands between the sink and its warehouse.
    pub before_warehouse: Option<BeforeWarehouse>,
}

impl Interference {
    /// The sink's way to the warehouse at `endpoint`.
    pub(crate) fn sink(&self, endpoint: Endpoint) -> Sink {
        let endpoint = match &self.before_warehouse {
            Some(before) => before(endpoint),
            None => endpoint,
        };
        warehouse::connect(&endpoint).0
    }
}
