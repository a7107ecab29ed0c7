//! What becomes of the connection of an abandoned attempt ([C2](hedge_core::rules#C2)): [`DrainOrClose`].

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hedge_core::time::Instant;
use hedge_link::{PoolConnection as _, Runtime, before};
use http_body::Body as _;
use hyper::body::Incoming;

use super::pool::{Pool, PoolHandle as _};
use crate::connection::Connection;
use crate::poll_budget::PollBudget;

/// What becomes of the connection of an attempt that is abandoned after its request was sent whole
/// ([C2](hedge_core::rules#C2)): of the loser of a hedged call, of a call that was cancelled or dropped, and of one whose
/// deadline passed. Default: [`Drain`](Self::Drain) with [`DrainOptions::DEFAULT`].
///
/// A request counts as sent whole once hyper has all of it and has begun to write it. If the request was not sent whole,
/// the connection is always closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DrainOrClose {
    /// The answer is read and thrown away in the background, and the connection is kept. Without this, each backup would
    /// cost a new connection. The server does the work in any case, unless it looks for a close.
    Drain(DrainOptions),
    /// The connection is closed at once. Servers of HTTP/1.1 take a close for a cancel, if they look for one before they
    /// answer: choose this if an answer costs your servers more than a connection.
    Close,
}

impl Default for DrainOrClose {
    fn default() -> Self {
        Self::Drain(DrainOptions::DEFAULT)
    }
}

/// The limits of answers that are read and thrown away. A connection over one of them is closed. The limits of an
/// answer's head hold too.
///
/// ```
/// use hedge_http_transport::DrainOptions;
/// use std::time::Duration;
///
/// let options = DrainOptions { timeout: Duration::from_millis(200), ..DrainOptions::DEFAULT };
/// assert_eq!((options.max_body, options.max_connections), (64 * 1024, 100));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrainOptions {
    /// How much of a body is read at most, in bytes. A body that announces more is not read at all.
    pub max_body: usize,
    /// How long that takes at most, from the moment when the attempt is abandoned.
    pub timeout: Duration,
    /// How many connections to one server do this at a time. With 0, none does.
    pub max_connections: usize,
}

impl DrainOptions {
    /// 64 KiB, 1 s, 100 connections.
    pub const DEFAULT: Self = Self { max_body: 64 * 1024, timeout: Duration::from_secs(1), max_connections: 100 };
}

impl Default for DrainOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The connection of an abandoned attempt.
pub(crate) struct Abandoned {
    pub(crate) connection: Connection,
    /// The body of the answer, if its head has come.
    pub(crate) body: Option<Incoming>,
    /// The time since when the connection had been idle before this request, if it had been, and if no answer has come.
    pub(crate) idle_since: Option<Instant>,
}

/// Takes over the connection of an abandoned attempt: drains it in the background, or closes it.
pub(crate) fn abandon<R: Runtime>(pool: &Arc<Pool<R>>, abandoned: Abandoned) {
    match pool.settings.drain {
        DrainOrClose::Drain(options)
            if !pool.is_short()
                && abandoned.connection.state().is_handed_over()
                && abandoned.connection.runtime() == pool.runtime.id()
                && let Some(draining) = Draining::begin(pool, options.max_connections) =>
        {
            // If the runtime is ending, it drops the task, and that closes the connection.
            pool.runtime.try_spawn(draining.run(abandoned, options));
        }
        _ => pool.settings.counts.close_undrained(),
    }
}

/// A connection that is being drained. It is counted as such until this is dropped.
struct Draining<R: Runtime> {
    pool: Arc<Pool<R>>,
    is_kept: bool,
}

impl<R: Runtime> Draining<R> {
    /// `None` if `most` connections are draining already.
    fn begin(pool: &Arc<Pool<R>>, most: usize) -> Option<Self> {
        if pool.draining.fetch_add(1, Ordering::Relaxed) >= most {
            pool.draining.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        pool.settings.counts.begin_drain();
        Some(Self { pool: Arc::clone(pool), is_kept: false })
    }

    async fn run(mut self, abandoned: Abandoned, options: DrainOptions) {
        let (state, idle_since) = (Arc::clone(abandoned.connection.state()), abandoned.idle_since);
        let runtime = self.pool.runtime.clone();
        let until = runtime.now() + options.timeout;
        match before(&runtime, Some(until), drain(abandoned, options.max_body)).await {
            Some(Some(connection)) => {
                self.is_kept = true;
                Arc::clone(&self.pool).give_back(connection);
            }
            // It broke before a byte of the answer: those that have been idle for as long may be broken too (C3).
            Some(None) if !state.is_heard() => {
                if let Some(since) = idle_since {
                    self.pool.close_idle_since(since);
                }
            }
            Some(None) | None => {}
        }
    }
}

impl<R: Runtime> Drop for Draining<R> {
    fn drop(&mut self) {
        self.pool.draining.fetch_sub(1, Ordering::Relaxed);
        self.pool.settings.counts.end_drain(self.is_kept);
    }
}

/// Reads an answer and throws it away. Returns the connection if it can be used again.
async fn drain(abandoned: Abandoned, max_body: usize) -> Option<Connection> {
    let Abandoned { mut connection, body, .. } = abandoned;
    let mut body = match body {
        Some(body) => body,
        None => connection.replied().await.ok()?.into_body(),
    };
    let mut left = max_body;
    if body.size_hint().lower() > left as u64 {
        return None;
    }
    let mut budget = PollBudget::default();
    while let Some(frame) = poll_fn(|cx| budget.poll(cx, |cx| Pin::new(&mut body).poll_frame(cx))).await {
        left = left.checked_sub(frame.ok()?.data_ref().map_or(0, Bytes::len))?;
    }
    let is_ready = connection.is_free() && poll_fn(|cx| connection.poll_ready(cx)).await;
    is_ready.then_some(connection)
}
