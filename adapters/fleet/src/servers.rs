//! The current list of servers, and their health: [`Servers`].
//!
//! A search for a server loads a snapshot without a lock. A change of the list builds a new snapshot under a mutex. A
//! server that stays in the list keeps its node. So it keeps its id, and everything that is known about the server.
//! When a server leaves the list, the calls that use the server keep its node ([L20](hedge_core::rules#L20)).

use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwap, Guard};
use hedge_core::balance::{AnyStats, ArrangeError, Balancer as _, NoServer, Pick, ProbeAnswer, Selection};
use hedge_core::config::ServerLimits;
use hedge_core::health::{BreakerChange, Health, ServerHealth};
use hedge_core::id::ServerId;
use hedge_core::outcome::Finished;
use hedge_core::time::{Duration, Instant};

use crate::cap::Cap;
use crate::end::Keys;
use crate::ids::Ids;
use crate::node::{Node, Service, Treatment};
use crate::observer::{CheckEnded, CheckOutcome, CheckStep, Observers, ServerChange, ServerRef};
use crate::queue::Queue;
use crate::slow_start::SlowStart;
use crate::snapshot::{Arranged, List, Snapshot, TagOf, View, WriteAddress};
use crate::{Balancer, Breaker};

/// The current list of servers, and their health.
///
/// # Cost
/// Reading the list takes no lock. A change copies the list and what the balancer has computed from it: some tens of
/// bytes for each server, and with consistent hashing 8 bytes for each point. Only new servers get a weight and an id,
/// and only their tags are read. A change of one among 10,000 servers takes 6 to 10 million instructions; a third of
/// them free the list that came in. On a machine with two cores, the median is 0.6 to 0.7 ms, and 0.9 ms with groups and
/// with `la`, whose servers take more memory. With consistent hashing, it is 46 million instructions and 4 ms. These
/// figures are without a breaker, a cap and observers, which add to them. The test `large_lists` prints these times,
/// and says how to count the instructions. A server that has left the list is dropped as soon as nothing uses it. But
/// the memory of about 64 such servers may be kept until further servers leave.
pub struct Servers<K, S> {
    now: ArcSwap<Snapshot<K, S>>,
    /// Whether the balancer needs a request code. The answer is the same for every list, so it is read once.
    needs_request_code: bool,
    /// The limit on attempts in flight at each server. `None`: there is no limit.
    cap: Option<Arc<Cap>>,
    /// The slow start of servers. `None`: a server that is new or usable again gets its full share of the calls at
    /// once.
    slow_start: Option<SlowStart>,
    /// How many addresses the current list has. Each call reads this number. That is cheaper than loading the list.
    addresses: AtomicUsize,
    /// Whether a breaker counts results. This is read at the end of each attempt.
    has_breaker: AtomicBool,
    /// The ids of servers. The lock is also held while the list or the health is changed.
    ids: Mutex<Ids<K, S>>,
    observers: Observers,
    /// The function that writes a key as text. The first call of `change` sets it.
    write: OnceLock<WriteAddress<K>>,
}

/// One server of the next list.
pub enum ListEntry<K, S> {
    /// A server of the current list that stays in the list.
    Stays(Arc<Node<K, S>>),
    /// A new server. If a server of the current list has the same key, the new server replaces it and takes its slot. It is
    /// boxed, since most servers of a long list stay.
    New(Box<NewServer<K, S>>),
}

/// A new server of a list.
#[derive(Debug)]
pub struct NewServer<K, S> {
    /// The key, which identifies the server.
    pub key: K,
    /// The host's own data for the server.
    pub service: S,
    /// The server's weight. It is 1 if the balancer uses no weights.
    pub weight: NonZeroU32,
}

impl<K, S> ListEntry<K, S> {
    /// Makes the entry of a new server.
    pub fn new(key: K, service: S, weight: NonZeroU32) -> Self {
        Self::New(Box::new(NewServer { key, service, weight }))
    }

    /// Returns the key, which identifies the server.
    pub fn key(&self) -> &K {
        match self {
            Self::Stays(node) => node.key(),
            Self::New(new) => &new.key,
        }
    }
}

/// The changes that a new list has made.
pub struct Changed<K, S> {
    /// How many servers there are now.
    pub servers: usize,
    /// How many servers were added.
    pub inserted: usize,
    /// The servers that were removed or replaced.
    pub gone: Vec<Arc<Node<K, S>>>,
    /// The servers that were left out because no slot was free.
    pub left_out: Vec<(K, S)>,
}

impl<K, S: Service> Servers<K, S> {
    /// Makes an empty list that can hold at most `capacity` servers.
    pub fn new(balancer: Balancer, health: Health<Breaker>, capacity: usize) -> Self {
        let needs_request_code = balancer.needs_request_code();
        let has_breaker = AtomicBool::new(has_breaker(&health));
        let now = ArcSwap::from_pointee(Snapshot { list: List::new(Vec::new()), balancer, health: Arc::new(health) });
        let (ids, addresses) = (Mutex::new(Ids::new(capacity)), AtomicUsize::new(0));
        let (observers, write) = (Observers::none(), OnceLock::new());
        Self { now, needs_request_code, addresses, has_breaker, cap: None, slow_start: None, ids, observers, write }
    }

    /// Returns this list with other observers. They are notified of every change of a server.
    #[must_use]
    pub fn observed_by(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// Returns the observers of the servers.
    #[inline]
    pub const fn observers(&self) -> &Observers {
        &self.observers
    }

    /// Sets the limits of each server: the cap, the queue and the slow start. Call this before the list has a server,
    /// since a server takes its cap when it is added.
    #[must_use]
    pub fn with_limits(mut self, limits: &ServerLimits) -> Self {
        self.cap = Cap::new(limits).map(Arc::new);
        self.slow_start = SlowStart::new(limits);
        self
    }

    /// Returns how many calls wait for a server with room ([L22](hedge_core::rules#L22)).
    pub fn queued_calls(&self) -> usize {
        self.queue().map_or(0, |queue| queue.len())
    }

    pub(crate) const fn cap(&self) -> Option<&Arc<Cap>> {
        self.cap.as_ref()
    }

    /// Returns the queue of the calls that wait. Returns `None` if calls do not wait.
    pub(crate) fn queue(&self) -> Option<&Arc<Queue>> {
        self.cap.as_ref()?.queue()
    }

    pub(crate) const fn slow_start(&self) -> Option<&SlowStart> {
        self.slow_start.as_ref()
    }

    /// Called when the result of an attempt has made a server usable again. Begins the server's slow start, and wakes a
    /// waiting call, since the call may find room at this server. The server was usable already a moment before, so calls
    /// that are searching at this time may choose it with its full share.
    fn returned(&self, node: &Node<K, S>, now: Instant) {
        self.begin_slow_start(node, now);
        self.may_have_room();
    }

    fn begin_slow_start(&self, node: &Node<K, S>, now: Instant) {
        if let Some(slow) = &self.slow_start {
            slow.begin(node.ramp(), now);
        }
    }

    /// Wakes a waiting call, since there may be room.
    fn may_have_room(&self) {
        if let Some(queue) = self.queue() {
            queue.wake_first();
        }
    }

    /// Returns the current list.
    #[inline]
    pub fn load(&self) -> Guard<Arc<Snapshot<K, S>>> {
        self.now.load()
    }

    /// Returns whether calls need a request code ([S5](hedge_core::rules#S5)).
    pub const fn needs_request_code(&self) -> bool {
        self.needs_request_code
    }

    /// Returns how many different addresses there are. Servers that are not usable count too.
    #[inline]
    pub fn addresses(&self) -> usize {
        self.addresses.load(Ordering::Relaxed)
    }

    /// Returns whether a server that the balancer may choose is usable at the instant `now`. This goes through these
    /// servers until it finds one.
    pub fn any_usable(&self, now: Instant) -> bool {
        let snapshot = self.load();
        snapshot.healths().any(|health| snapshot.health.usable(health, now))
    }

    /// Returns a view of `snapshot` at the instant `now`, for balancers.
    #[inline]
    pub fn view<'a>(&'a self, snapshot: &'a Snapshot<K, S>, now: Instant) -> View<'a, K, S> {
        View { list: &snapshot.list, health: &snapshot.health, own: &[], capped: false, drawn: None, now }
    }

    /// Informs the balancer that a server has answered a probe.
    pub fn probed(&self, node: &Node<K, S>, answer: ProbeAnswer, now: Instant) {
        let snapshot = self.load();
        snapshot.balancer.probed(&self.view(&snapshot, now), node.id(), answer, now);
    }

    /// Returns the server that a first attempt may try as a probe although no server is usable
    /// ([H5](hedge_core::rules#H5)). The error is `AllDown` if no probe is allowed now.
    #[cold]
    pub(crate) fn last_resort<T>(snapshot: &Snapshot<K, S>, selection: &Selection<'_>) -> Result<Pick<T>, NoServer> {
        let servers = snapshot.choosable().map(|node| (node, node.health()));
        let first = Some(selection).filter(|it| it.is_first());
        let node = first.and_then(|it| snapshot.health.last_resort(it.now, servers));
        let node = node.ok_or(NoServer::AllDown)?;
        Ok(Pick { server: node.id(), address: node.address_key(), ticket: None })
    }

    /// Calls `change`, which changes the health of a server or of the list. Returns the servers whose isolation the
    /// change has ended ([H4](hedge_core::rules#H4)). Only observers need this result, so it is empty if there are no
    /// observers.
    fn lifted_by(&self, snapshot: &Snapshot<K, S>, change: impl FnOnce()) -> Nodes<K, S> {
        let mut isolated = self.isolated(snapshot);
        change();
        isolated.retain(|node| !snapshot.health.is_isolated(node.health()));
        isolated
    }

    /// Returns the servers that the breaker isolates. Only observers need this result, so it is empty if there are no
    /// observers.
    fn isolated(&self, snapshot: &Snapshot<K, S>) -> Nodes<K, S> {
        if !self.observers.want_servers() {
            return Vec::new();
        }
        let is_isolated = |node: &&Arc<Node<K, S>>| snapshot.health.is_isolated(node.health());
        snapshot.list.nodes().iter().filter(is_isolated).cloned().collect()
    }

    /// Writes the key of a server of this list.
    pub(crate) fn write_key(&self, node: &Node<K, S>, out: &mut dyn fmt::Write) -> fmt::Result {
        match self.write.get() {
            Some(write) => write(node.key(), out),
            None => write!(out, "server {}", node.id()),
        }
    }
}

impl<K: 'static, S: Service> Servers<K, S> {
    /// Replaces the list. `plan` gets the current list and returns the new one, in the order of the keys. If `plan`
    /// returns `None`, nothing is changed. `write` writes a key as text. If anything fails or panics, the old list
    /// stays in use.
    ///
    /// # Errors
    /// Returns an error if the balancer cannot arrange the new list.
    pub fn change(
        &self,
        write: WriteAddress<K>,
        now: Instant,
        plan: impl FnOnce(&Snapshot<K, S>) -> Option<Vec<ListEntry<K, S>>>,
    ) -> Result<Option<Changed<K, S>>, ArrangeError>
    where
        K: Ord,
    {
        self.change_tagged((write, |_| ""), now, plan)
    }

    /// Does the same as [`change`](Self::change), with one more argument: `tag` is a function that returns the tag of a
    /// key.
    pub(crate) fn change_tagged(
        &self,
        (write, tag): (WriteAddress<K>, TagOf<K>),
        now: Instant,
        plan: impl FnOnce(&Snapshot<K, S>) -> Option<Vec<ListEntry<K, S>>>,
    ) -> Result<Option<Changed<K, S>>, ArrangeError>
    where
        K: Ord,
    {
        let _ = self.write.set(write);
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.now.load();
        let Some(places) = plan(&old) else { return Ok(None) };
        let mut balancer = old.balancer.clone();
        // If the old list was empty, all servers are new. They get their full share at once, since a small share for
        // all of them would change nothing.
        let slow_start = self.slow_start.as_ref().filter(|_| !old.list.nodes().is_empty());
        let treatment = Treatment { cap: self.cap.as_ref(), since: slow_start.map(|_| now) };
        let (order, changed, new) = give_ids(places, &old.list, &ids, &balancer, treatment);
        let list = List::new(order);
        let view = View { list: &list, health: &old.health, own: &[], capped: self.cap.is_some(), drawn: None, now };
        balancer.arrange(&Arranged { view, write, tag })?;
        if let Some(slow) = slow_start.filter(|_| changed.inserted > 0) {
            slow.extend(now);
        }
        let after = Arc::new(Snapshot { list, balancer, health: Arc::clone(&old.health) });
        self.addresses.store(after.list.addresses(), Ordering::Relaxed);
        self.now.store(Arc::clone(&after));
        ids.changed(&new, &changed.gone);
        let lifted = self.lifted_by(&after, || {
            // The servers of which the limit of isolations takes a share have changed (H4). Without a breaker, no server
            // is isolated.
            if self.has_breaker.load(Ordering::Relaxed) {
                after.health.changed(now, || after.healths());
            }
        });
        drop(ids);
        if self.observers.want_servers() {
            for node in &changed.gone {
                self.tell(node, ServerChange::Removed);
            }
            for node in after.list.nodes().iter().filter(|node| old.list.get(node.id()).is_none()) {
                self.tell(node, ServerChange::Inserted);
            }
            self.tell_lifted(lifted);
        }
        self.may_have_room();
        Ok(Some(changed))
    }

    /// Replaces the breaker, the isolation limit and the recovery. `health` must be made from the current health by
    /// [`Health::replaced`]. The state of each server is adapted to the new health.
    pub(crate) fn set_health(&self, health: Health<Breaker>, now: Instant) {
        // While this lock is held, no other thread can publish a list with the old health.
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.now.load();
        let after = Snapshot { list: old.list.clone(), balancer: old.balancer.clone(), health: Arc::new(health) };
        let after = Arc::new(after);
        let mut isolated = self.isolated(&old);
        self.now.store(Arc::clone(&after));
        self.has_breaker.store(has_breaker(&after.health), Ordering::Relaxed);
        // This comes after the store. So results that arrive at the same time are counted by the new health.
        for server in old.list.healths() {
            after.health.take_over(&old.health, server, now);
        }
        after.health.changed(now, || after.healths());
        isolated.retain(|node| !after.health.is_isolated(node.health()));
        drop(ids);
        self.tell_lifted(isolated);
        self.may_have_room();
    }

    /// Withdraws a server by hand, so that it gets no calls (`usable` is false), or puts it back.
    pub fn set_usable(&self, node: &Node<K, S>, usable: bool, now: Instant) {
        let snapshot = self.load();
        let was_usable = !node.health().is_withdrawn();
        // The slow start begins before calls can choose the server.
        if usable && !was_usable {
            self.begin_slow_start(node, now);
        }
        let mut ended = 0;
        let lifted = self.lifted_by(&snapshot, || {
            ended = snapshot.health.set_withdrawn(node.health(), !usable, now, || snapshot.healths());
        });
        if usable != was_usable {
            self.tell(node, if usable { ServerChange::Restored } else { ServerChange::Withdrawn });
        }
        self.tell_lifted(lifted);
        if (usable && !was_usable) || ended > 0 {
            self.may_have_room();
        }
    }

    /// Records that the connection to a server is broken, or that it works again ([H1](hedge_core::rules#H1)). The
    /// observers are notified later, by [`HealthChange::tell`], since the caller may hold a lock now.
    pub fn set_broken(&self, node: &Node<K, S>, broken: bool, now: Instant) -> HealthChange<K, S> {
        let snapshot = self.load();
        let was_broken = node.health().is_broken();
        // The slow start begins before calls can choose the server.
        if !broken && was_broken {
            self.begin_slow_start(node, now);
        }
        let mut ended = 0;
        let lifted = self.lifted_by(&snapshot, || {
            ended = snapshot.health.set_broken(node.health(), broken, now, || snapshot.healths());
        });
        if (!broken && was_broken) || ended > 0 {
            self.may_have_room();
        }
        let change = (broken != was_broken).then_some(match broken {
            true => ServerChange::Broken,
            false => ServerChange::Connected,
        });
        HealthChange { change, lifted }
    }

    /// Informs the balancer and the breaker of the result of an attempt. Returns whether this result shows that the
    /// broken connection of the server works again ([H5](hedge_core::rules#H5)). If the server is not in the list, the
    /// result is ignored ([L20](hedge_core::rules#L20), [S8](hedge_core::rules#S8)).
    // This function is inlined, so that an attempt whose result changes nothing costs no function call.
    #[inline(always)]
    pub(crate) fn learn(&self, node: &Node<K, S>, attempt: &Finished) -> bool {
        let nothing_learns = matches!(node.stats(), AnyStats::Nothing) && !self.has_breaker.load(Ordering::Relaxed);
        let is_needed = !nothing_learns || node.health().is_broken();
        is_needed && self.take_in(node, attempt)
    }

    fn take_in(&self, node: &Node<K, S>, attempt: &Finished) -> bool {
        let snapshot = self.load();
        if snapshot.list.get(node.id()).is_none() {
            return false;
        }
        snapshot.balancer.finished(&self.view(&snapshot, attempt.now), attempt);
        let was_broken = node.health().is_broken();
        let (mut is_lifted, mut lifted) = (false, Nodes::new());
        let counted = || snapshot.counted_with(node).map(|node| node.health());
        let change = snapshot.health.finished_lifting(node.health(), attempt, counted, |health| {
            is_lifted = true;
            if self.observers.want_servers() {
                lifted.extend(snapshot.list.nodes().iter().find(|it| ptr::eq(it.health(), health)).cloned());
            }
        });
        // If this result has changed nothing, a check has brought the server back and has notified the observers.
        let connected = change == Some(BreakerChange::Returned) && was_broken && !node.health().is_broken();
        match change {
            Some(BreakerChange::Isolated { isolation }) => self.tell(node, ServerChange::Isolated { isolation }),
            Some(BreakerChange::Returned) if connected => self.tell(node, ServerChange::Connected),
            Some(BreakerChange::Returned) => self.tell(node, ServerChange::Returned),
            None => {}
        }
        self.tell_lifted(lifted);
        if change == Some(BreakerChange::Returned) {
            self.returned(node, attempt.now);
        } else if is_lifted {
            self.may_have_room();
        }
        connected
    }

    /// Notifies the observers of a change of a server.
    #[cold]
    pub(crate) fn tell(&self, node: &Node<K, S>, change: ServerChange) {
        self.observers.server_changed(&ServerRef::new(node.id(), &OneKey { servers: self, node }), change);
    }

    fn tell_lifted(&self, lifted: Nodes<K, S>) {
        for node in lifted {
            self.tell(&node, ServerChange::Lifted);
        }
    }

    /// Notifies the observers that a step of a health check has ended.
    pub fn tell_check(&self, node: &Node<K, S>, step: CheckStep, outcome: CheckOutcome, latency: Duration) {
        let keys = OneKey { servers: self, node };
        self.observers.server_checked(&CheckEnded::new(ServerRef::new(node.id(), &keys), step, outcome, latency));
    }
}

/// A change of a server's health of which the observers have not been notified yet.
#[must_use = "notify the observers with `tell` once no lock is held"]
pub struct HealthChange<K, S> {
    change: Option<ServerChange>,
    /// The servers whose isolation the change has ended ([H4](hedge_core::rules#H4)).
    lifted: Nodes<K, S>,
}

impl<K: 'static, S: Service> HealthChange<K, S> {
    /// Notifies the observers of the change. `node` is the server that has changed.
    pub fn tell(self, servers: &Servers<K, S>, node: &Node<K, S>) {
        if let Some(change) = self.change {
            servers.tell(node, change);
        }
        servers.tell_lifted(self.lifted);
    }
}

/// Finds the key of a single server, for the observers.
struct OneKey<'a, K, S> {
    servers: &'a Servers<K, S>,
    node: &'a Node<K, S>,
}

impl<K: 'static, S: Service> Keys for OneKey<'_, K, S> {
    fn key(&self, _: ServerId) -> Option<&dyn Any> {
        Some(self.node.key())
    }

    fn write_key(&self, _: ServerId, out: &mut dyn fmt::Write) -> fmt::Result {
        self.servers.write_key(self.node, out)
    }
}

/// Returns whether a breaker counts results. Without a breaker, the end of an attempt at a healthy server changes
/// nothing in its health.
fn has_breaker(health: &Health<Breaker>) -> bool {
    health.learns(&ServerHealth::new())
}

type Nodes<K, S> = Vec<Arc<Node<K, S>>>;

/// Makes the nodes of the new list, with ids for the new servers. Returns the nodes, the changes that the new list makes,
/// and the new ids.
fn give_ids<K: Ord, S: Service>(
    places: Vec<ListEntry<K, S>>,
    old: &List<K, S>,
    ids: &Ids<K, S>,
    balancer: &Balancer,
    treatment: Treatment<'_>,
) -> (Nodes<K, S>, Changed<K, S>, Vec<ServerId>) {
    let mut new = Vec::new();
    let mut stays = vec![false; old.slots()];
    let mut taken = stays.clone();
    for place in &places {
        let (node, remains) = match place {
            ListEntry::Stays(node) => (Some(node), true),
            ListEntry::New(new) => (old.named(&new.key), false),
        };
        let slot = node.map(|node| usize::from(node.id().slot()));
        if let Some(place) = slot.and_then(|slot| taken.get_mut(slot)) {
            *place = true;
        }
        if let Some(place) = slot.and_then(|slot| stays.get_mut(slot)) {
            *place = remains;
        }
    }
    let has_gone = |id: &ServerId| !stays.get(usize::from(id.slot())).is_some_and(|stays| *stays);
    let gone = old.nodes().iter().zip(old.ids()).filter(|(_, (id, _))| has_gone(id)).map(|(node, _)| Arc::clone(node));
    let gone = gone.collect();
    let mut changed = Changed { servers: 0, inserted: 0, gone, left_out: Vec::new() };
    let mut free = ids.free(&taken);
    // The statistics are made first. So the nodes of a list that comes at once are close to each other in memory, and a pass
    // over them does not skip statistics, which may be large.
    let is_new = |place: &&ListEntry<K, S>| matches!(place, ListEntry::New(_));
    let stats: Vec<_> = places.iter().filter(is_new).map(|_| balancer.stats()).collect();
    let mut stats = stats.into_iter();
    let mut order = Vec::with_capacity(places.len());
    for place in places {
        match place {
            ListEntry::Stays(node) => order.push(node),
            ListEntry::New(server) => {
                let NewServer { key, service, weight } = *server;
                let again = old.named(&key).and_then(|before| ids.next(before.id().slot()));
                let Some(id) = again.or_else(|| free.next()) else {
                    changed.left_out.push((key, service));
                    continue;
                };
                let stats = stats.next().unwrap_or_else(|| balancer.stats());
                order.push(Node::new((key, service), id, weight, stats, treatment));
                new.push(id);
                changed.inserted += 1;
            }
        }
    }
    changed.servers = order.len();
    (order, changed, new)
}

impl<K, S> fmt::Debug for HealthChange<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthChange").field("change", &self.change).finish_non_exhaustive()
    }
}

impl<K: fmt::Debug, S> fmt::Debug for Servers<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").field("list", &self.now.load().list).finish_non_exhaustive()
    }
}

impl<K: fmt::Debug, S> fmt::Debug for ListEntry<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stays(node) => f.debug_tuple("Stays").field(node).finish(),
            Self::New(new) => f.debug_tuple("New").field(&new.key).finish(),
        }
    }
}

impl<K: fmt::Debug, S> fmt::Debug for Changed<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed")
            .field("servers", &self.servers)
            .field("inserted", &self.inserted)
            .field("gone", &self.gone)
            .field("left_out", &self.left_out.iter().map(|(key, _)| key).collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests;
