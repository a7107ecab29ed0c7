//! One connection: made in time, closed as soon as nobody holds it.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{Method, Request, Response};
use futures_channel::oneshot;
use hedge_core::time::Instant;
use hedge_fleet::Address;
use hedge_link::{Runtime, RuntimeId, before};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};

use super::error::HttpError;
use super::guard::Guard;
use super::limits::HeadLimits;
use super::line::Line;
use super::outgoing::{SendBody, Sent};

/// A connection and the right to it: dropping it closes the socket at once, whatever is under way.
pub(super) struct Connection {
    sender: http1::SendRequest<SendBody>,
    /// The connection's task ends when this is dropped, and this tells when it has.
    open: oneshot::Sender<Infallible>,
    /// What has gone over it since it was last given a request.
    pub(super) line: Arc<Line>,
    /// Where its task runs.
    pub(super) runtime: RuntimeId,
}

/// A connection with a reply on it.
pub(super) struct Busy {
    /// `None` once it is of no use any more.
    pub(super) connection: Option<Connection>,
    /// Tells whether the request's body has left, where it may come later than the reply.
    pub(super) sent: Option<Sent>,
}

/// What hyper answers.
pub(super) type Reply = Result<Response<Incoming>, TrySendError<Request<SendBody>>>;

/// A connection that has been given a request. The future of the reply is apart from it: it has room for the request, which
/// an attempt should not have twice.
pub(super) struct Asked(Connection);

impl Asked {
    /// Awaits the reply; answers it, and the connection if it can go on.
    pub(super) async fn replied(
        self,
        mut reply: Pin<&mut impl Future<Output = Reply>>,
    ) -> Result<(Option<Connection>, Response<Incoming>), TrySendError<Request<SendBody>>> {
        let Self(Connection { sender, mut open, line, runtime }) = self;
        let mut sender = Some(sender);
        let reply = poll_fn(|cx| {
            let ended = open.poll_canceled(cx).is_ready();
            let answer = reply.as_mut().poll(cx);
            if answer.is_ready() || !ended {
                return answer;
            }
            // The task has ended while the request was put into its channel, and has not seen it: nobody would ever take it
            // out. It comes back when the channel goes, which is when its sender does.
            sender = None;
            reply.as_mut().poll(cx)
        })
        .await?;
        Ok((sender.map(|sender| Connection { sender, open, line, runtime }), reply))
    }
}

impl Connection {
    /// Connects by `deadline`.
    pub(super) async fn open<R: Runtime>(
        runtime: &R,
        address: &Address,
        deadline: Option<Instant>,
        limits: &HeadLimits,
    ) -> Result<Self, HttpError> {
        let connect = before(runtime, deadline, runtime.connect(address)).await;
        let io = connect.ok_or(HttpError::ConnectTimeout)?.map_err(HttpError::Connect)?;
        let line = Arc::new(Line::new());
        let guard = Guard::new(io, Arc::clone(&line), limits.follower());
        let (sender, connection) = limits.hyper().handshake(guard).await.map_err(HttpError::Unsent)?;
        let (open, mut closed) = oneshot::channel();
        let of_task = Arc::clone(&line);
        runtime.spawn(async move {
            let mut connection = pin!(connection);
            poll_fn(|cx| {
                if Pin::new(&mut closed).poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                of_task.begin_poll();
                // Whoever sent a request hears of an error; one on an idle connection is nobody's.
                connection.as_mut().poll(cx).map(drop)
            })
            .await;
        });
        Ok(Self { sender, open, line, runtime: runtime.id() })
    }

    /// Sends a request; what is answered is to be awaited by [`Asked::replied`]. What is handed back in the error has not
    /// left.
    pub(super) fn send(self, request: Request<SendBody>) -> (Asked, impl Future<Output = Reply>) {
        let Self { mut sender, open, line, runtime } = self;
        line.ask(request.method() == Method::HEAD, request.body().sent());
        let reply = sender.try_send_request(request);
        (Asked(Self { sender, open, line, runtime }), reply)
    }

    /// Ready when the next request may be sent; an error once it never will.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.sender.poll_ready(cx)
    }

    /// Whether nothing is left of the last request, now that its answer has ended. If not, the server may never take it.
    pub(super) fn is_free(&self) -> bool {
        self.line.is_free()
    }

    /// Whether a body of unknown length can be sent: HTTP/1.0 knows no chunks, and hyper would send nothing.
    pub(super) fn takes_chunks(&self) -> bool {
        !self.line.is_old()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}
