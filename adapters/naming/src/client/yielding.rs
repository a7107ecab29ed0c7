//! A connection that lets other tasks run: [`Yielding`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hedge_link::io::{Read, ReadBufCursor, Write};

/// How many reads may follow each other without a wait.
const READS: u32 = 16;

/// A connection that lets other tasks run after 16 reads without a wait. hyper reads interim answers (1xx) in a loop, so a
/// server that sends them without end would otherwise keep a thread for ever, past every deadline.
pub(super) struct Yielding<Io> {
    io: Io,
    reads: u32,
}

impl<Io> Yielding<Io> {
    pub(super) const fn new(io: Io) -> Self {
        Self { io, reads: 0 }
    }
}

impl<Io: Read + Unpin> Read for Yielding<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.reads == READS {
            self.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let poll = Pin::new(&mut self.io).poll_read(cx, buffer);
        self.reads = if poll.is_ready() { self.reads + 1 } else { 0 };
        poll
    }
}

impl<Io: Write + Unpin> Write for Yielding<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
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
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
    }
}
