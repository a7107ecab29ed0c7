//! What a channel keeps for each server, for the checks after a broken connection: [`CheckState`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hedge_core::id::{AddressKey, ServerId};
use hedge_core::time::{Duration, Instant};
use hedge_fleet::{Server, Service};
use hedge_link::RuntimeId;

/// What a channel keeps for each server: the number of its address, and the state that it shares with the task that
/// checks the server. Calls read only the number. They see a broken server by
/// [`ServerHealth::is_broken`](hedge_core::health::ServerHealth::is_broken).
#[derive(Debug)]
pub(crate) struct CheckState {
    address_key: AddressKey,
    state: Mutex<State>,
}

/// One server of a channel.
pub(crate) type Node = hedge_fleet::Node<Server, CheckState>;

/// Keeps an attempt counted as in flight while its body is read.
pub(crate) type Lease = hedge_fleet::Lease<Server, CheckState>;

#[derive(Debug, Default)]
pub(crate) struct State {
    /// The server's connection broke, and a task checks the server.
    pub(crate) broken: bool,
    /// The server has left the list, or the channel is gone. Its checks must end.
    pub(crate) gone: bool,
    /// The next check is due at once: another server came back.
    hurried: bool,
    /// The latest break.
    round: Round,
    /// The runtime of the task, and the last time that the task ran.
    runs_on: RuntimeId,
    ran_at: Instant,
    /// A counter that changes each time the task has something to look at.
    news: u32,
    task: Option<Waker>,
}

/// The number of a break of a server's connection. A task belongs to one break.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Round(u32);

impl State {
    /// Begins a new round of checks: the connection broke, or a task on another runtime takes the checks over. A task
    /// of an earlier round ends.
    pub(crate) const fn begin(&mut self, runtime: RuntimeId, now: Instant) -> Round {
        self.broken = true;
        self.hurried = false;
        self.round = Round(self.round.0.wrapping_add(1));
        (self.runs_on, self.ran_at) = (runtime, now);
        self.round
    }

    /// Records that the task ran.
    pub(crate) const fn ran(&mut self, now: Instant) {
        self.ran_at = now;
    }

    /// Whether the task belongs to another runtime and has not run for `patience`.
    pub(crate) fn is_left_alone(&self, runtime: RuntimeId, now: Instant, patience: Duration) -> bool {
        self.broken && !self.gone && self.runs_on != runtime && now.since(self.ran_at) >= patience
    }

    /// Whether the checks of this round go on.
    pub(crate) fn runs(&self, round: Round) -> bool {
        self.broken && !self.gone && self.round == round
    }

    /// Whether the next check is due at once. This resets the flag.
    pub(crate) const fn take_hurried(&mut self) -> bool {
        core::mem::replace(&mut self.hurried, false)
    }

    /// Makes the next news wake this task.
    fn wakes(&mut self, cx: &mut Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            task => *task = Some(cx.waker().clone()),
        }
    }
}

impl From<AddressKey> for CheckState {
    fn from(address_key: AddressKey) -> Self {
        Self { address_key, state: Mutex::default() }
    }
}

impl Service for CheckState {
    #[inline]
    fn address_key(&self, _: ServerId) -> AddressKey {
        self.address_key
    }
}

impl CheckState {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the checks for good.
    pub(crate) fn leave(&self) {
        self.lock().gone = true;
        self.tell();
    }

    /// Makes the next check due at once.
    pub(crate) fn hurry(&self) {
        self.lock().hurried = true;
        self.tell();
    }

    /// Wakes the task, so that it looks at the state again.
    pub(crate) fn tell(&self) {
        let mut state = self.lock();
        state.news = state.news.wrapping_add(1);
        let task = state.task.take();
        // The lock is released first, since the executor's waker may run any code.
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// The counter of news.
    pub(crate) fn news(&self) -> u32 {
        self.lock().news
    }

    /// Ready once the counter of news is no longer `seen`.
    pub(crate) fn poll_news(&self, seen: u32, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.news != seen {
            return Poll::Ready(());
        }
        state.wakes(cx);
        Poll::Pending
    }

    /// Whether the checks of a round must end. If not, the task is woken when that may have changed.
    pub(crate) fn poll_over(&self, round: Round, cx: &mut Context<'_>) -> bool {
        let mut state = self.lock();
        let runs = state.runs(round);
        if runs {
            state.wakes(cx);
        }
        !runs
    }
}
