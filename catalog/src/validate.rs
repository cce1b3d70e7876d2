//! What is wrong in a resource alone. Every fault names its field, and all faults are found, not just the first.

use std::collections::HashSet;

use jiff::civil::Date;
use schemas::error_code::FieldError;
use url::Url;

use crate::host::{allowed_host, domain_name};
use crate::macros::Template;
use crate::resource::{
    Attribution, Domain, Entity, Goal, Identifier, Key, KeyKind, Link, Meta, Offer, Payout, Pixel, Rate,
    Resource, Revenue, Scope, Workspace,
};

mod partners;
mod rules;
mod sources;

pub use rules::{
    DEVICES, MAX_CAP_VALUE, MAX_CAPS, MAX_CONDITION_DEPTH, MAX_RULES, MAX_RULES_BYTES, MAX_TARGETS,
    MAX_TESTS, MAX_VALUES, MAX_WEIGHT, WEEKDAYS, value_of,
};
pub use sources::{CONVERSION_FIELDS, DEFAULT_FIELDS, MAX_CIDRS, MAX_MAPPED, SENDER_PARAMETERS};

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 255;
/// Longest link key, slug or goal key.
pub const MAX_KEY_BYTES: usize = 64;
/// Longest address, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;
/// Longest e-mail address, in bytes (RFC 5321).
pub const MAX_EMAIL_BYTES: usize = 254;
/// Longest external source or id, in characters.
pub const MAX_EXTERNAL_CHARS: usize = 255;
/// Most goals of an offer.
pub const MAX_GOALS: usize = 100;
/// Most payouts of a partner.
pub const MAX_PAYOUTS: usize = 1_000;
/// Most coupons of a partner.
pub const MAX_COUPONS: usize = 100;
/// Longest coupon, in characters.
pub const MAX_COUPON_CHARS: usize = 64;
/// Most tags of a resource.
pub const MAX_TAGS: usize = 50;
/// Longest tag, in characters.
pub const MAX_TAG_CHARS: usize = 100;
/// Largest metadata of a resource, in bytes of JSON.
pub const MAX_METADATA_BYTES: usize = 10_240;
/// Deepest nesting of metadata: far inside what a JSON reader takes, so that what is saved can be read back.
pub const MAX_METADATA_DEPTH: usize = 16;
/// Most hosts that an offer allows.
pub const MAX_ALLOWED_HOSTS: usize = 100;
/// Most origins of a publishable key or a pixel.
pub const MAX_ORIGINS: usize = 100;
/// Longest lookback: touches are kept no longer.
pub const MAX_LOOKBACK_MICROS: i64 = 90 * 24 * 60 * 60 * 1_000_000;
/// The statuses of a redirect. 301 is none of them: browsers keep it, and clicks are never seen again.
pub const REDIRECT_STATUSES: [u16; 2] = [302, 307];
/// Paths of the edge that look like the key of a link on a domain, `/{key}`; such a link could not be reached.
pub const EDGE_ROUTES: [&str; 5] = ["click", "healthz", "metrics", "postback", "readyz"];

/// The first day that may have a rate: no event is older.
pub const FIRST_RATE_DATE: Date = jiff::civil::date(1970, 1, 1);

/// What an amount of an offer or a partner is told that is below zero.
const NEGATIVE: &str = "must not be negative";

/// Collects faults.
#[derive(Debug, Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), message: message.into() });
    }

    fn unless(&mut self, holds: bool, field: &str, message: impl Into<String>) {
        if !holds {
            self.add(field, message);
        }
    }
}

/// Every fault of a resource; empty if it may be proposed.
pub fn faults(resource: &Resource) -> Vec<FieldError> {
    let mut faults = Faults::default();
    match resource {
        Resource::Installation(installation) => {
            let message = "must be at least 1";
            faults.unless(installation.events_partitions > 0, "events_partitions", message);
        }
        Resource::Workspace(workspace) => workspace_faults(&mut faults, workspace),
        Resource::Offer(offer) => offer_faults(&mut faults, offer),
        Resource::Partner(partner) => partners::partner_faults(&mut faults, partner),
        Resource::Link(link) => link_faults(&mut faults, link),
        Resource::Source(source) => sources::source_faults(&mut faults, source),
        Resource::Key(key) => key_faults(&mut faults, key),
        Resource::Pixel(pixel) => pixel_faults(&mut faults, pixel),
        Resource::Domain(domain) => domain_faults(&mut faults, domain),
        Resource::Rate(rate) => rate_faults(&mut faults, rate),
        // What it must be is a question of the others: the fold decides.
        Resource::Projection(_) => {}
    }
    faults.0
}

fn rate_faults(faults: &mut Faults, rate: &Rate) {
    faults.unless(rate.date >= FIRST_RATE_DATE, "date", format!("must not be before {FIRST_RATE_DATE}"));
    faults.unless(rate.from != rate.to, "to", "is the currency that is to be converted");
}

fn workspace_faults(faults: &mut Faults, workspace: &Workspace) {
    name(faults, "name", &workspace.name);
    let zone = jiff::tz::TimeZone::get(&workspace.timezone);
    faults.unless(zone.is_ok(), "timezone", "must be an IANA time zone such as Europe/Berlin");
    fallback(faults, workspace.fallback_url.as_deref());
    attribution(faults, &workspace.attribution);
    meta(faults, &workspace.meta);
}

fn offer_faults(faults: &mut Faults, offer: &Offer) {
    named(faults, &offer.name, offer);
    destination(faults, "destination_url", &offer.destination_url);
    let param = is_key(&offer.click_id_param);
    faults.unless(param, "click_id_param", "must be 1 to 64 letters, digits, - and _");
    fallback(faults, offer.fallback_url.as_deref());
    for (field, micros) in
        [("click_lookback", offer.click_lookback_micros), ("view_lookback", offer.view_lookback_micros)]
    {
        micros.into_iter().for_each(|micros| lookback(faults, field, micros));
    }
    let count = offer.allowed_hosts.len() <= MAX_ALLOWED_HOSTS;
    faults.unless(count, "allowed_hosts", format!("must be at most {MAX_ALLOWED_HOSTS}"));
    for (index, entry) in offer.allowed_hosts.iter().enumerate() {
        match allowed_host(entry) {
            Err(error) => faults.add(format!("allowed_hosts[{index}]"), error.to_string()),
            Ok(normal) if normal != *entry => {
                faults.add(format!("allowed_hosts[{index}]"), format!("must be written as {normal}"));
            }
            Ok(_) => {}
        }
    }
    rules::caps_faults(faults, &offer.caps);
    faults.unless(offer.goals.len() <= MAX_GOALS, "goals", format!("must be at most {MAX_GOALS}"));
    let mut keys = HashSet::new();
    for (index, goal) in offer.goals.iter().enumerate() {
        goal_faults(faults, index, goal);
        if !keys.insert(goal.key.as_str()) {
            faults.add(format!("goals[{index}].key"), format!("{} is there twice", goal.key));
        }
    }
}

fn goal_faults(faults: &mut Faults, index: usize, goal: &Goal) {
    if !is_key(&goal.key) {
        faults.add(format!("goals[{index}].key"), "must be 1 to 64 letters, digits, - and _");
    }
    payout_faults(faults, &format!("goals[{index}].payout.amount"), goal.payout);
    let longest = Goal::MAX_HOLD_DAYS;
    faults.unless(
        goal.hold_days <= longest,
        &format!("goals[{index}].hold_days"),
        format!("must be at most {longest}"),
    );
    match goal.revenue {
        Revenue::Fixed(money) if money.micros < 0 => {
            faults.add(format!("goals[{index}].revenue.amount"), NEGATIVE);
        }
        Revenue::Postback | Revenue::Fixed(_) | Revenue::Percent(_) => {}
    }
}

/// Judges a payout whose amount has this name.
fn payout_faults(faults: &mut Faults, amount: &str, payout: Payout) {
    match payout {
        Payout::Fixed(money) => faults.unless(money.micros >= 0, amount, NEGATIVE),
        Payout::None | Payout::Percent(_) => {}
    }
}

fn link_faults(faults: &mut Faults, link: &Link) {
    faults.unless(is_key(&link.key), "key", "must be 1 to 64 letters, digits, - and _");
    let is_route = link.domain.is_some() && EDGE_ROUTES.contains(&link.key.as_str());
    faults.unless(!is_route, "key", "is an address of the edge's own: on a domain no link can have it");
    if let Some(creative) = &link.creative {
        name(faults, "creative", creative);
    }
    if let Some(url) = &link.destination_url {
        destination(faults, "destination_url", url);
    }
    let status = REDIRECT_STATUSES.contains(&link.redirect_status);
    faults.unless(status, "redirect_status", "must be 302 or 307");
    fallback(faults, link.fallback_url.as_deref());
    rules::rules_faults(faults, &link.rules);
    rules::caps_faults(faults, &link.caps);
    meta(faults, &link.meta);
}

fn pixel_faults(faults: &mut Faults, pixel: &Pixel) {
    if let Some(goal) = &pixel.goal {
        faults.unless(is_key(goal), "goal", "must be 1 to 64 letters, digits, - and _");
    }
    origins(faults, &pixel.allowed_origins);
    meta(faults, &pixel.meta);
}

fn domain_faults(faults: &mut Faults, domain: &Domain) {
    match domain_name(&domain.hostname) {
        Err(error) => faults.add("hostname", error.to_string()),
        Ok(normal) if normal != domain.hostname => {
            faults.add("hostname", format!("must be written as {normal}"))
        }
        Ok(_) => {}
    }
    fallback(faults, domain.fallback_url.as_deref());
    meta(faults, &domain.meta);
}

fn key_faults(faults: &mut Faults, key: &Key) {
    named(faults, &key.name, key);
    faults.unless(!key.scopes.is_empty(), "scopes", "must name at least one scope");
    let distinct: HashSet<Scope> = key.scopes.iter().copied().collect();
    faults.unless(distinct.len() == key.scopes.len(), "scopes", "must name each scope once");
    match key.kind {
        KeyKind::Publishable => {
            let ingest_only = key.scopes.iter().all(|scope| *scope == Scope::Ingest);
            faults.unless(ingest_only, "scopes", "a publishable key can have the scope ingest only");
        }
        KeyKind::Secret => {
            let none = key.allowed_origins.is_empty();
            faults.unless(none, "allowed_origins", "only a publishable key has origins");
        }
    }
    origins(faults, &key.allowed_origins);
}

fn origins(faults: &mut Faults, origins: &[String]) {
    let count = origins.len() <= MAX_ORIGINS;
    faults.unless(count, "allowed_origins", format!("must be at most {MAX_ORIGINS}"));
    for (index, origin) in origins.iter().enumerate() {
        if !is_origin(origin) {
            let message = "must be an origin such as https://shop.example, without path";
            faults.add(format!("allowed_origins[{index}]"), message);
        }
    }
}

fn named<T: Entity>(faults: &mut Faults, text: &str, row: &T) {
    name(faults, "name", text);
    meta(faults, row.meta());
}

fn name(faults: &mut Faults, field: &str, text: &str) {
    let chars = text.chars().count();
    let length = (1..=MAX_NAME_CHARS).contains(&chars) && !text.trim().is_empty();
    faults.unless(length, field, format!("must be 1 to {MAX_NAME_CHARS} characters"));
    faults.unless(!text.chars().any(char::is_control), field, "must not hold control characters");
}

fn meta(faults: &mut Faults, meta: &Meta) {
    if let Some(external) = &meta.external {
        for (field, text) in [("external_source", &external.source), ("external_id", &external.id)] {
            let length = (1..=MAX_EXTERNAL_CHARS).contains(&text.chars().count());
            faults.unless(length, field, format!("must be 1 to {MAX_EXTERNAL_CHARS} characters"));
            faults.unless(!text.chars().any(char::is_control), field, "must not hold control characters");
        }
        // A reference is ext:{source}:{id}, cut at the first colon after the prefix.
        faults.unless(!external.source.contains(':'), "external_source", "must not hold a colon");
    }
    faults.unless(meta.tags.len() <= MAX_TAGS, "tags", format!("must be at most {MAX_TAGS}"));
    for (index, tag) in meta.tags.iter().enumerate() {
        if !(1..=MAX_TAG_CHARS).contains(&tag.chars().count()) || tag.chars().any(char::is_control) {
            faults.add(format!("tags[{index}]"), format!("must be 1 to {MAX_TAG_CHARS} characters"));
        }
    }
    let bytes = serde_json::to_vec(&meta.metadata).map_or(usize::MAX, |json| json.len());
    let message = format!("must be at most {MAX_METADATA_BYTES} bytes");
    faults.unless(bytes <= MAX_METADATA_BYTES, "metadata", message);
    let shallow = meta.metadata.values().all(|value| is_shallow(value, MAX_METADATA_DEPTH - 1));
    faults.unless(shallow, "metadata", format!("must be nested at most {MAX_METADATA_DEPTH} deep"));
}

/// Whether a value has at most `depth` levels of arrays and objects.
fn is_shallow(value: &serde_json::Value, depth: usize) -> bool {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(values) => depth > 0 && values.iter().all(|value| is_shallow(value, depth - 1)),
        Value::Object(values) => depth > 0 && values.values().all(|value| is_shallow(value, depth - 1)),
    }
}

fn lookback(faults: &mut Faults, field: &'static str, micros: i64) {
    let holds = (1..=MAX_LOOKBACK_MICROS).contains(&micros);
    faults.unless(holds, field, "must be more than 0 and at most 90d");
}

fn attribution(faults: &mut Faults, attribution: &Attribution) {
    lookback(faults, "attribution.click_lookback", attribution.click_lookback_micros);
    lookback(faults, "attribution.view_lookback", attribution.view_lookback_micros);
    lookback(faults, "attribution.time_decay_half_life", attribution.time_decay_half_life_micros);
    let min = (0..=MAX_LOOKBACK_MICROS).contains(&attribution.min_time_to_convert_micros);
    faults.unless(min, "attribution.min_time_to_convert", "must be at most 90d");
    let sum: u32 = attribution.position_weights.iter().copied().map(u32::from).sum();
    faults.unless(
        sum == 100,
        "attribution.position_weights",
        "must be three whole numbers that add up to 100",
    );
    let each_once = Identifier::ALL.iter().all(|identifier| attribution.identify_by.contains(identifier));
    faults.unless(each_once, "attribution.identify_by", "must name each of them once");
}

fn fallback(faults: &mut Faults, url: Option<&str>) {
    let Some(url) = url else { return };
    if url.contains(['{', '}']) {
        faults.add("fallback_url", "takes no macros");
    } else if let Err(message) = check_url(url) {
        faults.add("fallback_url", message);
    }
}

/// Judges a destination: a template whose host is fixed, so that no caller can choose it by a macro's value.
fn destination(faults: &mut Faults, field: &str, text: &str) {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => return faults.add(field, error.to_string()),
    };
    let mut example = String::new();
    template.render(&mut example, |_| "x".into());
    if let Err(message) = check_url(&example) {
        return faults.add(field, message);
    }
    let after_scheme = template.head().split_once("://").map_or("", |(_, after)| after);
    let fixed = template.segments().len() <= 1 || after_scheme.contains(['/', '?', '#']);
    faults.unless(fixed, field, "macros may stand only after the host");
}

fn check_url(text: &str) -> Result<(), String> {
    if text.len() > MAX_URL_BYTES {
        return Err(format!("must be at most {MAX_URL_BYTES} bytes"));
    }
    // The parser drops some of these silently; the browser that gets the address may not.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "must be ASCII without blanks: percent-encode the rest, write the host as xn--…".to_owned()
        );
    }
    if text.contains('\\') {
        return Err("must not hold a backslash".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("must be an absolute URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !text.contains("://") {
        return Err("must start with http:// or https://".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("must have a host".to_owned());
    }
    if authority(text).contains('@') {
        return Err("must not hold a user name or password".to_owned());
    }
    Ok(())
}

fn authority(url: &str) -> &str {
    let after = url.split_once("://").map_or("", |(_, after)| after);
    after.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Whether the text can be the key of a link or a goal, or a slug.
pub fn is_key(text: &str) -> bool {
    (1..=MAX_KEY_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Only what surely is none is refused; whether an address works, only a message to it can tell.
fn is_email(text: &str) -> bool {
    let plain = text.len() <= MAX_EMAIL_BYTES
        && !text.chars().any(|character| character.is_control() || character.is_whitespace());
    let parts = text.rsplit_once('@');
    plain
        && parts
            .is_some_and(|(local, host)| !local.is_empty() && host.contains('.') && !host.starts_with('.'))
}

/// An origin as a browser sends it. A star is a valid letter of a host to the parser, and a wildcard to whoever writes it.
fn is_origin(text: &str) -> bool {
    !text.contains('*')
        && check_url(text).is_ok()
        && Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text)
}

#[cfg(test)]
mod tests;
