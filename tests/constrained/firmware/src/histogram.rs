//! Latencies in steps of 100 µs up to 40 ms, for quantiles within a step.

/// The width of a step.
const STEP_US: u64 = 100;
/// The number of steps. The last one also counts longer latencies.
const STEPS: usize = 400;

/// Counts latencies by steps.
pub(crate) struct Histogram {
    counts: [u16; STEPS],
    total: u32,
}

impl Histogram {
    /// A histogram without calls.
    pub(crate) const fn new() -> Self {
        Self { counts: [0; STEPS], total: 0 }
    }

    /// Adds one call.
    pub(crate) fn record(&mut self, micros: u64) {
        let step = usize::try_from(micros / STEP_US).unwrap_or(STEPS).min(STEPS - 1);
        if let Some(count) = self.counts.get_mut(step) {
            *count = count.saturating_add(1);
        }
        self.total = self.total.saturating_add(1);
    }

    /// How many calls there were.
    pub(crate) const fn total(&self) -> u32 {
        self.total
    }

    /// The latency that `thousandths` of the calls did not exceed, rounded down to a step, in microseconds.
    pub(crate) fn quantile(&self, thousandths: u32) -> u64 {
        let rank = self.total.saturating_mul(thousandths) / 1_000;
        let mut seen = 0;
        for (count, step) in self.counts.iter().zip(0..) {
            seen += u32::from(*count);
            if seen > rank {
                return step * STEP_US;
            }
        }
        u64::MAX
    }
}
