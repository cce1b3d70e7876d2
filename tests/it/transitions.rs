//! A conversion is moved by hand, through its whole life; history and reports follow.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Engines, Stack, on_both_engine_sets, wait_for};

on_both_engine_sets!(a_conversion_is_moved_through_its_life_by_hand);

/// Moves the conversion, and gives it as it is then. An answer that took too long is a receipt, which says the rest.
async fn moved(stack: &Stack, conversion: &str, body: Value) -> Value {
    let path = format!("/conversions/{conversion}/transitions");
    let (status, answer) = stack.try_api(Method::POST, &path, Some(body.clone())).await;
    match status {
        StatusCode::OK => answer,
        StatusCode::ACCEPTED => {
            let settled = stack.receipt(answer["receipt"].as_str().unwrap()).await;
            assert_eq!((&settled["type"], &settled["status"]), (&json!("command"), &json!("updated")));
            stack.api(Method::GET, &format!("/conversions/{conversion}"), None).await
        }
        _ => panic!("{body}: {status} {answer}"),
    }
}

/// What a refused command is told: status, field, the version and status that the conversion has.
async fn refused(stack: &Stack, conversion: &str, body: Value) -> (u16, Value, Value, Value) {
    let path = format!("/conversions/{conversion}/transitions");
    let answer = wait_for("a refusal", async || {
        let (status, answer) = stack.try_api(Method::POST, &path, Some(body.clone())).await;
        // A busy machine may not have decided in time; a refused command can be sent again.
        if status == StatusCode::ACCEPTED { Err(answer.to_string()) } else { Ok((status, answer)) }
    })
    .await;
    let (status, answer) = answer;
    let field = |name: &str| answer[name].clone();
    (status.as_u16(), field("field"), field("current_version"), field("current_status"))
}

async fn history(stack: &Stack, conversion: &str) -> Vec<Value> {
    let answer = stack.api(Method::GET, &format!("/conversions/{conversion}/history"), None).await;
    answer["items"].as_array().unwrap().clone()
}

async fn a_conversion_is_moved_through_its_life_by_hand(engines: Engines) {
    let stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let click = stack.click("anna").await;
    let sale = json!({"click_id": click.id, "transaction_id": "T-1", "amount": "80.00", "status": "pending"});
    let receipt = stack.convert(sale).await;
    let settled = stack.receipt(&receipt).await;
    let conversion = settled["conversion"].as_str().unwrap().to_owned();
    stack.await_totals(&json!({"conversions": 1, "revenue": "80.00", "payout": "8.00"})).await;

    let steps = [("hold", 2), ("approved", 3), ("paid", 4)];
    for (to, version) in steps {
        let body = json!({"to": to, "reason": "checked", "note": "by hand", "expected_version": version - 1});
        let answer = moved(&stack, &conversion, body).await;
        assert_eq!((&answer["status"], &answer["version"]), (&json!(to), &json!(version)), "{answer}");
        assert_eq!(answer["reason"], "checked");
    }
    let wrong = json!({"to": "reversed", "reason": "r", "expected_version": 3});
    let current = (json!(4), json!("paid"));
    let expected = (409, json!("expected_version"), current.0.clone(), current.1.clone());
    assert_eq!(refused(&stack, &conversion, wrong).await, expected);
    let no_step = json!({"to": "hold", "reason": "r"});
    assert_eq!(refused(&stack, &conversion, no_step).await, (409, json!("to"), current.0, current.1));
    let never = click.id.replace("click_", "conv_");
    let unknown = refused(&stack, &never, json!({"to": "paid", "reason": "r"})).await;
    assert_eq!((unknown.0, unknown.1), (404, Value::Null));
    stack.await_totals(&json!({"conversions": 1, "revenue": "80.00", "payout": "8.00"})).await;

    let answer = moved(&stack, &conversion, json!({"to": "reversed", "reason": "charged back"})).await;
    assert_eq!((&answer["status"], &answer["version"]), (&json!("reversed"), &json!(5)));
    // Whoever has the conversion finds it in history and reports as well.
    let items = history(&stack, &conversion).await;
    stack.await_totals(&json!({"conversions": 0, "revenue": "0.00", "payout": "0.00"})).await;
    let words = items.iter().map(|it| it["after"]["status"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(words, ["pending", "hold", "approved", "paid", "reversed"]);
    assert_eq!(items[0]["actor"], json!({"type": "source", "id": "default"}));
    assert_eq!((&items[0]["before"], &items[0]["request_id"]), (&Value::Null, &Value::Null));
    for (before, item) in items.iter().zip(&items[1..]) {
        assert_eq!(item["before"], before["after"], "{item}");
        assert_eq!(item["actor"]["type"], "key");
        assert!(item["actor"]["id"].as_str().unwrap().starts_with("key_"), "{item}");
        assert!(item["request_id"].as_str().unwrap().starts_with("req_"), "{item}");
        assert_eq!((&item["change"], item["at"].is_string()), (&json!("status"), true));
    }
    assert_eq!((&items[1]["reason"], &items[1]["note"]), (&json!("checked"), &json!("by hand")));
    assert_eq!((&items[4]["reason"], &items[4]["note"]), (&json!("charged back"), &Value::Null));
    assert_eq!(items[4]["before"]["payout"], json!({"amount": "8.00", "currency": "USD"}));
    stack.assert_balance().await;
}
