//! Named values as clients send them, in JSON, a query or a form, before anybody asks what they mean.
//!
//! Batches bring hundreds of thousands of them a second: texts are borrowed from the request, and no map is built.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::error::Refusal;

/// Fields that there is room for at once; most requests have fewer.
const CAPACITY: usize = 16;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field<'a> {
    /// A text; in a query or a form every value is one.
    Text(Cow<'a, str>),
    /// What JSON knows besides texts.
    Json(Value),
}

impl From<Field<'_>> for Value {
    fn from(field: Field<'_>) -> Self {
        match field {
            Field::Text(text) => Self::String(text.into_owned()),
            Field::Json(value) => value,
        }
    }
}

/// Named values, each name once, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fields<'a> {
    /// Values that were taken are `None`.
    values: Vec<(Cow<'a, str>, Option<Field<'a>>)>,
    /// A name stood more than once; the first counted.
    pub(crate) is_repeated: bool,
}

impl<'a> Fields<'a> {
    /// The members of a JSON object.
    pub(crate) fn from_json(bytes: &'a [u8]) -> Result<Self, Refusal> {
        // The parser's own depth limit (128) stands between nested arrays and the stack.
        serde_json::from_slice(bytes).map_err(|error| Refusal::invalid("body", describe(&error)))
    }

    /// The pairs of queries and forms, the first of them first.
    pub(crate) fn from_pairs(texts: &[&'a [u8]]) -> Self {
        let pairs = texts.iter().flat_map(|pairs| url::form_urlencoded::parse(pairs));
        Self::sorted(pairs.map(|(name, value)| (name, Some(Field::Text(value)))).collect())
    }

    /// Adds the values of others where these have none.
    pub(crate) fn with(self, others: Self) -> Self {
        let is_repeated = self.is_repeated || others.is_repeated;
        let both = Self::sorted(self.values.into_iter().chain(others.values).collect());
        Self { is_repeated: both.is_repeated || is_repeated, ..both }
    }

    fn sorted(mut values: Vec<(Cow<'a, str>, Option<Field<'a>>)>) -> Self {
        // Stable: of one name the first stays the first.
        values.sort_by(|(name, _), (other, _)| name.cmp(other));
        let count = values.len();
        values.dedup_by(|(name, _), (first, _)| name == first);
        Self { is_repeated: values.len() < count, values }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.values.binary_search_by(|(other, _)| other.as_ref().cmp(name))
    }

    /// Takes a value out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Field<'a>> {
        let place = self.place(name).ok()?;
        self.values[place].1.take()
    }

    /// Takes a value out if it is a text; anything else is dropped.
    pub(crate) fn take_text(&mut self, name: &str) -> Option<Cow<'a, str>> {
        match self.take(name)? {
            Field::Text(text) => Some(text),
            Field::Json(_) => None,
        }
    }

    /// The value, if it is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.values[self.place(name).ok()?].1.as_ref()? {
            Field::Text(text) => Some(text),
            Field::Json(_) => None,
        }
    }

    /// Every text that nobody took: names, and values that are texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.values.iter().flat_map(|(name, field)| {
            let value = match field {
                Some(Field::Text(text)) => Some(text.as_ref()),
                Some(Field::Json(_)) | None => None,
            };
            std::iter::once(name.as_ref()).chain(value)
        })
    }

    /// Whether there is a value with this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.place(name).is_ok_and(|place| self.values[place].1.is_some())
    }

    /// Gives a value another name, if there is none with that name.
    pub(crate) fn rename(&mut self, name: &str, other: &str) {
        if name == other || self.has(other) {
            return;
        }
        if let Some(field) = self.take(name) {
            self.put(other, field);
        }
    }

    /// Adds a value, or replaces it.
    pub(crate) fn put(&mut self, name: &str, field: Field<'a>) {
        match self.place(name) {
            Ok(place) => self.values[place].1 = Some(field),
            Err(place) => self.values.insert(place, (Cow::Owned(name.to_owned()), Some(field))),
        }
    }

    /// Whether there is something that nobody took.
    pub(crate) fn has_rest(&self) -> bool {
        self.values.iter().any(|(_, field)| field.is_some())
    }

    /// What nobody took, by name.
    pub(crate) fn rest(self) -> impl Iterator<Item = (Cow<'a, str>, Field<'a>)> {
        self.values.into_iter().filter_map(|(name, field)| Some((name, field?)))
    }
}

/// The parser's message, which may quote what was sent, within bounds.
fn describe(error: &serde_json::Error) -> String {
    let text = format!("not a JSON object: {error}");
    crate::text::cut(&text, 200).to_owned()
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Fields<'de>, A::Error> {
                let mut values = Vec::with_capacity(CAPACITY);
                while let Some(name) = members.next_key_seed(Name)? {
                    values.push((name, Some(members.next_value()?)));
                }
                Ok(Fields::sorted(values))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Reads a member's name, borrowed where it holds no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Field<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Field::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Field::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Field::Json(Value::Null))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Field::Json(value.into()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Field::Json(value.into()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Field::Json(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Field::Json(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                Value::deserialize(serde::de::value::SeqAccessDeserializer::new(items)).map(Field::Json)
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                Value::deserialize(serde::de::value::MapAccessDeserializer::new(members)).map(Field::Json)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_of_repeats_counts() {
        let mut fields = Fields::from_json(br#"{"b": "x", "a": 1, "a": 2}"#).unwrap();
        assert!(fields.is_repeated);
        assert_eq!(fields.take("a"), Some(Field::Json(1.into())));
        assert_eq!(fields.take("a"), None);
        assert_eq!(fields.take_text("b").as_deref(), Some("x"));
        let mut fields = Fields::from_pairs(&[b"a=1&b=%00&b=2", b"a=3&c=4"]);
        assert!(fields.is_repeated && fields.has("c") && !fields.has("d"));
        assert_eq!(fields.text("a"), Some("1"));
        assert_eq!(fields.take_text("b").as_deref(), Some("\0"));
        assert_eq!(fields.rest().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn a_value_gets_another_name_where_that_is_free() {
        let mut fields = Fields::from_pairs(&[b"z=1&goal=2&event=3"]);
        fields.rename("goal", "event");
        fields.rename("z", "amount");
        fields.rename("nothing", "coupon");
        fields.put("coupon", Field::Text("TEN".into()));
        let texts = |name: &str| fields.text(name).map(str::to_owned);
        assert_eq!(
            ["goal", "event", "z", "amount", "coupon"].map(texts),
            [Some("2".to_owned()), Some("3".to_owned()), None, Some("1".to_owned()), Some("TEN".to_owned())]
        );
    }

    #[test]
    fn what_is_no_object_is_refused_however_deep() {
        let deep = format!("{{\"a\":{}", "[".repeat(10_000));
        let lone = "{\"a\":\"\\ud800\"}";
        for body in
            ["", "[]", "1", "\"x\"", "{\"a\":", "{\"a\":1}x", "{\"\\ud800\":1}", lone, &deep, "{\"a\":1e999}"]
        {
            let refusal = Fields::from_json(body.as_bytes()).unwrap_err();
            assert_eq!(refusal.faults()[0].field, "body", "{body:.20}");
            assert!(refusal.faults()[0].message.len() <= 200);
        }
    }

    proptest! {
        #[test]
        fn values_are_those_of_the_json_library(text in "[ -~]{0,40}", number in any::<i64>(), real in -1e30..1e30f64) {
            let object = serde_json::json!({
                "text": text, "number": number, "real": real, "null": null, "yes": true, "nested": {"list": [text, number]},
            });
            let written = object.to_string();
            let fields = Fields::from_json(written.as_bytes()).unwrap();
            let read: serde_json::Map<_, _> =
                fields.rest().map(|(name, field)| (name.into_owned(), Value::from(field))).collect();
            prop_assert_eq!(Value::Object(read), object);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..500), text in ".*") {
            let _ = Fields::from_json(&bytes);
            let _ = Fields::from_json(text.as_bytes());
            let _ = Fields::from_pairs(&[&bytes, text.as_bytes()]);
        }
    }
}
