//! How a set chooses among its servers, and what it learns about them, in tokio's paused time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod common;

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};

use common::{Carried, Carrying, builder, ms};
use hedge_tokio::Tokio;
use hedge_tower::hedge_core::balance::hash::murmur3_32;
use hedge_tower::hedge_core::bounded::{Bounded, BoundedSpan};
use hedge_tower::hedge_core::health::FailureOptions;
use hedge_tower::hedge_core::policy::ConfigError;
use hedge_tower::{
    BreakerOptions, BuildError, Builder, CallOptions, Change, Error, HedgeSet, IsolationLimit, LimitOptions,
    RecoveryOptions, RetryErrors,
};
use tokio::task::JoinSet;
use tower::Service;

/// Every balancer, some with parameters.
const BALANCERS: [&str; 11] = [
    "rr",
    "wrr",
    "random",
    "wr",
    "la",
    "p2c",
    "p2c:choices=4",
    "prequal",
    "c_murmurhash",
    "c_md5",
    "c_ketama:replicas=40",
];

type Set = HedgeSet<u16, Server, Tokio, RetryErrors, Carried>;

/// A service that answers with its number, or fails if the test has said so. Its clones do the same.
#[derive(Clone)]
struct Server {
    number: u16,
    state: Arc<State>,
}

struct State {
    /// If true, an attempt fails after 1 ms instead of being answered.
    failing: AtomicBool,
    answers_after_ms: AtomicU32,
    never_ready: AtomicBool,
    attempts: AtomicU32,
}

impl Server {
    fn new(number: u16) -> Self {
        let (failing, never_ready) = (AtomicBool::new(false), AtomicBool::new(false));
        let (answers_after_ms, attempts) = (AtomicU32::new(10), AtomicU32::new(0));
        Self { number, state: Arc::new(State { failing, answers_after_ms, never_ready, attempts }) }
    }

    fn failing(self) -> Self {
        self.fail(true);
        self
    }

    fn fail(&self, failing: bool) {
        self.state.failing.store(failing, Relaxed);
    }

    /// The number of attempts since the last call of this method.
    fn attempts(&self) -> u32 {
        self.state.attempts.swap(0, Relaxed)
    }
}

impl Service<Carrying> for Server {
    type Response = u16;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<u16, &'static str>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        // No waker is kept. A task that waits here must be woken by something else.
        if self.state.never_ready.load(Relaxed) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, _: Carrying) -> Self::Future {
        self.state.attempts.fetch_add(1, Relaxed);
        let failing = self.state.failing.load(Relaxed);
        let after = if failing { 1 } else { self.state.answers_after_ms.load(Relaxed) };
        let result = if failing { Err("no") } else { Ok(self.number) };
        Box::pin(async move {
            tokio::time::sleep(ms(after.into())).await;
            result
        })
    }
}

fn balanced(name: &str) -> Builder<Tokio, RetryErrors, Carried> {
    builder().protocol(Carried).load_balancer(name)
}

/// A set of these servers. The key of each server is its number.
fn set_of(builder: Builder<Tokio, RetryErrors, Carried>, servers: &[Server]) -> Set {
    let set = builder.set().unwrap();
    let inserts = servers.iter().map(|server| Change::Insert(server.number, server.clone()));
    assert_eq!(set.apply(inserts), Ok(servers.len()));
    set
}

fn servers_of<const N: usize>() -> [Server; N] {
    std::array::from_fn(|number| Server::new(u16::try_from(number).unwrap()))
}

/// A request with this request code.
fn coded(key: u32) -> Carrying {
    Carrying(CallOptions { request_code: Some(murmur3_32(&key.to_le_bytes())), ..CallOptions::new() })
}

/// Makes one call each millisecond. Every call must be answered.
async fn run(set: &Set, calls: u32) {
    let mut running = JoinSet::new();
    for call in 0..calls {
        running.spawn(set.clone().call(coded(call)));
        tokio::time::sleep(ms(1)).await;
        while let Some(answer) = running.try_join_next() {
            answer.unwrap().unwrap();
        }
    }
    for answer in running.join_all().await {
        answer.unwrap();
    }
}

fn usable(set: &Set, servers: &[Server]) -> usize {
    servers.iter().filter(|server| set.usable(&server.number)).count()
}

/// A circuit breaker that isolates a server after this many failures in a row, at first for 100 ms.
fn breaker(failures: u32) -> BreakerOptions {
    let failures = Bounded::new(failures).unwrap();
    BreakerOptions::ConsecutiveFailures(FailureOptions { failures, ..FailureOptions::DEFAULT })
}

#[tokio::test(start_paused = true)]
async fn s4_s3_a_server_that_fails_fast_attracts_nothing_and_is_back_soon() {
    for (balancer, seconds) in [("p2c", 10), ("p2c:choices=4", 10), ("la", 30)] {
        let servers: [Server; 10] = servers_of();
        servers[0].fail(true);
        let set = set_of(balanced(balancer), &servers);
        run(&set, 10_000).await;
        let failing = servers[0].attempts();
        assert!(failing < 200, "{balancer}: {failing} of 10,000 calls");
        servers[0].fail(false);
        run(&set, (seconds - 1) * 1_000).await;
        servers[0].attempts();
        run(&set, 1_000).await;
        let back = servers[0].attempts();
        assert!(back >= 80, "{balancer}: {back} of 1,000 calls in second {seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn s3_s4_a_slow_server_gets_less() {
    for balancer in ["p2c", "la"] {
        let servers: [Server; 4] = servers_of();
        servers[3].state.answers_after_ms.store(100, Relaxed);
        let set = set_of(balanced(balancer), &servers);
        run(&set, 2_000).await;
        servers[3].attempts();
        run(&set, 2_000).await;
        let slow = servers[3].attempts();
        assert!(0 < slow && slow < 200, "{balancer}: {slow} of 2,000 calls");
    }
}

#[tokio::test(start_paused = true)]
async fn l13_a_server_that_is_not_ready_is_slow_and_not_failing() {
    let servers: [Server; 3] = servers_of();
    servers[2].state.never_ready.store(true, Relaxed);
    let slow = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&slow);
    let builder = balanced("p2c").backup(ms(20)).limits(LimitOptions::NONE).circuit_breaker(breaker(1));
    let builder = builder.on_end(move |report| {
        counted.fetch_add(u32::from(report.attempts().len() > 1), Relaxed);
    });
    let set = set_of(builder, &servers);
    run(&set, 1_000).await;
    let slow = slow.load(Relaxed);
    assert!(0 < slow && slow < 100, "{slow} of 1,000 calls went there first");
    assert_eq!((usable(&set, &servers), set.in_flight(&2)), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn h2_a_breaker_isolates_what_fails_and_lets_it_back_by_a_probe() {
    let servers: [Server; 3] = servers_of();
    let set = set_of(balanced("rr").circuit_breaker(breaker(3)), &servers);
    servers[1].fail(true);
    run(&set, 60).await;
    assert!(!set.usable(&1) && servers[1].attempts() == 3);
    run(&set, 30).await;
    assert_eq!(servers[1].attempts(), 0, "isolated");

    // After the isolation the probe fails, so the next isolation is twice as long.
    tokio::time::sleep(ms(120)).await;
    assert!(set.usable(&1));
    run(&set, 60).await;
    assert_eq!(servers[1].attempts(), 1);
    tokio::time::sleep(ms(100)).await;
    assert!(!set.usable(&1));

    servers[1].fail(false);
    tokio::time::sleep(ms(120)).await;
    run(&set, 60).await;
    assert!(set.usable(&1));
    let attempts = servers[1].attempts();
    assert!(attempts > 10, "a third of the calls again: {attempts}");
}

#[tokio::test(start_paused = true)]
async fn h4_breakers_leave_a_share_and_broken_connections_isolate_without_limit() {
    for (percent, left) in [(50, 4), (75, 6), (1, 1)] {
        let servers: [Server; 8] = servers_of::<8>().map(Server::failing);
        let limit = IsolationLimit { selectable_percent: Bounded::new(percent).unwrap() };
        let set = set_of(balanced("rr").circuit_breaker(breaker(1)).isolation_limit(limit), &servers);
        for _ in 0..10 {
            assert!(set.clone().call(Carrying::default()).await.is_err());
        }
        assert_eq!(usable(&set, &servers), left, "{percent} %");
        for server in &servers {
            set.set_usable(&server.number, false);
        }
        assert_eq!(usable(&set, &servers), 0);
        assert!(matches!(set.clone().call(Carrying::default()).await, Err(Error::AllDown)));
    }
}

#[tokio::test(start_paused = true)]
async fn h4_isolations_that_are_too_many_for_what_is_left_are_lifted() {
    let servers: [Server; 4] = servers_of();
    let set = set_of(balanced("rr").circuit_breaker(breaker(1)), &servers);
    servers[0].fail(true);
    servers[1].fail(true);
    run(&set, 20).await;
    assert_eq!((usable(&set, &servers), set.usable(&2), set.usable(&3)), (2, true, true));
    assert!(set.remove(3));
    assert_eq!(usable(&set, &servers), 2, "of three one may be isolated");
}

#[tokio::test(start_paused = true)]
async fn h3_calls_are_let_in_as_servers_come_back() {
    let servers: [Server; 4] = servers_of();
    let recovery = RecoveryOptions { min_working: Bounded::of::<4>(), hold: BoundedSpan::of_millis::<500>() };
    let set = set_of(balanced("rr").recovery(recovery), &servers);
    for server in &servers {
        set.set_usable(&server.number, false);
    }
    assert!(matches!(set.clone().call(Carrying::default()).await, Err(Error::AllDown)));
    set.set_usable(&0, true);
    let mut let_in = 0;
    for _ in 0..40 {
        match set.clone().call(Carrying::default()).await {
            Ok(server) => let_in += u32::from(server == 0),
            Err(error) => assert!(matches!(error, Error::AllDown)),
        }
    }
    assert!((3..=20).contains(&let_in), "one in four of 40: {let_in}");
    // By now, nothing has changed for long enough.
    tokio::time::sleep(ms(600)).await;
    run(&set, 20).await;
}

#[tokio::test(start_paused = true)]
async fn s5_calls_of_one_code_go_to_one_server_and_elsewhere_while_it_is_unusable() {
    for balancer in ["c_murmurhash", "c_md5", "c_ketama"] {
        let servers: [Server; 5] = servers_of();
        let set = set_of(balanced(balancer), &servers);
        // Another client, to which the servers were added in another order.
        let other = balanced(balancer).set().unwrap();
        for server in servers.iter().rev() {
            other.insert(server.number, server.clone()).unwrap();
        }
        let mut moved = 0;
        for key in 0..50 {
            let answer = async |set: &Set| set.clone().call(coded(key)).await.unwrap();
            let home = answer(&set).await;
            assert_eq!((answer(&set).await, answer(&other).await), (home, home), "{balancer}");
            set.set_usable(&home, false);
            let away = answer(&set).await;
            assert!(away != home && answer(&set).await == away, "{balancer}");
            set.set_usable(&home, true);
            other.remove(0);
            moved += u32::from(answer(&other).await != home);
            other.insert(0, servers[0].clone()).unwrap();
            assert_eq!((answer(&set).await, answer(&other).await), (home, home), "{balancer}");
            // A retry goes to the server that would own the request code if the failed server did not exist.
            servers[usize::from(home)].fail(true);
            assert_eq!(answer(&set).await, away);
            servers[usize::from(home)].fail(false);
        }
        assert!(0 < moved && moved < 25, "{balancer}: {moved} of 50 keys were at one of five servers");
    }
}

#[tokio::test(start_paused = true)]
async fn s5_a_call_without_a_code_is_refused_before_anything_is_sent() {
    let servers: [Server; 2] = servers_of();
    let set = set_of(balanced("c_md5"), &servers);
    let refused = set.clone().call(Carrying::default()).await;
    assert!(matches!(refused, Err(Error::Config(ConfigError::NoRequestCode))), "{refused:?}");
    assert_eq!(servers.map(|server| server.attempts()), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn s2_weights_are_kept_to() {
    let servers: [Server; 3] = servers_of();
    let set = set_of(balanced("wrr:default_weight=2"), &servers[..1]);
    let weight = |weight| NonZeroU32::new(weight).unwrap();
    set.insert_weighted(1, servers[1].clone(), weight(3)).unwrap();
    assert_eq!(set.apply([Change::InsertWeighted(2, servers[2].clone(), weight(5))]), Ok(1));
    run(&set, 200).await;
    assert_eq!(servers.map(|server| server.attempts()), [40, 60, 100]);

    for balancer in ["wr", "p2c"] {
        let [light, heavy] = servers_of();
        let set = set_of(balanced(balancer), std::slice::from_ref(&light));
        set.insert_weighted(1, heavy.clone(), weight(4)).unwrap();
        run(&set, 2_000).await;
        let heavy = heavy.attempts();
        assert!((1_400..1_900).contains(&heavy), "{balancer}: {heavy} of 2,000 to four fifths of the weight");
    }
}

#[tokio::test(start_paused = true)]
async fn s7_what_is_known_of_servers_outlives_changes_of_the_list() {
    let servers: [Server; 10] = servers_of();
    servers[0].fail(true);
    let set = set_of(balanced("p2c").circuit_breaker(breaker(1_000)), &servers[..5]);
    run(&set, 500).await;
    servers[0].attempts();
    set.apply(servers[5..].iter().map(|server| Change::Insert(server.number, server.clone()))).unwrap();
    set.remove(4);
    run(&set, 1_000).await;
    let known = servers[0].attempts();
    assert!(known < 20, "{known} of 1,000 calls to a server that was known to fail");

    // Counts and isolations of the other servers stay too. A server that replaces another one begins anew (L20).
    let set = set_of(balanced("rr").circuit_breaker(breaker(1)), &servers[..2]);
    run(&set, 5).await;
    assert!(!set.usable(&0));
    let running = tokio::spawn(set.clone().call(Carrying::default()));
    tokio::time::sleep(ms(5)).await;
    set.insert(2, servers[2].clone()).unwrap();
    assert_eq!((set.usable(&0), set.in_flight(&1)), (false, 1));
    set.insert(0, servers[0].clone()).unwrap();
    assert!(set.usable(&0));
    set.insert(1, servers[1].clone()).unwrap();
    assert_eq!((running.await.unwrap().unwrap(), set.in_flight(&1)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn s7_every_balancer_serves_a_set_whose_servers_come_and_go() {
    for balancer in BALANCERS {
        let mut servers: [Server; 12] = servers_of();
        let set = set_of(balanced(balancer).circuit_breaker(breaker(3)), &servers[..6]);
        for round in 0..30 {
            // The set has six of twelve servers. From time to time one is replaced, and one fails.
            servers[round % 12] = Server::new(servers[round % 12].number);
            let (comes, goes) = (servers[(round + 6) % 12].clone(), servers[round % 12].number);
            servers[(round + 3) % 12].fail(round % 3 == 0);
            set.apply([Change::Insert(comes.number, comes), Change::Remove(goes)]).unwrap();
            let stays = servers[(round + 2) % 12].clone();
            set.insert(stays.number, stays).unwrap();
            assert_eq!(set.len(), 6);
            run(&set, 100).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_threads_share_every_balancer_while_the_list_changes_under_them() {
    for balancer in BALANCERS {
        let servers: [Server; 6] = servers_of();
        for server in &servers {
            server.state.answers_after_ms.store(0, Relaxed);
        }
        let builder = balanced(balancer).timeout(std::time::Duration::from_secs(60)).circuit_breaker(breaker(3));
        let set = set_of(builder, &servers[..3]);
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let mut set = set.clone();
                tokio::spawn(async move {
                    for call in 0..50 {
                        set.call(coded(caller * 50 + call)).await.unwrap();
                    }
                })
            })
            .collect();
        for round in 0..100 {
            let (comes, goes) = (&servers[3 + round % 3], &servers[3 + (round + 1) % 3]);
            set.insert(comes.number, comes.clone()).unwrap();
            tokio::task::yield_now().await;
            set.remove(goes.number);
        }
        for caller in callers {
            caller.await.unwrap();
        }
        assert!((0..6).all(|server| set.in_flight(&server) == 0), "{balancer}");
    }
}

#[test]
fn s1_what_is_wrong_with_a_set_is_said_when_it_is_made() {
    let refused = |builder: Builder<Tokio, RetryErrors, Carried>| builder.set::<u16, Server>().unwrap_err();
    for (balancer, message) in [
        ("p2p", "load balancer \"p2p\": "),
        ("p2c:choices=1", "load balancer \"p2c:choices=1\": p2c: choices=1: "),
        ("c_ketama:replica=160", "load balancer \"c_ketama:replica=160\": c_ketama has no parameter \"replica\""),
    ] {
        let error = refused(balanced(balancer));
        assert!(matches!(error, BuildError::Balancer { .. }) && error.to_string().starts_with(message), "{error}");
    }
}
