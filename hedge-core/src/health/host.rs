//! The health of a channel's servers: [`Health`]. The code that selects servers uses it.

use super::{Breaker, BreakerChange, IsolationLimit, NoBreaker, Outcome, units, units_of};
use crate::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use crate::outcome::{Feedback, Finished};
use crate::time::{Instant, Micros};

/// The time between two calls that are let through while every server is broken, in [`units`] ([H5](crate::rules#H5)).
const LAST_RESORT: u32 = units_of(Micros::from_millis(100));

/// The health of all servers of a channel. Each server has a [`ServerHealth`].
///
/// Cost: checking a healthy server is one load, or two loads with a breaker. The docs of each breaker state the cost of
/// counting an attempt. Isolating a server goes through all servers. During a recovery, each call goes through all
/// servers too.
///
/// # The servers of a limit
///
/// Some methods take the servers that the limits count ([H3](crate::rules#H3) to [H5](crate::rules#H5)). These are the
/// servers that the channel's balancer may choose ([`Balancer::may_choose`](crate::balance::Balancer::may_choose)): all
/// servers of the list, or the client's own subset ([S9](crate::rules#S9)). A limit that counted the whole list would let
/// a breaker isolate every server of a subset. For an attempt at a server that the balancer does not choose
/// ([S8](crate::rules#S8)), [`finished`](Self::finished) takes the whole list.
#[derive(Debug)]
pub struct Health<K> {
    breaker: K,
    limit: IsolationLimit,
    /// True while a thread counts the isolated servers, to decide whether one more may be isolated.
    isolating: AtomicBool,
    /// The last time that a call was let through to a broken server, in [`units`].
    last_resort: AtomicU32,
}

/// The state of one server's health.
#[derive(Debug)]
pub struct ServerHealth<K: Breaker> {
    /// Why the server takes no calls. Bit 0 says whether the server was withdrawn by hand. Bits 1 to 31 are the instant
    /// at which the server's connection broke, in the form of [`since`]. These bits are 0 if the connection is not
    /// broken. If the whole word is 0, the server takes calls, unless its breaker isolates it.
    unavailable: AtomicU32,
    state: K::State,
}

const WITHDRAWN: u32 = 1;

/// Returns an instant in bits 1 to 31 of a word: its [`units`] modulo 2^31. The result is never 0.
const fn since(now: Instant) -> u32 {
    let units = units(now) << 1;
    if units == 0 { 2 } else { units }
}

impl<K: Breaker> ServerHealth<K> {
    /// Makes the health of a new server, which takes calls.
    #[must_use]
    pub fn new() -> Self {
        Self { unavailable: AtomicU32::new(0), state: K::State::default() }
    }

    /// Returns whether the server's connection is broken. [`Health::set_broken`] sets this state.
    pub fn is_broken(&self) -> bool {
        self.unavailable() & !WITHDRAWN != 0
    }

    /// Returns whether the server was withdrawn by hand. [`Health::set_withdrawn`] sets this state.
    pub fn is_withdrawn(&self) -> bool {
        self.unavailable() & WITHDRAWN != 0
    }

    /// Returns whether the server is broken or withdrawn.
    fn is_unavailable(&self) -> bool {
        self.unavailable() != 0
    }

    pub(super) const fn state(&self) -> &K::State {
        &self.state
    }

    fn unavailable(&self) -> u32 {
        self.unavailable.load(Ordering::Relaxed)
    }
}

impl<K: Breaker> Default for ServerHealth<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl Health<NoBreaker> {
    /// Makes a health without a breaker and without a recovery policy. Only broken connections and withdrawals stop
    /// calls to a server.
    #[must_use]
    pub const fn none() -> Self {
        Self::new(NoBreaker, IsolationLimit::DEFAULT)
    }
}

impl<K> Health<K> {
    /// Makes a health with a breaker, and with a limit on how many servers the breaker may isolate
    /// ([H4](crate::rules#H4)).
    pub const fn new(breaker: K, limit: IsolationLimit) -> Self {
        Self { breaker, limit, isolating: AtomicBool::new(false), last_resort: AtomicU32::new(0) }
    }
}

impl<K: Breaker> Health<K> {
    /// Makes a health with another breaker and another limit. The new health keeps the instant of the last call that
    /// was let through to a broken server.
    pub(super) fn with_breaker(&self, breaker: K, limit: IsolationLimit) -> Self {
        let new = Self::new(breaker, limit);
        new.last_resort.store(self.last_resort.load(Ordering::Relaxed), Ordering::Relaxed);
        new
    }

    /// Returns the breaker of this health.
    pub const fn breaker(&self) -> &K {
        &self.breaker
    }

    /// Returns whether a server takes calls at `now`.
    #[inline]
    pub fn usable(&self, server: &ServerHealth<K>, now: Instant) -> bool {
        !server.is_unavailable() && self.breaker.usable(&server.state, now)
    }

    /// Returns whether the breaker isolates a server. The isolation lasts until a probe of the server has succeeded.
    pub fn is_isolated(&self, server: &ServerHealth<K>) -> bool {
        self.breaker.is_isolated(&server.state)
    }

    /// Returns when the breaker's isolation of a server will end. Returns `None` if the server is not isolated, or if
    /// the end has passed.
    pub fn isolated_until(&self, server: &ServerHealth<K>, now: Instant) -> Option<Instant> {
        self.breaker.isolated_until(&server.state, now)
    }

    /// Records that an attempt is sent, and returns whether it is let through; see [`Breaker::started`]. An attempt at
    /// a broken server is never refused.
    pub fn started(&self, server: &ServerHealth<K>, now: Instant, insist: bool) -> bool {
        self.breaker.started(&server.state, now, insist || server.is_broken())
    }

    /// Records that an attempt was started but not sent.
    pub fn withdrawn(&self, server: &ServerHealth<K>, now: Instant) {
        let age = crate::time::Micros::ZERO;
        self.breaker.finished(&server.state, now, Outcome::Uncounted { age }, || false);
    }

    /// Returns whether the end of an attempt at this server can change the server's health. This is true if a breaker
    /// counts attempts, or if the server is broken or withdrawn. If the result is false, callers may skip
    /// [`finished`](Self::finished).
    #[inline]
    pub fn learns(&self, server: &ServerHealth<K>) -> bool {
        server.is_unavailable() || self.breaker.gate(&server.state).is_some()
    }

    /// Records that an attempt has ended. Returns the change of the server's state, or `None` if the state has not
    /// changed. `servers` are [the servers that the limit counts](Self#the-servers-of-a-limit). If the server is broken
    /// and the attempt was sent after the break, a success brings the server back ([H5](crate::rules#H5)). The caller
    /// may then check the other broken servers at once ([`CheckInput::Now`](super::CheckInput::Now)).
    ///
    /// If the limit allows no further isolation, but the isolation of another server is over and no call has probed that
    /// server yet, this isolates `server` and ends the isolation of the other one ([H4](crate::rules#H4)).
    pub fn finished<'s, I>(
        &self,
        server: &ServerHealth<K>,
        attempt: &Finished,
        servers: impl Fn() -> I,
    ) -> Option<BreakerChange>
    where
        K: 's,
        I: Iterator<Item = &'s ServerHealth<K>>,
    {
        self.finished_lifting(server, attempt, servers, |_| {})
    }

    /// Does the same as [`finished`](Self::finished). Calls `lifted` for each server whose isolation this has ended
    /// because of the limit.
    #[doc(hidden)]
    pub fn finished_lifting<'s, I>(
        &self,
        server: &ServerHealth<K>,
        attempt: &Finished,
        servers: impl Fn() -> I,
        mut lifted: impl FnMut(&'s ServerHealth<K>),
    ) -> Option<BreakerChange>
    where
        K: 's,
        I: Iterator<Item = &'s ServerHealth<K>>,
    {
        let outcome = Outcome::new(attempt.feedback, attempt.code);
        let mut asked = false;
        let change = self.breaker.finished(&server.state, attempt.now, outcome, || {
            // If two threads counted at the same time, both might isolate a server although only one more isolation is
            // allowed. So the second thread gives up, and its breaker asks again at the server's next failure.
            if self.isolating.swap(true, Ordering::Acquire) {
                return false;
            }
            asked = true;
            let (whole, isolated) = self.count(servers());
            self.limit.may_isolate(whole, isolated)
                || (self.limit.most(whole) > 0
                    && !server.is_unavailable()
                    && self.lift_unprobed(attempt.now, servers(), &mut lifted))
        });
        if asked {
            self.isolating.store(false, Ordering::Release);
            if change.is_some() {
                // A connection may have broken since the count, so the limit is checked again.
                self.end_excess(attempt.now, servers, lifted);
            }
        }
        if server.is_unavailable() && self.answered_while_broken(server, attempt) {
            return Some(BreakerChange::Returned);
        }
        change
    }

    /// Ends the isolation of one server that already takes a probe. Returns whether there was such a server.
    fn lift_unprobed<'s>(
        &self,
        now: Instant,
        mut servers: impl Iterator<Item = &'s ServerHealth<K>>,
        lifted: &mut impl FnMut(&'s ServerHealth<K>),
    ) -> bool
    where
        K: 's,
    {
        let unprobed = servers.find(|server| self.usable(server, now) && self.breaker.lift(&server.state, now));
        unprobed.map(lifted).is_some()
    }

    /// Brings a broken server back if this attempt was sent after the break and has succeeded. Returns whether the
    /// server is back.
    #[cold]
    fn answered_while_broken(&self, server: &ServerHealth<K>, attempt: &Finished) -> bool {
        if !matches!(attempt.feedback, Feedback::Success { .. }) {
            return false;
        }
        let unavailable = server.unavailable();
        let broken = unavailable & !WITHDRAWN;
        // An attempt that was sent before the break says nothing about the time after the break. Instants are modulo
        // 2^31: a difference of less than 2^30 means "after the break".
        let after = since(attempt.sent.at).wrapping_sub(broken) >> 1 < 1 << 30;
        let back = unavailable & WITHDRAWN;
        broken != 0
            && after
            && server.unavailable.compare_exchange(unavailable, back, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Records whether a server's connection is broken. `servers` are [the servers that the limit
    /// counts](Self#the-servers-of-a-limit). Returns how many isolations this has ended, because fewer servers are left
    /// ([H4](crate::rules#H4)).
    pub fn set_broken<'s, I>(
        &self,
        server: &ServerHealth<K>,
        broken: bool,
        now: Instant,
        servers: impl Fn() -> I,
    ) -> u32
    where
        K: 's,
        I: Iterator<Item = &'s ServerHealth<K>>,
    {
        let before = server.unavailable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |unavailable| {
            // A server that is already broken keeps the instant of its break.
            let since = if unavailable & !WITHDRAWN == 0 { since(now) } else { unavailable & !WITHDRAWN };
            Some(unavailable & WITHDRAWN | if broken { since } else { 0 })
        });
        if broken && before == Ok(0) { self.changed(now, servers) } else { 0 }
    }

    /// Withdraws a server by hand, or lets it take calls again. A withdrawn server gets no call, not even by
    /// [`last_resort`](Self::last_resort). `servers` are [the servers that the limit
    /// counts](Self#the-servers-of-a-limit). Returns how many isolations this has ended, because fewer servers are left
    /// ([H4](crate::rules#H4)).
    pub fn set_withdrawn<'s, I>(
        &self,
        server: &ServerHealth<K>,
        withdrawn: bool,
        now: Instant,
        servers: impl Fn() -> I,
    ) -> u32
    where
        K: 's,
        I: Iterator<Item = &'s ServerHealth<K>>,
    {
        let change = |unavailable| Some(unavailable & !WITHDRAWN | u32::from(withdrawn));
        let before = server.unavailable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        if withdrawn && before == Ok(0) { self.changed(now, servers) } else { 0 }
    }

    /// Returns the server that a call may try although no server is usable ([H5](crate::rules#H5)). While every server
    /// that was not withdrawn is broken, one call every 100 ms is let through. This call goes to the server that has
    /// been broken for the longest time. The 100 ms count from the last break of one of these servers, or from the last
    /// call that was let through. `servers` are [the servers that the limit counts](Self#the-servers-of-a-limit). Each
    /// server comes with the value that this method returns if the server is chosen.
    #[cold]
    pub fn last_resort<'s, T>(&self, now: Instant, servers: impl Iterator<Item = (T, &'s ServerHealth<K>)>) -> Option<T>
    where
        K: 's,
    {
        let last = self.last_resort.load(Ordering::Relaxed);
        if units(now).wrapping_sub(last) < LAST_RESORT {
            return None;
        }
        let mut longest = None;
        for (it, server) in servers {
            let unavailable = server.unavailable();
            if unavailable & WITHDRAWN != 0 {
                continue;
            }
            // This server is not broken, so the breaker isolates it. The breaker will let a probe through.
            if unavailable == 0 {
                return None;
            }
            let broken_for = since(now).wrapping_sub(unavailable) >> 1;
            // The sum is modulo 2^31. So it is also small if another thread's clock is a little ahead of `now`.
            if broken_for.wrapping_add(LAST_RESORT) & (u32::MAX >> 1) < 2 * LAST_RESORT {
                return None;
            }
            if longest.as_ref().is_none_or(|(most, _)| broken_for > *most) {
                longest = Some((broken_for, it));
            }
        }
        let (_, it) = longest?;
        let next = units(now);
        self.last_resort.compare_exchange(last, next, Ordering::Relaxed, Ordering::Relaxed).ok().map(|_| it)
    }

    /// Ends isolations that exceed the limit, and returns how many. Call this after servers were removed or have broken
    /// ([H4](crate::rules#H4)). Without a breaker, this takes no pass over the servers.
    pub fn changed<'s, I>(&self, now: Instant, servers: impl Fn() -> I) -> u32
    where
        K: 's,
        I: Iterator<Item = &'s ServerHealth<K>>,
    {
        let mut ended = 0;
        self.end_excess(now, servers, |_| ended += 1);
        ended
    }

    fn end_excess<'s, I>(&self, now: Instant, servers: impl Fn() -> I, mut lifted: impl FnMut(&'s ServerHealth<K>))
    where
        K: 's,
        I: Iterator<Item = &'s ServerHealth<K>>,
    {
        if !self.breaker.isolates() {
            return;
        }
        // One thread may isolate a server while another thread marks a server as broken. After this fence, at least one
        // of the two threads sees both changes.
        fence(Ordering::SeqCst);
        let (whole, isolated) = self.count(servers());
        let mut excess = isolated.saturating_sub(self.limit.most(whole));
        for server in servers() {
            if excess == 0 {
                return;
            }
            if !server.is_unavailable() && self.breaker.lift(&server.state, now) {
                excess -= 1;
                lifted(server);
            }
        }
    }

    /// Returns whether this health has a recovery policy.
    #[inline]
    pub fn recovers(&self) -> bool {
        self.breaker.recovery().is_some()
    }

    /// Returns whether the recovery policy lets a call in ([H3](crate::rules#H3)). Returns true if there is no recovery
    /// policy. `usable` counts the usable servers, and `random` returns 32 random bits.
    #[inline]
    pub fn admit(&self, now: Instant, usable: impl FnOnce() -> u32, random: impl FnOnce() -> u32) -> bool {
        match self.breaker.recovery() {
            Some(recovery) if recovery.is_recovering() => recovery.admit(now, usable(), random()),
            _ => true,
        }
    }

    /// Records that no server was usable. This begins a recovery if there is a recovery policy.
    pub fn all_down(&self, now: Instant) {
        if let Some(recovery) = self.breaker.recovery() {
            recovery.all_down(now);
        }
    }

    /// Returns two counts: the number of servers that are neither broken nor withdrawn, and the number of these servers
    /// that are isolated.
    fn count<'s>(&self, servers: impl Iterator<Item = &'s ServerHealth<K>>) -> (u32, u32)
    where
        K: 's,
    {
        let mut counts = (0, 0);
        for server in servers.filter(|server| !server.is_unavailable()) {
            counts.0 += 1;
            counts.1 += u32::from(self.breaker.is_isolated(&server.state));
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::bounded::Bounded;
    use crate::health::{ConsecutiveFailures, FailureOptions};
    use crate::id::{AttemptId, ServerId};
    use crate::outcome::{Code, ErrorKind, Feedback, SentAttempt};
    use crate::time::{Micros, Timeout};
    use std::vec::Vec;

    type Servers = Vec<ServerHealth<ConsecutiveFailures>>;

    const LATENCY: Micros = Micros::from_millis(1);

    fn health(percent: u32) -> Health<ConsecutiveFailures> {
        let breaker =
            ConsecutiveFailures::new(FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT });
        Health::new(breaker, IsolationLimit { selectable_percent: Bounded::new(percent).unwrap() })
    }

    fn servers(count: usize) -> Servers {
        (0..count).map(|_| ServerHealth::new()).collect()
    }

    fn failure(now: Instant, code: Code) -> Finished {
        let sent = SentAttempt {
            server: ServerId::new(0, 0),
            at: Instant::ZERO,
            attempt: AttemptId::FIRST,
            max_retry: 0,
            timeout: Timeout::NEVER,
        };
        Finished { sent, now, feedback: Feedback::Failure { latency: LATENCY }, code }
    }

    fn usable(health: &Health<ConsecutiveFailures>, servers: &Servers, now: Instant) -> usize {
        servers.iter().filter(|server| health.usable(server, now)).count()
    }

    #[test]
    fn h4_breakers_leave_a_share_and_broken_connections_do_not_count() {
        let (health, servers, now) = (health(50), servers(4), Instant::from_millis(5));
        for server in &servers {
            health.finished(server, &failure(now, Code::NONE), || servers.iter());
        }
        assert_eq!(usable(&health, &servers, now), 2);
        assert!(!health.usable(&servers[0], now) && !health.usable(&servers[1], now));
        // One of the two servers that are not isolated breaks. Now three servers are not broken, and only one of them
        // may be isolated.
        health.set_broken(&servers[3], true, now, || servers.iter());
        assert_eq!(usable(&health, &servers, now), 2);
        assert!(health.usable(&servers[0], now), "lifted");
        for server in &servers {
            health.set_broken(server, true, now, || servers.iter());
        }
        assert_eq!(usable(&health, &servers, now), 0, "broken connections isolate without limit");
    }

    #[test]
    fn h4_threads_that_isolate_at_once_keep_to_the_limit_together() {
        let (health, servers, now) = (health(50), servers(101), Instant::from_millis(5));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (health, servers) = (&health, &servers);
                scope.spawn(move || {
                    for round in 0..50 {
                        for server in servers.iter().skip(thread + round) {
                            health.finished(server, &failure(now, Code::NONE), || servers.iter());
                        }
                    }
                });
            }
        });
        assert_eq!(usable(&health, &servers, now), 51);
    }

    #[test]
    fn h2_a_refusal_for_being_over_the_limit_and_a_failure_of_this_client_are_none_of_the_server() {
        let (health, servers, now) = (health(1), servers(2), Instant::from_millis(5));
        health.finished(&servers[0], &failure(now, ErrorKind::OverLimit.into()), || servers.iter());
        let mut local = failure(now, ErrorKind::Local.into());
        local.feedback = Feedback::Local { age: LATENCY };
        health.finished(&servers[0], &local, || servers.iter());
        assert_eq!(usable(&health, &servers, now), 2);
        health.finished(&servers[0], &failure(now, ErrorKind::Broken.into()), || servers.iter());
        assert_eq!(usable(&health, &servers, now), 1);
    }

    #[test]
    fn h2_a_probe_that_was_not_sent_leaves_its_place_to_another() {
        let (health, servers, now) = (health(1), servers(2), Instant::from_millis(5));
        health.finished(&servers[0], &failure(now, Code::NONE), || servers.iter());
        let later = now + Micros::from_millis(200);
        assert!(health.started(&servers[0], later, false) && !health.usable(&servers[0], later));
        health.withdrawn(&servers[0], later);
        assert!(health.usable(&servers[0], later));
    }

    #[test]
    fn h4_an_isolation_that_is_over_and_was_not_probed_gives_its_place_to_a_server_that_fails() {
        let (health, servers, now) = (health(50), servers(2), Instant::from_millis(5));
        let fail = |server: usize, now| {
            let mut lifted = Vec::new();
            let change = health.finished_lifting(
                &servers[server],
                &failure(now, Code::NONE),
                || servers.iter(),
                |it| lifted.push(servers.iter().position(|server| core::ptr::eq(it, server)).unwrap()),
            );
            (change.is_some(), lifted)
        };
        assert_eq!(fail(1, now), (true, std::vec![]));
        assert_eq!(fail(0, now), (false, std::vec![]), "the other one is still isolated");
        let later = now + Micros::from_millis(200);
        assert!(health.usable(&servers[1], later) && health.is_isolated(&servers[1]));
        assert_eq!(fail(0, later), (true, std::vec![1]));
        assert!(!health.usable(&servers[0], later));
        assert!(health.usable(&servers[1], later) && !health.is_isolated(&servers[1]));
        // A server that is being probed keeps its place.
        let probing = later + Micros::from_millis(200);
        assert!(health.started(&servers[0], probing, false));
        assert_eq!(fail(1, probing), (false, std::vec![]));
    }

    #[test]
    fn h5_only_a_break_of_a_counted_server_defers_the_last_resort() {
        let (health, servers, other) = (health(50), servers(2), ServerHealth::new());
        let at = Instant::from_millis;
        let broken = |server, ms| health.set_broken(server, true, at(ms), || servers.iter());
        let last_resort = |ms| health.last_resort(at(ms), (0..).zip(&servers));
        broken(&servers[1], 500);
        broken(&servers[0], 560);
        broken(&other, 650);
        assert_eq!(last_resort(640), None, "100 ms from the last break");
        assert_eq!(last_resort(559), None, "a clock that is behind");
        assert_eq!(last_resort(670), Some(1), "the server that broke first");
        assert_eq!(last_resort(671), None, "one call every 100 ms");
        assert_eq!(last_resort(780), Some(1));
    }

    #[test]
    fn h1_without_a_breaker_a_break_takes_no_pass_over_the_servers() {
        let (health, server) = (Health::none(), ServerHealth::new());
        let servers = || -> core::iter::Empty<&ServerHealth<NoBreaker>> { panic!("no server can be isolated") };
        assert_eq!(health.set_broken(&server, true, Instant::ZERO, servers), 0);
        assert_eq!(health.set_withdrawn(&server, true, Instant::ZERO, servers), 0);
    }
}
