//! What settings allow, and what they do.

use super::*;

#[tokio::test]
async fn a_desk_does_not_start_on_settings_that_cannot_be() {
    let installation = Installation::new().await;
    let settings = QueryApiSettings { edge_url: "t.example".to_owned(), ..QueryApiSettings::default() };
    let refused = installation.desk_with(1, settings).await.err().unwrap();
    assert_eq!(refused.to_string(), "edge_url must be an http or https address");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_a_timeout() {
    let installation = Installation::new().await;
    let settings = QueryApiSettings {
        request_timeout_ms: 10_001,
        body_timeout_ms: 60_000,
        ..QueryApiSettings::default()
    };
    let desk = installation.desk_with(1, settings).await.unwrap();
    let mut request = desk.request(Method::POST, "/offers", Some(&json!({})));
    *request.body_mut() = Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>());
    // The clock goes on by itself as soon as everybody waits.
    tokio::time::pause();
    desk.send(request).await.is(504, "timeout", "");
}
