//! What servers answer that are broken or mean harm. Each source gives an error that names the place, in bounded time and
//! memory.

use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hedge_fleet::{Address, BoxNaming, Naming as _, NamingError, NamingErrorKind, Update};
use hedge_link::{Credential, Runtime};
use hedge_naming::{Consul, Etcd, HttpOptions, Kubernetes, RemoteFile};
use serde_json::json;

use super::authority::Authority;
use super::scripted::{Request, Scripted, Then, answer};

type Script = fn(&Request, &mut dyn Write) -> Then;

#[derive(Clone, Copy)]
struct Limits {
    bytes: usize,
    time: Duration,
}

/// Enough time for any answer that comes.
const SMALL: Limits = Limits { bytes: 100_000, time: Duration::from_secs(30) };
/// Not much time.
const SHORT: Limits = Limits { bytes: 100_000, time: Duration::from_secs(1) };

/// One source, which asks a server of this script.
async fn error_of<R: Runtime>(runtime: &R, source: &str, script: Script, limits: Limits) -> (NamingError, Scripted) {
    let authority = Authority::create();
    let server =
        if source == "kubernetes" { Scripted::tls(authority.server(), script) } else { Scripted::plain(script) };
    let (runtime, address) = (runtime.clone(), server.address);
    let http = HttpOptions::new().max_answer(limits.bytes).answer_timeout(limits.time);
    let mut naming: BoxNaming = match source {
        "etcd" => Etcd::new(runtime).http(http).open(&format!("{address}/x")),
        "consul" => Consul::new(runtime).http(http).open(&format!("{address}/x")),
        "remotefile" => RemoteFile::new(runtime).http(http).open(&format!("{address}/x")),
        _ => {
            let kubernetes = Kubernetes::new(runtime).http(http).api_server(Address::Socket(address));
            let roots: Arc<[u8]> = authority.pem.as_bytes().into();
            kubernetes.token(Credential::new("x")).root_pem(roots).open("ns/x:80")
        }
    }
    .unwrap();
    let error = naming.next().await.unwrap_err();
    assert_eq!(error.place(), Some(address.to_string().as_str()), "{source}: {error}");
    (error, server)
}

/// Every source must give an error of this kind with this text.
async fn all<R: Runtime>(runtime: &R, script: Script, kind: NamingErrorKind, text: &str) {
    let limits = if kind == NamingErrorKind::TimedOut { SHORT } else { SMALL };
    for source in ["etcd", "consul", "kubernetes", "remotefile"] {
        let (error, _server) = error_of(runtime, source, script, limits).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

pub async fn p1_what_is_not_http_is_an_error<R: Runtime>(runtime: R) {
    let script: Script = |_, out| {
        let _ = out.write_all(b"\x00\xff what is this?\r\n\r\n");
        Then::Close
    };
    all(&runtime, script, NamingErrorKind::Unreachable, "invalid HTTP").await;
}

pub async fn p1_a_connection_that_ends_early_is_an_error<R: Runtime>(runtime: R) {
    all(&runtime, |_, _| Then::Close, NamingErrorKind::Unreachable, "").await;
    let script: Script = |_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n[");
        Then::Close
    };
    all(&runtime, script, NamingErrorKind::Unreachable, "").await;
}

pub async fn p1_a_head_has_a_limit<R: Runtime>(runtime: R) {
    let script: Script = |_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        while out.write_all(&[b'x'; 4096]).is_ok() {}
        Then::Close
    };
    all(&runtime, script, NamingErrorKind::Unreachable, "too large").await;
}

pub async fn p1_a_body_has_a_limit<R: Runtime>(runtime: R) {
    let announced: Script = |_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n");
        Then::Keep
    };
    all(&runtime, announced, NamingErrorKind::Invalid, "the answer is larger than 100000 bytes").await;
    let endless: Script = |_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while out.write_all(format!("1000\r\n{}\r\n", "x".repeat(4096)).as_bytes()).is_ok() {}
        Then::Close
    };
    all(&runtime, endless, NamingErrorKind::Invalid, "the answer is larger than 100000 bytes").await;
}

pub async fn p1_an_answer_has_a_time_limit<R: Runtime>(runtime: R) {
    let script: Script = |_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n");
        // Always something, never enough.
        while out.write_all(b" ").and_then(|()| out.flush()).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
        Then::Close
    };
    all(&runtime, script, NamingErrorKind::TimedOut, "the answer did not come in time").await;
    let interim: Script = |_, out| {
        while out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {}
        Then::Close
    };
    let (error, _server) = error_of(&runtime, "consul", interim, SHORT).await;
    assert_eq!(error.kind(), NamingErrorKind::TimedOut, "{error}");
}

pub async fn p1_another_content_is_an_error<R: Runtime>(runtime: R) {
    const INDEX: &str = "x-consul-index: 1\r\n";
    let html: Script = |_, out| answer(out, "200 OK", INDEX, "<html>\u{7f}not what you think</html>");
    let deep: Script = |_, out| answer(out, "200 OK", INDEX, &"[".repeat(90_000));
    let other: Script = |_, out| answer(out, "200 OK", INDEX, "{\"kvs\":7,\"items\":{}}");
    for source in ["etcd", "consul", "kubernetes"] {
        for script in [html, deep, other] {
            let (error, _server) = error_of(&runtime, source, script, SMALL).await;
            assert_eq!(error.kind(), NamingErrorKind::Invalid, "{error}");
            assert!(error.to_string().chars().all(|char| !char.is_control()), "{error}");
        }
    }
    let binary: Script = |_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe");
        Then::Keep
    };
    // As in a local file, a line is bad, and not the list.
    let server = Scripted::plain(binary);
    let mut naming = RemoteFile::new(runtime).open(&format!("{}/x", server.address)).unwrap();
    let Ok(Update::Reset { servers, rejected }) = naming.next().await else { panic!("no list") };
    assert_eq!((servers.len(), rejected.len()), (0, 1));
    assert!(rejected[0].1.to_string().contains("not valid UTF-8"), "{rejected:?}");
}

pub async fn p1_a_list_of_a_million_is_refused<R: Runtime>(runtime: R) {
    let etcd: Script = |_, out| answer(out, "200 OK", "", &format!("{{\"kvs\":[{}{{}}]}}", "{},".repeat(1_000_000)));
    let consul: Script = |_, out| {
        let body = format!("[{}{{\"Service\":{{}}}}]", "{\"Service\":{}},".repeat(1_000_000));
        answer(out, "200 OK", "x-consul-index: 1\r\n", &body)
    };
    let kubernetes: Script =
        |_, out| answer(out, "200 OK", "", &format!("{{\"items\":[{}{{}}]}}", "{},".repeat(1_000_000)));
    let file: Script = |_, out| answer(out, "200 OK", "", &"10.0.0.1:80\n".repeat(1_000_000));
    for (source, script) in [("etcd", etcd), ("consul", consul), ("kubernetes", kubernetes), ("remotefile", file)] {
        let (error, _server) = error_of(&runtime, source, script, Limits { bytes: 32 << 20, ..SMALL }).await;
        assert_eq!(error.kind(), NamingErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("has more than"), "{error}");
    }
}

pub async fn p1_a_message_of_a_watch_has_a_limit<R: Runtime>(runtime: R) {
    let script: Script = |request, out| {
        if !request.path().contains("watch") {
            let body = r#"{"header":{"revision":"1"},"metadata":{"resourceVersion":"1"},"items":[]}"#;
            return answer(out, "200 OK", "", body);
        }
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while out.write_all(&[b'x'; 4096]).is_ok() {}
        Then::Close
    };
    let authority = Authority::create();
    let (plain, tls) = (Scripted::plain(script), Scripted::tls(authority.server(), script));
    let http = HttpOptions::new().max_answer(100_000);
    let roots: Arc<[u8]> = authority.pem.as_bytes().into();
    let kubernetes = Kubernetes::new(runtime.clone()).api_server(Address::Socket(tls.address));
    let kubernetes = kubernetes.token(Credential::new("x")).root_pem(roots).http(http.clone());
    let etcd = Etcd::new(runtime).http(http).open(&format!("{}/x", plain.address)).unwrap();
    for mut naming in [etcd, kubernetes.open("ns/x:80").unwrap()] {
        naming.next().await.unwrap();
        let error = naming.next().await.unwrap_err();
        assert_eq!(error.kind(), NamingErrorKind::Invalid, "{error}");
        assert!(error.to_string().ends_with("a message is larger than 100000 bytes"), "{error}");
    }
}

pub async fn n1_no_error_shows_a_credential_that_a_server_repeats<R: Runtime>(runtime: R) {
    const MARKER: &str = "t0ken-MARKER";
    let scripts: [Script; 5] = [
        |_, out| answer(out, "200 OK", "x-consul-index: 1\r\n", &format!("{{\"kvs\": \"{MARKER}\"}}")),
        |_, out| answer(out, "200 OK", "x-consul-index: 1\r\n", &format!("\"{MARKER}\"")),
        |_, out| answer(out, "400 Bad Request", "", &format!("{}{MARKER}", "x".repeat(190))),
        |request, out| bad_entry(request, out, &format!("x Bearer {MARKER}")),
        // The token would be cut.
        |request, out| bad_entry(request, out, &format!("x {}{MARKER}", "x".repeat(68))),
    ];
    for script in scripts {
        let server = Scripted::plain(script);
        let rest = format!("{}/x", server.address);
        let consul = Consul::new(runtime.clone()).token(Credential::new(MARKER)).open(&rest);
        let file =
            RemoteFile::new(runtime.clone()).authorization(Credential::new(format!("Bearer {MARKER}"))).open(&rest);
        let etcd = Etcd::new(runtime.clone()).user("me", Credential::new(MARKER)).open(&rest);
        for (source, naming) in [("consul", consul), ("remotefile", file), ("etcd", etcd)] {
            let text = match naming.unwrap().next().await {
                Err(error) => format!("{error} {error:?}"),
                Ok(Update::Reset { servers, rejected }) => {
                    assert_eq!((servers.len(), rejected.len()), (0, 1), "{source}");
                    format!("{} {:?}", rejected[0].1, rejected[0].1)
                }
                Ok(change) => panic!("{source}: {change:?}"),
            };
            assert!(!text.contains("t0ken"), "{source}: {text}");
        }
    }
}

/// An entry with this text that is no server, in the form of the source that asks.
fn bad_entry(request: &Request, out: &mut dyn Write, text: &str) -> Then {
    let body = match request.path() {
        "/v3/auth/authenticate" => json!({ "token": "another" }).to_string(),
        "/v3/kv/range" => {
            json!({ "kvs": [{ "key": STANDARD.encode("x/"), "value": STANDARD.encode(text) }] }).to_string()
        }
        path if path.starts_with("/v1/health") => json!([{ "Service": { "Address": text, "Port": 80 } }]).to_string(),
        _ => text.to_owned(),
    };
    answer(out, "200 OK", "x-consul-index: 1\r\n", &body)
}
