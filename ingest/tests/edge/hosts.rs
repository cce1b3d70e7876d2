//! `Host` picks the domain, and so the workspace.

use catalog::bootstrap::FIRST_WORKSPACE;
use catalog::validate::EDGE_ROUTES;
use catalog::{Domain, DomainRole, Link, Meta, Resource};
use ingest::IngestSettings;
use schemas::id::WorkspaceNumber;

use crate::fixture::NOW;
use crate::harness::{Answer, TestEdge};

fn domain(edge: &mut TestEdge, workspace: WorkspaceNumber, hostname: &str, role: DomainRole) -> Domain {
    let fallback_url = Some(format!("https://{hostname}.example/home"));
    let (id, hostname) = (edge.new_id(), hostname.to_owned());
    Domain { id, workspace, hostname, role, fallback_url, meta: Meta::new(NOW) }
}

/// An edge with a tracking domain that has a link with the key `anna` of its own, and another one.
async fn edge_with_domain() -> TestEdge {
    let mut edge = TestEdge::start().await;
    let go = domain(&mut edge, FIRST_WORKSPACE, "xn--mnchen-3ya.go", DomainRole::Tracking);
    let api = domain(&mut edge, FIRST_WORKSPACE, "api.go", DomainRole::Api);
    let stored = edge.follower.read().link_by_key(None, "anna").cloned().unwrap();
    let mut link = |key: &str| Link {
        id: edge.new_id(),
        key: key.into(),
        domain: Some(go.id),
        destination_url: Some("https://shop.example/on-the-domain".into()),
        ..stored.clone()
    };
    let links = [link("anna"), link("i")];
    edge.put(vec![Resource::Domain(go), Resource::Domain(api)]).await;
    edge.put(links.map(Resource::from).to_vec()).await;
    edge
}

async fn get(edge: &TestEdge, host: &str, path: &str) -> Answer {
    edge.get_with(path, &[("host", host)]).await
}

#[tokio::test]
async fn a_domain_has_links_of_its_own() {
    let edge = edge_with_domain().await;
    for (host, path, prefix) in [
        ("xn--mnchen-3ya.go", "/c/anna", "https://shop.example/on-the-domain?click_id="),
        ("xn--mnchen-3ya.go", "/anna?sub1=x", "https://shop.example/on-the-domain?click_id="),
        ("MÜNCHEN.go:8080", "/anna", "https://shop.example/on-the-domain?click_id="),
        ("xn--mnchen-3ya.go.", "/anna", "https://shop.example/on-the-domain?click_id="),
        ("xn--mnchen-3ya.go", "/i", "https://shop.example/on-the-domain?click_id="),
        ("other.example", "/c/anna", "https://shop.example/?cid="),
        ("api.go", "/c/anna", "https://shop.example/?cid="),
        ("127.0.0.1:8080", "/c/anna", "https://shop.example/?cid="),
        // A link of the installation's own address is not one of the domain's, and the other way round.
        ("xn--mnchen-3ya.go", "/c/nobody", "https://xn--mnchen-3ya.go.example/home"),
        ("xn--mnchen-3ya.go", "/nobody", "https://xn--mnchen-3ya.go.example/home"),
    ] {
        let answer = get(&edge, host, path).await;
        let location = answer.header("location").unwrap();
        assert!(location.starts_with(prefix), "{host}{path} gave {location}");
    }
    let head = crate::harness::request("HEAD", "/anna").header("host", "xn--mnchen-3ya.go");
    assert_eq!(edge.send(head.body(axum::body::Body::empty()).unwrap()).await.status, 302);
}

#[tokio::test]
async fn only_a_tracking_domain_has_links_without_a_prefix() {
    let edge = edge_with_domain().await;
    for (host, path) in [
        ("other.example", "/anna"),
        ("api.go", "/anna"),
        ("127.0.0.1", "/anna"),
        ("xn--mnchen-3ya.go", "/an.na"),
        ("xn--mnchen-3ya.go", "/anna/x"),
        ("xn--mnchen-3ya.go", "/"),
    ] {
        get(&edge, host, path).await.error(404, "not_found");
    }
    for route in EDGE_ROUTES {
        // Were it no route, it would be a link's key that nobody has, and lead to the domain's home.
        let answer = get(&edge, "xn--mnchen-3ya.go", &format!("/{route}")).await;
        assert_eq!((answer.status == 404, answer.header("location")), (false, None), "{route}");
    }
    let post = crate::harness::request("POST", "/anna").header("host", "xn--mnchen-3ya.go");
    edge.send(post.body(axum::body::Body::empty()).unwrap()).await.error(404, "not_found");
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn a_domain_is_its_workspaces() {
    let mut edge = edge_with_domain().await;
    let second = edge.second_workspace().await;
    let theirs = domain(&mut edge, second.number, "theirs.go", DomainRole::Tracking);
    let gone = domain(&mut edge, second.number, "gone.go", DomainRole::Tracking);
    let gone = Domain { meta: Meta { archived: true, ..gone.meta.clone() }, fallback_url: None, ..gone };
    edge.put_into(second.number, vec![Resource::Domain(theirs), Resource::Domain(gone)]).await;
    let offer = edge.fixture.offer;
    let foreign = get(&edge, "theirs.go", &format!("/click?offer={offer}")).await;
    assert_eq!(foreign.header("location"), Some("https://theirs.go.example/home"));
    assert_eq!(get(&edge, "xn--mnchen-3ya.go", &format!("/click?offer={offer}")).await.status, 302);
    // A domain that was given up is a host like any other.
    let own = get(&edge, "gone.go", "/c/anna").await;
    assert!(own.header("location").unwrap().starts_with("https://shop.example/?cid="));
    assert_eq!(edge.events().await.len(), 2);
}

#[tokio::test]
async fn nobody_takes_over_the_installations_own_host() {
    let settings =
        IngestSettings { public_url: "https://T.Example./base".into(), ..IngestSettings::default() };
    let mut edge = TestEdge::start_with(settings, |log| log).await;
    let second = edge.second_workspace().await;
    let taken = domain(&mut edge, second.number, "t.example", DomainRole::Tracking);
    edge.put_into(second.number, vec![Resource::Domain(taken)]).await;
    let click = get(&edge, "t.example", "/c/anna").await;
    assert!(click.header("location").unwrap().starts_with("https://shop.example/?cid="), "{click:?}");
    get(&edge, "t.example", "/anna").await.error(404, "not_found");
    assert_eq!(edge.only_event().await.workspace, FIRST_WORKSPACE);
}
