//! The executor: one future on one thread, by the standard library alone.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{TryRecvError, channel};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Instant;

thread_local! {
    /// The earliest instant that a future of this thread waits for.
    static NEXT: Cell<Option<Instant>> = const { Cell::new(None) };
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future that polls all it waits for whenever it is polled, as a hedged call does.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    loop {
        NEXT.set(None);
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        match NEXT.get() {
            Some(at) => thread::park_timeout(at.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
    }
}

/// Waits until an instant: `block_on` parks no longer than that, so nobody has to wake it.
pub(crate) struct Sleep(pub(crate) Instant);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.0 {
            return Poll::Ready(());
        }
        NEXT.set(Some(NEXT.get().map_or(self.0, |next| next.min(self.0))));
        Poll::Pending
    }
}

/// Does what blocks on a thread of its own. Dropping the future does not stop the thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await; // `block_on` has but one.
    let (sender, receiver) = channel();
    thread::spawn(move || {
        drop(sender.send(work()));
        waker.wake();
    });
    poll_fn(|_| match receiver.try_recv() {
        Ok(result) => Poll::Ready(result),
        Err(TryRecvError::Empty) => Poll::Pending,
        Err(TryRecvError::Disconnected) => Poll::Ready(Err(io::Error::other("the thread has died"))),
    })
    .await
}
