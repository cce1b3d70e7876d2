//! `POST /api/v1/conversions/{id}/transitions`: a conversion shall have another status.
//!
//! The workspace's order decides. The answer waits until the outcome is known and the rows of its cut are there, so that
//! whoever gets the conversion finds it in lists, history and reports as well.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use schemas::event::{Body, Command, Event, Status};
use schemas::fact::{OutcomeStatus, reason};
use schemas::id::{ConversionId, EventId};
use schemas::result::ConversionNow;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::find;
use crate::auth::{Allowed, Caller, Write};
use crate::body::JsonBody;
use crate::commands::Wait;
use crate::error::Error;
use crate::params::Params;
use crate::receipts;
use crate::resources::fields::{Fields, Purpose};
use crate::resources::value;
use crate::state::Desk;

/// How long an answer waits for the outcome and its rows.
const WAIT: Duration = Duration::from_secs(5);
/// The first pause between two looks at the rows; each is twice as long as the one before, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// Bytes of a reason.
const MAX_REASON_BYTES: usize = 200;
/// Bytes of a note.
const MAX_NOTE_BYTES: usize = 2_000;

/// A command that is durable and has not ended in time.
#[derive(Debug, Serialize)]
struct Accepted {
    receipt: String,
    status: &'static str,
}

/// What the body asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    to: Status,
    reason: String,
    note: String,
    expected_version: Option<u32>,
}

/// How a command ended.
#[derive(Debug)]
enum Ended {
    /// The conversion has the status, and the rows show it.
    Shown,
    /// It has another version than was expected, or no step to that status.
    Refused(String, Option<ConversionNow>),
    /// There is no such conversion.
    Unknown,
}

pub(crate) async fn transition(
    caller: Allowed<Write>,
    State(desk): State<Desk>,
    Path(id): Path<String>,
    params: Params,
    body: JsonBody<Map<String, Value>>,
) -> Result<Response, Error> {
    params.finish()?;
    let unknown = || Error::not_found("conversion");
    let conversion: ConversionId = id.parse().map_err(|_| unknown())?;
    if conversion.workspace() != caller.workspace {
        return Err(unknown());
    }
    let wanted = wanted(body.value)?;
    let workspace = desk.workspace(caller.workspace)?;
    let event = event(&desk, &caller, conversion, &wanted);
    let receipt = event.id;
    let place = desk.place_to_wait();
    // Before it is appended: its result may be there before the log's own answer is.
    let wait = desk.commands().expect(receipt);
    let appended = desk.commands().append(workspace.partition, event).await;
    appended.map_err(|error| Error::Unavailable { part: "the event log", reason: error.to_string() })?;
    let ended = match place {
        Some(_place) => ended(&desk, conversion, wait, receipt).await,
        // Too many wait already.
        None => None,
    };
    match ended {
        None => {
            let accepted = Accepted { receipt: receipt.to_string(), status: "accepted" };
            Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
        }
        Some(Ended::Shown) => {
            let row = find(&desk, &desk.workspace(caller.workspace)?, &id).await?;
            Ok(Json(row.show(&desk.catalog().read(), caller.workspace)).into_response())
        }
        Some(Ended::Refused(reason, now)) => Err(conflict(&wanted, &reason, now)),
        Some(Ended::Unknown) => Err(unknown()),
    }
}

fn wanted(body: Map<String, Value>) -> Result<Wanted, Error> {
    let mut fields = Fields::new(body, Purpose::Whole);
    let mut wanted =
        Wanted { to: Status::Pending, reason: String::new(), note: String::new(), expected_version: None };
    let words = Status::ALL.map(|status| (status.as_str(), status));
    fields.required("to", &mut wanted.to, |given| value::word(given, &words));
    fields.required("reason", &mut wanted.reason, |given| short(given, MAX_REASON_BYTES).and_then(filled));
    fields.defaulted("note", &mut wanted.note, String::new(), |given| short(given, MAX_NOTE_BYTES));
    fields.optional("expected_version", &mut wanted.expected_version, |given| {
        let version = given.as_u64().and_then(|number| u32::try_from(number).ok());
        version.filter(|number| *number > 0).ok_or_else(|| "must be a whole number from 1".to_owned())
    });
    fields.judge(Vec::new())?;
    Ok(wanted)
}

fn short(given: Value, limit: usize) -> Result<String, String> {
    let text = value::text(given)?;
    if text.len() > limit { Err(format!("may have at most {limit} bytes")) } else { Ok(text) }
}

fn filled(text: String) -> Result<String, String> {
    if text.trim().is_empty() { Err("must say why".to_owned()) } else { Ok(text) }
}

fn event(desk: &Desk, caller: &Caller, conversion: ConversionId, wanted: &Wanted) -> Event {
    let command = Command {
        conversion,
        to: wanted.to,
        expected_version: wanted.expected_version,
        reason: wanted.reason.clone(),
        note: wanted.note.clone(),
        actor: schemas::event::Actor::Key(caller.key),
        request_id: caller.request_id.clone(),
        test: caller.test,
    };
    Event {
        id: desk.new_id(caller.workspace),
        workspace: caller.workspace,
        mark: None,
        received_at: desk.now(),
        catalog: desk.catalog().revision(),
        body: Body::Command(Box::new(command)),
    }
}

/// Waits until the command has ended and, where the conversion stands as it shall, until the rows show it. `None` if the time
/// was over before.
async fn ended(desk: &Desk, conversion: ConversionId, mut wait: Wait, receipt: EventId) -> Option<Ended> {
    let deadline = Instant::now() + WAIT;
    let mut is_told = false;
    let mut pause = FIRST_PAUSE;
    loop {
        let look_at = Instant::now() + pause;
        if look_at > deadline {
            return None;
        }
        tokio::select! {
            result = wait.result(), if !is_told => {
                is_told = true;
                // What has not changed anything has no rows to wait for but its own.
                if let Some(ended) = refused(result.status, result.reason, result.conversion) {
                    return Some(ended);
                }
            }
            () = tokio::time::sleep_until(look_at) => {
                pause = (pause * 2).min(LONGEST_PAUSE);
                match look(desk, conversion, receipt).await {
                    Ok(Some(ended)) => return Some(ended),
                    Ok(None) => {}
                    // The command is on its way whatever becomes of the warehouse: the receipt says the rest.
                    Err(error) => tracing::warn!(%receipt, %error, "the rows of a command cannot be read"),
                }
            }
        }
    }
}

/// How a command ended by its rows, if they are there.
async fn look(desk: &Desk, conversion: ConversionId, receipt: EventId) -> Result<Option<Ended>, Error> {
    // Each look anew: a later generation may have begun to answer meanwhile, and it alone has the rows.
    let workspace = &desk.workspace(receipt.workspace())?;
    let Some(outcome) = receipts::find(desk, workspace, receipt).await? else { return Ok(None) };
    let status = OutcomeStatus::from_word(&outcome.status);
    let status = status.ok_or_else(|| Error::Internal(format!("an outcome {}", outcome.status)))?;
    if status != OutcomeStatus::Conflict {
        return Ok(Some(refused(status, outcome.reason, None).unwrap_or(Ended::Shown)));
    }
    let row = find(desk, workspace, &conversion.to_string()).await?;
    let now = Status::from_word(&row.status);
    let now = now.map(|status| ConversionNow { id: conversion, version: row.version, status });
    Ok(refused(status, outcome.reason, now))
}

/// How a command ended that was refused; `None` for one that was not.
fn refused(status: OutcomeStatus, reason: String, now: Option<ConversionNow>) -> Option<Ended> {
    match status {
        OutcomeStatus::Updated | OutcomeStatus::Duplicate | OutcomeStatus::Recorded => None,
        OutcomeStatus::Conflict => Some(Ended::Refused(reason, now)),
        OutcomeStatus::Rejected | OutcomeStatus::Parked => Some(Ended::Unknown),
    }
}

fn conflict(wanted: &Wanted, reason: &str, now: Option<ConversionNow>) -> Error {
    let version = now.map_or_else(|| "another".to_owned(), |now| now.version.to_string());
    let status = now.map_or("something else", |now| now.status.as_str());
    let to = wanted.to.as_str();
    let (message, field) = match reason {
        reason::VERSION_MISMATCH => (format!("the conversion has version {version}"), "expected_version"),
        reason::NO_RATE => (
            format!("the conversion's amount has no rate to the workspace's currency: it cannot become {to}"),
            "to",
        ),
        _ => (format!("the conversion is {status} and cannot become {to}"), "to"),
    };
    Error::Transition { message, field, now }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Wanted, Error> {
        let Value::Object(body) = body else { panic!("an object") };
        wanted(body)
    }

    #[test]
    fn a_body_says_what_and_why() {
        let plain = read(json!({"to": "approved", "reason": "checked"})).unwrap();
        let expected = Wanted {
            to: Status::Approved,
            reason: "checked".into(),
            note: String::new(),
            expected_version: None,
        };
        assert_eq!(plain, expected);
        let full = json!({"to": "paid", "reason": "r", "note": "n", "expected_version": 3});
        let expected =
            Wanted { to: Status::Paid, reason: "r".into(), note: "n".into(), expected_version: Some(3) };
        assert_eq!(read(full).unwrap(), expected);
        let nulls = json!({"to": "hold", "reason": "r", "note": null, "expected_version": null});
        assert_eq!(read(nulls).unwrap().expected_version, None);
    }

    #[test]
    fn a_body_that_says_something_else_is_refused_by_its_field() {
        let long = "x".repeat(MAX_NOTE_BYTES + 1);
        for (body, field) in [
            (json!({"reason": "r"}), "to"),
            (json!({"to": "gone", "reason": "r"}), "to"),
            (json!({"to": "paid"}), "reason"),
            (json!({"to": "paid", "reason": " "}), "reason"),
            (json!({"to": "paid", "reason": long}), "reason"),
            (json!({"to": "paid", "reason": "r", "note": long}), "note"),
            (json!({"to": "paid", "reason": "r", "expected_version": 0}), "expected_version"),
            (json!({"to": "paid", "reason": "r", "expected_version": "1"}), "expected_version"),
            (json!({"to": "paid", "reason": "r", "expected_version": 4_294_967_296_u64}), "expected_version"),
            (json!({"to": "paid", "reason": "r", "version": 1}), "version"),
        ] {
            assert_eq!(read(body.clone()).unwrap_err().body("").field.as_deref(), Some(field), "{body}");
        }
    }
}
