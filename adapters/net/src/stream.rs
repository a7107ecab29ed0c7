//! What a streaming reply owes and is owed (T2): its server counts as at work, and the deadline goes on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hedge_core::drive::SendTransport;
use hedge_core::time::Instant;
use hedge_fleet::Server;
use hedge_link::Runtime;

use crate::outage::Outage;

/// A server that is at work on a body.
pub(crate) type Lease = hedge_fleet::Lease<Server, Outage>;

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

/// How a transport of this crate hands a streaming reply what it owes; others' replies hold the lease themselves.
pub(crate) type Attach<T> = fn(&mut <T as SendTransport>::Reply, Owed);
