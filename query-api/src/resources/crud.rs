//! What a resource must say for itself so that the handlers can serve it.

use catalog::seal::Sealer;
use catalog::{Catalog, Entity, Workspace};
use schemas::time::Timestamp;
use serde::Serialize;

use super::fields::Fields;
use crate::auth::{Caller, Requirement};
use crate::error::Error;
use crate::params::Params;
use crate::state::Desk;

/// A resource with routes.
pub(crate) trait Crud: Entity {
    /// What its GETs ask of a key.
    type Reads: Requirement;
    /// What its changes ask of a key.
    type Writes: Requirement;
    /// Its form in answers.
    type View: Serialize + Send;
    /// Its segment in paths.
    const PATH: &'static str;
    /// Whether it can be active again once it was archived.
    const RETURNS: bool = true;

    /// The resource before its first field is read: an id of its own, everything else at its default. A replacement keeps
    /// of `before` what a body does not hold.
    fn blank(context: &Context<'_>, before: Option<&Self>) -> Self;

    /// Reads the resource's own fields; `before` is the stored resource, if there is one.
    fn read(&mut self, fields: &mut Fields, context: &Context<'_>, before: Option<&Self>);

    /// Makes the secret of a resource that has just been read and needs one: it is shown this once.
    fn issue(&mut self, _sealer: &Sealer, _before: Option<&Self>) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// Whether the caller may make this resource, or change it.
    fn permit(&self, _caller: &Caller) -> Result<(), Error> {
        Ok(())
    }

    /// The resource with this name, which is none of its ids: a partner's slug.
    fn by_name<'a>(_catalog: &'a Catalog, _workspace: &Workspace, _name: &str) -> Option<&'a Self> {
        None
    }

    /// Takes the filters of its lists from the parameters.
    fn filter(
        _params: &mut Params,
        _catalog: &Catalog,
        _workspace: &Workspace,
    ) -> Result<Filter<Self>, Error> {
        Ok(Box::new(|_| true))
    }

    /// Its form in answers.
    fn view(&self, desk: &Desk, secret: Option<String>) -> Self::View;
}

/// Which resources a list has.
pub(crate) type Filter<T> = Box<dyn Fn(&T) -> bool>;

/// What a body is read against.
pub(crate) struct Context<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) catalog: &'a Catalog,
    pub(crate) workspace: &'a Workspace,
    pub(crate) at: Timestamp,
}
