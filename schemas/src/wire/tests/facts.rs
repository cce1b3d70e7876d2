//! Facts with something in every field.

use jiff::civil::Date;

use super::{an_id, click, conversion, delayed, events, impression, nonce, place};
use crate::event::{Actor, CatalogRevision, Delayed, Mark, Status};
use crate::fact::{
    AppliedRate, AppliedRefund, Attributed, CapCounted, Cause, Change, ClickFact, Credits, Cut, DecidedBy,
    Decision, Fact, Gross, Identity, IdentityKind, ImpressionFact, Joined, Lost, Outcome, OutcomeStatus,
    Parked, RateSweep, Record, Revision, Subject, SweepReached, Touch, TouchId, Unparked, UsedNonce, Values,
};
use crate::id::WorkspaceNumber;
use crate::money::{Currency, ExchangeRate};
use crate::table::RowCounts;
use crate::time::Timestamp;

fn identities() -> Vec<Identity> {
    let kinds = [IdentityKind::Visitor, IdentityKind::Customer, IdentityKind::Email];
    kinds.map(|kind| Identity { kind, id: [5; 16], test: kind == IdentityKind::Email }).to_vec()
}

fn sweep(reached: SweepReached) -> Fact {
    let (workspace, from) = (WorkspaceNumber::NONE, Currency::USD);
    Fact::RateSweep(RateSweep { workspace, from, date: Date::MAX, reached })
}

pub(super) fn revision() -> Revision {
    let values = |status, amount_micros| Values {
        status,
        currency: Currency::USD,
        amount_micros,
        revenue_micros: i64::MAX,
        payout_micros: -1,
        refunded_micros: 2,
    };
    let touch = |lost, last_touch| Touch {
        id: if last_touch == 0 { TouchId::Impression(an_id(1)) } else { TouchId::Click(an_id(1)) },
        at: Timestamp::from_micros(1),
        partner: None,
        link: Some(an_id(2)),
        lost,
        credits: Credits { last_touch, first_touch: 1, linear: 2, time_decay: 3, position_based: 10_000 },
    };
    let lost = [
        Lost::Earlier,
        Lost::LessCredit,
        Lost::LowerType,
        Lost::TooSoon,
        Lost::OutsideLookback,
        Lost::AfterConversion,
        Lost::ExcludedLabel,
        Lost::Coupon,
    ];
    let losers = lost.map(|lost| touch(Some(lost), 0));
    Revision {
        conversion: an_id(8),
        workspace: WorkspaceNumber::NONE,
        version: 2,
        event: an_id(8),
        cause: Cause {
            actor: Actor::Source(None),
            request_id: "req_1".into(),
            reason: "checked".into(),
            note: "by hand".into(),
        },
        change: Change::Refund,
        decided_by: DecidedBy::Course,
        reason: "no_rate".into(),
        received: conversion(),
        dedupe_key: [3; 16],
        attributed: Attributed {
            offer: Some(an_id(3)),
            // A click at the epoch itself is still a click.
            click: Some((an_id(1), Timestamp::default())),
            subs: vec!["a".into()],
            labels: vec!["l".into()],
            ..Attributed::default()
        },
        attributed_before: Some(Box::default()),
        hold_until: Some(Timestamp::default()),
        rates: vec![rate()],
        lacks_rates_of: vec![Currency::USD],
        identified_by: "click_id".into(),
        payout_rule: "none".into(),
        gross: Gross { revenue_micros: 1, payout_micros: 0 },
        refund: Some(AppliedRefund { refund_id: "r".into(), amount_micros: 2, reason: "broken".into() }),
        counted_in: vec![place()],
        before: Some(values(Status::Pending, None)),
        after: values(Status::Paid, Some(0)),
        touches: std::iter::once(touch(None, 10_000)).chain(losers).collect(),
        received_at: Timestamp::from_micros(5),
        recorded_at: Timestamp::from_micros(6),
    }
}

fn rate() -> AppliedRate {
    let rate = ExchangeRate::parse("1.0842").unwrap();
    AppliedRate { from: Currency::USD, to: Currency::USD, date: Date::MAX, rate }
}

pub(super) fn record() -> Record {
    let outcome = |(number, status)| {
        Fact::Outcome(Box::new(Outcome {
            event: an_id(number),
            workspace: WorkspaceNumber::NONE,
            mark: None,
            subject: Subject::Command,
            status,
            reason: "unreadable_event".into(),
            conversion: Some(an_id(8)),
            original: None,
            source: Some(an_id(6)),
            received_at: Timestamp::from_micros(5),
            test: true,
        }))
    };
    let mut facts = one_of_each();
    facts.extend((0..).zip(OutcomeStatus::ALL).map(outcome));
    Record {
        core_version: 1,
        partition: 0,
        previous: [1; 32],
        first_seq: 1,
        source_from: 0,
        source_to: 1,
        catalog: CatalogRevision::default(),
        last_event: [2; 32],
        decisions: vec![Decision { source: 0, core_time: Timestamp::from_micros(1), facts }],
    }
}

/// A fact of each kind but outcomes.
fn one_of_each() -> Vec<Fact> {
    let [clicked, converted, ..] = events();
    vec![
        Fact::Click(Box::new(ClickFact {
            receipt: an_id(8),
            workspace: WorkspaceNumber::NONE,
            received_at: clicked.received_at,
            click: Box::new(click()),
        })),
        Fact::Impression(Box::new(ImpressionFact {
            receipt: an_id(8),
            workspace: WorkspaceNumber::NONE,
            received_at: clicked.received_at,
            impression: Box::new(impression()),
        })),
        Fact::Nonce(Box::new(UsedNonce {
            workspace: WorkspaceNumber::NONE,
            source: Some(an_id(6)),
            nonce: nonce(),
            event: an_id(8),
        })),
        Fact::CapCounted(Box::new(CapCounted {
            workspace: WorkspaceNumber::NONE,
            place: place(),
            edge: Some(an_id(7)),
            is_withdrawal: true,
        })),
        Fact::Joined(Box::new(Joined { workspace: WorkspaceNumber::NONE, identities: identities() })),
        sweep(SweepReached::Start),
        sweep(SweepReached::Conversion(Timestamp::default(), an_id(8))),
        sweep(SweepReached::End),
        Fact::Delayed(delayed()),
        Fact::Delayed(Delayed { since: None, events: 0, ..delayed() }),
        Fact::Revision(Box::new(revision())),
        Fact::Parked(Box::new(Parked { event: converted, due: Timestamp::from_micros(9) })),
        Fact::Unparked(Unparked {
            event: an_id(8),
            workspace: WorkspaceNumber::NONE,
            due: Timestamp::from_micros(9),
        }),
        Fact::Redelivered(Mark { edge: an_id(7), number: u64::MAX }),
        Fact::Ticked,
        Fact::Cut(Cut { number: 1, rows: RowCounts::new([0, 1, 2, 3, u64::MAX]) }),
    ]
}
