//! The body of a reply: [`Body`].

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use ::http::HeaderMap;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::collected::{Collected, TooLarge};
use super::connection::{Busy, Connection};
use super::error::{HttpError, ProtocolError, Received};
use super::outgoing::{BodyProgress, RequestBodyError};
use super::pool::PoolHandle;
use crate::stream::{BodyHandover, Deadline, Lease};

/// The body of a reply. It is whole in memory, or, in a streaming call, it is still being received.
///
/// Dropping a streaming body before its end closes its connection at once.
#[derive(Debug)]
pub struct Body(Inner);

enum Inner {
    Whole { bytes: Option<Bytes>, trailers: Option<Box<HeaderMap>> },
    Stream(Box<Stream>),
}

/// The source of a reply's body: the connection that it comes on.
pub(super) struct Stream {
    incoming: Incoming,
    /// The connection and its pool, until the connection has gone back or is closed.
    connection: Option<(Connection, Arc<dyn PoolHandle>)>,
    /// The progress of the request's body, if that may be sent later than its head.
    sent: Option<BodyProgress>,
    limit: usize,
    /// The body has ended. The connection may still have to go back.
    ended: bool,
    /// The lock lets threads share a reply, or an error that holds one. The deadline is only used through `&mut`, so no
    /// thread ever waits for the lock.
    deadline: Option<Mutex<Box<dyn Deadline>>>,
    lease: Option<Lease>,
}

impl Stream {
    /// The reply on a connection. At the end of the body, the connection goes back to `pool_handle`.
    pub(super) fn new(incoming: Incoming, on: Busy, pool_handle: Arc<dyn PoolHandle>, limit: usize) -> Self {
        let Busy { connection, sent } = on;
        let connection = connection.map(|connection| (connection, pool_handle));
        Self { incoming, connection, sent, limit, ended: false, deadline: None, lease: None }
    }

    /// Reads everything, up to the limit.
    pub(super) async fn read(mut self) -> Result<Body, HttpError> {
        let limit = self.limit;
        // A body whose announced length is too long is not read at all.
        if self.incoming.size_hint().lower() > limit as u64 {
            return Err(HttpError::TooLarge { limit });
        }
        let mut read = Collected::new(limit, self.incoming.size_hint().exact());
        let mut budget = PollBudget::default();
        while let Some(frame) = poll_fn(|cx| budget.poll(cx, |cx| self.poll_frame(cx))).await {
            match frame {
                Ok(frame) => read.add(frame).map_err(|TooLarge| HttpError::TooLarge { limit })?,
                Err(error) => return Err(HttpError::sent(error, self.sent.as_ref())),
            }
        }
        let (bytes, trailers) = read.into_parts();
        Ok(Body(Inner::Whole { bytes: Some(bytes), trailers }))
    }

    /// The next frame. The end comes only when the connection is back in its pool.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if !self.ended {
            match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => {
                    self.close();
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    self.lease = None;
                    // The server answered before it had the whole request, so it may never read the rest (T5): the
                    // connection is closed.
                    self.connection.take_if(|(connection, _)| !connection.is_free());
                }
            }
        }
        // The connection's task has read the end of the reply. It becomes ready for the next request or closes, so this
        // does not wait for the network.
        if let Some((connection, _)) = &mut self.connection {
            let ready = ready!(connection.poll_ready(cx));
            if let (Ok(()), Some((connection, pool_handle))) = (ready, self.connection.take()) {
                pool_handle.give_back(connection);
            }
        }
        Poll::Ready(None)
    }

    fn close(&mut self) {
        self.ended = true;
        self.connection = None;
        self.lease = None;
    }
}

impl Body {
    pub(super) fn stream(stream: Stream) -> Self {
        Self(Inner::Stream(Box::new(stream)))
    }

    /// Hands over the lease and the deadline of a streaming reply.
    pub(super) fn attach(&mut self, handover: BodyHandover) {
        if let Inner::Stream(stream) = &mut self.0 {
            (stream.lease, stream.deadline) = (handover.lease, handover.deadline.map(Mutex::new));
        }
    }

    /// The whole body. `None` if it streams or has been read.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::Whole { bytes, .. } => bytes.as_ref(),
            Inner::Stream(_) => None,
        }
    }

    /// Reads the rest of the body. If it is in memory, this does not wait. If it streams, at most `max_body` bytes are
    /// read.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn collect(mut self) -> Result<Bytes, BodyError> {
        let limit = match &mut self.0 {
            Inner::Whole { bytes, .. } => return Ok(bytes.take().unwrap_or_default()),
            Inner::Stream(stream) => stream.limit,
        };
        let mut read = Collected::new(limit, http_body::Body::size_hint(&self).exact());
        let mut budget = PollBudget::default();
        while let Some(frame) = poll_fn(|cx| budget.poll(cx, |cx| Pin::new(&mut self).poll_frame(cx))).await {
            read.add(frame?).map_err(|TooLarge| BodyError::TooLarge { limit })?;
        }
        Ok(read.into_parts().0)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let stream = match &mut self.0 {
            Inner::Whole { bytes, trailers } => {
                let data = bytes.take().filter(|bytes| !bytes.is_empty()).map(Frame::data);
                let frame = data.or_else(|| trailers.take().map(|trailers| Frame::trailers(*trailers)));
                return Poll::Ready(frame.map(Ok));
            }
            Inner::Stream(stream) => stream,
        };
        // If the body has ended, that counts even if the deadline has passed. Data does not count then: otherwise an
        // endless body would never meet its deadline.
        let frame = stream.poll_frame(cx);
        let deadline = stream.deadline.as_mut();
        let deadline = deadline.map(|deadline| deadline.get_mut().unwrap_or_else(PoisonError::into_inner));
        let late = match (&frame, deadline) {
            (Poll::Ready(Some(Ok(_))), Some(deadline)) => deadline.has_passed(),
            (Poll::Pending, Some(deadline)) => deadline.poll_passed(cx).is_ready(),
            _ => false,
        };
        if late {
            // If the body has ended, it is whole. Only its connection is not back in the pool in time, so it is closed.
            let ended = stream.ended;
            stream.close();
            return Poll::Ready((!ended).then_some(Err(BodyError::Deadline)));
        }
        let sent = stream.sent.as_ref();
        frame.map_err(|error| match Received::of(error, sent) {
            Received::RequestBody(error) => BodyError::RequestBody(error),
            Received::Protocol(error) => BodyError::Protocol(error),
            Received::Reset(error) | Received::Broken(error) => BodyError::Broken(error),
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole { bytes, trailers } => bytes.as_ref().is_none_or(Bytes::is_empty) && trailers.is_none(),
            // This is true only when the connection is back in its pool. A reader that stopped earlier would close the
            // connection.
            Inner::Stream(stream) => stream.ended && stream.connection.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inner::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { bytes, .. } => write!(f, "{} bytes", bytes.as_ref().map_or(0, Bytes::len)),
            Self::Stream(stream) => write!(f, "streaming, {}", if stream.ended { "ended" } else { "open" }),
        }
    }
}

/// Limits how many pieces a reader takes in one poll, so that other tasks on its thread can run.
#[derive(Default)]
struct PollBudget(usize);

/// How many pieces a reader takes in one poll.
const PIECES_A_POLL: usize = 32;

impl PollBudget {
    fn poll<T>(&mut self, cx: &mut Context<'_>, mut next: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        if self.0 == PIECES_A_POLL {
            self.0 = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = next(cx);
        self.0 = if polled.is_ready() { self.0.saturating_add(1) } else { 0 };
        polled
    }
}

/// Why a streaming body stopped before its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection broke.
    Broken(hyper::Error),
    /// The answer contradicts HTTP/1.1, or itself.
    Protocol(ProtocolError),
    /// The request's own body failed while the reply was read.
    RequestBody(RequestBodyError),
    /// The call's deadline passed.
    Deadline,
    /// [`Body::collect`] met a body that is longer than `max_body`.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => write!(f, "body broken: {error}"),
            Self::Protocol(error) => write!(f, "body broken by a protocol error: {error}"),
            Self::RequestBody(error) => write!(f, "request body {error}"),
            Self::Deadline => f.write_str("deadline passed while the body was read"),
            Self::TooLarge { limit } => write!(f, "body over the limit of {limit} bytes"),
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Broken(error) => error.source(),
            Self::Protocol(error) => error.source(),
            Self::RequestBody(error) => error.source(),
            Self::Deadline | Self::TooLarge { .. } => None,
        }
    }
}
