//! What pages send by themselves, and what browsers ask before.

use http::{HeaderValue, Request};
use ingest::{IngestSettings, LimitSettings};
use schemas::event::{Body, Click, Trust, label};
use serde_json::{Value, json};

use crate::fixture::{ORIGIN, PUBLISHABLE, SECRET, TEST_SECRET};
use crate::harness::{Answer, TestEdge, post_json, request};

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// As `sendBeacon` does: a text from a page.
async fn beacon(edge: &TestEdge, route: &str, body: &Value) -> Answer {
    let builder = request("POST", &format!("/api/v1/track/{route}"))
        .header("content-type", "text/plain;charset=UTF-8")
        .header("origin", ORIGIN)
        .header("referer", "https://shop.example/landing")
        .header("user-agent", AGENT);
    edge.send(builder.body(body.to_string().into()).unwrap()).await
}

fn click(body: Body) -> Click {
    let Body::Click(click) = body else { panic!("no click: {body:?}") };
    *click
}

#[tokio::test]
async fn a_page_reports_a_click_a_lead_and_a_sale() {
    let edge = TestEdge::start().await;
    let answer = beacon(
        &edge,
        "click",
        &json!({"key": PUBLISHABLE, "link": "anna", "sub1": "blog", "utm_source": "news", "n": 1, "cost": "0.10"}),
    )
    .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(
        (answer.header("access-control-allow-credentials"), answer.header("vary")),
        (None, Some("origin"))
    );
    let event = edge.only_event().await;
    let recorded = click(event.body);
    let hit = &recorded.hit;
    assert_eq!(
        answer.json(),
        json!({"receipt": event.id, "status": "accepted", "click_id": recorded.id, "visitor_id": hit.visitor})
    );
    assert!(hit.visitor.is_some());
    assert_eq!(
        (hit.offer, hit.partner, &*hit.creative),
        (edge.fixture.offer, Some(edge.fixture.partner), "banner-1")
    );
    assert_eq!((&*hit.user_agent, &*hit.address), (AGENT, "203.0.113.0"));
    assert_eq!(
        (&hit.subs[..], &*recorded.destination_url),
        (&["blog".to_owned()][..], "https://shop.example/landing")
    );
    let passed = [("n".to_owned(), "1".to_owned()), ("utm_source".to_owned(), "news".to_owned())];
    assert_eq!((&hit.params[..], hit.cost.unwrap().micros), (&passed[..], 100_000));
    for (route, goal) in [("lead", "lead"), ("sale", "sale")] {
        let edge = TestEdge::start().await;
        let answer =
            beacon(&edge, route, &json!({"key": PUBLISHABLE, "click_id": recorded.id, "consent": "0"})).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let conversion = edge.only_conversion().await;
        assert_eq!((&*conversion.goal, conversion.click), (goal, Some(recorded.id)));
        assert_eq!((conversion.trust, &*conversion.metadata), (Trust::Publishable, ""));
        assert_eq!(conversion.labels, [label::NO_CONSENT]);
    }
}

#[tokio::test]
async fn a_server_reports_somebody_elses_click() {
    let edge = TestEdge::start().await;
    let body = json!({
        "offer": edge.fixture.offer, "via": "anna", "user_agent": AGENT, "ip": "198.51.100.7", "referrer": "https://news.example/",
        "visitor_id": "vis_01h455vb4pex5vsknk084sn02q", "url": "https://shop.example/a", "ext_click_id": "x-1",
        "occurred_at": "2026-10-31T23:00:00Z",
    });
    assert_eq!(edge.send(post_json("/api/v1/track/click", TEST_SECRET, &body.to_string())).await.status, 202);
    let click = click(edge.only_event().await.body);
    let hit = &click.hit;
    assert_eq!((hit.link, hit.partner, hit.test), (None, Some(edge.fixture.partner), true));
    assert_eq!(
        (&*hit.user_agent, &*hit.address, &*hit.referrer),
        (AGENT, "198.51.100.0", "https://news.example/")
    );
    assert_eq!(hit.visitor.unwrap().to_string(), "vis_01h455vb4pex5vsknk084sn02q");
    assert_eq!((&*click.destination_url, &*click.ext_click_id), ("https://shop.example/a", "x-1"));
    assert_eq!(hit.occurred_at, "2026-10-31T23:00:00Z".parse().unwrap());
}

#[tokio::test]
async fn a_click_on_nothing_is_refused() {
    let edge = TestEdge::start().await;
    for (body, status, code, field) in [
        (json!({}), 400, "validation_failed", Some("link")),
        (json!({"link": "nothing"}), 404, "not_found", None),
        (json!({"link": "late"}), 404, "not_found", None),
        (json!({"offer": "shoes"}), 400, "validation_failed", Some("offer")),
        (json!({"offer": "offer_01h455vb4pex5vsknk084sn02q"}), 404, "not_found", None),
        (json!({"link": "anna", "cost": "1.0000005"}), 400, "validation_failed", Some("cost")),
        (json!({"link": "anna", "cost": 1}), 400, "validation_failed", Some("cost")),
        (json!({"link": "anna", "cost": {"amount": 1}}), 400, "validation_failed", Some("cost")),
        (json!({"link": "anna", "cost": "1", "currency": "eur"}), 400, "validation_failed", Some("currency")),
        (json!({"link": "anna", "visitor_id": "x"}), 400, "validation_failed", Some("visitor_id")),
    ] {
        let answer = edge.send(post_json("/api/v1/track/click", SECRET, &body.to_string())).await;
        assert_eq!(answer.error(status, code).as_deref(), field, "{body}");
    }
    assert!(edge.events().await.is_empty());
    let unknown = json!({"link": "anna", "partner": "stranger"}).to_string();
    assert_eq!(edge.send(post_json("/api/v1/track/click", SECRET, &unknown)).await.status, 202);
    let click = click(edge.only_event().await.body);
    assert_eq!((click.hit.partner, &click.hit.labels[..]), (None, &[label::UNKNOWN_PARTNER.to_owned()][..]));
}

#[tokio::test]
async fn a_key_in_the_body_is_a_publishable_one_from_its_own_pages() {
    let edge = TestEdge::start().await;
    beacon(&edge, "sale", &json!({})).await.error(401, "unauthorized");
    beacon(&edge, "sale", &json!({"key": "tb_pub_unknown"})).await.error(401, "unauthorized");
    beacon(&edge, "sale", &json!({"key": SECRET})).await.error(401, "unauthorized");
    beacon(&edge, "sale", &json!({"key": 5})).await.error(401, "unauthorized");
    let foreign = request("POST", "/api/v1/track/sale")
        .header("content-type", "text/plain")
        .header("origin", "https://evil.example")
        .body(json!({"key": PUBLISHABLE}).to_string().into());
    let answer = edge.send(foreign.unwrap()).await;
    answer.error(403, "forbidden");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    // Where servers send to, a text is no JSON, and a key stands in a header.
    let text =
        request("POST", "/api/v1/conversions").header("content-type", "text/plain").header("origin", ORIGIN);
    edge.send(text.body(json!({"key": PUBLISHABLE}).to_string().into()).unwrap())
        .await
        .error(401, "unauthorized");
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn browsers_are_told_who_may_send() {
    let edge = TestEdge::start().await;
    let ask = async |path: &str, origin: &str| {
        let builder = Request::builder().method("OPTIONS").uri(path).header("origin", origin);
        let builder = builder.header("access-control-request-method", "POST");
        edge.send(builder.body(axum::body::Body::empty()).unwrap()).await
    };
    for route in ["click", "lead", "sale"] {
        let answer = ask(&format!("/api/v1/track/{route}"), ORIGIN).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("access-control-allow-origin")),
            (204, Some(ORIGIN))
        );
        assert!(answer.header("access-control-allow-headers").unwrap().contains("x-api-key"));
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    for origin in ["https://evil.example", "null", ""] {
        let answer = ask("/api/v1/track/sale", origin).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("access-control-allow-origin")),
            (204, None),
            "{origin}"
        );
    }
    for route in ["/api/v1/conversions", "/api/v1/refunds", "/api/v1/events/batch", "/postback"] {
        let answer = ask(route, ORIGIN).await;
        answer.error(405, "method_not_allowed");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{route}");
    }
    // An error can be read by the page as well.
    let answer = beacon(&edge, "sale", &json!({"key": PUBLISHABLE, "amount": 5})).await;
    answer.error(400, "validation_failed");
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
}

#[tokio::test]
async fn a_page_can_read_every_refusal_and_every_one_counts() {
    // Three seconds give one request back: longer than it takes to compare two.
    let limits = LimitSettings { browser_per_minute: 20, s2s_per_minute: 20, ..LimitSettings::default() };
    let settings = IngestSettings { max_body_bytes: 256, limits, ..IngestSettings::default() };
    let edge = TestEdge::start_with(settings, |log| log).await;
    let remaining =
        |answer: &Answer| -> u32 { answer.header("ratelimit-remaining").unwrap().parse().unwrap() };
    let send = async |origin: &'static str,
                      (name, value): (&'static str, &'static str),
                      path: &str,
                      body: String| {
        let builder = request("POST", path).header("origin", origin);
        let mut request = builder.header("content-type", "text/plain").body(body.into()).unwrap();
        request.headers_mut().insert(name, HeaderValue::from_static(value));
        edge.send(request).await
    };
    let text = ("content-type", "text/plain");
    let good = json!({"key": PUBLISHABLE}).to_string();
    let sale = "/api/v1/track/sale";
    let long = format!("{sale}?{}", "x".repeat(IngestSettings::default().max_uri_bytes));
    for (header, path, body, status, code) in [
        (text, sale, "{".to_owned(), 400, "validation_failed"),
        (text, sale, "{}".to_owned(), 401, "unauthorized"),
        (("accept", "image/png"), sale, good.clone(), 406, "not_acceptable"),
        (text, sale, " ".repeat(257), 413, "payload_too_large"),
        (text, &long, good.clone(), 414, "uri_too_long"),
        (("content-type", "text/html"), sale, good.clone(), 415, "unsupported_media_type"),
    ] {
        let answer = send(ORIGIN, header, path, body.clone()).await;
        answer.error(status, code);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{code}");
        let foreign = send("https://evil.example", header, path, body).await;
        assert_eq!(
            (foreign.status, foreign.header("access-control-allow-origin")),
            (answer.status, None),
            "{code}"
        );
        assert!(remaining(&foreign) < remaining(&answer), "{code}");
    }
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn a_click_costs_what_a_redirects_would() {
    for (fields, micros, currency) in [
        (json!({"cost": "0.0023"}), 2_300, "EUR"),
        (json!({"cost": "0.0023", "currency": "USD"}), 2_300, "USD"),
        (json!({"cost": {"amount": "1.5", "currency": "USD"}}), 1_500_000, "USD"),
        (json!({"cost": {"amount": "1.5"}, "currency": "USD"}), 1_500_000, "USD"),
    ] {
        let edge = TestEdge::start().await;
        let mut body = fields.clone();
        body["link"] = json!("anna");
        let answer = edge.send(post_json("/api/v1/track/click", SECRET, &body.to_string())).await;
        assert_eq!(answer.status, 202, "{fields}: {answer:?}");
        let cost = click(edge.only_event().await.body).hit.cost.unwrap();
        assert_eq!((cost.micros, cost.currency.code()), (micros, currency), "{fields}");
    }
}

#[tokio::test]
async fn what_nobody_can_check_is_kept_as_it_was_said() {
    let edge = TestEdge::start().await;
    let campaign = "camp_01h455vb4pex5vsknk084sn02q";
    let body = json!({"link": "anna", "campaign": campaign, "sub1": "{sub}", "test": true, "type": "banner"});
    let body = body.to_string();
    assert_eq!(edge.send(post_json("/api/v1/track/click", SECRET, &body)).await.status, 202);
    let hit = click(edge.only_event().await.body).hit;
    assert_eq!((hit.campaign, &hit.subs[..]), (None, &["{sub}".to_owned()][..]));
    let kept = [("campaign", campaign), ("test", "true"), ("type", "banner")];
    assert_eq!(hit.params, kept.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(hit.labels, [label::UNRESOLVED_MACRO]);
}
