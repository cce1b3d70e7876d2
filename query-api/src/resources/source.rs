//! Sources of postbacks.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::Response;
use catalog::key::{hash_secret, new_token};
use catalog::{Meta, Source, SourceAuth};
use http::StatusCode;
use serde::Serialize;

use super::crud::{Context, Crud};
use super::fields::Fields;
use super::handlers::{self, Edit};
use super::idempotency::IdempotencyKey;
use super::value;
use super::view::{Head, Tail};
use crate::auth::{Admin, Allowed, Read};
use crate::body::NoBody;
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
        fields.required("auth", &mut self.auth, |value| match value::text(value)?.as_str() {
            "open" => Ok(SourceAuth::Open),
            "token" => Ok(match before.map(|before| &before.auth) {
                Some(auth @ SourceAuth::Token { .. }) => auth.clone(),
                Some(SourceAuth::Open | SourceAuth::Signed { .. }) | None => NO_TOKEN,
            }),
            "signed" => Err("signed sources are not available yet".to_owned()),
            _ => Err("must be open or token".to_owned()),
        });
    }

    fn issue(&mut self, _before: Option<&Self>) -> Option<String> {
        (self.auth == NO_TOKEN).then(|| give_token(self))
    }

    fn view(&self, desk: &Desk, secret: Option<String>) -> SourceView {
        let auth = match &self.auth {
            SourceAuth::Open => "open",
            SourceAuth::Token { .. } => "token",
            SourceAuth::Signed { .. } => "signed",
        };
        let postback_url = postback_url(self, &desk.settings().edge_url, secret.as_deref());
        SourceView {
            head: Head::of(self),
            name: self.name.clone(),
            auth,
            token: secret,
            postback_url,
            tail: Tail::of(self),
        }
    }
}

/// Gives a source a new token, from the operating system's randomness and not from the desk's seed: whoever knows one
/// must not be able to compute the next.
fn give_token(source: &mut Source) -> String {
    let token = new_token(rand::random());
    source.auth = SourceAuth::Token { sha256: hash_secret(&token), previous: None };
    token
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

/// `POST /sources/{reference}/rotate`. The old token ends at once: a source has one.
pub(crate) async fn rotate(
    State(desk): State<Desk>,
    caller: Allowed<Admin>,
    Path(text): Path<String>,
    params: Params,
    key: IdempotencyKey,
    body: NoBody,
) -> Result<Response, Error> {
    params.finish()?;
    let stored =
        handlers::edit::<Source>(&desk, &caller, &text, key.over(&body.bytes), |source| match source.auth {
            SourceAuth::Open | SourceAuth::Signed { .. } => {
                Err(Error::invalid("auth", "an open source has no token"))
            }
            SourceAuth::Token { .. } => Ok(Edit { changes: true, secret: Some(give_token(source)) }),
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
    postback_url: String,
    #[serde(flatten)]
    tail: Tail,
}
