//! What connections need of an async runtime: [`Runtime`].

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;

use hedge_core::drive::Timer;
use hedge_core::time::Instant;
use hedge_fleet::{Address, Spawn};

/// An async runtime: a timer, tasks and connections.
///
/// Everything that opens connections is written once over it; `hedge-tokio` and `hedge-smol` are two of them.
pub trait Runtime: Spawn + Connect {
    /// Which runtime this is called on, if there may be several: connections are used on the one that made them, and on no
    /// other. It is asked once a call, so it should cost little. Default: there is one.
    fn id(&self) -> RuntimeId {
        RuntimeId::default()
    }
}

/// What opens connections.
pub trait Connect: Send + Sync + 'static {
    /// A connection.
    type Io: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static;

    /// Connects by TCP, without a time limit of its own. A name is resolved first, for instance by
    /// [`lookup`](crate::lookup()), and the first of its addresses that connects is used. What it connects to must be
    /// somebody else: see [`refuse_self`].
    fn connect(&self, to: &Address) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// Tells runtimes that are there at the same time from each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RuntimeId(u64);

impl RuntimeId {
    /// A runtime's own number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// Refuses a connection that has met itself: where nobody listens on a local port of the ephemeral range, TCP may choose
/// that very port for the client's own end, and the request would come back as its answer. For [`Connect::connect`].
///
/// # Errors
/// [`io::ErrorKind::ConnectionRefused`] if both ends are one.
pub fn refuse_self(local: SocketAddr, peer: SocketAddr) -> io::Result<()> {
    if local == peer { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
}

/// Runs a future until `deadline`, or without one; `None` if it was not done by then. Where both are there, the future wins.
pub async fn before<T: Timer, F: Future>(timer: &T, deadline: Option<Instant>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let Some(deadline) = deadline else { return Some(future.await) };
    let mut sleep = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if sleep.is_none() {
            sleep.set(Some(timer.sleep_until(deadline)));
        }
        while sleep.as_mut().as_pin_mut().is_some_and(|sleep| sleep.poll(cx).is_ready()) {
            if timer.now() >= deadline {
                return Poll::Ready(None);
            }
            // Timers may be early; one that is asked again waits for what is left.
            sleep.set(Some(timer.sleep_until(deadline)));
        }
        Poll::Pending
    })
    .await
}
