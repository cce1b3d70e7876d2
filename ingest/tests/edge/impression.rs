//! Impressions: by link, and by offer and partner.

use schemas::event::{Body, Impression, label};

use crate::harness::{Answer, TestEdge, request};

async fn last(edge: &TestEdge) -> Impression {
    let event = edge.events().await.pop().unwrap();
    let Body::Impression(impression) = event.body else { panic!("no impression: {event:?}") };
    *impression
}

fn is_gif(answer: &Answer) -> bool {
    answer.status == 200
        && answer.header("content-type") == Some("image/gif")
        && answer.header("cache-control") == Some("no-store, private")
        && (answer.body.len(), answer.body.starts_with(b"GIF89a")) == (43, true)
}

#[tokio::test]
async fn what_was_shown_is_recorded() {
    let edge = TestEdge::start().await;
    let answer = edge
        .get_with("/i/anna?sub1=a&x=1&cost=0.001&creative=c", &[("referer", "https://blog.example/")])
        .await;
    assert!(is_gif(&answer));
    let event = edge.only_event().await;
    assert_eq!(answer.header("x-receipt"), Some(event.id.to_string().as_str()));
    let hit = last(&edge).await.hit;
    assert_eq!((hit.offer, hit.partner), (edge.fixture.offer, Some(edge.fixture.partner)));
    assert!(hit.link.is_some() && hit.subs == ["a"] && hit.creative == "c");
    assert_eq!(hit.params, [("x".to_owned(), "1".to_owned())]);
    assert_eq!((hit.cost.unwrap().micros, hit.referrer.as_str()), (1_000, "https://blog.example/"));
    assert!(answer.header("set-cookie").unwrap().contains(&hit.visitor.unwrap().to_string()));
    let by_offer = format!("/i.gif?offer={}&partner=anna&sub2={{x}}?a=1&a=2&test=1", edge.fixture.offer);
    assert!(is_gif(&edge.get_with(&by_offer, &[("sec-purpose", "prefetch")]).await));
    let hit = last(&edge).await.hit;
    assert_eq!((hit.link, hit.partner, hit.test), (None, Some(edge.fixture.partner), true));
    for wanted in [label::PREFETCH, label::UNRESOLVED_MACRO, label::REPAIRED_URL, label::REPEATED_PARAMETER] {
        assert!(hit.labels.iter().any(|known| known == wanted), "{wanted}");
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_an_image_all_the_same() {
    let mut edge = TestEdge::start().await;
    edge.change_link("plain", |link| link.meta.archived = true).await;
    let long = format!("/i/anna?{}", "x".repeat(9_000));
    for (path, code) in [
        ("/i/unknown", "not_found"),
        ("/i/a%20b", "not_found"),
        ("/i/late", "not_found"),
        ("/i/plain", "not_found"),
        ("/i.gif", "validation_failed"),
        ("/i.gif?offer=", "validation_failed"),
        ("/i.gif?offer=nonsense", "not_found"),
        (&long, "uri_too_long"),
    ] {
        let answer = edge.get(path).await;
        assert!(is_gif(&answer), "{path:.40}");
        assert_eq!((answer.header("x-error"), answer.header("x-receipt")), (Some(code), None), "{path:.40}");
    }
    for path in ["/i/anna", "/i.gif?offer=x"] {
        let head = edge.send(request("HEAD", path).body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(head.status, 405, "{path}");
    }
    assert!(edge.events().await.is_empty());
    assert_eq!(
        edge.metric("ingest_refused_total{error=\"not_found\",route=\"impression\"}").await,
        Some(5.0)
    );
}
