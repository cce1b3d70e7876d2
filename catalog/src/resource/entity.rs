//! Resources of any kind, and what the kinds have in common.

use schemas::id::{
    DomainKind, Id, KeyKind as KeyIdKind, LinkKind, OfferKind, PartnerKind, PixelKind, SourceKind,
    WorkspaceNumber,
};

use super::{
    Domain, Installation, Key, Link, Meta, Offer, Partner, Pixel, Projection, Rate, Source, Workspace,
};
use crate::table::{Table, Tables};

/// The kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// [`Installation`].
    Installation,
    /// [`Workspace`].
    Workspace,
    /// [`Offer`].
    Offer,
    /// [`Partner`].
    Partner,
    /// [`Link`].
    Link,
    /// [`Source`].
    Source,
    /// [`Key`].
    Key,
    /// [`Pixel`].
    Pixel,
    /// [`Domain`].
    Domain,
    /// [`Rate`].
    Rate,
    /// [`Projection`].
    Projection,
}

impl ResourceKind {
    /// The word in messages and on the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Installation => "installation",
            Self::Workspace => "workspace",
            Self::Offer => "offer",
            Self::Partner => "partner",
            Self::Link => "link",
            Self::Source => "source",
            Self::Key => "key",
            Self::Pixel => "pixel",
            Self::Domain => "domain",
            Self::Rate => "rate",
            Self::Projection => "projection",
        }
    }
}

/// Any resource.
#[derive(Debug, Clone, PartialEq)]
pub enum Resource {
    /// The installation itself.
    Installation(Installation),
    /// A workspace.
    Workspace(Workspace),
    /// An offer.
    Offer(Offer),
    /// A partner.
    Partner(Partner),
    /// A link.
    Link(Link),
    /// A source.
    Source(Source),
    /// A key.
    Key(Key),
    /// A pixel.
    Pixel(Pixel),
    /// A domain.
    Domain(Domain),
    /// An exchange rate.
    Rate(Rate),
    /// What is made of the events in one generation.
    Projection(Projection),
}

impl Resource {
    /// Its kind.
    pub const fn kind(&self) -> ResourceKind {
        match self {
            Self::Installation(_) => ResourceKind::Installation,
            Self::Workspace(_) => ResourceKind::Workspace,
            Self::Offer(_) => ResourceKind::Offer,
            Self::Partner(_) => ResourceKind::Partner,
            Self::Link(_) => ResourceKind::Link,
            Self::Source(_) => ResourceKind::Source,
            Self::Key(_) => ResourceKind::Key,
            Self::Pixel(_) => ResourceKind::Pixel,
            Self::Domain(_) => ResourceKind::Domain,
            Self::Rate(_) => ResourceKind::Rate,
            Self::Projection(_) => ResourceKind::Projection,
        }
    }

    /// Its id as text; empty for the installation, of which there is one.
    pub fn id_text(&self) -> String {
        match self {
            Self::Installation(_) => String::new(),
            Self::Workspace(workspace) => workspace.id.to_string(),
            Self::Offer(offer) => offer.id.to_string(),
            Self::Partner(partner) => partner.id.to_string(),
            Self::Link(link) => link.id.to_string(),
            Self::Source(source) => source.id.to_string(),
            Self::Key(key) => key.id.to_string(),
            Self::Pixel(pixel) => pixel.id.to_string(),
            Self::Domain(domain) => domain.id.to_string(),
            Self::Rate(rate) => rate.key().to_string(),
            Self::Projection(projection) => projection.generation.to_string(),
        }
    }

    /// Which version it is; the installation and projections have one only.
    pub fn version(&self) -> u64 {
        if let Self::Rate(rate) = self {
            return rate.stamp.version;
        }
        self.meta().map_or(1, |meta| meta.version)
    }

    /// What every resource but the installation, rates and projections carries.
    pub const fn meta(&self) -> Option<&Meta> {
        match self {
            Self::Installation(_) | Self::Rate(_) | Self::Projection(_) => None,
            Self::Workspace(workspace) => Some(&workspace.meta),
            Self::Offer(offer) => Some(&offer.meta),
            Self::Partner(partner) => Some(&partner.meta),
            Self::Link(link) => Some(&link.meta),
            Self::Source(source) => Some(&source.meta),
            Self::Key(key) => Some(&key.meta),
            Self::Pixel(pixel) => Some(&pixel.meta),
            Self::Domain(domain) => Some(&domain.meta),
        }
    }

    pub(crate) const fn meta_mut(&mut self) -> Option<&mut Meta> {
        match self {
            Self::Installation(_) | Self::Rate(_) | Self::Projection(_) => None,
            Self::Workspace(workspace) => Some(&mut workspace.meta),
            Self::Offer(offer) => Some(&mut offer.meta),
            Self::Partner(partner) => Some(&mut partner.meta),
            Self::Link(link) => Some(&mut link.meta),
            Self::Source(source) => Some(&mut source.meta),
            Self::Key(key) => Some(&mut key.meta),
            Self::Pixel(pixel) => Some(&mut pixel.meta),
            Self::Domain(domain) => Some(&mut domain.meta),
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A resource that belongs to a workspace and has an id: what lists, look-ups and handlers are generic over.
pub trait Entity: sealed::Sealed + Clone + Into<Resource> + Send + Sync + 'static {
    /// The kind behind its ids.
    type IdKind: schemas::id::Kind;
    /// Its kind.
    const KIND: ResourceKind;

    /// Its id.
    fn id(&self) -> Id<Self::IdKind>;
    /// Whose it is.
    fn workspace(&self) -> WorkspaceNumber;
    /// What every resource carries.
    fn meta(&self) -> &Meta;
    /// What every resource carries, to be changed.
    fn meta_mut(&mut self) -> &mut Meta;
    /// The resource, if it is of this kind.
    fn from_resource(resource: Resource) -> Option<Self>;
    #[doc(hidden)]
    fn table(tables: &Tables) -> &Table<Self>;
}

impl From<Rate> for Resource {
    fn from(rate: Rate) -> Self {
        Self::Rate(rate)
    }
}

macro_rules! entities {
    ($($name:ident($id_kind:ident) in $table:ident;)*) => {$(
        impl sealed::Sealed for $name {}

        impl From<$name> for Resource {
            fn from(resource: $name) -> Self {
                Self::$name(resource)
            }
        }

        impl Entity for $name {
            type IdKind = $id_kind;
            const KIND: ResourceKind = ResourceKind::$name;

            fn id(&self) -> Id<$id_kind> {
                self.id
            }
            fn workspace(&self) -> WorkspaceNumber {
                self.workspace
            }
            fn meta(&self) -> &Meta {
                &self.meta
            }
            fn meta_mut(&mut self) -> &mut Meta {
                &mut self.meta
            }
            fn from_resource(resource: Resource) -> Option<Self> {
                if let Resource::$name(resource) = resource { Some(resource) } else { None }
            }
            fn table(tables: &Tables) -> &Table<Self> {
                &tables.$table
            }
        }
    )*};
}

entities! {
    Offer(OfferKind) in offers;
    Partner(PartnerKind) in partners;
    Link(LinkKind) in links;
    Source(SourceKind) in sources;
    Key(KeyIdKind) in keys;
    Pixel(PixelKind) in pixels;
    Domain(DomainKind) in domains;
}
