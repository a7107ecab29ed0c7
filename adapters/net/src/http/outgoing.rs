//! The body of one attempt on its way out, [`SendBody`], and what becomes of it, [`Sent`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::{error, fmt};

use ::http::header::{HeaderMap, HeaderName, TRAILER};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::request::{BoxBody, BoxError};

/// How many empty pieces of a body are passed over in one poll.
const FRAMES_A_POLL: usize = 32;

/// Why a request's own body could not be sent whole. No server has a part in it.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestBodyError {
    /// The body answered an error.
    Failed(BoxError),
    /// It ended before the length that it, or a `content-length` header, had announced.
    Short {
        /// The length that was announced, in bytes.
        announced: u64,
        /// How much there was, in bytes.
        sent: u64,
    },
    /// It went on beyond the length that it, or a `content-length` header, had announced.
    Long {
        /// The length that was announced, in bytes.
        announced: u64,
    },
    /// It has trailers that cannot be sent: its length is known, so that it goes without chunks, or no `trailer` header
    /// names them.
    Trailers,
    /// It, or its factory, panicked.
    Panicked,
}

impl fmt::Display for RequestBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Short { announced, sent } => write!(f, "ended after {sent} of {announced} bytes"),
            Self::Long { announced } => write!(f, "goes on beyond the announced {announced} bytes"),
            Self::Trailers => f.write_str("has trailers that no `trailer` header names, or a known length beside them"),
            Self::Panicked => f.write_str("panicked"),
        }
    }
}

impl error::Error for RequestBodyError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            _ => None,
        }
    }
}

/// What has become of a body: taken to its end, or failed.
#[derive(Clone, Default)]
pub(super) struct Sent(Arc<(AtomicBool, Mutex<Option<RequestBodyError>>)>);

impl Sent {
    pub(super) fn is_whole(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// Why it failed, if it did; told once.
    pub(super) fn take_failure(&self) -> Option<RequestBodyError> {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set_whole(&self) {
        self.0.0.store(true, Ordering::Release);
    }

    fn fail(&self, error: RequestBodyError) {
        *self.0.1.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// The body of one attempt, on its way out.
pub(super) enum SendBody {
    Bytes(Option<Bytes>),
    Boxed(Box<Outgoing>),
}

/// A caller's body, held to its word.
pub(super) struct Outgoing {
    body: BoxBody,
    /// The length that was announced.
    announced: Option<u64>,
    passed: u64,
    /// The data that makes it whole, until it is certain that nothing follows.
    last: Option<Bytes>,
    /// What a `trailer` header names.
    trailers: Vec<HeaderName>,
    sent: Sent,
}

impl SendBody {
    /// A body that is made by `make`.
    pub(super) fn made(make: impl FnOnce() -> BoxBody) -> Result<Self, RequestBodyError> {
        guarded(|| {
            let body = make();
            let (announced, ended) = (body.size_hint().exact(), body.is_end_stream());
            (body, announced, ended)
        })
        .map(|(body, announced, ended)| {
            let sent = Sent::default();
            // A body that has ended before a length that it announces is short, which is told when it is sent.
            if ended && announced.is_none_or(|length| length == 0) {
                sent.set_whole();
            }
            Self::Boxed(Box::new(Outgoing { body, announced, passed: 0, last: None, trailers: Vec::new(), sent }))
        })
    }

    /// How long it is; `None` if it does not say. Without a body it is 0. One that announces 0 bytes and has not ended is not
    /// believed: hyper would never ask it, so it goes in chunks, of which it has none.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Boxed(body) if body.sent.is_whole() => Some(0),
            Self::Boxed(body) => body.announced.filter(|length| *length > 0),
        }
    }

    /// Holds it to what the headers announce.
    pub(super) fn announce(&mut self, length: Option<u64>, headers: &HeaderMap) {
        if let Self::Boxed(body) = self {
            body.announced = body.announced.or(length);
            if body.announced.is_none() {
                let names = headers.get_all(TRAILER).iter().filter_map(|names| names.to_str().ok());
                let names = names.flat_map(|names| names.split(','));
                body.trailers = names.filter_map(|name| name.trim().parse().ok()).collect();
            }
        }
    }

    /// What becomes of it; `None` if it leaves with the head.
    pub(super) fn sent(&self) -> Option<Sent> {
        match self {
            Self::Bytes(_) => None,
            Self::Boxed(body) => Some(body.sent.clone()),
        }
    }

    /// The caller's body, untouched.
    pub(super) fn into_unsent(self) -> Option<BoxBody> {
        match self {
            Self::Bytes(_) => None,
            Self::Boxed(body) => Some(body.body),
        }
    }
}

impl Outgoing {
    /// How much is still to come, where that is known.
    fn left(&self) -> Option<u64> {
        Some(self.announced?.saturating_sub(self.passed))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        for _ in 0..FRAMES_A_POLL {
            let (frame, ended) = ready!(guarded(|| {
                let frame = self.body.as_mut().poll_frame(cx);
                let ended = matches!(frame, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream();
                frame.map(|frame| (frame, ended))
            })?);
            let frame = match frame.transpose().map_err(RequestBodyError::Failed)? {
                Some(frame) => frame,
                None => return Poll::Ready(self.end()),
            };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    let named = |trailers: &HeaderMap| trailers.keys().all(|name| self.trailers.contains(name));
                    if !frame.trailers_ref().is_none_or(|trailers| self.announced.is_none() && named(trailers)) {
                        return Poll::Ready(Some(Err(RequestBodyError::Trailers)));
                    }
                    self.sent.set_whole();
                    return Poll::Ready(Some(Ok(frame)));
                }
            };
            let length = data.len() as u64;
            if let (Some(left), Some(announced)) = (self.left(), self.announced)
                && length > left
            {
                return Poll::Ready(Some(Err(RequestBodyError::Long { announced })));
            }
            self.passed = self.passed.saturating_add(length);
            if self.left() == Some(0) && length > 0 {
                // hyper would not ask again, and so never see what is too much.
                self.last = Some(data);
                if ended {
                    return Poll::Ready(self.end());
                }
            } else if ended {
                if let Some(Err(short)) = self.end() {
                    return Poll::Ready(Some(Err(short)));
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            } else if length > 0 {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        // Nothing but empty pieces: others on this thread have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The body has ended: what is left of it is the data that was held back.
    fn end(&mut self) -> Option<Result<Frame<Bytes>, RequestBodyError>> {
        if let (Some(1..), Some(announced)) = (self.left(), self.announced) {
            return Some(Err(RequestBodyError::Short { announced, sent: self.passed }));
        }
        self.sent.set_whole();
        self.last.take().map(|data| Ok(Frame::data(data)))
    }
}

impl Body for SendBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            // One that has ended is not asked again.
            Self::Boxed(body) if body.sent.is_whole() => Poll::Ready(None),
            Self::Boxed(body) => {
                let frame = ready!(body.poll(cx));
                Poll::Ready(frame.map(|frame| {
                    frame.map_err(|error| {
                        body.sent.fail(error);
                        BoxError::from("the request's own body failed")
                    })
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_none(),
            Self::Boxed(body) => body.sent.is_whole(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Boxed(body) if body.announced == Some(0) => SizeHint::default(),
            Self::Boxed(body) => body.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Bytes(_) => SizeHint::with_exact(self.length().unwrap_or(0)),
        }
    }
}

/// Runs the caller's code, whose panic is an error of its body and of nothing else.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, RequestBodyError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| RequestBodyError::Panicked)
}
