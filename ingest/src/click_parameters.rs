//! The query of a click: our own parameters, and those that are passed through.
//!
//! `cost`, `currency`, `u`, `sig`, `exp`, `consent`, `test` and `key` are reserved: they are not passed through, and have
//! no effect on a stored link yet.

use std::borrow::Cow;

use crate::text::cut;

/// How many parameters are passed through and kept.
const MAX_PASSED: usize = 32;
/// The largest name and the largest value of one of them, in bytes.
const MAX_PASSED_BYTES: usize = 256;
/// The largest value of a parameter of our own, in bytes; what is longer is cut.
const MAX_OWN_BYTES: usize = 255;
/// How many subs there are.
pub(crate) const SUBS: usize = 10;

const RESERVED: [&str; 8] = ["key", "cost", "currency", "u", "sig", "exp", "consent", "test"];

/// A click's query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClickParameters<'q> {
    /// The partner, by id, slug or external id.
    pub(crate) via: Option<Cow<'q, str>>,
    /// `sub1` to `sub10`.
    pub(crate) subs: [Option<Cow<'q, str>>; SUBS],
    pub(crate) source_id: Option<Cow<'q, str>>,
    pub(crate) ext_click_id: Option<Cow<'q, str>>,
    pub(crate) creative: Option<Cow<'q, str>>,
    /// What is passed through, in the order in which it came, each name once.
    pub(crate) passed: Vec<(Cow<'q, str>, Cow<'q, str>)>,
    /// A name stood more than once; the first counted.
    pub(crate) is_repeated: bool,
    /// Something was beyond the bounds, and was dropped or cut.
    pub(crate) is_dropped: bool,
}

impl<'q> ClickParameters<'q> {
    /// Reads a query. Nothing in it is an error: what makes no sense is taken as it stands.
    pub(crate) fn read(query: &'q str) -> Self {
        let mut parameters = Self::default();
        let mut reserved_seen = [false; RESERVED.len()];
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if let Some(index) = RESERVED.iter().position(|reserved| *reserved == name) {
                parameters.is_repeated |= std::mem::replace(&mut reserved_seen[index], true);
            } else if let Some(value) = parameters.set_own(&name, value) {
                parameters.pass(name, value);
            }
        }
        parameters
    }

    /// The field of a parameter of our own.
    fn own(&mut self, name: &str) -> Option<&mut Option<Cow<'q, str>>> {
        match name {
            "via" => Some(&mut self.via),
            "source_id" => Some(&mut self.source_id),
            "ext_click_id" => Some(&mut self.ext_click_id),
            "creative" => Some(&mut self.creative),
            _ => self.subs.get_mut(sub_index(name)?),
        }
    }

    /// Keeps the value of a parameter of our own; gives back that of any other.
    fn set_own(&mut self, name: &str, value: Cow<'q, str>) -> Option<Cow<'q, str>> {
        let Some(field) = self.own(name) else { return Some(value) };
        if field.is_some() {
            self.is_repeated = true;
            return None;
        }
        let is_cut = value.len() > MAX_OWN_BYTES;
        *field = Some(bounded(value));
        self.is_dropped |= is_cut;
        None
    }

    fn pass(&mut self, name: Cow<'q, str>, value: Cow<'q, str>) {
        if self.passed.iter().any(|(other, _)| *other == name) {
            self.is_repeated = true;
        } else if name.is_empty()
            || name.len() > MAX_PASSED_BYTES
            || value.len() > MAX_PASSED_BYTES
            || self.passed.len() == MAX_PASSED
        {
            self.is_dropped = true;
        } else {
            self.passed.push((name, value));
        }
    }

    /// The subs to be stored: none at the end is empty.
    pub(crate) fn stored_subs(&self) -> Vec<String> {
        let count = self.subs.iter().rposition(|sub| sub.as_ref().is_some_and(|sub| !sub.is_empty()));
        let subs = &self.subs[..count.map_or(0, |last| last + 1)];
        subs.iter().map(|sub| sub.as_deref().unwrap_or_default().to_owned()).collect()
    }
}

/// The place of `sub1` to `sub10`.
pub(crate) fn sub_index(name: &str) -> Option<usize> {
    match name.strip_prefix("sub")?.as_bytes() {
        [digit @ b'1'..=b'9'] => Some(usize::from(digit - b'1')),
        b"10" => Some(9),
        _ => None,
    }
}

fn bounded(value: Cow<'_, str>) -> Cow<'_, str> {
    match value {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text, MAX_OWN_BYTES)),
        Cow::Owned(mut text) => {
            text.truncate(text.floor_char_boundary(MAX_OWN_BYTES));
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn own_parameters_are_read_and_the_rest_is_passed() {
        let read = ClickParameters::read(
            "sub1=a+b&sub10=z&sub0=x&via=anna&utm_source=n&cost=1&u=https://evil.example&source_id=s",
        );
        assert_eq!(read.stored_subs(), ["a b", "", "", "", "", "", "", "", "", "z"]);
        assert_eq!((read.via.as_deref(), read.source_id.as_deref()), (Some("anna"), Some("s")));
        let passed: Vec<_> = read.passed.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(passed, [("sub0", "x"), ("utm_source", "n")]);
        assert!(!read.is_repeated && !read.is_dropped);
    }

    #[test]
    fn the_first_of_repeats_counts() {
        for query in ["sub1=a&sub1=b", "x=a&y=1&x=b", "sub1=a&cost=1&cost=2"] {
            assert!(ClickParameters::read(query).is_repeated, "{query}");
        }
        let read = ClickParameters::read("x=a&x=b&sub2=&sub2=c");
        assert_eq!(read.passed, [("x".into(), "a".into())]);
        assert_eq!(read.subs[1].as_deref(), Some(""));
        assert!(read.stored_subs().is_empty());
    }

    #[test]
    fn what_is_over_the_bounds_is_dropped_or_cut() {
        let many: String = (0..40).map(|n| format!("p{n}={n}&")).collect();
        let read = ClickParameters::read(&many);
        assert!(read.is_dropped && read.passed.len() == MAX_PASSED);
        let long = "é".repeat(200);
        let query = format!("a={long}&sub1={long}&ok=1");
        let read = ClickParameters::read(&query);
        assert!(read.is_dropped);
        assert_eq!(read.passed.len(), 1);
        assert_eq!(read.subs[0].as_deref().unwrap().len(), 254);
    }

    #[test]
    fn broken_escapes_are_taken_as_they_stand() {
        let read = ClickParameters::read("sub1=%zz&sub2=%ff&sub3=a%00b%0d%0a&sub4=%");
        assert_eq!(read.stored_subs(), ["%zz", "\u{fffd}", "a\0b\r\n", "%"]);
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".*") {
            let read = ClickParameters::read(&query);
            prop_assert!(read.passed.len() <= MAX_PASSED);
            prop_assert!(read.stored_subs().len() <= SUBS);
        }
    }
}
