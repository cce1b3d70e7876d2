//! Sources of postbacks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::extract::{Path, State};
use axum::response::Response;
use catalog::key::{hash_secret, new_signing_secret, new_token};
use catalog::seal::{SealError, SealedSecret, Sealer};
use catalog::{Meta, PreviousSealed, PreviousSecret, Source, SourceAuth};
use http::StatusCode;
use ipnet::IpNet;
use schemas::event::Status;
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
use crate::auth::{Admin, Allowed, Read};
use crate::body::OptionalBody;
use crate::error::Error;
use crate::params::Params;
use crate::state::Desk;

/// The hash of no token: what a source has between reading its body and being given its token.
const NO_TOKEN: SourceAuth = SourceAuth::Token { sha256: [0; 32], previous: None };

impl Crud for Source {
    type Reads = Read;
    type Writes = Admin;
    type View = SourceView;
    const PATH: &'static str = "sources";

    fn blank(context: &Context<'_>, before: Option<&Self>) -> Self {
        let workspace = context.workspace.number;
        Self {
            id: before.map_or_else(|| context.desk.new_id(workspace), |before| before.id),
            workspace,
            name: String::new(),
            auth: SourceAuth::Open,
            allowed_cidrs: Vec::new(),
            params: BTreeMap::new(),
            status_map: BTreeMap::new(),
            defaults: BTreeMap::new(),
            meta: Meta::new(context.at),
        }
    }

    fn read(&mut self, fields: &mut Fields, _context: &Context<'_>, before: Option<&Self>) {
        fields.required("name", &mut self.name, value::text);
        fields.required("auth", &mut self.auth, |value| {
            let before = before.map(|before| &before.auth);
            match (value::text(value)?.as_str(), before) {
                ("open", _) => Ok(SourceAuth::Open),
                // What a source shows itself by stays as it is until it is rotated.
                ("token", Some(auth @ SourceAuth::Token { .. }))
                | ("signed", Some(auth @ SourceAuth::Signed { .. })) => Ok(auth.clone()),
                ("token", Some(SourceAuth::Open | SourceAuth::Signed { .. }) | None) => Ok(NO_TOKEN),
                ("signed", Some(SourceAuth::Open | SourceAuth::Token { .. }) | None) => {
                    Ok(SourceAuth::Signed { secret: SealedSecret::unset(), previous: None })
                }
                _ => Err("must be open, token or signed".to_owned()),
            }
        });
        fields.defaulted("allowed_cidrs", &mut self.allowed_cidrs, Vec::new(), networks);
        fields.members("params", &mut self.params, value::text);
        fields.members("status_map", &mut self.status_map, |value| {
            value::word(value, &Status::ALL.map(|status| (status.as_str(), status)))
        });
        fields.members("defaults", &mut self.defaults, value::text);
    }

    fn issue(&mut self, sealer: &Sealer, _before: Option<&Self>) -> Result<Option<String>, Error> {
        let is_missing = match &self.auth {
            SourceAuth::Open => false,
            SourceAuth::Token { .. } => self.auth == NO_TOKEN,
            SourceAuth::Signed { secret, .. } => secret.is_unset(),
        };
        if is_missing { give_secret(self, sealer, None) } else { Ok(None) }
    }

    fn view(&self, desk: &Desk, secret: Option<String>) -> SourceView {
        let postback_url = postback_url(self, &desk.settings().edge_url, secret.as_deref());
        let (auth, token, secret) = match &self.auth {
            SourceAuth::Open => ("open", None, None),
            SourceAuth::Token { .. } => ("token", secret, None),
            SourceAuth::Signed { .. } => ("signed", None, secret),
        };
        let words = self.status_map.iter();
        SourceView {
            head: Head::of(self),
            name: self.name.clone(),
            auth,
            token,
            secret,
            previous_valid_until: previous_until(&self.auth),
            allowed_cidrs: self.allowed_cidrs.clone(),
            params: self.params.clone(),
            status_map: words.map(|(word, status)| (word.clone(), status.as_str())).collect(),
            defaults: self.defaults.clone(),
            postback_url,
            tail: Tail::of(self),
        }
    }
}

/// Networks, or single addresses as networks of one.
fn networks(value: Value) -> Result<Vec<IpNet>, String> {
    let network = |text: &String| {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network
            .map(|network| network.trunc())
            .map_err(|_| "must be networks such as 203.0.113.0/24".to_owned())
    };
    value::texts(value)?.iter().map(network).collect()
}

/// Gives a source a new token or secret, from the operating system's randomness and not from the desk's seed: whoever knows
/// one must not be able to compute the next. The one before is good until `old_until`. An open source has none.
fn give_secret(
    source: &mut Source,
    sealer: &Sealer,
    old_until: Option<Timestamp>,
) -> Result<Option<String>, Error> {
    let (auth, text) = match &source.auth {
        SourceAuth::Open => return Ok(None),
        SourceAuth::Token { sha256, .. } => {
            let token = new_token(rand::random());
            let previous = old_until.map(|valid_until| PreviousSecret { sha256: *sha256, valid_until });
            (SourceAuth::Token { sha256: hash_secret(&token), previous }, token)
        }
        SourceAuth::Signed { secret, .. } => {
            let text = new_signing_secret(rand::random());
            let sealed = sealer.seal(source.id, &text).map_err(unsealable)?;
            let previous =
                old_until.map(|valid_until| PreviousSealed { secret: secret.clone(), valid_until });
            (SourceAuth::Signed { secret: sealed, previous }, text)
        }
    };
    source.auth = auth;
    Ok(Some(text))
}

fn unsealable(error: SealError) -> Error {
    match error {
        SealError::NoKey => {
            Error::invalid("auth", "signed sources need the setting secrets.key on this server")
        }
        SealError::MalformedKey | SealError::WrongKey(_) | SealError::TooLong => {
            Error::Internal(error.to_string())
        }
    }
}

fn previous_until(auth: &SourceAuth) -> Option<Timestamp> {
    match auth {
        SourceAuth::Open => None,
        SourceAuth::Token { previous, .. } => previous.as_ref().map(|previous| previous.valid_until),
        SourceAuth::Signed { previous, .. } => previous.as_ref().map(|previous| previous.valid_until),
    }
}

/// The address to paste into the other system, whose own macros go between the braces. The token stands in it as long as
/// it is known, which is once.
fn postback_url(source: &Source, edge: &str, token: Option<&str>) -> String {
    let token = match source.auth {
        SourceAuth::Open | SourceAuth::Signed { .. } => String::new(),
        SourceAuth::Token { .. } => format!("&token={}", token.unwrap_or("TOKEN")),
    };
    let edge = edge.trim_end_matches('/');
    let values = "click_id={click_id}&transaction_id={transaction_id}&amount={amount}&currency={currency}";
    format!("{edge}/postback?src={}{token}&{values}", source.id)
}

/// `POST /sources/{reference}/rotate`. The old token or secret is good for a grace.
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
    let idempotency = key.over(&body.bytes);
    let stored = handlers::edit::<Source>(&desk, &caller, &text, idempotency, |source| {
        if source.auth == SourceAuth::Open {
            return Err(Error::invalid("auth", "an open source has no token"));
        }
        let until = grace(body.fields.clone(), previous_until(&source.auth), now)?;
        let secret = give_secret(source, desk.sealer(), until)?;
        Ok(Edit { changes: true, secret })
    });
    Ok(stored.await?.answer(&desk, StatusCode::OK))
}

/// A source in answers.
#[derive(Debug, Serialize)]
pub(crate) struct SourceView {
    #[serde(flatten)]
    head: Head,
    name: String,
    auth: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    previous_valid_until: Option<Timestamp>,
    allowed_cidrs: Vec<IpNet>,
    params: BTreeMap<String, String>,
    status_map: BTreeMap<String, &'static str>,
    defaults: BTreeMap<String, String>,
    postback_url: String,
    #[serde(flatten)]
    tail: Tail,
}
