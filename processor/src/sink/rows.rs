//! Rows of the append-only tables, column by column.

use std::iter::repeat_n;

use schemas::event::Hit;
use schemas::fact::{Attributed, ClickFact, Fact, ImpressionFact, Outcome, Revision, Touch, Values};
use schemas::id::{Id, Kind};
use schemas::table::Table;
use schemas::time::Timestamp;
use warehouse::batch::{Batch, BatchBuilder, Micros};

use crate::error::Error;

/// Facts with the core time of their event.
pub(super) type Timed<'a, T> = (Timestamp, &'a T);

/// What stands in every row of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The partition of `facts` that it comes from.
    pub log_partition: u16,
    /// The number of the cut that ends its batch.
    pub cut: u64,
    /// Its number among the chunks of the cut in its table.
    pub chunk: u16,
}

/// The rows that `facts` give in `table`, numbered from `first_row_seq`, without `insert_before`.
pub(super) fn rows(
    table: Table,
    facts: &[(Timestamp, Fact)],
    first_row_seq: u64,
    place: Place,
) -> Result<Batch, Error> {
    let (builder, times) = match table {
        Table::Clicks => {
            let clicks: Vec<Timed<'_, ClickFact>> = facts
                .iter()
                .filter_map(
                    |(time, fact)| if let Fact::Click(click) = fact { Some((*time, &**click)) } else { None },
                )
                .collect();
            (click_columns(&clicks), times(&clicks))
        }
        Table::Impressions => {
            let shown: Vec<Timed<'_, ImpressionFact>> =
                facts
                    .iter()
                    .filter_map(|(time, fact)| {
                        if let Fact::Impression(shown) = fact { Some((*time, &**shown)) } else { None }
                    })
                    .collect();
            (impression_columns(&shown), times(&shown))
        }
        Table::ConversionRevisions => {
            let parts = parts(&revisions(facts));
            let times = parts.iter().map(|(time, _)| micros(*time)).collect();
            (revision_columns(&parts), times)
        }
        Table::Credits => {
            let revisions = revisions(facts);
            let touches: Vec<_> = revisions
                .iter()
                .flat_map(|(time, revision)| {
                    revision.touches.iter().map(move |touch| (*time, (*revision, touch)))
                })
                .collect();
            let times = touches.iter().map(|(time, _)| Micros(time.micros())).collect();
            (credit_columns(&touches), times)
        }
        Table::Outcomes => {
            let outcomes: Vec<Timed<'_, Outcome>> =
                facts
                    .iter()
                    .filter_map(|(time, fact)| {
                        if let Fact::Outcome(outcome) = fact { Some((*time, &**outcome)) } else { None }
                    })
                    .collect();
            (outcome_columns(&outcomes), times(&outcomes))
        }
    };
    placed(builder, times, first_row_seq, place)
}

/// The revisions among the facts.
pub(super) fn revisions(facts: &[(Timestamp, Fact)]) -> Vec<Timed<'_, Revision>> {
    facts
        .iter()
        .filter_map(
            |(time, fact)| {
                if let Fact::Revision(revision) = fact { Some((*time, &**revision)) } else { None }
            },
        )
        .collect()
}

fn times<T>(rows: &[Timed<'_, T>]) -> Vec<Micros> {
    rows.iter().map(|(time, _)| Micros(time.micros())).collect()
}

fn placed(
    builder: BatchBuilder,
    core_times: Vec<Micros>,
    first_row_seq: u64,
    place: Place,
) -> Result<Batch, Error> {
    let count = core_times.len();
    Ok(builder
        .column("core_time", core_times)
        .column("log_partition", repeat_n(place.log_partition, count))
        .column("cut", repeat_n(place.cut, count))
        .column("chunk", repeat_n(place.chunk, count))
        .column("row_seq", (first_row_seq..).take(count))
        .build()?)
}

/// The sixteen bytes of an id; zeros for none.
pub(super) fn id<K: Kind>(id: Option<Id<K>>) -> [u8; 16] {
    id.map_or([0; 16], |id| *id.bytes())
}

pub(super) fn texts(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

pub(super) fn micros(time: Timestamp) -> Micros {
    Micros(time.micros())
}

fn click_columns(rows: &[Timed<'_, ClickFact>]) -> BatchBuilder {
    let facts = || rows.iter().map(|(_, fact)| *fact);
    let clicks = || rows.iter().map(|(_, fact)| &fact.click);
    let choices = || clicks().map(|click| click.choice);
    let builder = BatchBuilder::new()
        .column("workspace", facts().map(|fact| fact.workspace.get()))
        .column("id", clicks().map(|click| *click.id.bytes()))
        .column("receipt", facts().map(|fact| *fact.receipt.bytes()))
        .column("received_at", facts().map(|fact| micros(fact.received_at)))
        .column("ext_click_id", clicks().map(|click| click.ext_click_id.as_str()))
        .column("destination_url", clicks().map(|click| click.destination_url.as_str()))
        .column("rule", choices().map(|choice| id(choice.map(|choice| choice.rule))))
        .column("rule_version", choices().map(|choice| choice.map_or(0, |choice| choice.version)))
        .column("variant", choices().map(|choice| choice.map_or(0, |choice| choice.variant)));
    hit_columns(builder, &|| clicks().map(|click| &click.hit))
}

fn impression_columns(rows: &[Timed<'_, ImpressionFact>]) -> BatchBuilder {
    let facts = || rows.iter().map(|(_, fact)| *fact);
    let builder = BatchBuilder::new()
        .column("workspace", facts().map(|fact| fact.workspace.get()))
        .column("id", facts().map(|fact| *fact.impression.id.bytes()))
        .column("receipt", facts().map(|fact| *fact.receipt.bytes()))
        .column("received_at", facts().map(|fact| micros(fact.received_at)));
    hit_columns(builder, &|| facts().map(|fact| &fact.impression.hit))
}

/// What the rows of clicks and of impressions have in common.
fn hit_columns<'a, I: Iterator<Item = &'a Hit>>(
    builder: BatchBuilder,
    hits: &impl Fn() -> I,
) -> BatchBuilder {
    let builder = builder
        .column("occurred_at", hits().map(|hit| micros(hit.occurred_at)))
        .column("offer", hits().map(|hit| *hit.offer.bytes()))
        .column("partner", hits().map(|hit| id(hit.partner)))
        .column("campaign", hits().map(|hit| id(hit.campaign)))
        .column("link", hits().map(|hit| id(hit.link)))
        .column("visitor", hits().map(|hit| id(hit.visitor)))
        .column("creative", hits().map(|hit| hit.creative.as_str()))
        .column("source_id", hits().map(|hit| hit.source_id.as_str()))
        .column("subs", hits().map(|hit| texts(&hit.subs)))
        .column("params", hits().map(|hit| pairs(&hit.params)))
        .column("labels", hits().map(|hit| texts(&hit.labels)))
        .column("counted", hits().map(Hit::is_counted))
        .column("cost", hits().map(|hit| hit.cost.map_or(0, |cost| cost.micros)))
        .column("cost_currency", hits().map(|hit| hit.cost.map_or("", |cost| cost.currency.code())))
        .column("test", hits().map(|hit| hit.test));
    client_columns(builder, hits)
}

/// What the client was, as far as it is known and kept.
fn client_columns<'a, I: Iterator<Item = &'a Hit>>(
    builder: BatchBuilder,
    hits: &impl Fn() -> I,
) -> BatchBuilder {
    builder
        .column("referrer", hits().map(|hit| hit.referrer.as_str()))
        .column("user_agent", hits().map(|hit| hit.user_agent.as_str()))
        .column("address", hits().map(|hit| hit.address.as_str()))
        .column("language", hits().map(|hit| hit.language.as_str()))
        .column("browser", hits().map(|hit| hit.browser.as_str()))
        .column("os", hits().map(|hit| hit.os.as_str()))
        .column("device", hits().map(|hit| hit.device.as_str()))
        .column("country", hits().map(|hit| hit.country.as_str()))
        .column("region", hits().map(|hit| hit.region.as_str()))
        .column("city", hits().map(|hit| hit.city.as_str()))
}

fn pairs(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// One row of a revision: what it gives to whom the conversion belongs to, or before that what it takes from whom it belonged to.
#[derive(Clone, Copy)]
struct Part<'a> {
    revision: &'a Revision,
    attributed: &'a Attributed,
    before: Option<Values>,
    after: Option<Values>,
}

fn parts<'a>(revisions: &[Timed<'a, Revision>]) -> Vec<(Timestamp, Part<'a>)> {
    let of_one = |(time, revision): &(Timestamp, &'a Revision)| {
        let (before, after) = (revision.before, Some(revision.after));
        let whole = Part { revision, attributed: &revision.attributed, before, after };
        let taken = revision.attributed_before.as_deref();
        let taken = taken.map(|attributed| Part { attributed, after: None, ..whole });
        let given = Part { before: before.filter(|_| taken.is_none()), ..whole };
        taken.into_iter().chain([given]).map(|part| (*time, part)).collect::<Vec<_>>()
    };
    revisions.iter().flat_map(of_one).collect()
}

impl Part<'_> {
    /// What it adds to a sum: the counted value after it less the counted value before it.
    fn delta(&self, of: impl Fn(&Values) -> i64) -> i64 {
        let counted = |values: Option<Values>| {
            values.filter(|values| values.status.is_counted()).map_or(0, |values| of(&values))
        };
        counted(self.after).wrapping_sub(counted(self.before))
    }
}

fn revision_columns(rows: &[(Timestamp, Part<'_>)]) -> BatchBuilder {
    let parts = || rows.iter().map(|(_, part)| *part);
    let revisions = || parts().map(|part| part.revision);
    let status = |values: Option<Values>| values.map_or("", |values| values.status.as_str());
    // A refund is told once.
    let refunds = || parts().map(|part| part.revision.refund.as_ref().filter(|_| part.after.is_some()));
    let builder = BatchBuilder::new()
        .column("workspace", revisions().map(|revision| revision.workspace.get()))
        .column("occurred_at", revisions().map(|revision| micros(revision.received.occurred_at)))
        .column("conversion", revisions().map(|revision| *revision.conversion.bytes()))
        .column("version", revisions().map(|revision| revision.version))
        .column("is_taken", parts().map(|part| part.after.is_none()))
        .column("event", revisions().map(|revision| *revision.event.bytes()))
        .column("change", revisions().map(|revision| revision.change.as_str()))
        .column("reason", revisions().map(|revision| revision.reason.as_str()))
        .column("goal", revisions().map(|revision| revision.received.goal.as_str()))
        .column("status_before", parts().map(|part| status(part.before)))
        .column("status", parts().map(|part| status(part.after)))
        .column("conversions_delta", parts().map(|part| part.delta(|_| 1) as i8))
        .column("revenue_delta", parts().map(|part| part.delta(|values| values.revenue_micros)))
        .column("payout_delta", parts().map(|part| part.delta(|values| values.payout_micros)))
        .column("refund_id", refunds().map(|refund| refund.map_or("", |refund| refund.refund_id.as_str())))
        .column("refund_amount", refunds().map(|refund| refund.map_or(0, |refund| refund.amount_micros)))
        .column("refund_reason", refunds().map(|refund| refund.map_or("", |refund| refund.reason.as_str())))
        .column("test", revisions().map(|revision| revision.received.test));
    let whole: Vec<_> = rows.iter().map(|(time, part)| (*time, part.revision)).collect();
    let builder = attributed_columns(builder, &|| parts().map(|part| part.attributed));
    amount_columns(cause_columns(builder, &whole), &whole)
}

/// Who is behind a revision.
fn cause_columns(builder: BatchBuilder, rows: &[Timed<'_, Revision>]) -> BatchBuilder {
    let causes = || rows.iter().map(|(_, revision)| &revision.cause);
    builder
        .column("actor_type", causes().map(|cause| cause.actor.kind()))
        .column("actor", causes().map(|cause| cause.actor.bytes()))
        .column("request_id", causes().map(|cause| cause.request_id.as_str()))
        .column("stated_reason", causes().map(|cause| cause.reason.as_str()))
        .column("note", causes().map(|cause| cause.note.as_str()))
}

/// What a conversion is worth after a revision.
pub(super) fn amount_columns(builder: BatchBuilder, rows: &[Timed<'_, Revision>]) -> BatchBuilder {
    let values = || rows.iter().map(|(_, revision)| &revision.after);
    let original = || rows.iter().map(|(_, revision)| revision.received.amount);
    builder
        .column("original_amount", original().map(|amount| amount.map_or(0, |money| money.micros)))
        .column(
            "original_currency",
            original().map(|amount| amount.map_or("", |money| money.currency.code())),
        )
        .column("refunded", values().map(|values| values.refunded_micros))
        .column("amount", values().map(|values| values.amount_micros.unwrap_or(0)))
        .column("amount_known", values().map(|values| values.amount_micros.is_some()))
        .column("revenue", values().map(|values| values.revenue_micros))
        .column("payout", values().map(|values| values.payout_micros))
        .column("currency", values().map(|values| values.currency.code()))
}

/// Whose a conversion is. Where no click won, its time is 1970.
pub(super) fn attributed_columns<'a, I: Iterator<Item = &'a Attributed>>(
    builder: BatchBuilder,
    attributed: &impl Fn() -> I,
) -> BatchBuilder {
    let click_at = |to: &Attributed| to.click.map_or(Micros(0), |(_, at)| micros(at));
    builder
        .column("offer", attributed().map(|to| id(to.offer)))
        .column("partner", attributed().map(|to| id(to.partner)))
        .column("campaign", attributed().map(|to| id(to.campaign)))
        .column("link", attributed().map(|to| id(to.link)))
        .column("click", attributed().map(|to| id(to.click.map(|(click, _)| click))))
        .column("click_at", attributed().map(click_at))
        .column("visitor", attributed().map(|to| id(to.visitor)))
        .column("creative", attributed().map(|to| to.creative.as_str()))
        .column("source_id", attributed().map(|to| to.source_id.as_str()))
        .column("subs", attributed().map(|to| texts(&to.subs)))
        .column("labels", attributed().map(|to| texts(&to.labels)))
}

fn credit_columns(rows: &[(Timestamp, (&Revision, &Touch))]) -> BatchBuilder {
    let revisions = || rows.iter().map(|(_, (revision, _))| *revision);
    let touches = || rows.iter().map(|(_, (_, touch))| *touch);
    BatchBuilder::new()
        .column("workspace", revisions().map(|revision| revision.workspace.get()))
        .column("conversion", revisions().map(|revision| *revision.conversion.bytes()))
        .column("version", revisions().map(|revision| revision.version))
        .column("touch", touches().map(|touch| *touch.id.bytes()))
        .column("type", touches().map(|touch| touch.id.kind()))
        .column("touched_at", touches().map(|touch| micros(touch.at)))
        .column("partner", touches().map(|touch| id(touch.partner)))
        .column("link", touches().map(|touch| id(touch.link)))
        .column("lost", touches().map(|touch| touch.lost.map_or("", schemas::fact::Lost::as_str)))
        .column("last_touch", touches().map(|touch| touch.credits.last_touch))
        .column("first_touch", touches().map(|touch| touch.credits.first_touch))
        .column("linear", touches().map(|touch| touch.credits.linear))
        .column("time_decay", touches().map(|touch| touch.credits.time_decay))
        .column("position_based", touches().map(|touch| touch.credits.position_based))
}

fn outcome_columns(rows: &[Timed<'_, Outcome>]) -> BatchBuilder {
    let outcomes = || rows.iter().map(|(_, outcome)| *outcome);
    BatchBuilder::new()
        .column("workspace", outcomes().map(|outcome| outcome.workspace.get()))
        .column("event", outcomes().map(|outcome| *outcome.event.bytes()))
        .column("subject", outcomes().map(|outcome| outcome.subject.as_str()))
        .column("status", outcomes().map(|outcome| outcome.status.as_str()))
        .column("reason", outcomes().map(|outcome| outcome.reason.as_str()))
        .column("conversion", outcomes().map(|outcome| id(outcome.conversion)))
        .column("original", outcomes().map(|outcome| id(outcome.original)))
        .column("source", outcomes().map(|outcome| id(outcome.source)))
        .column("received_at", outcomes().map(|outcome| micros(outcome.received_at)))
        .column("test", outcomes().map(|outcome| outcome.test))
}
