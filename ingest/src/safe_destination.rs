//! Addresses that come from the caller: which of them a click may be sent to.
//!
//! An address is taken only in its plain form, in which this parser, a browser and a hasty reader all see the same host:
//! a scheme with `://`, a host without user and password, no backslash, no blank, no control character, escaped or not.
//! What is sent on is not the caller's text but the parser's writing of it.

use url::Url;

/// What begins an entry of an allow-list that stands for every host below another.
const ANY_BELOW: &str = "*.";

/// An address in its plain form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlainAddress(Url);

impl PlainAddress {
    /// Reads an address; `None` if it is not in its plain form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.contains('\\') || text.contains(is_blank_or_control) || has_escaped_control(text) {
            return None;
        }
        let (scheme, rest) = text.split_once(':')?;
        let is_web = is_web(scheme);
        let authority = match rest.strip_prefix("//") {
            Some(rest) => rest.split(['/', '?', '#']).next().unwrap_or_default(),
            None if is_web => return None,
            None => "",
        };
        if authority.contains('@') || (is_web && authority.is_empty()) {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        let is_plain = !has_user && is_web == is_web_url(&url) && (!is_web || url.host().is_some());
        is_plain.then_some(Self(url))
    }

    /// Whether an offer's list allows it: its host, or, where it is none of the web, its scheme.
    ///
    /// Entries are hosts in lower case and in their ASCII form, `*.` and such a host, or an app's scheme with a colon.
    pub(crate) fn is_on(&self, allowed_hosts: &[String]) -> bool {
        if !self.is_web() {
            return self.has_registered_scheme(allowed_hosts);
        }
        let Some(host) = self.0.host_str() else { return false };
        allowed_hosts.iter().any(|entry| match entry.strip_prefix(ANY_BELOW) {
            Some(parent) => host
                .strip_suffix(parent)
                .and_then(|below| below.strip_suffix('.'))
                .is_some_and(|below| !below.is_empty()),
            None => entry == host,
        })
    }

    /// Whether a signature is enough for it: any host of the web, or a scheme that the offer's list names.
    pub(crate) fn may_be_signed(&self, allowed_hosts: &[String]) -> bool {
        self.is_web() || self.has_registered_scheme(allowed_hosts)
    }

    fn has_registered_scheme(&self, allowed_hosts: &[String]) -> bool {
        allowed_hosts.iter().any(|entry| entry.strip_suffix(':') == Some(self.0.scheme()))
    }

    fn is_web(&self) -> bool {
        is_web_url(&self.0)
    }

    /// The address as the parser writes it, without braces, which have a meaning in our templates.
    pub(crate) fn into_text(self) -> String {
        let text = String::from(self.0);
        if text.contains(['{', '}']) { text.replace('{', "%7B").replace('}', "%7D") } else { text }
    }
}

fn is_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
}

fn is_web_url(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http")
}

fn is_blank_or_control(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

/// Whether an escape stands for a control character, such as `%0d`: it breaks headers where somebody decodes once too often.
fn has_escaped_control(text: &str) -> bool {
    text.as_bytes().windows(3).any(|window| {
        matches!(window, [b'%', b'0' | b'1', low] if low.is_ascii_hexdigit())
            || matches!(window, [b'%', b'7', b'f' | b'F'])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list() -> Vec<String> {
        ["shop.example", "*.brand.example", "xn--mnchen-3ya.example", "203.0.113.7", "myapp:"]
            .map(str::to_owned)
            .to_vec()
    }

    fn taken(text: &str) -> Option<String> {
        PlainAddress::parse(text).filter(|address| address.is_on(&list())).map(PlainAddress::into_text)
    }

    #[test]
    fn hosts_on_the_list_are_taken() {
        for (text, address) in [
            ("https://shop.example/a?b=1#c", "https://shop.example/a?b=1#c"),
            ("HTTP://SHOP.example", "http://shop.example/"),
            ("https://shop.example:8443/", "https://shop.example:8443/"),
            ("https://de.brand.example/", "https://de.brand.example/"),
            ("https://a.b.brand.example/", "https://a.b.brand.example/"),
            ("https://münchen.example/ü", "https://xn--mnchen-3ya.example/%C3%BC"),
            ("https://ｓｈｏｐ.example/", "https://shop.example/"),
            ("https://shop%2eexample/", "https://shop.example/"),
            ("https://203.0.113.7/", "https://203.0.113.7/"),
            ("https://0xcb007107/", "https://203.0.113.7/"),
            ("https://shop.example/?q={\"a\":1}", "https://shop.example/?q=%7B%22a%22:1%7D"),
            ("https://shop.example/?m=a@b.example", "https://shop.example/?m=a@b.example"),
            ("https://shop.example//evil.example", "https://shop.example//evil.example"),
            ("https://shop.example/%2f..%2f", "https://shop.example/%2f..%2f"),
            ("myapp://cart/1", "myapp://cart/1"),
            ("myapp:cart", "myapp:cart"),
        ] {
            assert_eq!(taken(text).as_deref(), Some(address), "{text}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        for text in [
            "",
            "shop.example",
            "/cart",
            "//shop.example",
            "//evil.example",
            "\\\\evil.example",
            "/\\evil.example",
            "https:\\\\evil.example",
            "https://shop.example\\@evil.example",
            "https:/\\shop.example",
            "https://evil.example",
            "https://evil.example/shop.example",
            "https://evil.example?shop.example",
            "https://evil.example#shop.example",
            "https://shop.example.evil.example",
            "https://evilshop.example",
            "https://brand.example",
            "https://.brand.example",
            "https://evilbrand.example",
            "https://shop.example.",
            "https://user@shop.example",
            "https://user:pass@shop.example",
            "https://@shop.example",
            "https://:@shop.example",
            "https://shop.example@evil.example",
            "https://shop.example%40evil.example",
            "https:evil.example",
            "https:shop.example",
            "http:/shop.example",
            "https:///shop.example",
            "https:////evil.example",
            "https://",
            "https://shop.example:x/",
            "https://shop.example/%0d%0aSet-Cookie:x",
            "https://shop.example/%0D%0A",
            "https://shop.example/%00",
            "https://shop.example/%7f",
            "https://shop.example/\r\nX: y",
            "https://shop.example/a b",
            "https://shop.\texample/",
            "ht\ntps://shop.example/",
            " https://shop.example/",
            "https://shop.example/\u{a0}",
            "https://shop.example\u{2028}/",
            "https://shоp.example/",
            "https://ѕһор.example/",
            "https://shop.example\u{2044}evil.example/",
            "https://shop.example\u{ff0f}.evil.example/",
            "javascript:alert(1)",
            "JavaScript://shop.example/%0aalert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "ftp://shop.example/",
            "blob:https://shop.example/x",
            "view-source:https://shop.example/",
            "yourapp://cart",
            "myapp://user@cart",
            "https://[::1]/",
            "https://127.0.0.1/",
        ] {
            assert_eq!(taken(text), None, "{text}");
        }
    }

    #[test]
    fn a_signature_takes_any_host_of_the_web_in_plain_form() {
        let may =
            |text: &str| PlainAddress::parse(text).is_some_and(|address| address.may_be_signed(&list()));
        assert!(may("https://elsewhere.example/") && may("myapp:x"));
        for text in
            ["yourapp:x", "https://u@elsewhere.example/", "javascript:alert(1)", "//elsewhere.example"]
        {
            assert!(!may(text), "{text}");
        }
    }

    /// The host as a browser that trusts its own eyes would see it: what stands behind the slashes of the scheme.
    fn naive_host(location: &str) -> &str {
        let rest = location.trim_start().split_once(':').map_or(location, |(_, rest)| rest);
        let rest = rest.trim_start_matches(['/', '\\']);
        let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        host.split(':').next().unwrap_or_default()
    }

    fn is_listed(host: &str) -> bool {
        ["shop.example", "xn--mnchen-3ya.example", "203.0.113.7"].contains(&host)
            || host.strip_suffix(".brand.example").is_some_and(|below| !below.is_empty())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_text_leads_to_a_host_that_is_not_listed(text in prop_oneof![
            ".*",
            "(https?|HTTPS|javascript|myapp)?[:/\\\\@.#? \\t\\r\\n%&a-z0-9]{0,12}(shop|brand|evil)?[.@/\\\\:。．%]{0,3}(shop|evil|brand)?[.。]example[:@/\\\\?#%.a-z0-9]{0,12}",
            "https://[a-zｓо.@:%\\\\/]{0,8}(shop.example|x.brand.example)[a-z.@:%0-9\\\\/?#]{0,12}",
        ]) {
            if let Some(address) = taken(&text) {
                let url = Url::parse(&address).unwrap();
                if matches!(url.scheme(), "http" | "https") {
                    prop_assert!(is_listed(url.host_str().unwrap()), "{text:?} gave {address}");
                    prop_assert!(is_listed(naive_host(&address)), "{text:?} gave {address}");
                } else {
                    prop_assert_eq!(url.scheme(), "myapp", "{:?} gave {}", text, address);
                }
                prop_assert!(address.bytes().all(|byte| byte > b' ' && byte < 0x7f), "{}", address);
            }
        }
    }
}
