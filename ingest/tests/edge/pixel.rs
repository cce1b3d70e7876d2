use catalog::bootstrap::FIRST_WORKSPACE;
use catalog::{Meta, Pixel, Resource};
use schemas::event::{Trust, label};
use schemas::id::IdGenerator;

use crate::fixture::{NOW, ORIGIN, PUBLISHABLE, PUBLISHABLE_NOWHERE, SECRET};
use crate::harness::{Answer, TestEdge};

fn check_gif(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("image/gif")));
    assert_eq!((answer.body.len(), &answer.body[..6]), (43, &b"GIF89a"[..]));
    assert_eq!(answer.header("cache-control"), Some("no-store, private"));
    assert_ne!(answer.header("x-receipt").is_some(), answer.header("x-error").is_some());
}

#[tokio::test]
async fn a_pixel_records_what_the_page_may_say() {
    let edge = TestEdge::start().await;
    let uri = format!("/p.gif?key={PUBLISHABLE}&event=lead&tid=T-1&amount=5&currency=EUR&page=cart");
    let cookie = "tb_vid=vis_01h455vb4pex5vsknk084sn02q";
    let answer = edge.get_with(&uri, &[("origin", ORIGIN), ("cookie", cookie)]).await;
    check_gif(&answer);
    let event = edge.only_event().await;
    assert_eq!(answer.header("x-receipt"), Some(event.id.to_string().as_str()));
    let conversion = edge.only_conversion().await;
    assert_eq!((&*conversion.goal, &*conversion.transaction_id), ("lead", "T-1"));
    assert_eq!((conversion.trust, conversion.source), (Trust::Publishable, None));
    assert_eq!(conversion.visitor.unwrap().to_string(), "vis_01h455vb4pex5vsknk084sn02q");
    assert_eq!((&*conversion.metadata, conversion.labels.len()), (r#"{"page":"cart"}"#, 0));
}

#[tokio::test]
async fn a_pixel_without_a_page_is_labelled() {
    let edge = TestEdge::start().await;
    check_gif(&edge.get(&format!("/p.gif?key={PUBLISHABLE}")).await);
    assert_eq!(edge.only_conversion().await.labels, [label::NO_ORIGIN]);
}

#[tokio::test]
async fn a_refused_pixel_is_a_gif_all_the_same() {
    let edge = TestEdge::start().await;
    let long = format!("key={PUBLISHABLE}&x={}", "x".repeat(9_000));
    for (query, origin, code) in [
        ("", Some(ORIGIN), "unauthorized"),
        ("key=", Some(ORIGIN), "unauthorized"),
        ("key=tb_pub_unknown", Some(ORIGIN), "unauthorized"),
        (&format!("key={SECRET}"), Some(ORIGIN), "unauthorized"),
        (&format!("key={PUBLISHABLE}"), Some("https://evil.example"), "forbidden"),
        (&format!("key={PUBLISHABLE}"), Some("null"), "forbidden"),
        (&format!("key={PUBLISHABLE_NOWHERE}"), Some(ORIGIN), "forbidden"),
        (&format!("key={PUBLISHABLE_NOWHERE}"), None, "forbidden"),
        (&format!("key={PUBLISHABLE}&amount=1e5"), Some(ORIGIN), "validation_failed"),
        (&long, Some(ORIGIN), "uri_too_long"),
    ] {
        let headers: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        let answer = edge.get_with(&format!("/p.gif?{query}"), &headers).await;
        check_gif(&answer);
        assert_eq!(answer.header("x-error"), Some(code), "{query:.60} {origin:?}");
    }
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn a_stored_pixel_knows_its_offer_and_its_goal() {
    let mut edge = TestEdge::start().await;
    let offer = edge.fixture.offer;
    let pixel = Pixel {
        id: IdGenerator::new(9).next(NOW.unix_ms(), FIRST_WORKSPACE),
        workspace: FIRST_WORKSPACE,
        offer,
        goal: Some("signup".into()),
        allowed_origins: Vec::new(),
        meta: Meta::new(NOW),
    };
    edge.put(vec![Resource::from(pixel.clone())]).await;
    let uri = format!("/p.gif?px={}&tid=T-1&amount=5", pixel.id);
    check_gif(&edge.get_with(&uri, &[("origin", "https://anywhere.example")]).await);
    let conversion = edge.only_conversion().await;
    assert_eq!(
        (conversion.pixel, conversion.offer, &*conversion.goal),
        (Some(pixel.id), Some(offer), "signup")
    );
    assert_eq!((conversion.trust, conversion.amount.unwrap().currency.code()), (Trust::Publishable, "EUR"));
    assert!(conversion.labels.is_empty() && conversion.metadata.is_empty());
    let bound = Pixel { allowed_origins: vec![ORIGIN.to_owned()], ..pixel.clone() };
    edge.put(vec![Resource::from(bound)]).await;
    let foreign = edge.get_with(&uri, &[("origin", "https://anywhere.example")]).await;
    assert_eq!(foreign.header("x-error"), Some("forbidden"));
    let unknown = edge.get("/p.gif?px=px_01h455vb4pex5vsknk084sn02q").await;
    assert_eq!(unknown.header("x-error"), Some("unauthorized"));
    check_gif(&edge.get_with(&format!("{uri}&event=sale"), &[("origin", ORIGIN)]).await);
    assert_eq!(edge.events().await.len(), 2);
}
