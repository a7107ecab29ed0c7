//! One channel on several runtimes in turn.
use std::future::Future;
use std::thread;
use std::time::Duration;

use hedge_net::{BoundedSpan, CheckOptions};
use hedge_sockets::mortal::Mortal;
use hedge_sockets::naming::Feed;
use hedge_sockets::server::{TestServer, ok};
use hedge_sockets::{HttpChannel, get, list, server};
use hedge_tokio::{BodyMode, CallOptions, Tokio};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn channel(there: &TestServer, idle_timeout: Duration) -> HttpChannel<Tokio> {
    list(&Tokio::new(), &[there.address]).idle_timeout(idle_timeout).build().unwrap()
}

/// Runs a test on a runtime, and fails it when it is stuck.
fn on(runtime: &Runtime, test: impl Future<Output = ()>) {
    runtime.block_on(hedge_sockets::within(Tokio::new(), test));
}

async fn call(channel: &HttpChannel<Tokio>) {
    let reply = channel.call(get("/")).await.unwrap();
    assert_eq!(reply.report().attempts().len(), 1);
}

#[test]
fn c4_what_closes_idle_connections_outlives_no_runtime_and_is_replaced() {
    let there = TestServer::answering(|_| ok(""));
    let channel = channel(&there, Duration::from_millis(50));
    for ended in 0..3 {
        let runtime = runtime();
        on(&runtime, async {
            call(&channel).await;
            there.closed.reached(2 * ended + 1).await;
            call(&channel).await;
        });
        // The second goes with its runtime, and so does the task that would have closed it.
        drop(runtime);
        there.closed.block_until(2 * ended + 2);
    }
    assert_eq!((there.accepted.count(), channel.transport().resent()), (6, 0));
}

#[test]
fn c4_a_connection_that_was_idle_for_too_long_is_not_used() {
    const IDLE: Duration = Duration::from_millis(20);
    let there = TestServer::answering(|_| ok(""));
    let channel = channel(&there, IDLE);
    let runtime = runtime();
    on(&runtime, call(&channel));
    // Nothing is polled meanwhile, so nothing can close it.
    thread::sleep(2 * IDLE);
    on(&runtime, call(&channel));
    assert_eq!(there.accepted.count(), 2);
}

#[test]
fn c4_a_connection_stays_with_its_runtime() {
    let there = TestServer::answering(|_| ok(""));
    let channel = channel(&there, Duration::from_secs(3_600));
    let (one, other) = (runtime(), runtime());
    for _ in 0..2 {
        // While one is polled the other is not, and its connections answer nobody.
        on(&one, call(&channel));
        on(&other, call(&channel));
    }
    assert_eq!((there.accepted.count(), there.closed.count()), (2, 0));
    drop(one);
    there.closed.block_until(1);
    on(&other, call(&channel));
    assert_eq!(there.accepted.count(), 2);
}

#[test]
fn c4_a_connection_whose_body_ends_on_another_runtime_is_closed() {
    let there = TestServer::answering(|_| ok("some text"));
    let channel = channel(&there, Duration::from_secs(3_600));
    let (one, other) = (runtime(), runtime());
    let mut body = None;
    on(&one, async {
        let options = CallOptions { body: BodyMode::Streaming, ..CallOptions::new() };
        body = Some(channel.call_with(get("/"), &options).await.unwrap().into_inner().into_body());
    });
    thread::scope(|scope| {
        let reading =
            scope.spawn(|| on(&other, async { assert_eq!(body.unwrap().collect().await.unwrap(), "some text") }));
        // The connection's own runtime has to run meanwhile: there is no other way for its bytes.
        on(&one, async { there.closed.reached(1).await });
        reading.join().unwrap();
    });
    on(&other, call(&channel));
    assert_eq!(there.accepted.count(), 2);
}

#[test]
fn c2_drains_end_with_their_runtime() {
    for runtime in [runtime(), Builder::new_multi_thread().enable_all().build().unwrap()] {
        let there = TestServer::stalling();
        let channel = channel(&there, Duration::from_secs(3_600));
        on(&runtime, hedge_sockets::drop_when(channel.call(get("/")), there.requests.reached(1)));
        assert_eq!(channel.transport().counters().draining, 1);
        // The runtime drops a call that is in flight.
        let calling = channel.clone();
        runtime.spawn(async move { calling.call(get("/")).await.map(drop) });
        on(&runtime, there.requests.reached(2));
        drop(runtime);
        there.closed.block_until(2);
        let counters = channel.transport().counters();
        assert_eq!((counters.draining, counters.closed_undrained, counters.open()), (0, 2, 0));
    }
}

#[test]
fn c2_a_call_that_is_dropped_where_no_runtime_runs_closes_its_connection() {
    let there = TestServer::stalling();
    let channel = channel(&there, Duration::from_secs(3_600));
    let runtime = runtime();
    let mut call = Box::pin(channel.call(get("/")));
    on(&runtime, async {
        let (mut call, mut asked) = (call.as_mut(), std::pin::pin!(there.requests.reached(1)));
        std::future::poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            asked.as_mut().poll(cx)
        })
        .await;
    });
    drop(call);
    let counters = channel.transport().counters();
    assert_eq!((counters.draining, counters.closed_undrained), (0, 1));
    // The connection's task closes it once its runtime runs again.
    on(&runtime, there.closed.reached(1));
}

/// The runtime that found a server broken is not polled any more: calls on another take its checks over.
#[test]
fn h1_checks_go_on_where_calls_are_made() {
    let (there, mut dies) = (TestServer::answering(|_| ok("")), Mortal::start());
    let (interval, timeout) = (BoundedSpan::of_millis::<20>(), BoundedSpan::of_millis::<20>());
    let often = CheckOptions { interval, timeout, ..CheckOptions::DEFAULT };
    let channel = list(&Tokio::new(), &[there.address, dies.address]).health_checks(often).build().unwrap();
    let (one, other) = (runtime(), runtime());
    dies.kill();
    let it = server(dies.address);
    on(&one, async {
        while channel.usable(&it) {
            channel.call(get("/")).await.unwrap();
        }
    });
    dies.restart();
    for usable in [true, false] {
        on(&other, async {
            while channel.usable(&it) != usable {
                channel.call(get("/")).await.unwrap();
                if usable {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
        if usable {
            dies.kill();
        }
    }
    on(&one, async {
        // Its task has come to its next check meanwhile.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!channel.usable(&it), "the task that was there first has nothing to say any more");
    });
}

#[test]
fn n6_a_source_whose_runtime_ends_is_followed_on_the_next_one() {
    let (old, new, feed) = (TestServer::answering(|_| ok("")), TestServer::answering(|_| ok("")), Feed::default());
    let channel = feed.builder(&Tokio::new()).build().unwrap();
    feed.says(&[server(old.address)]);
    let first = runtime();
    on(&first, call(&channel));
    drop(first);
    feed.says(&[server(new.address)]);
    let second = runtime();
    on(&second, async {
        assert_eq!(channel.servers(), [server(old.address)]);
        call(&channel).await;
        feed.taken_in(2).await;
        assert_eq!(channel.servers(), [server(new.address)]);
        assert_eq!((channel.naming().unwrap().updates, feed.asked.count()), (2, 4), "the first task lost nothing");
    });
}

#[test]
fn n6_a_call_that_waits_takes_over_from_a_runtime_that_ends() {
    let (there, feed) = (TestServer::answering(|_| ok("")), Feed::default());
    let channel = feed.builder(&Tokio::new()).build().unwrap();
    let (first, second) = (runtime(), runtime());
    first.block_on(async {
        let short = CallOptions::new().with_timeout(Duration::from_millis(1));
        channel.call_with(get("/"), &short).await.unwrap_err();
    });
    on(&second, async {
        let end = async {
            // The first runtime stands still, and so does its task.
            thread::spawn(move || drop(first));
            feed.says(&[server(there.address)]);
        };
        hedge_sockets::both(call(&channel), end).await;
    });
}
