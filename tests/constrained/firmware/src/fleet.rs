//! The servers, as a model with a seed. Each answers within 1.5 ms, and stalls on one request in twenty.

use fastrand::Rng;

/// How much longer an answer takes if the server stalls.
pub(crate) const STALL_US: u64 = 20_000;
/// How many calls a run makes.
pub(crate) const CALLS: u32 = 10_000;

/// All of the servers. They have no state, so one sequence of random numbers is enough for all.
pub(crate) struct Fleet {
    rng: Rng,
}

impl Fleet {
    /// Servers with a fixed seed, so that each run is the same.
    pub(crate) fn new() -> Self {
        Self { rng: Rng::with_seed(3) }
    }

    /// How long the next answer takes, in microseconds.
    pub(crate) fn latency(&mut self) -> u64 {
        let stall = if self.rng.u32(..20) == 0 { STALL_US } else { 0 };
        stall + u64::from(self.rng.u32(300..1_500))
    }
}
