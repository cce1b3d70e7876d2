//! What a `User-Agent` says: the browser, the system, the kind of device, and whether it is a bot.
//!
//! Browsers and systems are those of uap-core, by its own crate; bots are those of isbot's list and of our own. Both lists
//! lie in `data/`, which says where they come from and how they are brought up to date. All of it is looked up by the
//! agent's text, and remembered: an agent that was seen lately costs one look and no allocation.

mod bot;
mod device;
mod family;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::text::cut;

pub(crate) use bot::BotReason;
use bot::Bots;
use device::Devices;
use family::Families;

/// Bytes of an agent that are looked at, and stored. Browsers' have 100 to 300.
pub(crate) const MAX_AGENT_BYTES: usize = 1_024;
/// What the remembered agents may take up, in bytes.
const MAX_CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// What an agent takes up besides its text, in bytes, rounded up. So no more than 16,384 are remembered.
const ENTRY_BYTES: u64 = 512;
/// How many agents the cache is laid out for.
const EXPECTED_AGENTS: usize = 8_192;

/// What an agent says. Empty texts stand for what is not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Agent {
    /// The browser's family, such as `Mobile Safari`.
    pub(crate) browser: Box<str>,
    /// The system's family, such as `iOS`.
    pub(crate) os: Box<str>,
    /// `desktop`, `mobile`, `tablet`, `tv`, `bot` or `other`.
    pub(crate) device: &'static str,
    /// Why it is no person, if it is none.
    pub(crate) bot: Option<BotReason>,
}

/// The lists do not compile: the files in `data/` are broken.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A file is not what [`ua_parser::Regexes`] or the list of bots reads.
    #[error("the list of {list} is not valid JSON")]
    Form {
        /// Which list.
        list: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The crate refuses an entry of uap-core.
    #[error("the list of uap-core does not compile")]
    Families(#[from] ua_parser::Error),
    /// The engine refuses a pattern of bots.
    #[error("a pattern of bots does not compile")]
    Pattern(#[from] regex::Error),
    /// The engine refuses a list of words.
    #[error("a list of words does not compile")]
    Words(#[from] aho_corasick::BuildError),
}

/// The compiled lists. They depend on nothing but the program, so a process compiles them once.
static LISTS: LazyLock<Result<Lists, ListError>> = LazyLock::new(Lists::compile);

struct Lists {
    bots: Bots,
    families: Families,
    devices: Devices,
}

impl Lists {
    fn compile() -> Result<Self, ListError> {
        Ok(Self { bots: Bots::compile()?, families: Families::compile()?, devices: Devices::compile()? })
    }

    /// Reads an agent from its text: work of some ten microseconds.
    fn read(&self, text: &str) -> Agent {
        let bot = self.bots.reason(text);
        Agent {
            browser: self.families.browser(text),
            os: self.families.os(text),
            device: if bot.is_some() { device::BOT } else { self.devices.class(text) },
            bot,
        }
    }
}

/// Reads agents, and remembers them.
pub(crate) struct Agents {
    lists: &'static Lists,
    known: Cache<Box<str>, Arc<Agent>, Weight>,
}

/// What an entry takes up.
#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, Arc<Agent>> for Weight {
    fn weight(&self, text: &Box<str>, _agent: &Arc<Agent>) -> u64 {
        ENTRY_BYTES + text.len() as u64
    }
}

impl Agents {
    /// Compiles the lists, unless this process has done so before: a good while, so not for a runtime's thread.
    pub(crate) fn new() -> Result<Self, &'static ListError> {
        let lists = LISTS.as_ref()?;
        Ok(Self { lists, known: Cache::with_weighter(EXPECTED_AGENTS, MAX_CACHE_BYTES, Weight) })
    }

    /// What the agent says; of a longer text only the first [`MAX_AGENT_BYTES`].
    pub(crate) fn read(&self, text: &str) -> Arc<Agent> {
        let text = cut(text, MAX_AGENT_BYTES);
        if let Some(agent) = self.known.get(text) {
            return agent;
        }
        let agent = Arc::new(self.lists.read(text));
        self.known.insert(text.into(), Arc::clone(&agent));
        agent
    }
}
