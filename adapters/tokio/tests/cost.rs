//! What the common call costs in one line, against the same call of a request that was built by hand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::future::IntoFuture;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use allocation_counter::measure;
use hedge_tokio::http::{Request, RequestBody};
use hedge_tokio::{Channel, Interceptor};

/// A server on a thread of its own, whose allocations do not count here: it answers each connection's requests, which fit
/// into one read.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), [0; 4096]);
            while stream.read(&mut request).unwrap_or(0) > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
            }
        }
    });
    address
}

/// Longer than any call takes here, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// The fewest allocations of a call on a connection that is there: how often a task is polled is chance, so there are many
/// calls.
fn fewest(mut call: impl FnMut()) -> u64 {
    call();
    (0..500).map(|_| measure(&mut call).count_total).min().unwrap()
}

/// An interceptor that does nothing.
struct Nothing;

impl<Q, B, E> Interceptor<Q, B, E> for Nothing {}

#[test]
fn a_call_in_one_line_allocates_no_more_than_one_of_a_built_request() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let builder = || hedge_tokio::builder(serve().to_string()).timeout(PATIENCE).connect_timeout(PATIENCE);
    let channel: Channel = builder().build().unwrap();
    let value = ["a", "b"];

    let by_hand = fewest(|| {
        let request = Request::get("/users/7").header("x-mine", "1").body(RequestBody::Empty).unwrap();
        let reply = runtime.block_on(channel.call(request)).unwrap();
        assert_eq!(reply.body().bytes().unwrap(), "hello");
    });
    let in_one_line = fewest(|| {
        let reply = runtime.block_on(channel.get("/users/7").header("x-mine", "1").into_future()).unwrap();
        assert_eq!(reply.bytes().unwrap(), "hello");
    });
    let json_by_hand = fewest(|| {
        let body = serde_json::to_vec(&value).unwrap();
        let request = Request::post("/users").header("content-type", "application/json").body(body.into()).unwrap();
        runtime.block_on(channel.call(request)).unwrap();
    });
    let json_in_one_line = fewest(|| {
        runtime.block_on(channel.post("/users").json(&value).into_future()).unwrap();
    });
    println!("by hand {by_hand}, in one line {in_one_line}; with json {json_by_hand} and {json_in_one_line}");
    assert!(in_one_line <= by_hand && json_in_one_line <= json_by_hand);

    let intercepted: Channel = builder().interceptor(Nothing).build().unwrap();
    let with_interceptor = fewest(|| {
        let request = Request::get("/users/7").header("x-mine", "1").body(RequestBody::Empty).unwrap();
        runtime.block_on(intercepted.call(request)).unwrap();
    });
    println!("with an interceptor {with_interceptor}");
    // The future of the call, and that of `before_call`.
    assert_eq!(with_interceptor, by_hand + 2);

    let by_hand = size_of_val(&channel.call(Request::new(RequestBody::Empty)));
    let in_one_line = size_of_val(&channel.get("/").into_future());
    println!("the future has {by_hand} bytes by hand, {in_one_line} in one line");
    assert!(in_one_line <= by_hand + 600, "{by_hand} and {in_one_line} bytes");
}
