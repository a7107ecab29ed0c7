//! The load generator: so many calls, so many at a time, on any runtime.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hedge_net::http::{Http, RequestBody};
use hedge_net::{CallOptions, Channel, Runtime, hash};
use http::Request;
use http::uri::{PathAndQuery, Uri};

use crate::stats::Tally;

/// How often the progress is shown and Ctrl-C looked for.
const TICK: Duration = Duration::from_millis(50);

/// What to send, and how.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) calls: u64,
    pub(crate) concurrency: u32,
    pub(crate) path: PathAndQuery,
    pub(crate) options: CallOptions,
    /// Ends the run early once it is true.
    pub(crate) stop: Arc<AtomicBool>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
    /// What the first failure had to say; of a call that was sent, if one was: the others only tell that all servers were
    /// down by then.
    pub(crate) first_error: Option<String>,
}

/// What the callers of one run share.
struct Run {
    load: Load,
    begun: AtomicU64,
    tally: Mutex<Tally>,
    first_sent_error: OnceLock<String>,
    first_unsent_error: OnceLock<String>,
}

impl Run {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next call; `None` if there is none.
    fn next(&self) -> Option<u64> {
        let stopped = self.load.stop.load(Ordering::Relaxed);
        Some(self.begun.fetch_add(1, Ordering::Relaxed)).filter(|number| !stopped && *number < self.load.calls)
    }
}

/// Runs the load to its end or until it is stopped; `progress` is told the calls done so far.
///
/// It blocks its thread, which no call runs on: the callers are tasks of the runtime.
pub(crate) fn run<R: Runtime>(
    runtime: &R,
    channel: &Channel<R, Http<R>>,
    load: Load,
    progress: impl Fn(u64),
) -> Outcome {
    let callers = load.calls.min(load.concurrency.into());
    let run = Arc::new(Run {
        load,
        begun: AtomicU64::new(0),
        tally: Mutex::default(),
        first_sent_error: OnceLock::new(),
        first_unsent_error: OnceLock::new(),
    });
    let (working, ended) = mpsc::channel();
    let begun = Instant::now();
    for _ in 0..callers {
        runtime.spawn(call_on(channel.clone(), Arc::clone(&run), working.clone()));
    }
    drop(working);
    // The last caller's end closes the channel.
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        progress(run.tally().calls());
        if run.load.stop.load(Ordering::Relaxed) {
            // Calls in flight are not waited for: they may take up to the timeout.
            break;
        }
    }
    let took = begun.elapsed();
    let tally = std::mem::take(&mut *run.tally());
    progress(tally.calls());
    let first_error = run.first_sent_error.get().or(run.first_unsent_error.get()).cloned();
    Outcome { tally, took, first_error }
}

/// One caller: one call after the other.
async fn call_on<R: Runtime>(channel: Channel<R, Http<R>>, run: Arc<Run>, _working: Sender<()>) {
    while let Some(number) = run.next() {
        // A key a call, for balancers that hash.
        let request_code = Some(hash::murmur3_32(&number.to_le_bytes()));
        let options = CallOptions { request_code, ..run.load.options.clone() };
        let mut request = Request::new(RequestBody::Empty);
        *request.uri_mut() = Uri::from(run.load.path.clone());
        let begun = Instant::now();
        let result = channel.call_with(request, &options).await;
        let latency = begun.elapsed();
        match &result {
            Ok(reply) => run.tally().record(latency, reply.report(), None),
            Err(error) => {
                let unsent = error.report().attempts().is_empty();
                let first = if unsent { &run.first_unsent_error } else { &run.first_sent_error };
                first.get_or_init(|| error.to_string());
                run.tally().record(latency, error.report(), Some(error.kind()));
            }
        }
    }
}
