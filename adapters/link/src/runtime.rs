//! What connections need from an async runtime: [`Runtime`].

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
/// All code that opens connections is generic over this trait. `hedge-tokio` and `hedge-smol` implement it.
pub trait Runtime: Spawn + Connect {
    /// The id of the runtime that this is called on, for programs with several. A connection is used only on the
    /// runtime that made it. This runs once for each call, so it should cost little. Default: there is only one
    /// runtime.
    fn id(&self) -> RuntimeId {
        RuntimeId::default()
    }
}

/// Opens connections.
pub trait Connect: Send + Sync + 'static {
    /// A connection.
    type Io: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static;

    /// Connects by TCP, without a time limit of its own. A name is resolved first, for instance by
    /// [`lookup`](crate::lookup()), and the first of its addresses that connects is used. The implementation must
    /// refuse a connection to itself: see [`refuse_self`].
    fn connect(&self, to: &Address) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// Identifies one of the runtimes that exist at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RuntimeId(u64);

impl RuntimeId {
    /// The id with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// Refuses a connection whose two ends are the same socket. [`Connect::connect`] must call it. If a client connects to
/// a local port in the ephemeral range on which nothing listens, TCP may choose the same port for the client's end. The
/// connection then leads to itself, and the request would come back as its own answer.
///
/// # Errors
/// [`io::ErrorKind::ConnectionRefused`] if both ends have the same address.
pub fn refuse_self(local: SocketAddr, peer: SocketAddr) -> io::Result<()> {
    if local == peer { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
}

/// Runs a future until `deadline`. Returns `None` if it was not ready by then. Without a deadline it runs to its end.
/// If the future is ready in the same poll in which the deadline has passed, its output is returned.
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
            // A timer may fire early. A new sleep waits for the rest.
            sleep.set(Some(timer.sleep_until(deadline)));
        }
        Poll::Pending
    })
    .await
}
