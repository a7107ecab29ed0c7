//! One attempt: a buffer, a connection of its own, a request and its response.

use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use embedded_io_async::{Error as _, ErrorKind as Io, Read, Write};
use embedded_nal_async::TcpConnect;
use hedge_core::drive::AttemptInfo;
use hedge_core::time::Instant;
use hedge_wire::http1::{Layout, Progress, Receiver};
use pin_project_lite::pin_project;

use crate::attempt_limit::AttemptLimit;
use crate::clock::before;
use crate::error::Error;
use crate::parts::Parts;
use crate::request::Request;
use crate::resources::Resources;
use crate::response::Response;
use crate::slots::{Slot, Slots};

// These futures are most of a call's memory, so two things keep them small. They are `async` blocks, since an `async
// fn` stores its arguments twice. And the two steps of an attempt use the same memory, so the second step does not hold
// values that only the first step needs.

/// Makes an attempt. The driver enforces the call's `deadline`. When the future is dropped, at any point, it gives back
/// its buffer and drops its connection, which the stack then releases.
pub(crate) fn attempt<'a, 'r, S, P, A, const SERVERS: usize, const SLOTS: usize, const BYTES: usize>(
    stack: &'r S,
    slots: &'r Slots<P::Mutex, SLOTS, BYTES>,
    request: &'a Request<'_>,
    AttemptInfo { address, connect_deadline, started, .. }: AttemptInfo<SocketAddr>,
    deadline: Instant,
    limit: A,
) -> impl Future<Output = Result<Response<'r, Resources<P, SERVERS, SLOTS, BYTES>>, Error>> + 'a
where
    'r: 'a,
    S: TcpConnect,
    P: Parts,
    A: AttemptLimit + 'a,
{
    // If the call's deadline comes before the connect timeout, a connection that is not made in time says nothing about
    // the server. The driver ends the call then.
    let until = connect_deadline.filter(|at| *at < deadline).unwrap_or(Instant::NEVER);
    // The end of the attempt timeout, if there is one. At this end the driver drops the attempt and blames the server
    // (L21). So an attempt that still waits for something of this client must end itself before.
    let end = limit.end(started);
    let ready = async move {
        let (mut slot, waited) = match slots.try_take() {
            Some(slot) => (slot, false),
            None => match before(A::earlier(end, until), slots.take()).await {
                Ok(Ok(slot)) => (slot, true),
                Ok(Err(_)) | Err(_) => return Err(Error::NoBuffer),
            },
        };
        // The head is written before a connection is made, since an invalid request needs no connection.
        let head = request.write_head(address, slot.bytes_mut()).map_err(Error::BadRequest)?;
        match before(if waited { A::earlier(end, until) } else { until }, stack.connect(address)).await {
            Ok(Ok(connection)) => Ok((slot, head, connection)),
            Ok(Err(error)) => Err(Error::Connect(error.kind())),
            // The wait for a buffer took some of the time, which is not the server's fault.
            Err(_) if waited => Err(Error::NoBuffer),
            Err(_) => Err(Error::ConnectTimeout),
        }
    };
    let sent = move |(mut slot, head, mut connection): (Slot<'r, P::Mutex, SLOTS, BYTES>, usize, S::Connection<'r>)| async move {
        let layout = exchange(&mut connection, request, head, slot.bytes_mut()).await?;
        Ok(Response::new(slot, layout))
    };
    Steps::First { future: ready, next: Some(sent) }
}

pin_project! {
    /// Two futures, one after the other, in the same memory. `next` makes the second one from the result of the first.
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
                    // `next` is there as long as the first step is.
                    let Some(next) = next.take() else { return Poll::Pending };
                    self.set(Steps::Second { future: next(value) });
                }
                Step::Second { future } => return future.poll(cx),
            }
        }
    }
}

/// Sends a request and receives its response into `buffer`. The first `head` bytes of `buffer` are the request's head.
///
/// If the response is complete before the request has been sent, the rest of the request is not sent
/// ([T5](hedge_core::rules#T5)). So while the body waits to be sent, the connection is also read from. For that, a
/// pending read or write is dropped and begun again, and the stack must support this. For a request without a body, the
/// stack need not support it.
#[expect(clippy::manual_async_fn, reason = "see above")]
pub(crate) fn exchange<'a, C: Read + Write>(
    connection: &'a mut C,
    request: &'a Request<'_>,
    head: usize,
    buffer: &'a mut [u8],
) -> impl Future<Output = Result<Layout, Error>> + 'a {
    async move {
        let mut turns = Turns { either: false, other_waits: false, left: TURNS };
        // Why nothing more can be sent. It is returned only after everything that has arrived was read, so that a
        // response that arrived before a reset is not lost.
        let mut broke = None;
        // How many bytes of head and body have been sent, and whether something is left to send or to flush.
        let (mut sent, mut sending) = (0_usize, true);
        // Until something is received, the receiver's space begins with the head of the request.
        let mut receiver = Receiver::new(buffer, request.method == "HEAD");
        loop {
            if sending {
                let rest = match sent.checked_sub(head) {
                    Some(sent) => request.body.get(sent..),
                    None => receiver.space().get(sent..head),
                };
                let progress = match rest {
                    Some(rest @ [_, ..]) => turns.take(connection.write(rest)).await,
                    _ => turns.take(connection.flush()).await.map(|flushed| {
                        sending = false;
                        flushed.map(|()| 1)
                    }),
                };
                match &progress {
                    // If the stack takes no byte now, it will take none later.
                    Some(Ok(0)) => broke = Some(Io::WriteZero),
                    Some(Ok(written)) => sent = sent.saturating_add(*written),
                    Some(Err(error)) => broke = Some(error.kind()),
                    None => {}
                }
                sending &= broke.is_none();
                turns.either = broke.is_some() || sending && sent >= head && !request.body.is_empty();
                if progress.is_some() {
                    continue;
                }
            }
            let error = match turns.take(connection.read(receiver.space())).await {
                // The space is not empty until the response is complete. So 0 bytes mean that the server sends no more.
                Some(Ok(bytes)) => match receiver.received(bytes) {
                    Ok(Progress::More) => continue,
                    Ok(Progress::Done) => {
                        return receiver.response().map(|response| response.layout()).ok_or(Error::Closed);
                    }
                    Err(error) => error.into(),
                },
                Some(Err(error)) => Error::Broken(error.kind()),
                None if broke.is_some() => Error::Closed,
                None => continue,
            };
            return Err(broke.map_or(error, Error::Broken));
        }
    }
}

/// How often a connection is read from or written to in one poll. After that, other tasks run, even if the connection
/// is ready. So a server that sends without end cannot block the executor.
const TURNS: u8 = 8;

/// Decides whether a connection is read from or written to: only one future can use it at a time.
struct Turns {
    /// Both a read and a write are wanted. If one of them has to wait, the other one gets the connection.
    either: bool,
    /// Since the task was woken, the other operation has had its turn and has to wait too.
    other_waits: bool,
    /// How many reads and writes are left in this poll.
    left: u8,
}

impl Turns {
    /// The output of `future`. `None` if `future` has to wait, and the other operation gets its turn.
    fn take<F: Future>(&mut self, future: F) -> Turn<'_, F> {
        Turn { turns: self, future }
    }

    /// Called if a future has to wait. Returns whether it keeps its turn until the task is woken.
    #[inline(never)]
    fn sleep(&mut self, cx: &Context<'_>) -> bool {
        if self.left == 0 {
            cx.waker().wake_by_ref();
        } else {
            self.other_waits = self.either && !self.other_waits;
        }
        let sleeps = self.left == 0 || !self.other_waits;
        if sleeps {
            self.left = TURNS;
        }
        sleeps
    }
}

pin_project! {
    struct Turn<'t, F> {
        turns: &'t mut Turns,
        #[pin] future: F,
    }
}

impl<F: Future> Future for Turn<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let this = self.project();
        let (turns, future) = (this.turns, this.future);
        if turns.left > 0
            && let Poll::Ready(output) = future.poll(cx)
        {
            (turns.left, turns.other_waits) = (turns.left - 1, false);
            return Poll::Ready(Some(output));
        }
        if turns.sleep(cx) { Poll::Pending } else { Poll::Ready(None) }
    }
}
