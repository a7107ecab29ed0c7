//! A timer of our own: one thread that knows who waits until when.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// Tells the thread whom to wake; without one it ends.
#[derive(Clone)]
pub(crate) struct Alarm(Sender<(Instant, Waker)>);

impl Alarm {
    pub(crate) fn start() -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || ring(&receiver));
        Self(sender)
    }

    pub(crate) fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { at, alarm: self.clone(), told: None }
    }
}

fn ring(sleeps: &Receiver<(Instant, Waker)>) {
    let mut waiting: BTreeMap<Instant, Vec<Waker>> = BTreeMap::new();
    loop {
        let next = waiting.first_key_value().map(|(at, _)| at.saturating_duration_since(Instant::now()));
        match sleeps.recv_timeout(next.unwrap_or(Duration::MAX)) {
            Ok((at, waker)) => waiting.entry(at).or_default().push(waker),
            Err(RecvTimeoutError::Timeout) => {
                waiting.pop_first().into_iter().flat_map(|(_, wakers)| wakers).for_each(Waker::wake);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Waits until an instant. One that is dropped wakes its task once in vain.
pub(crate) struct Sleep {
    at: Instant,
    alarm: Alarm,
    told: Option<Waker>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        if !self.told.as_ref().is_some_and(|told| told.will_wake(cx.waker())) {
            self.told = Some(cx.waker().clone());
            // The thread is there for as long as this is.
            drop(self.alarm.0.send((self.at, cx.waker().clone())));
        }
        Poll::Pending
    }
}
