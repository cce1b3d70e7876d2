//! Secrets that must be read again, sealed.
//!
//! A signature can only be checked by who knows the secret itself, so its hash is not enough. What the log holds is the
//! secret encrypted with XChaCha20-Poly1305 under a key of the configuration, bound to its source's id: a copy of
//! the log without that key is worth nothing, and a sealed secret that is moved to another source does not open.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use schemas::hex;
use schemas::id::SourceId;
use schemas::time::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::fold::Catalog;
use crate::key::{SECRET_CHARACTERS, SIGNING_PREFIX};
use crate::resource::{Source, SourceAuth};

/// Bytes of the key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce of XChaCha20-Poly1305: enough to be drawn at random.
const NONCE_BYTES: usize = 24;
/// Bytes that sealing adds to a secret.
const TAG_BYTES: usize = 16;
/// Bytes of a secret that was made here.
const SECRET_BYTES: usize = SIGNING_PREFIX.len() + SECRET_CHARACTERS;
/// The longest secret that is sealed.
const MAX_SECRET_BYTES: usize = 256;

/// Why a secret cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key is not 32 bytes as hexadecimal digits.
    #[error("must be {} hexadecimal digits", KEY_BYTES * 2)]
    MalformedKey,
    /// There is no key.
    #[error("signed sources need a key to seal their secrets")]
    NoKey,
    /// The source's secret was sealed with another key, or is damaged.
    #[error("the secret of {0} does not open: it was sealed with another key")]
    WrongKey(SourceId),
    /// No secret is that long.
    #[error("a secret has at most {MAX_SECRET_BYTES} bytes")]
    TooLong,
}

/// A sealed secret: a nonce, then the encrypted text with its tag. On the log it is base64.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(Box<[u8]>);

impl SealedSecret {
    /// What a source has between being read and being given its secret. It opens for nobody, and the log does not take it.
    pub fn unset() -> Self {
        Self(Box::default())
    }

    /// Whether no secret was sealed yet.
    pub fn is_unset(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret(***)")
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
        let empty = NONCE_BYTES + TAG_BYTES;
        if !(empty..=empty + MAX_SECRET_BYTES).contains(&bytes.len()) {
            return Err(D::Error::custom("not the length of a sealed secret"));
        }
        Ok(Self(bytes.into()))
    }
}

/// A secret in the clear: does not print, and is overwritten when it is dropped.
#[derive(Clone)]
pub struct OpenSecret(Zeroizing<Vec<u8>>);

impl OpenSecret {
    /// The secret itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for OpenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenSecret(***)")
    }
}

/// Seals secrets of sources and opens them again. Cheap to clone; a clone's key is overwritten when it is dropped.
#[derive(Clone)]
pub struct Sealer(Option<XChaCha20Poly1305>);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Sealer(***)" } else { "Sealer(no key)" })
    }
}

impl Sealer {
    /// A sealer with this key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(Some(XChaCha20Poly1305::new(key.into())))
    }

    /// A sealer with the key in these hexadecimal digits; without any, one that can neither seal nor open.
    ///
    /// # Errors
    /// [`SealError::MalformedKey`] for any other text.
    pub fn from_hex(digits: &str) -> Result<Self, SealError> {
        if digits.is_empty() {
            return Ok(Self(None));
        }
        let key = Zeroizing::new(hex::decode::<KEY_BYTES>(digits).ok_or(SealError::MalformedKey)?);
        Ok(Self::new(&key))
    }

    fn cipher(&self) -> Result<&XChaCha20Poly1305, SealError> {
        self.0.as_ref().ok_or(SealError::NoKey)
    }

    /// Seals a secret for this source.
    ///
    /// # Errors
    /// [`SealError::NoKey`], [`SealError::TooLong`].
    pub fn seal(&self, source: SourceId, secret: &str) -> Result<SealedSecret, SealError> {
        if secret.len() > MAX_SECRET_BYTES {
            return Err(SealError::TooLong);
        }
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: secret.as_bytes(), aad: source.bytes() };
        let text = self.cipher()?.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::TooLong)?;
        Ok(SealedSecret([&nonce, &text[..]].concat().into()))
    }

    /// The secrets of a signed source that are good at `now`: its own and, in a rotation's grace, the one before. None for
    /// other sources.
    ///
    /// # Errors
    /// [`SealError::NoKey`], [`SealError::WrongKey`].
    pub fn open(&self, source: &Source, now: Timestamp) -> Result<Vec<OpenSecret>, SealError> {
        match &source.auth {
            SourceAuth::Open | SourceAuth::Token { .. } => Ok(Vec::new()),
            SourceAuth::Signed { secret, previous } => {
                let in_grace = previous.as_ref().filter(|previous| now < previous.valid_until);
                let live = std::iter::once(secret).chain(in_grace.map(|previous| &previous.secret));
                live.map(|sealed| self.open_one(source.id, sealed)).collect()
            }
        }
    }

    fn open_one(&self, source: SourceId, sealed: &SealedSecret) -> Result<OpenSecret, SealError> {
        let wrong = || SealError::WrongKey(source);
        let (nonce, text) = sealed.0.split_first_chunk::<NONCE_BYTES>().ok_or_else(wrong)?;
        let payload = Payload { msg: text, aad: source.bytes() };
        let secret = self.cipher()?.decrypt(&XNonce::from(*nonce), payload).map_err(|_| wrong())?;
        Ok(OpenSecret(Zeroizing::new(secret)))
    }

    /// Does the work of opening one secret, of nobody: the time to an answer shall not tell whether there is a source.
    pub fn open_nothing(&self) {
        if let Some(cipher) = &self.0 {
            let _ = cipher.decrypt(&XNonce::from([0; NONCE_BYTES]), [0; SECRET_BYTES + TAG_BYTES].as_slice());
        }
    }

    /// Whether every signed source of a catalog can be opened: to be asked before anything is served, because without the
    /// key each of their requests would be refused.
    ///
    /// # Errors
    /// [`SealError::NoKey`], [`SealError::WrongKey`].
    pub fn check(&self, catalog: &Catalog, now: Timestamp) -> Result<(), SealError> {
        let sources = catalog.workspaces().flat_map(|workspace| catalog.sources(workspace.number));
        for source in sources.filter(|source| !source.meta.archived) {
            self.open(source, now)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemas::id::{Id, WorkspaceNumber};

    use super::*;
    use crate::resource::{Meta, PreviousSealed};

    const SECRET: &str = "tb_sig_0123456789";

    fn source(id: u8, secret: SealedSecret, previous: Option<PreviousSealed>) -> Source {
        Source {
            id: Id::from_bytes([id; 16]),
            workspace: WorkspaceNumber::new(1).unwrap(),
            name: "shop".into(),
            auth: SourceAuth::Signed { secret, previous },
            allowed_cidrs: Vec::new(),
            params: BTreeMap::new(),
            status_map: BTreeMap::new(),
            defaults: BTreeMap::new(),
            meta: Meta::new(Timestamp::default()),
        }
    }

    fn opened(sealer: &Sealer, source: &Source, now: i64) -> Result<Vec<String>, SealError> {
        let secrets = sealer.open(source, Timestamp::from_micros(now))?;
        Ok(secrets.iter().map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap()).collect())
    }

    #[test]
    fn a_secret_opens_for_its_source_and_its_key_alone() {
        let sealer = Sealer::new(&[7; KEY_BYTES]);
        let id = Id::from_bytes([1; 16]);
        let sealed = sealer.seal(id, SECRET).unwrap();
        assert_ne!(sealed, sealer.seal(id, SECRET).unwrap(), "a nonce is used once");
        let mine = source(1, sealed.clone(), None);
        assert_eq!(opened(&sealer, &mine, 0), Ok(vec![SECRET.to_owned()]));
        let moved = source(2, sealed.clone(), None);
        assert_eq!(opened(&sealer, &moved, 0), Err(SealError::WrongKey(moved.id)));
        assert_eq!(opened(&Sealer::new(&[8; KEY_BYTES]), &mine, 0), Err(SealError::WrongKey(mine.id)));
        assert_eq!(opened(&Sealer::from_hex("").unwrap(), &mine, 0), Err(SealError::NoKey));
        for index in 0..sealed.0.len() {
            let mut bent = sealed.clone();
            bent.0[index] ^= 1;
            assert_eq!(opened(&sealer, &source(1, bent, None), 0), Err(SealError::WrongKey(id)));
        }
    }

    #[test]
    fn a_rotation_leaves_two_secrets_for_its_grace() {
        let sealer = Sealer::new(&[7; KEY_BYTES]);
        let id = Id::from_bytes([1; 16]);
        let previous = PreviousSealed {
            secret: sealer.seal(id, "old").unwrap(),
            valid_until: Timestamp::from_micros(100),
        };
        let source = source(1, sealer.seal(id, "new").unwrap(), Some(previous));
        assert_eq!(opened(&sealer, &source, 99), Ok(vec!["new".to_owned(), "old".to_owned()]));
        assert_eq!(opened(&sealer, &source, 100), Ok(vec!["new".to_owned()]));
    }

    #[test]
    fn the_log_holds_and_debugging_shows_no_secret() {
        let sealer = Sealer::new(&[7; KEY_BYTES]);
        let sealed = sealer.seal(Id::from_bytes([1; 16]), SECRET).unwrap();
        let json = serde_json::to_string(&sealed).unwrap();
        assert_eq!(serde_json::from_str::<SealedSecret>(&json).unwrap(), sealed);
        let source = source(1, sealed, None);
        let shown = format!("{source:?} {sealer:?} {:?}", sealer.open(&source, Timestamp::default()));
        assert!(
            !json.contains(SECRET) && !shown.contains(SECRET) && shown.contains("OpenSecret(***)"),
            "{shown}"
        );
        for broken in ["\"\"", "\"AAAA\"", "\"?\"", "1"] {
            assert!(serde_json::from_str::<SealedSecret>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        assert!(Sealer::from_hex(&"0a".repeat(KEY_BYTES)).is_ok());
        for wrong in ["0", "xyz", &"0a".repeat(KEY_BYTES - 1), &"0a".repeat(KEY_BYTES + 1)] {
            assert_eq!(Sealer::from_hex(wrong).unwrap_err(), SealError::MalformedKey, "{wrong}");
        }
    }
}
