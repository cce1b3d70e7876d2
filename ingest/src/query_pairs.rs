//! The pairs of a click's query, repaired where it was glued together from two.
//!
//! Systems append `?click=1` to an address that has a query already: `/c/key?a=1?b=2`. Such a `?` is read as `&`. A `?` that
//! belongs to a value stays: one in an address (`u=https://shop.example/?a=1`), and one that no name follows.

use std::borrow::Cow;

/// One parameter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pair<'q> {
    pub(crate) name: Cow<'q, str>,
    pub(crate) value: Cow<'q, str>,
    /// The value as it stood.
    pub(crate) raw_value: &'q str,
}

/// The pairs, decoded, in order.
#[derive(Debug)]
pub(crate) struct QueryPairs<'q> {
    /// What stands before the next `&`. It is kept, so that no mark in it makes anybody look for the `&` again.
    piece: &'q str,
    /// What stands after it.
    rest: &'q str,
    /// A second `?` was taken for `&` so far.
    pub(crate) is_repaired: bool,
}

impl<'q> QueryPairs<'q> {
    pub(crate) const fn of(query: &'q str) -> Self {
        Self { piece: "", rest: query, is_repaired: false }
    }

    /// Takes the text of the next pair.
    fn take(&mut self) -> &'q str {
        if self.piece.is_empty() {
            (self.piece, self.rest) = self.rest.split_once('&').unwrap_or((self.rest, ""));
        }
        let pair = match second_mark(self.piece) {
            Some(mark) => {
                self.is_repaired = true;
                let pair = &self.piece[..mark];
                self.piece = &self.piece[mark + 1..];
                return pair;
            }
            None => self.piece,
        };
        self.piece = "";
        pair
    }
}

/// Where a `?` stands that should be a `&`.
fn second_mark(pair: &str) -> Option<usize> {
    let mark = pair.find('?')?;
    let (before, after) = (&pair[..mark], &pair[mark + 1..]);
    if before.is_empty() {
        return Some(mark);
    }
    let name = after.find('=').map(|end| &after[..end])?;
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    (is_name && !before.contains(['/', ':'])).then_some(mark)
}

impl<'q> Iterator for QueryPairs<'q> {
    type Item = Pair<'q>;

    fn next(&mut self) -> Option<Pair<'q>> {
        while !(self.piece.is_empty() && self.rest.is_empty()) {
            let pair = self.take();
            if let Some((name, value)) = url::form_urlencoded::parse(pair.as_bytes()).next() {
                let raw_value = pair.split_once('=').map_or("", |(_, value)| value);
                return Some(Pair { name, value, raw_value });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(query: &str) -> (Vec<(String, String)>, bool) {
        let mut pairs = QueryPairs::of(query);
        let mut read = Vec::new();
        for pair in pairs.by_ref() {
            read.push((pair.name.into_owned(), pair.value.into_owned()));
        }
        (read, pairs.is_repaired)
    }

    #[test]
    fn a_second_mark_is_repaired_unless_it_belongs_to_a_value() {
        for (query, pairs, is_repaired) in [
            ("a=1&b=2", &[("a", "1"), ("b", "2")][..], false),
            ("a=1?b=2", &[("a", "1"), ("b", "2")], true),
            ("?a=1", &[("a", "1")], true),
            ("a=1?b=2?c=3&d=4", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")], true),
            ("a?b=2", &[("a", ""), ("b", "2")], true),
            ("a=1?", &[("a", "1?")], false),
            ("a=why?&b=2", &[("a", "why?"), ("b", "2")], false),
            ("a=why? no=1", &[("a", "why? no=1")], false),
            ("u=https://shop.example/?a=1&b=2", &[("u", "https://shop.example/?a=1"), ("b", "2")], false),
            ("a=1%3Fb=2", &[("a", "1?b=2")], false),
            ("&&a=1&", &[("a", "1")], false),
            ("??", &[], true),
            ("", &[], false),
        ] {
            let (read, repaired) = read(query);
            let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!((read.as_slice(), repaired), (pairs, is_repaired), "{query}");
        }
    }

    #[test]
    fn a_flood_of_marks_is_read_once() {
        // Were the rest looked through for every mark, this would take minutes.
        let query = "?".repeat(2_000_000);
        assert_eq!(read(&query), (Vec::new(), true));
        let query = "a?".repeat(1_000_000);
        assert_eq!(read(&query).0.len(), 1);
    }

    proptest! {
        #[test]
        fn without_a_mark_it_reads_as_any_form(query in "[^?]*") {
            let form: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            prop_assert_eq!(read(&query), (form, false));
        }

        #[test]
        fn it_ends_whatever_comes(query in "[?&=a/%]*") {
            let (pairs, _) = read(&query);
            prop_assert!(pairs.len() <= query.len());
        }
    }
}
