//! `GET /api/v1/receipts/{id}`: what became of an accepted request.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use schemas::fact::{OutcomeStatus, reason};
use schemas::id::{ConversionKind, EventId, EventKind};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::auth::{Allowed, Receipts};
use crate::error::Error;
use crate::params::Params;
use crate::reference::id_text;
use crate::show::{instant, text};
use crate::sql::{Select, Statement, Table, Tenant, Values};
use crate::state::Desk;
use crate::store::Workspace;

/// The longest wait that a request may ask for, in seconds.
pub(crate) const MAX_WAIT_SECONDS: usize = 10;
/// The first pause between two looks; each is twice as long as the one before, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long an event that nobody has decided yet counts as accepted: as long as deliveries are remembered.
const ACCEPTED_MS: u64 = 8 * 24 * 60 * 60 * 1000;
/// How far an edge's clock may be ahead of ours.
const CLOCK_SKEW_MS: u64 = 5 * 60 * 1000;

/// What became of a request.
#[derive(Debug, Serialize)]
pub(crate) struct Receipt {
    id: String,
    /// Null as long as it is not decided: the id does not say what it was.
    r#type: Option<String>,
    status: String,
    conversion: Option<String>,
    original: Option<String>,
    reason: Option<String>,
    fix: Option<&'static str>,
    received_at: Option<Timestamp>,
    decided_at: Option<Timestamp>,
}

/// How an event ended, or that it waits.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    subject: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    conversion_hex: String,
    original_hex: String,
    received_us: i64,
    core_us: i64,
}

pub(crate) async fn one(
    caller: Allowed<Receipts>,
    State(desk): State<Desk>,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Receipt>, Error> {
    let wait = params.take_number("wait", 0..=MAX_WAIT_SECONDS)?.unwrap_or(0);
    params.finish()?;
    let unknown = || Error::not_found("receipt");
    let id: EventId = id.parse().map_err(|_| unknown())?;
    if id.workspace() != caller.workspace {
        return Err(unknown());
    }
    let decided = watch(&desk, id, Duration::from_secs(wait as u64)).await?;
    match decided {
        Some(row) => Ok(Json(row.show(id))),
        None if is_fresh(id, desk.now()) => Ok(Json(accepted(id))),
        None => Err(unknown()),
    }
}

/// Looks for the outcome until it is an end, or the time is over: a parked event may still be settled.
async fn watch(desk: &Desk, id: EventId, wait: Duration) -> Result<Option<Row>, Error> {
    let deadline = Instant::now() + wait;
    let place = if wait.is_zero() { None } else { desk.place_to_wait() };
    let mut pause = FIRST_PAUSE;
    loop {
        let found = find(desk, &desk.workspace(id.workspace())?, id).await?;
        let is_end = found.as_ref().is_some_and(|row| row.status != OutcomeStatus::Parked.as_str());
        // When too many wait already, this one is told at once what is known.
        if is_end || place.is_none() || Instant::now() + pause > deadline {
            return Ok(found);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The last outcome of an event, as far as the rows say.
pub(crate) async fn find(desk: &Desk, workspace: &Workspace, id: EventId) -> Result<Option<Row>, Error> {
    let cut = desk.last_cut(workspace).await?;
    let rows: Vec<Row> = desk.fetch(outcome(id, workspace.up_to(cut))).await?;
    Ok(rows.into_iter().next())
}

/// The last outcome of an event. Only finished cuts are looked at: what a receipt says, reports count.
fn outcome(id: EventId, tenant: Tenant) -> Statement {
    let mut values = Values::of(tenant.generation);
    let event = values.bind_id(id.bytes());
    let columns = [
        "subject",
        "status",
        "reason",
        "lower(hex(conversion)) AS conversion_hex",
        "lower(hex(original)) AS original_hex",
        "toUnixTimestamp64Micro(received_at) AS received_us",
        "toUnixTimestamp64Micro(core_time) AS core_us",
    ];
    let text = Select {
        columns: columns.map(str::to_owned).to_vec(),
        table: Table::Outcomes,
        conditions: vec![format!("event = {event}")],
        tail: "ORDER BY row_seq DESC LIMIT 1".to_owned(),
    }
    .text(tenant, &mut values);
    values.statement("outcome", text)
}

fn is_fresh(id: EventId, now: Timestamp) -> bool {
    let made = id.unix_ms();
    let now = now.unix_ms();
    made <= now.saturating_add(CLOCK_SKEW_MS) && now <= made.saturating_add(ACCEPTED_MS)
}

fn accepted(id: EventId) -> Receipt {
    let made = i64::try_from(id.unix_ms().saturating_mul(1_000)).ok();
    Receipt {
        id: id.to_string(),
        r#type: None,
        status: "accepted".to_owned(),
        conversion: None,
        original: None,
        reason: None,
        fix: None,
        received_at: made.map(Timestamp::from_micros),
        decided_at: None,
    }
}

impl Row {
    fn show(self, id: EventId) -> Receipt {
        let is_parked = self.status == OutcomeStatus::Parked.as_str();
        Receipt {
            id: id.to_string(),
            r#type: Some(self.subject),
            fix: fix(&self.reason),
            status: self.status,
            conversion: id_text::<ConversionKind>(&self.conversion_hex),
            original: id_text::<EventKind>(&self.original_hex),
            reason: text(self.reason),
            received_at: instant(self.received_us),
            decided_at: instant(self.core_us).filter(|_| !is_parked),
        }
    }
}

/// What the sender can do about a reason; none where there is nothing to be done.
fn fix(code: &str) -> Option<&'static str> {
    Some(match code {
        "" => return None,
        reason::UNREADABLE => {
            "The record was written by a newer version: upgrade the processor, or report a fault."
        }
        reason::UNKNOWN_CLICK => {
            "Send the click id exactly as the destination received it, from a click of this workspace."
        }
        reason::TOO_MANY_PARKED => {
            "Too many conversions wait for clicks that never came: check the click ids, then send it again."
        }
        reason::UNKNOWN_WORKSPACE => "The workspace does not exist any more.",
        reason::NO_RATE => "Send the amount in the workspace's currency.",
        reason::UNTRUSTED_SENDER => "Send it with a secret key or a source's token, or approve it by hand.",
        reason::MANUAL_APPROVAL => "The goal wants approval by hand: approve or reject the conversion.",
        reason::AMOUNT_OUT_OF_RANGE => "Send an amount that is not larger than what was really paid.",
        reason::STATUS_NOT_REACHABLE => "The conversion cannot go from its status to the one that was sent.",
        reason::UNKNOWN_CONVERSION => "Send the id of a conversion of this workspace.",
        reason::VERSION_MISMATCH => {
            "Somebody was faster: look at the conversion, and send its version if it shall still be so."
        }
        reason::DIFFERENT_CONTENT => {
            "The transaction id was used before with other content: send a new one, or the same content."
        }
        _ => "Look up the reason, correct the request and send it again.",
    })
}

#[cfg(test)]
mod tests {
    use schemas::id::{IdGenerator, WorkspaceNumber};

    use super::*;

    #[test]
    fn an_event_is_accepted_for_eight_days_and_never_from_the_future() {
        let made_ms = 1_795_179_600_000;
        let id: EventId = IdGenerator::new(1).next(made_ms, WorkspaceNumber::new(1).unwrap());
        let at = |ms: u64| Timestamp::from_micros(i64::try_from(ms * 1_000).unwrap());
        assert!(is_fresh(id, at(made_ms)));
        assert!(is_fresh(id, at(made_ms + ACCEPTED_MS)));
        assert!(!is_fresh(id, at(made_ms + ACCEPTED_MS + 1)));
        assert!(is_fresh(id, at(made_ms - CLOCK_SKEW_MS)));
        assert!(!is_fresh(id, at(made_ms - CLOCK_SKEW_MS - 1)));
    }
}
