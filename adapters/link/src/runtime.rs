//! The async runtime that connections need: [`Runtime`].

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;

use hedge_core::drive::Timer;
use hedge_core::time::Instant;
use hedge_fleet::Spawn;

use crate::dial::Dial;

/// An async runtime: a timer, tasks and connections.
///
/// All code that opens connections is generic over this trait. `hedge-tokio` and `hedge-smol` implement the trait.
pub trait Runtime: Spawn + Dial {
    /// Returns the id of the runtime on which this method is called. A connection is used only on the runtime that made
    /// it, and the channels on this runtime share it ([C4](hedge_core::rules#C4)). So two runtimes of one type must not
    /// have the same id. This method is called once for each call, so it should be cheap. The default always returns
    /// the same id, for a program with only one runtime.
    fn id(&self) -> RuntimeId {
        RuntimeId::default()
    }
}

/// Identifies one of the runtimes that exist at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RuntimeId(u64);

impl RuntimeId {
    /// Makes the id with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// Refuses a connection whose two ends are the same socket. A [`Connector`](crate::Connector) calls this function. If a
/// client connects to a local port in the ephemeral range, and no server listens on this port, TCP may choose the same
/// port for the client's end. Then the socket is connected to itself, and the client would read its own request as the
/// answer.
///
/// # Errors
/// Returns [`io::ErrorKind::ConnectionRefused`] if both ends have the same address.
pub fn refuse_self(local: SocketAddr, peer: SocketAddr) -> io::Result<()> {
    if local == peer { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
}

/// Runs a future until `deadline`. Returns the output of the future, or `None` if the future was not ready at the
/// deadline. Without a deadline, the future runs to its end. If the deadline has passed and the future is ready at the
/// same poll, its output is returned.
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
            // A timer may fire early. A new sleep waits for the rest of the time.
            sleep.set(Some(timer.sleep_until(deadline)));
        }
        Poll::Pending
    })
    .await
}
