//! Attribution: which touches a conversion belongs to, how they share it under each model, and why each other touch lost.
//!
//! A touch is a click, or an impression. It is eligible if no label excludes it, it is not older than the lookback window of its
//! type and offer before the conversion, not closer to the conversion than the workspace's least time to convert, and not later
//! than the conversion; the click that the conversion names itself may be up to [`CLOCK_SKEW_MICROS`] later, because clocks
//! differ. Impressions count only where no click is eligible. All eligible touches share the conversion
//! ([`super::model`]); it belongs to the one that the workspace's payable model gives most.

use std::collections::BTreeMap;

use catalog::{Catalog, Model, Offer, Workspace};
use schemas::fact::{Credits, Lost, Touch, TouchId};
use schemas::id::{OfferId, VisitorId, WorkspaceNumber};
use schemas::time::Timestamp;

use super::horizon::{is_click_over, oldest_touch};
use super::key::{self, Visits};
use super::model::{self, Sharer};
use super::state::{Overlay, State, StateError, Value, Walk};
use super::stored::StoredTouch;
use super::{CLOCK_SKEW_MICROS, TOUCHES_PER_END, VIEWS_PER_END};

/// What a conversion asks about.
pub(super) struct Question<'a> {
    pub(super) workspace: WorkspaceNumber,
    /// The click that the conversion names.
    pub(super) named: Option<StoredTouch>,
    /// Whose touches are considered beside it.
    pub(super) visitors: Vec<VisitorId>,
    /// Touches of other offers are not considered; `None` considers all.
    pub(super) offer: Option<OfferId>,
    pub(super) occurred_at: Timestamp,
    /// Whether the conversion was made with a test key.
    pub(super) test: bool,
    /// The windows and models.
    pub(super) windows: Windows<'a>,
}

/// By what touches are judged.
pub(super) struct Windows<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) workspace: &'a Workspace,
}

impl Windows<'_> {
    /// The window before a conversion in which touches of an offer count.
    pub(super) fn lookback(&self, offer: OfferId, is_click: bool) -> i64 {
        let offer = self.catalog.offer(self.workspace.number, offer);
        let own = offer.and_then(|offer| lookback_of(offer, is_click));
        own.unwrap_or_else(|| self.default_lookback(is_click))
    }

    const fn default_lookback(&self, is_click: bool) -> i64 {
        let attribution = &self.workspace.attribution;
        if is_click { attribution.click_lookback_micros } else { attribution.view_lookback_micros }
    }

    /// The longest window that any touch can have; of all offers where none is named.
    fn longest(&self, offer: Option<OfferId>, is_click: bool) -> i64 {
        match offer {
            Some(offer) => self.lookback(offer, is_click),
            None => self
                .catalog
                .offers(self.workspace.number)
                .filter_map(|offer| lookback_of(offer, is_click))
                .fold(self.default_lookback(is_click), i64::max),
        }
    }
}

const fn lookback_of(offer: &Offer, is_click: bool) -> Option<i64> {
    if is_click { offer.click_lookback_micros } else { offer.view_lookback_micros }
}

const fn is_click(touch: &StoredTouch) -> bool {
    match touch.id {
        TouchId::Click(_) => true,
        TouchId::Impression(_) => false,
    }
}

/// The touches considered, in order of time, and the one that won.
pub(super) struct Answer {
    pub(super) touches: Vec<Touch>,
    pub(super) winner: Option<StoredTouch>,
}

pub(super) fn attribute(state: &Overlay<'_>, question: &Question<'_>) -> Result<Answer, StateError> {
    let candidates = candidates(state, question)?;
    let attribution = &question.windows.workspace.attribution;
    let mut judged: Vec<(StoredTouch, Option<Lost>)> = candidates
        .into_values()
        .map(|touch| {
            let lost = ineligible(question, &touch);
            (touch, lost)
        })
        .collect();
    if judged.iter().any(|(touch, lost)| lost.is_none() && is_click(touch)) {
        judged
            .iter_mut()
            .filter(|(touch, lost)| lost.is_none() && !is_click(touch))
            .for_each(|(_, lost)| *lost = Some(Lost::LowerType));
    }
    let eligible = judged.iter().filter(|(_, lost)| lost.is_none());
    let sharers: Vec<Sharer> = eligible.map(|(touch, _)| Sharer { at: touch.at, id: touch.id }).collect();
    let credits = model::credits(&sharers, attribution);
    let winner = model::favourite(&sharers, &credits, attribution.payable_model);
    let outrun = match attribution.payable_model {
        Model::LastTouch => Lost::Earlier,
        Model::FirstTouch | Model::Linear | Model::TimeDecay | Model::PositionBased => Lost::LessCredit,
    };
    let mut shared = credits.into_iter();
    let touches = judged.iter().map(|(touch, lost)| {
        let (lost, credits) = match lost {
            Some(lost) => (Some(*lost), Credits::default()),
            None => ((winner != Some(touch.id)).then_some(outrun), shared.next().unwrap_or_default()),
        };
        Touch { id: touch.id, at: touch.at, partner: touch.partner, link: touch.link, lost, credits }
    });
    let touches = touches.collect();
    let winner = judged.into_iter().map(|(touch, _)| touch).find(|touch| Some(touch.id) == winner);
    Ok(Answer { touches, winner })
}

/// The touches of a conversion by time and id.
type Candidates = BTreeMap<(Timestamp, TouchId), StoredTouch>;

/// The named click, and the first and last touches of the visitor.
fn candidates(state: &Overlay<'_>, question: &Question<'_>) -> Result<Candidates, StateError> {
    let mut found = BTreeMap::new();
    for &visitor in &question.visitors {
        for are_clicks in [true, false] {
            let visits = Visits { workspace: question.workspace, visitor, are_clicks };
            add_visits(state, question, visits, &mut found)?;
        }
    }
    if question.visitors.len() > 1 {
        bound(&mut found);
    }
    if let Some(click) = &question.named {
        found.insert((click.at, click.id), click.clone());
    }
    Ok(found)
}

/// Leaves of several visitors' touches as many as of one.
fn bound(found: &mut Candidates) {
    for (are_clicks, per_end) in [(true, TOUCHES_PER_END), (false, VIEWS_PER_END)] {
        let of_kind: Vec<_> =
            found.iter().filter(|(_, touch)| is_click(touch) == are_clicks).map(|(key, _)| *key).collect();
        let last = of_kind.len().saturating_sub(per_end);
        for key in of_kind.iter().take(last).skip(per_end) {
            found.remove(key);
        }
    }
}

fn add_visits(
    state: &Overlay<'_>,
    question: &Question<'_>,
    visits: Visits,
    found: &mut Candidates,
) -> Result<(), StateError> {
    // Touches a little outside the window are considered too, so that an explanation can show them as lost.
    let window = question.windows.longest(question.offer, visits.are_clicks);
    let now = state.head().core_time;
    let earliest = question.occurred_at.saturating_add(window.saturating_mul(-2)).max(oldest_touch(now));
    let latest = question.occurred_at.saturating_add(CLOCK_SKEW_MICROS);
    let (from, to) = visits.between(earliest, latest);
    let per_end = if visits.are_clicks { TOUCHES_PER_END } else { VIEWS_PER_END };
    let named = question.named.as_ref();
    let mut pairs: Vec<(TouchId, Value)> = Vec::new();
    let (mut is_readable, mut is_named_seen) = (true, false);
    for backward in [true, false] {
        let mut seen = 0;
        state.visit(Walk { from: &from, to: &to, backward }, &mut |key, value| {
            seen += 1;
            // A click of another offer is told by what lies here, and need not be read.
            let is_another = visits.are_clicks && question.offer.is_some_and(|offer| offer.bytes() != value);
            if !is_another {
                match visits.touch_of(key) {
                    // It is read already.
                    Some(id) if named.is_some_and(|named| named.id == id) => is_named_seen = true,
                    Some(id) => {
                        pairs.push((id, if visits.are_clicks { Value::default() } else { value.into() }))
                    }
                    None => is_readable = false,
                }
            }
            seen < per_end
        })?;
        // All of them were found from the one end, unless there are as many as it takes.
        if seen < per_end {
            break;
        }
    }
    if !is_readable {
        return Err(StateError::Unreadable("touch"));
    }
    if let Some(named) = named.filter(|_| is_named_seen) {
        found.insert((named.at, named.id), named.clone());
    }
    for (id, value) in pairs {
        let value = match id {
            TouchId::Impression(_) => Some(value),
            TouchId::Click(click) if is_click_over(click, now) => None,
            TouchId::Click(click) => state.get(&key::click(question.workspace, click))?,
        };
        let Some(value) = value else { continue };
        let touch = StoredTouch::decode(id, &value)?;
        if question.offer.is_none_or(|offer| offer == touch.offer) {
            found.insert((touch.at, touch.id), touch);
        }
    }
    Ok(())
}

fn ineligible(question: &Question<'_>, touch: &StoredTouch) -> Option<Lost> {
    let named = question.named.as_ref().is_some_and(|named| named.id == touch.id);
    let skew = if named { CLOCK_SKEW_MICROS } else { 0 };
    let age = question.occurred_at.micros_since(touch.at);
    // A conversion that names a click proves that a person followed it: many share one address behind a carrier's gateway, and
    // the rate limit of an address shall not cost the partner who sent a buyer. Where we would have to guess the click from
    // the visitor, it counts as what the label says: traffic beyond what one address makes.
    let is_excluded = touch.excluded || (touch.rate_limited && !named);
    // A rehearsal earns nobody anything; what it rehearses may stand on a live click.
    let is_rehearsal = touch.test && !question.test;
    if is_excluded || is_rehearsal {
        Some(Lost::ExcludedLabel)
    } else if age < -skew {
        Some(Lost::AfterConversion)
    } else if age > question.windows.lookback(touch.offer, is_click(touch)) {
        Some(Lost::OutsideLookback)
    } else if age.max(0) < question.windows.workspace.attribution.min_time_to_convert_micros {
        Some(Lost::TooSoon)
    } else {
        None
    }
}
