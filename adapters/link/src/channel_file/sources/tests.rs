use super::*;
use crate::ChannelFile;
use hedge_core::bounded::{Bounded, SpanRange};
use std::path::Path;

fn read(json: &str) -> Result<SourcesConfig, String> {
    let file = serde_json::from_str::<ChannelFile>(&format!("{{\n\"sources\": {json}}}"));
    file.map(|file| file.sources).map_err(|error| error.to_string())
}

#[test]
fn n1_every_field_is_read() {
    let json = r#"{
        "retry": {"min": "1s", "max": 30000},
        "file": {"every": "2s"},
        "host": {"every": "3s"},
        "dns": {"name_servers": ["10.0.0.53", "10.0.0.54:5353", "[::1]:54", "::2"], "timeout": "4s"},
        "http": {"connect_timeout": "5s", "answer_timeout": "6s", "max_answer": 7000, "allow_clear_text_credentials": true},
        "etcd": {"user": "reader", "password_file": "/p", "check_every": "8s"},
        "consul": {"token_file": "/t", "datacenter": "eu", "wait": "9s"},
        "kubernetes": {"api_server": "api:6443", "tls_name": "kube", "token_file": "/k", "root_file": "/r", "watch_for": "10s"},
        "remotefile": {"authorization_file": "/a", "every": "11s"}
    }"#;
    let path = |text: &str| Some(Path::new(text).into());
    let name_servers = ["10.0.0.53:53", "10.0.0.54:5353", "[::1]:54", "[::2]:53"].map(|text| text.parse().unwrap());
    let mut expected = SourcesConfig {
        retry: Some(SpanRange::of_millis::<1_000, 30_000>()),
        file: FileSourceConfig { every: Some(BoundedSpan::of_secs::<2>()) },
        host: HostSourceConfig { every: Some(BoundedSpan::of_secs::<3>()) },
        dns: DnsSourceConfig { name_servers: Some(name_servers.into()), timeout: Some(BoundedSpan::of_secs::<4>()) },
        etcd: EtcdSourceConfig {
            user: Some("reader".into()),
            password_file: path("/p"),
            check_every: Some(BoundedSpan::of_secs::<8>()),
        },
        consul: ConsulSourceConfig {
            token_file: path("/t"),
            datacenter: Some("eu".into()),
            wait: Some(BoundedSpan::of_secs::<9>()),
        },
        kubernetes: KubernetesSourceConfig {
            api_server: Some("api:6443".parse().unwrap()),
            tls_name: Some("kube".into()),
            token_file: path("/k"),
            root_file: path("/r"),
            watch_for: Some(BoundedSpan::of_secs::<10>()),
        },
        remotefile: RemoteFileSourceConfig {
            authorization_file: path("/a"),
            every: Some(BoundedSpan::of_secs::<11>()),
        },
        ..SourcesConfig::default()
    };
    expected.http.connect_timeout = Some(BoundedSpan::of_secs::<5>());
    expected.http.answer_timeout = Some(BoundedSpan::of_secs::<6>());
    expected.http.max_answer = Some(Bounded::of::<7_000>());
    expected.http.allow_clear_text_credentials = true;
    assert_eq!(read(json), Ok(expected));
    let half = read(r#"{"retry": {"max": "1s"}}"#).unwrap();
    assert_eq!(half.retry, Some(SpanRange::of_millis::<500, 1_000>()), "the other bound is the default");
}

#[test]
fn n1_null_says_nothing() {
    for json in [
        "null",
        r#"{"retry": null, "file": null, "host": null, "dns": null, "http": null, "etcd": null, "consul": null,
            "kubernetes": null, "remotefile": null}"#,
        r#"{"dns": {"name_servers": null, "timeout": null}, "http": {"max_answer": null, "tls": null},
            "etcd": {"user": null}}"#,
    ] {
        assert_eq!(read(json), Ok(SourcesConfig::default()), "{json}");
    }
}

#[test]
fn n1_what_cannot_be_read_names_its_field_and_says_what_to_write() {
    for (json, text) in [
        ("5", "sources 5: must be a map of its fields"),
        (r#"{"dsn": {}}"#, "unknown field `dsn`, expected one of `retry`, `file`"),
        (r#"{"dns": {"port": 1}}"#, "unknown field `port`, expected `name_servers` or `timeout`"),
        (r#"{"file": "1s"}"#, "sources.file \"1s\": must be a map of its fields"),
        (
            r#"{"file": {"every": "1ms"}}"#,
            "sources.file.every \"1ms\": must be a duration such as \"20ms\" or \"2s\", in [100 ms, 1 h]",
        ),
        (r#"{"host": {"every": true}}"#, "sources.host.every true: must be a duration"),
        (r#"{"dns": {"timeout": 0}}"#, "sources.dns.timeout 0: must be a duration"),
        (r#"{"dns": {"name_servers": "10.0.0.53"}}"#, "sources.dns.name_servers: a list of 1 to 16 addresses"),
        (r#"{"dns": {"name_servers": []}}"#, "sources.dns.name_servers: must be at least one address"),
        (r#"{"dns": {"name_servers": ["dns.test"]}}"#, "sources.dns.name_servers \"dns.test\": must be an IP address"),
        (r#"{"dns": {"name_servers": [null]}}"#, "sources.dns.name_servers: null is not an address"),
        (r#"{"retry": {"min": 0}}"#, "sources.retry.min 0: must be a duration"),
        (r#"{"retry": {"min": "20s"}}"#, "sources.retry.min 20000 ms: must not be above max, which is 10000 ms"),
        (r#"{"http": {"connect_timeout": "2h"}}"#, "sources.http.connect_timeout \"2h\": must be a duration"),
        (r#"{"http": {"answer_timeout": -1}}"#, "sources.http.answer_timeout -1: must be a duration"),
        (
            r#"{"http": {"max_answer": "5000"}}"#,
            "sources.http.max_answer \"5000\": must be an integer in [1024, 1073741824]; write 5000 without quotes",
        ),
        (
            r#"{"http": {"allow_clear_text_credentials": "yes"}}"#,
            "sources.http.allow_clear_text_credentials \"yes\": must be true or false",
        ),
        (r#"{"etcd": {"password": "secret"}}"#, "unknown field `password`, expected one of `user`, `password_file`"),
        (r#"{"etcd": {"user": 5}}"#, "sources.etcd.user 5: must be text"),
        (r#"{"etcd": {"password_file": 5}}"#, "sources.etcd.password_file 5: must be the path of a file"),
        (r#"{"etcd": {"check_every": "1ms"}}"#, "sources.etcd.check_every \"1ms\": must be a duration"),
        (r#"{"consul": {"wait": "11m"}}"#, "sources.consul.wait \"11m\": must be a duration"),
        (r#"{"consul": {"datacenter": 5}}"#, "sources.consul.datacenter 5: must be text"),
        (r#"{"consul": {"token_file": 5}}"#, "sources.consul.token_file 5: must be the path of a file"),
        (r#"{"kubernetes": {"api_server": "api"}}"#, "sources.kubernetes.api_server \"api\": must be host:port"),
        (
            r#"{"kubernetes": {"api_server": "unix:/x"}}"#,
            "sources.kubernetes.api_server \"unix:/x\": must be host:port",
        ),
        (r#"{"kubernetes": {"tls_name": 5}}"#, "sources.kubernetes.tls_name 5: must be text"),
        (r#"{"kubernetes": {"token_file": 5}}"#, "sources.kubernetes.token_file 5: must be the path of a file"),
        (r#"{"kubernetes": {"root_file": 5}}"#, "sources.kubernetes.root_file 5: must be the path of a file"),
        (r#"{"kubernetes": {"watch_for": "1ms"}}"#, "sources.kubernetes.watch_for \"1ms\": must be a duration"),
        (
            r#"{"remotefile": {"authorization_file": 5}}"#,
            "sources.remotefile.authorization_file 5: must be the path of a file",
        ),
        (r#"{"remotefile": {"every": "1ms"}}"#, "sources.remotefile.every \"1ms\": must be a duration"),
    ] {
        let error = read(json).unwrap_err();
        assert!(error.contains(text) && error.contains(" at line 2 column "), "{json}: {error}");
    }
    let many = format!(r#"{{"dns": {{"name_servers": [{}]}}}}"#, vec!["\"::1\""; 17].join(","));
    assert!(read(&many).unwrap_err().starts_with("sources.dns.name_servers: must be at most 16 addresses"));
}

#[cfg(feature = "_tls")]
#[test]
fn c6_tls_to_endpoints_is_read_and_its_errors_name_the_whole_field() {
    let tls = |json: &str| read(&format!(r#"{{"http": {{"tls": {json}}}}}"#));
    let config = tls(r#"{"roots": "/r", "client_certificate": "/c", "client_key": "/k", "server_name": "s"}"#);
    let expected = SourceTlsConfig {
        roots: Some("/r".into()),
        client_certificate: Some("/c".into()),
        client_key: Some("/k".into()),
        server_name: Some("s".into()),
    };
    assert_eq!(config.unwrap().http.tls, Some(expected));
    for (json, text) in [
        ("5", "sources.http.tls 5: must be a map of its fields"),
        (r#"{"dangerous_no_verification": true}"#, "unknown field `dangerous_no_verification`"),
        (r#"{"roots": 5}"#, "sources.http.tls.roots 5: must be a path"),
        (r#"{"client_certificate": 5}"#, "sources.http.tls.client_certificate 5: must be a path"),
        (r#"{"client_key": "-----BEGIN X"}"#, "sources.http.tls.client_key: must be a path"),
        (r#"{"server_name": 5}"#, "sources.http.tls.server_name 5: must be text"),
    ] {
        let error = tls(json).unwrap_err();
        assert!(error.starts_with(text), "{json}: {error}");
    }
    let unusable = |json: &str| tls(json).unwrap().http.tls.unwrap().read().unwrap_err().to_string();
    assert!(unusable(r#"{"roots": "/nowhere"}"#).starts_with("sources.http.tls.roots \"/nowhere\": cannot be read: "));
    assert_eq!(unusable(r#"{"client_key": "/k"}"#), "sources.http.tls.client_key: needs tls.client_certificate");
    assert!(unusable(r#"{"server_name": "a b"}"#).starts_with("sources.http.tls: tls name \"a b\""));
    let (system, name) = tls("{}").unwrap().http.tls.unwrap().read().unwrap();
    assert_eq!((system, name), (crate::tls::Tls::system().unwrap(), None));
}
