//! The servers, as a seeded model: each answers within 1.5 ms, and stalls on one request in twenty.

use fastrand::Rng;

/// How long a server that stalls keeps its caller waiting.
pub(crate) const STALL_US: u64 = 20_000;
/// How many calls a run makes.
pub(crate) const CALLS: u32 = 10_000;

/// All of the servers: none of them remembers anything, so one sequence of chance does.
pub(crate) struct Fleet {
    rng: Rng,
}

impl Fleet {
    /// The same servers every time.
    pub(crate) fn new() -> Self {
        Self { rng: Rng::with_seed(3) }
    }

    /// How long the next answer takes, in microseconds.
    pub(crate) fn latency(&mut self) -> u64 {
        let stall = if self.rng.u32(..20) == 0 { STALL_US } else { 0 };
        stall + u64::from(self.rng.u32(300..1_500))
    }
}
