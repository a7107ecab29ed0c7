//! A caller for tests: a channel over servers that answer as the request says, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hedge_compose::{WayError, Ways};
use hedge_core::drive::{CallFailure, Timer as _};
use hedge_core::outcome::{End, ErrorKind, Verdict};
use hedge_core::time::Duration;
use hedge_fleet::{CallHost, CallOptions, Caller, Outcome, Trace, run};

use crate::board::Board;
use crate::testing::{Failed, Line};

/// What each attempt does, in the order of the attempts. The last entry is for all further attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    /// Answers after this many milliseconds.
    Answers(u64),
    /// Refuses after this many milliseconds.
    Refuses(u64),
    Panics,
}

pub(crate) type Request = Vec<Does>;

pub(crate) struct Service {
    line: Arc<Line>,
    /// How many services of this kind exist.
    alive: Arc<AtomicUsize>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) trace: Trace,
}

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) end: End,
    pub(crate) trace: Trace,
}

pub(crate) type Result = std::result::Result<Reply, WayError<Failure>>;

pub(crate) type TestWays = Ways<Service, Board>;

/// The ways to call a channel of this many servers.
pub(crate) fn ways(board: &Board, servers: u16) -> TestWays {
    counted_ways(board, servers).0
}

/// The same, and a count of channels that exist.
pub(crate) fn counted_ways(board: &Board, servers: u16) -> (TestWays, Arc<AtomicUsize>) {
    let keys: Vec<u16> = (1..=servers).collect();
    let mut line = Line::build("rr", 1, &keys, |_| {});
    line.clock = board.clock.clone();
    let alive = Arc::new(AtomicUsize::new(1));
    let service = Service { line: Arc::new(line), alive: Arc::clone(&alive) };
    (Ways::new(service, board.clone()), alive)
}

impl Drop for Service {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Caller<Request> for Service {
    type Reply = Reply;
    type Error = Failure;

    #[allow(unused_mut, reason = "`run!` lets `start` be `FnMut`")]
    async fn call_with(&self, request: &Request, options: &CallOptions) -> std::result::Result<Reply, Failure> {
        let mut host = CallHost::new(Arc::clone(&self.line), ());
        let clock = self.line.clock.clone();
        run!(
            host,
            options,
            hedge_core::policy::Idempotency::Idempotent,
            |attempt: AttemptInfo<_>| serve(clock.clone(), request[attempt.attempt.index().min(request.len() - 1)]),
            |call, result| {
                let trace = Trace::nowhere(call.report().clone());
                match result {
                    Ok(()) => Ok(Reply { trace }),
                    Err(CallFailure::Ended { end, .. }) => Err(Failure { end, trace }),
                    Err(CallFailure::Config(error)) => panic!("{error}"),
                }
            }
        )
        .unwrap()
    }
}

async fn serve(clock: crate::testing::Clock, does: Does) -> std::result::Result<(), Failed> {
    let after = |millis| clock.sleep_until(clock.now() + Duration::from_millis(millis));
    match does {
        Does::Answers(millis) => after(millis).await,
        Does::Refuses(millis) => {
            after(millis).await;
            return Err(Failed(ErrorKind::Refused));
        }
        Does::Panics => panic!("a panic of the transport, which this test wants"),
    }
    Ok(())
}

impl Outcome for Reply {
    fn trace(&self) -> &Trace {
        &self.trace
    }

    fn verdict(&self) -> Verdict {
        Verdict::Accept
    }

    fn never_left(&self) -> bool {
        false
    }

    fn all_down(&self) -> bool {
        false
    }
}

impl Outcome for Failure {
    fn trace(&self) -> &Trace {
        &self.trace
    }

    fn verdict(&self) -> Verdict {
        Verdict::Retry
    }

    fn never_left(&self) -> bool {
        self.trace.never_left()
    }

    fn all_down(&self) -> bool {
        matches!(self.end, End::NoServer | End::AllDown)
    }
}
