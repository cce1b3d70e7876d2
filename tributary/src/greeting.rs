//! What `up` says when it is up: where everything is, and three lines that work as they stand.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// What a click says that counts: less is known for a bot's.
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// The text for people at a terminal.
pub(crate) fn greeting(edge: SocketAddr, api: SocketAddr, key_file: Option<&Path>) -> String {
    let (edge, api) = (reachable(edge), reachable(api));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "edge  http://{edge}\napi   http://{api}");
    let Some(key_file) = key_file else { return text };
    let _ = writeln!(text, "key   {}", key_file.display());
    // Quoted for a shell, whatever the path holds.
    let key_file = key_file.display().to_string().replace('\'', r"'\''");
    let put = |path: &str, body: &str| {
        format!(
            "curl -sS -X PUT http://{api}/api/v1/{path} -H \"Authorization: Bearer $(cat '{key_file}')\" \
             -H 'Content-Type: application/json' -d '{body}'"
        )
    };
    let offer = put(
        "offers/external/walk/shoes",
        r#"{"name": "Shoes", "destination_url": "https://shop.example/?cid={click_id}"}"#,
    );
    let link = put("links/external/walk/hello", r#"{"offer": "ext:walk:shoes", "key": "hello"}"#);
    let _ = writeln!(text, "\nTry it:\n  {offer}\n  {link}");
    let _ = writeln!(text, "  curl -sSi -A '{BROWSER}' 'http://{edge}/c/hello?sub1=first'");
    text
}

/// Where a client on this machine reaches a server that listens on every address.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}
