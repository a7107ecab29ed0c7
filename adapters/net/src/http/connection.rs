//! One connection: [`Connection`]. It is made within a time limit, and closed as soon as it is dropped.

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

use super::answer_filter::AnswerFilter;
use super::conn_state::ConnState;
use super::counters::{Counts, OpenConnection};
use super::error::HttpError;
use super::limits::HeadLimits;
use super::outgoing::{BodyProgress, SendBody};

/// Exclusive use of a connection. Dropping it closes the socket at once, even in the middle of a request or an answer.
pub(super) struct Connection {
    sender: http1::SendRequest<SendBody>,
    /// Dropping this ends the connection's task. It also shows whether the task has ended.
    open: oneshot::Sender<Infallible>,
    /// The state of the connection since it was last given a request.
    pub(super) state: Arc<ConnState>,
    /// The runtime that runs the connection's task.
    pub(super) runtime: RuntimeId,
}

/// A connection with a reply on it.
pub(super) struct Busy {
    /// `None` if the connection cannot be used again.
    pub(super) connection: Option<Connection>,
    /// The progress of the request's body, if that may be sent later than its head.
    pub(super) sent: Option<BodyProgress>,
}

/// The result that hyper gives for a request.
pub(super) type Reply = Result<Response<Incoming>, TrySendError<Request<SendBody>>>;

/// A connection that has been given a request. The future of the reply is kept apart, because it has room for the
/// request, and an attempt should have that room only once.
pub(super) struct SentRequest(Connection);

impl SentRequest {
    /// Awaits the reply. Returns it, with the connection if that can still be used.
    pub(super) async fn replied(
        self,
        mut reply: Pin<&mut impl Future<Output = Reply>>,
    ) -> Result<(Option<Connection>, Response<Incoming>), TrySendError<Request<SendBody>>> {
        let Self(Connection { sender, mut open, state, runtime }) = self;
        let mut sender = Some(sender);
        let reply = poll_fn(|cx| {
            let ended = open.poll_canceled(cx).is_ready();
            let answer = reply.as_mut().poll(cx);
            if answer.is_ready() || !ended {
                return answer;
            }
            // The task ended while the request was put into its channel, so it never took the request out. Dropping the
            // sender closes the channel, and then the request comes back.
            sender = None;
            reply.as_mut().poll(cx)
        })
        .await?;
        Ok((sender.map(|sender| Connection { sender, open, state, runtime }), reply))
    }
}

impl Connection {
    /// Connects by `deadline`. The connection is counted in `counts`, if there are any.
    pub(super) async fn open<R: Runtime>(
        runtime: &R,
        address: &Address,
        deadline: Option<Instant>,
        limits: &HeadLimits,
        counts: Option<&Arc<Counts>>,
    ) -> Result<Self, HttpError> {
        let connect = before(runtime, deadline, runtime.connect(address)).await;
        let io = connect.ok_or(HttpError::ConnectTimeout)?.map_err(HttpError::Connect)?;
        let state = Arc::new(ConnState::new());
        let filter = AnswerFilter::new(io, Arc::clone(&state), limits.follower());
        let (sender, connection) = limits.hyper().handshake(filter).await.map_err(HttpError::Unsent)?;
        let (open, mut closed) = oneshot::channel();
        let of_task = Arc::clone(&state);
        let counted = counts.map(OpenConnection::new);
        runtime.spawn(async move {
            let _counted = counted;
            let mut connection = pin!(connection);
            poll_fn(|cx| {
                if Pin::new(&mut closed).poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                of_task.begin_poll();
                // The sender of a request is told of its error, and an error on an idle connection concerns no request.
                // So the error is dropped here.
                connection.as_mut().poll(cx).map(drop)
            })
            .await;
        });
        Ok(Self { sender, open, state, runtime: runtime.id() })
    }

    /// Sends a request. [`SentRequest::replied`] must then await the future that is returned. A request that comes back in
    /// the error has not left.
    pub(super) fn send(self, request: Request<SendBody>) -> (SentRequest, impl Future<Output = Reply>) {
        let Self { mut sender, open, state, runtime } = self;
        state.ask(request.method() == Method::HEAD, request.body().sent());
        let reply = sender.try_send_request(request);
        (SentRequest(Self { sender, open, state, runtime }), reply)
    }

    /// Ready when the next request may be sent. An error if the connection will never take another one.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.sender.poll_ready(cx)
    }

    /// Whether the last request has been sent whole, now that its answer has ended. If not, the server may never read
    /// the rest.
    pub(super) fn is_free(&self) -> bool {
        self.state.is_free()
    }

    /// Whether a body of unknown length can be sent. HTTP/1.0 has no chunks, and hyper would send no body to such a
    /// server.
    pub(super) fn takes_chunks(&self) -> bool {
        !self.state.is_old()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}
