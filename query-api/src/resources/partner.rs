//! Partners.

use catalog::{Catalog, Meta, Partner, Workspace};
use serde::Serialize;

use super::crud::{Context, Crud};
use super::fields::Fields;
use super::value;
use super::view::{Head, Tail};
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
            email: None,
            meta: Meta::new(context.at),
        }
    }

    fn read(&mut self, fields: &mut Fields, _context: &Context<'_>, _before: Option<&Self>) {
        fields.required("name", &mut self.name, value::text);
        fields.optional("slug", &mut self.slug, value::text);
        fields.optional("email", &mut self.email, value::text);
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
            tail: Tail::of(self),
        }
    }
}

/// A partner in answers.
#[derive(Debug, Serialize)]
pub(crate) struct PartnerView {
    #[serde(flatten)]
    head: Head,
    name: String,
    slug: Option<String>,
    email: Option<String>,
    #[serde(flatten)]
    tail: Tail,
}
