//! The table of faults in the docs of `hedge_net::http`: each fault on loopback, and what comes of it. The docs must have
//! the line that a test has seen.

use std::any::Any;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use hedge_core::bounded::{Bounded, SpanRange};
use hedge_core::policy::AttemptError as _;
use hedge_net::http::{Body, DecodeError, Fault, HttpError, ProtocolError, RequestBody};
use hedge_net::{
    BreakerOptions, CallOptions, ConnectError, ErrorKind, FailureOptions, IsolationOptions, Reply, Runtime, Tls,
};

use super::server::{Connection, TestServer, ok};
use super::tls_server::{Authority, TlsServer, head};
use super::{Error, HttpBuilder, assert_settled, both, get, list, post, refused, server};

const TABLE: &str = include_str!("../../../adapters/net/src/http/faults.md");

/// A call may take this long. Only calls that are stuck do.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a silent server is waited for. The good server must answer in this time.
const SILENCE: Duration = Duration::from_secs(1);
const MAX_BODY: usize = 1 << 20;
/// The default of `max_decoded_body`.
const MAX_DECODED_BODY: usize = 16 << 20;
const NAME: &str = "server.test";

/// A server with a fault, the server that has none, and what a channel to them needs.
pub(super) struct Case {
    fault: &'static str,
    address: SocketAddr,
    good: SocketAddr,
    tls: Option<Tls>,
    /// How long making a connection may take. An attempt may take longer.
    patience: Duration,
    /// Keeps the server as it is.
    _server: Box<dyn Any>,
}

/// What comes of a fault: a line of the table.
struct Line {
    error: String,
    kind: ErrorKind,
    never_left: bool,
    blame: &'static str,
    idempotent: &'static str,
    other: &'static str,
}

impl Case {
    pub(super) fn new(fault: &'static str, there: TestServer) -> Self {
        let (address, good) = (there.address, good().address);
        Self { fault, address, good, tls: None, patience: TIMEOUT, _server: Box::new(there) }
    }

    /// The same, of a server that is silent.
    const fn silent(mut self) -> Self {
        self.patience = SILENCE;
        self
    }

    fn scripted(fault: &'static str, script: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        Self::new(fault, TestServer::start(script))
    }

    fn builder<R: Runtime>(&self, runtime: &R, addresses: &[SocketAddr]) -> HttpBuilder<R> {
        let builder = list(runtime, addresses).timeout(TIMEOUT).max_body(MAX_BODY);
        // The attempt timeout comes later, since it does not say whether the request has left.
        let builder = builder.connect_timeout(self.patience).attempt_timeout(self.patience + SILENCE / 2);
        match &self.tls {
            Some(tls) => builder.tls(tls.clone()).tls_name(NAME),
            None => builder,
        }
    }

    /// One attempt: its error, its kind, and whether it left.
    async fn attempt<R: Runtime>(&self, runtime: &R) -> (String, ErrorKind, bool, &'static str) {
        let only = self.builder(runtime, &[self.address]).max_retry(0);
        let channel = only.build().unwrap();
        let error = channel.call(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), "failed", "{}: {error}", self.fault);
        let seen = match error.last() {
            Some(Err(error)) => (variant(error), error.kind(), error.never_left()),
            None => ("none".to_owned(), ErrorKind::AttemptTimeout, false),
            Some(Ok(reply)) => panic!("{}: {reply:?}", self.fault),
        };
        assert_eq!(error.report().attempts()[0].code(), seen.1.into(), "{}", self.fault);
        assert_settled(&channel);
        let is_isolated = !channel.usable(&server(self.address));

        // Longer than the test: it is still isolated when the test looks.
        let times = SpanRange::of_millis::<3_600_000, 3_600_000>();
        let isolation = IsolationOptions { times, ..IsolationOptions::DEFAULT };
        let failures = FailureOptions { failures: Bounded::of::<1>(), isolation };
        let breaker = BreakerOptions::ConsecutiveFailures(failures);
        // A breaker leaves a share of the servers, so there are others.
        let others = self.builder(runtime, &[self.address, self.good, refused()]);
        let channel = others.max_retry(0).without_health_checks().circuit_breaker(breaker).build().unwrap();
        let only = CallOptions { servers: Some(vec![server(self.address)]), ..CallOptions::new() };
        channel.call_with(get("/"), &only).await.unwrap_err();
        let counts = !channel.usable(&server(self.address));
        let blame = match (is_isolated, counts) {
            (true, _) => "isolated",
            (false, true) => "a failure",
            (false, false) => "no",
        };
        (seen.0, seen.1, seen.2, blame)
    }

    /// What a call does that meets the fault first.
    async fn call<R: Runtime>(&self, runtime: &R, request: http::Request<RequestBody>) -> &'static str {
        let channel = self.builder(runtime, &[self.address, self.good]).build().unwrap();
        let order = CallOptions { servers: Some(vec![server(self.address), server(self.good)]), ..CallOptions::new() };
        let result: Result<Reply<http::Response<Body>>, Error> = channel.call_with(request, &order).await;
        assert_settled(&channel);
        match result {
            Ok(reply) => {
                let answered = (reply.text().unwrap(), reply.report().attempts().len());
                assert_eq!(answered, ("good".to_owned(), 2), "{}", self.fault);
                "next server"
            }
            Err(error) => {
                assert_eq!((error.kind(), error.report().attempts().len()), ("failed", 1), "{}: {error}", self.fault);
                "fails"
            }
        }
    }

    /// Meets the fault in every way, and writes its line of the table.
    pub(super) async fn line<R: Runtime>(self, runtime: &R) -> String {
        let (error, kind, never_left, blame) = self.attempt(runtime).await;
        let (idempotent, other) = both(self.call(runtime, get("/")), self.call(runtime, post("/"))).await;
        Line { error, kind, never_left, blame, idempotent, other }.shown(self.fault)
    }
}

/// Meets faults. The docs must have the line of each one.
pub(super) async fn documented<R: Runtime>(runtime: &R, cases: impl IntoIterator<Item = Case>) {
    let mut missing = Vec::new();
    for case in cases {
        let line = case.line(runtime).await;
        if !TABLE.lines().any(|there| there == line) {
            missing.push(line);
        }
    }
    assert!(missing.is_empty(), "the docs need these lines:\n{}", missing.join("\n"));
}

impl Line {
    fn shown(&self, fault: &str) -> String {
        let Self { error, kind, never_left, blame, idempotent, other } = self;
        let left = if *never_left { "never" } else { "perhaps" };
        format!("| {fault} | {error} | `{kind:?}` | {left} | {blame} | {idempotent} | {other} |")
    }
}

/// An error as the table writes it.
fn variant(error: &HttpError) -> String {
    match error {
        HttpError::Connect(ConnectError::Timeout(step)) => format!("`Connect`: `Timeout`, `{step:?}`"),
        HttpError::Connect(ConnectError::Dial { .. }) => "`Connect`: `Dial`".to_owned(),
        HttpError::Connect(ConnectError::Tls { error, .. }) => format!("`Connect`: `Tls`, `{:?}`", error.fault()),
        HttpError::Reset(_) => "`Reset`".to_owned(),
        HttpError::Broken(_) => "`Broken`".to_owned(),
        HttpError::TooLarge { limit: MAX_BODY } => "`TooLarge`: `max_body`".to_owned(),
        HttpError::TooLarge { limit: MAX_DECODED_BODY } => "`TooLarge`: `max_decoded_body`".to_owned(),
        HttpError::Protocol(ProtocolError::Wrong(Fault { error, .. })) => {
            let name = match error {
                DecodeError::HeadTooLarge { .. } => "HeadTooLarge",
                DecodeError::TooManyHeaders { .. } => "TooManyHeaders",
                DecodeError::BadHead => "BadHead",
                DecodeError::Tls => "Tls",
                other => panic!("{other:?}"),
            };
            format!("`Protocol`: `{name}`")
        }
        other => panic!("{other:?}"),
    }
}

fn good() -> TestServer {
    TestServer::answering(|_| ok("good"))
}

pub async fn h1_faults_of_connecting<R: Runtime>(runtime: R) {
    let closed = Case { address: refused(), ..Case::new("the port is closed", good()) };
    documented(&runtime, [closed]).await;
    #[cfg(target_os = "linux")]
    {
        let (address, full) = full_backlog();
        let swallowed = Case::new("the SYN is not answered (full backlog)", good());
        documented(&runtime, [Case { address, _server: Box::new(full), ..swallowed }.silent()]).await;
    }
}

/// An address whose packets are not answered: the only place in its queue is taken, and no connection is accepted.
#[cfg(target_os = "linux")]
fn full_backlog() -> (SocketAddr, (socket2::Socket, TcpStream)) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let first = TcpStream::connect(address).unwrap();
    let second = TcpStream::connect_timeout(&address, Duration::from_millis(50)).unwrap_err();
    assert_eq!(second.kind(), std::io::ErrorKind::TimedOut);
    (address, (listener, first))
}

pub async fn c6_faults_of_tls<R: Runtime>(runtime: R) {
    let (authority, unknown) = (Authority::create(), Authority::create());
    let serve = |config| {
        TlsServer::start(config, |stream| {
            while let Some(head) = head(stream) {
                if head.starts_with("POST") {
                    stream.read_exact(&mut [0; "text".len()]).unwrap();
                }
                stream.write_all(ok("good").as_bytes()).unwrap();
            }
        })
    };
    let secured = |fault, address| {
        let good = serve(authority.server(authority.sign(NAME, 1), false)).address;
        let tls = Some(authority.client().build().unwrap());
        Case { fault, address, good, tls, patience: TIMEOUT, _server: Box::new(()) }
    };
    let expired = serve(authority.server(authority.sign(NAME, -1), false));
    let named = serve(authority.server(authority.sign("other.test", 1), false));
    let signed = serve(unknown.server(unknown.sign(NAME, 1), false));
    let garbage = TestServer::start(|connection| {
        connection.touched();
        connection.send("220 mail.test ESMTP\r\n");
        connection.until_closed();
    });
    let silent = TestServer::start(Connection::until_closed);
    let cases = [
        secured("an expired certificate", expired.address),
        secured("a certificate for another name", named.address),
        secured("a certificate of an unknown root", signed.address),
        secured("an answer that is not TLS", garbage.address),
        secured("no answer to the TLS handshake", silent.address).silent(),
    ];
    documented(&runtime, cases).await;
}

pub async fn t1_faults_of_answers_that_break_off<R: Runtime>(runtime: R) {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
    const IN_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-le";
    const SHORT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";

    // What is sent, and what follows.
    type End = fn(&mut Connection);
    let (reset, close, wait): (End, End, End) = (Connection::reset, |_| {}, Connection::until_closed);
    let half_close: End = |connection| {
        connection.half_close();
        connection.until_closed();
    };
    let case = |fault, part: &'static str, end: End| {
        Case::scripted(fault, move |connection| {
            if connection.request().is_some() {
                connection.send(part);
                end(connection);
            }
        })
    };
    let cases = [
        case("a reset before the head", "", reset),
        case("a reset in the head", IN_HEAD, reset),
        case("a reset after the head", HEAD, reset),
        case("a close before the head", "", close),
        case("a close in the head", IN_HEAD, close),
        case("half-closed before the head", "", half_close),
        case("a body that is shorter than announced", SHORT, close),
        case("frozen: accepts, and never answers", "", wait).silent(),
        case("frozen in the body", SHORT, wait).silent(),
    ];
    documented(&runtime, cases).await;
}

pub async fn p1_faults_of_answers_over_a_limit<R: Runtime>(runtime: R) {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

    let endless = |fault, first: &'static str, again: &'static str| {
        Case::scripted(fault, move |connection| {
            connection.request();
            connection.send(first);
            let much = again.repeat(64 * 1024 / again.len());
            while connection.send(&much) {}
        })
    };
    let answer = |fault, answer: String| Case::new(fault, TestServer::answering(move |_| answer.clone()));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 0\r\n\r\n", "b".repeat(1 << 20));
    let cases = [
        endless("a head without an end", "HTTP/1.1 200 OK\r\na: ", "b"),
        endless("header fields without an end", "HTTP/1.1 200 OK\r\n", "a: b\r\n"),
        endless("chunks without an end", CHUNKED, "5\r\nhello\r\n"),
        endless("a body without an end", "HTTP/1.1 200 OK\r\n\r\n", "x"),
        answer("a header of 1 MiB", long),
        answer("an answer that is not HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned()),
    ];
    documented(&runtime, cases).await;
}
