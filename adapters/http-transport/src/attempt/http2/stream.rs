//! One request and its answer on an HTTP/2 connection: [`Http2Stream`], and the body of the answer, [`Http2Body`].

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::header::CONTENT_LENGTH;
use ::http::{HeaderMap, response};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use hedge_link::{ConnectionInfo, Lease};
use http_body::{Frame, SizeHint};

use super::connection::Http2Connection;
use super::fault::Http2Fault;
use super::upload::Upload;
use crate::attempt::pool::PoolHandle;
use crate::error::{ProtocolError, Received};
use crate::outgoing::BodyProgress;

/// A request and its answer. Until this value is dropped, the request counts against the limit of the connection.
///
/// If this value is dropped before the answer has ended, h2 resets the stream with CANCEL.
pub(crate) struct Http2Stream {
    answer: Answer,
    /// The task that sends the request's body.
    upload: Option<Upload>,
    /// The progress of the request's body. `None` if the body is sent together with the head.
    sent: Option<BodyProgress>,
    is_head: bool,
    pub(super) lease: InFlight,
}

/// A request whose head was sent.
pub(super) struct Begun {
    pub(super) answer: ResponseFuture,
    /// The task that sends the request's body, if there is one.
    pub(super) upload: Option<Upload>,
    /// The progress of the request's body. `None` if the body is sent together with the head.
    pub(super) sent: Option<BodyProgress>,
    /// Whether the method of the request is HEAD, so that its answer has no body.
    pub(super) is_head: bool,
}

/// The part of the answer that comes next.
enum Answer {
    Head(ResponseFuture),
    Data(RecvStream),
    Trailers(RecvStream),
    Ended,
}

/// Counts a request as in flight on its connection, until this value is dropped.
pub(super) struct InFlight(pub(super) Lease<Http2Connection>);

impl InFlight {
    /// Counts a request as in flight. Call this before the request is sent. Sending it wakes the connection's task, which
    /// begins an interval of pings only if a request is in flight.
    pub(super) fn new(lease: Lease<Http2Connection>) -> Self {
        lease.state.begin();
        Self(lease)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.state.end();
    }
}

impl Http2Stream {
    pub(super) fn new(begun: Begun, lease: InFlight) -> Self {
        let Begun { answer, upload, sent, is_head } = begun;
        Self { answer: Answer::Head(answer), upload, sent, is_head, lease }
    }

    /// Causes a ping if the connection has received no byte since `State::heard` returned `heard`.
    pub(super) fn suspect_if_silent(&self, heard: u64) {
        let state = &self.lease.0.state;
        if state.heard() == heard {
            state.suspect();
        }
    }

    /// Waits for the head of the answer, and returns it. After it was ready, this must not be polled again.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<response::Parts, Http2Fault>> {
        let Answer::Head(head) = &mut self.answer else { return Poll::Pending };
        let answered = ready!(Pin::new(head).poll(cx));
        Poll::Ready(match answered {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                self.answer = Answer::Data(body);
                self.checked(&parts.headers).map(|()| parts)
            }
            Err(error) => {
                self.answer = Answer::Ended;
                Err(Http2Fault::of(error, self.sent.as_ref()))
            }
        })
    }

    /// Returns an error if an answer may not have as many header fields.
    fn checked(&self, headers: &HeaderMap) -> Result<(), Http2Fault> {
        let limit = self.lease.0.max_headers;
        let is_over = headers.len() > limit;
        if is_over { Err(Received::Protocol(ProtocolError::TooManyHeaders { limit }).into()) } else { Ok(()) }
    }

    /// Waits for the next frame of the answer's body, and returns it. Returns `None` after the end of the answer.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Http2Fault>>> {
        if let Answer::Data(body) = &mut self.answer {
            match ready!(body.poll_data(cx)) {
                Some(Ok(data)) => {
                    // An error means that the stream has ended. The next poll shows this.
                    let _released = body.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.failed(error)))),
                None => {
                    if let Answer::Data(body) = std::mem::replace(&mut self.answer, Answer::Ended) {
                        self.answer = Answer::Trailers(body);
                    }
                }
            }
        }
        let Answer::Trailers(body) = &mut self.answer else { return Poll::Ready(None) };
        let trailers = match ready!(body.poll_trailers(cx)) {
            Ok(trailers) => trailers,
            Err(error) => return Poll::Ready(Some(Err(self.failed(error)))),
        };
        self.answer = Answer::Ended;
        let checked = trailers.map(|trailers| self.checked(&trailers).map(|()| Frame::trailers(trailers)));
        Poll::Ready(checked)
    }

    fn failed(&mut self, error: h2::Error) -> Http2Fault {
        self.answer = Answer::Ended;
        Http2Fault::of(error, self.sent.as_ref())
    }

    /// Returns whether the answer has ended, and the request's body is no longer being sent.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.answer, Answer::Ended) && self.upload.as_ref().is_none_or(Upload::is_over)
    }

    /// Reads the answer and throws it away. Becomes ready when [`is_over`](Self::is_over) returns true.
    pub(super) fn poll_thrown_away(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.answer, Answer::Head(_)) {
            // An error ends the answer.
            let _head = ready!(self.poll_head(cx));
        }
        if !matches!(self.answer, Answer::Ended) {
            let _frame = ready!(self.poll_frame(cx));
            // Each poll reads only one frame, so that other tasks on the thread can run.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.upload.as_mut().map_or(Poll::Ready(()), |upload| upload.poll_over(cx))
    }
}

/// The body of an answer over HTTP/2. If this value is dropped before the end of the body, its stream is reset
/// ([C2](hedge_core::rules#C2)).
pub(crate) struct Http2Body {
    /// The stream of the answer. `None` after the answer has ended.
    stream: Option<Http2Stream>,
    pool_handle: Arc<dyn PoolHandle>,
    info: Arc<ConnectionInfo>,
    /// How many bytes of the body are still to come. `None` if the server has not said how long the body is.
    left: Option<u64>,
}

impl Http2Body {
    /// Makes the body of an answer with this head.
    pub(super) fn new(stream: Http2Stream, head: &response::Parts, pool_handle: Arc<dyn PoolHandle>) -> Self {
        let is_empty = stream.is_head || matches!(&stream.answer, Answer::Data(body) if body.is_end_stream());
        let length = || head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let left = if is_empty { Some(0) } else { length() };
        let info = Arc::clone(&stream.lease.0.info);
        Self { stream: Some(stream), pool_handle, info, left }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Received>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let frame = ready!(stream.poll_frame(cx));
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
            *left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        if matches!(stream.answer, Answer::Ended) {
            self.close();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Http2Fault::received)))
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.stream.is_none()
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| match &stream.answer {
            Answer::Data(body) | Answer::Trailers(body) => body.is_end_stream(),
            Answer::Head(_) => false,
            Answer::Ended => true,
        })
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// Stops reading the answer. If the stream has not ended, it is reset.
    pub(crate) fn close(&mut self) {
        if let Some(stream) = self.stream.take()
            && !stream.is_over()
        {
            Arc::clone(&self.pool_handle).reset(stream);
        }
    }

    pub(crate) const fn info(&self) -> &Arc<ConnectionInfo> {
        &self.info
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        self.close();
    }
}
