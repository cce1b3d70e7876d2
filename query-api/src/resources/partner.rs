//! Partners.

use catalog::{Catalog, Meta, Offer, Partner, PartnerPayout, Payout, Workspace};
use schemas::id::OfferId;
use serde::Serialize;

use super::crud::{Context, Crud};
use super::fields::Fields;
use super::terms::{self, NO_PAYOUT, Terms, TermsView};
use super::view::{Head, Tail};
use super::{reference, value};
use crate::auth::{Read, Write};
use crate::state::Desk;

impl Crud for Partner {
    type Reads = Read;
    type Writes = Write;
    type View = PartnerView;
    const PATH: &'static str = "partners";

    fn blank(context: &Context<'_>, before: Option<&Self>) -> Self {
        let workspace = context.workspace.number;
        Self {
            id: before.map_or_else(|| context.desk.new_id(workspace), |before| before.id),
            workspace,
            name: String::new(),
            slug: None,
            coupons: Vec::new(),
            email: None,
            payouts: Vec::new(),
            meta: Meta::new(context.at),
        }
    }

    fn read(&mut self, fields: &mut Fields, context: &Context<'_>, _before: Option<&Self>) {
        fields.required("name", &mut self.name, value::text);
        fields.optional("slug", &mut self.slug, value::text);
        fields.optional("email", &mut self.email, value::text);
        fields.defaulted("coupons", &mut self.coupons, Vec::new(), value::texts);
        fields.objects("payouts", &mut self.payouts, |inner| payout(inner, context));
    }

    fn by_name<'a>(catalog: &'a Catalog, workspace: &Workspace, name: &str) -> Option<&'a Self> {
        catalog.partner_by_slug(workspace.number, name)
    }

    fn view(&self, _desk: &Desk, _secret: Option<String>) -> PartnerView {
        PartnerView {
            head: Head::of(self),
            name: self.name.clone(),
            slug: self.slug.clone(),
            email: self.email.clone(),
            coupons: self.coupons.clone(),
            payouts: self.payouts.iter().map(PayoutView::of).collect(),
            tail: Tail::of(self),
        }
    }
}

/// One payout of the partner's own; an amount without a currency is in the offer's.
fn payout(fields: &mut Fields, context: &Context<'_>) -> PartnerPayout {
    let mut offer: Option<OfferId> = None;
    if !fields.has("offer") {
        fields.fault("offer", "is required");
    }
    fields.optional("offer", &mut offer, |value| reference::id::<Offer>(context, value));
    let mut goal = None;
    fields.optional("goal", &mut goal, value::text);
    let known = offer.and_then(|offer| context.catalog.offer(context.workspace.number, offer));
    let currency = known.map_or(context.workspace.currency, |offer| offer.currency);
    let payout = terms::read(fields, NO_PAYOUT, currency).map_or(Payout::None, Terms::payout);
    // Without an offer there is a fault, and the partner is never proposed.
    PartnerPayout { offer: offer.unwrap_or(OfferId::from_bytes([0; 16])), goal, payout }
}

/// A partner in answers.
#[derive(Debug, Serialize)]
pub(crate) struct PartnerView {
    #[serde(flatten)]
    head: Head,
    name: String,
    slug: Option<String>,
    email: Option<String>,
    coupons: Vec<String>,
    payouts: Vec<PayoutView>,
    #[serde(flatten)]
    tail: Tail,
}

#[derive(Debug, Serialize)]
struct PayoutView {
    offer: String,
    goal: Option<String>,
    #[serde(flatten)]
    terms: TermsView,
}

impl PayoutView {
    fn of(own: &PartnerPayout) -> Self {
        Self { offer: own.offer.to_string(), goal: own.goal.clone(), terms: TermsView::of_payout(own.payout) }
    }
}
