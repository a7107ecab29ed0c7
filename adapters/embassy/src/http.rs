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

// Futures are written as blocks, and in two steps, each in the place of the other: an `async fn` would keep its arguments
// twice, and those of the first step during the second. That is what calls take in memory.

/// Makes an attempt of a call whose deadline the driver keeps. Dropped at any point it gives back its buffer and drops its
/// connection, which the stack then releases.
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
    // Where it is the call's deadline that limits connecting, an end says nothing of the server.
    let until = connect_deadline.filter(|at| *at < deadline).unwrap_or(Instant::NEVER);
    // The end of the attempt's own time, if it has a limit. The driver enforces it, and blames the server (L21). So the
    // attempt itself has to end while its time is this client's fault.
    let end = limit.end(started);
    let ready = async move {
        let (mut slot, waited) = match slots.try_take() {
            Some(slot) => (slot, false),
            None => match before(A::earlier(end, until), slots.take()).await {
                Ok(Ok(slot)) => (slot, true),
                Ok(Err(_)) | Err(_) => return Err(Error::NoBuffer),
            },
        };
        // Before there is a connection, which a request that cannot be sent does not need.
        let head = request.write_head(address, slot.bytes_mut()).map_err(Error::BadRequest)?;
        match before(if waited { A::earlier(end, until) } else { until }, stack.connect(address)).await {
            Ok(Ok(connection)) => Ok((slot, head, connection)),
            Ok(Err(error)) => Err(Error::Connect(error.kind())),
            // What the buffer took of the time is not the server's fault.
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
///
/// A response that is whole before the request is sent is the response, and the rest is not sent (T5). So where a body has to
/// wait until it is taken, reading is tried in between: either may be dropped while it waits, and is begun again, which stacks
/// have to bear. A request without a body does not ask that of them.
#[expect(clippy::manual_async_fn, reason = "see above")]
pub(crate) fn exchange<'a, C: Read + Write>(
    connection: &'a mut C,
    request: &'a Request<'_>,
    head: usize,
    buffer: &'a mut [u8],
) -> impl Future<Output = Result<Layout, Error>> + 'a {
    async move {
        let mut turns = Turns { either: false, other_waits: false, left: TURNS };
        // Why nothing more can be sent. It is told once what has arrived is read: a reset must not eat the response.
        let mut broke = None;
        // Of the head and the body.
        let (mut sent, mut sending) = (0_usize, true);
        // Until something is received, its space begins with the head.
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
                    // A stack that takes nothing will never.
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
                // None is the end of what the server sends, and there is space until the response is whole.
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

/// How often a connection is written to or read from before other tasks have their turn, however ready it is: a server that
/// sends without end must not hold the executor.
const TURNS: u8 = 8;

/// Whose turn it is at a connection, which one future has at a time.
struct Turns {
    /// There are two that want it, and one that has to wait leaves it to the other.
    either: bool,
    /// The other has had its turn since the task was woken, and has to wait.
    other_waits: bool,
    left: u8,
}

impl Turns {
    /// What comes of `future`; `None` if it has to wait and it is the other's turn.
    fn take<F: Future>(&mut self, future: F) -> Turn<'_, F> {
        Turn { turns: self, future }
    }

    /// Whether a future that has to wait may keep its turn until the task is woken.
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
