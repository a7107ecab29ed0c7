//! A channel whose servers are channels: [`Selective`] ([X1](hedge_core::rules#X1)).

mod builder;
mod error;
mod reply;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use hedge_core::cluster::ClusterError;
use hedge_core::drive::{AttemptInfo, Timer};
use hedge_core::id::AttemptId;
use hedge_core::latency::Snapshot;
use hedge_core::outcome::{Code, Denial, End, ErrorKind, Extra, State, Verdict};
use hedge_core::policy::{ConfigError, Idempotency, RetryPolicy};
use hedge_core::time::{Instant, Timeout};
use hedge_fleet::{
    CallHost, CallOptions, CallTree, Caller, ChannelInfo, Counters, Inspect, Lease, Outcome, SubCall, SubEnd, Trace,
    random_key,
};

pub use builder::SelectiveBuilder;
pub use error::SelectiveError;
pub use reply::SelectiveReply;

use crate::judge::{OutcomePolicy, Told, all_idempotent, told};
use crate::machine::{Change, Ended, Machine, says_usable};
use crate::options::for_same_request;
use error::Cause;

/// A channel whose servers are channels. A call goes to one of the sub-channels, and retries and backups go to others
/// ([X1](hedge_core::rules#X1)). All clones share the same sub-channels.
///
/// A sub-channel is any [`Caller`], under a name. Sub-channels of several types go in as
/// [`BoxCaller`](hedge_fleet::BoxCaller)s. Sub-channels can be added and removed at any time, from any thread; calls
/// that run go on. The keys in reports are the names, as `Arc<str>`.
///
/// A sub-call runs under the deadline of the call, so the timeout of the sub-channel has no effect. It has the retries,
/// the backups and the limits of its own channel. After a sub-call has failed, its sub-channel is asked whether it has a
/// usable server ([`Caller::has_usable_server`]). If it has none, it counts as down. From then on, it is asked at most
/// once a second. A call does this when the check is due, so there is no task. The loser of a backup is dropped, which
/// cancels it.
///
/// If a call names its own servers ([`CallOptions::servers`]), each sub-call goes to these servers, whatever its
/// sub-channel is. The failures of such a call say nothing about the sub-channels.
///
/// # Cost
/// A call over two sub-channels costs one call of the core more than the sub-calls. It allocates nothing of its own,
/// except for the report of each sub-call that fails, and for a reply that streams. The future has room for two
/// sub-calls. If the options of a call do not say whether its request may be sent twice, each sub-channel is asked
/// ([`Caller::idempotency`]). If a sub-channel sends idempotency keys ([`Caller::wants_key`]), a key is drawn for each
/// call that has none, and the options of the call are copied. So all its sub-calls carry the same key.
pub struct Selective<C, T, R = OutcomePolicy> {
    inner: Arc<Inner<C, T, R>>,
}

struct Inner<C, T, R> {
    name: Box<str>,
    machine: Machine<C, T>,
    retry_policy: R,
}

/// A sub-call that has failed.
struct LostCall {
    attempt: AttemptId,
    tree: CallTree,
    never_left: bool,
    /// Whether its sub-channel was found to be down.
    is_down: bool,
}

/// What one call keeps of its sub-calls.
struct Kept<Reply, E> {
    /// The result of the sub-call that ended last, and its attempt. If the call is accepted, it is the reply.
    last: Option<(AttemptId, Result<Reply, E>)>,
    /// The sub-calls that have failed.
    lost: Vec<LostCall>,
}

impl<C, T: Timer> Selective<C, T> {
    /// Returns a builder. Calls use `timer` as their clock and for waiting. `hedge-tokio` and `hedge-smol` have timers.
    pub fn builder(timer: T) -> SelectiveBuilder<C, T> {
        SelectiveBuilder::new(timer)
    }
}

impl<C: 'static, T: Timer, R> Selective<C, T, R> {
    /// Adds a sub-channel, or replaces the sub-channel of this name. The weight is the balancer's `default_weight`, or
    /// 1 if the balancer has none.
    ///
    /// # Errors
    /// [`ClusterError::Full`] if there are 65,536 others, and [`ClusterError::Balancer`] if the balancer has no room.
    /// The list is then unchanged.
    pub fn insert(&self, name: impl Into<Arc<str>>, channel: C) -> Result<(), ClusterError> {
        self.inner.machine.insert(Change::Insert(name.into(), channel, None))
    }

    /// Adds a sub-channel with this weight, or replaces the sub-channel of this name. The balancers `wrr`, `wr` and
    /// `p2c` use weights.
    ///
    /// # Errors
    /// See [`insert`](Self::insert).
    pub fn insert_weighted(
        &self,
        name: impl Into<Arc<str>>,
        channel: C,
        weight: NonZeroU32,
    ) -> Result<(), ClusterError> {
        self.inner.machine.insert(Change::Insert(name.into(), channel, Some(weight)))
    }

    /// Makes several changes of the list in one step: the names to remove, then the sub-channels to add or replace, each
    /// with its weight.
    pub(crate) fn change(
        &self,
        remove: Vec<Arc<str>>,
        insert: Vec<(Arc<str>, C, NonZeroU32)>,
    ) -> Result<(), ClusterError> {
        let removals = remove.into_iter().map(Change::Remove);
        let inserts = insert.into_iter().map(|(name, channel, weight)| Change::Insert(name, channel, Some(weight)));
        self.inner.machine.apply(removals.chain(inserts)).map(drop)
    }

    /// Removes a sub-channel. Its sub-calls go on ([L20](hedge_core::rules#L20)). Returns false if none has this name.
    pub fn remove(&self, name: &str) -> bool {
        // The balancer can always arrange the smaller list, so this does not fail.
        self.inner.machine.apply([Change::Remove(name.into())]) == Ok(1)
    }

    /// Returns the names of the sub-channels, in order.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.inner.machine.servers.load().list().nodes().iter().map(|node| Arc::clone(node.key())).collect()
    }

    /// Returns the sub-channel of this name.
    pub fn get(&self, name: &str) -> Option<Arc<C>> {
        let snapshot = self.inner.machine.servers.load();
        snapshot.list().named(&name.into()).map(|node| Arc::clone(&node.service().0.caller))
    }

    /// Returns how many sub-calls are in flight at a sub-channel; 0 if none has this name.
    pub fn in_flight(&self, name: &str) -> u32 {
        self.inner.machine.servers.load().list().named(&name.into()).map_or(0, |node| node.in_flight())
    }

    /// Returns whether calls use the sub-channel of this name now: it is not down, not withdrawn and not isolated by the
    /// circuit breaker.
    pub fn usable(&self, name: &str) -> bool {
        let (snapshot, now) = (self.inner.machine.servers.load(), self.now());
        snapshot.list().named(&name.into()).is_some_and(|node| snapshot.health().usable(node.health(), now))
    }

    /// Withdraws a sub-channel by hand, so that it gets no calls, or puts it back. Returns false if none has this name.
    pub fn set_usable(&self, name: &str, usable: bool) -> bool {
        let (machine, now) = (&self.inner.machine, self.now());
        let snapshot = machine.servers.load();
        snapshot.list().named(&name.into()).map(|node| machine.servers.set_usable(node, usable, now)).is_some()
    }

    /// Returns how many calls ended in which way, how many sub-calls they made, and how many extra ones were refused.
    pub fn counters(&self) -> Counters {
        self.inner.machine.settings.counters()
    }

    /// Returns how many extra sub-calls of this kind were refused for this reason. The count wraps at 2³².
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.inner.machine.settings.denied(extra, reason)
    }

    /// Returns how long calls took in the last 10 s.
    pub fn latencies(&self) -> Snapshot {
        self.inner.machine.settings.latencies(self.now())
    }

    /// Returns the time on the clock of the channel.
    pub fn now(&self) -> Instant {
        self.inner.machine.timer.now()
    }
}

impl<Request, C, T, R> Caller<Request> for Selective<C, T, R>
where
    Request: Sync,
    C: Caller<Request> + 'static,
    T: Timer<Sleep: Send> + Send + Sync,
    R: RetryPolicy<C::Reply, C::Error> + Send + Sync,
{
    type Reply = SelectiveReply<C::Reply>;
    type Error = SelectiveError<C::Reply, C::Error>;

    async fn call_with(&self, request: &Request, options: &CallOptions) -> Result<Self::Reply, Self::Error> {
        let inner = &*self.inner;
        inner.machine.check_due(C::has_usable_server);
        let with_key = inner.with_key(options);
        let options = with_key.as_deref().unwrap_or(options);
        let kept = Mutex::new(Kept { last: None, lost: Vec::new() });
        let mut host = CallHost::new(&inner.machine, ());
        hedge_fleet::CallContext::hold(&mut host);
        let ended = hedge_fleet::run!(
            host,
            options,
            inner.idempotency(request, options),
            |attempt| inner.sub_call(request, options, &kept, attempt),
            |call, result| Ended::new(&result, call)
        );
        inner.finish(&host, ended, kept.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn has_usable_server(&self) -> bool {
        self.inner.machine.any_usable(C::has_usable_server)
    }

    fn idempotency(&self, request: &Request) -> Idempotency {
        let settings = &self.inner.machine.settings;
        match self.inner.idempotency(request, &CallOptions::new()) {
            Idempotency::Unset => settings.inherited(&settings.hold()).idempotency,
            known => known,
        }
    }

    fn wants_key(&self) -> bool {
        self.inner.wants_key()
    }
}

impl<C, T, R> Inner<C, T, R>
where
    C: 'static,
    T: Timer,
{
    /// Returns whether the request may be sent twice ([L15](hedge_core::rules#L15)). If the options do not say it, the
    /// sub-channels are asked.
    fn idempotency<Request>(&self, request: &Request, options: &CallOptions) -> Idempotency
    where
        C: Caller<Request>,
    {
        if options.idempotency != Idempotency::Unset {
            return options.idempotency;
        }
        let snapshot = self.machine.servers.load();
        all_idempotent(snapshot.list().nodes().iter().map(|node| node.service().0.caller.idempotency(request)))
    }

    /// Returns whether a sub-channel sends keys.
    fn wants_key<Request>(&self) -> bool
    where
        C: Caller<Request>,
    {
        let snapshot = self.machine.servers.load();
        snapshot.list().nodes().iter().any(|node| node.service().0.caller.wants_key())
    }

    /// Returns the options with a new key, if the call needs one and has none. All its sub-calls then carry this key
    /// ([W3](hedge_core::rules#W3)).
    fn with_key<Request>(&self, options: &CallOptions) -> Option<Box<CallOptions>>
    where
        C: Caller<Request>,
    {
        if options.idempotency_key().is_some() || !self.wants_key() {
            return None;
        }
        Some(Box::new(options.clone().with_idempotency_key(random_key()?)))
    }

    /// Makes one sub-call, and judges its result.
    async fn sub_call<Request>(
        &self,
        request: &Request,
        options: &CallOptions,
        kept: &Mutex<Kept<C::Reply, C::Error>>,
        attempt: AttemptInfo<Arc<C>>,
    ) -> Told
    where
        C: Caller<Request>,
        R: RetryPolicy<C::Reply, C::Error>,
    {
        let remaining = attempt.remaining().map_or(Timeout::NEVER, Timeout::after);
        let options = for_same_request(options, attempt.idempotent, remaining);
        let result = attempt.address.call_with(request, &options).await;
        let mut judgement = self.retry_policy.judge(result.as_ref());
        let mut lost = None;
        if judgement.verdict != Verdict::Accept {
            let own_servers = options.servers.is_some();
            if own_servers {
                // A failure at servers that the call has named says nothing about the servers of the sub-channel (S7).
                judgement = judgement.local();
            }
            let is_down = !own_servers && self.found_down(&attempt);
            lost = Some(lost_call(attempt.attempt, &result, is_down));
            // The core may choose another sub-channel now, so the checks that are due are made first.
            self.machine.check_due(C::has_usable_server);
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last = Some((attempt.attempt, result));
        kept.lost.extend(lost);
        told(judgement)
    }

    /// After a sub-call has failed, asks its sub-channel whether it has a usable server. If it has none, this records
    /// that the sub-channel is down, and returns true.
    #[cold]
    fn found_down<Request>(&self, attempt: &AttemptInfo<Arc<C>>) -> bool
    where
        C: Caller<Request>,
    {
        let is_down = !says_usable(C::has_usable_server, &attempt.address);
        if is_down {
            self.machine.found_down(attempt.server);
        }
        is_down
    }

    /// Turns the end of a call into what the caller gets.
    #[inline(always)]
    fn finish<Reply, Error: Outcome>(
        &self,
        host: &CallHost<&Machine<C, T>>,
        ended: Result<Ended, ConfigError>,
        kept: Kept<Reply, Error>,
    ) -> Result<SelectiveReply<Reply>, SelectiveError<Reply, Error>>
    where
        C: Send + Sync,
    {
        let Ended { end, trace, at_work } =
            ended.unwrap_or_else(|error| Ended::refused(error, self.machine.timer.now()));
        let Kept { last, lost } = kept;
        // Without a reply, the lease is dropped here, so the sub-call no longer counts as in flight.
        let winner = trace.winner().and_then(|id| trace.attempts().get(id.index())).filter(|_| at_work);
        let winner = winner.and_then(|attempt| host.tried().find(attempt.server()));
        let lease = winner.map(|node| Box::new(Lease::new(Arc::clone(node))) as _);
        match (end, last) {
            (Ok(End::Accepted), Some((_, Ok(reply)))) => Ok(SelectiveReply::new(reply, trace, lost, lease)),
            (Ok(end), last) => {
                // If the last sub-call found its sub-channel to be down, and all other sub-channels are down too, no
                // server is left.
                let found_down = end == End::Failed && lost.last().is_some_and(|call| call.is_down);
                let all_down = matches!(end, End::NoServer | End::AllDown) || (found_down && self.machine.all_down());
                Err(SelectiveError::new(Cause::Ended(end), last, trace, (lost, all_down)))
            }
            (Err(error), _) => Err(SelectiveError::new(Cause::Config(error), None, trace, (lost, false))),
        }
    }
}

/// Makes the report of a sub-call that was not accepted.
#[cold]
fn lost_call<Reply: Outcome, E: Outcome>(attempt: AttemptId, result: &Result<Reply, E>, is_down: bool) -> LostCall {
    let tree = result.as_ref().map_or_else(Outcome::tree, Outcome::tree);
    let never_left = result.as_ref().is_err_and(Outcome::never_left);
    LostCall { attempt, tree, never_left, is_down }
}

/// The sub-calls of a call, in the order of their starts. `lost` has the reports of those that failed, and `winner` is
/// the report of the one that was accepted.
fn sub_calls(trace: &Trace, lost: &[LostCall], mut winner: Option<CallTree>) -> Vec<SubCall> {
    let mut subs = Vec::new();
    for (id, attempt) in trace.ids().zip(trace.attempts()) {
        // Without a name, the sub-channel was removed before anything was sent.
        let Some(name) = trace.key_of::<Arc<str>>(id) else { continue };
        let failed = || lost.iter().find(|call| call.attempt == id).map(|call| call.tree.clone());
        let ended = if trace.winner() == Some(id) { winner.take() } else { failed() };
        let end = match ended {
            Some(tree) => SubEnd::Ended(Box::new(tree)),
            None if trace.end() == Some(End::Deadline) && attempt.state() == State::Abandoned => SubEnd::Missing,
            None if attempt.code() == Code::from(ErrorKind::AttemptTimeout) => SubEnd::TimedOut,
            None => SubEnd::Cancelled,
        };
        subs.push(SubCall { index: id.index(), name: Arc::clone(name), end });
    }
    subs
}

impl<C, T, R> Inspect for Selective<C, T, R>
where
    C: Send + Sync + 'static,
    T: Timer + Send + Sync,
    R: Send + Sync,
{
    fn inspect(&self) -> ChannelInfo {
        let (machine, now) = (&self.inner.machine, self.now());
        let servers = machine.servers.inspect(now, |name| (name.to_string(), String::new()));
        ChannelInfo::new(&self.inner.name, servers, &machine.settings, now)
    }
}

impl<C, T, R> Clone for Selective<C, T, R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C, T, R> fmt::Debug for Selective<C, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.inner.machine.servers.load();
        let names: Vec<_> = snapshot.list().nodes().iter().map(|node| node.key()).collect();
        f.debug_struct("Selective").field("name", &self.inner.name).field("channels", &names).finish_non_exhaustive()
    }
}
