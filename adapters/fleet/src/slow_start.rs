//! Servers that have come or returned get their share of the calls gradually ([S11](hedge_core::rules#S11)):
//! [`SlowStart`].

use std::sync::atomic::{AtomicU64, Ordering};

use hedge_core::config::ServerLimits;
use hedge_core::time::{Instant, Micros};

/// One whole share, in the fixed point of random numbers of 32 bits.
const WHOLE: u64 = 1 << 32;

/// The share that a server begins with: a tenth of its whole one.
const FLOOR: u64 = WHOLE / 10;

/// How fast servers that have come or returned get their whole share.
///
/// # Cost
/// While no server is ramping, a look reads one number. While some are, a look takes one more random number and reads
/// the start of the ramp of each server that it looks at. If they pass nearly all servers over, it searches twice.
pub(crate) struct SlowStart {
    window: Micros,
    /// When the last ramp is over, in microseconds.
    until: AtomicU64,
}

/// When a server has come or returned.
pub(crate) struct Ramp {
    /// In microseconds, and one more; 0 if it has its whole share.
    since: AtomicU64,
}

impl Ramp {
    /// The ramp of a server that came at an instant, or one that is over.
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
    /// The slow start that the options ask for; `None` if they ask for none.
    pub(crate) const fn new(limits: &ServerLimits) -> Option<Self> {
        match limits.slow_start {
            Some(window) => Some(Self { window: Micros::from_duration(window), until: AtomicU64::new(0) }),
            None => None,
        }
    }

    /// Says that some server is ramping from now on.
    pub(crate) fn extend(&self, now: Instant) {
        self.until.fetch_max((now + self.window).as_micros(), Ordering::Relaxed);
    }

    /// Lets a server begin its ramp.
    pub(crate) fn begin(&self, ramp: &Ramp, now: Instant) {
        ramp.begin(now);
        self.extend(now);
    }

    /// Whether some server may be ramping.
    #[inline]
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        now.as_micros() < self.until.load(Ordering::Relaxed)
    }

    /// The share of a server, of [`WHOLE`]: it grows linearly from [`FLOOR`] over the window.
    fn share(&self, ramp: &Ramp, now: Instant) -> u64 {
        let Some(since) = ramp.since.load(Ordering::Relaxed).checked_sub(1) else { return WHOLE };
        let elapsed = now.as_micros().saturating_sub(since);
        let window = self.window.as_micros();
        if elapsed >= window {
            return WHOLE;
        }
        // The quotient is below `WHOLE`, since the server has been there for less than the window.
        let grown = u128::from(WHOLE - FLOOR) * u128::from(elapsed) / u128::from(window);
        FLOOR + u64::try_from(grown).unwrap_or(WHOLE - FLOOR)
    }

    /// Whether a server has its whole share.
    pub(crate) fn is_whole(&self, ramp: &Ramp, now: Instant) -> bool {
        self.share(ramp, now) == WHOLE
    }

    /// Whether a look that has drawn this number takes a server.
    pub(crate) fn takes(&self, ramp: &Ramp, number: u32, now: Instant) -> bool {
        u64::from(number) < self.share(ramp, now)
    }
}

#[cfg(test)]
mod tests;
