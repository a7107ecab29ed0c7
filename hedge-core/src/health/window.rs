//! One window of a [`CircuitBreaker`](super::CircuitBreaker): its arithmetic, in integers.
//!
//! brpc computes in doubles and truncates them. Here the smoothing factor is that double as a multiple of 2^-53, and
//! products are exact and rounded down once. A double's rounding might show in two places: at a mean that stays the
//! same, and at a limit that is a whole number. It does not: a test compares both with doubles.

use super::HealthError;
use crate::atomic::{AtomicU32, Ordering::Relaxed};

/// A sum of costs below this counts as 0, in microseconds: brpc's.
const LEAST_COST: u32 = 500;
/// A failure costs at most this many times the mean latency: brpc's.
const MOST_MEANS: u32 = 2;
/// The limit is 1.02 times the allowed cost, in hundredths: brpc's epsilon.
const LIMIT: u32 = 102;
const WHOLE: u64 = 100 * 100;
/// -ln 0.02, in units of 2^-61.
const DECAY: u64 = 0x7D2F_4ADE_B06E_BCE1;
const DECAY_BITS: u32 = 61;
/// A factor is in units of 2^-53, as a double's digits.
const FACTOR_BITS: u32 = 53;

/// How many calls a window holds, and how many of them may fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WindowOptions {
    /// Calls, in \[10, 10000\].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::size"))]
    pub size: u32,
    /// The percentage of them that may fail, in \[1, 99\]; together `size * max_error_percent` in \[100, 100000\].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::max_error_percent"))]
    pub max_error_percent: u32,
}

/// The field names of a window, for errors.
pub(super) struct Names {
    pub(super) size: &'static str,
    pub(super) max_error_percent: &'static str,
}

impl WindowOptions {
    pub(super) const fn validate(&self, names: &Names) -> Result<(), HealthError> {
        let Self { size, max_error_percent } = *self;
        if let Err(error) = HealthError::number(names.size, size, 10, 10_000, "[10, 10000]") {
            return Err(error);
        }
        let percent = names.max_error_percent;
        if let Err(error) = HealthError::number(percent, max_error_percent, 1, 99, "[1, 99]") {
            return Err(error);
        }
        match size * max_error_percent {
            100..=100_000 => Ok(()),
            _ => Err(HealthError::Number {
                field: percent,
                value: max_error_percent,
                range: "[1, 99], and times its window's size in [100, 100000]",
            }),
        }
    }
}

/// The numbers that follow from a window's options; shared by all servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    size: u32,
    /// How many of the first `size` calls may fail.
    errors: u32,
    /// The cost allowed, in ten-thousandths of the mean latency.
    limit: u32,
    /// 0.02^(1 / size): the part of a call's weight that is left after the next call.
    smooth: u64,
}

impl Window {
    /// The window of valid options.
    pub(super) const fn new(options: WindowOptions) -> Self {
        let WindowOptions { size, max_error_percent } = options;
        let hundredths = size * max_error_percent;
        Self { size, errors: hundredths / 100, limit: hundredths * LIMIT, smooth: smooth(size) }
    }

    /// The longest latency, in microseconds, at which the limit fits in 32 bits.
    pub(super) fn longest(&self) -> u32 {
        let longest = (u64::from(u32::MAX - 1) * WHOLE).checked_div(self.limit.into());
        longest.and_then(|longest| u32::try_from(longest).ok()).unwrap_or(u32::MAX)
    }

    /// Counts a call of the server that has ended. Returns whether the window is still healthy. `latency` is at most
    /// what [`Self::longest`] says.
    pub(super) fn count(&self, state: &WindowState, failed: bool, latency: u32) -> bool {
        let healthy = if failed {
            let mean = state.mean.load(Relaxed);
            let most = if mean == 0 { latency } else { latency.min(mean.saturating_mul(MOST_MEANS)) };
            let cost = change(&state.cost, |cost| cost.saturating_add(most));
            // Whether cost <= 1.02 × mean × size × percent, multiplied out so that nothing is rounded.
            u64::from(cost) * WHOLE <= u64::from(mean) * u64::from(self.limit)
        } else {
            change(&state.mean, |mean| if mean == 0 { latency } else { self.mean(mean, latency) });
            change(&state.cost, |cost| if cost < LEAST_COST { 0 } else { part(cost, self.smooth) });
            true
        };
        // For the first `size` calls, failures are counted instead: the mean says nothing yet.
        match state.first(self.size, failed) {
            Some(before) => !failed || before < self.errors,
            None => healthy,
        }
    }

    /// Forgets the failures; a window that was not full forgets everything.
    pub(super) fn reset(&self, state: &WindowState) {
        if state.counts.load(Relaxed) >> 16 < self.size {
            state.counts.store(0, Relaxed);
            state.mean.store(0, Relaxed);
        }
        state.cost.store(0, Relaxed);
    }

    /// `mean * smooth + latency * (1 - smooth)`, rounded down.
    fn mean(&self, mean: u32, latency: u32) -> u32 {
        match latency.checked_sub(mean) {
            Some(above) => mean.saturating_add(part(above, (1 << FACTOR_BITS) - self.smooth)),
            None => latency.saturating_add(part(mean.saturating_sub(latency), self.smooth)),
        }
    }
}

/// What a window knows of a server: 12 bytes.
#[derive(Debug, Default)]
pub(super) struct WindowState {
    /// Calls, up to the window's size, in the upper half; failures among them in the lower.
    pub(super) counts: AtomicU32,
    /// The decayed sum of what failures cost, in microseconds.
    cost: AtomicU32,
    /// The moving mean of the successes' latency, in microseconds.
    mean: AtomicU32,
}

impl WindowState {
    /// Forgets everything.
    pub(super) fn forget(&self) {
        [&self.counts, &self.cost, &self.mean].iter().for_each(|word| word.store(0, Relaxed));
    }

    /// Counts one of the first calls; answers how many had failed before it, or `None` once the window is full.
    fn first(&self, size: u32, failed: bool) -> Option<u32> {
        let before = self.counts.fetch_update(Relaxed, Relaxed, |counts| {
            (counts >> 16 < size).then(|| counts.wrapping_add((1 << 16) + u32::from(failed)))
        });
        before.ok().map(|counts| counts & 0xFFFF)
    }
}

/// Changes a word and returns its new value. A value that stays the same is not written.
fn change(word: &AtomicU32, to: impl Fn(u32) -> u32) -> u32 {
    match word.fetch_update(Relaxed, Relaxed, |old| Some(to(old)).filter(|new| *new != old)) {
        Ok(old) => to(old),
        Err(same) => same,
    }
}

/// `value * factor / 2^53`, rounded down, by two multiplications of 32 bits; `factor` is at most 2^53.
#[expect(clippy::cast_possible_truncation, reason = "a part is not more than the whole")]
const fn part(value: u32, factor: u64) -> u32 {
    let (value, high, low) = (value as u64, factor >> 32, factor & 0xFFFF_FFFF);
    ((value * high + ((value * low) >> 32)) >> (FACTOR_BITS - 32)) as u32
}

/// 0.02^(1 / size) in units of 2^-53: exp(-x) by its series, x = -ln 0.02 / size, at most 0.4.
const fn smooth(size: u32) -> u64 {
    let x = if size > 0 { (DECAY / size as u64) as u128 } else { 0 };
    let (mut sum, mut term, mut n) = (1u64 << DECAY_BITS, 1u64 << DECAY_BITS, 1);
    // 0.4^17 / 17! is below 2^-61.
    while n < 18 {
        #[expect(clippy::cast_possible_truncation, reason = "each term is smaller than the one before")]
        let next = ((term as u128 * x) >> DECAY_BITS) as u64 / n;
        term = next;
        sum = if n % 2 == 1 { sum - term } else { sum + term };
        n += 1;
    }
    (sum + (1 << (DECAY_BITS - FACTOR_BITS - 1))) >> (DECAY_BITS - FACTOR_BITS)
}

/// How the fields are read from files.
#[cfg(feature = "serde")]
mod file {
    use crate::field::named::fields;

    fields! {
        size: required, "circuit_breaker.circuit, size of a window", u32, "an integer in [10, 10000]";
        max_error_percent: required, "circuit_breaker.circuit, max_error_percent of a window", u32, "an integer in [1, 99]";
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    const SEED: u64 = 7;

    /// The same window in doubles, truncated as in brpc.
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
            let WindowOptions { size, max_error_percent } = options;
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
            if self.samples < options.size {
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

    /// The same random calls go to the window, which uses integers, and to a reference that uses doubles as brpc does.
    /// After every call, each integer equals the reference's double, truncated. This also holds after a server has
    /// returned. Latencies are constant, similar or very different. The windows are brpc's and small ones.
    #[test]
    fn h2_the_integers_are_the_truncated_doubles() {
        let mut rng = fastrand::Rng::with_seed(SEED);
        let runs = if cfg!(debug_assertions) { 60 } else { 2_000 };
        for run in 0..runs {
            let (size, max_error_percent) = [(3_000, 5), (1_500, 10), (100, 10), (10, 50)][rng.usize(..4)];
            let options = WindowOptions { size, max_error_percent };
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
        for (size, max_error_percent) in [(3_000, 5), (1_500, 10)] {
            let window = Window::new(WindowOptions { size, max_error_percent });
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
        let window = Window::new(WindowOptions { size: 10_000, max_error_percent: 10 });
        let state = WindowState::default();
        let longest = window.longest();
        assert_eq!(longest, 4_210_752, "in microseconds");
        assert!((0..10_000).all(|_| window.count(&state, false, longest)));
        assert_eq!(state.mean.load(Relaxed), longest);
        let stood = (0..2_000).take_while(|_| window.count(&state, true, longest)).count();
        assert_eq!(stood, 1_020, "the cost is just below its word's end");
    }
}
