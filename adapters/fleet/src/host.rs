//! The core's [`Host`] for calls over a fleet: [`ChannelContext`] is what all calls share, and [`CallHost`] is the host
//! of one call.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use hedge_core::balance::{AnyTicket, Balancer as _, NoServer, Pick, Selection, select};
use hedge_core::call::Host;
use hedge_core::drive::{Addresses, Timer};
use hedge_core::id::ServerId;
use hedge_core::outcome::{Attempt, Denial, ErrorKind, Feedback, Finished};
use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions, Ended};
use hedge_core::random::Seeds;
use hedge_core::time::{Instant, Timeout};

use crate::Balancer;
use crate::end::Keys;
use crate::in_force::HeldOptions;
use crate::node::{Lease, Node, Service};
use crate::observer::ServerChange;
use crate::queue::{Queue, Queued};
use crate::run::CallContext;
use crate::servers::Servers;
use crate::settings::Settings;
use crate::slow_start::SlowStart;
use crate::snapshot::View;
use crate::tried::TriedServers;

/// What all calls share: the servers, the settings, and what an adapter does when calls and attempts start and end.
pub trait ChannelContext {
    /// The key, which identifies a server.
    type Key: 'static;
    /// What is kept for each server, for instance the service that its attempts are sent to.
    type Service: Service;
    /// The address that an attempt is sent to.
    type Address;
    /// What each call keeps for itself; `()` for nothing.
    type Call;
    /// The timer that calls wait on.
    type Timer: Timer;
    /// The retry policy, which judges results.
    type RetryPolicy;

    /// The servers.
    fn servers(&self) -> &Servers<Self::Key, Self::Service>;

    /// The settings that all calls share.
    fn settings(&self) -> &Settings;

    /// The timer that calls wait on.
    fn timer(&self) -> &Self::Timer;

    /// The retry policy, which judges results.
    fn retry_policy(&self) -> &Self::RetryPolicy;

    /// The address that an attempt at this server is sent to.
    fn address(&self, node: &Node<Self::Key, Self::Service>) -> Self::Address;

    /// The servers that a call named itself ([S8](hedge_core::rules#S8)) and that are not in the list.
    fn named(call: &Self::Call) -> &[Arc<Node<Self::Key, Self::Service>>] {
        let _ = call;
        &[]
    }

    /// The ids of all servers that a call named itself, in the call's order. `None`: it named none.
    fn named_ids(call: &Self::Call) -> Option<&[ServerId]> {
        let _ = call;
        None
    }

    /// Prepares a call that is about to start at `now`. `inherited` are the options that it inherits.
    fn prepare(&self, call: &mut Self::Call, options: &CallOptions<'_>, inherited: &ChannelOptions, now: Instant) {
        let _ = (call, options, inherited, now);
    }

    /// Says that a call has started.
    fn call_started(&self, now: Instant) {
        let _ = now;
    }

    /// The result of an attempt, adjusted for the balancer and the breaker. By default, the result as it is.
    fn adjusted(&self, call: &Self::Call, attempt: &Finished) -> Finished {
        let _ = call;
        *attempt
    }

    /// Says that an attempt has ended. Balancer and breaker were told before.
    fn finished(&self, call: &Self::Call, node: &Arc<Node<Self::Key, Self::Service>>, attempt: &Finished) {
        let _ = (call, node, attempt);
    }

    /// Says that a server is back: a call that was let through to it although it was broken has succeeded
    /// ([H5](hedge_core::rules#H5)).
    fn server_back(&self, node: &Node<Self::Key, Self::Service>) {
        let _ = node;
    }
}

/// The host of one call: what all calls share, and the servers that this call has tried.
pub struct CallHost<O: Deref<Target: ChannelContext>> {
    channel: O,
    call: <O::Target as ChannelContext>::Call,
    held: HeldOptions,
    tried: TriedServers<<O::Target as ChannelContext>::Key, <O::Target as ChannelContext>::Service>,
    /// Its place in the queue, if it has waited for room ([L22](hedge_core::rules#L22)).
    queued: OnceLock<Box<Queued>>,
    /// The places at capped servers of attempts that the call has abandoned. The driver drops such an attempt a moment
    /// later, and the host is dropped after that, so that the place is free only when the attempt is gone
    /// ([L22](hedge_core::rules#L22)).
    abandoned: OnceLock<Box<Mutex<Vec<LeaseOf<O>>>>>,
}

type LeaseOf<O> =
    Lease<<<O as Deref>::Target as ChannelContext>::Key, <<O as Deref>::Target as ChannelContext>::Service>;

type NodeOf<O> =
    Arc<Node<<<O as Deref>::Target as ChannelContext>::Key, <<O as Deref>::Target as ChannelContext>::Service>>;

impl<O: Deref<Target: ChannelContext>> CallHost<O> {
    /// The host of a call that has not tried any server yet. Call [`CallContext::hold`] when the call starts: until then,
    /// it has the options of the start.
    pub fn new(channel: O, call: <O::Target as ChannelContext>::Call) -> Self {
        let held = HeldOptions::default();
        let (queued, abandoned) = (OnceLock::new(), OnceLock::new());
        Self { channel, call, held, tried: TriedServers::new(), queued, abandoned }
    }

    /// What all calls share.
    pub fn channel(&self) -> &O::Target {
        &self.channel
    }

    /// What the call keeps for itself.
    pub const fn call(&self) -> &<O::Target as ChannelContext>::Call {
        &self.call
    }

    /// The servers that the call has tried.
    pub const fn tried(
        &self,
    ) -> &TriedServers<<O::Target as ChannelContext>::Key, <O::Target as ChannelContext>::Service> {
        &self.tried
    }

    /// Remembers the server of an attempt.
    fn remember(&self, node: &NodeOf<O>) {
        self.tried.add(node);
    }

    /// Commits to a server that is not in the list: one that the call named itself, or one that was removed since the
    /// look. If it was removed, the answer is `insist`: without it, the call looks again. With it, an attempt is still
    /// sent if the call has tried that server before.
    fn commit_elsewhere(&self, server: ServerId, insist: bool) -> bool {
        if let Some(own) = O::Target::named(&self.call).iter().find(|node| node.id() == server) {
            let started = own.start();
            if started {
                self.remember(own);
            }
            return started;
        }
        match self.tried.find(server).filter(|_| insist) {
            Some(node) => node.start(),
            None => insist,
        }
    }

    /// Keeps the place of an abandoned attempt until this host is dropped.
    #[cold]
    fn abandon(&self, node: &NodeOf<O>) {
        let abandoned = self.abandoned.get_or_init(Box::default);
        abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(Lease::new(Arc::clone(node)));
    }

    /// Searches for a server.
    #[inline]
    fn search(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<AnyTicket>, NoServer> {
        let (servers, own) = (self.channel.servers(), O::Target::named(&self.call));
        let snapshot = servers.load();
        let (health, capped) = (snapshot.health(), servers.cap().is_some());
        let view = View { list: &snapshot.list, health, own, capped, drawn: None, now: selection.now };
        let recovers = health.recovers() && selection.by_balancer();
        if recovers && !health.admit(selection.now, || view.usable(), &mut *random) {
            return Servers::last_resort(&snapshot, selection);
        }
        if capped && selection.same.and_then(|same| snapshot.list.get(same)).is_some_and(|same| !same.has_room()) {
            return Err(full(selection.tried));
        }
        if let Some(slow) = servers.slow_start().filter(|slow| slow.is_on(selection.now) && selection.by_balancer())
            && let Some(pick) = select_ramping(&view, slow, &snapshot.balancer, selection, random)
        {
            return Ok(pick);
        }
        match select(&view, &snapshot.balancer, selection, random) {
            Err(NoServer::AllDown) if capped && view.has_full(selection.servers) => Err(full(selection.tried)),
            Err(NoServer::AllDown) => {
                if recovers {
                    health.all_down(selection.now);
                }
                Servers::last_resort(&snapshot, selection)
            }
            pick => pick,
        }
    }

    /// Searches for the server of a first attempt if calls may wait for room. Calls that wait come first.
    #[cold]
    fn search_in_turn(
        &self,
        queue: &Queue,
        selection: &Selection<'_>,
        random: &mut dyn FnMut() -> u32,
    ) -> Result<Pick<AnyTicket>, NoServer> {
        if let Some(queued) = self.queued.get() {
            let is_over = queued.until() <= selection.now;
            if is_over && !queued.may_look() {
                return Err(NoServer::AllFull);
            }
            return match self.search(selection, random) {
                Err(NoServer::AllFull) if !is_over => Err(NoServer::Queued),
                found => found,
            };
        }
        if queue.is_empty() {
            match self.search(selection, random) {
                Err(NoServer::AllFull) => {}
                found => return found,
            }
        } else if self.has_room(selection.now) {
            // Nothing may have told the others of this room, for instance if an isolation has ended.
            queue.remind_first();
        }
        Err(self.join_queue(selection.now))
    }

    /// Joins the queue, if there is one that has a place.
    fn join_queue(&self, now: Instant) -> NoServer {
        let Some(cap) = self.channel.servers().cap() else { return NoServer::AllFull };
        let until = cap.max_wait().ends(now);
        match cap.queue().and_then(|queue| Queued::join(queue, until)) {
            None => NoServer::AllFull,
            Some(queued) => {
                // The place is empty: a call joins only if it is not in the queue yet.
                self.queued.get_or_init(|| Box::new(queued));
                NoServer::Queued
            }
        }
    }

    /// Whether some server is usable and has room.
    fn has_room(&self, now: Instant) -> bool {
        let servers = self.channel.servers();
        servers.view(&servers.load(), now).has_room()
    }
}

/// Searches while servers are ramping ([S11](hedge_core::rules#S11)). The search draws a random number, and passes over
/// each server whose share is not above that number. `None` means that the caller must search among all servers. There
/// are two causes: no usable server has its whole share, or the search found no server that the call has not tried
/// ([L11](hedge_core::rules#L11)).
#[cold]
fn select_ramping<K, S: Service>(
    view: &View<'_, K, S>,
    slow: &SlowStart,
    balancer: &Balancer,
    selection: &Selection<'_>,
    random: &mut dyn FnMut() -> u32,
) -> Option<Pick<AnyTicket>> {
    if !view.has_whole(slow) {
        return None;
    }
    let view = View { drawn: Some((slow, random())), ..*view };
    let pick = select(&view, balancer, selection, random).ok()?;
    let was_tried = selection.tried.iter().any(|attempt| attempt.address() == pick.address);
    (!was_tried).then_some(pick)
}

/// What a call is told that finds only full servers: one with attempts in flight waits for their end
/// ([L11](hedge_core::rules#L11)).
fn full(tried: &[Attempt]) -> NoServer {
    if tried.iter().any(Attempt::in_flight) { NoServer::AllBusy } else { NoServer::AllFull }
}

impl<O: Deref<Target: ChannelContext>> Host for CallHost<O> {
    type Ticket = AnyTicket;

    fn options(&self) -> &ChannelOptions {
        self.channel.settings().inherited(&self.held)
    }

    fn seeds(&self) -> &Seeds {
        self.channel.settings().seeds()
    }

    fn addresses(&self) -> usize {
        self.channel.servers().addresses()
    }

    fn needs_request_code(&self) -> bool {
        self.channel.servers().needs_request_code()
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<AnyTicket>, NoServer> {
        match self.channel.servers().queue() {
            Some(queue) if selection.is_first() => self.search_in_turn(queue, selection, random),
            _ => self.search(selection, random),
        }
    }

    fn commit(&self, pick: &Pick<AnyTicket>, now: Instant, insist: bool) -> bool {
        let servers = self.channel.servers();
        let snapshot = servers.load();
        let Some(node) = snapshot.list.get(pick.server) else { return self.commit_elsewhere(pick.server, insist) };
        let on_trial = servers.observers().want_servers() && snapshot.is_on_trial(node, now);
        // A full server is refused even if the call insists (L22).
        if !node.start() {
            return false;
        }
        if !snapshot.health.started(node.health(), now, insist) {
            node.finished();
            return false;
        }
        if !pick.ticket.is_none_or(|ticket| snapshot.balancer.commit(ticket, insist)) {
            snapshot.health.withdrawn(node.health(), now);
            node.finished();
            return false;
        }
        self.remember(node);
        if let Some(queued) = self.queued.get() {
            queued.started(|| self.has_room(now));
        }
        snapshot.balancer.started(&servers.view(&snapshot, now), pick.server, pick.ticket, now);
        if on_trial {
            servers.tell(node, ServerChange::HalfOpen);
        }
        true
    }

    fn refused(&self, tried: &[Attempt], now: Instant) -> NoServer {
        // Only a call whose servers the balancer chooses waits in the queue.
        let waits = tried.is_empty() && O::Target::named_ids(&self.call).is_none();
        match self.queued.get() {
            _ if !waits => full(tried),
            Some(queued) if queued.until() <= now => NoServer::AllFull,
            Some(_) => NoServer::Queued,
            None => self.join_queue(now),
        }
    }

    fn queued_until(&self) -> Instant {
        self.queued.get().map_or(Instant::NEVER, |queued| queued.until())
    }

    #[inline]
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.queued.get() {
            Some(queued) => queued.poll(cx),
            None => Poll::Pending,
        }
    }

    fn finished(&self, attempt: &Finished) {
        let Some(node) = self.tried.find(attempt.sent.server) else { return };
        let is_abandoned =
            attempt.code == ErrorKind::Deadline.into() || matches!(attempt.feedback, Feedback::Abandoned { .. });
        if is_abandoned && node.is_capped() {
            self.abandon(node);
        } else {
            node.finished();
        }
        let attempt = &self.channel.adjusted(&self.call, attempt);
        if self.channel.servers().learn(node, attempt) {
            self.channel.server_back(node);
        }
        self.channel.finished(&self.call, node, attempt);
    }

    fn answered(&self, attempt: &Finished) {
        let Some(node) = self.tried.find(attempt.sent.server) else { return };
        if self.channel.servers().learn(node, attempt) {
            self.channel.server_back(node);
        }
    }

    fn released(&self, server: ServerId) {
        if let Some(node) = self.tried.find(server) {
            node.finished();
        }
    }

    fn backup_delay(&self, now: Instant) -> BackupDelay {
        self.channel.settings().backup_delay(&self.held, now)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.channel.settings().may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.channel.settings().may_retry(now)
    }

    fn ended(&self, call: &Ended<'_>) {
        self.channel.settings().ended(call);
    }
}

impl<O: Deref<Target: ChannelContext>> Keys for CallHost<O> {
    fn key(&self, server: ServerId) -> Option<&dyn Any> {
        self.tried.find(server).map(|node| node.key() as &dyn Any)
    }

    fn write_key(&self, server: ServerId, out: &mut dyn fmt::Write) -> fmt::Result {
        match self.tried.find(server) {
            Some(node) => self.channel.servers().write_key(node, out),
            None => write!(out, "server {server}"),
        }
    }
}

impl<O: Deref<Target: ChannelContext>> CallContext for CallHost<O> {
    type Timer = <O::Target as ChannelContext>::Timer;
    type RetryPolicy = <O::Target as ChannelContext>::RetryPolicy;

    fn timer(&self) -> &Self::Timer {
        self.channel.timer()
    }

    fn retry_policy(&self) -> &Self::RetryPolicy {
        self.channel.retry_policy()
    }

    fn settings(&self) -> &Settings {
        self.channel.settings()
    }

    fn hold(&mut self) {
        self.held = self.channel.settings().hold();
    }

    fn attempt_timeout(&self) -> Timeout {
        self.channel.settings().attempt_timeout(&self.held)
    }

    fn prepare(&mut self, options: &CallOptions<'_>, now: Instant) {
        let inherited = self.channel.settings().inherited(&self.held);
        self.channel.prepare(&mut self.call, options, inherited, now);
    }

    fn own_servers(&self) -> Option<&[ServerId]> {
        O::Target::named_ids(&self.call)
    }

    fn call_started(&self, now: Instant) {
        self.channel.call_started(now);
    }
}

impl<O: Deref<Target: ChannelContext>> Addresses for CallHost<O> {
    type Address = <O::Target as ChannelContext>::Address;

    fn address_of(&self, server: ServerId) -> Option<Self::Address> {
        self.tried.find(server).map(|node| self.channel.address(node))
    }
}

impl<O: Deref<Target: ChannelContext>> fmt::Debug for CallHost<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHost").field("tried", &self.tried).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Pending, pending};
    use std::num::NonZeroU32;

    use hedge_core::id::AttemptId;
    use hedge_core::outcome::{Code, Feedback, SentAttempt};

    use super::*;
    use crate::node::OwnAddress;
    use crate::servers::ListEntry;
    use crate::setup::Setup;

    struct Still;

    impl Timer for Still {
        type Sleep = Pending<()>;

        fn now(&self) -> Instant {
            NOW
        }

        fn sleep_until(&self, _: Instant) -> Pending<()> {
            pending()
        }
    }

    const NOW: Instant = Instant::from_millis(1_000);

    struct Fake {
        servers: Servers<u16, OwnAddress<()>>,
        settings: Settings,
    }

    impl Fake {
        fn new(keys: &[u16]) -> Self {
            let setup = Setup::new();
            let balancer = crate::Balancer::named("rr", 1).unwrap();
            let servers = Servers::new(balancer, setup.health().unwrap(), 1 << 16);
            let fake = Self { servers, settings: setup.into_settings(1).unwrap() };
            fake.set(keys);
            fake
        }

        fn set(&self, keys: &[u16]) {
            let new = |key: &u16| ListEntry::New { key: *key, service: OwnAddress(()), weight: NonZeroU32::MIN };
            self.servers
                .change(
                    |key, out| write!(out, "{key}"),
                    NOW,
                    |old| {
                        let place = |key| old.list().named(key).cloned().map_or_else(|| new(key), ListEntry::Stays);
                        Some(keys.iter().map(place).collect())
                    },
                )
                .unwrap();
        }
    }

    impl ChannelContext for Fake {
        type Key = u16;
        type Service = OwnAddress<()>;
        type Address = u16;
        type Call = ();
        type Timer = Still;
        type RetryPolicy = ();

        fn servers(&self) -> &Servers<u16, OwnAddress<()>> {
            &self.servers
        }

        fn settings(&self) -> &Settings {
            &self.settings
        }

        fn timer(&self) -> &Still {
            &Still
        }

        fn retry_policy(&self) -> &() {
            &()
        }

        fn address(&self, node: &Node<u16, OwnAddress<()>>) -> u16 {
            *node.key()
        }
    }

    fn look(host: &CallHost<&Fake>) -> Pick<AnyTicket> {
        let selection =
            Selection { tried: &[], same: None, working_too: false, servers: None, request_code: None, now: NOW };
        host.look(&selection, &mut || 0).unwrap()
    }

    #[test]
    fn l20_a_server_that_goes_between_look_and_commit_costs_no_attempt() {
        let fake = Fake::new(&[1]);
        let host = CallHost::new(&fake, ());
        let pick = look(&host);
        fake.set(&[2]);
        assert!(!host.commit(&pick, NOW, false), "the call looks again");
        let again = look(&host);
        assert!(again.server != pick.server && host.commit(&again, NOW, false));
        assert_eq!((host.address_of(again.server), host.address_of(pick.server)), (Some(2), None));
        assert!(host.commit(&pick, NOW, true), "a call that insists ends there: nothing is sent");
        assert_eq!(host.address_of(pick.server), None);
    }

    #[test]
    fn l20_a_call_that_insists_reaches_a_server_that_it_has_been_to() {
        let fake = Fake::new(&[1]);
        let host = CallHost::new(&fake, ());
        let pick = look(&host);
        assert!(host.commit(&pick, NOW, false));
        fake.set(&[]);
        assert!(!host.commit(&pick, NOW, false) && host.commit(&pick, NOW, true));
        let node = host.tried.find(pick.server).unwrap();
        assert_eq!((host.address_of(pick.server), node.in_flight()), (Some(1), 2));
        let sent = SentAttempt {
            server: pick.server,
            at: NOW,
            attempt: AttemptId::FIRST,
            max_retry: 0,
            timeout: Timeout::NEVER,
        };
        for _ in 0..2 {
            host.finished(&sent.finished(NOW, Feedback::Success { latency: NOW.micros_since(NOW) }, Code::NONE));
        }
        assert_eq!(node.in_flight(), 0);
    }
}
