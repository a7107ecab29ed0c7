//! Something that happens a number of times, to be waited for by threads and by futures.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};

#[derive(Clone, Default)]
pub struct Signal(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    count: usize,
    wakers: Vec<Waker>,
}

impl Signal {
    pub fn new() -> Self {
        Self::default()
    }

    /// It happened; answers how often it had before.
    pub fn raise(&self) -> usize {
        let mut state = self.0.0.lock().unwrap();
        let before = state.count;
        state.count += 1;
        state.wakers.drain(..).for_each(Waker::wake);
        self.0.1.notify_all();
        before
    }

    pub fn count(&self) -> usize {
        self.0.0.lock().unwrap().count
    }

    /// Waits in a thread until it has happened `times` times.
    pub fn block_until(&self, times: usize) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |state| state.count < times).unwrap());
    }

    /// Waits until it has happened `times` times.
    pub fn reached(&self, times: usize) -> impl Future<Output = ()> {
        poll_fn(move |cx| {
            let mut state = self.0.0.lock().unwrap();
            if state.count >= times {
                return Poll::Ready(());
            }
            state.wakers.push(cx.waker().clone());
            Poll::Pending
        })
    }
}
