//! Who sends a conversion, and how far it is trusted.

use catalog::{Catalog, Environment, Key, KeyKind, Scope, Source, SourceAuth, Workspace};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use schemas::error_code::FieldError;
use schemas::event::{Trust, label};
use schemas::id::{SourceId, VisitorId, WorkspaceId};
use schemas::time::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::client::{is_allowed_origin, page_origin};
use crate::error::Refusal;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The header that carries a source's token where the address should not.
pub(crate) const X_POSTBACK_TOKEN: HeaderName = HeaderName::from_static("x-postback-token");

const X_WORKSPACE: HeaderName = HeaderName::from_static("x-workspace");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;
/// How the text of a secret key starts.
const SECRET_PREFIXES: [&str; 2] = ["tb_live_", "tb_test_"];

const NO_KEY: &str = "send a key as Authorization: Bearer KEY or X-API-Key: KEY";
const BAD_KEY: &str = "the key is unknown, expired or revoked";
const SECRET_IN_URL: &str =
    "a secret key must not stand in a URL: it is in logs now, rotate it and send it as a header";
/// One text for all that can be wrong with a postback's sender: it must not tell which.
const BAD_SOURCE: &str = "src or token is missing or wrong";
const BAD_ORIGIN: &str = "the page's origin is not among the key's allowed origins";
const NO_OPERATOR: &str = "X-Workspace needs a key with the scope operator";
const NO_SUCH_WORKSPACE: &str = "there is no such workspace";
const NO_SCOPE: &str = "the key needs the scope ingest or admin";

/// Who sends, within one look at the catalog.
#[derive(Debug)]
pub(crate) struct Sender<'c> {
    pub(crate) catalog: &'c Catalog,
    pub(crate) workspace: &'c Workspace,
    pub(crate) trust: Trust,
    pub(crate) source: Option<SourceId>,
    pub(crate) is_test: bool,
    /// Labels that come with the way of sending.
    pub(crate) labels: Vec<String>,
    /// The visitor of the cookie.
    pub(crate) visitor: Option<VisitorId>,
    /// The `Idempotency-Key`; empty for none.
    pub(crate) idempotency_key: &'c str,
    pub(crate) received_at: Timestamp,
}

/// The key in the headers.
pub(crate) fn presented_key(headers: &HeaderMap) -> Result<&str, Refusal> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer
        .or_else(|| headers.get(X_API_KEY).and_then(|value| value.to_str().ok()).map(str::trim))
        .filter(|key| !key.is_empty())
        .ok_or(Refusal::Unauthorized(NO_KEY))
}

/// Refuses a URL that holds a secret key, in whatever parameter: nothing of it may be stored.
pub(crate) fn refuse_secret_in_url(uri: &http::Uri) -> Result<(), Refusal> {
    let text = percent_encoding::percent_decode_str(uri.path_and_query().map_or("", |text| text.as_str()));
    let text = text.decode_utf8_lossy();
    if SECRET_PREFIXES.iter().any(|prefix| text.contains(prefix)) {
        return Err(Refusal::Unauthorized(SECRET_IN_URL));
    }
    Ok(())
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
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let key = catalog.key_by_secret(presented, now).ok_or(Refusal::Unauthorized(BAD_KEY))?;
        let mut sender = match key.kind {
            KeyKind::Secret => {
                let may = key.scopes.iter().any(|scope| match scope {
                    Scope::Ingest | Scope::Admin => true,
                    Scope::Read | Scope::Write | Scope::Operator => false,
                });
                if !may {
                    return Err(Refusal::Forbidden(NO_SCOPE));
                }
                Self::of_key(catalog, key, Trust::Secret, now)?
            }
            KeyKind::Publishable => {
                let origin = page_origin(headers).ok_or(Refusal::Forbidden(BAD_ORIGIN))?;
                Self::of_page(catalog, key, &origin, now)?
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
        presented: Option<&str>,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let presented = presented.ok_or(Refusal::Unauthorized("send a publishable key as ?key=tb_pub_…"))?;
        let key = catalog.key_by_secret(presented, now).ok_or(Refusal::Unauthorized(BAD_KEY))?;
        match (key.kind, page_origin(headers)) {
            (KeyKind::Secret, _) => Err(Refusal::Unauthorized(SECRET_IN_URL)),
            (KeyKind::Publishable, Some(origin)) => Self::of_page(catalog, key, &origin, now),
            (KeyKind::Publishable, None) if key.allowed_origins.is_empty() => {
                Err(Refusal::Forbidden(BAD_ORIGIN))
            }
            (KeyKind::Publishable, None) => {
                let mut sender = Self::of_key(catalog, key, Trust::Publishable, now)?;
                sender.labels.push(label::NO_ORIGIN.to_owned());
                Ok(sender)
            }
        }
    }

    /// Who sends a postback as this source.
    pub(crate) fn by_source(
        catalog: &'c Catalog,
        src: Option<&str>,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let refused = Refusal::Unauthorized(BAD_SOURCE);
        let source = src.and_then(|src| src.parse().ok()).and_then(|id| catalog.source(id));
        let Some(source) = source.filter(|source| !source.meta.archived) else { return Err(refused) };
        let trust = vouched(source, token, now).ok_or(refused)?;
        let mut sender = Self::of_workspace(catalog, source.workspace, trust, now)?;
        sender.source = Some(source.id);
        Ok(sender)
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

    fn of_page(catalog: &'c Catalog, key: &Key, origin: &str, now: Timestamp) -> Result<Self, Refusal> {
        if is_allowed_origin(origin, &key.allowed_origins) {
            Self::of_key(catalog, key, Trust::Publishable, now)
        } else {
            Err(Refusal::Forbidden(BAD_ORIGIN))
        }
    }

    fn of_key(catalog: &'c Catalog, key: &Key, trust: Trust, now: Timestamp) -> Result<Self, Refusal> {
        let mut sender = Self::of_workspace(catalog, key.workspace, trust, now)?;
        sender.is_test = match key.environment {
            Environment::Live => false,
            Environment::Test => true,
        };
        Ok(sender)
    }

    fn of_workspace(
        catalog: &'c Catalog,
        number: schemas::id::WorkspaceNumber,
        trust: Trust,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        // The fold takes no key or source of a workspace that is not there.
        let workspace = catalog.workspace(number).ok_or(Refusal::ServerError)?;
        Ok(Self {
            catalog,
            workspace,
            trust,
            source: None,
            is_test: false,
            labels: Vec::new(),
            visitor: None,
            idempotency_key: "",
            received_at: now,
        })
    }
}

/// How far the source is trusted with this token; `None` if the token is wrong.
fn vouched(source: &Source, token: Option<&str>, now: Timestamp) -> Option<Trust> {
    match &source.auth {
        SourceAuth::Open => Some(Trust::Open),
        SourceAuth::Token { sha256, previous } => {
            let presented: [u8; 32] = Sha256::digest(token?.as_bytes()).into();
            let in_grace = previous.as_ref().filter(|previous| now < previous.valid_until);
            let is_previous = in_grace.is_some_and(|previous| presented.ct_eq(&previous.sha256).into());
            (is_previous || presented.ct_eq(sha256).into()).then_some(Trust::Token)
        }
        // No signature is checked here yet, so none is good.
        SourceAuth::Signed { .. } => None,
    }
}
