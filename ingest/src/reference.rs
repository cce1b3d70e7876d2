//! References to what the catalog holds: an id, or `ext:{source}:{external_id}`; a partner also by slug.

use catalog::{Catalog, Entity, ExternalId, Offer, Partner, Source};
use schemas::event::Fault;
use schemas::id::{Id, Kind, OfferId, PartnerId, PartnerKind, WorkspaceNumber};

use crate::conversion_fields::PARTNER;
use crate::reader::{MAX_TEXT_BYTES, Reader};

/// The reason of a request with a reference that leads nowhere.
pub(crate) const UNKNOWN_REFERENCE: &str = "unknown_reference";
/// How the built-in source, which has no record, is named.
const DEFAULT_SOURCE: &str = "default";

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

/// The references of one request, and what came of them.
pub(crate) struct References<'c> {
    pub(crate) catalog: &'c Catalog,
    pub(crate) workspace: WorkspaceNumber,
    /// The first that leads nowhere and has no id to be stored.
    pub(crate) fault: Option<Fault>,
    /// One leads nowhere in this catalog; a newer one may know it.
    pub(crate) has_unknown: bool,
}

impl<'c> References<'c> {
    pub(crate) const fn new(catalog: &'c Catalog, workspace: WorkspaceNumber) -> Self {
        Self { catalog, workspace, fault: None, has_unknown: false }
    }

    pub(crate) fn partner(&mut self, reader: &mut Reader<'_>) -> Option<PartnerId> {
        let (name, text) = reader.text(&PARTNER, MAX_TEXT_BYTES)?;
        match resolve_partner(self.catalog, self.workspace, &text) {
            Ok(partner) => Some(partner.id),
            Err(unresolved) => self.unresolved(reader, name, unresolved),
        }
    }

    /// The offer's id, and the offer itself if it is known here.
    pub(crate) fn offer(&mut self, reader: &mut Reader<'_>) -> (Option<OfferId>, Option<&'c Offer>) {
        let Some((name, text)) = reader.text(&["offer"], MAX_TEXT_BYTES) else { return (None, None) };
        match resolve::<Offer>(self.catalog, self.workspace, &text) {
            Ok(offer) => (Some(offer.id), Some(offer)),
            Err(unresolved) => (self.unresolved(reader, name, unresolved), None),
        }
    }

    /// The source that the request names: its id, and itself if it is known here.
    pub(crate) fn source(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> (Option<schemas::id::SourceId>, Option<&'c Source>) {
        let Some((name, text)) = reader.text(&["source"], MAX_TEXT_BYTES) else { return (None, None) };
        if text == DEFAULT_SOURCE {
            return (None, None);
        }
        match resolve::<Source>(self.catalog, self.workspace, &text) {
            Ok(source) => (Some(source.id), Some(source)),
            Err(unresolved) => (self.unresolved(reader, name, unresolved), None),
        }
    }

    fn unresolved<K: Kind>(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        unresolved: Unresolved<K>,
    ) -> Option<Id<K>> {
        match unresolved {
            Unresolved::Malformed => {
                reader.fault(name, format!("must be a {}_ id or ext:{{source}}:{{external_id}}", K::PREFIX));
                None
            }
            // The core knows the catalog as well: it may judge an id by itself.
            Unresolved::Unknown(Some(id)) => {
                self.has_unknown = true;
                Some(id)
            }
            Unresolved::Unknown(None) => {
                self.has_unknown = true;
                self.fault.get_or_insert_with(|| Fault {
                    reason: UNKNOWN_REFERENCE.to_owned(),
                    field: name.to_owned(),
                    message: "refers to nothing in this workspace".to_owned(),
                });
                None
            }
        }
    }
}
