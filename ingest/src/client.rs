//! Who asks: the client's address, what its browser says of itself, and the visitor's cookie.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr as _;

use http::header::{COOKIE, HeaderMap, HeaderName, ORIGIN, REFERER, USER_AGENT};
use ipnet::IpNet;
use schemas::id::VisitorId;

use crate::text::cut;

/// Bytes of `User-Agent` and `Referer` that are kept.
const MAX_HEADER_TEXT: usize = 1_024;
/// The visitor's cookie.
const VISITOR_COOKIE: &str = "tb_vid";
/// A year, in seconds.
const VISITOR_COOKIE_MAX_AGE: u32 = 365 * 24 * 60 * 60;
/// What is left of an address when the workspace stores it truncated.
const KEPT_BITS_V4: u32 = 24;
const KEPT_BITS_V6: u32 = 48;
/// Bytes that hold the network of an address, and those that hold the cookie.
const ADDRESS_CAPACITY: usize = 16;
const COOKIE_CAPACITY: usize = 112;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The headers by which browsers announce that nobody has clicked yet.
const PREFETCH_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-moz"),
];
/// The headers by which a visitor says that it does not want to be followed.
const REFUSAL_HEADERS: [HeaderName; 2] = [HeaderName::from_static("sec-gpc"), HeaderName::from_static("dnt")];

/// The client's address: the peer's, or, where the peer is a trusted proxy, the right-most address in
/// `X-Forwarded-For` that is none.
///
/// Whatever stands to the left of that was written by somebody whom nobody vouches for.
pub(crate) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&client) {
        return client;
    }
    for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for hop in line.as_bytes().rsplit(|byte| *byte == b',') {
            // A hop that is no address hides what is left of it: the last proxy is all we know.
            let Some(hop) = std::str::from_utf8(hop).ok().and_then(|hop| parse_hop(hop.trim())) else {
                return client;
            };
            client = hop.to_canonical();
            if !is_trusted(&client) {
                return client;
            }
        }
    }
    client
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    if let Ok(address) = IpAddr::from_str(hop) {
        return Some(address);
    }
    if let Ok(socket) = std::net::SocketAddr::from_str(hop) {
        return Some(socket.ip());
    }
    hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// The network of the address, which is what is stored.
pub(crate) fn truncated(address: IpAddr) -> String {
    let network = match address {
        IpAddr::V4(v4) => IpAddr::from(Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - KEPT_BITS_V4)))),
        IpAddr::V6(v6) => {
            IpAddr::from(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - KEPT_BITS_V6))))
        }
    };
    written(ADDRESS_CAPACITY, format_args!("{network}"))
}

/// What `format!` gives, in a buffer that need not grow: this is done for every click.
fn written(capacity: usize, text: fmt::Arguments<'_>) -> String {
    let mut buffer = String::with_capacity(capacity);
    // Writing to a string does not fail.
    let _ = buffer.write_fmt(text);
    buffer
}

/// The `User-Agent`, bounded; empty for none.
pub(crate) fn user_agent(headers: &HeaderMap) -> String {
    kept_text(headers, &USER_AGENT)
}

/// The `Referer`, bounded; empty for none.
pub(crate) fn referrer(headers: &HeaderMap) -> String {
    kept_text(headers, &REFERER)
}

fn kept_text(headers: &HeaderMap, name: &HeaderName) -> String {
    let Some(value) = headers.get(name) else { return String::new() };
    let text = String::from_utf8_lossy(value.as_bytes());
    cut(&text, MAX_HEADER_TEXT).to_owned()
}

/// Whether the browser fetches ahead of a click.
pub(crate) fn is_prefetch(headers: &HeaderMap) -> bool {
    PREFETCH_HEADERS.iter().filter_map(|name| headers.get(name)).any(|value| {
        value
            .as_bytes()
            .split(|byte| matches!(byte, b';' | b',' | b' '))
            .any(|word| word.eq_ignore_ascii_case(b"prefetch") || word.eq_ignore_ascii_case(b"prerender"))
    })
}

/// Whether the visitor does not want to be followed (`Sec-GPC: 1` or `DNT: 1`).
pub(crate) fn refuses_tracking(headers: &HeaderMap) -> bool {
    REFUSAL_HEADERS.iter().filter_map(|name| headers.get(name)).any(|value| value.as_bytes() == b"1")
}

/// The visitor in the cookie, if there is a valid one.
pub(crate) fn visitor(headers: &HeaderMap) -> Option<VisitorId> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(VISITOR_COOKIE)?.strip_prefix('='))
        .find_map(|text| text.parse().ok())
}

/// The `Set-Cookie` that makes the browser remember the visitor.
pub(crate) fn visitor_cookie(visitor: VisitorId, is_https: bool) -> String {
    let secure = if is_https { "; Secure" } else { "" };
    written(
        COOKIE_CAPACITY,
        format_args!(
            "{VISITOR_COOKIE}={visitor}; Max-Age={VISITOR_COOKIE_MAX_AGE}; Path=/; HttpOnly; SameSite=Lax{secure}"
        ),
    )
}

/// The page that asks: `Origin`, else the origin of `Referer`. `None` if both are missing, an empty origin if what is
/// there is none.
pub(crate) fn page_origin(headers: &HeaderMap) -> Option<String> {
    if let Some(origin) = headers.get(ORIGIN) {
        return Some(origin.to_str().map_or_else(|_| String::new(), str::to_ascii_lowercase));
    }
    let referrer = headers.get(REFERER)?;
    let url = referrer.to_str().ok().and_then(|text| url::Url::parse(text).ok());
    Some(url.map_or_else(String::new, |url| url.origin().ascii_serialization()))
}

/// Whether a key's list of origins names this one. A list without entries names none.
pub(crate) fn is_allowed_origin(origin: &str, allowed: &[String]) -> bool {
    // Pages in sandboxes and files all call themselves `null`.
    !origin.is_empty()
        && origin != "null"
        && allowed.iter().any(|entry| entry.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn a_forwarded_address_counts_only_behind_trusted_proxies() {
        let trusted: Vec<IpNet> = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        for (peer, forwarded, client) in [
            ("203.0.113.9", &["1.1.1.1"][..], "203.0.113.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["1.1.1.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7"),
            ("127.0.0.1", &["1.1.1.1", "203.0.113.7", "10.1.2.3"], "203.0.113.7"),
            ("::ffff:127.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("127.0.0.1", &["203.0.113.7:5060"], "203.0.113.7"),
            ("127.0.0.1", &["203.0.113.7, unknown"], "127.0.0.1"),
            ("127.0.0.1", &["10.0.0.1"], "10.0.0.1"),
        ] {
            let lines: Vec<_> = forwarded.iter().map(|line| ("x-forwarded-for", *line)).collect();
            let found = address(peer.parse().unwrap(), &headers(&lines), &trusted);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn addresses_are_stored_as_networks() {
        assert_eq!(truncated("203.0.113.77".parse().unwrap()), "203.0.113.0");
        assert_eq!(truncated("2001:db8:1:2:3::4".parse().unwrap()), "2001:db8:1::");
    }

    #[test]
    fn prefetches_and_refusals_are_seen() {
        assert!(is_prefetch(&headers(&[("sec-purpose", "prefetch;prerender")])));
        assert!(is_prefetch(&headers(&[("x-moz", "Prefetch")])));
        assert!(!is_prefetch(&headers(&[("purpose", "navigation")])));
        assert!(refuses_tracking(&headers(&[("sec-gpc", "1")])));
        assert!(!refuses_tracking(&headers(&[("dnt", "0")])));
    }

    #[test]
    fn the_visitor_comes_back_in_the_cookie() {
        let id: VisitorId = "vis_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        let set = visitor_cookie(id, true);
        assert_eq!(
            set,
            "tb_vid=vis_01h455vb4pex5vsknk084sn02q; Max-Age=31536000; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        let pair = set.split(';').next().unwrap();
        assert_eq!(visitor(&headers(&[("cookie", &format!("a=b; tb_vid=x; {pair}; c"))])), Some(id));
        assert_eq!(
            visitor(&headers(&[("cookie", "tb_vid=; tb_video=vis_01h455vb4pex5vsknk084sn02q")])),
            None
        );
    }

    #[test]
    fn origins_are_compared_whole() {
        let allowed = ["https://shop.example".to_owned(), "https://B.example:8443/".to_owned()];
        let origin = |lines: &[_]| page_origin(&headers(lines));
        assert_eq!(origin(&[]), None);
        assert_eq!(
            origin(&[("origin", "null"), ("referer", "https://shop.example/")]).as_deref(),
            Some("null")
        );
        let from_page = origin(&[("referer", "https://shop.example/cart?x=1")]).unwrap();
        assert!(is_allowed_origin(&from_page, &allowed));
        assert!(is_allowed_origin("https://b.example:8443", &allowed));
        assert!(!is_allowed_origin("https://shop.example.evil.example", &allowed));
        assert!(!is_allowed_origin(&origin(&[("referer", "nonsense")]).unwrap(), &[String::new()]));
        assert!(!is_allowed_origin("null", &["null".to_owned()]));
    }

    proptest! {
        #[test]
        fn no_header_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let mut map = HeaderMap::new();
            for name in ["cookie", "x-forwarded-for", "user-agent", "referer", "origin", "sec-purpose"] {
                map.insert(name, value.clone());
            }
            let _ = (visitor(&map), is_prefetch(&map), page_origin(&map), referrer(&map));
            let _ = address(IpAddr::from([127, 0, 0, 1]), &map, &["127.0.0.0/8".parse().unwrap()]);
            prop_assert!(user_agent(&map).len() <= MAX_HEADER_TEXT);
        }
    }
}
