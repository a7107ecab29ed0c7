//! What a streaming reply owes and is owed (T2): its server counts as at work, and the deadline goes on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hedge_core::drive::SendTransport;
use hedge_core::time::Instant;

use crate::node::Node;
use crate::runtime::Runtime;

/// A server that is at work on a body. It counts the attempt in flight until this is dropped. What the attempt taught was
/// told at its head.
pub(crate) struct Lease(Arc<Node>);

impl Lease {
    /// Takes over the count of an attempt that its call has left in flight.
    pub(crate) const fn new(node: Arc<Node>) -> Self {
        Self(node)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.finished();
    }
}

/// The deadline of a streaming body.
pub(crate) trait Deadline: Send {
    fn has_passed(&self) -> bool;

    /// Ready once it has passed.
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The deadline on a runtime's clock; sleeps only once it is polled.
pub(crate) struct RuntimeDeadline<R: Runtime> {
    runtime: R,
    at: Instant,
    sleep: Option<Pin<Box<R::Sleep>>>,
}

impl<R: Runtime> RuntimeDeadline<R> {
    pub(crate) fn boxed(runtime: &R, at: Instant) -> Option<Box<dyn Deadline>> {
        let deadline = Self { runtime: runtime.clone(), at, sleep: None };
        (at < Instant::NEVER).then(|| Box::new(deadline) as Box<dyn Deadline>)
    }
}

impl<R: Runtime> Deadline for RuntimeDeadline<R> {
    fn has_passed(&self) -> bool {
        self.runtime.now() >= self.at
    }

    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { runtime, at, sleep } = self;
        let sleep = sleep.get_or_insert_with(|| Box::pin(runtime.sleep_until(*at)));
        while sleep.as_mut().poll(cx).is_ready() {
            if runtime.now() >= *at {
                return Poll::Ready(());
            }
            runtime.reset(sleep.as_mut(), *at);
        }
        Poll::Pending
    }
}

/// What a streaming reply is handed.
pub(crate) struct Owed {
    /// Of a winner, until its body ends.
    pub(crate) lease: Option<Lease>,
    /// `None` without a deadline.
    pub(crate) deadline: Option<Box<dyn Deadline>>,
}

/// How a transport of this crate streams; others' replies hold the lease themselves.
pub(crate) struct Streaming<T: SendTransport<Request: Sized>> {
    /// Tells the request's attempts that they win at the head.
    pub(crate) mark: fn(&mut T::Request),
    /// Hands a reply what it owes.
    pub(crate) attach: fn(&mut T::Reply, Owed),
}

impl<T: SendTransport<Request: Sized>> Clone for Streaming<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: SendTransport<Request: Sized>> Copy for Streaming<T> {}

impl<T: SendTransport<Request: Sized>> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Streaming")
    }
}
