//! Why a server takes no calls, breakers apart: [`Outage`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What [`ServerHealth::is_broken`](hedge_core::health::ServerHealth::is_broken) is made of, for whoever changes it and for
/// the task that checks the server. Calls never look at it.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<State>);

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Its connection broke; a task is there that checks it.
    pub(crate) broken: bool,
    /// Somebody took it out by hand.
    pub(crate) withdrawn: bool,
    /// It has left the list, or the channel is gone: there is nothing to check any more.
    pub(crate) gone: bool,
    /// How often there was something for the task to look at.
    news: u32,
    task: Option<Waker>,
}

impl State {
    /// Whether calls are kept away.
    pub(crate) const fn keeps_away(&self) -> bool {
        self.broken || self.withdrawn
    }

    /// The next news wake this task.
    fn wakes(&mut self, cx: &mut Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            task => *task = Some(cx.waker().clone()),
        }
    }
}

impl Outage {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the checks.
    pub(crate) fn leave(&self) {
        self.lock().gone = true;
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

    /// Whether the checks are to end; if not, the task hears of it.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.lock();
        if !state.gone {
            state.wakes(cx);
        }
        state.gone
    }
}
