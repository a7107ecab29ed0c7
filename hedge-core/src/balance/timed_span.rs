//! Packs an instant and a span into one word, so that both can change in one atomic step.

use crate::time::{Instant, Micros};

const SPAN_BITS: u32 = 28;
const AT_BITS: u32 = 36;
const AT_MASK: u64 = (1 << AT_BITS) - 1;
/// The present instant of a thread may be at most this time (67 s) before the stored instant. So a stored instant that
/// is less than 67 s ahead counts as the present.
const LATE: u64 = 1 << 26;

/// An instant and a span in one word. The instant is in microseconds, modulo 2^36 (19 hours). The span is in
/// microseconds, up to 2^28 (268 s).
#[derive(Clone, Copy)]
pub(super) struct TimedSpan {
    at: u64,
    span: u64,
}

impl TimedSpan {
    /// Makes a value from an instant and a span. The span is capped at the longest one that fits.
    pub(super) const fn new(at: Instant, span: Micros) -> Self {
        let most = (1 << SPAN_BITS) - 1;
        let micros = span.as_micros();
        Self { at: at.as_micros() & AT_MASK, span: if micros < most { micros } else { most } }
    }

    /// Returns this value with another span and the same instant.
    pub(super) const fn with(self, span: Micros) -> Self {
        Self { span: Self::new(Instant::ZERO, span).span, ..self }
    }

    pub(super) const fn of(word: u64) -> Self {
        Self { at: word >> SPAN_BITS, span: word & ((1 << SPAN_BITS) - 1) }
    }

    pub(super) const fn word(self) -> u64 {
        self.at << SPAN_BITS | self.span
    }

    pub(super) const fn span(self) -> Micros {
        Micros::from_micros(self.span)
    }

    /// Returns the time since the instant. Ages wrap around after 19 hours, so an old instant may look recent. If the
    /// instant seems to be less than 67 s after `now`, the result is 0. For a random old instant, the probability of
    /// this is about 1/1000.
    pub(super) const fn age(self, now: Instant) -> Micros {
        let age = now.as_micros().wrapping_sub(self.at) & AT_MASK;
        Micros::from_micros(if age > AT_MASK - LATE { 0 } else { age })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_both_for_hours_and_a_late_thread_is_now() {
        let at = Instant::from_micros((1 << 40) + 7);
        let packed = TimedSpan::of(TimedSpan::new(at, Micros::from_secs(200)).word());
        assert_eq!(packed.span(), Micros::from_secs(200));
        assert_eq!(packed.age(at + Micros::from_secs(68_000)), Micros::from_secs(68_000));
        assert_eq!(packed.age(Instant::from_micros(1 << 40)), Micros::ZERO);
        let cut = TimedSpan::new(at, Micros::MAX);
        assert_eq!((cut.span().as_micros(), cut.age(at)), ((1 << 28) - 1, Micros::ZERO));
    }
}
