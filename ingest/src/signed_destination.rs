//! Destinations that a customer's server has signed: `u` with `sig` and `exp`. `docs/destinations.md` has the rules for
//! those who sign, and a test vector, which this module is tested against.
//!
//! `sig` names the source whose secret signed, so that one secret is tried and not every secret of a workspace.

use catalog::{Catalog, Source};
use hmac::{Hmac, KeyInit, Mac};
use schemas::hex;
use schemas::id::{SourceId, WorkspaceNumber};
use schemas::time::Timestamp;
use sha2::Sha256;

use crate::edge::Edge;
use crate::signature::is_seconds;

/// What the signed text begins with. No signed request begins so: a signature of one kind is none of the other.
const KIND: &str = "destination-v1";
/// Between the source and its code in `sig`.
const SEPARATOR: char = '.';

/// A destination that says it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignedDestination<'r> {
    source: SourceId,
    code: [u8; 32],
    /// Unix seconds, as they were sent.
    expires: &'r str,
    address: &'r str,
}

impl<'r> SignedDestination<'r> {
    /// Reads `u`, `sig` and `exp`; `None` if they are no signature, good or bad.
    pub(crate) fn read(address: &'r str, sig: &str, expires: &'r str) -> Option<Self> {
        let (source, code) = sig.split_once(SEPARATOR)?;
        if !is_seconds(expires) {
            return None;
        }
        Some(Self { source: source.parse().ok()?, code: hex::decode(code)?, expires, address })
    }

    /// Whether a signed source of the workspace vouches for it, for what has this id: the link, or the offer where there is
    /// none.
    pub(crate) fn is_good(
        &self,
        edge: &Edge,
        catalog: &Catalog,
        workspace: WorkspaceNumber,
        subject: &str,
        now: Timestamp,
    ) -> bool {
        let source = catalog.source(self.source).filter(|source| is_in_use(source, workspace));
        let is_fresh = self.expires.parse::<i64>().is_ok_and(|expires| now.unix_seconds() < expires);
        let Some(source) = source.filter(|_| is_fresh) else { return false };
        match edge.sealer().open(source, now) {
            Ok(secrets) => secrets.iter().any(|secret| self.is_by(secret.expose(), subject)),
            Err(error) => {
                tracing::warn!(%error, "a signed destination cannot be checked");
                false
            }
        }
    }

    fn is_by(&self, secret: &[u8], subject: &str) -> bool {
        // An HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
        for (index, line) in [KIND, subject, self.expires, self.address].into_iter().enumerate() {
            if index > 0 {
                mac.update(b"\n");
            }
            mac.update(line.as_bytes());
        }
        mac.verify_slice(&self.code).is_ok()
    }
}

fn is_in_use(source: &Source, workspace: WorkspaceNumber) -> bool {
    source.workspace == workspace && !source.meta.archived
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "src_01h455vb4pex5vsknk084sn02q";
    const LINK: &str = "link_01h455vb4pex5vsknk084sn02q";
    const ADDRESS: &str = "https://elsewhere.example/cart?id=7&x=%C3%BC";
    const CODE: &str = "c0192f0bd5e5ceff8d5e31630563ea67773378f6bf68f8c4e497089498d4ddf0";

    fn signed<'r>(sig: &str, expires: &'r str, address: &'r str) -> Option<SignedDestination<'r>> {
        SignedDestination::read(address, sig, expires)
    }

    #[test]
    fn the_documents_vector_is_ours() {
        let sig = format!("{SOURCE}.{CODE}");
        let good = signed(&sig, "1793494800", ADDRESS).unwrap();
        assert!(good.is_by(b"whsec_destination", LINK));
        assert!(!good.is_by(b"another", LINK));
        assert!(!good.is_by(b"whsec_destination", "link_01h455vb4pex5vsknk084sn02r"));
        assert!(!signed(&sig, "1793494801", ADDRESS).unwrap().is_by(b"whsec_destination", LINK));
        assert!(
            !signed(&sig, "1793494800", "https://evil.example/").unwrap().is_by(b"whsec_destination", LINK)
        );
        let document = include_str!("../../docs/destinations.md");
        assert!(document.contains(&sig) && document.contains(ADDRESS) && document.contains(LINK));
    }

    #[test]
    fn what_is_no_signature_is_not_looked_at_twice() {
        let code = "0".repeat(64);
        for (sig, expires) in [
            (String::new(), "1"),
            (code.clone(), "1"),
            (format!("{SOURCE}.{}", &code[1..]), "1"),
            (format!("{SOURCE}.{code}"), ""),
            (format!("{SOURCE}.{code}"), "-1"),
            (format!("{SOURCE}.{code}"), "1e9"),
            (format!("{SOURCE}.{code}"), "1234567890123"),
            (format!("{LINK}.{code}"), "1"),
        ] {
            assert_eq!(signed(&sig, expires, ADDRESS), None, "{sig} {expires}");
        }
    }
}
