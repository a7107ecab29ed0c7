//! The source `consul://` against a stand-in of ours, which answers as the description of the API says. It was not run
//! against a real consul.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hedge_fleet::NamingErrorKind;
use hedge_link::{Credential, Runtime};
use hedge_naming::Consul;
use serde_json::json;

use super::followed::Followed;
use super::scripted::{Scripted, answer};
use super::secret::Secret;

/// What no error, log or `Debug` may contain.
const MARKER: &str = "t0ken-MARKER";

fn follow<R: Runtime>(consul: &Consul<R>, server: &Scripted) -> Followed {
    let consul = consul.clone();
    Followed::open(&format!("consul://{}/users", server.address), move |rest| consul.open(rest))
}

fn instances(ports: &[u16]) -> String {
    let instance = |port: &u16| {
        json!({
            "Node": { "Node": "n", "Address": "10.0.0.1", "Datacenter": "eu" },
            "Service": { "ID": "i", "Service": "users", "Address": "", "Port": port, "Tags": ["zone=a"],
                         "Weights": { "Passing": 3, "Warning": 1 } },
            "Checks": [{ "Status": "passing" }],
        })
    };
    json!(ports.iter().map(instance).collect::<Vec<_>>()).to_string()
}

pub async fn n1_consul_is_asked_by_blocking_queries<R: Runtime>(runtime: R) {
    let asked = AtomicUsize::new(0);
    let server = Scripted::plain(move |_, out| {
        let (index, ports): (u64, &[u16]) = match asked.fetch_add(1, Ordering::SeqCst) {
            0 => (7, &[80]),
            // The wait is over, and nothing has changed.
            1 => (7, &[80]),
            2 => (9, &[80, 81]),
            // consul was restored.
            3 => (2, &[82]),
            4 => (3, &[]),
            _ => (0, &[83]),
        };
        answer(out, "200 OK", &format!("X-Consul-Index: {index}\r\n"), &instances(ports))
    });
    let consul =
        Consul::new(runtime).datacenter("e u").token(Credential::new(MARKER)).wait(Duration::from_millis(9_500));
    let mut source = follow(&consul, &server);
    assert_eq!(source.list().await, ["10.0.0.1:80 weight=3 zone=a"]);
    assert_eq!(source.list().await, ["10.0.0.1:80 weight=3 zone=a", "10.0.0.1:81 weight=3 zone=a"]);
    assert_eq!(source.list().await, ["10.0.0.1:82 weight=3 zone=a"]);
    assert!(source.list().await.is_empty());
    assert_eq!(source.list().await, ["10.0.0.1:83 weight=3 zone=a"]);
    let requests = server.requests();
    let paths: Vec<_> = requests
        .iter()
        .map(|r| r.path().strip_prefix("/v1/health/service/users?passing=1&dc=e%20u").unwrap())
        .collect();
    assert_eq!(paths, ["", "&index=7&wait=10s", "&index=7&wait=10s", "&index=9&wait=10s", "", "&index=3&wait=10s"]);
    assert!(requests.iter().all(|request| request.header("x-consul-token") == Some(MARKER)));
    assert_eq!(server.connections(), 1, "it is kept");
}

pub async fn n6_a_consul_that_answers_at_once_is_not_asked_in_a_loop<R: Runtime>(runtime: R) {
    let asked = AtomicUsize::new(1);
    let server = Scripted::plain(move |_, out| {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        answer(out, "200 OK", &format!("X-Consul-Index: {number}\r\n"), &instances(&[u16::try_from(number).unwrap()]))
    });
    let (mut source, start) = (follow(&Consul::new(runtime), &server), Instant::now());
    for _ in 0..7 {
        source.list().await;
    }
    assert!(start.elapsed() >= Duration::from_millis(1_900), "5 at once, and then one a second");
}

pub async fn n1_a_token_that_stands_in_a_file_is_read_for_each_request<R: Runtime>(runtime: R) {
    let asked = AtomicUsize::new(1);
    let server = Scripted::plain(move |_, out| {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        answer(out, "200 OK", &format!("X-Consul-Index: {number}\r\n"), &instances(&[u16::try_from(number).unwrap()]))
    });
    let token = Secret::new("consul");
    let mut source = follow(&Consul::new(runtime).token_file(&token.path), &server);
    let error = source.next().await.unwrap_err();
    assert_eq!(error.place(), Some(token.path.display().to_string().as_str()), "{error}");
    assert_eq!(error.kind(), NamingErrorKind::Unreachable, "{error}");
    token.write("\n");
    assert!(source.next().await.unwrap_err().to_string().ends_with("the file is empty"));
    for text in ["one\n", "two"] {
        token.write(text);
        source.list().await;
    }
    let requests = server.requests();
    let tokens: Vec<_> = requests.iter().map(|request| request.header("x-consul-token").unwrap()).collect();
    assert_eq!(tokens, ["one", "two"]);
}

pub async fn n1_a_token_that_consul_repeats_stays_hidden<R: Runtime>(runtime: R) {
    let server = Scripted::plain(|request, out| {
        let token = request.header("x-consul-token").unwrap();
        answer(out, "403 Forbidden", "", &format!("token {token} lacks permission"))
    });
    let consul = Consul::new(runtime).token(Credential::new(MARKER));
    let error = follow(&consul, &server).next().await.unwrap_err();
    assert_eq!(error.kind(), NamingErrorKind::Denied, "{error}");
    assert!(error.to_string().ends_with("token (hidden) lacks permission"), "{error}");
    for text in [format!("{error:?}"), format!("{consul:?}")] {
        assert!(!text.contains(MARKER), "{text}");
    }
}
