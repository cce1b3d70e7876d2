//! Conversions as they are reported.

use super::status::{Status, Trust};
use crate::id::{ClickId, OfferId, PartnerId, PixelId, SourceId, VisitorId};
use crate::money::{Currency, Money, MoneyError};
use crate::time::Timestamp;

/// A conversion as somebody reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// The goal's key.
    pub goal: String,
    /// The click that it refers to.
    pub click: Option<ClickId>,
    /// The visitor that it refers to.
    pub visitor: Option<VisitorId>,
    /// The sender's customer id; empty for none.
    pub customer_id: String,
    /// SHA-256 of the customer's e-mail address in small letters.
    pub email_sha256: Option<[u8; 32]>,
    /// The coupon; empty for none.
    pub coupon: String,
    /// The partner of a conversion without a click.
    pub partner: Option<PartnerId>,
    /// The offer of a conversion without a click.
    pub offer: Option<OfferId>,
    /// The sender's transaction id; empty for none.
    pub transaction_id: String,
    /// The sender's own id of this event; empty for none.
    pub client_event_id: String,
    /// What the sender earned.
    pub amount: Option<Money>,
    /// The same, as it was stated, where nobody named a currency and only the click tells the offer whose currency is meant.
    /// Then `amount` is `None` until that is known.
    pub stated_amount: Option<StatedAmount>,
    /// The status that the sender wants.
    pub status: Option<Status>,
    /// The source; `None` for the built-in source `default`.
    pub source: Option<SourceId>,
    /// How far the sender is trusted.
    pub trust: Trust,
    /// JSON object of whatever else came; empty for none.
    pub metadata: String,
    /// When it happened, by the sender; else when it was received.
    pub occurred_at: Timestamp,
    /// Labels, from [`super::label`].
    pub labels: Vec<String>,
    /// Made with a test key.
    pub test: bool,
    /// A value that cannot be right, in a request that must be kept all the same.
    pub fault: Option<Fault>,
    /// The nonce of a signed request.
    pub nonce: Option<Nonce>,
    /// The pixel that reported it.
    pub pixel: Option<PixelId>,
}

/// The nonce of a signed request, which is good once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce {
    /// As the sender wrote it, at most [`Self::MAX_BYTES`].
    pub text: String,
    /// SHA-256 of what was signed beside time and nonce, so that a repetition is told from a forgery.
    pub body_sha256: [u8; 32],
}

impl Nonce {
    /// The longest nonce, in bytes.
    pub const MAX_BYTES: usize = 64;
}

/// An amount without its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatedAmount {
    /// A decimal text, such as `12.50`.
    Decimal(String),
    /// A number of the currency's smallest units.
    Minor(u64),
}

impl StatedAmount {
    /// The amount in a currency.
    ///
    /// # Errors
    /// [`MoneyError`] if the text has more decimals than the currency, or the amount is too large.
    pub fn in_currency(&self, currency: Currency) -> Result<Money, MoneyError> {
        match self {
            Self::Decimal(text) => Money::parse(text, currency),
            Self::Minor(minor) => Money::from_minor(*minor, currency),
        }
    }
}

/// Why a kept request cannot become a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The reason's code.
    pub reason: String,
    /// The parameter that is wrong.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}
