//! The source `etcd://` against a real etcd, and once against a stand-in.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hedge_fleet::NamingErrorKind;
use hedge_link::{Credential, Runtime};
use hedge_naming::{Etcd, HttpOptions};

use super::etcd_server::EtcdServer;
use super::followed::Followed;
use super::scripted::{Lines, Scripted, answer};
use super::secret::Secret;

/// What no error, log or `Debug` may contain.
const MARKER: &str = "pa55word-MARKER";

fn follow<R: Runtime>(etcd: &Etcd<R>, server: &EtcdServer) -> Followed {
    let etcd = etcd.clone();
    Followed::open(&format!("etcd://{}/services/users", server.address), move |rest| etcd.open(rest))
}

pub async fn n1_etcd_gives_the_servers_below_a_prefix_and_their_changes<R: Runtime>(runtime: R) {
    let server = EtcdServer::start();
    server.put("services/users/1", "10.0.0.1:80 zone=a");
    server.put("services/users/2", r#"{"Op":0,"Addr":"10.0.0.2:80","Metadata":{"weight":3}}"#);
    server.put("services/users/[::1]:80", "");
    server.put("services/users/bad", "10.0.0.3");
    server.put("services/users2/1", "10.9.9.9:80");
    let mut source = follow(&Etcd::new(runtime), &server);
    assert_eq!(source.list().await, ["10.0.0.1:80 zone=a", "10.0.0.2:80 weight=3", "[::1]:80"]);
    let (number, error) = &source.rejected[0];
    let expected = "\"services/users/bad: 10.0.0.3\": port missing; write host:port";
    assert_eq!((*number, error.to_string().as_str()), (4, expected));

    server.put("services/users/3", "10.0.0.1:80 zone=a");
    assert_eq!(source.list().await.len(), 3, "two keys hold one server");
    server.delete("services/users/1");
    assert_eq!(source.list().await.len(), 3, "one of them still does");
    server.put("services/users/3", "10.0.0.4:80");
    assert_eq!(source.list().await, ["10.0.0.2:80 weight=3", "10.0.0.4:80", "[::1]:80"]);
    for key in ["2", "3", "[::1]:80", "bad"] {
        server.delete(&format!("services/users/{key}"));
    }
    source.becomes(&[]).await;
    server.put("services/users/5", "10.0.0.5:80");
    source.becomes(&["10.0.0.5:80"]).await;
}

pub async fn n1_etcd_is_read_page_by_page<R: Runtime>(runtime: R) {
    let server = EtcdServer::start();
    let pairs: Vec<_> =
        (0..2_500).map(|n| (format!("services/users/{n}"), format!("10.0.{}.{}:80", n / 250, n % 250))).collect();
    server.put_all(&pairs);
    let mut source = follow(&Etcd::new(runtime), &server);
    assert_eq!(source.list().await.len(), 2_500);
}

pub async fn n2_a_compacted_revision_is_read_anew<R: Runtime>(runtime: R) {
    let server = EtcdServer::start();
    server.put("services/users/1", "10.0.0.1:80");
    let mut source = follow(&Etcd::new(runtime), &server);
    assert_eq!(source.list().await, ["10.0.0.1:80"]);
    // The watch begins only now, at a revision that is gone.
    server.delete("services/users/1");
    server.put("services/users/2", "10.0.0.2:80");
    server.put("services/users/3", "10.0.0.3:80");
    server.compact();
    assert_eq!(source.list().await, ["10.0.0.2:80", "10.0.0.3:80"]);
    server.put("services/users/4", "10.0.0.4:80");
    assert_eq!(source.list().await.len(), 3);
}

pub async fn n2_an_etcd_that_dies_is_an_error_and_its_return_is_a_list<R: Runtime>(runtime: R) {
    let mut server = EtcdServer::start();
    server.put("services/users/1", "10.0.0.1:80");
    let mut source = follow(&Etcd::new(runtime), &server);
    assert_eq!(source.list().await, ["10.0.0.1:80"]);
    source.give_up().await;
    server.kill();
    let error = source.fails().await;
    assert_eq!(error.kind(), NamingErrorKind::Unreachable, "{error}");
    assert_eq!(error.place(), Some(server.address.to_string().as_str()));
    let error = source.fails().await.to_string();
    let expected = format!("etcd://{0}/services/users: cannot be reached, at {0}: connection refused", server.address);
    assert!(error.starts_with(&expected), "{error}");
    server.restart();
    server.put("services/users/2", "10.0.0.2:80");
    source.becomes(&["10.0.0.1:80", "10.0.0.2:80"]).await;
}

pub async fn n2_an_etcd_that_freezes_is_found_out<R: Runtime>(runtime: R) {
    let server = EtcdServer::start();
    server.put("services/users/1", "10.0.0.1:80");
    let http = HttpOptions::new().answer_timeout(Duration::from_secs(3)).connect_timeout(Duration::from_secs(3));
    let etcd = Etcd::new(runtime).http(http).check_every(Duration::from_millis(100));
    let mut source = follow(&etcd, &server);
    assert_eq!(source.list().await, ["10.0.0.1:80"]);
    server.put("services/users/2", "10.0.0.2:80");
    assert_eq!(source.list().await.len(), 2, "it watches");
    server.freeze();
    let error = source.fails().await;
    server.thaw();
    assert_eq!(error.kind(), NamingErrorKind::TimedOut, "{error}");
    server.put("services/users/3", "10.0.0.3:80");
    source.becomes(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]).await;
}

/// A stand-in, since a real etcd does not lose a change.
pub async fn n2_a_watch_that_misses_a_change_is_found_out<R: Runtime>(runtime: R) {
    let (reads, (messages, lines)) = (AtomicUsize::new(0), Lines::new());
    let server = Scripted::plain(move |request, out| {
        if request.path() == "/v3/watch" {
            return lines.write(out);
        }
        // a/1 is 10.0.0.1:80, and a/2 is 10.0.0.1:81.
        let one = r#"{"key":"YS8x","value":"MTAuMC4wLjE6ODA=","mod_revision":"3"}"#;
        let two = r#"{"key":"YS8y","value":"MTAuMC4wLjE6ODE=","mod_revision":"5"}"#;
        let (kvs, count) = match reads.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => (one.to_owned(), 1),
            2 => (two.to_owned(), 2),
            _ => (format!("{one},{two}"), 2),
        };
        let body = format!(r#"{{"header":{{"revision":"4"}},"kvs":[{kvs}],"count":"{count}"}}"#);
        answer(out, "200 OK", "", &body)
    });
    messages.send(r#"{"result":{"header":{"revision":"4"},"created":true}}"#.into()).unwrap();
    let etcd = Etcd::new(runtime).check_every(Duration::from_millis(50));
    let mut source = Followed::open(&format!("etcd://{}/a", server.address), move |rest| etcd.open(rest));
    assert_eq!(source.list().await, ["10.0.0.1:80"]);
    assert_eq!(source.list().await, ["10.0.0.1:80", "10.0.0.1:81"]);
    let paths: Vec<_> = server.requests().iter().map(|request| request.path().to_owned()).collect();
    let (range, watch) = ("/v3/kv/range", "/v3/watch");
    assert_eq!(paths, [range, watch, range, range, range], "a check without news, one with news, and the keys again");
    drop(messages);
}

pub async fn n2_the_first_message_of_a_watch_is_no_progress<R: Runtime>(runtime: R) {
    let (reads, (messages, lines)) = (AtomicUsize::new(0), Lines::new());
    let server = Scripted::plain(move |request, out| {
        if request.path() == "/v3/watch" {
            return lines.write(out);
        }
        // a/1 is 10.0.0.1:80, and from revision 5 on it is 10.0.0.1:81.
        let (value, revision) = match reads.fetch_add(1, Ordering::SeqCst) {
            0 => ("MTAuMC4wLjE6ODA=", 4),
            _ => ("MTAuMC4wLjE6ODE=", 5),
        };
        let pair = format!(r#"{{"key":"YS8x","value":"{value}","mod_revision":"{revision}"}}"#);
        let body = format!(r#"{{"header":{{"revision":"{revision}"}},"kvs":[{pair}],"count":"1"}}"#);
        answer(out, "200 OK", "", &body)
    });
    // The event of revision 5 is still to come, and never does.
    messages.send(r#"{"result":{"header":{"revision":"6"},"created":true}}"#.into()).unwrap();
    let etcd = Etcd::new(runtime).check_every(Duration::from_millis(50));
    let mut source = Followed::open(&format!("etcd://{}/a", server.address), move |rest| etcd.open(rest));
    assert_eq!(source.list().await, ["10.0.0.1:80"]);
    assert_eq!(source.list().await, ["10.0.0.1:81"]);
    drop(messages);
}

pub async fn n2_an_etcd_that_shuts_down_is_not_a_refusal<R: Runtime>(runtime: R) {
    use NamingErrorKind::{Denied, Unreachable};
    const MESSAGES: [(&str, NamingErrorKind); 8] = [
        (r#"{"error":{"grpc_code":14,"http_code":503,"message":"transport is closing"}}"#, Unreachable),
        (r#"{"error":{"code":14,"message":"the server is stopped"}}"#, Unreachable),
        (r#"{"error":{"message":"there is no code"}}"#, Unreachable),
        (r#"{"result":{"canceled":true,"cancel_reason":"etcdserver: no leader"}}"#, Unreachable),
        (r#"{"error":{"grpc_code":7,"http_code":403,"message":"permission denied"}}"#, Denied),
        (r#"{"error":{"code":16,"message":"invalid auth token"}}"#, Denied),
        (r#"{"error":{"http_code":401,"message":"who are you"}}"#, Denied),
        (
            r#"{"result":{"canceled":true,"cancel_reason":"rpc error: code = PermissionDenied desc = etcdserver"}}"#,
            Denied,
        ),
    ];
    let watches = AtomicUsize::new(0);
    let server = Scripted::plain(move |request, out| {
        if request.path() == "/v3/watch" {
            return answer(out, "200 OK", "", MESSAGES[watches.fetch_add(1, Ordering::SeqCst)].0);
        }
        answer(out, "200 OK", "", r#"{"header":{"revision":"4"}}"#)
    });
    let etcd = Etcd::new(runtime);
    let mut source = Followed::open(&format!("etcd://{}/a", server.address), move |rest| etcd.open(rest));
    for (message, kind) in MESSAGES {
        assert!(source.list().await.is_empty());
        let error = source.next().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{message}: {error}");
    }
}

pub async fn n1_the_next_endpoint_is_asked<R: Runtime>(runtime: R) {
    let server = EtcdServer::start();
    // The client's end of a connection: its port is taken, and refuses connections.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let dead = taken.local_addr().unwrap();
    server.put("services/users/1", "10.0.0.1:80");
    let etcd = Etcd::new(runtime);
    let url = format!("etcd://{dead},{}/services/users", server.address);
    let mut source = Followed::open(&url, move |rest| etcd.open(rest));
    assert_eq!(source.list().await, ["10.0.0.1:80"]);
    server.put("services/users/2", "10.0.0.2:80");
    assert_eq!(source.list().await.len(), 2);
}

pub async fn n1_etcd_asks_for_a_user_and_the_password_stays_hidden<R: Runtime>(runtime: R) {
    let mut server = EtcdServer::start();
    server.put("services/users/1", "10.0.0.1:80");
    let etcd = Etcd::new(runtime.clone()).user("root", Credential::new(MARKER));
    let mut unneeded = follow(&etcd, &server);
    assert_eq!(unneeded.list().await, ["10.0.0.1:80"], "a user is not needed");
    server.ask_for_users(MARKER);

    let error = follow(&Etcd::new(runtime.clone()), &server).fails().await;
    assert!(error.to_string().contains("user name is empty"), "{error}");
    let wrong = Etcd::new(runtime).user("root", Credential::new(format!("{MARKER}-wrong")));
    let error = follow(&wrong, &server).fails().await;
    assert_eq!(error.kind(), NamingErrorKind::Denied, "{error}");
    for text in [error.to_string(), format!("{error:?}"), format!("{wrong:?}"), format!("{etcd:?}")] {
        assert!(!text.contains(MARKER), "{text}");
    }

    let password = Secret::new("etcd");
    password.write(&format!("{MARKER}\n"));
    let mut source = follow(&etcd.user_with_file("root", &password.path), &server);
    assert_eq!(source.list().await, ["10.0.0.1:80"]);
    server.put("services/users/2", "10.0.0.2:80");
    assert_eq!(source.list().await.len(), 2);
    // Its tokens do not survive, so the source must get another one.
    server.kill();
    server.restart();
    server.log_in(MARKER);
    server.put("services/users/3", "10.0.0.3:80");
    source.becomes(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]).await;
}

pub async fn n2_an_update_is_not_lost_when_its_future_is_dropped<R: Runtime>(runtime: R) {
    let server = EtcdServer::start();
    server.put("services/users/1", "10.0.0.1:80");
    let mut source = follow(&Etcd::new(runtime), &server);
    assert!(!source.give_up().await);
    assert_eq!(source.list().await, ["10.0.0.1:80"]);
    for n in 2..6 {
        source.give_up().await;
        server.put(&format!("services/users/{n}"), &format!("10.0.0.{n}:80"));
        source.give_up().await;
        source.give_up().await;
    }
    // The last change may have come in a future that was given up, so there is one more.
    server.put("services/users/1", "10.0.0.1:80 again");
    let all: Vec<_> = (1..6).map(|n| format!("10.0.0.{n}:80")).collect();
    let mut all: Vec<_> = all.iter().map(String::as_str).collect();
    all[0] = "10.0.0.1:80 again";
    source.becomes(&all).await;
}
