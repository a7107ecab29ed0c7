//! Interceptors over sockets: headers, answers and refusals.

use std::sync::Arc;

use hedge_net::http::{
    BadRequest, Body, HeaderValue, HttpError, Method, Request, RequestBody, Response, SendError, StatusCode,
};
use hedge_net::{
    AfterCall, BeforeAttempt, BeforeCall, CallError, CallOutcome, Channel, Flow, Interceptor, Interceptors, Refusal,
    Runtime,
};

use super::server::{TestServer, ok};
use super::signal::Signal;
use super::{PATIENCE, assert_settled, get, list, post};

type HttpRequest = Request<RequestBody>;
pub(crate) type Change = fn(&mut HttpRequest);

/// Changes the request of a call by the first function, and that of each attempt by the second.
pub(crate) struct Changes(pub(crate) Change, pub(crate) Change);

pub(crate) fn nothing(_: &mut HttpRequest) {}

impl<B, E> Interceptor<HttpRequest, B, E> for Changes {
    async fn before_call(&self, call: &mut BeforeCall<'_, HttpRequest>) -> Result<Flow<B>, Refusal> {
        self.0(call.request_mut());
        Ok(Flow::Continue)
    }

    fn before_attempt(&self, attempt: &mut BeforeAttempt<'_, HttpRequest>) -> Result<(), Refusal> {
        self.1(attempt.request_mut());
        Ok(())
    }
}

fn token(request: &mut HttpRequest) {
    request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer secret"));
}

pub async fn i1_headers_of_interceptors_are_sent<R: Runtime>(runtime: R) {
    // A connection serves one request, and breaks under the second, so that an attempt goes once more (C3).
    let there = TestServer::start(|connection| {
        if let Some(seen) = connection.request() {
            connection.send(&ok(&seen.head));
            connection.request();
        }
    });
    let attempt = |request: &mut HttpRequest| {
        request.headers_mut().append("x-attempt", HeaderValue::from_static("yes"));
    };
    let channel = list(&runtime, &[there.address]).interceptor(Changes(token, attempt)).build().unwrap();
    for _ in 0..2 {
        let text = channel.get("/").header("x-mine", "1").await.unwrap().text().unwrap();
        for line in ["authorization: Bearer secret", "x-mine: 1", "x-attempt: yes"] {
            assert_eq!(text.lines().filter(|other| *other == line).count(), 1, "{line} in {text}");
        }
    }
    assert_eq!(channel.transport().resent(), 1);
    assert_settled(&channel);
}

pub async fn i1_headers_of_interceptors_are_checked_as_the_callers_are<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let table: [(Change, &str); 4] = [
        (|request| _ = request.headers_mut().insert("content-length", 27.into()), "content-length"),
        (|request| _ = request.headers_mut().insert("upgrade", "h2c".parse().unwrap()), "upgrade"),
        (
            |request| {
                request.headers_mut().append("host", "one".parse().unwrap());
                request.headers_mut().append("host", "two".parse().unwrap());
            },
            "host",
        ),
        (|request| _ = request.headers_mut().insert("connection", "x-mine".parse().unwrap()), "connection"),
    ];
    for (change, name) in table {
        for changes in [Changes(change, nothing), Changes(nothing, change)] {
            let channel = list(&runtime, &[there.address]).interceptor(changes).build().unwrap();
            let error = channel.call(post("/")).await.unwrap_err();
            assert_eq!(error.kind(), "fatal", "{name}");
            let Some(Err(HttpError::BadRequest(BadRequest::Header(refused)))) = error.last() else {
                panic!("{name}: {error}");
            };
            assert_eq!(*refused, name);
            assert_settled(&channel);
        }
    }
    assert_eq!(there.requests.count(), 0);
}

pub async fn i1_nothing_but_headers_of_an_attempt_changes<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&format!("{}{}", seen.head, seen.body)));
    let change = |request: &mut HttpRequest| {
        *request = Request::post("/other").header("x-mine", "yes").body("other".into()).unwrap();
        *request.version_mut() = http::Version::HTTP_10;
    };
    let channel = list(&runtime, &[there.address]).interceptor(Changes(nothing, change)).build().unwrap();
    let put = Request::put("/path").body("text".into()).unwrap();
    let text = channel.call(put).await.unwrap().text().unwrap();
    assert!(text.starts_with("PUT /path HTTP/1.1\r\n") && text.ends_with("\r\n\r\ntext"), "{text}");
    assert_eq!(text.lines().filter(|line| *line == "x-mine: yes").count(), 1, "{text}");
}

pub async fn i1_a_changed_method_decides_whether_a_request_goes_twice<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| _ = connection.request());
    let change = |request: &mut HttpRequest| *request.method_mut() = Method::POST;
    let channel = list(&runtime, &[there.address]).interceptor(Changes(change, nothing)).max_retry(2).build().unwrap();
    let error = channel.call(get("/")).await.unwrap_err();
    assert_eq!((error.report().attempts().len(), there.requests.count()), (1, 1), "{error}");
}

/// Answers one path itself, and refuses another.
struct Gate;

impl<E> Interceptor<HttpRequest, Response<Body>, E> for Gate {
    async fn before_call(&self, call: &mut BeforeCall<'_, HttpRequest>) -> Result<Flow<Response<Body>>, Refusal> {
        match call.request().uri().path() {
            "/cached" => Ok(Flow::Answer(Response::new(Body::new("from the cache")))),
            "/missing" => {
                let mut answer = Response::new(Body::new(""));
                *answer.status_mut() = StatusCode::NOT_FOUND;
                Ok(Flow::Answer(answer))
            }
            "/secret" => Err("not signed in".into()),
            _ => Ok(Flow::Continue),
        }
    }
}

/// Counts the calls that have a reply, of whatever type.
struct Replies(Signal);

impl<Q, B, E> Interceptor<Q, B, E> for Replies {
    fn after_call(&self, call: &AfterCall<'_, Q, B, E>) {
        if let CallOutcome::Replied(_) = call.outcome() {
            self.0.raise();
        }
    }
}

pub async fn i1_one_list_serves_all_channels<R: Runtime>(runtime: R) {
    let (there, replies) = (TestServer::answering(|_| ok("from the server")), Signal::new());
    let global = Interceptors::none().with(Replies(replies.clone())).with(Arc::new(Gate));
    let channels = [(); 2].map(|()| {
        let channel = list(&runtime, &[there.address]).interceptors(&global).build().unwrap();
        assert!(channel.counters().calls() == 0);
        channel
    });
    for channel in &channels {
        let cached = channel.get("/cached").await.unwrap();
        assert_eq!((cached.text().unwrap().as_str(), cached.server()), ("from the cache", None));
        assert_eq!(channel.get("/").await.unwrap().text().unwrap(), "from the server");
        let missing = channel.get("/missing").await.unwrap().error_for_status().unwrap_err();
        assert_eq!(missing.to_string(), "status 404 Not Found from an interceptor");
        let error = channel.get("/secret").await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), ("refused", "refused by an interceptor: not signed in"));
        assert!(matches!(error, SendError::Call(CallError::Refused { .. })));
        let counters = channel.counters();
        assert_eq!((counters.calls(), counters.answered, counters.refused), (1, 2, 1));
    }
    assert_eq!((there.requests.count(), replies.count()), (2, 6));
    let other = Channel::builder(runtime, there.address.to_string());
    let other = other.timeout(PATIENCE).connect_timeout(PATIENCE).build().unwrap();
    assert_eq!(other.get("/cached").await.unwrap().text().unwrap(), "from the server", "it was not given the list");
}
