//! What no honest client sends.

use axum::body::{Body, to_bytes};

use super::*;

/// A server whose only route reads bodies of up to 1,000 bytes, and says what it read.
fn reader() -> TestServer {
    let read = |body: Body| async move {
        match to_bytes(body, 1_000).await {
            Ok(bytes) => format!("read {}", bytes.len()),
            Err(error) => format!("refused {error}"),
        }
    };
    let router = Router::new().route("/", get(|| async { "well" }).post(read));
    TestServer::start(router, ServeSettings::default())
}

#[tokio::test]
async fn a_head_that_could_mean_two_things_is_refused() {
    let server = reader();
    for head in [
        "content-length: 4\r\ncontent-length: 5",
        "content-length: 4, 5",
        "content-length: +4",
        "content-length: 99999999999999999999",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked, gzip",
        "host : x",
        "x: a\u{0}b",
        " x: folded",
    ] {
        for body in ["", "body", "4\r\nbody\r\n0\r\n\r\n"] {
            let stream = server.send(&format!("POST / HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n{body}")).await;
            let answer = read_all(stream).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{head} {body}: {answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{head} {body}: {answer}");
            assert!(answer.contains("\"error\":\"validation_failed\""), "{head} {body}: {answer}");
        }
    }
    // Twice the same length is one length; a chunked body needs none, and nothing is smuggled behind it.
    let twice = "POST / HTTP/1.1\r\ncontent-length: 4\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody";
    let answer = read_all(server.send(twice).await).await;
    assert!(answer.ends_with("read 4") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let both = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 40\r\ntransfer-encoding: chunked\r\n\r\n\
                4\r\nbody\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = read_all(server.send(both).await).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("read 4"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn old_and_absolute_forms_are_understood() {
    let server = reader();
    let old = read_all(server.send("GET / HTTP/1.0\r\n\r\n").await).await;
    assert!(old.starts_with("HTTP/1.0 200 ") && old.ends_with("well"), "{old}");
    let absolute = "GET http://anything.example/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let absolute = read_all(server.send(absolute).await).await;
    assert!(absolute.starts_with("HTTP/1.1 200 ") && absolute.ends_with("well"), "{absolute}");
    let asterisk =
        read_all(server.send("OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await).await;
    assert!(asterisk.starts_with("HTTP/1.1 4"), "{asterisk}");
    let connect =
        read_all(server.send("CONNECT x:443 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await).await;
    assert!(connect.starts_with("HTTP/1.1 4"), "{connect}");
    server.stop().await;
}

#[tokio::test]
async fn ten_thousand_headers_cost_no_more_than_a_full_buffer() {
    let server = reader();
    for padding in ["a: b\r\n".repeat(10_000), format!("x: {}\r\n", "x".repeat(64 * 1024))] {
        let answer =
            read_all(server.send(&format!("GET / HTTP/1.1\r\nhost: x\r\n{padding}\r\n")).await).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn endless_bodies_end_at_the_handlers_limit() {
    let server = reader();
    for (head, piece) in [
        ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", "400\r\n"),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 104857600\r\n\r\n", ""),
        // Nobody reads this one at all.
        ("GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", "400\r\n"),
    ] {
        let stream = server.send(head).await;
        let (read, mut write) = stream.into_split();
        let chunk = format!("{piece}{}{}", "x".repeat(1_024), if piece.is_empty() { "" } else { "\r\n" });
        let send = async { while write.write_all(chunk.as_bytes()).await.is_ok() {} };
        let mut read = read;
        let mut start = Vec::new();
        let answer = async {
            while let Ok(count) = read.read_buf(&mut start).await
                && count > 0
            {}
        };
        tokio::time::timeout(SOON, async { tokio::join!(send, answer) }).await.unwrap();
        let answer = String::from_utf8_lossy(&start);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{head}: {answer}");
        assert_eq!(answer.contains("refused"), head.starts_with("POST"), "{head}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn chunks_that_are_no_chunks_break_off() {
    let server = reader();
    for body in ["zz\r\n", "ffffffffffffffffff\r\n", &format!("4;{}\r\n", "x".repeat(100_000)), "4\r\nbodyX"]
    {
        let head = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = read_all(server.send(&format!("{head}{body}")).await).await;
        assert!(answer.is_empty() || answer.contains("refused"), "{answer}");
    }
    assert!(read_all(server.send(GET_AND_CLOSE).await).await.ends_with("well"));
    server.stop().await;
}

#[tokio::test]
async fn ten_thousand_pipelined_requests_are_answered_in_order() {
    let counter = Arc::new(Mutex::new(0));
    let counted = get(move || async move {
        let mut counter = counter.lock().unwrap();
        *counter += 1;
        format!("<{counter}>")
    });
    let server = TestServer::start(Router::new().route("/", counted), ServeSettings::default());
    let (mut read, mut write) = server.connect().await.into_split();
    let requests = format!("{}{GET_AND_CLOSE}", GET.repeat(9_999));
    let mut answers = Vec::new();
    let (sent, received) = tokio::time::timeout(SOON, async {
        tokio::join!(write.write_all(requests.as_bytes()), read.read_to_end(&mut answers))
    })
    .await
    .unwrap();
    sent.unwrap();
    received.unwrap();
    let answers = String::from_utf8(answers).unwrap();
    let bodies =
        answers.split('<').skip(1).map(|rest| rest.split('>').next().unwrap().parse::<u32>().unwrap());
    assert!(bodies.eq(1..=10_000));
    server.stop().await;
}
