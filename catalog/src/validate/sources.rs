//! What is wrong in a source of conversions alone.

use schemas::event::Status;
use schemas::money::Currency;

use super::{Faults, MAX_KEY_BYTES, MAX_NAME_CHARS, named};
use crate::resource::{Source, SourceAuth};

/// Most networks of a source.
pub const MAX_CIDRS: usize = 100;
/// Most entries of `params` and of `status_map`.
pub const MAX_MAPPED: usize = 100;
/// Our names of a conversion's fields, to which a source's names can lead.
pub const CONVERSION_FIELDS: [&str; 15] = [
    "amount",
    "amount_minor",
    "click_id",
    "coupon",
    "currency",
    "customer_id",
    "email",
    "event",
    "event_id",
    "occurred_at",
    "offer",
    "partner",
    "status",
    "transaction_id",
    "visitor_id",
];
/// The fields that can have a default: none of those by which one conversion is told from another.
pub const DEFAULT_FIELDS: [&str; 8] =
    ["amount", "amount_minor", "coupon", "currency", "event", "offer", "partner", "status"];
/// Parameters that say who sends: they are read before any other name is, and never stored.
pub const SENDER_PARAMETERS: [&str; 7] = ["key", "nonce", "px", "sig", "src", "token", "ts"];

pub(super) fn source_faults(faults: &mut Faults, source: &Source) {
    named(faults, &source.name, source);
    let count = source.allowed_cidrs.len() <= MAX_CIDRS;
    faults.unless(count, "allowed_cidrs", format!("must be at most {MAX_CIDRS}"));
    if let SourceAuth::Signed { secret, .. } = &source.auth {
        faults.unless(!secret.is_unset(), "auth", "a signed source needs a secret");
    }
    params_faults(faults, source);
    let count = source.status_map.len() <= MAX_MAPPED;
    faults.unless(count, "status_map", format!("must be at most {MAX_MAPPED}"));
    for word in source.status_map.keys() {
        let at = format!("status_map.{word}");
        faults.unless(is_name(word), &at, format!("must be 1 to {MAX_KEY_BYTES} bytes without controls"));
        faults.unless(
            word.to_lowercase() == *word,
            &at,
            "must be in lower case: words are compared without it",
        );
    }
    for (field, value) in &source.defaults {
        default_faults(faults, field, value);
    }
}

fn params_faults(faults: &mut Faults, source: &Source) {
    let count = source.params.len() <= MAX_MAPPED;
    faults.unless(count, "params", format!("must be at most {MAX_MAPPED}"));
    for (theirs, ours) in &source.params {
        let at = format!("params.{theirs}");
        faults.unless(is_name(theirs), &at, format!("must be 1 to {MAX_KEY_BYTES} bytes without controls"));
        if SENDER_PARAMETERS.contains(&theirs.as_str()) {
            faults.add(&at, "says who sends, and can have no other meaning");
        } else if CONVERSION_FIELDS.contains(&theirs.as_str()) && theirs != ours {
            faults.add(&at, "is a field's own name, which always wins");
        }
        if !CONVERSION_FIELDS.contains(&ours.as_str()) {
            faults.add(&at, format!("must lead to one of {}", CONVERSION_FIELDS.join(", ")));
        }
    }
}

fn default_faults(faults: &mut Faults, field: &str, value: &str) {
    let at = format!("defaults.{field}");
    if !DEFAULT_FIELDS.contains(&field) {
        return faults.add(at, format!("only {} can have a default", DEFAULT_FIELDS.join(", ")));
    }
    let fits = (1..=MAX_NAME_CHARS).contains(&value.chars().count()) && !value.chars().any(char::is_control);
    faults.unless(fits, &at, format!("must be 1 to {MAX_NAME_CHARS} characters"));
    match field {
        "currency" => {
            let error = Currency::from_code(value).err();
            faults.unless(error.is_none(), &at, "must be an ISO 4217 code such as EUR");
        }
        "status" => {
            let words = Status::ALL.map(Status::as_str).join(", ");
            faults.unless(Status::from_word(value).is_some(), &at, format!("must be one of {words}"));
        }
        _ => {}
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_KEY_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemas::id::{Id, WorkspaceNumber};
    use schemas::time::Timestamp;

    use super::*;
    use crate::resource::Meta;

    fn map<V>(entries: &[(&str, V)]) -> BTreeMap<String, V>
    where
        V: Clone,
    {
        entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    fn source(params: &[(&str, &str)], words: &[(&str, Status)], defaults: &[(&str, &str)]) -> Source {
        let owned = |entries: &[(&str, &str)]| {
            entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        Source {
            id: Id::from_bytes([1; 16]),
            workspace: WorkspaceNumber::new(1).unwrap(),
            name: "shop".into(),
            auth: SourceAuth::Open,
            allowed_cidrs: Vec::new(),
            params: owned(params),
            status_map: map(words),
            defaults: owned(defaults),
            meta: Meta::new(Timestamp::default()),
        }
    }

    fn fields(source: &Source) -> Vec<String> {
        let mut faults = Faults::default();
        source_faults(&mut faults, source);
        faults.0.into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn names_lead_to_ours_and_never_away_from_them() {
        let good = source(
            &[
                ("aff_sub", "click_id"),
                ("order", "transaction_id"),
                ("payout", "amount"),
                ("amount", "amount"),
            ],
            &[("confirmed", Status::Approved), ("2", Status::Rejected)],
            &[("currency", "EUR"), ("event", "sale"), ("status", "pending")],
        );
        assert_eq!(fields(&good), [""; 0]);
        for (theirs, ours) in [
            ("x", "payout"),
            ("x", ""),
            ("token", "click_id"),
            ("amount", "currency"),
            ("", "event"),
            ("a\u{0}", "event"),
        ] {
            assert_eq!(
                fields(&source(&[(theirs, ours)], &[], &[])),
                [format!("params.{theirs}")],
                "{theirs} → {ours}"
            );
        }
    }

    #[test]
    fn words_are_in_lower_case_and_defaults_make_sense() {
        assert_eq!(fields(&source(&[], &[("OK", Status::Approved)], &[])), ["status_map.OK"]);
        for (field, value) in [
            ("transaction_id", "1"),
            ("click_id", "x"),
            ("nonsense", "x"),
            ("currency", "eur"),
            ("status", "ok"),
            ("event", ""),
        ] {
            assert_eq!(
                fields(&source(&[], &[], &[(field, value)])),
                [format!("defaults.{field}")],
                "{field}={value}"
            );
        }
    }

    #[test]
    fn everything_is_bounded() {
        let names: Vec<String> = (0..=MAX_MAPPED).map(|number| format!("n{number}")).collect();
        let params: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "event")).collect();
        let words: Vec<(&str, Status)> = names.iter().map(|name| (name.as_str(), Status::Hold)).collect();
        let mut large = source(&params, &words, &[]);
        large.allowed_cidrs = vec!["10.0.0.0/8".parse().unwrap(); MAX_CIDRS + 1];
        assert_eq!(fields(&large), ["allowed_cidrs", "params", "status_map"]);
        assert_eq!(fields(&source(&params[1..], &words[1..], &[])), [""; 0]);
    }
}
