//! Bots by their agents: those that say nothing, those that fetch previews, programs, and the patterns of isbot's list.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};
use regex::bytes::{Regex, RegexBuilder};
use schemas::event::label;
use serde::Deserialize;

use super::ListError;

const LIST: &str = include_str!("data/isbot.json");

/// What fetches a link that somebody has posted, to show what is behind it. Anywhere in the agent, in any case.
const PREVIEWS: &[&str] = &[
    "bitlybot",
    "cardyb",
    "developers.google.com/+/web/snippet",
    "discordbot",
    "embedly",
    "facebookcatalog",
    "facebookexternalhit",
    "facebot",
    "flipboardproxy",
    "google-messages",
    "iframely",
    "kakaotalk-scrap",
    "linkedinbot",
    "mastodon/",
    "meta-externalfetcher",
    "microsoftpreview",
    "pinterest/0.",
    "pinterestbot",
    "quora link preview",
    "redditbot",
    "skypeuripreview",
    "slack-imgproxy",
    "slackbot",
    "snap url preview",
    "telegrambot",
    "twitterbot",
    "viberbot",
    "vkshare",
    "whatsapp/",
    "xing-contenttabreceiver",
    "zoombot",
];

/// Programs and libraries that ask by HTTP without a browser. At the beginning of the agent, in any case.
const CLIENTS: &[&str] = &[
    "aiohttp",
    "apache-httpclient",
    "axios",
    "curl",
    "dart/",
    "deno/",
    "fasthttp",
    "faraday",
    "go-http-client",
    "got (",
    "grpc-",
    "guzzlehttp",
    "http.rb",
    "http_request2",
    "httpclient",
    "httpie",
    "httpx",
    "hyper/",
    "insomnia",
    "jakarta commons-httpclient",
    "java/",
    "jersey/",
    "k6/",
    "lua-resty-http",
    "libwww-perl",
    "mechanize",
    "mojolicious",
    "node-fetch",
    "node.js",
    "node/",
    "okhttp",
    "php/",
    "postmanruntime",
    "python",
    "reactornetty",
    "reqwest",
    "rest-client",
    "restsharp",
    "ruby",
    "symfony",
    "typhoeus",
    "undici",
    "unirest",
    "urllib",
    "ureq",
    "wget",
    "winhttp",
];

/// Why an agent is taken for a bot. The first of these that applies is the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BotReason {
    /// It does not say what it is.
    EmptyAgent,
    /// It shows what is behind a link.
    Preview,
    /// A program without a browser.
    Client,
    /// The list knows it.
    Pattern,
}

impl BotReason {
    /// The label that stands beside [`label::BOT`].
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::EmptyAgent => label::BOT_EMPTY_AGENT,
            Self::Preview => label::BOT_PREVIEW,
            Self::Client => label::BOT_CLIENT,
            Self::Pattern => label::BOT_PATTERN,
        }
    }
}

/// The compiled lists of bots. Every part of them takes time linear in the agent's length.
pub(super) struct Bots {
    previews: AhoCorasick,
    clients: AhoCorasick,
    /// All patterns of the list that stand for themselves.
    patterns: Regex,
    guarded: Vec<Guarded>,
}

/// The file of the list.
#[derive(Deserialize)]
struct List {
    patterns: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    pattern: String,
    not_after: Option<String>,
    not_before: Option<String>,
}

/// A pattern that counts only where something else does not stand beside it.
struct Guarded {
    pattern: Regex,
    not_after: Option<Regex>,
    not_before: Option<Regex>,
}

/// Patterns are meant for ASCII: so do JavaScript's classes, and agents.
fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).case_insensitive(true).unicode(false).build()
}

fn words(words: &[&str], is_anchored: bool) -> Result<AhoCorasick, aho_corasick::BuildError> {
    let start =
        if is_anchored { aho_corasick::StartKind::Anchored } else { aho_corasick::StartKind::Unanchored };
    AhoCorasickBuilder::new().ascii_case_insensitive(true).start_kind(start).build(words)
}

impl Guarded {
    fn compile(entry: &Entry) -> Result<Self, regex::Error> {
        let beside = |pattern: &Option<String>, before: &str, after: &str| {
            pattern.as_ref().map(|text| compiled(&format!("{before}(?:{text}){after}"))).transpose()
        };
        Ok(Self {
            pattern: compiled(&entry.pattern)?,
            not_after: beside(&entry.not_after, "", "$")?,
            not_before: beside(&entry.not_before, "^", "")?,
        })
    }

    fn is_match(&self, agent: &[u8]) -> bool {
        self.pattern.find_iter(agent).any(|found| {
            let stands_after =
                self.not_after.as_ref().is_some_and(|not| not.is_match(before(agent, found.start())));
            let stands_before =
                self.not_before.as_ref().is_some_and(|not| not.is_match(&agent[found.end()..]));
            !stands_after && !stands_before
        })
    }
}

/// The longest text that a pattern looks for in front of another, in bytes, and more.
const MAX_BEHIND: usize = 32;

/// What stands in front of `at`, as far as patterns look: an agent full of matches must not cost its length for each.
fn before(agent: &[u8], at: usize) -> &[u8] {
    &agent[at.saturating_sub(MAX_BEHIND)..at]
}

impl Bots {
    pub(super) fn compile() -> Result<Self, ListError> {
        let list: List =
            serde_json::from_str(LIST).map_err(|source| ListError::Form { list: "isbot", source })?;
        let (plain, guarded): (Vec<Entry>, Vec<Entry>) = list
            .patterns
            .into_iter()
            .partition(|entry| entry.not_after.is_none() && entry.not_before.is_none());
        let plain: Vec<String> = plain.into_iter().map(|entry| format!("(?:{})", entry.pattern)).collect();
        Ok(Self {
            previews: words(PREVIEWS, false)?,
            clients: words(CLIENTS, true)?,
            patterns: compiled(&plain.join("|"))?,
            guarded: guarded.iter().map(Guarded::compile).collect::<Result<_, _>>()?,
        })
    }

    /// Why this agent is a bot, if it is one.
    pub(super) fn reason(&self, agent: &str) -> Option<BotReason> {
        let agent = agent.trim();
        if agent.is_empty() || agent == "-" {
            return Some(BotReason::EmptyAgent);
        }
        if self.previews.is_match(agent) {
            return Some(BotReason::Preview);
        }
        if self.clients.is_match(aho_corasick::Input::new(agent).anchored(aho_corasick::Anchored::Yes)) {
            return Some(BotReason::Client);
        }
        let is_listed = self.patterns.is_match(agent.as_bytes())
            || self.guarded.iter().any(|guarded| guarded.is_match(agent.as_bytes()));
        is_listed.then_some(BotReason::Pattern)
    }
}
