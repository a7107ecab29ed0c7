//! A whole channel from a file, and a file that changes while the channel runs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use hedge_net::{BuildError, Channel, ChannelFile, FixedSetting, Runtime, SetConfigError, StrictListError};
use serde_json::{Value, json};

use super::assert_settled;
use super::naming::Feed;
use super::server::{TestServer, ok};
use super::tls::Temporary;
use super::tls_server::{Authority, TlsServer};

const NAME: &str = "server.test";

fn read(json: &Value) -> ChannelFile {
    serde_json::from_str(&json.to_string()).unwrap()
}

pub async fn c6_a_file_names_roots_a_client_certificate_and_the_name_of_the_server<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let there = TlsServer::telling(authority.server(authority.sign(NAME, 1), true));
    let [chain, key] = authority.sign_pem("client.test", 1).map(|text| Temporary::with("pem", &text));
    let root = Temporary::with("pem", &authority.root_pem);
    let tls = json!({
        "roots": root.0, "client_certificate": chain.0, "client_key": key.0, "server_name": NAME,
    });
    let channel = |tls: &Value| {
        let file = json!({
            "name": "users", "servers": [there.address.to_string()], "load_balancer": "rr", "timeout": "60s",
            "connect_timeout": "60s", "max_retry": 0, "connections": {"no_delay": true}, "tls": tls,
        });
        Channel::builder(runtime.clone(), "").channel_file(&read(&file)).build()
    };
    let good = channel(&tls).unwrap();
    assert_eq!(good.name(), "users");
    let told = good.get("/").await.unwrap().text().unwrap();
    assert!(told.starts_with("Some(\"server.test\") "), "{told}");
    assert_settled(&good);

    let without = channel(&json!({"roots": root.0, "server_name": NAME})).unwrap();
    without.get("/").await.unwrap_err();
    let mut unknown = tls.clone();
    unknown.as_object_mut().unwrap().remove("roots");
    unknown["dangerous_no_verification"] = true.into();
    channel(&unknown).unwrap().get("/").await.unwrap();
    let mut missing = tls;
    missing["client_key"] = "/nowhere/key.pem".into();
    let Err(BuildError::File(error)) = channel(&missing) else { panic!("the key is missing") };
    assert!(error.to_string().starts_with("tls.client_key \"/nowhere/key.pem\": cannot be read: "), "{error}");
}

pub async fn a_changed_file_is_applied_to_a_channel_that_runs<R: Runtime>(runtime: R) {
    let servers = ["one", "two"].map(|name| TestServer::answering(move |_| ok(name)));
    let [one, two] = servers.each_ref().map(|server| server.address.to_string());
    let mut file =
        json!({"servers": [one], "load_balancer": "rr", "timeout": "60s", "connect_timeout": "60s", "seed": 1});
    let channel = Channel::builder(runtime, "").channel_file(&read(&file)).build().unwrap();
    assert_eq!(channel.get("/").await.unwrap().text().unwrap(), "one");
    let unchanged = channel.set_channel_file(&read(&file)).unwrap();
    let update = unchanged.servers.unwrap();
    assert_eq!((update.servers, update.inserted, update.removed), (1, 0, 0));
    assert_eq!(unchanged.needs_new_channel, []);

    file["servers"] = json!([two]);
    file["timeout"] = "61s".into();
    file["health_checks"] = json!({"interval": "20ms"});
    file["connections"] = json!({"max_idle_per_server": 0, "group": "mine"});
    file["seed"] = 2.into();
    file["sources"] = json!({"retry": {"min": "1s"}, "file": {"every": "2s"}});
    let expected =
        [FixedSetting::HealthChecks, FixedSetting::Seed, FixedSetting::ConnectionGroup, FixedSetting::Sources];
    for change in [(1, 1), (0, 0)] {
        let applied = channel.set_channel_file(&read(&file)).unwrap();
        let update = applied.servers.unwrap();
        assert_eq!((update.inserted, update.removed), change, "it may be applied again");
        assert_eq!(applied.needs_new_channel, expected);
    }
    assert_eq!(channel.options().channel.timeout, Duration::from_secs(61).into());
    assert_eq!(channel.get("/").await.unwrap().text().unwrap(), "two");

    for (field, bad) in [
        ("servers", json!([two, "nonsense"])),
        ("servers", json!([])),
        ("max_retry", 200.into()),
        ("max_in_flight_per_server", 0.into()),
        ("protocol", "h9".into()),
        ("connection_type", "long".into()),
        ("connections", json!({"send_buffer": 1})),
        ("sources", json!({"etcd": {"user": "reader"}})),
        ("tls", json!({"roots": "/nowhere/root.pem"})),
        ("tls", json!({"server_name": "a b", "dangerous_no_verification": true})),
    ] {
        let mut wrong = file.clone();
        wrong["timeout"] = "62s".into();
        wrong[field] = bad;
        let error = channel.set_channel_file(&read(&wrong)).unwrap_err();
        assert_eq!(channel.options().channel.timeout, Duration::from_secs(61).into(), "nothing is changed: {error}");
        assert_eq!(channel.servers(), [two.parse().unwrap()], "nothing is changed: {error}");
    }
    file["servers"] = json!([one]);
    channel.set_channel_file(&read(&file)).unwrap();
    assert_eq!(channel.get("/").await.unwrap().text().unwrap(), "one", "the list of the start comes back");
    assert_settled(&channel);
}

pub async fn a_list_that_cannot_be_taken_in_whole_changes_nothing<R: Runtime>(runtime: R) {
    let refuses = Arc::new(AtomicU8::new(0));
    let mut file = json!({"servers": ["127.0.0.1:1 1", "127.0.0.1:2 2"], "load_balancer": "wrr", "timeout": "60s"});
    let filter = Arc::clone(&refuses);
    let builder = Channel::builder(runtime, "").channel_file(&read(&file)).filter(move |_| {
        match filter.load(Ordering::Relaxed) {
            0 => true,
            1 => false,
            _ => std::panic::resume_unwind(Box::new("filter")),
        }
    });
    let channel = builder.build().unwrap();
    let before = channel.servers();
    let assert_unchanged = || {
        assert_eq!(channel.servers(), before);
        assert_eq!(channel.options().channel.timeout, Duration::from_secs(60).into());
    };
    file["timeout"] = "61s".into();
    let mut no_weights = file.clone();
    no_weights["servers"] = json!(["127.0.0.1:1", "127.0.0.1:2"]);
    let error = channel.set_channel_file(&read(&no_weights)).unwrap_err();
    assert!(matches!(&error, SetConfigError::List(StrictListError::Weight { .. })), "{error}");
    assert_unchanged();

    refuses.store(1, Ordering::Relaxed);
    let error = channel.set_channel_file(&read(&file)).unwrap_err();
    assert_eq!(error, SetConfigError::List(StrictListError::NoServers));
    assert_unchanged();

    refuses.store(2, Ordering::Relaxed);
    let panics = AssertUnwindSafe(|| channel.set_channel_file(&read(&file)));
    assert!(std::panic::catch_unwind(panics).is_err(), "the filter's panic reaches the caller");
    assert_unchanged();

    refuses.store(0, Ordering::Relaxed);
    channel.set_channel_file(&read(&file)).unwrap();
    assert_eq!(channel.options().channel.timeout, Duration::from_secs(61).into());
}

pub async fn what_the_program_sets_after_a_file_stays_until_the_file_changes_it<R: Runtime>(runtime: R) {
    let server = TestServer::answering(|_| ok("here"));
    let mut file = json!({
        "servers": [server.address.to_string()], "load_balancer": "rr", "timeout": "60s", "connect_timeout": "60s",
        "circuit_breaker": "off", "connections": {"max_idle_per_server": 5},
    });
    let channel = Channel::builder(runtime, "").channel_file(&read(&file)).timeout(Duration::from_secs(50));
    let channel = channel.max_idle_per_server(0).build().unwrap();
    channel.set_channel_file(&read(&file)).unwrap();
    assert_eq!(channel.options().channel.timeout, Duration::from_secs(50).into());
    for opened in 1..=2 {
        channel.get("/").await.unwrap();
        assert_eq!(channel.transport().counters().opened, opened, "no connection is kept");
    }
    file["timeout"] = "61s".into();
    file["connections"]["max_idle_per_server"] = 6.into();
    channel.set_channel_file(&read(&file)).unwrap();
    assert_eq!(channel.options().channel.timeout, Duration::from_secs(61).into());
    for _ in 0..2 {
        channel.get("/").await.unwrap();
        assert_eq!(channel.transport().counters().opened, 3, "the connection is kept");
    }
    let fields = file.as_object_mut().unwrap();
    fields.remove("circuit_breaker");
    fields.remove("connections");
    for _ in 0..2 {
        let applied = channel.set_channel_file(&read(&file)).unwrap();
        assert_eq!(applied.needs_new_channel, [FixedSetting::CircuitBreaker, FixedSetting::IdleConnections]);
    }
    assert_settled(&channel);
}

pub async fn a_list_of_a_file_does_not_replace_the_list_of_a_source<R: Runtime>(runtime: R) {
    let server = TestServer::answering(|_| ok("here"));
    let (feed, there) = (Feed::default(), server.address.to_string().parse().unwrap());
    feed.says(std::slice::from_ref(&there));
    let file = json!({"servers": ["127.0.0.1:1"], "load_balancer": "rr", "timeout": "60s", "connect_timeout": "60s"});
    let channel = Channel::builder(runtime, "").channel_file(&read(&file)).naming(feed).build().unwrap();
    assert_eq!(channel.get("/").await.unwrap().text().unwrap(), "here");
    let applied = channel.set_channel_file(&read(&file)).unwrap();
    assert_eq!(applied.servers, None);
    assert_eq!(channel.servers(), [there]);
}

pub async fn c6_a_later_file_takes_back_the_errors_of_a_file_and_keeps_the_rest<R: Runtime>(runtime: R) {
    let build = |files: &[&Value]| {
        let builder = Channel::builder(runtime.clone(), "127.0.0.1:1");
        files.iter().fold(builder, |builder, file| builder.channel_file(&read(file))).build()
    };
    let (sockets, tls) = (json!({"send_buffer": 1}), json!({"roots": "/nowhere/root.pem"}));
    let both = json!({"connections": sockets, "tls": tls});
    let sources = json!({"sources": {"etcd": {"user": "reader"}}});
    let error = |files: &[&Value]| match build(files) {
        Err(BuildError::File(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(error(&[&both]).starts_with("connections.send_buffer"), "the first error is kept");
    assert!(error(&[&both, &json!({})]).starts_with("tls.roots"), "nothing is sent in clear text by mistake");
    assert!(error(&[&sources]).starts_with("sources.etcd"));
    let good = json!({"tls": {"dangerous_no_verification": true}});
    build(&[&both, &sources, &good]).unwrap();
    assert!(error(&[&good, &both]).starts_with("connections.send_buffer"));

    let whole = json!({"name": "users", "connections": {"group": "g", "no_delay": false}, "timeout": "1s"});
    let channel = Channel::builder(runtime.clone(), "127.0.0.1:1").channel_file(&read(&whole));
    let channel = channel.config(&read(&json!({"timeout": "2s"})).channel).build().unwrap();
    let mut next = whole;
    next["timeout"] = "3s".into();
    assert_eq!(channel.set_channel_file(&read(&next)).unwrap().needs_new_channel, [], "they are in force");
    assert_eq!(channel.options().channel.timeout, Duration::from_secs(3).into());
}
