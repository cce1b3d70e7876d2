//! Cells of rows as answers show them: what a column holds for "none" becomes null.

use std::collections::BTreeMap;

use catalog::Catalog;
use catalog::macros::SUBS;
use schemas::hex;
use schemas::id::WorkspaceNumber;
use schemas::money::{Currency, Money};
use schemas::time::Timestamp;
use serde::Serialize;

use crate::reference::{Named, Referent};

/// `sub1` to `sub10`, null where there is none.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Subs(BTreeMap<String, Option<String>>);

impl Subs {
    pub(crate) fn new(subs: Vec<String>) -> Self {
        let found = subs.into_iter().map(text).chain(std::iter::repeat(None));
        Self((1..=SUBS).map(|number| format!("sub{number}")).zip(found).collect())
    }
}

/// A text, unless it is empty.
pub(crate) fn text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// An instant, unless it is 1970: what a time column holds for "none".
pub(crate) fn instant(micros: i64) -> Option<Timestamp> {
    (micros != 0).then(|| Timestamp::from_micros(micros))
}

/// An amount in the currency with this code; none where the code is none.
pub(crate) fn money(micros: i64, code: &str) -> Option<Money> {
    Currency::from_code(code).ok().map(|currency| Money { micros, currency })
}

/// The thing that 32 hexadecimal digits stand for.
pub(crate) fn named(
    referent: Referent,
    digits: &str,
    catalog: &Catalog,
    workspace: WorkspaceNumber,
) -> Option<Named> {
    hex::decode(digits).and_then(|bytes| referent.show(catalog, workspace, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sub_id_has_its_place() {
        let subs =
            serde_json::to_value(Subs::new(vec!["a".to_owned(), String::new(), "c".to_owned()])).unwrap();
        assert_eq!(subs["sub1"], "a");
        assert_eq!(subs["sub2"], serde_json::Value::Null);
        assert_eq!(subs["sub3"], "c");
        assert_eq!(subs["sub10"], serde_json::Value::Null);
        assert_eq!(subs.as_object().unwrap().len(), 10);
    }
}
