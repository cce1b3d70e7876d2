//! Refunds as they are reported.

use super::conversion::{Fault, Nonce, StatedAmount};
use super::status::Trust;
use crate::id::{ConversionId, SourceId};
use crate::money::Money;
use crate::time::Timestamp;

/// Money of a conversion that went back, all of it or a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The sender's id of this refund, by which a repetition is recognised.
    pub refund_id: String,
    /// The conversion, where the sender knows our id of it.
    pub conversion: Option<ConversionId>,
    /// Else its transaction id; empty for none.
    pub transaction_id: String,
    /// Its goal, which belongs to the transaction id.
    pub goal: String,
    /// Its source, which belongs to the transaction id; `None` for the built-in source `default`.
    pub source: Option<SourceId>,
    /// How much went back; without one the rest.
    pub amount: Option<Money>,
    /// The same, as it was stated, where nobody named a currency: the conversion's is meant. Then `amount` is `None`.
    pub stated_amount: Option<StatedAmount>,
    /// Why, in the sender's words; empty for none.
    pub reason: String,
    /// How far the sender is trusted.
    pub trust: Trust,
    /// When it happened, by the sender; else when it was received.
    pub occurred_at: Timestamp,
    /// Labels, from [`super::label`].
    pub labels: Vec<String>,
    /// The nonce of a signed request.
    pub nonce: Option<Nonce>,
    /// Made with a test key.
    pub test: bool,
    /// A value that cannot be right, in a request that must be kept all the same.
    pub fault: Option<Fault>,
}
