//! How often a policy refused, and why: [`Counted`].

use crate::atomic::{AtomicU32, Ordering};
use crate::outcome::{Denial, Extra};
use crate::policy::{BackupDelay, BackupPolicy, Ended};
use crate::time::Instant;

/// A policy whose refusals are counted by reason ([B6](crate::rules#B6)).
///
/// Cost: a grant costs nothing, a refusal one addition. 40 bytes and those of the policy.
#[derive(Debug, Default)]
pub struct Counted<P> {
    policy: P,
    retries: [AtomicU32; Denial::ALL.len()],
    backups: [AtomicU32; Denial::ALL.len()],
}

impl<P> Counted<P> {
    /// A policy that has not refused anything yet.
    pub fn new(policy: P) -> Self {
        let zeros = || core::array::from_fn(|_| AtomicU32::new(0));
        Self { policy, retries: zeros(), backups: zeros() }
    }

    /// The policy.
    pub const fn policy(&self) -> &P {
        &self.policy
    }

    /// How many extra attempts of a kind were refused for a reason. Wraps: take differences.
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

    fn ended(&self, call: &Ended<'_>) {
        self.policy.ended(call);
    }
}
