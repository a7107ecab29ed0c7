//! The core's [`Host`] for calls over a fleet. [`ChannelContext`] gives access to the data that all calls of a channel
//! share, and [`CallHost`] is the host of one call.

mod search;

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use hedge_core::balance::{AnyTicket, Balancer as _, NoServer, Pick, Selection};
use hedge_core::call::Host;
use hedge_core::drive::{Addresses, Timer};
use hedge_core::id::ServerId;
use hedge_core::outcome::{Attempt, Denial, ErrorKind, Feedback, Finished, Judgement, Pushback};
use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions, Ended};
use hedge_core::random::Seeds;
use hedge_core::time::{Instant, Timeout};

use crate::end::Keys;
use crate::in_force::HeldOptions;
use crate::node::{Lease, Node, Service};
use crate::observer::ServerChange;
use crate::pushbacks::Pushbacks;
use crate::queue::Queued;
use crate::run::CallContext;
use crate::servers::Servers;
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::trace::Trace;
use crate::tried::TriedServers;
use search::full;

/// The data that all calls of a channel share, such as the servers and the settings, and the methods that are called
/// when calls and attempts start and end. Each adapter implements this trait.
pub trait ChannelContext {
    /// The type of the key that identifies a server.
    type Key: 'static;
    /// The adapter's data for each server, for example the service that attempts are sent to.
    type Service: Service;
    /// The type of the address that an attempt is sent to.
    type Address;
    /// The adapter's data for each call. An adapter without such data uses `()`.
    type Call;
    /// The type of the timer that calls wait on.
    type Timer: Timer;
    /// The type of the retry policy, which judges results.
    type RetryPolicy;

    /// Returns the current list of servers, among which calls choose.
    fn servers(&self) -> &Servers<Self::Key, Self::Service>;

    /// Returns the settings that all calls share.
    fn settings(&self) -> &Settings;

    /// Returns the timer that calls wait on.
    fn timer(&self) -> &Self::Timer;

    /// Returns the retry policy, which judges results.
    fn retry_policy(&self) -> &Self::RetryPolicy;

    /// Returns the address that an attempt at this server is sent to.
    fn address(&self, node: &Node<Self::Key, Self::Service>) -> Self::Address;

    /// Returns the servers that the call itself named ([S8](hedge_core::rules#S8)) and that are not in the list.
    fn named(call: &Self::Call) -> &[Arc<Node<Self::Key, Self::Service>>] {
        let _ = call;
        &[]
    }

    /// Returns the ids of all servers that the call itself named, in the order in which the call named them. Returns
    /// `None` if the call named no servers.
    fn named_ids(call: &Self::Call) -> Option<&[ServerId]> {
        let _ = call;
        None
    }

    /// Prepares a call that is about to start at `now`. `inherited` holds the channel's options. They apply where
    /// `options` sets nothing.
    fn prepare(&self, call: &mut Self::Call, options: &CallOptions<'_>, inherited: &ChannelOptions, now: Instant) {
        let _ = (call, options, inherited, now);
    }

    /// Called when a call starts. Its options are valid, and nothing has been sent yet.
    fn call_started(&self, now: Instant) {
        let _ = now;
    }

    /// Returns the result of an attempt in the form in which the balancer and the breaker should see it. By default,
    /// the result is not changed.
    fn adjusted(&self, call: &Self::Call, attempt: &Finished) -> Finished {
        let _ = call;
        *attempt
    }

    /// Called when an attempt has ended. The balancer and the breaker already know the result.
    fn finished(&self, call: &Self::Call, node: &Arc<Node<Self::Key, Self::Service>>, attempt: &Finished) {
        let _ = (call, node, attempt);
    }

    /// Called when a broken server starts to get calls again, because a test call to this server has succeeded
    /// ([H5](hedge_core::rules#H5)).
    fn server_back(&self, node: &Node<Self::Key, Self::Service>) {
        let _ = node;
    }
}

/// The host of one call. It holds the [`ChannelContext`], which all calls share, and the servers that this call has
/// tried.
pub struct CallHost<O: Deref<Target: ChannelContext>> {
    channel: O,
    call: <O::Target as ChannelContext>::Call,
    held: HeldOptions,
    tried: TriedServers<<O::Target as ChannelContext>::Key, <O::Target as ChannelContext>::Service>,
    /// The data that few calls need. Most calls do not have it.
    rare: OnceLock<Box<Rare<LeaseOf<O>>>>,
}

/// The data that few calls need. It is boxed, so that the other calls need little memory for it.
struct Rare<L> {
    /// The call's place in the queue, if the call has waited for a server with room ([L22](hedge_core::rules#L22)).
    queued: OnceLock<Queued>,
    /// One lease for each abandoned attempt at a server with a cap. When an attempt is abandoned, its future still
    /// exists for a moment. The host is dropped after all attempts, so the server gets room again only when the attempt
    /// is gone ([L22](hedge_core::rules#L22)).
    abandoned: Mutex<Vec<L>>,
    /// What the servers have asked for, which a channel of channels needs to know ([R4](hedge_core::rules#R4)).
    pushbacks: Mutex<Pushbacks>,
}

impl<L> Default for Rare<L> {
    fn default() -> Self {
        Self { queued: OnceLock::new(), abandoned: Mutex::default(), pushbacks: Mutex::default() }
    }
}

type LeaseOf<O> =
    Lease<<<O as Deref>::Target as ChannelContext>::Key, <<O as Deref>::Target as ChannelContext>::Service>;

type NodeOf<O> =
    Arc<Node<<<O as Deref>::Target as ChannelContext>::Key, <<O as Deref>::Target as ChannelContext>::Service>>;

type SnapshotOf<O> =
    Snapshot<<<O as Deref>::Target as ChannelContext>::Key, <<O as Deref>::Target as ChannelContext>::Service>;

impl<O: Deref<Target: ChannelContext>> CallHost<O> {
    /// Makes the host of a call that has not tried any server yet. Call [`CallContext::hold`] when the call starts.
    /// Before `hold`, the host uses the channel's initial options, even if the channel has got other options since.
    pub fn new(channel: O, call: <O::Target as ChannelContext>::Call) -> Self {
        let held = HeldOptions::default();
        Self { channel, call, held, tried: TriedServers::new(), rare: OnceLock::new() }
    }

    /// Returns the data that all calls of the channel share.
    pub fn channel(&self) -> &O::Target {
        &self.channel
    }

    /// Returns the adapter's data for this call.
    pub const fn call(&self) -> &<O::Target as ChannelContext>::Call {
        &self.call
    }

    /// Returns the servers that the call has tried.
    pub const fn tried(
        &self,
    ) -> &TriedServers<<O::Target as ChannelContext>::Key, <O::Target as ChannelContext>::Service> {
        &self.tried
    }

    /// Makes the report of the call, which has ended, with its servers and what is left of their pushbacks.
    pub fn trace(&self, report: crate::Report) -> Trace
    where
        <O::Target as ChannelContext>::Key: fmt::Display + Send + Sync,
        <O::Target as ChannelContext>::Service: Send + Sync + 'static,
    {
        let end = report.started() + report.elapsed_micros();
        let pushbacks = self.rare.get().map(|rare| rare.pushbacks.lock().unwrap_or_else(PoisonError::into_inner));
        Trace::new(report, &self.tried, pushbacks.and_then(|pushbacks| pushbacks.left(end)))
    }

    /// Returns the call's place in the queue. Returns `None` if the call has not joined the queue.
    #[inline]
    fn queued(&self) -> Option<&Queued> {
        self.rare.get()?.queued.get()
    }

    fn rare(&self) -> &Rare<LeaseOf<O>> {
        self.rare.get_or_init(Box::default)
    }

    /// Records the server of an attempt. The report needs this server, and so do the counts of attempts in flight.
    fn remember(&self, node: &NodeOf<O>) {
        self.tried.add(node);
    }

    /// Commits to the server that a search has picked, so that an attempt can start at this server. Returns false if
    /// the call must search again.
    // This function is inlined, like `search_in`, so that the pick stays in registers.
    #[inline(always)]
    fn commit_in(&self, snapshot: &SnapshotOf<O>, pick: &Pick<AnyTicket>, now: Instant, insist: bool) -> bool {
        let servers = self.channel.servers();
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
        if let Some(queued) = self.queued() {
            queued.started(|| self.has_room(now));
        }
        snapshot.balancer.started(&servers.view(snapshot, now), pick.server, pick.ticket, now);
        if on_trial {
            servers.tell(node, ServerChange::HalfOpen);
        }
        true
    }

    /// Commits to a server that is not in the list. There are two cases. First, the call itself named the server: then
    /// an attempt may start there. Second, the server was removed after the search. Then the result is `false` if
    /// `insist` is false, and the call searches again. If `insist` is true and the call has tried the server before, an
    /// attempt starts there. If `insist` is true and the call has not tried the server, the result is `true`, but
    /// nothing is sent, since the address of the server is no longer known.
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

    #[cold]
    fn keep_pushback(&self, pushback: Option<Pushback>) {
        let mut pushbacks = self.rare().pushbacks.lock().unwrap_or_else(PoisonError::into_inner);
        pushbacks.failed(pushback, self.channel.timer().now());
    }

    /// Keeps an abandoned attempt counted as in flight at its server until this host is dropped. The reason is that the
    /// future of the attempt still exists for a moment.
    #[cold]
    fn abandon(&self, node: &NodeOf<O>) {
        let abandoned = &self.rare().abandoned;
        abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(Lease::new(Arc::clone(node)));
    }
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
        self.commit_in(&self.channel.servers().load(), pick, now, insist)
    }

    #[inline]
    fn look_and_commit(
        &self,
        selection: &Selection<'_>,
        random: &mut dyn FnMut() -> u32,
        now: Instant,
        insist: bool,
    ) -> Result<Option<Pick<AnyTicket>>, NoServer> {
        let servers = self.channel.servers();
        if servers.queue().is_some() {
            // The search may have to wait until it is this call's turn.
            let pick = self.look(selection, random)?;
            return Ok(self.commit(&pick, now, insist).then_some(pick));
        }
        // The list is loaded once for both steps. A load costs two atomic exchanges.
        let snapshot = servers.load();
        let pick = self.search_in(&snapshot, selection, random)?;
        Ok(self.commit_in(&snapshot, &pick, now, insist).then_some(pick))
    }

    fn refused(&self, tried: &[Attempt], now: Instant) -> NoServer {
        // Only first attempts wait in the queue, and only if the balancer chooses the server.
        let waits = tried.is_empty() && O::Target::named_ids(&self.call).is_none();
        match self.queued() {
            _ if !waits => full(tried),
            Some(queued) if queued.until() <= now => NoServer::AllFull,
            Some(_) => NoServer::Queued,
            None => self.join_queue(now),
        }
    }

    fn queued_until(&self) -> Instant {
        self.queued().map_or(Instant::NEVER, |queued| queued.until())
    }

    #[inline]
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.queued() {
            Some(queued) => queued.poll(cx),
            None => Poll::Pending,
        }
    }

    fn finished(&self, attempt: &Finished) {
        let Some(node) = self.tried.find(attempt.sent.server) else { return };
        // The driver ends an attempt at its time limit, so no policy has judged this failure.
        if attempt.code == ErrorKind::AttemptTimeout.into() && self.rare.get().is_some() {
            self.keep_pushback(None);
        }
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

    fn failed(&self, judgement: &Judgement) {
        if judgement.pushback.is_some() || self.rare.get().is_some() {
            self.keep_pushback(judgement.pushback);
        }
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
            let servers = Servers::new(balancer, setup.health(), 1 << 16);
            let fake = Self { servers, settings: setup.into_settings(1).unwrap() };
            fake.set(keys);
            fake
        }

        fn set(&self, keys: &[u16]) {
            let new = |key: &u16| ListEntry::new(*key, OwnAddress(()), NonZeroU32::MIN);
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

    const FIRST: Selection<'_> =
        Selection { tried: &[], same: None, working_too: false, servers: None, request_code: None, now: NOW };

    fn look(host: &CallHost<&Fake>) -> Pick<AnyTicket> {
        host.look(&FIRST, &mut || 0).unwrap()
    }

    #[test]
    fn a_first_attempt_looks_and_commits_in_one() {
        let fake = Fake::new(&[1, 2]);
        let host = CallHost::new(&fake, ());
        let pick = host.look_and_commit(&FIRST, &mut || 0, NOW, false).unwrap().unwrap();
        let in_flight = || fake.servers.load().list().get(pick.server).unwrap().in_flight();
        assert!(host.address_of(pick.server).is_some());
        assert_eq!((in_flight(), look(&host).server == pick.server), (1, false), "and the turn has moved on");
        host.released(pick.server);
        assert_eq!(in_flight(), 0);
        fake.set(&[]);
        assert_eq!(host.look_and_commit(&FIRST, &mut || 0, NOW, true), Err(NoServer::Empty));
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
