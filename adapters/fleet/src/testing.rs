//! A channel for tests: its servers are numbers, its clock is set by hand, and the test answers the attempts.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use hedge_core::balance::{Pick, Selection};
use hedge_core::call::Host;
use hedge_core::config::ServerLimits;
use hedge_core::drive::{AttemptInfo, CallFailure, Timer};
use hedge_core::health::{BreakerOptions, FailureOptions};
use hedge_core::id::AttemptId;
use hedge_core::outcome::{Code, End, ErrorKind, Feedback, Judgement, SentAttempt, Verdict};
use hedge_core::policy::RetryPolicy;
use hedge_core::time::{Instant, Micros, Timeout};

use crate::{CallHost, CallOptions, ChannelContext, ListEntry, Node, OwnAddress, Report, Servers, Settings, Setup};

/// A clock that is set by hand.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }

    pub(crate) fn millis(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Timer for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_millis(self.millis())
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { clock: self.clone(), at }
    }
}

/// Is ready once the clock says so. It does not wake.
pub(crate) struct Sleep {
    clock: Clock,
    at: Instant,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() < self.at { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// Every error may be retried elsewhere.
pub(crate) struct RetryAll;

impl<Reply> RetryPolicy<Reply, ()> for RetryAll {
    fn judge(&self, result: Result<&Reply, &()>) -> Judgement {
        match result {
            Ok(_) => Judgement::new(Verdict::Accept, Code::NONE),
            Err(()) => Judgement::new(Verdict::Retry, Code::from(ErrorKind::Refused)),
        }
    }
}

/// A channel whose servers are numbers.
pub(crate) struct Line {
    pub(crate) servers: Servers<u16, OwnAddress<()>>,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
}

pub(crate) type Attempt = AttemptInfo<u16>;

/// How a call ended: the server that answered, or why none did.
pub(crate) type Ended = (Result<u16, End>, Report);

impl Line {
    pub(crate) fn new(balancer: &str, seed: u64, keys: &[u16], limits: ServerLimits) -> Arc<Self> {
        Self::with(balancer, seed, keys, |setup| setup.server_limits = limits)
    }

    pub(crate) fn with(balancer: &str, seed: u64, keys: &[u16], set: impl FnOnce(&mut Setup)) -> Arc<Self> {
        let mut setup = Setup::new();
        set(&mut setup);
        let balancer = crate::Balancer::named(balancer, seed).unwrap();
        let servers = Servers::new(balancer, setup.health().unwrap(), 1 << 16).with_limits(&setup.server_limits);
        let line = Self { servers, settings: setup.into_settings(seed).unwrap(), clock: Clock::default() };
        line.set(keys);
        Arc::new(line)
    }

    pub(crate) fn set(&self, keys: &[u16]) {
        let new = |key: &u16| ListEntry::New { key: *key, service: OwnAddress(()), weight: NonZeroU32::MIN };
        let write = |key: &u16, out: &mut dyn std::fmt::Write| write!(out, "{key}");
        let plan = |old: &crate::Snapshot<u16, OwnAddress<()>>| {
            let place = |key| old.list().named(key).cloned().map_or_else(|| new(key), ListEntry::Stays);
            Some(keys.iter().map(place).collect())
        };
        self.servers.change(write, self.clock.now(), plan).unwrap();
    }

    pub(crate) fn node(&self, key: u16) -> Arc<Node<u16, OwnAddress<()>>> {
        Arc::clone(self.servers.load().list().named(&key).unwrap())
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

    /// Makes a call whose attempts `serve` answers.
    #[allow(unused_mut, reason = "`run!` lets `start` be `FnMut`")]
    pub(crate) async fn call<F>(self: Arc<Self>, options: CallOptions, serve: impl Fn(Attempt) -> F) -> Ended
    where
        F: Future<Output = Result<u16, ()>>,
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

    /// The server that a call picks now, whose attempt ends at once. `None`: there is none.
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

impl ChannelContext for Line {
    type Key = u16;
    type Service = OwnAddress<()>;
    type Address = u16;
    type Call = ();
    type Timer = Clock;
    type RetryPolicy = RetryAll;

    fn servers(&self) -> &Servers<u16, OwnAddress<()>> {
        &self.servers
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn timer(&self) -> &Clock {
        &self.clock
    }

    fn retry_policy(&self) -> &RetryAll {
        &RetryAll
    }

    fn address(&self, node: &Node<u16, OwnAddress<()>>) -> u16 {
        *node.key()
    }
}

/// Attempts that wait for the test to answer them.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Vec<HeldAttempt>>>);

struct HeldAttempt {
    server: u16,
    started: Instant,
    answer: Option<Result<u16, ()>>,
    waker: Option<Waker>,
}

impl Held {
    pub(crate) fn serve(&self, attempt: Attempt) -> impl Future<Output = Result<u16, ()>> + use<> {
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

    /// Answers an attempt, by the order of their starts.
    pub(crate) fn answer(&self, index: usize, ok: bool) {
        let waker = {
            let mut held = self.0.lock().unwrap();
            held[index].answer = Some(if ok { Ok(held[index].server) } else { Err(()) });
            held[index].waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The servers of all attempts, in the order of their starts.
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
    /// A call that was polled once and has to wait.
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

    /// Its end, which is there at this poll.
    pub(crate) fn end(&mut self) -> Ended {
        self.poll().expect("the call is over")
    }

    /// How often it was woken.
    pub(crate) fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }
}

/// A breaker that isolates after one failure.
pub(crate) fn after_one_failure() -> BreakerOptions {
    BreakerOptions::ConsecutiveFailures(FailureOptions { failures: 1, ..FailureOptions::DEFAULT })
}
