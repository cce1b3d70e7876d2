//! Where a click goes: the stored address with its macros filled in, the caller's parameters, and the click id.
//!
//! Of one name in several places the click id wins over everything, the caller's parameter over the stored one. A raw value,
//! which may bring parameters of its own, stands encoded where it would override or hide the click id.

use std::borrow::Cow;

use catalog::macros::{Macro, Template};
use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is encoded in names and values of a query: all but the unreserved characters of RFC 3986.
const QUERY_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What a header cannot hold and an address should not; everything beyond ASCII is encoded as well.
const HEADER: &AsciiSet = &CONTROLS.add(b' ');

/// Bytes that hold most addresses.
const CAPACITY: usize = 256;

/// What an address is made of, besides its macros' values.
pub(crate) struct Destination<'a> {
    pub(crate) template: &'a Template<'a>,
    /// The click's id, which stands nowhere in the address unless we put it there.
    pub(crate) click_id: &'a str,
    /// The parameter that carries the click id if no macro does.
    pub(crate) click_id_param: &'a str,
    /// The caller's parameters.
    pub(crate) passed: &'a [(Cow<'a, str>, Cow<'a, str>)],
}

impl Destination<'_> {
    /// The address.
    pub(crate) fn render<'v>(&self, value: impl FnMut(Macro) -> Cow<'v, str>) -> String {
        let is_placed = self.template.uses(Macro::ClickId);
        let rendered = self.filled(is_placed, value);
        if is_placed && self.passed.is_empty() {
            return rendered;
        }
        let (rest, fragment) = match rendered.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (rendered.as_str(), None),
        };
        let (base, stored) = rest.split_once('?').unwrap_or((rest, ""));
        let mut address = Address::new(base, rendered.len());
        let mut taken: Vec<Cow<'_, str>> = vec![Cow::Borrowed(self.click_id_param)];
        for pair in stored.split('&').filter(|pair| !pair.is_empty()) {
            let name = decoded_name(pair);
            if pair.contains(self.click_id) {
                address.push_raw(pair);
                taken.push(name);
            } else if is_placed || name != self.click_id_param {
                let is_overridden = self.passed.iter().any(|(passed, _)| *passed == name);
                if !is_overridden || name == self.click_id_param {
                    address.push_raw(pair);
                }
            }
        }
        for (name, value) in self.passed.iter().filter(|(name, _)| !taken.contains(name)) {
            address.push(name, value);
        }
        if !is_placed {
            address.push(self.click_id_param, self.click_id);
        }
        address.finish(fragment)
    }

    /// The template with its macros filled in.
    fn filled<'v>(&self, is_placed: bool, mut value: impl FnMut(Macro) -> Cow<'v, str>) -> String {
        let mut rendered = String::with_capacity(CAPACITY);
        self.template.render(&mut rendered, &mut value);
        if is_placed && self.template.has_raw() {
            let mut encoded = String::with_capacity(CAPACITY);
            self.template.render_encoded(&mut encoded, value);
            if !places_alike(&rendered, &encoded, self.click_id) {
                return encoded;
            }
        }
        rendered
    }
}

/// Whether two addresses hold the click id in the same places, and no other value under the names that it has there.
fn places_alike(one: &str, other: &str, click_id: &str) -> bool {
    let (one, one_fragment) = one.split_once('#').unwrap_or((one, ""));
    let (other, other_fragment) = other.split_once('#').unwrap_or((other, ""));
    part_places_alike(one, other, click_id) && part_places_alike(one_fragment, other_fragment, click_id)
}

/// [`places_alike`] for what stands before a fragment, or for a fragment, which pages read in the same way.
fn part_places_alike(one: &str, other: &str, click_id: &str) -> bool {
    let (one, one_query) = one.split_once('?').unwrap_or((one, ""));
    let (other, other_query) = other.split_once('?').unwrap_or((other, ""));
    let names: Vec<_> =
        other_query.split('&').filter(|pair| pair.contains(click_id)).map(decoded_name).collect();
    let is_placed = |pair: &&str| pair.contains(click_id) || names.contains(&decoded_name(pair));
    one.matches(click_id).count() == other.matches(click_id).count()
        && one_query.split('&').filter(is_placed).eq(other_query.split('&').filter(is_placed))
}

/// The header that leads to the address. Only an address beyond all bounds has none.
pub(crate) fn location(address: &str) -> Option<HeaderValue> {
    let ascii: Cow<'_, str> = utf8_percent_encode(address, HEADER).into();
    HeaderValue::from_str(&ascii).ok()
}

fn decoded_name(pair: &str) -> Cow<'_, str> {
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name).unwrap_or_default()
}

/// An address under construction.
struct Address {
    text: String,
    has_query: bool,
}

impl Address {
    fn new(base: &str, capacity: usize) -> Self {
        let mut text = String::with_capacity(capacity + 64);
        text.push_str(base);
        Self { text, has_query: false }
    }

    fn push_raw(&mut self, pair: &str) {
        self.separate();
        self.text.push_str(pair);
    }

    fn push(&mut self, name: &str, value: &str) {
        self.separate();
        self.text.extend(utf8_percent_encode(name, QUERY_PART));
        self.text.push('=');
        self.text.extend(utf8_percent_encode(value, QUERY_PART));
    }

    fn separate(&mut self) {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
    }

    fn finish(mut self, fragment: Option<&str>) -> String {
        if let Some(fragment) = fragment {
            self.text.push('#');
            self.text.push_str(fragment);
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLICK: &str = "click_01h455vb4pex5vsknk084sn02q";

    fn rendered(template: &str, passed: &[(&str, &str)]) -> String {
        let passed: Vec<_> = passed.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let destination = Destination {
            template: &Template::parse(template).unwrap(),
            click_id: CLICK,
            click_id_param: "click_id",
            passed: &passed,
        };
        let address =
            destination.render(|name| if name == Macro::ClickId { CLICK } else { "a&b=c#d" }.into());
        address.replace(CLICK, "ID")
    }

    #[test]
    fn the_click_id_is_placed_or_appended() {
        assert_eq!(rendered("https://a.example/?cid={click_id}", &[]), "https://a.example/?cid=ID");
        assert_eq!(rendered("https://a.example", &[]), "https://a.example?click_id=ID");
        assert_eq!(rendered("https://a.example/x?a=1#top", &[]), "https://a.example/x?a=1&click_id=ID#top");
        assert_eq!(rendered("https://a.example/?click_id=fixed&b", &[]), "https://a.example/?b&click_id=ID");
        assert_eq!(rendered("https://a.example/{click_id}/", &[]), "https://a.example/ID/");
    }

    #[test]
    fn the_caller_wins_over_the_stored_and_the_click_id_over_everything() {
        let template = "https://a.example/?cid={click_id}&utm=stored&keep=1&s={sub1}";
        let passed = [("utm", "mine"), ("cid", "evil"), ("click_id", "evil"), ("new", "ü &")];
        assert_eq!(
            rendered(template, &passed),
            "https://a.example/?cid=ID&keep=1&s=a%26b%3Dc%23d&utm=mine&new=%C3%BC%20%26"
        );
        assert_eq!(
            rendered("https://a.example/?u%74m=1", &[("utm", "2")]),
            "https://a.example/?utm=2&click_id=ID"
        );
        assert_eq!(
            rendered("https://a.example/{click_id}?click_id=fixed", &[("click_id", "evil")]),
            "https://a.example/ID?click_id=fixed"
        );
    }

    #[test]
    fn a_location_holds_nothing_that_breaks_a_header() {
        assert_eq!(location("https://a.example/ü?x=a b").unwrap(), "https://a.example/%C3%BC?x=a%20b");
        assert_eq!(location("https://a.example/\r\nX: y\0").unwrap(), "https://a.example/%0D%0AX:%20y%00");
    }

    fn with_sub(template: &str, sub: &str) -> String {
        let destination = Destination {
            template: &Template::parse(template).unwrap(),
            click_id: CLICK,
            click_id_param: "click_id",
            passed: &[],
        };
        let address = destination.render(|name| if name == Macro::ClickId { CLICK } else { sub }.into());
        address.replace(CLICK, "ID")
    }

    #[test]
    fn a_raw_value_brings_parameters_but_never_a_click_id() {
        for (template, sub, address) in [
            ("/?cid={click_id}&s={sub1|raw}", "x&y=1", "/?cid=ID&s=x&y=1"),
            ("/?cid={click_id}&s={sub1|raw}", "x&cid=click_other", "/?cid=ID&s=x%26cid%3Dclick_other"),
            ("/?cid={click_id}&s={sub1|raw}", "x&c%69d=1", "/?cid=ID&s=x%26c%2569d%3D1"),
            ("/?s={sub1|raw}&cid={click_id}", "x&cid=click_other", "/?s=x%26cid%3Dclick_other&cid=ID"),
            ("/?s={sub1|raw}&cid={click_id}", "x#", "/?s=x%23&cid=ID"),
            ("/?s={sub1|raw}", "x#y", "/?s=x%23y&click_id=ID"),
            ("/?s={sub1|raw}", "x&click_id=click_other", "/?s=x&click_id=ID"),
            ("/{sub1|raw}?cid={click_id}", "shoes/1", "/shoes/1?cid=ID"),
            ("/{sub1|raw}?cid={click_id}", "x?cid=click_other&", "/x%3Fcid%3Dclick_other%26?cid=ID"),
            ("/{sub1|raw}/{click_id}", "x?y=", "/x%3Fy%3D/ID"),
            ("/{sub1|raw}", "shoes?color=red", "/shoes?color=red&click_id=ID"),
            ("/?cid={sub1|raw}-{click_id}", "x&y=", "/?cid=x%26y%3D-ID"),
            ("/?cid={click_id}{sub1|raw|default:&t=1}", "", "/?cid=ID&t=1"),
            ("/#/buy?cid={click_id}&s={sub1|raw}", "x/y", "/#/buy?cid=ID&s=x/y"),
            ("/#/buy?cid={click_id}&s={sub1|raw}", "x&cid=z", "/#/buy?cid=ID&s=x%26cid%3Dz"),
        ] {
            let rendered = with_sub(&format!("https://a.example{template}"), sub);
            assert_eq!(rendered, format!("https://a.example{address}"), "{template} {sub}");
        }
    }

    proptest! {
        #[test]
        fn no_raw_value_reaches_the_click_id(sub in "[a-dci&=?#%6490/]{0,24}", place in 0..3_usize) {
            let template = [
                "https://a.example/p?cid={click_id}&s={sub1|raw}",
                "https://a.example/p?s={sub1|raw}&cid={click_id}",
                "https://a.example/{sub1|raw}?cid={click_id}",
            ][place];
            let url = url::Url::parse(&with_sub(template, &sub)).unwrap();
            let ids: Vec<_> = url.query_pairs().filter(|(name, _)| name == "cid").collect();
            prop_assert_eq!(ids, [("cid".into(), "ID".into())], "{}", url);
        }

        #[test]
        fn no_caller_reaches_another_host(name in ".*", value in ".*", sub in ".*") {
            let passed = [(Cow::from(name), Cow::from(value))];
            let destination = Destination {
                template: &Template::parse("https://a.example/p?c={click_id}&s={sub1|raw}").unwrap(),
                click_id: CLICK,
                click_id_param: "click_id",
                passed: &passed,
            };
            let address =
                destination.render(|name| if name == Macro::ClickId { CLICK } else { sub.as_str() }.into());
            let header = location(&address).unwrap();
            let url = url::Url::parse(header.to_str().unwrap()).unwrap();
            prop_assert_eq!(url.host_str(), Some("a.example"));
            prop_assert_eq!(url.query_pairs().find(|(name, _)| name == "c").unwrap().1, CLICK);
        }
    }
}
