//! How connections are made: Unix sockets, resolvers, URLs, local addresses.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hedge_core::bounded::BoundedSpan;
use hedge_core::policy::AttemptError as _;
use hedge_net::http::HttpError;
use hedge_net::{
    BuildError, Channel, CheckOptions, ConnectError, ConnectOptionError, Endpoint, ErrorKind, Resolve, Runtime, Server,
    SocketOptions, UrlError,
};

use super::health::until;
use super::server::{TestServer, ok};
use super::{PATIENCE, assert_settled, get, list, refused};

/// The path of a Unix socket, which is removed at the end.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("hedge-{}-{number}.sock", std::process::id())))
    }

    /// Answers every request on it with its `Host`.
    fn serve(&self) {
        let listener = UnixListener::bind(&self.0).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while stream.read(&mut byte).is_ok_and(|read| read == 1) {
                        head.push(byte[0]);
                        if head.ends_with(b"\r\n\r\n") {
                            let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                            let host = text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
                            stream.write_all(ok(host).as_bytes()).unwrap();
                        }
                    }
                });
            }
        });
    }

    fn url(&self) -> String {
        format!("unix:{}", self.0.display())
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub async fn n1_a_unix_socket_is_a_server_like_any_other<R: Runtime>(runtime: R) {
    let path = SocketPath::new();
    path.serve();
    let tcp = TestServer::answering(|_| ok("tcp"));
    for servers in [path.url(), format!("list://{}", path.url()), format!("unix://{}", path.0.display())] {
        let channel = Channel::builder(runtime.clone(), servers).load_balancer("rr").timeout(PATIENCE).build().unwrap();
        for _ in 0..2 {
            let reply = channel.get("/").await.unwrap();
            assert_eq!(reply.text().unwrap(), "localhost", "the Host of a server without one");
            assert_eq!(reply.answered_by().to_string(), path.url());
            let connection = reply.connection().unwrap();
            assert_eq!((&connection.remote, connection.local), (&Endpoint::Unix(Arc::from(&*path.0)), None), "W2");
        }
        assert_eq!((channel.transport().counters().opened, channel.transport().counters().reused), (1, 1));
        assert_settled(&channel);
    }
    let both = format!("list://{},{}", path.url(), tcp.address);
    let channel = Channel::builder(runtime, both).load_balancer("rr").timeout(PATIENCE).seed(1).build().unwrap();
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(channel.get("/").await.unwrap().text().unwrap());
    }
    answers.sort();
    assert_eq!(answers, ["localhost", "tcp"]);
}

pub async fn h1_a_unix_server_that_is_not_there_is_isolated_until_it_is<R: Runtime>(runtime: R) {
    let path = SocketPath::new();
    let server: Server = path.url().parse().unwrap();
    let checks = CheckOptions { interval: BoundedSpan::of_millis::<20>(), ..CheckOptions::DEFAULT };
    let channel = Channel::builder(runtime, path.url()).timeout(PATIENCE).health_checks(checks).build().unwrap();
    let error = channel.call(get("/")).await.unwrap_err();
    assert_eq!(error.report().attempts()[0].code(), ErrorKind::Refused.into(), "{error}");
    assert!(!channel.usable(&server));
    path.serve();
    until(|| channel.usable(&server)).await;
    assert!(channel.get("/").await.is_ok());
}

/// Resolves every name to these addresses.
struct Fixed(Vec<IpAddr>, Arc<AtomicUsize>);

impl Resolve for Fixed {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        if host == "unknown.test" {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such name"));
        }
        Ok(self.0.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
    }
}

pub async fn n4_the_resolver_of_the_program_is_asked_and_the_first_address_that_works_is_used<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok("here"));
    let asked = Arc::new(AtomicUsize::new(0));
    // Nothing listens at this port of the first address.
    let addresses = vec![IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77)), IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let channel = Channel::builder(runtime, format!("service.test:{}", there.address.port()))
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .resolver(Fixed(addresses, Arc::clone(&asked)))
        .build()
        .unwrap();
    for _ in 0..2 {
        let reply = channel.get("/").await.unwrap();
        assert_eq!(
            reply.connection().unwrap().remote,
            Endpoint::Tcp(there.address),
            "W2: the address that connected (C5)"
        );
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "once for each connection");
}

pub async fn h5_a_name_that_cannot_be_resolved_blames_no_server<R: Runtime>(runtime: R) {
    let channel = Channel::builder(runtime, "unknown.test:80")
        .timeout(PATIENCE)
        .resolver(Fixed(Vec::new(), Arc::default()))
        .max_retry(0)
        .build()
        .unwrap();
    for _ in 0..2 {
        let error = channel.call(get("/")).await.unwrap_err();
        let Some(Err(last)) = error.last() else { panic!("{error}") };
        assert_eq!(last.to_string(), "cannot resolve \"unknown.test\": no such name");
        assert!(last.local() && last.never_left());
        assert!(channel.usable(&"unknown.test:80".parse().unwrap()));
    }
}

pub async fn n4_an_http_url_names_one_server_and_the_path_before_every_other<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.head));
    let port = there.address.port();
    let asked = Arc::new(AtomicUsize::new(0));
    let channel = Channel::builder(runtime, format!("http://Service.test:{port}/api/v1/"))
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .resolver(Fixed(vec![Ipv4Addr::LOCALHOST.into()], asked))
        .build()
        .unwrap();
    let head = channel.get("/users?id=7").await.unwrap().text().unwrap();
    assert!(head.starts_with("GET /api/v1/users?id=7 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: Service.test:{port}\r\n")), "{head}");
    assert_eq!(channel.servers()[0].to_string(), format!("service.test:{port}"));
}

pub async fn n4_a_url_that_cannot_work_is_not_built<R: Runtime>(runtime: R) {
    for (url, expected) in [
        ("https://user:secret@example.com", UrlError::Credentials),
        ("http://example.com/?a=b", UrlError::Query),
        ("https://example.com:99999", UrlError::Port),
    ] {
        let error = Channel::builder(runtime.clone(), url).build().unwrap_err();
        assert_eq!(error, BuildError::Connecting(ConnectOptionError::Url(expected)));
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

pub async fn c8_connections_come_from_the_local_address<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let local = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let options = SocketOptions::new().local_address(local);
    let channel = list(&runtime, &[there.address]).socket_options(options).build().unwrap();
    let reply = channel.get("/").await.unwrap();
    assert_eq!(reply.connection().unwrap().local.map(|local| local.ip()), Some(local));
}

pub async fn w2_a_reply_tells_both_addresses<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let gone = refused();
    let channel = list(&runtime, &[gone, there.address]).build().unwrap();
    let reply = channel.get("/").await.unwrap();
    let connection = reply.connection().unwrap();
    assert_eq!(connection.remote, Endpoint::Tcp(there.address));
    assert!(connection.local.is_some_and(|local| local.port() != 0) && connection.tls.is_none());

    let channel = list(&runtime, &[gone]).build().unwrap();
    let error = channel.call(get("/")).await.unwrap_err();
    let Some(Err(HttpError::Connect(ConnectError::Dial { to, .. }))) = error.last() else { panic!("{error}") };
    assert_eq!(*to, Endpoint::Tcp(gone));
}
