mod facts;

use bytes::Bytes;
use proptest::prelude::*;

use self::facts::{record, revision};
use super::*;
use crate::cap::{CapCount, CapCounts, CapPlace};
use crate::event::{
    Actor, Body, CatalogRevision, Choice, Click, Command, Conversion, Delayed, Event, Fault, Hit, Impression,
    Mark, Nonce, Refund, StatedAmount, Status, Trust,
};
use crate::fact::{Cause, OutcomeStatus, Revision};
use crate::money::{Currency, Money};
use crate::result::{CommandResult, ConversionNow};
use crate::time::Timestamp;

fn an_id<K: Kind>(number: u8) -> Id<K> {
    Id::from_bytes([number; 16])
}

fn hit() -> Hit {
    Hit {
        link: Some(an_id(2)),
        offer: an_id(3),
        partner: Some(an_id(4)),
        campaign: None,
        visitor: Some(an_id(5)),
        creative: "banner".into(),
        subs: vec!["a".into(), String::new(), "c".into()],
        source_id: "site".into(),
        params: vec![("q".into(), "ä".into()), ("q".into(), String::new())],
        labels: vec!["head".into()],
        referrer: "https://r.example/".into(),
        user_agent: "agent".into(),
        address: "192.0.2.0".into(),
        language: "de".into(),
        browser: "Firefox".into(),
        os: "Linux".into(),
        device: "desktop".into(),
        country: "DE".into(),
        region: "DE-BE".into(),
        city: "Berlin".into(),
        cost: Some(Money { micros: 5, currency: Currency::USD }),
        test: true,
        occurred_at: Timestamp::from_micros(-7),
    }
}

fn click() -> Click {
    Click {
        id: an_id(1),
        hit: hit(),
        ext_click_id: "x".into(),
        destination_url: "https://d.example/".into(),
        choice: Some(Choice { rule: an_id(9), version: 0, variant: 0 }),
    }
}

fn impression() -> Impression {
    Impression { id: an_id(1), hit: hit() }
}

fn refund() -> Refund {
    Refund {
        refund_id: "r".into(),
        conversion: Some(an_id(8)),
        transaction_id: "t".into(),
        goal: "sale".into(),
        source: Some(an_id(6)),
        amount: Some(Money { micros: 0, currency: Currency::USD }),
        stated_amount: Some(StatedAmount::Minor(0)),
        reason: "broken".into(),
        trust: Trust::Secret,
        occurred_at: Timestamp::from_micros(8),
        labels: vec!["l".into()],
        nonce: Some(nonce()),
        test: true,
        fault: Some(Fault { reason: "r".into(), field: "f".into(), message: "m".into() }),
    }
}

fn nonce() -> Nonce {
    Nonce { text: "n".repeat(Nonce::MAX_BYTES), body_sha256: [4; 32] }
}

fn command() -> Command {
    Command {
        conversion: an_id(8),
        to: Status::Paid,
        // No version is 0, but a command may say so.
        expected_version: Some(0),
        reason: "checked".into(),
        note: "by hand".into(),
        actor: Actor::Key(an_id(3)),
        request_id: "req_1".into(),
        test: true,
    }
}

fn result() -> CommandResult {
    CommandResult {
        workspace: WorkspaceNumber::NONE,
        event: an_id(8),
        status: OutcomeStatus::Conflict,
        reason: "version_mismatch".into(),
        conversion: Some(ConversionNow { id: an_id(1), version: 3, status: Status::Hold }),
    }
}

/// An edge whose spool holds something, perhaps since the epoch itself.
fn delayed() -> Delayed {
    Delayed { edge: an_id(7), since: Some(Timestamp::default()), events: 3 }
}

fn conversion() -> Conversion {
    Conversion {
        goal: "sale".into(),
        click: Some(an_id(1)),
        visitor: None,
        customer_id: "c".into(),
        email_sha256: Some([9; 32]),
        coupon: "coupon".into(),
        partner: Some(an_id(4)),
        offer: Some(an_id(3)),
        transaction_id: "t".into(),
        client_event_id: "e".into(),
        amount: Some(Money { micros: 0, currency: Currency::USD }),
        stated_amount: Some(StatedAmount::Decimal("12.50".into())),
        status: Some(Status::Hold),
        source: Some(an_id(6)),
        trust: Trust::Token,
        metadata: "{}".into(),
        occurred_at: Timestamp::from_micros(8),
        labels: vec!["unknown_goal".into()],
        test: false,
        fault: Some(Fault { reason: "r".into(), field: "f".into(), message: "m".into() }),
        nonce: Some(nonce()),
        pixel: Some(an_id(2)),
    }
}

fn event(body: Body) -> Event {
    let mark = Mark { edge: an_id(7), number: 0 };
    Event {
        id: an_id(8),
        workspace: WorkspaceNumber::NONE,
        mark: body.is_delivery().then_some(mark),
        received_at: Timestamp::from_micros(i64::MAX),
        catalog: CatalogRevision { number: 3, hash: u64::MAX },
        body,
    }
}

fn events() -> [Event; 7] {
    [
        Body::Click(Box::new(click())),
        Body::Conversion(Box::new(conversion())),
        Body::Tick,
        Body::Impression(Box::new(impression())),
        Body::Refund(Box::new(refund())),
        Body::Delayed(delayed()),
        Body::Command(Box::new(command())),
    ]
    .map(event)
}

fn place() -> CapPlace {
    CapPlace {
        cap: [6; 16],
        window_start: Timestamp::default(),
        ends_by: Timestamp::from_micros(i64::MAX),
        partner: Some(an_id(4)),
    }
}

fn cap_counts() -> CapCounts {
    let count = CapCount {
        workspace: WorkspaceNumber::NONE,
        place: place(),
        total: 0,
        of_edges: vec![(an_id(7), 0), (an_id(8), u64::MAX)],
    };
    CapCounts { partition: 3, source: 9, counts: vec![count] }
}

#[test]
fn every_actor_comes_back_as_it_was() {
    for actor in [Actor::System, Actor::Key(an_id(1)), Actor::Source(Some(an_id(2))), Actor::Source(None)] {
        let revision = Revision { cause: Cause { actor, ..revision().cause }, ..revision() };
        assert_eq!(decode_revision(encode_revision(&revision, &revision.touches).into()), Ok(revision));
    }
    let without = CommandResult { conversion: None, ..result() };
    assert_eq!(decode_result(encode_result(&without)), Ok(without));
    let command = Command { expected_version: None, ..command() };
    let event = event(Body::Command(Box::new(command)));
    assert_eq!(decode_event(encode_event(event.clone())), Ok(event));
}

#[test]
fn an_actor_of_no_kind_is_refused() {
    for (kind, id) in [(0, vec![]), (1, vec![1; 16]), (2, vec![]), (4, vec![])] {
        let actor = pb_events::Actor { kind, id: id.into() };
        assert_eq!(command::actor_from_pb(&actor).map_err(|_| ()), Err(()), "{kind}");
    }
}

#[test]
fn everything_comes_back_as_it_was() {
    for event in events() {
        assert_eq!(decode_event(encode_event(event.clone())), Ok(event));
    }
    assert_eq!(decode_record(encode_record(record())), Ok(record()));
    assert_eq!(decode_cap_counts(encode_cap_counts(&cap_counts())), Ok(cap_counts()));
    assert_eq!(decode_result(encode_result(&result())), Ok(result()));
    let [count] = &cap_counts().counts[..] else { panic!("one count") };
    assert_eq!(decode_cap_count(encode_cap_count(count).into()).as_ref(), Ok(count));
    assert_eq!(decode_revision(encode_revision(&revision(), &revision().touches).into()), Ok(revision()));
}

/// A field of the number 2047.
const UNKNOWN: &[u8] = b"\xf8\x7f\x01";

#[test]
fn a_field_that_is_not_known_is_refused_wherever_it_stands() {
    for bytes in events().map(encode_event) {
        let more = Bytes::from([&bytes[..], UNKNOWN].concat());
        assert_eq!(decode_event(more), Err(WireError::UnknownField));
    }
    let more = Bytes::from([&encode_record(record())[..], UNKNOWN].concat());
    assert_eq!(decode_record(more), Err(WireError::UnknownField));
    let more = Bytes::from([&encode_cap_counts(&cap_counts())[..], UNKNOWN].concat());
    assert_eq!(decode_cap_counts(more), Err(WireError::UnknownField));
    let more = Bytes::from([&encode_result(&result())[..], UNKNOWN].concat());
    assert_eq!(decode_result(more), Err(WireError::UnknownField));
    // Within a message of a message: an event of no more than a catalog revision that holds it.
    let nested = Bytes::from([&[8, EVENT_VERSION as u8, 0x32, 3][..], UNKNOWN].concat());
    assert_eq!(decode_event(nested), Err(WireError::UnknownField));
}

#[test]
fn another_version_is_refused_by_its_number_whatever_else_is_new_in_it() {
    let of_version = |bytes: &Bytes, version: u8| {
        assert_eq!(bytes[..2], [8, 1], "field 1 is the version");
        Bytes::from([&[8, version], &bytes[2..], UNKNOWN].concat())
    };
    for event in events() {
        let newer = of_version(&encode_event(event), 2);
        assert_eq!(decode_event(newer), Err(WireError::UnknownVersion(2)));
    }
    let newer = of_version(&encode_record(record()), 2);
    assert_eq!(decode_record(newer), Err(WireError::UnknownVersion(2)));
    let newer = of_version(&encode_cap_counts(&cap_counts()), 2);
    assert_eq!(decode_cap_counts(newer), Err(WireError::UnknownVersion(2)));
    let newer = of_version(&encode_result(&result()), 2);
    assert_eq!(decode_result(newer), Err(WireError::UnknownVersion(2)));
    assert_eq!(decode_event(Bytes::new()), Err(WireError::UnknownVersion(0)));
}

#[test]
fn what_no_edge_writes_is_refused() {
    let [clicked, _, tick, ..] = events();
    for (event, fault) in
        [(Event { mark: None, ..clicked.clone() }, "mark"), (Event { mark: clicked.mark, ..tick }, "mark")]
    {
        assert_eq!(decode_event(encode_event(event)), Err(WireError::Impossible(fault)));
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = (decode_event(bytes.clone()), decode_record(bytes.clone()), decode_revision(bytes.clone()));
        let _ = (decode_cap_counts(bytes.clone()), decode_result(bytes));
    }

    #[test]
    fn no_damage_to_what_was_right_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut all = events().map(|event| encode_event(event).to_vec()).to_vec();
        all.push(encode_record(record()).to_vec());
        all.push(encode_cap_counts(&cap_counts()).to_vec());
        for mut bytes in all {
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let bytes = Bytes::from(bytes);
            let _ = (decode_event(bytes.clone()), decode_record(bytes.clone()), decode_cap_counts(bytes));
        }
    }
}
