//! Spans of the warehouse's clock: an INSERT belongs to one, and lands in it or never.

use std::time::Duration;

/// How long a span is.
const SPAN_S: u32 = 600;
/// How long after the question an INSERT may still be taken by the table.
const INSERT_WINDOW_S: u32 = 60;
/// Nothing lands in the end of a span, so that neither a clock that is set back by less, nor another machine's, takes a row into it that
/// was sent in the next one.
const GAP_S: u32 = 5;

/// The span in which an INSERT is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Its number, which is part of the token.
    pub(super) number: u32,
    /// Until when the table takes the rows.
    pub(super) insert_before: u32,
}

impl Span {
    /// The span at this time, in seconds since 1970; `None` in the gap before the next one.
    pub(super) fn at(now: u32) -> Option<Self> {
        let number = now / SPAN_S;
        let last = number.saturating_add(1).saturating_mul(SPAN_S).saturating_sub(GAP_S);
        (now < last).then(|| Self { number, insert_before: last.min(now.saturating_add(INSERT_WINDOW_S)) })
    }

    /// How long the span after this time is away.
    pub(super) fn until_next(now: u32) -> Duration {
        Duration::from_secs(u64::from(SPAN_S - now % SPAN_S))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insert_lands_in_its_span_and_within_a_minute() {
        let span = |now| Span::at(now).map(|span| (span.number, span.insert_before));
        assert_eq!(span(600), Some((1, 660)));
        assert_eq!(span(1_140), Some((1, 1_195)));
        assert_eq!(span(1_194), Some((1, 1_195)));
        for gap in [1_195, 1_199] {
            assert_eq!(span(gap), None);
            assert_eq!(span(gap + u32::try_from(Span::until_next(gap).as_secs()).unwrap()), Some((2, 1_260)));
        }
        assert!(Span::at(u32::MAX).is_none_or(|span| span.insert_before < u32::MAX));
    }
}
