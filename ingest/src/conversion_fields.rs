//! From named values to a conversion.
//!
//! What is wrong in the request alone is a fault; the caller refuses the request for it or, where it must be kept,
//! stores the conversion with its first fault. What needs the catalog is never a fault of the request: a reference that
//! leads nowhere is stored as such, and decided later.

use schemas::error_code::FieldError;
use schemas::event::{Conversion, Fault, Status, label};
use schemas::id::{Id, Kind, VisitorId};
use schemas::time::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::fields::Fields;
use crate::money_fields::take_money;
use crate::reference::{Unresolved, resolve, resolve_partner};
use crate::sender::Sender;

/// The goal of a conversion that names none.
const DEFAULT_GOAL: &str = "sale";
/// Bytes of a goal's key.
const MAX_GOAL_BYTES: usize = 64;
/// Bytes of ids and codes that the sender made.
const MAX_TEXT_BYTES: usize = 255;
/// Bytes of an e-mail address (RFC 5321: 64 + 1 + 255).
const MAX_EMAIL_BYTES: usize = 320;
/// Bytes of `metadata`.
const MAX_METADATA_BYTES: usize = 10 * 1024;
/// Unknown fields that are kept in `metadata`, and the bytes of a name and of a value.
const MAX_UNKNOWN_FIELDS: usize = 32;
const MAX_UNKNOWN_BYTES: usize = 256;

/// How far ahead of ours the sender's clock may be.
const MAX_AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;
/// How old a conversion may be that is reported now: a year covers every return and approval window; what is older is
/// nearly always a date in the wrong unit or field.
const MAX_AGE_MICROS: i64 = 366 * 24 * 60 * 60 * 1_000_000;

/// The reason of a kept request with a wrong value.
pub(crate) const INVALID_VALUE: &str = "invalid_value";
/// The reason of a request with a reference that leads nowhere.
pub(crate) const UNKNOWN_REFERENCE: &str = "unknown_reference";

/// Fields that carry secrets or belong to another step: read elsewhere or not at all, and never stored.
const NEVER_STORED: [&str; 8] = ["key", "token", "src", "px", "ts", "nonce", "sig", "test"];

/// Takes values out of the fields and notes what is wrong with them.
pub(crate) struct Reader {
    fields: Fields,
    faults: Vec<FieldError>,
    /// All values are texts: a query or a form.
    pub(crate) is_flat: bool,
}

impl Reader {
    /// Takes the first of the names that has a value, and drops the other ones. Null, and in a form the empty text, is no
    /// value.
    pub(crate) fn take(&mut self, names: &[&'static str]) -> Option<(&'static str, Value)> {
        let mut found = None;
        for name in names {
            let value = self.fields.take(name).filter(|value| match value {
                Value::Null => false,
                Value::String(text) => !(self.is_flat && text.is_empty()),
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => true,
            });
            if found.is_none() {
                found = value.map(|value| (*name, value));
            }
        }
        found
    }

    pub(crate) fn fault(&mut self, field: &str, message: impl Into<String>) {
        self.faults.push(FieldError { field: field.to_owned(), message: message.into() });
    }

    /// A text of bounded length without control characters; a whole number is taken as its digits. Empty is none.
    fn text(&mut self, names: &[&'static str], max_bytes: usize) -> Option<(&'static str, String)> {
        let (name, value) = self.take(names)?;
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) if !number.is_f64() => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
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

    fn text_or_empty(&mut self, names: &[&'static str]) -> String {
        self.text(names, MAX_TEXT_BYTES).map(|(_, text)| text).unwrap_or_default()
    }

    fn id<K: Kind>(&mut self, names: &[&'static str]) -> Option<Id<K>> {
        let (name, text) = self.text(names, MAX_TEXT_BYTES)?;
        match text.parse() {
            Ok(id) => Some(id),
            Err(error) => {
                self.fault(name, error.to_string());
                None
            }
        }
    }

    fn email_sha256(&mut self) -> Option<[u8; 32]> {
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

    fn status(&mut self) -> Option<Status> {
        let (name, word) = self.text(&["status"], MAX_TEXT_BYTES)?;
        let status = Status::from_word(&word);
        if status.is_none() {
            let words = Status::ALL.map(Status::as_str).join(", ");
            self.fault(name, format!("must be one of {words}"));
        }
        status
    }

    fn occurred_at(&mut self, received_at: Timestamp) -> Timestamp {
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
    fn metadata(&mut self) -> Map<String, Value> {
        let Some((name, mut value)) = self.take(&["metadata"]) else { return Map::new() };
        if let (true, Value::String(text)) = (self.is_flat, &value) {
            value = serde_json::from_str(text).unwrap_or_default();
        }
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
}

fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).map_or(usize::MAX, |text| text.len())
}

/// A conversion as it was read.
pub(crate) struct Reading {
    /// The conversion, without the values that are wrong.
    pub(crate) conversion: Conversion,
    /// What is wrong in the request alone.
    pub(crate) faults: Vec<FieldError>,
    /// A reference leads nowhere in this catalog; a newer one may know it.
    pub(crate) has_unknown_reference: bool,
}

/// Reads a conversion.
pub(crate) fn read(mut fields: Fields, is_flat: bool, sender: &Sender<'_>) -> Reading {
    for name in NEVER_STORED {
        fields.take(name);
    }
    let mut reader = Reader { fields, faults: Vec::new(), is_flat };
    let mut labels = sender.labels.to_vec();
    let mut references = References { sender, fault: None, has_unknown: false };
    let goal =
        reader.text(&["event"], MAX_GOAL_BYTES).map_or_else(|| DEFAULT_GOAL.to_owned(), |(_, key)| key);
    let click = reader.id(&["click_id", "clickid", "cid", "subid", "cnv_id", "dub_id"]);
    let visitor: Option<VisitorId> = reader.id(&["visitor_id"]);
    let partner = references.partner(&mut reader);
    let (offer, offer_currency) = references.offer(&mut reader);
    let source = references.source(&mut reader);
    let earned = take_money(&mut reader, offer_currency);
    if earned.stated.is_some() {
        labels.push(label::DEFAULT_CURRENCY.to_owned());
    }
    let conversion = Conversion {
        goal,
        click,
        visitor: visitor.or(sender.visitor),
        customer_id: reader.text_or_empty(&["customer_id", "customerId"]),
        email_sha256: reader.email_sha256(),
        coupon: reader.text_or_empty(&["coupon"]),
        partner,
        offer,
        transaction_id: reader.text_or_empty(&["transaction_id", "txid", "tid", "externalEventId"]),
        client_event_id: reader
            .text(&["event_id"], MAX_TEXT_BYTES)
            .map_or_else(|| sender.idempotency_key.to_owned(), |(_, text)| text),
        amount: earned.money,
        stated_amount: earned.stated,
        status: reader.status(),
        source,
        trust: sender.trust,
        occurred_at: reader.occurred_at(sender.received_at),
        metadata: String::new(),
        labels: Vec::new(),
        test: sender.is_test,
        fault: references.fault,
        nonce: None,
        pixel: None,
    };
    let metadata = reader.metadata();
    let has_unknown_reference = references.has_unknown;
    finish(reader, conversion, metadata, labels, has_unknown_reference)
}

/// Adds what is left of the fields to `metadata`, and the labels.
fn finish(
    reader: Reader,
    mut conversion: Conversion,
    mut metadata: Map<String, Value>,
    mut labels: Vec<String>,
    has_unknown_reference: bool,
) -> Reading {
    let Reader { fields, faults, .. } = reader;
    if fields.is_repeated {
        labels.push(label::REPEATED_PARAMETER.to_owned());
    }
    let stated_bytes = json_bytes(&metadata);
    let mut room = (MAX_METADATA_BYTES.saturating_sub(stated_bytes), MAX_UNKNOWN_FIELDS);
    let mut is_dropped = false;
    for (name, value) in fields.rest() {
        let value_bytes = value.as_str().map_or_else(|| json_bytes(&value), str::len);
        // With its colon and its comma.
        let written_bytes = json_bytes(&name) + json_bytes(&value) + 2;
        if name.len() > MAX_UNKNOWN_BYTES
            || value_bytes > MAX_UNKNOWN_BYTES
            || room.1 == 0
            || written_bytes > room.0
            || metadata.contains_key(&name)
        {
            is_dropped = true;
            continue;
        }
        room = (room.0 - written_bytes, room.1 - 1);
        metadata.insert(name, value);
    }
    if is_dropped {
        labels.push(label::DROPPED_PARAMETER.to_owned());
    }
    if !metadata.is_empty() {
        conversion.metadata = Value::Object(metadata).to_string();
    }
    conversion.labels = labels;
    Reading { conversion, faults, has_unknown_reference }
}

/// Resolves the references of a conversion.
struct References<'a> {
    sender: &'a Sender<'a>,
    /// The first that leads nowhere and has no id to be stored.
    fault: Option<Fault>,
    has_unknown: bool,
}

impl References<'_> {
    fn partner(&mut self, reader: &mut Reader) -> Option<schemas::id::PartnerId> {
        let (name, text) = reader.text(&["partner", "affiliateSlug"], MAX_TEXT_BYTES)?;
        match resolve_partner(self.sender.catalog, self.sender.workspace.number, &text) {
            Ok(partner) => Some(partner.id),
            Err(unresolved) => self.unresolved(reader, name, unresolved),
        }
    }

    fn offer(
        &mut self,
        reader: &mut Reader,
    ) -> (Option<schemas::id::OfferId>, Option<schemas::money::Currency>) {
        let Some((name, text)) = reader.text(&["offer"], MAX_TEXT_BYTES) else { return (None, None) };
        match resolve::<catalog::Offer>(self.sender.catalog, self.sender.workspace.number, &text) {
            Ok(offer) => (Some(offer.id), Some(offer.currency)),
            Err(unresolved) => (self.unresolved(reader, name, unresolved), None),
        }
    }

    /// A postback's source is who sent it, whatever else it says.
    fn source(&mut self, reader: &mut Reader) -> Option<schemas::id::SourceId> {
        let stated = reader.text(&["source"], MAX_TEXT_BYTES);
        if self.sender.source.is_some() {
            return self.sender.source;
        }
        let (name, text) = stated?;
        // The built-in source has no record.
        if text == "default" {
            return None;
        }
        match resolve::<catalog::Source>(self.sender.catalog, self.sender.workspace.number, &text) {
            Ok(source) => Some(source.id),
            Err(unresolved) => self.unresolved(reader, name, unresolved),
        }
    }

    fn unresolved<K: Kind>(
        &mut self,
        reader: &mut Reader,
        name: &'static str,
        unresolved: Unresolved<K>,
    ) -> Option<Id<K>> {
        match unresolved {
            Unresolved::Malformed => {
                reader.fault(name, format!("must be a {}_ id or ext:{{source}}:{{external_id}}", K::PREFIX));
                None
            }
            // The core knows the catalog as well: it may judge an id by itself.
            Unresolved::Unknown(Some(id)) => {
                self.has_unknown = true;
                Some(id)
            }
            Unresolved::Unknown(None) => {
                self.has_unknown = true;
                self.fault.get_or_insert_with(|| Fault {
                    reason: UNKNOWN_REFERENCE.to_owned(),
                    field: name.to_owned(),
                    message: "refers to nothing in this workspace".to_owned(),
                });
                None
            }
        }
    }
}
