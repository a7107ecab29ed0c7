//! Servers that are down: checks, breakers, recovery.

use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use hedge_core::bounded::{Bounded, BoundedSpan, SpanRange};
use hedge_net::{
    BodyMode, BreakerOptions, CallOptions, CheckOptions, ErrorKind, FailureOptions, IsolationLimit, IsolationOptions,
    Observer, RecoveryOptions, Runtime, ServerChange, ServerRef, Timeout,
};

use super::basics::Unreachable;
use super::mortal::{Mortal, nobody_yet};
use super::server::{TestServer, ok, status};
use super::signal::Signal;
use super::watched::Watched;
use super::{HttpBuilder, HttpChannel, PATIENCE, assert_settled, get, list, refused, server};

pub const SOON: Duration = Duration::from_millis(20);

/// Checks that fail only when the server does, however busy the machine is.
pub fn every(interval: Duration) -> CheckOptions {
    CheckOptions {
        interval: BoundedSpan::new(interval).unwrap(),
        timeout: BoundedSpan::new(PATIENCE).unwrap(),
        ..CheckOptions::DEFAULT
    }
}

pub fn checked<R: Runtime>(runtime: &R, addresses: &[SocketAddr], interval: Duration) -> HttpBuilder<R> {
    list(runtime, addresses).health_checks(every(interval))
}

fn only(address: SocketAddr) -> CallOptions {
    CallOptions { servers: Some(vec![server(address)]), ..CallOptions::new() }
}

/// Lets others run until it is so.
pub async fn until(so: impl Fn() -> bool) {
    poll_fn(|cx| {
        if so() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn kind<R: Runtime>(channel: &HttpChannel<R>, options: &CallOptions) -> &'static str {
    channel.call_with(get("/"), options).await.map_or_else(|error| error.kind(), |_| "ok")
}

/// Makes a call that finds a server refusing, so that it is isolated.
pub async fn finds_out<R: Runtime>(channel: &HttpChannel<R>, address: SocketAddr) {
    assert!(channel.usable(&server(address)));
    assert_eq!(kind(channel, &only(address)).await, "failed");
    assert!(!channel.usable(&server(address)));
}

pub async fn h1_a_server_that_refuses_gets_only_checks_until_one_passes<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let mut dies = Mortal::start();
    let channel = checked(&runtime, &[dies.address], SOON).build().unwrap();
    assert_eq!(kind(&channel, &CallOptions::new()).await, "ok");
    dies.kill();
    let error = channel.call(get("/")).await.unwrap_err();
    // The first may have gone by the connection that was idle.
    let codes: Vec<_> = error.report().attempts().iter().map(|attempt| attempt.code()).collect();
    assert_eq!(codes.last(), Some(&ErrorKind::Refused.into()), "{error:?}");
    assert!(codes.len() <= 2, "the only server is isolated at once: {codes:?}");
    let (connects, before) = (runtime.connects(dies.address), dies.accepted.count());
    let tried = connects.count();
    for checks in 1..4 {
        // One call in 100 ms may be let through (H5).
        let kind = kind(&channel, &CallOptions::new()).await;
        assert!(["all_down", "failed"].contains(&kind), "{kind}");
        connects.reached(tried + checks).await;
    }
    assert!(!channel.usable(&server(dies.address)));

    dies.restart();
    until(|| channel.usable(&server(dies.address))).await;
    dies.accepted.reached(before + 1).await;
    assert_eq!(kind(&channel, &CallOptions::new()).await, "ok");
    assert_eq!(dies.accepted.count(), before + 2, "one check, and no call goes by its connection");
    assert_settled(&channel);
}

pub async fn h1_checks_come_once_an_interval<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let (address, interval) = (refused(), Duration::from_millis(50));
    let channel = checked(&runtime, &[address], interval).build().unwrap();
    let begun = Instant::now();
    finds_out(&channel, address).await;
    // The call's own, and a check each 0.8 to 1.2 intervals; how late that is, is the machine's.
    runtime.connects(address).reached(1 + 4).await;
    assert!(begun.elapsed() >= interval.mul_f64(4.0 * 0.8), "four checks in {:?}", begun.elapsed());
}

pub async fn h1_the_applications_check_must_pass_too<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let (address, asked) = (nobody_yet(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let check = move |at: hedge_net::Address| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move {
            assert_eq!(at, address.into());
            match number {
                0 => false,
                // Too long for the time limit.
                1 => pending().await,
                _ => true,
            }
        }
    };
    let options = CheckOptions { timeout: BoundedSpan::new(SOON).unwrap(), ..every(SOON) };
    let channel = list(&runtime, &[address]).health_checks(options).health_check_with(check).build().unwrap();
    finds_out(&channel, address).await;
    runtime.connects(address).reached(3).await;
    assert_eq!(asked.load(Ordering::Relaxed), 0, "who cannot be connected to is not asked");
    let _there = TestServer::at(address, |connection| connection.until_closed());
    until(|| channel.usable(&server(address))).await;
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

pub async fn h1_a_path_is_checked_on_a_connection_of_its_own<R: Runtime>(runtime: R) {
    let address = nobody_yet();
    let channel = checked(&runtime, &[address], SOON).health_check_path("/health?deep=1").build().unwrap();
    finds_out(&channel, address).await;
    let there = TestServer::at(address, move |connection| {
        while let Some(seen) = connection.request() {
            if seen.head.starts_with("GET /health?deep=1 HTTP/1.1\r\n") {
                assert!(seen.head.contains(&format!("host: {address}\r\n")), "{}", seen.head);
                connection.send(&if seen.number < 2 { status(503, "warming up") } else { status(204, "") });
            } else {
                connection.send(&ok("served"));
            }
        }
    });
    until(|| channel.usable(&server(address))).await;
    assert_eq!(there.requests.count(), 3);
    assert_eq!(there.accepted.count(), 6, "one to connect and one to ask, each time");
    assert_eq!(kind(&channel, &CallOptions::new()).await, "ok");
}

pub async fn h1_a_check_has_the_limits_of_its_channel<R: Runtime>(runtime: R) {
    let long = format!("HTTP/1.1 204 x\r\n{}a: {}\r\n\r\n", "a: b\r\n".repeat(199), "b".repeat(90_000));
    // By default neither the fields nor the bytes of such a head are taken.
    for (max_head, max_headers, passes) in [(1 << 17, 200, true), (1 << 16, 200, false), (1 << 17, 199, false)] {
        let address = nobody_yet();
        let builder = checked(&runtime, &[address], SOON).health_check_path("/");
        let (max_head, max_headers) = (Bounded::new(max_head).unwrap(), Bounded::new(max_headers).unwrap());
        let channel = builder.max_head(max_head).max_headers(max_headers).build().unwrap();
        finds_out(&channel, address).await;
        let long = long.clone();
        let there = TestServer::at(address, move |connection| {
            while connection.request().is_some() {
                connection.send(&long);
            }
        });
        if passes {
            until(|| channel.usable(&server(address))).await;
            assert_eq!(there.requests.count(), 1);
        } else {
            there.requests.reached(3).await;
            assert!(!channel.usable(&server(address)));
        }
    }
}

pub async fn h1_removal_ends_the_checks<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let (gone, stays) = (refused(), refused());
    let channel = checked(&runtime, &[gone, stays], SOON).build().unwrap();
    finds_out(&channel, gone).await;
    finds_out(&channel, stays).await;
    assert_eq!(runtime.begun.count(), 2, "a task each");
    runtime.connects(gone).reached(3).await;
    channel.set_servers(vec![server(stays)]).unwrap();
    runtime.ended.reached(1).await;
    let (connects, others) = (runtime.connects(gone), runtime.connects(stays));
    let seen = connects.count();
    others.reached(others.count() + 4).await;
    assert_eq!(connects.count(), seen, "it is never connected to again");
    // Back in the list it is another server.
    channel.set_servers(vec![server(stays), server(gone)]).unwrap();
    assert!(channel.usable(&server(gone)));
}

pub async fn h1_a_wait_ends_with_the_server_or_the_channel<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let long = Duration::from_secs(3_600);
    let address = refused();
    let channel = checked(&runtime, &[address], long).build().unwrap();
    finds_out(&channel, address).await;
    channel.set_servers(Vec::new()).unwrap();
    runtime.ended.reached(1).await;
    channel.set_servers(vec![server(address)]).unwrap();
    finds_out(&channel, address).await;
    let other = channel.clone();
    drop(channel);
    assert_eq!(runtime.ended.count(), 1);
    drop(other);
    runtime.ended.reached(2).await;
    assert_eq!(runtime.connects(address).count(), 2, "both of calls");
}

pub async fn h1_a_check_that_hangs_ends_with_its_server<R: Runtime>(runtime: R) {
    let hangs = Unreachable(runtime);
    let runtime = Watched::new(hangs);
    let address = refused();
    let channel = checked(&runtime, &[address], SOON).connect_timeout(SOON).build().unwrap();
    finds_out(&channel, address).await;
    runtime.connects(address).reached(2).await;
    channel.set_servers(Vec::new()).unwrap();
    runtime.ended.reached(1).await;
}

pub async fn h1_the_interval_changes_while_it_runs<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let address = refused();
    let channel = checked(&runtime, &[address], Duration::from_secs(3_600)).build().unwrap();
    finds_out(&channel, address).await;
    channel.set_check_interval(BoundedSpan::new(SOON).unwrap());
    runtime.connects(address).reached(4).await;
}

pub async fn h1_without_checks_nothing_is_isolated<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let address = refused();
    let channel = list(&runtime, &[address]).without_health_checks().build().unwrap();
    for calls in 1..4 {
        assert_eq!(kind(&channel, &CallOptions::new()).await, "failed");
        assert_eq!(runtime.connects(address).count(), 4 * calls, "the retries go there too");
        assert!(channel.usable(&server(address)));
    }
    assert_eq!(runtime.begun.count(), 0);
    channel.set_check_interval(BoundedSpan::new(SOON).unwrap());
}

pub async fn h1_a_server_that_nobody_reaches_is_isolated<R: Runtime>(runtime: R) {
    let address = refused();
    let runtime = Unreachable(runtime);
    let channel = checked(&runtime, &[address], SOON).connect_timeout(SOON).build().unwrap();
    let in_time = CallOptions::new().with_timeout(SOON / 2);
    for _ in 0..3 {
        assert_eq!(kind(&channel, &in_time).await, "deadline");
        assert!(channel.usable(&server(address)), "the call had no time left to connect");
    }
    finds_out(&channel, address).await;
}

pub async fn h1_a_call_in_a_hurry_isolates_nothing<R: Runtime>(runtime: R) {
    let address = refused();
    let failures = FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT };
    let channel = checked(&Unreachable(runtime), &[address, refused()], SOON)
        .connect_timeout(SOON)
        .circuit_breaker(BreakerOptions::ConsecutiveFailures(failures))
        .max_retry(0)
        .build()
        .unwrap();
    let within = |own: Duration| CallOptions { connect_timeout: Some(Timeout::after(own)), ..only(address) };
    for _ in 0..3 {
        assert_eq!(kind(&channel, &within(Duration::from_micros(1))).await, "failed");
        assert!(channel.usable(&server(address)), "its own connect timeout was shorter than the channel's");
    }
    assert_eq!(kind(&channel, &within(SOON)).await, "failed");
    assert!(!channel.usable(&server(address)));
}

pub async fn h1_a_connection_that_breaks_says_nothing_of_the_others<R: Runtime>(runtime: R) {
    let closing = TestServer::start(|connection| drop(connection.request()));
    let channel = checked(&runtime, &[closing.address], SOON).build().unwrap();
    assert_eq!(kind(&channel, &CallOptions::new()).await, "failed");
    assert!(channel.usable(&server(closing.address)));
}

pub async fn h1_a_server_that_was_taken_out_by_hand_stays_out<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let mut dies = Mortal::start();
    let (channel, it) = (checked(&runtime, &[dies.address], SOON).build().unwrap(), server(dies.address));
    dies.kill();
    finds_out(&channel, dies.address).await;
    channel.set_usable(&it, true);
    assert!(!channel.usable(&it), "its connection is broken all the same");
    channel.set_usable(&it, false);
    dies.restart();
    runtime.ended.reached(1).await;
    assert!(!channel.usable(&it), "the check has passed");
    channel.set_usable(&it, true);
    assert_eq!(kind(&channel, &CallOptions::new()).await, "ok");
}

/// How often breakers have isolated a server.
struct Isolations(Signal);

impl Observer for Isolations {
    fn server_changed(&self, _: &ServerRef<'_>, change: ServerChange) {
        if matches!(change, ServerChange::Isolated { .. }) {
            self.0.raise();
        }
    }
}

/// A channel under a breaker that isolates after two failures, and a server whose answers are good as long as it is told.
fn broken_in<R: Runtime>(
    runtime: &R,
    isolation: Duration,
    isolated: &Signal,
) -> (HttpChannel<R>, TestServer, TestServer, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let answer = move |_: &_| if is_well.load(Ordering::SeqCst) { ok("") } else { status(500, "") };
    let (moody, other) = (TestServer::answering(answer), TestServer::answering(|_| ok("")));
    let times = SpanRange::new(isolation, IsolationOptions::DEFAULT.times.max().get()).unwrap();
    let isolation = IsolationOptions { times, ..IsolationOptions::DEFAULT };
    let channel = list(runtime, &[moody.address, other.address])
        .circuit_breaker(BreakerOptions::ConsecutiveFailures(FailureOptions {
            failures: Bounded::of::<2>(),
            isolation,
        }))
        .observer(Arc::new(Isolations(isolated.clone())))
        .build()
        .unwrap();
    (channel, moody, other, well)
}

pub async fn h2_a_breaker_isolates_and_probes<R: Runtime>(runtime: R) {
    // Longer than this part.
    let isolated = Signal::new();
    let (channel, moody, other, _) = broken_in(&runtime, IsolationOptions::DEFAULT.times.max().get(), &isolated);
    let it = server(moody.address);
    for _ in 0..2 {
        assert!(channel.usable(&it));
        assert_eq!(kind(&channel, &only(moody.address)).await, "failed");
    }
    assert!(!channel.usable(&it));
    assert_eq!(isolated.count(), 1);
    channel.set_servers(vec![it.clone(), server(other.address), server(refused())]).unwrap();
    assert!(!channel.usable(&it), "a server that stays keeps its breaker");
    assert_eq!(kind(&channel, &only(moody.address)).await, "all_down");
    assert_eq!(moody.requests.count(), 2);
    assert_settled(&channel);

    // A short isolation may be over before the test has looked, so the breaker tells.
    let isolated = Signal::new();
    let (channel, moody, _, well) = broken_in(&runtime, Duration::from_millis(50), &isolated);
    let it = server(moody.address);
    for _ in 0..2 {
        assert_eq!(kind(&channel, &only(moody.address)).await, "failed");
    }
    until(|| channel.usable(&it)).await;
    assert_eq!(isolated.count(), 1);
    assert_eq!(kind(&channel, &only(moody.address)).await, "failed");
    assert_eq!(isolated.count(), 2, "the probe failed");
    well.store(true, Ordering::SeqCst);
    until(|| channel.usable(&it)).await;
    assert_eq!(kind(&channel, &only(moody.address)).await, "ok");
    well.store(false, Ordering::SeqCst);
    assert_eq!(kind(&channel, &only(moody.address)).await, "failed");
    assert!(channel.usable(&it) && isolated.count() == 2, "it is back: one failure is none");
    assert_settled(&channel);
}

pub async fn h4_a_breaker_leaves_a_share<R: Runtime>(runtime: R) {
    let bad = [TestServer::answering(|_| status(500, "")), TestServer::answering(|_| status(500, ""))];
    let failures = FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT };
    for (percent, out) in [(50, 1), (100, 0)] {
        let channel = list(&runtime, &[bad[0].address, bad[1].address])
            .circuit_breaker(BreakerOptions::ConsecutiveFailures(failures))
            .isolation_limit(IsolationLimit { selectable_percent: Bounded::new(percent).unwrap() })
            .build()
            .unwrap();
        for _ in 0..8 {
            assert_eq!(kind(&channel, &CallOptions::new()).await, "failed");
        }
        assert!(channel.servers().iter().filter(|server| !channel.usable(server)).count() <= out);
    }
}

pub async fn t2_a_streaming_reply_is_a_success_at_its_head<R: Runtime>(runtime: R) {
    let gate = Signal::new();
    let go_on = gate.clone();
    let there = TestServer::start(move |connection| {
        while let Some(seen) = connection.request() {
            if seen.head.starts_with("GET /stream") {
                connection.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab");
                go_on.block_until(1);
                connection.send("c");
            } else {
                connection.send(&status(500, ""));
            }
        }
    });
    let times = SpanRange::of_millis::<30_000, 30_000>();
    let isolation = IsolationOptions { times, ..IsolationOptions::DEFAULT };
    let channel = list(&runtime, &[there.address, refused()])
        .circuit_breaker(BreakerOptions::ConsecutiveFailures(FailureOptions {
            failures: Bounded::of::<2>(),
            isolation,
        }))
        .build()
        .unwrap();
    let streaming = CallOptions { body: BodyMode::Streaming, ..only(there.address) };
    assert_eq!(kind(&channel, &only(there.address)).await, "failed");
    let reply = channel.call_with(get("/stream"), &streaming).await.unwrap();
    gate.raise();
    assert_eq!(reply.into_inner().into_body().collect().await.unwrap(), "abc");
    assert_eq!(kind(&channel, &only(there.address)).await, "failed");
    assert!(channel.usable(&server(there.address)), "a success was between the two failures");
    let reply = channel.call_with(get("/stream"), &streaming).await.unwrap();
    assert_eq!(channel.in_flight(&server(there.address)), 1, "the server is at work on the body");
    assert_eq!(kind(&channel, &only(there.address)).await, "failed");
    assert!(channel.usable(&server(there.address)), "the head was a success");
    drop(reply);
    assert_eq!(kind(&channel, &only(there.address)).await, "failed");
    assert!(!channel.usable(&server(there.address)), "the end of the body is none");
    assert_settled(&channel);
}

pub async fn h3_calls_are_let_in_by_how_many_servers_are_back<R: Runtime>(runtime: R) {
    let there = [TestServer::answering(|_| ok("")), TestServer::answering(|_| ok(""))];
    let servers = [server(there[0].address), server(there[1].address)];
    let channel = list(&runtime, &[there[0].address, there[1].address])
        .recovery(RecoveryOptions { min_working: Bounded::of::<4>(), hold: BoundedSpan::of_secs::<3_600>() })
        .build()
        .unwrap();
    let let_in = async || {
        let mut count = 0;
        for _ in 0..400 {
            match kind(&channel, &CallOptions::new()).await {
                "ok" => count += 1,
                other => assert_eq!(other, "all_down"),
            }
        }
        count
    };
    assert_eq!(let_in().await, 400, "not all have been down");
    for server in &servers {
        channel.set_usable(server, false);
    }
    assert_eq!(let_in().await, 0);
    // Seeded, and one call after the other: the same numbers each time.
    channel.set_usable(&servers[0], true);
    let quarter = let_in().await;
    channel.set_usable(&servers[1], true);
    let half = let_in().await;
    assert!((70..130).contains(&quarter) && (160..240).contains(&half), "{quarter} and {half} of 400, seed 1");
}

pub async fn h5_a_call_is_let_through_while_all_are_broken_and_hurries_the_checks<R: Runtime>(runtime: R) {
    let mut both = [Mortal::start(), Mortal::start()];
    // No check comes by itself before the test is over.
    let hour = Duration::from_secs(3_600);
    let channel = checked(&runtime, &both.each_ref().map(|it| it.address), hour).build().unwrap();
    for server in &mut both {
        server.kill();
        finds_out(&channel, server.address).await;
    }
    for server in &mut both {
        server.restart();
    }
    while kind(&channel, &CallOptions::new()).await != "ok" {
        runtime.sleep_until(runtime.now() + Duration::from_millis(5)).await;
    }
    for there in &both {
        until(|| channel.usable(&server(there.address))).await;
    }
    assert_settled(&channel);
}
