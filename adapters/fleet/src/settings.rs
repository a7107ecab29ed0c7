//! The settings that all calls of a host share: [`Settings`]. This is everything that calls share, except the servers.

use std::fmt;
use std::sync::Arc;

use hedge_core::balance::BalancerSpec;
use hedge_core::config;
use hedge_core::drive::CallFailure;
use hedge_core::latency::Snapshot;
use hedge_core::limit::Counted;
use hedge_core::outcome::{Denial, Extra};
use hedge_core::policy::{BackupDelay, BackupPolicy, ChannelOptions, ConfigError, Ended};
use hedge_core::random::Seeds;
use hedge_core::time::{Instant, Timeout};

use crate::Report;
use crate::caught::{Guarded, caught};
use crate::counters::{CallRecords, Counters};
use crate::end::{CallEnd, Keys, OnEnd};
use crate::in_force::{HeldOptions, InForce};
use crate::node::Service;
use crate::observer::Observers;
use crate::replace::ReplaceableOptions;
use crate::servers::Servers;

/// A backup policy of the program, shared between threads.
pub type SharedPolicy = Arc<dyn BackupPolicy + Send + Sync>;

/// The options, limits, policy and latencies of a host: everything that the core asks a host for, except the servers.
pub struct Settings {
    /// The options in force with their limits, together with the program's own policy. The wrapper counts refusals.
    policy: Counted<Limited>,
    records: CallRecords,
    seeds: Seeds,
    on_end: Option<OnEnd>,
    observers: Observers,
    /// The name of the balancer, and the groups in which it works. Warnings are computed from them.
    balancer: Option<BalancerSpec>,
}

impl Settings {
    /// Makes settings with these options. [`Setup::check`](crate::Setup::check) must have accepted the options.
    ///
    /// # Errors
    /// Returns an error if an option of a limit is out of its range.
    pub(crate) fn new(
        options: ReplaceableOptions,
        policy: Option<SharedPolicy>,
        on_end: Option<OnEnd>,
        observers: Observers,
        balancer: Option<BalancerSpec>,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let policy = Counted::new(Limited { in_force: InForce::new(options)?, own: policy.map(Guarded) });
        let (records, seeds) = (CallRecords::default(), Seeds::new(seed));
        Ok(Self { policy, records, seeds, on_end, observers, balancer })
    }

    /// Returns the options that are in force now, for a call that starts. A host calls this once for each call, and
    /// passes the result to the other methods.
    #[inline]
    pub fn hold(&self) -> HeldOptions {
        self.in_force().hold()
    }

    /// Returns the options that a call inherits from its channel.
    #[inline]
    pub fn inherited<'a>(&'a self, held: &'a HeldOptions) -> &'a ChannelOptions {
        &self.in_force().of(held).channel
    }

    /// Returns how long one attempt may take if the call itself sets no attempt timeout ([L21](hedge_core::rules#L21)).
    pub fn attempt_timeout(&self, held: &HeldOptions) -> Timeout {
        self.in_force().of(held).attempt_timeout
    }

    /// Returns a copy of the options that are in force now.
    pub fn options(&self) -> ReplaceableOptions {
        self.in_force().of(&self.hold()).clone()
    }

    /// Replaces the options of a host that has no list of servers. `change` gets the old options and returns the new
    /// ones. This method returns a copy of the new options. `change` must not replace options itself, since that would
    /// block for ever.
    ///
    /// # Errors
    /// Returns an error for the first option that cannot be used. Nothing is changed then.
    pub fn replace(
        &self,
        now: Instant,
        change: impl FnOnce(&ReplaceableOptions) -> ReplaceableOptions,
    ) -> Result<ReplaceableOptions, ConfigError> {
        self.in_force().replace(now, change, |_, _| (), |()| {})
    }

    /// Replaces the options of a host whose list of servers is `servers`. The breaker, the isolation limit and the
    /// recovery of the servers are replaced too. For `change` and the result, see [`replace`](Self::replace).
    ///
    /// # Errors
    /// Returns an error for the first option that cannot be used. Nothing is changed then.
    pub fn replace_with<K: 'static, S: Service>(
        &self,
        servers: &Servers<K, S>,
        now: Instant,
        change: impl FnOnce(&ReplaceableOptions) -> ReplaceableOptions,
    ) -> Result<ReplaceableOptions, ConfigError> {
        let health = |old: &ReplaceableOptions, new: &ReplaceableOptions| {
            let replaced = || servers.load().health().replaced(new.breaker, new.isolation_limit, new.recovery);
            (!new.has_health_of(old)).then(replaced)
        };
        self.in_force().replace(now, change, health, |health| {
            if let Some(health) = health {
                servers.set_health(health, now);
            }
        })
    }

    /// Returns the input from which the warnings about a configuration are computed. `options` must be the options in
    /// force. A host adds what it knows about its servers. This method asks the policy for its delay once.
    pub fn warning_input<'a>(&self, options: &'a ReplaceableOptions, now: Instant) -> config::Setup<'a> {
        options.warning_input(self.policy.policy().own.delay(now), self.balancer)
    }

    const fn in_force(&self) -> &InForce {
        &self.policy.policy().in_force
    }

    /// Returns the seeds of the random numbers of calls.
    pub const fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    /// Returns how many extra attempts of this kind were refused for this reason. The count wraps at 2³².
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.policy.denied(extra, reason)
    }

    /// Returns the latencies of the calls of the last 10 s.
    pub fn latencies(&self, now: Instant) -> Snapshot {
        self.records.latencies(now)
    }

    /// Returns how many calls ended in each way, and how many attempts they made.
    pub fn counters(&self) -> Counters {
        self.records.counters(|extra, reason| self.denied(extra, reason))
    }

    /// Counts a call that an interceptor refused before it started ([I1](hedge_core::rules#I1)).
    pub fn call_refused(&self) {
        self.records.count_refused();
    }

    /// Counts a call that an interceptor answered ([I1](hedge_core::rules#I1)).
    pub fn call_answered(&self) {
        self.records.count_answered();
    }

    /// Returns the observers of calls.
    pub const fn observers(&self) -> &Observers {
        &self.observers
    }

    /// Returns the backup delay ([B1](hedge_core::rules#B1)). It is the first of these three that is set: the delay of
    /// the ratio limit, the delay of the policy, the delay of the options.
    pub fn backup_delay(&self, held: &HeldOptions, now: Instant) -> BackupDelay {
        let options = self.in_force().of(held);
        let of_policies = options.ratio_delay().or_else(|| self.policy.policy().own.delay(now));
        of_policies.unwrap_or(options.channel.backup)
    }

    /// Returns `Ok` if a backup may be sent now ([L5](hedge_core::rules#L5)). The limits and the policy then already
    /// count it as sent.
    ///
    /// # Errors
    /// Returns the limit or the policy that refuses the backup.
    pub fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_back_up(now)
    }

    /// Returns `Ok` if a retry may be sent now. The limits and the policy then already count it as sent.
    ///
    /// # Errors
    /// Returns the limit or the policy that refuses the retry.
    pub fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_retry(now)
    }

    /// Records the end of a call that has no policy of its own. This method informs the limits and the policy of the
    /// end, and updates the latencies and the counters.
    #[inline]
    pub fn ended(&self, call: &Ended<'_>) {
        self.policy.ended(call);
        self.records.ended(call);
    }

    /// Calls the program's `on_end`. Does nothing if the call was rejected because its options are invalid.
    #[inline]
    pub fn tell_end<Reply, E>(&self, result: &Result<Reply, CallFailure<Reply, E>>, report: &Report, keys: &dyn Keys) {
        if let Some(on_end) = &self.on_end
            && !matches!(result, Err(CallFailure::Config(_)))
        {
            caught(|| on_end(&CallEnd::new(report, keys)));
        }
    }

    /// Prepares a call's own policy for the core. This policy replaces the host's policy and the limits. But the host's
    /// latencies and counters still count the call.
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
        f.debug_struct("Settings").field("options", &self.options()).finish_non_exhaustive()
    }
}

/// The limits in force, together with the program's own policy. An extra attempt is sent only if both allow it.
struct Limited {
    in_force: InForce,
    own: Option<Guarded<SharedPolicy>>,
}

impl BackupPolicy for Limited {
    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.in_force.with_limits(|limits| (limits, &self.own).may_back_up(now))
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.in_force.with_limits(|limits| (limits, &self.own).may_retry(now))
    }

    #[inline]
    fn ended(&self, call: &Ended<'_>) {
        self.in_force.with_limits(|limits| limits.ended(call));
        self.own.ended(call);
    }
}
