//! One connection: [`Connection`]. It is made within a time limit, and closed as soon as it is dropped.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use ::http::{Method, Request, Response};
use hedge_core::time::Duration;
use hedge_link::{Connected, ConnectionInfo, Lifetime, PoolConnection, Runtime, RuntimeId};
use hyper::body::Incoming;

use super::answer_filter::AnswerFilter;
use super::conn_state::ConnState;
use super::counters::{Counts, OpenConnection};
use super::error::HttpError;
use super::exchange::{self, Exchange, SendFailure};
use super::limits::HeadLimits;
use super::outgoing::{BodyProgress, SendBody};

/// Exclusive use of a connection. Dropping it closes the socket at once, even in the middle of a request or an answer.
///
/// It is boxed, because an attempt moves it several times.
pub(super) struct Connection(Box<Open>);

struct Open {
    /// The lock lets threads share a reply, which holds its connection. The connection is only used through `&mut`, so no
    /// thread ever waits for the lock.
    exchange: Mutex<Box<dyn Exchange>>,
    /// The state of the connection since it was last given a request.
    state: Arc<ConnState>,
    /// The runtime that runs the connection's task.
    runtime: RuntimeId,
    lifetime: Lifetime,
    info: Arc<ConnectionInfo>,
    /// The place for a reply. It is set only within a poll.
    reply: Option<Response<Incoming>>,
}

/// A connection with a reply on it.
pub(super) struct Busy {
    pub(super) connection: Connection,
    /// The progress of the request's body, if that may be sent later than its head.
    pub(super) sent: Option<BodyProgress>,
    /// The addresses of the connection.
    pub(super) info: Arc<ConnectionInfo>,
}

impl Connection {
    /// Speaks HTTP/1.1 on a new connection. It is counted in `counts`, if there are any.
    pub(super) async fn over<R: Runtime>(
        runtime: &R,
        connected: Connected<R::Io>,
        limits: HeadLimits,
        counts: Option<&Arc<Counts>>,
    ) -> Result<Self, HttpError> {
        let Connected { io, info } = connected;
        let state = Arc::new(ConnState::new());
        let filter = AnswerFilter::new(io, Arc::clone(&state), limits.follower());
        let (sender, connection) =
            limits.hyper().handshake(filter).await.map_err(|error| HttpError::Unsent(error.into()))?;
        let counted = counts.map(OpenConnection::new);
        let exchange = exchange::run(runtime, sender, connection, Arc::clone(&state), counted);
        Ok(Self(Box::new(Open {
            exchange: Mutex::new(exchange),
            state,
            runtime: runtime.id(),
            lifetime: Lifetime::new(),
            info: Arc::new(info),
            reply: None,
        })))
    }

    /// The state of the connection since it was last given a request.
    pub(super) fn state(&self) -> &Arc<ConnState> {
        &self.0.state
    }

    /// The addresses of the connection.
    pub(super) fn info(&self) -> &Arc<ConnectionInfo> {
        &self.0.info
    }

    /// Hands a request over to the connection's task. [`replied`](Self::replied) waits for its reply.
    pub(super) fn send(&mut self, request: Request<SendBody>) {
        self.0.state.ask(request.method() == Method::HEAD, request.body().sent());
        self.exchange().send(request);
    }

    /// Ready when there is a reply or an error. After an error, the connection must be dropped. If the request comes
    /// back in the error, it has not left.
    pub(super) fn poll_replied(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Incoming>, SendFailure>> {
        let Open { exchange, reply, .. } = &mut *self.0;
        ready!(exchange.get_mut().unwrap_or_else(PoisonError::into_inner).poll_reply(cx, reply))?;
        reply.take().map_or(Poll::Pending, |reply| Poll::Ready(Ok(reply)))
    }

    /// Awaits the reply.
    pub(super) async fn replied(&mut self) -> Result<Response<Incoming>, SendFailure> {
        poll_fn(|cx| self.poll_replied(cx)).await
    }

    /// Ready when the next request may be sent. False if the connection will never take another one.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.exchange().poll_ready(cx)
    }

    /// Whether the last request has been sent whole, now that its answer has ended. If not, the server may never read
    /// the rest.
    pub(super) fn is_free(&self) -> bool {
        self.0.state.is_free()
    }

    /// Whether a body of unknown length can be sent. HTTP/1.0 has no chunks, and hyper would send no body to such a
    /// server.
    pub(super) fn takes_chunks(&self) -> bool {
        !self.0.state.is_old()
    }

    fn exchange(&mut self) -> &mut dyn Exchange {
        &mut **self.0.exchange.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server keeps the connection for this long while it is idle.
    pub(super) fn keep_for(&mut self, time: Duration) {
        self.0.lifetime.keep_for(time);
    }
}

impl PoolConnection for Connection {
    fn is_closed(&mut self) -> bool {
        self.exchange().is_closed()
    }

    fn runtime(&self) -> RuntimeId {
        self.0.runtime
    }

    fn lifetime(&mut self) -> &mut Lifetime {
        &mut self.0.lifetime
    }
}
