//! Whether a visitor may be recognised: what it says itself, and what the workspace makes of it.
//!
//! Who refuses gets no cookie and no visitor id, a cookie that it brings is not read, and its address is not stored; the
//! click id alone leads from a conversion to the click. A signal of the browser (GPC, DNT) is not overruled by
//! `consent`, which a page writes.

use catalog::{Consent, Privacy};
use http::header::{HeaderMap, HeaderName};
use schemas::event::label;

const GPC: HeaderName = HeaderName::from_static("sec-gpc");
const DNT: HeaderName = HeaderName::from_static("dnt");

/// What `consent` may say, in any case. Anything else says nothing.
const GRANTED: [&str; 6] = ["1", "true", "yes", "granted", "given", "opt-in"];
const DENIED: [&str; 7] = ["0", "false", "no", "denied", "refused", "withdrawn", "opt-out"];

/// Why a visitor is not recognised. Without a reason it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Refusals {
    no_consent: bool,
    gpc: bool,
    dnt: bool,
}

impl Refusals {
    /// What the headers and the parameter `consent` say, as far as the workspace honours it.
    pub(crate) fn read(headers: &HeaderMap, consent: Option<&str>, privacy: &Privacy) -> Self {
        let says_one =
            |name: &HeaderName| headers.get(name).is_some_and(|value| value.as_bytes().trim_ascii() == b"1");
        Self {
            no_consent: !stated(consent).unwrap_or(match privacy.consent {
                Consent::Assumed => true,
                Consent::Required => false,
            }),
            gpc: privacy.honour_gpc && says_one(&GPC),
            dnt: privacy.honour_dnt && says_one(&DNT),
        }
    }

    /// Whether the visitor may be recognised.
    pub(crate) const fn is_empty(self) -> bool {
        !(self.no_consent || self.gpc || self.dnt)
    }

    /// The labels of the reasons.
    pub(crate) fn labels(self) -> impl Iterator<Item = &'static str> {
        let reasons = [(label::NO_CONSENT, self.no_consent), (label::GPC, self.gpc), (label::DNT, self.dnt)];
        reasons.into_iter().filter(|(_, applies)| *applies).map(|(label, _)| label)
    }
}

/// Whether consent was given, if anything is said.
fn stated(consent: Option<&str>) -> Option<bool> {
    let word = consent?.trim();
    let is_in = |words: &[&str]| words.iter().any(|other| other.eq_ignore_ascii_case(word));
    if is_in(&GRANTED) {
        Some(true)
    } else if is_in(&DENIED) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn labels(
        lines: &[(HeaderName, &'static str)],
        consent: Option<&str>,
        privacy: &Privacy,
    ) -> Vec<&'static str> {
        let lines = lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let refusals = Refusals::read(&HeaderMap::from_iter(lines), consent, privacy);
        let labels: Vec<_> = refusals.labels().collect();
        assert_eq!(refusals.is_empty(), labels.is_empty());
        labels
    }

    #[test]
    fn the_workspace_says_what_a_silent_visitor_means() {
        let required = Privacy { consent: Consent::Required, ..Privacy::default() };
        for (consent, assumed_refuses, required_refuses) in [
            (None, false, true),
            (Some(""), false, true),
            (Some("perhaps"), false, true),
            (Some("1"), false, false),
            (Some("Granted"), false, false),
            (Some(" yes "), false, false),
            (Some("0"), true, true),
            (Some("DENIED"), true, true),
            (Some("no"), true, true),
        ] {
            let refuses = |privacy| !labels(&[], consent, privacy).is_empty();
            assert_eq!(
                (refuses(&Privacy::default()), refuses(&required)),
                (assumed_refuses, required_refuses),
                "{consent:?}"
            );
        }
        assert_eq!(labels(&[], Some("0"), &required), ["no_consent"]);
    }

    #[test]
    fn signals_count_as_far_as_the_workspace_honours_them() {
        let both = [(GPC, "1"), (DNT, "1")];
        assert_eq!(labels(&both, None, &Privacy::default()), ["gpc", "dnt"]);
        // A page does not speak for the browser.
        assert_eq!(labels(&both, Some("1"), &Privacy::default()), ["gpc", "dnt"]);
        let neither = Privacy { honour_gpc: false, honour_dnt: false, ..Privacy::default() };
        assert!(labels(&both, None, &neither).is_empty());
        assert!(labels(&[(GPC, "0"), (DNT, "null")], None, &Privacy::default()).is_empty());
    }
}
