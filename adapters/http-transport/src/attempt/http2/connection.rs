//! An HTTP/2 connection, [`Http2Connection`], and its task.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_channel::oneshot;
use h2::Ping;
use h2::client::{Builder, SendRequest};
use hedge_link::{Connected, ConnectionInfo, Notifier, Runtime, SharedConnection, Stream, before};

use super::io::ConnIo;
use super::ping::{Due, PingOptions, Pings};
use super::state::State;
use crate::counters::{Counts, OpenConnection};
use crate::limits::HeadLimits;

/// How many bytes of all answers together may wait to be read on a connection. The number is large, so that a reader
/// that stops reading does not stop the other calls. Also, h2 counts small frames that wait against half of this
/// number.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
/// How many bytes of one answer may wait to be read.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// How many bytes of one request's body h2 holds until they are written.
pub(super) const SEND_BUFFER: usize = 256 * 1024;
/// The limit of streams that h2 has until the server's settings are applied. The requests are limited by
/// [`State::limit`]. A server cannot set this value, since its settings have 32 bits, and without a limit h2 uses
/// `usize::MAX`.
const LIMIT_UNKNOWN: usize = usize::MAX - 1;
/// How many reset streams h2 remembers. For these streams, frames may still come that the server sent before the reset.
const RESETS_REMEMBERED: usize = 64;
/// How long a connection may take to send GOAWAY and to close.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection with many requests at once. When this value is dropped, the task of the connection sends GOAWAY, closes
/// the connection, and ends.
pub(crate) struct Http2Connection {
    sender: SendRequest<Bytes>,
    pub(super) state: Arc<State>,
    pub(super) info: Arc<ConnectionInfo>,
    /// The maximum number of header fields of an answer.
    pub(super) max_headers: usize,
    /// Dropping this ends the connection's task.
    _open: oneshot::Sender<Infallible>,
}

impl Http2Connection {
    /// Starts HTTP/2 on a new connection. `notifier` is notified when the connection is closed or takes more requests.
    /// If `counts` is given, the connection is counted there as open.
    pub(crate) async fn open<R: Runtime>(
        runtime: &R,
        connected: Connected<R::Io>,
        limits: HeadLimits,
        ping: PingOptions,
        notifier: Option<Notifier>,
        counts: Option<&Arc<Counts>>,
    ) -> Result<Self, h2::Error> {
        let Connected { io, info } = connected;
        let state = Arc::new(State::new());
        let mut builder = Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(limits.max_header_list())
            .max_send_buffer_size(SEND_BUFFER)
            .max_concurrent_reset_streams(RESETS_REMEMBERED)
            .initial_max_send_streams(LIMIT_UNKNOWN)
            .enable_push(false);
        let (sender, mut connection) = builder.handshake(ConnIo::new(io, Arc::clone(&state))).await?;
        let pings = connection.ping_pong();
        let (open, closed) = oneshot::channel();
        let task = Task {
            runtime: runtime.clone(),
            connection,
            sender: sender.clone(),
            ping_pong: pings,
            pings: Pings::new(ping),
            closed,
            watch: Watch { state: Arc::clone(&state), notifier, _counted: counts.map(OpenConnection::new) },
        };
        runtime.spawn(task.run());
        Ok(Self { sender, state, info: Arc::new(info), max_headers: limits.max_headers(), _open: open })
    }

    /// Returns a sender for one request.
    ///
    /// # Errors
    /// Returns an error if the connection takes no more requests.
    pub(super) fn sender(&self) -> Result<SendRequest<Bytes>, h2::Error> {
        let mut sender = self.sender.clone();
        // A sender is pending only after it has sent a request beyond the server's limit. This sender has sent no
        // request.
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(sender),
        }
    }
}

impl SharedConnection for Http2Connection {
    fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    fn limit(&self) -> usize {
        self.state.limit()
    }

    fn is_settled(&self) -> bool {
        self.state.is_settled()
    }
}

type Connection<Io> = h2::client::Connection<ConnIo<Stream<Io>>, Bytes>;

/// The task of a connection. It reads and writes the bytes of the connection, and sends pings.
struct Task<R: Runtime> {
    runtime: R,
    connection: Connection<R::Io>,
    /// A sender that sends no requests. It shows whether the connection takes requests.
    sender: SendRequest<Bytes>,
    ping_pong: Option<h2::PingPong>,
    pings: Pings,
    closed: oneshot::Receiver<Infallible>,
    watch: Watch,
}

/// Marks the connection as closed when its task ends. This also happens if the task is dropped together with its
/// runtime.
struct Watch {
    state: Arc<State>,
    notifier: Option<Notifier>,
    _counted: Option<OpenConnection>,
}

/// The result of a poll of the connection's task.
enum Step {
    /// The connection has ended.
    Ended,
    /// The [`Http2Connection`] was dropped.
    Left,
    /// The time at which the task must look at its pings has changed.
    Look,
}

impl<R: Runtime> Task<R> {
    async fn run(mut self) {
        loop {
            let runtime = self.runtime.clone();
            let step = before(&runtime, self.pings.until(), poll_fn(|cx| self.poll(cx))).await;
            match step {
                Some(Step::Ended) => return,
                Some(Step::Left) => break,
                Some(Step::Look) | None => {}
            }
            let state = &self.watch.state;
            match self.pings.look(self.runtime.now(), state.heard(), state.has_requests()) {
                Due::Nothing => {}
                Due::Ping => self.ping(),
                // When the connection is dropped, its requests fail.
                Due::Close => return,
            }
        }
        self.watch.close();
        let Self { runtime, mut connection, sender, watch, .. } = self;
        drop(sender);
        let farewell = poll_fn(|cx| {
            watch.state.poll_bytes.begin_poll();
            Pin::new(&mut connection).poll(cx)
        });
        // The result is not needed: if there are requests, each of them gets the error itself.
        let _ended = before(&runtime, Some(runtime.now() + FAREWELL), farewell).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if Pin::new(&mut self.closed).poll(cx).is_ready() {
            return Poll::Ready(Step::Left);
        }
        let state = Arc::clone(&self.watch.state);
        let awaited = self.pings.until();
        if state.take_suspect(cx) && self.pings.may_ping(self.runtime.now()) {
            self.ping();
        }
        state.poll_bytes.begin_poll();
        if Pin::new(&mut self.connection).poll(cx).is_ready() {
            return Poll::Ready(Step::Ended);
        }
        self.note(cx);
        if let Some(ping_pong) = &mut self.ping_pong {
            // The answer to a ping is not needed here, since any received byte counts as an answer.
            let _pong = ping_pong.poll_pong(cx);
        }
        if self.pings.must_watch(state.has_requests()) {
            self.pings.watch(self.runtime.now(), state.heard());
        }
        if self.pings.until() == awaited { Poll::Pending } else { Poll::Ready(Step::Look) }
    }

    /// Sends a ping, unless another ping has not been answered yet.
    fn ping(&mut self) {
        if let Some(ping_pong) = &mut self.ping_pong {
            // Sending fails if another ping has not been answered yet, or if the connection has ended. Both are noticed
            // soon.
            let _sent = ping_pong.send_ping(Ping::opaque());
            self.pings.sent(self.runtime.now(), self.watch.state.heard());
        }
    }

    /// Updates the state: whether the connection takes requests, and how many. Notifies the notifier of changes.
    fn note(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(_)) = self.sender.poll_ready(cx) {
            self.watch.close();
        }
        let limit = self.connection.max_concurrent_send_streams();
        if limit != LIMIT_UNKNOWN && self.watch.state.set_limit(limit) {
            self.watch.tell();
        }
    }
}

impl Watch {
    fn close(&self) {
        if self.state.close() {
            self.tell();
        }
    }

    fn tell(&self) {
        if let Some(notifier) = &self.notifier {
            notifier.changed();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.close();
    }
}
