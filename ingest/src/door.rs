//! The door: the ways that most requests take are told by the first bytes of their path and answered without a router.
//!
//! Only what is meant to be read is told here; every other method of these paths, and every other path, is the router's.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::response::Response;
use futures::FutureExt;
use futures::future::Either;
use http::{Method, Request};
use service::lifecycle::Handler;
use service::telemetry::{REQUEST_ID, log_request};
use tower::Service as _;

use crate::click_parameters::Naming;
use crate::edge::Edge;
use crate::router::router;
use crate::visit::Visit;
use crate::{click, impression, pixel};

/// Everything that the edge answers, the fast ways first.
pub fn door(edge: Edge) -> Door {
    Door { router: router(edge.clone()), edge }
}

/// What [`door`] makes.
#[derive(Clone)]
pub struct Door {
    edge: Edge,
    router: Router,
}

/// A fast way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Click(click::Way),
    Impression(Naming),
    Pixel,
}

impl Way {
    fn of(method: &Method, path: &str) -> Option<Self> {
        let is_get = *method == Method::GET;
        let is_key = |path: &[u8]| !path.is_empty() && !path.contains(&b'/');
        match path.as_bytes() {
            _ if !is_get && *method != Method::HEAD => None,
            [b'/', b'c', b'/', key @ ..] if is_key(key) => Some(Self::Click(click::Way::Link)),
            b"/click" => Some(Self::Click(click::Way::Offer)),
            // A HEAD records no impression and no conversion.
            _ if !is_get => None,
            [b'/', b'i', b'/', key @ ..] if is_key(key) => Some(Self::Impression(Naming::ByLink)),
            b"/i.gif" => Some(Self::Impression(Naming::ByOffer)),
            b"/p.gif" => Some(Self::Pixel),
            _ => None,
        }
    }
}

impl Door {
    /// Answers a request from this address.
    pub fn answer<B>(
        self: Arc<Self>,
        mut request: Request<B>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let Some(way) = Way::of(request.method(), request.uri().path()) else {
            request.extensions_mut().insert(ConnectInfo(peer));
            let routed = self.router.clone().call(request).map(|answered| {
                let Ok(response) = answered;
                response
            });
            // Boxed, so that the fast ways do not carry the room for it.
            return Either::Right(Box::pin(routed));
        };
        // Nobody reads a body on these ways.
        let (parts, _body) = request.into_parts();
        let visit = Visit::now(&self.edge, parts, peer.ip());
        // Not an `async fn`, which would hold the room for the visit twice.
        Either::Left(async move {
            let mut response = match way {
                Way::Click(way) => click::follow(&self.edge, &visit, way).await,
                Way::Impression(naming) => impression::show(&self.edge, &visit, naming).await,
                Way::Pixel => pixel::fire(&self.edge, &visit).await,
            };
            let Visit { parts, request_id, .. } = visit;
            log_request(request_id.as_str(), parts.method.as_str(), parts.uri.path(), response.status());
            response.headers_mut().insert(REQUEST_ID, request_id.into_header());
            response
        })
    }
}

impl Handler for Door {
    fn handle(
        self: Arc<Self>,
        request: Request<hyper::body::Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send {
        self.answer(request, peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_ways_are_told_by_method_and_path() {
        let get = |path: &str| Way::of(&Method::GET, path);
        assert_eq!(get("/c/anna"), Some(Way::Click(click::Way::Link)));
        assert_eq!(get("/click"), Some(Way::Click(click::Way::Offer)));
        assert_eq!(get("/i/anna"), Some(Way::Impression(Naming::ByLink)));
        assert_eq!(get("/i.gif"), Some(Way::Impression(Naming::ByOffer)));
        assert_eq!(get("/p.gif"), Some(Way::Pixel));
        for path in ["/", "/c", "/c/", "/c/a/b", "/clicks", "/i/", "/p.gif/", "/anna", "/t.js", "*"] {
            assert_eq!(get(path), None, "{path}");
        }
        assert_eq!(Way::of(&Method::HEAD, "/c/anna"), Some(Way::Click(click::Way::Link)));
        assert_eq!(Way::of(&Method::HEAD, "/i.gif"), None);
        assert_eq!(Way::of(&Method::POST, "/c/anna"), None);
        assert_eq!(Way::of(&Method::OPTIONS, "/p.gif"), None);
    }
}
