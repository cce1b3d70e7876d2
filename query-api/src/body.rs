//! JSON bodies.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::state::Desk;

/// A JSON body: arrived in time, within bounds, of the right content type, and of `T`'s shape.
#[derive(Debug, Clone)]
pub struct JsonBody<T> {
    /// What it says.
    pub value: T,
    /// The bytes as they came, for the hash of an idempotency key.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<Desk> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Error> {
        if !is_json(request.headers()) {
            return Err(Error::UnsupportedMediaType);
        }
        let bytes = arrived(request, desk).await?;
        let value = parse(&bytes)?;
        Ok(Self { value, bytes })
    }
}

/// The body of a route all of whose fields may be missing: nothing, or an object.
#[derive(Debug, Clone)]
pub(crate) struct OptionalBody {
    /// What it says.
    pub(crate) fields: Map<String, Value>,
    /// The bytes as they came.
    pub(crate) bytes: Bytes,
}

impl FromRequest<Desk> for OptionalBody {
    type Rejection = Error;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Error> {
        let bytes = arrived(request, desk).await?;
        let fields = if bytes.is_empty() { Map::new() } else { parse(&bytes)? };
        Ok(Self { fields, bytes })
    }
}

/// The body of a route that takes no fields: nothing, or an empty object.
#[derive(Debug, Clone)]
pub(crate) struct NoBody;

impl FromRequest<Desk> for NoBody {
    type Rejection = Error;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Error> {
        let body = OptionalBody::from_request(request, desk).await?;
        match body.fields.keys().next() {
            Some(name) => Err(Error::invalid(name.clone(), "is not a field that can be set here")),
            None => Ok(Self),
        }
    }
}

/// A body that arrived in time and within bounds.
async fn arrived(request: Request, desk: &Desk) -> Result<Bytes, Error> {
    let settings = desk.settings();
    let arrived = tokio::time::timeout(settings.body_timeout(), Bytes::from_request(request, desk)).await;
    let read = arrived.map_err(|_| Error::RequestTimeout(settings.body_timeout_ms))?;
    read.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::PayloadTooLarge(settings.max_body_bytes),
        _ => Error::Malformed("the body broke off".to_owned()),
    })
}

/// Reads JSON of `T`'s shape; the field that is wrong is named where serde names it.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = error.to_string();
        match quoted_field(&message).filter(|_| error.is_data()) {
            Some(field) => Error::invalid(field, message.clone()),
            None if error.is_data() => Error::Malformed(message),
            None => Error::Malformed(format!("the body is not JSON: {message}")),
        }
    })
}

/// The field in serde's "unknown field `x`" and "missing field `x`".
fn quoted_field(message: &str) -> Option<String> {
    let rest = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start))?;
    rest.split_once('`').map(|(field, _)| field.to_owned())
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let media_type = value.to_str().unwrap_or("").split(';').next().unwrap_or("").trim();
    media_type.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Named {
        name: String,
    }

    #[test]
    fn a_wrong_field_is_named_and_broken_json_is_no_field_error() {
        let refused = |text: &str| parse::<Named>(text.as_bytes()).unwrap_err().body("");
        assert_eq!(refused("{\"name\": \"a\", \"nam\": 1}").field.as_deref(), Some("nam"));
        assert_eq!(refused("{}").field.as_deref(), Some("name"));
        assert_eq!(refused("{\"name\"").field, None);
        assert!(refused("\u{0}").message.starts_with("the body is not JSON"));
    }

    #[test]
    fn only_one_json_content_type_is_taken() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, value.parse().unwrap());
            }
            is_json(&headers)
        };
        assert!(of(&["application/json"]));
        assert!(of(&["Application/JSON; charset=utf-8"]));
        assert!(!of(&[]));
        assert!(!of(&["text/plain"]));
        assert!(!of(&["application/json", "text/plain"]));
    }
}
