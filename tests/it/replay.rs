//! The whole past is read once more beside the live generation, and answers from then on.

use std::process::{Command, Stdio};

use reqwest::{Method, StatusCode};
use schemas::event::{Body, Click, Hit};
use schemas::id::ClickId;
use schemas::time::Timestamp;
use serde_json::{Value, json};

use crate::harness::{
    Campaign, Engines, Habits, ImaginaryEdge, Role, Stack, Traffic, first_workspace, now,
    on_both_engine_sets, wait_for,
};

on_both_engine_sets!(
    a_rebuild_in_other_batches_gives_the_same_to_the_byte,
    the_switch_under_traffic_loses_and_doubles_nothing,
    another_lookback_changes_what_it_should_and_nothing_else,
);

const DAY: i64 = 24 * 3_600 * 1_000_000;
/// Clicks under traffic.
const CLICKS: usize = 150;
const REPORTS: [&str; 4] = [
    "/reports?from=2026-01-01&to=2035-01-01&metrics=clicks,conversions,revenue,payout,profit",
    "/reports?from=2026-01-01&to=2035-01-01&group_by=day&metrics=clicks,conversions,revenue,payout",
    "/reports?from=2026-01-01&to=2035-01-01&group_by=partner,offer&metrics=clicks,conversions,revenue,payout",
    "/reports?from=2026-01-01&to=2035-01-01&group_by=link,status&metrics=conversions,revenue,payout",
];

impl Stack {
    /// An answer of the API as it is on the wire.
    async fn text(&self, path: &str) -> String {
        let request = self.http.get(format!("{}/api/v1{path}", self.api)).bearer_auth(&self.key);
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        text
    }

    /// What is said of a conversion.
    async fn conversion(&self, id: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for what in ["", "/explain", "/history"] {
            texts.push(self.text(&format!("/conversions/{id}{what}")).await);
        }
        texts
    }

    /// Every report, every list, and what is said of every conversion.
    async fn everything(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for report in REPORTS {
            texts.push(self.text(report).await);
        }
        texts.push(self.text("/clicks?take=200").await);
        let list = self.text("/conversions?take=200").await;
        let conversions: Value = serde_json::from_str(&list).unwrap();
        for conversion in conversions["items"].as_array().unwrap() {
            texts.extend(self.conversion(conversion["id"].as_str().unwrap()).await);
        }
        texts.push(list);
        texts
    }

    fn replay(&self, arguments: &[&str]) -> Command {
        self.command_line("replay", arguments)
    }

    fn command_line(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = self.tool(subcommand);
        command.args(arguments).env("TRIBUTARY_ENGINE__LIBRARY", crate::harness::engine_library());
        command
    }

    /// Runs a command line that works beside the installation; on embedded engines that stops for it.
    fn run(&mut self, subcommand: &str, arguments: &[&str]) -> String {
        let mut command = self.command_line(subcommand, arguments);
        if self.engines == Engines::Embedded {
            self.stop_all();
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        self.start_all();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Reads the past once more. As long as the new generation does not answer, the old one does, whole.
    async fn read_past(&mut self, arguments: &[&str], generation: u32) {
        let before = self.text(REPORTS[0]).await;
        match self.engines {
            Engines::Embedded => {
                let said = self.run("replay", arguments);
                assert!(said.contains(&format!("generation {generation} is planned")), "{said}");
            }
            Engines::Cluster => {
                // Without a sink nothing reaches the tables, so that nothing is switched.
                self.kill(Role::Sink);
                let mut tool = self.replay(arguments).stdout(Stdio::piped()).spawn().unwrap();
                let decided = format!("generation=\"{generation}\"");
                wait_for("the replay of the events", async || {
                    let replayed = self.processor_metric("tributary_replay_source_position", &decided).await;
                    let live = self.processor_metric("tributary_processor_source_position", "").await;
                    if replayed.is_some() && replayed >= live { Ok(()) } else { Err(format!("{replayed:?}")) }
                })
                .await;
                assert_eq!(self.text(REPORTS[0]).await, before, "the old generation answers");
                assert!(tool.try_wait().unwrap().is_none());
                self.start_role(Role::Sink);
                let output = tool.wait_with_output().unwrap();
                assert!(output.status.success(), "{output:?}");
            }
        }
        self.await_generation(generation, &before).await;
    }

    /// Waits until a generation answers: then nobody works on it apart any more. Until that the answer is the old one; once it is
    /// another, it never is that one again.
    async fn await_generation(&self, generation: u32, before: &str) {
        let mut is_new = false;
        let (of_new, of_old) =
            (format!("generation=\"{generation}\""), format!("generation=\"{}\"", generation - 1));
        let position = "tributary_replay_source_position";
        wait_for("the switch", async || {
            let is_old = self.text(REPORTS[0]).await == before;
            assert!(!(is_new && is_old), "an answer of the old generation after one of the new");
            is_new |= !is_old;
            let is_apart = self.processor_metric(position, &of_new).await.is_some();
            let is_former = self.processor_metric(position, &of_old).await.is_some();
            if is_former && !is_apart { Ok(()) } else { Err(format!("{is_apart} {is_former}")) }
        })
        .await;
    }

    async fn moved(&self, conversion: &str, body: Value) -> Value {
        let path = format!("/conversions/{conversion}/transitions");
        let (status, answer) = self.try_api(Method::POST, &path, Some(body.clone())).await;
        if status != StatusCode::ACCEPTED {
            return answer;
        }
        self.receipt(answer["receipt"].as_str().unwrap()).await;
        self.api(Method::GET, &format!("/conversions/{conversion}"), None).await
    }
}

async fn a_rebuild_in_other_batches_gives_the_same_to_the_byte(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let traffic = Traffic::start(&stack, "anna").await;
    traffic.more_clicks(CLICKS).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
    let before = stack.everything().await;

    stack.set(Role::Processor, "TRIBUTARY_PROCESSOR__MAX_BATCH_EVENTS", "3");
    stack.kill(Role::Processor);
    stack.start_all();
    stack.read_past(&[], 2).await;
    same(&before, &stack.everything().await);
    stack.audit(&ledger).await;

    // What comes now counts here, and what nobody needs any more can go.
    let traffic = Traffic::resume(&stack, "anna", ledger, Habits::default());
    traffic.more_clicks(20).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
    let said = wait_for("every partition", async || {
        let output = if engines == Engines::Cluster {
            stack.replay(&["--drop", "1"]).output().unwrap()
        } else {
            return Ok(None);
        };
        if output.status.success() { Ok(Some(output.stdout)) } else { Err(format!("{output:?}")) }
    })
    .await;
    let said =
        said.map_or_else(|| stack.run("replay", &["--drop", "1"]), |said| String::from_utf8(said).unwrap());
    assert!(said.contains("generation 1 is gone"), "{said}");
    stack.assert_balance().await;
    let kept = stack.everything().await;
    let said = stack.run("replay", &["--status"]);
    assert_eq!(said, "generation 1: dropped\ngeneration 2: live\n");
    same(&kept, &stack.everything().await);
    let said = stack.run("verify", &["--rows"]);
    assert_eq!(said.lines().filter(|line| line.contains("are the same")).count(), 4, "{said}");
    assert!(said.contains(" 0 missing, 0 extra"), "{said}");
}

/// On a stopped installation each command line is at once at its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_given_up_leaves_everything_as_it_was() {
    let mut stack = Stack::start(Engines::Embedded).await;
    stack.campaign("anna").await;
    let click = stack.click("anna").await;
    let sale = json!({"click_id": click.id, "transaction_id": "T-1", "amount": "80.00"});
    stack.receipt(&stack.convert(sale).await).await;
    stack.await_totals(&json!({"clicks": 1, "conversions": 1})).await;
    let before = stack.everything().await;
    stack.stop_all();
    let said = |stack: &Stack, arguments: &[&str]| {
        let output = stack.replay(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (done, text, _) = said(&stack, &["--settings-of", "1"]);
    assert!(
        done && text.starts_with("generation 2 is planned, with the attribution of revision 1\n"),
        "{text}"
    );
    assert!(text.contains("the next `tributary up`"), "{text}");
    let (done, text, _) = said(&stack, &[]);
    assert!(done && text.starts_with("generation 2 is planned already\n"), "{text}");
    let (done, _, error) = said(&stack, &["--settings-of", "now"]);
    assert!(!done && error.contains("planned, attribution of revision 1 already"), "{error}");
    let (done, _, error) = said(&stack, &["--drop", "2"]);
    assert!(!done && error.contains("it is planned: give it up first"), "{error}");
    let (done, _, error) = said(&stack, &["--drop", "1"]);
    assert!(!done && error.contains("it answers"), "{error}");
    assert!(said(&stack, &["--abandon"]).0);
    let (done, _, error) = said(&stack, &["--abandon"]);
    assert!(!done && error.contains("no generation is planned"), "{error}");
    assert!(said(&stack, &["--drop", "2"]).0);
    let (_, text, _) = said(&stack, &["--status"]);
    assert_eq!(text, "generation 1: live\ngeneration 2: dropped, attribution of revision 1\n");
    let (done, _, error) = said(&stack, &["--settings-of", "999999"]);
    assert!(!done && error.contains("settings_of"), "{error}");
    stack.start_all();
    same(&before, &stack.everything().await);
    let (done, _, error) = said(&stack, &[]);
    assert!(!done && error.contains("another process"), "{error}");
}

/// Says what differs, not all of it.
fn same(before: &[String], after: &[String]) {
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(after) {
        assert_eq!(before, after);
    }
}

/// A click of some days ago.
fn click(edge: &mut ImaginaryEdge, campaign: &Campaign, days: i64) -> (ClickId, Body) {
    let at = Timestamp::from_micros(now().micros() - days * DAY);
    let id: ClickId = edge.ids.next(now().unix_ms(), first_workspace());
    let hit = Hit {
        link: Some(campaign.link.parse().unwrap()),
        partner: Some(campaign.partner.parse().unwrap()),
        ..Hit::new(campaign.offer.parse().unwrap(), at)
    };
    let (ext_click_id, destination_url) = (String::new(), "https://shop.example/".to_owned());
    (id, Body::Click(Box::new(Click { id, hit, ext_click_id, destination_url, choice: None })))
}

/// Five sales, and what people made of them: of an old click (plain, open, paid), and of a fresh one (plain, approved by hand).
struct Sales {
    old: [String; 3],
    fresh: [String; 2],
}

async fn sales(stack: &Stack, old: ClickId, fresh: ClickId) -> Sales {
    let mut ids = Vec::new();
    for (transaction, click, status) in [
        ("T-1", old, "approved"),
        ("T-2", old, "pending"),
        ("T-3", old, "approved"),
        ("T-4", fresh, "approved"),
        ("T-5", fresh, "pending"),
    ] {
        let click = click.to_string();
        let sale =
            json!({"click_id": click, "transaction_id": transaction, "amount": "80.00", "status": status});
        let settled = stack.receipt(&stack.convert(sale).await).await;
        ids.push(settled["conversion"].as_str().unwrap().to_owned());
    }
    let [plain, open, paid, other, by_hand] = ids.try_into().unwrap();
    let step = |to: &str| json!({"to": to, "reason": "checked"});
    assert_eq!(stack.moved(&paid, step("paid")).await["status"], "paid");
    let refused = json!({"to": "rejected", "reason": "looked at another", "expected_version": 7});
    assert_eq!(stack.moved(&other, refused).await["field"], "expected_version");
    assert_eq!(stack.moved(&by_hand, step("approved")).await["status"], "approved");
    Sales { old: [plain, open, paid], fresh: [other, by_hand] }
}

async fn another_lookback_changes_what_it_should_and_nothing_else(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    let campaign = stack.campaign("anna").await;
    let mut edge = ImaginaryEdge::new();
    let ((old, first), (fresh, second)) = (click(&mut edge, &campaign, 10), click(&mut edge, &campaign, 1));
    let events = [edge.event(first), edge.event(second)];
    stack.append(&events).await;
    let sales = sales(&stack, old, fresh).await;
    let offer = format!("/offers/{}", campaign.offer);
    stack.api(Method::PATCH, &offer, Some(json!({"click_lookback": "7d"}))).await;
    let all = json!({"clicks": 2, "conversions": 5, "payout": "40.00"});
    stack.await_totals(&all).await;
    let mut before = Vec::new();
    for id in sales.old.iter().chain(&sales.fresh) {
        before.push(stack.conversion(id).await);
    }

    stack.read_past(&["--settings-of", "now"], 2).await;
    stack.await_totals(&json!({"clicks": 2, "conversions": 5, "payout": "16.00"})).await;
    for (id, before) in sales.fresh.iter().zip(&before[3..]) {
        same(before, &stack.conversion(id).await);
    }
    for ((id, before), status) in sales.old.iter().zip(&before).zip(["approved", "pending", "paid"]) {
        let was: Value = serde_json::from_str(&before[0]).unwrap();
        let is = stack.api(Method::GET, &format!("/conversions/{id}"), None).await;
        assert_eq!((&was["status"], &is["status"]), (&json!(status), &json!(status)), "{is}");
        assert_eq!((&was["version"], &is["amount"]), (&is["version"], &was["amount"]));
        assert_eq!(was["partner"]["id"], campaign.partner);
        assert_eq!((&is["partner"], &is["payout"]["amount"]), (&Value::Null, &json!("0.00")), "{is}");
        let explained = stack.api(Method::GET, &format!("/conversions/{id}/explain"), None).await;
        assert_eq!(explained["touches"][0]["lost"], "outside_lookback", "{explained}");
    }

    // From here on it decides by itself.
    let step = json!({"to": "approved", "reason": "late"});
    assert_eq!(stack.moved(&sales.old[1], step).await["status"], "approved");
    let click = stack.click("anna").await;
    let sale = json!({"click_id": click.id, "transaction_id": "T-6", "amount": "80.00"});
    assert_eq!(stack.receipt(&stack.convert(sale).await).await["status"], "recorded");
    stack.await_totals(&json!({"clicks": 3, "conversions": 6, "payout": "24.00"})).await;
    stack.assert_balance().await;

    // And a third generation takes it back, but not what people decided in the second.
    stack.api(Method::PATCH, &offer, Some(json!({"click_lookback": null}))).await;
    stack.read_past(&["--settings-of", "now"], 3).await;
    stack.await_totals(&json!({"clicks": 3, "conversions": 6, "payout": "48.00"})).await;
    for (id, status) in sales.old.iter().zip(["approved", "approved", "paid"]) {
        let is = stack.api(Method::GET, &format!("/conversions/{id}"), None).await;
        assert_eq!((&is["status"], &is["partner"]["id"]), (&json!(status), &json!(campaign.partner)), "{is}");
    }
    stack.assert_balance().await;
}

async fn the_switch_under_traffic_loses_and_doubles_nothing(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let traffic = Traffic::start_with(&stack, "anna", Habits { repeats_of_ten: 2, ..Habits::CALM }).await;
    traffic.more_clicks(CLICKS / 3).await;
    let before = stack.text(REPORTS[1]).await;
    match engines {
        Engines::Embedded => {
            stack.run("replay", &[]);
            stack.kill_all();
        }
        Engines::Cluster => {
            let mut tool = stack.replay(&[]).stdout(Stdio::null()).spawn().unwrap();
            let replayed = async || stack.processor_metric("tributary_replay_source_position", "").await;
            wait_for("the beginning", async || replayed().await.ok_or_else(String::new)).await;
            // Whoever does the work dies over it; whoever waits for it need not.
            tool.kill().unwrap();
            tool.wait().unwrap();
            stack.kill(Role::Processor);
            stack.kill(Role::Sink);
        }
    }
    stack.start_all();
    stack.await_generation(2, &before).await;
    traffic.more_clicks(CLICKS / 3).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
}
