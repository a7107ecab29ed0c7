//! The current list of servers, and their health: [`Servers`].
//!
//! A pick loads a snapshot without a lock. A change of the list builds a new snapshot under a mutex. A server that
//! stays in the list keeps its node, and so its id and everything that is known about it. When a server leaves, the
//! calls that use it keep its node ([L20](hedge_core::rules#L20)).

use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;
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
use crate::snapshot::{Arranged, List, Snapshot, View, WriteAddress};
use crate::{Balancer, Breaker};

/// The current list of servers, and their health.
///
/// # Cost
/// Reading the list takes no lock. A change copies the list and the balancer's arrangement of it: some tens of bytes
/// for each server, and with consistent hashing 8 bytes for each point. A server that has left is dropped as soon as
/// nothing uses it. The memory of up to about 64 such nodes is freed only when further servers leave.
pub struct Servers<K, S> {
    now: ArcSwap<Snapshot<K, S>>,
    /// Whether the balancer needs a request code. It does not depend on the list.
    needs_request_code: bool,
    /// How many attempts each server may work on at a time. `None`: any number.
    cap: Option<Arc<Cap>>,
    /// `None`: a server that comes or returns has its whole share at once.
    slow_start: Option<SlowStart>,
    /// How many addresses the current list has. Each call reads it, and this is cheaper than a load of the list.
    addresses: AtomicUsize,
    /// Whether a breaker counts results. The end of each attempt reads it.
    has_breaker: AtomicBool,
    /// This lock is also held while the list or the health is changed.
    ids: Mutex<Ids<K, S>>,
    observers: Observers,
    /// How a key is written. It is set by the first list that has servers.
    write: OnceLock<WriteAddress<K>>,
}

/// One server of the next list.
pub enum ListEntry<K, S> {
    /// A server of the present list.
    Stays(Arc<Node<K, S>>),
    /// A new server. It takes the slot of the server that has the same key in the present list, if there is one.
    New {
        /// The key, which identifies the server.
        key: K,
        /// The host's own data for the server.
        service: S,
        /// Its weight.
        weight: NonZeroU32,
    },
}

/// What a new list changed.
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
    /// An empty list that can hold at most `capacity` servers.
    pub fn new(balancer: Balancer, health: Health<Breaker>, capacity: usize) -> Self {
        let needs_request_code = balancer.needs_request_code();
        let has_breaker = AtomicBool::new(has_breaker(&health));
        let now = ArcSwap::from_pointee(Snapshot { list: List::new(Vec::new()), balancer, health: Arc::new(health) });
        let (ids, addresses) = (Mutex::new(Ids::new(capacity)), AtomicUsize::new(0));
        let (observers, write) = (Observers::none(), OnceLock::new());
        Self { now, needs_request_code, addresses, has_breaker, cap: None, slow_start: None, ids, observers, write }
    }

    /// The same list, which tells these observers what happens to its servers.
    #[must_use]
    pub fn observed_by(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// All that is told what happens to the servers.
    #[inline]
    pub const fn observers(&self) -> &Observers {
        &self.observers
    }

    /// Sets how much the servers get. This must come before the first server.
    #[must_use]
    pub fn with_limits(mut self, limits: &ServerLimits) -> Self {
        self.cap = Cap::new(limits).map(Arc::new);
        self.slow_start = SlowStart::new(limits);
        self
    }

    /// How many calls wait for a server with room ([L22](hedge_core::rules#L22)).
    pub fn queued_calls(&self) -> usize {
        self.queue().map_or(0, |queue| queue.len())
    }

    pub(crate) const fn cap(&self) -> Option<&Arc<Cap>> {
        self.cap.as_ref()
    }

    /// The calls that wait for a server with room; `None` if calls do not wait.
    pub(crate) fn queue(&self) -> Option<&Arc<Queue>> {
        self.cap.as_ref()?.queue()
    }

    pub(crate) const fn slow_start(&self) -> Option<&SlowStart> {
        self.slow_start.as_ref()
    }

    /// A server has returned: it begins with a small share, and a call that waits may find room.
    fn returned(&self, node: &Node<K, S>, now: Instant) {
        if let Some(slow) = &self.slow_start {
            slow.begin(node.ramp(), now);
        }
        self.may_have_room();
    }

    /// Tells a call that waits that there may be room.
    fn may_have_room(&self) {
        if let Some(queue) = self.queue() {
            queue.wake_first();
        }
    }

    /// The current list.
    #[inline]
    pub fn load(&self) -> Guard<Arc<Snapshot<K, S>>> {
        self.now.load()
    }

    /// Whether calls need a request code ([S5](hedge_core::rules#S5)).
    pub const fn needs_request_code(&self) -> bool {
        self.needs_request_code
    }

    /// How many different addresses there are, usable or not.
    #[inline]
    pub fn addresses(&self) -> usize {
        self.addresses.load(Ordering::Relaxed)
    }

    /// A snapshot at the instant `now`, as balancers see it.
    #[inline]
    pub fn view<'a>(&'a self, snapshot: &'a Snapshot<K, S>, now: Instant) -> View<'a, K, S> {
        View { list: &snapshot.list, health: &snapshot.health, own: &[], capped: false, drawn: None, now }
    }

    /// Tells the balancer that a server has answered a probe.
    pub fn probed(&self, node: &Node<K, S>, answer: ProbeAnswer, now: Instant) {
        let snapshot = self.load();
        snapshot.balancer.probed(&self.view(&snapshot, now), node.id(), answer, now);
    }

    /// The server that a call may try although no server is usable ([H5](hedge_core::rules#H5)).
    #[cold]
    pub(crate) fn last_resort<T>(snapshot: &Snapshot<K, S>, selection: &Selection<'_>) -> Result<Pick<T>, NoServer> {
        let servers = snapshot.list.nodes().iter().map(|node| (node, node.health()));
        let first = Some(selection).filter(|it| it.is_first());
        let node = first.and_then(|it| snapshot.health.last_resort(it.now, servers));
        let node = node.ok_or(NoServer::AllDown)?;
        Ok(Pick { server: node.id(), address: node.address_key(), ticket: None })
    }

    /// Runs a change of health, and returns the servers whose isolation it lifted ([H4](hedge_core::rules#H4)). Without
    /// observers it returns none.
    fn lifted_by(&self, snapshot: &Snapshot<K, S>, change: impl FnOnce()) -> Nodes<K, S> {
        let mut isolated = self.isolated(snapshot);
        change();
        isolated.retain(|node| !snapshot.health.is_isolated(node.health()));
        isolated
    }

    /// The servers that the breaker isolates. Without observers it returns none.
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
    /// Replaces the list. `plan` is given the present list and returns the new one, in the order of the keys; `None`
    /// changes nothing. If anything fails, a panic included, the old list stays.
    ///
    /// # Errors
    /// The balancer cannot arrange the new list.
    pub fn change(
        &self,
        write: WriteAddress<K>,
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
        // The servers of the first list have their whole share.
        let slow_start = self.slow_start.as_ref().filter(|_| !old.list.nodes().is_empty());
        let treatment = Treatment { cap: self.cap.as_ref(), since: slow_start.map(|_| now) };
        let (order, changed) = give_ids(places, &old.list, &ids, &balancer, treatment);
        let list = List::new(order);
        let view = View { list: &list, health: &old.health, own: &[], capped: false, drawn: None, now: Instant::ZERO };
        balancer.arrange(&Arranged { view, write })?;
        if let Some(slow) = slow_start.filter(|_| changed.inserted > 0) {
            slow.extend(now);
        }
        let after = Arc::new(Snapshot { list, balancer, health: Arc::clone(&old.health) });
        self.addresses.store(after.list.addresses(), Ordering::Relaxed);
        self.now.store(Arc::clone(&after));
        ids.changed(after.list.nodes().iter().map(|node| node.id()), &changed.gone);
        let lifted = self.lifted_by(&after, || after.health.changed(now, || after.list.healths()));
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

    /// Replaces breaker, isolation limit and recovery by those of `health`, which must go on from the present ones. What
    /// is known about each server is adapted.
    pub(crate) fn set_health(&self, health: Health<Breaker>, now: Instant) {
        // With this lock, no list of the old health is published after this.
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.now.load();
        let after = Snapshot { list: old.list.clone(), balancer: old.balancer.clone(), health: Arc::new(health) };
        let after = Arc::new(after);
        let mut isolated = self.isolated(&old);
        self.now.store(Arc::clone(&after));
        self.has_breaker.store(has_breaker(&after.health), Ordering::Relaxed);
        // Only now: calls count by the new health already.
        for server in old.list.healths() {
            after.health.take_over(&old.health, server, now);
        }
        after.health.changed(now, || old.list.healths());
        isolated.retain(|node| !after.health.is_isolated(node.health()));
        drop(ids);
        self.tell_lifted(isolated);
        self.may_have_room();
    }

    /// Withdraws a server by hand, or puts it back.
    pub fn set_usable(&self, node: &Node<K, S>, usable: bool, now: Instant) {
        let snapshot = self.load();
        let was_usable = !node.health().is_withdrawn();
        let list = &snapshot.list;
        let lifted = self.lifted_by(&snapshot, || {
            snapshot.health.set_withdrawn(node.health(), !usable, now, || list.healths());
        });
        if usable != was_usable {
            self.tell(node, if usable { ServerChange::Restored } else { ServerChange::Withdrawn });
        }
        self.tell_lifted(lifted);
        if usable && !was_usable {
            self.returned(node, now);
        }
    }

    /// Records that a server's connection is broken, or is whole again ([H1](hedge_core::rules#H1)). The observers are
    /// told by [`HealthChange::tell`], for a caller that still holds a lock of its own.
    pub fn set_broken(&self, node: &Node<K, S>, broken: bool, now: Instant) -> HealthChange<K, S> {
        let snapshot = self.load();
        let was_broken = node.health().is_broken();
        let list = &snapshot.list;
        let lifted =
            self.lifted_by(&snapshot, || snapshot.health.set_broken(node.health(), broken, now, || list.healths()));
        if !broken && was_broken {
            self.returned(node, now);
        }
        let change = (broken != was_broken).then_some(match broken {
            true => ServerChange::Broken,
            false => ServerChange::Connected,
        });
        HealthChange { change, lifted }
    }

    /// Tells the balancer and the breaker how an attempt went. Returns whether this brought a broken server back
    /// ([H5](hedge_core::rules#H5)). Results of a server that is not in the list are dropped
    /// ([L20](hedge_core::rules#L20), [S8](hedge_core::rules#S8)).
    pub(crate) fn learn(&self, node: &Node<K, S>, attempt: &Finished) -> bool {
        let nothing_learns = matches!(node.stats(), AnyStats::Nothing) && !self.has_breaker.load(Ordering::Relaxed);
        if nothing_learns && !node.health().is_broken() {
            return false;
        }
        let snapshot = self.load();
        if snapshot.list.get(node.id()).is_none() {
            return false;
        }
        snapshot.balancer.finished(&self.view(&snapshot, attempt.now), attempt);
        let was_broken = node.health().is_broken();
        let change = snapshot.health.finished(node.health(), attempt, || snapshot.list.healths());
        let connected = was_broken && !node.health().is_broken();
        match change {
            Some(BreakerChange::Isolated { isolation }) => self.tell(node, ServerChange::Isolated { isolation }),
            Some(BreakerChange::Returned) if connected => self.tell(node, ServerChange::Connected),
            Some(BreakerChange::Returned) => self.tell(node, ServerChange::Returned),
            None => {}
        }
        if change == Some(BreakerChange::Returned) {
            self.returned(node, attempt.now);
        }
        connected
    }

    /// Tells the observers what happened to a server.
    #[cold]
    pub(crate) fn tell(&self, node: &Node<K, S>, change: ServerChange) {
        self.observers.server_changed(&ServerRef::new(node.id(), &OneKey { servers: self, node }), change);
    }

    fn tell_lifted(&self, lifted: Nodes<K, S>) {
        for node in lifted {
            self.tell(&node, ServerChange::Lifted);
        }
    }

    /// Tells the observers that a step of a check has ended.
    pub fn tell_check(&self, node: &Node<K, S>, step: CheckStep, outcome: CheckOutcome, latency: Duration) {
        let keys = OneKey { servers: self, node };
        self.observers.server_checked(&CheckEnded::new(ServerRef::new(node.id(), &keys), step, outcome, latency));
    }
}

/// A change of a server's health that the observers have not been told yet.
#[must_use = "tell the observers once no lock is held"]
pub struct HealthChange<K, S> {
    change: Option<ServerChange>,
    /// The servers whose isolation it lifted ([H4](hedge_core::rules#H4)).
    lifted: Nodes<K, S>,
}

impl<K: 'static, S: Service> HealthChange<K, S> {
    /// Tells the observers. `node` is the server that changed.
    pub fn tell(self, servers: &Servers<K, S>, node: &Node<K, S>) {
        if let Some(change) = self.change {
            servers.tell(node, change);
        }
        servers.tell_lifted(self.lifted);
    }
}

/// Knows the key of one server.
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

/// Whether a breaker counts results: then the end of an attempt at a healthy server can change something.
fn has_breaker(health: &Health<Breaker>) -> bool {
    health.learns(&ServerHealth::new())
}

type Nodes<K, S> = Vec<Arc<Node<K, S>>>;

/// Gives ids to the new servers, and says what the new list changes.
fn give_ids<K: Ord, S: Service>(
    places: Vec<ListEntry<K, S>>,
    old: &List<K, S>,
    ids: &Ids<K, S>,
    balancer: &Balancer,
    treatment: Treatment<'_>,
) -> (Nodes<K, S>, Changed<K, S>) {
    let mut stays = vec![false; old.slots()];
    let mut taken = stays.clone();
    for place in &places {
        let (node, remains) = match place {
            ListEntry::Stays(node) => (Some(node), true),
            ListEntry::New { key, .. } => (old.named(key), false),
        };
        let slot = node.map(|node| usize::from(node.id().slot()));
        if let Some(place) = slot.and_then(|slot| taken.get_mut(slot)) {
            *place = true;
        }
        if let Some(place) = slot.and_then(|slot| stays.get_mut(slot)) {
            *place = remains;
        }
    }
    let has_gone = |node: &&Arc<Node<K, S>>| !stays.get(usize::from(node.id().slot())).is_some_and(|stays| *stays);
    let gone = old.nodes().iter().filter(has_gone).cloned().collect();
    let mut changed = Changed { servers: 0, inserted: 0, gone, left_out: Vec::new() };
    let mut free = ids.free(&taken);
    let mut order = Vec::with_capacity(places.len());
    for place in places {
        match place {
            ListEntry::Stays(node) => order.push(node),
            ListEntry::New { key, service, weight } => {
                let again = old.named(&key).and_then(|before| ids.next(before.id().slot()));
                let Some(id) = again.or_else(|| free.next()) else {
                    changed.left_out.push((key, service));
                    continue;
                };
                order.push(Node::new((key, service), id, weight, balancer.stats(), treatment));
                changed.inserted += 1;
            }
        }
    }
    changed.servers = order.len();
    (order, changed)
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
            Self::New { key, .. } => f.debug_tuple("New").field(key).finish(),
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
