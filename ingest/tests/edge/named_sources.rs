//! Who may name which source.

use catalog::{Resource, Source};
use serde_json::json;

use crate::fixture::{ORIGIN, PUBLISHABLE, SECRET, TOKEN};
use crate::harness::{TestEdge, post_json};

#[tokio::test]
async fn what_anybody_can_read_in_a_page_does_not_stand_for_a_token() {
    let edge = TestEdge::start().await;
    let body = json!({"source": edge.fixture.token_source, "transaction_id": "A-1"}).to_string();
    let send = async |token: &str| {
        let mut request = post_json("/api/v1/track/sale", PUBLISHABLE, &body);
        request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
        request.headers_mut().insert("x-postback-token", token.parse().unwrap());
        edge.send(request).await
    };
    send("").await.error(401, "unauthorized");
    send("wrong").await.error(401, "unauthorized");
    let pixel = format!("/p.gif?key={PUBLISHABLE}&source={}", edge.fixture.token_source);
    assert_eq!(edge.get(&pixel).await.header("x-error"), Some("unauthorized"));
    assert!(edge.events().await.is_empty());
    assert_eq!(send(TOKEN).await.status, 202);
    assert_eq!(edge.report(SECRET, body.clone()).await.status, 202);
    // Of a source that is open nobody claims to be another.
    let open = format!("/p.gif?key={PUBLISHABLE}&source={}", edge.fixture.open_source);
    assert!(edge.get(&open).await.header("x-receipt").is_some());
}

#[tokio::test]
async fn nobody_speaks_for_a_source_that_was_given_up() {
    let mut edge = TestEdge::start().await;
    for id in [edge.fixture.open_source, edge.fixture.token_source] {
        let mut source: Source = edge.follower.read().source(id).cloned().unwrap();
        source.meta.archived = true;
        edge.put(vec![Resource::from(source)]).await;
        let body = json!({"source": id, "transaction_id": "A-1"}).to_string();
        edge.report(SECRET, body).await.error(401, "unauthorized");
        edge.get(&format!("/postback?src={id}&token={TOKEN}")).await.error(401, "unauthorized");
    }
    assert!(edge.events().await.is_empty());
}
