//! HTTP/2: one connection for many calls, and what becomes of it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use hedge_core::policy::AttemptError as _;
use hedge_net::http::{Body, BoxError, HttpError, PingOptions, ProtocolError, RequestBody, RequestBodyError};
use hedge_net::{BodyMode, CallOptions, Channel, CheckOptions, ErrorKind, Protocol, Reply, Runtime};
use http::{HeaderMap, Request, Response, Version};
use http_body::{Body as _, Frame};

use super::bodies::Text;
use super::health::until;
use super::http2_server::{Http2Server, Settings, answer, begin, read, reset};
use super::signal::Signal;
use super::watched::Watched;
use super::{HttpBuilder, HttpChannel, PATIENCE, assert_settled, drop_when, get, list, post, server};

/// A builder of channels that speak HTTP/2 in clear.
pub(super) fn http2<R: Runtime>(runtime: &R, servers: &[&Http2Server]) -> HttpBuilder<R> {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    list(runtime, &addresses).protocol(Protocol::H2)
}

/// Runs futures to their ends.
pub(super) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        for (future, output) in &mut running {
            if output.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *output = Some(ready);
            }
        }
        if running.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

/// Lets other tasks run.
async fn others() {
    let mut is_over = false;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if std::mem::replace(&mut is_over, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Makes so many calls, and raises `gate` when all of them are with the server.
async fn gathered<R: Runtime>(
    channel: &HttpChannel<R>,
    request: fn(&str) -> Request<RequestBody>,
    calls: usize,
    there: &Http2Server,
    gate: &Signal,
) -> Vec<Reply<Response<Body>>> {
    let before = there.requests.count();
    let gathered = async {
        there.requests.reached(before + calls).await;
        gate.raise();
    };
    let calls = all((0..calls).map(|_| channel.call(request("/"))));
    super::both(calls, gathered).await.0.into_iter().map(Result::unwrap).collect()
}

pub(super) fn counters<R: Runtime>(channel: &HttpChannel<R>) -> hedge_net::http::HttpCounters {
    channel.transport().counters()
}

/// A server that answers when `gate` was raised.
fn gated(settings: Settings, gate: &Signal) -> Http2Server {
    let gate = gate.clone();
    Http2Server::start(settings, move |asked| {
        let gate = gate.clone();
        async move {
            gate.reached(1).await;
            answer(asked.respond, "late");
        }
    })
}

/// A server that never answers, and a count of the streams that are reset with CANCEL.
pub(super) fn silent() -> (Http2Server, Signal) {
    let cancelled = Signal::new();
    let seen = cancelled.clone();
    let server = Http2Server::start(Settings::default(), move |mut asked| {
        let seen = seen.clone();
        async move {
            if reset(&mut asked.respond).await == Some(Reason::CANCEL) {
                seen.raise();
            }
        }
    });
    (server, cancelled)
}

pub async fn c1_calls_share_one_connection<R: Runtime>(runtime: R) {
    const CALLS: usize = 50;
    let gate = Signal::new();
    let there = gated(Settings::default(), &gate);
    let channel = http2(&runtime, &[&there]).build().unwrap();
    for reply in gathered(&channel, get, CALLS, &there, &gate).await {
        assert_eq!(reply.body().bytes().unwrap(), "late");
        assert_eq!((reply.version(), reply.report().attempts().len()), (Version::HTTP_2, 1));
    }
    assert_eq!(there.accepted.count(), 1);
    let counters = counters(&channel);
    assert_eq!((counters.opened, counters.reused, counters.reset), (1, CALLS as u64 - 1, 0));
    assert_settled(&channel);
}

pub async fn w2_a_reply_over_http2_tells_its_connection<R: Runtime>(runtime: R) {
    let there = Http2Server::start(Settings::default(), |mut asked| async move {
        let body = read(asked.request.body_mut()).await.unwrap();
        let (method, uri, headers) = (asked.request.method(), asked.request.uri(), asked.request.headers());
        let told = format!("{method} {uri} {:?} {}", headers.get("x-a"), String::from_utf8(body).unwrap());
        assert!(!headers.contains_key("host") && !headers.contains_key("connection"));
        answer(asked.respond, &told);
    });
    let channel = http2(&runtime, &[&there]).build().unwrap();
    let request = Request::post("/a?b=c").header("x-a", "1").header("connection", "keep-alive");
    let reply = channel.call(request.body("text".into()).unwrap()).await.unwrap();
    let expected = format!("POST http://{}/a?b=c Some(\"1\") text", there.address);
    assert_eq!(reply.text().unwrap(), expected);
    let connection = reply.connection().unwrap();
    assert_eq!(connection.remote.to_string(), there.address.to_string());
    assert!(connection.local.is_some() && connection.tls.is_none());
    for (method, has_body) in [("GET", false), ("DELETE", false), ("PUT", true)] {
        let body = if has_body { "x".into() } else { RequestBody::Empty };
        let reply = channel.call(Request::builder().method(method).uri("/").body(body).unwrap()).await.unwrap();
        assert!(reply.text().unwrap().starts_with(method));
    }
    assert_eq!(there.accepted.count(), 1);
}

pub async fn c3_after_a_goaway_calls_go_on_on_a_new_connection<R: Runtime>(runtime: R) {
    let gate = Signal::new();
    let there = gated(Settings::default(), &gate);
    let channel = http2(&runtime, &[&there]).build().unwrap();
    let old = channel.call(post("/"));
    let new = async {
        there.requests.reached(1).await;
        there.go_away();
        // It goes to a new connection. It may also still go to the old one: that serves it, or has not processed it.
        let (new, ()) = super::both(channel.call(post("/")), async {
            there.requests.reached(2).await;
            gate.raise();
        })
        .await;
        new
    };
    let (old, new) = super::both(old, new).await;
    for reply in [old.unwrap(), new.unwrap()] {
        assert_eq!((reply.text().unwrap().as_str(), reply.report().attempts().len()), ("late", 1));
    }
    until(|| counters(&channel).closed == 1).await;
    assert_eq!(channel.call(post("/")).await.unwrap().report().attempts().len(), 1);
    assert_eq!((there.accepted.count(), counters(&channel).closed), (2, 1));
    assert_settled(&channel);
}

pub async fn t4_what_the_server_did_not_process_goes_once_more<R: Runtime>(runtime: R) {
    let there = Http2Server::start(Settings::default(), |mut asked| async move {
        if asked.number.is_multiple_of(2) {
            asked.respond.send_reset(Reason::REFUSED_STREAM);
        } else {
            let body = read(asked.request.body_mut()).await.unwrap();
            answer(asked.respond, &String::from_utf8(body).unwrap());
        }
    });
    let channel = http2(&runtime, &[&there]).build().unwrap();
    for _ in 0..10 {
        let reply = channel.call(post("/")).await.unwrap();
        assert_eq!((reply.text().unwrap().as_str(), reply.report().attempts().len()), ("text", 1));
    }
    assert_eq!((there.accepted.count(), there.requests.count()), (1, 20));
    // A server that refuses everything is a failure that never left, so even a POST goes to another server.
    let refuses = Http2Server::start(Settings::default(), |mut asked| async move {
        asked.respond.send_reset(Reason::REFUSED_STREAM);
    });
    let good = Http2Server::answering("good");
    let channel = http2(&runtime, &[&good]).build().unwrap();
    let both = CallOptions { servers: Some(vec![server(refuses.address), server(good.address)]), ..CallOptions::new() };
    for _ in 0..2 {
        assert_eq!(channel.call_with(post("/"), &both).await.unwrap().text().unwrap(), "good");
    }
    let error = http2(&runtime, &[&refuses]).build().unwrap().call(post("/")).await.unwrap_err();
    assert!(matches!(error.last(), Some(Err(error @ HttpError::Unsent(_))) if error.never_left()), "{error}");
}

pub async fn c1_more_connections_are_made_at_the_limit_of_streams<R: Runtime>(runtime: R) {
    const CALLS: usize = 65;
    let gate = Signal::new();
    let settings = Settings { max_streams: Some(10), ..Settings::default() };
    let there = gated(settings, &gate);
    let channel = http2(&runtime, &[&there]).build().unwrap();
    let replies = gathered(&channel, post, CALLS, &there, &gate).await;
    assert!(replies.iter().all(|reply| reply.report().attempts().len() == 1));
    assert_eq!((there.accepted.count(), there.requests.count()), (7, CALLS), "none was refused");
}

pub async fn c3_what_a_broken_connection_lost_goes_once_more<R: Runtime>(runtime: R) {
    let lost = Signal::new();
    let seen = lost.clone();
    let there = Http2Server::start(Settings::default(), move |asked| {
        let is_lost = asked.request.uri().path() == "/lost" && seen.raise().is_multiple_of(2);
        async move {
            if is_lost {
                std::future::pending::<()>().await;
            }
            answer(asked.respond, "text");
        }
    });
    let channel = http2(&runtime, &[&there]).build().unwrap();
    // The second time that it is asked for, it is answered.
    channel.call(get("/")).await.unwrap();
    let close = |times| {
        let (lost, there) = (lost.clone(), &there);
        async move {
            lost.reached(times).await;
            there.close();
        }
    };
    let (result, ()) = super::both(channel.call(get("/lost")), close(1)).await;
    assert_eq!(result.unwrap().report().attempts().len(), 1);
    assert_eq!((channel.transport().resent(), lost.count(), there.accepted.count()), (1, 2, 2));
    let (result, ()) = super::both(channel.call(post("/lost")), close(3)).await;
    let error = result.unwrap_err();
    assert!(matches!(error.last(), Some(Err(HttpError::Stale(_)))), "{error}");
    // On a new connection, a break is the server's failure.
    let (result, ()) = super::both(channel.call(post("/lost")), async {
        lost.reached(4).await;
    })
    .await;
    assert_eq!(result.unwrap().text().unwrap(), "text");
    assert_settled(&channel);
}

pub async fn c3_a_frozen_connection_is_pinged_and_replaced<R: Runtime>(runtime: R) {
    let there = Http2Server::answering("text");
    let ping = PingOptions { timeout: Duration::from_millis(50), ..PingOptions::DEFAULT };
    let channel = http2(&runtime, &[&there]).ping(ping).build().unwrap();
    channel.call(get("/")).await.unwrap();
    there.freeze();
    let soon = CallOptions { timeout: Some(Duration::from_millis(100).into()), ..CallOptions::new() };
    let late = channel.call_with(get("/"), &soon).await.unwrap_err();
    assert!(late.to_string().contains("deadline"), "{late}");
    until(|| counters(&channel).closed == 1).await;
    assert_eq!(channel.call(get("/")).await.unwrap().text().unwrap(), "text");
    assert_eq!(there.accepted.count(), 2);
    // A server that answers pings keeps its connection, however slow its answers are.
    // A busy machine may be late with an answer, so there is more time for it, and the second call takes longer than that.
    let patient = PingOptions { timeout: Duration::from_secs(1), ..ping };
    let slow = CallOptions { timeout: Some(Duration::from_millis(1_500).into()), ..CallOptions::new() };
    let (never, _) = silent();
    let channel = http2(&runtime, &[&never]).ping(patient).build().unwrap();
    channel.call_with(get("/"), &slow).await.unwrap_err();
    channel.call_with(get("/"), &slow).await.unwrap_err();
    assert_eq!((counters(&channel).closed, never.accepted.count()), (0, 1));
    // With an interval, a connection with requests in flight is pinged without a deadline.
    let there = Http2Server::start(Settings::default(), |asked| async move {
        if asked.connection == 0 {
            std::future::pending::<()>().await;
        }
        answer(asked.respond, "text");
    });
    let often = PingOptions { interval: Some(Duration::from_millis(50)), ..patient };
    let channel = http2(&runtime, &[&there]).ping(often).build().unwrap();
    let frozen = async {
        there.requests.reached(1).await;
        there.freeze();
    };
    let (result, ()) = super::both(channel.call(get("/")), frozen).await;
    let reply = result.unwrap();
    assert_eq!((reply.text().unwrap().as_str(), there.accepted.count()), ("text", 2));
}

pub async fn p1_an_answer_that_contradicts_itself_is_an_error<R: Runtime>(runtime: R) {
    let there = Http2Server::start(Settings::default(), |mut asked| async move {
        let response = Response::builder();
        match asked.number {
            _ if asked.request.method() == "HEAD" => {
                let response = response.header("content-length", "99999999999").body(()).unwrap();
                asked.respond.send_response(response, false).unwrap().send_data(Bytes::new(), true).unwrap();
            }
            0 => {
                let response = response.header("content-length", "10").body(()).unwrap();
                let mut body = asked.respond.send_response(response, false).unwrap();
                body.send_data("abc".into(), true).unwrap();
            }
            1 => {
                let mut response = response.body(()).unwrap();
                for number in 0..101 {
                    response.headers_mut().append("x-a", number.into());
                }
                asked.respond.send_response(response, true).unwrap();
            }
            2 => {
                let response = response.header("x-large", "x".repeat(70_000)).body(()).unwrap();
                asked.respond.send_response(response, true).unwrap();
            }
            3 => asked.respond.send_reset(Reason::INTERNAL_ERROR),
            _ => answer(asked.respond, "good"),
        }
    });
    let channel = http2(&runtime, &[&there]).max_retry(0).build().unwrap();
    let error = async || channel.call(get("/")).await.unwrap_err();
    for expected in ["malformed", "headers", "large"] {
        let error = error().await;
        let Some(Err(HttpError::Protocol(fault))) = error.last() else { panic!("{expected}: {error}") };
        match fault {
            ProtocolError::TooManyHeaders { limit } => assert_eq!((expected, *limit), ("headers", 100)),
            fault => assert!(matches!(fault, ProtocolError::Malformed(_)) && expected != "headers", "{fault}"),
        }
    }
    let error = error().await;
    let Some(Err(HttpError::Reset(reset))) = error.last() else { panic!("{error}") };
    assert_eq!(reset.http2_code(), Some(2));
    assert_eq!(channel.call(get("/")).await.unwrap().text().unwrap(), "good");
    let head = channel.call(Request::head("/").body(RequestBody::Empty).unwrap()).await.unwrap();
    assert_eq!((head.headers()["content-length"].to_str().unwrap(), head.bytes().unwrap().len()), ("99999999999", 0));
    assert_eq!(there.accepted.count(), 1, "streams failed, not the connection");
}

pub async fn t2_a_streaming_body_and_its_trailers_are_read_and_its_drop_resets<R: Runtime>(runtime: R) {
    const PIECES: usize = 200;
    let cancelled = Signal::new();
    let seen = cancelled.clone();
    let there = Http2Server::start(Settings::default(), move |mut asked| {
        let seen = seen.clone();
        async move {
            let mut body = begin(&mut asked.respond, 200);
            for _ in 0..PIECES {
                body.reserve_capacity(10_000);
                while body.capacity() < 10_000 {
                    if poll_fn(|cx| body.poll_capacity(cx)).await.is_none_or(|capacity| capacity.is_err()) {
                        return;
                    }
                }
                body.send_data(vec![7; 10_000].into(), false).unwrap();
            }
            if asked.number == 0 {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                body.send_trailers(trailers).unwrap();
            } else if poll_fn(|cx| body.poll_reset(cx)).await.is_ok_and(|reason| reason == Reason::CANCEL) {
                seen.raise();
            }
        }
    });
    let channel = http2(&runtime, &[&there]).build().unwrap();
    let streaming = CallOptions { body: BodyMode::Streaming, ..CallOptions::new() };
    let mut body = channel.call_with(get("/"), &streaming).await.unwrap().into_inner().into_body();
    let (mut length, mut trailers) = (0, None);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.unwrap().into_data() {
            Ok(data) => length += data.len(),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    assert_eq!((length, &trailers.unwrap()["grpc-status"]), (PIECES * 10_000, &"0".parse().unwrap()));
    assert!(body.is_end_stream());
    let mut body = channel.call_with(get("/"), &streaming).await.unwrap().into_inner().into_body();
    while length < PIECES * 20_000 {
        length += poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap().into_data().unwrap().len();
    }
    drop(body);
    cancelled.reached(1).await;
    assert_eq!((there.accepted.count(), counters(&channel).reset), (1, 1));
    assert_settled(&channel);
}

/// A body of so many pieces, each of which comes only after a pending poll.
struct Pieces(usize, bool);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        Poll::Ready(Some(Ok(Frame::data(vec![7; 1_000].into()))))
    }
}

/// A server that answers with the length of the body.
fn measuring(settings: Settings) -> Http2Server {
    Http2Server::start(settings, |mut asked| async move {
        let body = read(asked.request.body_mut()).await.unwrap();
        answer(asked.respond, &body.len().to_string());
    })
}

pub async fn t3_large_and_made_bodies_are_sent_whole<R: Runtime>(runtime: R) {
    let there = measuring(Settings::default());
    let channel = http2(&runtime, &[&there]).build().unwrap();
    let put = |body: RequestBody| channel.call(Request::put("/").body(body).unwrap());
    for (body, length) in [
        (RequestBody::from(vec![1; 5 << 20]), 5 << 20),
        (RequestBody::from(vec![1; 65_536]), 65_536),
        (RequestBody::factory(|| Pieces(3_000, false)), 3_000_000),
        (RequestBody::once(Pieces(1, false)), 1_000),
        (RequestBody::once(Pieces(0, false)), 0),
        (RequestBody::factory(|| Text(Some("made"), false)), 4),
    ] {
        assert_eq!(put(body).await.unwrap().text().unwrap(), length.to_string());
    }
    let several = all((0..20).map(|_| put(vec![1; 1 << 20].into()))).await;
    assert!(several.into_iter().all(|reply| reply.unwrap().text().unwrap() == (1 << 20).to_string()));
    assert_eq!(there.accepted.count(), 1);
    assert_settled(&channel);
}

pub async fn t5_an_early_answer_is_handed_over<R: Runtime>(runtime: R) {
    let there = Http2Server::answering("early");
    let channel = http2(&runtime, &[&there]).build().unwrap();
    for body in [RequestBody::from(vec![1; 1 << 20]), RequestBody::once(Text(Some("begun"), true))] {
        let reply = channel.call(Request::put("/").body(body).unwrap()).await.unwrap();
        assert_eq!(reply.text().unwrap(), "early");
    }
    assert_eq!(channel.call(get("/")).await.unwrap().text().unwrap(), "early");
    assert_eq!(there.accepted.count(), 1);
}

/// A body that fails after a piece.
struct Fails(bool);

impl http_body::Body for Fails {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let is_first = !std::mem::replace(&mut self.0, true);
        Poll::Ready(Some(if is_first { Ok(Frame::data("piece".into())) } else { Err("no more".into()) }))
    }
}

pub async fn s7_a_body_that_fails_is_its_callers_failure_over_http2<R: Runtime>(runtime: R) {
    let there = measuring(Settings::default());
    let channel = http2(&runtime, &[&there]).build().unwrap();
    let error = channel.call(Request::put("/").body(RequestBody::factory(|| Fails(false))).unwrap()).await.unwrap_err();
    let Some(Err(HttpError::RequestBody(RequestBodyError::Failed(_)))) = error.last() else { panic!("{error}") };
    let short = Request::put("/").header("content-length", "9").body(RequestBody::factory(|| Pieces(0, false)));
    let error = channel.call(short.unwrap()).await.unwrap_err();
    let Some(Err(HttpError::RequestBody(RequestBodyError::Short { announced: 9, sent: 0 }))) = error.last() else {
        panic!("{error}")
    };
    assert_eq!(channel.call(post("/")).await.unwrap().text().unwrap(), "4");
    assert!(channel.usable(&server(there.address)));
}

pub async fn h1_a_path_is_checked_over_http2<R: Runtime>(runtime: R) {
    let checks = CheckOptions {
        interval: hedge_core::bounded::BoundedSpan::new(Duration::from_millis(20)).unwrap(),
        ..CheckOptions::DEFAULT
    };
    let there = Http2Server::start(Settings::default(), |mut asked| async move {
        if asked.request.uri().path() == "/health" {
            let is_first = asked.number == 0;
            begin(&mut asked.respond, if is_first { 503 } else { 204 }).send_data(Bytes::new(), true).unwrap();
        } else {
            answer(asked.respond, "text");
        }
    });
    let mortal = super::refused();
    let channel = list(&runtime, &[mortal])
        .protocol(Protocol::H2)
        .health_checks(checks)
        .health_check_path("/health")
        .build()
        .unwrap();
    channel.call(get("/")).await.unwrap_err();
    assert!(!channel.usable(&server(mortal)));
    // The same path, asked for by the check of a channel to a server that lives.
    let channel: HttpChannel<R> = Channel::builder(runtime.clone(), there.address.to_string())
        .protocol(Protocol::H2)
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .health_checks(checks)
        .health_check_path("/health")
        .build()
        .unwrap();
    assert_eq!(channel.call(get("/")).await.unwrap().text().unwrap(), "text");
}

pub async fn c7_unwritten_bodies_are_bounded<R: Runtime>(runtime: R) {
    const LARGE: usize = 40 << 20;
    let (never, _) = silent();
    let channel = http2(&runtime, &[&never]).max_retry(0).build().unwrap();
    let large = Bytes::from(vec![1; LARGE]);
    let put = || channel.call(Request::put("/").body(large.clone().into()).unwrap());
    // The server reads nothing, so of each body no more than the window is written.
    let second = async {
        never.requests.reached(1).await;
        let error = put().await.unwrap_err();
        let Some(Err(HttpError::Overcrowded(over))) = error.last() else { panic!("{error}") };
        assert_eq!((over.bytes, over.limit), (LARGE, 64 << 20));
        let Some(Err(error)) = error.last() else { panic!("it failed") };
        assert_eq!((error.kind(), error.never_left()), (ErrorKind::Overcrowded, true));
    };
    let first = put();
    drop_when(first, second).await;
    let soon = CallOptions { timeout: Some(Duration::from_millis(50).into()), ..CallOptions::new() };
    // The task that sent the first one ends a moment later.
    loop {
        let late = channel.call_with(Request::put("/").body(large.clone().into()).unwrap(), &soon).await.unwrap_err();
        match late.last() {
            Some(Err(HttpError::Overcrowded(_))) => others().await,
            _ => return assert!(late.to_string().contains("deadline"), "{late}"),
        }
    }
}

pub async fn c4_an_idle_connection_is_closed_and_no_task_is_left<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let there = Http2Server::answering("text");
    let channel = http2(&runtime, &[&there]).idle_timeout(Duration::from_millis(50)).build().unwrap();
    assert_eq!(runtime.begun.count(), 0, "a channel without calls has no task");
    channel.call(get("/")).await.unwrap();
    there.closed.reached(1).await;
    until(|| counters(&channel).closed == 1).await;
    assert_eq!(counters(&channel).expired, 1);
    runtime.ended.reached(runtime.begun.count()).await;
    channel.call(get("/")).await.unwrap();
    drop(channel);
    there.closed.reached(2).await;
    runtime.ended.reached(runtime.begun.count()).await;
}
