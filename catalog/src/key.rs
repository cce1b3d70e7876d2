//! Secrets of keys and sources: made here, kept as SHA-256 only.

use rand::SeedableRng;
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};

use crate::resource::{Environment, KeyKind, SecretHash};

/// Characters of a secret after its prefix: 238 random bits.
pub const SECRET_CHARACTERS: usize = 40;
/// What a source's token starts with.
pub const TOKEN_PREFIX: &str = "tb_src_";

/// What the secret of a signed source starts with.
pub const SIGNING_PREFIX: &str = "tb_sig_";

/// What a key's secret starts with.
pub const fn prefix(kind: KeyKind, environment: Environment) -> &'static str {
    match (kind, environment) {
        (KeyKind::Publishable, Environment::Live | Environment::Test) => "tb_pub_",
        (KeyKind::Secret, Environment::Live) => "tb_live_",
        (KeyKind::Secret, Environment::Test) => "tb_test_",
    }
}

/// The secret of a new key, from 32 bytes of the operating system's randomness.
pub fn new_secret(kind: KeyKind, environment: Environment, random: [u8; 32]) -> String {
    secret(prefix(kind, environment), random)
}

/// The token of a new source, from 32 bytes of the operating system's randomness.
pub fn new_token(random: [u8; 32]) -> String {
    secret(TOKEN_PREFIX, random)
}

/// The secret of a new signed source, from 32 bytes of the operating system's randomness.
pub fn new_signing_secret(random: [u8; 32]) -> String {
    secret(SIGNING_PREFIX, random)
}

fn secret(prefix: &str, random: [u8; 32]) -> String {
    let mut secret = prefix.to_owned();
    Alphanumeric.append_string(&mut StdRng::from_seed(random), &mut secret, SECRET_CHARACTERS);
    secret
}

/// What the catalog keeps of a secret.
pub fn hash_secret(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_say_what_they_are_and_differ() {
        let live = new_secret(KeyKind::Secret, Environment::Live, [1; 32]);
        let body = live.strip_prefix("tb_live_").unwrap();
        assert_eq!(body.len(), SECRET_CHARACTERS);
        assert!(body.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(live, new_secret(KeyKind::Secret, Environment::Live, [2; 32]));
        assert!(new_secret(KeyKind::Secret, Environment::Test, [1; 32]).starts_with("tb_test_"));
        assert!(new_secret(KeyKind::Publishable, Environment::Test, [1; 32]).starts_with("tb_pub_"));
        assert_ne!(hash_secret(&live), hash_secret("tb_live_"));
    }
}
