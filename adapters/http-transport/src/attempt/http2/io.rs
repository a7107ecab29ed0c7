//! An adapter from the I/O traits of hyper to those of h2, for HTTP/2 connections: [`ConnIo`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, Write};
use tokio::io::{AsyncRead, AsyncWrite};

use super::state::State;
use crate::scratch::with_scratch;

/// The maximum number of bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// A connection with the I/O traits that h2 needs. The number of bytes in one poll is limited, so that other tasks on
/// the thread can run.
pub(super) struct ConnIo<I> {
    io: I,
    state: Arc<State>,
}

impl<I> ConnIo<I> {
    pub(super) const fn new(io: I, state: Arc<State>) -> Self {
        Self { io, state }
    }

    /// Returns how many bytes this poll may still read or write. If no bytes are left, wakes the task, so that it is
    /// polled again soon, and is pending.
    fn poll_budget(&self, cx: &Context<'_>) -> Poll<usize> {
        let left = self.state.poll_bytes.left();
        if left == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(left)
    }
}

impl<I: Read + Unpin> AsyncRead for ConnIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = ready!(self.poll_budget(cx));
        // Filling the buffer in place without clearing it first would need `unsafe` code. Copying the bytes that have
        // come costs less than clearing room for all the bytes that could come.
        let room = buffer.remaining().min(left).min(CHUNK);
        let read = ready!(with_scratch(|scratch| {
            let room = room.min(scratch.len());
            let mut lent = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(&mut self.io).poll_read(cx, lent.unfilled()))?;
            buffer.put_slice(lent.filled());
            Poll::Ready(io::Result::Ok(lent.filled().len()))
        }))?;
        if read > 0 {
            self.state.poll_bytes.spend(read);
            self.state.hear();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Write + Unpin> AsyncWrite for ConnIo<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_budget(cx));
        let wrote = ready!(Pin::new(&mut self.io).poll_write(cx, data))?;
        self.state.poll_bytes.spend(wrote);
        Poll::Ready(Ok(wrote))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_budget(cx));
        let wrote = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, data))?;
        self.state.poll_bytes.spend(wrote);
        Poll::Ready(Ok(wrote))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
