//! What a conversion earns, in bodies and in answers: of an offer's goals and of a partner.

use catalog::Payout;
use schemas::money::{Currency, Money, Percent};
use serde::Serialize;

use super::fields::Fields;
use super::value;

/// The default of a payout, as a word.
pub(super) const NO_PAYOUT: &str = "none";

/// What a payout and a revenue can be; the default is nothing for one and the reported amount for the other.
pub(super) enum Terms {
    Default,
    Fixed(Money),
    Percent(Percent),
}

impl Terms {
    /// The terms as those of a payout.
    pub(super) const fn payout(self) -> Payout {
        match self {
            Self::Default => Payout::None,
            Self::Fixed(money) => Payout::Fixed(money),
            Self::Percent(percent) => Payout::Percent(percent),
        }
    }
}

/// Reads the terms that stand in an object of this name.
pub(super) fn inside(fields: &mut Fields, name: &str, default: &str, currency: Currency) -> Option<Terms> {
    let value = fields.take(name).filter(|value| !value.is_null())?;
    let mut inner = fields.open(name, value)?;
    let terms = read(&mut inner, default, currency);
    fields.close(inner);
    terms
}

/// Reads terms: their type, and the amount or the percentage that belongs to it.
pub(super) fn read(fields: &mut Fields, default: &str, currency: Currency) -> Option<Terms> {
    let mut kind = String::new();
    fields.required("type", &mut kind, value::text);
    match kind.as_str() {
        "fixed" => value::money(fields, currency).map(Terms::Fixed),
        "percent" => {
            let mut percent = None;
            if !fields.has("percent") {
                fields.fault("percent", "is required");
            }
            fields.optional("percent", &mut percent, value::percent);
            percent.map(Terms::Percent)
        }
        kind if kind == default => Some(Terms::Default),
        "" => None,
        _ => {
            fields.fault("type", format!("must be fixed, percent or {default}"));
            None
        }
    }
}

/// Terms in answers.
#[derive(Debug, Serialize)]
pub(super) struct TermsView {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
}

impl TermsView {
    pub(super) const fn of_payout(payout: Payout) -> Self {
        match payout {
            Payout::None => Self::plain(NO_PAYOUT),
            Payout::Fixed(money) => Self::fixed(money),
            Payout::Percent(percent) => Self::percent(percent),
        }
    }

    pub(super) const fn plain(r#type: &'static str) -> Self {
        Self { r#type, amount: None, percent: None }
    }

    pub(super) const fn fixed(money: Money) -> Self {
        Self { amount: Some(money), ..Self::plain("fixed") }
    }

    pub(super) const fn percent(percent: Percent) -> Self {
        Self { percent: Some(percent), ..Self::plain("percent") }
    }
}
