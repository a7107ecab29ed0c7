//! What `on_end` is told.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hedge_net::{BodyMode, CallEnd, CallOptions, End, Runtime, Server};

use super::server::{TestServer, ok, status};
use super::signal::Signal;
use super::{assert_settled, drop_when, get, list, refused, server};

/// How calls ended: the end, the servers that they went to in order, and whose reply was accepted.
type Told = Arc<Mutex<Vec<(Option<End>, Vec<Server>, Option<Server>)>>>;

fn hear(told: &Told) -> impl Fn(&CallEnd<'_>) + Send + Sync + 'static {
    let told = Arc::clone(told);
    move |call| {
        let servers = call.attempts().iter().map(|attempt| call.server(attempt.server()).unwrap().clone()).collect();
        told.lock().unwrap().push((call.end(), servers, call.winner_server().cloned()));
    }
}

pub async fn on_end_is_told_every_end_and_the_servers<R: Runtime>(runtime: R) {
    let told = Told::default();
    let there = TestServer::answering(|seen| if seen.head.contains("/broken") { status(500, "") } else { ok("text") });
    let (there, down, stalling) = (there.address, refused(), TestServer::stalling());
    let channel = list(&runtime, &[there]).without_health_checks().on_end(hear(&told)).build().unwrap();
    let at = |addresses: &[_]| {
        let servers = addresses.iter().map(|address| server(*address)).collect();
        CallOptions { servers: Some(servers), ..CallOptions::new() }
    };

    // A server of the call's own (S8) is told like one of the list.
    assert_eq!(channel.call_with(get("/"), &at(&[down, there])).await.unwrap().status(), 200);
    let backup = at(&[stalling.address, there]).with_backup(Duration::from_millis(1));
    assert_eq!(*channel.call_with(get("/"), &backup).await.unwrap().server().unwrap(), server(there));
    assert_eq!(channel.call(get("/broken")).await.unwrap_err().kind(), "failed");
    let hurried = at(&[stalling.address]).with_timeout(Duration::from_millis(1));
    assert_eq!(channel.call_with(get("/"), &hurried).await.unwrap_err().kind(), "deadline");
    let expected = [
        (Some(End::Accepted), vec![server(down), server(there)], Some(server(there))),
        (Some(End::Accepted), vec![server(stalling.address), server(there)], Some(server(there))),
        (Some(End::Failed), vec![server(there)], None),
        (Some(End::Deadline), vec![server(stalling.address)], None),
    ];
    assert_eq!(*told.lock().unwrap(), expected);

    // Neither a call that is dropped, nor one whose options cannot be carried out.
    let never = TestServer::stalling();
    drop_when(channel.call_with(get("/"), &at(&[never.address])), never.requests.reached(1)).await;
    never.closed.reached(1).await;
    for options in [
        CallOptions { max_retry: Some(8), ..CallOptions::new() },
        CallOptions { max_retry: Some(7), max_backups: Some(7), ..CallOptions::new() },
    ] {
        assert_eq!(channel.call_with(get("/"), &options).await.unwrap_err().kind(), "config");
    }
    assert_eq!(told.lock().unwrap().len(), expected.len());
    assert_settled(&channel);
}

pub async fn t2_on_end_is_told_a_stream_at_its_head<R: Runtime>(runtime: R) {
    let (told, may_end) = (Told::default(), Signal::new());
    let wait = may_end.clone();
    let there = TestServer::start(move |connection| {
        while connection.request().is_some() {
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n");
            wait.block_until(1);
            connection.send("text");
        }
    });
    let channel = list(&runtime, &[there.address]).on_end(hear(&told)).build().unwrap();
    let options = CallOptions { body: BodyMode::Streaming, ..CallOptions::new() };
    let reply = channel.call_with(get("/"), &options).await.unwrap();
    let whole = (Some(End::Accepted), vec![server(there.address)], Some(server(there.address)));
    assert_eq!(*told.lock().unwrap(), [whole]);
    assert_eq!(channel.in_flight(&server(there.address)), 1);
    may_end.raise();
    assert_eq!(reply.into_inner().into_body().collect().await.unwrap(), "text");
    assert_eq!(told.lock().unwrap().len(), 1);
    assert_settled(&channel);
}

pub async fn on_end_that_panics_harms_neither_reply_nor_count<R: Runtime>(runtime: R) {
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let there = TestServer::answering(|seen| if seen.head.contains("/broken") { status(500, "") } else { ok("text") });
    let panics = move |_: &CallEnd<'_>| {
        count.fetch_add(1, SeqCst);
        // Without a word on standard error.
        resume_unwind(Box::new("on purpose"))
    };
    let channel = list(&runtime, &[there.address]).on_end(panics).build().unwrap();
    let streaming = CallOptions { body: BodyMode::Streaming, ..CallOptions::new() };
    assert_eq!(channel.call(get("/")).await.unwrap().text().unwrap(), "text");
    assert_eq!(channel.call(get("/broken")).await.unwrap_err().kind(), "failed");
    let reply = channel.call_with(get("/"), &streaming).await.unwrap();
    assert_eq!(reply.into_inner().into_body().collect().await.unwrap(), "text");
    assert_eq!((told.load(SeqCst), channel.latencies().count()), (3, 3));
    assert_settled(&channel);
}
