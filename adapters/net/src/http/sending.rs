//! Sends the request of one attempt, over an idle connection if there is one, else over a new one
//! ([C3](hedge_core::rules#C3), [T4](hedge_core::rules#T4)).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use ::http::{Request, Response, StatusCode};
use hedge_core::drive::AttemptInfo;
use hedge_core::time::{Duration, Instant};
use hedge_fleet::Address;
use hedge_link::Runtime;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::conn_state::ConnState;
use super::connection::{Busy, Connection, Reply, SentRequest};
use super::error::HttpError;
use super::outgoing::{BodyProgress, SendBody};
use super::pool::{IdleConnection, Pool, PoolHandle as _, PoolSettings};
use super::request::{self, RequestBody};

/// A reply, and the connection that it comes on.
pub(super) type Answer = (Busy, Response<Incoming>);

/// The request of one attempt.
pub(super) struct Sending<'a, R> {
    runtime: &'a R,
    maker: RequestMaker<'a, R>,
    /// The request may have left on a connection that had been idle, and that connection broke or answered 408, which
    /// says nothing about the server. It is then sent once more, on a new connection.
    lost: bool,
}

impl<'a, R: Runtime> Sending<'a, R> {
    /// Prepares a request. Nothing is sent yet.
    ///
    /// # Errors
    /// The request cannot be sent to any server.
    pub(super) fn new(
        runtime: &'a R,
        request: &'a Request<RequestBody>,
        attempt: &'a AttemptInfo<Address>,
        pool: &'a Arc<Pool<R>>,
    ) -> Result<Self, HttpError> {
        let mut maker = RequestMaker { request, attempt, pool, head: None, unsent: None };
        maker.head = Some(maker.make_head()?);
        Ok(Self { runtime, maker, lost: false })
    }

    /// Sends the request.
    pub(super) async fn send(&mut self) -> Result<Answer, HttpError> {
        while !self.lost
            && let Some(kept) = self.maker.pool.take(self.maker.attempt.started)
        {
            if let Some(answer) = self.reuse(kept).await? {
                return Ok(answer);
            }
        }
        let mut connect_deadline = self.maker.attempt.connect_deadline;
        if self.lost {
            self.maker.pool.settings.counts.resend();
            connect_deadline = self.patience().map(|patience| self.runtime.now() + patience);
        }
        let PoolSettings { head, counts, .. } = &self.maker.pool.settings;
        let address = &self.maker.attempt.address;
        let connection = Connection::open(self.runtime, address, connect_deadline, head, Some(counts)).await?;
        let state = Arc::clone(&connection.state);
        let (sent, asked, reply) = self.hand_over(connection)?;
        match asked.replied(pin!(reply)).await {
            Ok((connection, response)) => Ok((Busy { connection, sent }, response)),
            Err(error) => Err(match self.unsent(error, sent.as_ref()) {
                Ok(error) => HttpError::Unsent(error),
                Err(error) => match broken(error)? {
                    error if state.has_left() || !self.maker.can_be_made_again() => HttpError::sent(error, None),
                    error => HttpError::Unsent(error),
                },
            }),
        }
    }

    /// Sends the request on a connection that had been idle. `None` if it did not leave, or is lost.
    async fn reuse(
        &mut self,
        IdleConnection { connection, since }: IdleConnection,
    ) -> Result<Option<Answer>, HttpError> {
        if !connection.takes_chunks() && self.maker.goes_in_chunks()? {
            return Ok(None);
        }
        let state = Arc::clone(&connection.state);
        let (sent, asked, reply) = self.hand_over(connection)?;
        self.maker.pool.settings.counts.reuse();
        let sent_at = self.runtime.now();
        let deadline = self.maker.attempt.remaining().map(|remaining| self.maker.attempt.started + remaining);
        let mut silence =
            Silence { runtime: self.runtime, pool: self.maker.pool, state: &state, since: sent_at, deadline };
        let result = asked.replied(pin!(reply)).await;
        silence.deadline = None;
        let error = match result {
            Ok((connection, response)) => {
                // If the answer is stale, dropping it here closes its connection.
                self.lost = self.is_stale_answer(&response, sent_at);
                if !self.lost {
                    return Ok(Some((Busy { connection, sent }, response)));
                }
                self.maker.pool.close_idle_since(since);
                return Ok(None);
            }
            Err(error) => match self.unsent(error, sent.as_ref()) {
                Ok(_) => return Ok(None),
                Err(error) => error,
            },
        };
        let error = broken(error)?;
        if state.is_heard() {
            return Err(HttpError::sent(error, None));
        }
        self.maker.pool.close_idle_since(since);
        if !state.has_left() && self.maker.can_be_made_again() {
            return Ok(None);
        }
        if !self.is_soon_after(sent_at) {
            return Err(HttpError::sent(error, None));
        }
        self.lost = self.may_go_twice();
        if self.lost { Ok(None) } else { Err(HttpError::Stale(error)) }
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
    fn is_soon_after(&self, sent_at: Instant) -> bool {
        let took = self.runtime.now().since(sent_at);
        self.patience().is_none_or(|patience| took <= patience)
    }

    fn may_go_twice(&self) -> bool {
        self.maker.attempt.idempotent && self.maker.can_be_made_again()
    }

    /// The connect timeout; `None` if there is none.
    fn patience(&self) -> Option<Duration> {
        self.maker.attempt.connect_deadline.map(|until| until.since(self.maker.attempt.started))
    }

    /// Hands the request to a connection. The body is made only now, when there is a connection, because the program's
    /// code may take any time to make it. Returns the progress of the body, and the future of the reply.
    fn hand_over(
        &mut self,
        connection: Connection,
    ) -> Result<(Option<BodyProgress>, SentRequest, impl Future<Output = Reply> + use<R>), HttpError> {
        match self.maker.take() {
            Ok(message) => {
                let sent = message.body().sent();
                let (asked, reply) = connection.send(message);
                Ok((sent, asked, reply))
            }
            Err(error) => {
                Arc::clone(self.maker.pool).give_back(connection);
                Err(error)
            }
        }
    }

    /// Keeps a request that has come back unsent. An error means that the request has left, or may have left.
    fn unsent(
        &mut self,
        mut error: TrySendError<Request<SendBody>>,
        body: Option<&BodyProgress>,
    ) -> Result<hyper::Error, HttpError> {
        match error.take_message() {
            Some(message) => {
                self.maker.unsent = Some(Box::new(message));
                Ok(error.into_error())
            }
            None => Err(HttpError::sent(error.into_error(), body)),
        }
    }
}

/// The error of a broken connection. Errors that hyper blames on its user do not count as a break and are returned as
/// they are.
fn broken(error: HttpError) -> Result<hyper::Error, HttpError> {
    match error {
        HttpError::Broken(error) | HttpError::Reset(error) if !error.is_user() => Ok(error),
        error => Err(error),
    }
}

/// The request as it is made for one connection, and again for the next one if it has not left. A body that never left
/// goes back to the caller's request, where the next attempt finds it ([R5](hedge_core::rules#R5)).
struct RequestMaker<'a, R> {
    request: &'a Request<RequestBody>,
    attempt: &'a AttemptInfo<Address>,
    pool: &'a Arc<Pool<R>>,
    /// The head, which was made and checked before any connection is used.
    head: Option<Request<()>>,
    /// A request that came back unsent. This is rare, so it is boxed and takes no room in the attempt.
    unsent: Option<Box<Request<SendBody>>>,
}

impl<R> RequestMaker<'_, R> {
    /// The caller's head, and what the program adds to it for this attempt.
    fn make_head(&self) -> Result<Request<()>, HttpError> {
        let head = request::head(self.request, &self.pool.host)?;
        match &self.pool.settings.on_attempt {
            Some(on_attempt) => Ok(on_attempt.applied(head, self.attempt)?),
            None => Ok(head),
        }
    }

    fn take(&mut self) -> Result<Request<SendBody>, HttpError> {
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

    fn can_be_made_again(&self) -> bool {
        !matches!(self.request.body(), RequestBody::Once(_))
    }
}

impl<R> Drop for RequestMaker<'_, R> {
    fn drop(&mut self) {
        if let Some(message) = self.unsent.take() {
            self.request.body().put_back(message.into_body());
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
