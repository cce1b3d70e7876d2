//! Who sends a request, and how far that sender is trusted.

use std::net::IpAddr;
use std::sync::OnceLock;

use catalog::seal::Sealer;
use catalog::{Catalog, Environment, Key, KeyKind, Pixel, Privacy, Scope, Source, Workspace};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use schemas::error_code::FieldError;
use schemas::event::{Nonce, Trust, label};
use schemas::id::{SourceId, WorkspaceId, WorkspaceNumber};
use schemas::time::Timestamp;

use crate::client::{is_allowed_origin, page_origin};
use crate::error::Refusal;
use crate::limits::{Class, Party};
use crate::privacy::Refusals;
use crate::signature::Signed;
use crate::source_proof::{is_signed, may_be_named, vouched};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The header that carries a source's token where the address should not.
pub(crate) const X_POSTBACK_TOKEN: HeaderName = HeaderName::from_static("x-postback-token");

const X_WORKSPACE: HeaderName = HeaderName::from_static("x-workspace");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;
/// How the text of a secret key starts.
const SECRET_PREFIXES: [&[u8; 8]; 2] = [b"tb_live_", b"tb_test_"];

pub(crate) const NO_KEY: &str = "send a key as Authorization: Bearer KEY or X-API-Key: KEY";
const BAD_KEY: &str = "the key is unknown, expired or revoked";
const SECRET_IN_URL: &str =
    "a secret key must not stand in a URL: it is in logs now, rotate it and send it as a header";
/// One text for all that can be wrong with who speaks for a source: it must not tell which.
pub(crate) const BAD_SOURCE: &str = "src, token or signature is missing or wrong";
const BAD_PIXEL: &str = "the pixel is unknown";
const BAD_ORIGIN: &str = "the page's origin is not among the allowed origins";
const NO_OPERATOR: &str = "X-Workspace needs a key with the scope operator";
const NO_SUCH_WORKSPACE: &str = "there is no such workspace";
const NO_SCOPE: &str = "the key needs the scope ingest or admin";
const NOT_SECRET: &str = "this needs a secret key";

/// A request, before anybody knows who sent it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming<'r> {
    pub(crate) parts: &'r Parts,
    /// The other end of the connection; `None` where the server does not tell.
    pub(crate) peer: Option<IpAddr>,
    /// The client's address; `None` where the server does not tell it.
    pub(crate) address: Option<IpAddr>,
    /// The request's signature, of which nothing is proven.
    pub(crate) signed: Option<Signed<'r>>,
    pub(crate) sealer: &'r Sealer,
    pub(crate) received_at: Timestamp,
}

/// Who sends, within one look at the catalog.
#[derive(Debug)]
pub(crate) struct Sender<'c> {
    pub(crate) catalog: &'c Catalog,
    pub(crate) workspace: &'c Workspace,
    pub(crate) trust: Trust,
    pub(crate) key: Option<&'c Key>,
    /// The source as which the request was sent.
    pub(crate) source: Option<&'c Source>,
    pub(crate) pixel: Option<&'c Pixel>,
    pub(crate) is_test: bool,
    /// Labels that come with the way of sending.
    pub(crate) labels: Vec<String>,
    /// The `Idempotency-Key`; empty for none. Events are named by [`Self::event_name`].
    pub(crate) idempotency_key: &'c str,
    pub(crate) incoming: Incoming<'c>,
    /// Which event of a batch is being read.
    pub(crate) line: Option<usize>,
    /// Whether the request speaks for the first source that it names; a batch may name one ten thousand times.
    proven: OnceLock<(SourceId, bool)>,
}

/// The key in the headers.
pub(crate) fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer
        .or_else(|| headers.get(X_API_KEY).and_then(|value| value.to_str().ok()).map(str::trim))
        .filter(|key| !key.is_empty())
}

/// Refuses a URL that holds a secret key, in whatever parameter: nothing of it may be stored.
pub(crate) fn refuse_secret_in_url(uri: &http::Uri) -> Result<(), Refusal> {
    let text = percent_encoding::percent_decode_str(uri.path_and_query().map_or("", |text| text.as_str()));
    if holds_secret(&text.decode_utf8_lossy()) { Err(Refusal::Unauthorized(SECRET_IN_URL)) } else { Ok(()) }
}

/// Whether a secret key stands in the text.
pub(crate) fn holds_secret(text: &str) -> bool {
    // Every parameter of a click is asked: comparing eight bytes at each place is faster than preparing a search.
    text.as_bytes().windows(8).any(|at| SECRET_PREFIXES.iter().any(|prefix| at == prefix.as_slice()))
}

/// The client's name for this event, should the request have none; empty for none.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<&str, FieldError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok("") };
    match value.to_str() {
        Ok(key)
            if (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()) && !key.contains(char::is_control) =>
        {
            Ok(key)
        }
        _ => Err(FieldError {
            field: "Idempotency-Key".to_owned(),
            message: "must be 1 to 255 visible ASCII characters".to_owned(),
        }),
    }
}

/// The workspace that the request names. Only an operator may name another one than the key's.
fn named_workspace(headers: &HeaderMap) -> Result<Option<WorkspaceId>, Refusal> {
    let mut values = headers.get_all(X_WORKSPACE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::invalid("X-Workspace", "stands more than once"));
    }
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    id.map(Some).ok_or_else(|| Refusal::invalid("X-Workspace", "must be a ws_ id"))
}

impl<'c> Sender<'c> {
    /// Who sends JSON with this key.
    pub(crate) fn by_key(
        catalog: &'c Catalog,
        presented: &str,
        incoming: Incoming<'c>,
    ) -> Result<Self, Refusal> {
        let headers = &incoming.parts.headers;
        let key = live_key(catalog, presented, incoming.received_at)?;
        let mut sender = match key.kind {
            KeyKind::Secret => {
                let may = key.scopes.iter().any(|scope| match scope {
                    Scope::Ingest | Scope::Admin => true,
                    Scope::Read | Scope::Write | Scope::Operator => false,
                });
                if !may {
                    return Err(Refusal::Forbidden(NO_SCOPE));
                }
                Self::of_key(catalog, key, incoming)?
            }
            KeyKind::Publishable => {
                let origin = page_origin(headers).ok_or(Refusal::Forbidden(BAD_ORIGIN))?;
                if !is_allowed_origin(&origin, &key.allowed_origins) {
                    return Err(Refusal::Forbidden(BAD_ORIGIN));
                }
                Self::of_key(catalog, key, incoming)?
            }
        };
        if let Some(id) = named_workspace(headers)? {
            sender.workspace = sender.visited(key, id)?;
        }
        Ok(sender)
    }

    /// Who fires a pixel with this key. A pixel alone may come without a page.
    pub(crate) fn by_pixel_key(
        catalog: &'c Catalog,
        presented: &str,
        incoming: Incoming<'c>,
    ) -> Result<Self, Refusal> {
        let key = live_key(catalog, presented, incoming.received_at)?;
        match key.kind {
            KeyKind::Secret => Err(Refusal::Unauthorized(SECRET_IN_URL)),
            KeyKind::Publishable if key.allowed_origins.is_empty() => Err(Refusal::Forbidden(BAD_ORIGIN)),
            KeyKind::Publishable => {
                Self::of_key(catalog, key, incoming)?.shown_by_a_page(&key.allowed_origins)
            }
        }
    }

    /// Who fires this stored pixel.
    pub(crate) fn by_pixel(catalog: &'c Catalog, px: &str, incoming: Incoming<'c>) -> Result<Self, Refusal> {
        let pixel = px.parse().ok().and_then(|id| catalog.pixel(id)).filter(|pixel| !pixel.meta.archived);
        let pixel = pixel.ok_or(Refusal::Unauthorized(BAD_PIXEL))?;
        let mut sender = Self::of_workspace(catalog, pixel.workspace, Trust::Publishable, incoming)?;
        sender.pixel = Some(pixel);
        sender.shown_by_a_page(&pixel.allowed_origins)
    }

    /// Who sends a postback as this source.
    pub(crate) fn by_source(
        catalog: &'c Catalog,
        src: Option<&str>,
        token: Option<&str>,
        incoming: Incoming<'c>,
    ) -> Result<Self, Refusal> {
        let source = src.and_then(|src| src.parse().ok()).and_then(|id| catalog.source(id));
        let source = source.filter(|source| !source.meta.archived);
        // An unknown source costs what a known one does.
        let trust = vouched(source, token, &incoming);
        let (Some(source), Some(trust)) = (source, trust) else {
            return Err(Refusal::Unauthorized(BAD_SOURCE));
        };
        let mut sender = Self::of_workspace(catalog, source.workspace, trust, incoming)?;
        sender.source = Some(source);
        Ok(sender)
    }

    /// Refuses whoever names a source for which the request does not speak. A secret key is enough to name one that has a
    /// token or nothing: what it says is trusted as the key is.
    pub(crate) fn check_named(&self, source: &Source) -> Result<(), Refusal> {
        let check = || {
            let is_good = !source.meta.archived && may_be_named(source, self.trust, &self.incoming);
            (source.id, is_good)
        };
        let (first, is_good) = *self.proven.get_or_init(check);
        let is_good = if first == source.id { is_good } else { check().1 };
        if is_good { Ok(()) } else { Err(Refusal::Unauthorized(BAD_SOURCE)) }
    }

    /// Refuses keys that anybody can read.
    pub(crate) fn check_secret(&self) -> Result<(), Refusal> {
        match self.trust {
            Trust::Secret | Trust::Token => Ok(()),
            Trust::Publishable | Trust::Open => Err(Refusal::Forbidden(NOT_SECRET)),
        }
    }

    /// Whose requests are counted together with this one, and in which class; server calls are counted by whoever signs
    /// for them, pages by the visitor's address.
    pub(crate) fn counted(&self) -> Option<(Class, Party)> {
        let address = self.incoming.address.map(|address| (Class::Browser, Party::at(address)));
        match (self.key, self.source) {
            (Some(key), _) => match key.kind {
                KeyKind::Secret => Some((Class::ServerToServer, Party::Key(key.id))),
                KeyKind::Publishable => address,
            },
            (None, Some(source)) => Some((Class::ServerToServer, Party::Source(source.id))),
            (None, None) => address,
        }
    }

    /// Whether the request comes from the visitor's own browser.
    pub(crate) fn is_page(&self) -> bool {
        self.pixel.is_some()
            || self.key.is_some_and(|key| match key.kind {
                KeyKind::Publishable => true,
                KeyKind::Secret => false,
            })
    }

    /// Why the visitor may not be recognised. Of somebody else's visitor only the request itself says so.
    pub(crate) fn refusals(&self, consent: Option<&str>) -> Refusals {
        if self.is_page() {
            Refusals::read(&self.incoming.parts.headers, consent, &self.workspace.privacy)
        } else {
            Refusals::read(&HeaderMap::new(), consent, &Privacy::default())
        }
    }

    /// The client's name for an event that has none itself; empty for none. No signature covers the header, and whoever sends a
    /// signed request again could name the event anew.
    pub(crate) fn event_name(&self, source: Option<&Source>) -> &str {
        if source.is_some_and(is_signed) { "" } else { self.idempotency_key }
    }

    /// The nonce of a request that its source signed. Every event of a batch has one of its own.
    pub(crate) fn nonce(&self, source: Option<&Source>) -> Option<Nonce> {
        let is_signed = source.is_some_and(is_signed);
        let mut nonce = self.incoming.signed.filter(|_| is_signed)?.nonce();
        if let Some(line) = self.line {
            nonce.text = format!("{}/{line}", nonce.text);
        }
        Some(nonce)
    }

    /// The workspace with this id: the key's own, or, for an operator, any other.
    fn visited(&self, key: &Key, id: WorkspaceId) -> Result<&'c Workspace, Refusal> {
        if id == self.workspace.id {
            return Ok(self.workspace);
        }
        let is_operator = match key.kind {
            KeyKind::Secret => key.scopes.contains(&Scope::Operator),
            // Anybody can read it in a page.
            KeyKind::Publishable => false,
        };
        if !is_operator {
            return Err(Refusal::Forbidden(NO_OPERATOR));
        }
        self.catalog.workspace_by_id(id).ok_or(Refusal::NotFound(NO_SUCH_WORKSPACE))
    }

    /// Refuses a page that is not on the list, if there is one; whoever hides the page is labelled.
    fn shown_by_a_page(mut self, allowed: &[String]) -> Result<Self, Refusal> {
        match page_origin(&self.incoming.parts.headers) {
            None => self.labels.push(label::NO_ORIGIN.to_owned()),
            Some(_) if allowed.is_empty() => {}
            Some(origin) if is_allowed_origin(&origin, allowed) => {}
            Some(_) => return Err(Refusal::Forbidden(BAD_ORIGIN)),
        }
        Ok(self)
    }

    fn of_key(catalog: &'c Catalog, key: &'c Key, incoming: Incoming<'c>) -> Result<Self, Refusal> {
        let trust = match key.kind {
            KeyKind::Secret => Trust::Secret,
            KeyKind::Publishable => Trust::Publishable,
        };
        let mut sender = Self::of_workspace(catalog, key.workspace, trust, incoming)?;
        sender.key = Some(key);
        sender.is_test = match key.environment {
            Environment::Live => false,
            Environment::Test => true,
        };
        Ok(sender)
    }

    fn of_workspace(
        catalog: &'c Catalog,
        number: WorkspaceNumber,
        trust: Trust,
        incoming: Incoming<'c>,
    ) -> Result<Self, Refusal> {
        // The fold takes no key, source or pixel of a workspace that is not there.
        let workspace = catalog.workspace(number).ok_or_else(|| no_workspace(number))?;
        Ok(Self {
            catalog,
            workspace,
            trust,
            key: None,
            source: None,
            pixel: None,
            is_test: false,
            labels: Vec::new(),
            idempotency_key: "",
            incoming,
            line: None,
            proven: OnceLock::new(),
        })
    }
}

/// The refusal where the catalog holds something of a workspace that it does not hold.
pub(crate) fn no_workspace(number: WorkspaceNumber) -> Refusal {
    Refusal::broken(format_args!("workspace {} is not in the catalog", number.get()))
}

fn live_key<'c>(catalog: &'c Catalog, presented: &str, now: Timestamp) -> Result<&'c Key, Refusal> {
    catalog.key_by_secret(presented, now).ok_or(Refusal::Unauthorized(BAD_KEY))
}
