//! Calls over a transport of the caller's own, in tokio's paused time, and calls that move between threads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hedge_net::{
    Address, AttemptError, AttemptInfo, BackupPolicy, BodyMode, Caller, Channel, Code, Denial, ErrorKind, Extra,
    Idempotency, Judgement, LimitOptions, NotHedged, RetryPolicy, SendTransport, Verdict,
};
use hedge_tokio::{CallError, CallOptions, Http, Server, Tokio};

/// Answers after so many milliseconds what the script says for each port.
struct Scripted(HashMap<u16, (u64, Result<&'static str, ErrorKind>)>);

#[derive(Debug)]
struct Failed(ErrorKind);

impl AttemptError for Failed {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failed {}

impl SendTransport for Scripted {
    type Address = Address;
    type Request = ();
    type Reply = &'static str;
    type Error = Failed;

    async fn start(&self, (): &(), attempt: AttemptInfo<Address>) -> Result<&'static str, Failed> {
        let Address::Socket(address) = attempt.address else { panic!("no socket") };
        let (delay, result) = self.0[&address.port()];
        tokio::time::sleep(Duration::from_millis(delay)).await;
        result.map_err(Failed)
    }
}

type Script = [(u16, u64, Result<&'static str, ErrorKind>)];

fn builder(script: &Script) -> hedge_tokio::Builder<Scripted> {
    let transport = Scripted(script.iter().map(|&(port, delay, result)| (port, (delay, result))).collect());
    let servers: Vec<_> = script.iter().map(|(port, ..)| format!("127.0.0.1:{port}")).collect();
    let servers = format!("list://{}", servers.join(","));
    Channel::with_transport(Tokio::new(), transport, servers).load_balancer("rr").seed(1)
}

fn server(port: u16) -> Server {
    format!("127.0.0.1:{port}").parse().unwrap()
}

fn in_order(ports: &[u16]) -> CallOptions {
    CallOptions { servers: Some(ports.iter().copied().map(server).collect()), ..CallOptions::new() }
}

const MS: fn(u64) -> hedge_core::time::Duration = hedge_core::time::Duration::from_millis;

#[tokio::test(start_paused = true)]
async fn l7_a_backup_wins_in_exact_time() {
    let script = [(1, 100, Ok("slow")), (2, 3, Ok("fast"))];
    let channel = builder(&script).backup(Duration::from_millis(2)).build().unwrap();
    let reply = channel.call_with((), &in_order(&[1, 2])).await.unwrap();
    assert_eq!(*reply, "fast");
    assert_eq!(reply.report().elapsed(), MS(5));
    assert_eq!([1, 2].map(|port| channel.in_flight(&server(port))), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn l2_the_default_deadline_is_half_a_second() {
    let channel = builder(&[(1, 1_000, Ok("late"))]).build().unwrap();
    let error = channel.call(()).await.unwrap_err();
    assert!(matches!(error, CallError::Deadline { last: None, .. }));
    assert_eq!(error.report().elapsed(), MS(500));
    assert_eq!(error.to_string(), "deadline passed after 500 ms: attempt 0 at 127.0.0.1:1 had not answered");
}

#[tokio::test(start_paused = true)]
async fn l8_wait_and_fatal_end_as_they_should() {
    let script = [(1, 1, Err(ErrorKind::Internal)), (2, 1, Err(ErrorKind::Unauthorized)), (3, 9, Ok("yes"))];
    let channel = builder(&script).backup(Duration::ZERO).build().unwrap();
    let reply = channel.call_with((), &in_order(&[1, 3])).await.unwrap();
    assert_eq!(*reply, "yes", "a Wait lets the backup win");
    let error = channel.call_with((), &in_order(&[3, 2])).await.unwrap_err();
    assert!(matches!(error, CallError::Fatal { last: Some(Err(_)), .. }), "{error}");
    assert_eq!(error.kind(), "fatal");
    assert_eq!([1, 2, 3].map(|port| channel.in_flight(&server(port))), [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn t2_a_streaming_reply_of_another_transport_holds_its_server() {
    let channel = builder(&[(1, 1, Ok("head"))]).build().unwrap();
    let streaming = CallOptions { body: BodyMode::Streaming, ..CallOptions::new() };
    let reply = channel.call_with((), &streaming).await.unwrap();
    assert_eq!(channel.in_flight(&server(1)), 1);
    let other = channel.call_with((), &streaming).await.unwrap();
    assert_eq!(channel.in_flight(&server(1)), 2);
    drop(reply);
    assert_eq!(other.into_inner(), "head");
    assert_eq!(channel.in_flight(&server(1)), 0);
}

#[test]
fn l15_a_channel_tells_whether_a_request_may_be_sent_twice() {
    for (own, transport) in [(Idempotency::NotIdempotent, Idempotency::Unset), (Idempotency::Unset, Idempotency::Unset)]
    {
        let channel = builder(&[(1, 1, Ok("yes"))]).idempotency(own).build().unwrap();
        assert_eq!(channel.transport().idempotency(&()), transport, "it does not know");
        assert_eq!(Caller::idempotency(&channel, &()), own, "so the option of the channel decides");
    }
}

/// Accepts everything, errors too.
struct AcceptAll;

impl<B, E> RetryPolicy<B, E> for AcceptAll {
    fn judge(&self, _: Result<&B, &E>) -> Judgement {
        Verdict::Accept.into()
    }
}

#[tokio::test(start_paused = true)]
async fn t2_an_error_that_a_policy_accepts_is_settled_too() {
    let channel = builder(&[(1, 1, Err(ErrorKind::Broken))]).retry_policy(AcceptAll).build().unwrap();
    for body in [BodyMode::Buffered, BodyMode::Streaming] {
        let options = CallOptions { body, ..CallOptions::new() };
        let error = channel.call_with((), &options).await.unwrap_err();
        assert!(matches!(error, CallError::Failed { last: Some(Err(_)), .. }));
        assert_eq!(channel.in_flight(&server(1)), 0);
    }
}

/// Grants one backup, and counts what it is told.
#[derive(Default)]
struct Once {
    asked: AtomicU32,
    ended: AtomicU32,
}

impl BackupPolicy for Once {
    fn may_back_up(&self, _: hedge_core::time::Instant) -> Result<(), Denial> {
        if self.asked.fetch_add(1, Ordering::Relaxed) == 0 { Ok(()) } else { Err(Denial::Policy) }
    }

    fn ended(&self, _: &hedge_core::policy::Ended<'_>) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn b2_a_policy_is_asked_and_told_of_every_end() {
    let (shared, own) = (Arc::new(Once::default()), Arc::new(Once::default()));
    let script = [(1, 5, Ok("one")), (2, 5, Ok("two"))];
    let channel =
        builder(&script).backup(Duration::from_millis(1)).backup_policy(Arc::clone(&shared) as _).build().unwrap();
    assert_eq!(channel.call(()).await.unwrap().report().backups(), 1);
    let refused = channel.call(()).await.unwrap();
    assert_eq!(refused.report().not_hedged(), Some(NotHedged::Denied(Denial::Policy)));
    let options = CallOptions { backup_policy: Some(Arc::clone(&own) as _), ..CallOptions::new() };
    assert_eq!(channel.call_with((), &options).await.unwrap().report().backups(), 1);
    // Dropped after one poll.
    drop(tokio::time::timeout(Duration::ZERO, channel.call(())).await);
    assert_eq!(shared.ended.load(Ordering::Relaxed), 3);
    assert_eq!(own.ended.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn l20_a_panic_in_a_policy_settles_its_call() {
    let policy = |_: Result<&&'static str, &Failed>| -> Judgement { panic!("the policy's own") };
    let channel = builder(&[(1, 0, Ok("x"))]).retry_policy(policy).build().unwrap();
    let other = channel.clone();
    assert!(tokio::spawn(async move { drop(other.call(()).await) }).await.unwrap_err().is_panic());
    assert_eq!(channel.in_flight(&server(1)), 0);
}

#[tokio::test(start_paused = true)]
async fn b8_a_cluster_that_is_slow_or_fails_is_not_sent_everything_twice() {
    const CALLS: usize = 1_000;
    for (outcome, retries) in [(Ok("slow"), 0), (Err(ErrorKind::Reset), 100 + CALLS / 5 + 10)] {
        let script = [1, 2, 3].map(|port| (port, 200, outcome));
        let channel = builder(&script).backup(Duration::from_millis(20)).build().unwrap();
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..CALLS {
            let channel = channel.clone();
            calls.spawn(async move {
                match channel.call(()).await {
                    Ok(reply) => reply.report().attempts().len(),
                    Err(error) => error.report().attempts().len(),
                }
            });
        }
        let attempts: usize = calls.join_all().await.into_iter().sum();
        // Nothing has completed when the backups are due.
        assert!(attempts <= CALLS + 10 + retries, "{attempts} attempts");
        assert_eq!(channel.denied(Extra::Backup, Denial::Ratio), 990);
        assert_eq!(channel.denied(Extra::Retry, Denial::Budget) > 0, outcome.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_may_run_on_many_threads() {
    let script = [(1, 0, Ok("one")), (2, 0, Err(ErrorKind::Refused)), (3, 0, Ok("three"))];
    let channel = builder(&script)
        .backup(Duration::from_micros(1))
        .timeout(Duration::from_secs(30))
        // A third of the calls meet the server that refuses: it is not isolated.
        .without_health_checks()
        .limits(LimitOptions::NONE)
        .build()
        .unwrap();
    let mut tasks = Vec::new();
    for _ in 0..64 {
        let channel = channel.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..50 {
                channel.call(()).await.unwrap();
            }
        }));
    }
    for task in tasks {
        // The list changes under them; the servers that stay keep their counts.
        channel.set_servers(vec![server(1), server(2)]).unwrap();
        channel.set_servers(vec![server(1), server(2), server(3)]).unwrap();
        task.await.unwrap();
    }
    assert_eq!([1, 2, 3].map(|port| channel.in_flight(&server(port))), [0; 3]);
}

#[test]
fn h1_a_runtime_that_shuts_down_lets_in_the_servers_that_it_checked() {
    let channel = builder(&[(1, 0, Err(ErrorKind::Refused)), (2, 0, Ok("there"))]).build().unwrap();
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = in_order(&[1]);
        assert!(runtime.block_on(channel.call_with((), &first)).is_err());
        assert!(!channel.usable(&server(1)));
        let error = runtime.block_on(channel.call_with((), &first)).unwrap_err();
        assert_eq!(error.kind(), "all_down");
        drop(runtime);
        assert!(channel.usable(&server(1)), "nobody checks it any more");
    }
}

#[test]
fn calls_may_move_between_threads_whatever_the_transport() {
    fn send<F: Future + Send>(_: F) {}
    fn shared<C: Clone + Send + Sync + 'static>(_: &C) {}
    fn any<T>(channel: &hedge_tokio::Channel<T>, request: T::Request, options: &CallOptions)
    where
        T: SendTransport<Address = Address, Request: Sized + Send + Sync, Reply: Send, Error: Send>
            + Send
            + Sync
            + 'static,
    {
        shared(channel);
        send(channel.call_with(request, options));
    }
    let options = CallOptions::new();
    any(&builder(&[(1, 0, Ok(""))]).build().unwrap(), (), &options);
    let channel: hedge_tokio::Channel<Http> = hedge_tokio::builder("127.0.0.1:1").build().unwrap();
    any(&channel, http::Request::get("/").body("".into()).unwrap(), &options);
}

#[test]
fn the_future_of_a_call_has_a_size_that_one_can_know() {
    let channel = hedge_tokio::builder("127.0.0.1:1").build().unwrap();
    let size = size_of_val(&channel.call(http::Request::get("/").body("".into()).unwrap()));
    // With HTTP/2, as here. Without it, it is less than 5 KiB.
    assert!(size <= 5_632, "{size} bytes");
}

#[test]
fn codes_and_options_are_at_hand() {
    assert_eq!(Code::from(ErrorKind::Refused).to_string(), "connection refused");
    let options = CallOptions::new().with_timeout(Duration::from_millis(5)).with_backup(Duration::from_millis(1));
    let text = format!("{options:?}");
    assert!(text.contains("timeout: Some(5 ms)"), "{text}");
}

#[tokio::test]
async fn a_connection_that_has_met_itself_is_a_refused_one() {
    // Nobody listens; the client's own end is bound to the port that it connects to, as the kernel may choose by chance.
    let client = tokio::net::TcpSocket::new_v4().unwrap();
    client.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = client.local_addr().unwrap();
    let itself = client.connect(port).await.unwrap();
    let (local, peer) = (itself.local_addr().unwrap(), itself.peer_addr().unwrap());
    let error = hedge_net::refuse_self(local, peer).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = tokio::net::TcpStream::connect(other.local_addr().unwrap()).await.unwrap();
    assert!(hedge_net::refuse_self(stream.local_addr().unwrap(), stream.peer_addr().unwrap()).is_ok());
}
