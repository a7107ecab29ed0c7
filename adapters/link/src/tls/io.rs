//! Adapters between the I/O traits of hyper and those of futures-rustls: [`TlsStream`] is on top of TLS, and
//! [`FuturesIo`] is below TLS.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::client;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::error::TlsError;

/// The maximum number of bytes that are read at once. It is the maximum size of a TLS record.
const CHUNK: usize = 16 * 1024;

thread_local! {
    /// The buffer into which data is read before it is copied into hyper's buffer. Only `unsafe` code could read into
    /// hyper's buffer directly. There is one buffer for each thread, since clearing a new buffer for each read would
    /// cost as much as a small read.
    static CHUNK_OF_THREAD: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// An encrypted connection. If the connection ends without the message with which TLS closes a connection, reading
/// fails with [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), since an attacker may have cut the connection.
pub(crate) struct TlsStream<Io>(client::TlsStream<FuturesIo<Io>>);

impl<Io> TlsStream<Io> {
    pub(super) const fn new(stream: client::TlsStream<FuturesIo<Io>>) -> Self {
        Self(stream)
    }
}

impl<Io: Read + Write + Unpin> Read for TlsStream<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut read_into = |chunk: &mut [u8]| {
            let room = buffer.remaining().min(chunk.len());
            let wanted = chunk.get_mut(..room).unwrap_or_default();
            let read = ready!(Pin::new(&mut self.0).poll_read(cx, wanted)).map_err(TlsError::later)?;
            buffer.put_slice(wanted.get(..read).unwrap_or_default());
            Poll::Ready(Ok(()))
        };
        let lent = CHUNK_OF_THREAD.try_with(|chunk| Some(read_into(&mut chunk.try_borrow_mut().ok()?)));
        // The buffer of the thread cannot be used if the thread is ending, or if the connection below is itself
        // encrypted. Both are rare.
        lent.ok().flatten().unwrap_or_else(|| read_into(&mut [0; 1024]))
    }
}

impl<Io: Read + Write + Unpin> Write for TlsStream<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data).map_err(TlsError::later)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(TlsError::later)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx).map_err(TlsError::later)
    }
}

impl<Io> fmt::Debug for TlsStream<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsStream")
    }
}

/// A runtime's connection, with the I/O traits that futures-rustls needs.
pub(super) struct FuturesIo<Io>(Io);

impl<Io> FuturesIo<Io> {
    pub(super) const fn new(io: Io) -> Self {
        Self(io)
    }
}

impl<Io: Read + Unpin> AsyncRead for FuturesIo<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, chunk: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(chunk);
        ready!(Pin::new(&mut self.0).poll_read(cx, buffer.unfilled()))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<Io: Write + Unpin> AsyncWrite for FuturesIo<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
