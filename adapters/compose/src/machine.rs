//! What all combined channels are made of: [`Machine`], a list of sub-channels that the core's calls choose from.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hedge_core::balance::{Balancer as _, Tag, Weighing, WeightError};
use hedge_core::call::Call;
use hedge_core::cluster::ClusterError;
use hedge_core::drive::{CallFailure, Timer};
use hedge_core::id::ServerId;
use hedge_core::outcome::{End, Judgement};
use hedge_core::policy::ConfigError;
use hedge_core::time::{Duration, Instant};
use hedge_fleet::{
    Balancer, CallHost, ChannelContext, CheckOutcome, CheckStep, ListEntry, MAX_ATTEMPTS, Node, OwnAddress, Report,
    Servers, Settings, Setup, Trace, caught,
};

use crate::build_error::BuildError;
use crate::judge::Stored;

/// How often a sub-channel that is down is asked whether it has a usable server again.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The most sub-channels that a list can hold: the number of slots.
const MAX_CHANNELS: usize = 1 << 16;

/// The sub-channels and the settings that all calls of a combined channel share.
pub(crate) struct Machine<C, T> {
    pub(crate) servers: Servers<Arc<str>, OwnAddress<Sub<C>>>,
    pub(crate) settings: Settings,
    pub(crate) timer: T,
    /// When the next check of a sub-channel is due, in microseconds. `u64::MAX`: no check is due, because no
    /// sub-channel is down, or because a call makes the checks now.
    next_check: AtomicU64,
}

/// A sub-channel, as the service of its server.
pub(crate) struct Sub<C> {
    pub(crate) caller: Arc<C>,
    /// When the sub-channel is asked again, in microseconds. This is used only while the sub-channel is down.
    check_at: AtomicU64,
}

/// A change of the list of sub-channels.
pub(crate) enum Change<C> {
    /// Adds a sub-channel, or replaces the one of this name.
    Insert(Arc<str>, C, Option<NonZeroU32>),
    Remove(Arc<str>),
}

pub(crate) type SubNode<C> = Node<Arc<str>, OwnAddress<Sub<C>>>;

impl<C, T> Machine<C, T> {
    /// Makes the machine of a channel without sub-channels.
    pub(crate) fn new(mut setup: Setup, timer: T, balancer: &str) -> Result<Self, BuildError> {
        let seed = setup.seed();
        let name = setup.balancer.as_deref().unwrap_or(balancer);
        let balancer =
            Balancer::named(name, seed).map_err(|error| BuildError::Balancer { name: name.into(), error })?;
        let servers = Servers::new(balancer, setup.health(), MAX_CHANNELS)
            .with_limits(&setup.server_limits)
            .observed_by(setup.observers.clone());
        setup.make_adaptive();
        let settings = setup.into_settings(seed).map_err(BuildError::Options)?;
        Ok(Self { servers, settings, timer, next_check: AtomicU64::new(u64::MAX) })
    }
}

impl<C: 'static, T: Timer> Machine<C, T> {
    /// Makes changes of the list in one step. Returns how many had an effect.
    pub(crate) fn apply(&self, changes: impl IntoIterator<Item = Change<C>>) -> Result<usize, ClusterError> {
        let mut made = 0;
        let changed = self.servers.change(
            |name, out| out.write_str(name),
            self.timer.now(),
            |before| {
                let mut places = before.list().nodes().iter().map(|node| ListEntry::Stays(Arc::clone(node))).collect();
                made = plan(&mut places, changes, before.balancer().weighing());
                (made > 0).then_some(places)
            },
        );
        let changed = changed.map_err(ClusterError::Balancer)?;
        Ok(made - changed.map_or(0, |changed| changed.left_out.len()))
    }

    /// Adds a sub-channel, or replaces the one of this name.
    pub(crate) fn insert(&self, change: Change<C>) -> Result<(), ClusterError> {
        match self.apply([change])? {
            0 => Err(ClusterError::Full),
            _ => Ok(()),
        }
    }

    /// Records that a sub-channel has no usable server. It gets no calls until a check passes.
    pub(crate) fn found_down(&self, id: ServerId) {
        let now = self.timer.now();
        let snapshot = self.servers.load();
        // A sub-channel that has left the list is not checked.
        let Some(node) = snapshot.list().get(id) else { return };
        let due = (now + CHECK_INTERVAL).as_micros();
        node.service().0.check_at.store(due, Ordering::Relaxed);
        self.servers.set_broken(node, true, now).tell(&self.servers, node);
        self.next_check.fetch_min(due, Ordering::Relaxed);
    }

    /// Asks the sub-channels that are down and whose checks are due whether they have a usable server again. The next
    /// call after a check is due does this, so no task has to run. While no sub-channel is down, it costs one load.
    #[inline]
    pub(crate) fn check_due(&self, usable: impl Fn(&C) -> bool) {
        let due = self.next_check.load(Ordering::Relaxed);
        if due != u64::MAX {
            self.check_at(due, self.timer.now(), usable);
        }
    }

    #[cold]
    fn check_at(&self, due: u64, now: Instant, usable: impl Fn(&C) -> bool) {
        // Only the call that takes the number out does the checks.
        let takes = || self.next_check.compare_exchange(due, u64::MAX, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if now.as_micros() < due || !takes() {
            return;
        }
        let mut next = u64::MAX;
        for node in self.servers.load().list().nodes().iter().filter(|node| node.health().is_broken()) {
            let sub = &node.service().0;
            if now.as_micros() < sub.check_at.load(Ordering::Relaxed) {
                next = next.min(sub.check_at.load(Ordering::Relaxed));
                continue;
            }
            let passed = says_usable(&usable, &sub.caller);
            let outcome = if passed { CheckOutcome::Passed } else { CheckOutcome::Failed };
            self.servers.tell_check(node, CheckStep::Application, outcome, Duration::ZERO);
            if passed {
                self.servers.set_broken(node, false, now).tell(&self.servers, node);
            } else {
                let again = (now + CHECK_INTERVAL).as_micros();
                sub.check_at.store(again, Ordering::Relaxed);
                next = next.min(again);
            }
        }
        self.next_check.fetch_min(next, Ordering::Relaxed);
    }

    /// Returns whether at least one sub-channel that the balancer may choose is usable now. First, this makes the checks that are due, so a
    /// sub-channel that was down may count again.
    pub(crate) fn any_usable(&self, usable: impl Fn(&C) -> bool) -> bool {
        self.check_due(&usable);
        let (snapshot, now) = (self.servers.load(), self.timer.now());
        let is_usable = |node: &&Arc<SubNode<C>>| snapshot.health().usable(node.health(), now);
        snapshot.choosable().filter(is_usable).any(|node| says_usable(&usable, &node.service().0.caller))
    }

    /// Whether every sub-channel that the balancer may choose is down.
    pub(crate) fn all_down(&self) -> bool {
        self.servers.load().choosable().all(|node| node.health().is_broken())
    }
}

impl<C: 'static, T: Timer> ChannelContext for Machine<C, T> {
    type Key = Arc<str>;
    type Service = OwnAddress<Sub<C>>;
    type Address = Arc<C>;
    type Call = ();
    type Timer = T;
    type RetryPolicy = Stored;

    fn servers(&self) -> &Servers<Arc<str>, OwnAddress<Sub<C>>> {
        &self.servers
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn timer(&self) -> &T {
        &self.timer
    }

    fn retry_policy(&self) -> &Stored {
        &Stored
    }

    fn address(&self, node: &SubNode<C>) -> Arc<C> {
        Arc::clone(&node.service().0.caller)
    }

    fn server_back(&self, _: &SubNode<C>) {
        // The other sub-channels may be back too, so the next call asks them (H5).
        for node in self.servers.load().list().nodes() {
            node.service().0.check_at.store(0, Ordering::Relaxed);
        }
        self.next_check.store(0, Ordering::Relaxed);
    }
}

/// Asks a sub-channel whether it has a usable server. If its code panics, it has none, so that other sub-channels are
/// asked all the same.
pub(crate) fn says_usable<C>(usable: impl Fn(&C) -> bool, caller: &C) -> bool {
    caught(|| usable(caller)).unwrap_or(false)
}

/// How a call has ended.
pub(crate) struct Ended {
    pub(crate) end: Result<End, ConfigError>,
    pub(crate) trace: Trace,
    /// Whether the winner still counts as in flight, because its reply streams.
    pub(crate) at_work: bool,
}

impl Ended {
    /// Takes the end of a call from the core.
    #[inline(always)]
    pub(crate) fn new<C: Send + Sync + 'static, T: Timer>(
        result: &Result<Judgement, CallFailure<Judgement, Judgement>>,
        call: &Call<'_, &CallHost<&Machine<C, T>>, MAX_ATTEMPTS>,
    ) -> Self {
        let end = match result {
            Ok(_) => Ok(End::Accepted),
            Err(CallFailure::Ended { end, .. }) => Ok(*end),
            Err(CallFailure::Config(error)) => Err(*error),
        };
        let trace = call.host().trace(call.report().clone());
        Self { end, trace, at_work: call.winner_at_work().is_some() }
    }

    /// The end of a call whose options cannot be carried out. It has started nothing.
    #[cold]
    pub(crate) fn refused(error: ConfigError, now: Instant) -> Self {
        Self { end: Err(error), trace: Trace::nowhere(Report::new(now)), at_work: false }
    }
}

/// The weight that was given with a sub-channel, if one was given.
struct Weight(Option<NonZeroU32>);

impl Tag for Weight {
    fn weight(&self) -> Result<NonZeroU32, WeightError> {
        self.0.ok_or(WeightError::Missing)
    }
}

type Places<C> = Vec<ListEntry<Arc<str>, OwnAddress<Sub<C>>>>;

/// Makes the changes in `places`. The list is sorted by name before and after this. Returns how many changes had an
/// effect.
fn plan<C>(places: &mut Places<C>, changes: impl IntoIterator<Item = Change<C>>, weighing: Weighing) -> usize {
    let mut made = 0;
    for change in changes {
        match change {
            Change::Remove(name) => {
                if let Ok(at) = place(places, &name) {
                    places.remove(at);
                    made += 1;
                }
            }
            Change::Insert(key, caller, weight) => {
                // The only error is a missing weight. Then the weight is 1.
                let weight = weighing.weight(&Weight(weight)).unwrap_or(NonZeroU32::MIN);
                let at = place(places, &key);
                let sub = Sub { caller: Arc::new(caller), check_at: AtomicU64::new(u64::MAX) };
                let new = ListEntry::new(key, OwnAddress(sub), weight);
                match at {
                    Ok(at) => drop(places.get_mut(at).map(|place| std::mem::replace(place, new))),
                    Err(at) => places.insert(at, new),
                }
                made += 1;
            }
        }
    }
    made
}

/// Returns the position of a name. If the list does not have the name, the error is the position at which it must be
/// inserted.
fn place<C>(places: &Places<C>, name: &Arc<str>) -> Result<usize, usize> {
    places.binary_search_by(|place| place.key().cmp(name))
}
