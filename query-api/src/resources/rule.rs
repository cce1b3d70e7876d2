//! The rules of smart links: from a body, and to an answer.

use catalog::validate::MAX_CONDITION_DEPTH;
use catalog::{Condition, Field, Offer, Op, Rule, Target, TargetDestination, Test};
use schemas::id::RuleId;
use serde::Serialize;
use serde_json::Value;

use super::crud::Context;
use super::fields::Fields;
use super::{reference, value};

/// Reads the rules of a link. A rule that names an id keeps it, and with it its visitors' shares and its place in reports; one
/// that names none gets a new one. `before` are the rules that the link has.
pub(crate) fn read(fields: &mut Fields, rules: &mut Vec<Rule>, context: &Context<'_>, before: &[Rule]) {
    fields.objects("rules", rules, |fields| rule(fields, context, before));
}

fn rule(fields: &mut Fields, context: &Context<'_>, before: &[Rule]) -> Rule {
    let mut id = None;
    fields.optional("id", &mut id, |value| {
        let id: Option<RuleId> = value::text(value)?.parse().ok();
        let known = id.filter(|id| before.iter().any(|rule| rule.id == *id));
        known.ok_or_else(|| "must be the id of a rule that the link has".to_owned())
    });
    let mut when = Condition::And(Vec::new());
    match fields.take("when") {
        None | Some(Value::Null) => fields.fault("when", "is required"),
        Some(value) => match condition(value, "when", 1) {
            Ok(condition) => when = condition,
            Err((field, message)) => fields.fault(&field, message),
        },
    }
    let mut to = Vec::new();
    if !fields.has("to") {
        fields.fault("to", "is required");
    }
    fields.objects("to", &mut to, |fields| target(fields, context));
    Rule { id: id.unwrap_or_else(|| context.desk.new_id(context.workspace.number)), when, to }
}

fn target(fields: &mut Fields, context: &Context<'_>) -> Target {
    let (mut url, mut offer) = (None, None);
    fields.optional("destination_url", &mut url, value::text);
    fields.optional("offer", &mut offer, |value| reference::id::<Offer>(context, value));
    let destination = match (url, offer) {
        (Some(url), None) => TargetDestination::Url(url),
        (None, Some(offer)) => TargetDestination::Offer(offer),
        (Some(_), Some(_)) => {
            fields.fault("offer", "stands beside destination_url: a target has one of them");
            TargetDestination::Url(String::new())
        }
        (None, None) => {
            fields.fault("destination_url", "is required, or an offer");
            TargetDestination::Url(String::new())
        }
    };
    let mut weight = 1;
    fields.defaulted("weight", &mut weight, 1, |value| {
        let weight = value.as_u64().and_then(|weight| u32::try_from(weight).ok());
        weight.ok_or_else(|| "must be a whole number".to_owned())
    });
    Target { destination, weight }
}

type Fault = (String, String);

/// Reads a filter tree; the first fault of its form is answered, with the path to it.
fn condition(value: Value, at: &str, depth: usize) -> Result<Condition, Fault> {
    let wrong = |message: &str| (at.to_owned(), message.to_owned());
    if depth > MAX_CONDITION_DEPTH {
        return Err((at.to_owned(), format!("must be nested at most {MAX_CONDITION_DEPTH} deep")));
    }
    let Value::Object(mut members) = value else { return Err(wrong("must be an object")) };
    let list = |value: Value, word: &str| match value {
        Value::Array(values) => {
            let inner = values.into_iter().enumerate();
            inner
                .map(|(index, value)| condition(value, &format!("{at}.{word}[{index}]"), depth + 1))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err((format!("{at}.{word}"), "must be an array of conditions".to_owned()))
        }
    };
    let condition = if let Some(value) = members.remove("and") {
        Condition::And(list(value, "and")?)
    } else if let Some(value) = members.remove("or") {
        Condition::Or(list(value, "or")?)
    } else if let Some(value) = members.remove("not") {
        Condition::Not(Box::new(self::condition(value, &format!("{at}.not"), depth + 1)?))
    } else if members.contains_key("field") {
        let mut take = |name: &str| members.remove(name);
        Condition::Test(test(at, take("field"), take("op"), take("value"))?)
    } else {
        return Err(wrong("must have and, or, not, or a field with its op and value"));
    };
    match members.keys().next() {
        Some(name) => Err((format!("{at}.{name}"), "has no place here".to_owned())),
        None => Ok(condition),
    }
}

fn test(at: &str, field: Option<Value>, op: Option<Value>, values: Option<Value>) -> Result<Test, Fault> {
    let fault = |name: &'static str| move |message: String| (format!("{at}.{name}"), message);
    let field: Field = value::text(field.unwrap_or_default())
        .and_then(|text| text.parse().map_err(|error: catalog::resource::InvalidField| format!("is {error}")))
        .map_err(fault("field"))?;
    let words = Op::ALL.map(|op| (op.as_str(), op));
    let op = match op {
        None => Op::Eq,
        Some(op) => value::word(op, &words).map_err(fault("op"))?,
    };
    let value = match values.unwrap_or_default() {
        Value::Array(values) => values.into_iter().map(scalar).collect(),
        one @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            scalar(one).map(|one| vec![one])
        }
    };
    Ok(Test { field, op, value: value.map_err(fault("value"))? })
}

/// A text, or a number or truth value as its text.
pub(crate) fn scalar(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err("must be texts".to_owned())
        }
    }
}

/// A rule in answers.
#[derive(Debug, Serialize)]
pub(crate) struct RuleView {
    id: String,
    when: Condition,
    to: Vec<TargetView>,
}

/// A target in answers.
#[derive(Debug, Serialize)]
pub(crate) struct TargetView {
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<String>,
    weight: u32,
}

impl RuleView {
    pub(crate) fn of(rule: &Rule) -> Self {
        let to = rule.to.iter().map(TargetView::of).collect();
        Self { id: rule.id.to_string(), when: rule.when.clone(), to }
    }
}

impl TargetView {
    fn of(target: &Target) -> Self {
        let (destination_url, offer) = match &target.destination {
            TargetDestination::Url(url) => (Some(url.clone()), None),
            TargetDestination::Offer(offer) => (None, Some(offer.to_string())),
        };
        Self { destination_url, offer, weight: target.weight }
    }
}
