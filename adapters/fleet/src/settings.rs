//! What all calls of a host share, the servers apart: [`Settings`].

use std::fmt;
use std::sync::Arc;

use hedge_core::latency::Snapshot;
use hedge_core::limit::{Counted, LimitOptions, Limits};
use hedge_core::outcome::{Denial, Extra};
use hedge_core::policy::{BackupDelay, BackupPolicy, CallLatencies, ChannelOptions, ConfigError, Ended};
use hedge_core::random::Seeds;
use hedge_core::time::Instant;

use crate::caught::Guarded;

/// A policy of the program's, which threads share.
pub type SharedPolicy = Arc<dyn BackupPolicy + Send + Sync>;

/// What the core asks of a host, the servers apart.
pub struct Settings {
    options: ChannelOptions,
    /// The limits, whose refusals are counted, and the program's own policy.
    policy: Counted<(Limits, Option<Guarded<SharedPolicy>>)>,
    latencies: CallLatencies,
    seeds: Seeds,
}

impl Settings {
    /// Settings whose calls have these options, which were [checked](crate::Setup::check).
    ///
    /// # Errors
    /// A limit's option that is out of its range.
    pub(crate) fn new(
        options: ChannelOptions,
        limits: LimitOptions,
        policy: Option<SharedPolicy>,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let policy = Counted::new((Limits::new(limits)?, policy.map(Guarded)));
        Ok(Self { options, policy, latencies: CallLatencies::default(), seeds: Seeds::new(seed) })
    }

    /// The options that calls inherit.
    pub const fn options(&self) -> &ChannelOptions {
        &self.options
    }

    /// Where a call's random numbers come from.
    pub const fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    /// How many extra attempts of a kind were refused for a reason. Wraps.
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.policy.denied(extra, reason)
    }

    /// How long calls took in the last 10 s.
    pub fn latencies(&self, now: Instant) -> Snapshot {
        self.latencies.snapshot(now)
    }

    /// The policy's delay before the plain one (B1).
    pub fn backup_delay(&self, now: Instant) -> BackupDelay {
        self.policy.delay(now).unwrap_or(self.options.backup)
    }

    /// Whether a backup may be sent now (L5); granting counts.
    ///
    /// # Errors
    /// The limit that refuses.
    pub fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_back_up(now)
    }

    /// Whether a retry may be sent now; granting counts.
    ///
    /// # Errors
    /// The limit that refuses.
    pub fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_retry(now)
    }

    /// A call without a policy of its own has ended.
    pub fn ended(&self, call: &Ended<'_>) {
        self.policy.ended(call);
        self.latencies.ended(call);
    }

    /// What a call's own policy goes by: it takes the place of the host's and of the limits, and the latencies are counted all
    /// the same.
    #[doc(hidden)]
    pub fn with_own<'a>(
        &'a self,
        own: &'a (dyn BackupPolicy + Sync),
    ) -> (Guarded<&'a (dyn BackupPolicy + Sync)>, &'a CallLatencies) {
        (Guarded(own), &self.latencies)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("options", &self.options).finish_non_exhaustive()
    }
}
