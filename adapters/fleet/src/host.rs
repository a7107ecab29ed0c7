//! The core's [`Host`] for calls over a fleet: [`Home`] is what all calls share, and [`CallHost`] is the host of one
//! call.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use hedge_core::balance::{AnyTicket, Balancer as _, NoServer, Pick, Selection, select};
use hedge_core::call::Host;
use hedge_core::drive::{Addresses, Timer};
use hedge_core::id::ServerId;
use hedge_core::outcome::{Denial, Finished};
use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions, Ended};
use hedge_core::random::Seeds;
use hedge_core::time::Instant;

use crate::MAX_ATTEMPTS;
use crate::end::Keys;
use crate::node::{Node, Service};
use crate::run::CallContext;
use crate::servers::Servers;
use crate::settings::Settings;
use crate::snapshot::View;

/// What all calls share: the servers, the settings, and what an adapter does when calls and attempts start and end.
pub trait Home {
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
    type Judge;

    /// The servers.
    fn servers(&self) -> &Servers<Self::Key, Self::Service>;

    /// The settings that all calls share.
    fn settings(&self) -> &Settings;

    /// The timer that calls wait on.
    fn timer(&self) -> &Self::Timer;

    /// The retry policy, which judges results.
    fn judge(&self) -> &Self::Judge;

    /// The address that an attempt at this server is sent to.
    fn address(&self, node: &Node<Self::Key, Self::Service>) -> Self::Address;

    /// The servers that a call named itself (S8) and that are not in the list.
    fn named(call: &Self::Call) -> &[Arc<Node<Self::Key, Self::Service>>] {
        let _ = call;
        &[]
    }

    /// The ids of all servers that a call named itself, in the call's order. `None`: it named none.
    fn named_ids(call: &Self::Call) -> Option<&[ServerId]> {
        let _ = call;
        None
    }

    /// Says that a call is about to start at `now`.
    fn begin(&self, call: &mut Self::Call, options: &CallOptions<'_>, now: Instant) {
        let _ = (call, options, now);
    }

    /// Says that a call has started.
    fn has_begun(&self, now: Instant) {
        let _ = now;
    }

    /// What the balancer and the breaker are told about an attempt. By default, its result as it is.
    fn heard(&self, call: &Self::Call, attempt: &Finished) -> Finished {
        let _ = call;
        *attempt
    }

    /// Says that an attempt has ended. Balancer and breaker were told before.
    fn finished(&self, call: &Self::Call, node: &Arc<Node<Self::Key, Self::Service>>, attempt: &Finished) {
        let _ = (call, node, attempt);
    }

    /// Says that a server is back: a call that was let through to it although it was broken has succeeded (H5).
    fn came_back(&self, node: &Node<Self::Key, Self::Service>) {
        let _ = node;
    }
}

/// The servers that a call has tried. They are kept for its report, and so that their counts can be settled after the
/// list has changed.
pub type Tried<K, S> = [OnceLock<Arc<Node<K, S>>>; MAX_ATTEMPTS];

/// The server with this id among those that were tried.
pub fn find<K, S>(tried: &Tried<K, S>, id: ServerId) -> Option<&Arc<Node<K, S>>> {
    tried.iter().map_while(OnceLock::get).find(|node| node.id() == id)
}

/// The host of one call: what all calls share, and the servers that this call has tried.
pub struct CallHost<O: Deref<Target: Home>> {
    home: O,
    call: <O::Target as Home>::Call,
    tried: Tried<<O::Target as Home>::Key, <O::Target as Home>::Service>,
}

type NodeOf<O> = Arc<Node<<<O as Deref>::Target as Home>::Key, <<O as Deref>::Target as Home>::Service>>;

impl<O: Deref<Target: Home>> CallHost<O> {
    /// The host of a call that has not tried any server yet.
    pub fn new(home: O, call: <O::Target as Home>::Call) -> Self {
        Self { home, call, tried: [const { OnceLock::new() }; MAX_ATTEMPTS] }
    }

    /// What all calls share.
    pub fn home(&self) -> &O::Target {
        &self.home
    }

    /// What the call keeps for itself.
    pub const fn call(&self) -> &<O::Target as Home>::Call {
        &self.call
    }

    /// The servers that the call has tried.
    pub fn into_tried(self) -> Tried<<O::Target as Home>::Key, <O::Target as Home>::Service> {
        self.tried
    }

    fn tried(&self, id: ServerId) -> Option<&NodeOf<O>> {
        find(&self.tried, id)
    }

    /// Counts an attempt as in flight at a server, and remembers the server.
    fn start_at(&self, node: &NodeOf<O>) {
        node.started();
        if self.tried(node.id()).is_none()
            && let Some(place) = self.tried.iter().find(|place| place.get().is_none())
        {
            place.get_or_init(|| Arc::clone(node));
        }
    }

    /// Commits to a server that is not in the list: one that the call named itself, or one that was removed since the
    /// look. If it was removed, the answer is `insist`: without it, the call looks again. With it, an attempt is still
    /// sent if the call has tried that server before.
    fn commit_elsewhere(&self, server: ServerId, insist: bool) -> bool {
        if let Some(own) = O::Target::named(&self.call).iter().find(|node| node.id() == server) {
            self.start_at(own);
            return true;
        }
        if insist && let Some(node) = self.tried(server) {
            node.started();
        }
        insist
    }
}

impl<O: Deref<Target: Home>> Host for CallHost<O> {
    type Ticket = AnyTicket;

    fn options(&self) -> &ChannelOptions {
        self.home.settings().options()
    }

    fn seeds(&self) -> &Seeds {
        self.home.settings().seeds()
    }

    fn addresses(&self) -> usize {
        self.home.servers().load().list().addresses()
    }

    fn needs_request_code(&self) -> bool {
        self.home.servers().needs_request_code()
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<AnyTicket>, NoServer> {
        let (servers, own) = (self.home.servers(), O::Target::named(&self.call));
        let (snapshot, health) = (servers.load(), servers.health());
        let view = View { list: &snapshot.list, health, own, now: selection.now };
        let recovers = health.recovers() && selection.by_balancer();
        if recovers && !health.admit(selection.now, || view.usable(), &mut *random) {
            return servers.last_resort(&snapshot.list, selection);
        }
        match select(&view, &snapshot.balancer, selection, random) {
            Err(NoServer::AllDown) => {
                if recovers {
                    health.all_down(selection.now);
                }
                servers.last_resort(&snapshot.list, selection)
            }
            pick => pick,
        }
    }

    fn commit(&self, pick: &Pick<AnyTicket>, now: Instant, insist: bool) -> bool {
        let servers = self.home.servers();
        let snapshot = servers.load();
        let Some(node) = snapshot.list.get(pick.server) else { return self.commit_elsewhere(pick.server, insist) };
        if !servers.health().started(node.health(), now, insist) {
            return false;
        }
        if !pick.ticket.is_none_or(|ticket| snapshot.balancer.commit(ticket, insist)) {
            servers.health().withdrawn(node.health(), now);
            return false;
        }
        self.start_at(node);
        snapshot.balancer.started(&servers.view(&snapshot, now), pick.server, pick.ticket, now);
        true
    }

    fn finished(&self, attempt: &Finished) {
        let Some(node) = self.tried(attempt.sent.server) else { return };
        node.finished();
        let attempt = &self.home.heard(&self.call, attempt);
        if self.home.servers().learn(node, attempt) {
            self.home.came_back(node);
        }
        self.home.finished(&self.call, node, attempt);
    }

    fn answered(&self, attempt: &Finished) {
        let Some(node) = self.tried(attempt.sent.server) else { return };
        if self.home.servers().learn(node, attempt) {
            self.home.came_back(node);
        }
    }

    fn released(&self, server: ServerId) {
        if let Some(node) = self.tried(server) {
            node.finished();
        }
    }

    fn backup_delay(&self, now: Instant) -> BackupDelay {
        self.home.settings().backup_delay(now)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.home.settings().may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.home.settings().may_retry(now)
    }

    fn ended(&self, call: &Ended<'_>) {
        self.home.settings().ended(call);
    }
}

impl<O: Deref<Target: Home>> Keys for CallHost<O> {
    fn key(&self, server: ServerId) -> Option<&dyn Any> {
        self.tried(server).map(|node| node.key() as &dyn Any)
    }
}

impl<O: Deref<Target: Home>> CallContext for CallHost<O> {
    type Timer = <O::Target as Home>::Timer;
    type Judge = <O::Target as Home>::Judge;

    fn timer(&self) -> &Self::Timer {
        self.home.timer()
    }

    fn judge(&self) -> &Self::Judge {
        self.home.judge()
    }

    fn settings(&self) -> &Settings {
        self.home.settings()
    }

    fn begin(&mut self, options: &CallOptions<'_>, now: Instant) {
        self.home.begin(&mut self.call, options, now);
    }

    fn own_servers(&self) -> Option<&[ServerId]> {
        O::Target::named_ids(&self.call)
    }

    fn has_begun(&self, now: Instant) {
        self.home.has_begun(now);
    }
}

impl<O: Deref<Target: Home>> Addresses for CallHost<O> {
    type Address = <O::Target as Home>::Address;

    fn address_of(&self, server: ServerId) -> Option<Self::Address> {
        self.tried(server).map(|node| self.home.address(node))
    }
}

impl<O: Deref<Target: Home>> fmt::Debug for CallHost<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tried: Vec<_> = self.tried.iter().map_while(OnceLock::get).map(|node| node.id()).collect();
        f.debug_struct("CallHost").field("tried", &tried).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Pending, pending};
    use std::num::NonZeroU32;

    use hedge_core::id::AttemptId;
    use hedge_core::outcome::{Code, Feedback, SentAttempt};
    use hedge_core::time::Timeout;

    use super::*;
    use crate::node::OwnAddress;
    use crate::servers::Place;
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
            let new = |key: &u16| Place::New { key: *key, service: OwnAddress(()), weight: NonZeroU32::MIN };
            self.servers
                .change(
                    |key, out| write!(out, "{key}"),
                    NOW,
                    |old| {
                        let place = |key| old.list().named(key).cloned().map_or_else(|| new(key), Place::Stays);
                        Some(keys.iter().map(place).collect())
                    },
                )
                .unwrap();
        }
    }

    impl Home for Fake {
        type Key = u16;
        type Service = OwnAddress<()>;
        type Address = u16;
        type Call = ();
        type Timer = Still;
        type Judge = ();

        fn servers(&self) -> &Servers<u16, OwnAddress<()>> {
            &self.servers
        }

        fn settings(&self) -> &Settings {
            &self.settings
        }

        fn timer(&self) -> &Still {
            &Still
        }

        fn judge(&self) -> &() {
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
        let node = host.tried(pick.server).unwrap();
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
