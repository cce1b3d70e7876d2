//! The `Idempotency-Key` header.

use axum::extract::FromRequestParts;
use catalog::Idempotency;
use catalog::proposal::MAX_IDEMPOTENCY_KEY_BYTES;
use http::Method;
use http::request::Parts;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::state::Desk;

const HEADER: &str = "idempotency-key";
/// Set on an answer that was given before.
pub(crate) const REPLAYED: &str = "idempotent-replayed";

/// The key of a request, if it has one, and the route that it holds for.
#[derive(Debug, Clone)]
pub(crate) struct IdempotencyKey {
    key: Option<String>,
    method: Method,
    path: String,
}

impl IdempotencyKey {
    /// The key together with the hash of everything that the request says.
    pub(crate) fn over(self, body: &[u8]) -> Option<Idempotency> {
        let mut hash = Sha256::new();
        for part in [self.method.as_str().as_bytes(), self.path.as_bytes(), body] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let payload_sha256 = hash.finalize().into();
        self.key.map(|key| Idempotency { key, payload_sha256 })
    }
}

impl FromRequestParts<Desk> for IdempotencyKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Desk) -> Result<Self, Error> {
        let wrong = || {
            let message = format!("must be 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible characters, once");
            Error::invalid("Idempotency-Key", message)
        };
        let mut values = parts.headers.get_all(HEADER).iter();
        let key = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => {
                let text = value.to_str().map_err(|_| wrong())?;
                let holds = (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&text.len());
                if !holds {
                    return Err(wrong());
                }
                Some(text.to_owned())
            }
            (Some(_), Some(_)) => return Err(wrong()),
        };
        let path = parts.uri.path().to_owned();
        Ok(Self { key, method: parts.method.clone(), path })
    }
}
