//! Takes named values out of a request one by one, and notes what is wrong with them.

use std::borrow::Cow;

use catalog::validate::SENDER_PARAMETERS;
use schemas::error_code::FieldError;
use schemas::id::{Id, Kind};
use schemas::time::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::fields::{Field, Fields};
use crate::unresolved;

/// Bytes of ids and codes that the sender made.
pub(crate) const MAX_TEXT_BYTES: usize = 255;
/// Bytes of an e-mail address (RFC 5321: 64 + 1 + 255).
const MAX_EMAIL_BYTES: usize = 320;
/// Bytes of `metadata`.
const MAX_METADATA_BYTES: usize = 10 * 1024;
/// Unknown fields that are kept, and the bytes of a name and of a value.
const MAX_UNKNOWN_FIELDS: usize = 32;
const MAX_UNKNOWN_BYTES: usize = 256;

/// How far ahead of ours the sender's clock may be.
const MAX_AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;
/// How old something may be that is reported now: a year covers every return and approval window; what is older is
/// nearly always a date in the wrong unit or field.
const MAX_AGE_MICROS: i64 = 366 * 24 * 60 * 60 * 1_000_000;

/// Takes values out of the fields and notes what is wrong with them.
pub(crate) struct Reader<'a> {
    pub(crate) fields: Fields<'a>,
    pub(crate) faults: Vec<FieldError>,
    /// All values are texts: a query or a form.
    pub(crate) is_flat: bool,
    /// A macro of another system stands in a value.
    pub(crate) is_unresolved: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(mut fields: Fields<'a>, is_flat: bool) -> Self {
        // They carry secrets, and were read where it was found out who sends.
        for name in SENDER_PARAMETERS {
            fields.take(name);
        }
        Self { fields, faults: Vec::new(), is_flat, is_unresolved: false }
    }

    /// A name stood more than once.
    pub(crate) const fn is_repeated(&self) -> bool {
        self.fields.is_repeated
    }

    /// Takes the first of the names that has a value, and drops the other ones. Null, and in a form the empty text, is no
    /// value.
    pub(crate) fn take(&mut self, names: &[&'static str]) -> Option<(&'static str, Field<'a>)> {
        let mut found = None;
        for name in names {
            let Some(field) = self.fields.take(name) else { continue };
            let is_value = match &field {
                Field::Json(value) => !value.is_null(),
                Field::Text(text) => !(self.is_flat && text.is_empty()),
            };
            if is_value && found.is_none() {
                found = Some((*name, field));
            }
        }
        found
    }

    pub(crate) fn fault(&mut self, field: &str, message: impl Into<String>) {
        self.faults.push(FieldError { field: field.to_owned(), message: message.into() });
    }

    /// A text of bounded length without control characters; a whole number is taken as its digits. Empty is none.
    pub(crate) fn text(
        &mut self,
        names: &[&'static str],
        max_bytes: usize,
    ) -> Option<(&'static str, Cow<'a, str>)> {
        let (name, field) = self.take(names)?;
        let text = match field {
            Field::Text(text) => text,
            Field::Json(Value::Number(number)) if !number.is_f64() => number.to_string().into(),
            Field::Json(_) => {
                self.fault(name, "must be a string");
                return None;
            }
        };
        if text.len() > max_bytes {
            self.fault(name, format!("must be at most {max_bytes} bytes long"));
            return None;
        }
        if text.chars().any(char::is_control) {
            self.fault(name, "must not hold control characters");
            return None;
        }
        if text.is_empty() { None } else { Some((name, text)) }
    }

    pub(crate) fn text_or_empty(&mut self, names: &[&'static str]) -> String {
        self.text(names, MAX_TEXT_BYTES).map(|(_, text)| text.into_owned()).unwrap_or_default()
    }

    /// What tells one thing from another of its kind. A macro that the sender's system left as it was names nothing: it
    /// would make all that carry it one. It stays among the fields, where it can be seen later.
    pub(crate) fn name(&mut self, names: &[&'static str]) -> Option<Cow<'a, str>> {
        let (name, text) = self.text(names, MAX_TEXT_BYTES)?;
        if !unresolved::has_macro(&text) {
            return Some(text);
        }
        self.is_unresolved = true;
        self.fields.put(name, Field::Text(text));
        None
    }

    pub(crate) fn name_or_empty(&mut self, names: &[&'static str]) -> String {
        self.name(names).map(Cow::into_owned).unwrap_or_default()
    }

    pub(crate) fn id<K: Kind>(&mut self, names: &[&'static str]) -> Option<Id<K>> {
        let (name, text) = self.text(names, MAX_TEXT_BYTES)?;
        match text.parse() {
            Ok(id) => Some(id),
            Err(error) => {
                self.fault(name, error.to_string());
                None
            }
        }
    }

    /// What `consent` says: a word, a number, or a truth value of JSON.
    pub(crate) fn consent(&mut self) -> Option<Cow<'a, str>> {
        match self.take(&["consent"])?.1 {
            Field::Text(text) => Some(text),
            Field::Json(Value::Bool(given)) => Some(if given { "1" } else { "0" }.into()),
            Field::Json(value) => Some(value.to_string().into()),
        }
    }

    pub(crate) fn email_sha256(&mut self) -> Option<[u8; 32]> {
        let (name, text) = self.text(&["email"], MAX_EMAIL_BYTES)?;
        let address = text.trim().to_lowercase();
        match address.split_once('@') {
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
                Some(Sha256::digest(address.as_bytes()).into())
            }
            _ => {
                self.fault(name, "not an e-mail address");
                None
            }
        }
    }

    pub(crate) fn occurred_at(&mut self, received_at: Timestamp) -> Timestamp {
        let Some((name, text)) = self.text(&["occurred_at"], MAX_TEXT_BYTES) else { return received_at };
        match text.parse::<Timestamp>() {
            Err(error) => self.fault(name, error.to_string()),
            Ok(time) if time.micros_since(received_at) > MAX_AHEAD_MICROS => {
                self.fault(name, "lies more than 5 minutes in the future");
            }
            Ok(time) if received_at.micros_since(time) > MAX_AGE_MICROS => {
                self.fault(name, "lies more than 366 days in the past");
            }
            Ok(time) => return time,
        }
        received_at
    }

    /// The sender's `metadata`.
    pub(crate) fn metadata(&mut self) -> Map<String, Value> {
        let Some((name, field)) = self.take(&["metadata"]) else { return Map::new() };
        let value = match field {
            Field::Text(text) if self.is_flat => serde_json::from_str(&text).unwrap_or_default(),
            Field::Text(_) => Value::Null,
            Field::Json(value) => value,
        };
        let Value::Object(members) = value else {
            self.fault(name, "must be a JSON object");
            return Map::new();
        };
        if json_bytes(&members) > MAX_METADATA_BYTES {
            self.fault(name, format!("must be at most {MAX_METADATA_BYTES} bytes of JSON"));
            return Map::new();
        }
        members
    }

    /// `metadata` with what nobody took out of the fields, as JSON, empty for none; and whether something found no room.
    pub(crate) fn finish(self, mut metadata: Map<String, Value>) -> Finished {
        let mut room = (MAX_METADATA_BYTES, MAX_UNKNOWN_FIELDS);
        if !metadata.is_empty() {
            room.0 = room.0.saturating_sub(json_bytes(&metadata));
        }
        let mut is_dropped = false;
        for (name, field) in self.fields.rest() {
            let value = Value::from(field);
            let value_bytes = value.as_str().map_or_else(|| json_bytes(&value), str::len);
            // With its colon and its comma.
            let written_bytes = json_bytes(&name) + json_bytes(&value) + 2;
            if name.len() > MAX_UNKNOWN_BYTES
                || value_bytes > MAX_UNKNOWN_BYTES
                || room.1 == 0
                || written_bytes > room.0
                || metadata.contains_key(&*name)
            {
                is_dropped = true;
                continue;
            }
            room = (room.0 - written_bytes, room.1 - 1);
            metadata.insert(name.into_owned(), value);
        }
        let metadata = if metadata.is_empty() { String::new() } else { Value::Object(metadata).to_string() };
        Finished { metadata, is_dropped, faults: self.faults }
    }
}

/// What is left when everything was read.
pub(crate) struct Finished {
    /// JSON; empty for none.
    pub(crate) metadata: String,
    /// An unknown field found no room.
    pub(crate) is_dropped: bool,
    pub(crate) faults: Vec<FieldError>,
}

fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).map_or(usize::MAX, |text| text.len())
}
