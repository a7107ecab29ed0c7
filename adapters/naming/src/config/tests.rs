use super::*;
use hedge_core::time::Duration;
use hedge_link::Credential;
use hedge_tokio::Tokio;

use crate::{Consul, Etcd, RemoteFile};

fn read(json: &str) -> SourcesConfig {
    serde_json::from_str(json).unwrap()
}

fn sources(json: &str) -> Result<Sources<Tokio>, String> {
    Sources::new(Tokio::new()).config(&read(json)).map_err(|error| error.to_string())
}

#[test]
fn n6_every_option_of_a_file_is_applied() {
    let all = sources(
        r#"{
            "retry": {"min": "1s", "max": "2s"}, "file": {"every": "3s"}, "host": {"every": "4s"},
            "dns": {"name_servers": ["10.0.0.53"], "timeout": "5s"},
            "http": {"connect_timeout": "6s", "answer_timeout": "7s", "max_answer": 8000,
                     "allow_clear_text_credentials": true, "tls": {"server_name": "endpoint"}},
            "etcd": {"user": "reader", "password_file": "/p", "check_every": "9s"},
            "consul": {"token_file": "/t", "datacenter": "eu", "wait": "10s"},
            "kubernetes": {"api_server": "api:1", "tls_name": "kube", "token_file": "/k", "root_file": "/r",
                           "watch_for": "11s"},
            "remotefile": {"authorization_file": "/a", "every": "12s"}
        }"#,
    );
    let all = all.unwrap();
    let seconds = |time: Duration| time.as_secs();
    let pauses = all.pauses();
    assert_eq!((seconds(pauses.min().get()), seconds(pauses.max().get())), (1, 2));
    let options = &all.options;
    assert_eq!(options.file_every.map(|every| seconds(every.get())), Some(3));
    assert_eq!(options.host_every.map(|every| seconds(every.get())), Some(4));
    assert_eq!(options.name_servers.as_deref(), Some(["10.0.0.53:53".parse().unwrap()].as_slice()));
    assert_eq!(options.lookup_timeout.map(|time| seconds(time.get())), Some(5));
    // Their fields are private to their modules, and `Debug` shows them.
    let http = "connect_timeout: 6s, answer_timeout: 7s, max_answer: 8000, clear_text: true";
    let over_http = &all.over_http;
    for (source, parts) in [
        (format!("{:?}", over_http.etcd), ["Some((\"reader\", File(\"/p\")))", "check_every: 9s"].as_slice()),
        (format!("{:?}", over_http.consul), &["File(\"/t\")", "Some(\"eu\")", "wait: 10s"]),
        (
            format!("{:?}", over_http.kubernetes),
            &["host: \"api\"", "\"kube\"", "File(\"/k\")", "Some(\"/r\")", "watch_for: 11s"],
        ),
        (format!("{:?}", over_http.remote_file), &["File(\"/a\")", "every: 12s"]),
    ] {
        for part in parts.iter().chain(&[http, "\"endpoint\""]) {
            assert!(source.contains(part), "{part}: {source}");
        }
    }
}

#[test]
fn n6_the_file_of_the_readme_is_read() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```json\n").unwrap();
    let (json, _) = rest.split_once("```").unwrap();
    let file: hedge_link::ChannelFile = serde_json::from_str(json).unwrap();
    let sections = serde_json::from_str::<serde_json::Value>(json).unwrap();
    assert_eq!(sections["sources"].as_object().unwrap().len(), 9, "the README shows every section");
    let error = Sources::new(Tokio::new()).config(&file.sources).unwrap_err().to_string();
    assert!(error.starts_with("sources.http.tls.roots \"/etc/tls/root.pem\": cannot be read: "), "{error}");
}

#[test]
fn n6_what_a_file_does_not_name_stays_as_the_program_says() {
    let secret = || Credential::new("secret");
    let program = Sources::new(Tokio::new())
        .etcd(Etcd::new(Tokio::new()).user("writer", secret()))
        .consul(Consul::new(Tokio::new()).token(secret()))
        .remote_file(RemoteFile::new(Tokio::new()).authorization(secret()));
    let json = r#"{"http": {"answer_timeout": "7s"}, "etcd": {"check_every": "9s"}, "consul": {"datacenter": "eu"}}"#;
    let applied = program.config(&read(json)).unwrap().over_http;
    let shown = [format!("{:?}", applied.etcd), format!("{:?}", applied.consul), format!("{:?}", applied.remote_file)];
    for source in shown {
        assert!(source.contains("Value(Credential(hidden))") && source.contains("answer_timeout: 7s"), "{source}");
    }
}

#[test]
fn n6_what_contradicts_itself_names_its_field() {
    for (json, text) in [
        (r#"{"etcd": {"user": "reader"}}"#, "sources.etcd.user: needs sources.etcd.password_file"),
        (r#"{"etcd": {"password_file": "/p"}}"#, "sources.etcd.password_file: needs sources.etcd.user"),
        (r#"{"http": {"tls": {"roots": "/nowhere"}}}"#, "sources.http.tls.roots \"/nowhere\": cannot be read: "),
        (r#"{"kubernetes": {"tls_name": "a b"}}"#, "sources.kubernetes.tls_name: tls name \"a b\""),
    ] {
        let error = sources(json).unwrap_err();
        assert!(error.starts_with(text), "{error}");
    }
}

#[test]
fn n6_sources_of_equal_files_share_a_watcher_and_others_do_not() {
    let options = |json: &str| sources(json).unwrap().options;
    let one = r#"{"http": {"answer_timeout": "7s", "tls": {}}, "file": {"every": "3s"}}"#;
    assert_eq!(options(one), options(one));
    assert_eq!(options(r#"{"retry": {"min": "1s"}}"#), options("{}"), "the pauses are the channel's own");
    for other in ["{}", r#"{"http": {"answer_timeout": "7s"}, "file": {"every": "3s"}}"#] {
        assert_ne!(options(one), options(other), "{other}");
    }
    let twice = |first: &str, second: &str| sources(first).unwrap().config(&read(second)).unwrap().options;
    let (a, b) = (r#"{"consul": {"wait": "1s"}}"#, r#"{"consul": {"datacenter": "eu"}}"#);
    assert_ne!(twice(a, b), options(b), "the first file is still in force");
}
