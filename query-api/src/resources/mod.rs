//! The catalog over HTTP: offers, partners, links, pixels, domains, sources and keys, each by the same handlers; workspaces
//! and exchange rates by their own.
//!
//! A request passes the modules in this order: [`handlers`], then [`fields`] and the resource's own module, which read the
//! body, then [`change`], which proposes it to the log and maps the verdict.

mod cap;
mod change;
mod crud;
mod domain;
pub(crate) mod fields;
mod handlers;
mod idempotency;
mod key;
mod link;
mod macros;
mod offer;
mod partner;
mod pixel;
mod rate;
mod reference;
mod rotation;
mod rule;
mod simulate;
mod source;
mod terms;
pub(crate) mod value;
mod view;
mod workspace;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::routing::{get, post, put};
use catalog::{Domain, Key, Link, Offer, Partner, Pixel, Source};

use crate::state::Desk;
use crud::Crud;

/// The routes of the catalog's resources.
pub(crate) fn routes() -> Router<Desk> {
    Router::new()
        .merge(routes_of::<Offer>())
        .merge(routes_of::<Partner>())
        .merge(routes_of::<Link>())
        .merge(routes_of::<Pixel>())
        .merge(routes_of::<Domain>())
        .merge(routes_of::<Source>())
        .merge(routes_of::<Key>())
        .route("/api/v1/workspaces", get(workspace::list))
        .route("/api/v1/workspaces/{id}", get(workspace::one).patch(workspace::patch))
        .route("/api/v1/rates", get(rate::list))
        .route("/api/v1/rates/{date}/{from}/{to}", get(rate::one).put(rate::put))
        .route("/api/v1/links/{reference}/simulate", post(simulate::simulate))
        .route("/api/v1/macros", get(macros::list))
        .route("/api/v1/sources/{reference}/rotate", post(source::rotate))
        .route("/api/v1/keys/{reference}/rotate", post(key::rotate))
        .route("/api/v1/keys/{reference}/revoke", post(key::revoke))
}

fn routes_of<T: Crud>() -> Router<Desk> {
    let path = format!("/api/v1/{}", T::PATH);
    let one = get(handlers::one::<T>)
        .patch(handlers::patch::<T>)
        .put(handlers::replace::<T>)
        .delete(handlers::archive::<T>);
    Router::new()
        .route(&path, get(handlers::list::<T>).post(handlers::create::<T>))
        .route(&format!("{path}/{{reference}}"), one)
        .route(&format!("{path}/external/{{source}}/{{id}}"), put(handlers::upsert::<T>))
}
