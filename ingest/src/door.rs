//! The door: the ways that most requests take are told by the first bytes of their path and answered without a router.
//!
//! Only what is meant to be read is told here; every other method of these paths, and every other path, is the router's.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use http::Method;
use service::lifecycle::Handler;
use service::telemetry::{REQUEST_ID, RequestId, log_request};

use crate::edge::Edge;
use crate::router::router;
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
    Link,
    Offer,
    Impression,
    ImpressionOfOffer,
    Pixel,
}

impl Way {
    fn of(method: &Method, path: &str) -> Option<Self> {
        let is_get = *method == Method::GET;
        let is_key = |path: &[u8]| !path.is_empty() && !path.contains(&b'/');
        match path.as_bytes() {
            _ if !is_get && *method != Method::HEAD => None,
            [b'/', b'c', b'/', key @ ..] if is_key(key) => Some(Self::Link),
            b"/click" => Some(Self::Offer),
            // A HEAD records no impression and no conversion.
            _ if !is_get => None,
            [b'/', b'i', b'/', key @ ..] if is_key(key) => Some(Self::Impression),
            b"/i.gif" => Some(Self::ImpressionOfOffer),
            b"/p.gif" => Some(Self::Pixel),
            _ => None,
        }
    }
}

impl Handler for Door {
    async fn handle(self, request: http::Request<hyper::body::Incoming>, peer: SocketAddr) -> Response {
        let Some(way) = Way::of(request.method(), request.uri().path()) else {
            // Boxed, so that the fast ways do not carry the room for it.
            return Box::pin(self.router.handle(request, peer)).await;
        };
        let Self { edge, router } = self;
        drop(router);
        // Nobody reads a body on these ways.
        let (mut parts, _body) = request.into_parts();
        let id = RequestId::brought(&parts.headers).unwrap_or_else(|| RequestId::made(edge.new_request_id()));
        parts.extensions.insert(ConnectInfo(peer));
        parts.extensions.insert(id.clone());
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let request = Request::from_parts(parts, Body::empty());
        let mut response = match way {
            Way::Link => click::follow(State(edge), request).await,
            Way::Offer => click::follow_offer(State(edge), request).await,
            Way::Impression => impression::show(State(edge), request).await,
            Way::ImpressionOfOffer => impression::show_offer(State(edge), request).await,
            Way::Pixel => pixel::fire(State(edge), request).await,
        };
        log_request(id.as_str(), method.as_str(), uri.path(), response.status());
        response.headers_mut().insert(REQUEST_ID, id.into_header());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_ways_are_told_by_method_and_path() {
        let get = |path: &str| Way::of(&Method::GET, path);
        assert_eq!(get("/c/anna"), Some(Way::Link));
        assert_eq!(get("/click"), Some(Way::Offer));
        assert_eq!(get("/i/anna"), Some(Way::Impression));
        assert_eq!(get("/i.gif"), Some(Way::ImpressionOfOffer));
        assert_eq!(get("/p.gif"), Some(Way::Pixel));
        for path in ["/", "/c", "/c/", "/c/a/b", "/clicks", "/i/", "/p.gif/", "/anna", "/t.js", "*"] {
            assert_eq!(get(path), None, "{path}");
        }
        assert_eq!(Way::of(&Method::HEAD, "/c/anna"), Some(Way::Link));
        assert_eq!(Way::of(&Method::HEAD, "/i.gif"), None);
        assert_eq!(Way::of(&Method::POST, "/c/anna"), None);
        assert_eq!(Way::of(&Method::OPTIONS, "/p.gif"), None);
    }
}
