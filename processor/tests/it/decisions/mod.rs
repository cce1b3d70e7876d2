//! The pure core, on a state that is a map.

mod caps;
mod cuts;
mod deliveries;
mod histories;
mod money;
mod nonces;
mod payouts;
mod reference;
mod refunds;
mod repetitions;
mod touches;
mod unique;
mod waiting;
