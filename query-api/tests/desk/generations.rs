//! Which generation answers: the live one, and whole; pages go on in the one that they began in.

use catalog::{Actor, ActorKind, Change, Expected, Projection, Proposal, Resource, Stage};
use http::StatusCode;
use schemas::generation::Generation;
use schemas::id::{ClickKind, WorkspaceNumber};
use serde_json::json;
use warehouse::{Migration, Sink};

use crate::harness::{Harness, NOW};
use crate::rows::{self, Click, NONE};

const REPORT: &str = "/api/v1/reports?from=2026-01-01&to=2027-01-01&group_by=partner&metrics=clicks&take=1";

impl Harness {
    /// What the program itself says to the catalog.
    async fn say(&mut self, generation: Generation, stage: Stage) {
        let projection = Projection { generation, stage, ..Projection::FIRST };
        let proposal = Proposal {
            id: self.id(NOW, WorkspaceNumber::NONE),
            workspace: WorkspaceNumber::NONE,
            actor: Actor { kind: ActorKind::System, id: String::new() },
            request_id: String::new(),
            at: NOW,
            idempotency: None,
            changes: vec![Change::Put {
                resource: Resource::Projection(projection),
                expected: Expected::Any,
            }],
        };
        self.follower.propose(proposal).await.unwrap();
    }

    /// So many clicks of each of two partners, in cut 1 of these tables.
    async fn click(&mut self, sink: &Sink, count: usize) {
        let workspace = self.first.number;
        let mut clicks = Vec::new();
        for partner in 0..2 {
            for _ in 0..count {
                let id = self.id::<ClickKind>(NOW, workspace);
                let partner = *self.first.partners[partner].bytes();
                let (id, receipt, sub1) = (*id.bytes(), NONE, String::new());
                let (counted, test, cut) = (true, false, 1);
                clicks.push(Click { workspace, at: NOW, id, receipt, partner, sub1, counted, test, cut });
            }
        }
        rows::clicks(sink, &clicks).await;
        rows::finish_cut(sink, 1, NOW).await;
    }

    async fn report(&self, cursor: &str) -> serde_json::Value {
        let page = self.get(&format!("{REPORT}{cursor}")).await.ok();
        json!([page["items"][0]["clicks"], page["totals"]["clicks"]])
    }
}

#[tokio::test]
async fn one_answer_comes_from_one_generation_and_pages_from_the_one_of_the_first() {
    let mut harness = Harness::start().await;
    let second = Generation::FIRST.next();
    let migrations: Vec<Migration<'_>> = schemas::table::MIGRATIONS.iter().map(Into::into).collect();
    warehouse::migrate(&harness.endpoint().of_generation(second), &migrations).await.unwrap();
    let first_tables = harness.sink.clone();
    harness.click(&first_tables, 3).await;
    harness.say(second, Stage::Planned).await;
    harness.click(&first_tables.of_generation(second), 5).await;
    assert_eq!(harness.report("").await, json!([3, 6]), "a plan answers nobody");
    let page = harness.get(REPORT).await.ok();
    let cursor = format!("&cursor={}", page["nextCursor"].as_str().unwrap());

    harness.say(second, Stage::Live).await;
    assert_eq!(harness.report("").await, json!([5, 10]));
    assert_eq!(harness.report(&cursor).await, json!([3, 6]), "the second page of the first report");
    let clicks = harness.get("/api/v1/clicks?take=100").await.ok();
    assert_eq!(clicks["items"].as_array().unwrap().len(), 10);

    harness.say(Generation::FIRST, Stage::Dropped).await;
    let refused = harness.get(&format!("{REPORT}{cursor}")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.refused().2.as_deref(), Some("cursor"));
    assert_eq!(harness.report("").await, json!([5, 10]));
    harness.stop().await;
}
