//! References to resources: ids, `ext:{source}:{external_id}`, and the slugs of partners.

use catalog::{Catalog, ExternalId, Workspace};
use schemas::id::Id;
use serde_json::Value;

use super::crud::{Context, Crud};
use super::value;

/// The resource that a text refers to, archived ones too.
pub(crate) fn find<'a, T: Crud>(catalog: &'a Catalog, workspace: &Workspace, text: &str) -> Option<&'a T> {
    if let Some(external) = text.strip_prefix("ext:") {
        let (source, id) = external.split_once(':')?;
        let external = ExternalId { source: source.to_owned(), id: id.to_owned() };
        return catalog.by_external(workspace.number, &external);
    }
    match text.parse() {
        Ok(id) => catalog.get(workspace.number, id),
        Err(_) => T::by_name(catalog, workspace, text),
    }
}

/// The id of the resource that a field refers to.
pub(crate) fn id<T: Crud>(context: &Context<'_>, value: Value) -> Result<Id<T::IdKind>, String> {
    let found = find::<T>(context.catalog, context.workspace, &value::text(value)?);
    found.map(T::id).ok_or_else(|| format!("there is no such {}", T::KIND.as_str()))
}
