//! `GET·HEAD /c/{link_key}`, `GET·HEAD /click`, a tracking domain's own links.

use futures::StreamExt;
use reqwest::Method;
use schemas::event::label;
use serde_json::json;

use super::world::{Ask, World};
use crate::harness::{BROWSER, HITS_PER_MINUTE, wait_for};

/// A click, what its redirect says, and what the list tells of it. `sub1` is its name.
struct Case {
    name: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    method: Method,
    status: u16,
    /// What the destination begins with, and what is in it.
    location: (&'static str, &'static str),
    /// Those of the case itself; [`Case::all_labels`] has the others.
    labels: &'static [&'static str],
}

impl Case {
    /// Whether the visitor refuses to be recognised.
    fn keeps_nothing(&self) -> bool {
        let reasons = [label::NO_CONSENT, label::GPC, label::DNT];
        self.labels.iter().any(|label| reasons.contains(label))
    }

    /// Every case is a new visitor's first click: unique, if it counts and the visitor may be recognised.
    fn all_labels(&self) -> Vec<&'static str> {
        let counts = !self.labels.iter().any(|label| label::NOT_COUNTED.contains(label));
        if counts && !self.keeps_nothing() { [self.labels, &UNIQUE].concat() } else { self.labels.to_vec() }
    }
}

/// What a visitor's first click on a link has.
const UNIQUE: [&str; 2] = [label::UNIQUE_LINK_24H, label::UNIQUE_OFFER_24H];

const PHONE: &str = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
                     Mobile Safari/537.36";
const SHOP: &str = "https://shop.example/?";

/// A click on the plain link.
fn plain(name: &'static str, path: &'static str, labels: &'static [&'static str]) -> Case {
    Case {
        name,
        path,
        headers: &[],
        method: Method::GET,
        status: 302,
        location: (SHOP, "cid=click_"),
        labels,
    }
}

/// The same with a header; an empty one is not sent.
fn with(
    name: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    labels: &'static [&'static str],
) -> Case {
    Case { headers, ..plain(name, path, labels) }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case { location: (SHOP, "s=k01"), ..plain("k01", "/c/plain?sub1=k01", &[]) },
        Case { location: (SHOP, "c=none"), ..plain("k02", "/c/plain?sub1=k02", &[]) },
        Case { location: (SHOP, "gclid=1"), ..plain("k03", "/c/plain?sub1=k03&gclid=1", &[]) },
        Case { status: 307, ..plain("k04", "/c/kept?sub1=k04", &[]) },
        Case { method: Method::HEAD, ..plain("k05", "/c/plain?sub1=k05", &["head"]) },
        with("k06", "/c/plain?sub1=k06", &[("sec-purpose", "prefetch")], &["prefetch"]),
        with("k07", "/c/plain?sub1=k07", &[("purpose", "prefetch")], &["prefetch"]),
        with("k08", "/c/plain?sub1=k08", &[("user-agent", "")], &["bot", "bot_empty_agent"]),
        with("k09", "/c/plain?sub1=k09", &[("user-agent", "curl/8.5.0")], &["bot", "bot_client"]),
        with(
            "k10",
            "/c/plain?sub1=k10",
            &[("user-agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")],
            &["bot", "bot_pattern"],
        ),
        with(
            "k11",
            "/c/plain?sub1=k11",
            &[("user-agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)")],
            &["bot", "bot_preview"],
        ),
        plain("k12", "/c/plain?sub1=k12&sub2=%7Bclickid%7D", &["unresolved_macro"]),
        plain("k13", "/c/plain?sub1=k13&sub3=[[x]]", &["unresolved_macro"]),
        plain("k14", "/c/plain?sub1=k14?sub2=b", &["repaired_url"]),
        plain("k15", "/c/plain?sub1=k15&u=//evil.example/", &["unsafe_destination"]),
        plain("k16", "/c/plain?sub1=k16&u=https://user@evil.example/", &["unsafe_destination"]),
        plain("k17", "/c/plain?sub1=k17&u=https://evil.example%0d%0ax:y", &["unsafe_destination"]),
        plain("k18", "/c/plain?sub1=k18&u=javascript:alert(1)", &["unsafe_destination"]),
        plain("k19", "/c/plain?sub1=k19&via=nobody", &["unknown_partner"]),
        plain("k20", "/c/plain?sub1=k20&sub2=a&sub2=b", &["repeated_parameter"]),
        with("k21", "/c/plain?sub1=k21&consent=0", &[], &["no_consent"]),
        with("k22", "/c/plain?sub1=k22", &[("sec-gpc", "1")], &["gpc"]),
        with("k23", "/c/plain?sub1=k23", &[("dnt", "1")], &["dnt"]),
        plain("k24", "/c/plain?sub1=k24&cost=1.2.3&currency=USD", &["dropped_parameter"]),
        Case {
            location: ("https://sub.shop.example/x?", "click_id=click_"),
            ..plain("k25", "/c/plain?sub1=k25&u=https%3A%2F%2Fsub.shop.example%2Fx", &[])
        },
        Case {
            headers: &[("user-agent", PHONE)],
            location: ("https://hats.example/?", "hat=click_"),
            ..plain("k26", "/c/smart?sub1=k26", &[])
        },
        Case { location: ("https://shop.example/", "?cid=click_"), ..plain("k27", "/c/smart?sub1=k27", &[]) },
        with("k28", "/own?sub1=k28", &[("host", "go.shop.example")], &[]),
        with("k29", "/c/own?sub1=k29", &[("host", "GO.shop.example:443")], &[]),
    ];
    // The first two are within the cap; which of a bot's reasons is told depends on no order.
    cases.extend([
        plain("k30", "/c/capped?sub1=k30", &[]),
        plain("k31", "/c/capped?sub1=k31", &[]),
        plain("k32", "/c/capped?sub1=k32", &["cap"]),
        // One that this edge has sent itself it knows of at once.
        plain("k33", "/c/spent?sub1=k33", &[]),
        Case { location: ("https://full.example/spent", ""), ..plain("k34", "/c/spent?sub1=k34", &["cap"]) },
    ]);
    cases
}

pub async fn check(world: &mut World) {
    let cases = cases();
    for case in &cases {
        let mut ask = Ask::get(case.path).method(case.method.clone());
        for (name, value) in case.headers {
            ask = ask.header(name, *value);
        }
        let answer = world.ask(ask).await;
        world.check_status(case.path, &answer, case.status);
        let location = answer.header("location").to_owned();
        let (begins, holds) = case.location;
        world.check(case.path, location.starts_with(begins) && location.contains(holds), &location);
        world.check(case.path, !location.contains("evil"), &location);
        for (name, wanted) in [("cache-control", "no-store, private"), ("x-robots-tag", "noindex")] {
            let found = answer.header(name).to_owned();
            world.check(case.path, found == wanted, format!("{name}: {found}"));
        }
        world.check(case.path, answer.receipt().is_some(), "no receipt");
        let sets_visitor = answer.header("set-cookie").contains("tb_vid=");
        world.check(case.path, !(case.keeps_nothing() && sets_visitor), "a visitor who refused has a cookie");
    }
    by_offer_and_partner(world).await;
    excess_is_labelled(world).await;
    sold_out(world).await;

    let hurried: Vec<String> = (0..MANY).map(hurried).collect();
    let others = ["many", "by-offer", "by-slug"].into_iter().chain(hurried.iter().map(String::as_str));
    let names: Vec<&str> = cases.iter().map(|case| case.name).chain(others).collect();
    let listed = world.listed("/clicks", "sub1", &names).await;
    for case in &cases {
        world.check_labels(case.path, listed.get(case.name), &case.all_labels());
    }
    what_is_known_of_a_client(world, listed.get("k26"));
    // Which of them, the machine's speed decides.
    let labels = |name: &String| listed.get(name).map(|click| click["labels"].to_string());
    let excess = hurried.iter().find(|name| labels(name).is_some_and(|labels| labels.contains("\"rate\"")));
    let excess = excess.and_then(|name| listed.get(name));
    world.check_labels("many clicks of one client", excess, &["rate"]);
    let many = listed.get("many").cloned();
    world.check_labels(
        "parameters beyond the bounds",
        many.as_ref(),
        &[&["dropped_parameter"][..], &UNIQUE].concat(),
    );
    let offered = listed.get("by-offer").cloned().unwrap_or_default();
    let found = &offered["partner"];
    let is_ours = found["id"] == world.partner || *found == world.partner.as_str();
    world.check("/click", is_ours, offered);
}

/// `/click` needs no stored link; `via` is `partner`.
async fn by_offer_and_partner(world: &mut World) {
    let (offer, partner) = (world.offer.clone(), world.partner.clone());
    for (name, query) in [
        ("by-offer", format!("offer={offer}&partner={partner}")),
        ("by-slug", format!("offer={offer}&via=anna")),
    ] {
        let answer = world.ask(Ask::get(format!("/click?{query}&sub1={name}"))).await;
        world.check_status(&query, &answer, 302);
        let is_ours = answer.header("location").starts_with(SHOP);
        world.check(&query, is_ours, answer.header("location"));
    }
    let many: String = (0..40).map(|number| format!("&p{number}=x")).collect();
    let answer = world.ask(Ask::get(format!("/c/plain?sub1=many{many}"))).await;
    world.check_status("parameters beyond the bounds", &answer, 302);
}

/// A redirect is never refused; what is too much from one address is labelled.
async fn excess_is_labelled(world: &mut World) {
    let click = async |number: u32| {
        let name = hurried(number);
        let request = world.stack.http.get(format!("{}/c/plain?sub1={name}", world.stack.edge));
        let request = request.header("user-agent", BROWSER).header("x-forwarded-for", "10.200.0.1");
        request.send().await.unwrap().status().as_u16()
    };
    let many = futures::stream::iter(0..MANY).map(click).buffer_unordered(AT_A_TIME);
    let answered: Vec<u16> = many.collect().await;
    let refused = answered.iter().filter(|status| **status != 302).count();
    world.check("many clicks of one client", refused == 0, format!("{refused} refused"));
}

/// A cap of conversions is the core's to count: an edge that turns clicks away was told by the core.
async fn sold_out(world: &mut World) {
    let (click, _) = world.click("/c/sold?sub1=sold-0").await;
    world.check("a cap before it is reached", click.starts_with("click_"), &click);
    let key = world.stack.key.clone();
    let sale = json!({"click_id": click, "transaction_id": "SOLD-1", "amount": "1.00"});
    let answer = world.ask(Ask::json("/api/v1/conversions", &sale).key(&key)).await;
    world.check_receipt("a cap's only sale", &answer, "recorded", None).await;
    let mut clicks = 0;
    let elsewhere = wait_for("a click that is sent elsewhere", async || {
        clicks += 1;
        let name = format!("sold-{clicks}");
        let answer = world.ask(Ask::get(format!("/c/sold?sub1={name}"))).await;
        let location = answer.header("location");
        if location == "https://full.example/sold" { Ok(name) } else { Err(location.to_owned()) }
    })
    .await;
    let listed = world.listed("/clicks", "sub1", &["sold-0", &elsewhere]).await;
    world.check_labels("a cap before it is reached", listed.get("sold-0"), &UNIQUE);
    world.check_labels("a cap that is reached", listed.get(&elsewhere), &[&["cap"][..], &UNIQUE].concat());
}

/// The name of one of many clicks.
fn hurried(number: u32) -> String {
    format!("rate-{number}")
}

/// More clicks of one address than the limit allows in the time that they take.
const MANY: u32 = 3 * HITS_PER_MINUTE;
const AT_A_TIME: usize = 32;

fn what_is_known_of_a_client(world: &mut World, click: Option<&serde_json::Value>) {
    let Some(click) = click else { return };
    for (field, wanted) in [("device", "mobile"), ("os", "Android")] {
        world.check("a phone", click[field] == wanted, format!("{field}: {click}"));
    }
    world.check("a phone", click["rule"].is_string() && click["variant"] == 0, click);
}
