//! The parsers that strangers reach, as the fuzz targets of `fuzz/` call them; the tests feed them what was found there.
//! Not part of any other build.
#![allow(missing_docs, reason = "each is named for what it feeds")]

use std::borrow::Cow;

use catalog::macros::{Macro, Template};
use http::header::{COOKIE, HeaderMap, HeaderValue};

use crate::batch_lines::{Lines, Shape};
use crate::click_parameters::{ClickParameters, Naming};
use crate::destination::{Destination, location};
use crate::fields::Fields;
use crate::money_fields::take_money;
use crate::reader::Reader;
use crate::safe_destination::PlainAddress;
use crate::signature::{Signature, X_TRIBUTARY_SIGNATURE};

pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for naming in [Naming::ByLink, Naming::ByOffer] {
        let _ = ClickParameters::read(text, naming);
    }
    let _ = Fields::from_pairs(&[bytes]);
}

/// An address with macros, and in the lines below it the value of each and a parameter that is passed on.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let (address, value, passed) = (lines.next(), lines.next(), lines.next());
    let Ok(template) = Template::parse(address.unwrap_or_default()) else { return };
    let (value, passed) = (value.unwrap_or_default(), passed.unwrap_or_default());
    let click_id = "click_01h455vb4pex5vsknk084sn02q";
    let passed = passed.split_once('=').map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
    let destination =
        Destination { template: &template, click_id, click_id_param: "cid", passed: passed.as_slice() };
    let address = destination.render(|name| if name == Macro::ClickId { click_id } else { value }.into());
    assert!(address.contains(click_id), "{address}");
    assert!(location(&address).is_some(), "{address}");
}

/// An address from the caller, which is another form of itself for nobody.
pub fn address(bytes: &[u8]) {
    let Some(plain) = std::str::from_utf8(bytes).ok().and_then(PlainAddress::parse) else { return };
    let text = plain.into_text();
    assert_eq!(PlainAddress::parse(&text).map(PlainAddress::into_text).as_ref(), Some(&text));
    assert_eq!(Template::parse(&text).map(|template| template.segments().len()), Ok(1), "{text}");
    assert_eq!(location(&text).as_ref().map(HeaderValue::as_bytes), Some(text.as_bytes()));
}

pub fn cookie(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let _ = crate::client::visitor(&HeaderMap::from_iter([(COOKIE, value)]));
}

pub fn json(bytes: &[u8]) {
    let Ok(fields) = Fields::from_json(bytes) else { return };
    let mut reader = Reader::new(fields, false);
    let _ = take_money(&mut reader, None);
    let (_, metadata) = (reader.email_sha256(), reader.metadata());
    let _ = reader.finish(metadata);
}

pub fn signature(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Signature::of_query(text);
    let Ok(value) = HeaderValue::from_str(text) else { return };
    let _ = Signature::of_header(&HeaderMap::from_iter([(X_TRIBUTARY_SIGNATURE, value)]));
}

/// The size of the pieces it comes in, the limit of a line, and a batch.
pub fn batch(bytes: &[u8]) {
    let [size, limit, body @ ..] = bytes else { return };
    for shape in [Shape::Array, Shape::Lines] {
        let Ok(events) = shape.events(body) else { continue };
        for event in &events {
            let _ = Fields::from_json(event);
        }
        if shape == Shape::Lines {
            same_in_pieces(&events, body, usize::from(*size).max(1), usize::from(*limit));
        }
    }
}

/// The same lines come out of pieces as out of the whole; a line beyond the limit comes out as one.
fn same_in_pieces(events: &[&[u8]], body: &[u8], size: usize, limit: usize) {
    let (mut lines, mut left) = (Lines::new(limit), events.iter());
    let mut pieces = body.chunks(size);
    loop {
        let piece = pieces.next();
        lines.tail().extend_from_slice(piece.unwrap_or_default());
        while let Ok(some) = lines.next(3, piece.is_none())
            && !some.is_empty()
        {
            for event in some {
                let whole = left.next().copied().unwrap_or_default();
                assert!(
                    event == whole || (event.len() > limit && whole.len() > limit),
                    "{event:?} {whole:?}"
                );
            }
        }
        lines.settle();
        if piece.is_none() {
            return assert_eq!(left.len(), 0);
        }
    }
}

pub fn agent(bytes: &[u8]) {
    use std::sync::LazyLock;
    static AGENTS: LazyLock<Option<crate::agent::Agents>> =
        LazyLock::new(|| crate::agent::Agents::new().ok());
    if let (Some(agents), Ok(text)) = (&*AGENTS, std::str::from_utf8(bytes)) {
        let _ = agents.read(text);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    type Target = fn(&[u8]);

    const TARGETS: [(&str, Target); 8] = [
        ("query", query),
        ("template", template),
        ("address", address),
        ("cookie", cookie),
        ("json", json),
        ("signature", signature),
        ("batch", batch),
        ("agent", agent),
    ];

    #[test]
    fn no_input_of_a_corpus_stops_its_parser() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        for (name, target) in TARGETS {
            let inputs = std::fs::read_dir(corpora.join(name)).unwrap().map(|input| input.unwrap().path());
            let fed = inputs.map(|input| target(&std::fs::read(input).unwrap())).count();
            assert!(fed > 0, "{name} has no corpus");
        }
        let there = std::fs::read_dir(&corpora).unwrap();
        let there: BTreeSet<_> = there.map(|dir| dir.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(there, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
}
