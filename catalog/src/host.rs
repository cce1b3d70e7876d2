//! Names of hosts in their one spelling: ASCII (IDNA, UTS #46), lower case, without a port and without a final dot.

use url::Host;

/// Longest name of a host, in bytes (RFC 1035).
const MAX_NAME_BYTES: usize = 253;
/// Longest label of a name, in bytes (RFC 1035).
const MAX_LABEL_BYTES: usize = 63;
/// Stands before a domain for everything below it.
const ANY_BELOW: &str = "*.";
/// Schemes that no app may register: browsers run, read or fetch something by them, or they lead on to another address.
const RESERVED_SCHEMES: [&str; 26] = [
    "about",
    "blob",
    "chrome",
    "cid",
    "content",
    "data",
    "file",
    "filesystem",
    "ftp",
    "http",
    "https",
    "intent",
    "jar",
    "javascript",
    "livescript",
    "mailto",
    "mhtml",
    "mocha",
    "ms-its",
    "resource",
    "sms",
    "tel",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// Why a text is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It is no name of a host.
    #[error("must be a host name such as shop.example, without scheme, port and path")]
    Name,
    /// A star stands for too much, or in the wrong place.
    #[error("a star stands first, and two labels or more after it: *.shop.example")]
    Star,
    /// It is no scheme.
    #[error("a scheme has letters, digits, +, - and . before its colon: myapp:")]
    Scheme,
    /// The scheme means something to browsers already.
    #[error("this scheme cannot be an app's")]
    ReservedScheme,
}

/// The one spelling of a domain name; an address of numbers is none.
///
/// # Errors
/// [`HostError::Name`].
pub fn domain_name(text: &str) -> Result<String, HostError> {
    match host(text)? {
        Host::Domain(name) => Ok(name),
        Host::Ipv4(_) | Host::Ipv6(_) => Err(HostError::Name),
    }
}

/// The host of an address, in its one spelling; `None` if it has none.
pub fn of_url(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    url.host_str().map(|host| host.strip_suffix('.').unwrap_or(host).to_owned())
}

/// The one spelling of an entry of an offer's allow-list: a host, `*.` and a domain for everything below it, or an app's
/// scheme with its colon.
///
/// # Errors
/// [`HostError`].
pub fn allowed_host(text: &str) -> Result<String, HostError> {
    if let Some(scheme) = text.strip_suffix(':') {
        return app_scheme(scheme);
    }
    let Some(domain) = text.strip_prefix(ANY_BELOW) else { return host(text).map(|host| host.to_string()) };
    let domain = domain_name(domain).map_err(|_| HostError::Star)?;
    if domain.contains('.') { Ok(format!("{ANY_BELOW}{domain}")) } else { Err(HostError::Star) }
}

fn host(text: &str) -> Result<Host<String>, HostError> {
    // The parser would decode the one, take the other for a letter, and drop what it takes for a mistake of typing.
    if text.contains(['%', '*'])
        || text.chars().any(|character| character.is_control() || character.is_whitespace())
    {
        return Err(HostError::Name);
    }
    let host = Host::parse(text.strip_suffix('.').unwrap_or(text)).map_err(|_| HostError::Name)?;
    if let Host::Domain(name) = &host {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let fits = |label: &str| (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(is_letter);
        if name.len() > MAX_NAME_BYTES || !name.split('.').all(fits) {
            return Err(HostError::Name);
        }
    }
    Ok(host)
}

fn app_scheme(scheme: &str) -> Result<String, HostError> {
    let scheme = scheme.to_ascii_lowercase();
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        || !scheme.bytes().all(is_letter)
        || scheme.len() > MAX_LABEL_BYTES
    {
        return Err(HostError::Scheme);
    }
    if RESERVED_SCHEMES.contains(&scheme.as_str()) {
        return Err(HostError::ReservedScheme);
    }
    Ok(format!("{scheme}:"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (text, normal) in [
            ("Shop.Example", "shop.example"),
            ("shop.example.", "shop.example"),
            ("müller.example", "xn--mller-kva.example"),
            ("XN--Mller-kva.example", "xn--mller-kva.example"),
            ("ｓｈｏｐ.example", "shop.example"),
            ("shop。example", "shop.example"),
            ("localhost", "localhost"),
            ("127.1", "127.0.0.1"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("*.Shop.Example", "*.shop.example"),
            ("MyApp:", "myapp:"),
            ("com.example.app+x:", "com.example.app+x:"),
        ] {
            assert_eq!(allowed_host(text).as_deref(), Ok(normal), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "shop..example",
            "https://shop.example",
            "shop.example/",
            "shop.example:443",
            "user@shop.example",
            "shop.example\\@evil",
            "%73hop.example",
            "shop .example",
            "shop\n.example",
            "shop*.example",
            "a,b",
            "xn--a-.example",
        ] {
            assert_eq!(allowed_host(text), Err(HostError::Name), "{text:?}");
        }
        assert_eq!(allowed_host(&format!("{}.example", "a".repeat(64))), Err(HostError::Name));
        assert_eq!(allowed_host(&["a"; 127].join(".")).map(|host| host.len()), Ok(253));
        assert_eq!(allowed_host(&["a"; 128].join(".")), Err(HostError::Name));
        for text in ["*", "*.", "*.com", "*.*.example", "*.127.0.0.1", "*shop.example", "shop.*"] {
            assert!(allowed_host(text).is_err(), "{text}");
        }
        for scheme in
            ["javascript", "JavaScript", "data", "file", "vbscript", "blob", "about", "http", "https", "ws"]
        {
            assert_eq!(allowed_host(&format!("{scheme}:")), Err(HostError::ReservedScheme), "{scheme}");
        }
        for scheme in [":", "1app:", "my app:", "a/b:", "java\tscript:"] {
            assert_eq!(allowed_host(scheme), Err(HostError::Scheme), "{scheme}");
        }
        for text in ["127.0.0.1", "[::1]", "*.shop.example", "myapp:"] {
            assert!(domain_name(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_spelling_of_a_spelling_is_itself(text in "[a-zA-Z0-9äß.*:-]{0,20}") {
            if let Ok(normal) = allowed_host(&text) {
                prop_assert!(normal.is_ascii());
                prop_assert_eq!(allowed_host(&normal), Ok(normal));
            }
        }
    }
}
