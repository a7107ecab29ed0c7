//! Connections between calls.

use std::time::Duration;

use hedge_net::{BodyMode, CallOptions, Channel, ErrorKind, Runtime};

use super::health::until;
use super::server::{TestServer, ok};
use super::signal::Signal;
use super::tls_server::{Authority, TlsServer};
use super::watched::Watched;
use super::{PATIENCE, assert_settled, both, get, list};

/// A server that answers with the connection's number, as often as each is told to.
fn numbered(go_on: [Signal; 2]) -> TestServer {
    TestServer::start(move |connection| {
        let mut served = 0;
        while connection.request().is_some() {
            served += 1;
            if served == 1
                && let Some(gate) = go_on.get(connection.number)
            {
                gate.block_until(1);
            }
            connection.send(&ok(&connection.number.to_string()));
        }
    })
}

pub async fn connections_are_kept_alive<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok("again"));
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for _ in 0..20 {
        assert_eq!(channel.call(get("/")).await.unwrap().status(), 200);
    }
    assert_eq!(there.accepted.count(), 1);
    assert_settled(&channel);
}

pub async fn the_connection_used_last_is_used_next<R: Runtime>(runtime: R) {
    let gates = [Signal::new(), Signal::new()];
    let there = numbered(gates.clone());
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let text = async || {
        let reply = channel.call(get("/")).await.unwrap();
        String::from_utf8(reply.body().bytes().unwrap().to_vec()).unwrap()
    };
    // Both wait for an answer; the connection that is let go first is the first to be idle.
    let first = async {
        let answer = text().await;
        gates[usize::from(answer == "0")].raise();
        answer
    };
    let second = async {
        there.requests.reached(1).await;
        let open = async {
            there.requests.reached(2).await;
            gates[0].raise();
        };
        let (answer, ()) = both(text(), open).await;
        gates[usize::from(answer == "0")].raise();
        answer
    };
    let (one, other) = both(first, second).await;
    assert_ne!(one, other);
    for _ in 0..3 {
        assert_eq!(text().await, "1", "it was given back last");
    }
    assert_eq!(there.accepted.count(), 2);
}

pub async fn no_more_connections_are_kept_than_allowed<R: Runtime>(runtime: R) {
    let gates = [Signal::new(), Signal::new()];
    let there = numbered(gates.clone());
    let channel = list(&runtime, &[there.address]).max_idle_per_server(1).build().unwrap();
    let open = async {
        there.requests.reached(2).await;
        for gate in &gates {
            gate.raise();
        }
    };
    let ((one, other), ()) = both(both(channel.call(get("/")), channel.call(get("/"))), open).await;
    assert!(one.is_ok() && other.is_ok());
    there.closed.reached(1).await;
    channel.call(get("/")).await.unwrap();
    assert_eq!(there.accepted.count(), 2);

    let none = list(&runtime, &[there.address]).connection_group("none").max_idle_per_server(0).build().unwrap();
    for _ in 0..2 {
        none.call(get("/")).await.unwrap();
    }
    assert_eq!(there.accepted.count(), 4);
}

pub async fn idle_connections_are_closed<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let channel = list(&runtime, &[there.address]).idle_timeout(Duration::from_millis(20)).build().unwrap();
    for times in 1..3 {
        channel.call(get("/")).await.unwrap();
        there.closed.reached(times).await;
        assert_eq!(there.accepted.count(), times);
    }
}

pub async fn t4_a_connection_that_the_server_closed_is_passed_over<R: Runtime>(runtime: R) {
    let gone = Signal::new();
    let gate = gone.clone();
    let there = TestServer::start(move |connection| {
        connection.request();
        connection.send(&ok(""));
        connection.hang_up();
        gate.raise();
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for times in 1..5 {
        channel.call(get("/")).await.unwrap();
        gone.reached(times).await;
    }
    assert!(there.accepted.count() >= 4);
    assert_settled(&channel);
}

pub async fn a_connection_that_the_server_closes_is_not_kept<R: Runtime>(runtime: R) {
    let there =
        TestServer::answering(|_| "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx".to_owned());
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for times in 1..4 {
        let reply = channel.call(http::Request::post("/").body(().into()).unwrap()).await.unwrap();
        assert_eq!(reply.report().attempts().len(), 1);
        assert_eq!(there.accepted.count(), times);
    }
}

pub async fn n4_a_name_is_looked_up_and_a_name_that_is_none_blames_no_server<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok("found"));
    let build = |server: String| Channel::builder(runtime.clone(), server).timeout(PATIENCE).connect_timeout(PATIENCE);
    let channel = build(format!("localhost:{}", there.address.port())).build().unwrap();
    assert_eq!(channel.call(get("/")).await.unwrap().body().bytes().unwrap(), "found");

    // A label has at most 63 bytes, so nothing is asked for this.
    let channel = build(format!("{}:80", "x".repeat(64))).max_retry(0).build().unwrap();
    let error = channel.call(get("/")).await.unwrap_err();
    assert_eq!(error.report().attempts()[0].code(), ErrorKind::Local.into(), "{error}");
    assert!(channel.servers().iter().all(|server| channel.usable(server)));
}

pub async fn c4_without_connections_there_is_no_task_and_no_timer<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let authority = Authority::create();
    let (plain, secured) = (
        TestServer::answering(|_| ok("")),
        TlsServer::telling(authority.server(authority.sign("127.0.0.1", 1), false)),
    );
    for channel in
        [list(&runtime, &[plain.address]), list(&runtime, &[secured.address]).tls(authority.client().build().unwrap())]
    {
        let channel = channel.idle_timeout(Duration::from_secs(3_600)).build().unwrap();
        assert_eq!(runtime.tasks_and_timers(), (0, 0), "no call was made yet");
        for _ in 0..2 {
            channel.call(get("/")).await.unwrap();
            // A task for the connection, and one with a timer that will close it.
            until(|| runtime.tasks_and_timers() == (2, 1)).await;
            channel.set_idle_timeout(Duration::from_millis(1));
            runtime.ended.reached(runtime.begun.count()).await;
            assert_eq!(runtime.tasks_and_timers(), (0, 0), "the last connection is closed");
            assert_eq!(channel.transport().counters().open(), 0);
            channel.set_idle_timeout(Duration::from_secs(3_600));
        }
    }
}

pub async fn no_task_outlives_its_channel<R: Runtime>(runtime: R) {
    const CHANNELS: usize = 50;
    let runtime = Watched::new(runtime);
    let there = TestServer::answering(|_| ok("text"));
    let streaming = CallOptions { body: BodyMode::Streaming, ..CallOptions::new() };
    for options in [CallOptions::new(), streaming] {
        let begun = runtime.begun.count();
        for _ in 0..CHANNELS {
            let channel = list(&runtime, &[there.address]).idle_timeout(Duration::MAX).build().unwrap();
            let reply = channel.call_with(get("/"), &options).await.unwrap();
            assert_eq!(reply.into_inner().into_body().collect().await.unwrap(), "text");
        }
        // One for a connection, and one for those that are idle.
        assert_eq!(runtime.begun.count() - begun, 2 * CHANNELS);
        runtime.ended.reached(runtime.begun.count()).await;
    }
}
