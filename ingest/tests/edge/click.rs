use std::sync::Arc;

use catalog::bootstrap::FIRST_WORKSPACE;
use catalog::follower::FollowerSettings;
use catalog::{Follower, Link, Meta, Partner, Resource, Workspace};
use schemas::event::label;
use schemas::id::ClickId;

use crate::fixture::NOW;
use crate::harness::{BROWSER, TestEdge, hit_of, request};

/// The click id in the answer's `Location`.
fn click_id(location: &str, parameter: &str) -> ClickId {
    let url = url::Url::parse(location).unwrap();
    let pairs: Vec<_> = url.query_pairs().filter(|(name, _)| name == parameter).collect();
    assert_eq!(pairs.len(), 1, "{location}");
    pairs[0].1.parse().unwrap()
}

#[tokio::test]
async fn a_click_is_redirected_and_stands_in_the_log() {
    let edge = TestEdge::start().await;
    let answer = edge
        .get_with(
            "/c/anna?sub1=blog%20post&sub3=x&source_id=s1&ext_click_id=e1&utm_source=mail&cost=1",
            &[("referer", "https://blog.example/post")],
        )
        .await;
    assert_eq!(answer.status, 302);
    for (name, value) in [
        ("cache-control", "no-store, private"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("x-robots-tag", "noindex"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let (event, click) = edge.only_click().await;
    let location = answer.header("location").unwrap();
    assert_eq!(location, format!("https://shop.example/?cid={}&s=blog%20post&utm_source=mail", click.id));
    assert_eq!(answer.header("x-receipt"), Some(event.id.to_string().as_str()));
    assert_eq!(click.destination_url, location);
    assert_eq!(
        (event.workspace, event.id.workspace(), click.id.workspace()),
        (FIRST_WORKSPACE, FIRST_WORKSPACE, FIRST_WORKSPACE)
    );
    assert_eq!((event.received_at, click.hit.occurred_at), (NOW, NOW));
    assert_eq!(event.catalog, edge.follower.revision());
    assert_eq!(event.mark.unwrap().number, 0);
    assert_eq!((click.hit.offer, click.hit.partner), (edge.fixture.offer, Some(edge.fixture.partner)));
    assert_eq!(click.hit.subs, ["blog post", "", "x"]);
    assert_eq!((&*click.hit.source_id, &*click.ext_click_id, &*click.hit.creative), ("s1", "e1", "banner-1"));
    assert_eq!(click.hit.params, [("utm_source".to_owned(), "mail".to_owned())]);
    assert_eq!((&*click.hit.user_agent, &*click.hit.referrer), (BROWSER, "https://blog.example/post"));
    assert_eq!(click.hit.address, "203.0.113.0");
    assert!(click.hit.labels.is_empty() && !click.hit.test, "{click:?}");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with(&format!("tb_vid={};", click.hit.visitor.unwrap())), "{cookie}");
    assert!(cookie.contains("HttpOnly; SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_are_dense_in_the_order_of_the_log() {
    let edge = TestEdge::start().await;
    let clicks = (0..300).map(|_| edge.get("/c/anna"));
    let answers = futures::future::join_all(clicks).await;
    assert!(answers.iter().all(|answer| answer.status == 302 && answer.header("x-receipt").is_some()));
    let events = edge.events().await;
    let mut numbers: Vec<_> = events.iter().map(|event| event.mark.unwrap().number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event.mark.unwrap().edge == events[0].mark.unwrap().edge));
    let mut receipts: Vec<_> =
        answers.iter().map(|answer| answer.header("x-receipt").unwrap().to_owned()).collect();
    let mut written: Vec<_> = events.iter().map(|event| event.id.to_string()).collect();
    receipts.sort();
    written.sort();
    assert_eq!(receipts, written);
    // Fewer appends than events: those that waited together went together. How many did is the scheduler's business.
    let groups = edge.metric("ingest_group_events_count").await.unwrap();
    assert!(groups < 300.0, "{groups} groups");
    assert_eq!(edge.metric("ingest_queue_events{partition=\"0\"}").await, Some(0.0));
    assert_eq!(edge.metric("ingest_acknowledged_total{route=\"click\"}").await, Some(300.0));
}

#[tokio::test]
async fn the_click_id_wins_over_the_caller_and_the_caller_over_the_stored() {
    let edge = TestEdge::start().await;
    let answer = edge.get("/c/plain?click_id=evil&utm_source=mine&u=https%3A%2F%2Fevil.example").await;
    let location = answer.header("location").unwrap();
    let (_, click) = edge.only_click().await;
    assert_eq!(click_id(location, "click_id"), click.id);
    assert_eq!(location, format!("https://shop.example/plain?a=1&utm_source=mine&click_id={}#top", click.id));
}

#[tokio::test]
async fn the_partner_may_be_named_by_the_request() {
    let edge = TestEdge::start().await;
    let anna = edge.fixture.partner;
    for (query, partner, is_unknown) in [
        ("nobody", None, false),
        ("nobody?via=anna", Some(anna), false),
        (&format!("nobody?via={anna}"), Some(anna), false),
        ("nobody?via=ext:crm:77", Some(anna), false),
        ("anna?via=", Some(anna), false),
        ("anna?via=left", None, true),
        ("anna?via=stranger", None, true),
        ("anna?via=part_01h455vb4pex5vsknk084sn02q", None, true),
    ] {
        let answer = edge.get(&format!("/c/{query}")).await;
        assert_eq!(answer.status, if query.starts_with("nobody") { 307 } else { 302 }, "{query}");
        let event = edge.events().await.pop().unwrap();
        let schemas::event::Body::Click(click) = event.body else { panic!("no click") };
        assert_eq!(click.hit.partner, partner, "{query}");
        let labels: &[&str] = if is_unknown { &[label::UNKNOWN_PARTNER] } else { &[] };
        assert_eq!(click.hit.labels, labels, "{query}");
    }
}

#[tokio::test]
async fn the_links_own_partner_may_have_left() {
    let mut edge = TestEdge::start().await;
    let partner = edge.follower.read().partner(FIRST_WORKSPACE, edge.fixture.partner).cloned().unwrap();
    let gone = Partner { meta: Meta { archived: true, ..partner.meta.clone() }, ..partner };
    edge.put(vec![gone.into()]).await;
    edge.get("/c/anna").await;
    let (_, click) = edge.only_click().await;
    assert_eq!((click.hit.partner, click.hit.labels), (None, vec![label::UNKNOWN_PARTNER.to_owned()]));
}

#[tokio::test]
async fn a_known_visitor_stays_and_one_who_refuses_is_nobody() {
    let edge = TestEdge::start().await;
    let cookie = "tb_vid=vis_01h455vb4pex5vsknk084sn02q";
    let known = edge.get_with("/c/anna", &[("cookie", cookie)]).await;
    assert_eq!(known.header("set-cookie"), None);
    for header in ["sec-gpc", "dnt"] {
        let refuses = edge.get_with("/c/anna", &[("cookie", cookie), (header, "1")]).await;
        assert_eq!((refuses.status.as_u16(), refuses.header("set-cookie")), (302, None));
    }
    let visitors: Vec<_> =
        edge.events().await.into_iter().map(|event| hit_of(event).visitor.map(|id| id.to_string())).collect();
    assert_eq!(visitors, [Some("vis_01h455vb4pex5vsknk084sn02q".to_owned()), None, None]);
}

#[tokio::test]
async fn cookies_are_secure_on_https() {
    let settings = ingest::IngestSettings {
        public_url: "https://t.example".into(),
        ..ingest::IngestSettings::default()
    };
    let edge = TestEdge::start_with(settings, |log| log).await;
    assert!(edge.get("/c/anna").await.header("set-cookie").unwrap().ends_with("; Secure"));
    let edge = TestEdge::start().await;
    for (scheme, is_secure) in [("https", true), ("HTTPS, http", true), ("http, https", false), ("", false)] {
        let answer = edge.get_with("/c/anna", &[("x-forwarded-proto", scheme)]).await;
        assert_eq!(answer.header("set-cookie").unwrap().ends_with("; Secure"), is_secure, "{scheme}");
    }
    let mut stranger = request("GET", "/c/anna").header("x-forwarded-proto", "https");
    let peer = std::net::SocketAddr::from(([203, 0, 113, 9], 4_000));
    stranger.extensions_mut().unwrap().insert(axum::extract::ConnectInfo(peer));
    let answer = edge.send(stranger.body(axum::body::Body::empty()).unwrap()).await;
    assert!(!answer.header("set-cookie").unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn heads_prefetches_and_odd_parameters_are_labelled() {
    let edge = TestEdge::start().await;
    let head = request("HEAD", "/c/anna?a=1&a=2").body(axum::body::Body::empty()).unwrap();
    let answer = edge.send(head).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (302, 0));
    assert!(answer.header("location").unwrap().ends_with("&a=1"));
    let long = format!("/c/anna?b={}", "x".repeat(257));
    edge.get_with(&long, &[("sec-purpose", "prefetch;prerender")]).await;
    let labels: Vec<_> = edge.events().await.into_iter().map(|event| hit_of(event).labels).collect();
    assert_eq!(
        labels,
        [[label::HEAD, label::REPEATED_PARAMETER], [label::DROPPED_PARAMETER, label::PREFETCH]]
    );
}

#[tokio::test]
async fn an_unknown_link_is_a_page_or_json() {
    let edge = TestEdge::start().await;
    for path in ["/c/unknown", "/c/%00", "/c/a%20b", &format!("/c/{}", "x".repeat(65))] {
        let page = edge.get(path).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(page.header("content-type").unwrap().starts_with("text/html"), "{path}");
        assert_eq!(page.header("x-receipt"), None);
        edge.get_with(path, &[("accept", "application/json")]).await.error(404, "not_found");
    }
    assert!(edge.events().await.is_empty());
    assert_eq!(edge.metric("ingest_refused_total{error=\"not_found\",route=\"click\"}").await, Some(8.0));
}

#[tokio::test]
async fn a_dead_link_leads_to_the_nearest_fallback() {
    let mut edge = TestEdge::start().await;
    let late = edge.get("/c/late").await;
    assert_eq!((late.status.as_u16(), late.header("location")), (302, Some("https://shop.example/late")));
    assert_eq!(late.header("x-receipt"), None);
    assert_eq!(edge.get("/c/late-without-fallback").await.status, 404);
    let workspace = edge.follower.read().workspace(FIRST_WORKSPACE).cloned().unwrap();
    let with_fallback = Workspace { fallback_url: Some("https://shop.example/home".into()), ..workspace };
    edge.put(vec![Resource::Workspace(with_fallback)]).await;
    for path in ["/c/late-without-fallback", "/c/unknown"] {
        assert_eq!(edge.get(path).await.header("location"), Some("https://shop.example/home"), "{path}");
    }
    let offer = edge.follower.read().offer(FIRST_WORKSPACE, edge.fixture.offer).cloned().unwrap();
    let archived = catalog::Offer {
        fallback_url: Some("https://shop.example/offer-gone".into()),
        meta: Meta { archived: true, ..offer.meta.clone() },
        ..offer
    };
    edge.put(vec![archived.into()]).await;
    assert_eq!(edge.get("/c/anna").await.header("location"), Some("https://shop.example/offer-gone"));
    assert!(edge.events().await.is_empty());
    assert_eq!(edge.metric("ingest_fallback_total{route=\"click\"}").await, Some(4.0));
}

#[tokio::test]
async fn a_link_that_another_node_just_made_is_found() {
    let mut edge = TestEdge::start().await;
    let other = Follower::start(Arc::clone(&edge.log), FollowerSettings::default()).await.unwrap();
    let stored = edge.follower.read().link_by_key(None, "anna").cloned().unwrap();
    for n in 0..20 {
        let mut ids = schemas::id::IdGenerator::new(100 + n);
        let key = format!("new-{n}");
        let link = Link { id: ids.next(NOW.unix_ms(), FIRST_WORKSPACE), key: key.clone(), ..stored.clone() };
        let proposal = edge.proposal(vec![link.into()]);
        other.propose(proposal).await.unwrap();
        assert_eq!(edge.get(&format!("/c/{key}")).await.status, 302, "{key}");
    }
    let events = edge.events().await;
    assert_eq!(events.last().unwrap().catalog, other.revision());
    other.shutdown().await;
}
