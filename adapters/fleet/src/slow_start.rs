//! Slow start: the share of the calls that a server gets grows gradually while the server is new in the list, or usable
//! again ([S11](hedge_core::rules#S11)). See [`SlowStart`].

use std::sync::atomic::{AtomicU64, Ordering};

use hedge_core::config::ServerLimits;
use hedge_core::time::{Instant, Micros};

/// A full share of the calls, as a fixed-point number. Shares are compared with random numbers of 32 bits. A full share
/// is above every such number.
const WHOLE: u64 = 1 << 32;

/// The share with which a server begins: a tenth of a full share.
const FLOOR: u64 = WHOLE / 10;

/// The slow start of a list: how long the ramp of a server takes, and until when any server is ramping. A server is
/// ramping while its share of the calls grows.
///
/// # Cost
/// While no server is ramping, a search for a server reads one number. While servers are ramping, a search draws one
/// more random number, and reads the start of the ramp of each server that it considers. If that search finds no server
/// that the call has not tried, a second search considers all servers.
pub(crate) struct SlowStart {
    window: Micros,
    /// The latest instant at which the ramp of any server ends, in microseconds.
    until: AtomicU64,
}

/// The ramp of one server: when it began.
pub(crate) struct Ramp {
    /// The instant in microseconds at which the ramp began, plus 1. The value 0 means that there is no ramp: the server
    /// has its full share.
    since: AtomicU64,
}

impl Ramp {
    /// Makes a ramp that began at `since`. `None` means that there is no ramp: the server has its full share.
    pub(crate) const fn new(since: Option<Instant>) -> Self {
        Self { since: AtomicU64::new(start(since)) }
    }

    fn begin(&self, now: Instant) {
        self.since.store(start(Some(now)), Ordering::Relaxed);
    }
}

const fn start(since: Option<Instant>) -> u64 {
    match since {
        Some(since) => since.as_micros().saturating_add(1),
        None => 0,
    }
}

impl SlowStart {
    /// Makes the slow start that `limits` asks for. Returns `None` if `slow_start` is not set.
    pub(crate) const fn new(limits: &ServerLimits) -> Option<Self> {
        match limits.slow_start {
            Some(window) => Some(Self { window: Micros::from_duration(window), until: AtomicU64::new(0) }),
            None => None,
        }
    }

    /// Records that the ramp of a server begins at `now`.
    pub(crate) fn extend(&self, now: Instant) {
        self.until.fetch_max((now + self.window).as_micros(), Ordering::Relaxed);
    }

    /// Begins the ramp of a server at `now`.
    pub(crate) fn begin(&self, ramp: &Ramp, now: Instant) {
        ramp.begin(now);
        self.extend(now);
    }

    /// Returns whether any server may be ramping at `now`.
    #[inline]
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        now.as_micros() < self.until.load(Ordering::Relaxed)
    }

    /// Returns the share of a server at `now`. The share grows linearly from [`FLOOR`] to [`WHOLE`] over the window.
    fn share(&self, ramp: &Ramp, now: Instant) -> u64 {
        let Some(since) = ramp.since.load(Ordering::Relaxed).checked_sub(1) else { return WHOLE };
        let elapsed = now.as_micros().saturating_sub(since);
        let window = self.window.as_micros();
        if elapsed >= window {
            return WHOLE;
        }
        // `grown` is below `WHOLE`, since `elapsed` is less than `window`.
        let grown = u128::from(WHOLE - FLOOR) * u128::from(elapsed) / u128::from(window);
        FLOOR + u64::try_from(grown).unwrap_or(WHOLE - FLOOR)
    }

    /// Returns whether a server has its full share at `now`.
    pub(crate) fn is_whole(&self, ramp: &Ramp, now: Instant) -> bool {
        self.share(ramp, now) == WHOLE
    }

    /// Returns whether a search that has drawn the random `number` may choose a server. A larger share is above more
    /// numbers, so a server with a larger share is chosen more often.
    pub(crate) fn takes(&self, ramp: &Ramp, number: u32, now: Instant) -> bool {
        u64::from(number) < self.share(ramp, now)
    }
}

#[cfg(test)]
mod tests;
