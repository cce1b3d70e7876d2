use schemas::event::{Trust, label};

use crate::fixture::{ORIGIN, PUBLISHABLE, PUBLISHABLE_NOWHERE, SECRET};
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
