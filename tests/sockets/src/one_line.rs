//! The common call in one line: what it sends, what its reply says, and what is wrong with either.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::time::Duration;

use hedge_net::http::{
    BadRequest, HttpError, Method, ReplyError, RequestBody, RequestError, SendError, SendResult, StatusCode, Unreadable,
};
use hedge_net::{BodyMode, CallError, CallOptions, CancelToken, Idempotency, Kind, NotHedged, Runtime, hash};

use super::server::{TestServer, ok, status};
use super::{assert_settled, list, server};

/// Answers with the request as it came: its head, and its body after that.
fn echo() -> TestServer {
    TestServer::answering(|seen| ok(&format!("{}{}", seen.head, seen.body)))
}

pub async fn each_method_sends_what_its_line_says<R: Runtime>(runtime: R) {
    let there = echo();
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for (method, call) in [
        ("GET", channel.get("/a?b=c").await),
        ("POST", channel.post("/a?b=c").await),
        ("PUT", channel.put("/a?b=c").await),
        ("PATCH", channel.patch("/a?b=c").await),
        ("DELETE", channel.delete("/a?b=c").await),
        ("PURGE", channel.request(Method::from_bytes(b"PURGE").unwrap(), "/a?b=c").await),
    ] {
        let text = call.unwrap().text().unwrap();
        assert!(text.starts_with(&format!("{method} /a?b=c HTTP/1.1\r\n")), "{text}");
    }
    assert_eq!(there.requests.count(), 6);
    let error = channel.request(Method::CONNECT, "http://example.com/").await.unwrap_err();
    let SendError::Call(CallError::Fatal { last: Some(Err(HttpError::BadRequest(reason))), .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(reason, BadRequest::Connect);

    let reply = channel
        .put("http://example.com/users")
        .query("name", "x y&z")
        .query("page", 2)
        .header("X-Mine", "one")
        .header("x-mine", String::from("two"))
        .header("content-type", "text/plain")
        .header("content-type", "text/csv")
        .body("a,b")
        .await
        .unwrap();
    let text = reply.text().unwrap();
    assert!(text.starts_with("PUT /users?name=x%20y%26z&page=2 HTTP/1.1\r\n"), "{text}");
    for line in ["host: example.com", "x-mine: one\r\nx-mine: two", "content-type: text/csv", "content-length: 3"] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
    assert!(!text.contains("text/plain") && text.ends_with("\r\n\r\na,b"), "{text}");
    // The reply is still there.
    assert_eq!((reply.bytes().unwrap(), reply.server().unwrap()), (text.into(), &server(there.address)));
    assert_settled(&channel);
}

pub async fn a_head_has_no_body<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        while let Some(seen) = connection.request() {
            assert!(seen.head.starts_with("HEAD / "));
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
        }
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for _ in 0..2 {
        assert_eq!(channel.head("/").await.unwrap().text().unwrap(), "");
    }
    assert_eq!(there.accepted.count(), 1);
}

pub async fn json_goes_and_comes<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| {
        let types = seen.head.lines().filter(|line| line.starts_with("content-type: "));
        ok(&format!("{{\"types\": {:?}, \"body\": {}}}", types.collect::<Vec<_>>(), seen.body))
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let value = BTreeMap::from([("name", "ü"), ("role", "\"admin\"")]);
    let plain = channel.post("/").json(&value);
    let before = channel.post("/").header("content-type", "application/merge-patch+json").json(&value);
    let after = channel.post("/").json(&value).header("content-type", "application/merge-patch+json");
    for (call, expected) in [
        (plain.await, "application/json"),
        (before.await, "application/merge-patch+json"),
        (after.await, "application/merge-patch+json"),
    ] {
        let reply: serde_json::Value = call.unwrap().json().unwrap();
        assert_eq!(reply["types"], serde_json::json!([format!("content-type: {expected}")]));
        assert_eq!(reply["body"], serde_json::json!(value));
    }
    // A body that takes its place is none.
    let reply: serde_json::Value = channel.post("/").json(&value).body("1").await.unwrap().json().unwrap();
    assert_eq!(reply, serde_json::json!({"types": [], "body": 1}));
}

pub async fn what_cannot_be_built_is_named_and_not_sent<R: Runtime>(runtime: R) {
    let there = echo();
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let pairs = BTreeMap::from([((1, 2), 3)]);
    for (call, expected) in [
        (channel.get("users").await, r#"path "users": must begin with /"#),
        (channel.get("/a b").await, r#"path "/a b": invalid uri character at byte 2"#),
        (channel.get("/").header("", "x").await, r#"header "": the name is empty"#),
        (
            channel.get("/").header("x:y", "x").await,
            r#"header "x:y": byte 1 of the name is not allowed in a header name"#,
        ),
        (
            channel.get("/").header("x-token", "secret\r\nhost: a").await,
            r#"header "x-token": byte 6 of the value is a control character"#,
        ),
        (
            channel.get("/").json(&pairs).await,
            "the body of type alloc::collections::btree::map::BTreeMap<(i32, i32), i32> cannot be json: \
             key must be a string",
        ),
        // The first thing that is wrong, whatever follows.
        (channel.get("a").header("", "").query("q", 1).body("x").await, r#"path "a": must begin with /"#),
    ] {
        let error = call.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.kind(), error.report()), (expected, "request", None));
        assert!(matches!(error, SendError::Request(_)), "{error:?}");
    }
    let many = (0..40_000).fold(channel.get("/"), |call, number| call.header(format!("x-{number}"), ""));
    let error = many.await.unwrap_err().to_string();
    assert!(error.starts_with("header \"x-") && error.ends_with("\": too many headers"), "{error}");
    // Bytes that HTTP allows and that are not ASCII.
    let text = channel.get("/").header("x-name", "ü\t").await.unwrap().text().unwrap();
    assert!(text.contains("x-name: ü"), "{text}");
    assert_eq!((there.accepted.count(), there.requests.count()), (1, 1));
    assert_settled(&channel);
}

pub async fn a_reply_says_where_its_body_is_wrong<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        while let Some(seen) = connection.request() {
            let (charset, body): (_, &[u8]) = match seen.head.split_whitespace().nth(1) {
                Some("/bytes") => ("utf-8", b"abc\xffdef"),
                Some("/cut") => ("utf-8", b"ab\xc3"),
                Some("/latin") => ("ISO-8859-1", b"abc"),
                _ => ("UTF-8", b"[1,\n 2,\n x]"),
            };
            let head = format!(
                "HTTP/1.1 404 X\r\ncontent-type: text/plain; charset={charset}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            connection.send_bytes(&[head.as_bytes(), body].concat());
        }
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let from = format!("reply from {} with status 404: ", there.address);
    for (path, expected) in [
        ("/bytes", "the body is not utf-8 at byte 3"),
        ("/cut", "the body is not utf-8 at byte 2"),
        ("/latin", "the body is in charset \"ISO-8859-1\", not in utf-8"),
    ] {
        let reply = channel.get(path).await.unwrap();
        assert_eq!(reply.text().unwrap_err().to_string(), format!("{from}{expected}"));
        assert!(!reply.bytes().unwrap().is_empty());
    }
    let reply = channel.get("/json").await.unwrap();
    assert_eq!(reply.text().unwrap(), "[1,\n 2,\n x]");
    let error = reply.json::<Vec<u8>>().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{from}the body is not the expected json: expected value at line 3 column 2")
    );
    let ReplyError { server: from, status, fault: Unreadable::Json(error), .. } = error else { panic!("{error}") };
    assert_eq!(
        (from, status, error.line(), error.column()),
        (Some(server(there.address)), StatusCode::NOT_FOUND, 3, 2)
    );

    let streaming = channel.get("/json").streaming().await.unwrap();
    let error = streaming.bytes().unwrap_err();
    assert!(matches!(error.fault, Unreadable::NotInMemory), "{error}");
    assert!(matches!(streaming.text().unwrap_err().fault, Unreadable::NotInMemory));
    assert!(matches!(streaming.json::<()>().unwrap_err().fault, Unreadable::NotInMemory));
    assert_eq!(streaming.into_inner().into_body().collect().await.unwrap(), "[1,\n 2,\n x]");
    assert_settled(&channel);
}

pub async fn r1_a_status_is_an_error_where_it_is_asked_for<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| {
        let path = seen.head.split_whitespace().nth(1).unwrap();
        status(path[1..].parse().unwrap(), "why")
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for (path, is_good) in [("/200", true), ("/302", true), ("/399", true), ("/400", false), ("/404", false)] {
        let reply = channel.get(path).await.unwrap();
        let found = reply.status().as_u16();
        assert_eq!(format!("/{found}"), path);
        match reply.error_for_status() {
            Ok(reply) => assert!(is_good && reply.text().unwrap() == "why", "{path}"),
            Err(error) => {
                assert!(!is_good, "{path}");
                assert_eq!((error.status().as_u16(), error.reply().text().unwrap().as_str()), (found, "why"));
                let text = error.to_string();
                assert!(text.starts_with(&format!("status {found} ")), "{text}");
                assert!(text.ends_with(&format!(" from {}", there.address)), "{text}");
                assert_eq!(error.into_reply().server(), Some(&server(there.address)));
            }
        }
    }
    // By default that is not accepted, so it is an error already.
    let error = channel.get("/503").await.unwrap_err();
    assert_eq!((error.kind(), error.response().unwrap().status().as_u16()), ("failed", 503));
    assert_eq!(error.report().unwrap().attempts().len(), 1);
    assert_settled(&channel);
}

pub async fn a_line_sets_the_options_of_its_call<R: Runtime>(runtime: R) {
    let (slow, fast) = (TestServer::stalling(), echo());
    let order = CallOptions { servers: Some(vec![server(slow.address), server(fast.address)]), ..CallOptions::new() };
    let channel = list(&runtime, &[slow.address, fast.address]).build().unwrap();
    let ms = Duration::from_millis(2);

    let reply = channel.get("/").options(order.clone()).backup(ms).await.unwrap();
    let winner = &reply.report().attempts()[reply.report().winner().unwrap().index()];
    assert_eq!((winner.kind(), reply.server().unwrap()), (Kind::Backup, &server(fast.address)));
    let late = async |call: SendResult| {
        let error = call.unwrap_err();
        assert_eq!(error.kind(), "deadline", "{error}");
        error.report().unwrap().not_hedged()
    };
    let soon = || channel.post("/").options(order.clone()).backup(ms).timeout(5 * ms);
    assert_eq!(late(soon().await).await, Some(NotHedged::NotIdempotent));
    assert_eq!(
        late(soon().idempotency(Idempotency::Idempotent).max_retry(0).await).await,
        Some(NotHedged::NoAttemptLeft)
    );
    let reply = channel.post("/").options(order.clone()).backup(ms).idempotency(Idempotency::Idempotent).await.unwrap();
    assert_eq!(*reply.server().unwrap(), server(fast.address));
    assert_eq!(channel.get("/").timeout(Duration::ZERO).await.unwrap_err().kind(), "deadline");

    let token = CancelToken::new();
    token.cancel();
    assert_eq!(channel.get("/").cancelled_by(token).await.unwrap_err().kind(), "cancelled");

    let reply = channel.get("/").options(CallOptions { body: BodyMode::Streaming, ..order }).backup(ms).await.unwrap();
    assert_eq!(reply.body().bytes(), None);
    drop(reply);
    assert_settled(&channel);

    let hashed = list(&runtime, &[fast.address]).load_balancer("c_murmurhash").build().unwrap();
    assert_eq!(hashed.get("/").await.unwrap_err().kind(), "config");
    hashed.get("/").request_code(hash::murmur3_32(b"user-7")).await.unwrap();
}

pub async fn a_line_is_sent_by_threads_and_its_errors_are_shared<R: Runtime>(runtime: R) {
    fn is_send<T: Send>(it: T) -> T {
        it
    }
    fn is_shared<T: Send + Sync + 'static>(it: T) -> T {
        it
    }

    let there = echo();
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let call = async |path: &str| -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let request = is_send(channel.get(path));
        let reply = is_shared(is_send(request.into_future()).await.map_err(is_shared)?);
        Ok(reply.error_for_status()?.text()?)
    };
    assert!(call("/").await.is_ok());
    let error = call(" ").await.unwrap_err();
    assert!(matches!(*error.downcast().unwrap(), SendError::Request(RequestError::Path { .. })));
    // A request outlives the text that it was made of.
    let request = {
        let (path, body) = (String::from("/path"), String::from("body"));
        channel.post(&path).header("x-a", &body).body(RequestBody::from(body.clone()))
    };
    assert!(request.await.unwrap().text().unwrap().ends_with("body"));
}
