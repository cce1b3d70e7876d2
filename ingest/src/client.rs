//! Who asks: what of a client is told, and what of it the workspace lets be kept.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use catalog::Workspace;
use http::header::{ACCEPT_LANGUAGE, COOKIE, HeaderMap, HeaderName, ORIGIN, REFERER, USER_AGENT};
use ipnet::IpNet;
use prometheus::Registry;
use schemas::event::{Hit, label};
use schemas::id::VisitorId;
use service::lifecycle::{Shutdown, Tasks};

use crate::address;
use crate::agent::{Agent, Agents, MAX_AGENT_BYTES};
use crate::error::StartError;
use crate::place::{Place, Places};
use crate::privacy::Refusals;
use crate::settings::IngestSettings;
use crate::text::cut;

/// Bytes of `Referer` that are kept.
const MAX_REFERRER_BYTES: usize = 1_024;
/// The visitor's cookie.
const VISITOR_COOKIE: &str = "tb_vid";
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// A year, in seconds.
const VISITOR_COOKIE_MAX_AGE: u32 = 365 * 24 * 60 * 60;
/// Bytes that hold the cookie.
const COOKIE_CAPACITY: usize = 112;
/// The longest primary subtag of a language.
const MAX_LANGUAGE_BYTES: usize = 8;

/// The headers by which browsers announce that nobody has clicked yet.
const PREFETCH_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-moz"),
];

/// Everything by which clients are told.
pub(crate) struct Clients {
    agents: Agents,
    places: Places,
    trusted: Vec<IpNet>,
    country_header: Option<HeaderName>,
}

/// A request as far as it tells of the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) headers: &'a HeaderMap,
    /// The other end of the connection, where there is one.
    pub(crate) peer: Option<IpAddr>,
    /// The client's address, where it is known.
    pub(crate) client: Option<IpAddr>,
    /// The parameter `consent`.
    pub(crate) consent: Option<&'a str>,
}

/// What is known of a client and may be kept.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// What the agent says.
    pub(crate) agent: Arc<Agent>,
    /// Where the client is.
    pub(crate) place: Place,
    /// The language it prefers; empty for unknown.
    pub(crate) language: String,
    /// The page it comes from; empty for unknown.
    pub(crate) referrer: String,
    /// The visitor in its cookie. `None` for a new one, and where it may not be recognised.
    pub(crate) visitor: Option<VisitorId>,
    /// Why it may not be recognised.
    pub(crate) refusals: Refusals,
    user_agent: String,
    address: String,
    is_prefetch: bool,
}

impl Clients {
    /// Reads the lists and the file of places that the settings name, and looks after the file until the shutdown.
    ///
    /// # Errors
    /// If a list does not compile, or the file cannot be read.
    pub(crate) async fn start(
        settings: &IngestSettings,
        registry: &Registry,
        tasks: &Tasks,
        shutdown: &Shutdown,
    ) -> Result<Self, StartError> {
        // Compiling takes a tenth of a second, which no runtime's thread has.
        let agents = tokio::task::spawn_blocking(Agents::new).await;
        let agents = agents.map_err(|_| StartError::Stopped)??;
        let places = Places::open(&settings.places_file, registry).await?;
        places.watch(tasks, shutdown);
        Ok(Self {
            agents,
            places,
            trusted: settings.trusted_proxies.clone(),
            country_header: settings.country_header.parse().ok(),
        })
    }

    /// Looks at who asks.
    pub(crate) fn look(&self, asked: &Asked<'_>, workspace: &Workspace) -> Seen {
        let headers = asked.headers;
        let refusals = Refusals::read(headers, asked.consent, &workspace.privacy);
        let user_agent = kept_text(headers, &USER_AGENT, MAX_AGENT_BYTES);
        Seen {
            agent: self.agents.read(&user_agent),
            place: asked
                .client
                .map(|client| self.places.find(client, self.stated_country(asked)))
                .unwrap_or_default(),
            language: language(headers),
            referrer: kept_text(headers, &REFERER, MAX_REFERRER_BYTES),
            visitor: if refusals.is_empty() { visitor(headers) } else { None },
            address: match asked.client {
                Some(client) if refusals.is_empty() => address::stored(client, workspace.ip_storage),
                Some(_) | None => String::new(),
            },
            is_prefetch: is_prefetch(headers),
            user_agent,
            refusals,
        }
    }

    /// Whether a trusted proxy states that the client came to it, or to the first proxy of all, by https.
    pub(crate) fn is_https_outside(&self, asked: &Asked<'_>) -> bool {
        let is_trusted = asked.peer.is_some_and(|peer| address::is_trusted(peer, &self.trusted));
        let stated = asked.headers.get(X_FORWARDED_PROTO).filter(|_| is_trusted);
        let first = stated.and_then(|value| value.as_bytes().split(|byte| *byte == b',').next());
        first.is_some_and(|scheme| scheme.trim_ascii().eq_ignore_ascii_case(b"https"))
    }

    /// The country that a trusted proxy states.
    fn stated_country<'a>(&self, asked: &Asked<'a>) -> Option<&'a [u8]> {
        let name = self.country_header.as_ref()?;
        let is_trusted = asked.peer.is_some_and(|peer| address::is_trusted(peer, &self.trusted));
        if is_trusted { asked.headers.get(name).map(http::HeaderValue::as_bytes) } else { None }
    }
}

impl Seen {
    /// The labels of what is known: a prefetch, a bot and its reason, and why the visitor is not recognised.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &'static str> {
        let bot = self.agent.bot.map(|reason| [label::BOT, reason.label()]);
        let prefetch = self.is_prefetch.then_some(label::PREFETCH);
        prefetch.into_iter().chain(bot.into_iter().flatten()).chain(self.refusals.labels())
    }

    /// Writes what is known of the client into a hit: its labels after those that the hit has. Who the visitor is, the caller
    /// decides.
    pub(crate) fn fill(self, hit: &mut Hit) {
        hit.labels.extend(self.labels().map(str::to_owned));
        hit.browser = self.agent.browser.as_ref().to_owned();
        hit.os = self.agent.os.as_ref().to_owned();
        hit.device = self.agent.device.to_owned();
        hit.referrer = self.referrer;
        hit.user_agent = self.user_agent;
        hit.address = self.address;
        hit.language = self.language;
        hit.country = self.place.country;
        hit.region = self.place.region;
        hit.city = self.place.city;
    }
}

/// A header's text, bounded; empty for none.
fn kept_text(headers: &HeaderMap, name: &HeaderName, max_bytes: usize) -> String {
    let Some(value) = headers.get(name) else { return String::new() };
    let text = String::from_utf8_lossy(value.as_bytes());
    cut(&text, max_bytes).to_owned()
}

/// The primary subtag of the first language in `Accept-Language`, in small letters; empty for none.
fn language(headers: &HeaderMap) -> String {
    let Some(value) = headers.get(ACCEPT_LANGUAGE) else { return String::new() };
    let first = value.as_bytes().trim_ascii_start();
    let length = first.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (tag, rest) = first.split_at(length);
    let is_tag = (2..=MAX_LANGUAGE_BYTES).contains(&length)
        && rest.first().is_none_or(|byte| matches!(byte, b'-' | b'_' | b',' | b';' | b' '));
    if is_tag {
        tag.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect()
    } else {
        String::new()
    }
}

/// Whether the browser fetches ahead of a click.
fn is_prefetch(headers: &HeaderMap) -> bool {
    PREFETCH_HEADERS.iter().filter_map(|name| headers.get(name)).any(|value| {
        value
            .as_bytes()
            .split(|byte| matches!(byte, b';' | b',' | b' '))
            .any(|word| word.eq_ignore_ascii_case(b"prefetch") || word.eq_ignore_ascii_case(b"prerender"))
    })
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

/// What `format!` gives, in a buffer that need not grow: this is done for every click.
fn written(capacity: usize, text: fmt::Arguments<'_>) -> String {
    let mut buffer = String::with_capacity(capacity);
    // Writing to a string does not fail.
    let _ = buffer.write_fmt(text);
    buffer
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
    fn prefetches_are_seen() {
        assert!(is_prefetch(&headers(&[("sec-purpose", "prefetch;prerender")])));
        assert!(is_prefetch(&headers(&[("x-moz", "Prefetch")])));
        assert!(!is_prefetch(&headers(&[("purpose", "navigation")])));
    }

    #[test]
    fn the_first_language_counts() {
        for (header, found) in [
            ("de-CH,de;q=0.9,en;q=0.8", "de"),
            ("DE", "de"),
            (" fil ;q=1", "fil"),
            ("zh_CN", "zh"),
            ("*", ""),
            ("", ""),
            ("x", ""),
            ("1en", ""),
            ("en1", ""),
            ("abcdefghi", ""),
        ] {
            assert_eq!(language(&headers(&[("accept-language", header)])), found, "{header}");
        }
        assert_eq!(language(&headers(&[])), "");
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
            for name in ["cookie", "accept-language", "user-agent", "referer", "origin", "sec-purpose"] {
                map.insert(name, value.clone());
            }
            let _ = (visitor(&map), is_prefetch(&map), page_origin(&map));
            prop_assert!(language(&map).len() <= MAX_LANGUAGE_BYTES);
            prop_assert!(kept_text(&map, &USER_AGENT, MAX_AGENT_BYTES).len() <= MAX_AGENT_BYTES);
        }
    }
}
