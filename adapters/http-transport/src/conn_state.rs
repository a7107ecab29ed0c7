//! The state that the three parts of a connection share, [`ConnState`]: the sender of requests, the task that runs the
//! connection, and the [`AnswerFilter`](super::answer_filter::AnswerFilter) of its bytes.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::outgoing::BodyProgress;
use super::poll_bytes::PollBytes;

/// The shared state of a connection.
pub(super) struct ConnState {
    /// The next request, until its first byte is written.
    next_request: AtomicU8,
    /// The body of the current request, if it may be sent later than its head.
    body: Mutex<Option<BodyProgress>>,
    /// The last answer ended after its request had been sent whole.
    is_free: AtomicBool,
    /// The last request has been written to its end. If not, the peer may never read the rest.
    is_written: AtomicBool,
    /// A byte of the last request has left.
    has_left: AtomicBool,
    /// A byte of its answer has come.
    is_heard: AtomicBool,
    /// The peer speaks HTTP/1.0.
    is_old: AtomicBool,
    /// How many bytes the present poll may still use.
    pub(super) poll_bytes: PollBytes,
}

/// What the next request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NextRequest {
    Nothing = 0,
    /// A `HEAD`.
    Head = 1,
    Other = 2,
}

impl ConnState {
    pub(super) const fn new() -> Self {
        Self {
            next_request: AtomicU8::new(NextRequest::Nothing as u8),
            body: Mutex::new(None),
            is_free: AtomicBool::new(false),
            is_written: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
            is_heard: AtomicBool::new(false),
            is_old: AtomicBool::new(false),
            poll_bytes: PollBytes::new(),
        }
    }

    /// Records that a request is about to be sent.
    pub(super) fn ask(&self, request_is_head: bool, body: Option<BodyProgress>) {
        *self.body() = body;
        for flag in [&self.is_free, &self.is_written, &self.has_left, &self.is_heard] {
            flag.store(false, Ordering::Release);
        }
        let next_request = if request_is_head { NextRequest::Head } else { NextRequest::Other };
        self.next_request.store(next_request as u8, Ordering::Release);
    }

    /// Takes the next request, when its first byte is about to be written.
    pub(super) fn take_next_request(&self) -> NextRequest {
        match self.next_request.swap(NextRequest::Nothing as u8, Ordering::Acquire) {
            next_request if next_request == NextRequest::Head as u8 => NextRequest::Head,
            next_request if next_request == NextRequest::Other as u8 => NextRequest::Other,
            _ => NextRequest::Nothing,
        }
    }

    /// Records that more of the request may be written.
    pub(super) fn begin_write(&self) {
        self.is_written.store(false, Ordering::Release);
    }

    /// Records that all that hyper has of the request is written. It has all of it once it has taken its body.
    pub(super) fn end_write(&self) {
        if !self.is_written() && self.is_handed_over() {
            self.is_written.store(true, Ordering::Release);
        }
    }

    /// Whether the last request needs nothing more from its attempt: it has begun to be written, and hyper has taken its
    /// whole body. The connection's task writes the rest ([C2](hedge_core::rules#C2)).
    pub(super) fn is_handed_over(&self) -> bool {
        self.next_request.load(Ordering::Acquire) == NextRequest::Nothing as u8
            && self.body().as_ref().is_none_or(BodyProgress::is_whole)
    }

    /// Whether the last request has been written whole ([T5](hedge_core::rules#T5)).
    fn is_written(&self) -> bool {
        self.is_written.load(Ordering::Acquire)
    }

    /// Records that an answer has ended, and whether its request had been written whole by then.
    pub(super) fn end_answer(&self) {
        self.is_free.store(self.is_written(), Ordering::Release);
    }

    /// Whether the last answer ended after its request had been written whole ([T5](hedge_core::rules#T5)).
    pub(super) fn is_free(&self) -> bool {
        self.is_free.load(Ordering::Acquire)
    }

    fn body(&self) -> MutexGuard<'_, Option<BodyProgress>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_left(&self) {
        self.has_left.store(true, Ordering::Release);
    }

    /// Whether a byte of the last request has left ([C3](hedge_core::rules#C3)).
    pub(super) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Acquire)
    }

    pub(super) fn set_heard(&self) {
        self.is_heard.store(true, Ordering::Release);
    }

    /// Whether a byte of the answer to the last request has come ([C3](hedge_core::rules#C3)).
    pub(super) fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::Acquire)
    }

    pub(super) fn set_old(&self) {
        self.is_old.store(true, Ordering::Release);
    }

    pub(super) fn is_old(&self) -> bool {
        self.is_old.load(Ordering::Acquire)
    }
}
