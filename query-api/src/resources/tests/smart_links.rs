//! Rules of links, and what they would do.

use super::*;

/// A link with a rule for German phones and one for the evening.
async fn smart_link(desk: &TestDesk) -> (Value, String) {
    let other = desk.offer().await;
    let rules = json!([
        {"when": {"and": [{"field": "country", "op": "eq", "value": ["DE", "AT"]}, {"not": {"field": "bot", "value": true}}]},
         "to": [{"destination_url": "https://de.example/?c={click_id}", "weight": 3}, {"offer": other}]},
        {"when": {"field": "hour", "op": "gte", "value": 18}, "to": [{"destination_url": "https://night.example/"}]},
    ]);
    let link =
        desk.made("/links", json!({"offer": desk.offer().await, "key": "smart", "rules": rules})).await;
    (link, other)
}

#[tokio::test]
async fn rules_get_ids_and_keep_them() {
    let (_installation, desk) = desk().await;
    let (link, other) = smart_link(&desk).await;
    let rules = &link["rules"];
    let ids: Vec<String> = rules.as_array().unwrap().iter().map(|rule| text(&rule["id"])).collect();
    assert!(ids.iter().all(|id| id.starts_with("rule_")) && ids[0] != ids[1], "{ids:?}");
    let when = json!({"and": [
        {"field": "country", "op": "eq", "value": ["DE", "AT"]},
        {"not": {"field": "bot", "op": "eq", "value": ["true"]}},
    ]});
    assert_eq!(rules[0]["when"], when);
    assert_eq!(rules[0]["to"][1], json!({"offer": other, "weight": 1}));

    let path = format!("/links/{}", text(&link["id"]));
    assert_eq!(desk.patch(&path, json!({"creative": "x"})).await.ok()["rules"], *rules);
    // What an answer shows can be sent back, here in another order.
    let turned = desk.patch(&path, json!({"rules": [rules[1], rules[0]]})).await.ok();
    assert_eq!(turned["rules"], json!([rules[1], rules[0]]));
    let mut anew = rules[0].clone();
    anew.as_object_mut().unwrap().remove("id");
    let renewed = desk.patch(&path, json!({"rules": [anew]})).await.ok();
    assert!(!ids.contains(&text(&renewed["rules"][0]["id"])), "{renewed}");
    desk.patch(&path, json!({"rules": [rules[1]]})).await.is(400, "validation_failed", "rules[0].id");
    assert_eq!(desk.put(&path, json!({"offer": link["offer"]})).await.ok()["rules"], json!([]));
}

#[tokio::test]
async fn what_is_wrong_in_a_rule_is_named_by_its_path() {
    let (_installation, desk) = desk().await;
    let offer = desk.offer().await;
    let here = json!([{"destination_url": "https://shop.example"}]);
    let germans = json!({"field": "country", "value": ["DE"]});
    let mut deep = germans.clone();
    for _ in 0..100 {
        deep = json!({"not": deep});
    }
    let deep_at = format!("rules[0].when{}", ".not".repeat(8));
    for (rule, field) in [
        (
            json!({"when": {"field": "country", "op": "eq", "value": ["Germany"]}, "to": here}),
            "rules[0].when.value",
        ),
        (json!({"when": {"field": "planet", "value": ["x"]}, "to": here}), "rules[0].when.field"),
        (json!({"when": {"field": "city", "op": "like", "value": ["x"]}, "to": here}), "rules[0].when.op"),
        (json!({"when": {"and": [germans, {"or": [{"x": 1}]}]}, "to": here}), "rules[0].when.and[1].or[0]"),
        (json!({"when": {"and": [], "or": []}, "to": here}), "rules[0].when.or"),
        (json!({"when": {"and": {}}, "to": here}), "rules[0].when.and"),
        (json!({"when": deep, "to": here}), deep_at.as_str()),
        (json!({"when": null, "to": here}), "rules[0].when"),
        (json!({"when": germans}), "rules[0].to"),
        (json!({"when": germans, "to": []}), "rules[0].to"),
        (json!({"when": germans, "to": [{"weight": 1}]}), "rules[0].to[0].destination_url"),
        (json!({"when": germans, "to": [{"offer": "offer_x"}]}), "rules[0].to[0].offer"),
        (
            json!({"when": germans, "to": [{"destination_url": "https://shop.example", "weight": 0}]}),
            "rules[0].to[0].weight",
        ),
        (
            json!({"when": germans, "to": [{"destination_url": "https://shop.example/{clickid}"}]}),
            "rules[0].to[0].destination_url",
        ),
        (json!({"when": germans, "to": here, "name": "x"}), "rules[0].name"),
        (json!(7), "rules[0]"),
    ] {
        let answer = desk.post("/links", json!({"offer": offer, "rules": [rule]})).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
        let named =
            answer.body["field"] == json!(field) || answer.fields().iter().any(|found| found == field);
        assert!(named, "{field}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_simulation_says_which_rule_takes_a_click_and_why() {
    let (_installation, desk) = desk().await;
    let (link, other) = smart_link(&desk).await;
    let path = format!("/links/{}/simulate", text(&link["id"]));
    let simulate = async |body: Value| desk.post(&path, body).await.ok();
    let noon = json!({"at": "2026-11-20T12:00:00Z"});

    let nobody = simulate(noon.clone()).await;
    assert_eq!((&nobody["rule"], &nobody["variant"]), (&Value::Null, &Value::Null));
    assert_eq!(text(&nobody["destination_url"]), "https://shop.example/?cid={click_id}");
    assert_eq!(nobody["rules"][0]["matched"], json!(false));
    assert_eq!(text(&nobody["rules"][0]["reason"]), "country is unknown: it is not one of \"DE\", \"AT\"");
    assert_eq!(text(&nobody["rules"][1]["reason"]), "hour is \"12\": it is not \"18\" or more");

    let german = simulate(json!({"country": "DE", "at": "2026-11-20T18:00:00Z"})).await;
    assert_eq!((&german["rule"], &german["variant"]), (&link["rules"][0]["id"], &Value::Null));
    assert_eq!(german["variants"][0]["share"], json!(0.75));
    assert_eq!(german["variants"][1]["offer"], json!(other));
    assert!(text(&german["rules"][1]["reason"]).ends_with("an earlier rule takes the click"), "{german}");
    assert_eq!(german["rules"][1]["matched"], json!(true));

    // A named visitor has a variant, and always the same.
    let visitor = "vis_01h455vb4pex5vsknk084sn02q";
    let named = simulate(json!({"country": "DE", "visitor_id": visitor})).await;
    let variant = named["variant"].as_u64().unwrap() as usize;
    assert_eq!(named["destination_url"], named["variants"][variant]["destination_url"]);
    assert_eq!(simulate(json!({"country": "AT", "visitor_id": visitor})).await["variant"], named["variant"]);

    let bot = simulate(json!({"country": "DE", "bot": true, "at": "2026-11-20T19:00:00Z"})).await;
    assert_eq!((&bot["rule"], &bot["variant"]), (&link["rules"][1]["id"], &json!(0)));
    assert_eq!(text(&bot["destination_url"]), "https://night.example/");
    let refused =
        desk.post(&path, json!({"country": "Germany", "hour": 24, "planet": "x", "visitor_id": "v"})).await;
    let mut fields = refused.fields();
    fields.sort();
    assert_eq!(fields, ["country", "hour", "planet", "visitor_id"]);
    desk.post("/links/link_x/simulate", json!({})).await.is(404, "not_found", "");
    assert_eq!(
        desk.get(&format!("/links/{}", text(&link["id"]))).await.ok()["version"],
        json!(1),
        "nothing was written"
    );
}
