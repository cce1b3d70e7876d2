//! Rows put into the warehouse as a sink would.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use schemas::event::Status;
use schemas::id::WorkspaceNumber;
use schemas::time::Timestamp;
use warehouse::batch::{BatchBuilder, Micros, Seconds};
use warehouse::{InsertSettings, Sink};

use crate::harness::NOW;

pub(crate) const NONE: [u8; 16] = [0; 16];

/// A click.
#[derive(Clone, Debug)]
pub(crate) struct Click {
    pub(crate) workspace: WorkspaceNumber,
    pub(crate) at: Timestamp,
    pub(crate) id: [u8; 16],
    pub(crate) receipt: [u8; 16],
    pub(crate) partner: [u8; 16],
    pub(crate) sub1: String,
    pub(crate) counted: bool,
    pub(crate) test: bool,
    pub(crate) cut: u64,
}

/// A click or an impression as far as its client is told.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) workspace: WorkspaceNumber,
    pub(crate) at: Timestamp,
    pub(crate) id: [u8; 16],
    pub(crate) country: &'static str,
    pub(crate) browser: &'static str,
    pub(crate) referrer: &'static str,
    pub(crate) utm_source: &'static str,
    pub(crate) labels: Vec<&'static str>,
    /// Of clicks alone, as is the variant.
    pub(crate) rule: [u8; 16],
    pub(crate) variant: u32,
    pub(crate) cost: i64,
    pub(crate) cost_currency: &'static str,
    pub(crate) counted: bool,
}

/// A revision of a conversion.
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    pub(crate) workspace: WorkspaceNumber,
    pub(crate) at: Timestamp,
    pub(crate) conversion: [u8; 16],
    pub(crate) version: u32,
    pub(crate) offer: [u8; 16],
    pub(crate) partner: [u8; 16],
    pub(crate) sub1: String,
    pub(crate) goal: &'static str,
    pub(crate) before: Option<Status>,
    pub(crate) after: Status,
    /// What the conversion is worth while it counts.
    pub(crate) revenue: i64,
    pub(crate) payout: i64,
    pub(crate) payout_rule: &'static str,
    pub(crate) test: bool,
    pub(crate) cut: u64,
}

impl Revision {
    /// By how much this revision changes the number of conversions that count.
    pub(crate) fn delta(&self) -> i64 {
        let counts = |status: Option<Status>| i64::from(status.is_some_and(Status::is_counted));
        counts(Some(self.after)) - counts(self.before)
    }
}

/// An outcome.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) workspace: WorkspaceNumber,
    pub(crate) event: [u8; 16],
    pub(crate) subject: &'static str,
    pub(crate) status: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) conversion: [u8; 16],
    pub(crate) original: [u8; 16],
    pub(crate) row_seq: u64,
    pub(crate) cut: u64,
}

/// A touch.
#[derive(Clone, Debug)]
pub(crate) struct Credit {
    pub(crate) workspace: WorkspaceNumber,
    pub(crate) conversion: [u8; 16],
    pub(crate) version: u32,
    pub(crate) touch: [u8; 16],
    pub(crate) r#type: &'static str,
    pub(crate) partner: [u8; 16],
    pub(crate) at: Timestamp,
    pub(crate) lost: &'static str,
    pub(crate) last_touch: u16,
}

pub(crate) async fn clicks(sink: &Sink, rows: &[Click]) {
    let batch = BatchBuilder::new()
        .column("workspace", rows.iter().map(|row| row.workspace.get()))
        .column("occurred_at", rows.iter().map(|row| Micros(row.at.micros())))
        .column("id", rows.iter().map(|row| row.id))
        .column("receipt", rows.iter().map(|row| row.receipt))
        .column("received_at", rows.iter().map(|row| Micros(row.at.micros())))
        .column("partner", rows.iter().map(|row| row.partner))
        .column("subs", rows.iter().map(|row| vec![row.sub1.as_str()]))
        .column("params", rows.iter().map(|_| vec![("utm_source", "mail")]))
        .column("labels", rows.iter().map(|row| if row.counted { vec![] } else { vec!["head"] }))
        .column("counted", rows.iter().map(|row| row.counted))
        .column("test", rows.iter().map(|row| row.test))
        .column("cut", rows.iter().map(|row| row.cut))
        .column("core_time", rows.iter().map(|_| Micros(NOW.micros())))
        .column("insert_before", rows.iter().map(|_| Seconds(u32::MAX)));
    insert(sink, "clicks", batch).await;
}

/// Rows of `clicks` or `impressions`.
pub(crate) async fn hits(sink: &Sink, table: &str, rows: &[Hit]) {
    let mut batch = BatchBuilder::new()
        .column("workspace", rows.iter().map(|row| row.workspace.get()))
        .column("occurred_at", rows.iter().map(|row| Micros(row.at.micros())))
        .column("id", rows.iter().map(|row| row.id))
        .column("params", rows.iter().map(|row| vec![("utm_source", row.utm_source)]))
        .column("labels", rows.iter().map(|row| row.labels.clone()))
        .column("counted", rows.iter().map(|row| row.counted))
        .column("referrer", rows.iter().map(|row| row.referrer))
        .column("browser", rows.iter().map(|row| row.browser))
        .column("country", rows.iter().map(|row| row.country))
        .column("cost", rows.iter().map(|row| row.cost))
        .column("cost_currency", rows.iter().map(|row| row.cost_currency))
        .column("cut", rows.iter().map(|_| 1_u64))
        .column("core_time", rows.iter().map(|_| Micros(NOW.micros())))
        .column("insert_before", rows.iter().map(|_| Seconds(u32::MAX)));
    if table == "clicks" {
        batch = batch
            .column("rule", rows.iter().map(|row| row.rule))
            .column("variant", rows.iter().map(|row| row.variant));
    }
    insert(sink, table, batch).await;
}

/// What an edge says of its spool.
pub(crate) async fn delayed(sink: &Sink, edge: [u8; 16], cut: u64, since: Option<Timestamp>, events: u64) {
    let batch = BatchBuilder::new()
        .column("log_partition", [0_u16])
        .column("edge", [edge])
        .column("cut", [cut])
        .column("since", [Micros(since.map_or(0, Timestamp::micros))])
        .column("events", [events])
        .column("core_time", [Micros(NOW.micros())]);
    insert(sink, "delayed", batch).await;
}

pub(crate) async fn revisions(sink: &Sink, rows: &[Revision]) {
    revisions_of(sink, rows, &vec![NONE; rows.len()]).await;
}

/// Revisions of conversions that these clicks led to.
pub(crate) async fn revisions_of(sink: &Sink, rows: &[Revision], clicks: &[[u8; 16]]) {
    let batch = BatchBuilder::new()
        .column("click", clicks.iter().copied())
        .column("workspace", rows.iter().map(|row| row.workspace.get()))
        .column("occurred_at", rows.iter().map(|row| Micros(row.at.micros())))
        .column("conversion", rows.iter().map(|row| row.conversion))
        .column("version", rows.iter().map(|row| row.version))
        .column("partner", rows.iter().map(|row| row.partner))
        .column("goal", rows.iter().map(|row| row.goal))
        .column("subs", rows.iter().map(|row| vec![row.sub1.as_str()]))
        .column("status_before", rows.iter().map(|row| row.before.map_or("", Status::as_str)))
        .column("status", rows.iter().map(|row| row.after.as_str()))
        .column("conversions_delta", rows.iter().map(|row| i8::try_from(row.delta()).unwrap()))
        .column("revenue_delta", rows.iter().map(|row| row.delta() * row.revenue))
        .column("payout_delta", rows.iter().map(|row| row.delta() * row.payout))
        .column("test", rows.iter().map(|row| row.test))
        .column("cut", rows.iter().map(|row| row.cut))
        .column("core_time", rows.iter().map(|_| Micros(NOW.micros())))
        .column("insert_before", rows.iter().map(|_| Seconds(u32::MAX)));
    insert(sink, "conversion_revisions", batch).await;
}

/// Conversions as they are after these revisions, each revision a version.
pub(crate) async fn conversions(sink: &Sink, rows: &[Revision], currency: &'static str) {
    let transactions: Vec<String> = rows.iter().map(transaction).collect();
    let worth = |row: &Revision, amount: i64| if row.after.is_counted() { amount } else { 0 };
    let batch = BatchBuilder::new()
        .column("workspace", rows.iter().map(|row| row.workspace.get()))
        .column("occurred_at", rows.iter().map(|row| Micros(row.at.micros())))
        .column("id", rows.iter().map(|row| row.conversion))
        .column("version", rows.iter().map(|row| row.version))
        .column("status", rows.iter().map(|row| row.after.as_str()))
        .column("goal", rows.iter().map(|row| row.goal))
        .column("partner", rows.iter().map(|row| row.partner))
        .column("offer", rows.iter().map(|row| row.offer))
        .column("transaction_id", transactions.iter().map(String::as_str))
        .column("original_amount", rows.iter().map(|row| row.revenue))
        .column("original_currency", rows.iter().map(|_| currency))
        .column("refunded", rows.iter().map(|row| row.revenue / 4))
        .column("amount", rows.iter().map(|row| row.revenue))
        .column("amount_known", rows.iter().map(|_| true))
        .column("revenue", rows.iter().map(|row| worth(row, row.revenue)))
        .column("payout", rows.iter().map(|row| worth(row, row.payout)))
        .column("currency", rows.iter().map(|_| currency))
        .column("subs", rows.iter().map(|row| vec![row.sub1.as_str()]))
        .column("metadata", rows.iter().map(|_| "{\"order\":{\"items\":2}}"))
        .column("identified_by", rows.iter().map(|_| "click_id"))
        .column("rate_from", rows.iter().map(|_| vec!["EUR"]))
        .column("rate_date", rows.iter().map(|_| vec!["2026-11-01"]))
        .column("rate", rows.iter().map(|_| vec!["1.0842"]))
        .column("payout_rule", rows.iter().map(|row| row.payout_rule))
        .column("received_at", rows.iter().map(|row| Micros(row.at.micros())))
        .column("updated_at", rows.iter().map(|row| Micros(row.at.micros())))
        .column("test", rows.iter().map(|row| row.test));
    insert(sink, "conversions", batch).await;
}

/// The transaction id of a conversion.
pub(crate) fn transaction(row: &Revision) -> String {
    format!("T-{}", u128::from_be_bytes(row.conversion) % 1_000_000_007)
}

pub(crate) async fn outcomes(sink: &Sink, rows: &[Outcome]) {
    let batch = BatchBuilder::new()
        .column("workspace", rows.iter().map(|row| row.workspace.get()))
        .column("event", rows.iter().map(|row| row.event))
        .column("subject", rows.iter().map(|row| row.subject))
        .column("status", rows.iter().map(|row| row.status))
        .column("reason", rows.iter().map(|row| row.reason))
        .column("conversion", rows.iter().map(|row| row.conversion))
        .column("original", rows.iter().map(|row| row.original))
        .column("received_at", rows.iter().map(|_| Micros(NOW.micros() - 2_000_000)))
        .column("core_time", rows.iter().map(|_| Micros(NOW.micros() - 1_000_000)))
        .column("row_seq", rows.iter().map(|row| row.row_seq))
        .column("cut", rows.iter().map(|row| row.cut))
        .column("insert_before", rows.iter().map(|_| Seconds(u32::MAX)));
    insert(sink, "outcomes", batch).await;
}

pub(crate) async fn credits(sink: &Sink, rows: &[Credit]) {
    let batch = BatchBuilder::new()
        .column("workspace", rows.iter().map(|row| row.workspace.get()))
        .column("conversion", rows.iter().map(|row| row.conversion))
        .column("version", rows.iter().map(|row| row.version))
        .column("touch", rows.iter().map(|row| row.touch))
        .column("type", rows.iter().map(|row| row.r#type))
        .column("partner", rows.iter().map(|row| row.partner))
        .column("touched_at", rows.iter().map(|row| Micros(row.at.micros())))
        .column("lost", rows.iter().map(|row| row.lost))
        .column("last_touch", rows.iter().map(|row| row.last_touch))
        .column("cut", rows.iter().map(|_| 1_u64))
        .column("core_time", rows.iter().map(|_| Micros(NOW.micros())))
        .column("insert_before", rows.iter().map(|_| Seconds(u32::MAX)));
    insert(sink, "credits", batch).await;
}

/// Finishes a cut of partition 0.
pub(crate) async fn finish_cut(sink: &Sink, cut: u64, core_time: Timestamp) {
    let batch = BatchBuilder::new()
        .column("log_partition", [0_u16])
        .column("cut", [cut])
        .column("core_time", [Micros(core_time.micros())]);
    insert(sink, "cuts", batch).await;
}

async fn insert(sink: &Sink, table: &str, batch: BatchBuilder) {
    let batch = batch.build().unwrap();
    let stream = batch.to_arrow_stream().unwrap();
    // A token of its own for each batch: two equal batches of a test are two batches.
    let dedup_token = NEXT.fetch_add(1, Ordering::SeqCst).to_string();
    let settings = InsertSettings { dedup_token, timeout: Duration::from_secs(30) };
    sink.insert(table, stream, &settings).await.unwrap();
}

static NEXT: AtomicU64 = AtomicU64::new(0);
