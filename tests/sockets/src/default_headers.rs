//! Headers that a channel sends with each request.

use hedge_net::http::{BadRequest, DefaultHeaderError, DefaultHeaderFault, HeaderFault};
use hedge_net::{BuildError, Runtime};

use super::health::{SOON, checked, finds_out, until};
use super::mortal::nobody_yet;
use super::server::{TestServer, ok, status};
use super::{get, list, refused, server};

/// The values of a header, in order.
fn values(head: &str, name: &str) -> Vec<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(there, _)| there.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

pub async fn each_request_has_the_default_headers_that_it_does_not_set<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.head));
    let channel = list(&runtime, &[there.address])
        .default_header("User-Agent", "test/1")
        .default_header("x-tenant", "blue")
        .default_header("x-tenant", "green")
        .default_header("host", "users.internal")
        .on_attempt(|head, _| {
            assert!(head.headers.contains_key("user-agent"), "they are there before on_attempt");
            head.headers.remove("user-agent");
        })
        .build()
        .unwrap();
    let head = channel.get("/").await.unwrap().text().unwrap();
    assert_eq!(values(&head, "x-tenant"), ["blue", "green"]);
    assert_eq!(values(&head, "host"), ["users.internal"]);
    assert_eq!(values(&head, "user-agent"), [""; 0], "on_attempt has removed it");
    let head = channel.post("/").header("x-tenant", "red").header("host", "own").body("text").await.unwrap();
    let head = head.text().unwrap();
    assert_eq!((values(&head, "x-tenant"), values(&head, "host")), (vec!["red".into()], vec!["own".into()]));
    let other = list(&runtime, &[there.address]).build().unwrap();
    let head = other.call(get("/")).await.unwrap().text().unwrap();
    assert_eq!(values(&head, "x-tenant"), [""; 0], "another channel, on the same connection");
    assert_eq!(there.accepted.count(), 1);
}

pub async fn h1_a_path_is_checked_with_the_default_headers<R: Runtime>(runtime: R) {
    let address = nobody_yet();
    let builder = checked(&runtime, &[address], SOON).health_check_path("/healthy");
    let channel = builder.default_header("authorization", "Bearer secret").build().unwrap();
    finds_out(&channel, address).await;
    let there = TestServer::at(address, |connection| {
        while let Some(seen) = connection.request() {
            let is_known = values(&seen.head, "authorization") == ["Bearer secret"];
            connection.send(&status(if is_known { 204 } else { 401 }, ""));
        }
    });
    until(|| channel.usable(&server(address))).await;
    assert_eq!(there.requests.count(), 1);
}

pub async fn p1_a_default_header_that_no_request_can_have_is_a_build_error<R: Runtime>(runtime: R) {
    let error = |name: &str, value: &str| {
        let builder = list(&runtime, &[refused()]).default_header("x-good", "1").default_header(name, value);
        builder.default_header("x-good", "2").build().unwrap_err()
    };
    for (name, value, fault, text) in [
        (
            "x-a",
            "b\r\nx-c: d",
            DefaultHeaderFault::Malformed(HeaderFault::Value { at: 1 }),
            "default header \"x-a\": byte 1 of the value is a control character",
        ),
        (
            "x a",
            "b",
            DefaultHeaderFault::Malformed(HeaderFault::Name { at: Some(1) }),
            "default header \"x a\": byte 1 of the name is not allowed in a header name",
        ),
        (
            "Content-Length",
            "0",
            DefaultHeaderFault::OfOneBody,
            "default header \"Content-Length\": it says how long a body is, and each request has its own body",
        ),
        (
            "upgrade",
            "websocket",
            DefaultHeaderFault::Refused(BadRequest::Header("upgrade")),
            "default header \"upgrade\": asks for another use of the connection",
        ),
    ] {
        let error = error(name, value);
        assert_eq!(error.to_string(), text);
        let BuildError::DefaultHeader(DefaultHeaderError { name: named, fault: seen, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!((&*named, seen), (name, fault));
    }
}
