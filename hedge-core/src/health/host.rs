//! The health of a channel's servers, for the code that selects servers: [`Health`].

use super::{Breaker, BreakerChange, HealthError, IsolationLimit, NoBreaker, Outcome, units, units_of};
use crate::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use crate::outcome::{Feedback, Finished};
use crate::time::{Instant, Micros};

/// While every server is broken, one call is let through in each span of this length ([H5](crate::rules#H5)).
const LAST_RESORT: u32 = units_of(Micros::from_millis(100));

/// The health of all servers of a channel; each server has a [`ServerHealth`].
///
/// Cost for a healthy server: one load for a look, two with a breaker, and what the breaker does to count an attempt.
/// Isolating a server looks at all servers, and so does each call during a recovery.
#[derive(Debug)]
pub struct Health<K> {
    breaker: K,
    limit: IsolationLimit,
    /// A thread is counting which servers are isolated, to isolate one more.
    isolating: AtomicBool,
    /// When a server broke last, or a call was let through to a broken one, in [`units`].
    last_resort: AtomicU32,
}

/// What is known of the health of one server.
#[derive(Debug)]
pub struct ServerHealth<K: Breaker> {
    /// 0: the server takes calls, if its breaker lets it. Bit 0: it was withdrawn by hand. Bits 1 to 31: since when its
    /// connection has been broken, as [`since`] gives it; 0 if it is not broken.
    unavailable: AtomicU32,
    state: K::State,
}

const WITHDRAWN: u32 = 1;

/// An instant in bits 1 to 31: [`units`] modulo 2^31, but never 0.
const fn since(now: Instant) -> u32 {
    let units = units(now) << 1;
    if units == 0 { 2 } else { units }
}

impl<K: Breaker> ServerHealth<K> {
    /// The health of a new server: it takes calls.
    #[must_use]
    pub fn new() -> Self {
        Self { unavailable: AtomicU32::new(0), state: K::State::default() }
    }

    /// Whether its connection is broken, as far as [`Health::set_broken`] was told.
    pub fn is_broken(&self) -> bool {
        self.unavailable() & !WITHDRAWN != 0
    }

    /// Whether it was withdrawn by hand, as far as [`Health::set_withdrawn`] was told.
    pub fn is_withdrawn(&self) -> bool {
        self.unavailable() & WITHDRAWN != 0
    }

    /// Whether it is broken or withdrawn.
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
    /// No breaker and no recovery: only broken connections isolate.
    #[must_use]
    pub const fn none() -> Self {
        Self::with(NoBreaker, IsolationLimit::DEFAULT)
    }
}

impl<K> Health<K> {
    const fn with(breaker: K, limit: IsolationLimit) -> Self {
        Self { breaker, limit, isolating: AtomicBool::new(false), last_resort: AtomicU32::new(0) }
    }
}

impl<K: Breaker> Health<K> {
    /// Health with a breaker, and a limit on how many servers it may isolate ([H4](crate::rules#H4)).
    ///
    /// # Errors
    /// The limit is out of its range.
    pub fn new(breaker: K, limit: IsolationLimit) -> Result<Self, HealthError> {
        limit.validate().map(|()| Self::with(breaker, limit))
    }

    /// The same with another breaker and another limit.
    pub(super) fn with_breaker(&self, breaker: K, limit: IsolationLimit) -> Result<Self, HealthError> {
        let new = Self::new(breaker, limit)?;
        new.last_resort.store(self.last_resort.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(new)
    }

    /// The breaker.
    pub const fn breaker(&self) -> &K {
        &self.breaker
    }

    /// Whether a server takes calls.
    #[inline]
    pub fn usable(&self, server: &ServerHealth<K>, now: Instant) -> bool {
        !server.is_unavailable() && self.breaker.usable(&server.state, now)
    }

    /// Whether the breaker isolates a server. This lasts until an attempt that probes the server has succeeded.
    pub fn is_isolated(&self, server: &ServerHealth<K>) -> bool {
        self.breaker.is_isolated(&server.state)
    }

    /// When the breaker's isolation of a server will be over; `None` if there is none.
    pub fn isolated_until(&self, server: &ServerHealth<K>, now: Instant) -> Option<Instant> {
        self.breaker.isolated_until(&server.state, now)
    }

    /// Records that an attempt is sent, as [`Breaker::started`] does. An attempt at a broken server is never refused.
    pub fn started(&self, server: &ServerHealth<K>, now: Instant, insist: bool) -> bool {
        self.breaker.started(&server.state, now, insist || server.is_broken())
    }

    /// An attempt that was started was not sent after all.
    pub fn withdrawn(&self, server: &ServerHealth<K>, now: Instant) {
        let age = crate::time::Micros::ZERO;
        self.breaker.finished(&server.state, now, Outcome::Uncounted { age }, || false);
    }

    /// Whether the end of an attempt at this server can change anything: a breaker counts it, or the server is broken. If
    /// not, [`finished`](Self::finished) need not be called.
    #[inline]
    pub fn learns(&self, server: &ServerHealth<K>) -> bool {
        server.is_unavailable() || self.breaker.gate(&server.state).is_some()
    }

    /// Records that an attempt is over. `servers` are all servers of the channel, this one included. If the attempt was
    /// sent to a broken server after the break, its success brings that server back ([H5](crate::rules#H5)). The checks
    /// of the others may then be hurried ([`CheckInput::Now`](super::CheckInput::Now)).
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
        let outcome = Outcome::new(attempt.feedback, attempt.code);
        let mut asked = false;
        let change = self.breaker.finished(&server.state, attempt.now, outcome, || {
            // Two threads that count at once would each see room for one more. The second one asks again at the next
            // failure.
            if self.isolating.swap(true, Ordering::Acquire) {
                return false;
            }
            asked = true;
            let (whole, isolated) = self.count(servers());
            self.limit.may_isolate(whole, isolated)
        });
        if asked {
            self.isolating.store(false, Ordering::Release);
            if change.is_some() {
                // A connection may have broken between the question and the isolation.
                self.changed(attempt.now, servers);
            }
        }
        if server.is_unavailable() && self.answered_while_broken(server, attempt) {
            return Some(BreakerChange::Returned);
        }
        change
    }

    /// Whether an attempt's success has brought a broken server back.
    #[cold]
    fn answered_while_broken(&self, server: &ServerHealth<K>, attempt: &Finished) -> bool {
        if !matches!(attempt.feedback, Feedback::Success { .. }) {
            return false;
        }
        let unavailable = server.unavailable();
        let broken = unavailable & !WITHDRAWN;
        // An attempt that was sent before the break says nothing about the time after it. The difference is modulo
        // 2^31: less than half of that is after.
        let after = since(attempt.sent.at).wrapping_sub(broken) >> 1 < 1 << 30;
        let back = unavailable & WITHDRAWN;
        broken != 0
            && after
            && server.unavailable.compare_exchange(unavailable, back, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Records that a server's connection broke, or that it works again. `servers` are all servers of the channel.
    pub fn set_broken<'s, I>(&self, server: &ServerHealth<K>, broken: bool, now: Instant, servers: impl Fn() -> I)
    where
        K: 's,
        I: Iterator<Item = &'s ServerHealth<K>>,
    {
        let before = server.unavailable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |unavailable| {
            // A server that is broken already keeps the instant of its break.
            let since = if unavailable & !WITHDRAWN == 0 { since(now) } else { unavailable & !WITHDRAWN };
            Some(unavailable & WITHDRAWN | if broken { since } else { 0 })
        });
        if broken && before == Ok(0) {
            self.last_resort.store(units(now), Ordering::Relaxed);
            self.changed(now, servers);
        }
    }

    /// Withdraws a server by hand, or lets it in again. A withdrawn server is no last resort. `servers` are all servers
    /// of the channel.
    pub fn set_withdrawn<'s, I>(&self, server: &ServerHealth<K>, withdrawn: bool, now: Instant, servers: impl Fn() -> I)
    where
        K: 's,
        I: Iterator<Item = &'s ServerHealth<K>>,
    {
        let change = |unavailable| Some(unavailable & !WITHDRAWN | u32::from(withdrawn));
        let before = server.unavailable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        if withdrawn && before == Ok(0) {
            self.changed(now, servers);
        }
    }

    /// The server for a call although no server is usable ([H5](crate::rules#H5)). While every server that was not
    /// withdrawn is broken, one call every 100 ms is let through to the one that has been broken for longest; the first
    /// 100 ms begin at the last break. `servers` are all servers of the channel, each with the value to return for it.
    /// An answer begins the next 100 ms.
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
            // A server that is not broken is isolated by its breaker, which lets a probe through itself.
            if unavailable == 0 {
                return None;
            }
            let broken_for = since(now).wrapping_sub(unavailable) >> 1;
            if longest.as_ref().is_none_or(|(most, _)| broken_for > *most) {
                longest = Some((broken_for, it));
            }
        }
        let (_, it) = longest?;
        let next = units(now);
        self.last_resort.compare_exchange(last, next, Ordering::Relaxed, Ordering::Relaxed).ok().map(|_| it)
    }

    /// Lifts isolations that exceed the limit, after servers have gone or broken ([H4](crate::rules#H4)).
    pub fn changed<'s, I>(&self, now: Instant, servers: impl Fn() -> I)
    where
        K: 's,
        I: Iterator<Item = &'s ServerHealth<K>>,
    {
        // If one thread isolates a server while another marks one as broken, at least one of the two sees both changes.
        fence(Ordering::SeqCst);
        let (whole, isolated) = self.count(servers());
        let mut excess = isolated.saturating_sub(self.limit.most(whole));
        for server in servers() {
            if excess == 0 {
                return;
            }
            if !server.is_unavailable() && self.breaker.lift(&server.state, now) {
                excess -= 1;
            }
        }
    }

    /// Whether there is a recovery policy at all.
    #[inline]
    pub fn recovers(&self) -> bool {
        self.breaker.recovery().is_some()
    }

    /// Whether an attempt is let in ([H3](crate::rules#H3)), by how many servers are usable, and by 32 random bits.
    #[inline]
    pub fn admit(&self, now: Instant, usable: impl FnOnce() -> u32, random: impl FnOnce() -> u32) -> bool {
        match self.breaker.recovery() {
            Some(recovery) if recovery.is_recovering() => recovery.admit(now, usable(), random()),
            _ => true,
        }
    }

    /// Records that no server was usable.
    pub fn all_down(&self, now: Instant) {
        if let Some(recovery) = self.breaker.recovery() {
            recovery.all_down(now);
        }
    }

    /// How many servers are neither broken nor withdrawn, and how many of those are isolated.
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
    use crate::health::{ConsecutiveFailures, FailureOptions};
    use crate::id::{AttemptId, ServerId};
    use crate::outcome::{Code, ErrorKind, Feedback, SentAttempt};
    use crate::time::{Micros, Timeout};
    use std::vec::Vec;

    type Servers = Vec<ServerHealth<ConsecutiveFailures>>;

    const LATENCY: Micros = Micros::from_millis(1);

    fn health(percent: u32) -> Health<ConsecutiveFailures> {
        let breaker = ConsecutiveFailures::new(FailureOptions { failures: 1, ..FailureOptions::DEFAULT }).unwrap();
        Health::new(breaker, IsolationLimit { selectable_percent: percent }).unwrap()
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
        // One of the two that are left breaks: of three servers that are not broken, one may be isolated.
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
}
