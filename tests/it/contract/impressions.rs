//! `GET /i/{link_key}` and `GET /i.gif?…`.

use reqwest::Method;
use serde_json::json;

use super::world::{Answer, Ask, World};

pub async fn check(world: &mut World) {
    let offer = world.offer.clone();
    let paths = [
        ("i1", "/i/plain?sub1=i1".to_owned()),
        ("i2", format!("/i.gif?offer={offer}&via=anna&sub1=i2")),
        ("i3", format!("/i.gif?offer={offer}&partner=nobody&sub1=i3")),
    ];
    for (_, path) in &paths {
        let answer = world.ask(Ask::get(path)).await;
        is_image(world, path, &answer);
        world.check_receipt(path, &answer, "recorded", None).await;
    }
    let bot = world.ask(Ask::get("/i/plain?sub1=i4").header("user-agent", "curl/8.5.0")).await;
    is_image(world, "a bot's impression", &bot);

    let listed = world.listed("/impressions", "sub1", &["i1", "i2", "i3", "i4"]).await;
    world.check_labels("/i", listed.get("i1"), &[]);
    world.check_labels("/i.gif", listed.get("i2"), &[]);
    world.check_labels("/i.gif of a stranger", listed.get("i3"), &["unknown_partner"]);
    world.check_labels("a bot's impression", listed.get("i4"), &["bot", "bot_client"]);

    // Three count: the program's is not one that anybody saw.
    let report = "/reports?from=2026-01-01&to=2035-01-01&metrics=impressions";
    let answer = world.stack.api(Method::GET, report, None).await;
    world.check("impressions in a report", answer["totals"]["impressions"] == json!(3), &answer);

    // An image is answered whatever is wrong; what was not recorded says so.
    let answer = world.ask(Ask::get("/i/nothing")).await;
    is_image(world, "an unknown link", &answer);
    world.check("an unknown link", answer.header("x-error") == "not_found", answer.header("x-error"));
    world.check("an unknown link", answer.receipt().is_none(), "it has a receipt");
}

/// The answer of every pixel: 43 bytes that nobody keeps.
pub fn is_image(world: &mut World, case: &str, answer: &Answer) {
    world.check_status(case, answer, 200);
    world.check(case, answer.header("content-type") == "image/gif", answer.header("content-type"));
    world.check(case, answer.body.len() == 43 && answer.body.starts_with(b"GIF89a"), answer.body.len());
    world.check(case, answer.header("cache-control").contains("no-store"), answer.header("cache-control"));
}
