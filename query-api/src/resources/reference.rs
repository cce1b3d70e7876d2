//! References to resources: ids, `ext:{source}:{external_id}`, and the slugs of partners.

use catalog::{Catalog, ExternalId, Workspace};

use super::crud::Crud;

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
