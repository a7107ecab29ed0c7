//! A server whose connection broke, and the task that checks it: [`Outage`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hedge_core::id::{AddressKey, ServerId};
use hedge_core::time::{Duration, Instant};
use hedge_fleet::{Server, Service};
use hedge_link::RuntimeId;

/// What a channel keeps for each server: the number of its address, what
/// [`ServerHealth::is_broken`](hedge_core::health::ServerHealth::is_broken) goes by, and what the task that checks the server is
/// told. Calls never look at the latter.
#[derive(Debug)]
pub(crate) struct Outage {
    address_key: AddressKey,
    state: Mutex<State>,
}

/// One server of a channel.
pub(crate) type Node = hedge_fleet::Node<Server, Outage>;

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Its connection broke; a task is there that checks it.
    pub(crate) broken: bool,
    /// It has left the list, or the channel is gone: there is nothing to check any more.
    pub(crate) gone: bool,
    /// The next check is due at once: another server came back.
    hurried: bool,
    /// The latest break.
    round: Round,
    /// Where the task runs, and when it last did.
    runs_on: RuntimeId,
    ran_at: Instant,
    /// How often there was something for the task to look at.
    news: u32,
    task: Option<Waker>,
}

/// A break of a server's connection: which of those that there were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Round(u32);

impl State {
    /// The connection broke, or a task on another runtime takes the checks over. A task that was there before ends.
    pub(crate) const fn begin(&mut self, runtime: RuntimeId, now: Instant) -> Round {
        self.broken = true;
        self.hurried = false;
        self.round = Round(self.round.0.wrapping_add(1));
        (self.runs_on, self.ran_at) = (runtime, now);
        self.round
    }

    /// The task runs.
    pub(crate) const fn ran(&mut self, now: Instant) {
        self.ran_at = now;
    }

    /// Whether the task has not run for `patience`, and would have to on another runtime.
    pub(crate) fn is_left_alone(&self, runtime: RuntimeId, now: Instant, patience: Duration) -> bool {
        self.broken && !self.gone && self.runs_on != runtime && now.since(self.ran_at) >= patience
    }

    /// Whether the server is to be checked after that break.
    pub(crate) fn runs(&self, round: Round) -> bool {
        self.broken && !self.gone && self.round == round
    }

    /// Whether the next check is due at once; says so once.
    pub(crate) const fn take_hurried(&mut self) -> bool {
        core::mem::replace(&mut self.hurried, false)
    }

    /// The next news wake this task.
    fn wakes(&mut self, cx: &mut Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            task => *task = Some(cx.waker().clone()),
        }
    }
}

impl From<AddressKey> for Outage {
    fn from(address_key: AddressKey) -> Self {
        Self { address_key, state: Mutex::default() }
    }
}

impl Service for Outage {
    #[inline]
    fn address_key(&self, _: ServerId) -> AddressKey {
        self.address_key
    }
}

impl Outage {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the checks.
    pub(crate) fn leave(&self) {
        self.lock().gone = true;
        self.tell();
    }

    /// Makes the next check due at once.
    pub(crate) fn hurry(&self) {
        self.lock().hurried = true;
        self.tell();
    }

    /// Makes the task look again.
    pub(crate) fn tell(&self) {
        let mut state = self.lock();
        state.news = state.news.wrapping_add(1);
        let task = state.task.take();
        // Not under the lock: what a waker does is the executor's affair.
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// The news so far.
    pub(crate) fn news(&self) -> u32 {
        self.lock().news
    }

    /// Ready once there is more than `seen`.
    pub(crate) fn poll_news(&self, seen: u32, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.news != seen {
            return Poll::Ready(());
        }
        state.wakes(cx);
        Poll::Pending
    }

    /// Whether the checks after a break are to end; if not, the task hears of it.
    pub(crate) fn poll_over(&self, round: Round, cx: &mut Context<'_>) -> bool {
        let mut state = self.lock();
        let runs = state.runs(round);
        if runs {
            state.wakes(cx);
        }
        !runs
    }
}
