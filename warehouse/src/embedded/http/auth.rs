//! Who may ask: one user with one password, in any of the three places that ClickHouse's clients put them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};

/// The one user of the engine.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// What a request said about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// No password at all: the answer asks for one.
    Missing,
    Wrong,
}

impl Credentials {
    /// Judges the credentials in the headers, else those in the URL's parameters.
    pub(crate) fn judge(&self, headers: &HeaderMap, url: (Option<&str>, Option<&str>)) -> Verdict {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let own = (text("x-clickhouse-user"), text("x-clickhouse-key"));
        let basic = headers.get(header::AUTHORIZATION).map(|value| basic(value.as_bytes()));
        let (user, password) = match (own, basic) {
            ((None, None), Some(Some((user, password)))) => (Some(user), Some(password)),
            ((None, None), Some(None)) => return Verdict::Wrong,
            ((None, None), None) => (url.0.map(str::to_owned), url.1.map(str::to_owned)),
            (own, _) => own,
        };
        match (user, password) {
            (None, None) => Verdict::Missing,
            (user, password) => {
                let user = user.unwrap_or_else(|| "default".to_owned());
                let right = self.matches(&user, &password.unwrap_or_default());
                if right { Verdict::Allowed } else { Verdict::Wrong }
            }
        }
    }

    /// Compares digests, so that the time tells nothing about the password or its length.
    fn matches(&self, user: &str, password: &str) -> bool {
        let same = |a: &str, b: &str| {
            let (a, b) = (Sha256::digest(a.as_bytes()), Sha256::digest(b.as_bytes()));
            a.iter().zip(b.iter()).fold(0_u8, |difference, (a, b)| difference | (a ^ b))
        };
        std::hint::black_box(same(user, &self.user) | same(password, &self.password)) == 0
    }
}

fn basic(value: &[u8]) -> Option<(String, String)> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(token.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials { user: "tributary".to_owned(), password: "se:cret".to_owned() }
    }

    fn judge(headers: &[(&'static str, &str)], url: (Option<&str>, Option<&str>)) -> Verdict {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        credentials().judge(&map, url)
    }

    #[test]
    fn each_place_is_read() {
        let basic = format!("Basic {}", STANDARD.encode("tributary:se:cret"));
        assert_eq!(judge(&[("authorization", &basic)], (None, None)), Verdict::Allowed);
        let own = [("x-clickhouse-user", "tributary"), ("x-clickhouse-key", "se:cret")];
        assert_eq!(judge(&own, (None, None)), Verdict::Allowed);
        assert_eq!(judge(&[], (Some("tributary"), Some("se:cret"))), Verdict::Allowed);
    }

    #[test]
    fn everything_else_is_refused() {
        assert_eq!(judge(&[], (None, None)), Verdict::Missing);
        assert_eq!(judge(&[], (Some("tributary"), None)), Verdict::Wrong);
        assert_eq!(judge(&[], (None, Some("se:cret"))), Verdict::Wrong);
        assert_eq!(judge(&[("authorization", "Bearer x")], (None, None)), Verdict::Wrong);
        assert_eq!(
            judge(&[("authorization", "Basic !")], (Some("tributary"), Some("se:cret"))),
            Verdict::Wrong
        );
    }
}
