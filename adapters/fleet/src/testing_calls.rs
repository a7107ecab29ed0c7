//! Calls for unit tests: the test polls a call, and answers the call's attempts.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use hedge_core::balance::{Pick, Selection};
use hedge_core::bounded::Bounded;
use hedge_core::call::Host;
use hedge_core::config::ServerLimits;
use hedge_core::drive::{AttemptInfo, CallFailure, Timer};
use hedge_core::health::{BreakerOptions, FailureOptions};
use hedge_core::id::AttemptId;
use hedge_core::outcome::{Code, End, ErrorKind, Feedback, SentAttempt};
use hedge_core::time::{Instant, Micros, Timeout};

use crate::testing::{Failed, Line};
use crate::{CallHost, CallOptions, Report, Setup};

pub(crate) type Attempt = AttemptInfo<u16>;

/// How a call ended, and its report. The result is the server that answered, or the reason why no server answered.
pub(crate) type Ended = (Result<u16, End>, Report);

impl Line {
    pub(crate) fn new(balancer: &str, seed: u64, keys: &[u16], limits: ServerLimits) -> Arc<Self> {
        Self::with(balancer, seed, keys, |setup| setup.server_limits = limits)
    }

    pub(crate) fn with(balancer: &str, seed: u64, keys: &[u16], set: impl FnOnce(&mut Setup)) -> Arc<Self> {
        Arc::new(Self::build(balancer, seed, keys, set))
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn in_flight(&self, key: u16) -> u32 {
        self.node(key).in_flight()
    }

    pub(crate) fn set_broken(&self, key: u16, broken: bool) {
        let node = self.node(key);
        self.servers.set_broken(&node, broken, self.clock.now()).tell(&self.servers, &node);
    }

    /// Makes a call. `serve` answers the attempts of the call.
    #[allow(unused_mut, reason = "`run!` lets `start` be `FnMut`")]
    pub(crate) async fn call<F>(self: Arc<Self>, options: CallOptions, serve: impl Fn(Attempt) -> F) -> Ended
    where
        F: Future<Output = Result<u16, Failed>>,
    {
        let mut host = CallHost::new(Arc::clone(&self), ());
        crate::run!(
            host,
            options,
            hedge_core::policy::Idempotency::Idempotent,
            |attempt| serve(attempt),
            |call, result| {
                let result = result.map_err(|failure| match failure {
                    CallFailure::Ended { end, .. } => end,
                    CallFailure::Config(error) => panic!("{error}"),
                });
                (result, call.report().clone())
            }
        )
        .unwrap()
    }

    /// Picks a server as a call would, and ends the attempt at once; the attempt succeeds if `ok` is true. Returns the
    /// key of the server. Returns `None` if no server could be picked.
    pub(crate) fn pick(self: &Arc<Self>, random: &mut fastrand::Rng, ok: bool) -> Option<u16> {
        let latency = Micros::from_micros(random.u64(500..1_500));
        let feedback = if ok { Feedback::Success { latency } } else { Feedback::Failure { latency } };
        let host = CallHost::new(Arc::clone(self), ());
        let now = self.clock.now();
        let request_code = Some(random.u32(..));
        let selection = Selection { tried: &[], same: None, working_too: false, servers: None, request_code, now };
        let pick: Pick<_> = host.look(&selection, &mut || random.u32(..)).ok()?;
        assert!(host.commit(&pick, now, true));
        let key = *self.servers.load().list().get(pick.server)?.key();
        let sent = SentAttempt {
            server: pick.server,
            at: now,
            attempt: AttemptId::FIRST,
            max_retry: 0,
            timeout: Timeout::NEVER,
        };
        host.finished(&sent.finished(now + latency, feedback, Code::NONE));
        Some(key)
    }
}

/// Attempts that wait for the test to answer them.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Vec<HeldAttempt>>>);

struct HeldAttempt {
    server: u16,
    started: Instant,
    answer: Option<Result<u16, Failed>>,
    waker: Option<Waker>,
}

impl Held {
    pub(crate) fn serve(&self, attempt: Attempt) -> impl Future<Output = Result<u16, Failed>> + use<> {
        let all = self.clone();
        let index = {
            let mut held = self.0.lock().unwrap();
            held.push(HeldAttempt { server: attempt.address, started: attempt.started, answer: None, waker: None });
            held.len() - 1
        };
        std::future::poll_fn(move |cx| {
            let mut held = all.0.lock().unwrap();
            held[index].waker = Some(cx.waker().clone());
            held[index].answer.map_or(Poll::Pending, Poll::Ready)
        })
    }

    /// Answers one attempt: with its server if `ok` is true, and otherwise with an error. `index` counts the attempts
    /// in the order of their starts, from 0.
    pub(crate) fn answer(&self, index: usize, ok: bool) {
        let waker = {
            let mut held = self.0.lock().unwrap();
            held[index].answer = Some(if ok { Ok(held[index].server) } else { Err(Failed(ErrorKind::Refused)) });
            held[index].waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns the servers of all attempts, in the order of their starts.
    pub(crate) fn servers(&self) -> Vec<u16> {
        self.0.lock().unwrap().iter().map(|held| held.server).collect()
    }

    pub(crate) fn started(&self, index: usize) -> Instant {
        self.0.lock().unwrap()[index].started
    }
}

/// A call that the test polls.
pub(crate) struct Polled {
    call: Pin<Box<dyn Future<Output = Ended>>>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Polled {
    /// Makes a call that was polled once and has to wait.
    pub(crate) fn waits(line: &Arc<Line>, options: CallOptions, held: &Held) -> Self {
        let mut call = Self::new(line, options, held);
        assert!(call.poll().is_none());
        call
    }

    pub(crate) fn new(line: &Arc<Line>, options: CallOptions, held: &Held) -> Self {
        let held = held.clone();
        let call = Box::pin(Arc::clone(line).call(options, move |attempt| held.serve(attempt)));
        Self { call, wakes: Arc::default() }
    }

    pub(crate) fn poll(&mut self) -> Option<Ended> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        match self.call.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        }
    }

    /// Polls the call, and returns how it ended. The call must end at this poll.
    pub(crate) fn end(&mut self) -> Ended {
        self.poll().expect("the call is over")
    }

    /// Returns how often the call was woken.
    pub(crate) fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }
}

/// Returns a circuit breaker that isolates a server after one failure.
pub(crate) fn after_one_failure() -> BreakerOptions {
    BreakerOptions::ConsecutiveFailures(FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT })
}
