//! What all calls of a host share, except the servers: [`Settings`].

use std::fmt;
use std::sync::Arc;

use hedge_core::drive::CallFailure;
use hedge_core::latency::Snapshot;
use hedge_core::limit::{Counted, LimitOptions, Limits};
use hedge_core::outcome::{Denial, Extra};
use hedge_core::policy::{BackupDelay, BackupPolicy, ChannelOptions, ConfigError, Ended};
use hedge_core::random::Seeds;
use hedge_core::time::{Instant, Timeout};

use crate::Report;
use crate::caught::{Guarded, caught};
use crate::counters::{CallRecords, Counters};
use crate::end::{CallEnd, Keys, OnEnd};
use crate::observer::Observers;

/// A backup policy of the program, shared between threads.
pub type SharedPolicy = Arc<dyn BackupPolicy + Send + Sync>;

/// Options, limits, policy and latencies: everything that the core asks a host for, except the servers.
pub struct Settings {
    options: ChannelOptions,
    attempt_timeout: Timeout,
    /// The limits, then the program's own policy. Refusals are counted.
    policy: Counted<(Limits, Option<Guarded<SharedPolicy>>)>,
    records: CallRecords,
    seeds: Seeds,
    on_end: Option<OnEnd>,
    observers: Observers,
}

impl Settings {
    /// Settings with these options, which [`Setup::check`](crate::Setup::check) has checked.
    ///
    /// # Errors
    /// An option of a limit that is out of range.
    pub(crate) fn new(
        options: ChannelOptions,
        attempt_timeout: Timeout,
        limits: LimitOptions,
        policy: Option<SharedPolicy>,
        on_end: Option<OnEnd>,
        observers: Observers,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let policy = Counted::new((Limits::new(limits)?, policy.map(Guarded)));
        let (records, seeds) = (CallRecords::default(), Seeds::new(seed));
        Ok(Self { options, attempt_timeout, policy, records, seeds, on_end, observers })
    }

    /// The options that calls inherit.
    pub const fn options(&self) -> &ChannelOptions {
        &self.options
    }

    /// How long one attempt may take if its call does not set that (L21).
    pub const fn attempt_timeout(&self) -> Timeout {
        self.attempt_timeout
    }

    /// Where a call's random numbers come from.
    pub const fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    /// How many extra attempts of this kind were refused for this reason. The count wraps.
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.policy.denied(extra, reason)
    }

    /// How long calls took in the last 10 s.
    pub fn latencies(&self, now: Instant) -> Snapshot {
        self.records.latencies(now)
    }

    /// How many calls ended in which way, and how many attempts they made.
    pub fn counters(&self) -> Counters {
        self.records.counters(|extra, reason| self.denied(extra, reason))
    }

    /// All that is told of calls.
    pub const fn observers(&self) -> &Observers {
        &self.observers
    }

    /// The backup delay: the policy's, else the plain one of the options (B1).
    pub fn backup_delay(&self, now: Instant) -> BackupDelay {
        self.policy.delay(now).unwrap_or(self.options.backup)
    }

    /// Whether a backup may be sent now (L5). A grant counts at once.
    ///
    /// # Errors
    /// The limit that refuses.
    pub fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_back_up(now)
    }

    /// Whether a retry may be sent now. A grant counts at once.
    ///
    /// # Errors
    /// The limit that refuses.
    pub fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_retry(now)
    }

    /// A call without a policy of its own has ended.
    pub fn ended(&self, call: &Ended<'_>) {
        self.policy.ended(call);
        self.records.ended(call);
    }

    /// Tells the program that a call has ended, unless its options cannot be carried out.
    #[inline]
    pub fn tell_end<Reply, E>(&self, result: &Result<Reply, CallFailure<Reply, E>>, report: &Report, keys: &dyn Keys) {
        if let Some(on_end) = &self.on_end
            && !matches!(result, Err(CallFailure::Config(_)))
        {
            caught(|| on_end(&CallEnd::new(report, keys)));
        }
    }

    /// A call's own policy, as the core gets it. It replaces the host's policy and the limits. The host's latencies and
    /// counters still count the call.
    #[doc(hidden)]
    pub fn with_own<'a>(
        &'a self,
        own: &'a (dyn BackupPolicy + Sync),
    ) -> (Guarded<&'a (dyn BackupPolicy + Sync)>, &'a CallRecords) {
        (Guarded(own), &self.records)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("options", &self.options).finish_non_exhaustive()
    }
}
