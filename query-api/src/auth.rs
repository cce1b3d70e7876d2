//! Who asks, and whether they may: extractors, so that no handler can forget it.
//!
//! A handler that takes `Allowed<Read>` (or [`Write`], [`Receipts`], [`Admin`], [`Operator`]) runs only for a key with
//! that scope, and [`Caller::workspace`] is the workspace that everything it does is bound to.

use std::marker::PhantomData;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use catalog::{Environment, Key, KeyKind, Scope};
use http::HeaderMap;
use http::request::Parts;
use schemas::id::{KeyId, WorkspaceId, WorkspaceNumber};
use service::telemetry::RequestId;

use crate::error::Error;
use crate::state::Desk;

/// How the text of a secret key starts.
const SECRET_PREFIXES: [&str; 2] = ["tb_live_", "tb_test_"];
/// A longer key is none of ours and is not hashed.
const MAX_KEY_BYTES: usize = 128;
const NO_KEY: &str = "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key that was used.
    pub key: KeyId,
    /// The workspace that the request is about: the key's own, or the one an operator named.
    pub workspace: WorkspaceNumber,
    /// Whether it is a test key.
    pub test: bool,
    /// The request's id.
    pub request_id: String,
    scopes: Vec<Scope>,
}

impl Caller {
    /// Whether the key has this scope, `admin` standing for all but `operator`.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || (scope != Scope::Operator && self.scopes.contains(&Scope::Admin))
    }
}

/// What a route asks of a key.
pub trait Requirement: Send + Sync + 'static {
    /// One of these scopes is enough.
    const SCOPES: &'static [Scope];
    /// What the client reads if the key has none of them.
    const MISSING: &'static str;
}

macro_rules! requirements {
    ($($(#[$doc:meta])* $name:ident = [$($scope:ident),+], $missing:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;
        impl Requirement for $name {
            const SCOPES: &'static [Scope] = &[$(Scope::$scope),+];
            const MISSING: &'static str = $missing;
        }
    )*};
}

requirements! {
    /// Reading.
    Read = [Read], "the key needs the scope read";
    /// Changing offers, partners, links and conversions.
    Write = [Write], "the key needs the scope write";
    /// Asking what became of a request, which those who send may as well.
    Receipts = [Read, Ingest], "the key needs the scope read or ingest";
    /// Keys, sources, the workspace.
    Admin = [Admin], "the key needs the scope admin";
    /// Workspaces.
    Operator = [Operator], "the key needs the scope operator";
}

/// A caller whose key has what `R` asks.
#[derive(Debug, Clone)]
pub struct Allowed<R> {
    caller: Caller,
    requirement: PhantomData<fn() -> R>,
}

impl<R> Deref for Allowed<R> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<R: Requirement> FromRequestParts<Desk> for Allowed<R> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Error> {
        let caller = caller(parts, desk)?;
        if !R::SCOPES.iter().any(|scope| caller.has(*scope)) {
            return Err(Error::Forbidden(R::MISSING));
        }
        Ok(Self { caller, requirement: PhantomData })
    }
}

fn caller(parts: &Parts, desk: &Desk) -> Result<Caller, Error> {
    if uri_holds_secret(&parts.uri) {
        return Err(Error::Unauthorized(
            "a secret key must not stand in a URL: it is in logs now, rotate it and send it as a header",
        ));
    }
    let secret = presented(&parts.headers)?;
    let catalog = desk.catalog().read();
    let key = catalog.key_by_secret(secret, desk.now()).ok_or(Error::Unauthorized("the key is not valid"))?;
    match key.kind {
        KeyKind::Secret => {}
        KeyKind::Publishable => {
            return Err(Error::Forbidden("a publishable key cannot read or change anything"));
        }
    }
    let workspace = match named_workspace(&parts.headers)? {
        None => key.workspace,
        Some(id) => visited(key, catalog.workspace_by_id(id).map(|workspace| workspace.number))?,
    };
    let request_id = parts.extensions.get::<RequestId>().map_or("", RequestId::as_str).to_owned();
    let test = key.environment == Environment::Test;
    Ok(Caller { key: key.id, workspace, test, request_id, scopes: key.scopes.clone() })
}

/// The workspace that a key may act in when it names one.
fn visited(key: &Key, named: Option<WorkspaceNumber>) -> Result<WorkspaceNumber, Error> {
    if named == Some(key.workspace) {
        return Ok(key.workspace);
    }
    if !key.scopes.contains(&Scope::Operator) {
        return Err(Error::Forbidden("X-Workspace needs a key with the scope operator"));
    }
    named.ok_or_else(|| Error::not_found("workspace"))
}

fn named_workspace(headers: &HeaderMap) -> Result<Option<WorkspaceId>, Error> {
    let Some(value) = single(headers, "x-workspace")? else { return Ok(None) };
    value.parse().map(Some).map_err(|_| Error::invalid("X-Workspace", "must be a ws_ id"))
}

/// The key as the request brings it.
fn presented(headers: &HeaderMap) -> Result<&str, Error> {
    let bearer = match single(headers, "authorization")? {
        None => None,
        Some(value) => {
            let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Error::Unauthorized(NO_KEY));
            }
            Some(token.trim())
        }
    };
    let secret = match (bearer, single(headers, "x-api-key")?) {
        (Some(one), Some(other)) if one != other => {
            return Err(Error::Unauthorized("Authorization and X-API-Key hold different keys"));
        }
        (Some(secret), _) | (None, Some(secret)) => secret,
        (None, None) => return Err(Error::Unauthorized(NO_KEY)),
    };
    if secret.is_empty() || secret.len() > MAX_KEY_BYTES {
        return Err(Error::Unauthorized("the key is not valid"));
    }
    Ok(secret)
}

/// The value of a header that may stand once.
fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid(name, "stands more than once"));
    }
    value.to_str().map(Some).map_err(|_| Error::invalid(name, "must be ASCII"))
}

fn uri_holds_secret(uri: &http::Uri) -> bool {
    let text = percent_encoding::percent_decode_str(uri.path_and_query().map_or("", |text| text.as_str()));
    let text = text.decode_utf8_lossy();
    SECRET_PREFIXES.iter().any(|prefix| text.contains(prefix))
}
