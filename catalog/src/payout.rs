//! Which rule says what a partner earns: the most specific one that there is.

use crate::resource::{Offer, Partner, Payout};

/// Where the payout of a conversion can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayoutRule {
    /// The partner's own payout for this goal of the offer.
    PartnerOfferGoal,
    /// The partner's own payout for the offer.
    PartnerOffer,
    /// The payout of the offer's goal.
    OfferGoal,
}

impl PayoutRule {
    /// Every rule, the most specific first.
    pub const ALL: [Self; 3] = [Self::PartnerOfferGoal, Self::PartnerOffer, Self::OfferGoal];

    /// The word that a conversion keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PartnerOfferGoal => "partner_offer_goal",
            Self::PartnerOffer => "partner_offer",
            Self::OfferGoal => "offer_goal",
        }
    }

    /// The rule with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == word)
    }

    /// What the rule gives, if there is such a rule. A payout for a whole offer is one for the goals that the offer has: an
    /// event that nobody has agreed on earns nothing.
    pub fn payout(self, offer: &Offer, partner: &Partner, goal: &str) -> Option<Payout> {
        match self {
            Self::PartnerOfferGoal => partner.payout(offer.id, Some(goal)),
            Self::PartnerOffer => partner.payout(offer.id, None).filter(|_| offer.goal(goal).is_some()),
            Self::OfferGoal => offer.goal(goal).map(|goal| goal.payout),
        }
    }

    /// The most specific rule and what it gives.
    pub fn most_specific(offer: &Offer, partner: &Partner, goal: &str) -> Option<(Self, Payout)> {
        Self::ALL.into_iter().find_map(|rule| rule.payout(offer, partner, goal).map(|payout| (rule, payout)))
    }
}
