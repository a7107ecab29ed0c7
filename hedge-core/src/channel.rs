//! [`Channel`] joins a cluster, a balancer, options, a policy and the servers' health. It hands out calls and is their
//! [`Host`].

mod list;
#[cfg(test)]
#[cfg(all(feature = "alloc", feature = "md5"))]
mod tests;

pub use list::{ListChange, Record, Update};

use crate::atomic::Ordering::Relaxed;
use crate::balance::{Balancer, Candidate, NoServer, Pick, ProbeAnswer, Selection, Tag, first_choice, further_choice};
use crate::call::{Call, Host};
use crate::cluster::{Cluster, ClusterError, Server};
use crate::health::{Breaker, Health, NoBreaker, ServerHealth};
use crate::id::ServerId;
#[cfg(has_atomic_64)]
use crate::limit::Limits;
use crate::outcome::{Denial, Finished};
use crate::policy::{BackupDelay, BackupPolicy, CallOptions, ChannelOptions, ConfigError, Ended};
use crate::random::Seeds;
use crate::time::Instant;
use list::View;

/// The default policy of a channel: the safe limits (B8).
#[cfg(has_atomic_64)]
pub type DefaultPolicy = Limits;
/// The default policy of a channel: no limits. Limits need 64-bit atomics, which this target has only through the
/// feature `portable-atomic`. Without that feature, make channels by [`Channel::with_policy`].
#[cfg(not(has_atomic_64))]
pub type DefaultPolicy = crate::policy::NoPolicy;

/// A predicate that says which servers may enter a list (N3).
pub type Filter<A, T> = fn(&Server<A, T>) -> bool;

/// A client of a cluster of at most `N` servers, with everything that its calls share.
///
/// Calls share it by reference: they take `&self` and use a few relaxed atomics. Changes of the list take `&mut self`.
/// The host adapters support lists that change while calls use them.
///
/// # Health
///
/// A server takes calls unless one of these holds:
///
/// - Its connection is broken. The driver that makes connections says so by [`set_broken`](Self::set_broken), with one
///   [`Checker`](crate::health::Checker) for each server.
/// - It was withdrawn by hand ([`set_usable`](Self::set_usable)).
/// - The breaker `K` isolates it. Under [`NoBreaker`] a server has no state for one.
///
/// While every server that was not withdrawn is broken, one call every 100 ms goes to the server that has been broken
/// for longest (H5). If it succeeds, that server is usable again. A driver that sees this after an attempt has ended
/// may make the other [`Checker`](crate::health::Checker)s check at once by
/// [`CheckInput::Now`](crate::health::CheckInput::Now).
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

#[cfg(has_atomic_64)]
impl<A, B: Balancer, T, const N: usize> Channel<A, B, Limits, T, N> {
    /// A channel without servers, under the safe limits (B8): backups are at most a tenth of its calls, apart from a
    /// small burst, and retries and backups draw on one budget. All its random numbers follow from `seed`. Whether the
    /// options fit a call is checked when the call is made.
    pub fn new(options: ChannelOptions, balancer: B, seed: u64) -> Self {
        Self::with_policy(options, balancer, Limits::default(), seed)
    }
}

impl<A, B: Balancer, P: BackupPolicy, T, const N: usize> Channel<A, B, P, T, N> {
    /// A channel whose backups and retries `policy` allows or refuses;
    /// [`NoPolicy`](crate::policy::NoPolicy) allows all of them.
    pub fn with_policy(options: ChannelOptions, balancer: B, policy: P, seed: u64) -> Self {
        Self::with_health(options, balancer, policy, Health::none(), seed)
    }
}

impl<A, B: Balancer, P: BackupPolicy, T, const N: usize, K: Breaker> Channel<A, B, P, T, N, K> {
    /// A channel with a breaker for its servers, or with a careful return after all were down (H3).
    pub fn with_health(options: ChannelOptions, balancer: B, policy: P, health: Health<K>, seed: u64) -> Self {
        let (cluster, seeds) = (Cluster::new(), Seeds::new(seed));
        Self { cluster, balancer, policy, health, options, seeds, filter: None }
    }

    /// Lets only servers into the list for which `filter` returns true (N3). Servers that are in the list stay until
    /// the next [`set_servers`](Self::set_servers).
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

    /// Sets whether a server's connection is broken; a broken server takes no calls (H1). Returns false if the server
    /// is gone.
    pub fn set_broken(&self, server: ServerId, broken: bool, now: Instant) -> bool {
        let record = self.cluster.state(server);
        if let Some(record) = record {
            self.health.set_broken(&record.health, broken, now, || self.healths());
        }
        record.is_some()
    }

    /// Withdraws a server by hand, or lets it in again. Returns false if it is gone. This is independent of broken
    /// connections: a server takes calls only if it is neither withdrawn nor broken.
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
    /// Options that ask for more attempts than the call holds (L3), that contradict themselves, or that lack a request
    /// code which the balancer needs (S5).
    pub fn call<'c>(&'c self, options: &'c CallOptions<'c>, now: Instant) -> Result<Call<'c, &'c Self>, ConfigError> {
        Call::new(self, options, now)
    }

    /// Passes to `probe` each server that should be probed now. Call it once for each call that starts. Balancers that
    /// do not use probes ask for none.
    pub fn probes(&self, now: Instant, probe: &mut dyn FnMut(ServerId)) {
        self.balancer.call_started(&self.view(now), now, probe);
    }

    /// Tells the balancer that a server has answered a probe.
    pub fn probed(&self, server: ServerId, answer: ProbeAnswer, now: Instant) {
        self.balancer.probed(&self.view(now), server, answer, now);
    }

    /// Whether the result of this search counts for the return after all were down (H3). It does not if the call names
    /// its servers itself: that says nothing about the others.
    fn recovers(&self, selection: &Selection<'_>) -> bool {
        self.health.recovers() && selection.by_balancer()
    }

    /// Continues the search after the call has not taken the balancer's first choice.
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

    /// The broken server that a call's first attempt may try although no server is usable (H5).
    #[cold]
    #[inline(never)]
    fn last_resort<Ticket>(&self, selection: &Selection<'_>) -> Result<Pick<Ticket>, NoServer> {
        let servers = (0..self.cluster.len()).filter_map(|position| {
            let (server, address, record) = self.cluster.candidate(self.cluster.slot_at(position)?)?;
            Some((Pick { server, address, ticket: None }, &record.health))
        });
        let first = Some(selection).filter(|selection| selection.is_first());
        first.and_then(|selection| self.health.last_resort(selection.now, servers)).ok_or(NoServer::AllDown)
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

    // On a host the common case is inlined into the caller, so that neither the selection nor the pick goes through
    // memory.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<B::Ticket>, NoServer> {
        // A recovery lets in only some calls (H3). A call that it refuses may still be the last resort (H5).
        if self.recovers(selection)
            && !self.health.admit(selection.now, || self.view(selection.now).usable(), &mut *random)
        {
            let selection = *selection;
            return self.last_resort(&selection);
        }
        if let Some(pick) = first_choice(&self.view(selection.now), &self.balancer, selection, random) {
            return Ok(pick);
        }
        // A copy, so that the selection is written to memory only if the search continues.
        let selection = *selection;
        self.look_further(&selection, random)
    }

    fn commit(&self, pick: &Pick<B::Ticket>, now: Instant, insist: bool) -> bool {
        let Some((out, record)) = self.cluster.counted(pick.server) else { return true };
        if let Some(record) = record {
            if !self.health.started(&record.health, now, insist) {
                return false;
            }
            if !pick.ticket.is_none_or(|ticket| self.balancer.commit(ticket, insist)) {
                // The breaker may have counted it as a probe.
                self.health.withdrawn(&record.health, now);
                return false;
            }
        }
        out.fetch_add(1, Relaxed);
        if record.is_some() {
            self.balancer.started(&self.view(now), pick.server, pick.ticket, now);
        }
        true
    }

    fn finished(&self, attempt: &Finished) {
        let Some((out, record)) = self.cluster.counted(attempt.sent.server) else { return };
        out.fetch_sub(1, Relaxed);
        if let Some(record) = record {
            self.learn(record, attempt);
        }
    }

    fn answered(&self, attempt: &Finished) {
        if let Some(record) = self.cluster.state(attempt.sent.server) {
            self.learn(record, attempt);
        }
    }

    fn released(&self, server: ServerId) {
        if let Some((out, _)) = self.cluster.counted(server) {
            out.fetch_sub(1, Relaxed);
        }
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
