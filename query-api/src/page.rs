//! Keyset pages: `take` and `cursor` in, `items`, `nextCursor` and `hasMore` out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemas::id::WorkspaceNumber;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::params::Params;

/// Rows of a page where the request names no number.
pub const DEFAULT_TAKE: usize = 50;
/// Most rows of a page.
pub const MAX_TAKE: usize = 200;
/// Bytes of the checksum in front of a cursor.
const CHECKSUM_BYTES: usize = 16;
/// Longest text of a cursor.
const MAX_CURSOR_BYTES: usize = 4_096;

/// Which page of which list is wanted.
#[derive(Debug, Clone)]
pub struct PageRequest {
    take: usize,
    cursor: Option<String>,
    binding: [u8; 32],
}

impl PageRequest {
    /// Takes `take` and `cursor` from the parameters. `list` names the route: its cursors are good nowhere else.
    pub fn new(params: &mut Params, list: &str, workspace: WorkspaceNumber) -> Result<Self, Error> {
        let take = params.take_number("take", 1..=MAX_TAKE)?.unwrap_or(DEFAULT_TAKE);
        let cursor = params.take("cursor")?;
        let mut hash = Sha256::new();
        hash.update(workspace.get().to_be_bytes());
        hash.update(params.fingerprint());
        hash.update(list.as_bytes());
        Ok(Self { take, cursor, binding: hash.finalize().into() })
    }

    /// Rows wanted.
    pub const fn take(&self) -> usize {
        self.take
    }

    /// Rows to ask for: one more than wanted tells whether there are more.
    pub const fn limit(&self) -> usize {
        self.take + 1
    }

    /// Where the page before ended; `None` on the first page.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, Error> {
        let Some(text) = &self.cursor else { return Ok(None) };
        self.decode(text).map(Some).ok_or_else(|| {
            Error::invalid("cursor", "is not a cursor of this query: filters and sort must stay the same")
        })
    }

    /// The page of these rows, of which there may be one too many; `key` is where a row stands in the order.
    pub fn page<T, K: Serialize>(&self, mut items: Vec<T>, key: impl Fn(&T) -> K) -> Result<Page<T>, Error> {
        let has_more = items.len() > self.take;
        items.truncate(self.take);
        let last = items.last().filter(|_| has_more);
        let next_cursor = last.map(|last| self.encode(&key(last))).transpose()?;
        Ok(Page { items, next_cursor, has_more })
    }

    fn encode(&self, key: &impl Serialize) -> Result<String, Error> {
        let body = serde_json::to_vec(key).map_err(|error| Error::Internal(format!("a cursor: {error}")))?;
        let mut bytes = self.checksum(&body).to_vec();
        bytes.extend_from_slice(&body);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn decode<K: DeserializeOwned>(&self, text: &str) -> Option<K> {
        if text.len() > MAX_CURSOR_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (checksum, body) = bytes.split_at_checked(CHECKSUM_BYTES)?;
        if checksum != self.checksum(body) {
            return None;
        }
        serde_json::from_slice(body).ok()
    }

    /// Keeps a cursor from another query, and a torn one, from being taken. It is no secret and need be none: a
    /// cursor only says where to go on within what the caller may read anyway.
    fn checksum(&self, body: &[u8]) -> [u8; CHECKSUM_BYTES] {
        let hash = Sha256::new_with_prefix(self.binding).chain_update(body).finalize();
        let mut checksum = [0; CHECKSUM_BYTES];
        checksum.copy_from_slice(&hash[..CHECKSUM_BYTES]);
        checksum
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// What gives the next page; null on the last.
    #[serde(rename = "nextCursor")]
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    #[serde(rename = "hasMore")]
    pub has_more: bool,
}

impl<T> Page<T> {
    /// The same page with its rows in another form.
    pub fn map<U>(self, form: impl FnMut(T) -> U) -> Page<U> {
        let Self { items, next_cursor, has_more } = self;
        Page { items: items.into_iter().map(form).collect(), next_cursor, has_more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &str, list: &str, workspace: u32) -> PageRequest {
        let mut params = Params::parse(query).unwrap();
        PageRequest::new(&mut params, list, WorkspaceNumber::new(workspace).unwrap()).unwrap()
    }

    fn cursor_of(request: &PageRequest) -> String {
        request.page(vec![1, 2, 3], |row| *row).unwrap().next_cursor.unwrap()
    }

    #[test]
    fn a_page_ends_where_the_next_one_begins() {
        let first = request("status=approved&take=2", "conversions", 1);
        let page = first.page(vec![1, 2, 3], |row| *row).unwrap();
        assert_eq!((page.items.as_slice(), page.has_more), ([1, 2].as_slice(), true));
        let next = format!("cursor={}&status=approved&take=9", page.next_cursor.unwrap());
        let next = request(&next, "conversions", 1);
        assert_eq!(next.after::<i32>(), Ok(Some(2)));
        let last = next.page(vec![3], |row| *row).unwrap();
        assert_eq!((last.next_cursor, last.has_more), (None, false));
    }

    #[test]
    fn a_cursor_is_good_for_its_own_query_alone() {
        let cursor = cursor_of(&request("status=approved&take=2", "conversions", 1));
        let refused = |query: &str, list: &str, workspace: u32| {
            let error =
                request(&format!("{query}&cursor={cursor}"), list, workspace).after::<i32>().unwrap_err();
            assert!(matches!(&error, Error::Invalid { field, .. } if field == "cursor"), "{error:?}");
        };
        refused("status=pending", "conversions", 1);
        refused("status=approved&goal=sale", "conversions", 1);
        refused("status=approved", "clicks", 1);
        refused("status=approved", "conversions", 2);
    }

    #[test]
    fn a_cursor_with_any_byte_changed_is_refused() {
        let request_of = |cursor: &str| request(&format!("take=2&cursor={cursor}"), "clicks", 1);
        let cursor = cursor_of(&request("take=2", "clicks", 1));
        assert_eq!(request_of(&cursor).after::<i32>(), Ok(Some(2)));
        for at in 0..cursor.len() {
            let mut bytes = cursor.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(request_of(&changed).after::<i32>().is_err(), "{changed}");
        }
        for rubbish in ["", "x", "%00", "null", &"A".repeat(5_000)[..4_000]] {
            assert!(request_of(rubbish).after::<i32>().is_err(), "{rubbish}");
        }
    }
}
