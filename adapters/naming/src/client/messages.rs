//! An answer that does not end: [`Messages`]. Each line of it is one message.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use hedge_core::time::Instant;
use hedge_link::{Runtime, before};
use hyper::body::Incoming;

use super::fault::Fault;
use super::live::Live;

/// An answer that does not end. Each line of it is one message.
pub(crate) struct Messages<R: Runtime> {
    live: Live<R>,
    body: Incoming,
    buffer: BytesMut,
    /// How many bytes of the buffer are known to have no end of a line.
    searched: usize,
    limit: usize,
    /// Who sends them.
    pub(crate) place: Arc<str>,
}

/// What came until some instant.
pub(crate) enum Next {
    Message(Bytes),
    /// The answer has ended.
    End,
    /// Nothing came.
    Nothing,
}

impl<R: Runtime> Messages<R> {
    pub(super) fn new(live: Live<R>, body: Incoming, limit: usize, place: Arc<str>) -> Self {
        Self { live, body, buffer: BytesMut::new(), searched: 0, limit, place }
    }

    /// Waits for the next message until `by`. If the future is dropped, no message is lost.
    pub(crate) async fn next(&mut self, runtime: &R, by: Instant) -> Result<Next, Fault> {
        before(runtime, Some(by), self.message()).await.unwrap_or(Ok(Next::Nothing))
    }

    async fn message(&mut self) -> Result<Next, Fault> {
        loop {
            while let Some(line) = self.line() {
                if !line.trim_ascii().is_empty() {
                    return Ok(Next::Message(line));
                }
            }
            if self.buffer.len() > self.limit {
                return Err(Fault::TooLarge("a message", self.limit));
            }
            let Some(data) = self.live.data(&mut self.body).await? else {
                // A last line needs no end.
                let last = self.buffer.split().freeze();
                self.searched = 0;
                return Ok(if last.trim_ascii().is_empty() { Next::End } else { Next::Message(last) });
            };
            self.buffer.extend_from_slice(&data);
            // A peer that never stops sending must not keep this task from others, and not from its deadline.
            pass().await;
        }
    }

    /// The next whole line in the buffer.
    fn line(&mut self) -> Option<Bytes> {
        let rest = self.buffer.get(self.searched..)?;
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let line = self.buffer.split_to(self.searched + at + 1).freeze();
                self.searched = 0;
                Some(line)
            }
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }
}

/// Lets other tasks run once.
async fn pass() {
    let mut passed = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut passed, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
