//! A cap of the attempts in flight at a server, and the queue of the calls that wait for room (L22).

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use hedge_net::{BodyMode, CallOptions, FailMode, Outcome, Runtime, Verdict};

use super::server::{TestServer, ok};
use super::signal::Signal;
use super::{assert_settled, both, drop_when, get, list, server};

/// A server that answers once the signal was raised, and counts how many requests it had at once.
fn holding(gate: &Signal) -> (TestServer, Arc<AtomicUsize>) {
    let (gate, most, at_work) = (gate.clone(), Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let server = TestServer::answering(move |_| {
        seen.fetch_max(at_work.fetch_add(1, SeqCst) + 1, SeqCst);
        gate.block_until(1);
        at_work.fetch_sub(1, SeqCst);
        ok("text")
    });
    (server, most)
}

/// Runs calls to their ends.
async fn all<F: Future>(calls: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut calls: Vec<Pin<Box<F>>> = calls.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = calls.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (call, output) in calls.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(ready) = call.as_mut().poll(cx)
            {
                *output = Some(ready);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

pub async fn l22_a_full_server_is_passed_over_and_where_all_are_full_nothing_is_sent<R: Runtime>(runtime: R) {
    let gate = Signal::new();
    let ((a, most_a), (b, most_b)) = (holding(&gate), holding(&gate));
    let channel = list(&runtime, &[a.address, b.address]).max_in_flight_per_server(2).build().unwrap();
    let at_a = CallOptions { servers: Some(vec![server(a.address)]), ..CallOptions::new() };
    let test = async {
        a.requests.reached(2).await;
        // The third call goes to the other server, although the turn is at the first again.
        let third = channel.call(get("/"));
        let others = async {
            b.requests.reached(1).await;
            let fourth = channel.call(get("/"));
            let fifth = async {
                b.requests.reached(2).await;
                let error = channel.call(get("/")).await.unwrap_err();
                assert_eq!((error.kind(), error.report().attempts().len()), ("all_full", 0));
                assert!(error.to_string().starts_with("all servers are full"), "{error}");
                assert!(error.never_left() && !error.all_down() && error.verdict() == Verdict::Retry);
                assert_eq!(channel.call_with(get("/"), &at_a).await.unwrap_err().kind(), "all_full", "S8");
                assert!(
                    channel.servers().iter().all(|server| channel.usable(server) && channel.in_flight(server) == 2)
                );
                gate.raise();
            };
            both(fourth, fifth).await.0.unwrap()
        };
        let (third, fourth) = both(third, others).await;
        assert_eq!([third.unwrap().server(), fourth.server()], [Some(&server(b.address)); 2]);
    };
    let (replies, ()) = both(all((0..2).map(|_| channel.call_with(get("/"), &at_a))), test).await;
    assert!(replies.iter().all(|reply| *reply.as_ref().unwrap().server().unwrap() == server(a.address)));
    // A server counts a request a moment before it works on it, so it may have worked on one after the other.
    assert!(most_a.load(SeqCst) <= 2 && most_b.load(SeqCst) <= 2);
    assert!(channel.call(get("/")).await.is_ok(), "there is room again");
    assert_settled(&channel);
}

pub async fn l22_a_call_waits_in_the_queue_until_a_server_has_room<R: Runtime>(runtime: R) {
    let gate = Signal::new();
    let (there, most) = holding(&gate);
    let channel = list(&runtime, &[there.address]).max_in_flight_per_server(1).max_queued_calls(2).build().unwrap();
    let test = async {
        there.requests.reached(1).await;
        let waiting = all((0..2).map(|_| channel.call(get("/"))));
        let further = async {
            assert_eq!((channel.queued_calls(), there.requests.count()), (2, 1));
            let error = channel.call(get("/")).await.unwrap_err();
            assert_eq!(error.kind(), "all_full", "the queue is full");
            gate.raise();
        };
        both(waiting, further).await.0
    };
    let (first, waited) = both(channel.call(get("/")), test).await;
    assert!(first.is_ok() && waited.iter().all(Result::is_ok));
    assert_eq!((most.load(SeqCst), there.requests.count(), channel.queued_calls()), (1, 3, 0));
    assert_settled(&channel);
}

pub async fn l22_deadline_cancel_and_the_longest_wait_end_the_wait<R: Runtime>(runtime: R) {
    let there = TestServer::stalling();
    let builder = || list(&runtime, &[there.address]).max_in_flight_per_server(1).max_queued_calls(8);
    let channel = builder().max_queue_wait(Duration::from_millis(40)).build().unwrap();
    let hurried = CallOptions::new().with_timeout(Duration::from_millis(20));
    let test = async {
        there.requests.reached(1).await;
        let error = channel.call_with(get("/"), &hurried).await.unwrap_err();
        assert_eq!((error.kind(), error.report().attempts().len()), ("deadline", 0));
        assert!(error.never_left());
        let error = channel.call(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), "all_full");
        let waited = error.report().elapsed().as_millis();
        assert!(waited >= 40, "{waited} ms");
        let dropped = async { assert_eq!(channel.queued_calls(), 1) };
        drop_when(channel.call(get("/")), dropped).await;
        assert_eq!(channel.queued_calls(), 0);
    };
    drop_when(channel.call(get("/")), test).await;
    assert_eq!(there.requests.count(), 1);
    assert_settled(&channel);
}

pub async fn l22_a_dropped_call_and_a_dropped_body_make_room<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        while let Some(seen) = connection.request() {
            if seen.head.starts_with("GET /body") {
                connection.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi");
            } else if !seen.head.starts_with("GET /stall") {
                connection.send(&ok("text"));
            }
        }
    });
    let channel = list(&runtime, &[there.address]).max_in_flight_per_server(1).max_queued_calls(8).build().unwrap();
    let streaming = CallOptions { body: BodyMode::Streaming, ..CallOptions::new() };
    let reply = channel.call_with(get("/body"), &streaming).await.unwrap();
    let (waited, ()) = both(channel.call(get("/")), async {
        assert_eq!(channel.queued_calls(), 1, "the body is not read yet (T2)");
        drop(reply);
    })
    .await;
    assert!(waited.is_ok());
    let stalled = Box::pin(channel.call(get("/stall")));
    let mut stalled = Some(stalled);
    let seen = there.requests.count();
    let drop_it = async {
        both_until(&mut stalled, there.requests.reached(seen + 1)).await;
        let (waited, ()) = both(channel.call(get("/")), async {
            assert_eq!(channel.queued_calls(), 1);
            stalled = None;
        })
        .await;
        assert!(waited.is_ok());
    };
    drop_it.await;
    assert_settled(&channel);
}

/// Polls a call until something else happens.
async fn both_until<F: Future>(call: &mut Option<Pin<Box<F>>>, event: impl Future<Output = ()>) {
    let mut event = std::pin::pin!(event);
    poll_fn(|cx| {
        if let Some(call) = call {
            assert!(call.as_mut().poll(cx).is_pending());
        }
        event.as_mut().poll(cx)
    })
    .await;
}

pub async fn l22_a_retry_at_the_same_server_stays_below_the_cap<R: Runtime>(runtime: R) {
    let gate = Signal::new();
    let (there, most) = holding(&gate);
    let channel = list(&runtime, &[there.address])
        .fail_mode(FailMode::FailTry)
        .max_in_flight_per_server(1)
        .attempt_timeout(Duration::from_millis(20))
        .build()
        .unwrap();
    let results = all((0..8).map(|_| channel.call(get("/")))).await;
    let kinds: Vec<_> =
        results.iter().map(|result| result.as_ref().map_or_else(|error| error.kind(), |_| "ok")).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "all_full").count(), 7, "{kinds:?}");
    let failed = results.into_iter().find_map(|result| result.err().filter(|error| error.kind() == "failed")).unwrap();
    assert_eq!(failed.report().attempts().len(), 4);
    gate.raise();
    assert!(most.load(SeqCst) <= 4, "what was dropped may still be read by the server");
    assert_settled(&channel);
}

pub async fn l22_a_cap_of_0_is_not_built_and_a_queue_without_a_cap_is_warned_of<R: Runtime>(runtime: R) {
    let one = || list(&runtime, &[([127, 0, 0, 1], 1).into()]);
    let error = one().max_in_flight_per_server(0).build().unwrap_err();
    assert_eq!(error.to_string(), "max_in_flight_per_server 0: must be above 0; for no limit, leave it out");
    let error = one().max_in_flight_per_server(1).max_queue_wait(Duration::ZERO).build().unwrap_err();
    assert_eq!(error.to_string(), "max_queue_wait 0: must be above 0; for no limit, write never");
    let error = one().slow_start(Duration::ZERO).build().unwrap_err();
    assert_eq!(error.to_string(), "slow_start 0: must be above 0; for no limit, write never");
    let warnings = one().connect_timeout(Duration::from_millis(1)).slow_start(Duration::from_secs(30)).warnings();
    assert!(
        warnings[0].to_string().starts_with("slow_start 30000 ms: does nothing, since there is only one server"),
        "{}",
        warnings[0]
    );
    let warnings = one().connect_timeout(Duration::from_millis(1)).max_queued_calls(8).warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().starts_with("max_queued_calls 8: does nothing without a cap"), "{}", warnings[0]);
}
