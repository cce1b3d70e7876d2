//! Workspaces: what there is of them can be read and changed; they are not made here.

use axum::Json;
use axum::extract::{Path, State};
use catalog::{
    Attribution, Change, Consent, Expected, Identifier, IpStorage, Model, Privacy, Resource, Scope,
    Workspace, validate,
};
use schemas::money::Currency;
use serde::Serialize;
use serde_json::Value;

use super::change::propose_change;
use super::fields::{Fields, Purpose};
use super::handlers::{Body, change_stored, expected_version, proposed_at};
use super::value;
use super::view::Tail;
use crate::auth::{Admin, Allowed, Caller, Read};
use crate::error::Error;
use crate::page::{Page, PageRequest};
use crate::params::Params;
use crate::state::Desk;

/// `GET /workspaces`: the key's own one; for an operator, all of them.
pub(crate) async fn list(
    State(desk): State<Desk>,
    caller: Allowed<Read>,
    mut params: Params,
) -> Result<Json<Page<WorkspaceView>>, Error> {
    let request = PageRequest::new(&mut params, "workspaces", caller.workspace)?;
    params.finish()?;
    let after = request.after::<u32>()?;
    let catalog = desk.catalog().read();
    let is_wanted = |workspace: &&Workspace| {
        may_see(&caller, workspace) && after.is_none_or(|after| workspace.number.get() > after)
    };
    let found: Vec<Workspace> =
        catalog.workspaces().filter(is_wanted).take(request.limit()).cloned().collect();
    drop(catalog);
    let page = request.page(found, |workspace| workspace.number.get())?;
    Ok(Json(page.map(|workspace| WorkspaceView::of(&workspace))))
}

/// `GET /workspaces/{id}`.
pub(crate) async fn one(
    State(desk): State<Desk>,
    caller: Allowed<Read>,
    Path(text): Path<String>,
    params: Params,
) -> Result<Json<WorkspaceView>, Error> {
    params.finish()?;
    Ok(Json(WorkspaceView::of(&stored(&desk, &caller, &text)?)))
}

/// `PATCH /workspaces/{id}`.
pub(crate) async fn patch(
    State(desk): State<Desk>,
    caller: Allowed<Admin>,
    Path(text): Path<String>,
    params: Params,
    body: Body,
) -> Result<Json<WorkspaceView>, Error> {
    params.finish()?;
    let mut body = body.value;
    let wanted = expected_version(&mut body)?;
    let proposed = |mut workspace: Workspace| {
        let expected = Expected::Version(workspace.meta.version);
        let mut fields = Fields::new(body.clone(), Purpose::Patch);
        read(&mut workspace, &mut fields);
        let resource = Resource::Workspace(workspace);
        let said = validate::faults(&resource);
        fields.judge(said)?;
        let change = Change::Put { resource, expected };
        Ok(propose_change(&desk, &caller, change, proposed_at(&desk), None))
    };
    let current = || {
        let workspace = stored(&desk, &caller, &text)?;
        let version = workspace.meta.version;
        Ok((workspace, version))
    };
    change_stored(&desk, wanted, current, proposed).await?;
    Ok(Json(WorkspaceView::of(&stored(&desk, &caller, &text)?)))
}

fn may_see(caller: &Caller, workspace: &Workspace) -> bool {
    workspace.number == caller.workspace || caller.has(Scope::Operator)
}

fn stored(desk: &Desk, caller: &Caller, text: &str) -> Result<Workspace, Error> {
    let catalog = desk.catalog().read();
    let found = text.parse().ok().and_then(|id| catalog.workspace_by_id(id));
    let found = found.filter(|workspace| may_see(caller, workspace)).cloned();
    found.ok_or_else(|| Error::not_found("workspace"))
}

fn read(workspace: &mut Workspace, fields: &mut Fields) {
    fields.required("name", &mut workspace.name, value::text);
    let mut currency = workspace.currency;
    fields.required("currency", &mut currency, value::currency);
    if currency != workspace.currency {
        fields.fault("currency", "cannot be changed: state, rows and reports add amounts up in it");
    }
    fields.defaulted("timezone", &mut workspace.timezone, "UTC".to_owned(), value::text);
    fields.optional("fallback_url", &mut workspace.fallback_url, value::text);
    let stored = [("none", IpStorage::None), ("truncated", IpStorage::Truncated), ("full", IpStorage::Full)];
    fields.defaulted("ip_storage", &mut workspace.ip_storage, IpStorage::default(), |value| {
        value::word(value, &stored)
    });
    read_privacy(&mut workspace.privacy, fields);
    read_attribution(&mut workspace.attribution, fields);
    fields.defaulted("tags", &mut workspace.meta.tags, Vec::new(), value::texts);
}

fn read_attribution(attribution: &mut Attribution, fields: &mut Fields) {
    let Some(value) = fields.take("attribution") else { return };
    if value.is_null() {
        *attribution = Attribution::default();
        return;
    }
    let Some(mut inner) = fields.open("attribution", value) else { return };
    let default = Attribution::default();
    let models = Model::ALL.map(|model| (model.as_str(), model));
    inner.defaulted("payable_model", &mut attribution.payable_model, default.payable_model, |value| {
        value::word(value, &models)
    });
    for (name, field, default) in [
        ("click_lookback", &mut attribution.click_lookback_micros, default.click_lookback_micros),
        ("view_lookback", &mut attribution.view_lookback_micros, default.view_lookback_micros),
        (
            "min_time_to_convert",
            &mut attribution.min_time_to_convert_micros,
            default.min_time_to_convert_micros,
        ),
        (
            "time_decay_half_life",
            &mut attribution.time_decay_half_life_micros,
            default.time_decay_half_life_micros,
        ),
    ] {
        inner.defaulted(name, field, default, value::duration);
    }
    inner.defaulted(
        "position_weights",
        &mut attribution.position_weights,
        default.position_weights,
        |value| {
            serde_json::from_value(value)
                .map_err(|_| "must be three whole numbers that add up to 100".to_owned())
        },
    );
    inner.defaulted("identify_by", &mut attribution.identify_by, default.identify_by, |value| {
        serde_json::from_value(value).map_err(|_| {
            let words = Identifier::ALL.map(Identifier::as_str);
            format!("must be a list of {}", words.join(", "))
        })
    });
    fields.close(inner);
}

fn read_privacy(privacy: &mut Privacy, fields: &mut Fields) {
    let Some(value) = fields.take("privacy") else { return };
    if value.is_null() {
        *privacy = Privacy::default();
        return;
    }
    let Some(mut inner) = fields.open("privacy", value) else { return };
    let flag = |value: Value| value.as_bool().ok_or_else(|| "must be true or false".to_owned());
    inner.defaulted("honour_gpc", &mut privacy.honour_gpc, true, flag);
    inner.defaulted("honour_dnt", &mut privacy.honour_dnt, true, flag);
    let words = [("assumed", Consent::Assumed), ("required", Consent::Required)];
    inner.defaulted("consent", &mut privacy.consent, Consent::default(), |value| value::word(value, &words));
    fields.close(inner);
}

/// A workspace in answers.
#[derive(Debug, Serialize)]
pub(crate) struct WorkspaceView {
    id: String,
    status: &'static str,
    name: String,
    currency: Currency,
    timezone: String,
    fallback_url: Option<String>,
    attribution: AttributionView,
    ip_storage: IpStorage,
    privacy: Privacy,
    #[serde(flatten)]
    tail: Tail,
}

#[derive(Debug, Serialize)]
struct AttributionView {
    payable_model: Model,
    click_lookback: String,
    view_lookback: String,
    min_time_to_convert: String,
    time_decay_half_life: String,
    position_weights: [u8; 3],
    identify_by: [Identifier; 5],
}

impl AttributionView {
    fn of(attribution: &Attribution) -> Self {
        Self {
            payable_model: attribution.payable_model,
            click_lookback: value::duration_text(attribution.click_lookback_micros),
            view_lookback: value::duration_text(attribution.view_lookback_micros),
            min_time_to_convert: value::duration_text(attribution.min_time_to_convert_micros),
            time_decay_half_life: value::duration_text(attribution.time_decay_half_life_micros),
            position_weights: attribution.position_weights,
            identify_by: attribution.identify_by,
        }
    }
}

impl WorkspaceView {
    fn of(workspace: &Workspace) -> Self {
        Self {
            id: workspace.id.to_string(),
            status: if workspace.meta.archived { "archived" } else { "active" },
            name: workspace.name.clone(),
            currency: workspace.currency,
            timezone: workspace.timezone.clone(),
            fallback_url: workspace.fallback_url.clone(),
            attribution: AttributionView::of(&workspace.attribution),
            ip_storage: workspace.ip_storage,
            privacy: workspace.privacy,
            tail: Tail::of_meta(&workspace.meta),
        }
    }
}
