//! `GET /t.js`: what a page includes.

use super::world::{Ask, World};

pub async fn check(world: &mut World) {
    let answer = world.ask(Ask::get("/t.js")).await;
    world.check_status("t.js", &answer, 200);
    let kind = answer.header("content-type").to_owned();
    world.check("t.js", kind.contains("javascript"), kind);
    world.check("t.js", answer.header("cache-control").contains("max-age"), answer.header("cache-control"));
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    world.check("t.js", text.contains("tb_click") && text.contains("sendBeacon"), text.len());
}
