//! What the desks are told about commands.

use std::time::{Duration, Instant};

use schemas::event::{Event, Status};
use schemas::fact::{OutcomeStatus, reason};
use schemas::id::ConversionId;
use schemas::result::{CommandResult, ConversionNow};
use schemas::{topic, wire};

use crate::scene::{Traffic, WORKSPACE, event_id};
use crate::site::{PATIENCE, RESULTS, Site};

const POLL: Duration = Duration::from_millis(20);

/// The results, once there are as many.
async fn told(site: &Site, count: usize) -> Vec<CommandResult> {
    let begun = Instant::now();
    loop {
        let found: Vec<CommandResult> =
            site.read(RESULTS).await.into_iter().map(|(_, it)| wire::decode_result(it).unwrap()).collect();
        if found.len() >= count {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "not in time: {found:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// A conversion that waits for a decision.
fn pending(edge: &mut Traffic) -> (Event, ConversionId) {
    let sale = edge.conversion(0, |it| it.status = Some(Status::Pending));
    let conversion = event_id(&sale).rename();
    (sale, conversion)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_is_told_with_the_conversion_as_it_stands() {
    let site = Site::start().await;
    let (mut edge, mut desk) = (site.edge(1), site.edge(9));
    let store = site.store("state");
    let owner = site.owner(&store);
    let (sale, conversion) = pending(&mut edge);
    site.send(&sale).await;
    let never = event_id(&edge.conversion(0, |_| {})).rename();
    let commands = [
        desk.command(0, conversion, Status::Approved, |_| {}),
        desk.command(0, conversion, Status::Paid, |it| it.expected_version = Some(1)),
        desk.command(0, never, Status::Paid, |_| {}),
    ];
    let now = Some(ConversionNow { id: conversion, version: 2, status: Status::Approved });
    let expected = [
        (OutcomeStatus::Updated, "", now),
        (OutcomeStatus::Conflict, reason::VERSION_MISMATCH, now),
        (OutcomeStatus::Rejected, reason::UNKNOWN_CONVERSION, None),
    ];
    for command in &commands {
        site.send(command).await;
        site.decided(&store).await;
    }
    let told = told(&site, 3).await;
    owner.stop().await.unwrap();
    assert_eq!(told.len(), 3, "what is no command is not told");
    for ((result, command), (status, reason, conversion)) in told.into_iter().zip(&commands).zip(expected) {
        let reason = reason.to_owned();
        let (event, workspace) = (command.id, WORKSPACE);
        assert_eq!(result, CommandResult { workspace, event, status, reason, conversion });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_not_told_again() {
    let site = Site::start().await;
    let (mut edge, mut desk) = (site.edge(1), site.edge(9));
    let store = site.store("state");
    let owner = site.owner(&store);
    let (sale, conversion) = pending(&mut edge);
    site.send(&sale).await;
    let first = desk.command(0, conversion, Status::Approved, |_| {});
    site.send(&first).await;
    told(&site, 1).await;
    owner.stop().await.unwrap();
    // Two minutes later a state that begins anew reads all of it.
    site.clock.advance(Duration::from_secs(120));
    let anew = site.store("anew");
    let owner = site.owner(&anew);
    let later = desk.command(120 * crate::scene::SECOND, conversion, Status::Paid, |_| {});
    site.send(&later).await;
    let told = told(&site, 2).await;
    owner.stop().await.unwrap();
    let events: Vec<_> = told.iter().map(|result| result.event).collect();
    assert_eq!(events, [first.id, later.id]);
    assert_eq!(told[1].conversion.unwrap().version, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_cannot_tell_decides_all_the_same() {
    let site = Site::with_topics(&[topic::CATALOG, topic::EVENTS, topic::FACTS]).await;
    let (mut edge, mut desk) = (site.edge(1), site.edge(9));
    let store = site.store("state");
    let owner = site.owner(&store);
    let (sale, conversion) = pending(&mut edge);
    site.send(&sale).await;
    for to in [Status::Approved, Status::Paid, Status::Reversed] {
        site.send(&desk.command(0, conversion, to, |_| {})).await;
        assert_eq!(site.decided(&store).await.imbalance(), 0);
    }
    owner.stop().await.unwrap();
    let updated = site.outcomes().await.into_values().filter(|it| it.status == OutcomeStatus::Updated);
    assert_eq!(updated.count(), 3);
}
