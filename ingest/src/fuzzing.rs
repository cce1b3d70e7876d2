//! The parsers that strangers reach, as the fuzz targets of `fuzz/` call them; the tests feed them what was found there.
//! Not part of any other build.
#![allow(missing_docs, reason = "each is named for what it feeds")]

use http::header::{COOKIE, HeaderMap, HeaderValue};

use crate::batch_lines::Shape;
use crate::click_parameters::{ClickParameters, Naming};
use crate::fields::Fields;
use crate::money_fields::take_money;
use crate::reader::Reader;
use crate::signature::{Signature, X_TRIBUTARY_SIGNATURE};

pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for naming in [Naming::ByLink, Naming::ByOffer] {
        let _ = ClickParameters::read(text, naming);
    }
    let _ = Fields::from_pairs(&[bytes]);
}

pub fn template(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = catalog::macros::Template::parse(text);
    }
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

pub fn batch(bytes: &[u8]) {
    for shape in [Shape::Array, Shape::Lines] {
        let Ok(events) = shape.events(bytes) else { continue };
        for event in events {
            let _ = Fields::from_json(event);
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

    const TARGETS: [(&str, Target); 7] = [
        ("query", query),
        ("template", template),
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
