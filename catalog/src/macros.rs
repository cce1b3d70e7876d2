//! Macros in destination addresses: `{click_id}`, `{sub1|raw}`, `{sub2|default:none}`.
//!
//! A template is parsed when its resource is saved, and again by who renders it; an unknown macro is refused.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// How many sub-ids there are, from `sub1` on.
pub const SUBS: u8 = 10;
/// Their names.
pub const SUB_NAMES: [&str; SUBS as usize] =
    ["sub1", "sub2", "sub3", "sub4", "sub5", "sub6", "sub7", "sub8", "sub9", "sub10"];

/// What is encoded in a value: all but the unreserved characters of RFC 3986.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What is encoded even in a raw value: controls and blanks, because it lands in a header, and what would begin a fragment
/// and so cut off the rest of the address.
const RAW: &AsciiSet = &CONTROLS.add(b' ').add(b'#');
/// What is encoded in a raw macro's default, which its author wrote.
const RAW_DEFAULT: &AsciiSet = &CONTROLS.add(b' ');

/// A macro.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Macro {
    /// The click's id.
    ClickId,
    /// The link's id.
    Link,
    /// The offer's id.
    Offer,
    /// The partner's id.
    Partner,
    /// The campaign's id.
    Campaign,
    /// `sub1` to `sub10`.
    Sub(u8),
    /// The partner's own source id.
    SourceId,
    /// The visitor's country.
    Country,
    /// The visitor's class of device.
    Device,
    /// The visitor's operating system.
    Os,
    /// The visitor's browser.
    Browser,
    /// Unix seconds of the click.
    Timestamp,
    /// A random number.
    Rand,
}

/// What there is to know about a macro: from these entries templates are parsed and checked, and clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which macro.
    pub is: Macro,
    /// Its name, without braces.
    pub name: &'static str,
    /// What its values are.
    pub kind: ValueKind,
    /// What it stands for.
    pub description: &'static str,
}

/// What the values of a macro are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// An id with its prefix.
    Id,
    /// A text that somebody chose: it can hold anything.
    Text,
    /// A word of ours, or a standard's.
    Word,
    /// A whole number.
    Integer,
}

impl ValueKind {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Text => "text",
            Self::Word => "word",
            Self::Integer => "integer",
        }
    }
}

/// Where macros may stand: after the host of these addresses.
pub const PLACES: [&str; 3] =
    ["offers.destination_url", "links.destination_url", "links.rules.to.destination_url"];
/// How a value is written, unless it is raw.
pub const ENCODING: &str = "percent-encoded, all but the unreserved characters of RFC 3986";
/// How a raw value is written.
pub const RAW_ENCODING: &str = "as it is, but for controls, blanks and #, which are percent-encoded";

const fn entry(is: Macro, name: &'static str, kind: ValueKind, description: &'static str) -> Entry {
    Entry { is, name, kind, description }
}

/// Every macro.
pub const REGISTRY: [Entry; 12 + SUBS as usize] = [
    entry(
        Macro::ClickId,
        "click_id",
        ValueKind::Id,
        "The click's id; appended as click_id_param where no macro places it.",
    ),
    entry(Macro::Link, "link", ValueKind::Id, "The link's id."),
    entry(Macro::Offer, "offer", ValueKind::Id, "The offer's id."),
    entry(Macro::Partner, "partner", ValueKind::Id, "The partner's id."),
    entry(Macro::Campaign, "campaign", ValueKind::Id, "The campaign's id."),
    entry(Macro::Sub(1), "sub1", ValueKind::Text, SUB),
    entry(Macro::Sub(2), "sub2", ValueKind::Text, SUB),
    entry(Macro::Sub(3), "sub3", ValueKind::Text, SUB),
    entry(Macro::Sub(4), "sub4", ValueKind::Text, SUB),
    entry(Macro::Sub(5), "sub5", ValueKind::Text, SUB),
    entry(Macro::Sub(6), "sub6", ValueKind::Text, SUB),
    entry(Macro::Sub(7), "sub7", ValueKind::Text, SUB),
    entry(Macro::Sub(8), "sub8", ValueKind::Text, SUB),
    entry(Macro::Sub(9), "sub9", ValueKind::Text, SUB),
    entry(Macro::Sub(10), "sub10", ValueKind::Text, SUB),
    entry(
        Macro::SourceId,
        "source_id",
        ValueKind::Text,
        "The partner's own name of where the click comes from.",
    ),
    entry(Macro::Country, "country", ValueKind::Word, "The visitor's country, ISO 3166-1 alpha-2."),
    entry(Macro::Device, "device", ValueKind::Word, "The visitor's class of device."),
    entry(Macro::Os, "os", ValueKind::Text, "The visitor's operating system."),
    entry(Macro::Browser, "browser", ValueKind::Text, "The visitor's browser."),
    entry(Macro::Timestamp, "timestamp", ValueKind::Integer, "The time of the click in unix seconds."),
    entry(Macro::Rand, "rand", ValueKind::Integer, "A random number."),
];

const SUB: &str = "The parameter of this name in the click's address.";

impl Macro {
    /// The macro with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        REGISTRY.iter().find(|entry| entry.name == name).map(|entry| entry.is)
    }

    /// Every macro.
    pub fn all() -> impl Iterator<Item = Self> {
        REGISTRY.iter().map(|entry| entry.is)
    }
}

/// A parsed address. It borrows the text: it is parsed for every click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template<'t> {
    segments: Vec<Segment<'t>>,
}

/// A piece of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment<'t> {
    /// Stands as it is.
    Literal(&'t str),
    /// Stands for a value.
    Macro {
        /// Which.
        name: Macro,
        /// Not percent-encoded, but for what would break the header that it lands in.
        raw: bool,
        /// What stands there if there is no value, or an empty one.
        default: &'t str,
    },
}

/// Why an address is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No macro has this name.
    #[error("there is no macro {{{0}}}")]
    UnknownMacro(String),
    /// What stands after `|` is none of `raw` and `default:…`.
    #[error("a macro takes |raw and |default:…, not |{0}")]
    UnknownOption(String),
    /// A brace without its partner.
    #[error("a brace has no partner; write %7B and %7D for braces of the address")]
    Unbalanced,
}

impl<'t> Template<'t> {
    /// Parses an address.
    ///
    /// # Errors
    /// [`TemplateError`] for unknown macros and for braces without a partner.
    pub fn parse(text: &'t str) -> Result<Self, TemplateError> {
        let mut segments = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (literal, braced) = rest.split_at(at);
            if !literal.is_empty() {
                segments.push(Segment::Literal(literal));
            }
            let inner = braced.strip_prefix('{').ok_or(TemplateError::Unbalanced)?;
            let (inner, after) = inner.split_once('}').ok_or(TemplateError::Unbalanced)?;
            segments.push(parse_macro(inner)?);
            rest = after;
        }
        if !rest.is_empty() {
            segments.push(Segment::Literal(rest));
        }
        Ok(Self { segments })
    }

    /// Its pieces, in order.
    pub fn segments(&self) -> &[Segment<'t>] {
        &self.segments
    }

    /// Whether the macro stands in it.
    pub fn uses(&self, wanted: Macro) -> bool {
        self.segments.iter().any(|segment| match segment {
            Segment::Literal(_) => false,
            Segment::Macro { name, .. } => *name == wanted,
        })
    }

    /// What stands before the first macro.
    pub(crate) fn head(&self) -> &'t str {
        match self.segments.first() {
            Some(Segment::Literal(head)) => head,
            Some(Segment::Macro { .. }) | None => "",
        }
    }

    /// Whether a value stands in it raw.
    pub fn has_raw(&self) -> bool {
        self.segments.iter().any(|segment| match segment {
            Segment::Literal(_) => false,
            Segment::Macro { raw, .. } => *raw,
        })
    }

    /// Appends the address to `out`, with the values that `value` gives; an empty one is none.
    pub fn render<'a>(&self, out: &mut String, value: impl FnMut(Macro) -> Cow<'a, str>) {
        self.write(out, RAW, value);
    }

    /// [`Template::render`], but no value is raw: none has any say in how the address is built.
    pub fn render_encoded<'a>(&self, out: &mut String, value: impl FnMut(Macro) -> Cow<'a, str>) {
        self.write(out, VALUE, value);
    }

    fn write<'a>(
        &self,
        out: &mut String,
        raw_value: &'static AsciiSet,
        mut value: impl FnMut(Macro) -> Cow<'a, str>,
    ) {
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => out.push_str(literal),
                Segment::Macro { name, raw, default } => {
                    let value = value(*name);
                    let (text, encoded) = match (value.is_empty(), raw) {
                        (true, true) => (*default, RAW_DEFAULT),
                        (true, false) => (*default, VALUE),
                        (false, true) => (&*value, raw_value),
                        (false, false) => (&*value, VALUE),
                    };
                    out.extend(utf8_percent_encode(text, encoded));
                }
            }
        }
    }
}

fn parse_macro(inner: &str) -> Result<Segment<'_>, TemplateError> {
    let (name, options) = inner.split_once('|').unwrap_or((inner, ""));
    let found = Macro::from_name(name).ok_or_else(|| TemplateError::UnknownMacro(name.to_owned()))?;
    let mut raw = false;
    let mut default = "";
    if inner.contains('|') {
        for option in options.split('|') {
            match option.split_once(':') {
                None if option == "raw" => raw = true,
                Some(("default", text)) => default = text,
                Some(_) | None => return Err(TemplateError::UnknownOption(option.to_owned())),
            }
        }
    }
    Ok(Segment::Macro { name: found, raw, default })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(template: &str) -> String {
        let values = [(Macro::ClickId, "click_1"), (Macro::Sub(1), "a b&c=ü#\r\nX: y")];
        let mut out = String::new();
        Template::parse(template).unwrap().render(&mut out, |name| {
            values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value).into()
        });
        out
    }

    #[test]
    fn values_are_encoded_unless_raw_and_never_break_a_header() {
        assert_eq!(rendered("https://a.example/?c={click_id}"), "https://a.example/?c=click_1");
        assert_eq!(rendered("x={sub1}"), "x=a%20b%26c%3D%C3%BC%23%0D%0AX%3A%20y");
        assert_eq!(rendered("x={sub1|raw}"), "x=a%20b&c=%C3%BC%23%0D%0AX:%20y");
        assert_eq!(rendered("x={sub2|default:0}&y={sub3}&z={sub2|raw|default:a&b}"), "x=0&y=&z=a&b");
        assert_eq!(rendered("x?y=1{sub2|raw|default:#top}"), "x?y=1#top");
        let mut out = String::new();
        let template = Template::parse("{sub1|raw}{sub2|raw|default:&c}").unwrap();
        assert!(template.has_raw() && !Template::parse("{sub1}raw").unwrap().has_raw());
        template.render_encoded(&mut out, |name| if name == Macro::Sub(1) { "a&b" } else { "" }.into());
        assert_eq!(out, "a%26b&c");
    }

    #[test]
    fn what_is_no_macro_is_refused() {
        for (template, error) in [
            ("{clickid}", TemplateError::UnknownMacro("clickid".into())),
            ("{sub0}", TemplateError::UnknownMacro("sub0".into())),
            ("{sub01}", TemplateError::UnknownMacro("sub01".into())),
            ("{sub+1}", TemplateError::UnknownMacro("sub+1".into())),
            ("{sub}", TemplateError::UnknownMacro("sub".into())),
            ("{sub11}", TemplateError::UnknownMacro("sub11".into())),
            ("{}", TemplateError::UnknownMacro(String::new())),
            ("{{click_id}}", TemplateError::UnknownMacro("{click_id".into())),
            ("{sub1|upper}", TemplateError::UnknownOption("upper".into())),
            ("{sub1|}", TemplateError::UnknownOption(String::new())),
            ("a{b", TemplateError::Unbalanced),
            ("a}b", TemplateError::Unbalanced),
        ] {
            assert_eq!(Template::parse(template), Err(error), "{template}");
        }
    }

    #[test]
    fn every_macro_is_found_by_its_name() {
        for (index, entry) in REGISTRY.iter().enumerate() {
            assert_eq!(Macro::from_name(entry.name), Some(entry.is));
            assert!(Template::parse(&format!("x{{{}}}", entry.name)).unwrap().uses(entry.is));
            assert!(REGISTRY[..index].iter().all(|other| other.is != entry.is && other.name != entry.name));
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_literals_survive(text in ".*") {
            if let Ok(template) = Template::parse(&text)
                && template.segments().iter().all(|segment| matches!(segment, Segment::Literal(_)))
            {
                let mut out = String::new();
                template.render(&mut out, |_| "".into());
                prop_assert_eq!(out, text);
            }
        }
    }
}
