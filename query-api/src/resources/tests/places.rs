//! Pixels and domains: where clicks and conversions come in.

use super::*;

#[tokio::test]
async fn a_pixel_stands_for_an_offer_and_a_goal() {
    let (_installation, desk) = desk().await;
    let offer = desk.offer().await;
    let origins = json!(["https://shop.example"]);
    let made =
        desk.made("/pixels", json!({"offer": offer, "goal": "lead", "allowed_origins": origins})).await;
    let id = text(&made["id"]);
    assert!(id.starts_with("px_"), "{id}");
    assert_eq!(text(&made["url"]), format!("http://127.0.0.1:8080/p.gif?px={id}"));
    assert_eq!(
        (&made["offer"], &made["goal"], &made["allowed_origins"]),
        (&json!(offer), &json!("lead"), &origins)
    );
    let path = format!("/pixels/{id}");
    let patched = desk.patch(&path, json!({"goal": null, "allowed_origins": []})).await.ok();
    assert_eq!(
        (&patched["goal"], &patched["allowed_origins"], &patched["version"]),
        (&Value::Null, &json!([]), &json!(2))
    );
    let upserted = desk.put("/pixels/external/shop/1", json!({"offer": offer})).await;
    assert_eq!(upserted.status, StatusCode::CREATED, "{}", upserted.body);
    assert_eq!(column(&desk.get("/pixels?sort=created_at").await.ok(), "id")[0], id);
    desk.delete(&path).await.ok();
    assert_eq!(desk.get("/pixels?status=archived").await.ok()["items"][0]["id"], json!(id));
    desk.post("/pixels", json!({"offer": "offer_x"})).await.is(400, "validation_failed", "offer");
    let wrong = desk.post("/pixels", json!({"goal": "a b", "allowed_origins": ["*"]})).await;
    assert_eq!(wrong.fields(), ["offer", "goal", "allowed_origins[0]"]);
}

#[tokio::test]
async fn a_domain_has_one_owner_and_links_of_its_own() {
    let (_installation, desk) = desk().await;
    let offer = desk.offer().await;
    let made = desk.made("/domains", json!({"hostname": "Gö.Shop.example."})).await;
    assert_eq!((&made["hostname"], &made["role"]), (&json!("xn--g-1ga.shop.example"), &json!("tracking")));
    let domain = text(&made["id"]);
    assert!(domain.starts_with("dom_"), "{domain}");
    desk.post("/domains", json!({"hostname": "gö.shop.example"})).await.is(409, "conflict", "hostname");
    for wrong in ["", "shop.example/x", "*.shop.example", "127.0.0.1", "shop.example:80"] {
        desk.post("/domains", json!({"hostname": wrong})).await.is(400, "validation_failed", "hostname");
    }
    desk.post("/domains", json!({"hostname": "a.example", "role": "web"})).await.is(
        400,
        "validation_failed",
        "role",
    );

    // One key on two addresses is two links.
    for (reference, url) in
        [(Value::Null, "http://127.0.0.1:8080/c/anna"), (json!(domain), "http://xn--g-1ga.shop.example/anna")]
    {
        let link = desk.made("/links", json!({"offer": offer, "key": "anna", "domain": reference})).await;
        assert_eq!((text(&link["url"]).as_str(), &link["domain"]), (url, &reference));
    }
    let twice = json!({"offer": offer, "key": "anna", "domain": "gö.shop.example"});
    desk.post("/links", twice).await.is(409, "conflict", "key");
    let api =
        text(&desk.made("/domains", json!({"hostname": "api.shop.example", "role": "api"})).await["id"]);
    for wrong in [json!(api), json!("dom_x"), json!("nowhere.example")] {
        desk.post("/links", json!({"offer": offer, "domain": wrong})).await.is(
            400,
            "validation_failed",
            "domain",
        );
    }
}

#[tokio::test]
async fn a_domain_takes_nothing_from_the_edge() {
    let installation = Installation::new().await;
    let settings =
        QueryApiSettings { edge_url: "https://T.Example./base".to_owned(), ..QueryApiSettings::default() };
    let desk = installation.desk_with(1, settings).await.unwrap();
    for hostname in ["t.example", "T.example."] {
        for role in ["tracking", "api"] {
            let body = json!({"hostname": hostname, "role": role});
            desk.post("/domains", body).await.is(400, "validation_failed", "hostname");
        }
    }
    let domain = text(&desk.made("/domains", json!({"hostname": "go.t.example"})).await["id"]);
    desk.patch(&format!("/domains/{domain}"), json!({"hostname": "t.example"})).await.is(
        400,
        "validation_failed",
        "hostname",
    );
    let offer = desk.offer().await;
    let link = json!({"offer": offer, "key": "metrics", "domain": domain});
    desk.post("/links", link).await.is(400, "validation_failed", "key");
    let link = desk.made("/links", json!({"offer": offer, "key": "metrics"})).await;
    desk.patch(&format!("/links/{}", text(&link["id"])), json!({"domain": domain})).await.is(
        400,
        "validation_failed",
        "key",
    );
}

#[tokio::test]
async fn an_offer_names_hosts_in_their_one_spelling_and_caps() {
    let (_installation, desk) = desk().await;
    let caps = json!([{"metric": "clicks", "window": "day", "value": 100}]);
    let body = json!({
        "name": "Shoes", "destination_url": "https://shop.example",
        "allowed_hosts": ["Shop.Example", "*.müller.example", "MyApp:"], "caps": caps,
    });
    let made = desk.made("/offers", body).await;
    assert_eq!(made["allowed_hosts"], json!(["shop.example", "*.xn--mller-kva.example", "myapp:"]));
    let cap = json!({"metric": "clicks", "window": "day", "timezone": null, "value": 100, "per": "all", "on_exceed": "flag"});
    assert_eq!(made["caps"], json!([cap]));
    let path = format!("/offers/{}", text(&made["id"]));
    let wrong = json!({
        "allowed_hosts": ["javascript:", "shop.example", "https://x.example"],
        "caps": [{"metric": "views", "window": "day", "value": 1}, {"metric": "clicks", "window": "day", "value": 1, "on_exceed": "reject"}, 7],
    });
    let refused = desk.patch(&path, wrong).await;
    let mut fields = refused.fields();
    fields.sort();
    assert_eq!(
        fields,
        ["allowed_hosts[0]", "allowed_hosts[2]", "caps[0].metric", "caps[1].on_exceed", "caps[2]"]
    );
    assert_eq!(desk.get(&path).await.ok()["caps"], json!([cap]), "a refused change left a trace");
    assert_eq!(desk.patch(&path, json!({"caps": null})).await.ok()["caps"], json!([]));
}
