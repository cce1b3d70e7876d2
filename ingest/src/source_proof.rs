//! Whether a request speaks for a source: by its token, by a signature, from an allowed network.

use catalog::{PreviousSecret, Source, SourceAuth};
use http::HeaderMap;
use schemas::event::Trust;
use schemas::time::Timestamp;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::sender::{Incoming, X_POSTBACK_TOKEN};

/// How far whoever sent this is trusted as the source; `None` if it does not speak for it.
pub(crate) fn vouched(
    source: Option<&Source>,
    token: Option<&str>,
    incoming: &Incoming<'_>,
) -> Option<Trust> {
    let Some(source) = source else {
        // As much work as with a source, so that the time to the answer does not tell.
        let _ = (is_token(token.unwrap_or_default(), &[[0; 32]; 2]), is_signed_by(None, incoming));
        return None;
    };
    let trust = match &source.auth {
        SourceAuth::Open => Some(Trust::Open),
        SourceAuth::Token { sha256, previous } => {
            let hashes = live_hashes(sha256, previous.as_ref(), incoming.received_at);
            is_token(token.unwrap_or_default(), &hashes).then_some(Trust::Token)
        }
        SourceAuth::Signed { .. } => is_signed_by(Some(source), incoming).then_some(Trust::Secret),
    };
    trust.filter(|_| is_from_allowed_network(source, incoming))
}

/// Whether a request that is trusted so far without its source may name it: whoever signs must do so here as well, and what
/// anybody can read in a page does not stand for a token.
pub(crate) fn may_be_named(source: &Source, trust: Trust, incoming: &Incoming<'_>) -> bool {
    let is_proven = match &source.auth {
        SourceAuth::Open => true,
        SourceAuth::Token { sha256, previous } => match trust {
            Trust::Secret | Trust::Token => true,
            Trust::Publishable | Trust::Open => {
                let hashes = live_hashes(sha256, previous.as_ref(), incoming.received_at);
                is_token(header_token(&incoming.parts.headers).unwrap_or_default(), &hashes)
            }
        },
        SourceAuth::Signed { .. } => is_signed_by(Some(source), incoming),
    };
    is_proven && is_from_allowed_network(source, incoming)
}

/// Whether the source signs its requests.
pub(crate) fn is_signed(source: &Source) -> bool {
    match &source.auth {
        SourceAuth::Open | SourceAuth::Token { .. } => false,
        SourceAuth::Signed { .. } => true,
    }
}

/// The token in the header.
pub(crate) fn header_token(headers: &HeaderMap) -> Option<&str> {
    headers.get(X_POSTBACK_TOKEN)?.to_str().ok()
}

/// The hashes of the source's token and of the one before it, which is the same where none is good any more.
fn live_hashes(sha256: &[u8; 32], previous: Option<&PreviousSecret>, now: Timestamp) -> [[u8; 32]; 2] {
    let previous = previous.filter(|previous| now < previous.valid_until);
    [*sha256, previous.map_or(*sha256, |previous| previous.sha256)]
}

fn is_from_allowed_network(source: &Source, incoming: &Incoming<'_>) -> bool {
    source.allowed_cidrs.is_empty()
        || incoming.address.is_some_and(|address| {
            let address = address.to_canonical();
            source.allowed_cidrs.iter().any(|network| network.contains(&address))
        })
}

fn is_token(token: &str, hashes: &[[u8; 32]; 2]) -> bool {
    let presented: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    let is_equal = hashes.iter().fold(Choice::from(0), |found, hash| found | presented.ct_eq(hash));
    bool::from(is_equal)
}

fn is_signed_by(source: Option<&Source>, incoming: &Incoming<'_>) -> bool {
    let Some(signed) = &incoming.signed else { return false };
    if source.is_none() {
        incoming.sealer.open_nothing();
    }
    let opened = source.map(|source| incoming.sealer.open(source, incoming.received_at));
    let secrets = opened.transpose().unwrap_or_else(|error| {
        // The start has checked the key: this is a source that came later, from a desk with another one.
        tracing::error!(%error, "the secret of a signed source cannot be opened");
        None
    });
    let secrets = secrets.unwrap_or_default();
    let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.expose()).collect();
    signed.is_by(&secrets, incoming.received_at)
}
