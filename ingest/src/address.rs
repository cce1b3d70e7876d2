//! The client's address: from the connection, or from the proxies that the operator trusts.
//!
//! Proxies write it into `X-Forwarded-For` or into `Forwarded` (RFC 7239). Where a request has both, the first counts
//! alone: a proxy of ours appends to it, and leaves the other as the client wrote it. Proxies that write only
//! `Forwarded` have to remove `X-Forwarded-For`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use catalog::IpStorage;
use http::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

/// What is left of an address when the workspace stores it truncated.
const KEPT_BITS_V4: u32 = 24;
const KEPT_BITS_V6: u32 = 48;
/// Proxies that are looked through. What is behind more is not ours any more.
const MAX_HOPS: usize = 32;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether the address is a trusted proxy's.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The client's address: the peer's, or, where the peer is a trusted proxy, the right-most that proxies tell of and that
/// is none.
///
/// Whatever stands to the left of that was written by somebody whom nobody vouches for.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    if headers.contains_key(X_FORWARDED_FOR) {
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        return behind(peer, hops.map(parse_hop), trusted);
    }
    let lines = headers.get_all(FORWARDED).iter().rev();
    behind(peer, lines.flat_map(|line| elements_from_the_right(line.as_bytes())).map(forwarded_for), trusted)
}

/// Goes from the peer outwards. A hop that is no address, as `unknown` or `_hidden`, hides what is behind it: the last
/// proxy is all that is known.
fn behind(peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for hop in hops.take(MAX_HOPS) {
        let Some(hop) = hop else { return client };
        client = hop.to_canonical();
        if !is_trusted(client, trusted) {
            return client;
        }
    }
    client
}

/// The elements of a `Forwarded`, last first. Read from the right: an open quote on the left, where the client writes,
/// then hides nothing of what our proxies have written.
fn elements_from_the_right(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    line.rsplit(move |byte| {
        is_quoted ^= *byte == b'"';
        *byte == b',' && !is_quoted
    })
}

/// The address in `for=` of an element.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let value = element.split(|byte| *byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let (name, value) = pair.split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    })?;
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    parse_hop(unquoted.unwrap_or(value))
}

/// An address as proxies write it: bare, with a port, or in brackets. A port may be obfuscated (`_x`).
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    if let Ok(address) = hop.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(socket) = hop.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    if let Some(bracketed) = hop.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        return if is_port(port) { address.parse::<Ipv6Addr>().ok().map(IpAddr::V6) } else { None };
    }
    let (address, port) = hop.split_at_checked(hop.find(':')?)?;
    if is_port(port) { address.parse::<Ipv4Addr>().ok().map(IpAddr::V4) } else { None }
}

/// Whether this is nothing, or a colon and a port or an obfuscated one.
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    port.strip_prefix('_').map_or_else(
        || port.parse::<u16>().is_ok(),
        |name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
    )
}

/// The address as the workspace stores it; empty for nothing.
pub(crate) fn stored(address: IpAddr, storage: IpStorage) -> String {
    match storage {
        IpStorage::None => String::new(),
        IpStorage::Truncated => network(address).to_string(),
        IpStorage::Full => address.to_string(),
    }
}

/// The network of the address.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - KEPT_BITS_V4))).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - KEPT_BITS_V6))).into(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> Vec<IpNet> {
        vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]
    }

    fn found(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        client(peer.parse().unwrap(), &headers, &trusted()).to_string()
    }

    #[test]
    fn a_forwarded_address_counts_only_behind_trusted_proxies() {
        for (peer, forwarded, client) in [
            ("203.0.113.9", &["1.1.1.1"][..], "203.0.113.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["1.1.1.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7"),
            ("127.0.0.1", &["1.1.1.1", "203.0.113.7", "10.1.2.3"], "203.0.113.7"),
            ("::ffff:127.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("127.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["203.0.113.7:5060"], "203.0.113.7"),
            ("127.0.0.1", &["203.0.113.7, unknown"], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7,"], "127.0.0.1"),
            ("127.0.0.1", &["10.0.0.1"], "10.0.0.1"),
        ] {
            let lines: Vec<_> = forwarded.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(found(peer, &lines), client, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn the_standard_header_is_read_as_well() {
        for (forwarded, client) in [
            (&["for=203.0.113.7"][..], "203.0.113.7"),
            (&["For=203.0.113.7;proto=http; by=10.0.0.1"], "203.0.113.7"),
            (&["proto=https ;for=203.0.113.7"], "203.0.113.7"),
            (&[r#"for="[2001:db8:cafe::17]:4711""#], "2001:db8:cafe::17"),
            (&[r#"for="[2001:db8:cafe::17]:_port""#], "2001:db8:cafe::17"),
            (&[r#"for="203.0.113.7:47011", for=10.0.0.2"#], "203.0.113.7"),
            (&["for=1.1.1.1", "for=203.0.113.7, for=10.0.0.2"], "203.0.113.7"),
            // What is hidden, or is no address, hides what is left of it.
            (&["for=203.0.113.7, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
            (&["for=203.0.113.7, for=unknown"], "127.0.0.1"),
            (&["for=203.0.113.7, proto=http"], "127.0.0.1"),
            (&[r#"for="[2001:db8::1]:99999""#], "127.0.0.1"),
            (&["for=2001:db8::1"], "2001:db8::1"),
            // The client's quotes and commas do not reach what the proxy appends.
            (&[r#"for="1.1.1.1, for=203.0.113.7"#], "203.0.113.7"),
            (&[r#"for=1.1.1.1;x=",", for=203.0.113.7"#], "203.0.113.7"),
        ] {
            let lines: Vec<_> = forwarded.iter().map(|line| ("forwarded", *line)).collect();
            assert_eq!(found("127.0.0.1", &lines), client, "{forwarded:?}");
        }
        assert_eq!(found("203.0.113.9", &[("forwarded", "for=1.1.1.1")]), "203.0.113.9");
    }

    #[test]
    fn of_both_headers_the_older_counts() {
        let both = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(found("127.0.0.1", &both), "203.0.113.7");
        let hidden = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "unknown")];
        assert_eq!(found("127.0.0.1", &hidden), "127.0.0.1");
    }

    #[test]
    fn no_more_hops_are_looked_at_than_there_can_be() {
        let line = "203.0.113.7".to_owned() + &", 10.0.0.1".repeat(MAX_HOPS);
        assert_eq!(found("127.0.0.1", &[("x-forwarded-for", &line)]), "10.0.0.1");
    }

    #[test]
    fn addresses_are_stored_as_the_workspace_says() {
        let v4: IpAddr = "203.0.113.77".parse().unwrap();
        let v6: IpAddr = "2001:db8:1:2:3::4".parse().unwrap();
        assert_eq!(stored(v4, IpStorage::Truncated), "203.0.113.0");
        assert_eq!(stored(v6, IpStorage::Truncated), "2001:db8:1::");
        assert_eq!(stored(v4, IpStorage::Full), "203.0.113.77");
        assert_eq!(stored(v6, IpStorage::Full), "2001:db8:1:2:3::4");
        assert_eq!(stored(v4, IpStorage::None), "");
    }

    proptest! {
        /// Whatever a client writes, the address that the proxy appends counts.
        #[test]
        fn a_client_cannot_make_itself_an_address(written in "[ -~]{0,80}", is_standard in any::<bool>()) {
            let (name, appended) =
                if is_standard { ("forwarded", "for=203.0.113.7") } else { ("x-forwarded-for", "203.0.113.7") };
            let joined = format!("{written}, {appended}");
            prop_assert_eq!(found("127.0.0.1", &[(name, &joined)]), "203.0.113.7");
            prop_assert_eq!(found("127.0.0.1", &[(name, &written), (name, appended)]), "203.0.113.7");
        }

        #[test]
        fn no_header_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            for name in [X_FORWARDED_FOR, FORWARDED] {
                let headers = HeaderMap::from_iter([(name, value.clone())]);
                let _ = client(IpAddr::from([127, 0, 0, 1]), &headers, &trusted());
            }
        }
    }
}
