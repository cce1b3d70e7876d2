//! The families of browsers and systems, as uap-core names them.

use ua_parser::{Regexes, os, user_agent};

use super::ListError;
use crate::text::cut;

const LIST: &str = include_str!("data/uap-core.json");
/// Bytes of a family that are kept. Some entries take it from the agent, which may write what it likes.
const MAX_FAMILY_BYTES: usize = 64;

/// The extractors of both families. That of devices is not used: it knows models, not classes, at twice the memory of
/// these together.
pub(super) struct Families {
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

impl Families {
    pub(super) fn compile() -> Result<Self, ListError> {
        let lists: Regexes<'static> =
            serde_json::from_str(LIST).map_err(|source| ListError::Form { list: "uap-core", source })?;
        let browsers = user_agent::Builder::new().push_all(lists.user_agent_parsers)?;
        let systems = os::Builder::new().push_all(lists.os_parsers).map_err(ua_parser::Error::from)?;
        Ok(Self {
            browsers: browsers.build().map_err(ua_parser::Error::from)?,
            systems: systems.build().map_err(ua_parser::Error::from)?,
        })
    }

    /// The browser's family; empty for none that is known.
    pub(super) fn browser(&self, agent: &str) -> Box<str> {
        self.browsers.extract(agent).map(|found| kept(&found.family)).unwrap_or_default()
    }

    /// The system's family; empty for none that is known.
    pub(super) fn os(&self, agent: &str) -> Box<str> {
        self.systems.extract(agent).map(|found| kept(&found.os)).unwrap_or_default()
    }
}

fn kept(family: &str) -> Box<str> {
    cut(family, MAX_FAMILY_BYTES).into()
}
