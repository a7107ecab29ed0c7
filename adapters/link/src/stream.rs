//! A connection, with or without TLS: [`Stream`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

#[cfg(feature = "_tls")]
use crate::tls::TlsStream;

/// A connection, with or without TLS.
#[derive(Debug)]
pub struct Stream<Io>(Inner<Io>);

#[derive(Debug)]
enum Inner<Io> {
    Plain(Io),
    #[cfg(feature = "_tls")]
    Tls(Box<TlsStream<Io>>),
}

impl<Io> Stream<Io> {
    pub(crate) const fn plain(io: Io) -> Self {
        Self(Inner::Plain(io))
    }

    #[cfg(feature = "_tls")]
    pub(crate) fn tls(stream: TlsStream<Io>) -> Self {
        Self(Inner::Tls(Box::new(stream)))
    }
}

/// Calls a method of the connection, which may be plain or encrypted.
macro_rules! either {
    ($stream:expr, $io:ident => $call:expr) => {
        match &mut $stream.0 {
            Inner::Plain(io) => {
                let $io = Pin::new(io);
                $call
            }
            #[cfg(feature = "_tls")]
            Inner::Tls(io) => {
                let $io = Pin::new(&mut **io);
                $call
            }
        }
    };
}

impl<Io: Read + Write + Unpin> Read for Stream<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_read(cx, buffer))
    }
}

impl<Io: Read + Write + Unpin> Write for Stream<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write(cx, data))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::Plain(io) => io.is_write_vectored(),
            #[cfg(feature = "_tls")]
            Inner::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write_vectored(cx, data))
    }
}
