//! Signed requests: one canonical text of a request, and an HMAC over it. `docs/signatures.md` has the rules for senders,
//! and test vectors, which this module is tested against.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Uri};
use schemas::event::Nonce;
use schemas::hex;
use schemas::time::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The header that carries a signature.
pub(crate) const X_TRIBUTARY_SIGNATURE: HeaderName = HeaderName::from_static("x-tributary-signature");

/// How far the sender's clock may be from ours, in seconds.
const MAX_SKEW_SECONDS: u64 = 300;
/// Bytes of a nonce. Of a batch each line's nonce is the request's and the line's number, which fits into 64 bytes.
const NONCE_BYTES: std::ops::RangeInclusive<usize> = 8..=48;
/// Bytes of a text with seconds: no honest clock needs more.
const MAX_SECONDS_BYTES: usize = 12;
/// Bytes of the header: the three values, their names, and some room.
const MAX_HEADER_BYTES: usize = 256;
/// What every source has at most at a time: the secret and the one before it.
pub(crate) const LIVE_SECRETS: usize = 2;

/// What a request says of its signature. Nothing of it is proven yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature<'r> {
    /// Unix seconds.
    seconds: &'r str,
    nonce: &'r str,
    mac: [u8; 32],
}

impl<'r> Signature<'r> {
    /// The signature of the header, else that of the query.
    pub(crate) fn of(parts: &'r Parts) -> Option<Self> {
        if parts.headers.contains_key(X_TRIBUTARY_SIGNATURE) {
            return Self::of_header(&parts.headers);
        }
        Self::of_query(parts.uri.query()?)
    }

    /// `t=…,n=…,v1=…`, in any order, each once.
    pub(crate) fn of_header(headers: &'r HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(X_TRIBUTARY_SIGNATURE).iter();
        let line = lines.next()?.to_str().ok()?;
        if lines.next().is_some() || line.len() > MAX_HEADER_BYTES {
            return None;
        }
        let mut found = [None; 3];
        for part in line.split(',') {
            let (name, value) = part.trim().split_once('=')?;
            let place = ["t", "n", "v1"].iter().position(|known| *known == name)?;
            if found[place].replace(value).is_some() {
                return None;
            }
        }
        Self::checked(found)
    }

    /// `ts`, `nonce` and `sig`, of which the first of each counts.
    pub(crate) fn of_query(query: &'r str) -> Option<Self> {
        let value = |name: &str| {
            query.split('&').find_map(|pair| pair.split_once('=').filter(|(found, _)| *found == name))
        };
        Self::checked(["ts", "nonce", "sig"].map(|name| value(name).map(|(_, value)| value)))
    }

    fn checked([seconds, nonce, mac]: [Option<&'r str>; 3]) -> Option<Self> {
        let (seconds, nonce, mac) = (seconds?, nonce?, hex::decode(mac?)?);
        let is_number = is_seconds(seconds) && !seconds.starts_with('0');
        let is_nonce = NONCE_BYTES.contains(&nonce.len())
            && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
        (is_number && is_nonce).then_some(Self { seconds, nonce, mac })
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        let seconds = self.seconds.parse::<i64>();
        seconds.is_ok_and(|seconds| seconds.abs_diff(now.unix_seconds()) <= MAX_SKEW_SECONDS)
    }
}

/// Whether the text can be unix seconds.
pub(crate) fn is_seconds(text: &str) -> bool {
    (1..=MAX_SECONDS_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A request with a signature, and the hash of its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'r> {
    pub(crate) signature: Signature<'r>,
    pub(crate) method: &'r Method,
    pub(crate) uri: &'r Uri,
    /// Of the body as it was sent, compressed or not; of a request without one, of no bytes.
    pub(crate) body_sha256: [u8; 32],
}

impl<'r> Signed<'r> {
    /// The request, if it says that it is signed.
    pub(crate) fn of(parts: &'r Parts, body: &[u8]) -> Option<Self> {
        let signature = Signature::of(parts)?;
        let body_sha256 = Sha256::digest(body).into();
        Some(Self { signature, method: &parts.method, uri: &parts.uri, body_sha256 })
    }

    /// Whether one of the secrets made the signature, and not long ago.
    ///
    /// However many secrets there are, and wherever it fails, the same number of codes is computed and compared.
    pub(crate) fn is_by(&self, secrets: &[&[u8]], now: Timestamp) -> bool {
        let text = self.canonical();
        let mut is_good = subtle::Choice::from(0);
        for place in 0..LIVE_SECRETS {
            let secret = secrets.get(place).copied();
            let is_equal = code(secret.unwrap_or_default(), text.as_bytes()).ct_eq(&self.signature.mac);
            is_good |= is_equal & subtle::Choice::from(u8::from(secret.is_some()));
        }
        bool::from(is_good) && self.signature.is_fresh(now)
    }

    /// Whether a name stands twice in the query. Which of the two values comes first is not signed, and the first counts.
    pub(crate) fn has_repeated_name(&self) -> bool {
        let query = self.uri.query().unwrap_or_default().as_bytes();
        let mut names: Vec<_> = url::form_urlencoded::parse(query).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// What stands in the event, so that the core accepts the request once. A retry may be signed anew: whether it says the
    /// same is told by what is signed beside time and nonce.
    pub(crate) fn nonce(&self) -> Nonce {
        let mut text = self.beginning(&["sig", "ts", "nonce"]);
        text.push_str(&hex::encode(&self.body_sha256));
        Nonce { text: self.signature.nonce.to_owned(), body_sha256: Sha256::digest(text.as_bytes()).into() }
    }

    /// Version, method, path and the sorted query without these parameters.
    fn beginning(&self, left_out: &[&str]) -> String {
        let mut pairs: Vec<&str> = self.uri.query().unwrap_or_default().split('&').collect();
        let is_left_out = |pair: &str| pair.split('=').next().is_some_and(|name| left_out.contains(&name));
        pairs.retain(|pair| !pair.is_empty() && !is_left_out(pair));
        pairs.sort_unstable();
        let mut text = String::with_capacity(256);
        // Writing to a string does not fail.
        let _ = write!(text, "v1\n{}\n{}\n", self.method, self.uri.path());
        for (index, pair) in pairs.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "&" });
            text.push_str(pair);
        }
        text
    }

    /// The text that is signed.
    fn canonical(&self) -> String {
        let mut text = self.beginning(&["sig"]);
        let Signature { seconds, nonce, .. } = self.signature;
        let _ = write!(text, "\n{seconds}\n{nonce}\n{}", hex::encode(&self.body_sha256));
        text
    }
}

fn code(secret: &[u8], text: &[u8]) -> [u8; 32] {
    // An HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const VECTORS: &str = include_str!("../../docs/signatures/vectors.json");

    fn vectors() -> Vec<Value> {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        vectors["vectors"].as_array().unwrap().clone()
    }

    fn text<'v>(vector: &'v Value, name: &str) -> &'v str {
        vector[name].as_str().unwrap()
    }

    fn parts(method: &str, uri: &str, header: Option<&str>) -> Parts {
        let builder = Request::builder().method(method).uri(uri);
        let builder =
            header.iter().fold(builder, |builder, header| builder.header(X_TRIBUTARY_SIGNATURE, *header));
        builder.body(()).unwrap().into_parts().0
    }

    fn target(vector: &Value) -> String {
        match text(vector, "query") {
            "" => text(vector, "path").to_owned(),
            query => format!("{}?{query}", text(vector, "path")),
        }
    }

    #[test]
    fn the_vectors_of_the_documentation_hold_by_header_and_by_query() {
        let vectors = vectors();
        assert!(vectors.len() >= 8);
        for vector in &vectors {
            let (seconds, nonce) = (text(vector, "timestamp"), text(vector, "nonce"));
            let now = Timestamp::from_micros(seconds.parse::<i64>().unwrap() * 1_000_000);
            let secret = text(vector, "secret").as_bytes();
            let header = format!("t={seconds},n={nonce},v1={}", text(vector, "signature"));
            let parts = parts(text(vector, "method"), &target(vector), Some(&header));
            let signed = Signed::of(&parts, text(vector, "body").as_bytes()).unwrap();
            assert_eq!(signed.canonical(), text(vector, "canonical"), "{vector}");
            assert!(signed.is_by(&[b"another", secret], now), "{vector}");
            assert!(!signed.is_by(&[b"another"], now) && !signed.is_by(&[], now), "{vector}");
            let wrong = Signed { body_sha256: [1; 32], ..signed };
            assert!(!wrong.is_by(&[secret], now), "{vector}");
        }
        let in_query = vectors.iter().find(|vector| text(vector, "query").contains("nonce=")).unwrap();
        let uri = format!("{}&sig={}", target(in_query), text(in_query, "signature"));
        let parts = parts(text(in_query, "method"), &uri, None);
        let signed = Signed::of(&parts, b"").unwrap();
        let now = Timestamp::from_micros(text(in_query, "timestamp").parse::<i64>().unwrap() * 1_000_000);
        assert!(signed.is_by(&[text(in_query, "secret").as_bytes()], now));
        assert_eq!(signed.nonce().text, text(in_query, "nonce"));
    }

    #[test]
    fn a_signature_holds_for_five_minutes_on_either_side() {
        let vector = &vectors()[0];
        let seconds: i64 = text(vector, "timestamp").parse().unwrap();
        let header = format!("t={seconds},n={},v1={}", text(vector, "nonce"), text(vector, "signature"));
        let parts = parts(text(vector, "method"), &target(vector), Some(&header));
        let signed = Signed::of(&parts, text(vector, "body").as_bytes()).unwrap();
        for (offset, is_good) in [(-301, false), (-300, true), (300, true), (301, false)] {
            let now = Timestamp::from_micros((seconds + offset) * 1_000_000);
            assert_eq!(signed.is_by(&[text(vector, "secret").as_bytes()], now), is_good, "{offset}");
        }
    }

    #[test]
    fn what_is_no_signature_is_none() {
        let mac = "0".repeat(64);
        let good = format!("t=1793491200,n=abcdefgh,v1={mac}");
        assert!(Signature::of(&parts("GET", "/postback", Some(&good))).is_some());
        assert!(
            Signature::of(&parts("GET", "/postback", Some(&format!("v1={mac}, n=abcdefgh, t=1")))).is_some()
        );
        for bad in [
            String::new(),
            good.replace("t=", "x="),
            good.replace("179", "-79"),
            good.replace("1793491200", "01"),
            good.replace("1793491200", "1793491200000000000000"),
            good.replace("abcdefgh", "short"),
            good.replace("abcdefgh", "a\u{e9}cdefgh"),
            good.replace("abcdefgh", &"x".repeat(49)),
            good[..good.len() - 1].to_owned(),
            format!("{good},t=2"),
            format!("{good},"),
        ] {
            assert_eq!(Signature::of(&parts("GET", "/postback", Some(&bad))), None, "{bad}");
        }
        for query in ["ts=1&nonce=abcdefgh", "ts=1&sig=00&nonce=abcdefgh", "ts&nonce&sig"] {
            assert_eq!(Signature::of_query(query), None, "{query}");
        }
    }

    #[test]
    fn names_are_compared_as_they_are_read() {
        for (query, is_repeated) in [
            ("a=1&b=1&aa=1", false),
            ("", false),
            ("a=1&b=2&a=3", true),
            ("a=1&%61=2", true),
            ("nonce=aaaaaaaa&nonce=bbbbbbbb", true),
            ("a&&a", true),
        ] {
            let header = format!("t=1,n=abcdefgh,v1={}", "0".repeat(64));
            let parts = parts("GET", &format!("/postback?{query}"), Some(&header));
            assert_eq!(Signed::of(&parts, b"").unwrap().has_repeated_name(), is_repeated, "{query}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(header in "\\PC{0,300}", query in "[ -~]{0,300}", ascii in "[ -~]{0,300}") {
            let _ = Signature::of_query(&query);
            for value in [header, ascii] {
                let Ok(value) = http::HeaderValue::from_str(&value) else { continue };
                let headers = HeaderMap::from_iter([(X_TRIBUTARY_SIGNATURE, value)]);
                let _ = Signature::of_header(&headers);
            }
        }
    }
}
