//! The life cycle of conversions, and whose word counts in it.

use serde::{Deserialize, Serialize};

/// A conversion's place in its life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a decision.
    Pending,
    /// Accepted, held back for some days.
    Hold,
    /// Accepted.
    Approved,
    /// Refused.
    Rejected,
    /// Taken back after approval.
    Reversed,
    /// Paid out.
    Paid,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Hold, Self::Approved, Self::Rejected, Self::Reversed, Self::Paid];

    /// The word in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Hold => "hold",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Reversed => "reversed",
            Self::Paid => "paid",
        }
    }

    /// The status with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether reports count the conversion under `conversions`, `revenue` and `payout`.
    pub const fn is_counted(self) -> bool {
        match self {
            Self::Pending | Self::Hold | Self::Approved | Self::Paid => true,
            Self::Rejected | Self::Reversed => false,
        }
    }

    /// Whether the life cycle has a step from this status to that one.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Hold | Self::Approved | Self::Rejected),
            Self::Hold => matches!(next, Self::Approved | Self::Rejected),
            Self::Approved => matches!(next, Self::Hold | Self::Paid | Self::Reversed),
            Self::Rejected => matches!(next, Self::Approved),
            Self::Paid => matches!(next, Self::Reversed),
            Self::Reversed => false,
        }
    }
}

/// How far the sender of a conversion is trusted, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// A secret key or a signature.
    Secret,
    /// A source's token.
    Token,
    /// A publishable key, which anybody can read in a page.
    Publishable,
    /// Nothing at all.
    Open,
}

impl Trust {
    /// Whether the sender may say that a conversion is approved.
    pub const fn may_approve(self) -> bool {
        match self {
            Self::Secret | Self::Token => true,
            Self::Publishable | Self::Open => false,
        }
    }

    /// Whether this sender's word counts more than that one's.
    pub const fn outranks(self, other: Self) -> bool {
        self.rank() < other.rank()
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Secret => 0,
            Self::Token => 1,
            // Anybody can be either.
            Self::Publishable | Self::Open => 2,
        }
    }
}
