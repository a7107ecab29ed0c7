//! The source `kubernetes://` against a stand-in of ours, which answers as the description of the API says. It was not run
//! against a real Kubernetes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hedge_fleet::{Address, NamingErrorKind};
use hedge_link::{Credential, Runtime};
use hedge_naming::Kubernetes;
use serde_json::{Value, json};

use super::authority::Authority;
use super::followed::Followed;
use super::scripted::{Lines, Scripted, Then, answer};

/// What no error, log or `Debug` may contain.
const MARKER: &str = "t0ken-MARKER";

fn kubernetes<R: Runtime>(runtime: R, server: &Scripted, authority: &Authority) -> Kubernetes<R> {
    let roots: Arc<[u8]> = authority.pem.as_bytes().into();
    let kubernetes = Kubernetes::new(runtime).api_server(Address::Socket(server.address));
    kubernetes.token(Credential::new(MARKER)).root_pem(roots)
}

fn follow<R: Runtime>(kubernetes: &Kubernetes<R>) -> Followed {
    let kubernetes = kubernetes.clone();
    Followed::open("kubernetes://prod/users:http", move |rest| kubernetes.open(rest))
}

/// A slice with one ready endpoint for each address, and one that is not ready.
fn slice(name: &str, version: u32, addresses: &[&str]) -> Value {
    let mut endpoints: Vec<_> = addresses
        .iter()
        .map(|address| json!({ "addresses": [address], "conditions": { "ready": true }, "zone": "z1" }))
        .collect();
    endpoints.push(json!({ "addresses": ["10.9.9.9"], "conditions": { "ready": false } }));
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": name, "namespace": "prod", "resourceVersion": version.to_string() },
        "endpoints": endpoints, "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    })
}

fn list(version: u32, next: &str, slices: &[Value]) -> String {
    let metadata = json!({ "resourceVersion": version.to_string(), "continue": next });
    json!({ "kind": "EndpointSliceList", "metadata": metadata, "items": slices }).to_string()
}

fn event(kind: &str, object: &Value) -> String {
    json!({ "type": kind, "object": object }).to_string()
}

fn gone() -> Value {
    json!({ "kind": "Status", "status": "Failure", "message": "too old resource version", "reason": "Expired", "code": 410 })
}

pub async fn n1_kubernetes_lists_slices_and_watches_them<R: Runtime>(runtime: R) {
    let (authority, lists) = (Authority::create(), AtomicUsize::new(0));
    let (events, lines) = Lines::new();
    let server = Scripted::tls(authority.server(), move |request, out| {
        let path = request.path();
        if path.contains("watch=1") {
            // Known: 10, and later 14. Then everything is too old, once as a status.
            return if path.contains("resourceVersion=16") {
                answer(out, "410 Gone", "", &gone().to_string())
            } else {
                lines.write(out)
            };
        }
        let body = match lists.fetch_add(1, Ordering::SeqCst) {
            0 => list(10, "p/2", &[slice("a", 3, &["10.0.0.1", "10.0.0.2"])]),
            1 => list(10, "", &[slice("b", 4, &["10.0.0.3"])]),
            2 => list(16, "", &[slice("a", 15, &["10.0.0.6"])]),
            _ => list(20, "", &[slice("a", 18, &["10.0.0.7"])]),
        };
        answer(out, "200 OK", "", &body)
    });
    let mut source = follow(&kubernetes(runtime, &server, &authority));
    assert_eq!(source.list().await, ["10.0.0.1:8080 zone=z1", "10.0.0.2:8080 zone=z1", "10.0.0.3:8080 zone=z1"]);
    events.send(event("ADDED", &slice("c", 11, &["10.0.0.4", "10.0.0.1"]))).unwrap();
    assert_eq!(source.list().await.len(), 4, "two slices hold one endpoint");
    events.send(event("MODIFIED", &slice("a", 12, &[]))).unwrap();
    assert_eq!(source.list().await, ["10.0.0.1:8080 zone=z1", "10.0.0.3:8080 zone=z1", "10.0.0.4:8080 zone=z1"]);
    events.send(event("DELETED", &slice("b", 13, &["10.0.0.3"]))).unwrap();
    assert_eq!(source.list().await.len(), 2);
    // The end of a watch is no error: the next one continues at the bookmark.
    events.send(event("BOOKMARK", &json!({ "metadata": { "resourceVersion": "14" } }))).unwrap();
    events.send(String::new()).unwrap();
    events.send(event("ADDED", &slice("d", 15, &["10.0.0.5"]))).unwrap();
    assert_eq!(source.list().await.len(), 3);
    // What is too old is listed anew.
    events.send(event("ERROR", &gone())).unwrap();
    assert_eq!(source.list().await, ["10.0.0.6:8080 zone=z1"]);
    assert_eq!(source.list().await, ["10.0.0.7:8080 zone=z1"]);

    let requests = server.requests();
    let paths: Vec<_> = requests.iter().map(|request| request.path().split_once("%3Dusers&").unwrap().1).collect();
    assert_eq!(paths[0], "limit=500");
    assert_eq!(paths[1], "limit=500&continue=p%2F2");
    assert!(paths[2].starts_with("watch=1&allowWatchBookmarks=true&resourceVersion=10&timeoutSeconds="), "{paths:?}");
    assert!(paths[3].contains("resourceVersion=14&"), "{paths:?}");
    let head =
        "/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dusers&";
    for request in &requests {
        assert!(request.path().starts_with(head), "{request:?}");
        assert_eq!(request.header("authorization"), Some(format!("Bearer {MARKER}").as_str()));
    }
}

pub async fn n2_a_watch_that_breaks_goes_on_at_its_version<R: Runtime>(runtime: R) {
    let (authority, watches) = (Authority::create(), AtomicUsize::new(0));
    let (events, lines) = Lines::new();
    let server = Scripted::tls(authority.server(), move |request, out| {
        if !request.path().contains("watch=1") {
            return answer(out, "200 OK", "", &list(10, "", &[slice("a", 3, &["10.0.0.1"])]));
        }
        match watches.fetch_add(1, Ordering::SeqCst) {
            // The server ends while it sends, and is not ready after its start.
            0 => {
                let line = event("ADDED", &slice("b", 11, &["10.0.0.2"]));
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let _ = write!(out, "{head}{:x}\r\n{line}\n\r\n", line.len() + 1).and_then(|()| out.flush());
                Then::Close
            }
            1 => answer(out, "503 Service Unavailable", "", "not yet"),
            _ => lines.write(out),
        }
    });
    let mut source = follow(&kubernetes(runtime, &server, &authority));
    assert_eq!(source.list().await.len(), 1);
    assert_eq!(source.list().await.len(), 2);
    let error = source.next().await.unwrap_err();
    assert_eq!(error.kind(), NamingErrorKind::Unreachable, "{error}");
    assert_eq!(source.list().await.len(), 2, "the same list ends the error");
    events.send(event("ADDED", &slice("c", 12, &["10.0.0.3"]))).unwrap();
    assert_eq!(source.list().await.len(), 3);
    let requests = server.requests();
    let versions: Vec<_> = requests
        .iter()
        .map(|request| request.path().split_once("resourceVersion=").map(|(_, rest)| rest.split('&').next().unwrap()))
        .collect();
    assert_eq!(versions, [None, Some("10"), Some("11"), Some("11")], "it is listed once");
}

pub async fn n2_a_list_without_a_version_is_an_error<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let server = Scripted::tls(authority.server(), |_, out| answer(out, "200 OK", "", r#"{"metadata":{},"items":[]}"#));
    let error = follow(&kubernetes(runtime, &server, &authority)).next().await.unwrap_err();
    assert_eq!(error.kind(), NamingErrorKind::Invalid);
    assert!(error.to_string().ends_with("the list has no resourceVersion"), "{error}");
}

pub async fn n1_a_token_goes_only_to_a_server_whose_certificate_is_right<R: Runtime>(runtime: R) {
    let (right, wrong) = (Authority::create(), Authority::create());
    let script =
        |_: &_, out: &mut dyn std::io::Write| answer(out, "200 OK", "", &list(1, "", &[slice("a", 1, &["10.0.0.1"])]));
    let impostor = Scripted::tls(wrong.server(), script);
    let error = follow(&kubernetes(runtime.clone(), &impostor, &right)).next().await.unwrap_err();
    assert_eq!(error.kind(), NamingErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("tls handshake"), "{error}");
    assert!(impostor.requests().is_empty());
    // One that does not even speak TLS.
    let plain = Scripted::plain(script);
    let options = hedge_naming::HttpOptions::new().allow_clear_text_credentials();
    let error = follow(&kubernetes(runtime, &plain, &right).http(options)).next().await.unwrap_err();
    assert!(plain.requests().is_empty(), "{error}");
}

pub async fn n1_the_token_and_the_root_are_read_anew<R: Runtime>(runtime: R) {
    let folder = std::env::temp_dir().join(format!("hedge-account-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (token, root) = (folder.join("token"), folder.join("ca.crt"));
    let (authority, wrong) = (Authority::create(), Authority::create());
    let (events, lines) = Lines::new();
    let server = Scripted::tls(authority.server(), move |request, out| {
        if request.path().contains("watch=1") {
            return lines.write(out);
        }
        answer(out, "200 OK", "", &list(1, "", &[slice("a", 1, &["10.0.0.1"])]))
    });
    let kubernetes = Kubernetes::new(runtime).api_server(Address::Socket(server.address));
    let mut source = follow(&kubernetes.token_file(&token).root_file(&root));
    let error = source.next().await.unwrap_err();
    assert_eq!(error.place(), Some(token.display().to_string().as_str()), "{error}");
    std::fs::write(&token, "one\n").unwrap();
    std::fs::write(&root, &wrong.pem).unwrap();
    assert!(source.next().await.unwrap_err().to_string().contains("tls handshake"));
    std::fs::write(&root, &authority.pem).unwrap();
    source.list().await;
    std::fs::write(&token, "two\n").unwrap();
    events.send(event("ADDED", &slice("b", 2, &["10.0.0.2"]))).unwrap();
    assert_eq!(source.list().await.len(), 2);
    let tokens: Vec<_> =
        server.requests().iter().map(|request| request.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(tokens, ["Bearer one", "Bearer two"]);
    std::fs::remove_dir_all(&folder).unwrap();
}

pub async fn n1_a_token_that_a_server_repeats_stays_hidden<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let server = Scripted::tls(authority.server(), |request, out| {
        let message = format!("you are {}", request.header("authorization").unwrap());
        answer(out, "403 Forbidden", "", &json!({ "kind": "Status", "code": 403, "message": message }).to_string())
    });
    let kubernetes = kubernetes(runtime, &server, &authority);
    let error = follow(&kubernetes).next().await.unwrap_err();
    assert_eq!(error.kind(), NamingErrorKind::Denied, "{error}");
    assert!(error.to_string().ends_with("status 403 Forbidden: you are (hidden)"), "{error}");
    for text in [error.to_string(), format!("{error:?}"), format!("{kubernetes:?}")] {
        assert!(!text.contains(MARKER), "{text}");
    }
}
