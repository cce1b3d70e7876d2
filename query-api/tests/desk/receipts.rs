//! What became of a request.

use std::time::Duration;

use schemas::id::{EventId, EventKind};
use schemas::time::Timestamp;

use crate::harness::{Harness, NOW};
use crate::rows::{self, NONE, Outcome};

#[tokio::test]
async fn a_receipt_is_accepted_until_its_outcome_is_in_a_finished_cut() {
    let mut harness = Harness::start().await;
    let number = harness.first.number;
    let at = Timestamp::from_micros(NOW.micros() - 2_000_000);
    let id: EventId = harness.id::<EventKind>(at, number);
    let address = format!("/api/v1/receipts/{id}");
    insta::assert_json_snapshot!("receipt_accepted", harness.get(&address).await.ok());

    let parked = Outcome {
        workspace: number,
        event: *id.bytes(),
        subject: "conversion",
        status: "parked",
        reason: "",
        conversion: NONE,
        original: NONE,
        row_seq: 1,
        cut: 1,
    };
    rows::outcomes(&harness.sink, std::slice::from_ref(&parked)).await;
    assert_eq!(harness.get(&address).await.ok()["status"], "accepted", "the cut is not finished");
    rows::finish_cut(&harness.sink, 1, NOW).await;
    let answer = harness.get(&address).await.ok();
    assert_eq!((&answer["status"], &answer["decided_at"]), (&"parked".into(), &serde_json::Value::Null));

    let rejected = Outcome { status: "rejected", reason: "unknown_click", row_seq: 2, cut: 2, ..parked };
    rows::outcomes(&harness.sink, &[rejected]).await;
    rows::finish_cut(&harness.sink, 2, NOW).await;
    insta::assert_json_snapshot!("receipt_rejected", harness.get(&address).await.ok());
    harness.stop().await;
}

#[tokio::test]
async fn who_waits_is_answered_when_it_is_decided() {
    let mut harness = Harness::start().await;
    let number = harness.first.number;
    let id: EventId = harness.id::<EventKind>(NOW, number);
    let outcome = Outcome {
        workspace: number,
        event: *id.bytes(),
        subject: "click",
        status: "recorded",
        reason: "",
        conversion: NONE,
        original: NONE,
        row_seq: 1,
        cut: 1,
    };
    let address = format!("/api/v1/receipts/{id}?wait=10");
    let decide = async {
        rows::outcomes(&harness.sink, &[outcome]).await;
        rows::finish_cut(&harness.sink, 1, NOW).await;
    };
    let (answer, ()) = tokio::join!(harness.get(&address), decide);
    assert_eq!(answer.ok()["status"], "recorded");

    let undecided: EventId = harness.id::<EventKind>(NOW, number);
    let answer = harness.get(&format!("/api/v1/receipts/{undecided}?wait=1")).await.ok();
    assert_eq!(answer["status"], "accepted");
    harness.clock.advance(Duration::from_secs(8 * 86_400 + 1));
    assert_eq!(harness.get(&format!("/api/v1/receipts/{undecided}")).await.refused().0, 404);
    harness.stop().await;
}
