//! A cluster, a balancer, options, a policy and the servers' health joined: [`Channel`] hands out calls and is their
//! [`Host`].

mod list;
#[cfg(test)]
#[cfg(feature = "alloc")]
mod tests;

pub use list::{Change, Record, Update};

use crate::balance::{Balancer, Candidate, ProbeAnswer, Seeds, Tag, first_choice, further_choice};
use crate::call::{Call, Finished, Host, NoServer, Pick, Selection, ServerId};
use crate::cluster::{Cluster, ClusterError, IS_OVER, STARTS, Server};
use crate::health::{Breaker, Health, NoBreaker, ServerHealth};
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
use crate::limit::Limits;
use crate::policy::{BackupDelay, BackupPolicy, CallOptions, ChannelOptions, ConfigError, Denial, Ended};
use crate::time::Instant;
use list::View;

/// The policy of a channel that was given none: the safe limits (B8).
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub type DefaultPolicy = Limits;
/// The policy of a channel that was given none. Limits need 64-bit atomics, which this target has by way of the feature
/// `portable-atomic` only; without them there is [`Channel::with_policy`].
#[cfg(not(any(target_has_atomic = "64", feature = "portable-atomic")))]
pub type DefaultPolicy = crate::policy::NoPolicy;

/// Which servers are let into a list.
pub type Filter<A, T> = fn(&Server<A, T>) -> bool;

/// A line to a cluster of at most `N` servers, with everything its calls share.
///
/// Shared by reference: calls go through `&self` and a few relaxed atomics, changes of the list through `&mut self`. For
/// a list that changes under its readers, see the host adapters.
///
/// # Health
///
/// A server takes calls unless its connection is broken, which the driver says that makes connections
/// ([`set_broken`](Self::set_broken), by a [`Checker`](crate::health::Checker) for each server), or it was withdrawn by hand
/// ([`set_usable`](Self::set_usable)), or the breaker `K` isolates it. Without a breaker nothing is kept for one.
///
/// While every server is broken, one call in 100 ms is let through to the one that broke first (H5). Its success brings that
/// server back; a driver that finds a broken server usable after an attempt ended may then hurry the other
/// [`Checker`](crate::health::Checker)s by [`CheckInput::Now`](crate::health::CheckInput::Now).
#[derive(Debug)]
pub struct Channel<A, B: Balancer, P = DefaultPolicy, T = &'static str, const N: usize = 8, K: Breaker = NoBreaker> {
    cluster: Cluster<A, T, N, Record<B::Stats, K>>,
    balancer: B,
    policy: P,
    health: Health<K>,
    options: ChannelOptions,
    seeds: Seeds,
    filter: Option<Filter<A, T>>,
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
        Self::with_health(options, balancer, policy, Health::none(), seed)
    }
}

impl<A, B: Balancer, P: BackupPolicy, T, const N: usize, K: Breaker> Channel<A, B, P, T, N, K> {
    /// A channel whose servers are under a breaker, or return with care after all were down.
    ///
    /// # Errors
    /// As [`Channel::new`].
    pub fn with_health(
        options: ChannelOptions,
        balancer: B,
        policy: P,
        health: Health<K>,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        options.backoff.validate().map_err(ConfigError::Backoff)?;
        let (cluster, seeds) = (Cluster::new(), Seeds::new(seed));
        Ok(Self { cluster, balancer, policy, health, options, seeds, filter: None })
    }

    /// Lets only servers into the list that `filter` answers true of (N3). Those that are there stay until the next
    /// [`set_servers`](Self::set_servers).
    pub const fn set_filter(&mut self, filter: Filter<A, T>) {
        self.filter = Some(filter);
    }

    /// The servers.
    pub const fn cluster(&self) -> &Cluster<A, T, N, Record<B::Stats, K>> {
        &self.cluster
    }

    /// The balancer.
    pub const fn balancer(&self) -> &B {
        &self.balancer
    }

    /// The policy.
    pub const fn policy(&self) -> &P {
        &self.policy
    }

    /// Whether a server takes calls.
    pub fn usable(&self, server: ServerId, now: Instant) -> bool {
        self.cluster.state(server).is_some_and(|record| self.health.usable(&record.health, now))
    }

    /// Says whether a server's connection is broken, so that it takes no calls (H1); false if the server is gone.
    pub fn set_broken(&self, server: ServerId, broken: bool, now: Instant) -> bool {
        let record = self.cluster.state(server);
        if let Some(record) = record {
            self.health.set_broken(&record.health, broken, now, || self.healths());
        }
        record.is_some()
    }

    /// Withdraws a server by hand, or lets it in again; false if it is gone. That is apart from whether its connection is
    /// broken: a server takes calls only if neither keeps them away.
    pub fn set_usable(&self, server: ServerId, usable: bool, now: Instant) -> bool {
        let record = self.cluster.state(server);
        if let Some(record) = record {
            self.health.set_withdrawn(&record.health, !usable, now, || self.healths());
        }
        record.is_some()
    }

    /// A call of at most 4 attempts that starts at `now`; for another capacity, or to share the channel by `Arc`, see
    /// [`Call::new`].
    ///
    /// # Errors
    /// Options that ask for more than the call holds (L3), or contradict themselves.
    pub fn call<'c>(&'c self, options: &'c CallOptions<'c>, now: Instant) -> Result<Call<'c, &'c Self>, ConfigError> {
        Call::new(self, options, now)
    }

    /// Hands `probe` the servers that are to be probed now because a call starts: once a call, under a balancer that goes by
    /// probes; none under any other.
    pub fn probes(&self, now: Instant, probe: &mut dyn FnMut(ServerId)) {
        self.balancer.call_started(&self.view(now), now, probe);
    }

    /// A server has answered a probe.
    pub fn probed(&self, server: ServerId, answer: ProbeAnswer, now: Instant) {
        self.balancer.probed(&self.view(now), server, answer, now);
    }

    /// Whether what is found tells of the return after all were down (H3). Who names a server has reasons of its own, and
    /// tells nothing of the others.
    fn recovers(&self, selection: &Selection<'_>) -> bool {
        self.health.recovers() && selection.by_balancer()
    }

    /// Looks on where the balancer's first choice is not the call's.
    #[cfg_attr(not(target_os = "none"), inline(never))]
    fn look_further(
        &self,
        selection: &Selection<'_>,
        random: &mut dyn FnMut() -> u32,
    ) -> Result<Pick<B::Ticket>, NoServer> {
        match further_choice(&self.view(selection.now), &self.balancer, selection, random) {
            Err(NoServer::AllDown) => {
                if self.recovers(selection) {
                    self.health.all_down(selection.now);
                }
                self.last_resort(selection)
            }
            pick => pick,
        }
    }

    /// The server to which a call is let through although none is usable (H5).
    #[cold]
    #[inline(never)]
    fn last_resort<Ticket>(&self, selection: &Selection<'_>) -> Result<Pick<Ticket>, NoServer> {
        let servers = self.cluster.iter().filter_map(|(server, _)| Some((server, &self.cluster.state(server)?.health)));
        let server = Some(selection).filter(|it| it.is_first()).and_then(|it| self.health.last_resort(it.now, servers));
        let (server, address, _) = server.and_then(|it| self.cluster.candidate(it.slot())).ok_or(NoServer::AllDown)?;
        Ok(Pick { server, address, ticket: None })
    }

    /// Tells the balancer and the breaker how an attempt went.
    #[inline]
    fn learn(&self, record: &Record<B::Stats, K>, attempt: &Finished) {
        self.balancer.finished(&self.view(attempt.now), attempt);
        self.health.finished(&record.health, attempt, || self.healths());
    }

    fn healths(&self) -> impl Iterator<Item = &ServerHealth<K>> {
        self.cluster.states().map(|record| &record.health)
    }

    fn view(&self, now: Instant) -> View<'_, A, T, N, B::Stats, K> {
        View { cluster: &self.cluster, health: &self.health, now }
    }
}

impl<A, B: Balancer, P: BackupPolicy, T, const N: usize, K: Breaker> Host for Channel<A, B, P, T, N, K> {
    type Ticket = B::Ticket;

    fn options(&self) -> &ChannelOptions {
        &self.options
    }

    fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    fn addresses(&self) -> usize {
        self.cluster.addresses()
    }

    fn needs_request_code(&self) -> bool {
        self.balancer.needs_request_code()
    }

    // On a host the usual look is part of its call: neither what is looked for nor what is found goes through memory.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<B::Ticket>, NoServer> {
        if self.recovers(selection)
            && !self.health.admit(selection.now, || self.view(selection.now).usable(), &mut *random)
        {
            let selection = *selection;
            return self.last_resort(&selection);
        }
        if let Some(pick) = first_choice(&self.view(selection.now), &self.balancer, selection, random) {
            return Ok(pick);
        }
        // Copied, so that only a look that goes on writes it to memory.
        let selection = *selection;
        self.look_further(&selection, random)
    }

    fn commit(&self, pick: &Pick<B::Ticket>, now: Instant, insist: bool) -> bool {
        let Some(record) = self.cluster.state(pick.server) else {
            let _ = self.cluster.count(pick.server, STARTS);
            return true;
        };
        if !self.health.started(&record.health, now, insist) {
            return false;
        }
        if !pick.ticket.is_none_or(|ticket| self.balancer.commit(ticket, insist)) {
            self.health.withdrawn(&record.health, now);
            return false;
        }
        let _ = self.cluster.count(pick.server, STARTS);
        self.balancer.started(&self.view(now), pick.server, pick.ticket, now);
        true
    }

    fn finished(&self, attempt: &Finished) {
        if let Some(record) = self.cluster.count(attempt.sent.server, IS_OVER) {
            self.learn(record, attempt);
        }
    }

    fn answered(&self, attempt: &Finished) {
        if let Some(record) = self.cluster.state(attempt.sent.server) {
            self.learn(record, attempt);
        }
    }

    fn released(&self, server: ServerId) {
        let _ = self.cluster.count(server, IS_OVER);
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
impl<A: Clone, B: Balancer, P: BackupPolicy, T, const N: usize, K: Breaker> crate::drive::Addresses
    for Channel<A, B, P, T, N, K>
{
    type Address = A;

    fn address_of(&self, server: ServerId) -> Option<A> {
        self.cluster.address(server).cloned()
    }
}
