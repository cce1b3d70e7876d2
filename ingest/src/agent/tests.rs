use proptest::prelude::*;

use super::*;

fn agents() -> Agents {
    Agents::new().unwrap()
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// Agents of people. The families are those of the list's own parser in Python.
#[rustfmt::skip]
const PEOPLE: &[(&str, &str, &str, &str)] = &[
    (FIREFOX, "Firefox", "Linux", "desktop"),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36", "Chrome", "Windows", "desktop"),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.2849.68", "Edge", "Windows", "desktop"),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15", "Safari", "Mac OS X", "desktop"),
    ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36", "Chrome", "Chrome OS", "desktop"),
    ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; Tablet PC 2.0)", "IE", "Windows", "desktop"),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1", "Mobile Safari", "iOS", "mobile"),
    ("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1", "Mobile Safari", "iOS", "tablet"),
    ("Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36", "Chrome Mobile", "Android", "mobile"),
    ("Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36", "Chrome", "Android", "tablet"),
    ("Mozilla/5.0 (Android 13; Tablet; rv:128.0) Gecko/128.0 Firefox/128.0", "Firefox Mobile", "Android", "tablet"),
    ("Mozilla/5.0 (Linux; Android 13; SM-S908B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36", "Samsung Internet", "Android", "mobile"),
    // A telephone of that name is no bot.
    ("Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/80.0.3987.99 Mobile Safari/537.36", "Chrome Mobile", "Android", "mobile"),
    // Neither are apps that show pages.
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 340.0.3.27.93", "Instagram", "iOS", "mobile"),
    ("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0.4606.128 Safari/537.36", "Chrome", "Web0S", "tv"),
    ("Mozilla/5.0 (Linux; Android 9; AFTMM Build/PS7233) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/70.0.3538.110 Safari/537.36", "Chrome", "Android", "tv"),
    ("Mozilla/5.0 (PlayStation 4 3.11) AppleWebKit/537.73 (KHTML, like Gecko)", "", "", "other"),
];

#[test]
fn people_are_told_by_browser_system_and_device() {
    let agents = agents();
    for (text, browser, os, device) in PEOPLE {
        let agent = agents.read(text);
        assert_eq!(
            (&*agent.browser, &*agent.os, agent.device, agent.bot),
            (*browser, *os, *device, None),
            "{text}"
        );
    }
}

#[test]
fn every_bot_has_a_reason() {
    use BotReason::{Client, EmptyAgent, Pattern, Preview};
    let agents = agents();
    for (text, reason) in [
        ("", EmptyAgent),
        ("  ", EmptyAgent),
        ("-", EmptyAgent),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", Preview),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", Preview),
        ("Twitterbot/1.0", Preview),
        ("WhatsApp/2.23.20.0 A", Preview),
        ("TelegramBot (like TwitterBot)", Preview),
        ("LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)", Preview),
        ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", Preview),
        ("curl/8.5.0", Client),
        ("Wget/1.21.4", Client),
        ("python-requests/2.32.3", Client),
        ("Python/3.11 aiohttp/3.9.5", Client),
        ("Go-http-client/2.0", Client),
        ("okhttp/4.12.0", Client),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Pattern),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", Pattern),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/130.0.0.0 Safari/537.36",
            Pattern,
        ),
        ("Mozilla/5.0", Pattern),
        ("my-script/1.0", Pattern),
        ("Tiny Tiny RSS/1.11 (http://tt-rss.org/)", Pattern),
    ] {
        let agent = agents.read(text);
        assert_eq!((agent.bot, agent.device), (Some(reason), "bot"), "{text}");
    }
}

/// What stands before or after a word decides, as in the list's own engine.
#[test]
fn guarded_patterns_look_at_both_sides() {
    let bots = Bots::compile().unwrap();
    let person = |text: &str| format!("Mozilla/5.0 (X11; Linux x86_64; {text}) Firefox/1");
    for (text, is_bot) in [
        ("google pixel", false),
        ("googleapp", false),
        ("google", true),
        ("google pixel google", true),
        (" channel/google", false),
        ("x channel/googlex", false),
        ("xcubot", true),
        (" cubot", false),
        (" cubot robot", true),
        ("webcamscan", false),
        ("scan", true),
        ("libhttp", false),
        ("libhttp http", true),
        ("java;", false),
        ("java", true),
        ("newssapphire", false),
        ("gnews", false),
        ("news", true),
    ] {
        assert_eq!(bots.reason(&person(text)).is_some(), is_bot, "{text}");
    }
}

#[test]
fn an_agent_is_cut_and_remembered() {
    let agents = agents();
    let long = format!("{FIREFOX} {}", "x".repeat(2_000));
    let first = agents.read(&long);
    assert!(Arc::ptr_eq(&first, &agents.read(cut(&long, MAX_AGENT_BYTES))));
    assert_eq!(agents.known.len(), 1);
    assert_eq!(&*first.browser, "Firefox");
}

#[test]
fn what_is_remembered_is_bounded() {
    let agents = agents();
    let agent = agents.read(FIREFOX);
    for number in 0..40_000 {
        agents.known.insert(format!("{number}").into(), Arc::clone(&agent));
    }
    assert!(agents.known.len() <= 16_384, "{}", agents.known.len());
    for number in 0..20_000 {
        agents.known.insert(format!("{number:0width$}", width = MAX_AGENT_BYTES).into(), Arc::clone(&agent));
    }
    assert!(agents.known.weight() <= MAX_CACHE_BYTES, "{}", agents.known.weight());
}

/// What an agent writes of itself is bounded before it is stored.
#[test]
fn a_family_of_the_agents_own_is_cut() {
    let agents = agents();
    let agent = agents.read(&format!("{}Bot/1.0", "Aa".repeat(200)));
    assert!(agent.browser.len() <= 64 && agent.bot.is_some(), "{agent:?}");
}

/// Pieces that many patterns begin with: agents made of them are what costs most.
const PIECES: &[&str] = &[
    "Mozilla/5.0 (",
    "bot",
    "Bot/",
    "spider",
    "; ",
    "compatible",
    "Android ",
    "Mobile/",
    "google",
    "http",
    "1.",
    " ",
    "((",
    "a",
    "Safari/",
    "Chrome/",
    ".com",
    "\u{e9}",
    "\0",
    "-",
    "@a.",
    "curl/",
    "CFNetwork/",
    "crawl",
    "_",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever somebody sends is read, in linear time by the engine's promise, and gives texts within bounds.
    #[test]
    fn nothing_is_too_odd(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..400), times in 1..4_usize) {
        let text = pieces.concat().repeat(times);
        let agent = agents().read(&text);
        prop_assert!(agent.browser.len() <= 64 && agent.os.len() <= 64);
    }

    #[test]
    fn any_text_is_read(text in ".{0,200}") {
        let agents = agents();
        prop_assert_eq!(agents.read(&text), agents.read(&text));
    }
}
