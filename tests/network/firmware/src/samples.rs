//! How long calls took. All durations are kept, so that quantiles are exact.

use embassy_time::Duration;

/// The durations of at most `N` calls.
#[derive(Debug)]
pub struct Samples<const N: usize> {
    micros: [u32; N],
    taken: usize,
}

impl<const N: usize> Default for Samples<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Samples<N> {
    /// No samples.
    pub const fn new() -> Self {
        Self { micros: [0; N], taken: 0 }
    }

    /// Removes all samples.
    pub const fn clear(&mut self) {
        self.taken = 0;
    }

    /// Adds a sample. If there are already `N`, it is ignored.
    pub fn record(&mut self, took: Duration) {
        if let Some(micros) = self.micros.get_mut(self.taken) {
            *micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
            self.taken += 1;
        }
    }

    /// How many samples there are.
    pub const fn taken(&self) -> usize {
        self.taken
    }

    /// Sorts the samples, for [`at`](Self::at).
    pub fn sort(&mut self) {
        self.micros.get_mut(..self.taken).unwrap_or_default().sort_unstable();
    }

    /// The microseconds that `thousandths` of the calls did not exceed; 0 without samples. They must be
    /// [sorted](Self::sort).
    pub fn at(&self, thousandths: usize) -> u32 {
        let rank = (self.taken * thousandths).div_ceil(1_000).saturating_sub(1);
        self.micros.get(rank.min(self.taken.saturating_sub(1))).copied().unwrap_or(0)
    }
}
