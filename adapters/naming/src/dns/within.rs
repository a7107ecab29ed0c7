//! Which runtime a future runs on: [`Within`]. hickory-resolver asks for the time without saying on which runtime.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

type AnyRuntime = Arc<dyn Any + Send + Sync>;

thread_local! {
    /// The runtime of the future that this thread polls.
    static CURRENT: RefCell<Option<AnyRuntime>> = const { RefCell::new(None) };
}

/// A future with its runtime. While the future is polled, [`current`] returns this runtime.
pub(super) struct Within<F> {
    runtime: AnyRuntime,
    future: Pin<Box<F>>,
}

impl<F: Future> Within<F> {
    pub(super) fn new<R: Send + Sync + 'static>(runtime: Arc<R>, future: F) -> Self {
        Self { runtime, future: Box::pin(future) }
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _restored = Restored(CURRENT.replace(Some(Arc::clone(&self.runtime))));
        self.future.as_mut().poll(cx)
    }
}

/// Puts back the runtime of the outer future, also if the inner one panics.
struct Restored(Option<AnyRuntime>);

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// The runtime of the future that is polled. `None` outside of a [`Within`], or within one of another runtime.
pub(super) fn current<R: Clone + 'static>() -> Option<R> {
    CURRENT.with_borrow(|current| current.as_ref()?.downcast_ref::<R>().cloned())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    #[test]
    fn n1_a_look_up_knows_its_own_runtime_even_within_another_one() {
        let mut cx = Context::from_waker(Waker::noop());
        let inner = poll_fn(|_| Poll::Ready((current::<u8>(), current::<u16>())));
        let mut inner = Within::new(Arc::new(2_u8), inner);
        let outer = poll_fn(|cx| {
            let seen = Pin::new(&mut inner).poll(cx);
            seen.map(|seen| (seen, current::<u8>()))
        });
        let outer = pin!(Within::new(Arc::new(1_u8), outer));
        assert_eq!(outer.poll(&mut cx), Poll::Ready(((Some(2), None), Some(1))));
        assert_eq!(current::<u8>(), None);
    }
}
