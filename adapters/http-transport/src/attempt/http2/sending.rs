//! Sends the request of one attempt over HTTP/2 ([C3](hedge_core::rules#C3), [T4](hedge_core::rules#T4)).

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{Method, Request, response};
use hedge_core::time::Instant;
use hedge_link::{Lease, Runtime};
use http_body::Body as _;

use super::connection::Http2Connection;
use super::fault::Http2Fault;
use super::head;
use super::pool::Route;
use super::stream::{Begun, Http2Body, Http2Stream, InFlight};
use super::upload;
use crate::attempt::pool::{Pool, PoolHandle as _};
use crate::attempt::sending::{Answer, Sending, Sent};
use crate::attempt::source::Source;
use crate::break_error::BreakError;
use crate::error::HttpError;

/// The maximum number of connections on which one attempt tries to send its request.
const TRIES: usize = 4;
/// A body of at most this many bytes does not count as unwritten, since a connection takes only a limited number of
/// requests at once.
const SMALL: usize = 16 * 1024;

/// The result of a request on one connection.
enum Outcome {
    Answered(Http2Stream, response::Parts),
    /// The request did not leave this client.
    Unsent(BreakError),
    /// The server did not process the request.
    NotProcessed(BreakError),
    /// The connection broke before the head of the answer came.
    Broken {
        error: BreakError,
        /// Whether another request was sent on the connection before.
        is_reused: bool,
    },
}

impl<R: Runtime> Sending<'_, R> {
    /// Sends the request over HTTP/2, unless the server has chosen HTTP/1.1.
    pub(crate) async fn send_http2(&mut self) -> Result<Sent, HttpError> {
        let pool = self.maker.pool;
        let Some(http2) = pool.http2.as_ref().filter(|http2| http2.is_wanted()) else {
            return Ok(Sent::Elsewhere(None));
        };
        // An existing connection is used in the same poll in which the attempt starts. So the start of the attempt is
        // also the time of sending, and the clock need not be read again.
        let (mut by, mut sent_at) = (self.maker.attempt.connect_deadline, self.maker.attempt.started);
        let (mut unsent, mut is_second) = (None, false);
        for _ in 0..TRIES {
            let lease = match http2.get(by).await? {
                Route::Http2(lease) => lease,
                Route::Http1(connection) => return Ok(Sent::Elsewhere(connection)),
            };
            match self.send_on(lease).await? {
                Outcome::Answered(stream, head) => {
                    let body = Http2Body::new(stream, &head, Arc::clone(pool) as _);
                    return Ok(Sent::Answer(Answer { head, source: Source::Http2(body) }));
                }
                Outcome::Unsent(error) => unsent = Some(error),
                // A server that did not process the request may be overloaded. So the request is sent only once more.
                // Further attempts are made by the call, within the limits on retries.
                Outcome::NotProcessed(error) if is_second => return Err(HttpError::Unsent(error)),
                Outcome::NotProcessed(error) => (unsent, is_second) = (Some(error), true),
                Outcome::Broken { error, is_reused } => {
                    if !is_reused || self.lost || !self.is_soon_after(sent_at) {
                        return Err(Http2Fault::Broken(error).received().into());
                    }
                    self.lost = self.may_go_twice();
                    if !self.lost {
                        return Err(HttpError::Stale(error));
                    }
                    pool.settings.counts.resend();
                }
            }
            sent_at = self.runtime.now();
            by = self.patience().map(|patience| sent_at + patience);
        }
        Err(unsent.map_or(HttpError::NoRoom, HttpError::Unsent))
    }

    /// Sends the request on a connection, and waits for the head of the answer.
    async fn send_on(&mut self, lease: Lease<Http2Connection>) -> Result<Outcome, HttpError> {
        let heard = lease.state.heard();
        let place = InFlight::new(lease);
        let begun = match poll_fn(|cx| Poll::Ready(self.begin(&place.0, cx))).await {
            Ok(begun) => begun,
            Err(BeginError::Unsent(error)) => {
                // The connection's task may notice the error only later. The connection is retired now, since the next
                // try needs another connection.
                place.0.retire();
                return Ok(Outcome::Unsent(error.into()));
            }
            Err(BeginError::Request(error)) => return Err(error),
        };
        let is_first = place.0.state.sent();
        if !is_first {
            self.maker.pool.settings.counts.reuse();
        }
        let stream = Some(Http2Stream::new(begun, place));
        let deadline = self.maker.attempt.remaining().map(|remaining| self.maker.attempt.started + remaining);
        let mut awaited = Awaited { runtime: self.runtime, pool: self.maker.pool, stream, heard, deadline };
        let head = poll_fn(|cx| awaited.poll(cx)).await;
        awaited.deadline = None;
        match head {
            Ok(head) => match awaited.stream.take() {
                Some(stream) => Ok(Outcome::Answered(stream, head)),
                None => pending().await,
            },
            Err(Http2Fault::NotProcessed(error)) if self.maker.can_be_made_again() => Ok(Outcome::NotProcessed(error)),
            Err(Http2Fault::Broken(error)) => {
                if let Some(stream) = &awaited.stream {
                    stream.lease.0.retire();
                }
                Ok(Outcome::Broken { error, is_reused: !is_first })
            }
            Err(fault) => Err(fault.received().into()),
        }
    }

    /// Sends the head, and begins to send the body.
    fn begin(&mut self, lease: &Lease<Http2Connection>, cx: &mut Context<'_>) -> Result<Begun, BeginError> {
        let mut sender = lease.sender().map_err(BeginError::Unsent)?;
        let (parts, body) = self.maker.take()?.into_parts();
        let (sent, is_head) = (body.sent(), parts.method == Method::HEAD);
        let head = head::http2(Request::from_parts(parts, ()), &self.maker.pool.place).map_err(HttpError::from);
        let large = body.in_memory().filter(|bytes| *bytes > SMALL);
        let unwritten = large.map(|bytes| lease.state.unwritten.add(bytes)).transpose().map_err(HttpError::Overcrowded);
        let (head, unwritten) = match head.and_then(|head| Ok((head, unwritten?))) {
            Ok(ready) => ready,
            Err(error) => {
                self.maker.put_back(body);
                return Err(error.into());
            }
        };
        let is_empty = body.is_end_stream();
        match sender.send_request(head, is_empty) {
            Ok((answer, stream)) => {
                let upload = if is_empty { None } else { upload::start(self.runtime, body, stream, unwritten, cx) };
                Ok(Begun { answer, upload, sent, is_head })
            }
            Err(error) => {
                self.maker.put_back(body);
                Err(BeginError::Unsent(error))
            }
        }
    }
}

/// The reason why a request was not sent on a connection.
enum BeginError {
    /// The connection takes no more requests.
    Unsent(h2::Error),
    Request(HttpError),
}

impl From<HttpError> for BeginError {
    fn from(error: HttpError) -> Self {
        Self::Request(error)
    }
}

/// A request that waits for its answer. If this value is dropped before the answer has come, the attempt is abandoned
/// ([C2](hedge_core::rules#C2)). If the deadline has passed at that time, and the connection has received no byte since
/// the request was sent, the connection may be dead. So it is pinged ([C3](hedge_core::rules#C3)).
struct Awaited<'a, R: Runtime> {
    runtime: &'a R,
    pool: &'a Arc<Pool<R>>,
    /// The stream of the request. `None` after the answer has come.
    stream: Option<Http2Stream>,
    /// The value of `State::heard` when the request was sent.
    heard: u64,
    /// The call's deadline. `None` if the call has no deadline, or after there is a result.
    deadline: Option<Instant>,
}

impl<R: Runtime> Awaited<'_, R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<response::Parts, Http2Fault>> {
        self.stream.as_mut().map_or(Poll::Pending, |stream| stream.poll_head(cx))
    }
}

impl<R: Runtime> Drop for Awaited<'_, R> {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        // At the deadline of its call, an attempt is dropped. So the deadline is checked here.
        let is_late = self.deadline.is_some_and(|deadline| deadline <= self.runtime.now());
        if is_late {
            stream.suspect_if_silent(self.heard);
        }
        if !stream.is_over() {
            Arc::clone(self.pool).reset(stream);
        }
    }
}
