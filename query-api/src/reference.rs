//! References of requests to ids, and ids of rows to the names that answers show.

use catalog::{Catalog, Entity, ExternalId, Link, Offer, Partner, Source};
use schemas::hex;
use schemas::id::{
    CampaignId, CampaignKind, ClickKind, Id, Kind, LinkKind, OfferKind, PartnerKind, RuleKind, SourceKind,
    VisitorKind, WorkspaceNumber,
};
use serde::Serialize;

/// What an id column refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Referent {
    Offer,
    Partner,
    Campaign,
    Link,
    Source,
    Click,
    Visitor,
    Rule,
}

impl Referent {
    /// The column's name in every table that has it.
    pub(crate) const fn column(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Partner => "partner",
            Self::Campaign => "campaign",
            Self::Link => "link",
            Self::Source => "source",
            Self::Click => "click",
            Self::Visitor => "visitor",
            Self::Rule => "rule",
        }
    }

    /// The bytes that a reference stands for: an id, `ext:{source}:{external_id}`, or a partner's slug.
    ///
    /// An id need not be there: then it matches no row, as does one of another workspace. A name must be.
    pub(crate) fn resolve(
        self,
        catalog: &Catalog,
        workspace: WorkspaceNumber,
        text: &str,
    ) -> Result<[u8; 16], String> {
        match self {
            Self::Offer => named::<Offer>(catalog, workspace, text),
            Self::Link => named::<Link>(catalog, workspace, text),
            Self::Source => named::<Source>(catalog, workspace, text),
            Self::Partner => named::<Partner>(catalog, workspace, text).or_else(|message| {
                let partner = catalog.partner_by_slug(workspace, text);
                partner.map(|partner| *partner.id.bytes()).ok_or(message)
            }),
            Self::Campaign => plain::<CampaignKind>(text),
            Self::Click => plain::<ClickKind>(text),
            Self::Visitor => plain::<VisitorKind>(text),
            Self::Rule => plain::<RuleKind>(text),
        }
    }

    /// What an answer shows for the bytes in a row; `None` for no id.
    pub(crate) fn show(
        self,
        catalog: &Catalog,
        workspace: WorkspaceNumber,
        bytes: [u8; 16],
    ) -> Option<Named> {
        if bytes == [0; 16] {
            return None;
        }
        Some(match self {
            Self::Offer => {
                let id = Id::<OfferKind>::from_bytes(bytes);
                Named::new(id, catalog.offer(workspace, id).map(|offer| offer.name.clone()))
            }
            Self::Partner => {
                let id = Id::<PartnerKind>::from_bytes(bytes);
                Named::new(id, catalog.partner(workspace, id).map(|partner| partner.name.clone()))
            }
            Self::Link => {
                let id = Id::<LinkKind>::from_bytes(bytes);
                Named::new(id, catalog.link(workspace, id).map(|link| link.key.clone()))
            }
            Self::Source => {
                let id = Id::<SourceKind>::from_bytes(bytes);
                let source = catalog.source(id).filter(|source| source.workspace == workspace);
                Named::new(id, source.map(|source| source.name.clone()))
            }
            Self::Campaign => Named::new(CampaignId::from_bytes(bytes), None),
            Self::Click => Named::new(Id::<ClickKind>::from_bytes(bytes), None),
            Self::Visitor => Named::new(Id::<VisitorKind>::from_bytes(bytes), None),
            // Rules have no names.
            Self::Rule => Named::new(Id::<RuleKind>::from_bytes(bytes), None),
        })
    }
}

/// A thing of the catalog in a report or a list. The name of a link is its key; what the catalog does not have
/// yet has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
}

impl Named {
    fn new<K: Kind>(id: Id<K>, name: Option<String>) -> Self {
        Self { id: id.to_string(), name }
    }
}

/// The text of the id in a row's hexadecimal digits; `None` for no id.
pub(crate) fn id_text<K: Kind>(digits: &str) -> Option<String> {
    let bytes = hex::decode(digits).filter(|bytes| *bytes != [0; 16])?;
    Some(Id::<K>::from_bytes(bytes).to_string())
}

fn plain<K: Kind>(text: &str) -> Result<[u8; 16], String> {
    text.parse::<Id<K>>().map(|id| *id.bytes()).map_err(|error| format!("is {error}"))
}

fn named<T: Entity>(catalog: &Catalog, workspace: WorkspaceNumber, text: &str) -> Result<[u8; 16], String> {
    let Some(external) = text.strip_prefix("ext:") else { return plain::<T::IdKind>(text) };
    let (source, id) = external.split_once(':').ok_or("must be an id or ext:{source}:{external_id}")?;
    let external = ExternalId { source: source.to_owned(), id: id.to_owned() };
    let found = catalog.by_external::<T>(workspace, &external);
    found.map(|found| *found.id().bytes()).ok_or_else(|| format!("is no {} here", T::KIND.as_str()))
}
