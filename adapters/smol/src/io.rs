//! A smol connection as hyper wants to see it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;

/// How much is read at once, in bytes: hyper's own first guess.
const CHUNK: usize = 8192;

/// A TCP connection.
#[derive(Debug)]
pub struct Io(TcpStream);

impl Io {
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper's buffer can be filled in place by `unsafe` code only; a copy of what one segment brings costs less than
        // the read itself.
        let mut chunk = [0; CHUNK];
        let wanted = chunk.get_mut(..buffer.remaining().min(CHUNK)).unwrap_or_default();
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, wanted))?;
        buffer.put_slice(wanted.get(..read).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, data)
    }
}
