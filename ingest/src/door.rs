//! The door: the ways that most requests take are told by the first bytes of their path and answered without a router.
//!
//! Only what is meant to be read is told here; every other method of these paths, and every other path, is the router's.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::response::Response;
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
    pub async fn answer<B>(self, mut request: Request<B>, peer: SocketAddr) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let Self { edge, mut router } = self;
        let Some(way) = Way::of(request.method(), request.uri().path()) else {
            request.extensions_mut().insert(ConnectInfo(peer));
            // Boxed, so that the fast ways do not carry the room for it.
            let Ok(response) = Box::pin(router.call(request)).await;
            return response;
        };
        drop(router);
        // Nobody reads a body on these ways.
        let (parts, _body) = request.into_parts();
        let visit = Visit::now(&edge, parts, peer.ip());
        let mut response = match way {
            Way::Click(way) => click::follow(&edge, &visit, way).await,
            Way::Impression(naming) => impression::show(&edge, &visit, naming).await,
            Way::Pixel => pixel::fire(&edge, &visit).await,
        };
        let Visit { parts, request_id, .. } = visit;
        log_request(request_id.as_str(), parts.method.as_str(), parts.uri.path(), response.status());
        response.headers_mut().insert(REQUEST_ID, request_id.into_header());
        response
    }
}

impl Handler for Door {
    async fn handle(self, request: Request<hyper::body::Incoming>, peer: SocketAddr) -> Response {
        self.answer(request, peer).await
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
