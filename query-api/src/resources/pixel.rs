//! Conversion pixels.

use catalog::{Meta, Offer, Pixel};
use schemas::id::{Id, OfferId};
use serde::Serialize;

use super::crud::{Context, Crud};
use super::fields::Fields;
use super::view::{Head, Tail};
use super::{reference, value};
use crate::auth::{Read, Write};
use crate::state::Desk;

/// Stands for an offer that was not named; the missing field is a fault, so it is never proposed.
const NO_OFFER: OfferId = Id::from_bytes([0; 16]);

impl Crud for Pixel {
    type Reads = Read;
    type Writes = Write;
    type View = PixelView;
    const PATH: &'static str = "pixels";

    fn blank(context: &Context<'_>, before: Option<&Self>) -> Self {
        let workspace = context.workspace.number;
        Self {
            id: before.map_or_else(|| context.desk.new_id(workspace), |before| before.id),
            workspace,
            offer: NO_OFFER,
            goal: None,
            allowed_origins: Vec::new(),
            meta: Meta::new(context.at),
        }
    }

    fn read(&mut self, fields: &mut Fields, context: &Context<'_>, _before: Option<&Self>) {
        fields.required("offer", &mut self.offer, |value| reference::id::<Offer>(context, value));
        fields.optional("goal", &mut self.goal, value::text);
        fields.defaulted("allowed_origins", &mut self.allowed_origins, Vec::new(), value::texts);
    }

    fn view(&self, desk: &Desk, _secret: Option<String>) -> PixelView {
        let edge = desk.settings().edge_url.trim_end_matches('/');
        PixelView {
            head: Head::of(self),
            offer: self.offer.to_string(),
            goal: self.goal.clone(),
            allowed_origins: self.allowed_origins.clone(),
            url: format!("{edge}/p.gif?px={}", self.id),
            tail: Tail::of(self),
        }
    }
}

/// A pixel in answers.
#[derive(Debug, Serialize)]
pub(crate) struct PixelView {
    #[serde(flatten)]
    head: Head,
    offer: String,
    goal: Option<String>,
    allowed_origins: Vec<String>,
    url: String,
    #[serde(flatten)]
    tail: Tail,
}
