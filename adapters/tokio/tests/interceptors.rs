//! Interceptors around calls over a transport of the caller's own, in tokio's paused time: I1.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hedge_net::{Address, AttemptError, AttemptInfo, Channel, ErrorKind, InterceptorPanicked, SendTransport};
use hedge_tokio::{
    AfterAttempt, AfterCall, BeforeAttempt, BeforeCall, CallEnd, CallError, CallId, CallOptions, CallOutcome,
    CancelToken, Flow, Interceptor, Interceptors, Observer, Refusal, Server, Tokio,
};
use tokio::time::{Instant, sleep, timeout};

/// A server's port is how many milliseconds it takes. One that takes an odd time fails.
#[derive(Clone, Default)]
struct Ports(Arc<Mutex<Vec<String>>>);

#[derive(Clone, Copy, Debug)]
struct Failed;

impl AttemptError for Failed {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Broken
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl SendTransport for Ports {
    type Address = Address;
    type Request = String;
    type Reply = String;
    type Error = Failed;

    async fn start(&self, request: &String, attempt: AttemptInfo<Address>) -> Result<String, Failed> {
        let Address::Socket(address) = attempt.address else { panic!("no socket") };
        self.0.lock().unwrap().push(request.clone());
        sleep(MS(address.port().into())).await;
        if address.port() % 2 == 1 { Err(Failed) } else { Ok(format!("{request} done")) }
    }
}

const MS: fn(u64) -> Duration = Duration::from_millis;

fn server(port: u16) -> Server {
    Server::new(std::net::SocketAddr::from(([127, 0, 0, 1], port)), "")
}

fn in_order(ports: &[u16]) -> CallOptions {
    CallOptions { servers: Some(ports.iter().copied().map(server).collect()), ..CallOptions::new() }
}

type Builder = hedge_tokio::Builder<Ports>;

fn builder() -> Builder {
    builder_over(&Ports::default())
}

fn builder_over(ports: &Ports) -> Builder {
    let servers = "list://127.0.0.1:100,127.0.0.1:20,127.0.0.1:1";
    Channel::with_transport(Tokio::new(), ports.clone(), servers).load_balancer("rr").seed(1)
}

fn request() -> String {
    "request".to_owned()
}

/// Waits before each call.
struct Waits(Duration);

impl<Q: Send + Sync, B, E> Interceptor<Q, B, E> for Waits {
    async fn before_call(&self, _: &mut BeforeCall<'_, Q>) -> Result<Flow<B>, Refusal> {
        sleep(self.0).await;
        Ok(Flow::Continue)
    }
}

#[tokio::test(start_paused = true)]
async fn i1_the_wait_before_a_call_counts_against_its_deadline() {
    // The wait, the timeout of the call, how it ends, when, and how many attempts there were.
    for (wait, limit, kind, ended, attempts) in [
        (300, None, "ok", 400, 1),
        (300, Some(350), "deadline", 350, 1),
        (450, None, "deadline", 500, 1),
        (600, None, "deadline", 500, 0),
        (600, Some(20), "deadline", 20, 0),
        (600, Some(1_000), "ok", 700, 1),
    ] {
        let ports = Ports::default();
        let channel = builder_over(&ports).interceptor(Waits(MS(wait))).build().unwrap();
        let options =
            CallOptions { timeout: limit.map(|limit| hedge_net::Timeout::after(MS(limit))), ..in_order(&[100]) };
        let start = Instant::now();
        let result = channel.call_with(request(), &options).await;
        let took = start.elapsed().as_millis();
        assert_eq!((result.as_ref().map_or_else(CallError::kind, |_| "ok"), took), (kind, ended), "wait {wait}");
        assert_eq!((ports.0.lock().unwrap().len(), channel.in_flight(&server(100))), (attempts, 0));
        let counters = channel.counters();
        assert_eq!((counters.calls(), counters.deadline), (1, u64::from(kind == "deadline")));
    }
}

#[tokio::test(start_paused = true)]
async fn i1_an_interceptor_may_shorten_the_deadline_of_those_behind_it() {
    let hurries = |call: &mut BeforeCall<'_, String>| {
        call.options_mut().timeout = Some(hedge_net::Timeout::after(MS(50)));
        Ok(Flow::Continue)
    };
    let channel = builder().interceptor(Before(hurries)).interceptor(Waits(MS(60))).build().unwrap();
    let start = Instant::now();
    assert_eq!(channel.call(request()).await.unwrap_err().kind(), "deadline");
    assert_eq!(start.elapsed(), MS(50));
}

/// Runs a closure before each call.
struct Before<F>(F);

impl<F> Interceptor<String, String, Failed> for Before<F>
where
    F: Fn(&mut BeforeCall<'_, String>) -> Result<Flow<String>, Refusal> + Send + Sync,
{
    async fn before_call(&self, call: &mut BeforeCall<'_, String>) -> Result<Flow<String>, Refusal> {
        self.0(call)
    }
}

/// Writes down what it sees, with its name.
#[derive(Clone)]
struct Sees(&'static str, Arc<Mutex<Vec<String>>>);

impl Sees {
    fn new(name: &'static str) -> Self {
        Self(name, Arc::default())
    }

    fn push(&self, what: &str) {
        self.1.lock().unwrap().push(format!("{}: {what}", self.0));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.1.lock().unwrap())
    }
}

impl Interceptor<String, String, Failed> for Sees {
    async fn before_call(&self, call: &mut BeforeCall<'_, String>) -> Result<Flow<String>, Refusal> {
        self.push(&format!("call of {}", call.request()));
        Ok(Flow::Continue)
    }

    fn before_attempt(&self, attempt: &mut BeforeAttempt<'_, String>) -> Result<(), Refusal> {
        self.push(&format!("attempt {} at {}", attempt.info().attempt, attempt.server()));
        attempt.request_mut().push_str(self.0);
        Ok(())
    }

    fn after_attempt(&self, attempt: &AfterAttempt<'_, String, String, Failed>) {
        self.push(&format!("{} was {:?}", attempt.request(), attempt.result()));
    }

    fn after_call(&self, call: &AfterCall<'_, String, String, Failed>) {
        let outcome = match call.outcome() {
            CallOutcome::Replied(reply) => reply.clone(),
            CallOutcome::Failed(last) => format!("{:?} {last:?}", call.end().end()),
            CallOutcome::Refused(error) => format!("refused, {error}"),
            _ => "dropped".to_owned(),
        };
        let winner = call.end().winner_server().map_or_else(|| "nobody".to_owned(), ToString::to_string);
        self.push(&format!("{outcome} by {winner}, {} attempts", call.end().attempts().len()));
    }
}

#[tokio::test(start_paused = true)]
async fn i1_global_interceptors_are_around_those_of_the_channel() {
    let inner = Sees::new("b");
    let outer = Sees("a", Arc::clone(&inner.1));
    let global = Interceptors::none().with(outer);
    let ports = Ports::default();
    // The list is outermost wherever the builder is given it.
    let channel = builder_over(&ports).interceptor(inner.clone()).interceptors(&global).build().unwrap();
    let options = in_order(&[100, 20]).with_backup(MS(10));
    let start = Instant::now();
    let reply = channel.call_with(request(), &options).await.unwrap();
    assert_eq!((start.elapsed(), &**reply), (MS(30), "requestab done"), "interceptors take no time");
    assert_eq!(
        inner.take(),
        [
            "a: call of request",
            "b: call of request",
            "a: attempt 0 at 127.0.0.1:100",
            "b: attempt 0 at 127.0.0.1:100",
            "a: attempt 1 at 127.0.0.1:20",
            "b: attempt 1 at 127.0.0.1:20",
            "b: requestab was Some(Ok(\"requestab done\"))",
            "a: requestab was Some(Ok(\"requestab done\"))",
            "b: requestab was None",
            "a: requestab was None",
            "b: requestab done by 127.0.0.1:20, 2 attempts",
            "a: requestab done by 127.0.0.1:20, 2 attempts",
        ]
    );
    assert_eq!(*ports.0.lock().unwrap(), ["requestab", "requestab"], "each attempt changes the call's own request");
}

#[tokio::test(start_paused = true)]
async fn i1_a_call_that_is_dropped_or_cancelled_ends_its_wait() {
    let (sees, ports) = (Sees::new("a"), Ports::default());
    let channel = builder_over(&ports).interceptor(sees.clone()).interceptor(Waits(MS(300))).build().unwrap();
    assert!(timeout(MS(10), channel.call(request())).await.is_err());
    assert_eq!(sees.take(), ["a: call of request", "a: dropped by nobody, 0 attempts"]);

    let token = CancelToken::new();
    let options = CallOptions { cancel: Some(token.clone()), ..CallOptions::new() };
    let start = Instant::now();
    let cancel = async {
        sleep(MS(10)).await;
        token.cancel();
    };
    let (result, ()) = tokio::join!(channel.call_with(request(), &options), cancel);
    assert_eq!((result.unwrap_err().kind(), start.elapsed()), ("cancelled", MS(10)));
    assert_eq!(sees.take()[1], "a: Some(Cancelled) None by nobody, 0 attempts");

    // In the middle of an attempt.
    let channel = builder_over(&ports).interceptor(sees.clone()).build().unwrap();
    assert!(timeout(MS(10), channel.call_with(request(), &in_order(&[100]))).await.is_err());
    assert_eq!(sees.take()[2..], ["a: requesta was None", "a: dropped by nobody, 0 attempts"]);
    assert_eq!((ports.0.lock().unwrap().len(), channel.in_flight(&server(100))), (1, 0));
}

/// Counts what is told of calls.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Observer for Calls {
    fn call_started(&self, _: CallId) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn call_ended(&self, _: CallId, _: &CallEnd<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug, PartialEq)]
struct NoToken;

impl std::fmt::Display for NoToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no token")
    }
}

impl std::error::Error for NoToken {}

#[tokio::test(start_paused = true)]
async fn i1_a_refused_or_answered_call_starts_nothing() {
    let flow = |call: &mut BeforeCall<'_, String>| match call.request().as_str() {
        "refuse" => Err(NoToken.into()),
        "panic" => resume_unwind(Box::new("on purpose")),
        _ => Ok(Flow::Answer("own answer".to_owned())),
    };
    let (calls, ports, sees) = (Arc::new(Calls::default()), Ports::default(), Sees::new("a"));
    let channel = builder_over(&ports).interceptor(sees.clone()).interceptor(Before(flow));
    let channel = channel.observer(Arc::clone(&calls) as _).on_end(|_| panic!("no call")).build().unwrap();

    let error = channel.call("refuse".to_owned()).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), ("refused", "refused by an interceptor: no token"));
    assert_eq!((error.report().end(), error.report().attempts().len()), (None, 0));
    let CallError::Refused { error, .. } = error else { panic!("{error}") };
    assert_eq!(error.downcast_ref(), Some(&NoToken));

    let error = channel.call("panic".to_owned()).await.unwrap_err();
    let CallError::Refused { error, .. } = error else { panic!("{error}") };
    assert_eq!(error.downcast_ref(), Some(&InterceptorPanicked));

    let reply = channel.call("answer".to_owned()).await.unwrap();
    assert_eq!(
        (&**reply, reply.server(), reply.answered_by().to_string()),
        ("own answer", None, "an interceptor".into())
    );
    assert_eq!((reply.report().end(), reply.report().attempts().len()), (None, 0));

    assert_eq!(
        sees.take(),
        [
            "a: call of refuse",
            "a: refused, no token by nobody, 0 attempts",
            "a: call of panic",
            "a: refused, the interceptor panicked by nobody, 0 attempts",
            "a: call of answer",
            "a: own answer by nobody, 0 attempts",
        ]
    );
    let counters = channel.counters();
    assert_eq!((counters.refused, counters.answered, counters.calls()), (2, 1, 0));
    assert_eq!((channel.latencies().count(), calls.0.load(Ordering::Relaxed)), (0, 0));
    assert!(ports.0.lock().unwrap().is_empty());
}

/// Refuses the attempt of this number, or panics before and after it.
struct NoSecond {
    panics: bool,
}

impl<Q, B, E> Interceptor<Q, B, E> for NoSecond {
    fn before_attempt(&self, attempt: &mut BeforeAttempt<'_, Q>) -> Result<(), Refusal> {
        match attempt.info().attempt.index() {
            0 => Ok(()),
            _ if self.panics => resume_unwind(Box::new("on purpose")),
            _ => Err(NoToken.into()),
        }
    }

    fn after_attempt(&self, _: &AfterAttempt<'_, Q, B, E>) {
        if self.panics {
            resume_unwind(Box::new("on purpose"));
        }
    }

    fn after_call(&self, _: &AfterCall<'_, Q, B, E>) {
        if self.panics {
            resume_unwind(Box::new("on purpose"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn i1_a_refused_attempt_ends_its_call_and_blames_no_server() {
    for (panics, expected) in [(false, "no token"), (true, "the interceptor panicked")] {
        let (ports, sees) = (Ports::default(), Sees::new("a"));
        let breaker =
            hedge_net::FailureOptions { failures: hedge_net::Bounded::of::<1>(), ..hedge_net::FailureOptions::DEFAULT };
        let channel = builder_over(&ports).circuit_breaker(hedge_net::BreakerOptions::ConsecutiveFailures(breaker));
        let channel = channel.interceptor(sees.clone()).interceptor(NoSecond { panics }).build().unwrap();
        let options = in_order(&[100, 20]).with_backup(MS(10));
        let start = Instant::now();
        let error = channel.call_with(request(), &options).await.unwrap_err();
        assert_eq!(start.elapsed(), MS(10));
        assert_eq!((error.kind(), error.to_string()), ("refused", format!("refused by an interceptor: {expected}")));
        let codes: Vec<_> = error.report().attempts().iter().map(|attempt| attempt.code().to_string()).collect();
        assert_eq!(codes, ["not said", "failed at this client"]);
        assert_eq!(ports.0.lock().unwrap().len(), 1, "the backup was not sent");
        assert_eq!(
            [100, 20].map(|port| (channel.in_flight(&server(port)), channel.usable(&server(port)))),
            [(0, true); 2]
        );
        let counters = channel.counters();
        assert_eq!((counters.fatal, counters.refused, counters.backups), (1, 0, 1));
        let told = sees.take();
        assert_eq!(told[3..5], ["a: requesta was None", "a: requesta was None"]);
        assert_eq!(told[5..], [format!("a: refused, {expected} by nobody, 2 attempts")]);

        // A plain call goes through, whatever panics after it.
        assert_eq!(*channel.call_with(request(), &in_order(&[20])).await.unwrap(), "requesta done");
    }
}

/// tRPC's `retry_hedging_limit`, in short: once calls fail, they get no extra attempts.
#[derive(Default)]
struct NoExtraAfterFailures(AtomicUsize);

impl<Q: Send + Sync, B, E> Interceptor<Q, B, E> for NoExtraAfterFailures {
    async fn before_call(&self, call: &mut BeforeCall<'_, Q>) -> Result<Flow<B>, Refusal> {
        if self.0.load(Ordering::Relaxed) > 0 {
            call.options_mut().max_retry = Some(0);
        }
        Ok(Flow::Continue)
    }

    fn after_call(&self, call: &AfterCall<'_, Q, B, E>) {
        if matches!(call.outcome(), CallOutcome::Failed(_)) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn i1_an_interceptor_changes_the_request_and_the_options() {
    let limit = Arc::new(NoExtraAfterFailures::default());
    let rename = |call: &mut BeforeCall<'_, String>| {
        call.request_mut().push_str(" with a token");
        Ok(Flow::Continue)
    };
    let ports = Ports::default();
    let channel = builder_over(&ports).interceptor(Arc::clone(&limit)).interceptor(Before(rename));
    let channel = channel.without_health_checks().build().unwrap();
    let options = CallOptions { max_retry: Some(2), ..in_order(&[1, 3, 5]) };
    let error = channel.call_with(request(), &options).await.unwrap_err();
    assert_eq!(error.report().attempts().len(), 3);
    assert_eq!(*ports.0.lock().unwrap(), ["request with a token"; 3]);
    let error = channel.call_with(request(), &options).await.unwrap_err();
    assert_eq!((error.report().attempts().len(), limit.0.load(Ordering::Relaxed)), (1, 2));
    assert_eq!(options.max_retry, Some(2), "the caller's options stay");
}

fn send<F: Future + Send>(_: F) {}

#[test]
fn i1_a_call_without_interceptors_is_as_small_as_before() {
    let (plain, with) = (builder().build().unwrap(), builder().interceptor(Waits(MS(1))).build().unwrap());
    let options = CallOptions::new();
    let sizes = [&plain, &with].map(|channel| size_of_val(&channel.call_with(request(), &options)));
    // The future of a call with interceptors is on the heap.
    assert_eq!(sizes[0], sizes[1]);
    send(with.call_with(request(), &options));
}
