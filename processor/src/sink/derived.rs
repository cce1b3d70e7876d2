//! Conversions as they are now, and what edges hold back: derived from the facts of a cut, written before its rows, as often as
//! need be.

use std::collections::BTreeMap;

use schemas::event::Delayed;
use schemas::fact::{AppliedRate, Fact, Revision};
use schemas::id::EdgeId;
use schemas::time::Timestamp;
use warehouse::batch::{Batch, BatchBuilder};

use super::cut::CutBatch;
use super::load::month;
use super::rows::{Timed, amount_columns, attributed_columns, id, micros, revisions, texts};
use super::tables::ConversionKey;
use crate::error::Error;

/// Conversions as they are now.
pub(super) const CONVERSIONS: &str = "conversions";
/// What edges hold back.
pub(super) const DELAYED: &str = "delayed";

/// What each edge said last in this cut; `None` if none said anything.
pub(super) fn delayed(cut: &CutBatch, log_partition: u16) -> Result<Option<Batch>, Error> {
    let mut last: BTreeMap<EdgeId, Timed<'_, Delayed>> = BTreeMap::new();
    for (time, fact) in &cut.facts {
        if let Fact::Delayed(delayed) = fact {
            last.insert(delayed.edge, (*time, delayed));
        }
    }
    if last.is_empty() {
        return Ok(None);
    }
    let all = || last.values().map(|(_, delayed)| *delayed);
    let builder = BatchBuilder::new()
        .column("log_partition", all().map(|_| log_partition))
        .column("edge", all().map(|delayed| *delayed.edge.bytes()))
        .column("cut", all().map(|_| cut.number))
        .column("since", all().map(|delayed| micros(delayed.since.unwrap_or_default())))
        .column("events", all().map(|delayed| if delayed.since.is_some() { delayed.events } else { 0 }))
        .column("core_time", last.values().map(|(time, _)| micros(*time)));
    Ok(Some(builder.build()?))
}

/// Each state that the facts give a conversion, a batch for each month of `occurred_at`: the table is partitioned by it, and
/// one INSERT goes into one partition.
pub(super) fn conversions(facts: &[(Timestamp, Fact)]) -> Result<Vec<Batch>, Error> {
    let mut months: BTreeMap<String, Vec<Timed<'_, Revision>>> = BTreeMap::new();
    for (time, revision) in revisions(facts) {
        months.entry(month(revision.received.occurred_at)).or_default().push((time, revision));
    }
    months
        .values()
        .map(|rows| {
            let builder =
                amount_columns(rates(attribution(identity(BatchBuilder::new(), rows), rows), rows), rows);
            Ok(builder.build()?)
        })
        .collect()
}

/// The conversions that the facts revise, each with its newest version.
pub(super) fn newest_versions(facts: &[(Timestamp, Fact)]) -> BTreeMap<ConversionKey, u32> {
    let key = |revision: &Revision| ConversionKey {
        workspace: revision.workspace,
        occurred_at: revision.received.occurred_at,
        id: revision.conversion,
    };
    // In the order of the facts, so that the last one stands.
    revisions(facts).into_iter().map(|(_, revision)| (key(revision), revision.version)).collect()
}

fn identity(builder: BatchBuilder, rows: &[Timed<'_, Revision>]) -> BatchBuilder {
    let all = || rows.iter().map(|(_, revision)| *revision);
    let received = || rows.iter().map(|(_, revision)| &revision.received);
    builder
        .column("workspace", all().map(|revision| revision.workspace.get()))
        .column("occurred_at", received().map(|received| micros(received.occurred_at)))
        .column("id", all().map(|revision| *revision.conversion.bytes()))
        .column("version", all().map(|revision| revision.version))
        .column("status", all().map(|revision| revision.after.status.as_str()))
        .column("reason", all().map(|revision| revision.reason.as_str()))
        .column("stated_reason", all().map(|revision| revision.cause.reason.as_str()))
        .column("goal", received().map(|received| received.goal.as_str()))
        .column("source", received().map(|received| id(received.source)))
        .column("customer_id", received().map(|received| received.customer_id.as_str()))
        .column("coupon", received().map(|received| received.coupon.as_str()))
        .column("transaction_id", received().map(|received| received.transaction_id.as_str()))
        .column("metadata", received().map(|received| received.metadata.as_str()))
        .column("received_at", all().map(|revision| micros(revision.received_at)))
        .column("updated_at", rows.iter().map(|(time, _)| micros(*time)))
        .column("test", received().map(|received| received.test))
}

fn attribution(builder: BatchBuilder, rows: &[Timed<'_, Revision>]) -> BatchBuilder {
    let all = || rows.iter().map(|(_, revision)| *revision);
    attributed_columns(builder, &|| rows.iter().map(|(_, revision)| &revision.attributed))
        .column("identified_by", all().map(|revision| revision.identified_by.as_str()))
        .column("payout_rule", all().map(|revision| revision.payout_rule.as_str()))
}

/// The rates that the values come from, their parts in as many lists.
fn rates(builder: BatchBuilder, rows: &[Timed<'_, Revision>]) -> BatchBuilder {
    let parts = |of: fn(&AppliedRate) -> String| -> Vec<Vec<String>> {
        rows.iter().map(|(_, revision)| revision.rates.iter().map(of).collect()).collect()
    };
    let from = parts(|rate| rate.from.code().to_owned());
    let (date, rate) = (parts(|rate| rate.date.to_string()), parts(|rate| rate.rate.to_string()));
    builder
        .column("rate_from", from.iter().map(|of_one| texts(of_one)))
        .column("rate_date", date.iter().map(|of_one| texts(of_one)))
        .column("rate", rate.iter().map(|of_one| texts(of_one)))
}
