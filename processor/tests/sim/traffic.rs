//! What edges and a desk have to deliver: made in the order of time, delivered in any order, days late and twice.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngExt as _};
use schemas::event::{Command, Conversion, Event, Nonce, Refund, Status, Trust};
use schemas::id::ClickId;
use schemas::money::{Currency, Money};
use schemas::wire;

use crate::alone::{CATALOGS, FIRST_REVISIONS};
use crate::scene::{
    CAPPED_OFFER, COUPON, DAY, OFFER, OTHER_OFFER, REJECTING_OFFER, Traffic, click_id, event_id, id, usd,
};

/// After this age an edge gives a spooled event up.
const MAX_AGE_MICROS: i64 = 7 * DAY;
const OFFERS: [schemas::id::OfferId; 4] = [OFFER, OTHER_OFFER, CAPPED_OFFER, REJECTING_OFFER];

/// An event that an edge holds.
pub(crate) struct Delivery {
    pub(crate) payload: Bytes,
    pub(crate) received: i64,
}

/// The edges and a desk, and what they hold.
pub(crate) struct Edges {
    edges: Vec<Traffic>,
    desk: Traffic,
    clicks: Vec<ClickId>,
    conversions: Vec<schemas::id::EventId>,
    pub(crate) outbox: Vec<Delivery>,
    /// Events that are still to be made.
    pub(crate) left: usize,
    /// Revisions that the catalog has.
    pub(crate) revisions: usize,
}

impl Edges {
    pub(crate) fn new(left: usize) -> Self {
        let edges = (1..=3).map(Traffic::of_edge).collect();
        Self {
            edges,
            desk: Traffic::of_edge(9),
            clicks: Vec::new(),
            conversions: Vec::new(),
            outbox: Vec::new(),
            left,
            revisions: FIRST_REVISIONS,
        }
    }

    /// Makes one event.
    pub(crate) fn make(&mut self, rng: &mut StdRng, now: i64) {
        self.left = self.left.saturating_sub(1);
        if rng.random_ratio(1, 40) {
            let mut rubbish = vec![0; rng.random_range(0..20)];
            rng.fill_bytes(&mut rubbish);
            // Whatever it begins with, no event ends like this.
            rubbish.insert(0, 0xff);
            self.outbox.push(Delivery { payload: rubbish.into(), received: now });
            return;
        }
        let commanded = self.conversions.choose(rng).copied().filter(|_| rng.random_ratio(1, 6));
        let event = match commanded {
            Some(conversion) => self.command(rng, now, conversion),
            None => self.event(rng, now),
        };
        self.outbox.push(Delivery { payload: wire::encode_event(event), received: now });
    }

    /// Somebody at the desk moves a conversion that may be there, or not yet, or never.
    fn command(&mut self, rng: &mut StdRng, now: i64, of: schemas::id::EventId) -> Event {
        self.desk.catalog = CATALOGS[self.revisions].revision();
        if rng.random_ratio(1, 20) {
            self.desk.skip();
        }
        let to = *Status::ALL.choose(rng).unwrap();
        self.desk.command(now, of.rename(), to, |it: &mut Command| {
            it.expected_version = rng.random_ratio(1, 3).then(|| rng.random_range(1..4));
            it.test = rng.random_ratio(1, 20);
        })
    }

    fn event(&mut self, rng: &mut StdRng, now: i64) -> Event {
        let which = rng.random_range(0..self.edges.len());
        let edge = &mut self.edges[which];
        // Some edge has not heard of the newest yet.
        let behind = if rng.random_ratio(1, 10) { rng.random_range(1..self.revisions) } else { 0 };
        edge.catalog = CATALOGS[self.revisions - behind].revision();
        if rng.random_ratio(1, 20) {
            edge.skip();
        }
        match rng.random_range(0..100) {
            0..40 => {
                let event = edge.click(now, |hit| {
                    hit.offer = *OFFERS.choose(rng).unwrap();
                    hit.visitor = rng.random_ratio(1, 2).then(|| id(rng.random_range(0..3)));
                });
                self.clicks.push(click_id(&event));
                event
            }
            40..78 => {
                // Its click may be on the way, decided, or one that never comes.
                let never = edge.click(now, |_| {});
                let click = match self.clicks.choose(rng) {
                    Some(click) if !rng.random_ratio(1, 8) => *click,
                    Some(_) | None => click_id(&never),
                };
                let event = edge.conversion(now, |it| conversion(rng, click, it));
                self.conversions.push(event_id(&event));
                event
            }
            78..92 => {
                let of = self.conversions.choose(rng).copied();
                edge.refund(now, |it| refund(rng, of, it))
            }
            92..96 => edge.impression(now, |hit| hit.visitor = Some(id(rng.random_range(0..3)))),
            _ => edge.delayed(now, rng.random_range(0..3)),
        }
    }

    /// Takes what would be too old after `by` more.
    pub(crate) fn take_old(&mut self, now: i64, by: i64) -> Vec<Bytes> {
        let too_old = |it: &mut Delivery| it.received + MAX_AGE_MICROS <= now + by;
        self.outbox.extract_if(.., too_old).map(|it| it.payload).collect()
    }
}

/// As many euros.
fn euros(dollars: Money) -> Money {
    Money { currency: Currency::from_code("EUR").unwrap(), ..dollars }
}

fn conversion(rng: &mut StdRng, click: ClickId, it: &mut Conversion) {
    if rng.random_ratio(1, 6) {
        it.visitor = Some(id(rng.random_range(0..3)));
    } else {
        it.click = Some(click);
    }
    if rng.random_ratio(1, 4) {
        it.customer_id = format!("c{}", rng.random_range(0..2));
    }
    it.email_sha256 = rng.random_ratio(1, 8).then(|| [rng.random_range(0..2); 32]);
    it.coupon = (*["", "", "", COUPON, "nobody's"].choose(rng).unwrap()).into();
    it.goal = (*["sale", "sale", "lead", "review", "held", "last", "each"].choose(rng).unwrap()).into();
    it.amount = Some(usd(rng.random_range(1..4)));
    if rng.random_ratio(1, 6) {
        it.amount = it.amount.map(euros);
    }
    if rng.random_ratio(4, 5) {
        let number = rng.random_range(0..6);
        it.transaction_id = format!("t{number}");
        // A repetition may say the same, so that only its status counts.
        it.amount = it.amount.filter(|_| rng.random_ratio(1, 4)).or(Some(usd(1 + number % 3)));
    }
    it.trust = *[Trust::Secret, Trust::Token, Trust::Publishable, Trust::Open].choose(rng).unwrap();
    it.status = rng.random_ratio(1, 3).then(|| *Status::ALL.choose(rng).unwrap());
}

fn refund(rng: &mut StdRng, of: Option<schemas::id::EventId>, it: &mut Refund) {
    it.refund_id = format!("r{}", rng.random_range(0..3));
    it.transaction_id = format!("t{}", rng.random_range(0..8));
    it.conversion = of.filter(|_| rng.random_ratio(1, 4)).map(schemas::id::Id::rename);
    it.amount = rng.random_ratio(2, 3).then(|| usd(rng.random_range(1..3)));
    if rng.random_ratio(1, 6) {
        it.amount = it.amount.map(euros);
    }
    let text = rng.random_range(0..4).to_string();
    it.nonce = rng.random_ratio(1, 3).then(|| Nonce { text, body_sha256: [rng.random_range(0..2); 32] });
}
