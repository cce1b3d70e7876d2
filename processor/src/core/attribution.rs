//! Attribution: which touch a conversion belongs to, and why each other touch lost.
//!
//! Last touch: among the eligible touches of the conversion's visitor and offer, the latest by time, then the one with
//! the larger id, gets everything. A touch is eligible if no label excludes it, is not older than the lookback
//! window of its offer before the conversion and not later than the conversion; the click that the conversion names itself may be up
//! to [`CLOCK_SKEW_MICROS`] later, because clocks differ.

use std::collections::BTreeMap;

use catalog::{Catalog, Workspace};
use schemas::fact::{Credits, Lost, Touch};
use schemas::id::{ClickId, OfferId, VisitorId, WorkspaceNumber};
use schemas::time::Timestamp;

use super::key;
use super::state::{Overlay, State, StateError};
use super::stored::StoredClick;
use super::{CLOCK_SKEW_MICROS, TOUCHES_PER_END};

/// All of a conversion, in basis points.
const WHOLE: u16 = 10_000;

/// What a conversion asks about.
pub(super) struct Question<'a> {
    pub(super) workspace: WorkspaceNumber,
    /// The click that the conversion names.
    pub(super) named: Option<StoredClick>,
    /// Whose touches are considered beside it.
    pub(super) visitor: Option<VisitorId>,
    /// Touches of other offers are not considered; `None` considers all.
    pub(super) offer: Option<OfferId>,
    pub(super) occurred_at: Timestamp,
    /// Whether the conversion was made with a test key.
    pub(super) test: bool,
    /// The window of each offer.
    pub(super) lookback: Lookback<'a>,
}

/// How far back conversions look for their touches.
pub(super) struct Lookback<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) workspace: &'a Workspace,
}

impl Lookback<'_> {
    /// The window before a conversion in which touches of an offer count.
    fn of(&self, offer: OfferId) -> i64 {
        let offer = self.catalog.offer(self.workspace.number, offer);
        offer.and_then(|offer| offer.click_lookback_micros).unwrap_or(self.workspace.click_lookback_micros)
    }

    /// The longest window that any touch can have; of all offers where none is named.
    fn longest(&self, offer: Option<OfferId>) -> i64 {
        match offer {
            Some(offer) => self.of(offer),
            None => self
                .catalog
                .offers(self.workspace.number)
                .filter_map(|offer| offer.click_lookback_micros)
                .fold(self.workspace.click_lookback_micros, i64::max),
        }
    }
}

/// The touches considered, in order of time, and the click that won.
pub(super) struct Answer {
    pub(super) touches: Vec<Touch>,
    pub(super) winner: Option<StoredClick>,
}

pub(super) fn attribute(state: &Overlay<'_>, question: &Question<'_>) -> Result<Answer, StateError> {
    let candidates = candidates(state, question)?;
    let winner = candidates
        .values()
        .filter(|click| ineligible(question, click).is_none())
        .max_by_key(|click| (click.at, click.id))
        .cloned();
    let touches = candidates
        .values()
        .map(|click| {
            let won = winner.as_ref().is_some_and(|winner| winner.id == click.id);
            Touch {
                click: click.id,
                at: click.at,
                partner: click.partner,
                link: click.link,
                lost: if won { None } else { Some(ineligible(question, click).unwrap_or(Lost::Earlier)) },
                credits: Credits { last_touch: if won { WHOLE } else { 0 } },
            }
        })
        .collect();
    Ok(Answer { touches, winner })
}

/// The named click, and the first and last touches of the visitor, by time and id.
fn candidates(
    state: &Overlay<'_>,
    question: &Question<'_>,
) -> Result<BTreeMap<(Timestamp, ClickId), StoredClick>, StateError> {
    let mut found = BTreeMap::new();
    if let Some(visitor) = question.visitor {
        // Touches a little outside the window are considered too, so that an explanation can show them as lost.
        let earliest =
            question.occurred_at.saturating_add(question.lookback.longest(question.offer).saturating_mul(-2));
        let latest = question.occurred_at.saturating_add(CLOCK_SKEW_MICROS);
        let (from, to) = key::touches(question.workspace, visitor, earliest, latest);
        let mut keys = state.scan(&from, &to, TOUCHES_PER_END, true)?;
        keys.extend(state.scan(&from, &to, TOUCHES_PER_END, false)?);
        for (touch, _) in keys {
            let Some(id) = key::click_of_touch(&touch) else { return Err(StateError::Unreadable("touch")) };
            let Some(bytes) = state.get(&key::click(question.workspace, id))? else { continue };
            let click = StoredClick::decode(id, &bytes)?;
            if question.offer.is_none_or(|offer| offer == click.offer) {
                found.insert((click.at, click.id), click);
            }
        }
    }
    if let Some(click) = &question.named {
        found.insert((click.at, click.id), click.clone());
    }
    Ok(found)
}

fn ineligible(question: &Question<'_>, click: &StoredClick) -> Option<Lost> {
    let named = question.named.as_ref().is_some_and(|named| named.id == click.id);
    let skew = if named { CLOCK_SKEW_MICROS } else { 0 };
    let age = question.occurred_at.micros_since(click.at);
    // A conversion that names a click proves that a person followed it: many share one address behind a carrier's gateway, and
    // the rate limit of an address shall not cost the partner who sent a buyer. Where we would have to guess the click from
    // the visitor, it counts as what the label says: traffic beyond what one address makes.
    let is_excluded = click.excluded || (click.rate_limited && !named);
    // A rehearsal earns nobody anything; what it rehearses may stand on a live click.
    let is_rehearsal = click.test && !question.test;
    if is_excluded || is_rehearsal {
        Some(Lost::ExcludedLabel)
    } else if age < -skew {
        Some(Lost::AfterConversion)
    } else if age > question.lookback.of(click.offer) {
        Some(Lost::OutsideLookback)
    } else {
        None
    }
}
