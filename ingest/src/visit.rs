//! A request that is answered with a redirect or an image, whatever becomes of it.

use std::net::IpAddr;

use http::request::Parts;
use schemas::time::Timestamp;
use service::telemetry::RequestId;
use tokio::time::Instant;

use crate::edge::{Edge, peer};
use crate::sender::Incoming;

/// Such a request, and who brings it: what is known before anybody looks at the catalog, found out once.
pub(crate) struct Visit {
    pub(crate) parts: Parts,
    /// The other end of the connection; `None` where the server does not tell.
    pub(crate) peer: Option<IpAddr>,
    /// The client's address: the peer's, or what trusted proxies say of it.
    pub(crate) client: Option<IpAddr>,
    pub(crate) request_id: RequestId,
    pub(crate) arrived: Instant,
}

impl Visit {
    /// A request that comes now.
    pub(crate) fn now(edge: &Edge, parts: Parts, peer: IpAddr) -> Self {
        let request_id = RequestId::brought(&parts.headers);
        let request_id = request_id.unwrap_or_else(|| RequestId::made(edge.new_request_id()));
        let client = Some(edge.client_address(&parts.headers, peer));
        Self { parts, peer: Some(peer), client, request_id, arrived: Instant::now() }
    }

    /// A request that the router took in then.
    pub(crate) fn routed(edge: &Edge, parts: Parts, arrived: Instant) -> Self {
        let request_id = RequestId::made(edge.request_id(&parts.extensions));
        let (peer, client) = (peer(&parts), edge.client_of(&parts));
        Self { parts, peer, client, request_id, arrived }
    }

    /// The query; empty for none.
    pub(crate) fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// The same for those who ask who sends it.
    pub(crate) fn incoming<'r>(&'r self, edge: &'r Edge, received_at: Timestamp) -> Incoming<'r> {
        let Self { parts, peer, client, .. } = self;
        Incoming { parts, peer: *peer, address: *client, signed: None, sealer: edge.sealer(), received_at }
    }
}
