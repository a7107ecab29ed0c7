//! Servers with a tied layer, in tokio's paused time. Messages go from server to server without sockets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hedge_tokio::Tokio;
use hedge_tower::tied::{RemoteIp, TiedError, TiedLayer};
use http::{Method, Request, Response, StatusCode};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

const KEY: &str = "0123456789abcdef0123456789abcdef";

type Service = BoxCloneSyncService<Request<()>, Response<String>, Infallible>;
/// The status, why the request was dropped, and after how many ms.
type Answer = (u16, Option<String>, u128);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 80))
}

/// The servers by their addresses, and how long a message takes.
#[derive(Clone, Default)]
struct Network {
    servers: Arc<Mutex<HashMap<SocketAddr, Service>>>,
    delay: Duration,
    sent: Arc<AtomicUsize>,
}

impl Network {
    /// Starts a server whose work on a request takes as many ms as the request says. Its peers are `10.0.0.1` to `3`.
    fn server(&self, n: u8, adapt: impl FnOnce(Builder) -> Builder) -> TiedLayer<Tokio, Tell> {
        let network = self.clone();
        let tell: Tell = Box::new(move |to, mut message| {
            message.extensions_mut().insert(RemoteIp(address(n).ip()));
            network.sent.fetch_add(1, Ordering::Relaxed);
            let server = network.servers.lock().unwrap().get(&to).cloned();
            let delay = network.delay;
            Box::pin(async move {
                sleep(delay).await;
                let status = server?.oneshot(message).await.unwrap().status();
                sleep(delay).await;
                Some(status)
            })
        });
        let builder = TiedLayer::builder(Tokio::new(), address(n), tell).peers([1, 2, 3].map(address));
        let layer = adapt(builder.ask_timeout(ms(20))).build().unwrap();
        let work = service_fn(|request: Request<()>| async move {
            let time: u64 = request.uri().path().trim_start_matches('/').parse().unwrap();
            sleep(ms(time)).await;
            Ok::<_, Infallible>(Response::new(String::from("done")))
        });
        self.servers.lock().unwrap().insert(address(n), BoxCloneSyncService::new(layer.layer(work)));
        layer
    }

    /// Sends a request: its status, why it was dropped, and when the answer came.
    fn send(&self, to: u8, request: Request<()>) -> JoinHandle<Answer> {
        let server = self.servers.lock().unwrap()[&address(to)].clone();
        let start = Instant::now();
        tokio::spawn(async move {
            let response = server.oneshot(request).await.unwrap();
            let dropped = response.headers().get("x-hedge-dropped").map(|value| value.to_str().unwrap().to_owned());
            (response.status().as_u16(), dropped, start.elapsed().as_millis())
        })
    }
}

type Sent = std::pin::Pin<Box<dyn Future<Output = Option<StatusCode>> + Send>>;
type Tell = Box<dyn Fn(SocketAddr, Request<()>) -> Sent + Send + Sync>;
type Builder = hedge_tower::tied::TiedBuilder<Tokio, Tell>;

/// A request for work of this many ms, of a call with this key. A backup also has the first attempt's server.
fn work(ms: u64, key: Option<&str>, first: Option<SocketAddr>) -> Request<()> {
    let mut request = Request::builder().uri(format!("/{ms}"));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    if let Some(first) = first {
        request = request.header("x-hedge-first-server", first.to_string());
    }
    request.body(()).unwrap()
}

/// Lets all tasks run that can run. No time passes.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn done(after: u128) -> Answer {
    (200, None, after)
}

#[tokio::test(start_paused = true)]
async fn y1_a_first_attempt_that_begins_drops_its_backup() {
    let network = Network { delay: ms(2), ..Network::default() };
    let (first, second) = (network.server(1, |it| it), network.server(2, |it| it));
    let busy = [network.send(1, work(30, None, None)), network.send(2, work(60, None, None))];
    settle().await;
    let attempt = network.send(1, work(10, Some(KEY), None));
    settle().await;
    let backup = network.send(2, work(10, Some(KEY), Some(address(1))));
    assert_eq!(attempt.await.unwrap(), done(40));
    // The word that the first attempt has begun at 30 ms takes 2 ms.
    assert_eq!(backup.await.unwrap(), (503, Some("tied".into()), 32));
    assert_eq!((first.counters().begun, first.counters().told), (2, 1));
    for it in busy {
        it.await.unwrap();
    }
    let counted = second.counters();
    assert_eq!((counted.begun, counted.dropped, counted.told), (1, 1, 1));
    assert_eq!((second.waiting(), second.at_work()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn y1_a_backup_that_begins_drops_the_first_attempt() {
    let network = Network { delay: ms(2), ..Network::default() };
    let (first, second) = (network.server(1, |it| it), network.server(2, |it| it));
    let _busy = network.send(1, work(60, None, None));
    settle().await;
    let attempt = network.send(1, work(10, Some(KEY), None));
    settle().await;
    let backup = network.send(2, work(10, Some(KEY), Some(address(1))));
    // The backup is held for the 4 ms of a question and its answer. Then it begins and says so.
    assert_eq!(attempt.await.unwrap(), (503, Some("tied".into()), 6));
    assert_eq!(backup.await.unwrap(), done(14));
    assert_eq!((first.counters().dropped, second.counters().begun), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn y1_a_backup_whose_first_attempt_is_at_work_does_not_begin() {
    let network = Network { delay: ms(2), ..Network::default() };
    network.server(1, |it| it);
    let second = network.server(2, |it| it);
    let attempt = network.send(1, work(10, Some(KEY), None));
    settle().await;
    let backup = network.send(2, work(10, Some(KEY), Some(address(1))));
    assert_eq!(backup.await.unwrap(), (503, Some("tied".into()), 4));
    assert_eq!(attempt.await.unwrap().0, 200);
    assert_eq!(second.counters().begun, 0);

    // Without holding, an idle server begins at once. A copy that has begun is not dropped.
    let third = network.server(3, |it| it.ask_timeout(Duration::ZERO));
    let attempt = network.send(1, work(10, Some(KEY), None));
    settle().await;
    let backup = network.send(3, work(10, Some(KEY), Some(address(1))));
    assert_eq!((attempt.await.unwrap().0, backup.await.unwrap()), (200, done(10)));
    assert_eq!((third.counters().begun, third.counters().dropped), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn y1_a_backup_runs_if_the_other_server_does_not_answer() {
    // A server that cannot be reached, and one whose answers take too long.
    for delay in [ms(0), ms(1_000)] {
        let network = Network { delay, ..Network::default() };
        let second = network.server(2, |it| it);
        let backup = network.send(2, work(10, Some(KEY), Some(address(1))));
        let held = if delay.is_zero() { 0 } else { 20 };
        assert_eq!(backup.await.unwrap(), done(10 + held));
        sleep(ms(3_000)).await;
        // The question, and the word that the backup has begun.
        assert_eq!((second.counters().unanswered, second.counters().told), (2, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn y1_only_peers_are_contacted() {
    let network = Network::default();
    network.server(2, |it| it);
    network.server(9, |it| it);
    for first in [address(9), address(2), SocketAddr::from(([10, 0, 0, 1], 22))] {
        let backup = network.send(2, work(10, Some(KEY), Some(first)));
        assert_eq!(backup.await.unwrap(), done(10));
    }
    assert_eq!(network.sent.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn y1_a_message_from_elsewhere_is_refused() {
    let network = Network::default();
    let layer = network.server(1, |it| it.path("/tied"));
    let _busy = network.send(1, work(10, None, None));
    settle().await;
    let waits = network.send(1, work(10, Some(KEY), None));
    settle().await;
    let message = |from: SocketAddr, remote: IpAddr, word| {
        let message = Request::builder().method(Method::POST).uri("/tied").extension(RemoteIp(remote));
        let message = message.header("x-hedge-tied-from", from.to_string()).header("idempotency-key", KEY);
        message.header("x-hedge-tied", word).body(()).unwrap()
    };
    for (from, remote) in [(2, 9), (9, 9), (1, 1)] {
        let answer = network.send(1, message(address(from), address(remote).ip(), "begun"));
        assert_eq!(answer.await.unwrap().0, 403, "{from} {remote}");
    }
    let answer = network.send(1, message(address(2), address(2).ip(), "drop"));
    assert_eq!(answer.await.unwrap().0, 400);
    assert_eq!((layer.counters().refused, layer.waiting()), (4, 1));
    let answer = network.send(1, message(address(2), address(2).ip(), "begun"));
    assert_eq!(answer.await.unwrap().0, 204);
    assert_eq!(waits.await.unwrap().0, 503);
}

#[tokio::test(start_paused = true)]
async fn y1_a_full_queue_refuses_at_once() {
    let network = Network::default();
    let layer = network.server(1, |it| it.concurrency(2).max_waiting(3));
    let sent: Vec<_> = (0..7).map(|_| network.send(1, work(10, None, None))).collect();
    let mut answers = Vec::new();
    for it in sent {
        answers.push(it.await.unwrap());
    }
    let full = (503, Some("full".into()), 0);
    assert_eq!(answers, [done(10), done(10), done(20), done(20), done(30), full.clone(), full]);
    assert_eq!((layer.counters().begun, layer.counters().full), (5, 2));
}

#[tokio::test(start_paused = true)]
async fn y1_a_request_whose_client_has_gone_leaves_the_queue() {
    let network = Network::default();
    let layer = network.server(1, |it| it);
    let busy = network.send(1, work(10, None, None));
    settle().await;
    let gone = network.send(1, work(10, Some(KEY), None));
    let next = network.send(1, work(10, None, None));
    settle().await;
    gone.abort();
    settle().await;
    assert_eq!((layer.at_work(), layer.waiting()), (1, 1));
    busy.abort();
    assert_eq!(next.await.unwrap(), done(10));
    assert_eq!((layer.at_work(), layer.waiting(), layer.counters().begun), (0, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn y1_messages_in_flight_are_bounded() {
    let tell = |_: SocketAddr, _: Request<()>| pending::<Option<StatusCode>>();
    let builder = TiedLayer::builder(Tokio::new(), address(1), tell).peers([address(2)]);
    let layer = builder.max_messages(2).concurrency(9).build().unwrap();
    let work = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    for n in 0..5 {
        let key = format!("{n:032}");
        let response = layer.layer(work).oneshot(work_of(&key)).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    sleep(ms(1_000)).await;
    assert_eq!((layer.counters().unanswered, layer.counters().told), (10, 0));
}

fn work_of(key: &str) -> Request<()> {
    work(0, Some(key), Some(address(2)))
}

#[test]
fn y1_options_that_are_not_valid_are_errors() {
    let tell = |_: SocketAddr, _: Request<()>| pending::<Option<StatusCode>>();
    let builder = || TiedLayer::builder(Tokio::new(), address(1), tell);
    assert_eq!(builder().concurrency(0).build().unwrap_err(), TiedError::NoConcurrency);
    for path in ["", "tied", "/a?b", "/a b", "http://a/b"] {
        assert_eq!(builder().path(path).build().unwrap_err(), TiedError::Path(path.into()));
    }
    for secret in ["", "a\nb"] {
        assert_eq!(builder().secret(secret).build().unwrap_err(), TiedError::Secret);
    }
    assert!(builder().path("/a").secret("b").build().is_ok());
}
