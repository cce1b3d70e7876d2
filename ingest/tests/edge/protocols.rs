//! Clicks over sockets as browsers and load balancers open them: by HTTP/2 without TLS, and by TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use catalog::bootstrap::FIRST_WORKSPACE;
use catalog::{Domain, DomainRole, Link, Meta, Resource};
use http::{Request, Response};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use service::lifecycle::{ServeSettings, Shutdown, serve};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::fixture::NOW;
use crate::harness::{BROWSER, SOON, TestEdge};

const HOST: &str = "go.example";

/// Serves the edge while the client runs.
async fn with_server(edge: &TestEdge, settings: ServeSettings, client: impl AsyncFnOnce(SocketAddr)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let make_request_id = Arc::new(|| "req_made".to_owned());
    let served = serve(listener, edge.door.clone(), settings, make_request_id, shutdown.clone());
    let client = async {
        // Connections by TLS are large.
        Box::pin(client(address)).await;
        shutdown.trigger();
    };
    let (served, ()) = tokio::time::timeout(SOON, async { tokio::join!(served, client) }).await.unwrap();
    served.unwrap();
}

/// An edge with a tracking domain, on which the link `anna` leads elsewhere.
async fn edge_with_domain() -> TestEdge {
    let mut edge = TestEdge::start().await;
    let domain = Domain {
        id: edge.new_id(),
        workspace: FIRST_WORKSPACE,
        hostname: HOST.to_owned(),
        role: DomainRole::Tracking,
        fallback_url: None,
        meta: Meta::new(NOW),
    };
    let stored = edge.follower.read().link_by_key(None, "anna").cloned().unwrap();
    let link = Link {
        id: edge.new_id(),
        domain: Some(domain.id),
        destination_url: Some("https://shop.example/on-the-domain".to_owned()),
        ..stored
    };
    edge.put(vec![Resource::Domain(domain)]).await;
    edge.put(vec![link.into()]).await;
    edge
}

/// A click by HTTP/2, whose host stands in `:authority` alone.
async fn click_by_http2(stream: impl AsyncRead + AsyncWrite + Unpin, uri: &str) -> Response<()> {
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let answer = async {
        let request = Request::get(uri).header("user-agent", BROWSER).body(()).unwrap();
        let mut sender = sender.ready().await.unwrap();
        let (answer, _) = sender.send_request(request, true).unwrap();
        answer.await.unwrap().map(|_| ())
    };
    tokio::select! {
        answer = answer => answer,
        ended = connection => panic!("the connection ended: {ended:?}"),
    }
}

fn header<'a>(answer: &'a Response<()>, name: &str) -> &'a str {
    answer.headers().get(name).unwrap_or_else(|| panic!("no {name}: {answer:?}")).to_str().unwrap()
}

/// Writes a certificate for the host, and names it and its key.
fn certificate(dir: &Path) -> (CertificateDer<'static>, ServeSettings) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()]).unwrap();
    let (tls_certificate, tls_key) = (dir.join("certificate.pem"), dir.join("key.pem"));
    std::fs::write(&tls_certificate, cert.pem()).unwrap();
    std::fs::write(&tls_key, signing_key.serialize_pem()).unwrap();
    (cert.der().clone(), ServeSettings { tls_certificate, tls_key, ..ServeSettings::default() })
}

async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    protocol: &str,
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(HOST).unwrap(), stream).await.unwrap()
}

#[tokio::test]
async fn a_click_by_http2_without_tls_finds_the_domain_of_its_authority() {
    let edge = edge_with_domain().await;
    with_server(&edge, ServeSettings::default(), async |address| {
        for (authority, wanted) in [
            (HOST, "https://shop.example/on-the-domain?click_id="),
            ("GO.example:8080", "https://shop.example/on-the-domain?click_id="),
            ("other.example", "https://shop.example/?cid="),
        ] {
            let stream = TcpStream::connect(address).await.unwrap();
            let answer = click_by_http2(stream, &format!("http://{authority}/c/anna")).await;
            assert_eq!(answer.status(), 302, "{authority}");
            assert!(header(&answer, "location").starts_with(wanted), "{authority}: {answer:?}");
            let cookie = header(&answer, "set-cookie");
            assert!(cookie.starts_with("tb_vid=") && !cookie.contains("Secure"), "{cookie}");
            let event = edge
                .events()
                .await
                .into_iter()
                .find(|event| event.id.to_string() == header(&answer, "x-receipt"));
            assert!(event.is_some(), "{authority}: the receipt names no event");
        }
    })
    .await;
    assert_eq!(edge.events().await.len(), 3);
}

#[tokio::test]
async fn a_click_over_the_edges_own_tls_gets_a_secure_cookie() {
    let edge = edge_with_domain().await;
    let dir = tempfile::tempdir().unwrap();
    let (trusted, settings) = certificate(dir.path());
    with_server(&edge, settings, async |address| {
        let stream = connect(address, &trusted, "h2").await;
        let answer = click_by_http2(stream, &format!("https://{HOST}/c/anna")).await;
        assert_eq!(answer.status(), 302);
        assert!(header(&answer, "location").starts_with("https://shop.example/on-the-domain?click_id="));
        assert!(header(&answer, "set-cookie").ends_with("; Secure"), "{answer:?}");

        let mut stream = connect(address, &trusted, "http/1.1").await;
        let head = format!(
            "GET /c/anna HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: {BROWSER}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 302 "), "{answer}");
        assert!(answer.contains("\r\nlocation: https://shop.example/on-the-domain?click_id="), "{answer}");
        let cookie = answer.lines().find(|line| line.starts_with("set-cookie: tb_vid="));
        assert!(cookie.is_some_and(|cookie| cookie.ends_with("; Secure")), "{answer}");
    })
    .await;
    assert_eq!(edge.events().await.len(), 2);
}
