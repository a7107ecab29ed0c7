//! A smol connection as hyper wants to see it.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;
#[cfg(unix)]
use smol::net::unix::UnixStream;

/// How much is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

thread_local! {
    /// hyper's buffer can be filled in place by `unsafe` code only: what is read lands here first. One for each thread, as
    /// to clear one for each read costs as much as a small read.
    static CHUNK_OF_THREAD: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// A connection, over TCP or over a Unix socket.
#[derive(Debug)]
pub struct Io(Inner);

#[derive(Debug)]
enum Inner {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Io {
    pub(crate) const fn tcp(stream: TcpStream) -> Self {
        Self(Inner::Tcp(stream))
    }

    #[cfg(unix)]
    pub(crate) const fn unix(stream: UnixStream) -> Self {
        Self(Inner::Unix(stream))
    }
}

/// Calls a method of the stream, of either kind.
macro_rules! either {
    ($io:expr, $stream:ident => $call:expr) => {
        match &mut $io.0 {
            Inner::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            #[cfg(unix)]
            Inner::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut read_into = |chunk: &mut [u8]| {
            let room = buffer.remaining().min(chunk.len());
            let wanted = chunk.get_mut(..room).unwrap_or_default();
            let read = ready!(either!(self, stream => stream.poll_read(cx, wanted)))?;
            buffer.put_slice(wanted.get(..read).unwrap_or_default());
            Poll::Ready(Ok(()))
        };
        let lent = CHUNK_OF_THREAD.try_with(|chunk| Some(read_into(&mut chunk.try_borrow_mut().ok()?)));
        // The thread ends, or reads this while it reads another: neither is usual.
        lent.ok().flatten().unwrap_or_else(|| read_into(&mut [0; 1024]))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, data))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_close(cx))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, data))
    }
}
