//! What is told of a client, and what of it is kept.

use catalog::bootstrap::FIRST_WORKSPACE;
use catalog::{Consent, IpStorage, Privacy, Resource};
use ingest::IngestSettings;
use schemas::event::{Hit, label};

use crate::harness::{BROWSER, TestEdge, hit_of};

const COOKIE: &str = "tb_vid=vis_01h455vb4pex5vsknk084sn02q";

/// The hits on the log, clicks and impressions, in order.
async fn hits(edge: &TestEdge) -> Vec<Hit> {
    edge.events().await.into_iter().map(hit_of).collect()
}

async fn set_privacy(edge: &mut TestEdge, privacy: Privacy, ip_storage: IpStorage) {
    let mut workspace = edge.follower.read().workspace(FIRST_WORKSPACE).cloned().unwrap();
    (workspace.privacy, workspace.ip_storage) = (privacy, ip_storage);
    edge.put(vec![Resource::Workspace(workspace)]).await;
}

#[tokio::test]
async fn a_hit_says_what_is_known_of_the_client() {
    let settings = IngestSettings { country_header: "CF-IPCountry".to_owned(), ..IngestSettings::default() };
    let edge = TestEdge::start_with(settings, |log| log).await;
    let headers = [("accept-language", "de-CH,de;q=0.9,en;q=0.5"), ("cf-ipcountry", "ch")];
    for path in ["/c/anna", "/i/anna"] {
        let answer = edge.get_with(path, &headers).await;
        assert!(answer.header("x-receipt").is_some(), "{answer:?}");
    }
    for hit in hits(&edge).await {
        assert_eq!((&*hit.browser, &*hit.os, &*hit.device), ("Firefox", "Linux", "desktop"));
        assert_eq!((&*hit.language, &*hit.country, &*hit.region, &*hit.city), ("de", "CH", "", ""));
        assert_eq!((&*hit.user_agent, hit.labels.len()), (BROWSER, 0));
    }
}

#[tokio::test]
async fn bots_are_redirected_stored_and_labelled_with_the_reason() {
    let edge = TestEdge::start().await;
    let reasons = [
        ("", label::BOT_EMPTY_AGENT),
        ("curl/8.5.0", label::BOT_CLIENT),
        ("facebookexternalhit/1.1", label::BOT_PREVIEW),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", label::BOT_PATTERN),
    ];
    for (agent, _) in reasons {
        let answer = edge.get_with("/c/anna", &[("user-agent", agent)]).await;
        assert_eq!(answer.status, 302, "{agent}");
        assert!(answer.header("x-receipt").is_some(), "{agent}");
    }
    let found = hits(&edge).await;
    for ((agent, reason), hit) in reasons.into_iter().zip(&found) {
        assert_eq!(hit.labels, [label::BOT, reason], "{agent}");
        assert_eq!((&*hit.user_agent, &*hit.device), (agent, "bot"));
    }
    assert_eq!((found.len(), &*found[3].browser), (4, "Googlebot"));
}

#[tokio::test]
async fn a_visitor_who_may_not_be_recognised_leaves_nothing_of_itself() {
    let mut edge = TestEdge::start().await;
    set_privacy(&mut edge, Privacy::default(), IpStorage::Full).await;
    let refusals = [
        ("/c/anna?consent=0", None, label::NO_CONSENT),
        ("/c/anna?consent=1", Some(("sec-gpc", "1")), label::GPC),
        ("/i/anna", Some(("dnt", "1")), label::DNT),
    ];
    for (path, header, _) in refusals {
        let headers: Vec<_> = header.into_iter().chain([("cookie", COOKIE)]).collect();
        let answer = edge.get_with(path, &headers).await;
        assert!(answer.header("x-receipt").is_some(), "{path}");
        assert_eq!(answer.header("set-cookie"), None, "{path}");
    }
    let found = hits(&edge).await;
    assert_eq!(found.len(), 3);
    for ((path, _, reason), hit) in refusals.into_iter().zip(found) {
        assert_eq!(hit.labels, [reason], "{path}");
        assert_eq!((hit.visitor, &*hit.address), (None, ""), "{path}");
        // The link was followed all the same, and `consent` is none of the destination's business.
        assert!(hit.partner.is_some() && hit.params.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn consent_is_waited_for_where_the_workspace_requires_it() {
    let mut edge = TestEdge::start().await;
    let privacy = Privacy { consent: Consent::Required, honour_gpc: false, honour_dnt: false };
    set_privacy(&mut edge, privacy, IpStorage::None).await;
    assert_eq!(edge.get_with("/c/anna", &[("cookie", COOKIE)]).await.header("set-cookie"), None);
    let given = [("cookie", COOKIE), ("dnt", "1"), ("sec-gpc", "1")];
    assert_eq!(edge.get_with("/c/anna?consent=granted", &given).await.header("set-cookie"), None);
    assert!(edge.get("/c/anna?consent=1").await.header("set-cookie").is_some());
    let found = hits(&edge).await;
    let labels: Vec<_> = found.iter().map(|hit| hit.labels.concat()).collect();
    assert_eq!(labels, [label::NO_CONSENT, "", ""]);
    assert_eq!(found[1].visitor.map(|id| format!("tb_vid={id}")).as_deref(), Some(COOKIE));
    assert!(found.iter().all(|hit| hit.address.is_empty()), "{found:?}");
}

#[tokio::test]
async fn the_address_is_stored_as_the_workspace_says() {
    let mut edge = TestEdge::start().await;
    let kept =
        [(IpStorage::None, ""), (IpStorage::Truncated, "203.0.113.0"), (IpStorage::Full, "203.0.113.77")];
    for (storage, _) in kept {
        set_privacy(&mut edge, Privacy::default(), storage).await;
        edge.get("/c/anna").await;
    }
    let found: Vec<_> = hits(&edge).await.into_iter().map(|hit| hit.address).collect();
    assert_eq!(found, kept.map(|(_, address)| address));
}
