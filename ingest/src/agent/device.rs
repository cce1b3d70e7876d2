//! The class of a device by words of its agent.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};

/// The class of all bots.
pub(super) const BOT: &str = "bot";

/// What a word says of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Tv,
    Tablet,
    Mobile,
    /// A telephone if it is called mobile as well, else a tablet.
    Android,
    Desktop,
}

/// In any case; where several begin at one place the longest counts.
const SIGNS: &[(&str, Sign)] = &[
    ("android tv", Sign::Tv),
    ("androidtv", Sign::Tv),
    ("apple tv", Sign::Tv),
    ("appletv", Sign::Tv),
    ("; aft", Sign::Tv),
    ("bravia", Sign::Tv),
    ("crkey", Sign::Tv),
    ("googletv", Sign::Tv),
    ("hbbtv", Sign::Tv),
    ("netcast", Sign::Tv),
    ("roku", Sign::Tv),
    ("smart-tv", Sign::Tv),
    ("smarttv", Sign::Tv),
    ("tizen tv", Sign::Tv),
    ("viera", Sign::Tv),
    ("web0s", Sign::Tv),
    ("ipad", Sign::Tablet),
    ("kindle", Sign::Tablet),
    ("playbook", Sign::Tablet),
    ("silk/", Sign::Tablet),
    ("tablet", Sign::Tablet),
    ("blackberry", Sign::Mobile),
    ("iphone", Sign::Mobile),
    ("ipod", Sign::Mobile),
    ("kaios", Sign::Mobile),
    ("mobi", Sign::Mobile),
    ("nokia", Sign::Mobile),
    ("opera mini", Sign::Mobile),
    ("symbian", Sign::Mobile),
    ("windows phone", Sign::Mobile),
    ("android", Sign::Android),
    ("bsd", Sign::Desktop),
    ("cros ", Sign::Desktop),
    ("linux", Sign::Desktop),
    ("mac os", Sign::Desktop),
    ("mac_powerpc", Sign::Desktop),
    ("macintosh", Sign::Desktop),
    ("sunos", Sign::Desktop),
    // Windows wrote this into the agents of desktops.
    ("tablet pc", Sign::Desktop),
    ("win64", Sign::Desktop),
    ("win98", Sign::Desktop),
    ("windows", Sign::Desktop),
    ("winnt", Sign::Desktop),
    ("x11", Sign::Desktop),
];

/// The compiled words.
pub(super) struct Devices {
    words: AhoCorasick,
}

impl Devices {
    pub(super) fn compile() -> Result<Self, aho_corasick::BuildError> {
        let words = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(SIGNS.iter().map(|(word, _)| word))?;
        Ok(Self { words })
    }

    /// The class; empty for an empty agent. A tablet that calls itself a desktop, as iPads do, is one to us.
    pub(super) fn class(&self, agent: &str) -> &'static str {
        if agent.is_empty() {
            return "";
        }
        let mut seen = [false; 5];
        for found in self.words.find_iter(agent) {
            seen[SIGNS[found.pattern().as_usize()].1 as usize] = true;
        }
        let is = |sign: Sign| seen[sign as usize];
        if is(Sign::Tv) {
            "tv"
        } else if is(Sign::Tablet) || (is(Sign::Android) && !is(Sign::Mobile)) {
            "tablet"
        } else if is(Sign::Mobile) {
            "mobile"
        } else if is(Sign::Desktop) {
            "desktop"
        } else {
            "other"
        }
    }
}
