//! Secrets that must be read again, sealed.
//!
//! A signature can only be checked by who knows the secret itself, so its hash is not enough. What the log holds is the
//! secret encrypted with XChaCha20-Poly1305 under a key of the configuration, bound to its source's id: a copy of
//! the log without that key is worth nothing, and a sealed secret moved to another source does not open.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a nonce of XChaCha20-Poly1305: long enough to be drawn at random.
const NONCE_BYTES: usize = 24;
/// Bytes that sealing adds to a secret.
const TAG_BYTES: usize = 16;
/// The longest secret that is sealed.
pub const MAX_SECRET_BYTES: usize = 256;

/// A sealed secret: a nonce, then the encrypted text and its tag. On the log it is base64.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(Box<[u8]>);

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret(…)")
    }
}

impl Serialize for SealedSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for SealedSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(&*text).map_err(D::Error::custom)?;
        let sealed = NONCE_BYTES + TAG_BYTES;
        if !(sealed..=sealed + MAX_SECRET_BYTES).contains(&bytes.len()) {
            return Err(D::Error::custom("not the length of a sealed secret"));
        }
        Ok(Self(bytes.into()))
    }
}
