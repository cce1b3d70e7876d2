//! Query parameters, read strictly: each may stand once, and one that nobody asked for is refused.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use schemas::time::{InvalidTimestamp, Timestamp};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Most parameters of one request.
pub const MAX_PARAMETERS: usize = 100;
/// Longest name of a parameter as it stands in an error.
const MAX_NAME_BYTES: usize = 64;
/// Longest value, before it is decoded.
pub const MAX_VALUE_BYTES: usize = 4_096;

/// The parameters of a request. A handler takes those that it knows and then calls [`Params::finish`].
#[derive(Debug, Clone, Default)]
pub struct Params {
    pairs: Vec<Pair>,
    fingerprint: [u8; 32],
}

/// One parameter, its name decoded, its value as it was sent: lists are split at raw commas before they are decoded.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) name: String,
    raw: String,
}

impl Pair {
    /// The decoded value.
    pub(crate) fn value(&self) -> Result<String, Error> {
        decode(&self.raw).ok_or_else(|| not_utf8(&self.name))
    }

    /// The decoded values between raw commas; one empty value where there is nothing.
    pub(crate) fn values(&self) -> Result<Vec<String>, Error> {
        self.raw.split(',').map(|part| decode(part).ok_or_else(|| not_utf8(&self.name))).collect()
    }
}

impl Params {
    /// Reads a query, without its question mark.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let mut pairs: Vec<Pair> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, raw) = part.split_once('=').unwrap_or((part, ""));
            let name = decode(name).ok_or_else(|| not_utf8("query"))?;
            if name.len() > MAX_NAME_BYTES {
                return Err(Error::invalid(
                    "query",
                    format!("a parameter's name has more than {MAX_NAME_BYTES} bytes"),
                ));
            }
            if raw.len() > MAX_VALUE_BYTES {
                return Err(Error::invalid(name, format!("must have at most {MAX_VALUE_BYTES} bytes")));
            }
            if pairs.iter().any(|pair| pair.name == name) {
                return Err(Error::invalid(name, "stands more than once"));
            }
            if pairs.len() == MAX_PARAMETERS {
                return Err(Error::invalid("query", format!("has more than {MAX_PARAMETERS} parameters")));
            }
            pairs.push(Pair { name, raw: raw.to_owned() });
        }
        let fingerprint = fingerprint(&pairs);
        Ok(Self { pairs, fingerprint })
    }

    /// The value of a parameter, decoded.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, Error> {
        self.take_pair(name).map(|pair| pair.value()).transpose()
    }

    /// The values of a parameter that holds a list with commas.
    pub fn take_list(&mut self, name: &str) -> Result<Option<Vec<String>>, Error> {
        self.take_pair(name).map(|pair| pair.values()).transpose()
    }

    /// A `true` or `false`; false if it is not there.
    pub fn take_bool(&mut self, name: &str) -> Result<bool, Error> {
        match self.take(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Error::invalid(name, "must be true or false")),
        }
    }

    /// An RFC 3339 time.
    pub fn take_time(&mut self, name: &str) -> Result<Option<Timestamp>, Error> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        parse_time(&text).map(Some).map_err(|error| Error::invalid(name, format!("is {error}")))
    }

    /// A whole number between two bounds.
    pub fn take_number(
        &mut self,
        name: &str,
        bounds: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>, Error> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.map(Some).ok_or_else(|| {
            Error::invalid(name, format!("must be between {} and {}", bounds.start(), bounds.end()))
        })
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<(), Error> {
        match self.pairs.into_iter().next() {
            None => Ok(()),
            Some(pair) => Err(Error::invalid(pair.name, "is not a parameter of this route")),
        }
    }

    /// Names what was asked, pages apart: what a cursor is bound to.
    pub(crate) const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    pub(crate) fn take_pair(&mut self, name: &str) -> Option<Pair> {
        let at = self.pairs.iter().position(|pair| pair.name == name)?;
        Some(self.pairs.remove(at))
    }

    /// Takes every parameter whose name, up to an operator in brackets, `is_wanted`.
    pub(crate) fn take_where(&mut self, is_wanted: impl Fn(&str) -> bool) -> Vec<Pair> {
        let field = |pair: &Pair| is_wanted(pair.name.split('[').next().unwrap_or(""));
        let (wanted, rest) = std::mem::take(&mut self.pairs).into_iter().partition(field);
        self.pairs = rest;
        wanted
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::parse(parts.uri.query().unwrap_or(""))
    }
}

/// An RFC 3339 time; a plus that was not encoded has become a space.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, InvalidTimestamp> {
    text.parse().or_else(|_| text.replace(' ', "+").parse())
}

/// Percent-decoded, a plus as a space; `None` if the bytes are not UTF-8.
fn decode(text: &str) -> Option<String> {
    let text = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
}

fn not_utf8(field: &str) -> Error {
    Error::invalid(field, "is not UTF-8")
}

fn fingerprint(pairs: &[Pair]) -> [u8; 32] {
    let mut asked: Vec<_> =
        pairs.iter().filter(|pair| pair.name != "take" && pair.name != "cursor").collect();
    asked.sort_by(|a, b| a.name.cmp(&b.name));
    let mut hash = Sha256::new();
    for pair in asked {
        for text in [&pair.name, &pair.raw] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str) -> Error {
        Params::parse(query).map(|params| params.finish()).and_then(|done| done).unwrap_err()
    }

    #[test]
    fn values_are_split_at_raw_commas_and_then_decoded() {
        let mut params = Params::parse("sub1=a%2Cb,c+d&x=&take=5").unwrap();
        assert_eq!(params.take_list("sub1").unwrap().unwrap(), ["a,b", "c d"]);
        assert_eq!(params.take_list("x").unwrap().unwrap(), [""]);
        assert_eq!(params.take_number("take", 1..=200).unwrap(), Some(5));
        assert_eq!(params.take("take").unwrap(), None);
        assert_eq!(params.finish(), Ok(()));
    }

    #[test]
    fn repeated_unknown_overlong_and_broken_parameters_are_named() {
        assert_eq!(refused("from=1&from=2"), Error::invalid("from", "stands more than once"));
        assert_eq!(refused("form=1"), Error::invalid("form", "is not a parameter of this route"));
        let long = format!("sub1={}", "x".repeat(MAX_VALUE_BYTES + 1));
        assert_eq!(refused(&long), Error::invalid("sub1", "must have at most 4096 bytes"));
        assert_eq!(refused("%ff=1"), Error::invalid("query", "is not UTF-8"));
        let many: String = (0..=MAX_PARAMETERS).map(|n| format!("p{n}=1&")).collect();
        assert_eq!(refused(&many), Error::invalid("query", "has more than 100 parameters"));
        let mut params = Params::parse("sub1=%ff&take=201").unwrap();
        assert_eq!(params.take("sub1"), Err(Error::invalid("sub1", "is not UTF-8")));
        assert_eq!(
            params.take_number("take", 1..=200),
            Err(Error::invalid("take", "must be between 1 and 200"))
        );
    }

    #[test]
    fn the_fingerprint_ignores_order_and_paging_and_nothing_else() {
        let of = |query: &str| Params::parse(query).unwrap().fingerprint();
        assert_eq!(of("a=1&b=2"), of("b=2&cursor=x&a=1&take=3"));
        assert_ne!(of("a=1&b=2"), of("a=1&b=3"));
        assert_ne!(of("a=1b&c"), of("a=1&bc"));
    }
}
