//! What a streaming reply takes over from its call ([T2](hedge_core::rules#T2)): the lease, by which its attempt counts
//! as in flight, and the deadline.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hedge_core::drive::SendTransport;
use hedge_core::time::Instant;
use hedge_fleet::Server;
use hedge_link::Runtime;

use crate::check_state::CheckState;

/// Keeps an attempt counted as in flight while its body is read.
pub(crate) type Lease = hedge_fleet::Lease<Server, CheckState>;

/// The deadline of a streaming body.
pub(crate) trait Deadline: Send {
    fn has_passed(&self) -> bool;

    /// Ready once it has passed.
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A deadline on a runtime's clock. It starts a sleep only when it is polled.
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

/// What a streaming reply takes over from its call.
pub(crate) struct BodyHandover {
    /// The winner's lease, which is held until the body ends. `None` for a reply that did not win.
    pub(crate) lease: Option<Lease>,
    /// `None` without a deadline.
    pub(crate) deadline: Option<Box<dyn Deadline>>,
}

/// Hands these to a reply of this crate's own transport. For other transports, [`Reply`](crate::Reply) holds the lease.
pub(crate) type Attach<T> = fn(&mut <T as SendTransport>::Reply, BodyHandover);
