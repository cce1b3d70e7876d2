//! From named values to a conversion.
//!
//! What is wrong in the request alone is a fault; the caller refuses the request for it or, where it must be kept,
//! stores the conversion with its first fault. What needs the catalog is never a fault of the request: a reference that
//! leads nowhere is stored as such, and decided later.

use std::borrow::Cow;

use catalog::Source;
use schemas::error_code::FieldError;
use schemas::event::{Conversion, Fault, Status, label};
use schemas::id::{SourceId, VisitorId};
use serde_json::{Map, Value};

use crate::client;
use crate::error::Refusal;
use crate::fields::{Field, Fields};
use crate::money_fields::{AMOUNT, AMOUNT_MINOR, take_money};
use crate::reader::{MAX_TEXT_BYTES, Reader};
use crate::reference::References;
use crate::sender::Sender;
use crate::source_proof::is_signed;
use crate::status_words;

/// The goal of a conversion that names none.
pub(crate) const DEFAULT_GOAL: &str = "sale";
/// Bytes of a goal's key.
pub(crate) const MAX_GOAL_BYTES: usize = 64;
/// Where a status word is kept that nobody knows.
const STATUS_WORD: &str = "status_word";

/// The reason of a kept request with a wrong value.
pub(crate) const INVALID_VALUE: &str = "invalid_value";

const CLICK_ID: [&str; 6] = ["click_id", "clickid", "cid", "subid", "cnv_id", "dub_id"];
pub(crate) const TRANSACTION_ID: [&str; 4] = ["transaction_id", "txid", "tid", "externalEventId"];
const CUSTOMER_ID: [&str; 2] = ["customer_id", "customerId"];
pub(crate) const PARTNER: [&str; 2] = ["partner", "affiliateSlug"];
/// What says an amount, by whatever name.
const MONEY: [&str; 6] = [AMOUNT[0], AMOUNT[1], AMOUNT[2], AMOUNT[3], AMOUNT_MINOR[0], AMOUNT_MINOR[1]];
/// Fields with several names: where one of them is stated, a default is for none.
const ALIASED: [&[&str]; 2] = [&PARTNER, &MONEY];

/// A conversion as it was read.
pub(crate) struct Reading {
    /// The conversion, without the values that are wrong.
    pub(crate) conversion: Conversion,
    /// What is wrong in the request alone.
    pub(crate) faults: Vec<FieldError>,
    /// A reference leads nowhere in this catalog; a newer one may know it.
    pub(crate) has_unknown_reference: bool,
}

/// Takes a source's own names and what it never says into account.
fn translate(reader: &mut Reader<'_>, source: &Source) {
    let (fields, is_flat) = (&mut reader.fields, reader.is_flat);
    for (theirs, ours) in &source.params {
        fields.rename(theirs, ours);
    }
    for (name, value) in &source.defaults {
        let group = ALIASED.iter().find(|group| group.contains(&name.as_str()));
        let is_stated =
            fields.has(name) || group.is_some_and(|group| group.iter().any(|alias| fields.has(alias)));
        if is_stated {
            continue;
        }
        // In JSON minor units are a number.
        let field = match value.parse::<u64>() {
            Ok(minor) if !is_flat && AMOUNT_MINOR.contains(&name.as_str()) => Field::Json(minor.into()),
            _ => Field::Text(value.clone().into()),
        };
        fields.put(name, field);
    }
}

/// Reads a conversion. `default_goal` is that of the route.
///
/// # Errors
/// The refusal of whoever names a source without speaking for it.
pub(crate) fn read(
    fields: Fields<'_>,
    is_flat: bool,
    default_goal: &str,
    sender: &Sender<'_>,
) -> Result<Reading, Refusal> {
    let mut references = References::new(sender.catalog, sender.workspace.number);
    let mut reader = Reader::new(fields, is_flat);
    let (source_id, source) = named_source(&mut reader, &mut references, sender)?;
    if let Some(source) = source {
        translate(&mut reader, source);
    }
    let mut labels = sender.labels.to_vec();
    let goal = reader.text(&["event"], MAX_GOAL_BYTES).map(|(_, key)| key.into_owned());
    let pixel_goal = || sender.pixel.and_then(|pixel| pixel.goal.clone());
    let click = reader.id(&CLICK_ID);
    let visitor: Option<VisitorId> = reader.id(&["visitor_id"]);
    let partner = references.partner(&mut reader);
    let (mut offer_id, mut offer) = references.offer(&mut reader);
    if let (Some(pixel), None) = (sender.pixel, offer_id) {
        offer_id = Some(pixel.offer);
        offer = sender.catalog.offer(pixel.workspace, pixel.offer);
    }
    let earned = take_money(&mut reader, offer.map(|offer| offer.currency));
    if earned.stated.is_some() {
        labels.push(label::DEFAULT_CURRENCY.to_owned());
    }
    let mut metadata = reader.metadata();
    let status = read_status(&mut reader, source, &mut metadata, &mut labels);
    let refusals = sender.refusals(reader.consent().as_deref());
    labels.extend(refusals.labels().map(str::to_owned));
    let cookie = || if sender.is_page() { client::visitor(&sender.incoming.parts.headers) } else { None };
    let conversion = Conversion {
        goal: goal.or_else(pixel_goal).unwrap_or_else(|| default_goal.to_owned()),
        click,
        visitor: if refusals.is_empty() { visitor.or_else(cookie) } else { None },
        customer_id: reader.name_or_empty(&CUSTOMER_ID),
        email_sha256: reader.email_sha256(),
        coupon: reader.name_or_empty(&["coupon"]),
        partner,
        offer: offer_id,
        transaction_id: reader.name_or_empty(&TRANSACTION_ID),
        client_event_id: reader
            .name(&["event_id"])
            .map_or_else(|| sender.event_name(source).to_owned(), Cow::into_owned),
        amount: earned.money,
        stated_amount: earned.stated,
        status,
        source: source_id,
        trust: sender.trust,
        occurred_at: reader.occurred_at(sender.incoming.received_at),
        metadata: String::new(),
        labels: Vec::new(),
        test: sender.is_test,
        fault: references.fault.take(),
        nonce: sender.nonce(source),
        pixel: sender.pixel.map(|pixel| pixel.id),
    };
    Ok(finished(reader, conversion, metadata, labels, references.has_unknown))
}

/// The source for which the request speaks: that of a postback is who sent it, whatever else it says.
///
/// # Errors
/// The refusal of whoever names a source without speaking for it.
pub(crate) fn named_source<'c>(
    reader: &mut Reader<'_>,
    references: &mut References<'c>,
    sender: &Sender<'c>,
) -> Result<(Option<SourceId>, Option<&'c Source>), Refusal> {
    let (id, source) = match sender.source {
        Some(source) => {
            reader.take(&["source"]);
            (Some(source.id), Some(source))
        }
        None => references.source(reader),
    };
    if let (Some(source), None) = (source, sender.source) {
        sender.check_named(source)?;
    }
    let signed = sender.incoming.signed.filter(|_| source.is_some_and(is_signed));
    if signed.is_some_and(|signed| signed.has_repeated_name()) {
        reader.fault("query", "a parameter of a signed request stands more than once");
    }
    Ok((id, source))
}

/// Adds what is left of the fields, and the labels.
fn finished(
    reader: Reader<'_>,
    mut conversion: Conversion,
    metadata: Map<String, Value>,
    mut labels: Vec<String>,
    has_unknown_reference: bool,
) -> Reading {
    if reader.is_repeated() {
        labels.push(label::REPEATED_PARAMETER.to_owned());
    }
    if reader.is_unresolved {
        labels.push(label::UNRESOLVED_MACRO.to_owned());
    }
    let finished = reader.finish(metadata);
    if finished.is_dropped {
        labels.push(label::DROPPED_PARAMETER.to_owned());
    }
    conversion.metadata = finished.metadata;
    conversion.labels = labels;
    Reading { conversion, faults: finished.faults, has_unknown_reference }
}

/// The status. Of a source it may be in its own words, and one that nobody knows is kept; others use ours.
fn read_status(
    reader: &mut Reader<'_>,
    source: Option<&Source>,
    metadata: &mut Map<String, Value>,
    labels: &mut Vec<String>,
) -> Option<Status> {
    let (name, word) = reader.text(&["status"], MAX_TEXT_BYTES)?;
    let known = match source {
        Some(source) => status_words::meaning(source, &word),
        None => Status::from_word(&word),
    };
    match (known, source) {
        (Some(status), _) => Some(status),
        (None, Some(_)) => {
            labels.push(label::UNKNOWN_STATUS.to_owned());
            metadata.entry(STATUS_WORD).or_insert_with(|| Value::String(word.into_owned()));
            Some(Status::Pending)
        }
        (None, None) => {
            let words = Status::ALL.map(Status::as_str).join(", ");
            reader.fault(name, format!("must be one of {words}"));
            None
        }
    }
}

/// The first fault, as it is stored in a request that must be kept.
pub(crate) fn kept(fault: &FieldError) -> Fault {
    Fault { reason: INVALID_VALUE.to_owned(), field: fault.field.clone(), message: fault.message.clone() }
}
