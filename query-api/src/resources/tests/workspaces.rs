//! Workspaces, and what every one of them shares: the macros.

use super::*;

async fn only_workspace(desk: &TestDesk) -> (String, Value) {
    let page = desk.get("/workspaces").await.ok();
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
    let workspace = page["items"][0].clone();
    (format!("/workspaces/{}", text(&workspace["id"])), workspace)
}

#[tokio::test]
async fn a_workspace_is_read_and_changed_by_its_admins() {
    let (_installation, desk) = desk().await;
    let (path, workspace) = only_workspace(&desk).await;
    assert_eq!(desk.get(&path).await.ok(), workspace);
    assert_eq!(workspace["privacy"], json!({"honour_gpc": true, "honour_dnt": true, "consent": "assumed"}));
    assert_eq!(
        (&workspace["ip_storage"], &workspace["attribution"]),
        (
            &json!("truncated"),
            &json!({
                "payable_model": "last_touch", "click_lookback": "30d", "view_lookback": "1d", "min_time_to_convert": "0d",
                "time_decay_half_life": "7d", "position_weights": [40, 20, 40],
                "identify_by": ["click_id", "visitor_id", "customer_id", "email", "coupon"],
            })
        )
    );
    let patch = json!({
        "name": "Berlin", "timezone": "Europe/Berlin", "fallback_url": "https://shop.example/home", "currency": "USD",
        "ip_storage": "none", "privacy": {"consent": "required"}, "attribution": {
            "click_lookback": "7d", "payable_model": "linear", "min_time_to_convert": "10s", "position_weights": [30, 40, 30],
            "identify_by": ["coupon", "click_id", "visitor_id", "customer_id", "email"],
        },
        "expected_version": 1,
    });
    let changed = desk.patch(&path, patch.clone()).await.ok();
    assert_eq!(
        (&changed["name"], &changed["timezone"], &changed["version"]),
        (&json!("Berlin"), &json!("Europe/Berlin"), &json!(2))
    );
    assert_eq!(changed["privacy"], json!({"honour_gpc": true, "honour_dnt": true, "consent": "required"}));
    assert_eq!(
        (&changed["ip_storage"], &changed["attribution"]["click_lookback"]),
        (&json!("none"), &json!("7d"))
    );
    let attribution = json!({
        "payable_model": "linear", "click_lookback": "7d", "view_lookback": "1d", "min_time_to_convert": "10s",
        "time_decay_half_life": "7d", "position_weights": [30, 40, 30],
        "identify_by": ["coupon", "click_id", "visitor_id", "customer_id", "email"],
    });
    assert_eq!(changed["attribution"], attribution, "what is not named stays");
    desk.patch(&path, patch).await.is(409, "conflict", "expected_version");
    let cleared = desk.patch(&path, json!({"fallback_url": null, "privacy": null})).await.ok();
    assert_eq!((&cleared["fallback_url"], &cleared["privacy"]["consent"]), (&Value::Null, &json!("assumed")));
    let (reader, writer) = (desk.key(&[Scope::Read]).await, desk.key(&[Scope::Write]).await);
    reader.get(&path).await.ok();
    writer.patch(&path, json!({"name": "x"})).await.is(403, "forbidden", "");
    desk.get("/workspaces/ws_x").await.is(404, "not_found", "");
}

#[tokio::test]
async fn a_change_of_a_version_that_another_node_made_waits_for_it() {
    let (installation, desk) = desk().await;
    let (path, _) = only_workspace(&desk).await;
    let other = installation.desk(2).await;
    for version in 1..=6 {
        let node = if version % 2 == 0 { &other } else { &desk };
        let body = json!({"name": format!("n{version}"), "expected_version": version});
        assert_eq!(node.patch(&path, body).await.ok()["version"], json!(version + 1));
    }
    other.patch(&path, json!({"expected_version": 9})).await.is(409, "conflict", "expected_version");
}

#[tokio::test]
async fn every_macro_is_listed_and_can_be_saved() {
    let (_installation, desk) = desk().await;
    let macros = desk.get("/macros").await.ok();
    let names = column(&macros, "name");
    assert_eq!(names.len(), 22);
    for name in names {
        let url = format!("https://shop.example/?x={{{name}|default:0}}");
        desk.made("/offers", json!({"name": name, "destination_url": url})).await;
    }
}

#[tokio::test]
async fn every_fault_of_a_workspace_is_named() {
    let (_installation, desk) = desk().await;
    let (path, _) = only_workspace(&desk).await;
    let wrong = json!({
        "name": "", "timezone": "Mars", "currency": "EUR", "fallback_url": "nowhere", "ip_storage": "some", "partition": 3,
        "privacy": {"consent": "yes"}, "attribution": {"click_lookback": "1000d", "model": "x", "payable_model": "first", "position_weights": [50, 50, 50],
            "identify_by": ["coupon", "coupon", "click_id", "visitor_id", "customer_id"]},
    });
    let refused = desk.patch(&path, wrong).await;
    let mut fields = refused.fields();
    fields.sort();
    let expected = [
        "attribution.click_lookback",
        "attribution.identify_by",
        "attribution.model",
        "attribution.payable_model",
        "attribution.position_weights",
        "currency",
        "fallback_url",
        "ip_storage",
        "name",
        "partition",
        "privacy.consent",
        "timezone",
    ];
    assert_eq!(fields, expected, "{}", refused.body);
}
