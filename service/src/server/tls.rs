//! TLS, by rustls: a certificate and a key from files, taken anew when they change.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Handler;
use super::connection::Conversation;
use super::settings::ServeSettings;
use crate::lifecycle::Shutdown;

/// How often the files are looked at.
const RELOAD_PERIOD: Duration = Duration::from_secs(10);

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Why a server cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the two files is set without the other.
    #[error("tls_certificate and tls_key are set together or not at all")]
    Half,
    /// A file cannot be read, or holds something else.
    #[error("{setting} {path}: {reason}", path = path.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key do not go together, or are of a kind that is not spoken here.
    #[error("tls_certificate and tls_key: {0}")]
    Unfit(#[from] rustls::Error),
}

/// TLS as a server speaks it. Clones share the certificate.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    files: Arc<Files>,
    /// What stood in the files when the server was made.
    loaded: Arc<Texts>,
}

impl Tls {
    /// What the settings name, if they name anything.
    pub(super) fn load(settings: &ServeSettings) -> Result<Option<Self>, TlsError> {
        if !settings.is_tls() {
            return Ok(None);
        }
        let (certificate, key) = (settings.tls_certificate.clone(), settings.tls_key.clone());
        if certificate.as_os_str().is_empty() || key.as_os_str().is_empty() {
            return Err(TlsError::Half);
        }
        let files = Arc::new(Files { certificate, key });
        let provider = Arc::new(default_provider());
        let loaded = Arc::new(files.read()?);
        let certificate = Arc::new(Certificate {
            current: ArcSwap::new(Arc::new(files.certified(&loaded, &provider)?)),
            provider: Arc::clone(&provider),
        });
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate, files, loaded }))
    }

    /// Agrees on a cipher and a protocol, and serves.
    pub(super) async fn serve<H: Handler>(
        self,
        conversation: Conversation<H>,
        stream: TcpStream,
    ) -> io::Result<()> {
        // The state of a handshake is large, and gone after it.
        let stream = Box::pin(self.acceptor.accept(stream)).await?;
        if stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
            conversation.http2(stream, Bytes::new()).await
        } else {
            conversation.open(stream).await
        }
    }

    /// Takes the files anew whenever they change, until the shutdown. What cannot be used is named and left alone.
    pub(super) async fn follow_files(self, shutdown: Shutdown) -> Result<(), TlsError> {
        let mut known = Arc::clone(&self.loaded);
        loop {
            tokio::select! {
                () = shutdown.started() => return Ok(()),
                () = tokio::time::sleep(RELOAD_PERIOD) => {}
            }
            if let Err(error) = self.reload(&mut known).await {
                tracing::warn!(%error, "the certificate was not renewed; the old one stays");
            }
        }
    }

    #[cfg(test)]
    pub(super) async fn reload_now(&self) -> Result<(), TlsError> {
        self.reload(&mut Arc::clone(&self.loaded)).await
    }

    /// Takes the files if they are not as they were known; they are known then.
    async fn reload(&self, known: &mut Arc<Texts>) -> Result<(), TlsError> {
        let files = Arc::clone(&self.files);
        // A reading that did not end has found nothing new.
        let Ok(texts) = tokio::task::spawn_blocking(move || files.read()).await else { return Ok(()) };
        let texts = texts?;
        if texts != **known {
            *known = Arc::new(texts);
            let certified = self.files.certified(known, &self.certificate.provider)?;
            self.certificate.current.store(Arc::new(certified));
            tracing::info!(certificate = %self.files.certificate.display(), "the certificate was renewed");
        }
        Ok(())
    }
}

/// Where certificate and key stand.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What stands in the files.
#[derive(PartialEq, Eq)]
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(&self) -> Result<Texts, TlsError> {
        let certificate = std::fs::read(&self.certificate).map_err(|error| self.unfit_certificate(error))?;
        let key = std::fs::read(&self.key).map_err(|error| self.unfit_key(error))?;
        Ok(Texts { certificate, key })
    }

    fn certified(&self, texts: &Texts, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&texts.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| self.unfit_certificate(error))?;
        if chain.is_empty() {
            return Err(self.unfit_certificate("holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(&texts.key).map_err(|error| self.unfit_key(error))?;
        Ok(CertifiedKey::from_der(chain, key, provider)?)
    }

    fn unfit_certificate(&self, reason: impl fmt::Display) -> TlsError {
        unfit("tls_certificate", &self.certificate, reason)
    }

    fn unfit_key(&self, reason: impl fmt::Display) -> TlsError {
        unfit("tls_key", &self.key, reason)
    }
}

fn unfit(setting: &'static str, path: &Path, reason: impl fmt::Display) -> TlsError {
    TlsError::File { setting, path: path.to_owned(), reason: reason.to_string() }
}

/// The certificate of the moment.
#[derive(Debug)]
struct Certificate {
    current: ArcSwap<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}
