//! Reasons of outcomes and revisions.

/// The record could not be read: unknown version or field, or broken.
pub const UNREADABLE: &str = "unreadable_event";
/// The click id is not one of this workspace, or its click never came.
pub const UNKNOWN_CLICK: &str = "unknown_click";
/// The workspace has no such conversion.
pub const UNKNOWN_CONVERSION: &str = "unknown_conversion";
/// Too many conversions of the workspace wait for their clicks.
pub const TOO_MANY_PARKED: &str = "too_many_parked";
/// The catalog has no such workspace.
pub const UNKNOWN_WORKSPACE: &str = "unknown_workspace";
/// The amount's currency has no rate to the workspace's.
pub const NO_RATE: &str = "no_rate";
/// The sender may not approve conversions.
pub const UNTRUSTED_SENDER: &str = "untrusted_sender";
/// The goal wants a decision by hand.
pub const MANUAL_APPROVAL: &str = "manual_approval";
/// The goal wants some days to pass before the approval.
pub const HOLD_DAYS: &str = "hold_days";
/// An amount without a currency cannot be one in the offer's.
pub const INVALID_AMOUNT: &str = "invalid_amount";
/// The source or the offer that the report names is none of this workspace's.
pub const UNKNOWN_REFERENCE: &str = "unknown_reference";
/// An amount times a percentage does not fit into 64 bits.
pub const AMOUNT_OUT_OF_RANGE: &str = "amount_out_of_range";
/// The conversion has another version than the command expects.
pub const VERSION_MISMATCH: &str = "version_mismatch";
/// A status that the life cycle has no step to.
pub const STATUS_NOT_REACHABLE: &str = "status_not_reachable";
/// A cap was reached before.
pub const CAP: &str = "cap";
/// The nonce of a signed request came before with another body.
pub const REPLAYED_NONCE: &str = "replayed_nonce";
/// More would go back than is left of the conversion.
pub const REFUND_EXCEEDS_AMOUNT: &str = "refund_exceeds_amount";
/// The refund is in another currency than the conversion.
pub const CURRENCY_MISMATCH: &str = "currency_mismatch";
/// A person has rejected the conversion: no report takes that back.
pub const DECIDED_BY_HAND: &str = "decided_by_hand";
/// Same key, other content.
pub const DIFFERENT_CONTENT: &str = "different_content";
