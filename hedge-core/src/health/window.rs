//! One window of a [`CircuitBreaker`](super::CircuitBreaker), computed in integers.
//!
//! brpc computes in doubles and truncates the results. Here the smoothing factor is a multiple of 2^-53, and differs
//! from brpc's double by at most 2^-53. Products are computed exactly and then rounded down once. The rounding of
//! doubles could give another result in two cases: the mean stays the same, or the limit is a whole number. A test
//! shows that the results are equal in both cases.

use core::fmt;

use crate::atomic::{AtomicU32, Ordering::Relaxed};
use crate::bounded::Bounded;

/// The smallest sum of costs that counts, in microseconds. Smaller sums count as 0, as in brpc.
const LEAST_COST: u32 = 500;
/// The largest cost of a failure, in mean latencies. This is the same as in brpc.
const MOST_MEANS: u32 = 2;
/// The limit, in per cent of the allowed cost. The 2 per cent above 100 are brpc's epsilon of 0.02.
const LIMIT: u32 = 102;
const WHOLE: u64 = 100 * 100;
/// The number -ln 0.02, in units of 2^-61.
const DECAY: u64 = 0x7D2F_4ADE_B06E_BCE1;
const DECAY_BITS: u32 = 61;
/// The number of bits of a factor: factors are in units of 2^-53, like the digits of a double.
const FACTOR_BITS: u32 = 53;

/// The number of calls that a window holds, in \[10, 10000\].
pub type WindowSize = Bounded<10, 10_000>;
/// A percentage of a window's calls, in \[1, 99\].
pub type ErrorPercent = Bounded<1, 99>;

/// The options of a window: the number of calls that the window holds, and the percentage of these calls that may fail.
/// `size * max_error_percent` must be in \[100, 100000\].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "file::Fields"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WindowOptions {
    size: WindowSize,
    max_error_percent: ErrorPercent,
}

impl WindowOptions {
    /// The smallest and the largest value of `size * max_error_percent`.
    const PRODUCT: (u32, u32) = (100, 100_000);

    /// Makes a window of `size` calls, of which `max_error_percent` per cent may fail.
    ///
    /// # Errors
    /// Returns an error if `size * max_error_percent` is not in \[100, 100000\].
    pub const fn new(size: WindowSize, max_error_percent: ErrorPercent) -> Result<Self, WindowOptionsError> {
        let product = size.get() * max_error_percent.get();
        if Self::PRODUCT.0 <= product && product <= Self::PRODUCT.1 {
            Ok(Self { size, max_error_percent })
        } else {
            Err(WindowOptionsError { size, max_error_percent })
        }
    }

    /// Makes a window from constants. The compiler checks that they are valid.
    #[must_use]
    pub const fn of<const SIZE: u32, const MAX_ERROR_PERCENT: u32>() -> Self {
        const {
            let product = SIZE * MAX_ERROR_PERCENT;
            assert!(Self::PRODUCT.0 <= product && product <= Self::PRODUCT.1, "too few or too many calls may fail");
        }
        Self { size: Bounded::of::<SIZE>(), max_error_percent: Bounded::of::<MAX_ERROR_PERCENT>() }
    }

    /// Returns how many calls the window holds.
    #[must_use]
    pub const fn size(self) -> WindowSize {
        self.size
    }

    /// Returns the percentage of the window's calls that may fail.
    #[must_use]
    pub const fn max_error_percent(self) -> ErrorPercent {
        self.max_error_percent
    }
}

/// The error for a window in which too few or too many calls may fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WindowOptionsError {
    /// How many calls the window holds.
    pub size: WindowSize,
    /// The percentage of the window's calls that may fail.
    pub max_error_percent: ErrorPercent,
}

impl fmt::Display for WindowOptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self { size, max_error_percent }, (least, most)) = (self, WindowOptions::PRODUCT);
        write!(f, "max_error_percent {max_error_percent} of size {size}: their product must be in [{least}, {most}]")
    }
}

impl core::error::Error for WindowOptionsError {}

/// The numbers that are computed from a window's options. All servers share them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    size: u32,
    /// How many of the first `size` calls may fail.
    errors: u32,
    /// The allowed cost, in ten-thousandths of the mean latency.
    limit: u32,
    /// The smoothing factor 0.02^(1 / size), in units of 2^-53: the part of a call's weight that is left after one more
    /// call.
    smooth: u64,
}

impl Window {
    /// Makes the window of these options.
    pub(super) const fn new(options: WindowOptions) -> Self {
        let (size, max_error_percent) = (options.size.get(), options.max_error_percent.get());
        let hundredths = size * max_error_percent;
        Self { size, errors: hundredths / 100, limit: hundredths * LIMIT, smooth: smooth(size) }
    }

    /// Returns the longest latency, in microseconds, for which the limit fits into 32 bits.
    pub(super) fn longest(&self) -> u32 {
        let longest = (u64::from(u32::MAX - 1) * WHOLE).checked_div(self.limit.into());
        longest.and_then(|longest| u32::try_from(longest).ok()).unwrap_or(u32::MAX)
    }

    /// Counts a call that has ended. Returns whether the window is still healthy. `latency` is in microseconds and at
    /// most [`Self::longest`].
    pub(super) fn count(&self, state: &WindowState, failed: bool, latency: u32) -> bool {
        let healthy = if failed {
            let mean = state.mean.load(Relaxed);
            let most = if mean == 0 { latency } else { latency.min(mean.saturating_mul(MOST_MEANS)) };
            let cost = change(&state.cost, |cost| cost.saturating_add(most));
            // The condition is cost <= 1.02 × mean × size × percent. Both sides are multiplied by 100 × 100, so that
            // nothing is rounded.
            u64::from(cost) * WHOLE <= u64::from(mean) * u64::from(self.limit)
        } else {
            change(&state.mean, |mean| if mean == 0 { latency } else { self.mean(mean, latency) });
            change(&state.cost, |cost| if cost < LEAST_COST { 0 } else { part(cost, self.smooth) });
            true
        };
        // For the first `size` calls, the number of failures decides instead of their cost, since the mean is not
        // reliable yet.
        match state.first(self.size, failed) {
            Some(before) => !failed || before < self.errors,
            None => healthy,
        }
    }

    /// Sets the sum of the costs to 0. If the window was not full, the counts and the mean are deleted too.
    pub(super) fn reset(&self, state: &WindowState) {
        if state.counts.load(Relaxed) >> 16 < self.size {
            state.counts.store(0, Relaxed);
            state.mean.store(0, Relaxed);
        }
        state.cost.store(0, Relaxed);
    }

    /// Returns `mean * smooth + latency * (1 - smooth)`, rounded down.
    fn mean(&self, mean: u32, latency: u32) -> u32 {
        match latency.checked_sub(mean) {
            Some(above) => mean.saturating_add(part(above, (1 << FACTOR_BITS) - self.smooth)),
            None => latency.saturating_add(part(mean.saturating_sub(latency), self.smooth)),
        }
    }
}

/// The state of one window for one server: 12 bytes.
#[derive(Debug, Default)]
pub(super) struct WindowState {
    /// The counts of the first calls. The upper half is the number of counted calls, up to the window's size. The lower
    /// half is the number of counted calls that failed.
    pub(super) counts: AtomicU32,
    /// The decaying sum of the costs of failures, in microseconds.
    cost: AtomicU32,
    /// The moving mean of the latency of successes, in microseconds.
    mean: AtomicU32,
}

impl WindowState {
    /// Deletes everything that was counted.
    pub(super) fn forget(&self) {
        [&self.counts, &self.cost, &self.mean].iter().for_each(|word| word.store(0, Relaxed));
    }

    /// Counts one of the first calls. Returns how many calls had failed before this one. Returns `None` once the window
    /// is full.
    fn first(&self, size: u32, failed: bool) -> Option<u32> {
        let before = self.counts.fetch_update(Relaxed, Relaxed, |counts| {
            (counts >> 16 < size).then(|| counts.wrapping_add((1 << 16) + u32::from(failed)))
        });
        before.ok().map(|counts| counts & 0xFFFF)
    }
}

/// Changes a word and returns its new value. If the value does not change, the write is skipped.
fn change(word: &AtomicU32, to: impl Fn(u32) -> u32) -> u32 {
    match word.fetch_update(Relaxed, Relaxed, |old| Some(to(old)).filter(|new| *new != old)) {
        Ok(old) => to(old),
        Err(same) => same,
    }
}

/// Returns `value * factor / 2^53`, rounded down. This takes two multiplications of 32 bits. `factor` is at most 2^53.
#[expect(clippy::cast_possible_truncation, reason = "a part is not more than the whole")]
const fn part(value: u32, factor: u64) -> u32 {
    let (value, high, low) = (value as u64, factor >> 32, factor & 0xFFFF_FFFF);
    ((value * high + ((value * low) >> 32)) >> (FACTOR_BITS - 32)) as u32
}

/// Returns 0.02^(1 / size) in units of 2^-53. This is exp(-x) with x = -ln 0.02 / size. x is at most 0.4, and exp(-x)
/// is computed by its power series.
const fn smooth(size: u32) -> u64 {
    let x = if size > 0 { (DECAY / size as u64) as u128 } else { 0 };
    let (mut sum, mut term, mut n) = (1u64 << DECAY_BITS, 1u64 << DECAY_BITS, 1);
    // 18 terms are enough, since 0.4^17 / 17! is below 2^-61.
    while n < 18 {
        #[expect(clippy::cast_possible_truncation, reason = "each term is smaller than the one before")]
        let next = ((term as u128 * x) >> DECAY_BITS) as u64 / n;
        term = next;
        sum = if n % 2 == 1 { sum - term } else { sum + term };
        n += 1;
    }
    (sum + (1 << (DECAY_BITS - FACTOR_BITS - 1))) >> (DECAY_BITS - FACTOR_BITS)
}

/// Reads the fields of the options from files.
#[cfg(feature = "serde")]
mod file {
    use super::{ErrorPercent, WindowOptions, WindowSize};
    use crate::field::named::{Named, fields};

    #[derive(serde::Deserialize)]
    #[serde(rename = "WindowOptions", deny_unknown_fields)]
    pub(super) struct Fields {
        #[serde(deserialize_with = "size")]
        size: WindowSize,
        #[serde(deserialize_with = "max_error_percent")]
        max_error_percent: ErrorPercent,
    }

    impl TryFrom<Fields> for WindowOptions {
        type Error = Named<super::WindowOptionsError>;

        fn try_from(fields: Fields) -> Result<Self, Self::Error> {
            let window = Self::new(fields.size, fields.max_error_percent);
            window.map_err(|error| Named { field: "circuit_breaker.circuit, a window, ", error })
        }
    }

    fields! {
        size: required, "circuit_breaker.circuit, size of a window", WindowSize;
        max_error_percent: required, "circuit_breaker.circuit, max_error_percent of a window", ErrorPercent;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const SEED: u64 = 7;

    #[test]
    fn h2_as_many_calls_may_fail_as_the_window_bears() {
        let window = |size, percent| WindowOptions::new(Bounded::new(size).unwrap(), Bounded::new(percent).unwrap());
        assert_eq!(window(10, 10), Ok(WindowOptions::of::<10, 10>()));
        assert_eq!(window(10_000, 10), Ok(WindowOptions::of::<10_000, 10>()));
        for (size, percent, text) in [
            (10, 9, "max_error_percent 9 of size 10: their product must be in [100, 100000]"),
            (10_000, 11, "max_error_percent 11 of size 10000: their product must be in [100, 100000]"),
        ] {
            assert_eq!(window(size, percent).unwrap_err().to_string(), text);
        }
    }

    /// The same window computed in doubles and truncated, as in brpc.
    #[derive(Default)]
    struct Doubles {
        samples: u32,
        failed: u32,
        cost: u64,
        mean: u64,
    }

    impl Doubles {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as brpc does")]
        fn count(&mut self, options: WindowOptions, failed: bool, latency: u64) -> bool {
            let (size, max_error_percent) = (options.size.get(), options.max_error_percent.get());
            let smooth = 0.02f64.powf(1.0 / f64::from(size));
            let mut healthy = true;
            if failed {
                self.cost += if self.mean == 0 { latency } else { latency.min(2 * self.mean) };
                let share = f64::from(max_error_percent) / 100.0;
                let limit = (self.mean * u64::from(size)) as f64 * share * (1.0 + 0.02);
                healthy = self.cost <= limit as u64;
            } else {
                self.mean = match self.mean {
                    0 => latency,
                    mean => (mean as f64 * smooth + latency as f64 * (1.0 - smooth)) as u64,
                };
                self.cost = if self.cost < 500 { 0 } else { (self.cost as f64 * smooth) as u64 };
            }
            if self.samples < size {
                self.samples += 1;
                self.failed += u32::from(failed);
                return !failed || self.failed - 1 < size * max_error_percent / 100;
            }
            healthy
        }

        fn reset(&mut self, options: WindowOptions) {
            if self.samples < options.size.get() {
                *self = Self::default();
            }
            self.cost = 0;
        }
    }

    #[test]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a factor is below 2^53")]
    fn the_factor_is_the_nearest_double() {
        for size in 10..=10_000 {
            let double = (0.02f64.powf(1.0 / f64::from(size)) * f64::from(1 << 30) * f64::from(1 << 23)) as u64;
            assert!(smooth(size).abs_diff(double) <= 1, "{size}: {} and {double}", smooth(size));
        }
    }

    /// The same random calls go to two windows. The first window computes in integers, and the second window computes
    /// in doubles as brpc does. After every call, each integer equals the double of the second window, truncated. This
    /// also holds after a server has returned. Latencies are constant, similar or very different. The sizes are those
    /// of brpc's windows and of small ones.
    #[test]
    fn h2_the_integers_are_the_truncated_doubles() {
        let mut rng = fastrand::Rng::with_seed(SEED);
        let runs = if cfg!(debug_assertions) { 60 } else { 2_000 };
        for run in 0..runs {
            let options = [
                WindowOptions::of::<3_000, 5>(),
                WindowOptions::of::<1_500, 10>(),
                WindowOptions::of::<100, 10>(),
                WindowOptions::of::<10, 50>(),
            ][rng.usize(..4)];
            let window = Window::new(options);
            let base = 1 << rng.u32(..24);
            let spread = [0, base / 8, base][rng.usize(..3)];
            let (one_in, times) = (rng.u32(2..60), [1, 2, 10][rng.usize(..3)]);
            let (state, mut doubles) = (WindowState::default(), Doubles::default());
            for call in 0..8_000 {
                let failed = rng.u32(..one_in) == 0;
                let latency = (base + rng.u32(..=spread)) * if failed { times } else { 1 };
                let latency = latency.min(window.longest());
                let (got, expected) =
                    (window.count(&state, failed, latency), doubles.count(options, failed, latency.into()));
                let numbers = (state.mean.load(Relaxed).into(), state.cost.load(Relaxed).into());
                assert_eq!(
                    (got, numbers),
                    (expected, (doubles.mean, doubles.cost)),
                    "seed {SEED}, run {run}, call {call}: {options:?}, base {base}, spread {spread}"
                );
                if !got {
                    window.reset(&state);
                    doubles.reset(options);
                }
            }
        }
    }

    #[test]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as brpc does")]
    fn h2_a_mean_and_a_limit_do_not_drift_where_a_double_might() {
        let mut rng = fastrand::Rng::with_seed(SEED);
        for options in [WindowOptions::of::<3_000, 5>(), WindowOptions::of::<1_500, 10>()] {
            let (size, max_error_percent) = (options.size.get(), options.max_error_percent.get());
            let window = Window::new(options);
            let smooth = 0.02f64.powf(1.0 / f64::from(size));
            let wide = core::iter::repeat_with(|| rng.u32(..window.longest())).take(100_000);
            for value in (1..100_000).chain(wide) {
                let double = f64::from(value) * smooth + f64::from(value) * (1.0 - smooth);
                assert_eq!((window.mean(value, value), double as u32), (value, value));
                let share = f64::from(max_error_percent) / 100.0;
                let limit = (u64::from(value) * u64::from(size)) as f64 * share * 1.02;
                assert_eq!(u64::from(value) * u64::from(window.limit) / WHOLE, limit as u64, "{value}");
            }
        }
    }

    #[test]
    fn h2_the_longest_latency_still_trips() {
        let window = Window::new(WindowOptions::of::<10_000, 10>());
        let state = WindowState::default();
        let longest = window.longest();
        assert_eq!(longest, 4_210_752, "in microseconds");
        assert!((0..10_000).all(|_| window.count(&state, false, longest)));
        assert_eq!(state.mean.load(Relaxed), longest);
        let stood = (0..2_000).take_while(|_| window.count(&state, true, longest)).count();
        assert_eq!(stood, 1_020, "the cost is just below its word's end");
    }
}
