//! TLS: what is checked, what is sent, and what the errors say.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hedge_core::bounded::BoundedSpan;
use hedge_core::policy::AttemptError as _;
use hedge_net::http::HttpError;
use hedge_net::{
    BuildError, Channel, CheckOptions, ConnectError, ConnectOptionError, ConnectStep, DangerousNoVerification,
    ErrorKind, Resolve, Runtime, Tls, TlsFault, TlsVersion, UrlError,
};

use super::health::until;
use super::server::{TestServer, ok};
use super::signal::Signal;
use super::tls_server::{Authority, TlsServer, head};
use super::{HttpBuilder, PATIENCE, assert_settled, get, list, post, server};

pub(crate) const NAME: &str = "server.test";

/// Resolves every name to loopback.
struct Loopback;

impl Resolve for Loopback {
    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![(Ipv4Addr::LOCALHOST, port).into()])
    }
}

/// A channel to a server of this name.
pub(crate) fn named<R: Runtime>(runtime: &R, address: SocketAddr, tls: Tls) -> HttpBuilder<R> {
    Channel::builder(runtime.clone(), format!("https://{NAME}:{}/api", address.port()))
        .tls(tls)
        .resolver(Loopback)
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .seed(1)
}

pub async fn c6_an_https_url_is_the_checked_name_the_sni_and_the_host<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let there = TlsServer::telling(authority.server(authority.sign(NAME, 1), false));
    let channel = named(&runtime, there.address, authority.client().build().unwrap()).build().unwrap();
    let reply = channel.get("/users").await.unwrap();
    let told = reply.text().unwrap();
    assert!(told.starts_with("Some(\"server.test\") Some(\"http/1.1\") GET /api/users HTTP/1.1\r\n"), "{told}");
    assert!(told.contains(&format!("host: {NAME}:{}\r\n", there.address.port())), "{told}");
    let tls = reply.connection().unwrap().tls.clone().unwrap();
    assert_eq!((tls.version, tls.alpn.as_deref()), (TlsVersion::V1_3, Some(&b"http/1.1"[..])), "W2");
    let url = format!("https://{NAME}/x");
    assert!(channel.call(get(&url)).await.is_ok(), "a request may name the scheme");
    assert_settled(&channel);
}

/// The roots of the system are read from a file, whose name the variable `SSL_CERT_FILE` has. A process reads them once. So
/// this test runs itself in a process of its own, with the variable.
pub async fn c6_the_roots_of_the_system_are_trusted_in_one_line<R: Runtime>(runtime: R) {
    const TEST: &str = "c6_the_roots_of_the_system_are_trusted_in_one_line";
    const SERVER: &str = "SYSTEM_ROOTS_SERVER";
    if let Ok(server) = std::env::var(SERVER) {
        let builder = Channel::builder(runtime, format!("https://{server}"));
        let channel = builder.timeout(PATIENCE).connect_timeout(PATIENCE).build().unwrap();
        let told = channel.get("/users").await.unwrap().text().unwrap();
        assert!(told.contains("GET /users HTTP/1.1"), "{told}");
        return;
    }
    let (authority, other) = (Authority::create(), Authority::create());
    let good = TlsServer::telling(authority.server(authority.sign("127.0.0.1", 1), false));
    let unknown = TlsServer::telling(other.server(other.sign("127.0.0.1", 1), false));
    let roots = Temporary::with("pem", &authority.root_pem);
    for (server, passes) in [(good.address, true), (unknown.address, false)] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.arg(TEST).env("SSL_CERT_FILE", &roots.0).env(SERVER, server.to_string()).output().unwrap();
        let printed = String::from_utf8_lossy(&child.stdout);
        assert_eq!(child.status.success(), passes, "{printed}");
        assert!(printed.contains(TEST), "the test of that name ran: {printed}");
        if !passes {
            assert!(printed.contains("UnknownRoot") || printed.contains("unknown"), "{printed}");
        }
    }
}

/// A file with this text, until the drop.
pub(crate) struct Temporary(pub(crate) PathBuf);

impl Temporary {
    pub(crate) fn with(extension: &str, text: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hedge-{}-{number}.{extension}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub async fn c6_tls_name_comes_before_the_host_of_the_server<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let there = TlsServer::telling(authority.server(authority.sign(NAME, 1), false));
    let own = TlsServer::telling(authority.server(authority.sign("127.0.0.1", 1), false));
    let tls = authority.client().build().unwrap();
    let channel = list(&runtime, &[there.address]).tls(tls.clone()).tls_name(NAME).build().unwrap();
    let told = channel.get("/").await.unwrap().text().unwrap();
    assert!(told.starts_with("Some(\"server.test\")"), "{told}");
    assert!(told.contains(&format!("host: {NAME}:{}\r\n", there.address.port())), "{told}");
    let channel = list(&runtime, &[own.address]).tls(tls).build().unwrap();
    let told = channel.get("/").await.unwrap().text().unwrap();
    assert!(told.starts_with("None "), "an ip address is checked, and not sent: {told}");
    assert!(told.contains(&format!("host: {}\r\n", own.address)), "{told}");

    let alone = list(&runtime, &[own.address]).tls_name(NAME).build().unwrap_err();
    assert_eq!(alone, BuildError::Connecting(ConnectOptionError::TlsNameAlone));
    let clear = Channel::builder(runtime, "http://a").tls(Authority::create().client().build().unwrap()).build();
    assert_eq!(clear.unwrap_err(), BuildError::Connecting(ConnectOptionError::Url(UrlError::Clear)));
}

pub async fn c6_an_error_says_which_check_failed<R: Runtime>(runtime: R) {
    let (authority, other) = (Authority::create(), Authority::create());
    let good = |identity| TlsServer::telling(authority.server(identity, false)).address;
    let mut old = authority.server(authority.sign(NAME, 1), false);
    old.alpn_protocols = vec![b"spdy/3".to_vec()];
    let not_tls = TestServer::start(|connection| {
        connection.touched();
        connection.send("HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n");
        connection.until_closed();
    });
    let closes = TestServer::start(|connection| {
        connection.touched();
    });
    for (address, fault) in [
        (good(authority.sign(NAME, -1)), TlsFault::Expired),
        (good(authority.sign("other.test", 1)), TlsFault::WrongName),
        (TlsServer::telling(other.server(other.sign(NAME, 1), false)).address, TlsFault::UnknownRoot),
        (not_tls.address, TlsFault::NotTls),
        (closes.address, TlsFault::Broken),
        (TlsServer::telling(old).address, TlsFault::Refused),
    ] {
        let tls = authority.client().build().unwrap();
        let channel = named(&runtime, address, tls).max_retry(1).build().unwrap();
        let error = channel.call(post("/")).await.unwrap_err();
        let Some(Err(last)) = error.last() else { panic!("{error}") };
        let HttpError::Connect(ConnectError::Tls { error: failed, .. }) = last else { panic!("{fault:?}: {last:?}") };
        assert_eq!(failed.fault(), fault, "{last}");
        assert_eq!((last.kind(), last.never_left(), last.local()), (ErrorKind::Refused, true, false), "{last}");
        assert!(!channel.usable(&channel.servers()[0]), "it is isolated, since a check would fail too (H1)");
        assert_settled(&channel);
    }
}

pub async fn c6_a_server_of_tls_that_is_called_in_clear_says_what_to_write<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let there = TlsServer::telling(authority.server(authority.sign(NAME, 1), false));
    let channel = list(&runtime, &[there.address]).max_retry(0).build().unwrap();
    let error = channel.get("/").await.unwrap_err().to_string();
    assert!(error.contains("the server expects tls; write https:// or set tls"), "{error}");
}

pub async fn c6_the_handshake_counts_in_the_connect_deadline<R: Runtime>(runtime: R) {
    let there = TestServer::start(super::server::Connection::until_closed);
    let tls = Authority::create().client().build().unwrap();
    let builder = named(&runtime, there.address, tls).max_retry(0);
    let channel = builder.connect_timeout(Duration::from_millis(500)).build().unwrap();
    let error = channel.call(get("/")).await.unwrap_err();
    let last = error.last();
    assert!(matches!(last, Some(Err(HttpError::Connect(ConnectError::Timeout(ConnectStep::Tls))))), "{error}");
    assert_eq!(error.report().attempts()[0].code(), ErrorKind::ConnectTimeout.into());
    there.closed.reached(1).await;
}

pub async fn c6_a_client_certificate_is_shown_when_it_is_asked_for<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let there = TlsServer::telling(authority.server(authority.sign(NAME, 1), true));
    let client = authority.sign("client.test", 1);
    let tls = authority.client().client_certificate(client.chain, client.key).build().unwrap();
    let channel = named(&runtime, there.address, tls).build().unwrap();
    assert!(channel.get("/").await.is_ok());

    // In TLS 1.3, the client is told only after its own handshake has succeeded.
    let tls = authority.client().build().unwrap();
    let channel = named(&runtime, there.address, tls).max_retry(0).build().unwrap();
    let error = channel.call(get("/")).await.unwrap_err();
    let Some(Err(last)) = error.last() else { panic!("{error}") };
    assert!(matches!(last.kind(), ErrorKind::Reset | ErrorKind::Broken), "{last:?}");
    let mut causes = String::new();
    let mut cause = std::error::Error::source(last);
    while let Some(next) = cause {
        causes += &format!("{next}; ");
        cause = next.source();
    }
    // The connection may be gone before it has taken the request.
    let is_told = causes.contains("the server refused");
    assert!(is_told || matches!(last, HttpError::Reset(_) | HttpError::Unsent(_)), "{last}: {causes}");
}

pub async fn c6_a_second_handshake_resumes_the_session<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let there = TlsServer::telling(authority.server(authority.sign(NAME, 1), false));
    let tls = authority.client().build().unwrap();
    let channel = named(&runtime, there.address, tls.clone()).max_idle_per_server(0).build().unwrap();
    let resumed = async |channel: &super::HttpChannel<R>| {
        channel.get("/").await.unwrap().connection().unwrap().tls.clone().unwrap().resumed
    };
    assert!(!resumed(&channel).await);
    assert!(resumed(&channel).await);
    let second = named(&runtime, there.address, tls).build().unwrap();
    assert!(resumed(&second).await, "channels with the same settings share sessions");
    assert_eq!(there.accepted.count(), 3);
}

pub async fn c6_a_tls_connection_is_kept_and_used_again<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let there = TlsServer::telling(authority.server(authority.sign(NAME, 1), false));
    let channel = named(&runtime, there.address, authority.client().build().unwrap()).build().unwrap();
    let long = "x".repeat(100_000);
    for _ in 0..3 {
        let request = http::Request::get("/").header("x-long", &long[..20_000]).body(().into()).unwrap();
        let told = channel.call(request).await.unwrap().text().unwrap();
        assert!(told.contains(&long[..20_000]), "more than one record each way");
    }
    assert_eq!(there.accepted.count(), 1);
    assert_eq!(channel.transport().counters().reused, 2);
}

pub async fn t1_a_body_that_is_cut_off_is_no_answer<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    for says_so in [true, false] {
        let there = TlsServer::start(authority.server(authority.sign(NAME, 1), false), move |stream| {
            head(stream);
            // The body ends with the connection.
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").unwrap();
            if says_so {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
            // So that the close is no reset, the client closes first or this side has nothing unread.
            stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
            while head(stream).is_some() {}
        });
        let channel = named(&runtime, there.address, authority.client().build().unwrap()).max_retry(0).build().unwrap();
        let result = channel.call(get("/")).await;
        if says_so {
            assert_eq!(result.unwrap().text().unwrap(), "half");
        } else {
            let error = result.unwrap_err();
            let Some(Err(last)) = error.last() else { panic!("{error}") };
            assert_eq!(last.kind(), ErrorKind::Broken, "{last:?}");
        }
    }
}

pub async fn h1_checks_of_a_tls_channel_include_the_handshake<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let config = Arc::new(authority.server(authority.sign("127.0.0.1", 1), false));
    let (speaks, checked) = (Arc::new(AtomicBool::new(false)), Signal::new());
    let (now, seen) = (Arc::clone(&speaks), checked.clone());
    let there = TestServer::start(move |connection| {
        if now.load(Ordering::Acquire) {
            connection.secured(Arc::clone(&config), |stream| {
                while head(stream).is_some() {
                    stream.write_all(ok("well").as_bytes()).unwrap();
                }
            });
        } else {
            connection.touched();
            connection.send("no\r\n");
            seen.raise();
        }
    });
    let checks = CheckOptions { interval: BoundedSpan::of_millis::<20>(), ..CheckOptions::DEFAULT };
    let channel = list(&runtime, &[there.address]).tls(authority.client().build().unwrap());
    let channel = channel.health_checks(checks).max_retry(0).build().unwrap();
    channel.call(get("/")).await.unwrap_err();
    checked.reached(3).await;
    assert!(!channel.usable(&server(there.address)), "that TCP connects is not enough");
    speaks.store(true, Ordering::Release);
    until(|| channel.usable(&server(there.address))).await;
    assert_eq!(channel.get("/").await.unwrap().text().unwrap(), "well");
}

pub async fn c6_no_verification_must_be_asked_for_by_its_name<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let there = TlsServer::telling(authority.server(authority.sign("other.test", -1), false));
    let tls = Tls::builder().trust_anyone(DangerousNoVerification).build().unwrap();
    let channel = named(&runtime, there.address, tls).build().unwrap();
    assert!(channel.get("/").await.is_ok());
}
