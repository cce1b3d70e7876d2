//! A conversion that arrives before its click waits for it; a delivery that stands in the log twice counts once.

use schemas::event::{Body, Click, Hit};
use schemas::id::{ClickId, LinkId, OfferId, PartnerId};
use serde_json::json;

use crate::harness::{Engines, ImaginaryEdge, Stack, first_workspace, now, on_both_engine_sets, wait_for};

on_both_engine_sets!(
    a_conversion_that_arrives_before_its_click_waits_for_it,
    a_delivery_that_reached_the_log_twice_counts_once,
);

/// A click as an edge would report it.
fn click(id: ClickId, offer: &str, partner: &str, link: &str) -> Click {
    let hit = Hit {
        link: Some(link.parse::<LinkId>().unwrap()),
        partner: Some(partner.parse::<PartnerId>().unwrap()),
        subs: vec!["late".to_owned()],
        ..Hit::new(offer.parse::<OfferId>().unwrap(), now())
    };
    Click {
        id,
        hit,
        ext_click_id: String::new(),
        destination_url: "https://shop.example/".to_owned(),
        choice: None,
    }
}

async fn a_conversion_that_arrives_before_its_click_waits_for_it(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    let campaign = stack.campaign("anna").await;
    let mut edge = ImaginaryEdge::new();
    let id: ClickId = edge.ids.next(now().unix_ms(), first_workspace());
    let body = Body::Click(Box::new(click(id, &campaign.offer, &campaign.partner, &campaign.link)));
    let receipt =
        stack.convert(json!({"click_id": id.to_string(), "transaction_id": "L-1", "amount": "20.00"})).await;
    assert_eq!(stack.receipt(&receipt).await["status"], "parked");

    let event = edge.event(body);
    stack.append(&[event]).await;
    let wanted = json!({"clicks": 1, "conversions": 1, "revenue": "20.00", "payout": "2.00"});
    stack.await_totals(&wanted).await;
    let settled = wait_for("the parked conversion", async || {
        let answer = stack.receipt(&receipt).await;
        if answer["status"] == "recorded" { Ok(answer) } else { Err(answer.to_string()) }
    })
    .await;
    assert!(settled["conversion"].is_string(), "{settled}");
    stack.assert_balance().await;
}

async fn a_delivery_that_reached_the_log_twice_counts_once(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    let campaign = stack.campaign("anna").await;
    let mut edge = ImaginaryEdge::new();
    let id: ClickId = edge.ids.next(now().unix_ms(), first_workspace());
    let body = Body::Click(Box::new(click(id, &campaign.offer, &campaign.partner, &campaign.link)));
    let event = edge.event(body);
    // Once more at once, and once more after a restart of every role: state remembers it.
    stack.append(&[event.clone(), event.clone()]).await;
    stack.await_totals(&json!({"clicks": 1})).await;
    stack.stop_all();
    stack.start_all();
    stack.append(&[event]).await;
    let receipt = stack.convert(json!({"click_id": id.to_string(), "amount": "1.00"})).await;
    assert_eq!(stack.receipt(&receipt).await["status"], "recorded");
    stack.await_totals(&json!({"clicks": 1, "conversions": 1, "revenue": "1.00"})).await;
    stack.assert_balance().await;
}
