//! The state of the window's two halves: [`HalvesState`]. The state says which half is current (samples are recorded
//! into the current half), when this half became current, and whether the samples of the other half still count. The
//! state is one word, so that it changes in one step.

/// The state of the window's two halves, packed into a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HalvesState(
    /// Bit 0: which half is current. Bit 1: whether the samples of the other half still count. The remaining bits: the
    /// lower bits of the number of the slice in which the current half began.
    u32,
);

impl HalvesState {
    /// The first state: the first half has been current since slice 0, and no half was current before.
    pub(super) const FIRST: Self = Self(0);

    const CURRENT: u32 = 1;
    const JOINED: u32 = 2;
    const FLAGS: u32 = Self::CURRENT | Self::JOINED;

    pub(super) const fn of_word(word: u32) -> Self {
        Self(word)
    }

    pub(super) const fn word(self) -> u32 {
        self.0
    }

    /// Returns the state after a swap: the other half is current from the slice `begin` on. `joined` says whether the
    /// half that was current before still counts.
    pub(super) const fn next(self, begin: u64, joined: bool) -> Self {
        let joined = if joined { Self::JOINED } else { 0 };
        Self(lower(begin << 2) | joined | (self.0 & Self::CURRENT ^ Self::CURRENT))
    }

    /// Returns whether the second half is the current one.
    pub(super) const fn is_second(self) -> bool {
        self.0 & Self::CURRENT != 0
    }

    /// Returns whether the samples of the other half still count. If they do, they are from the half window just before
    /// the current half.
    pub(super) const fn is_joined(self) -> bool {
        self.0 & Self::JOINED != 0
    }

    /// Returns the number of slices from the beginning of the current half to `slice`. Returns 0 if `slice` is before
    /// that beginning. The two must be less than 2^29 slices apart.
    pub(super) const fn age(self, slice: u64) -> u64 {
        let apart = lower(slice << 2).wrapping_sub(self.0 & !Self::FLAGS);
        if apart > u32::MAX / 2 { 0 } else { (apart >> 2) as u64 }
    }
}

/// Returns the lower 32 bits of a number.
#[expect(clippy::cast_possible_truncation, reason = "it is the lower half that is asked for")]
pub(super) const fn lower(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_right_wherever_the_numbers_wrap() {
        for begin in [0, 5, (1 << 30) - 3, 1 << 30, (1 << 32) - 1, (1 << 50) - 1] {
            for joined in [false, true] {
                let state = HalvesState::FIRST.next(begin, joined);
                assert_eq!((state.is_second(), state.is_joined()), (true, joined));
                let ages = [0, 1, 63, 64, 1 << 28];
                assert_eq!(ages.map(|age| state.age(begin + age)), ages);
                assert_eq!(state.age(begin.saturating_sub(1)), 0);
                assert!(!state.next(begin, true).is_second());
                assert_eq!(HalvesState::of_word(state.word()), state);
            }
        }
    }
}
