//! A hash as 64 hexadecimal digits.

use schemas::hex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use super::SecretHash;

pub(super) fn serialize<S: Serializer>(hash: &SecretHash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(hash))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretHash, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    hex::decode(&text).ok_or_else(|| D::Error::custom("not 64 hexadecimal digits"))
}
