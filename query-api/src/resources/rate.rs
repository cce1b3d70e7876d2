//! Exchange rates. Their names are the day and the two currencies, so they have handlers of their own; and as a body always is
//! the whole rate, the log alone decides what becomes of it.

use std::ops::Bound;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use catalog::{Change, Expected, Rate, RateKey, RateStamp, Resource, validate};
use http::StatusCode;
use jiff::civil::Date;
use schemas::id::WorkspaceNumber;
use schemas::money::{Currency, ExchangeRate};
use schemas::time::{InvalidDate, Timestamp, parse_date};
use serde::Serialize;
use serde_json::{Map, Value};

use super::change::{propose_change, refused};
use super::fields::{Fields, Purpose};
use super::handlers::{Body, expected_version, proposed_at};
use crate::auth::{Allowed, Read, Write};
use crate::error::Error;
use crate::page::{Page, PageRequest};
use crate::params::Params;
use crate::state::Desk;

/// The day and the currencies in a path, as they stand there.
type Named = (String, String, String);

/// `PUT /rates/{date}/{from}/{to}`: creates the rate, or replaces it.
pub(crate) async fn put(
    State(desk): State<Desk>,
    caller: Allowed<Write>,
    Path(named): Path<Named>,
    params: Params,
    body: Body,
) -> Result<Response, Error> {
    params.finish()?;
    let mut body = body.value;
    let expected = expected_version(&mut body)?.map_or(Expected::Any, Expected::Version);
    let at = proposed_at(&desk);
    let rate = read(caller.workspace, &named, body, at)?;
    let change = Change::Put { resource: rate.into(), expected };
    let accepted = propose_change(&desk, &caller, change, at, None).await?.map_err(refused)?;
    let Some(Resource::Rate(stored)) = accepted.resources.into_iter().next() else {
        return Err(Error::Internal("the log answered with another kind of resource".to_owned()));
    };
    let status = if stored.stamp.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(RateView::of(&stored))).into_response())
}

/// `GET /rates/{date}/{from}/{to}`: the rate of exactly this day.
pub(crate) async fn one(
    State(desk): State<Desk>,
    caller: Allowed<Read>,
    Path(named): Path<Named>,
    params: Params,
) -> Result<Json<RateView>, Error> {
    params.finish()?;
    let mut fields = Fields::new(Map::new(), Purpose::Whole);
    let key = read_key(&mut fields, &named);
    fields.judge(Vec::new())?;
    let catalog = desk.catalog().read();
    let found = key.and_then(|key| catalog.rate_of(caller.workspace, &key));
    found.map(|rate| Json(RateView::of(rate))).ok_or_else(|| Error::not_found("rate"))
}

/// `GET /rates`.
pub(crate) async fn list(
    State(desk): State<Desk>,
    caller: Allowed<Read>,
    mut params: Params,
) -> Result<Json<Page<RateView>>, Error> {
    let request = PageRequest::new(&mut params, "rates", caller.workspace)?;
    let (from, to) = (currencies(&mut params, "from")?, currencies(&mut params, "to")?);
    let days = Days::take(&mut params)?;
    let ascending = match params.take("sort")?.as_deref() {
        None | Some("-date") => false,
        Some("date") => true,
        Some(_) => return Err(Error::invalid("sort", "must be -date or date")),
    };
    params.finish()?;
    let after = request.after::<Named>()?.map(|named| cursor_key(&named)).transpose()?;
    let among = |wanted: &Option<Vec<Currency>>, currency| {
        wanted.as_ref().is_none_or(|wanted| wanted.contains(&currency))
    };
    let is_wanted = |rate: &&Rate| among(&from, rate.from) && among(&to, rate.to);
    let (mut first, mut last) = days.bounds();
    let catalog = desk.catalog().read();
    let rows: Vec<Rate> = if ascending {
        first = after.map_or(first, Bound::Excluded);
        let rates = catalog.rates(caller.workspace, first, last).filter(is_wanted);
        rates.take(request.limit()).cloned().collect()
    } else {
        last = after.map_or(last, Bound::Excluded);
        let rates = catalog.rates(caller.workspace, first, last).rev().filter(is_wanted);
        rates.take(request.limit()).cloned().collect()
    };
    drop(catalog);
    let page = request
        .page(rows, |rate| (rate.date.to_string(), rate.from.code().to_owned(), rate.to.code().to_owned()))?;
    Ok(Json(page.map(|rate| RateView::of(&rate))))
}

/// Reads a rate out of a path and a body. Every fault is answered at once.
fn read(
    workspace: WorkspaceNumber,
    named: &Named,
    body: Map<String, Value>,
    now: Timestamp,
) -> Result<Rate, Error> {
    let mut fields = Fields::new(body, Purpose::Whole);
    let key = read_key(&mut fields, named);
    let mut value = ExchangeRate::ONE;
    fields.required("rate", &mut value, exchange_rate);
    let rate = key.map(|RateKey { date, from, to }| {
        // Somewhere it is tomorrow already. What is dated later is nobody's rate yet but a slip of the pen, which nobody
        // would notice before it counts.
        if now.utc_date().tomorrow().is_ok_and(|tomorrow| date > tomorrow) {
            fields.fault("date", "must not be later than tomorrow, in UTC");
        }
        Rate { workspace, date, from, to, rate: value, stamp: RateStamp::default() }
    });
    let said = rate.iter().flat_map(|rate| validate::faults(&Resource::Rate(rate.clone()))).collect();
    fields.judge(said)?;
    rate.ok_or_else(|| Error::Internal("a path without a fault that names no rate".to_owned()))
}

/// Reads the key of a rate; what is wrong is named by the path's parts.
fn read_key(fields: &mut Fields, (date, from, to): &Named) -> Option<RateKey> {
    let day = parse_date(date).map_err(|error| fields.fault("date", format!("is {error}"))).ok();
    let mut currency = |name: &str, code: &str| {
        Currency::from_code(code).map_err(|error| fields.fault(name, format!("is {error}"))).ok()
    };
    let (from, to) = (currency("from", from), currency("to", to));
    Some(RateKey { date: day?, from: from?, to: to? })
}

fn exchange_rate(value: Value) -> Result<ExchangeRate, String> {
    let Value::String(text) = value else {
        return Err("must be a decimal string such as \"1.0842\"".to_owned());
    };
    ExchangeRate::parse(&text).map_err(|error| error.to_string())
}

fn cursor_key((date, from, to): &Named) -> Result<RateKey, Error> {
    let broken = || Error::invalid("cursor", "is no cursor");
    let date = parse_date(date).map_err(|_| broken())?;
    let from = Currency::from_code(from).map_err(|_| broken())?;
    let to = Currency::from_code(to).map_err(|_| broken())?;
    Ok(RateKey { date, from, to })
}

fn currencies(params: &mut Params, name: &str) -> Result<Option<Vec<Currency>>, Error> {
    let Some(codes) = params.take_list(name)? else { return Ok(None) };
    let parsed = codes.iter().map(|code| Currency::from_code(code)).collect::<Result<_, _>>();
    parsed.map(Some).map_err(|error| Error::invalid(name, format!("is {error}")))
}

/// The days that a list is about.
#[derive(Debug, Default)]
struct Days {
    first: Option<Date>,
    /// The day after the last one.
    end: Option<Date>,
}

impl Days {
    /// Takes `date`, the day itself, and `date[gt]`, `date[gte]`, `date[lt]`, `date[lte]`.
    fn take(params: &mut Params) -> Result<Self, Error> {
        let mut days = Self::default();
        for name in ["date", "date[gt]", "date[gte]", "date[lt]", "date[lte]"] {
            let Some(text) = params.take(name)? else { continue };
            let date = parse_date(&text)
                .map_err(|error: InvalidDate| Error::invalid(name, format!("is {error}")))?;
            let next = date.tomorrow().ok();
            match name {
                "date[gt]" => days.not_before(next.ok_or_else(|| Error::invalid(name, "is the last date"))?),
                "date[gte]" => days.not_before(date),
                "date[lt]" => days.only_before(Some(date)),
                "date[lte]" => days.only_before(next),
                _ => {
                    days.not_before(date);
                    days.only_before(next);
                }
            }
        }
        Ok(days)
    }

    fn not_before(&mut self, date: Date) {
        self.first = self.first.max(Some(date));
    }

    fn only_before(&mut self, end: Option<Date>) {
        self.end = self.end.into_iter().chain(end).min();
    }

    fn bounds(&self) -> (Bound<RateKey>, Bound<RateKey>) {
        let first = self.first.map_or(Bound::Unbounded, |date| Bound::Included(RateKey::first_of(date)));
        let last = self.end.map_or(Bound::Unbounded, |date| Bound::Excluded(RateKey::first_of(date)));
        (first, last)
    }
}

/// A rate in answers.
#[derive(Debug, Serialize)]
pub(crate) struct RateView {
    date: String,
    from: Currency,
    to: Currency,
    rate: ExchangeRate,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl RateView {
    fn of(rate: &Rate) -> Self {
        Self {
            date: rate.date.to_string(),
            from: rate.from,
            to: rate.to,
            rate: rate.rate,
            version: rate.stamp.version,
            created_at: rate.stamp.created_at,
            updated_at: rate.stamp.updated_at,
        }
    }
}
