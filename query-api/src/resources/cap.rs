//! Caps of offers and links. What is saved is what is shown.

use catalog::{Cap, CapMetric, CapScope, CapWindow, OnExceed};
use serde_json::Value;

use super::fields::Fields;
use super::value;

/// Reads the caps of an offer or a link.
pub(crate) fn read(fields: &mut Fields, caps: &mut Vec<Cap>) {
    fields.objects("caps", caps, cap);
}

fn cap(fields: &mut Fields) -> Cap {
    let mut cap = Cap {
        metric: CapMetric::Clicks,
        window: CapWindow::Day,
        timezone: None,
        value: 1,
        per: CapScope::default(),
        on_exceed: OnExceed::default(),
    };
    let metrics = [("clicks", CapMetric::Clicks), ("conversions", CapMetric::Conversions)];
    fields.required("metric", &mut cap.metric, |value| value::word(value, &metrics));
    let windows = [
        ("hour", CapWindow::Hour),
        ("day", CapWindow::Day),
        ("week", CapWindow::Week),
        ("month", CapWindow::Month),
        ("total", CapWindow::Total),
    ];
    fields.required("window", &mut cap.window, |value| value::word(value, &windows));
    fields.optional("timezone", &mut cap.timezone, value::text);
    fields.required("value", &mut cap.value, |value: Value| {
        value.as_u64().ok_or_else(|| "must be a whole number".to_owned())
    });
    let scopes = [("all", CapScope::All), ("partner", CapScope::Partner)];
    fields.defaulted("per", &mut cap.per, CapScope::default(), |value| value::word(value, &scopes));
    let answers = [
        ("flag", OnExceed::Flag),
        ("fallback", OnExceed::Fallback),
        ("pending", OnExceed::Pending),
        ("reject", OnExceed::Reject),
    ];
    fields.defaulted("on_exceed", &mut cap.on_exceed, OnExceed::default(), |value| {
        value::word(value, &answers)
    });
    cap
}
