//! Whether a request speaks for a source: by its token, by a signature, from an allowed network.

use catalog::{Source, SourceAuth};
use schemas::event::Trust;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::sender::Incoming;

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
            let previous = previous.as_ref().filter(|previous| incoming.received_at < previous.valid_until);
            let hashes = [*sha256, previous.map_or(*sha256, |previous| previous.sha256)];
            is_token(token.unwrap_or_default(), &hashes).then_some(Trust::Token)
        }
        SourceAuth::Signed { .. } => is_signed_by(Some(source), incoming).then_some(Trust::Secret),
    };
    trust.filter(|_| is_from_allowed_network(source, incoming))
}

/// Whether a request with a key may name the source: whoever signs must do so here as well.
pub(crate) fn may_be_named(source: &Source, incoming: &Incoming<'_>) -> bool {
    let is_proven = match &source.auth {
        SourceAuth::Open | SourceAuth::Token { .. } => true,
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
