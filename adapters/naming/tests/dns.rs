//! DNS: Debian's dnsmasq, and a name server that misbehaves.
#![cfg(all(unix, feature = "dns"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::future_not_send,
    reason = "a test may stop at the first surprise"
)]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{Folder, next, on_both, open};
use hedge_fleet::{Naming as _, NamingErrorKind, Schemes};
use hedge_link::Runtime;
use hedge_naming::{LookupTimeout, Sources};
use hedge_tokio::hedge_net::Channel;

on_both! {
    n1_dns_gives_every_address_of_both_families_and_follows_the_time_to_live
    n1_a_truncated_answer_is_asked_for_by_tcp
    n1_srv_gives_ports_weights_and_priorities
    n1_srv_may_have_many_targets
    n2_a_name_that_does_not_exist_is_not_found_and_its_return_is_a_list
    n1_a_channel_takes_its_servers_from_dns
    n1_the_files_of_the_system_are_the_default
    n1_an_address_needs_no_name_server
    n2_a_name_server_that_fails_is_an_error
    n2_a_name_server_that_is_silent_is_late
    n1_an_answer_to_another_question_is_ignored
    n2_a_name_server_that_is_lost_is_made_up_for_by_the_next_one
    n2_a_name_server_that_drops_questions_for_ipv6_is_waited_for_two_seconds
    n2_targets_without_an_answer_do_not_hold_up_the_others
    n2_a_target_that_failed_is_looked_up_again_soon
    n1_a_password_in_a_url_is_never_shown
}

/// Longer than any call takes here, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// dnsmasq, on a port of loopback. It is ended with the test.
struct Dnsmasq {
    process: Child,
    folder: Folder,
    address: SocketAddr,
}

impl Dnsmasq {
    /// Starts it with these lines of a hosts file, and these options.
    fn start(hosts: &str, options: &[&str]) -> Self {
        let folder = Folder::new();
        folder.write("hosts", hosts);
        // The port is free for both protocols now. If another program takes it before dnsmasq does, another one is tried.
        for _ in 0..20 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            if UdpSocket::bind(address).is_err() {
                continue;
            }
            drop(listener);
            let mut command = Command::new(if std::path::Path::new("/usr/sbin/dnsmasq").exists() {
                "/usr/sbin/dnsmasq"
            } else {
                "dnsmasq"
            });
            command.args([
                "--keep-in-foreground",
                "--log-facility=-",
                "--no-resolv",
                "--no-hosts",
                "--conf-file=/dev/null",
            ]);
            command.args(["--user=", "--group=", "--pid-file=", "--listen-address=127.0.0.1", "--bind-interfaces"]);
            command.args(["--local=/test/", "--local-ttl=1"]);
            command.arg(format!("--port={}", address.port()));
            command.arg(format!("--addn-hosts={}", folder.path("hosts").display()));
            let process =
                command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
            let mut process = process.unwrap_or_else(|error| panic!("cannot start dnsmasq: {error}; run ci/install"));
            let mut log = BufReader::new(process.stderr.take().unwrap());
            let mut line = String::new();
            // It has read its hosts when it says so.
            while log.read_line(&mut line).unwrap() > 0 && !line.contains("read /") {}
            if line.contains("read /") {
                // Its log must not fill up.
                thread::spawn(move || log.lines().for_each(drop));
                return Self { process, folder, address };
            }
            process.wait().unwrap();
            assert!(line.contains("in use"), "dnsmasq: {line}");
        }
        panic!("no free port");
    }

    /// Replaces the hosts.
    fn hosts(&self, hosts: &str) {
        self.folder.write("hosts", hosts);
        let told = Command::new("sh").arg("-c").arg(format!("kill -HUP {}", self.process.id())).status().unwrap();
        assert!(told.success());
    }

    fn schemes<R: Runtime>(&self, runtime: &R) -> Schemes {
        Sources::new(runtime.clone()).name_servers([self.address]).schemes()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn n1_dns_gives_every_address_of_both_families_and_follows_the_time_to_live<R: Runtime>(runtime: R) {
    let server = Dnsmasq::start("10.0.0.1 a.test\n10.0.0.2 a.test\nfd00::1 a.test\n", &[]);
    let mut naming = open(&server.schemes(&runtime), "dns://a.test:80");
    assert_eq!(next(&mut naming).await, ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]);
    server.hosts("10.0.0.2 a.test\n10.0.0.3 a.test\n");
    assert_eq!(next(&mut naming).await, ["10.0.0.2:80", "10.0.0.3:80"]);
}

async fn n1_a_truncated_answer_is_asked_for_by_tcp<R: Runtime>(runtime: R) {
    let hosts: String = (0..250).map(|number| format!("10.0.0.{number} many.test\n")).collect();
    let server = Dnsmasq::start(&hosts, &[]);
    let mut naming = open(&server.schemes(&runtime), "dns://many.test:80");
    assert_eq!(next(&mut naming).await.len(), 250, "4 KB do not fit into a datagram");
}

async fn n1_srv_gives_ports_weights_and_priorities<R: Runtime>(runtime: R) {
    let services = [
        "--srv-host=_http._tcp.test,one.test,8001,10,5",
        "--srv-host=_http._tcp.test,two.test,8002,20,0",
        "--srv-host=_http._tcp.test,one.test,8003,10,1",
        "--srv-host=_http._tcp.test,gone.test,8004,10,1",
        "--srv-host=_none._tcp.test",
    ];
    let server = Dnsmasq::start("10.0.0.1 one.test\nfd00::1 one.test\n10.0.0.2 two.test\n", &services);
    let schemes = server.schemes(&runtime);
    let mut naming = open(&schemes, "srv://_http._tcp.test");
    assert_eq!(
        next(&mut naming).await,
        [
            "10.0.0.1:8001 weight=5 priority=10",
            "10.0.0.1:8003 weight=1 priority=10",
            "10.0.0.2:8002 weight=1 priority=20",
            "[fd00::1]:8001 weight=5 priority=10",
            "[fd00::1]:8003 weight=1 priority=10",
        ]
    );
    assert!(next(&mut open(&schemes, "srv://_none._tcp.test")).await.is_empty(), "there is no such service");
    let error = open(&schemes, "srv://_other._tcp.test").next().await.unwrap_err();
    assert_eq!((error.kind(), error.place()), (NamingErrorKind::NotFound, Some("SRV of _other._tcp.test")));
    for (url, text) in [
        ("srv://a.test:80", "has a port; write srv://_service._tcp.name, since the records say the ports"),
        ("srv://10.0.0.1", "is an address; write srv://_service._tcp.name"),
        ("srv://", "not a host name; write letters, digits, '-', '_' and '.', as in example.com:80"),
    ] {
        assert_eq!(schemes.open(url).unwrap_err().to_string(), format!("{url}: not valid: {text}"));
    }
}

async fn n1_srv_may_have_many_targets<R: Runtime>(runtime: R) {
    let hosts: String = (0..60).map(|number| format!("10.0.0.{number} host{number}.test\n")).collect();
    let service = |number: u32| format!("--srv-host=_http._tcp.test,host{number}.test,80,1,1");
    let services: Vec<String> = (0..60).map(service).collect();
    let server = Dnsmasq::start(&hosts, &services.iter().map(|service| &**service).collect::<Vec<_>>());
    assert_eq!(next(&mut open(&server.schemes(&runtime), "srv://_http._tcp.test")).await.len(), 60);
}

async fn n2_a_name_that_does_not_exist_is_not_found_and_its_return_is_a_list<R: Runtime>(runtime: R) {
    let server = Dnsmasq::start("10.0.0.1 a.test\n", &[]);
    let mut naming = open(&server.schemes(&runtime), "dns://b.test:80");
    let error = naming.next().await.unwrap_err();
    assert_eq!((error.kind(), error.name()), (NamingErrorKind::NotFound, "dns://b.test:80"));
    server.hosts("10.0.0.2 b.test\n");
    loop {
        // dnsmasq may still be reading its hosts.
        if let Ok(update) = naming.next().await {
            assert_eq!(common::servers(Ok(update)).0, ["10.0.0.2:80"]);
            break;
        }
    }
}

async fn n1_the_files_of_the_system_are_the_default<R: Runtime>(runtime: R) {
    let servers = next(&mut open(&hedge_naming::schemes(&runtime), "dns://localhost:80")).await;
    assert!(servers.contains(&"127.0.0.1:80".to_owned()), "{servers:?}");
}

async fn n1_an_address_needs_no_name_server<R: Runtime>(runtime: R) {
    let schemes = Sources::new(runtime.clone()).name_servers([]).schemes();
    assert_eq!(next(&mut open(&schemes, "dns://10.0.0.1:80")).await, ["10.0.0.1:80"]);
    for (url, text) in [
        ("dns://a", "port missing; write host:port"),
        ("dns://a:1/x", "port is not a number; it must be in [0, 65535]"),
        ("dns://unix:/a", "is a unix socket; write dns://host:port"),
    ] {
        assert_eq!(schemes.open(url).unwrap_err().to_string(), format!("{url}: not valid: {text}"));
    }
    let error = open(&schemes, "dns://a.test:80").next().await.unwrap_err();
    assert_eq!(error.kind(), NamingErrorKind::Unreachable, "{error}");
}

/// A name server that answers each question as it is told to. It is given the question, and answers with datagrams.
fn answering(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            for datagram in answer(&buffer[..length]) {
                socket.send_to(&datagram, from).unwrap();
            }
        }
    });
    address
}

/// The question's header and question alone, as an answer with these flags and so many records.
fn reply(question: &[u8], flags: [u8; 2], records: u8) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let counts = [0, 1, 0, records, 0, 0, 0, 0];
    [&question[..2], &flags, &counts, &question[12..end]].concat()
}

/// An answer with one address, if the question is for IPv4. Else there is none.
fn address(question: &[u8], ip: [u8; 4]) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    if question[end..end + 2] != [0, 1] {
        return reply(question, [0x81, 0x80], 0);
    }
    let record = [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4][..], &ip].concat();
    [reply(question, [0x81, 0x80], 1), record].concat()
}

async fn n2_a_name_server_that_fails_is_an_error<R: Runtime>(runtime: R) {
    for (code, kind) in [(2, NamingErrorKind::Unreachable), (5, NamingErrorKind::Denied)] {
        let server = answering(move |question| vec![reply(question, [0x81, 0x80 | code], 0)]);
        let schemes = Sources::new(runtime.clone()).name_servers([server]).schemes();
        let error = open(&schemes, "dns://a.test:80").next().await.unwrap_err();
        assert_eq!((error.kind(), error.place()), (kind, Some("A of a.test")), "{error}");
    }
}

async fn n2_a_name_server_that_is_silent_is_late<R: Runtime>(runtime: R) {
    let server = answering(|_| Vec::new());
    let schemes = Sources::new(runtime.clone()).name_servers([server]).schemes();
    let start = runtime.now();
    let error = open(&schemes, "dns://a.test:80").next().await.unwrap_err();
    assert_eq!(error.kind(), NamingErrorKind::TimedOut, "{error}");
    let took = runtime.now().since(start);
    assert!(took >= Duration::from_secs(2), "{took:?}");
    // With a shorter limit, the error comes sooner than after the three requests of 2 s each.
    let sources = Sources::new(runtime.clone()).name_servers([server]);
    let schemes = sources.lookup_timeout(LookupTimeout::of_millis::<300>()).schemes();
    for url in ["dns://a.test:80", "srv://_a._tcp.a.test"] {
        let start = runtime.now();
        let error = open(&schemes, url).next().await.unwrap_err();
        assert_eq!(error.kind(), NamingErrorKind::TimedOut, "{error}");
        let took = runtime.now().since(start);
        assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&took), "{url}: {took:?}");
    }
}

async fn n1_an_answer_to_another_question_is_ignored<R: Runtime>(runtime: R) {
    let server = answering(|question| {
        let mut other_id = address(question, [10, 0, 0, 66]);
        other_id[0] ^= 0x55;
        let mut other_name = address(question, [10, 0, 0, 66]);
        other_name[13] = b'z';
        let garbage = [&question[..2], b"\xff\xff\xff\xff"].concat();
        let late = address(question, [10, 0, 0, 1]);
        vec![vec![0], other_id, other_name, late, garbage]
    });
    let schemes = Sources::new(runtime.clone()).name_servers([server]).schemes();
    assert_eq!(next(&mut open(&schemes, "dns://a.test:80")).await, ["10.0.0.1:80"]);
    let garbage = answering(|question| vec![[&question[..2], b"\xff\xff\xff\xff"].concat()]);
    let schemes = Sources::new(runtime.clone()).name_servers([garbage]).schemes();
    let error = open(&schemes, "dns://a.test:80").next().await.unwrap_err();
    assert!(matches!(error.kind(), NamingErrorKind::Invalid | NamingErrorKind::Unreachable), "{error}");
}

async fn n2_a_name_server_that_is_lost_is_made_up_for_by_the_next_one<R: Runtime>(runtime: R) {
    let (silent, good) = (answering(|_| Vec::new()), answering(|question| vec![address(question, [10, 0, 0, 1])]));
    let schemes = Sources::new(runtime.clone()).name_servers([silent, good]).schemes();
    assert_eq!(next(&mut open(&schemes, "dns://a.test:80")).await, ["10.0.0.1:80"]);
}

/// The name and the type of a question.
fn asked(question: &[u8]) -> (&[u8], u8) {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap();
    (&question[12..end], question[end + 2])
}

async fn n2_a_name_server_that_drops_questions_for_ipv6_is_waited_for_two_seconds<R: Runtime>(runtime: R) {
    for dropped in [1, 28] {
        let server = answering(move |question| {
            if asked(question).1 == dropped {
                return Vec::new();
            }
            let (kind, ip) =
                if dropped == 28 { (1, vec![10, 0, 0, 1]) } else { (28, [&[0xfd], &[0; 15][..]].concat()) };
            let record =
                [&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, u8::try_from(ip.len()).unwrap()], &ip[..]].concat();
            vec![[reply(question, [0x81, 0x80], 1), record].concat()]
        });
        let schemes = Sources::new(runtime.clone()).name_servers([server]).schemes();
        let start = runtime.now();
        let expected = if dropped == 28 { "10.0.0.1:80" } else { "[fd00::]:80" };
        assert_eq!(next(&mut open(&schemes, "dns://a.test:80")).await, [expected]);
        let took = runtime.now().since(start);
        assert!(took < Duration::from_secs(5), "three tries of 2 s were waited for: {took:?}");
    }
}

/// An answer with SRV records, whose targets are `t00.test`, `t01.test` and so on.
fn services(question: &[u8], numbers: std::ops::Range<u8>) -> Vec<u8> {
    let service = |number: u8| {
        let target = [&[3, b't', b'0' + number / 10, b'0' + number % 10, 4][..], b"test\0"].concat();
        [&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 16, 0, 1, 0, 1, 0, 80][..], &target].concat()
    };
    let count = u8::try_from(numbers.len()).unwrap();
    [reply(question, [0x81, 0x80], count), numbers.flat_map(service).collect()].concat()
}

async fn n2_targets_without_an_answer_do_not_hold_up_the_others<R: Runtime>(runtime: R) {
    // More targets are dead than are looked up at the same time.
    let server = answering(|question| {
        let (name, kind) = asked(question);
        if kind == 33 {
            return vec![services(question, 0..20)];
        }
        let is_alive = [&b"17"[..], b"18", b"19"].contains(&&name[2..4]);
        if is_alive { vec![address(question, [10, 0, 0, name[3] - b'0'])] } else { Vec::new() }
    });
    let schemes = Sources::new(runtime.clone()).name_servers([server]).schemes();
    let expected = [7, 8, 9].map(|last| format!("10.0.0.{last}:80 weight=1 priority=1"));
    assert_eq!(next(&mut open(&schemes, "srv://_http._tcp.test")).await, expected);
}

/// A server of HTTP that answers every request with `here`.
fn http_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere").unwrap();
                    }
                }
            });
        }
    });
    address
}

async fn n1_a_channel_takes_its_servers_from_dns<R: Runtime>(runtime: R) {
    let (server, there) = (Dnsmasq::start("127.0.0.1 a.test\n", &[]), http_server());
    let builder = Channel::builder(runtime.clone(), format!("dns://a.test:{}", there.port()));
    let builder = builder.schemes(server.schemes(&runtime)).load_balancer("rr");
    let channel = builder.timeout(PATIENCE).connect_timeout(PATIENCE).build().unwrap();
    assert_eq!(channel.get("/").await.unwrap().text().unwrap(), "here");
    // The schemes of the build, without options.
    let builder = Channel::builder(runtime.clone(), format!("dns://{there}")).load_balancer("rr");
    let builder = builder.timeout(PATIENCE).connect_timeout(PATIENCE);
    assert_eq!(builder.build().unwrap().get("/").await.unwrap().text().unwrap(), "here");
    let error = Channel::builder(runtime, "srv://_http._tcp.test").build().unwrap_err().to_string();
    assert!(error.starts_with("\"srv://_http._tcp.test\" needs a load balancer"), "{error}");
}

async fn n2_a_target_that_failed_is_looked_up_again_soon<R: Runtime>(runtime: R) {
    let is_back = Arc::new(AtomicBool::new(false));
    let known = Arc::clone(&is_back);
    let server = answering(move |question| match asked(question) {
        (_, 33) => vec![services(question, 1..3)],
        (b"\x03t02\x04test", _) if !known.load(Ordering::Relaxed) => vec![reply(question, [0x81, 0x82], 0)],
        (name, _) => vec![address(question, [10, 0, 0, name[3] - b'0'])],
    });
    let schemes = Sources::new(runtime.clone()).name_servers([server]).schemes();
    let mut naming = open(&schemes, "srv://_http._tcp.test");
    assert_eq!(next(&mut naming).await, ["10.0.0.1:80 weight=1 priority=1"]);
    is_back.store(true, Ordering::Relaxed);
    let start = runtime.now();
    assert_eq!(next(&mut naming).await.len(), 2);
    let took = runtime.now().since(start);
    assert!(took < Duration::from_secs(30), "the records are valid for 60 s: {took:?}");
}

async fn n1_a_password_in_a_url_is_never_shown<R: Runtime>(runtime: R) {
    for url in ["etcd://me:secret@h", "dns://me:se/secret@h:1", "http://me:secret@h", "nothing://me:secret@h"] {
        let builder = Channel::builder(runtime.clone(), url).load_balancer("rr");
        let shown = format!("{builder:?}");
        assert!(shown.starts_with("Builder") && !shown.contains("secret"), "{shown}");
        let error = builder.build().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
    let shown = format!("{:?}", Channel::builder(runtime, "dns://a.test:1"));
    assert!(shown.contains("dns://a.test:1"), "{shown}");
}
