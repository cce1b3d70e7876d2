//! Transitions: the desk puts a command into the log, waits for its result and its rows, and answers.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use catalog::{KeyKind, Scope};
use eventlog::{EventLog, NewRecord, Partition, ProducerUse};
use schemas::event::{Actor, Command, Event, Status};
use schemas::fact::OutcomeStatus;
use schemas::id::{ConversionId, ConversionKind};
use schemas::result::{CommandResult, ConversionNow};
use schemas::{topic, wire};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Answer, Harness, NOW, STOP_DEADLINE};
use crate::rows::{self, NONE, Outcome, Revision};

const EVENTS: Partition = Partition { topic: topic::EVENTS, number: 0 };
const RESULTS: Partition = Partition { topic: topic::RESULTS, number: 0 };
const SOON: Duration = Duration::from_secs(30);

/// A desk, and a pending conversion.
async fn start() -> (Harness, ConversionId) {
    let mut harness = Harness::start().await;
    let conversion = harness.id::<ConversionKind>(NOW, harness.first.number);
    show(&harness, conversion, 1, None, Status::Pending).await;
    rows::finish_cut(&harness.sink, 1, NOW).await;
    (harness, conversion)
}

/// Puts a revision of the conversion into the rows.
async fn show(harness: &Harness, id: ConversionId, version: u32, before: Option<Status>, after: Status) {
    let revision = Revision {
        workspace: harness.first.number,
        at: NOW,
        conversion: *id.bytes(),
        version,
        offer: NONE,
        partner: *harness.first.partners[0].bytes(),
        sub1: String::new(),
        goal: "sale",
        before,
        after,
        revenue: 80_000_000,
        payout: 8_000_000,
        payout_rule: "offer_goal",
        test: false,
        cut: u64::from(version),
    };
    rows::revisions(&harness.sink, std::slice::from_ref(&revision)).await;
    rows::conversions(&harness.sink, &[revision], "USD").await;
}

fn transition(harness: &Harness, key: &str, id: &str, body: &Value) -> impl Future<Output = Answer> + use<> {
    let request = Request::post(format!("/api/v1/conversions/{id}/transitions"))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .header("x-request-id", "req_mine")
        .body(Body::from(body.to_string()))
        .unwrap();
    harness.send_owned(request)
}

/// A transition that is under way.
fn ask(harness: &Harness, key: &str, conversion: ConversionId, body: &Value) -> JoinSet<Answer> {
    let mut asked = JoinSet::new();
    asked.spawn(transition(harness, key, &conversion.to_string(), body));
    asked
}

async fn answer(mut asked: JoinSet<Answer>) -> Answer {
    asked.join_next().await.unwrap().unwrap()
}

/// The command that is in the log at this position, once it is there.
async fn command(log: &dyn EventLog, position: u64) -> (Event, Command) {
    let mut subscription = log.subscribe(&[(EVENTS, position)]).await.unwrap();
    let batch = subscription.next(1, SOON).await.unwrap().unwrap();
    let event = wire::decode_event(batch.records[0].payload.clone()).unwrap();
    let schemas::event::Body::Command(command) = event.body.clone() else { panic!("{event:?}") };
    (event, *command)
}

async fn tell(log: &dyn EventLog, result: CommandResult) {
    let usage = ProducerUse { name: "test", deadline: SOON, max_pending_bytes: 8 << 20 };
    let producer = log.producer(usage).unwrap();
    let record = NewRecord { key: Vec::new().into(), payload: wire::encode_result(&result) };
    producer.append(RESULTS, vec![record]).await[0].as_ref().unwrap();
}

async fn settle(harness: &Harness, event: &Event, status: &'static str, reason: &'static str, cut: u64) {
    let outcome = Outcome {
        workspace: event.workspace,
        event: *event.id.bytes(),
        subject: "command",
        status,
        reason,
        conversion: NONE,
        original: NONE,
        row_seq: cut,
        cut,
    };
    rows::outcomes(&harness.sink, &[outcome]).await;
    rows::finish_cut(&harness.sink, cut, NOW).await;
}

#[tokio::test]
async fn the_answer_is_the_conversion_once_the_rows_show_it() {
    let (harness, conversion) = start().await;
    let key = harness.first.admin.clone();
    let body = json!({"to": "approved", "reason": "checked", "note": "by hand", "expected_version": 1});
    let asked = ask(&harness, &key, conversion, &body);
    let (event, command) = command(harness.log.as_ref(), 0).await;
    assert_eq!((event.workspace, event.received_at), (harness.first.number, NOW));
    assert_eq!(event.catalog, harness.follower.revision());
    let Actor::Key(_) = command.actor else { panic!("{command:?}") };
    let said = (command.reason.as_str(), command.note.as_str(), command.request_id.as_str());
    assert_eq!(said, ("checked", "by hand", "req_mine"));
    assert_eq!((command.conversion, command.to), (conversion, Status::Approved));
    assert_eq!((command.expected_version, command.test), (Some(1), false));
    let now = ConversionNow { id: conversion, version: 2, status: Status::Approved };
    let (status, reason) = (OutcomeStatus::Updated, String::new());
    let (workspace, id) = (event.workspace, event.id);
    let result = CommandResult { workspace, event: id, status, reason, conversion: Some(now) };
    tell(harness.log.as_ref(), result).await;
    show(&harness, conversion, 2, Some(Status::Pending), Status::Approved).await;
    settle(&harness, &event, "updated", "", 2).await;
    let answered = answer(asked).await.ok();
    assert_eq!((&answered["status"], &answered["version"]), (&"approved".into(), &2.into()));
    let receipt = harness.get(&format!("/api/v1/receipts/{}", event.id)).await.ok();
    assert_eq!((&receipt["type"], &receipt["status"]), (&"command".into(), &"updated".into()));

    // The next command is the next delivery of the same life.
    let asked = ask(&harness, &key, conversion, &body);
    let (next, _) = self::command(harness.log.as_ref(), 1).await;
    let (first, second) = (event.mark.unwrap(), next.mark.unwrap());
    assert_eq!((second.edge, first.number, second.number), (first.edge, 0, 1));
    settle(&harness, &next, "conflict", "version_mismatch", 3).await;
    assert_eq!(answer(asked).await.refused().0, 409);
    harness.stop().await;
}

#[tokio::test]
async fn what_was_refused_is_told_at_once_and_by_the_rows_if_the_result_is_lost() {
    let (harness, conversion) = start().await;
    let key = harness.first.admin.clone();
    let now = Some(ConversionNow { id: conversion, version: 4, status: Status::Paid });
    let cases = [
        ("version_mismatch", "expected_version", "the conversion has version 4"),
        ("status_not_reachable", "to", "the conversion is paid and cannot become hold"),
    ];
    let body = json!({"to": "hold", "reason": "checked"});
    for (position, (reason, field, message)) in (0..).zip(cases) {
        let asked = ask(&harness, &key, conversion, &body);
        let (event, _) = command(harness.log.as_ref(), position).await;
        let (workspace, id, status) = (event.workspace, event.id, OutcomeStatus::Conflict);
        let result = CommandResult { workspace, event: id, status, reason: reason.into(), conversion: now };
        tell(harness.log.as_ref(), result).await;
        let answered = answer(asked).await;
        let body = answered.json();
        assert_eq!((&body["current_version"], &body["current_status"]), (&4.into(), &"paid".into()));
        assert_eq!((&body["field"], &body["message"]), (&field.into(), &message.into()));
        assert_eq!(answered.refused(), (409, "conflict".into(), Some(field.into())));
    }
    // Nobody tells; the rows do.
    let asked = ask(&harness, &key, conversion, &body);
    let (event, _) = command(harness.log.as_ref(), 2).await;
    settle(&harness, &event, "conflict", "no_rate", 2).await;
    let answered = answer(asked).await;
    let current = (answered.json()["current_version"].clone(), answered.json()["current_status"].clone());
    assert_eq!((answered.status, current), (StatusCode::CONFLICT, (1.into(), "pending".into())));
    let asked = ask(&harness, &key, conversion, &body);
    let (event, _) = command(harness.log.as_ref(), 3).await;
    settle(&harness, &event, "rejected", "unknown_conversion", 3).await;
    assert_eq!(answer(asked).await.refused().0, 404);
    harness.stop().await;
}

#[tokio::test]
async fn what_has_not_ended_in_time_is_accepted_and_has_a_receipt() {
    let (harness, conversion) = start().await;
    let body = json!({"to": "approved", "reason": "checked"});
    let answer = transition(&harness, &harness.first.admin, &conversion.to_string(), &body).await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::ACCEPTED, &"accepted".into()));
    let (event, _) = command(harness.log.as_ref(), 0).await;
    assert_eq!(answer.json()["receipt"], event.id.to_string());
    let receipt = harness.get(&format!("/api/v1/receipts/{}", event.id)).await.ok();
    assert_eq!(receipt["status"], "accepted");
    harness.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_command_is_never_appended() {
    let (mut harness, conversion) = start().await;
    let number = harness.first.number;
    let reader = harness.add_key(number, &[Scope::Read], KeyKind::Secret).await;
    let body = json!({"to": "approved", "reason": "checked"});
    let ours = conversion.to_string();
    let foreign = harness.id::<ConversionKind>(NOW, harness.second.number).to_string();
    let admin = harness.first.admin.clone();
    for (key, id, body, status) in [
        (&reader, &ours, body.clone(), 403),
        (&admin, &foreign, body.clone(), 404),
        (&harness.second.admin, &ours, body.clone(), 404),
        (&admin, &"conv_1".to_owned(), body.clone(), 404),
        (&admin, &ours, json!({"to": "approved"}), 400),
        (&admin, &ours, json!({"to": "gone", "reason": "r"}), 400),
    ] {
        let answer = transition(&harness, key, id, &body).await;
        assert_eq!(answer.refused().0, status, "{id} {body}");
    }
    let bounds = harness.log.bounds(EVENTS).await.unwrap();
    assert_eq!(bounds.end, 0);
    harness.stop().await;
}

#[tokio::test]
async fn without_the_log_the_desk_says_so() {
    let harness = Harness::start().await;
    let conversion: ConversionId = schemas::id::IdGenerator::new(3).next(NOW.unix_ms(), harness.first.number);
    let body = json!({"to": "approved", "reason": "checked"});
    harness.log.close(STOP_DEADLINE).await;
    let answer = transition(&harness, &harness.first.admin, &conversion.to_string(), &body).await;
    assert_eq!(answer.refused().0, 503);
    harness.stop().await;
}

#[tokio::test]
async fn the_history_has_every_revision_with_what_was_before_page_by_page() {
    let (harness, conversion) = start().await;
    for (version, before, after) in [
        (2, Status::Pending, Status::Approved),
        (3, Status::Approved, Status::Paid),
        (4, Status::Paid, Status::Reversed),
    ] {
        show(&harness, conversion, version, Some(before), after).await;
    }
    rows::finish_cut(&harness.sink, 3, NOW).await;
    let address = format!("/api/v1/conversions/{conversion}/history");
    let all = harness.get(&address).await.ok();
    assert_eq!(all["items"].as_array().unwrap().len(), 3, "the last cut is not finished");
    assert_eq!((&all["items"][0]["before"], &all["items"][0]["version"]), (&Value::Null, &1.into()));
    rows::finish_cut(&harness.sink, 4, NOW).await;
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = harness.get(&format!("{address}?take=1{cursor}")).await.ok();
        items.extend(page["items"].as_array().unwrap().clone());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let steps: Vec<_> = items.iter().map(|it| (&it["before"]["status"], &it["after"]["status"])).collect();
    let (pending, approved) = (Value::from("pending"), Value::from("approved"));
    let (paid, reversed) = (Value::from("paid"), Value::from("reversed"));
    let expected = [(&Value::Null, &pending), (&pending, &approved), (&approved, &paid), (&paid, &reversed)];
    assert_eq!(steps, expected);
    let other = conversion.to_string().replace("conv_", "click_");
    assert_eq!(harness.get(&format!("/api/v1/conversions/{other}/history")).await.refused().0, 404);
    harness.stop().await;
}
