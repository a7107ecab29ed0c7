//! What an idle connection takes of memory, on the thread that does all of it.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use hedge_sockets::http2_server::{Http2Server, Settings, answer};
use hedge_sockets::server::{TestServer, ok};
use hedge_sockets::signal::Signal;
use hedge_sockets::tls_server::{Authority, TlsServer, head};
use hedge_tokio::{Builder, Channel, Protocol};
use tokio::task::{JoinSet, yield_now};

/// The first calls make what the channel needs anyway. The growth with the other connections is measured.
const FIRST: usize = 10;
const MORE: usize = 40;

/// Answers the calls of each round once all of them have come, so that each one has a connection of its own.
#[derive(Clone, Default)]
struct Rounds(Signal);

impl Rounds {
    fn wait(&self) {
        let before = self.0.raise();
        self.0.block_until(if before < FIRST { FIRST } else { 2 * FIRST + MORE });
    }
}

/// The bytes that one more idle connection takes.
fn bytes_each(builder: Builder) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let patience = Duration::from_secs(60);
    let builder = builder.timeout(patience).connect_timeout(patience).idle_timeout(2 * patience);
    let channel = builder.without_health_checks().build().unwrap();
    let round = |calls| runtime.block_on(open(&channel, calls));
    round(FIRST);
    let more = i64::try_from(MORE).unwrap();
    let bytes = measure(|| round(FIRST + MORE)).bytes_current / more;
    assert_eq!(channel.transport().counters().open(), (FIRST + MORE) as u64);
    bytes
}

/// Makes so many calls at once, and lets their connections come to rest.
async fn open(channel: &Channel, calls: usize) {
    let mut running = JoinSet::new();
    for _ in 0..calls {
        let channel = channel.clone();
        running.spawn(async move { channel.get("/").await.unwrap().bytes().unwrap().len() });
    }
    while running.join_next().await.is_some() {}
    for _ in 0..1_000 {
        yield_now().await;
    }
}

fn plain(body: usize) -> SocketAddr {
    let (rounds, body) = (Rounds::default(), "x".repeat(body));
    let there = TestServer::start(move |connection| {
        while connection.request().is_some() {
            rounds.wait();
            connection.send(&ok(&body));
        }
    });
    there.address
}

fn secured(authority: &Authority, body: usize) -> SocketAddr {
    let (rounds, body) = (Rounds::default(), "x".repeat(body));
    let there = TlsServer::start(authority.server(authority.sign("127.0.0.1", 1), false), move |stream| {
        while head(stream).is_some() {
            rounds.wait();
            stream.write_all(ok(&body).as_bytes()).unwrap();
        }
    });
    there.address
}

/// As many connections as a channel makes to a server that allows one request at a time.
const SHARED: usize = 8;

/// The bytes that one more idle connection of HTTP/2 takes.
fn http2_bytes_each(body: usize) -> i64 {
    let (arrived, body) = (Signal::new(), Arc::<str>::from("x".repeat(body)));
    let settings = Settings { max_streams: Some(1), ..Settings::default() };
    let there = Http2Server::start(settings, move |asked| {
        let (arrived, body) = (arrived.clone(), Arc::clone(&body));
        async move {
            // The first call comes alone, and the others come together.
            let before = arrived.raise();
            arrived.reached(if before == 0 { 1 } else { 1 + SHARED }).await;
            answer(asked.respond, &body);
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let patience = Duration::from_secs(60);
    let builder = hedge_tokio::builder(there.address.to_string()).protocol(Protocol::H2);
    let builder = builder.timeout(patience).connect_timeout(patience).idle_timeout(2 * patience);
    let channel = builder.without_health_checks().build().unwrap();
    let round = |calls| runtime.block_on(open(&channel, calls));
    round(1);
    let bytes = measure(|| round(SHARED)).bytes_current / i64::try_from(SHARED - 1).unwrap();
    assert_eq!(channel.transport().counters().open(), SHARED as u64);
    bytes
}

/// The docs of `hedge_net::http` state these numbers.
#[test]
fn an_idle_connection_takes_no_more_memory_than_stated() {
    let authority = Authority::create();
    // A little more than is stated.
    for (body, plain_kib, tls_kib, http2_kib) in [(100, 31, 39, 42), (1 << 20, 128, 72, 42)] {
        let builder = |address: SocketAddr| hedge_tokio::builder(address.to_string());
        let each = bytes_each(builder(plain(body)));
        println!("plain, after a body of {body} bytes: {each} bytes");
        assert!(each <= plain_kib << 10, "{each} bytes");
        let tls = authority.client().build().unwrap();
        let each = bytes_each(builder(secured(&authority, body)).tls(tls));
        println!("tls, after a body of {body} bytes: {each} bytes");
        assert!(each <= tls_kib << 10, "{each} bytes");
        let each = http2_bytes_each(body);
        println!("http/2, after a body of {body} bytes: {each} bytes");
        assert!(each <= http2_kib << 10, "{each} bytes");
    }
}
