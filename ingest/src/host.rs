//! `Host`: by which of the installation's domains a request came.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use http::header::HOST;
use http::request::Parts;

/// The longest name of a host, in bytes.
const MAX_HOST_BYTES: usize = 253;

/// The host that the request names, as the catalog writes hosts: in lower case, in its ASCII form, without port and
/// without the root's dot. `None` if there is none, or none that could be a domain's.
pub(crate) fn named_host(parts: &Parts) -> Option<Cow<'_, str>> {
    // HTTP/2 and addresses in absolute form name it in the target, which then counts.
    match parts.uri.host() {
        Some(host) => normalised(host),
        None => normalised(without_port(std::str::from_utf8(parts.headers.get(HOST)?.as_bytes()).ok()?)),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

fn normalised(host: &str) -> Option<Cow<'_, str>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() || host.len() > MAX_HOST_BYTES {
        return None;
    }
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    // What ends in a digit is an address, however it is written.
    if host.bytes().all(is_plain) && !host.ends_with(|last: char| last.is_ascii_digit()) {
        return Some(Cow::Borrowed(host));
    }
    // Who asks by an address asks all the time, in this form.
    if host.parse::<Ipv4Addr>().is_ok() {
        return None;
    }
    match url::Host::parse(host).ok()? {
        url::Host::Domain(name) => Some(Cow::Owned(name)),
        url::Host::Ipv4(_) | url::Host::Ipv6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn named(uri: &str, host: Option<&[u8]>) -> Option<String> {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        named_host(&parts).map(Cow::into_owned)
    }

    #[test]
    fn hosts_are_compared_in_one_form() {
        for (host, name) in [
            ("go.example", Some("go.example")),
            ("GO.Example:8080", Some("go.example")),
            ("go.example.", Some("go.example")),
            ("go.example.:443", Some("go.example")),
            ("münchen.example", Some("xn--mnchen-3ya.example")),
            ("XN--MNCHEN-3YA.example", Some("xn--mnchen-3ya.example")),
            ("[::1]:80", None),
            ("127.0.0.1:8080", None),
            ("0x7f.1", None),
            ("", None),
            (":80", None),
            ("a b", None),
            ("go.example:x", None),
        ] {
            assert_eq!(named("/c/a", Some(host.as_bytes())).as_deref(), name, "{host}");
        }
        assert_eq!(named("/c/a", None), None);
        assert_eq!(named("/c/a", Some(b"\xff")), None);
        assert_eq!(named("/c/a", Some("x".repeat(300).as_bytes())), None);
    }

    #[test]
    fn the_target_counts_before_the_header() {
        assert_eq!(named("http://Go.example:80/c/a", Some(b"other.example")).as_deref(), Some("go.example"));
    }

    proptest! {
        #[test]
        fn no_header_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if http::HeaderValue::from_bytes(&bytes).is_ok() {
                let _ = named("/c/a", Some(&bytes));
            }
        }
    }
}
