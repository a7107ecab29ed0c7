//! Checks answers between the socket and hyper: [`AnswerFilter`].

use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use hedge_wire::http1::{Fault, Follower, Part};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::conn_state::{ConnState, NextRequest};
use super::scratch::with_scratch;

/// How many bytes a framing byte costs on top of itself, of those that one poll may use. It costs more than a byte of
/// data because each one is parsed.
const FRAMING_COST: usize = 8;

/// Checks the answers on a connection. hyper is given only bytes that certainly belong to one answer to one request.
/// The bytes of one poll are limited, so that other tasks on the thread can run.
///
/// * A head is handed over whole. Interim responses are not handed over. The chunks of one read are handed over as one
///   chunk.
/// * An answer that contradicts itself ends the connection with a [`Fault`] as its error. Bytes that come without a
///   request end the connection as if the peer had closed it before them.
/// * A connection that the peer has reset is still read to its end. The write error is then reported in place of that
///   end.
pub(super) struct AnswerFilter<I> {
    io: I,
    state: Arc<ConnState>,
    follower: Follower,
    /// The part of a head that has come.
    held: Vec<u8>,
    /// Bytes for hyper that found no room in its buffer.
    spilled: BytesMut,
    /// Whether the state of the last chunk, whose size is 0, has been handed over.
    last_chunk: bool,
    /// Set when nothing more is read. The inner value is the error that ended reading, until it is reported.
    over: Option<Option<io::Error>>,
    /// The error after which nothing more can be written.
    broken: Option<io::Error>,
}

impl<I> AnswerFilter<I> {
    /// A filter before the first request. The follower has the limits for the answers.
    pub(super) fn new(io: I, state: Arc<ConnState>, follower: Follower) -> Self {
        Self {
            io,
            state,
            follower,
            held: Vec::new(),
            spilled: BytesMut::new(),
            last_chunk: false,
            over: None,
            broken: None,
        }
    }

    /// Takes bytes that were read. The part that hyper sees goes to `out`.
    fn take(&mut self, bytes: &mut [u8], out: &mut Out<'_, '_>) {
        if !self.follower.is_done() && !self.state.is_heard() {
            self.state.set_heard();
        }
        if self.held.is_empty() {
            let taken = self.follow(bytes, out);
            self.held.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            let taken = self.follow(&mut held, out);
            held.drain(..taken);
            // The buffer is seldom needed, so it is not kept.
            self.held = if held.is_empty() { Vec::new() } else { held };
        }
    }

    /// Parses bytes. Returns how many of them need not be passed in again.
    fn follow(&mut self, bytes: &mut [u8], out: &mut Out<'_, '_>) -> usize {
        let mut at = 0_usize;
        let mut chunk = Chunk::default();
        while at < bytes.len() && self.over.is_none() {
            if self.follower.is_done() {
                // These bytes are not an answer to any request.
                self.over = Some(None);
                break;
            }
            match self.follower.follow(bytes.get(at..).unwrap_or_default()) {
                Ok(Part::Partial) => break,
                Ok(part) => {
                    let end = at.saturating_add(part.length());
                    self.see(part, bytes, at..end, &mut chunk, out);
                    at = end;
                }
                Err(fault) => self.over = Some(Some(io::Error::new(io::ErrorKind::InvalidData, Wrong(fault)))),
            }
        }
        chunk.put(bytes, out);
        if self.follower.is_done() {
            self.state.end_answer();
            if !self.follower.keeps() {
                self.over.get_or_insert(None);
            }
        }
        if self.over.is_some() { bytes.len() } else { at }
    }

    /// Hands the part of an answer to hyper, if hyper must see it.
    fn see(&mut self, part: Part, bytes: &mut [u8], of: Range<usize>, chunk: &mut Chunk, out: &mut Out<'_, '_>) {
        match part {
            Part::Data(_) if self.follower.is_chunked() => return chunk.add(bytes, of),
            Part::Interim(_) | Part::Framing(_) | Part::Partial => {
                out.framing = out.framing.saturating_add(of.len());
                return;
            }
            Part::Head(_) => self.last_chunk = false,
            Part::Trailers(_) => {
                chunk.put(bytes, out);
                if !std::mem::replace(&mut self.last_chunk, true) {
                    out.put(b"0\r\n");
                }
            }
            Part::Data(_) => {}
        }
        let bytes = bytes.get(of).unwrap_or_default();
        if matches!(part, Part::Head(_)) && bytes.starts_with(b"HTTP/1.0") {
            self.state.set_old();
        }
        out.put(bytes);
    }

    /// The result of a read once nothing more is read.
    fn end(&mut self) -> io::Result<()> {
        match self.over.replace(None).flatten() {
            Some(error) => Err(error),
            // After a whole answer, a write error does not matter.
            None if self.follower.is_done() => Ok(()),
            None => self.broken.take().map_or(Ok(()), Err),
        }
    }

    /// Whether this poll may go on. If not, the task is woken, so that it runs again after other tasks.
    fn may_go_on(&self, cx: &Context<'_>) -> bool {
        let may = self.state.poll_bytes.left() > 0;
        if !may {
            cx.waker().wake_by_ref();
        }
        may
    }

    /// Records the result of a write, and holds back an error until the answer has been read.
    fn written(&mut self, cx: &Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.state.poll_bytes.spend(bytes);
                if bytes > 0 && !self.state.has_left() {
                    self.state.set_left();
                }
            }
            Poll::Ready(Err(error)) if is_reset(&error) => {
                // The answer may have come before the error. It is read first, and this error is reported at its end.
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        result
    }

    /// Whether anything can be written now.
    fn may_write(&mut self, cx: &Context<'_>) -> bool {
        if self.follower.is_done() {
            match self.state.take_next_request() {
                NextRequest::Nothing => {}
                next_request => self.follower.request(next_request == NextRequest::Head),
            }
        }
        self.state.begin_write();
        self.broken.is_none() && self.may_go_on(cx)
    }
}

/// Whether the error means that nothing more can be written, and that reading will come to an end.
fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}

impl<I: Read + Unpin> Read for AnswerFilter<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let filter = self.get_mut();
        let mut spilled = std::mem::take(&mut filter.spilled);
        let room = cursor.remaining().min(spilled.len());
        cursor.put_slice(spilled.get(..room).unwrap_or_default());
        spilled.advance(room);
        let mut out = Out { cursor: &mut cursor, spilled, put: room, framing: 0 };
        let read = with_scratch(|scratch| filter.read_into(cx, scratch, &mut out));
        let Out { put, spilled, .. } = out;
        filter.spilled = spilled;
        // The bytes that were put are reported first. An end or an error is reported at the next read.
        if put > 0 { Poll::Ready(Ok(())) } else { read }
    }
}

impl<I: Read + Unpin> AnswerFilter<I> {
    /// Reads until there is something for hyper to see.
    fn read_into(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], out: &mut Out<'_, '_>) -> Poll<io::Result<()>> {
        loop {
            if out.put > 0 && (self.over.is_some() || out.cursor.remaining() == 0) {
                return Poll::Ready(Ok(()));
            }
            if self.over.is_some() {
                return Poll::Ready(self.end());
            }
            if !self.may_go_on(cx) {
                return Poll::Pending;
            }
            let length = scratch.len().min(self.state.poll_bytes.left()).min(out.cursor.remaining().max(1));
            let mut buffer = ReadBuf::new(scratch.get_mut(..length).unwrap_or_default());
            let read = match Pin::new(&mut self.io).poll_read(cx, buffer.unfilled()) {
                Poll::Ready(Ok(())) => buffer.filled().len(),
                Poll::Ready(Err(error)) => {
                    self.over = Some(Some(self.broken.take().unwrap_or(error)));
                    continue;
                }
                Poll::Pending => return Poll::Pending,
            };
            if read == 0 {
                self.over = Some(None);
                continue;
            }
            let framing = out.framing;
            self.take(scratch.get_mut(..read).unwrap_or_default(), out);
            let framing = out.framing.saturating_sub(framing);
            self.state.poll_bytes.spend(read.saturating_add(framing.saturating_mul(FRAMING_COST)));
            if out.put > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<I: Write + Unpin> Write for AnswerFilter<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let filter = self.get_mut();
        if !filter.may_write(cx) {
            return Poll::Pending;
        }
        let result = Pin::new(&mut filter.io).poll_write(cx, data);
        filter.written(cx, result)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes only when it has written everything that it has.
        let filter = self.get_mut();
        if filter.broken.is_none() {
            filter.state.end_write();
        }
        Pin::new(&mut filter.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let filter = self.get_mut();
        if !filter.may_write(cx) {
            return Poll::Pending;
        }
        let result = Pin::new(&mut filter.io).poll_write_vectored(cx, data);
        filter.written(cx, result)
    }
}

/// The destination of bytes that hyper sees.
struct Out<'o, 'c> {
    cursor: &'o mut ReadBufCursor<'c>,
    spilled: BytesMut,
    put: usize,
    /// How many bytes were read that hyper does not see.
    framing: usize,
}

impl Out<'_, '_> {
    fn put(&mut self, bytes: &[u8]) {
        let (fits, rest) = bytes.split_at(bytes.len().min(self.cursor.remaining()));
        self.cursor.put_slice(fits);
        self.put = self.put.saturating_add(fits.len());
        self.spilled.extend_from_slice(rest);
    }
}

/// The data of the chunks of one read, joined in place. Without this, even a chunk of one byte would cost hyper two
/// polls of two tasks.
#[derive(Default)]
struct Chunk {
    start: usize,
    end: usize,
}

impl Chunk {
    fn add(&mut self, bytes: &mut [u8], data: Range<usize>) {
        let length = data.len();
        if self.start == self.end {
            (self.start, self.end) = (data.start, data.start);
        } else if self.end < data.start && data.end <= bytes.len() {
            bytes.copy_within(data, self.end);
        }
        self.end = self.end.saturating_add(length);
    }

    fn put(&mut self, bytes: &[u8], out: &mut Out<'_, '_>) {
        let data = bytes.get(self.start..self.end).unwrap_or_default();
        if !data.is_empty() {
            let mut digits = [0; 16];
            out.put(hex(data.len(), &mut digits));
            out.put(b"\r\n");
            out.put(data);
            out.put(b"\r\n");
        }
        *self = Self::default();
    }
}

fn hex(mut number: usize, digits: &mut [u8; 16]) -> &[u8] {
    let mut start = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b"0123456789abcdef".get(number % 16).copied().unwrap_or(b'0');
        start = index;
        number /= 16;
        if number == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}

/// A fault that the filter has found, as an error that can be found among other errors of the connection.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) Fault);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Wrong {}

#[cfg(test)]
mod tests;
