//! Keys and sources: secrets that are shown once, and who may do what.

use catalog::seal::Sealer;

use super::*;

#[tokio::test]
async fn a_key_is_shown_once_and_can_be_rotated_and_revoked() {
    let (installation, desk) = desk().await;
    let made = desk.made("/keys", json!({"name": "reader", "scopes": ["read"], "environment": "test"})).await;
    let path = format!("/keys/{}", text(&made["id"]));
    let old = text(&made["key"]);
    assert!(old.starts_with("tb_test_"), "{old}");
    let seen = desk.get(&path).await.ok();
    assert_eq!((&seen["key"], &seen["scopes"]), (&Value::Null, &json!(["read"])));
    assert!(!seen.to_string().contains("sha256"), "{seen}");
    desk.with_key(&old).get("/offers").await.ok();

    let rotated = desk.call(Method::POST, &format!("{path}/rotate"), None).await.ok();
    let new = text(&rotated["key"]);
    assert_ne!(new, old);
    desk.with_key(&new).get("/offers").await.ok();
    desk.with_key(&old).get("/offers").await.ok();
    installation.clock.advance(Duration::from_secs(24 * 60 * 60));
    desk.with_key(&old).get("/offers").await.is(401, "unauthorized", "");
    desk.with_key(&new).get("/offers").await.ok();

    let revoked = desk.call(Method::POST, &format!("{path}/revoke"), None).await.ok();
    assert_eq!(revoked["status"], json!("revoked"));
    desk.with_key(&new).get("/offers").await.is(401, "unauthorized", "");
    let again = desk.call(Method::POST, &format!("{path}/revoke"), None).await.ok();
    assert_eq!(again, revoked);
    let late = desk.call(Method::POST, &format!("{path}/rotate"), None).await;
    late.is(409, "conflict", "");
    // No body brings a revoked key back, or makes it another kind of key.
    desk.put(&path, json!({"name": "x", "scopes": ["read"], "environment": "live"})).await.is(
        400,
        "validation_failed",
        "environment",
    );
    let replaced = desk.put(&path, json!({"name": "x", "scopes": ["read"]})).await.ok();
    assert_eq!((&replaced["status"], &replaced["environment"]), (&json!("revoked"), &json!("test")));
    desk.with_key(&new).get("/offers").await.is(401, "unauthorized", "");
}

#[tokio::test]
async fn a_second_rotation_ends_no_secret_that_is_in_use() {
    let (installation, desk) = desk().await;
    let made = desk.made("/keys", json!({"name": "k", "scopes": ["read"]})).await;
    let path = format!("/keys/{}/rotate", text(&made["id"]));
    let first = desk.post_once(&path, "once", json!({})).await;
    let secrets = [text(&made["key"]), text(&first.body["key"])];
    // A client that did not get the answer asks again, by the same key or without one.
    let again = desk.post_once(&path, "once", json!({})).await;
    assert!(again.replayed && again.body["key"].is_null(), "{}", again.body);
    assert_eq!(again.body["version"], first.body["version"]);
    desk.call(Method::POST, &path, None).await.is(409, "conflict", "");
    desk.post_once(&path, "twice", json!({})).await.is(409, "conflict", "");
    for secret in &secrets {
        desk.with_key(secret).get("/offers").await.ok();
    }
    installation.clock.advance(Duration::from_secs(24 * 60 * 60));
    let next = text(&desk.call(Method::POST, &path, None).await.ok()["key"]);
    desk.with_key(&secrets[0]).get("/offers").await.is(401, "unauthorized", "");
    for secret in [&secrets[1], &next] {
        desk.with_key(secret).get("/offers").await.ok();
    }
}

#[tokio::test]
async fn an_archived_key_stays_archived_whatever_is_written_to_it() {
    let (_installation, desk) = desk().await;
    let body = json!({"name": "k", "scopes": ["admin"]});
    let made = desk.put("/keys/external/crm/7", body.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let (holder, path) =
        (desk.with_key(&text(&made.body["key"])), format!("/keys/{}", text(&made.body["id"])));
    holder.get("/keys").await.ok();
    desk.delete(&path).await.ok();
    for path in ["/keys/external/crm/7", path.as_str()] {
        assert_eq!(desk.put(path, body.clone()).await.ok()["status"], json!("archived"));
        for status in [json!("active"), Value::Null] {
            let mut revived = body.clone();
            revived["status"] = status.clone();
            desk.put(path, revived).await.is(400, "validation_failed", "status");
        }
    }
    for status in [json!("active"), Value::Null] {
        desk.patch(&path, json!({"status": status})).await.is(400, "validation_failed", "status");
    }
    assert_eq!(desk.patch(&path, json!({"name": "x"})).await.ok()["status"], json!("archived"));
    holder.get("/keys").await.is(401, "unauthorized", "");
}

#[tokio::test]
async fn a_key_can_expire_and_be_archived() {
    let (installation, desk) = desk().await;
    let until = Timestamp::from_micros(NOW_MICROS + 1_000_000).to_string();
    let made = desk.made("/keys", json!({"name": "k", "scopes": ["read"], "expires_at": until})).await;
    let holder = desk.with_key(&text(&made["key"]));
    holder.get("/offers").await.ok();
    installation.clock.advance(Duration::from_secs(1));
    holder.get("/offers").await.is(401, "unauthorized", "");
    let path = format!("/keys/{}", text(&made["id"]));
    desk.patch(&path, json!({"expires_at": null})).await.ok();
    holder.get("/offers").await.ok();
    desk.delete(&path).await.ok();
    holder.get("/offers").await.is(401, "unauthorized", "");
}

#[tokio::test]
async fn scopes_bound_what_a_key_may_do() {
    let (_installation, desk) = desk().await;
    let offer = json!({"name": "x", "destination_url": "https://shop.example"});
    let (reader, writer) = (desk.key(&[Scope::Read]).await, desk.key(&[Scope::Write]).await);
    reader.get("/offers").await.ok();
    reader.post("/offers", offer.clone()).await.is(403, "forbidden", "");
    writer.made("/offers", offer).await;
    writer.get("/offers").await.is(403, "forbidden", "");
    for holder in [&reader, &writer] {
        holder.get("/keys").await.is(403, "forbidden", "");
        holder.post("/keys", json!({"name": "k", "scopes": ["admin"]})).await.is(403, "forbidden", "");
        holder.post("/sources", json!({"name": "s", "auth": "open"})).await.is(403, "forbidden", "");
    }
    let admin = desk.key(&[Scope::Admin]).await;
    admin.made("/keys", json!({"name": "k", "scopes": ["admin"]})).await;
    // An admin who is no operator cannot become one, by whatever way.
    admin.post("/keys", json!({"name": "k", "scopes": ["operator"]})).await.is(403, "forbidden", "");
    let keys = desk.get("/keys").await.ok();
    let first = column(&keys, "name").iter().position(|name| name == "admin").unwrap();
    let operator = format!("/keys/{}", text(&keys["items"][first]["id"]));
    admin.call(Method::POST, &format!("{operator}/rotate"), None).await.is(403, "forbidden", "");
    admin.call(Method::POST, &format!("{operator}/revoke"), None).await.is(403, "forbidden", "");
    admin.patch(&operator, json!({"scopes": ["admin"]})).await.is(403, "forbidden", "");
    admin.delete(&operator).await.is(403, "forbidden", "");
    desk.with_key("tb_live_x").get("/offers").await.is(401, "unauthorized", "");
}

#[tokio::test]
async fn a_replayed_key_does_not_show_its_secret_again() {
    let (_installation, desk) = desk().await;
    let body = json!({"name": "k", "scopes": ["read"]});
    let first = desk.post_once("/keys", "k", body.clone()).await;
    let again = desk.post_once("/keys", "k", body).await;
    assert!(again.replayed && again.body["key"].is_null(), "{}", again.body);
    assert_eq!(again.body["id"], first.body["id"]);
    desk.with_key(&text(&first.body["key"])).get("/offers").await.ok();
}

#[tokio::test]
async fn publishable_keys_have_origins_and_only_ingest() {
    let (_installation, desk) = desk().await;
    let body = |scope: &str| json!({"name": "p", "scopes": [scope], "kind": "publishable", "allowed_origins": ["https://shop.example"]});
    let made = desk.made("/keys", body("ingest")).await;
    assert!(text(&made["key"]).starts_with("tb_pub_"));
    desk.post("/keys", body("read")).await.is(400, "validation_failed", "scopes");
    desk.with_key(&text(&made["key"])).get("/offers").await.is(403, "forbidden", "");
    let path = format!("/keys/{}", text(&made["id"]));
    desk.patch(&path, json!({"kind": "secret"})).await.is(400, "validation_failed", "kind");
    desk.patch(&path, json!({"scopes": ["king"]})).await.is(400, "validation_failed", "scopes");
}

#[tokio::test]
async fn a_sources_token_is_shown_once_in_an_address_ready_to_paste() {
    let (_installation, desk) = desk().await;
    let made = desk.made("/sources", json!({"name": "Shop", "auth": "token"})).await;
    let (id, token) = (text(&made["id"]), text(&made["token"]));
    let url = text(&made["postback_url"]);
    assert!(url.starts_with(&format!("http://127.0.0.1:8080/postback?src={id}&token={token}&")), "{url}");
    let path = format!("/sources/{id}");
    let seen = desk.get(&path).await.ok();
    assert!(seen["token"].is_null() && !seen.to_string().contains(&token), "{seen}");

    let renamed = desk.put(&path, json!({"name": "Shop 2", "auth": "token"})).await.ok();
    assert!(renamed["token"].is_null(), "a rename made a new token");
    let rotated = desk.call(Method::POST, &format!("{path}/rotate"), None).await.ok();
    assert_ne!(text(&rotated["token"]), token);
    let opened = desk.patch(&path, json!({"auth": "open"})).await.ok();
    assert!(!text(&opened["postback_url"]).contains("token="), "{opened}");
    desk.call(Method::POST, &format!("{path}/rotate"), None).await.is(400, "validation_failed", "auth");
    let closed = desk.patch(&path, json!({"auth": "token"})).await.ok();
    assert!(closed["token"].is_string(), "{closed}");
    desk.post("/sources", json!({"name": "S", "auth": "sealed"})).await.is(400, "validation_failed", "auth");
}

/// The secrets of a signed source that the edge would take now.
fn live_secrets(installation: &Installation, desk: &TestDesk, id: &str) -> Vec<String> {
    use service::clock::Clock as _;
    let catalog = desk.follower.read();
    let source = catalog.source(id.parse().unwrap()).unwrap();
    let now = Timestamp::from_micros(installation.clock.now_micros());
    let secrets = sealer().open(source, now).unwrap();
    secrets.iter().map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_signed_source_has_two_secrets_while_its_grace_lasts() {
    let (installation, desk) = desk().await;
    let made = desk.made("/sources", json!({"name": "Shop", "auth": "signed"})).await;
    let (id, first) = (text(&made["id"]), text(&made["secret"]));
    assert!(first.starts_with("tb_sig_") && made["token"].is_null(), "{made}");
    assert!(!text(&made["postback_url"]).contains("token="), "{made}");
    assert_eq!(live_secrets(&installation, &desk, &id), std::slice::from_ref(&first));
    let path = format!("/sources/{id}");
    let seen = desk.get(&path).await.ok();
    assert!(seen["secret"].is_null() && !seen.to_string().contains(&first), "{seen}");
    let renamed = desk.patch(&path, json!({"name": "Shop 2", "auth": "signed"})).await.ok();
    assert!(renamed["secret"].is_null(), "a rename made a new secret");

    let rotate = format!("{path}/rotate");
    let rotated = desk.post(&rotate, json!({"grace": 60})).await.ok();
    let second = text(&rotated["secret"]);
    assert_eq!(live_secrets(&installation, &desk, &id), [second.clone(), first]);
    assert_eq!(
        text(&rotated["previous_valid_until"]),
        Timestamp::from_micros(NOW_MICROS + 60_000_000).to_string()
    );
    desk.post(&rotate, json!({})).await.is(409, "conflict", "");
    for wrong in [json!({"grace": -1}), json!({"grace": "1h"}), json!({"grace": 2_592_001})] {
        desk.post(&rotate, wrong).await.is(400, "validation_failed", "grace");
    }
    desk.post(&rotate, json!({"in": 3})).await.is(400, "validation_failed", "in");
    installation.clock.advance(Duration::from_secs(60));
    assert_eq!(live_secrets(&installation, &desk, &id), std::slice::from_ref(&second));
    let third = text(&desk.post(&rotate, json!({})).await.ok()["secret"]);
    assert_eq!(live_secrets(&installation, &desk, &id), [third.clone(), second]);
    // A secret that is known to the wrong people ends at once, and so does the one before.
    let fourth = text(&desk.post(&rotate, json!({"grace": 0})).await.ok()["secret"]);
    assert_eq!(live_secrets(&installation, &desk, &id), [fourth]);
}

#[tokio::test]
async fn a_token_is_rotated_with_a_grace_as_well() {
    let (_installation, desk) = desk().await;
    let made = desk.made("/sources", json!({"name": "Shop", "auth": "token"})).await;
    let path = format!("/sources/{}", text(&made["id"]));
    desk.post(&format!("{path}/rotate"), json!({"grace": 60})).await.ok();
    let catalog = desk.follower.read();
    let source = catalog.source(text(&made["id"]).parse().unwrap()).unwrap();
    let catalog::SourceAuth::Token { previous: Some(previous), .. } = &source.auth else {
        panic!("{source:?}")
    };
    assert_eq!(previous.sha256, catalog::key::hash_secret(&text(&made["token"])));
    assert_eq!(previous.valid_until, Timestamp::from_micros(NOW_MICROS + 60_000_000));
}

#[tokio::test]
async fn a_desk_without_a_key_makes_no_signed_source() {
    let installation = Installation::new().await;
    let desk =
        installation.desk_of(1, QueryApiSettings::default(), Sealer::from_hex("").unwrap()).await.unwrap();
    desk.post("/sources", json!({"name": "S", "auth": "signed"})).await.is(400, "validation_failed", "auth");
    let open = desk.made("/sources", json!({"name": "S", "auth": "open"})).await;
    let path = format!("/sources/{}", text(&open["id"]));
    desk.patch(&path, json!({"auth": "signed"})).await.is(400, "validation_failed", "auth");
}

#[tokio::test]
async fn a_source_says_what_its_words_mean() {
    let (_installation, desk) = desk().await;
    let body = json!({
        "name": "Network", "auth": "open", "allowed_cidrs": ["203.0.113.9/24", "2001:db8::1"],
        "params": {"aff_sub": "click_id", "order": "transaction_id"},
        "status_map": {"confirmed": "approved", "2": "rejected"}, "defaults": {"currency": "EUR"},
    });
    let made = desk.made("/sources", body).await;
    assert_eq!(made["allowed_cidrs"], json!(["203.0.113.0/24", "2001:db8::1/128"]));
    let path = format!("/sources/{}", text(&made["id"]));
    let patch = json!({"status_map": {"2": null, "ok": "approved"}, "defaults": null, "allowed_cidrs": null});
    let patched = desk.patch(&path, patch).await.ok();
    assert_eq!(patched["status_map"], json!({"confirmed": "approved", "ok": "approved"}));
    assert_eq!(patched["params"], json!({"aff_sub": "click_id", "order": "transaction_id"}));
    assert_eq!((&patched["defaults"], &patched["allowed_cidrs"]), (&json!({}), &json!([])));
    let wrong = json!({
        "name": "N", "auth": "open", "allowed_cidrs": ["everywhere"], "params": {"x": "payout", "y": 1},
        "status_map": {"ok": "fine"}, "defaults": {"click_id": "x"},
    });
    let refused = desk.post("/sources", wrong).await;
    let mut fields = refused.fields();
    fields.sort();
    assert_eq!(fields, ["allowed_cidrs", "defaults.click_id", "params.x", "params.y", "status_map.ok"]);
}
