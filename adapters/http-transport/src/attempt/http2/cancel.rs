//! Ends requests over HTTP/2 that are abandoned ([C2](hedge_core::rules#C2)): [`reset`].

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use hedge_link::{Runtime, before};

use super::state::State;
use super::stream::Http2Stream;
use crate::attempt::drain::DrainOrClose;
use crate::attempt::pool::Pool;
use crate::counters::Counts;

/// How many answers a connection may throw away at a time. If there are more, the connection takes no new requests. So
/// their number stays limited even if the server no longer answers.
const MOST_THROWN_AWAY: usize = 100;

/// Ends a request. If the connection has reset fewer than 20 streams in the last second, the stream of the request is
/// reset at once. Otherwise its answer is read and thrown away in the background. If the answer has not ended after the
/// time limit, the stream is reset as soon as the connection may reset another stream.
pub(crate) fn reset<R: Runtime>(pool: &Arc<Pool<R>>, stream: Http2Stream) {
    let now = pool.runtime.now();
    if stream.lease.0.state.reset(now).is_ok() {
        pool.settings.counts.reset();
        return;
    }
    let thrown_away = ThrownAway::begin(pool, stream);
    // If the runtime is ending, it drops this task and its connections.
    pool.runtime.try_spawn(thrown_away.run(Arc::clone(pool)));
}

/// An abandoned request whose answer is thrown away. The request is counted in `state` and `counts` until this value is
/// dropped.
struct ThrownAway {
    stream: Http2Stream,
    state: Arc<State>,
    counts: Arc<Counts>,
    /// Whether the connection takes no new requests, since it throws away too many answers.
    is_retired: bool,
}

impl ThrownAway {
    fn begin<R: Runtime>(pool: &Pool<R>, stream: Http2Stream) -> Self {
        let (state, counts) = (Arc::clone(&stream.lease.0.state), Arc::clone(&pool.settings.counts));
        counts.begin_drain();
        let is_retired = state.begin_throwing_away() >= MOST_THROWN_AWAY;
        if is_retired {
            stream.lease.0.retire();
        }
        Self { stream, state, counts, is_retired }
    }

    async fn run<R: Runtime>(mut self, pool: Arc<Pool<R>>) {
        let runtime = &pool.runtime;
        let patience = match pool.settings.drain {
            DrainOrClose::Drain(options) => options.timeout,
            DrainOrClose::Close => Duration::ZERO,
        };
        let mut until = runtime.now() + patience;
        loop {
            if before(runtime, Some(until), poll_fn(|cx| self.stream.poll_thrown_away(cx))).await.is_some() {
                return self.counts.throw_away();
            }
            match self.state.reset(runtime.now()) {
                Ok(()) => return self.counts.reset(),
                // The connection is closed after these requests. So resetting the stream harms no other request, even
                // if the server then closes the connection.
                Err(_) if self.is_retired && self.state.has_only_thrown_away() => return self.counts.reset(),
                Err(next) => until = next,
            }
        }
    }
}

impl Drop for ThrownAway {
    fn drop(&mut self) {
        self.state.end_throwing_away();
        self.counts.end_throwing_away();
    }
}
