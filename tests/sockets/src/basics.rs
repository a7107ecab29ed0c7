//! Attempts, retries and backups over HTTP.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use hedge_net::http::{BadRequest, DrainOrClose, HttpError};
use hedge_net::{
    BuildError, CallError, CallOptions, Channel, CheckOptions, Code, ConfigError, ConnectError, ConnectStep, Dial,
    Dialed, Endpoint, ErrorKind, Judgement, Kind, NameError, NotHedged, Runtime, SocketOptions, Spawn, Timer, Verdict,
};

use super::health::until;
use super::server::{TestServer, ok, status};
use super::{Error, PATIENCE, assert_settled, get, list, post, refused, server};

pub async fn a_plain_get_says_what_the_server_needs<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.head));
    let builder = Channel::builder(runtime, there.address.to_string());
    let channel = builder.timeout(PATIENCE).connect_timeout(PATIENCE).build().unwrap();
    let mut request = get("/path?query=1");
    request.headers_mut().insert("x-mine", "yes".parse().unwrap());
    let reply = channel.call(request).await.unwrap();
    assert_eq!(reply.status(), 200);
    let head = std::str::from_utf8(reply.body().bytes().unwrap()).unwrap().to_owned();
    assert!(head.starts_with("GET /path?query=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", there.address)), "{head}");
    assert!(head.contains("x-mine: yes\r\n"), "{head}");
    assert_eq!(*reply.server().unwrap(), server(there.address));
    assert_eq!(reply.report().attempts().len(), 1);
    assert_eq!(reply.report().not_hedged(), Some(NotHedged::Disabled));
    let (response, report) = reply.into_parts();
    assert_eq!(response.into_body().collect().await.unwrap(), head);
    assert_eq!(report.winner().unwrap().index(), 0);
    assert_settled(&channel);
}

pub async fn c2_a_backup_wins_and_the_loser_is_closed_at_once<R: Runtime>(runtime: R) {
    let (slow, fast) = (TestServer::stalling(), TestServer::answering(|_| ok("fast")));
    let channel = list(&runtime, &[slow.address, fast.address])
        .backup(Duration::from_millis(2))
        .drain_or_close(DrainOrClose::Close)
        .build()
        .unwrap();
    let slow_first =
        CallOptions { servers: Some(vec![server(slow.address), server(fast.address)]), ..CallOptions::new() };
    for times in 1..4 {
        let reply = channel.call_with(get("/"), &slow_first).await.unwrap();
        assert_eq!(*reply.server().unwrap(), server(fast.address));
        let report = reply.report();
        assert_eq!(report.winner().unwrap().index(), 1);
        assert_eq!(report.attempts()[1].kind(), Kind::Backup);
        assert_eq!(report.not_hedged(), None);
        assert_settled(&channel);
        slow.closed.reached(times).await;
    }
    assert_eq!(fast.accepted.count(), 1, "the winner's connection is kept");
    until(|| channel.transport().counters().open() == 1).await;
    let counters = channel.transport().counters();
    assert_eq!((counters.drained, counters.draining), (0, 0));
    // On a busy machine, an attempt may still be connecting when its backup wins. No request was abandoned then.
    assert!(counters.closed_undrained <= 3, "{counters:?}");
}

pub async fn l6_four_backups_are_in_flight_at_once<R: Runtime>(runtime: R) {
    let stalling: [_; 4] = std::array::from_fn(|_| TestServer::stalling());
    let answering = TestServer::answering(|_| ok("last"));
    let channel = list(&runtime, &[answering.address])
        .same_server_backup(true)
        .backup(Duration::from_millis(1))
        .max_retry(4)
        .max_backups(4)
        .build()
        .unwrap();
    let order = stalling.iter().chain([&answering]).map(|there| server(there.address)).collect();
    let options = CallOptions { servers: Some(order), ..CallOptions::new() };
    let reply = channel.call_with(get("/"), &options).await.unwrap();
    assert_eq!(*reply.server().unwrap(), server(answering.address));
    assert_eq!(reply.report().backups(), 4);
    for there in &stalling {
        there.closed.reached(1).await;
    }
    assert_settled(&channel);
}

pub async fn f_a_refused_server_is_failed_over<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok("there"));
    let channel = list(&runtime, &[refused(), there.address]).build().unwrap();
    let mut retried = 0;
    for _ in 0..4 {
        let reply = channel.call(get("/")).await.unwrap();
        assert_eq!(*reply.server().unwrap(), server(there.address));
        if reply.report().retried_count() > 0 {
            retried += 1;
            assert_eq!(reply.report().attempts()[0].code(), ErrorKind::Refused.into());
        }
        assert_settled(&channel);
    }
    assert!(retried > 0);
}

pub async fn r5_a_post_is_retried_only_as_long_as_it_has_not_left<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.body));
    let channel = list(&runtime, &[refused(), there.address]).build().unwrap();
    let mut retried = 0;
    for _ in 0..4 {
        let reply = channel.call(post("/")).await.unwrap();
        assert_eq!(reply.body().bytes().unwrap(), "text");
        retried += reply.report().retried_count();
    }
    assert!(retried > 0, "what was refused never left");

    let closing = TestServer::start(|connection| drop(connection.request()));
    let channel = list(&runtime, &[closing.address, there.address]).backup(Duration::from_millis(1)).build().unwrap();
    let (mut failed, mut succeeded) = (0, 0);
    for _ in 0..4 {
        match channel.call(post("/")).await {
            Ok(_) => succeeded += 1,
            Err(error) => {
                failed += 1;
                assert_eq!(error.kind(), "failed");
                assert_eq!(error.report().attempts().len(), 1, "it may have left");
                assert_eq!(error.report().not_hedged(), Some(NotHedged::NotIdempotent));
            }
        }
        assert_settled(&channel);
    }
    assert_eq!((failed, succeeded), (2, 2));
}

pub async fn r1_a_status_of_5xx_is_kept_in_the_error<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| status(503, "busy"));
    let channel = list(&runtime, &[there.address, there.address]).build().unwrap();
    let error = channel.call(get("/")).await.unwrap_err();
    assert!(error.to_string().contains("attempt 0 at 127.0.0.1"), "{error}");
    assert!(error.to_string().ends_with("status 503"), "{error}");
    assert_eq!(error.report().attempts().len(), 1, "not worth another attempt");
    assert_eq!(error.report().attempts()[0].code(), Code(503));
    let CallError::Failed { last: Some(Ok(response)), .. } = error else { panic!("{error}") };
    assert_eq!(response.status(), 503);
    assert_eq!(response.into_body().collect().await.unwrap(), "busy");
    assert_settled(&channel);
}

pub async fn r2_a_policy_may_retry_a_reply<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| if seen.number == 0 { status(403, "no") } else { ok("yes") });
    let policy = |result: Result<&http::Response<_>, &HttpError>| match result {
        Ok(response) if response.status() == 403 => Judgement::new(Verdict::Retry, Code(403)),
        Ok(_) => Verdict::Accept.into(),
        Err(_) => Verdict::Wait.into(),
    };
    let channel = list(&runtime, &[there.address]).retry_policy(policy).build().unwrap();
    let reply = channel.call(get("/")).await.unwrap();
    assert_eq!(reply.body().bytes().unwrap(), "yes");
    assert_eq!(reply.report().attempts()[0].code(), Code(403));
    assert_settled(&channel);
}

pub async fn bad_requests_are_fatal_and_not_sent<R: Runtime>(runtime: R) {
    let there = TestServer::stalling();
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let error = channel.call(get("https://example.com/")).await.unwrap_err();
    assert_eq!(error.kind(), "fatal");
    assert!(matches!(error.last(), Some(Err(HttpError::BadRequest(BadRequest::Scheme)))), "{error}");
    assert_eq!(there.accepted.count(), 0);
    assert_settled(&channel);
}

/// A runtime whose connections never stand.
#[derive(Clone)]
pub struct Unreachable<R>(pub(crate) R);

impl<R: Runtime> Timer for Unreachable<R> {
    type Sleep = R::Sleep;

    fn now(&self) -> hedge_core::time::Instant {
        self.0.now()
    }

    fn sleep_until(&self, at: hedge_core::time::Instant) -> R::Sleep {
        self.0.sleep_until(at)
    }

    fn reset(&self, sleep: Pin<&mut R::Sleep>, at: hedge_core::time::Instant) {
        self.0.reset(sleep, at);
    }
}

impl<R: Runtime> Dial for Unreachable<R> {
    type Io = R::Io;

    async fn dial(&self, _: &Endpoint, _: &SocketOptions) -> io::Result<Dialed<R::Io>> {
        std::future::pending().await
    }
}

impl<R: Runtime> Spawn for Unreachable<R> {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }
}

impl<R: Runtime> Runtime for Unreachable<R> {}

pub async fn l2_connecting_has_its_own_deadline<R: Runtime>(runtime: R) {
    let channel = list(&Unreachable(runtime), &[refused(), refused()])
        .connect_timeout(Duration::from_millis(10))
        .max_retry(1)
        .build()
        .unwrap();
    let error = channel.call(post("/")).await.unwrap_err();
    assert!(matches!(error.last(), Some(Err(HttpError::Connect(ConnectError::Timeout(ConnectStep::Dial))))), "{error}");
    assert_eq!(error.report().attempts().len(), 2, "it never left (R5)");
    assert_settled(&channel);
}

pub async fn what_is_not_http_is_a_protocol_error<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| "SSH-2.0-x\r\n\r\n".to_owned());
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let error: Error = channel.call(get("/")).await.unwrap_err();
    assert!(matches!(error.last(), Some(Err(HttpError::Protocol(_)))), "{error}");
    assert_settled(&channel);
}

pub async fn a_channel_that_cannot_work_is_not_built<R: Runtime>(runtime: R) {
    let builder = |servers: &str| Channel::builder(runtime.clone(), servers);
    let error = |servers: &str| builder(servers).build().unwrap_err();
    assert!(matches!(error("bns://a:1"), BuildError::Servers(NameError::UnknownScheme { .. })));
    assert!(matches!(error("127.0.0.1"), BuildError::Servers(NameError::Server { position: 1, .. })));
    assert_eq!(error("list://"), BuildError::NoServers);
    let n4 = error("list://127.0.0.1:1,127.0.0.1:2");
    assert!(n4.to_string().contains(".load_balancer(\"rr\")"), "{n4}");
    let s1 = builder("127.0.0.1:1").load_balancer("fastest").build().unwrap_err();
    assert!(s1.to_string().starts_with("load balancer: no balancer is named \"fastest\"; known are rr, wrr,"), "{s1}");
    let l3 = builder("127.0.0.1:1").max_retry(8).build().unwrap_err();
    assert_eq!(l3, BuildError::Options(ConfigError::TooManyAttempts { max_retry: 8, capacity: 8 }));
    let zero = Duration::ZERO;
    for (l2, field) in [
        (builder("127.0.0.1:1").timeout(zero), "timeout"),
        (builder("127.0.0.1:1").connect_timeout(zero), "connect_timeout"),
    ] {
        let l2 = l2.build().unwrap_err();
        assert_eq!(l2, BuildError::Options(ConfigError::NoTime { field }));
        assert_eq!(l2.to_string(), format!("{field} 0: must be above 0; for no limit, write never"));
    }
    let l6 = builder("127.0.0.1:1").max_backups(5).build().unwrap_err();
    assert_eq!(l6, BuildError::Options(ConfigError::TooManyInFlight { max_backups: 5, slots: 5 }));
    assert!(builder("localhost:1").build().is_ok());
    let s1 = list(&runtime, &[refused()]).load_balancer("p2c:choices=65").build().unwrap_err();
    assert_eq!(s1.to_string(), "load balancer: p2c: choices=65: must be in [2, 64]");
    let s2 = builder("list://127.0.0.1:1 3,127.0.0.1:2 x").load_balancer("wr").build().unwrap_err();
    assert_eq!(s2.to_string(), "server 127.0.0.1:2 x: weight: not an integer in [1, 4294967295]");
    assert_eq!(builder("127.0.0.1:1").filter(|_| false).build().unwrap_err(), BuildError::NoServers);
    let asks = CheckOptions { application: true, ..CheckOptions::DEFAULT };
    let h1 = builder("127.0.0.1:1").health_checks(asks).build().unwrap_err();
    assert_eq!(h1, BuildError::NoApplicationCheck);
    assert!(builder("127.0.0.1:1").health_checks(asks).health_check_path("/").build().is_ok());
    for path in ["", "health", "http://a/b", "/a b"] {
        let h1 = builder("127.0.0.1:1").health_check_path(path).build().unwrap_err();
        assert_eq!(h1, BuildError::CheckPath { path: path.into() });
    }
}
