//! `POST /links/{reference}/simulate`: what a link's rules would choose, and why. Nothing is written.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use catalog::resource::Field;
use catalog::rule::{Subject, choose, hour, matches, referrer_domain, weekday};
use catalog::validate::value_of;
use catalog::{Condition, Link, Offer, Op, Rule, TargetDestination, Test};
use schemas::id::VisitorId;
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::{Fields, Purpose};
use super::handlers::stored;
use super::rule::scalar;
use super::value;
use crate::auth::{Allowed, Caller, Read};
use crate::body::OptionalBody;
use crate::error::Error;
use crate::params::Params;
use crate::state::Desk;

/// A click that could be.
struct Imagined {
    values: BTreeMap<Field, String>,
    visitor: Option<VisitorId>,
}

impl Subject for Imagined {
    fn value(&self, field: Field) -> &str {
        self.values.get(&field).map_or("", String::as_str)
    }
}

/// Answers which rule matches the click that the body describes, and why each of them does or does not.
pub(crate) async fn simulate(
    State(desk): State<Desk>,
    caller: Allowed<Read>,
    Path(text): Path<String>,
    params: Params,
    body: OptionalBody,
) -> Result<Json<Simulation>, Error> {
    params.finish()?;
    let link = stored::<Link>(&desk, &caller, &text)?;
    let imagined = imagined(&desk, &caller, body.fields)?;
    Ok(Json(simulation(&desk, &link, &imagined)))
}

fn imagined(desk: &Desk, caller: &Caller, body: Map<String, Value>) -> Result<Imagined, Error> {
    let mut fields = Fields::new(body, Purpose::Whole);
    let (mut visitor, mut at) = (None, desk.now());
    fields.optional("visitor_id", &mut visitor, |value| {
        value::text(value)?.parse().map_err(|error: schemas::id::InvalidId| format!("is {error}"))
    });
    let now = at;
    fields.defaulted("at", &mut at, now, value::time);
    let mut values = BTreeMap::new();
    for field in Field::all() {
        let mut text = None;
        fields.optional(field.as_str(), &mut text, scalar);
        let text = text.filter(|text: &String| !text.is_empty()).map(|text| {
            if field == Field::Referrer { referrer_domain(&text).to_ascii_lowercase() } else { text }
        });
        let Some(text) = text else { continue };
        match value_of(field, &text) {
            Ok(()) => drop(values.insert(field, text)),
            Err(message) => fields.fault(field.as_str(), message),
        }
    }
    let faults = fields.finish();
    if !faults.is_empty() {
        return Err(Error::InvalidFields(faults));
    }
    let timezone =
        desk.catalog().read().workspace(caller.workspace).map(|workspace| workspace.timezone.clone());
    let timezone = timezone.unwrap_or_default();
    // What every click has, whatever the body says of it.
    let known = if visitor.is_some() { "returning" } else { "new" };
    for (field, text) in [
        (Field::Hour, hour(at, &timezone)),
        (Field::Weekday, weekday(at, &timezone)),
        (Field::Visitor, known),
        (Field::Bot, "false"),
    ] {
        values.entry(field).or_insert_with(|| text.to_owned());
    }
    Ok(Imagined { values, visitor })
}

fn simulation(desk: &Desk, link: &Link, imagined: &Imagined) -> Simulation {
    let sticky = imagined.visitor.map(|visitor| *visitor.bytes());
    let chosen = choose(link, imagined, sticky.as_ref().map_or(&[], |bytes| &bytes[..]));
    let rule = chosen.and_then(|chosen| link.rules.iter().find(|rule| rule.id == chosen.rule));
    let variants: Vec<Variant> = rule.map(|rule| variants(desk, link, rule)).unwrap_or_default();
    // Whose share it is follows from the visitor: without one it is only certain where there is one target.
    let variant = chosen.filter(|_| sticky.is_some() || variants.len() == 1).map(|chosen| chosen.variant);
    let destination_url = match (rule, variant) {
        (None, _) => Some(own_destination(desk, link)),
        (Some(_), Some(index)) => variants.get(index as usize).map(|variant| variant.destination_url.clone()),
        (Some(_), None) => None,
    };
    let mut is_taken = false;
    let rules = link.rules.iter().map(|rule| {
        let matched = matches(&rule.when, imagined);
        let mut reason = reason(&rule.when, imagined);
        if matched && is_taken {
            reason.push_str("; an earlier rule takes the click");
        }
        is_taken |= matched;
        Judgement { id: rule.id.to_string(), matched, reason }
    });
    Simulation {
        rules: rules.collect(),
        rule: rule.map(|rule| rule.id.to_string()),
        variant,
        destination_url,
        variants,
    }
}

fn own_destination(desk: &Desk, link: &Link) -> String {
    link.destination_url.clone().unwrap_or_else(|| offer_destination(desk, link, link.offer))
}

fn offer_destination(desk: &Desk, link: &Link, offer: schemas::id::OfferId) -> String {
    let catalog = desk.catalog().read();
    // The fold takes no link without its offers.
    catalog.get::<Offer>(link.workspace, offer).map(|offer| offer.destination_url.clone()).unwrap_or_default()
}

fn variants(desk: &Desk, link: &Link, rule: &Rule) -> Vec<Variant> {
    let total: u64 = rule.to.iter().map(|target| u64::from(target.weight)).sum();
    let targets = (0_u32..).zip(&rule.to);
    let variant = |(variant, target): (u32, &catalog::Target)| {
        let (destination_url, offer) = match &target.destination {
            TargetDestination::Url(url) => (url.clone(), None),
            TargetDestination::Offer(offer) => {
                (offer_destination(desk, link, *offer), Some(offer.to_string()))
            }
        };
        let share = f64::from(target.weight) / total.max(1) as f64;
        Variant { variant, share, destination_url, offer }
    };
    targets.map(variant).collect()
}

/// Why a condition holds or not: the tests that decide it.
fn reason(condition: &Condition, subject: &Imagined) -> String {
    let mut deciding = Vec::new();
    decide(condition, subject, &mut deciding);
    if deciding.is_empty() {
        return "it matches every click".to_owned();
    }
    let texts: Vec<String> = deciding.into_iter().map(|test| told(test, subject)).collect();
    texts.join("; ")
}

fn decide<'c>(condition: &'c Condition, subject: &Imagined, deciding: &mut Vec<&'c Test>) {
    let mut among = |list: &'c [Condition], decisive: bool| {
        // One that is decisive is enough; else all of them had their say.
        match list.iter().find(|condition| matches(condition, subject) == decisive) {
            Some(condition) => decide(condition, subject, deciding),
            None => list.iter().for_each(|condition| decide(condition, subject, deciding)),
        }
    };
    match condition {
        Condition::And(list) => among(list, false),
        Condition::Or(list) => among(list, true),
        Condition::Not(inner) => decide(inner, subject, deciding),
        Condition::Test(test) => deciding.push(test),
    }
}

fn told(test: &Test, subject: &Imagined) -> String {
    let Test { field, op, value } = test;
    let actual = match subject.value(*field) {
        "" => "unknown".to_owned(),
        actual => format!("\"{actual}\""),
    };
    let wanted: Vec<String> = value.iter().map(|value| format!("\"{value}\"")).collect();
    let wanted = wanted.join(", ");
    let asked = match op {
        Op::Eq => format!("one of {wanted}"),
        Op::Not => format!("none of {wanted}"),
        Op::Gt => format!("more than {wanted}"),
        Op::Gte => format!("{wanted} or more"),
        Op::Lt => format!("less than {wanted}"),
        Op::Lte => format!("{wanted} or less"),
        Op::Contains => format!("a text with {wanted} in it"),
        Op::IsNull if value.iter().any(|value| value == "true") => "unknown".to_owned(),
        Op::IsNull => "known".to_owned(),
    };
    let verdict = if matches(&Condition::Test(test.clone()), subject) { "is" } else { "is not" };
    format!("{field} is {actual}: it {verdict} {asked}")
}

/// What a link's rules choose.
#[derive(Debug, Serialize)]
pub(crate) struct Simulation {
    /// The rule that takes the click; null if the link's own destination stands.
    rule: Option<String>,
    /// Which of its targets; null if that depends on the visitor and none was named.
    variant: Option<u32>,
    /// Where the click goes, with its macros; null if that depends on the visitor.
    destination_url: Option<String>,
    /// The targets of the rule.
    variants: Vec<Variant>,
    /// Every rule, by itself.
    rules: Vec<Judgement>,
}

#[derive(Debug, Serialize)]
struct Variant {
    variant: u32,
    share: f64,
    destination_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<String>,
}

#[derive(Debug, Serialize)]
struct Judgement {
    id: String,
    matched: bool,
    reason: String,
}
