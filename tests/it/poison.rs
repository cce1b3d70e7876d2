//! Records that no edge of ours wrote end in one counted outcome, and can be seen as they are.

use std::process::{Command, Output};

use serde_json::json;

use crate::harness::{Engines, Stack, on_both_engine_sets, wait_for};

on_both_engine_sets!(a_record_that_means_nothing_is_rejected_and_printed_as_it_is);

/// Broken protobuf; a version that never was; an event without anything in it.
const POISON: [(&[u8], &str, &str); 3] = [
    (b"\xff\xffpoison", "broken encoding", "ffff706f69736f6e"),
    (b"\x08\x00", "version 0 is not known here", "0800"),
    (b"\x08\x01", "body is missing or impossible", "0801"),
];

async fn a_record_that_means_nothing_is_rejected_and_printed_as_it_is(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let click = stack.click("anna").await;
    let (partition, positions) = stack.append_raw(&POISON.map(|(payload, ..)| payload)).await;
    let body = json!({"click_id": click.id, "transaction_id": "after-the-poison", "amount": "10.00"});
    let receipt = stack.convert(body).await;
    assert_eq!(stack.receipt(&receipt).await["status"], "recorded");
    stack.await_totals(&json!({"clicks": 1, "conversions": 1})).await;
    stack.assert_balance().await;
    wait_for("rejected events", async || {
        match stack.processor_metric("tributary_processor_outcomes", "status=\"rejected\"").await {
            Some(3.0) => Ok(()),
            rejected => Err(format!("{rejected:?}")),
        }
    })
    .await;

    let printed = |position: u64| {
        let output = event(&stack, partition, position);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for ((payload, problem, digits), position) in POISON.into_iter().zip(&positions) {
        let text = printed(*position);
        let (head, bytes) = text.split_once("\n\n").unwrap_or_else(|| panic!("{text}"));
        assert_eq!(bytes.trim_end(), digits);
        assert!(
            head.starts_with(&format!("position  {position} of events/{partition}\nlog time  20")),
            "{head}"
        );
        assert!(
            head.contains(&format!("\nbytes     {}\n", payload.len())) && head.ends_with(problem),
            "{head}"
        );
    }
    // The conversion came behind it, in its words but without the key that it was sent with.
    let text = (positions[2] + 1..).map(printed).find(|text| text.contains("after-the-poison")).unwrap();
    assert!(text.contains(&receipt) && !text.contains(&stack.key), "{text}");
    let beyond = event(&stack, partition, 1_000_000);
    let said = String::from_utf8_lossy(&beyond.stderr).into_owned();
    assert!(!beyond.status.success() && said.lines().count() == 1, "{said}");
    assert!(
        said.contains(&format!("position 1000000 of events/{partition} is outside the log's 0..")),
        "{said}"
    );
}

/// `tributary event`, beside everything that runs.
fn event(stack: &Stack, partition: u32, position: u64) -> Output {
    let mut command: Command = stack.tool("event");
    command.args([position.to_string(), "--partition".to_owned(), partition.to_string()]).output().unwrap()
}
