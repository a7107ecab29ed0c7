//! Sends the body of a request over HTTP/2: [`start`].

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_channel::oneshot;
use h2::{Reason, SendStream};
use hedge_link::{Runtime, UnwrittenMessage};
use http_body::{Body as _, Frame};

use super::connection::SEND_BUFFER;
use crate::outgoing::SendBody;

/// The maximum number of pieces of a body that are sent in one poll.
const PIECES_A_POLL: usize = 32;

/// The request's handle of the task that sends its body. Dropping the handle ends the task.
pub(super) struct Upload {
    task: oneshot::Sender<Infallible>,
    /// Whether h2 is given the end of the body. The task itself ends a moment later. Until then an answer may have come.
    is_given: Arc<AtomicBool>,
}

impl Upload {
    /// Returns whether nothing more of the body will be sent.
    pub(super) fn is_over(&self) -> bool {
        self.is_given.load(Ordering::Acquire) || self.task.is_canceled()
    }

    /// Waits until nothing more of the body will be sent.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over() { Poll::Ready(()) } else { self.task.poll_canceled(cx) }
    }
}

/// Begins to send the body of a request whose head has been sent. Returns the handle of the task that sends the body.
/// Returns `None` if there is no task, since h2 has taken the whole body at once. `unwritten` counts the bytes that h2
/// has not taken yet.
pub(super) fn start<R: Runtime>(
    runtime: &R,
    body: SendBody,
    stream: SendStream<Bytes>,
    unwritten: Option<UnwrittenMessage>,
    cx: &mut Context<'_>,
) -> Option<Upload> {
    let mut pipe = Pipe { body, stream, rest: None, unwritten, is_given: None };
    if pipe.poll(cx).is_ready() {
        return None;
    }
    let (task, mut closed) = oneshot::channel::<Infallible>();
    let is_given = Arc::clone(pipe.is_given.insert(Arc::default()));
    runtime.spawn(async move {
        poll_fn(|cx| {
            let is_closed = Pin::new(&mut closed).poll(cx).is_ready();
            if is_closed { Poll::Ready(()) } else { pipe.poll(cx) }
        })
        .await;
    });
    Some(Upload { task, is_given })
}

/// A body that is being sent, and its stream.
struct Pipe {
    body: SendBody,
    stream: SendStream<Bytes>,
    /// The rest of a piece of the body that h2 has not taken yet, and whether the piece is the last one.
    rest: Option<(Bytes, bool)>,
    unwritten: Option<UnwrittenMessage>,
    /// The flag of the [`Upload`], if there is one.
    is_given: Option<Arc<AtomicBool>>,
}

impl Pipe {
    /// Records that h2 is given the end of the body now. This comes before the end is given. So the flag is set when the
    /// server answers the whole request.
    fn give_end(&self) {
        if let Some(is_given) = &self.is_given {
            is_given.store(true, Ordering::Release);
        }
    }

    /// Sends the body. Becomes ready when nothing more must be sent, since the body has ended or failed, or since the
    /// server has reset the stream.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(());
        }
        for _ in 0..PIECES_A_POLL {
            if self.rest.is_none() && ready!(self.poll_next(cx)) {
                return Poll::Ready(());
            }
            if ready!(self.poll_put(cx)) {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes the next piece of the body. Returns true if nothing more must be sent.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // An error of sending is ignored. It means that the stream has ended, and the answer shows this too.
        let is_over = match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => {
                self.rest = Some((data, self.body.is_end_stream()));
                false
            }
            Some(Ok(Err(frame))) => {
                let sent = frame.into_trailers().map(|trailers| {
                    self.give_end();
                    self.stream.send_trailers(trailers)
                });
                if matches!(sent, Ok(Err(_))) {
                    // These trailers cannot be sent over HTTP/2, or the stream has ended. In the second case, the
                    // answer shows this too.
                    self.body.refuse_trailers();
                    self.stream.send_reset(Reason::CANCEL);
                }
                true
            }
            None => {
                self.give_end();
                let _ended = self.stream.send_data(Bytes::new(), true);
                true
            }
            // The progress of the body contains the error.
            Some(Err(_)) => {
                self.stream.send_reset(Reason::CANCEL);
                true
            }
        };
        Poll::Ready(is_over)
    }

    /// Gives a part of the current piece to h2, as much as the server's windows allow. Returns true if nothing more
    /// must be sent.
    fn poll_put(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some((mut piece, is_last)) = self.rest.take() else { return Poll::Ready(false) };
        if piece.is_empty() {
            if is_last {
                self.give_end();
            }
            return Poll::Ready(is_last && self.stream.send_data(piece, true).is_ok());
        }
        self.stream.reserve_capacity(piece.len().min(SEND_BUFFER));
        let capacity = match self.stream.capacity() {
            0 => match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(capacity))) => capacity,
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(true),
                Poll::Pending => {
                    self.rest = Some((piece, is_last));
                    return Poll::Pending;
                }
            },
            capacity => capacity,
        };
        let part = piece.split_to(capacity.min(piece.len()));
        if let Some(unwritten) = &mut self.unwritten {
            unwritten.wrote(part.len());
        }
        let is_end = piece.is_empty() && is_last;
        if !piece.is_empty() {
            self.rest = Some((piece, is_last));
        }
        if is_end {
            self.give_end();
        }
        let is_sent = part.is_empty() || self.stream.send_data(part, is_end).is_ok();
        Poll::Ready(is_end || !is_sent)
    }
}
