//! Connections that channels share, and how they are kept.

use std::time::Duration;

use hedge_net::{Bounded, ConnectionType, Runtime};

use super::server::{TestServer, ok};
use super::{HttpChannel, PATIENCE, get, list};

async fn call<R: Runtime>(channel: &HttpChannel<R>) {
    channel.call(get("/")).await.unwrap();
}

/// A server whose answers have this header.
fn saying(header: &'static str) -> TestServer {
    TestServer::answering(move |_| format!("HTTP/1.1 200 OK\r\n{header}\r\ncontent-length: 0\r\n\r\n"))
}

pub async fn c4_equal_channels_share_connections<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let [one, other] = [1, 2].map(|seed| list(&runtime, &[there.address]).seed(seed).build().unwrap());
    for channel in [&one, &other, &one] {
        call(channel).await;
    }
    assert_eq!(there.accepted.count(), 1);
    let counters = [one, other].map(|channel| {
        let counters = channel.transport().counters();
        (counters.opened, counters.reused)
    });
    assert_eq!(counters, [(1, 1), (0, 1)]);
}

pub async fn c4_a_group_and_other_limits_keep_connections_apart<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let build = || list(&runtime, &[there.address]);
    let apart = [
        build().build().unwrap(),
        build().connection_group("apart").build().unwrap(),
        build().max_headers(Bounded::of::<50>()).build().unwrap(),
        build().max_head(Bounded::of::<10_000>()).build().unwrap(),
    ];
    for times in 1..3 {
        for channel in &apart {
            call(channel).await;
        }
        assert_eq!(there.accepted.count(), apart.len(), "{times}");
    }
    call(&build().connection_group("apart").build().unwrap()).await;
    assert_eq!(there.accepted.count(), apart.len());
}

pub async fn c4_connections_outlive_their_last_channel_for_as_long_as_is_set<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let build = |defer: Duration| list(&runtime, &[there.address]).defer_close(defer).build().unwrap();
    call(&build(PATIENCE)).await;
    call(&build(Duration::from_millis(20))).await;
    assert_eq!(there.accepted.count(), 1, "the second channel has the connection of the first");
    there.closed.reached(1).await;
    call(&build(Duration::ZERO)).await;
    there.closed.reached(2).await;
}

pub async fn c1_a_short_connection_serves_one_attempt<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.head));
    let channel = list(&runtime, &[there.address]).connection_type(ConnectionType::Short).build().unwrap();
    let pooled = list(&runtime, &[there.address]).build().unwrap();
    call(&pooled).await;
    for times in 1..4 {
        let reply = channel.call(get("/")).await.unwrap();
        let head = String::from_utf8(reply.body().bytes().unwrap().to_vec()).unwrap();
        assert!(head.contains("connection: close\r\n"), "{head}");
        there.closed.reached(times).await;
        assert_eq!(there.accepted.count(), times + 1);
    }
    let error = list(&runtime, &[there.address]).connection_type(ConnectionType::Single).build().unwrap_err();
    assert_eq!(error.to_string(), "connection_type \"single\": protocol \"http\" supports pooled, short");
}

pub async fn c4_an_old_connection_is_closed<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let channel = list(&runtime, &[there.address]).idle_timeout(Duration::MAX);
    let channel = channel.max_connection_age(Duration::from_millis(20)).build().unwrap();
    for times in 1..3 {
        call(&channel).await;
        there.closed.reached(times).await;
        assert_eq!(channel.transport().counters().expired, times as u64);
    }
}

pub async fn c4_a_connection_is_closed_before_the_server_does_it<R: Runtime>(runtime: R) {
    // It is not kept at all, or for half a second.
    for header in ["keep-alive: timeout=0", "keep-alive: max=5, timeout=1"] {
        let there = saying(header);
        let channel = list(&runtime, &[there.address]).idle_timeout(Duration::MAX).build().unwrap();
        for times in 1..3 {
            call(&channel).await;
            there.closed.reached(times).await;
            assert_eq!(channel.transport().counters().expired, times as u64, "{header}");
        }
    }
}

pub async fn c4_settings_of_idle_connections_change_while_the_channel_runs<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let channel = list(&runtime, &[there.address]).idle_timeout(Duration::MAX).build().unwrap();
    call(&channel).await;
    channel.set_idle_timeout(Duration::from_millis(1));
    there.closed.reached(1).await;
    channel.set_idle_timeout(Duration::MAX);
    call(&channel).await;
    channel.set_max_connection_age(Duration::from_millis(1));
    there.closed.reached(2).await;
    channel.set_max_connection_age(Duration::MAX);
    call(&channel).await;
    channel.set_max_idle_per_server(0);
    there.closed.reached(3).await;
    channel.set_max_idle_per_server(1);
    call(&channel).await;
    call(&channel).await;
    assert_eq!(there.accepted.count(), 4);
    channel.set_defer_close(Duration::from_millis(1));
    drop(channel);
    there.closed.reached(4).await;
}
