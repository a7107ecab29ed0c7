//! Headers that `on_attempt` adds to an attempt.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use hedge_core::outcome::Kind;
use hedge_net::http::{BadRequest, HttpError, Method, Parts, RequestBody};
use hedge_net::{Address, AttemptInfo, CallOptions, Runtime};

use super::server::{TestServer, ok};
use super::signal::Signal;
use super::{assert_settled, get, list, post, server};

/// The lines of a head whose names begin so, in order.
fn lines(head: &str, name: &str) -> Vec<String> {
    head.lines().filter(|line| line.starts_with(name)).map(ToOwned::to_owned).collect()
}

pub async fn l2_each_attempt_has_headers_of_its_own<R: Runtime>(runtime: R) {
    let (heads, first) = (Arc::new(Mutex::new(Vec::new())), Signal::new());
    let (seen, is_there, gate) = (Arc::clone(&heads), first.clone(), first);
    let slow = TestServer::start(move |connection| {
        while let Some(request) = connection.request() {
            seen.lock().unwrap().push(request.head);
            is_there.raise();
        }
    });
    let fast = TestServer::answering(move |seen| {
        gate.block_until(1);
        ok(&seen.head)
    });
    let addresses = [slow.address, fast.address];
    let told = Arc::new(Mutex::new(Vec::<AttemptInfo<Address>>::new()));
    let heard = Arc::clone(&told);
    let channel = list(&runtime, &addresses)
        .on_attempt(move |head, attempt| {
            assert_eq!(head.headers["x-mine"], "yes");
            head.headers.insert("x-attempt", attempt.attempt.index().into());
            head.headers
                .insert("x-timeout-ms", u64::try_from(attempt.remaining().unwrap().as_millis()).unwrap().into());
            heard.lock().unwrap().push(attempt.clone());
        })
        .build()
        .unwrap();
    let options = CallOptions { servers: Some(addresses.map(server).to_vec()), ..CallOptions::new() };
    let options = options.with_backup(Duration::from_millis(1));
    let mut request = get("/");
    request.headers_mut().insert("x-mine", "yes".parse().unwrap());
    let reply = channel.call_with(request, &options).await.unwrap();
    let second = reply.text().unwrap();
    let first = heads.lock().unwrap()[0].clone();
    assert_eq!(
        (lines(&first, "x-attempt"), lines(&second, "x-attempt")),
        (vec!["x-attempt: 0".into()], vec!["x-attempt: 1".into()])
    );
    assert_eq!((lines(&first, "x-mine").len(), lines(&second, "x-mine").len()), (1, 1));
    let told = told.lock().unwrap();
    let expected =
        [(Kind::First, slow.address), (Kind::Backup, fast.address)].map(|(kind, at)| (kind, server(at).address));
    assert_eq!(told.iter().map(|attempt| (attempt.kind, attempt.address.clone())).collect::<Vec<_>>(), expected);
    assert_eq!(lines(&second, "x-timeout-ms"), [format!("x-timeout-ms: {}", told[1].remaining().unwrap().as_millis())]);
    assert!(told[1].remaining() < told[0].remaining());
    assert_settled(&channel);
}

type Change = fn(&mut Parts, &AttemptInfo<Address>);

pub async fn p1_headers_of_an_attempt_that_disagree_with_the_body_are_refused<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let table: [(Change, &str); 7] = [
        (|head, _| _ = head.headers.insert("content-length", 27.into()), "content-length"),
        (|head, _| _ = head.headers.insert("transfer-encoding", "chunked".parse().unwrap()), "transfer-encoding"),
        (|head, _| _ = head.headers.insert("upgrade", "h2c".parse().unwrap()), "upgrade"),
        (|head, _| _ = head.headers.insert("connection", "x-attempt".parse().unwrap()), "connection"),
        (|head, _| _ = head.headers.append("host", "other".parse().unwrap()), "host"),
        (|head, _| _ = head.headers.insert("host", "a b".parse().unwrap()), "host"),
        (|head, _| _ = head.headers.remove("host"), "host"),
    ];
    for (change, name) in table {
        let channel = list(&runtime, &[there.address]).on_attempt(change).build().unwrap();
        let error = channel.call(post("/")).await.unwrap_err();
        assert_eq!(error.kind(), "fatal", "{name}");
        let Some(Err(HttpError::BadRequest(BadRequest::Header(refused)))) = error.last() else {
            panic!("{name}: {error}");
        };
        assert_eq!(*refused, name);
        assert_settled(&channel);
    }
    assert_eq!(there.requests.count(), 0);
}

pub async fn l15_nothing_but_headers_of_an_attempt_changes<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&format!("{}{}", seen.head, seen.body)));
    let channel = list(&runtime, &[there.address])
        .on_attempt(|head, _| {
            head.method = Method::HEAD;
            head.uri = "/other".parse().unwrap();
            head.version = http::Version::HTTP_10;
            head.headers.insert("x-mine", "yes".parse().unwrap());
            // The same as the body says.
            head.headers.insert("content-length", 4.into());
        })
        .build()
        .unwrap();
    let text = channel.call(post("/path")).await.unwrap().text().unwrap();
    assert!(text.starts_with("POST /path HTTP/1.1\r\n") && text.ends_with("\r\n\r\ntext"), "{text}");
    assert_eq!((lines(&text, "x-mine").len(), lines(&text, "content-length").len()), (1, 1), "{text}");
}

pub async fn c3_an_attempt_that_goes_once_more_has_its_headers_again<R: Runtime>(runtime: R) {
    // A connection serves one request, and breaks under the second.
    let there = TestServer::start(|connection| {
        if let Some(seen) = connection.request() {
            connection.send(&ok(&seen.head));
            connection.request();
        }
    });
    let channel = list(&runtime, &[there.address])
        .on_attempt(|head, attempt| _ = head.headers.insert("x-attempt", attempt.attempt.index().into()))
        .build()
        .unwrap();
    for _ in 0..3 {
        let reply = channel.call(get("/")).await.unwrap();
        assert_eq!(lines(&reply.text().unwrap(), "x-attempt"), ["x-attempt: 0"]);
        assert_eq!(reply.report().attempts().len(), 1);
    }
    assert_eq!((channel.transport().resent(), there.accepted.count()), (2, 3));
}

pub async fn l20_a_caller_sees_the_panic_of_on_attempt_and_counts_settle<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok("text"));
    let panics = |head: &mut Parts, _: &AttemptInfo<Address>| {
        if head.uri.path() == "/panics" {
            // Without a word on standard error.
            resume_unwind(Box::new("on purpose"));
        }
    };
    let channel = list(&runtime, &[there.address]).on_attempt(panics).build().unwrap();
    let request = http::Request::get("/panics").body(RequestBody::Empty).unwrap();
    {
        let mut call = pin!(channel.call(request));
        let unwinds = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx).map(drop))) {
            Ok(poll) => poll.map(|()| false),
            Err(_) => Poll::Ready(true),
        });
        assert!(unwinds.await);
    }
    assert_settled(&channel);
    assert_eq!(channel.call(get("/")).await.unwrap().text().unwrap(), "text");
}
