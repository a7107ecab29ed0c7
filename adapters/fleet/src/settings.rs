//! What all calls of a host share, except the servers: [`Settings`].

use std::fmt;
use std::sync::Arc;

use hedge_core::balance::BalancerName;
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
use crate::replace::{OptionsError, ReplaceableOptions};
use crate::servers::Servers;

/// A backup policy of the program, shared between threads.
pub type SharedPolicy = Arc<dyn BackupPolicy + Send + Sync>;

/// Options, limits, policy and latencies: everything that the core asks a host for, except the servers.
pub struct Settings {
    /// The options and the limits, then the program's own policy. Refusals are counted.
    policy: Counted<Limited>,
    records: CallRecords,
    seeds: Seeds,
    on_end: Option<OnEnd>,
    observers: Observers,
    /// The balancer's name, for warnings.
    balancer: Option<BalancerName>,
}

impl Settings {
    /// Settings with these options, which [`Setup::check`](crate::Setup::check) has checked.
    ///
    /// # Errors
    /// An option of a limit that is out of range.
    pub(crate) fn new(
        options: ReplaceableOptions,
        policy: Option<SharedPolicy>,
        on_end: Option<OnEnd>,
        observers: Observers,
        balancer: Option<BalancerName>,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let policy = Counted::new(Limited { in_force: InForce::new(options)?, own: policy.map(Guarded) });
        let (records, seeds) = (CallRecords::default(), Seeds::new(seed));
        Ok(Self { policy, records, seeds, on_end, observers, balancer })
    }

    /// The options in force, for a call that starts. A host takes them once, and gives them to the methods here.
    #[inline]
    pub fn hold(&self) -> HeldOptions {
        self.in_force().hold()
    }

    /// The options that a call inherits.
    #[inline]
    pub fn inherited<'a>(&'a self, held: &'a HeldOptions) -> &'a ChannelOptions {
        &self.in_force().of(held).channel
    }

    /// How long one attempt may take if its call does not set that ([L21](hedge_core::rules#L21)).
    pub fn attempt_timeout(&self, held: &HeldOptions) -> Timeout {
        self.in_force().of(held).attempt_timeout
    }

    /// A copy of the options in force.
    pub fn options(&self) -> ReplaceableOptions {
        self.in_force().of(&self.hold()).clone()
    }

    /// Replaces the options of a host without servers by those that `change` makes of them. The answer is a copy of the
    /// new ones. `change` may not replace options itself.
    ///
    /// # Errors
    /// See [`OptionsError`]. Nothing is changed then.
    pub fn replace(
        &self,
        now: Instant,
        change: impl FnOnce(&ReplaceableOptions) -> ReplaceableOptions,
    ) -> Result<ReplaceableOptions, OptionsError> {
        self.in_force().replace(now, change, |_, _| Ok(()), |()| {})
    }

    /// The same for a host with these servers, whose breaker, isolation limit and recovery are replaced too.
    ///
    /// # Errors
    /// See [`OptionsError`]. Nothing is changed then.
    pub fn replace_with<K: 'static, S: Service>(
        &self,
        servers: &Servers<K, S>,
        now: Instant,
        change: impl FnOnce(&ReplaceableOptions) -> ReplaceableOptions,
    ) -> Result<ReplaceableOptions, OptionsError> {
        let health = |old: &ReplaceableOptions, new: &ReplaceableOptions| {
            if new.has_health_of(old) {
                return Ok(None);
            }
            let health = servers.load().health().replaced(new.breaker, new.isolation_limit, new.recovery)?;
            Ok(Some(health))
        };
        self.in_force().replace(now, change, health, |health| {
            if let Some(health) = health {
                servers.set_health(health, now);
            }
        })
    }

    /// The input of the warnings about `options` that are in force. A host adds what it knows about its servers. This
    /// asks the policy for its delay once.
    pub fn warning_input<'a>(&self, options: &'a ReplaceableOptions, now: Instant) -> config::Setup<'a> {
        options.warning_input(self.policy.policy().own.delay(now), self.balancer)
    }

    const fn in_force(&self) -> &InForce {
        &self.policy.policy().in_force
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

    /// The backup delay: the policy's, else the plain one of the options ([B1](hedge_core::rules#B1)).
    pub fn backup_delay(&self, held: &HeldOptions, now: Instant) -> BackupDelay {
        let options = self.in_force().of(held);
        let of_policies = options.ratio_delay().or_else(|| self.policy.policy().own.delay(now));
        of_policies.unwrap_or(options.channel.backup)
    }

    /// Whether a backup may be sent now ([L5](hedge_core::rules#L5)). A grant counts at once.
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
        f.debug_struct("Settings").field("options", &self.options()).finish_non_exhaustive()
    }
}

/// The limits in force, and the program's own policy. Both must agree.
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

    fn ended(&self, call: &Ended<'_>) {
        self.in_force.with_limits(|limits| limits.ended(call));
        self.own.ended(call);
    }
}
