//! What edges and desks send.

use schemas::event::{
    Actor, Body, CatalogRevision, Click, Command, Conversion, Delayed, Event, Hit, Impression, Mark, Refund,
    Status, Trust,
};
use schemas::id::{ClickId, ConversionId, EdgeId, EventId, IdGenerator, WorkspaceNumber};
use schemas::time::Timestamp;

use super::{OFFER, PARTNER, WORKSPACE, id, usd};

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;
/// The tests' epoch, 2026-11-10T00:00:00Z: all times below are microseconds after it.
pub(crate) const T0: i64 = 1_794_268_800 * SECOND;

/// One life of an edge: fresh ids, dense marks.
pub(crate) struct Traffic {
    ids: IdGenerator,
    edge: EdgeId,
    number: u64,
    /// The revision that events carry.
    pub(crate) catalog: CatalogRevision,
}

impl Traffic {
    pub(crate) fn of_edge(edge: u8) -> Self {
        let catalog = CatalogRevision::default();
        Self { ids: IdGenerator::new(edge.into()), edge: id(edge), number: 0, catalog }
    }

    fn event(&mut self, at: i64, body: Body) -> Event {
        let mark = Mark { edge: self.edge, number: self.number };
        self.number += 1;
        Event {
            id: self.ids.next(Timestamp::from_micros(T0 + at).unix_ms(), WORKSPACE),
            workspace: WORKSPACE,
            mark: Some(mark),
            received_at: Timestamp::from_micros(T0 + at),
            catalog: self.catalog,
            body,
        }
    }

    /// A click on the offer by the partner's link.
    pub(crate) fn click(&mut self, at: i64, edit: impl FnOnce(&mut Hit)) -> Event {
        let mut click = Click {
            id: self.ids.next(Timestamp::from_micros(T0 + at).unix_ms(), WORKSPACE),
            hit: hit(at),
            ext_click_id: String::new(),
            destination_url: "https://shop.example/".into(),
            choice: None,
        };
        edit(&mut click.hit);
        self.event(at, Body::Click(Box::new(click)))
    }

    /// An impression of the offer by the partner's link.
    pub(crate) fn impression(&mut self, at: i64, edit: impl FnOnce(&mut Hit)) -> Event {
        let id = self.ids.next(Timestamp::from_micros(T0 + at).unix_ms(), WORKSPACE);
        let mut impression = Impression { id, hit: hit(at) };
        edit(&mut impression.hit);
        self.event(at, Body::Impression(Box::new(impression)))
    }

    /// A sale of 80 dollars, reported with a secret key.
    pub(crate) fn conversion(&mut self, at: i64, edit: impl FnOnce(&mut Conversion)) -> Event {
        let mut conversion = Conversion {
            goal: "sale".into(),
            click: None,
            visitor: None,
            customer_id: String::new(),
            email_sha256: None,
            coupon: String::new(),
            partner: None,
            offer: None,
            transaction_id: String::new(),
            client_event_id: String::new(),
            amount: Some(usd(80)),
            stated_amount: None,
            status: None,
            source: None,
            trust: Trust::Secret,
            metadata: String::new(),
            occurred_at: Timestamp::from_micros(T0 + at),
            labels: Vec::new(),
            test: false,
            fault: None,
            nonce: None,
            pixel: None,
        };
        edit(&mut conversion);
        self.event(at, Body::Conversion(Box::new(conversion)))
    }

    /// A full refund of the transaction `t1`, reported with a secret key.
    pub(crate) fn refund(&mut self, at: i64, edit: impl FnOnce(&mut Refund)) -> Event {
        let mut refund = Refund {
            refund_id: "r1".into(),
            conversion: None,
            transaction_id: "t1".into(),
            goal: "sale".into(),
            source: None,
            amount: None,
            stated_amount: None,
            reason: String::new(),
            trust: Trust::Secret,
            occurred_at: Timestamp::from_micros(T0 + at),
            labels: Vec::new(),
            nonce: None,
            test: false,
            fault: None,
        };
        edit(&mut refund);
        self.event(at, Body::Refund(Box::new(refund)))
    }

    /// What somebody at a desk wants done with a conversion.
    pub(crate) fn command(
        &mut self,
        at: i64,
        conversion: ConversionId,
        to: Status,
        edit: impl FnOnce(&mut Command),
    ) -> Event {
        let mut command = Command {
            conversion,
            to,
            expected_version: None,
            reason: "decided".into(),
            note: String::new(),
            actor: Actor::Key(id(7)),
            request_id: "req_1".into(),
            test: false,
        };
        edit(&mut command);
        self.event(at, Body::Command(Box::new(command)))
    }

    /// What an edge says about its spool.
    pub(crate) fn delayed(&mut self, at: i64, events: u64) -> Event {
        let since = (events > 0).then_some(Timestamp::from_micros(T0 + at));
        let said = Body::Delayed(Delayed { edge: self.edge, since, events });
        Event { body: said, ..self.tick(at) }
    }

    pub(crate) fn tick(&mut self, at: i64) -> Event {
        let tick = self.event(at, Body::Tick);
        self.number -= 1;
        Event { mark: None, workspace: WorkspaceNumber::NONE, catalog: CatalogRevision::default(), ..tick }
    }

    /// Leaves out a delivery's number.
    pub(crate) const fn skip(&mut self) {
        self.number += 1;
    }
}

fn hit(at: i64) -> Hit {
    Hit {
        link: Some(id(1)),
        partner: Some(PARTNER),
        creative: "banner".into(),
        subs: vec!["s1".into()],
        source_id: "site".into(),
        params: vec![("q".into(), "x".into())],
        referrer: "https://blog.example/".into(),
        user_agent: "Mozilla/5.0".into(),
        address: "192.0.2.0".into(),
        ..Hit::new(OFFER, Timestamp::from_micros(T0 + at))
    }
}

pub(crate) fn click_id(event: &Event) -> ClickId {
    match &event.body {
        Body::Click(click) => click.id,
        Body::Impression(_)
        | Body::Conversion(_)
        | Body::Refund(_)
        | Body::Command(_)
        | Body::Delayed(_)
        | Body::Tick => {
            panic!("no click: {event:?}")
        }
    }
}

pub(crate) const fn event_id(event: &Event) -> EventId {
    event.id
}
