//! A [`Channel`] combines a cluster, a balancer, options, a policy and the servers' health. It makes calls. It is also
//! the [`Host`] that these calls ask for servers and permissions.

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
use crate::id::{AddressKey, ServerId};
#[cfg(has_atomic_64)]
use crate::limit::Limits;
use crate::outcome::{Denial, Finished};
use crate::policy::{BackupDelay, BackupPolicy, CallOptions, ChannelOptions, ConfigError, Ended};
use crate::random::Seeds;
use crate::time::Instant;
use list::View;

/// The default policy of a channel: limits on backups and retries that are safe in an outage (B8).
#[cfg(has_atomic_64)]
pub type DefaultPolicy = Limits;
/// The default policy of a channel: no limits. Limits need 64-bit atomics, and this target has them only with the
/// feature `portable-atomic`. Without that feature, make channels by [`Channel::with_policy`].
#[cfg(not(has_atomic_64))]
pub type DefaultPolicy = crate::policy::NoPolicy;

/// A function that decides which servers may enter a list (N3). It returns true if a server may enter.
pub type Filter<A, T> = fn(&Server<A, T>) -> bool;

/// A client of a cluster of at most `N` servers. It holds everything that its calls share.
///
/// Calls use a channel by reference: they take `&self` and use a few relaxed atomics. Changes of the list take `&mut
/// self`, so no call can exist during a change. With the crate `hedge-fleet`, lists can change while calls run.
///
/// `A` is the type of a server's address, such as `&str` or `core::net::SocketAddrV4`. The list is ordered by
/// addresses, and balancers that hash use the text of an address. So an address must be [`Ord`],
/// [`Hash`](core::hash::Hash) and [`Display`](core::fmt::Display). `T` is the type of a tag. A tag distinguishes
/// servers at one address, or states a weight ([`Tag`]). If tags are not needed, every tag is `""` or `()`. `P` is the
/// policy, which allows or refuses backups and retries.
///
/// # Health
///
/// A server takes calls unless one of these is true:
///
/// - The server's connection is broken. A driver that makes connections reports this by
///   [`set_broken`](Self::set_broken). Such a driver runs one [`Checker`](crate::health::Checker) for each server.
/// - The server was withdrawn by hand ([`set_usable`](Self::set_usable)).
/// - The breaker `K` isolates the server. The breaker [`NoBreaker`] isolates no server and stores no data.
///
/// If all servers are broken (except servers that were withdrawn), one call every 100 ms goes to the server that has
/// been broken for the longest time (H5). If that call succeeds, its server is usable again. A driver that notices this
/// after an attempt may tell the other [`Checker`](crate::health::Checker)s to check at once, by
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
    /// Makes a channel without servers, under the safe limits (B8): backups are at most a tenth of the calls, plus a
    /// small burst, and retries and backups share one budget. `seed` determines all random numbers of the channel. The
    /// balancer's own seed determines the random numbers of the balancer. The options are checked when a call is made.
    ///
    /// The limits count in 64-bit atomics. Some targets have no 64-bit atomics, for example a Cortex-M. There, this
    /// function exists only with the feature `critical-section` or `portable-atomic`. Without these features, use
    /// [`Channel::with_policy`].
    pub fn new(options: ChannelOptions, balancer: B, seed: u64) -> Self {
        Self::with_policy(options, balancer, Limits::default(), seed)
    }
}

impl<A, B: Balancer, P: BackupPolicy, T, const N: usize> Channel<A, B, P, T, N> {
    /// Makes a channel without servers. `policy` allows or refuses the channel's backups and retries.
    /// [`NoPolicy`](crate::policy::NoPolicy) allows all backups and retries.
    pub fn with_policy(options: ChannelOptions, balancer: B, policy: P, seed: u64) -> Self {
        Self::with_health(options, balancer, policy, Health::none(), seed)
    }
}

impl<A, B: Balancer, P: BackupPolicy, T, const N: usize, K: Breaker> Channel<A, B, P, T, N, K> {
    /// Makes a channel without servers. `health` has the rules that decide which servers take calls. It can have a
    /// breaker, and a recovery policy for the time after all servers were down (H3).
    pub fn with_health(options: ChannelOptions, balancer: B, policy: P, health: Health<K>, seed: u64) -> Self {
        let (cluster, seeds) = (Cluster::new(), Seeds::new(seed));
        Self { cluster, balancer, policy, health, options, seeds, filter: None }
    }

    /// Sets a filter: a server may enter the list only if `filter` returns true for it (N3). Servers that are already
    /// in the list stay there until the next [`set_servers`](Self::set_servers).
    pub const fn set_filter(&mut self, filter: Filter<A, T>) {
        self.filter = Some(filter);
    }

    /// Returns the channel's servers.
    pub const fn cluster(&self) -> &Cluster<A, T, N, Record<B::Stats, K>> {
        &self.cluster
    }

    /// Returns the channel's balancer.
    pub const fn balancer(&self) -> &B {
        &self.balancer
    }

    /// Returns the channel's policy.
    pub const fn policy(&self) -> &P {
        &self.policy
    }

    /// Returns whether a server takes calls at `now`. Returns false if the server has been removed.
    pub fn usable(&self, server: ServerId, now: Instant) -> bool {
        self.cluster.state(server).is_some_and(|record| self.health.usable(&record.health, now))
    }

    /// Sets whether a server's connection is broken. A broken server takes no calls (H1). Returns false if the server
    /// has been removed.
    pub fn set_broken(&self, server: ServerId, broken: bool, now: Instant) -> bool {
        let record = self.cluster.state(server);
        if let Some(record) = record {
            self.health.set_broken(&record.health, broken, now, || self.healths());
        }
        record.is_some()
    }

    /// Withdraws a server by hand (`usable` is false), or lets it take calls again. Returns false if the server has
    /// been removed. This does not change whether the server's connection is broken: a server takes calls only if it is
    /// neither withdrawn nor broken.
    pub fn set_usable(&self, server: ServerId, usable: bool, now: Instant) -> bool {
        let record = self.cluster.state(server);
        if let Some(record) = record {
            self.health.set_withdrawn(&record.health, !usable, now, || self.healths());
        }
        record.is_some()
    }

    /// Makes a call of at most 4 attempts that starts at `now`. Use [`Call::new`] for another number of attempts, or to
    /// share the channel by `Arc`.
    ///
    /// # Errors
    /// Returns an error if the options ask for more attempts than the call can hold (L3), or if the balancer needs a
    /// request code and the options have neither a request code nor servers (S5).
    pub fn call<'c>(&'c self, options: &'c CallOptions<'c>, now: Instant) -> Result<Call<'c, &'c Self>, ConfigError> {
        Call::new(self, options, now)
    }

    /// Calls `probe` for each server that the balancer wants to probe now. Drivers call this method once for each call
    /// that starts. With a balancer that does not use probes, `probe` is never called.
    pub fn probes(&self, now: Instant, probe: &mut dyn FnMut(ServerId)) {
        self.balancer.call_started(&self.view(now), now, probe);
    }

    /// Passes a server's answer to a probe to the balancer.
    pub fn probed(&self, server: ServerId, answer: ProbeAnswer, now: Instant) {
        self.balancer.probed(&self.view(now), server, answer, now);
    }

    /// Returns whether the recovery policy (H3) counts this search. It does not count a call that names its own
    /// servers, since this call says nothing about the other servers.
    fn recovers(&self, selection: &Selection<'_>) -> bool {
        self.health.recovers() && selection.by_balancer()
    }

    /// Continues the search of a call that could not take the balancer's first choice. Returns another pick, or the
    /// reason why there is none.
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

    /// Returns the broken server that a call's first attempt may try while no server is usable (H5).
    #[cold]
    #[inline(never)]
    fn last_resort<Ticket>(&self, selection: &Selection<'_>) -> Result<Pick<Ticket>, NoServer> {
        let servers =
            self.choosable().map(|(server, address, record)| (Pick { server, address, ticket: None }, &record.health));
        let first = Some(selection).filter(|selection| selection.is_first());
        first.and_then(|selection| self.health.last_resort(selection.now, servers)).ok_or(NoServer::AllDown)
    }

    /// Informs the balancer and the breaker of an attempt's result.
    #[inline]
    fn learn(&self, record: &Record<B::Stats, K>, attempt: &Finished) {
        self.balancer.finished(&self.view(attempt.now), attempt);
        self.health.finished(&record.health, attempt, || {
            // A server that the balancer does not choose, but a call has named (S8), counts among all servers.
            self.healths_of(!self.balancer.may_choose(attempt.sent.server.slot()))
        });
    }

    /// Returns the servers that the balancer may choose, in canonical order.
    fn choosable(&self) -> impl Iterator<Item = (ServerId, AddressKey, &Record<B::Stats, K>)> {
        self.candidates(false)
    }

    /// Returns all servers, or those that the balancer may choose, in canonical order.
    fn candidates(&self, all: bool) -> impl Iterator<Item = (ServerId, AddressKey, &Record<B::Stats, K>)> {
        let slots = (0..self.cluster.len()).filter_map(|position| self.cluster.slot_at(position));
        let slots = slots.filter(move |slot| all || self.balancer.may_choose(*slot));
        slots.filter_map(|slot| self.cluster.candidate(slot))
    }

    /// Returns the health of each server that the balancer may choose.
    fn healths(&self) -> impl Iterator<Item = &ServerHealth<K>> {
        self.healths_of(false)
    }

    /// Returns the health of all servers, or of those that the balancer may choose.
    fn healths_of(&self, all: bool) -> impl Iterator<Item = &ServerHealth<K>> {
        self.candidates(all).map(|(.., record)| &record.health)
    }

    /// Returns how many servers that the balancer may choose take calls at `now`.
    fn usable_servers(&self, now: Instant) -> u32 {
        self.healths().map(|health| u32::from(self.health.usable(health, now))).sum()
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

    // Except on a microcontroller, the usual case is inlined into the caller, so that the selection and the pick stay
    // in registers.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<B::Ticket>, NoServer> {
        // The recovery policy lets only some calls through (H3). A call that the policy refuses may still try a broken
        // server as a last resort (H5).
        if self.recovers(selection)
            && !self.health.admit(selection.now, || self.usable_servers(selection.now), &mut *random)
        {
            let selection = *selection;
            return self.last_resort(&selection);
        }
        if let Some(pick) = first_choice(&self.view(selection.now), &self.balancer, selection, random) {
            return Ok(pick);
        }
        // The selection is copied here, so that it is written to memory only if the search continues.
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
                // The breaker may have counted this pick as a probe. The next line takes this probe back.
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
