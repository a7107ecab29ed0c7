//! What stands between a socket and hyper: [`Guard`].

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use hedge_wire::http1::{Fault, Follower, Part};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::line::{Asked, BYTES_A_POLL, Line};

/// A byte that only frames costs a poll as much as so many that are data: each is looked at.
const FRAMING_COST: usize = 8;

thread_local! {
    /// What is read lands here, to be looked at before hyper sees it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BYTES_A_POLL].into());
}

/// Lends the thread's buffer, or one of its own to a connection that is read while another one is, or while the thread ends.
fn with_scratch<T>(mut read: impl FnMut(&mut [u8]) -> T) -> T {
    let lent = SCRATCH.try_with(|scratch| Some(read(&mut scratch.try_borrow_mut().ok()?)));
    lent.ok().flatten().unwrap_or_else(|| read(&mut [0; 8192]))
}

/// Follows a connection's answers, so that hyper is given what is certainly one answer to one request, and no more of it in
/// one poll than others on its thread can wait for.
///
/// * Heads are handed over whole, interim responses not at all, and the chunks of one read as one chunk.
/// * What contradicts itself ends the connection with a [`Fault`] as its error. Bytes that no request asked for end it as
///   if the peer had closed it before them.
/// * A connection that the peer has reset is read to its end all the same: a write error is told in place of that end.
pub(super) struct Guard<I> {
    io: I,
    line: Arc<Line>,
    follower: Follower,
    /// The part of a head that has come.
    held: Vec<u8>,
    /// What found no room where it was to be read to.
    spilled: BytesMut,
    /// The size of the last chunk has been handed over.
    last_chunk: bool,
    /// Nothing more is read; why not, where it is an error that has not been told.
    over: Option<Option<io::Error>>,
    /// The request has been written to its end. What has not been, the peer may never take.
    is_written: bool,
    /// Nothing more can be written.
    broken: Option<io::Error>,
}

impl<I> Guard<I> {
    /// Before the first request; the follower has the limits of what is answered.
    pub(super) fn new(io: I, line: Arc<Line>, follower: Follower) -> Self {
        Self {
            io,
            line,
            follower,
            held: Vec::new(),
            spilled: BytesMut::new(),
            last_chunk: false,
            over: None,
            is_written: true,
            broken: None,
        }
    }

    /// Takes what was read; what hyper is to see of it goes to `out`.
    fn take(&mut self, bytes: &mut [u8], out: &mut Out<'_, '_>) {
        if !self.follower.is_done() && !self.line.is_heard() {
            self.line.set_heard();
        }
        if self.held.is_empty() {
            let taken = self.follow(bytes, out);
            self.held.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            let taken = self.follow(&mut held, out);
            held.drain(..taken);
            // Seldom needed, so not kept.
            self.held = if held.is_empty() { Vec::new() } else { held };
        }
    }

    /// Answers how many bytes need not be handed in again.
    fn follow(&mut self, bytes: &mut [u8], out: &mut Out<'_, '_>) -> usize {
        let mut at = 0_usize;
        let mut chunk = Chunk::default();
        while at < bytes.len() && self.over.is_none() {
            if self.follower.is_done() {
                // They answer nothing.
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
            self.line.end_answer(self.is_written);
            if !self.follower.keeps() {
                self.over.get_or_insert(None);
            }
        }
        if self.over.is_some() { bytes.len() } else { at }
    }

    /// Hands over what hyper is to see of a part.
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
            self.line.set_old();
        }
        out.put(bytes);
    }

    /// The end of what is read.
    fn end(&mut self) -> io::Result<()> {
        match self.over.replace(None).flatten() {
            Some(error) => Err(error),
            // After an answer that is whole there is nothing to be said.
            None if self.follower.is_done() => Ok(()),
            None => self.broken.take().map_or(Ok(()), Err),
        }
    }

    /// Whether this poll may go on; else it is to be polled again once others have been.
    fn may_go_on(&self, cx: &Context<'_>) -> bool {
        let may = self.line.bytes_left() > 0;
        if !may {
            cx.waker().wake_by_ref();
        }
        may
    }

    /// What is written comes to this.
    fn written(&mut self, cx: &Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.line.spend(bytes);
                if bytes > 0 && !self.line.has_left() {
                    self.line.set_left();
                }
            }
            Poll::Ready(Err(error)) if is_reset(&error) => {
                // The answer may have come before: it is read first, and its end tells of this.
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
            match self.line.take_asked() {
                Asked::Nothing => {}
                asked => self.follower.request(asked == Asked::Head),
            }
        }
        self.is_written = false;
        self.broken.is_none() && self.may_go_on(cx)
    }
}

/// After such an error nothing more can be written, and reading comes to an end.
fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}

impl<I: Read + Unpin> Read for Guard<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let mut spilled = std::mem::take(&mut guard.spilled);
        let room = cursor.remaining().min(spilled.len());
        cursor.put_slice(spilled.get(..room).unwrap_or_default());
        spilled.advance(room);
        let mut out = Out { cursor: &mut cursor, spilled, put: room, framing: 0 };
        let read = with_scratch(|scratch| guard.read_into(cx, scratch, &mut out));
        let Out { put, spilled, .. } = out;
        guard.spilled = spilled;
        // What was put is seen first; an end or an error comes again.
        if put > 0 { Poll::Ready(Ok(())) } else { read }
    }
}

impl<I: Read + Unpin> Guard<I> {
    /// Reads until there is something to be seen.
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
            let length = scratch.len().min(self.line.bytes_left()).min(out.cursor.remaining().max(1));
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
            self.line.spend(read.saturating_add(framing.saturating_mul(FRAMING_COST)));
            if out.put > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<I: Write + Unpin> Write for Guard<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        if !guard.may_write(cx) {
            return Poll::Pending;
        }
        let result = Pin::new(&mut guard.io).poll_write(cx, data);
        guard.written(cx, result)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes what it has given away whole.
        let guard = self.get_mut();
        if !guard.is_written {
            guard.is_written = guard.broken.is_none() && guard.line.is_taken();
        }
        Pin::new(&mut guard.io).poll_flush(cx)
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
        let guard = self.get_mut();
        if !guard.may_write(cx) {
            return Poll::Pending;
        }
        let result = Pin::new(&mut guard.io).poll_write_vectored(cx, data);
        guard.written(cx, result)
    }
}

/// Where what hyper sees goes.
struct Out<'o, 'c> {
    cursor: &'o mut ReadBufCursor<'c>,
    spilled: BytesMut,
    put: usize,
    /// Bytes that were read and are not seen.
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

/// The data of one read's chunks, joined in place: a chunk of one byte costs hyper two turns of two tasks.
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

/// Marks what the guard has found among other errors of the connection.
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
