//! Callers' bodies that keep their word, and those that do not.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hedge_core::bounded::{Bounded, SpanRange};
use hedge_core::health::FailureOptions;
use hedge_net::http::{BoxError, HttpError, RequestBody, RequestBodyError};
use hedge_net::{AttemptError, BreakerOptions, CallOptions, ErrorKind, Idempotency, IsolationOptions, Runtime};
use http_body::{Frame, SizeHint};

use super::server::{TestServer, ok};
use super::{assert_settled, get, list, server};

/// What a body does when it is polled.
#[derive(Clone)]
enum Step {
    Data(&'static str),
    Trailer,
    Waits,
    Fails,
    Panics,
}
use Step::{Data, Fails, Panics, Trailer, Waits};

/// A body that does one thing after the other, and announces what it likes.
#[derive(Clone)]
pub struct Pieces {
    steps: VecDeque<Step>,
    /// How often the first step is repeated.
    repeats: usize,
    announced: Option<u64>,
    /// It knows that it has ended.
    knows: bool,
}

impl Pieces {
    pub fn new<const N: usize>(pieces: [&'static str; N], announced: Option<u64>) -> Self {
        Self::doing(pieces.map(Data), announced)
    }

    /// The same piece so many times; it ends only then, and announces what it likes.
    pub fn repeated(piece: &'static str, times: usize, announced: Option<u64>) -> Self {
        Self { repeats: times.saturating_sub(1), ..Self::new([piece], announced) }
    }

    fn doing<const N: usize>(steps: [Step; N], announced: Option<u64>) -> Self {
        Self { steps: steps.into(), repeats: 0, announced, knows: false }
    }

    fn body(self) -> RequestBody {
        RequestBody::factory(move || self.clone())
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let step = if self.repeats > 0 {
            self.repeats -= 1;
            self.steps.front().cloned()
        } else {
            self.steps.pop_front()
        };
        Poll::Ready(match step {
            None => None,
            Some(Data(text)) => {
                if let Some(announced) = &mut self.announced {
                    *announced = announced.saturating_sub(text.len() as u64);
                }
                Some(Ok(Frame::data(text.into())))
            }
            Some(Trailer) => {
                let trailers = [(http::HeaderName::from_static("x-sum"), http::HeaderValue::from_static("5"))];
                Some(Ok(Frame::trailers(trailers.into_iter().collect())))
            }
            Some(Waits) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Fails) => Some(Err("no such file".into())),
            Some(Panics) => panic!("a body of a test panics"),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.knows && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn put(body: RequestBody) -> http::Request<RequestBody> {
    http::Request::put("/").body(body).unwrap()
}

/// Bodies that break their word, and how.
fn broken() -> Vec<(Pieces, &'static str)> {
    let known = |pieces: Pieces| Pieces { knows: true, ..pieces };
    vec![
        (Pieces::doing([Fails], None), "request body failed: no such file"),
        (Pieces::doing([Data("he"), Fails], None), "request body failed: no such file"),
        (Pieces::doing([Data("he"), Waits, Fails], Some(5)), "request body failed: no such file"),
        (Pieces::doing([Data("hello"), Fails], Some(5)), "request body failed: no such file"),
        (Pieces::doing([Panics], None), "request body panicked"),
        (Pieces::doing([Data("he"), Waits, Panics], Some(5)), "request body panicked"),
        (Pieces::doing([Data("hello"), Panics], Some(5)), "request body panicked"),
        (Pieces::new(["he"], Some(5)), "request body ended after 2 of 5 bytes"),
        (Pieces::new(["he", "l"], Some(5)), "request body ended after 3 of 5 bytes"),
        (known(Pieces::new(["he"], Some(5))), "request body ended after 2 of 5 bytes"),
        (Pieces::new([], Some(5)), "request body ended after 0 of 5 bytes"),
        (known(Pieces::new([], Some(5))), "request body ended after 0 of 5 bytes"),
        (Pieces::new(["hello, world"], Some(5)), "request body goes on beyond the announced 5 bytes"),
        (Pieces::new(["hello", ", world"], Some(5)), "request body goes on beyond the announced 5 bytes"),
        (Pieces::new(["hel", "lo!"], Some(5)), "request body goes on beyond the announced 5 bytes"),
        (
            Pieces::doing([Data("hello"), Waits, Data("!")], Some(5)),
            "request body goes on beyond the announced 5 bytes",
        ),
        (
            Pieces::doing([Data("hello"), Data(""), Data("!")], Some(5)),
            "request body goes on beyond the announced 5 bytes",
        ),
        (Pieces::new(["hello"], Some(0)), "request body goes on beyond the announced 0 bytes"),
        (Pieces::doing([Waits, Data("hello")], Some(0)), "request body goes on beyond the announced 0 bytes"),
        (Pieces::doing([Fails], Some(0)), "request body failed: no such file"),
        (Pieces::doing([Data("hello"), Trailer], Some(5)), "request body has trailers that no"),
        (Pieces::doing([Data("hello"), Trailer], None), "request body has trailers that no"),
    ]
}

/// It is not sent again, whatever its call says of it, and nothing is cut to what was announced.
pub async fn s7_a_body_that_fails_is_its_callers_failure<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.body));
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let idempotent = CallOptions { idempotency: Idempotency::Idempotent, ..CallOptions::new() };
    let mut bodies: Vec<_> = broken().into_iter().map(|(pieces, says)| (pieces.body(), says)).collect();
    bodies.push((RequestBody::factory(|| -> Pieces { panic!("a factory of a test panics") }), "request body panicked"));
    bodies.extend(broken().into_iter().map(|(pieces, says)| (RequestBody::once(pieces), says)));
    for (index, (body, says)) in bodies.into_iter().enumerate() {
        let error = channel.call_with(put(body), &idempotent).await.unwrap_err();
        assert!(error.to_string().contains(says), "{index}: {error}");
        assert!(matches!(error.last(), Some(Err(HttpError::RequestBody(_)))), "{index}: {error:?}");
        assert_eq!((error.kind(), error.report().attempts().len()), ("fatal", 1), "{index}: {error}");
        assert_eq!(error.report().attempts()[0].code(), ErrorKind::RequestBody.into());
        assert_settled(&channel);
    }
    assert_eq!(there.requests.count(), 0, "no server has seen a whole request");
    let short = Pieces::new(["he"], None).body();
    let request = http::Request::put("/").header("content-length", "5").body(short).unwrap();
    let error = channel.call(request).await.unwrap_err();
    let Some(Err(HttpError::RequestBody(RequestBodyError::Short { announced: 5, sent: 2 }))) = error.last() else {
        panic!("{error}")
    };
}

pub async fn t3_bodies_that_keep_their_word_are_sent_as_announced<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.body));
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for (pieces, sent) in [
        (Pieces::new(["hello"], Some(5)), "hello"),
        (Pieces::new(["he", "", "llo", ""], Some(5)), "hello"),
        (Pieces::doing([Waits, Data("he"), Waits, Data("llo"), Waits], Some(5)), "hello"),
        (Pieces { knows: true, ..Pieces::new(["he", "llo"], Some(5)) }, "hello"),
        (Pieces { knows: true, ..Pieces::new(["he", "llo"], None) }, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        (Pieces::new(["", "hello"], None), "5\r\nhello\r\n0\r\n\r\n"),
        (Pieces::new([""; 100], None), "0\r\n\r\n"),
        (Pieces::new([], Some(0)), "0\r\n\r\n"),
        (Pieces::doing([Waits, Data("")], Some(0)), "0\r\n\r\n"),
        (Pieces { knows: true, ..Pieces::new([], Some(0)) }, ""),
        (Pieces { knows: true, ..Pieces::new([], None) }, ""),
    ] {
        let reply = channel.call(put(pieces.body())).await.unwrap();
        assert_eq!(reply.body().bytes().unwrap(), sent);
    }
    assert_eq!(there.accepted.count(), 1);

    let trailers = TestServer::start(|connection| {
        connection.head();
        assert!(connection.reads("5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n"));
        connection.send(&ok(""));
    });
    let channel = list(&runtime, &[trailers.address]).build().unwrap();
    let body = Pieces::doing([Data("hello"), Trailer], None).body();
    let request = http::Request::put("/").header("trailer", "x-other, X-Sum").body(body).unwrap();
    channel.call(request).await.unwrap();
}

pub async fn s7_failing_bodies_say_nothing_of_a_server<R: Runtime>(runtime: R) {
    let there = [TestServer::answering(|_| ok("")), TestServer::answering(|_| ok(""))];
    let addresses = [there[0].address, there[1].address];
    let failures = FailureOptions { failures: Bounded::of::<2>(), ..FailureOptions::DEFAULT };
    let channel =
        list(&runtime, &addresses).circuit_breaker(BreakerOptions::ConsecutiveFailures(failures)).build().unwrap();
    for (pieces, _) in broken() {
        channel.call(put(pieces.body())).await.unwrap_err();
        let bad = http::Request::get("/").header("upgrade", "x").body(RequestBody::Empty).unwrap();
        channel.call(bad).await.unwrap_err();
        assert_eq!(addresses.map(|address| channel.usable(&server(address))), [true, true]);
    }
}

/// Every third call is a bad request, and one of two servers resets every connection.
pub async fn s7_requests_that_never_leave_keep_no_failing_server<R: Runtime>(runtime: R) {
    let healthy = TestServer::answering(|_| ok(""));
    let resetting = TestServer::start(|connection| {
        connection.touched();
    });
    // Longer than the test: no probe comes in between.
    let times = SpanRange::of_millis::<3_600_000, 3_600_000>();
    let isolation = IsolationOptions { times, ..IsolationOptions::DEFAULT };
    let failures = FailureOptions { isolation, ..FailureOptions::DEFAULT };
    let channel = list(&runtime, &[healthy.address, resetting.address])
        .circuit_breaker(BreakerOptions::ConsecutiveFailures(failures))
        .max_retry(0)
        .build()
        .unwrap();
    let (mut failed, mut good) = (0, 0);
    for call in 0..600 {
        if call % 3 == 2 {
            let error = channel.call(get("https://h/")).await.unwrap_err();
            assert!(matches!(error.last(), Some(Err(error)) if error.local()), "{error}");
            continue;
        }
        good += 1;
        failed += u32::from(channel.call(get("/")).await.is_err());
    }
    assert_eq!(
        (good, failed),
        (400, failures.failures.get()),
        "failures in a row isolate, whatever is asked in between"
    );
    assert!(!channel.usable(&server(resetting.address)));
    assert!(channel.usable(&server(healthy.address)));
    assert_settled(&channel);
}
