//! One attempt: a buffer, a connection of its own, a request and its response.

use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use embassy_sync::blocking_mutex::raw::RawMutex;
use embedded_io_async::{Error as _, Read, Write};
use embedded_nal_async::TcpConnect;
use hedge_core::drive::AttemptInfo;
use hedge_core::time::Instant;
use hedge_wire::http1::{Layout, Progress, Receiver};
use pin_project_lite::pin_project;

use crate::clock::before;
use crate::error::Error;
use crate::request::Request;
use crate::response::Response;
use crate::slots::{Slot, Slots};

// Futures are written as blocks, and in two steps, each in the place of the other: an `async fn` would keep its arguments
// twice, and those of the first step during the second. That is what calls take in memory.

/// Makes an attempt of a call whose deadline the driver keeps. Dropped at any point it gives back its buffer and drops its
/// connection, which the stack then releases.
pub(crate) fn attempt<'a, 'r: 'a, S: TcpConnect, M: RawMutex, const SLOTS: usize, const BYTES: usize>(
    stack: &'r S,
    slots: &'r Slots<M, SLOTS, BYTES>,
    request: &'a Request<'_>,
    AttemptInfo { address, connect_deadline, .. }: AttemptInfo<SocketAddr>,
    deadline: Instant,
) -> impl Future<Output = Result<Response<'r, M, SLOTS, BYTES>, Error>> + 'a {
    // Where it is the call's deadline that limits connecting, an end says nothing of the server.
    let until = connect_deadline.filter(|at| *at < deadline).unwrap_or(Instant::NEVER);
    let ready = async move {
        let (mut slot, waited) = match slots.try_take() {
            Some(slot) => (slot, false),
            None => match before(until, slots.take()).await {
                Ok(Ok(slot)) => (slot, true),
                Ok(Err(_)) | Err(_) => return Err(Error::NoBuffer),
            },
        };
        // Before there is a connection, which a request that cannot be sent does not need.
        let head = request.write_head(address, slot.bytes_mut()).map_err(Error::BadRequest)?;
        match before(until, stack.connect(address)).await {
            Ok(Ok(connection)) => Ok((slot, head, connection)),
            Ok(Err(error)) => Err(Error::Connect(error.kind())),
            // What the buffer took of the time is not the server's fault.
            Err(_) if waited => Err(Error::NoBuffer),
            Err(_) => Err(Error::ConnectTimeout),
        }
    };
    let sent = move |(mut slot, head, mut connection): (Slot<'r, M, SLOTS, BYTES>, usize, S::Connection<'r>)| async move {
        let layout = exchange(&mut connection, request, head, slot.bytes_mut()).await?;
        Ok(Response::new(slot, layout))
    };
    Steps::First { future: ready, next: Some(sent) }
}

pin_project! {
    /// A future, and one that is made of what comes of it, in the same place.
    #[project = Step]
    enum Steps<F, N, G> {
        First { #[pin] future: F, next: Option<N> },
        Second { #[pin] future: G },
    }
}

impl<F, N, G, V, W, E> Future for Steps<F, N, G>
where
    F: Future<Output = Result<V, E>>,
    N: FnOnce(V) -> G,
    G: Future<Output = Result<W, E>>,
{
    type Output = Result<W, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<W, E>> {
        loop {
            match self.as_mut().project() {
                Step::First { future, next } => {
                    let value = ready!(future.poll(cx))?;
                    // It is there: it goes with the first step.
                    let Some(next) = next.take() else { return Poll::Pending };
                    self.set(Steps::Second { future: next(value) });
                }
                Step::Second { future } => return future.poll(cx),
            }
        }
    }
}

/// Sends a request, whose head is the first `head` bytes of `buffer`, and receives the response into that.
#[expect(clippy::manual_async_fn, reason = "see above")]
pub(crate) fn exchange<'a, C: Read + Write>(
    connection: &'a mut C,
    request: &'a Request<'_>,
    head: usize,
    buffer: &'a mut [u8],
) -> impl Future<Output = Result<Layout, Error>> + 'a {
    async move {
        for mut rest in [buffer.get(..head).unwrap_or(&[]), request.body] {
            while !rest.is_empty() {
                rest = match connection.write(rest).await.map_err(broken)? {
                    // A stack that takes nothing will never.
                    0 => return Err(Error::Closed),
                    written => rest.get(written..).unwrap_or(&[]),
                };
            }
        }
        connection.flush().await.map_err(broken)?;
        let mut receiver = Receiver::new(buffer, request.method == "HEAD");
        loop {
            // None is the end of what the server sends, and there is space until the response is whole.
            let bytes = connection.read(receiver.space()).await.map_err(broken)?;
            if receiver.received(bytes)? == Progress::Done {
                return receiver.response().map(|response| response.layout()).ok_or(Error::Closed);
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(error: impl embedded_io_async::Error) -> Error {
    Error::Broken(error.kind())
}
