//! The payouts of a partner's own.

use super::*;

#[tokio::test]
async fn a_partner_has_payouts_of_its_own() {
    let (_installation, desk) = desk().await;
    let offer = json!({"name": "Shoes", "destination_url": "https://shop.example/", "currency": "EUR",
        "external_source": "crm", "external_id": "7"});
    let offer = desk.made("/offers", offer).await["id"].clone();
    let body = json!({"name": "Anna", "payouts": [
        {"offer": "ext:crm:7", "type": "percent", "percent": "12.5"},
        {"offer": offer, "goal": "sale", "type": "fixed", "amount": "2.5"},
        {"offer": offer, "goal": "lead", "type": "fixed", "amount_minor": 300, "currency": "USD"},
        {"offer": offer, "goal": "trial", "type": "none"},
    ]});
    let made = desk.made("/partners", body).await;
    let payouts = json!([
        {"offer": offer, "goal": null, "type": "percent", "percent": "12.5"},
        {"offer": offer, "goal": "sale", "type": "fixed", "amount": {"amount": "2.50", "currency": "EUR"}},
        {"offer": offer, "goal": "lead", "type": "fixed", "amount": {"amount": "3.00", "currency": "USD"}},
        {"offer": offer, "goal": "trial", "type": "none"},
    ]);
    assert_eq!(made["payouts"], payouts);
    let path = format!("/partners/{}", text(&made["id"]));
    let renamed = desk.patch(&path, json!({"name": "Berta"})).await.ok();
    assert_eq!(renamed["payouts"], payouts, "a patch keeps what it does not name");
    let again = desk.patch(&path, json!({"payouts": payouts})).await.ok();
    assert_eq!(again["payouts"], payouts, "an answer can be sent back");
    let cleared = desk.patch(&path, json!({"payouts": null})).await.ok();
    assert_eq!(cleared["payouts"], json!([]));
}

#[tokio::test]
async fn every_fault_of_a_payout_is_named() {
    let (_installation, desk) = desk().await;
    let offer = desk.offer().await;
    let body = json!({"name": "Anna", "payouts": [
        {"type": "none"},
        {"offer": "ext:crm:8", "type": "none"},
        {"offer": offer, "goal": "a b", "type": "gift"},
        {"offer": offer, "goal": "sale"},
        {"offer": offer, "goal": "lead", "type": "percent"},
        {"offer": offer, "goal": "trial", "type": "fixed", "amount": 5},
        {"offer": offer, "type": "none", "percent": "1"},
        {"offer": offer, "type": "none"},
    ]});
    let mut fields = desk.post("/partners", body).await.fields();
    fields.sort();
    assert_eq!(
        fields,
        [
            "payouts[0].offer",
            "payouts[1].offer",
            "payouts[2].goal",
            "payouts[2].type",
            "payouts[3].type",
            "payouts[4].percent",
            "payouts[5].amount",
            "payouts[6].percent",
            "payouts[7].offer",
        ]
    );
    assert_eq!(desk.get("/partners").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn a_partners_coupons_are_nobody_elses() {
    let (_installation, desk) = desk().await;
    let anna = desk.made("/partners", json!({"name": "Anna", "coupons": ["ANNA10", "Sommer"]})).await;
    assert_eq!(anna["coupons"], json!(["ANNA10", "Sommer"]));
    let other = desk.post("/partners", json!({"name": "Berta", "coupons": ["anna10"]})).await;
    other.is(409, "conflict", "coupons");
    desk.post("/partners", json!({"name": "Berta", "coupons": [" x"]})).await.is(
        400,
        "validation_failed",
        "coupons[0]",
    );
    let path = format!("/partners/{}", text(&anna["id"]));
    assert_eq!(desk.patch(&path, json!({"coupons": []})).await.ok()["coupons"], json!([]));
    desk.made("/partners", json!({"name": "Berta", "coupons": ["anna10"]})).await;
}
