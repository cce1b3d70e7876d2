//! Links and partners, references, and whose things are whose.

use super::*;

#[tokio::test]
async fn a_link_refers_in_every_form_and_answers_with_ids() {
    let (_installation, desk) = desk().await;
    let offer = desk.offer().await;
    let partner = json!({"name": "Anna", "slug": "anna", "external_source": "crm", "external_id": "a:1"});
    let partner = text(&desk.made("/partners", partner).await["id"]);
    for (number, reference) in [partner.as_str(), "anna", "ext:crm:a:1"].into_iter().enumerate() {
        let key = format!("key{number}");
        let link = desk.made("/links", json!({"offer": offer, "partner": reference, "key": key})).await;
        assert_eq!((&link["offer"], &link["partner"]), (&json!(offer), &json!(partner)));
        assert_eq!(link["url"], json!(format!("http://127.0.0.1:8080/c/{key}")));
        assert_eq!(link["redirect_status"], json!(302));
    }
    assert_eq!(desk.get("/partners/anna").await.ok()["id"], json!(partner));
    desk.made("/links", json!({"offer": desk.offer().await, "key": "other"})).await;
    let filtered = desk.get(&format!("/links?offer={offer}&partner=anna&sort=created_at")).await.ok();
    assert_eq!(column(&filtered, "key"), ["key0", "key1", "key2"]);
    let nobodys = desk.get("/links?partner=,anna&sort=created_at").await.ok();
    assert_eq!(column(&nobodys, "key"), ["key0", "key1", "key2", "other"]);
    assert_eq!(column(&desk.get("/links?partner=").await.ok(), "key"), ["other"]);
    desk.get("/links?partner=bert").await.is(400, "validation_failed", "partner");
    let made = desk
        .made(
            "/links",
            json!({"offer": offer, "redirect_status": 307, "expires_at": "2027-01-01T00:00:00+01:00"}),
        )
        .await;
    assert_eq!(text(&made["key"]).len(), 9, "{made}");
    assert_eq!(
        (&made["redirect_status"], &made["expires_at"]),
        (&json!(307), &json!("2026-12-31T23:00:00Z"))
    );

    let path = format!("/links/{}", text(&made["id"]));
    let replaced = desk.put(&path, json!({"offer": offer})).await.ok();
    assert_eq!((&replaced["key"], &replaced["redirect_status"]), (&made["key"], &json!(302)));
    desk.patch(&path, json!({"key": null})).await.is(400, "validation_failed", "key");
    desk.patch(&path, json!({"redirect_status": 301})).await.is(400, "validation_failed", "redirect_status");
    desk.patch(&path, json!({"offer": "offer_x"})).await.is(400, "validation_failed", "offer");
    let unknown = desk.post("/links", json!({"offer": "ext:crm:9", "partner": "bert"})).await;
    assert_eq!(unknown.fields(), ["offer", "partner"]);
}

#[tokio::test]
async fn of_two_nodes_that_want_one_link_key_one_gets_it() {
    let (installation, desk) = desk().await;
    let other = installation.desk(2).await;
    let offer = desk.offer().await;
    other.catch_up().await;
    for round in 0..5 {
        let body = json!({"offer": offer, "key": format!("anna{round}")});
        let (one, two) = tokio::join!(desk.post("/links", body.clone()), other.post("/links", body.clone()));
        let (winner, loser) = if one.status == StatusCode::CREATED { (one, two) } else { (two, one) };
        assert_eq!(winner.status, StatusCode::CREATED, "{}", winner.body);
        loser.is(409, "conflict", "key");
    }
    desk.catch_up().await;
    assert_eq!(desk.get("/links").await.ok()["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn nothing_new_refers_to_what_is_archived() {
    let (_installation, desk) = desk().await;
    let offer = desk.offer().await;
    let link = desk.made("/links", json!({"offer": offer, "key": "anna"})).await;
    desk.delete(&format!("/offers/{offer}")).await.ok();
    desk.post("/links", json!({"offer": offer, "key": "bert"})).await.is(400, "validation_failed", "offer");
    let path = format!("/links/{}", text(&link["id"]));
    desk.patch(&path, json!({"creative": "banner"})).await.ok();
    desk.delete(&path).await.ok();
    let other = desk.offer().await;
    desk.post("/links", json!({"offer": other, "key": "anna"})).await.is(409, "conflict", "key");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (_installation, desk) = desk().await;
    for path in
        ["/offers/offer_x", "/offers/x", "/offers/ext:crm:1", "/offers/ext:", "/partners/anna", "/nothing"]
    {
        desk.get(path).await.is(404, "not_found", "");
    }
    let offer = desk.offer().await;
    desk.get(&format!("/partners/{offer}")).await.is(404, "not_found", "");
    desk.get("/offers/%ff").await.is(400, "validation_failed", "");
    desk.call(Method::POST, &format!("/offers/{offer}"), Some(json!({}))).await.is(
        405,
        "method_not_allowed",
        "",
    );
    let mut untyped = desk.request(Method::POST, "/offers", Some(&json!({"name": "x"})));
    untyped.headers_mut().remove("content-type");
    desk.send(untyped).await.is(415, "unsupported_media_type", "");
}
