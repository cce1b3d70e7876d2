//! The edge's contract, route by route: what a client sends over a real socket, what it is answered, and what the desk
//! tells of it afterwards. One installation serves all cases; what is wrong is collected and told together.

mod batch;
mod clicks;
mod errors;
mod impressions;
mod json;
mod pixels;
mod postbacks;
mod refunds;
mod script;
mod world;

use crate::harness::{Engines, on_both_engine_sets};
use world::World;

on_both_engine_sets!(the_edge_keeps_its_contract);

async fn the_edge_keeps_its_contract(engines: Engines) {
    let mut world = World::create(engines).await;
    // The edge waits for these while everything else goes on.
    let unfinished = errors::begin(&world);
    clicks::check(&mut world).await;
    impressions::check(&mut world).await;
    pixels::check(&mut world).await;
    postbacks::check(&mut world).await;
    json::check(&mut world).await;
    refunds::check(&mut world).await;
    batch::check(&mut world).await;
    script::check(&mut world).await;
    errors::check(&mut world, unfinished).await;
    world.every_label_was_seen();
    world.stack.assert_balance().await;
    world.tell();
}
