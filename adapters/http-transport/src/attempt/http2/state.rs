//! The state that the requests on an HTTP/2 connection share with the connection's task: [`State`].

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

use hedge_core::time::Instant;
use hedge_link::Unwritten;

use super::resets::Resets;
use crate::poll_bytes::PollBytes;

/// The maximum number of bytes of request bodies that wait on a connection, as in brpc's `socket_max_unwritten_bytes`.
const MAX_UNWRITTEN: usize = 64 * 1024 * 1024;

/// The state of a connection.
pub(super) struct State {
    /// Whether the connection takes no new requests, since it has ended, or since the server has announced that it will
    /// close the connection.
    is_closed: AtomicBool,
    /// How many requests the connection takes at once.
    limit: AtomicUsize,
    /// Whether the limit is known, since the server has sent its settings.
    is_settled: AtomicBool,
    /// How many requests are in flight.
    in_flight: AtomicUsize,
    /// How many of these requests are abandoned, so that their answers are thrown away.
    thrown_away: AtomicUsize,
    /// How many requests were sent.
    sent: AtomicU64,
    /// How often bytes have come.
    heard: AtomicU64,
    /// Whether the connection may be dead, since the deadline of a request passed and no byte had come since the
    /// request was sent.
    is_suspect: AtomicBool,
    /// Wakes the connection's task.
    task: Mutex<Option<Waker>>,
    resets: Mutex<Resets>,
    /// The bytes of request bodies that wait to be written.
    pub(super) unwritten: Unwritten,
    /// How many bytes the current poll may still read or write.
    pub(super) poll_bytes: PollBytes,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            is_closed: AtomicBool::new(false),
            // The first request need not wait for the server's settings. The other requests wait, so that the server
            // does not refuse them.
            limit: AtomicUsize::new(1),
            is_settled: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            thrown_away: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            is_suspect: AtomicBool::new(false),
            task: Mutex::new(None),
            resets: Mutex::new(Resets::default()),
            unwritten: Unwritten::new(MAX_UNWRITTEN),
            poll_bytes: PollBytes::new(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Marks the connection as closed, so that it takes no new requests. Returns false if it was already closed.
    pub(super) fn close(&self) -> bool {
        !self.is_closed.swap(true, Ordering::AcqRel)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Acquire)
    }

    /// Sets the limit, which is known from now on. Returns whether it has grown, or was not known before.
    pub(super) fn set_limit(&self, requests: usize) -> bool {
        let has_grown = self.limit() != requests && self.limit.swap(requests, Ordering::AcqRel) < requests;
        let is_new = !self.is_settled() && !self.is_settled.swap(true, Ordering::AcqRel);
        has_grown || is_new
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Acquire)
    }

    /// Counts a request as in flight.
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that was sent. Returns whether it is the first request on the connection.
    pub(super) fn sent(&self) -> bool {
        self.sent.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Counts a request that is no longer in flight.
    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn has_requests(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Counts an answer that is thrown away from now on. Returns how many other answers are being thrown away.
    pub(super) fn begin_throwing_away(&self) -> usize {
        self.thrown_away.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn end_throwing_away(&self) {
        self.thrown_away.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns whether all requests in flight are abandoned, so that all their answers are thrown away.
    pub(super) fn has_only_thrown_away(&self) -> bool {
        self.thrown_away.load(Ordering::Relaxed) >= self.in_flight.load(Ordering::Relaxed)
    }

    /// Records that bytes have come.
    pub(super) fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns a number that changes whenever bytes come.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Records that the connection may be dead, and wakes its task. The task sends a ping, unless it has sent one
    /// recently, and closes the connection if there is no answer.
    pub(super) fn suspect(&self) {
        self.is_suspect.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Returns whether [`suspect`](Self::suspect) was called since the last call of this method. A later call of
    /// `suspect` wakes the task of `cx`.
    pub(super) fn take_suspect(&self, cx: &Context<'_>) -> bool {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        drop(task);
        self.is_suspect.load(Ordering::Relaxed) && self.is_suspect.swap(false, Ordering::Acquire)
    }

    /// Records that a stream is reset at `now`.
    ///
    /// # Errors
    /// If no stream may be reset at `now`, returns the time at which the next stream may be reset, and records nothing.
    pub(super) fn reset(&self, now: Instant) -> Result<(), Instant> {
        self.resets.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }
}
