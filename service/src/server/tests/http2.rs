//! HTTP/2 with prior knowledge, as a load balancer speaks it.

use bytes::Bytes;
use h2::client::{self, SendRequest};

use super::*;

struct Client {
    sender: SendRequest<Bytes>,
    ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn connect(server: &TestServer) -> Self {
        let (sender, connection) = client::handshake(server.connect().await).await.unwrap();
        #[allow(clippy::disallowed_methods, reason = "the test joins the task itself")]
        let ended = tokio::spawn(connection);
        Self { sender: sender.ready().await.unwrap(), ended }
    }

    async fn get(&mut self, headers: usize) -> (u16, String) {
        let mut request = http::Request::get("http://x/");
        for number in 0..headers {
            request = request.header(format!("x-{number}"), "y");
        }
        let (answer, _) = self.sender.send_request(request.body(()).unwrap(), true).unwrap();
        let answer = tokio::time::timeout(SOON, answer).await.unwrap().unwrap();
        let (status, mut body) = (answer.status().as_u16(), answer.into_body());
        let mut text = Vec::new();
        while let Some(chunk) = body.data().await {
            text.extend_from_slice(&chunk.unwrap());
        }
        (status, String::from_utf8(text).unwrap())
    }
}

#[tokio::test]
async fn requests_share_a_connection_and_the_limits() {
    let settings = ServeSettings { max_headers: 10, ..ServeSettings::default() };
    let server = TestServer::start(Router::new().route("/", get(peer)), settings);
    let mut client = Client::connect(&server).await;
    for _ in 0..3 {
        let (status, body) = client.get(10).await;
        assert_eq!((status, body.starts_with("127.0.0.1:")), (200, true), "{body}");
    }
    let (status, body) = client.get(11).await;
    assert!(status == 431 && body.contains("\"error\":\"headers_too_large\""), "{status} {body}");
    server.stop().await;
    assert!(client.ended.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_drain_says_goodbye_and_lets_open_requests_end() {
    let (router, mut was_entered, go) = slow();
    let server = TestServer::start(router, ServeSettings::default());
    let mut client = Client::connect(&server).await;
    let mut second = client.sender.clone();
    let open = client.get(0);
    let ends = async {
        was_entered.recv().await.unwrap();
        server.tasks.shutdown().trigger();
        // The goodbye forbids new requests while the open one goes on.
        while second.clone().ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
        let refused = second.send_request(http::Request::get("http://x/").body(()).unwrap(), true);
        assert!(refused.is_err());
        go.trigger();
    };
    let (answer, ()) = tokio::time::timeout(SOON, async { tokio::join!(open, ends) }).await.unwrap();
    assert_eq!(answer, (200, "done".to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let limits = ServeSettings { idle_timeout_ms: 60, ..ServeSettings::default() };
    let server = TestServer::start(well(), limits);
    let mut client = Client::connect(&server).await;
    assert_eq!(client.get(0).await, (200, "well".to_owned()));
    tokio::time::timeout(SOON, client.ended).await.unwrap().unwrap().unwrap();
    // As is one that only says what it speaks, or only its start.
    for start in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI"] {
        let limits =
            ServeSettings { idle_timeout_ms: 60, header_read_timeout_ms: 60, ..ServeSettings::default() };
        let server = TestServer::start(well(), limits);
        let mut rest = Vec::new();
        let mut stream = server.send(start).await;
        // A closed or a reset connection: it ends.
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
        server.stop().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_opens_and_resets_for_ever_is_cut_off() {
    let (router, _was_entered, _go) = slow();
    let server =
        TestServer::start(router, ServeSettings { drain_deadline_ms: 50, ..ServeSettings::default() });
    let mut client = Client::connect(&server).await;
    let flood = async {
        loop {
            let request = http::Request::get("http://x/").body(()).unwrap();
            let Ok((_answer, mut stream)) = client.sender.send_request(request, true) else { return };
            stream.send_reset(h2::Reason::CANCEL);
            let Ok(sender) = client.sender.clone().ready().await else { return };
            client.sender = sender;
            // The connection is a task on this thread.
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, flood).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn of_bodies_that_nobody_reads_no_more_is_taken_than_the_windows() {
    const STREAM: usize = 64 * 1024;
    let router = well().route("/held", post(std::future::pending::<()>));
    let server =
        TestServer::start(router, ServeSettings { drain_deadline_ms: 50, ..ServeSettings::default() });
    let mut client = Client::connect(&server).await;
    // With the first answer the client has the windows, which the server says before anything else.
    assert_eq!(client.get(0).await.0, 200);
    let mut open = Vec::new();
    for _ in 0..4 {
        let request = http::Request::post("http://x/held").body(()).unwrap();
        let (answer, mut body) = client.sender.send_request(request, false).unwrap();
        body.reserve_capacity(16 * STREAM);
        open.push((answer, body));
    }
    let granted = || open.iter().map(|(_, body)| body.capacity()).collect::<Vec<usize>>();
    let exhausted = async {
        while granted().iter().sum::<usize>() < 2 * STREAM {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, exhausted).await.unwrap_or_else(|_| panic!("{:?}", granted()));
    // Others go on meanwhile, and that frees nothing.
    assert_eq!(client.get(0).await.0, 200);
    assert_eq!(granted(), [STREAM, STREAM, 0, 0]);
    server.stop().await;
}
