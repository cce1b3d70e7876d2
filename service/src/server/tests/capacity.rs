//! More than the server takes: said at once.

use super::*;

fn is_busy(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 503 ")
        && answer.contains("\r\nretry-after: 1\r\n")
        && answer.ends_with(
            "{\"error\":\"unavailable\",\"message\":\"the server has too much to do; try again\",\
             \"request_id\":\"req_made\"}",
        )
}

#[tokio::test]
async fn connections_beyond_the_limit_are_turned_away_at_once() {
    let threads = Threads::Exactly(2);
    let settings = ServeSettings { threads, max_connections: 2, ..ServeSettings::default() };
    let server = TestServer::start(well(), settings);
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = server.send(GET).await;
        read_until(&mut stream, "well").await;
        open.push(stream);
    }
    // It need not even ask.
    let refused = read_all(server.connect().await).await;
    assert!(is_busy(&refused), "{refused}");
    let refused = read_all(server.send(GET).await).await;
    assert!(is_busy(&refused), "{refused}");
    assert_eq!((server.refused("unavailable"), server.open()), (2, 2));
    drop(open.pop());
    // The place is free as soon as the server has seen the end.
    let answered = async {
        loop {
            let answer = read_all(server.send(GET_AND_CLOSE).await).await;
            if !is_busy(&answer) {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(SOON, answered).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(open);
    server.await_open(0).await;
    server.stop().await;
}

/// More than can be told at a time: what is closed without a word is counted as well.
#[tokio::test]
async fn every_connection_beyond_the_limit_is_counted() {
    const BEYOND: usize = 2 * crate::server::accept::MAX_REFUSALS;
    let server = TestServer::start(well(), ServeSettings { max_connections: 1, ..ServeSettings::default() });
    let mut first = server.send(GET).await;
    read_until(&mut first, "well").await;
    let beyond = futures::future::join_all((0..BEYOND).map(|_| server.connect())).await;
    let counted = async {
        while server.refused("unavailable") < BEYOND as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SOON, counted).await.unwrap();
    assert_eq!((server.refused("unavailable"), server.open()), (BEYOND as u64, 1));
    drop(beyond);
    server.stop().await;
}

#[test]
fn settings_by_which_nobody_is_served_are_refused_by_name() {
    let settings = ServeSettings { max_connections: 0, ..ServeSettings::default() };
    let metrics = ServerMetrics::register(&Registry::new(), "test").unwrap();
    let error = Server::new(well(), settings, Arc::new(made), metrics).err().unwrap();
    assert_eq!(error.to_string(), "max_connections must be greater than 0");
}

#[tokio::test]
async fn requests_beyond_the_limit_are_answered_at_once() {
    let (router, mut was_entered, go) = slow();
    let server = TestServer::start(router, ServeSettings { max_requests: 2, ..ServeSettings::default() });
    let open = [server.send(GET_AND_CLOSE).await, server.send(GET_AND_CLOSE).await];
    for _ in &open {
        was_entered.recv().await.unwrap();
    }
    let mut third = server.send(GET).await;
    let refused = read_until(&mut third, "}").await;
    assert!(is_busy(&refused) && refused.contains("x-request-id: req_made"), "{refused}");
    assert_eq!(server.refused("unavailable"), 1);
    go.trigger();
    for stream in open {
        assert!(read_all(stream).await.ends_with("done"));
    }
    // The connection that was refused once is as good as any.
    third.write_all(GET.as_bytes()).await.unwrap();
    assert!(read_until(&mut third, "done").await.starts_with("HTTP/1.1 200 "));
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_a_head_is_closed() {
    let limits =
        ServeSettings { header_read_timeout_ms: 50, idle_timeout_ms: 150, ..ServeSettings::default() };
    let server = TestServer::start(well(), limits);
    let (silent, half) = (server.connect().await, server.send("GET / HTTP/1.1\r\nhost:").await);
    let mut idle = server.send(GET).await;
    assert_eq!(read_all(silent).await, "");
    let half = read_all(half).await;
    assert!(half.starts_with("HTTP/1.1 408 ") && half.contains("\"error\":\"request_timeout\""), "{half}");
    read_until(&mut idle, "well").await;
    assert_eq!(read_all(idle).await, "");
    // Byte by byte, never pausing for long.
    let mut trickle = server.connect().await;
    let sent = async {
        for byte in GET_AND_CLOSE.bytes().cycle().filter(|byte| *byte != b'\n') {
            if trickle.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            let mut answer = [0; 12];
            if let Ok(read) = trickle.try_read(&mut answer)
                && read > 0
            {
                assert_eq!(&answer, b"HTTP/1.1 408");
                return;
            }
        }
    };
    tokio::time::timeout(SOON, sent).await.unwrap();
    assert_eq!(server.refused("request_timeout"), 2);
    server.await_open(0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_closed() {
    let limits =
        ServeSettings { header_read_timeout_ms: 100, idle_timeout_ms: 100, ..ServeSettings::default() };
    let large = "x".repeat(32 * 1024 * 1024);
    let server = TestServer::start(Router::new().route("/", get(|| async move { large })), limits);
    let mut stream = server.send(GET).await;
    let mut first = [0; 4];
    stream.read_exact(&mut first).await.unwrap();
    // Until the server gives up nothing more is read; then what the kernel holds ends early.
    let given_up = async {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, given_up).await.unwrap();
    server.stop().await;
}
