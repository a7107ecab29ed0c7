//! The request body of one attempt, [`SendBody`], and its progress, [`BodyProgress`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::{error, fmt};

use ::http::header::{HeaderMap, HeaderName, TRAILER};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Any error.
pub type BoxError = Box<dyn error::Error + Send + Sync>;

/// Any body.
pub type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// How many empty pieces of a body are skipped in one poll.
const FRAMES_A_POLL: usize = 32;

/// Why a request's own body could not be sent whole. The server is not to blame.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestBodyError {
    /// The body returned an error.
    Failed(BoxError),
    /// The body ended before the length that it, or a `content-length` header, had announced.
    Short {
        /// The length that was announced, in bytes.
        announced: u64,
        /// How long the body was, in bytes.
        sent: u64,
    },
    /// The body went on beyond the length that it, or a `content-length` header, had announced.
    Long {
        /// The length that was announced, in bytes.
        announced: u64,
    },
    /// The body has trailers that cannot be sent. Either its length is known, so it is sent without chunks, or no
    /// `trailer` header names them.
    Trailers,
    /// The body or its factory panicked.
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

/// The progress of a body, as others see it: whether hyper has taken all of it, or why it failed.
#[derive(Clone, Default)]
pub(super) struct BodyProgress(Arc<(AtomicBool, Mutex<Option<RequestBodyError>>)>);

impl BodyProgress {
    pub(super) fn is_whole(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// Why the body failed, if it did. The error is returned only once.
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

/// The request body of one attempt. It is as small as a pointer, because hyper moves the request many times. `None` if it
/// is empty, or if all of it was taken.
pub(super) struct SendBody(Option<Box<Content>>);

enum Content {
    Bytes(Bytes),
    Checked(CheckedBody),
}

/// A caller's body, which is checked against the length that it announced.
struct CheckedBody {
    body: BoxBody,
    /// The length that was announced.
    announced: Option<u64>,
    passed: u64,
    /// The last data of the announced length. It is held back until it is certain that nothing follows.
    last: Option<Bytes>,
    /// The names in the `trailer` headers.
    trailers: Vec<HeaderName>,
    sent: BodyProgress,
}

impl SendBody {
    pub(super) const EMPTY: Self = Self(None);

    /// Bytes in memory.
    pub(super) fn bytes(bytes: Bytes) -> Self {
        Self((!bytes.is_empty()).then(|| Box::new(Content::Bytes(bytes))))
    }

    /// Makes a body with `make`.
    pub(super) fn made(make: impl FnOnce() -> BoxBody) -> Result<Self, RequestBodyError> {
        guarded(|| {
            let body = make();
            let (announced, ended) = (body.size_hint().exact(), body.is_end_stream());
            (body, announced, ended)
        })
        .map(|(body, announced, ended)| {
            let sent = BodyProgress::default();
            // A body that has ended although it announces a length is too short. That error is reported when the body
            // is sent.
            if ended && announced.is_none_or(|length| length == 0) {
                sent.set_whole();
            }
            let checked = CheckedBody { body, announced, passed: 0, last: None, trailers: Vec::new(), sent };
            Self(Some(Box::new(Content::Checked(checked))))
        })
    }

    /// The length of the body; 0 if there is none. `None` if it is not known. A body that announces 0 bytes but has not
    /// ended counts as unknown: hyper would never poll a body of 0 bytes. It is sent in chunks, of which there should
    /// be none.
    pub(super) fn length(&self) -> Option<u64> {
        match self.0.as_deref() {
            None => Some(0),
            Some(Content::Bytes(bytes)) => Some(bytes.len() as u64),
            Some(Content::Checked(body)) if body.sent.is_whole() => Some(0),
            Some(Content::Checked(body)) => body.announced.filter(|length| *length > 0),
        }
    }

    /// Records that the body's trailers cannot be sent.
    #[cfg(feature = "http2")]
    pub(super) fn refuse_trailers(&self) {
        if let Some(Content::Checked(body)) = self.0.as_deref() {
            body.sent.fail(RequestBodyError::Trailers);
        }
    }

    /// How many bytes of it are in memory.
    #[cfg(feature = "http2")]
    pub(super) fn in_memory(&self) -> Option<usize> {
        match self.0.as_deref() {
            None => Some(0),
            Some(Content::Bytes(bytes)) => Some(bytes.len()),
            Some(Content::Checked(_)) => None,
        }
    }

    /// Takes over the length and the trailers that the headers announce, so that the body is checked against them.
    pub(super) fn announce(&mut self, length: Option<u64>, headers: &HeaderMap) {
        if let Some(Content::Checked(body)) = self.0.as_deref_mut() {
            body.announced = body.announced.or(length);
            if body.announced.is_none() {
                let names = headers.get_all(TRAILER).iter().filter_map(|names| names.to_str().ok());
                let names = names.flat_map(|names| names.split(','));
                body.trailers = names.filter_map(|name| name.trim().parse().ok()).collect();
            }
        }
    }

    /// The progress of the body. `None` if it is sent together with the head.
    pub(super) fn sent(&self) -> Option<BodyProgress> {
        match self.0.as_deref() {
            None | Some(Content::Bytes(_)) => None,
            Some(Content::Checked(body)) => Some(body.sent.clone()),
        }
    }

    /// The caller's body, from which nothing was sent.
    pub(super) fn into_unsent(self) -> Option<BoxBody> {
        match self.0.map(|content| *content) {
            None | Some(Content::Bytes(_)) => None,
            Some(Content::Checked(body)) => Some(body.body),
        }
    }
}

impl CheckedBody {
    /// How many bytes are still to come, if that is known.
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
                // hyper would not poll again after this data, so data beyond the announced length would go unnoticed.
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
        // There were only empty pieces. Other tasks on this thread get their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The end of the body: sends the data that was held back.
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
        match self.0.as_deref_mut() {
            None => Poll::Ready(None),
            Some(Content::Bytes(bytes)) => {
                let bytes = std::mem::take(bytes);
                self.0 = None;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            // A body that has ended is not polled again.
            Some(Content::Checked(body)) if body.sent.is_whole() => Poll::Ready(None),
            Some(Content::Checked(body)) => {
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
        match self.0.as_deref() {
            None => true,
            Some(Content::Bytes(_)) => false,
            Some(Content::Checked(body)) => body.sent.is_whole(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.as_deref() {
            None => SizeHint::with_exact(0),
            Some(Content::Bytes(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Some(Content::Checked(body)) if body.announced == Some(0) => SizeHint::default(),
            Some(Content::Checked(body)) => body.left().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// Runs the caller's code. A panic in it becomes an error of the body.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, RequestBodyError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        // Dropping it could panic again.
        std::mem::forget(payload);
        RequestBodyError::Panicked
    })
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("the payload of a panic was dropped");
        }
    }

    #[test]
    fn l20_a_payload_that_panics_when_it_is_dropped_is_an_error_of_the_body() {
        assert!(matches!(guarded(|| panic_any(PanicsWhenDropped)), Err::<(), _>(RequestBodyError::Panicked)));
    }
}
