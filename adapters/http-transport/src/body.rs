//! The body of a reply: [`Body`].

use std::error::Error;
use std::fmt;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
#[cfg(feature = "_coding")]
use std::task::ready;
use std::task::{Context, Poll};

use ::http::HeaderMap;
use bytes::Bytes;
use hedge_link::ConnectionInfo;
use http_body::{Body as _, Frame, SizeHint};

use super::attempt::source::Source;
use super::break_error::BreakError;
#[cfg(feature = "_coding")]
use super::coding::{Coding, CodingError, Decoder};
use super::collected::{Collected, TooLarge};
use super::error::{HttpError, ProtocolError, Received};
use super::handover::{BodyHandover, Deadline};
use super::outgoing::RequestBodyError;
use super::poll_budget::PollBudget;
use hedge_fleet::AnyLease;

/// The body of a reply. It is whole in memory, or, in a streaming call, it is still being received.
///
/// Dropping a streaming body before its end closes its connection at once. Over HTTP/2 it resets its stream.
pub struct Body {
    inner: Inner,
    /// The addresses of the connection that it came on. `None` if an interceptor answered.
    connection: Option<Arc<ConnectionInfo>>,
}

enum Inner {
    Whole { bytes: Option<Bytes>, trailers: Option<Box<HeaderMap>> },
    Stream(Box<Stream>),
}

/// A reply's body while it is received.
pub(super) struct Stream {
    source: Source,
    /// How long the body may be, as it is sent.
    limit: usize,
    #[cfg(feature = "_coding")]
    decoding: Option<Decoding>,
    /// The lock lets threads share a reply, or an error that holds one. The deadline is only used through `&mut`, so no
    /// thread ever waits for the lock.
    deadline: Option<Mutex<Box<dyn Deadline>>>,
    lease: Option<AnyLease>,
}

impl Stream {
    /// The body that comes from `source`, of at most `limit` bytes in memory.
    pub(super) const fn new(source: Source, limit: usize) -> Self {
        Self {
            source,
            limit,
            #[cfg(feature = "_coding")]
            decoding: None,
            deadline: None,
            lease: None,
        }
    }

    /// The same, of which the body is decoded. `limit` is how long it may be then.
    #[cfg(feature = "_coding")]
    pub(super) fn decoded(mut self, coding: Coding, limit: usize) -> Self {
        self.decoding = Some(Decoding { decoder: Decoder::new(coding), encoded: Bytes::new(), received: 0, limit });
        self
    }

    /// How long the body may be, as its reader gets it.
    fn reader_limit(&self) -> usize {
        #[cfg(feature = "_coding")]
        if let Some(decoding) = &self.decoding {
            return decoding.limit;
        }
        self.limit
    }

    /// The length of the body, as its reader gets it.
    fn reader_size_hint(&self) -> SizeHint {
        #[cfg(feature = "_coding")]
        if self.decoding.is_some() {
            return SizeHint::default();
        }
        self.source.size_hint()
    }

    /// The next frame for the reader. The end comes only when the connection is back in its pool.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Received>>> {
        #[cfg(feature = "_coding")]
        if self.decoding.is_some() {
            return self.poll_decoded(cx);
        }
        self.poll_received(cx)
    }

    /// The next frame, decoded.
    #[cfg(feature = "_coding")]
    fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Received>>> {
        loop {
            let Some(decoding) = &mut self.decoding else { return Poll::Ready(None) };
            match decoding.decode() {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(self.fail(error)))),
            }
            let frame = match ready!(self.poll_received(cx)) {
                Some(Ok(frame)) => frame,
                // The end of the data was checked before its trailers or the end of the body.
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(self.end_of_data().map(Err)),
            };
            match (frame.into_data(), &mut self.decoding) {
                (Ok(data), Some(decoding)) => {
                    decoding.received = decoding.received.saturating_add(data.len());
                    if decoding.received > self.limit {
                        let limit = self.limit;
                        self.close();
                        return Poll::Ready(Some(Err(Received::TooLarge { limit })));
                    }
                    decoding.encoded = data;
                }
                (Ok(data), None) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                (Err(trailers), _) => return Poll::Ready(Some(self.end_of_data().map_or(Ok(trailers), Err))),
            }
        }
    }

    /// Why the data cannot end here.
    #[cfg(feature = "_coding")]
    fn end_of_data(&mut self) -> Option<Received> {
        let error = self.decoding.as_mut()?.decoder.end().err()?;
        Some(self.fail(error))
    }

    /// The error of a body that cannot be decoded. Its connection is closed.
    #[cfg(feature = "_coding")]
    fn fail(&mut self, error: CodingError) -> Received {
        self.close();
        self.decoding = None;
        Received::Protocol(ProtocolError::Coding(error))
    }

    /// The next frame, as it was sent.
    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Received>>> {
        let frame = self.source.poll_frame(cx);
        if self.source.has_ended() {
            self.lease = None;
        }
        frame
    }

    fn close(&mut self) {
        self.source.close();
        self.lease = None;
    }
}

/// A body that is being decoded.
#[cfg(feature = "_coding")]
struct Decoding {
    decoder: Decoder,
    /// What has come and is not decoded yet.
    encoded: Bytes,
    /// How much has come, in bytes.
    received: usize,
    /// How long the decoded body may be in memory.
    limit: usize,
}

#[cfg(feature = "_coding")]
impl Decoding {
    fn decode(&mut self) -> Result<Option<Bytes>, CodingError> {
        self.decoder.decode(&mut self.encoded)
    }
}

/// A reply that is read into memory. If this is dropped while it holds the reply, the attempt is abandoned
/// ([C2](hedge_core::rules#C2)).
pub(super) struct Reading(Option<Stream>);

impl Reading {
    pub(super) const fn of(stream: Stream) -> Self {
        Self(Some(stream))
    }

    /// Reads everything, up to the limit. Call it once. It borrows `self`, so that the stream is not moved.
    pub(super) async fn read(&mut self) -> Result<Body, HttpError> {
        let Some(stream) = &self.0 else { return pending().await };
        let limit = stream.limit;
        // A body whose announced length is too long is not read at all.
        if stream.source.size_hint().lower() > limit as u64 {
            self.0 = None;
            return Err(HttpError::TooLarge { limit });
        }
        let limit = stream.reader_limit();
        let mut read = Collected::new(limit, stream.reader_size_hint().exact());
        let mut budget = PollBudget::default();
        let connection = Some(Arc::clone(stream.source.info()));
        let error = loop {
            match poll_fn(|cx| budget.poll(cx, |cx| self.poll_frame(cx))).await {
                Some(Ok(frame)) => {
                    if read.add(frame).is_err() {
                        break Some(HttpError::TooLarge { limit });
                    }
                }
                Some(Err(error)) => break Some(error.into()),
                None => break None,
            }
        };
        // Nothing is abandoned from here on: the connection has gone back, or is closed.
        self.0 = None;
        if let Some(error) = error {
            return Err(error);
        }
        let (bytes, trailers) = read.into_parts();
        Ok(Body { inner: Inner::Whole { bytes: Some(bytes), trailers }, connection })
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Received>>> {
        self.0.as_mut().map_or(Poll::Ready(None), |stream| stream.poll_frame(cx))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(stream) = self.0.take() {
            stream.source.abandon();
        }
    }
}

impl Body {
    /// A body in memory, for the answer of an [`Interceptor`](hedge_fleet::Interceptor).
    ///
    /// ```
    /// let answer = http::Response::new(hedge_http_transport::Body::new("from the cache"));
    /// assert_eq!(answer.body().bytes().unwrap(), "from the cache");
    /// ```
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { inner: Inner::Whole { bytes: Some(bytes.into()), trailers: None }, connection: None }
    }

    pub(super) fn stream(stream: Stream) -> Self {
        Self { connection: Some(Arc::clone(stream.source.info())), inner: Inner::Stream(Box::new(stream)) }
    }

    /// Hands over the lease and the deadline of a streaming reply. A body in memory needs neither.
    pub fn attach(&mut self, handover: BodyHandover) {
        if let Inner::Stream(stream) = &mut self.inner {
            (stream.lease, stream.deadline) = (handover.lease, handover.deadline.map(Mutex::new));
        }
    }

    /// The addresses of the connection that the reply came on, and what its TLS handshake agreed on
    /// ([W2](hedge_core::rules#W2)).
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        self.connection.as_deref()
    }

    /// The whole body. `None` if it streams or has been read.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.inner {
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
        let limit = match &mut self.inner {
            Inner::Whole { bytes, .. } => return Ok(bytes.take().unwrap_or_default()),
            Inner::Stream(stream) => stream.reader_limit(),
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
        let stream = match &mut self.inner {
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
            let ended = stream.source.has_ended();
            stream.close();
            return Poll::Ready((!ended).then_some(Err(BodyError::Deadline)));
        }
        frame.map_err(|error| match error {
            Received::RequestBody(error) => BodyError::RequestBody(error),
            Received::Protocol(error) => BodyError::Protocol(error),
            Received::Reset(error) | Received::Broken(error) => BodyError::Broken(error),
            #[cfg(feature = "_coding")]
            Received::TooLarge { limit } => BodyError::TooLarge { limit },
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Whole { bytes, trailers } => bytes.as_ref().is_none_or(Bytes::is_empty) && trailers.is_none(),
            // This is true only when the connection is back in its pool. A reader that stopped earlier would close the
            // connection.
            Inner::Stream(stream) => stream.source.is_settled(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Whole { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inner::Stream(stream) => stream.reader_size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Body").field(&self.inner).finish()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { bytes, .. } => write!(f, "{} bytes", bytes.as_ref().map_or(0, Bytes::len)),
            Self::Stream(stream) => {
                write!(f, "streaming, {}", if stream.source.has_ended() { "ended" } else { "open" })
            }
        }
    }
}

/// Why a streaming body stopped before its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection broke.
    Broken(BreakError),
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
