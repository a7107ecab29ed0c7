//! The source `remotefile://`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hedge_fleet::NamingErrorKind;
use hedge_link::{Credential, Runtime};
use hedge_naming::{Consul, Etcd, HttpOptions, Kubernetes, RemoteFile};

use super::followed::Followed;
use super::scripted::{Scripted, answer};
use super::secret::Secret;

/// What no error, log or `Debug` may contain.
const MARKER: &str = "t0ken-MARKER";

fn follow<R: Runtime>(file: &RemoteFile<R>, server: &Scripted) -> Followed {
    let file = file.clone().every(Duration::from_millis(100));
    Followed::open(&format!("remotefile://{}/lists/users", server.address), move |rest| file.open(rest))
}

pub async fn n1_a_remote_file_is_asked_for_again_and_again<R: Runtime>(runtime: R) {
    let asked = AtomicUsize::new(0);
    let server = Scripted::plain(move |request, out| {
        let known = request.header("if-none-match").or_else(|| request.header("if-modified-since"));
        match (asked.fetch_add(1, Ordering::SeqCst), known) {
            (0, None) => answer(out, "200 OK", "etag: \"1\"\r\n", "10.0.0.1:80 zone=a\n10.0.0.2\n# one\n"),
            (1, Some("\"1\"")) => answer(out, "304 Not Modified", "", ""),
            (2, Some("\"1\"")) => answer(out, "200 OK", &dates(39), "10.0.0.2:80\n"),
            // A server that does not know the header.
            (3, Some("Sun, 06 Nov 1994 08:49:37 GMT")) => answer(out, "200 OK", "", "10.0.0.2:80\n"),
            (4, None) => answer(out, "200 OK", "", ""),
            (5, None) => answer(out, "404 Not Found", "", "<html>"),
            (6, None) => answer(out, "302 Found", "location: /x\r\n", ""),
            (7, None) => answer(out, "304 Not Modified", "", ""),
            (8, None) => answer(out, "200 OK", "", "10.0.0.3:80"),
            (number, known) => panic!("{number} {known:?}"),
        }
    });
    let mut source = follow(&RemoteFile::new(runtime), &server);
    assert_eq!(source.list().await, ["10.0.0.1:80 zone=a"]);
    assert_eq!(source.rejected[0].0, 2);
    assert_eq!(source.list().await, ["10.0.0.2:80"]);
    assert!(source.list().await.is_empty(), "an empty file is an empty list");
    assert_eq!(server.connections(), 1, "it is kept");
    assert_eq!(source.next().await.unwrap_err().kind(), NamingErrorKind::NotFound);
    for expected in
        ["status 302 Found: redirects are not followed", "status 304 Not Modified: redirects are not followed"]
    {
        let error = source.next().await.unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
        assert_eq!(error.place(), Some(server.address.to_string().as_str()));
    }
    assert_eq!(source.list().await, ["10.0.0.3:80"]);
    assert!(server.requests().iter().all(|request| request.path() == "/lists/users"));
}

/// The headers of a list that was last written at 37 s, and is sent at this second.
fn dates(second: u32) -> String {
    let minute = "Sun, 06 Nov 1994 08:49";
    format!("last-modified: {minute}:37 GMT\r\ndate: {minute}:{second} GMT\r\n")
}

pub async fn n1_a_file_that_is_written_twice_in_a_second_is_read_twice<R: Runtime>(runtime: R) {
    let asked = AtomicUsize::new(0);
    let server = Scripted::plain(move |request, out| {
        let known = request.header("if-modified-since").is_some();
        match asked.fetch_add(1, Ordering::SeqCst) {
            // The date of the file is the same, whenever in this second it was written.
            _ if known => answer(out, "304 Not Modified", "", ""),
            0 => answer(out, "200 OK", &dates(37), "10.0.0.1:80\n"),
            1 => answer(out, "200 OK", &dates(38), "10.0.0.2:80\n"),
            2 => answer(out, "200 OK", "last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "10.0.0.3:80\n"),
            3 => answer(out, "200 OK", "last-modified: then\r\ndate: now\r\n", "10.0.0.4:80\n"),
            4 => answer(out, "200 OK", "etag: \"1\"\r\nlast-modified: then\r\n", "10.0.0.5:80\n"),
            _ => {
                assert_eq!(request.header("if-none-match"), Some("\"1\""), "an etag needs no date");
                answer(out, "200 OK", "", "10.0.0.6:80\n")
            }
        }
    });
    let mut source = follow(&RemoteFile::new(runtime), &server);
    for number in 1..=6 {
        assert_eq!(source.list().await, [format!("10.0.0.{number}:80")]);
    }
}

pub async fn n1_a_query_and_a_time_of_0_are_refused<R: Runtime>(runtime: R) {
    let file = RemoteFile::new(runtime.clone());
    for rest in ["h:80/list?token=t0ken", "h:80?token=t0ken", "h:80/list#?token=t0ken"] {
        let error = file.open(rest).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("RemoteFile::authorization") && !text.contains("t0ken"), "{text}");
    }
    let http = HttpOptions::new();
    for (http, name) in
        [(http.clone().connect_timeout(Duration::ZERO), "connect"), (http.answer_timeout(Duration::ZERO), "answer")]
    {
        let errors = [
            RemoteFile::new(runtime.clone()).http(http.clone()).open("h:80/x"),
            Etcd::new(runtime.clone()).http(http.clone()).open("h:80/x"),
            Consul::new(runtime.clone()).http(http.clone()).open("h:80/x"),
            Kubernetes::new(runtime.clone()).http(http.clone()).open("ns/x:80"),
        ];
        for error in errors {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), NamingErrorKind::Invalid);
            assert!(
                error.to_string().ends_with(&format!("HttpOptions::{name}_timeout: must be more than 0")),
                "{error}"
            );
        }
    }
}

pub async fn n1_a_credential_that_a_web_server_repeats_stays_hidden<R: Runtime>(runtime: R) {
    let server = Scripted::plain(|request, out| {
        answer(out, "401 Unauthorized", "", &format!("not you: {}", request.header("authorization").unwrap()))
    });
    let file = RemoteFile::new(runtime).authorization(Credential::new(format!("Bearer {MARKER}")));
    let error = follow(&file, &server).next().await.unwrap_err();
    assert_eq!(error.kind(), NamingErrorKind::Denied, "{error}");
    for text in [error.to_string(), format!("{error:?}"), format!("{file:?}")] {
        assert!(!text.contains(MARKER), "{text}");
    }
    let secret = Secret::new("remotefile");
    secret.write(&format!("Bearer {MARKER}-in-a-file\n"));
    let file = file.authorization_file(&secret.path);
    let error = follow(&file, &server).next().await.unwrap_err();
    assert_eq!(server.requests()[1].header("authorization"), Some("Bearer t0ken-MARKER-in-a-file"));
    for text in [error.to_string(), format!("{error:?}"), format!("{file:?}")] {
        assert!(!text.contains(MARKER), "{text}");
    }
}
