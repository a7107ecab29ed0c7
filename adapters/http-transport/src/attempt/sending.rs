//! Sends the request of one attempt, over an idle connection if there is one, else over a new one
//! ([C3](hedge_core::rules#C3), [T4](hedge_core::rules#T4)).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};

use ::http::header::CONNECTION;
use ::http::{HeaderValue, Request, Response, StatusCode, response};
use hedge_core::drive::{Along, AttemptInfo};
use hedge_core::time::{Duration, Instant};
use hedge_fleet::Address;
use hedge_link::{Connector, Runtime};
use hyper::body::Incoming;

use super::drain::Abandoned;
use super::pool::{HttpSettings, IdleConnection, Pool, PoolHandle as _};
use super::source::{Http1Body, Source};
use crate::break_error::BreakError;
use crate::conn_state::ConnState;
use crate::connection::{Busy, Connection};
use crate::error::{HttpError, ProtocolError};
use crate::exchange::SendFailure;
use crate::keep_alive;
use crate::outgoing::{BodyProgress, SendBody};
use crate::request::{self, RequestBody};

/// The head of an answer, and where the rest comes from.
pub(crate) struct Answer {
    pub(crate) head: response::Parts,
    pub(crate) source: Source,
}

/// How a request went over HTTP/2.
#[cfg(feature = "http2")]
#[expect(clippy::large_enum_variant, reason = "nearly every request gets an answer, and a box would be an allocation")]
pub(crate) enum Sent {
    Answer(Answer),
    /// The server speaks HTTP/1.1, perhaps on this new connection.
    Elsewhere(Option<Connection>),
}

/// The request of one attempt.
pub(crate) struct Sending<'a, R: Runtime> {
    pub(crate) runtime: &'a R,
    connector: &'a Connector<R>,
    pub(crate) maker: RequestMaker<'a, R>,
    /// The request may have left on a connection that had been idle, and that connection broke or answered 408, which
    /// says nothing about the server. It is then sent once more, on a new connection.
    pub(crate) lost: bool,
}

impl<'a, R: Runtime> Sending<'a, R> {
    /// Prepares a request. Nothing is sent yet.
    ///
    /// # Errors
    /// The request cannot be sent to any server.
    pub(crate) fn new(
        runtime: &'a R,
        connector: &'a Connector<R>,
        request: &'a Request<RequestBody>,
        (attempt, along): (&'a AttemptInfo<Address>, &'a Along<'a, Address>),
        pool: &'a Arc<Pool<R>>,
    ) -> Result<Self, HttpError> {
        let mut maker = RequestMaker { request, attempt, along, pool, head: None, unsent: None };
        maker.head = Some(maker.make_head()?);
        Ok(Self { runtime, connector, maker, lost: false })
    }

    /// Sends the request, over the version of HTTP that the server speaks.
    pub(crate) async fn send(&mut self) -> Result<Answer, HttpError> {
        // A server that chooses another version in each handshake gets no third chance.
        for _ in 0..2 {
            #[cfg(feature = "http2")]
            let made = match self.send_http2().await? {
                Sent::Answer(answer) => return Ok(answer),
                Sent::Elsewhere(connection) => connection,
            };
            #[cfg(not(feature = "http2"))]
            let made = None;
            if let Some(answer) = self.send_http1(made).await? {
                return Ok(answer);
            }
        }
        Err(HttpError::Protocol(ProtocolError::NoVersion))
    }

    /// Sends the request over HTTP/1.1: on `made`, a new connection, else on an idle one or on one that it makes. `None` if
    /// the server chose HTTP/2.
    async fn send_http1(&mut self, made: Option<Connection>) -> Result<Option<Answer>, HttpError> {
        // The first connection is used in the same poll in which the attempt starts, which saves a look at the clock.
        let mut sent_at = self.maker.attempt.started;
        while !self.lost
            && made.is_none()
            && let Some(kept) = self.maker.pool.take(self.maker.attempt.started)
        {
            if let Some(answer) = self.reuse(kept, sent_at).await? {
                return Ok(Some(answer));
            }
            sent_at = self.runtime.now();
        }
        let mut connection = match made {
            Some(connection) => connection,
            None => match self.connect().await? {
                Some(connection) => connection,
                None => return Ok(None),
            },
        };
        self.maker.pool.opened(&mut connection);
        let state = Arc::clone(connection.state());
        let (sent, in_flight) = self.hand_over(connection, None)?;
        match in_flight.replied().await {
            Ok((connection, response)) => Ok(Some(self.answered(connection, sent, response))),
            Err(error) => Err(match self.unsent(error, sent.as_ref()) {
                Ok(error) => HttpError::Unsent(error.into()),
                Err(error) => match broken(error)? {
                    broken if state.has_left() || !self.maker.can_be_made_again() => broken.sent(),
                    broken => HttpError::Unsent(broken.error),
                },
            }),
        }
    }

    /// A new connection for HTTP/1.1. `None` if the server chose HTTP/2.
    async fn connect(&mut self) -> Result<Option<Connection>, HttpError> {
        let pool = self.maker.pool;
        let mut by = self.maker.attempt.connect_deadline;
        if self.lost {
            pool.settings.counts.resend();
            by = self.patience().map(|patience| self.runtime.now() + patience);
        }
        // Both futures are boxed, so that they take no room in a call. A call seldom connects.
        let connected = Box::pin(self.connector.connect(&self.maker.attempt.address, by));
        let connected = connected.await.map_err(HttpError::Connect)?;
        #[cfg(feature = "http2")]
        if let Some(http2) = pool.http2.as_ref().filter(|_| connected.info.is_http2()) {
            http2.note(true);
            return Ok(None);
        }
        let HttpSettings { head, counts, .. } = &pool.settings;
        Box::pin(Connection::over(self.runtime, connected, *head, Some(counts))).await.map(Some)
    }

    /// The answer on a connection of HTTP/1.1.
    fn answered(&self, mut connection: Connection, sent: Option<BodyProgress>, response: Response<Incoming>) -> Answer {
        let (head, incoming) = response.into_parts();
        if let Some(time) = keep_alive::timeout(&head.headers) {
            connection.keep_for(time);
        }
        let busy = Busy { info: Arc::clone(connection.info()), connection, sent };
        let source = Source::Http1(Http1Body::new(incoming, busy, Arc::clone(self.maker.pool) as _));
        Answer { head, source }
    }

    /// Sends the request on a connection that had been idle. `None` if it did not leave, or is lost.
    async fn reuse(
        &mut self,
        IdleConnection { connection, since }: IdleConnection,
        sent_at: Instant,
    ) -> Result<Option<Answer>, HttpError> {
        if !connection.takes_chunks() && self.maker.goes_in_chunks()? {
            return Ok(None);
        }
        let state = Arc::clone(connection.state());
        let (sent, in_flight) = self.hand_over(connection, Some(since))?;
        self.maker.pool.settings.counts.reuse();
        let deadline = self.maker.attempt.remaining().map(|remaining| self.maker.attempt.started + remaining);
        let mut silence =
            Silence { runtime: self.runtime, pool: self.maker.pool, state: &state, since: sent_at, deadline };
        let result = in_flight.replied().await;
        silence.deadline = None;
        let error = match result {
            Ok((connection, response)) => {
                // If the answer is stale, dropping it here closes its connection.
                self.lost = self.is_stale_answer(&response, sent_at);
                if !self.lost {
                    return Ok(Some(self.answered(connection, sent, response)));
                }
                self.maker.pool.close_idle_since(since);
                return Ok(None);
            }
            Err(error) => match self.unsent(error, sent.as_ref()) {
                Ok(_) => return Ok(None),
                Err(error) => error,
            },
        };
        let broken = broken(error)?;
        if state.is_heard() {
            return Err(broken.sent());
        }
        self.maker.pool.close_idle_since(since);
        if !state.has_left() && self.maker.can_be_made_again() {
            return Ok(None);
        }
        if !self.is_soon_after(sent_at) {
            return Err(broken.sent());
        }
        self.lost = self.may_go_twice();
        if self.lost { Ok(None) } else { Err(HttpError::Stale(broken.error)) }
    }

    /// Whether an answer on a connection that had been idle may mean that the server had given up the connection and
    /// had not read the request (RFC 9110, 15.5.9).
    fn is_stale_answer(&self, response: &Response<Incoming>, sent_at: Instant) -> bool {
        self.maker.pool.settings.retry_stale_408
            && response.status() == StatusCode::REQUEST_TIMEOUT
            && self.is_soon_after(sent_at)
            && self.may_go_twice()
    }

    /// Whether the answer or the break came within the connect timeout. If it came later, the request itself may be its
    /// cause.
    pub(crate) fn is_soon_after(&self, sent_at: Instant) -> bool {
        let took = self.runtime.now().since(sent_at);
        self.patience().is_none_or(|patience| took <= patience)
    }

    pub(crate) fn may_go_twice(&self) -> bool {
        self.maker.attempt.idempotent && self.maker.can_be_made_again()
    }

    /// The connect timeout; `None` if there is none.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.maker.attempt.connect_deadline.map(|until| until.since(self.maker.attempt.started))
    }

    /// Hands the request to a connection. The body is made only now, when there is a connection, because the program's
    /// code may take any time to make it. Returns the progress of the body. `idle_since` is the time since when the
    /// connection had been idle, if it had been.
    fn hand_over(
        &mut self,
        mut connection: Connection,
        idle_since: Option<Instant>,
    ) -> Result<(Option<BodyProgress>, InFlight<'a, R>), HttpError> {
        match self.maker.take() {
            Ok(message) => {
                let sent = message.body().sent();
                connection.send(message);
                Ok((sent, InFlight { pool: self.maker.pool, connection: Some(connection), idle_since }))
            }
            Err(error) => {
                Arc::clone(self.maker.pool).give_back(connection);
                Err(error)
            }
        }
    }

    /// Keeps a request that has come back unsent. An error means that the request has left, or may have left.
    fn unsent(&mut self, mut error: SendFailure, body: Option<&BodyProgress>) -> Result<hyper::Error, HttpError> {
        match error.take_message() {
            Some(message) => {
                self.maker.unsent = Some(Box::new(message));
                Ok(error.into_error())
            }
            None => Err(HttpError::sent(error.into_error(), body)),
        }
    }
}

/// The error of a connection that broke.
struct Break {
    error: BreakError,
    is_reset: bool,
}

impl Break {
    /// The error of a request that has left, or may have left.
    fn sent(self) -> HttpError {
        if self.is_reset { HttpError::Reset(self.error) } else { HttpError::Broken(self.error) }
    }
}

/// The error of a connection that broke. Errors that hyper blames on its user do not count as a break and are returned as
/// they are.
fn broken(error: HttpError) -> Result<Break, HttpError> {
    match error {
        HttpError::Broken(error) if !error.is_user() => Ok(Break { error, is_reset: false }),
        HttpError::Reset(error) if !error.is_user() => Ok(Break { error, is_reset: true }),
        error => Err(error),
    }
}

/// The request as it is made for one connection, and again for the next one if it has not left. A body that never left
/// goes back to the caller's request, where the next attempt finds it ([R5](hedge_core::rules#R5)).
pub(crate) struct RequestMaker<'a, R: Runtime> {
    request: &'a Request<RequestBody>,
    pub(crate) attempt: &'a AttemptInfo<Address>,
    along: &'a Along<'a, Address>,
    pub(crate) pool: &'a Arc<Pool<R>>,
    /// The head, which was made and checked before any connection is used.
    head: Option<Request<()>>,
    /// A request that came back unsent. This is rare, so it is boxed and takes no room in the attempt.
    unsent: Option<Box<Request<SendBody>>>,
}

impl<R: Runtime> RequestMaker<'_, R> {
    /// The caller's head, and what the program adds to it for this attempt.
    fn make_head(&self) -> Result<Request<()>, HttpError> {
        let mut head = request::head(self.request, &self.pool.place, &self.pool.settings.default_headers)?;
        #[cfg(feature = "_coding")]
        crate::coding::ask(head.headers_mut());
        if self.pool.is_short() {
            // RFC 9112, 9.6: a client must say that a connection is for this request alone.
            head.headers_mut().append(CONNECTION, HeaderValue::from_static("close"));
        }
        #[cfg(feature = "grpc")]
        crate::grpc_headers::set_headers(head.headers_mut(), self.attempt);
        if let Some(names) = &self.pool.settings.along {
            names.set(head.headers_mut(), self.attempt, *self.along)?;
        }
        match &self.pool.settings.on_attempt {
            Some(on_attempt) => Ok(on_attempt.applied(head, self.attempt)?),
            None => Ok(head),
        }
    }

    pub(crate) fn take(&mut self) -> Result<Request<SendBody>, HttpError> {
        if let Some(message) = self.unsent.take() {
            return Ok(*message);
        }
        let mut head = self.head.take().map_or_else(|| self.make_head(), Ok)?;
        let body = self.request.body().open(&mut head)?;
        Ok(head.map(|()| body))
    }

    /// Whether the request must be sent in chunks: the length of its body is not known.
    fn goes_in_chunks(&mut self) -> Result<bool, HttpError> {
        let message = self.take()?;
        let in_chunks = message.body().length().is_none();
        self.unsent = Some(Box::new(message));
        Ok(in_chunks)
    }

    /// Takes back a body that has not left.
    #[cfg(feature = "http2")]
    pub(crate) fn put_back(&self, body: SendBody) {
        self.request.body().put_back(body);
    }

    pub(crate) fn can_be_made_again(&self) -> bool {
        !matches!(self.request.body(), RequestBody::Once(_))
    }
}

impl<R: Runtime> Drop for RequestMaker<'_, R> {
    fn drop(&mut self) {
        if let Some(message) = self.unsent.take() {
            self.request.body().put_back(message.into_body());
        }
    }
}

/// A request that was handed to its connection. If this is dropped before there is a reply, the attempt is abandoned
/// ([C2](hedge_core::rules#C2)).
struct InFlight<'a, R: Runtime> {
    pool: &'a Arc<Pool<R>>,
    /// `None` once there is a reply or an error.
    connection: Option<Connection>,
    idle_since: Option<Instant>,
}

impl<R: Runtime> InFlight<'_, R> {
    /// Awaits the reply, and returns it with its connection.
    async fn replied(mut self) -> Result<(Connection, Response<Incoming>), SendFailure> {
        poll_fn(|cx| {
            let Some(connection) = &mut self.connection else { return Poll::Pending };
            let reply = ready!(connection.poll_replied(cx));
            match (self.connection.take(), reply) {
                (Some(connection), Ok(reply)) => Poll::Ready(Ok((connection, reply))),
                (_, Err(error)) => Poll::Ready(Err(error)),
                (None, Ok(_)) => Poll::Pending,
            }
        })
        .await
    }
}

impl<R: Runtime> Drop for InFlight<'_, R> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            Arc::clone(self.pool).abandon(Abandoned { connection, body: None, idle_since: self.idle_since });
        }
    }
}

/// Watches for the first byte of an answer on a connection that had been idle. If the deadline passes first, the other
/// connections that have been idle for as long may be dead too, so they are closed ([C3](hedge_core::rules#C3)).
struct Silence<'a, R: Runtime> {
    runtime: &'a R,
    pool: &'a Pool<R>,
    state: &'a ConnState,
    since: Instant,
    /// The call's deadline. `None` if it has none, or once the result is there.
    deadline: Option<Instant>,
}

impl<R: Runtime> Drop for Silence<'_, R> {
    fn drop(&mut self) {
        // At its call's deadline, an attempt does not end by itself but is dropped. So the deadline is checked here.
        if self.deadline.is_some_and(|deadline| deadline <= self.runtime.now()) && !self.state.is_heard() {
            self.pool.close_idle_since(self.since);
        }
    }
}
