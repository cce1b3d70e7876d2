//! Offers.

use catalog::host::allowed_host;
use catalog::resource::DEFAULT_CLICK_ID_PARAM;
use catalog::{Approval, Cap, Duplicates, Goal, Meta, Offer, Revenue};
use schemas::money::Currency;
use serde::Serialize;
use serde_json::Value;

use super::crud::{Context, Crud};
use super::fields::Fields;
use super::terms::{self, NO_PAYOUT, Terms, TermsView};
use super::view::{Head, Tail};
use super::{cap, value};
use crate::auth::{Read, Write};
use crate::state::Desk;

impl Crud for Offer {
    type Reads = Read;
    type Writes = Write;
    type View = OfferView;
    const PATH: &'static str = "offers";

    fn blank(context: &Context<'_>, before: Option<&Self>) -> Self {
        let workspace = context.workspace;
        Self {
            id: before.map_or_else(|| context.desk.new_id(workspace.number), |before| before.id),
            workspace: workspace.number,
            name: String::new(),
            destination_url: String::new(),
            currency: workspace.currency,
            click_id_param: DEFAULT_CLICK_ID_PARAM.to_owned(),
            fallback_url: None,
            click_lookback_micros: None,
            view_lookback_micros: None,
            goals: Vec::new(),
            allowed_hosts: Vec::new(),
            caps: Vec::new(),
            meta: Meta::new(context.at),
        }
    }

    fn read(&mut self, fields: &mut Fields, context: &Context<'_>, _before: Option<&Self>) {
        fields.required("name", &mut self.name, value::text);
        fields.required("destination_url", &mut self.destination_url, value::text);
        fields.defaulted("currency", &mut self.currency, context.workspace.currency, value::currency);
        let param = DEFAULT_CLICK_ID_PARAM.to_owned();
        fields.defaulted("click_id_param", &mut self.click_id_param, param, value::text);
        fields.optional("fallback_url", &mut self.fallback_url, value::text);
        fields.optional("click_lookback", &mut self.click_lookback_micros, value::duration);
        fields.optional("view_lookback", &mut self.view_lookback_micros, value::duration);
        fields.defaulted("allowed_hosts", &mut self.allowed_hosts, Vec::new(), hosts);
        cap::read(fields, &mut self.caps);
        let currency = self.currency;
        fields.objects("goals", &mut self.goals, |inner| goal(inner, currency));
    }

    fn view(&self, _desk: &Desk, _secret: Option<String>) -> OfferView {
        OfferView {
            head: Head::of(self),
            name: self.name.clone(),
            destination_url: self.destination_url.clone(),
            currency: self.currency,
            click_id_param: self.click_id_param.clone(),
            fallback_url: self.fallback_url.clone(),
            allowed_hosts: self.allowed_hosts.clone(),
            caps: self.caps.clone(),
            click_lookback: self.click_lookback_micros.map(value::duration_text),
            view_lookback: self.view_lookback_micros.map(value::duration_text),
            goals: self.goals.iter().map(GoalView::of).collect(),
            tail: Tail::of(self),
        }
    }
}

/// Hosts in their one spelling; what is none stays as it is, and is judged with the whole offer.
fn hosts(value: Value) -> Result<Vec<String>, String> {
    let hosts = value::texts(value)?;
    Ok(hosts.into_iter().map(|host| allowed_host(&host).unwrap_or(host)).collect())
}

fn goal(fields: &mut Fields, currency: Currency) -> Goal {
    let mut goal = Goal::new(String::new());
    fields.required("key", &mut goal.key, value::text);
    if let Some(terms) = terms::inside(fields, "payout", NO_PAYOUT, currency) {
        goal.payout = terms.payout();
    }
    if let Some(terms) = terms::inside(fields, "revenue", "postback", currency) {
        goal.revenue = match terms {
            Terms::Default => Revenue::Postback,
            Terms::Fixed(money) => Revenue::Fixed(money),
            Terms::Percent(percent) => Revenue::Percent(percent),
        };
    }
    let approvals = [("auto", Approval::Auto), ("manual", Approval::Manual)];
    fields.defaulted("approval", &mut goal.approval, Approval::Auto, |value| value::word(value, &approvals));
    fields.defaulted("hold_days", &mut goal.hold_days, 0, |value| {
        let days = value.as_u64().and_then(|days| u16::try_from(days).ok());
        days.ok_or_else(|| format!("must be a whole number from 0 to {}", Goal::MAX_HOLD_DAYS))
    });
    let rules =
        [("ignore", Duplicates::Ignore), ("revise", Duplicates::Revise), ("count", Duplicates::Count)];
    fields.defaulted("duplicates", &mut goal.duplicates, Duplicates::default(), |value| {
        value::word(value, &rules)
    });
    goal
}

/// An offer in answers.
#[derive(Debug, Serialize)]
pub(crate) struct OfferView {
    #[serde(flatten)]
    head: Head,
    name: String,
    destination_url: String,
    currency: Currency,
    click_id_param: String,
    fallback_url: Option<String>,
    allowed_hosts: Vec<String>,
    caps: Vec<Cap>,
    click_lookback: Option<String>,
    view_lookback: Option<String>,
    goals: Vec<GoalView>,
    #[serde(flatten)]
    tail: Tail,
}

#[derive(Debug, Serialize)]
struct GoalView {
    key: String,
    payout: TermsView,
    revenue: TermsView,
    approval: Approval,
    hold_days: u16,
    duplicates: Duplicates,
}

impl GoalView {
    fn of(goal: &Goal) -> Self {
        let revenue = match goal.revenue {
            Revenue::Postback => TermsView::plain("postback"),
            Revenue::Fixed(money) => TermsView::fixed(money),
            Revenue::Percent(percent) => TermsView::percent(percent),
        };
        Self {
            key: goal.key.clone(),
            payout: TermsView::of_payout(goal.payout),
            revenue,
            approval: goal.approval,
            hold_days: goal.hold_days,
            duplicates: goal.duplicates,
        }
    }
}
