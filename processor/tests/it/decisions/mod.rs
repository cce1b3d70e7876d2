//! The pure core, on a state that is a map.

mod caps;
mod commands;
mod cuts;
mod deliveries;
mod histories;
mod holds;
mod horizons;
mod late;
mod money;
mod nonces;
mod payouts;
mod persons;
mod rates;
mod reference;
mod reference_money;
mod refunds;
mod repetitions;
mod restatements;
mod touches;
mod unique;
mod waiting;
