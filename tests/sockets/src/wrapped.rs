//! A transport of the program around that of HTTP.

use std::future::Future;
use std::time::Duration;

use hedge_net::http::{AlongHeaders, Body, BodyError, HttpError, InnerHttp, Request, RequestBody, Response};
use hedge_net::{
    Address, Along, AttemptInfo, BodyMode, Bounded, Builder, CallOptions, Channel, Idempotency, Runtime, SendTransport,
};

use super::health::{SOON, checked, until};
use super::intercepted::{Changes, nothing};
use super::mortal::nobody_yet;
use super::server::{TestServer, ok};
use super::tls::{NAME, named};
use super::tls_server::{Authority, TlsServer};
use super::{HttpBuilder, get, list, server};

/// Passes each attempt on.
struct Outer<R: Runtime>(InnerHttp<R>);

impl<R: Runtime> SendTransport for Outer<R> {
    type Address = Address;
    type Request = Request<RequestBody>;
    type Reply = Response<Body>;
    type Error = HttpError;

    fn start(
        &self,
        request: &Request<RequestBody>,
        attempt: AttemptInfo<Address>,
    ) -> impl Future<Output = Result<Response<Body>, HttpError>> + Send {
        self.0.start(request, attempt)
    }

    fn start_along(
        &self,
        request: &Request<RequestBody>,
        attempt: AttemptInfo<Address>,
        along: Along<'_, Address>,
    ) -> impl Future<Output = Result<Response<Body>, HttpError>> + Send {
        self.0.start_along(request, attempt, along)
    }

    fn wants_key(&self) -> bool {
        self.0.wants_key()
    }

    fn idempotency(&self, request: &Request<RequestBody>) -> Idempotency {
        self.0.idempotency(request)
    }
}

fn wrapped<R: Runtime>(builder: HttpBuilder<R>) -> Channel<R, Outer<R>> {
    let builder: Builder<R, Outer<R>> = builder.wrap(Outer);
    builder.build().unwrap()
}

pub async fn c6_a_wrapped_transport_has_the_url_the_tls_and_the_resolver_of_its_builder<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let there = TlsServer::telling(authority.server(authority.sign(NAME, 1), false));
    let build = || named(&runtime, there.address, authority.client().build().unwrap());
    for builder in [build(), build().load_balancer("rr")] {
        let reply = wrapped(builder).call(get("/users")).await.unwrap();
        let told = reply.text().unwrap();
        assert!(told.starts_with("Some(\"server.test\") Some(\"http/1.1\") GET /api/users HTTP/1.1\r\n"), "{told}");
        assert!(reply.connection().unwrap().tls.is_some());
    }
    let error = build().tls_name("not a name").wrap(Outer).build().unwrap_err();
    assert!(error.to_string().starts_with("tls: "), "{error}");
}

pub async fn c4_wrapped_transports_share_connections_if_their_limits_are_equal<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let build = || list(&runtime, &[there.address]);
    let limited = || build().max_head(Bounded::of::<10_000>()).max_headers(Bounded::of::<50>());
    let channels = [build(), build(), limited(), limited()].map(wrapped);
    for channel in &channels {
        channel.call(get("/")).await.unwrap();
    }
    assert_eq!(there.accepted.count(), 2);
    let reused = channels.each_ref().map(|channel| channel.transport().0.http().counters().reused);
    assert_eq!(reused, [0, 1, 0, 1]);
}

pub async fn t2_the_deadline_covers_a_body_of_a_wrapped_transport<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc");
        connection.until_closed();
    });
    let channel = wrapped(list(&runtime, &[there.address]));
    let options = CallOptions { body: BodyMode::Streaming, ..CallOptions::new() };
    let reply = channel.call_with(get("/"), &options.with_timeout(Duration::from_secs(2))).await.unwrap();
    let body = reply.into_inner().into_body();
    assert_eq!(channel.in_flight(&server(there.address)), 1, "the body holds the lease");
    let error = body.collect().await.unwrap_err();
    assert!(matches!(error, BodyError::Deadline), "{error}");
    there.closed.reached(1).await;
    assert_eq!(channel.in_flight(&server(there.address)), 0);
}

pub async fn h1_a_path_is_checked_of_a_wrapped_transport<R: Runtime>(runtime: R) {
    let address = nobody_yet();
    let channel = wrapped(checked(&runtime, &[address], SOON).health_check_path("/health"));
    assert!(channel.call(get("/")).await.is_err(), "no server listens yet");
    let there = TestServer::at(address, |connection| {
        while let Some(seen) = connection.request() {
            assert!(seen.head.starts_with("GET /health HTTP/1.1\r\n"), "{}", seen.head);
            connection.send(&ok(""));
        }
    });
    until(|| channel.usable(&server(address))).await;
    assert_eq!(there.requests.count(), 1);
}

pub async fn i1_nothing_but_headers_changes_before_a_wrapped_transport<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.head));
    let change = |request: &mut Request<RequestBody>| {
        *request = Request::post("/other").header("x-mine", "yes").body("other".into()).unwrap();
    };
    let channel = wrapped(list(&runtime, &[there.address]).interceptor(Changes(nothing, change)));
    let text = channel.call(get("/path")).await.unwrap().text().unwrap().to_owned();
    assert!(text.starts_with("GET /path HTTP/1.1\r\n") && text.contains("x-mine: yes\r\n"), "{text}");
}

pub async fn w3_what_goes_along_passes_through_a_wrapped_transport<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.head));
    let channel = wrapped(list(&runtime, &[there.address]).along(AlongHeaders::all()));
    let told = channel.call_with(get("/"), &CallOptions::new().with_log_id(7)).await.unwrap().text().unwrap();
    assert!(told.contains("\r\nlog-id: 7\r\n") && told.contains("\r\nidempotency-key: "), "{told}");
}
