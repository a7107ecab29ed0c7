//! What has gone over a connection since its last request was handed over: [`Traffic`].

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

/// How much of an answer is read first, in bytes: hyper's own first guess.
const FIRST: usize = 8192;

/// Whether a byte of the request has left, and whether a byte of its answer has come (C3). Shared by a connection and its
/// I/O; what happens to a request is told after what happened here, so nothing here has an order of its own.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    written: AtomicBool,
    heard: AtomicBool,
}

impl Traffic {
    /// A request is about to be handed over.
    pub(super) fn begin(&self) {
        self.written.store(false, Ordering::Relaxed);
        self.heard.store(false, Ordering::Relaxed);
    }

    /// A byte of the request has left.
    pub(super) fn has_left(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }

    /// A byte of the answer has come.
    pub(super) fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }
}

/// A connection's I/O, which notes what goes over it.
pub(super) struct Noted<I> {
    io: I,
    traffic: Arc<Traffic>,
}

impl<I> Noted<I> {
    pub(super) const fn new(io: I, traffic: Arc<Traffic>) -> Self {
        Self { io, traffic }
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) && !self.traffic.has_left() {
            self.traffic.written.store(true, Ordering::Relaxed);
        }
    }
}

impl<I: Read + Unpin> Read for Noted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.traffic.is_heard() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        // How much a buffer was given only its owner can see. So the first bytes of an answer are copied, and no others.
        let mut first = [MaybeUninit::uninit(); FIRST];
        let first = first.get_mut(..buffer.remaining().min(FIRST)).unwrap_or_default();
        let mut first = ReadBuf::uninit(first);
        ready!(Pin::new(&mut self.io).poll_read(cx, first.unfilled()))?;
        if !first.filled().is_empty() {
            self.traffic.heard.store(true, Ordering::Relaxed);
            buffer.put_slice(first.filled());
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Write + Unpin> Write for Noted<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, data);
        self.wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, data);
        self.wrote(&written);
        written
    }
}
