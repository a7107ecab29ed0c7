//! Calls from plain threads over sockets, by a thread of hedge (W1).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err,
    reason = "a test may stop at the first surprise, and it returns errors as they are"
)]

use std::cell::RefCell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hedge_compose::{FaultOptions, Faults};
use hedge_core::bounded::Ratio;
use hedge_fleet::Spawn;
use hedge_net::http::HttpError;
use hedge_smol::blocking::{self, Ended, Threaded, WayError, builder, get, join_all};
use hedge_smol::{CallError, CallOptions};
use hedge_sockets::server::{TestServer, ok};

fn echo() -> TestServer {
    TestServer::answering(|seen| ok(seen.head.split(' ').nth(1).unwrap()))
}

fn channel(server: &TestServer) -> blocking::Channel {
    let options = builder(server.address.to_string()).timeout(Duration::from_secs(20));
    blocking::ways(options.build().unwrap())
}

#[test]
fn w1_plain_threads_call_at_once() {
    let server = echo();
    let channel = channel(&server);
    thread::scope(|scope| {
        for number in 0..8 {
            let channel = &channel;
            scope.spawn(move || {
                let path = format!("/{number}");
                let reply = channel.call(get(&path).unwrap()).wait().unwrap();
                assert_eq!(reply.text().unwrap(), path);
            });
        }
    });
}

#[test]
fn w1_callbacks_and_joined_calls_over_sockets() {
    let server = echo();
    let channel = channel(&server);
    let (result, results) = mpsc::channel();
    let again = channel.clone();
    let handle = channel.call(get("/first").unwrap()).callback(move |first| {
        let second = again.call(get("/second").unwrap()).wait();
        result.send((first.unwrap().text().unwrap().to_owned(), second.unwrap().text().unwrap().to_owned())).unwrap();
    });
    assert_eq!(handle.join(), Ok(Ended::Completed));
    assert_eq!(results.recv().unwrap(), ("/first".into(), "/second".into()));
    let calls: Vec<_> = (0..10).map(|number| channel.call(get(&format!("/{number}")).unwrap()).start()).collect();
    for (number, reply) in join_all(calls).into_iter().enumerate() {
        assert_eq!(reply.unwrap().text().unwrap(), format!("/{number}"));
    }
}

#[test]
fn w1_a_call_is_cancelled_and_times_out_while_a_thread_waits() {
    let server = TestServer::stalling();
    let channel = channel(&server);
    let call = channel.call(get("/").unwrap());
    let handle = call.handle();
    let waits = thread::spawn(move || call.wait());
    server.requests.block_until(1);
    handle.cancel();
    let Err(WayError::Call(error)) = waits.join().unwrap() else { panic!("it was cancelled") };
    assert!(matches!(error, CallError::Cancelled { .. }), "{error}");
    let options = CallOptions::new().with_timeout(Duration::from_millis(10));
    let Err(WayError::Call(error)) = channel.call_with(get("/").unwrap(), options).wait() else {
        panic!("the server does not answer")
    };
    assert!(matches!(error, CallError::Deadline { .. }), "{error}");
}

#[test]
fn w1_the_connections_end_with_the_last_channel_also_in_a_callback() {
    let server = echo();
    let channel = channel(&server);
    assert!(channel.call(get("/").unwrap()).wait().is_ok());
    let call = channel.call(get("/").unwrap());
    let handle = call.callback(move |_| drop(channel));
    assert_eq!(handle.join(), Ok(Ended::Completed));
    server.closed.block_until(1);
}

/// Tells when the thread that holds it ends.
struct Tells(mpsc::Sender<()>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
    }
}

thread_local! {
    static WITH_THREAD: RefCell<Option<Tells>> = const { RefCell::new(None) };
}

#[test]
fn w1_the_thread_ends_with_the_last_channel_also_while_a_server_is_checked() {
    let channel = blocking::ways(builder(hedge_sockets::refused().to_string()).build().unwrap());
    assert!(channel.call(get("/").unwrap()).wait().is_err(), "the server is down, so a task checks it");
    let (ended, ends) = mpsc::channel();
    channel.caller().runtime().spawn(async move { WITH_THREAD.set(Some(Tells(ended))) });
    let clone = channel.clone();
    drop(channel);
    assert!(clone.call(get("/").unwrap()).wait().is_err(), "the thread still runs");
    drop(clone);
    assert_eq!(ends.recv(), Ok(()));
}

#[test]
fn faults_try_the_hedging_of_a_channel_over_http() {
    let servers = [echo(), echo()];
    let list = format!("list://{},{}", servers[0].address, servers[1].address);
    let runtime = Threaded::new();
    // Every attempt is broken on purpose, so no server gets a request.
    let options = FaultOptions::new(1).with_abort(Ratio::WHOLE);
    let channel = hedge_net::Channel::builder(runtime.clone(), list)
        .wrap(move |http| Faults::new(http, runtime, options, || Err(HttpError::NoRoom)))
        .load_balancer("rr")
        .max_retry(1)
        .timeout(Duration::from_secs(20));
    let channel = blocking::ways(channel.build().unwrap());
    let Err(WayError::Call(error)) = channel.call(get("/").unwrap()).wait() else { panic!("an attempt was sent") };
    assert_eq!(error.report().attempts().len(), 2, "{error}");
    assert!(servers.iter().all(|server| server.requests.count() == 0));
}

#[test]
fn h1_a_delay_on_purpose_that_is_longer_than_the_connect_timeout_isolates_no_server() {
    let server = echo();
    let runtime = Threaded::new();
    let (connect_timeout, delay) = (Duration::from_secs(2), Duration::from_millis(2_100));
    let options = FaultOptions::new(1).with_delay(Ratio::WHOLE, delay);
    let channel = hedge_net::Channel::builder(runtime.clone(), server.address.to_string())
        .wrap(move |http| Faults::new(http, runtime, options, || Err(HttpError::NoRoom)))
        .connect_timeout(connect_timeout)
        .max_retry(0)
        .timeout(Duration::from_secs(20));
    let channel = blocking::ways(channel.build().unwrap());
    let reply = channel.call(get("/late").unwrap()).wait().unwrap();
    assert_eq!(reply.text().unwrap(), "/late");
    assert!(reply.report().elapsed() >= delay);
    assert!(channel.caller().servers().iter().all(|server| channel.caller().usable(server)));
}
