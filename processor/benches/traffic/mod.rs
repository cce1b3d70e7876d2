//! The traffic that the processor is measured by: nine clicks and one conversion in ten events.
//!
//! Visitors are chosen by Zipf's law with exponent 1, links alike. A conversion names a recent click, or, one in five, the visitor and
//! the offer of one, as a pixel does. A click carries about what a browser's click by a link of a network carries.

mod installation;
mod zipf;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use schemas::event::{Body, CatalogRevision, Click, Conversion, Event, Hit, Mark, Trust};
use schemas::id::{ClickId, EdgeId, IdGenerator, OfferId, VisitorId};
use schemas::money::{Currency, Money};
use schemas::time::Timestamp;

pub(crate) use installation::{LINKS, WORKSPACE, catalog_records, folded};
use zipf::Zipf;

/// Visitors.
pub(crate) const VISITORS: u32 = 2_000_000;
/// Clicks among which a conversion finds its own.
const RECENT: usize = 200_000;
/// 2026-11-10T00:00:00Z.
pub(crate) const T0: i64 = 1_794_268_800 * 1_000_000;
const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// A click that conversions may name.
#[derive(Clone, Copy)]
struct Recent {
    click: ClickId,
    visitor: VisitorId,
    offer: OfferId,
}

/// One edge's traffic, the same for the same seed.
pub(crate) struct Traffic {
    rng: StdRng,
    visitors: Zipf,
    ids: IdGenerator,
    edge: EdgeId,
    number: u64,
    catalog: CatalogRevision,
    recent: Vec<Recent>,
    clicks: usize,
}

impl Traffic {
    /// Traffic whose events carry this revision of the catalog.
    pub(crate) fn new(seed: u64, catalog: CatalogRevision) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            visitors: Zipf::new(VISITORS),
            ids: IdGenerator::new(seed.into()),
            edge: EdgeId::from_bytes([(seed as u8).wrapping_add(6); 16]),
            number: 0,
            catalog,
            recent: Vec::with_capacity(RECENT),
            clicks: 0,
        }
    }

    /// The next event, at a time in microseconds.
    pub(crate) fn next(&mut self, at_micros: i64) -> Event {
        let at = Timestamp::from_micros(at_micros);
        let body = if self.recent.is_empty() || self.rng.random_range(0..10) > 0 {
            Body::Click(Box::new(self.click(at)))
        } else {
            Body::Conversion(Box::new(self.conversion(at)))
        };
        let mark = Mark { edge: self.edge, number: self.number };
        self.number += 1;
        Event {
            id: self.ids.next(at.unix_ms(), WORKSPACE),
            workspace: WORKSPACE,
            mark: Some(mark),
            received_at: at,
            catalog: self.catalog,
            body,
        }
    }

    fn click(&mut self, at: Timestamp) -> Click {
        let visitor = visitor(self.visitors.sample(&mut self.rng));
        let link = self.rng.random_range(0..LINKS);
        let id = self.ids.next(at.unix_ms(), WORKSPACE);
        let (offer, partner) = (installation::offer_of(link), installation::partner_of(link));
        let recent = Recent { click: id, visitor, offer };
        if self.recent.len() < RECENT {
            self.recent.push(recent);
        } else {
            self.recent[self.clicks % RECENT] = recent;
        }
        self.clicks += 1;
        Click {
            id,
            hit: Hit {
                link: Some(installation::id(link)),
                partner: Some(partner),
                visitor: Some(visitor),
                creative: "banner-728x90".into(),
                subs: vec!["newsletter".into(), format!("c{}", link % 97)],
                source_id: format!("site-{}", link % 1_000),
                referrer: "https://blog.example/reviews/running-shoes".into(),
                user_agent: USER_AGENT.into(),
                address: "192.0.2.0".into(),
                language: "de".into(),
                browser: "Chrome".into(),
                os: "Windows".into(),
                device: "desktop".into(),
                country: "DE".into(),
                ..Hit::new(offer, at)
            },
            ext_click_id: String::new(),
            destination_url: "https://shop.example/running/shoes?click_id=".into(),
            choice: None,
        }
    }

    fn conversion(&mut self, at: Timestamp) -> Conversion {
        let of = self.recent[self.rng.random_range(0..self.recent.len())];
        let by_pixel = self.rng.random_range(0..5) == 0;
        Conversion {
            goal: "sale".into(),
            click: (!by_pixel).then_some(of.click),
            visitor: by_pixel.then_some(of.visitor),
            customer_id: String::new(),
            email_sha256: None,
            coupon: String::new(),
            partner: None,
            offer: by_pixel.then_some(of.offer),
            transaction_id: format!("order-{}", self.number),
            client_event_id: String::new(),
            amount: Some(Money { micros: 80_000_000, currency: Currency::USD }),
            stated_amount: None,
            status: None,
            source: None,
            trust: Trust::Secret,
            metadata: String::new(),
            occurred_at: at,
            labels: Vec::new(),
            test: false,
            fault: None,
            nonce: None,
            pixel: None,
        }
    }
}

/// The visitor of a rank: an id as an edge makes it, in no order.
fn visitor(rank: u32) -> VisitorId {
    let mixed = u128::from(rank).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).rotate_left(61);
    let ms = T0 as u128 / 1_000 - mixed % (90 * 86_400_000);
    let random = mixed.wrapping_mul(0xd129_0d3f_8b3f_8b71_2545_f491_4f6c_dd1d) >> 54;
    VisitorId::from_bytes(((ms << 80) | (0x7 << 76) | random).to_be_bytes())
}
