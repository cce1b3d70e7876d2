//! The query of a click or an impression: our own parameters, and those that are passed through.

use std::borrow::Cow;

use schemas::money::{Currency, Money, MoneyError};

use crate::query_pairs::{Pair, QueryPairs};
use crate::sender::holds_secret;
use crate::text::cut;
use crate::unresolved;

/// How many parameters are passed through and kept.
pub(crate) const MAX_PASSED: usize = 32;
/// The largest name and the largest value of one of them, in bytes.
pub(crate) const MAX_PASSED_BYTES: usize = 256;
/// The largest value of a parameter of our own, in bytes; what is longer is cut.
const MAX_OWN_BYTES: usize = 255;
/// The largest address in `u`, in bytes. An address that was cut leads elsewhere, so a longer one is dropped.
const MAX_ADDRESS_BYTES: usize = 2_048;
const SUBS: usize = catalog::macros::SUBS as usize;

/// Which of the parameters are our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// The path names a link.
    ByLink,
    /// The parameters `offer` and `partner` name what a link would.
    ByOffer,
}

/// The query of a click or an impression.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClickParameters<'q> {
    /// The offer, by id or external id; only without a link.
    pub(crate) offer: Option<Cow<'q, str>>,
    /// The partner, by id, slug or external id.
    via: Option<Cow<'q, str>>,
    /// The same by its other name; only without a link.
    partner: Option<Cow<'q, str>>,
    /// `sub1` to `sub10`.
    pub(crate) subs: [Option<Cow<'q, str>>; SUBS],
    pub(crate) source_id: Option<Cow<'q, str>>,
    pub(crate) ext_click_id: Option<Cow<'q, str>>,
    pub(crate) creative: Option<Cow<'q, str>>,
    cost: Option<Cow<'q, str>>,
    currency: Option<Cow<'q, str>>,
    pub(crate) consent: Option<Cow<'q, str>>,
    test: Option<Cow<'q, str>>,
    /// Where the caller wants to go, and what vouches for it.
    pub(crate) u: Option<Cow<'q, str>>,
    pub(crate) sig: Option<Cow<'q, str>>,
    pub(crate) exp: Option<Cow<'q, str>>,
    /// Has no meaning here, and is not passed on.
    key: Option<Cow<'q, str>>,
    /// What is kept, in the order in which it came, each name once.
    pub(crate) passed: Vec<(Cow<'q, str>, Cow<'q, str>)>,
    /// A name stood more than once; the first counted.
    pub(crate) is_repeated: bool,
    /// Something was beyond the bounds or made no sense, and was dropped or cut.
    pub(crate) is_dropped: bool,
    /// A macro of another system stands in a value.
    pub(crate) is_unresolved: bool,
    /// A second `?` was taken for `&`.
    pub(crate) is_repaired: bool,
}

impl<'q> ClickParameters<'q> {
    /// Reads a query. Nothing in it is an error: what makes no sense is taken as it stands, or dropped and labelled.
    pub(crate) fn read(query: &'q str, naming: Naming) -> Self {
        let mut parameters = Self::default();
        let mut pairs = QueryPairs::of(query);
        for pair in pairs.by_ref() {
            parameters.add(pair, naming);
        }
        parameters.is_repaired = pairs.is_repaired;
        parameters
    }

    fn add(&mut self, pair: Pair<'q>, naming: Naming) {
        let Pair { name, mut value, raw_value } = pair;
        if unresolved::is_between_percents(raw_value) {
            value = Cow::Borrowed(raw_value);
        }
        // A redirect is not refused for it, but nothing of it may be stored or sent on.
        if holds_secret(&name) || holds_secret(&value) {
            self.is_dropped = true;
            return;
        }
        self.is_unresolved |= unresolved::has_macro(&value) || unresolved::has_macro(&name);
        let Some(field) = self.own(&name, naming) else {
            self.pass(name, value);
            return;
        };
        if field.is_some() {
            self.is_repeated = true;
            return;
        }
        let (kept, is_dropped) = if name == "u" { bounded_address(value) } else { bounded(value) };
        *field = Some(kept);
        self.is_dropped |= is_dropped;
    }

    /// The field of a parameter of our own.
    fn own(&mut self, name: &str, naming: Naming) -> Option<&mut Option<Cow<'q, str>>> {
        match (name, naming) {
            ("via", _) => Some(&mut self.via),
            ("source_id", _) => Some(&mut self.source_id),
            ("ext_click_id", _) => Some(&mut self.ext_click_id),
            ("creative", _) => Some(&mut self.creative),
            ("cost", _) => Some(&mut self.cost),
            ("currency", _) => Some(&mut self.currency),
            ("consent", _) => Some(&mut self.consent),
            ("test", _) => Some(&mut self.test),
            ("u", _) => Some(&mut self.u),
            ("sig", _) => Some(&mut self.sig),
            ("exp", _) => Some(&mut self.exp),
            ("key", _) => Some(&mut self.key),
            ("offer", Naming::ByOffer) => Some(&mut self.offer),
            ("partner", Naming::ByOffer) => Some(&mut self.partner),
            (_, Naming::ByLink | Naming::ByOffer) => self.subs.get_mut(sub_index(name)?),
        }
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

    /// The partner that the request names.
    pub(crate) fn partner(&self) -> Option<&str> {
        let named = |field: &'_ Option<Cow<'q, str>>| field.as_ref().is_some_and(|text| !text.is_empty());
        let field = if named(&self.via) { &self.via } else { &self.partner };
        field.as_deref().filter(|text| !text.is_empty())
    }

    /// What the click cost, in the stated currency or this one; an error is a price that is none.
    pub(crate) fn cost(&self, default: Currency) -> Result<Option<Money>, MoneyError> {
        let Some(text) = self.cost.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let currency = match self.currency.as_deref() {
            None | Some("") => default,
            Some(code) => Currency::from_code(code)?,
        };
        Money::parse_price(text, currency).map(Some)
    }

    /// Whether the caller calls this a test. Who may say so? Everybody: it only takes the hit out of reports.
    /// `None` if what it says makes no sense.
    pub(crate) fn is_test(&self) -> Option<bool> {
        match self.test.as_deref() {
            None | Some("" | "0" | "false") => Some(false),
            Some("1" | "true") => Some(true),
            Some(_) => None,
        }
    }

    /// The value as the destination may see it: no macro of another system goes there.
    pub(crate) fn sent<'p>(&self, value: &'p Option<Cow<'q, str>>) -> &'p str {
        let value = value.as_deref().unwrap_or_default();
        if self.is_unresolved && unresolved::has_macro(value) { "" } else { value }
    }

    /// What is passed on to the destination.
    pub(crate) fn passed_on(&self) -> Cow<'_, [(Cow<'q, str>, Cow<'q, str>)]> {
        if !self.is_unresolved {
            return Cow::Borrowed(&self.passed);
        }
        let resolved = self
            .passed
            .iter()
            .filter(|(name, value)| !unresolved::has_macro(name) && !unresolved::has_macro(value));
        Cow::Owned(resolved.cloned().collect())
    }

    /// The value of a parameter that is passed through.
    pub(crate) fn passed_value(&self, name: &str) -> &str {
        self.passed.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
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

/// The value within its bounds, and whether it was beyond them.
fn bounded(value: Cow<'_, str>) -> (Cow<'_, str>, bool) {
    let is_cut = value.len() > MAX_OWN_BYTES;
    let value = match value {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text, MAX_OWN_BYTES)),
        Cow::Owned(mut text) => {
            text.truncate(text.floor_char_boundary(MAX_OWN_BYTES));
            Cow::Owned(text)
        }
    };
    (value, is_cut)
}

/// The same for an address, of which a piece is worth nothing.
fn bounded_address(value: Cow<'_, str>) -> (Cow<'_, str>, bool) {
    if value.len() > MAX_ADDRESS_BYTES { (Cow::Borrowed(""), true) } else { (value, false) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(query: &str) -> ClickParameters<'_> {
        ClickParameters::read(query, Naming::ByLink)
    }

    fn passed<'a>(read: &'a ClickParameters<'_>) -> Vec<(&'a str, &'a str)> {
        read.passed.iter().map(|(name, value)| (&**name, &**value)).collect()
    }

    #[test]
    fn own_parameters_are_read_and_the_rest_is_passed() {
        let read =
            read("sub1=a+b&sub10=z&sub0=x&via=anna&utm_source=n&cost=1&u=https://evil.example&source_id=s");
        assert_eq!(read.stored_subs(), ["a b", "", "", "", "", "", "", "", "", "z"]);
        assert_eq!((read.partner(), read.source_id.as_deref()), (Some("anna"), Some("s")));
        assert_eq!(passed(&read), [("sub0", "x"), ("utm_source", "n")]);
        assert!(!read.is_repeated && !read.is_dropped && !read.is_unresolved && !read.is_repaired);
    }

    #[test]
    fn offer_and_partner_are_ours_only_where_no_link_is_named() {
        let query = "offer=o&partner=p";
        assert_eq!(passed(&read(query)), [("offer", "o"), ("partner", "p")]);
        let by_offer = ClickParameters::read(query, Naming::ByOffer);
        assert_eq!((by_offer.offer.as_deref(), by_offer.partner()), (Some("o"), Some("p")));
        assert!(by_offer.passed.is_empty());
        for (query, partner) in [("partner=p&via=v", "v"), ("via=&partner=p", "p"), ("via=v&partner=", "v")] {
            assert_eq!(ClickParameters::read(query, Naming::ByOffer).partner(), Some(partner), "{query}");
        }
    }

    #[test]
    fn the_first_of_repeats_counts() {
        for query in ["sub1=a&sub1=b", "x=a&y=1&x=b", "sub1=a&cost=1&cost=2", "key=1&key=2"] {
            assert!(read(query).is_repeated, "{query}");
        }
        let read = read("x=a&x=b&sub2=&sub2=c");
        assert_eq!(passed(&read), [("x", "a")]);
        assert_eq!(read.subs[1].as_deref(), Some(""));
        assert!(read.stored_subs().is_empty());
    }

    #[test]
    fn what_is_over_the_bounds_is_dropped_or_cut() {
        let many: String = (0..40).map(|n| format!("p{n}={n}&")).collect();
        let over = read(&many);
        assert!(over.is_dropped && over.passed.len() == MAX_PASSED);
        let long = "é".repeat(200);
        let query = format!("a={long}&sub1={long}&ok=1");
        let cut = read(&query);
        assert!(cut.is_dropped);
        assert_eq!(cut.passed.len(), 1);
        assert_eq!(cut.subs[0].as_deref().unwrap().len(), 254);
        let query = format!("u=https://shop.example/{}", "x".repeat(MAX_ADDRESS_BYTES));
        let address = read(&query);
        assert_eq!((address.u.as_deref(), address.is_dropped), (Some(""), true));
    }

    #[test]
    fn broken_escapes_are_taken_as_they_stand() {
        let read = read("sub1=%zz&sub2=%ff&sub3=a%00b%0d%0a&sub4=%");
        assert_eq!(read.stored_subs(), ["%zz", "\u{fffd}", "a\0b\r\n", "%"]);
    }

    #[test]
    fn a_cost_is_a_strict_decimal_or_dropped() {
        for (query, micros, code, is_dropped) in [
            ("cost=0.0023", Some(2_300), "EUR", false),
            ("cost=1.5&currency=USD", Some(1_500_000), "USD", false),
            ("cost=1&currency=", Some(1_000_000), "EUR", false),
            ("cost=", None, "", false),
            ("currency=USD", None, "", false),
            ("cost=-1", None, "", true),
            ("cost=1e3", None, "", true),
            ("cost=1,5", None, "", true),
            ("cost=0.1234567", None, "", true),
            ("cost=99999999999999999999", None, "", true),
            ("cost=1&currency=usd", None, "", true),
            ("cost={cost}", None, "", true),
        ] {
            let cost = read(query).cost(Currency::from_code("EUR").unwrap());
            assert_eq!(cost.is_err(), is_dropped, "{query}");
            let cost = cost.unwrap_or_default();
            assert_eq!(cost.map(|cost| cost.micros), micros, "{query}");
            assert_eq!(cost.map_or("", |cost| cost.currency.code()), code, "{query}");
        }
    }

    #[test]
    fn a_test_says_so() {
        for (query, is_test) in [
            ("", Some(false)),
            ("test=1", Some(true)),
            ("test=true", Some(true)),
            ("test=0", Some(false)),
            ("test=maybe", None),
        ] {
            assert_eq!(read(query).is_test(), is_test, "{query}");
        }
    }

    #[test]
    fn unresolved_macros_are_kept_but_not_sent_on() {
        let read = read("sub1={clickid}&sub2=ok&a=%7Bgclid%7D&b=1&%7Bc%7D=2&d=%%CACHE%%&source_id=[[x]]");
        assert!(read.is_unresolved);
        assert_eq!(read.stored_subs(), ["{clickid}", "ok"]);
        assert_eq!((read.sent(&read.subs[0]), read.sent(&read.subs[1])), ("", "ok"));
        assert_eq!(read.sent(&read.source_id), "");
        assert_eq!(passed(&read), [("a", "{gclid}"), ("b", "1"), ("{c}", "2"), ("d", "%%CACHE%%")]);
        assert_eq!(read.passed_on().as_ref(), [("b".into(), "1".into())]);
    }

    #[test]
    fn a_second_mark_is_repaired() {
        let read = read("sub1=a?sub2=b");
        assert_eq!((read.stored_subs(), read.is_repaired), (vec!["a".to_owned(), "b".to_owned()], true));
    }

    #[test]
    fn a_secret_key_is_dropped_wherever_it_stands() {
        let query = "key=tb_live_a&sub1=tb_test_a&x=%74b_live_a&tb_live_a=1&u=https://a.example/?k=tb_live_a&sub2=tb_pub_a";
        let read = read(query);
        assert_eq!((read.stored_subs(), passed(&read)), (vec![String::new(), "tb_pub_a".to_owned()], vec![]));
        assert!(read.is_dropped && read.u.is_none() && read.key.is_none());
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".*") {
            let read = read(&query);
            prop_assert!(read.passed.len() <= MAX_PASSED);
            prop_assert!(read.stored_subs().len() <= SUBS);
            let _ = (read.cost(Currency::USD), read.is_test(), read.partner().is_some());
        }
    }
}
