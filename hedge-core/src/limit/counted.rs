//! Counts the refusals of a policy by reason: [`Counted`].

use crate::atomic::{AtomicU32, Ordering};
use crate::outcome::{Denial, Extra};
use crate::policy::{BackupDelay, BackupPolicy, Ended};
use crate::time::Instant;

/// Wraps a policy and counts its refusals by reason ([B6](crate::rules#B6)).
///
/// Cost: a permission costs nothing more, and a refusal costs one addition. Memory: 40 bytes more than the policy.
#[derive(Debug, Default)]
pub struct Counted<P> {
    policy: P,
    retries: [AtomicU32; Denial::ALL.len()],
    backups: [AtomicU32; Denial::ALL.len()],
}

impl<P> Counted<P> {
    /// Wraps a policy. All counts begin at 0.
    pub fn new(policy: P) -> Self {
        let zeros = || core::array::from_fn(|_| AtomicU32::new(0));
        Self { policy, retries: zeros(), backups: zeros() }
    }

    /// Returns the policy whose refusals are counted.
    pub const fn policy(&self) -> &P {
        &self.policy
    }

    /// Returns how many extra attempts of the kind `extra` were refused for the reason `reason`. The count wraps, so
    /// use the difference of two readings.
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.counter(extra, reason).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn counter(&self, extra: Extra, reason: Denial) -> Option<&AtomicU32> {
        let counters = match extra {
            Extra::Retry => &self.retries,
            Extra::Backup => &self.backups,
        };
        Denial::ALL.iter().zip(counters).find(|(denial, _)| **denial == reason).map(|(_, count)| count)
    }

    fn count(&self, extra: Extra, reason: Denial) {
        if let Some(count) = self.counter(extra, reason) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<P: BackupPolicy> BackupPolicy for Counted<P> {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        self.policy.delay(now)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_back_up(now).inspect_err(|reason| self.count(Extra::Backup, *reason))
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_retry(now).inspect_err(|reason| self.count(Extra::Retry, *reason))
    }

    fn take_back(&self, extra: Extra, now: Instant) {
        self.policy.take_back(extra, now);
    }

    #[inline]
    fn ended(&self, call: &Ended<'_>) {
        self.policy.ended(call);
    }
}
