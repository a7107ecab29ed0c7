//! Wakes a task from any thread: [`Bell`].

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Wakes the one task that waits for the bell. If the bell rings several times between two waits, the task wakes once.
#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_rung: bool,
    waker: Option<Waker>,
}

impl Bell {
    /// Wakes the task that waits. If no task waits, the next wait ends at once.
    pub(crate) fn ring(&self) {
        let mut state = self.lock();
        state.is_rung = true;
        let waker = state.waker.take();
        // A waker may run any code, so it runs without the lock.
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until the bell rings. Returns at once if it has rung since the last wait.
    pub(crate) async fn rung(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if std::mem::take(&mut state.is_rung) {
                return Poll::Ready(());
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
