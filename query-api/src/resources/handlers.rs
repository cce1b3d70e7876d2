//! The handlers of every resource.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use catalog::validate;
use catalog::{Catalog, Expected, ExternalId, Idempotency, Rejected};
use http::StatusCode;
use schemas::time::Timestamp;
use serde_json::{Map, Value};

use super::change::{Draft, Stored, propose, refused, version_conflict};
use super::crud::{Context, Crud};
use super::fields::{Fields, Purpose};
use super::idempotency::IdempotencyKey;
use super::reference;
use crate::auth::{Allowed, Caller};
use crate::body::JsonBody;
use crate::error::Error;
use crate::page::{Page, PageRequest};
use crate::params::Params;
use crate::state::Desk;

/// How often a change is made anew when another one came in between and the client named no version.
const MAX_ATTEMPTS: usize = 5;
/// How long a change waits for a version that this node has not folded yet.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(1);

pub(crate) type Body = JsonBody<Map<String, Value>>;

/// `GET /{resources}`.
pub(crate) async fn list<T: Crud>(
    State(desk): State<Desk>,
    caller: Allowed<T::Reads>,
    mut params: Params,
) -> Result<Json<Page<T::View>>, Error> {
    let request = PageRequest::new(&mut params, T::PATH, caller.workspace)?;
    let wanted = statuses(&mut params)?;
    let ascending = match params.take("sort")?.as_deref() {
        None | Some("-created_at") => false,
        Some("created_at") => true,
        Some(_) => return Err(Error::invalid("sort", "must be -created_at or created_at")),
    };
    let catalog = desk.catalog().read();
    let filter = T::filter(&mut params, &catalog, workspace(&catalog, &caller)?)?;
    params.finish()?;
    let after = request.after::<String>()?;
    let after =
        after.map(|id| id.parse()).transpose().map_err(|_| Error::invalid("cursor", "is no cursor"))?;
    let is_wanted = |row: &&T| wanted.contains(&row.meta().archived) && filter(row);
    // Ids ascend with the time of creation, so their order is the order of the list.
    let rows: Vec<T> = if ascending {
        catalog.ascending(caller.workspace, after).filter(is_wanted).take(request.limit()).cloned().collect()
    } else {
        catalog.descending(caller.workspace, after).filter(is_wanted).take(request.limit()).cloned().collect()
    };
    drop(catalog);
    let page = request.page(rows, |row| row.id().to_string())?;
    Ok(Json(page.map(|row| row.view(&desk, None))))
}

/// Which values of `archived` the list has.
fn statuses(params: &mut Params) -> Result<Vec<bool>, Error> {
    let Some(statuses) = params.take_list("status")? else { return Ok(vec![false]) };
    let archived = |status: &String| match status.as_str() {
        "active" => Ok(false),
        "archived" => Ok(true),
        _ => Err(Error::invalid("status", "must be active or archived")),
    };
    statuses.iter().map(archived).collect()
}

/// `POST /{resources}`.
pub(crate) async fn create<T: Crud>(
    State(desk): State<Desk>,
    caller: Allowed<T::Writes>,
    params: Params,
    key: IdempotencyKey,
    body: Body,
) -> Result<Response, Error> {
    params.finish()?;
    let idempotency = key.over(&body.bytes);
    if let Some(stored) = Stored::<T>::replay(&desk, &caller, idempotency.as_ref())? {
        return Ok(stored.answer(&desk, StatusCode::CREATED));
    }
    let draft = draft::<T>(&desk, &caller, body.value, Target::New(None))?;
    let stored = propose(&desk, &caller, draft, idempotency).await?.map_err(refused)?;
    Ok(stored.answer(&desk, StatusCode::CREATED))
}

/// `GET /{resources}/{reference}`.
pub(crate) async fn one<T: Crud>(
    State(desk): State<Desk>,
    caller: Allowed<T::Reads>,
    Path(text): Path<String>,
    params: Params,
) -> Result<Json<T::View>, Error> {
    params.finish()?;
    let resource = stored::<T>(&desk, &caller, &text)?;
    Ok(Json(resource.view(&desk, None)))
}

/// `PATCH /{resources}/{reference}`.
pub(crate) async fn patch<T: Crud>(
    State(desk): State<Desk>,
    caller: Allowed<T::Writes>,
    Path(text): Path<String>,
    params: Params,
    body: Body,
) -> Result<Response, Error> {
    params.finish()?;
    change::<T>(&desk, &caller, &text, &body.value, Purpose::Patch).await
}

/// `PUT /{resources}/{reference}`.
pub(crate) async fn replace<T: Crud>(
    State(desk): State<Desk>,
    caller: Allowed<T::Writes>,
    Path(text): Path<String>,
    params: Params,
    body: Body,
) -> Result<Response, Error> {
    params.finish()?;
    change::<T>(&desk, &caller, &text, &body.value, Purpose::Whole).await
}

async fn change<T: Crud>(
    desk: &Desk,
    caller: &Caller,
    text: &str,
    body: &Map<String, Value>,
    purpose: Purpose,
) -> Result<Response, Error> {
    let mut body = body.clone();
    let wanted = expected_version(&mut body)?;
    let current = || {
        let before = stored::<T>(desk, caller, text)?;
        let version = before.meta().version;
        Ok((before, version))
    };
    let proposed = |before| {
        let draft = draft(desk, caller, body.clone(), Target::Stored { before, purpose })?;
        Ok(propose(desk, caller, draft, None))
    };
    Ok(change_stored(desk, wanted, current, proposed).await?.answer(desk, StatusCode::OK))
}

/// Changes what is stored: anew when another change came in between, unless the client names the version that it changes. One
/// that this node has not folded yet is waited for.
pub(crate) async fn change_stored<T, A, F>(
    desk: &Desk,
    wanted: Option<u64>,
    stored: impl Fn() -> Result<(T, u64), Error>,
    propose: impl Fn(T) -> Result<F, Error>,
) -> Result<A, Error>
where
    F: Future<Output = Result<Result<A, Rejected>, Error>>,
{
    for _ in 0..MAX_ATTEMPTS {
        let (mut before, mut current) = stored()?;
        if wanted.is_some_and(|wanted| wanted > current) {
            catch_up(desk).await?;
            (before, current) = stored()?;
        }
        // The change is made in this copy, so the version must be this copy's, not just the log's.
        if wanted.is_some_and(|wanted| wanted != current) {
            return Err(version_conflict(current));
        }
        match propose(before)?.await? {
            Ok(made) => return Ok(made),
            Err(Rejected::VersionConflict { .. }) if wanted.is_none() => {}
            Err(rejected) => return Err(refused(rejected)),
        }
    }
    Err(contended())
}

/// `PUT /{resources}/external/{source}/{id}`.
pub(crate) async fn upsert<T: Crud>(
    State(desk): State<Desk>,
    caller: Allowed<T::Writes>,
    Path((source, id)): Path<(String, String)>,
    params: Params,
    body: Body,
) -> Result<Response, Error> {
    params.finish()?;
    let mut body = body.value;
    let wanted = expected_version(&mut body)?;
    name_externally(&mut body, &source, &id)?;
    let external = ExternalId { source, id };
    for _ in 0..MAX_ATTEMPTS {
        let known = || desk.catalog().read().by_external::<T>(caller.workspace, &external).cloned();
        let mut before = known();
        let is_older = |wanted| before.as_ref().is_none_or(|before| before.meta().version < wanted);
        if wanted.is_some_and(is_older) {
            catch_up(&desk).await?;
            before = known();
        }
        let (target, status) = match before {
            Some(before) => {
                let current = before.meta().version;
                if wanted.is_some_and(|wanted| wanted != current) {
                    return Err(version_conflict(current));
                }
                (Target::Stored { before, purpose: Purpose::Whole }, StatusCode::OK)
            }
            None if wanted.is_some() => return Err(Error::not_found(T::KIND.as_str())),
            None => (Target::New(Some(external.clone())), StatusCode::CREATED),
        };
        let draft = draft::<T>(&desk, &caller, body.clone(), target)?;
        match propose(&desk, &caller, draft, None).await? {
            Ok(stored) => return Ok(stored.answer(&desk, status)),
            // Another request created it, or changed it, in between.
            Err(Rejected::Exists { field: "external_id", .. }) => {}
            Err(Rejected::VersionConflict { .. }) if wanted.is_none() => {}
            Err(rejected) => return Err(refused(rejected)),
        }
    }
    Err(contended())
}

/// Writes the name from the path into the body, which may say the same and nothing else.
fn name_externally(body: &mut Map<String, Value>, source: &str, id: &str) -> Result<(), Error> {
    for (field, text) in [("external_source", source), ("external_id", id)] {
        let value = Value::from(text);
        if body.get(field).is_some_and(|given| *given != value) {
            return Err(Error::invalid(field, "differs from the path's"));
        }
        body.insert(field.to_owned(), value);
    }
    Ok(())
}

/// `DELETE /{resources}/{reference}`.
pub(crate) async fn archive<T: Crud>(
    State(desk): State<Desk>,
    caller: Allowed<T::Writes>,
    Path(text): Path<String>,
    params: Params,
) -> Result<Response, Error> {
    params.finish()?;
    let stored = edit::<T>(&desk, &caller, &text, None, |resource| {
        let changes = !resource.meta().archived;
        resource.meta_mut().archived = true;
        Ok(Edit { changes, secret: None })
    });
    Ok(stored.await?.answer(&desk, StatusCode::OK))
}

/// What an edit did.
pub(crate) struct Edit {
    /// Whether there is anything to propose.
    pub(crate) changes: bool,
    /// A secret that is shown this once.
    pub(crate) secret: Option<String>,
}

/// Changes a stored resource without a body. A repetition under the same idempotency key gets the first answer, without
/// the secret, and changes nothing.
pub(crate) async fn edit<T: Crud>(
    desk: &Desk,
    caller: &Caller,
    text: &str,
    idempotency: Option<Idempotency>,
    edit: impl Fn(&mut T) -> Result<Edit, Error>,
) -> Result<Stored<T>, Error> {
    if let Some(stored) = Stored::replay(desk, caller, idempotency.as_ref())? {
        return Ok(stored);
    }
    for _ in 0..MAX_ATTEMPTS {
        let mut resource = stored::<T>(desk, caller, text)?;
        resource.permit(caller)?;
        let expected = Expected::Version(resource.meta().version);
        let Edit { changes, secret } = edit(&mut resource)?;
        if !changes {
            return Ok(Stored::unchanged(resource));
        }
        let draft = Draft { resource, expected, secret, at: proposed_at(desk) };
        match propose(desk, caller, draft, idempotency.clone()).await? {
            Ok(stored) => return Ok(stored),
            Err(Rejected::VersionConflict { .. }) => {}
            Err(rejected) => return Err(refused(rejected)),
        }
    }
    Err(contended())
}

fn contended() -> Error {
    let message = "the resource changes too often, try again".to_owned();
    Error::Conflict { message, field: None, current_version: None }
}

/// The stored resource that a path refers to.
pub(crate) fn stored<T: Crud>(desk: &Desk, caller: &Caller, text: &str) -> Result<T, Error> {
    let catalog = desk.catalog().read();
    let workspace = workspace(&catalog, caller)?;
    let found = reference::find::<T>(&catalog, workspace, text).cloned();
    found.ok_or_else(|| Error::not_found(T::KIND.as_str()))
}

/// Folds what other nodes have written up to now.
async fn catch_up(desk: &Desk) -> Result<(), Error> {
    let reached = desk.catalog().catch_up(CATCH_UP_LIMIT).await;
    reached.map(drop).map_err(|error| Error::Unavailable { part: "the catalog", reason: error.to_string() })
}

fn workspace<'a>(catalog: &'a Catalog, caller: &Caller) -> Result<&'a catalog::Workspace, Error> {
    catalog.workspace(caller.workspace).ok_or_else(|| Error::not_found("workspace"))
}

pub(crate) fn expected_version(body: &mut Map<String, Value>) -> Result<Option<u64>, Error> {
    match body.remove("expected_version") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(version) if version > 0 => Ok(Some(version)),
            Some(_) | None => Err(Error::invalid("expected_version", "must be a version: 1, 2, …")),
        },
    }
}

/// What a body is written to.
enum Target<T> {
    /// Nothing is there yet; perhaps it has a name already.
    New(Option<ExternalId>),
    /// This is there.
    Stored { before: T, purpose: Purpose },
}

/// The time of a proposal made now, in whole milliseconds as they stand in ids: so the order of ids, in which lists are read,
/// is the order of `created_at`.
pub(crate) fn proposed_at(desk: &Desk) -> Timestamp {
    Timestamp::from_micros(desk.now().micros().div_euclid(1_000) * 1_000)
}

/// Reads a body into a resource. Every fault is answered at once: those of its form, and those of what it says.
fn draft<T: Crud>(
    desk: &Desk,
    caller: &Caller,
    body: Map<String, Value>,
    target: Target<T>,
) -> Result<Draft<T>, Error> {
    let at = proposed_at(desk);
    let catalog = desk.catalog().read();
    let context = Context { desk, catalog: &catalog, workspace: workspace(&catalog, caller)?, at };
    let (mut resource, before, purpose) = match target {
        Target::New(external) => {
            let mut blank = T::blank(&context, None);
            blank.meta_mut().external = external;
            (blank, None, Purpose::Whole)
        }
        Target::Stored { before, purpose: Purpose::Patch } => (before.clone(), Some(before), Purpose::Patch),
        Target::Stored { before, purpose: Purpose::Whole } => {
            let mut blank = T::blank(&context, Some(&before));
            // A replacement that says nothing of it does not bring back what was archived.
            blank.meta_mut().archived = before.meta().archived;
            (blank, Some(before), Purpose::Whole)
        }
    };
    if let Some(before) = &before {
        before.permit(caller)?;
    }
    let mut fields = Fields::new(body, purpose);
    resource.read(&mut fields, &context, before.as_ref());
    fields.meta(resource.meta_mut());
    let returns = before.as_ref().is_some_and(|before| before.meta().archived) && !resource.meta().archived;
    if returns && !T::RETURNS {
        fields.fault("status", "cannot be active again: make another one");
    }
    let secret = resource.issue(desk.sealer(), before.as_ref())?;
    fields.judge(validate::faults(&resource.clone().into()))?;
    resource.permit(caller)?;
    let expected = before.map_or(Expected::New, |before| Expected::Version(before.meta().version));
    Ok(Draft { resource, expected, secret, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_positive_number() {
        let read = |text: &str| expected_version(&mut crate::body::parse(text.as_bytes()).unwrap());
        assert_eq!(read("{}"), Ok(None));
        assert_eq!(read("{\"expected_version\": 3}"), Ok(Some(3)));
        for wrong in ["0", "-1", "\"1\"", "1.5"] {
            assert!(read(&format!("{{\"expected_version\": {wrong}}}")).is_err(), "{wrong}");
        }
    }
}
