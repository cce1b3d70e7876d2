//! References to what the catalog holds: an id, or `ext:{source}:{external_id}`; a partner also by slug.

use catalog::{Catalog, Entity, ExternalId, Partner};
use schemas::id::{Id, PartnerKind, WorkspaceNumber};

/// A reference that leads nowhere.
pub(crate) enum Unresolved<K> {
    /// The text is no reference.
    Malformed,
    /// This catalog has no such thing; where the reference was an id, this one.
    Unknown(Option<Id<K>>),
}

/// What the text refers to, archived things too.
pub(crate) fn resolve<'c, T: Entity>(
    catalog: &'c Catalog,
    workspace: WorkspaceNumber,
    text: &str,
) -> Result<&'c T, Unresolved<T::IdKind>> {
    if let Some(external) = text.strip_prefix("ext:") {
        let (source, id) = external.split_once(':').ok_or(Unresolved::Malformed)?;
        let external = ExternalId { source: source.to_owned(), id: id.to_owned() };
        return catalog.by_external(workspace, &external).ok_or(Unresolved::Unknown(None));
    }
    let id = text.parse().map_err(|_| Unresolved::Malformed)?;
    catalog.get(workspace, id).ok_or(Unresolved::Unknown(Some(id)))
}

/// [`resolve`] for partners, who have slugs as well.
pub(crate) fn resolve_partner<'c>(
    catalog: &'c Catalog,
    workspace: WorkspaceNumber,
    text: &str,
) -> Result<&'c Partner, Unresolved<PartnerKind>> {
    match resolve(catalog, workspace, text) {
        Err(Unresolved::Malformed) => {
            catalog.partner_by_slug(workspace, text).ok_or(Unresolved::Unknown(None))
        }
        resolved => resolved,
    }
}
