//! What all resources have in common, mostly on offers.

use super::*;

#[tokio::test]
async fn an_offer_is_made_read_changed_and_archived() {
    let (installation, desk) = desk().await;
    let body = json!({
        "name": "Shoes", "destination_url": "https://shop.example/?cid={click_id}", "currency": "EUR",
        "click_lookback": "36h", "tags": ["a"], "metadata": {"x": {"y": 1, "z": 2}},
        "external_source": "crm", "external_id": "7",
        "goals": [
            {"key": "sale", "payout": {"type": "percent", "percent": "12.5"}},
            {"key": "lead", "payout": {"type": "fixed", "amount": "2.5"}, "revenue": {"type": "fixed", "amount_minor": 300, "currency": "USD"}, "approval": "manual", "hold_days": 14, "duplicates": "revise"},
        ],
    });
    let made = desk.made("/offers", body).await;
    let path = format!("/offers/{}", text(&made["id"]));
    let now = Timestamp::from_micros(NOW_MICROS).to_string();
    assert_eq!(
        made,
        json!({
            "id": made["id"], "status": "active", "name": "Shoes",
            "destination_url": "https://shop.example/?cid={click_id}", "currency": "EUR",
            "click_id_param": "click_id", "fallback_url": null, "click_lookback": "36h", "view_lookback": null,
            "allowed_hosts": [], "caps": [],
            "goals": [
                {"key": "sale", "payout": {"type": "percent", "percent": "12.5"}, "revenue": {"type": "postback"}, "approval": "auto",
                 "hold_days": 0, "duplicates": "ignore"},
                {"key": "lead", "payout": {"type": "fixed", "amount": {"amount": "2.50", "currency": "EUR"}},
                 "revenue": {"type": "fixed", "amount": {"amount": "3.00", "currency": "USD"}}, "approval": "manual",
                 "hold_days": 14, "duplicates": "revise"},
            ],
            "external_source": "crm", "external_id": "7", "tags": ["a"], "metadata": {"x": {"y": 1, "z": 2}},
            "version": 1, "created_at": now, "updated_at": now,
        })
    );
    assert_eq!(desk.get(&path).await.ok(), made);
    assert_eq!(desk.get("/offers/ext:crm:7").await.ok(), made);

    installation.clock.advance(Duration::from_secs(1));
    let patch = json!({"name": "Boots", "click_lookback": null, "metadata": {"x": {"y": null}}, "goals": [made["goals"][0]]});
    let changed = desk.patch(&path, patch).await.ok();
    assert_eq!((&changed["name"], &changed["version"]), (&json!("Boots"), &json!(2)));
    assert_eq!((&changed["click_lookback"], &changed["metadata"]), (&Value::Null, &json!({"x": {"z": 2}})));
    assert_eq!((&changed["goals"], &changed["currency"]), (&json!([made["goals"][0]]), &json!("EUR")));
    assert_eq!(changed["created_at"], made["created_at"]);
    assert_ne!(changed["updated_at"], made["updated_at"]);

    let replaced =
        desk.put(&path, json!({"name": "Hats", "destination_url": "https://hats.example"})).await.ok();
    assert_eq!((&replaced["currency"], &replaced["goals"]), (&json!("USD"), &json!([])));
    assert_eq!((&replaced["external_id"], &replaced["tags"]), (&Value::Null, &json!([])));

    let archived = desk.delete(&path).await.ok();
    assert_eq!((&archived["status"], &archived["version"]), (&json!("archived"), &json!(4)));
    assert_eq!(desk.delete(&path).await.ok(), archived, "archiving twice changes nothing");
    assert_eq!(desk.get(&path).await.ok(), archived);
    assert_eq!(desk.get("/offers").await.ok()["items"], json!([]));
    assert_eq!(desk.get("/offers?status=archived").await.ok()["items"], json!([archived]));
    let restored = desk.patch(&path, json!({"status": "active"})).await.ok();
    assert_eq!(desk.get("/offers").await.ok()["items"], json!([restored]));
}

#[tokio::test]
async fn a_replacement_brings_back_what_was_archived_only_if_it_says_so() {
    let (_installation, desk) = desk().await;
    let body = json!({"name": "Anna"});
    let made = desk.put("/partners/external/crm/7", body.clone()).await;
    let path = format!("/partners/{}", text(&made.body["id"]));
    desk.delete(&path).await.ok();
    let upserted = desk.put("/partners/external/crm/7", body.clone()).await.ok();
    assert_eq!((&upserted["status"], &upserted["version"]), (&json!("archived"), &json!(3)));
    let replaced = desk.put(&path, body).await.ok();
    assert_eq!(replaced["status"], json!("archived"));
    let restored = desk.put(&path, json!({"name": "Anna", "status": "active"})).await.ok();
    assert_eq!(restored["status"], json!("active"));
}

#[tokio::test]
async fn lists_are_paged_newest_first() {
    let (installation, desk) = desk().await;
    for number in 0..7 {
        desk.made("/partners", json!({"name": format!("p{number}")})).await;
        installation.clock.advance(Duration::from_millis(number % 2));
    }
    let mut names = Vec::new();
    let mut path = "/partners?take=3".to_owned();
    loop {
        let page = desk.get(&path).await.ok();
        names.extend(column(&page, "name"));
        assert_eq!(page["hasMore"], json!(!page["nextCursor"].is_null()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/partners?take=3&cursor={cursor}");
        desk.get(&format!("/offers?take=3&cursor={cursor}")).await.is(400, "validation_failed", "cursor");
        desk.get(&format!("/partners?sort=created_at&cursor={cursor}")).await.is(
            400,
            "validation_failed",
            "cursor",
        );
    }
    assert_eq!(names, ["p6", "p5", "p4", "p3", "p2", "p1", "p0"]);
    let oldest = desk.get("/partners?sort=created_at&take=2").await.ok();
    assert_eq!(column(&oldest, "name"), ["p0", "p1"]);
    desk.get("/partners?take=0").await.is(400, "validation_failed", "take");
    desk.get("/partners?take=201").await.is(400, "validation_failed", "take");
    desk.get("/partners?nam=x").await.is(400, "validation_failed", "nam");
    desk.get("/partners?status=gone").await.is(400, "validation_failed", "status");
    desk.get("/partners?sort=name").await.is(400, "validation_failed", "sort");
}

#[tokio::test]
async fn every_fault_of_a_body_is_named() {
    let (_installation, desk) = desk().await;
    let answer = desk
        .post(
            "/offers",
            json!({
                "destination_url": "https://shop.example/{clickid}", "currency": "usd", "click_lookback": "30",
                "fallback_url": "nowhere", "tags": "a", "metadata": [], "external_id": "1",
                "goals": [
                    {"payout": {"type": "percent"}},
                    {"key": "sale", "payout": {"type": "fixed", "amount": 5}, "hold_days": 3, "holds": 1},
                    {"key": "sale", "payout": {"type": "gift"}, "revenue": {"type": "percent", "percent": "10001"}},
                    "sale",
                ],
                "caps": 5, "allowed_hosts": "shop.example", "version": 3,
            }),
        )
        .await;
    answer.is(400, "validation_failed", "name");
    let mut fields = answer.fields();
    fields.sort();
    assert_eq!(
        fields,
        [
            "allowed_hosts",
            "caps",
            "click_lookback",
            "currency",
            "destination_url",
            "external_source",
            "fallback_url",
            "goals[0].key",
            "goals[0].payout.percent",
            "goals[1].holds",
            "goals[1].payout.amount",
            "goals[2].key",
            "goals[2].payout.type",
            "goals[2].revenue.percent",
            "goals[3]",
            "metadata",
            "name",
            "tags",
            "version",
        ]
    );
    assert_eq!(desk.get("/offers").await.ok()["items"], json!([]));
    desk.post("/offers", json!([])).await.is(400, "validation_failed", "");
    for (path, field) in
        [("/partners", "vouchers"), ("/links", "schedule"), ("/sources", "secret"), ("/keys", "sha256")]
    {
        let answer = desk.post(path, json!({field: []})).await;
        assert!(answer.fields().contains(&field.to_owned()), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_change_of_a_named_version_happens_once() {
    let (installation, desk) = desk().await;
    let other = installation.desk(2).await;
    let path = format!("/offers/{}", desk.offer().await);
    let change = json!({"name": "Boots", "expected_version": 1});
    // The other node may not have folded the offer yet, but asks the log when the version lies beyond its own copy.
    other.catch_up().await;
    let (one, two) = tokio::join!(desk.patch(&path, change.clone()), other.patch(&path, change.clone()));
    let (winner, loser) = if one.status == StatusCode::OK { (one, two) } else { (two, one) };
    assert_eq!(winner.ok()["version"], json!(2));
    loser.is(409, "conflict", "expected_version");
    assert_eq!(loser.body["current_version"], json!(2));
    desk.catch_up().await;
    desk.patch(&path, json!({"name": "Hats", "expected_version": 2})).await.ok();
    let hats = other.patch(&path, json!({"tags": ["x"], "expected_version": 3})).await.ok();
    assert_eq!((&hats["name"], &hats["version"]), (&json!("Hats"), &json!(4)));
    desk.patch(&path, json!({"expected_version": 0})).await.is(400, "validation_failed", "expected_version");
}

#[tokio::test]
async fn unversioned_changes_of_two_nodes_both_happen() {
    let (installation, desk) = desk().await;
    let other = installation.desk(2).await;
    let path = format!("/offers/{}", desk.offer().await);
    other.catch_up().await;
    for round in 0..10 {
        let (name, tag) = (format!("n{round}"), format!("t{round}"));
        let changes = (desk.patch(&path, json!({"name": name})), other.patch(&path, json!({"tags": [tag]})));
        let (one, two) = tokio::join!(changes.0, changes.1);
        one.ok();
        two.ok();
        desk.catch_up().await;
        other.catch_up().await;
        let offer = desk.get(&path).await.ok();
        assert_eq!(
            (&offer["name"], &offer["tags"]),
            (&json!(name), &json!([tag])),
            "one change undid the other"
        );
    }
}

#[tokio::test]
async fn an_upsert_makes_once_and_replaces_then() {
    let (installation, desk) = desk().await;
    let other = installation.desk(2).await;
    let body = |name: &str| json!({"name": name, "slug": "anna"});
    let path = "/partners/external/crm/4%2F2";
    let (one, two) = tokio::join!(desk.put(path, body("a")), other.put(path, body("b")));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201], "{} {}", one.body, two.body);
    assert_eq!(one.body["id"], two.body["id"]);
    assert_eq!(one.body["external_id"], json!("4/2"));
    desk.catch_up().await;
    assert_eq!(desk.get("/partners").await.ok()["items"].as_array().unwrap().len(), 1);
    let same =
        desk.put(path, json!({"name": "c", "external_source": "crm", "external_id": "4/2"})).await.ok();
    assert_eq!((&same["name"], &same["slug"]), (&json!("c"), &Value::Null));
    let versioned = json!({"name": "d", "expected_version": 3});
    let known_elsewhere = other.put(path, versioned.clone()).await.ok();
    assert_eq!((&known_elsewhere["name"], &known_elsewhere["version"]), (&json!("d"), &json!(4)));
    desk.put(path, versioned).await.is(409, "conflict", "expected_version");
    let absent = desk.put("/partners/external/crm/9", json!({"name": "e", "expected_version": 1})).await;
    absent.is(404, "not_found", "");
    let differs = desk.put(path, json!({"name": "c", "external_id": "5"})).await;
    differs.is(400, "validation_failed", "external_id");
    let taken =
        desk.post("/partners", json!({"name": "d", "external_source": "crm", "external_id": "4/2"})).await;
    taken.is(409, "conflict", "external_id");
}

#[tokio::test]
async fn an_idempotency_key_gives_the_first_answer_on_every_node() {
    let (installation, desk) = desk().await;
    let other = installation.desk(2).await;
    let body = json!({"name": "Anna", "slug": "anna"});
    let first = desk.post_once("/partners", "k1", body.clone()).await;
    assert_eq!((first.status, first.replayed), (StatusCode::CREATED, false));
    for node in [&desk, &other] {
        let again = node.post_once("/partners", "k1", body.clone()).await;
        assert_eq!((again.status, again.replayed), (StatusCode::CREATED, true));
        assert_eq!(again.body, first.body);
    }
    let conflict = other.post_once("/partners", "k1", json!({"name": "Bert"})).await;
    conflict.is(409, "idempotency_conflict", "");
    let elsewhere = desk.post_once("/offers", "k1", body.clone()).await;
    elsewhere.is(409, "idempotency_conflict", "");
    // A request that could not be made any more gets its answer all the same.
    let path = format!("/offers/{}", desk.offer().await);
    let link = json!({"offer": path.trim_start_matches("/offers/"), "key": "once"});
    let made = desk.post_once("/links", "k2", link.clone()).await;
    desk.delete(&path).await.ok();
    assert_eq!(desk.post_once("/links", "k2", link).await.body, made.body);
    let long = "k".repeat(256);
    desk.post_once("/partners", &long, body).await.is(400, "validation_failed", "Idempotency-Key");
}
