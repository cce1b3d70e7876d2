//! A body's fields: each is taken by name, what nobody takes is refused, and every fault is collected.

use std::collections::BTreeMap;

use catalog::{ExternalId, Meta};
use schemas::error_code::FieldError;
use serde_json::{Map, Value};

use super::value;
use crate::error::Error;

/// What a body is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It is the whole resource: what is missing has its default.
    Whole,
    /// It is a merge patch (RFC 7396): what is missing stays, null clears.
    Patch,
}

/// The fields of a body, or of an object inside it.
#[derive(Debug)]
pub(crate) struct Fields {
    object: Map<String, Value>,
    prefix: String,
    purpose: Purpose,
    faults: Vec<FieldError>,
}

impl Fields {
    pub(crate) const fn new(object: Map<String, Value>, purpose: Purpose) -> Self {
        Self { object, prefix: String::new(), purpose, faults: Vec::new() }
    }

    /// The fields of an object inside this one; give them back with [`Self::close`].
    pub(crate) fn open(&mut self, name: &str, value: Value) -> Option<Self> {
        match value {
            Value::Object(object) => {
                let prefix = format!("{}{name}.", self.prefix);
                // What stands inside an array or under a name is replaced as a whole.
                Some(Self { object, prefix, purpose: Purpose::Whole, faults: Vec::new() })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.fault(name, "must be an object");
                None
            }
        }
    }

    /// Ends the reading of an inner object.
    pub(crate) fn close(&mut self, inner: Self) {
        self.faults.extend(inner.finish());
    }

    /// Every fault, those of fields that nobody took included.
    pub(crate) fn finish(mut self) -> Vec<FieldError> {
        for name in std::mem::take(&mut self.object).keys() {
            self.fault(name, "is not a field that can be set here");
        }
        self.faults
    }

    /// Refuses what has faults of form, or else in what its fields say: of a field with both, the form's is named.
    pub(crate) fn judge(self, said: Vec<FieldError>) -> Result<(), Error> {
        let mut faults = self.finish();
        for fault in said {
            if !faults.iter().any(|known| known.field == fault.field) {
                faults.push(fault);
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::InvalidFields(faults)) }
    }

    pub(crate) const fn purpose(&self) -> Purpose {
        self.purpose
    }

    pub(crate) fn fault(&mut self, name: &str, message: impl Into<String>) {
        let field = format!("{}{name}", self.prefix);
        self.faults.push(FieldError { field, message: message.into() });
    }

    /// The raw value: `None` if it is missing, null if it is null.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name)
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    /// Reads a field that every resource of its kind has.
    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        target: &mut T,
        parse: impl FnOnce(Value) -> Result<T, String>,
    ) {
        match (self.take(name), self.purpose) {
            (None, Purpose::Patch) => {}
            (None | Some(Value::Null), _) => self.fault(name, "is required"),
            (Some(value), _) => self.set(name, value, target, parse),
        }
    }

    /// Reads a field that has a default, which null brings back.
    pub(crate) fn defaulted<T>(
        &mut self,
        name: &str,
        target: &mut T,
        default: T,
        parse: impl FnOnce(Value) -> Result<T, String>,
    ) {
        match self.take(name) {
            None => {}
            Some(Value::Null) => *target = default,
            Some(value) => self.set(name, value, target, parse),
        }
    }

    /// Reads a field that may be missing, which null clears.
    pub(crate) fn optional<T>(
        &mut self,
        name: &str,
        target: &mut Option<T>,
        parse: impl FnOnce(Value) -> Result<T, String>,
    ) {
        self.defaulted(name, target, None, |value| parse(value).map(Some));
    }

    /// Reads an array of objects, each by `read`; null and nothing are none.
    pub(crate) fn objects<T>(
        &mut self,
        name: &str,
        target: &mut Vec<T>,
        mut read: impl FnMut(&mut Self) -> T,
    ) {
        match self.take(name) {
            None => {}
            Some(Value::Null) => target.clear(),
            Some(Value::Array(values)) => {
                target.clear();
                for (index, value) in values.into_iter().enumerate() {
                    let Some(mut inner) = self.open(&format!("{name}[{index}]"), value) else { continue };
                    target.push(read(&mut inner));
                    self.close(inner);
                }
            }
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                self.fault(name, "must be an array");
            }
        }
    }

    /// Reads an object whose members are values of one kind; a patch merges it, and null takes a member out.
    pub(crate) fn members<T>(
        &mut self,
        name: &str,
        target: &mut BTreeMap<String, T>,
        parse: impl Fn(Value) -> Result<T, String>,
    ) {
        let Some(value) = self.take(name) else { return };
        if value.is_null() || self.purpose == Purpose::Whole {
            target.clear();
        }
        match value {
            Value::Null => {}
            Value::Object(members) => {
                for (member, value) in members {
                    match (value, self.purpose) {
                        (Value::Null, Purpose::Patch) => {
                            target.remove(&member);
                        }
                        (value, _) => match parse(value) {
                            Ok(value) => {
                                target.insert(member, value);
                            }
                            Err(message) => self.fault(&format!("{name}.{member}"), message),
                        },
                    }
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.fault(name, "must be an object");
            }
        }
    }

    fn set<T>(
        &mut self,
        name: &str,
        value: Value,
        target: &mut T,
        parse: impl FnOnce(Value) -> Result<T, String>,
    ) {
        match parse(value) {
            Ok(value) => *target = value,
            Err(message) => self.fault(name, message),
        }
    }

    /// Reads what every resource carries.
    pub(crate) fn meta(&mut self, meta: &mut Meta) {
        self.defaulted("status", &mut meta.archived, false, |value| match value::text(value)?.as_str() {
            "active" => Ok(false),
            "archived" => Ok(true),
            _ => Err("must be active or archived".to_owned()),
        });
        self.external(meta);
        self.defaulted("tags", &mut meta.tags, Vec::new(), value::texts);
        match (self.take("metadata"), self.purpose) {
            (None, _) => {}
            (Some(Value::Null), _) => meta.metadata.clear(),
            (Some(Value::Object(metadata)), Purpose::Whole) => meta.metadata = metadata,
            (Some(Value::Object(patch)), Purpose::Patch) => merge(&mut meta.metadata, patch),
            (Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)), _) => {
                self.fault("metadata", "must be an object");
            }
        }
    }

    /// The external name stands in two fields, of which neither has a meaning alone.
    fn external(&mut self, meta: &mut Meta) {
        let (mut source, mut id) =
            meta.external.take().map_or((None, None), |external| (Some(external.source), Some(external.id)));
        self.optional("external_source", &mut source, value::text);
        self.optional("external_id", &mut id, value::text);
        match (source, id) {
            (Some(source), Some(id)) => meta.external = Some(ExternalId { source, id }),
            (None, None) => {}
            (Some(_), None) => self.fault("external_id", "is required beside external_source"),
            (None, Some(_)) => self.fault("external_source", "is required beside external_id"),
        }
    }
}

/// A JSON merge patch of an object (RFC 7396). The depth is bounded by the JSON reader's own limit.
fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(&name);
            }
            Value::Object(patch) => {
                let inner = target.entry(name).or_insert(Value::Null);
                if !inner.is_object() {
                    *inner = Value::Object(Map::new());
                }
                if let Value::Object(inner) = inner {
                    merge(inner, patch);
                }
            }
            value @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                target.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_patch_keeps_what_is_missing_and_a_whole_body_needs_what_is_required() {
        let read = |body: Value, purpose| {
            let mut fields = Fields::new(object(body), purpose);
            let (mut name, mut slug) = ("old".to_owned(), Some("old".to_owned()));
            fields.required("name", &mut name, value::text);
            fields.optional("slug", &mut slug, value::text);
            let faults: Vec<String> = fields.finish().into_iter().map(|fault| fault.field).collect();
            (name, slug, faults)
        };
        let old = || Some("old".to_owned());
        assert_eq!(read(json!({}), Purpose::Patch), ("old".into(), old(), vec![]));
        assert_eq!(read(json!({}), Purpose::Whole).2, ["name"]);
        assert_eq!(
            read(json!({"name": null, "slug": null}), Purpose::Patch),
            ("old".into(), None, vec!["name".into()])
        );
        assert_eq!(read(json!({"name": 1, "caps": []}), Purpose::Patch).2, ["name", "caps"]);
    }

    #[test]
    fn metadata_is_merged_as_rfc_7396_says() {
        let mut target = object(json!({"a": "b", "c": {"d": "e", "f": "g"}, "h": [1]}));
        merge(&mut target, object(json!({"a": "z", "c": {"f": null}, "h": [2], "i": {"j": null, "k": 1}})));
        assert_eq!(Value::Object(target), json!({"a": "z", "c": {"d": "e"}, "h": [2], "i": {"k": 1}}));
    }
}
