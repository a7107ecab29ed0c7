//! What a streaming reply takes over from its call ([T2](hedge_core::rules#T2)): the lease, by which its attempt counts
//! as in flight, and the deadline: [`BodyHandover`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hedge_core::time::Instant;
use hedge_fleet::AnyLease;
use hedge_link::Runtime;

/// The deadline of a streaming body.
pub(crate) trait Deadline: Send {
    fn has_passed(&self) -> bool;

    /// Ready once it has passed.
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A deadline on a runtime's clock. It starts a sleep only when it is polled.
struct RuntimeDeadline<R: Runtime> {
    runtime: R,
    at: Instant,
    sleep: Option<Pin<Box<R::Sleep>>>,
}

impl<R: Runtime> RuntimeDeadline<R> {
    fn boxed(runtime: &R, at: Instant) -> Option<Box<dyn Deadline>> {
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
pub struct BodyHandover {
    /// The winner's lease, which is held until the body ends. `None` for a reply that did not win.
    pub(crate) lease: Option<AnyLease>,
    /// `None` without a deadline.
    pub(crate) deadline: Option<Box<dyn Deadline>>,
}

impl BodyHandover {
    /// Makes the handover. `deadline` is the deadline of the call on the runtime's clock, or [`Instant::NEVER`] if
    /// there is none. `lease` is the lease of the attempt that won, or `None` for a reply that did not win. The body
    /// holds the lease until it ends.
    pub fn new<R: Runtime>(runtime: &R, deadline: Instant, lease: Option<AnyLease>) -> Self {
        Self { lease, deadline: RuntimeDeadline::boxed(runtime, deadline) }
    }
}

impl fmt::Debug for BodyHandover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lease, deadline } = self;
        f.debug_struct("BodyHandover").field("lease", lease).field("deadline", &deadline.is_some()).finish()
    }
}
