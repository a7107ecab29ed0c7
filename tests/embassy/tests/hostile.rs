//! Servers and callers that are hostile or wrong: how a call ends, and what it costs meanwhile.

mod common;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use common::{ALL_FREE, BYTES, Setup, codes, hedged};
use embassy_time::Timer;
use embedded_io_async::ErrorKind as Io;
use hedge_core::balance::p2c::{P2c, P2cOptions};
use hedge_core::cluster::ClusterError;
use hedge_core::health::Health;
use hedge_core::id::ServerId;
use hedge_core::outcome::{End, ErrorKind};
use hedge_core::policy::{CallOptions, ChannelOptions, NoPolicy};
use hedge_core::time::Duration;
use hedge_embassy::{Channel, Choice, Error, Request, Resources};
use hedge_embassy_tests::{Behaviour, Loopback, Piece, Script, World, now_ms};

const GET: Request<'_> = Request::get("/");
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const UNAUTHORIZED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno";
/// More than a stack buffers for a server that does not read.
static UPLOAD: [u8; 64 * 1024] = [b'x'; 64 * 1024];

type Memory<const SERVERS: usize> = Resources<Choice<P2c, NoPolicy, common::Mutex>, SERVERS, 2, BYTES>;

fn channel<const SERVERS: usize>(stack: &'static Loopback) -> Channel<'static, Loopback, Memory<SERVERS>> {
    let memory: &'static mut Memory<SERVERS> = Box::leak(Box::default());
    let (options, balancer) = (ChannelOptions { max_retry: 0, ..ChannelOptions::brpc() }, P2cOptions::DEFAULT);
    let balancer = P2c::new(balancer);
    let (channel, _) = Channel::new(stack, memory, options, balancer, NoPolicy, Health::none(), 7);
    for server in 0..SERVERS {
        channel.insert(format!("10.0.0.2:{}", 8000 + server).parse().unwrap(), "").unwrap();
    }
    channel
}

fn upload() -> Request<'static> {
    Request { method: "PUT", ..Request::post("/", &UPLOAD) }
}

#[test]
fn t5_an_answer_that_comes_before_the_request_is_sent_is_returned() {
    let setup = Setup::new(ChannelOptions::brpc());
    setup.servers[0].becomes(Behaviour::AnswerEarly(UNAUTHORIZED.to_vec()));
    let (channel, sockets, server) = (setup.channel, setup.sockets, setup.servers[0].clone());
    setup.world.run(async move {
        let reply = channel.call(&upload()).await.unwrap();
        assert_eq!((reply.status(), reply.body()), (401, &b"no"[..]));
        assert!(now_ms() <= 12, "{} ms: the call ends as soon as the answer is there", now_ms());
        drop(reply);
        assert_eq!((channel.free_buffers(), sockets.free()), ALL_FREE);
        Timer::after_millis(5).await;
        assert_eq!(server.given_up(), 1, "the connection is closed, and the rest is not sent");
    });
}

#[test]
fn t5_a_large_upload_that_the_server_reads_to_its_end_is_answered() {
    let setup = Setup::new(ChannelOptions { timeout: Duration::from_secs(30).into(), ..ChannelOptions::brpc() });
    let (channel, server) = (setup.channel, setup.servers[0].clone());
    setup.world.run(async move {
        let reply = channel.call(&upload()).await.unwrap();
        assert_eq!((reply.status(), reply.body()), (200, &b"8001"[..]));
    });
    assert!(server.requests()[0].len() > UPLOAD.len());
}

#[test]
fn t5_a_write_error_is_returned_only_after_what_has_arrived_was_read() {
    let _world = World::new();
    let whole = vec![Piece::Bytes(UNAUTHORIZED.to_vec())];
    let half = vec![Piece::Bytes(UNAUTHORIZED[..20].to_vec()), Piece::Silence];
    let reset = Err(Error::Broken(Io::ConnectionReset));
    for (takes, answer, write_error, expected) in [
        (200, whole.clone(), None, Ok(401)),
        (200, whole.clone(), Some(Io::ConnectionReset), Ok(401)),
        (0, whole.clone(), Some(Io::ConnectionReset), Ok(401)),
        (UPLOAD.len(), whole, Some(Io::BrokenPipe), Ok(401)),
        (200, half, Some(Io::ConnectionReset), reset),
        (200, vec![], Some(Io::ConnectionReset), reset),
        (200, vec![Piece::Silence], Some(Io::ConnectionReset), reset),
        (200, vec![Piece::Error(Io::ConnectionAborted)], Some(Io::ConnectionReset), reset),
        (200, vec![Piece::Error(Io::ConnectionAborted)], None, Err(Error::Broken(Io::ConnectionAborted))),
        (200, vec![], None, Err(Error::Closed)),
    ] {
        let script = Script { refuses: None, takes, write_error, answer };
        let stack = Loopback::new(script.clone());
        let channel = channel::<1>(stack);
        let request = upload();
        let Poll::Ready(result) = pin!(channel.call(&request)).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("{script:?}: the call waits")
        };
        let got = match &result {
            Ok(reply) => Ok(reply.status()),
            Err(error) => Err(*error.last().unwrap().as_ref().unwrap_err()),
        };
        assert_eq!(got, expected, "{script:?}");
        assert_eq!(stack.open(), 0, "{script:?}");
    }
}

#[test]
fn a_server_that_sends_without_end_blocks_neither_the_executor_nor_the_call() {
    let _world = World::new();
    let endless = |bytes: &[u8]| vec![Piece::Endless(bytes.to_vec())];
    let chunks = |size: &[u8]| {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        vec![Piece::Bytes(head), Piece::Endless(size.to_vec())]
    };
    for (what, answer) in [
        ("interim responses", endless(b"HTTP/1.1 100 \r\n\r\n")),
        ("one interim response in each read", endless(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")),
        ("a head", endless(b"HTTP/1.1 200 OK and more and more")),
        ("headers", endless(b"x: y\r\n")),
        ("a chunk's size", chunks(b"0")),
        ("a chunk's extension", chunks(b"1;x")),
        ("chunks of one byte", chunks(b"1\r\nx\r\n")),
        (
            "a body without a length",
            vec![Piece::Bytes(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), Piece::Endless(vec![b'x'])],
        ),
    ] {
        let stack = Loopback::new(Script { answer, ..Script::answers(b"") });
        let channel = channel::<1>(stack);
        let mut call = pin!(channel.call(&GET));
        let (mut polls, mut before) = (0, 0);
        let result = loop {
            polls += 1;
            assert!(polls < 100_000, "{what}: the call does not end");
            let poll = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(stack.reads() - before <= 8, "{what}: {} reads in one poll", stack.reads() - before);
            before = stack.reads();
            if let Poll::Ready(result) = poll {
                break result;
            }
        };
        let error = result.unwrap_err();
        let error = error.last().unwrap().as_ref().unwrap_err();
        assert!(matches!(error, Error::Protocol(_) | Error::TooLarge { .. }), "{what}: {error}");
        assert_eq!(stack.open(), 0, "{what}");
    }
}

#[test]
fn headers_that_this_crate_writes_itself_and_invalid_headers_are_errors() {
    let _world = World::new();
    let stack = Loopback::new(Script::answers(OK));
    let channel = channel::<1>(stack);
    for (name, value) in [
        ("content-length", "27"),
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive"),
        ("host", "other"),
        ("x", "y\r\ncontent-length: 27"),
        ("content-length ", "27"),
        ("", "27"),
    ] {
        let headers = [("accept", &b"*/*"[..]), (name, value.as_bytes())];
        let request = Request { headers: &headers, ..GET };
        let Poll::Ready(result) = pin!(channel.call(&request)).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("{name}: the call waits")
        };
        let error = result.unwrap_err();
        assert_eq!(error.end(), Some(End::Fatal), "{name}");
        assert!(error.to_string().ends_with("request: header 1 has an invalid name or value"), "{name}: {error}");
    }
    assert_eq!(stack.connected(), 0, "no connection was made");
}

/// How many calls each of two servers got.
async fn shares(channel: Channel<'static, Loopback, Memory<2>>, calls: usize) -> [usize; 2] {
    let mut shares = [0; 2];
    for _ in 0..calls {
        let server: ServerId = channel.call(&GET).await.unwrap().server().unwrap();
        shares[usize::from(server.slot())] += 1;
    }
    shares
}

#[test]
fn s7_a_local_failure_blames_no_server() {
    let world = World::new();
    let good = Script::answers(OK);
    let stack = Loopback::new(good.clone());
    let channel = channel::<2>(stack);
    world.run(async move {
        // No socket, no address, an address family that the stack does not support.
        for refuses in [Io::OutOfMemory, Io::AddrNotAvailable, Io::Unsupported] {
            stack.becomes(Script { refuses: Some(refuses), ..good.clone() });
            let error = channel.call(&GET).await.unwrap_err();
            assert_eq!(codes(error.report().unwrap()), [ErrorKind::Local.into()], "{refuses:?}");
            stack.becomes(good.clone());
            let shares = shares(channel, 100).await;
            assert!(shares.iter().all(|share| *share >= 25), "{refuses:?}: {shares:?}");
        }
        // No buffer, since both are kept.
        let kept = [channel.call(&GET).await.unwrap(), channel.call(&GET).await.unwrap()];
        let error = channel.call(&GET).await.unwrap_err();
        assert_eq!(codes(error.report().unwrap()), [ErrorKind::Local.into()]);
        drop(kept);
        // A request that cannot be sent.
        assert_eq!(channel.call(&Request::get("no path")).await.unwrap_err().end(), Some(End::Fatal));
        let shares = shares(channel, 100).await;
        assert!(shares.iter().all(|share| *share >= 25), "{shares:?}");
    });
}

#[test]
fn t2_a_call_that_asks_for_a_stream_leaves_nothing_in_flight() {
    let setup = Setup::new(hedged(6));
    setup.servers[2].becomes(Behaviour::Silent);
    let (channel, sockets) = (setup.channel, setup.sockets);
    setup.world.run(async move {
        let own = CallOptions { streaming: true, ..CallOptions::new() };
        let mut answered = 0;
        for _ in 0..30 {
            // Some calls end by their deadline, since the limits allow a backup for a tenth of the calls only.
            answered += u32::from(channel.call_with(&GET, &own).await.is_ok());
        }
        assert!(answered >= 20, "{answered}");
        let in_flight: Vec<_> = channel.with_servers(|servers| {
            let cluster = servers.cluster();
            cluster.iter().map(|(server, _)| cluster.in_flight(server)).collect()
        });
        assert_eq!(in_flight, [0, 0, 0]);
        assert_eq!((channel.free_buffers(), sockets.free()), ALL_FREE);
    });
}

#[test]
fn n3_of_a_list_that_is_too_long_the_servers_that_fit_are_added_and_the_others_counted() {
    let world = World::new();
    let channel = channel::<2>(Loopback::new(Script::answers(OK)));
    let addresses = || (1..=3).map(|port| (format!("10.0.0.3:{port}").parse().unwrap(), ""));
    let update = channel.set_servers(addresses().collect::<Vec<_>>()).unwrap();
    assert_eq!((update.inserted, update.removed, update.refused), (2, 2, 1));
    assert_eq!(update.reason, Some(ClusterError::Full));
    let one_more = channel.insert("10.0.0.3:3".parse().unwrap(), "");
    assert_eq!(one_more, Err(ClusterError::Full));
    drop(world);
}
