//! Customers' own domains.

use catalog::host::domain_name;
use catalog::{Catalog, Domain, DomainRole, Meta, Workspace};
use serde::Serialize;

use super::crud::{Context, Crud};
use super::fields::Fields;
use super::value;
use super::view::{Head, Tail};
use crate::auth::{Read, Write};
use crate::state::Desk;

impl Crud for Domain {
    type Reads = Read;
    type Writes = Write;
    type View = DomainView;
    const PATH: &'static str = "domains";

    fn blank(context: &Context<'_>, before: Option<&Self>) -> Self {
        let workspace = context.workspace.number;
        Self {
            id: before.map_or_else(|| context.desk.new_id(workspace), |before| before.id),
            workspace,
            hostname: String::new(),
            role: DomainRole::default(),
            fallback_url: None,
            meta: Meta::new(context.at),
        }
    }

    fn read(&mut self, fields: &mut Fields, context: &Context<'_>, _before: Option<&Self>) {
        fields.required("hostname", &mut self.hostname, |value| {
            let name = domain_name(&value::text(value)?).map_err(|error| error.to_string())?;
            // Whoever had it would have every other customer's clicks.
            if context.desk.settings().edge_host().as_ref() == Some(&name) {
                return Err("is the installation's own host".to_owned());
            }
            Ok(name)
        });
        let roles = [("tracking", DomainRole::Tracking), ("api", DomainRole::Api)];
        fields.defaulted("role", &mut self.role, DomainRole::default(), |value| value::word(value, &roles));
        fields.optional("fallback_url", &mut self.fallback_url, value::text);
    }

    fn by_name<'a>(catalog: &'a Catalog, workspace: &Workspace, name: &str) -> Option<&'a Self> {
        let domain = catalog.domain_by_host(&domain_name(name).ok()?)?;
        (domain.workspace == workspace.number).then_some(domain)
    }

    fn view(&self, _desk: &Desk, _secret: Option<String>) -> DomainView {
        DomainView {
            head: Head::of(self),
            hostname: self.hostname.clone(),
            role: self.role,
            fallback_url: self.fallback_url.clone(),
            tail: Tail::of(self),
        }
    }
}

/// A domain in answers.
#[derive(Debug, Serialize)]
pub(crate) struct DomainView {
    #[serde(flatten)]
    head: Head,
    hostname: String,
    role: DomainRole,
    fallback_url: Option<String>,
    #[serde(flatten)]
    tail: Tail,
}
