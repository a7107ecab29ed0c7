//! Calls that wait, on tokio (W1): where this is allowed, and where it is an error.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::result_large_err,
    reason = "a test may stop at the first surprise, and it returns errors as they are"
)]

use std::sync::mpsc;
use std::task::Poll;
use std::thread;

use hedge_fleet::Spawn;
use hedge_net::http::{Request, RequestBody};
use hedge_sockets::server::{TestServer, ok};
use hedge_tokio::blocking::{Ended, JoinError, OnHandle, WayError, Ways, ways};
use hedge_tokio::{Channel, Tokio};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::coop;

fn many() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn get() -> Request<RequestBody> {
    Request::get("/").body(RequestBody::Empty).unwrap()
}

fn channel(server: &TestServer, runtime: &Handle) -> Ways<Channel, OnHandle> {
    let builder = hedge_tokio::builder(server.address.to_string()).timeout(std::time::Duration::from_secs(20));
    ways(builder.build().unwrap(), runtime.clone())
}

#[test]
fn w1_a_task_must_not_wait_and_blocking_threads_may() {
    assert!(Tokio::may_block(), "a thread outside of a runtime");
    for runtime in [many(), Builder::new_current_thread().enable_all().build().unwrap()] {
        assert!({
            let _entered = runtime.enter();
            Tokio::may_block()
        });
        runtime.block_on(async {
            assert!(!Tokio::may_block(), "block_on");
            assert!(!tokio::spawn(async { Tokio::may_block() }).await.unwrap(), "a task");
            assert!(tokio::task::spawn_blocking(Tokio::may_block).await.unwrap());
            let local = tokio::task::LocalSet::new();
            assert!(
                !local.run_until(async { tokio::task::spawn_local(async { Tokio::may_block() }).await.unwrap() }).await
            );
            assert!(coop::unconstrained(async { Tokio::may_block() }).await, "this cannot be told");
        });
        assert!(Tokio::may_block(), "the runtime is left");
    }
    many().block_on(async {
        tokio::spawn(async {
            assert!(tokio::task::block_in_place(Tokio::may_block));
            assert!(!Tokio::may_block());
        })
        .await
        .unwrap();
    });
}

#[test]
fn w1_asking_whether_a_task_may_wait_leaves_its_budget() {
    many().block_on(async {
        // What is left of the budget, counted by taking it.
        let left = || {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let mut units = Vec::new();
            while let Poll::Ready(unit) = coop::poll_proceed(&mut cx) {
                units.push(unit);
            }
            let count = units.len();
            // In the reverse order, so that each drop puts back what was there before its unit.
            while units.pop().is_some() {}
            count
        };
        let before = left();
        assert!(before > 0);
        for _ in 0..100 {
            assert!(!Tokio::may_block());
        }
        assert_eq!(left(), before);
    });
}

#[test]
fn w1_a_call_waits_on_plain_threads_and_blocking_threads_and_not_in_tasks() {
    let (server, runtime) = (TestServer::answering(|_| ok("hello")), many());
    let channel = channel(&server, runtime.handle());
    assert_eq!(channel.call(get()).wait().unwrap().text().unwrap(), "hello");
    runtime.block_on(async {
        assert!(matches!(channel.call(get()).wait(), Err(WayError::AsyncContext)));
        let own = channel.clone();
        assert!(tokio::task::spawn_blocking(move || own.call(get()).wait().is_ok()).await.unwrap());
        let started = channel.call(get()).start();
        let handle = started.handle().clone();
        let joined = handle.join();
        assert!(matches!(joined, Err(JoinError::AsyncContext) | Ok(Ended::Completed)), "{joined:?}");
        assert!(tokio::task::spawn_blocking(move || started.join().is_ok()).await.unwrap());
        assert_eq!(handle.join(), Ok(Ended::Completed), "what has ended can be joined anywhere");
    });
}

#[test]
fn w1_callbacks_call_again_and_drop_the_channel() {
    let (server, runtime) = (TestServer::answering(|_| ok("hello")), many());
    let channel = channel(&server, runtime.handle());
    let (result, results) = mpsc::channel();
    let own = channel.clone();
    let handle = channel.call(get()).callback(move |first| {
        let second = own.call(get()).wait();
        result.send(first.is_ok() && second.is_ok()).unwrap();
    });
    assert_eq!(handle.join(), Ok(Ended::Completed));
    assert!(results.recv().unwrap());
    let (result, results) = mpsc::channel();
    let (call, own) = (channel.call(get()), channel.clone());
    let handle = call.callback_inline(move |_| {
        assert!(matches!(own.call(get()).wait(), Err(WayError::AsyncContext)));
        own.call(get()).callback_inline(move |again| result.send(again.is_ok()).unwrap());
    });
    drop(channel);
    assert!(results.recv().unwrap());
    assert_eq!(handle.join(), Ok(Ended::Completed));
    server.closed.block_until(1);
}

#[test]
fn w1_a_runtime_that_ends_before_its_call_is_an_error_of_the_call() {
    let (server, runtime) = (TestServer::stalling(), many());
    let channel = channel(&server, runtime.handle());
    let own = channel.clone();
    let waits = thread::spawn(move || own.call(get()).wait());
    server.requests.block_until(1);
    runtime.shutdown_background();
    assert!(matches!(waits.join().unwrap(), Err(WayError::NoRuntime)));
    assert!(matches!(channel.call(get()).wait(), Err(WayError::NoRuntime)), "and later calls fail at once");
}
