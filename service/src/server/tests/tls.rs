//! TLS with a certificate made here.

use std::path::Path;

use axum::Extension;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// Writes a new certificate and its key, and returns the certificate.
fn write_certificate(dir: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["edge.example".to_owned()]).unwrap();
    std::fs::write(dir.join("certificate.pem"), cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

fn settings(dir: &Path) -> ServeSettings {
    ServeSettings {
        tls_certificate: dir.join("certificate.pem"),
        tls_key: dir.join("key.pem"),
        ..ServeSettings::default()
    }
}

async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
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
    let name = ServerName::try_from("edge.example").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A router that says whether it is told that the connection is enciphered.
fn knowing() -> Router {
    let route = |encrypted: Option<Extension<Encrypted>>| async move {
        if encrypted.is_some() { "enciphered" } else { "plain" }
    };
    Router::new().route("/", get(route))
}

#[tokio::test]
async fn a_plain_connection_is_told_from_an_enciphered_one() {
    let server = TestServer::start(knowing(), ServeSettings::default());
    assert!(read_all(server.send(GET_AND_CLOSE).await).await.ends_with("plain"));
    server.stop().await;
}

#[tokio::test]
async fn both_protocols_are_spoken() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = write_certificate(dir.path());
    let server = TestServer::start(knowing(), settings(dir.path()));
    let mut stream = connect(server.address, &certificate, "http/1.1").await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, "enciphered").await.starts_with("HTTP/1.1 200 "));
    let stream = connect(server.address, &certificate, "h2").await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    #[allow(clippy::disallowed_methods, reason = "the test joins the task itself")]
    let ended = tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let request = http::Request::get("https://edge.example/").body(()).unwrap();
    let answer = sender.send_request(request, true).unwrap().0.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.into_body().data().await.unwrap().unwrap(), "enciphered");
    // In plain text there is nothing to say here.
    let plain = read_all(server.send(GET).await).await;
    assert!(!plain.contains("HTTP"), "{plain:?}");
    server.stop().await;
    ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    write_certificate(dir.path());
    let server =
        TestServer::start(well(), ServeSettings { header_read_timeout_ms: 50, ..settings(dir.path()) });
    assert_eq!(read_all(server.send("\u{16}\u{3}\u{1}").await).await, "");
    server.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = write_certificate(dir.path());
    let metrics = ServerMetrics::register(&Registry::new(), "test").unwrap();
    let server = Server::new(well(), settings(dir.path()), Arc::new(made), metrics).unwrap();
    let tls = server.tls.clone().unwrap();
    let listeners = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let tasks = Tasks::new(Shutdown::new());
    server.spawn(&tasks, "server", listeners).unwrap();
    connect(address, &first, "http/1.1").await.unwrap();

    let second = write_certificate(dir.path());
    tls.reload_now().await.unwrap();
    connect(address, &second, "http/1.1").await.unwrap();
    assert!(connect(address, &first, "http/1.1").await.is_err());

    std::fs::write(dir.path().join("certificate.pem"), "nonsense").unwrap();
    let error = tls.reload_now().await.unwrap_err().to_string();
    assert!(error.starts_with("tls_certificate /") && error.ends_with("holds no certificate"), "{error}");
    connect(address, &second, "http/1.1").await.unwrap();
    tasks.shutdown().trigger();
    tasks.join_all(SOON).await.unwrap();
}

#[test]
fn what_is_no_certificate_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let error = |settings: ServeSettings| {
        let metrics = ServerMetrics::register(&Registry::new(), "test").unwrap();
        Server::new(well(), settings, Arc::new(made), metrics).err().unwrap().to_string()
    };
    let missing = error(settings(dir.path()));
    assert!(missing.starts_with("tls_certificate /") && missing.contains("No such file"), "{missing}");
    write_certificate(dir.path());
    let half = ServeSettings { tls_key: Default::default(), ..settings(dir.path()) };
    assert_eq!(error(half), "tls_certificate and tls_key are set together or not at all");
    let other = tempfile::tempdir().unwrap();
    write_certificate(other.path());
    let mixed = ServeSettings { tls_key: other.path().join("key.pem"), ..settings(dir.path()) };
    assert!(error(mixed).starts_with("tls_certificate and tls_key: "));
    std::fs::write(dir.path().join("key.pem"), "nonsense").unwrap();
    assert!(error(settings(dir.path())).starts_with("tls_key /"));
}
