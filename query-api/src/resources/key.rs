//! API keys.

use axum::extract::{Path, State};
use axum::response::Response;
use catalog::key::{hash_secret, new_secret};
use catalog::seal::Sealer;
use catalog::{Environment, Key, KeyKind, Meta, PreviousSecret, Scope};
use http::StatusCode;
use schemas::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::crud::{Context, Crud};
use super::fields::Fields;
use super::handlers::{self, Edit};
use super::idempotency::IdempotencyKey;
use super::rotation::grace;
use super::value;
use super::view::{Head, Tail};
use crate::auth::{Admin, Allowed, Caller};
use crate::body::{NoBody, OptionalBody};
use crate::error::Error;
use crate::params::Params;
use crate::state::Desk;

/// The hash of no secret: what a key has between reading its body and being given its secret.
const NO_SECRET: [u8; 32] = [0; 32];

impl Crud for Key {
    type Reads = Admin;
    type Writes = Admin;
    type View = KeyView;
    const PATH: &'static str = "keys";
    // Who archived a key relies on its secret being good for nothing.
    const RETURNS: bool = false;

    fn blank(context: &Context<'_>, before: Option<&Self>) -> Self {
        let workspace = context.workspace.number;
        let blank = Self {
            id: before.map_or_else(|| context.desk.new_id(workspace), |before| before.id),
            workspace,
            name: String::new(),
            sha256: NO_SECRET,
            previous: None,
            scopes: Vec::new(),
            environment: Environment::Live,
            kind: KeyKind::Secret,
            allowed_origins: Vec::new(),
            expires_at: None,
            revoked_at: None,
            meta: Meta::new(context.at),
        };
        match before {
            None => blank,
            // Secrets and their kind are no fields of a body; a replacement does not bring a revoked key back.
            Some(before) => Self {
                sha256: before.sha256,
                previous: before.previous.clone(),
                environment: before.environment,
                kind: before.kind,
                revoked_at: before.revoked_at,
                ..blank
            },
        }
    }

    fn read(&mut self, fields: &mut Fields, _context: &Context<'_>, before: Option<&Self>) {
        fields.required("name", &mut self.name, value::text);
        fields.required("scopes", &mut self.scopes, scopes);
        fields.defaulted("environment", &mut self.environment, Environment::Live, |value| match value::text(
            value,
        )?
        .as_str()
        {
            "live" => Ok(Environment::Live),
            "test" => Ok(Environment::Test),
            _ => Err("must be live or test".to_owned()),
        });
        fields.defaulted("kind", &mut self.kind, KeyKind::Secret, |value| {
            match value::text(value)?.as_str() {
                "secret" => Ok(KeyKind::Secret),
                "publishable" => Ok(KeyKind::Publishable),
                _ => Err("must be secret or publishable".to_owned()),
            }
        });
        fields.defaulted("allowed_origins", &mut self.allowed_origins, Vec::new(), value::texts);
        fields.optional("expires_at", &mut self.expires_at, value::time);
        // The secret's own text says which kind of key it is.
        if before.is_some_and(|before| before.environment != self.environment) {
            fields.fault("environment", "cannot be changed: make another key");
        }
        if before.is_some_and(|before| before.kind != self.kind) {
            fields.fault("kind", "cannot be changed: make another key");
        }
    }

    fn issue(&mut self, _sealer: &Sealer, before: Option<&Self>) -> Result<Option<String>, Error> {
        if before.is_some() {
            return Ok(None);
        }
        let secret = fresh_secret(self);
        self.sha256 = hash_secret(&secret);
        Ok(Some(secret))
    }

    /// Only an operator makes operators: whoever could change or rotate such a key would be one.
    fn permit(&self, caller: &Caller) -> Result<(), Error> {
        if self.scopes.contains(&Scope::Operator) && !caller.has(Scope::Operator) {
            return Err(Error::Forbidden(
                "a key with the scope operator needs a key with the scope operator",
            ));
        }
        Ok(())
    }

    fn view(&self, _desk: &Desk, secret: Option<String>) -> KeyView {
        let head = match self.revoked_at {
            Some(_) if !self.meta.archived => Head::with_status(self, "revoked"),
            Some(_) | None => Head::of(self),
        };
        KeyView {
            head,
            name: self.name.clone(),
            key: secret,
            scopes: self.scopes.clone(),
            environment: self.environment,
            kind: self.kind,
            allowed_origins: self.allowed_origins.clone(),
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            previous_valid_until: self.previous.as_ref().map(|previous| previous.valid_until),
            tail: Tail::of(self),
        }
    }
}

/// A new secret, from the operating system's randomness and not from the desk's seed: whoever knows one must not be able to
/// compute the next.
fn fresh_secret(key: &Key) -> String {
    new_secret(key.kind, key.environment, rand::random())
}

fn scopes(value: Value) -> Result<Vec<Scope>, String> {
    let scope = |word: &String| Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
    let known = || "must be among read, write, ingest, admin, operator".to_owned();
    value::texts(value)?.iter().map(|word| scope(word).ok_or_else(known)).collect()
}

/// `POST /keys/{reference}/rotate`. The old secret is good for a grace.
pub(crate) async fn rotate(
    State(desk): State<Desk>,
    caller: Allowed<Admin>,
    Path(text): Path<String>,
    params: Params,
    key: IdempotencyKey,
    body: OptionalBody,
) -> Result<Response, Error> {
    params.finish()?;
    let now = desk.now();
    let stored = handlers::edit::<Key>(&desk, &caller, &text, key.over(&body.bytes), |key| {
        if key.revoked_at.is_some() || key.meta.archived {
            let message = "the key is revoked".to_owned();
            return Err(Error::Conflict { message, field: None, current_version: None });
        }
        let older_until = key.previous.as_ref().map(|previous| previous.valid_until);
        let until = grace(body.fields.clone(), older_until, now)?;
        let secret = fresh_secret(key);
        key.previous = until.map(|valid_until| PreviousSecret { sha256: key.sha256, valid_until });
        key.sha256 = hash_secret(&secret);
        Ok(Edit { changes: true, secret: Some(secret) })
    });
    Ok(stored.await?.answer(&desk, StatusCode::OK))
}

/// `POST /keys/{reference}/revoke`. Both secrets end at once, and for good.
pub(crate) async fn revoke(
    State(desk): State<Desk>,
    caller: Allowed<Admin>,
    Path(text): Path<String>,
    params: Params,
    _body: NoBody,
) -> Result<Response, Error> {
    params.finish()?;
    let now = desk.now();
    let stored = handlers::edit::<Key>(&desk, &caller, &text, None, |key| {
        let changes = key.revoked_at.is_none();
        key.revoked_at = key.revoked_at.or(Some(now));
        Ok(Edit { changes, secret: None })
    });
    Ok(stored.await?.answer(&desk, StatusCode::OK))
}

/// A key in answers.
#[derive(Debug, Serialize)]
pub(crate) struct KeyView {
    #[serde(flatten)]
    head: Head,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    scopes: Vec<Scope>,
    environment: Environment,
    kind: KeyKind,
    allowed_origins: Vec<String>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    previous_valid_until: Option<Timestamp>,
    #[serde(flatten)]
    tail: Tail,
}
