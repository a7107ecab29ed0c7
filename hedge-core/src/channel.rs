//! A cluster, a balancer, options and a policy joined: it hands out calls and is their [`Host`].

use crate::balance::{Balancer, Seeds, select};
use crate::call::{Call, Feedback, Host, NoServer, Pick, Selection, ServerId};
use crate::cluster::Cluster;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
use crate::limit::Limits;
use crate::policy::{BackupDelay, BackupPolicy, CallOptions, ChannelOptions, ConfigError, Denial, Ended};
use crate::time::Instant;

/// The policy of a channel that was given none: the safe limits (B8).
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub type DefaultPolicy = Limits;
/// The policy of a channel that was given none. Limits need 64-bit atomics, which this target has by way of the feature
/// `portable-atomic` only; without them there is [`Channel::with_policy`].
#[cfg(not(any(target_has_atomic = "64", feature = "portable-atomic")))]
pub type DefaultPolicy = crate::policy::NoPolicy;

/// A line to a cluster of at most `N` servers, with everything its calls share.
///
/// Shared by reference: calls go through `&self` and a few relaxed atomics, changes of the list through `&mut self`. For
/// a list that changes under its readers, see the host adapters.
#[derive(Debug)]
pub struct Channel<A, B, P = DefaultPolicy, T = &'static str, const N: usize = 8> {
    cluster: Cluster<A, T, N>,
    balancer: B,
    policy: P,
    options: ChannelOptions,
    seeds: Seeds,
}

#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
impl<A, B: Balancer, T, const N: usize> Channel<A, B, Limits, T, N> {
    /// A channel without servers, under the safe limits (B8): it sends backups for at most a tenth of its calls, and retries
    /// and backups draw on a budget. `seed` is where all its chance comes from.
    ///
    /// # Errors
    /// Options that contradict themselves. That they fit a call is checked when the call is made.
    pub fn new(options: ChannelOptions, balancer: B, seed: u64) -> Result<Self, ConfigError> {
        Self::with_policy(options, balancer, Limits::default(), seed)
    }
}

impl<A, B: Balancer, P: BackupPolicy, T, const N: usize> Channel<A, B, P, T, N> {
    /// A channel whose backups and retries `policy` allows or refuses;
    /// [`NoPolicy`](crate::policy::NoPolicy) allows all of them.
    ///
    /// # Errors
    /// As [`Channel::new`].
    pub fn with_policy(options: ChannelOptions, balancer: B, policy: P, seed: u64) -> Result<Self, ConfigError> {
        options.backoff.validate().map_err(ConfigError::Backoff)?;
        Ok(Self { cluster: Cluster::new(), balancer, policy, options, seeds: Seeds::new(seed) })
    }
}

impl<A, B: Balancer, P: BackupPolicy, T, const N: usize> Channel<A, B, P, T, N> {
    /// The servers.
    pub const fn cluster(&self) -> &Cluster<A, T, N> {
        &self.cluster
    }

    /// The servers, to be changed.
    pub const fn cluster_mut(&mut self) -> &mut Cluster<A, T, N> {
        &mut self.cluster
    }

    /// The policy.
    pub const fn policy(&self) -> &P {
        &self.policy
    }

    /// A call of at most 4 attempts that starts at `now`; for another capacity, or to share the channel by `Arc`, see
    /// [`Call::new`].
    ///
    /// # Errors
    /// Options that ask for more than the call holds (L3), or contradict themselves.
    pub fn call<'c>(&'c self, options: &'c CallOptions<'c>, now: Instant) -> Result<Call<'c, &'c Self>, ConfigError> {
        Call::new(self, options, now)
    }
}

impl<A, B: Balancer, P: BackupPolicy, T, const N: usize> Host for Channel<A, B, P, T, N> {
    fn options(&self) -> &ChannelOptions {
        &self.options
    }

    fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    fn addresses(&self) -> usize {
        self.cluster.addresses()
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick, NoServer> {
        select(&self.cluster, &self.balancer, selection, random)
    }

    fn commit(&self, pick: &Pick, insist: bool) -> bool {
        let taken = pick.ticket.is_none_or(|ticket| self.balancer.commit(ticket, insist));
        if taken {
            self.cluster.started(pick.server);
        }
        taken
    }

    fn finished(&self, server: ServerId, _: Feedback) {
        self.cluster.finished(server);
    }

    fn backup_delay(&self, now: Instant) -> BackupDelay {
        self.policy.delay(now).unwrap_or(self.options.backup)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_retry(now)
    }

    fn ended(&self, call: &Ended<'_>) {
        self.policy.ended(call);
    }
}

#[cfg(feature = "async")]
impl<A: Clone, B: Balancer, P: BackupPolicy, T, const N: usize> crate::drive::Addresses for Channel<A, B, P, T, N> {
    type Address = A;

    fn address_of(&self, server: ServerId) -> Option<A> {
        self.cluster.address(server).cloned()
    }
}
