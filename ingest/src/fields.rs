//! Named values as clients send them, in JSON, a query or a form, before anybody asks what they mean.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::Refusal;

/// Named values, each name once. Those of a query or a form are all strings.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    /// A name stood more than once; the first counted.
    pub(crate) is_repeated: bool,
}

impl Fields {
    /// The members of a JSON object.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, Refusal> {
        // The parser's own depth limit (128) stands between nested arrays and the stack.
        serde_json::from_slice(bytes).map_err(|error| Refusal::invalid("body", describe(&error)))
    }

    /// Adds the pairs of a query or a form. What is there already stays.
    pub(crate) fn add_pairs(&mut self, pairs: &[u8]) {
        for (name, value) in url::form_urlencoded::parse(pairs) {
            self.add(name.into_owned(), Value::String(value.into_owned()));
        }
    }

    fn add(&mut self, name: String, value: Value) {
        match self.values.entry(name) {
            serde_json::map::Entry::Vacant(place) => {
                place.insert(value);
            }
            serde_json::map::Entry::Occupied(_) => self.is_repeated = true,
        }
    }

    /// Takes a value out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name)
    }

    /// Takes a value out if it is a string; anything else is dropped.
    pub(crate) fn take_text(&mut self, name: &str) -> Option<String> {
        if let Some(Value::String(text)) = self.take(name) { Some(text) } else { None }
    }

    /// What nobody took, by name.
    pub(crate) fn rest(self) -> impl Iterator<Item = (String, Value)> {
        self.values.into_iter()
    }
}

/// The parser's message, which may quote what was sent, within bounds.
fn describe(error: &serde_json::Error) -> String {
    let text = format!("not a JSON object: {error}");
    crate::text::cut(&text, 200).to_owned()
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// serde's own maps let the last of repeats win.
        struct FirstWins;

        impl<'de> Visitor<'de> for FirstWins {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = members.next_entry()? {
                    fields.add(name, value);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(FirstWins)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_of_repeats_counts() {
        let mut fields = Fields::from_json(br#"{"a": 1, "b": "x", "a": 2}"#).unwrap();
        assert!(fields.is_repeated);
        assert_eq!((fields.take("a"), fields.take_text("b")), (Some(1.into()), Some("x".to_owned())));
        let mut fields = Fields::default();
        fields.add_pairs(b"a=1&b=%00&b=2");
        fields.add_pairs(b"a=3&c=4");
        assert!(fields.is_repeated);
        let rest: Vec<_> = fields.rest().collect();
        assert_eq!(rest.len(), 3);
        assert_eq!(rest[1], ("b".to_owned(), "\0".into()));
    }

    #[test]
    fn what_is_no_object_is_refused_however_deep() {
        let deep = format!("{{\"a\":{}", "[".repeat(10_000));
        for body in ["", "[]", "1", "\"x\"", "{\"a\":", "{\"a\":1}x", "{\"\\ud800\":1}", &deep] {
            let refusal = Fields::from_json(body.as_bytes()).unwrap_err();
            assert_eq!(refusal.faults()[0].field, "body", "{body:.20}");
            assert!(refusal.faults()[0].message.len() <= 200);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..500), text in ".*") {
            let _ = Fields::from_json(&bytes);
            let _ = Fields::from_json(text.as_bytes());
            let mut fields = Fields::default();
            fields.add_pairs(&bytes);
            fields.add_pairs(text.as_bytes());
        }
    }
}
