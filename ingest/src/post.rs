//! A POST of JSON with a key: what its routes have in common, whatever the JSON says.

use std::borrow::Cow;

use axum::extract::Request;
use axum::response::Response;
use catalog::KeyKind;
use http::header::{ACCEPT, CONTENT_ENCODING, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use schemas::event::Body;
use schemas::id::{ClickId, VisitorId};
use schemas::time::Timestamp;
use tokio::time::Instant;

use crate::answer::{Recorded, Reply, reported};
use crate::appender::Caller;
use crate::body::{self, Whole};
use crate::cors;
use crate::edge::{Edge, Stamped, Understood, may_be_news};
use crate::error::Refusal;
use crate::fields::Fields;
use crate::limits::{Class, Party};
use crate::metrics::Route;
use crate::sender::{NO_KEY, Sender, idempotency_key, presented_key, refuse_secret_in_url};
use crate::signature::Signed;

pub(crate) const JSON: &str = "application/json";
/// What `sendBeacon` says of a text: with it a browser sends without asking beforehand.
const TEXT: &str = "text/plain";
/// How the text of a publishable key starts; no other may stand in a body.
const PUBLISHABLE_PREFIX: &str = "tb_pub_";

/// An event as it was read.
pub(crate) struct Read {
    pub(crate) body: Body,
    /// The catalog lacks something that the request names; a newer one may have it.
    pub(crate) is_incomplete: bool,
    /// What a reported click is answered with.
    pub(crate) click: Option<(ClickId, Option<VisitorId>)>,
}

/// Answers a POST whose JSON is one event.
pub(crate) async fn answer(
    edge: &Edge,
    route: Route,
    request: Request,
    read: impl Fn(Fields<'_>, &Sender<'_>) -> Result<Read, Refusal>,
) -> Response {
    let received = edge.metrics().receive(route);
    let (parts, body) = request.into_parts();
    let mut reply = Reply::new(is_for_pages(route));
    let recorded = recorded(edge, route, (&parts, body), &mut reply, read).await;
    if recorded.is_err() && reply.is_unreadable() {
        // A page may read why it was refused as soon as its browser may send for it: not every refusal knows the key.
        reply.allow_origin(cors::known_origin(edge, &parts.headers).await.as_ref());
    }
    reported(received, StatusCode::ACCEPTED, recorded, &reply, || edge.request_id(&parts.extensions))
}

/// Whether pages send to it by themselves.
const fn is_for_pages(route: Route) -> bool {
    match route {
        Route::Track => true,
        Route::Click
        | Route::Impression
        | Route::Pixel
        | Route::Postback
        | Route::Conversions
        | Route::Refunds
        | Route::Batch => false,
    }
}

async fn recorded(
    edge: &Edge,
    route: Route,
    (parts, body): (&Parts, axum::body::Body),
    reply: &mut Reply,
    read: impl Fn(Fields<'_>, &Sender<'_>) -> Result<Read, Refusal>,
) -> Result<Recorded, Refusal> {
    let caller =
        if is_for_pages(route) { Caller::Browser { arrived: Instant::now() } } else { Caller::System };
    check_head(edge, parts).map_err(|refused| refused_sender(edge, parts, refused, reply))?;
    let stated = presented_key(&parts.headers);
    // Who may not send is told so before a byte of the body is read, and nobody else has one parsed.
    match stated {
        Some(key) => admit(edge, key, parts, None, reply).await?,
        None if is_for_pages(route) => {}
        None => return Err(refused_sender(edge, parts, Refusal::Unauthorized(NO_KEY), reply)),
    }
    let mut refused = |refused| match stated {
        Some(_) => refused,
        None => refused_sender(edge, parts, refused, reply),
    };
    let bytes = read_body(edge, parts, body, stated.is_none()).await.map_err(&mut refused)?;
    let fields = Fields::from_json(&bytes).map_err(&mut refused)?;
    let key: Cow<'_, str> = match stated {
        Some(key) => key.into(),
        None => {
            let key = fields.text("key").filter(|key| key.starts_with(PUBLISHABLE_PREFIX));
            let Some(key) = key else {
                return Err(refused_sender(edge, parts, Refusal::Unauthorized(NO_KEY), reply));
            };
            admit(edge, key, parts, None, reply).await?;
            key.to_owned().into()
        }
    };
    let idempotency_key = idempotency_key(&parts.headers).map_err(|fault| Refusal::Invalid(vec![fault]))?;
    let incoming = edge.incoming(parts, Signed::of(parts, &bytes), edge.now());
    let understood = edge.understand(|catalog| {
        let read = || -> Result<(Stamped, Read), Refusal> {
            let mut sender = Sender::by_key(catalog, &key, incoming)?;
            sender.idempotency_key = idempotency_key;
            let mut read = read(fields.clone(), &sender)?;
            let body = std::mem::replace(&mut read.body, Body::Tick);
            Ok((edge.stamp(catalog, sender.workspace, incoming.received_at, body), read))
        };
        let value = read();
        let is_incomplete = match &value {
            Ok((_, read)) => read.is_incomplete,
            Err(refused) => may_be_news(refused),
        };
        Understood { value, is_incomplete }
    });
    let (stamped, read) = understood.await?;
    let receipt = stamped.event.id;
    edge.report(stamped, caller)?.durable().await?;
    Ok(Recorded { receipt, click: read.click })
}

/// Lets in who has a good key and has not sent too much. Notes in the reply what every answer from here on says.
pub(crate) async fn admit(
    edge: &Edge,
    key: &str,
    parts: &Parts,
    class: Option<Class>,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let now: Timestamp = edge.now();
    let known = edge.understand(|catalog| {
        let sender = Sender::by_key(catalog, key, edge.incoming(parts, None, now));
        let is_incomplete = sender.as_ref().is_err_and(may_be_news);
        let value = sender.map(|sender| {
            let is_publishable = sender.key.is_some_and(|key| match key.kind {
                KeyKind::Publishable => true,
                KeyKind::Secret => false,
            });
            (sender.counted(), is_publishable)
        });
        Understood { value, is_incomplete }
    });
    let (counted, is_publishable) = match known.await {
        Ok(known) => known,
        Err(refused) => return Err(refused_sender(edge, parts, refused, reply)),
    };
    if is_publishable {
        reply.allow_origin(parts.headers.get(ORIGIN));
    }
    let Some((own_class, party)) = counted else { return Ok(()) };
    reply.count(edge.limits(), class.unwrap_or(own_class), party)
}

/// The refusal of a sender that is not let in, counted by its address: whoever tries keys, or sends what nobody understands,
/// is told to stop at some point.
pub(crate) fn refused_sender(edge: &Edge, parts: &Parts, refused: Refusal, reply: &mut Reply) -> Refusal {
    let Some(address) = edge.client_of(parts) else { return refused };
    reply.count(edge.limits(), Class::ServerToServer, Party::at(address)).err().unwrap_or(refused)
}

/// Refuses what nobody's key could make good.
fn check_head(edge: &Edge, parts: &Parts) -> Result<(), Refusal> {
    edge.check_uri(&parts.uri)?;
    refuse_secret_in_url(&parts.uri)?;
    check_accepts(&parts.headers, &[JSON])
}

async fn read_body<'e>(
    edge: &'e Edge,
    parts: &Parts,
    body: axum::body::Body,
    may_be_text: bool,
) -> Result<Whole<'e>, Refusal> {
    check_type(&parts.headers, may_be_text)?;
    edge.bodies().read(body).await
}

/// Refuses a body that is said not to be JSON, or to be compressed.
fn check_type(headers: &HeaderMap, may_be_text: bool) -> Result<(), Refusal> {
    if !(body::is_type(headers, JSON) || (may_be_text && body::is_type(headers, TEXT))) {
        return Err(Refusal::UnsupportedMediaType { wanted: JSON });
    }
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"" | b"identity") => Ok(()),
        Some(_) => Err(Refusal::UnsupportedMediaType { wanted: "application/json without Content-Encoding" }),
    }
}

/// Refuses a client that takes none of the types that the route has.
pub(crate) fn check_accepts(headers: &HeaderMap, types: &'static [&'static str]) -> Result<(), Refusal> {
    let mut lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()).peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    let ranges = lines.flat_map(|line| line.split(',')).filter(|range| !is_refused(range));
    let mut names = ranges.filter_map(|range| range.split(';').next()).map(str::trim);
    let is_accepted = names.any(|range| {
        range == "*/*"
            || types.iter().any(|wanted| {
                let (family, _) = wanted.split_once('/').unwrap_or((wanted, ""));
                range.eq_ignore_ascii_case(wanted)
                    || range
                        .split_once('/')
                        .is_some_and(|(own, any)| any == "*" && own.eq_ignore_ascii_case(family))
            })
    });
    if is_accepted {
        Ok(())
    } else {
        Err(Refusal::NotAcceptable { offered: types.first().copied().unwrap_or(JSON) })
    }
}

/// Whether a range says `q=0`.
fn is_refused(range: &str) -> bool {
    let mut parameters = range.split(';').skip(1).filter_map(|parameter| parameter.trim().split_once('='));
    parameters.any(|(name, value)| {
        name.eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_a_client_accepts_is_asked_as_http_says() {
        for (accept, is_accepted) in [
            ("*/*", true),
            ("application/json", true),
            ("text/html, application/*;q=0.1", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/html", false),
            ("application/json;q=0", false),
            ("application/jsonx", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(check_accepts(&headers, &[JSON]).is_ok(), is_accepted, "{accept}");
        }
        assert!(check_accepts(&HeaderMap::new(), &[JSON]).is_ok());
    }
}
