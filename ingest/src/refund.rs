//! `POST /api/v1/conversions/{id}/refund` and `POST /api/v1/refunds`: money of a conversion went back.
//!
//! A refund names its conversion by our id, or by transaction, goal and source as the conversion was reported. Whether
//! there is such a conversion, and that much to give back, is the core's to decide.

use std::borrow::Cow;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use schemas::event::{Body, Refund, label};
use schemas::id::ConversionId;

use crate::conversion_fields::{DEFAULT_GOAL, MAX_GOAL_BYTES, TRANSACTION_ID, named_source};
use crate::edge::Edge;
use crate::error::Refusal;
use crate::fields::{Field, Fields};
use crate::metrics::Route;
use crate::money_fields::take_money;
use crate::post::{self, Read};
use crate::reader::Reader;
use crate::reference::References;
use crate::sender::Sender;

/// Bytes of a reason.
const MAX_REASON_BYTES: usize = 1_024;
const CONVERSION: [&str; 2] = ["conversion", "conversion_id"];

/// Answers a refund of the conversion in the path.
pub(crate) async fn of_conversion(
    State(edge): State<Edge>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    post::answer(&edge, Route::Refunds, request, |mut fields, sender| {
        let Ok(Path(id)) = &id else {
            return Err(Refusal::invalid(CONVERSION[0], "the path's id is not UTF-8"));
        };
        fields.put(CONVERSION[0], Field::Text(id.clone().into()));
        read(fields, sender)
    })
    .await
}

/// Answers a refund of the conversion with a transaction id.
pub(crate) async fn of_transaction(State(edge): State<Edge>, request: Request) -> Response {
    post::answer(&edge, Route::Refunds, request, read).await
}

/// Reads a refund.
pub(crate) fn read(fields: Fields<'_>, sender: &Sender<'_>) -> Result<Read, Refusal> {
    sender.check_secret()?;
    let mut references = References::new(sender.catalog, sender.workspace.number);
    let mut reader = Reader::new(fields, false);
    let (source_id, source) = named_source(&mut reader, &mut references, sender)?;
    let conversion: Option<ConversionId> = reader.id(&CONVERSION);
    let transaction_id = reader.name_or_empty(&TRANSACTION_ID);
    if conversion.is_none() && transaction_id.is_empty() && reader.faults.is_empty() {
        reader.fault(TRANSACTION_ID[0], "must be given, where no conversion is");
    }
    let refund_id = reader.name(&["refund_id", "event_id"]).map(Cow::into_owned);
    let refund_id = refund_id.unwrap_or_else(|| sender.event_name(source).to_owned());
    if refund_id.is_empty() {
        reader.fault("refund_id", "must be given: by it a repetition is recognised");
    }
    let reason = reader.text(&["reason"], MAX_REASON_BYTES).map(|(_, text)| text.into_owned());
    if reason.is_none() && reader.faults.is_empty() {
        reader.fault("reason", "must be given");
    }
    // Without a currency the conversion's is meant, which is not known here.
    let given_back = take_money(&mut reader, None);
    let goal = reader.text(&["event"], MAX_GOAL_BYTES).map(|(_, key)| key.into_owned());
    let mut refund = Refund {
        refund_id,
        conversion,
        transaction_id,
        goal: goal.unwrap_or_else(|| DEFAULT_GOAL.to_owned()),
        source: source_id,
        amount: given_back.money,
        stated_amount: given_back.stated,
        reason: reason.unwrap_or_default(),
        trust: sender.trust,
        occurred_at: reader.occurred_at(sender.incoming.received_at),
        labels: sender.labels.to_vec(),
        nonce: sender.nonce(source),
        test: sender.is_test,
        fault: references.fault.take(),
    };
    if reader.is_repeated() {
        refund.labels.push(label::REPEATED_PARAMETER.to_owned());
    }
    if reader.fields.has_rest() {
        refund.labels.push(label::DROPPED_PARAMETER.to_owned());
    }
    if !reader.faults.is_empty() {
        return Err(Refusal::Invalid(reader.faults));
    }
    Ok(Read { body: Body::Refund(Box::new(refund)), is_incomplete: references.has_unknown, click: None })
}
