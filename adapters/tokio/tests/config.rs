//! From a file to a channel: the core's own files, and gRPC's service configs. In tokio's paused time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::fmt;
use std::future::pending;
use std::time::Duration;

use hedge_core::bounded::Bounded;
use hedge_net::hedge_naming::Sources;
use hedge_net::service_config::ServiceConfig;
use hedge_net::{
    AdaptiveOptions, Address, AttemptError, AttemptInfo, BuildError, Channel, ChannelConfig, ChannelOptions, Denial,
    ErrorKind, Idempotency, Inspect as _, IsolationLimit, Kind, LimitOptions, Naming, NamingError, NamingErrorKind,
    NotHedged, PauseRange, Report, SendTransport, ServerState, Setting, Update,
};
use hedge_tokio::{CallError, ChannelFile, Tokio};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Servers that never answer.
struct Stalling;

#[derive(Debug)]
enum Never {}

impl AttemptError for Never {
    fn kind(&self) -> ErrorKind {
        match *self {}
    }
}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

impl SendTransport for Stalling {
    type Address = Address;
    type Request = ();
    type Reply = ();
    type Error = Never;

    async fn start(&self, (): &(), _: AttemptInfo<Address>) -> Result<(), Never> {
        pending().await
    }
}

/// A channel of six servers to be.
fn builder() -> hedge_tokio::Builder<Stalling> {
    let servers = "list://10.0.0.1:1,10.0.0.2:1,10.0.0.3:1,10.0.0.4:1,10.0.0.5:1,10.0.0.6:1";
    Channel::with_transport(Tokio::new(), Stalling, servers).load_balancer("rr").seed(1)
}

fn read(json: &str) -> ChannelConfig {
    serde_json::from_str(json).unwrap()
}

/// The report of a call, which ends at its deadline.
async fn report(channel: &hedge_tokio::Channel<Stalling>) -> Report {
    let error = channel.call(()).await.unwrap_err();
    assert!(matches!(error, CallError::Deadline { last: None, .. }), "{error}");
    error.report().clone()
}

#[tokio::test(start_paused = true)]
async fn f_what_a_file_says_is_what_a_channel_does() {
    let config = read(r#"{"timeout": "150ms", "backup": "20ms", "max_retry": 1, "limits": {"ratio": {"burst": 1}}}"#);
    // What was set before is replaced, the limits too.
    let replaced = builder().timeout(MS(1)).max_retry(7).max_backups(3).limits(LimitOptions::NONE);
    let channel = replaced.config(&config).build().unwrap();
    let hedged = report(&channel).await;
    assert_eq!((hedged.elapsed(), hedged.attempts().len()), (MS(150), 2));
    let backup = &hedged.attempts()[1];
    assert_eq!((backup.kind(), backup.started()), (Kind::Backup, MS(20)));
    // The burst of one is spent.
    assert_eq!(report(&channel).await.not_hedged(), Some(NotHedged::Denied(Denial::Ratio)));
}

#[tokio::test(start_paused = true)]
async fn f_setters_that_follow_a_file_change_single_options() {
    let config = read(r#"{"timeout": "150ms", "backup": "20ms", "idempotency": "not_idempotent"}"#);
    let channel = builder().config(&config).timeout(MS(70)).build().unwrap();
    let once = report(&channel).await;
    assert_eq!((once.elapsed(), once.not_hedged()), (MS(70), Some(NotHedged::NotIdempotent)));
    let channel = builder().config(&config).idempotency(Idempotency::Idempotent).build().unwrap();
    assert_eq!(report(&channel).await.backups(), 1);
}

#[test]
fn l3_a_file_that_cannot_be_carried_out_is_an_error_that_names_what() {
    let backwards = serde_json::from_str::<ChannelConfig>(r#"{"backoff": {"jittered": {"min": 2, "max": 1}}}"#);
    let text = backwards.unwrap_err().to_string();
    assert!(text.contains("backoff.jittered.min: must be in [0, max]"), "{text}");
    for (json, text) in [
        (r#"{"max_retry": 8}"#, "max_retry 8: must be in [0, 7], as a call holds 8 attempts with the first"),
        (
            r#"{"max_retry": 7, "max_backups": 5}"#,
            "max_backups 5: must be in [0, 4], as 5 attempts with the first fit in flight",
        ),
    ] {
        let error = builder().config(&read(json)).build().unwrap_err();
        assert!(error.to_string().contains(text), "{json}: {error}");
        assert!(matches!(error, BuildError::Options(_)), "{json}: {error:?}");
    }
    for (json, text) in [
        (r#"{"limits": {"ratio": {"max_backup_ratio": 1.5}}}"#, "max_backup_ratio 1.5: must be a number in (0, 1]"),
        (r#"{"limits": {"budget": {"burst": 1}}}"#, "burst 1: must be an integer in [2, 16000]"),
    ] {
        let error = serde_json::from_str::<ChannelConfig>(json).unwrap_err().to_string();
        assert!(error.contains(text), "{json}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn l6_a_hedging_policy_of_five_attempts_sends_five() {
    // What A6 takes for more than 5 is 5.
    for (max_attempts, sent) in [(2, 2), (4, 4), (5, 5), (6, 5), (99, 5)] {
        let text = format!(
            r#"{{"methodConfig": [{{"name": [{{"service": "users.Users"}}], "timeout": "1s",
                 "hedgingPolicy": {{"maxAttempts": {max_attempts}, "hedgingDelay": "0.01s"}}}}]}}"#
        );
        let config: ServiceConfig<'_> = serde_json::from_str(&text).unwrap();
        let method = config.method("users.Users", "Get").unwrap();
        let channel = builder().options(method.channel_options(&ChannelOptions::brpc())).build().unwrap();
        let report = report(&channel).await;
        let starts = report.attempts().iter().map(|attempt| attempt.started().as_millis());
        assert!(starts.eq((0..sent).map(|attempt| 10 * attempt)), "{max_attempts}: {report:?}");
        let mut servers: Vec<_> = report.attempts().iter().map(|attempt| attempt.server()).collect();
        servers.sort_unstable();
        servers.dedup();
        assert_eq!(servers.len() as u128, sent, "each at a server of its own");
    }
}

/// A channel of the servers that the file names.
fn whole(json: &str) -> hedge_tokio::Builder<Stalling> {
    Channel::with_transport(Tokio::new(), Stalling, "").config(&read(json))
}

#[tokio::test(start_paused = true)]
async fn a_file_is_a_whole_channel() {
    let json = r#"{"servers": ["10.0.0.1:1", "10.0.0.2:1 3", "10.0.0.3:1 x"], "load_balancer": "wrr:default_weight=2",
                   "timeout": 100, "adaptive_backup": {}, "max_retry": 1, "seed": 1,
                   "circuit_breaker": {"consecutive_failures": {"failures": 1}}, "health_checks": "off"}"#;
    let channel = whole(json).name("users").build().unwrap();
    let info = channel.inspect();
    assert_eq!((&*info.name, info.options.channel.max_retry, info.latencies.calls), ("users", 1, 0));
    let servers: Vec<_> =
        info.servers.iter().map(|server| (&*server.address, &*server.tag, server.weight.get())).collect();
    assert_eq!(servers, [("10.0.0.1:1", "", 2), ("10.0.0.2:1", "3", 3), ("10.0.0.3:1", "x", 2)]);

    // At the deadline the attempt had all of the timeout, so it is a failure of its server, which the breaker isolates.
    let late = report(&channel).await;
    assert_eq!((late.elapsed(), late.attempts().len()), (MS(100), 1), "the delay has not warmed up");
    let info = channel.inspect();
    let isolated = info.servers.iter().filter(|server| matches!(server.state, ServerState::Isolated(_)));
    assert_eq!((isolated.count(), info.latencies.abandoned), (1, 1));
    assert!(info.to_string().contains("  isolated for "), "{info}");
}

#[test]
fn a_file_replaces_what_it_names_and_leaves_the_rest() {
    let base = || {
        let builder = Channel::with_transport(Tokio::new(), Stalling, "list://10.0.0.1:1,10.0.0.2:1");
        builder.load_balancer("wrr")
    };
    let weightless = base().config(&read("{}")).build().unwrap_err();
    assert!(matches!(weightless, BuildError::Weight { .. }), "the balancer and the servers stay: {weightless}");
    let channel = base().config(&read(r#"{"load_balancer": "rr", "servers": "10.0.0.9:1"}"#)).build().unwrap();
    assert_eq!(channel.servers(), ["10.0.0.9:1".parse().unwrap()]);
    assert_eq!(channel.name(), "10.0.0.9:1");
}

/// What is wrong or strange is told in the same words, whether a file says it or the program.
#[test]
fn a_file_is_checked_as_a_builder_is() {
    let builder = || builder().timeout(MS(100));
    let config = |json: &str| {
        let json = json.trim_start_matches('{');
        builder().config(&read(&format!(r#"{{"timeout": 100, {json}"#)))
    };
    for (file, code, text) in [
        (
            config(r#"{"servers": "list://a:1,b"}"#),
            Channel::with_transport(Tokio::new(), Stalling, "list://a:1,b"),
            "server 2 \"b\": port missing; write host:port",
        ),
        (
            config(r#"{"servers": ["a:1", "b"]}"#),
            Channel::with_transport(Tokio::new(), Stalling, "list://a:1,b"),
            "server 2 \"b\": port missing; write host:port",
        ),
        (
            config(r#"{"servers": "bns://users"}"#),
            Channel::with_transport(Tokio::new(), Stalling, "bns://users"),
            "unknown naming scheme \"bns\"; known are ",
        ),
        (
            config(r#"{"servers": []}"#),
            Channel::with_transport(Tokio::new(), Stalling, "list://"),
            "the list of servers",
        ),
        (config(r#"{"servers": ""}"#), Channel::with_transport(Tokio::new(), Stalling, ""), "the list of servers"),
    ] {
        let (file, code) = (file.build().unwrap_err(), code.build().unwrap_err());
        assert!(code.to_string().starts_with(text), "{code}");
        assert_eq!(file, code);
    }
    let warns = |builder: hedge_tokio::Builder<Stalling>| {
        builder.warnings().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let adaptive = AdaptiveOptions::DEFAULT;
    for (file, code, text) in [
        (
            config(r#"{"adaptive_backup": {}, "backup": 20}"#),
            builder().backup(MS(20)).adaptive_backup(adaptive),
            "backup: never used, since backup_policy gives the delay",
        ),
        (
            config(r#"{"adaptive_backup": {}, "servers": ["10.0.0.1:1"]}"#),
            Channel::with_transport(Tokio::new(), Stalling, "10.0.0.1:1").timeout(MS(100)).adaptive_backup(adaptive),
            "backup_policy: there is one server address, so no backup is sent",
        ),
        (
            config(r#"{"load_balancer": "prequal"}"#),
            builder().load_balancer("prequal"),
            "load_balancer prequal: no server is probed",
        ),
        (
            config(r#"{"isolation_limit": {"selectable_percent": 60}}"#),
            builder().isolation_limit(IsolationLimit { selectable_percent: Bounded::of::<60>() }),
            "isolation_limit selectable_percent 60: does nothing without a circuit breaker",
        ),
    ] {
        let (file, code) = (warns(file.connect_timeout(MS(50))), warns(code.connect_timeout(MS(50))));
        assert!(code.len() == 1 && code[0].starts_with(text), "{code:?}");
        assert_eq!(file, code);
    }
}

#[test]
fn c1_a_file_may_name_the_protocol_that_the_channel_has() {
    let http = |json: &str| hedge_tokio::builder("10.0.0.1:1").config(&read(json)).build();
    for json in [
        "{}",
        r#"{"protocol": "http"}"#,
        r#"{"protocol": "http", "connection_type": "pooled"}"#,
        r#"{"connection_type": "short"}"#,
    ] {
        assert!(http(json).is_ok(), "{json}");
    }
    assert!(http(r#"{"connection_type": "pooled"}"#).is_ok());
    for (json, text) in [
        (r#"{"protocol": "redis"}"#, "protocol \"redis\": unknown; known are http, h2"),
        (
            r#"{"protocol": "http", "connection_type": "single"}"#,
            "connection_type \"single\": protocol \"http\" supports pooled, short",
        ),
        (r#"{"connection_type": "many"}"#, "connection_type \"many\": unknown; known are single, pooled, short"),
    ] {
        assert_eq!(http(json).unwrap_err().to_string(), text);
    }
    let own = whole(r#"{"servers": "a:1", "protocol": "http"}"#).build().unwrap_err().to_string();
    assert_eq!(
        own,
        "protocol, connection_type: this channel uses a transport of the program; leave both out of the file"
    );
}

#[test]
fn the_file_of_the_readme_is_that_of_the_example_and_is_a_channel() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let readme = std::fs::read_to_string(format!("{root}/README.md")).unwrap();
    let file = std::fs::read_to_string(format!("{root}/examples/channel.json")).unwrap();
    assert!(readme.contains(&format!("```json\n{file}```\n")), "the README shows examples/channel.json");
    let config: ChannelFile = serde_json::from_str(&file).unwrap();
    assert!(matches!(config.channel.circuit_breaker, Some(Setting::On(_))));
    let builder = hedge_tokio::builder("").channel_file(&config);
    assert_eq!(builder.warnings().to_vec(), []);
    let channel = builder.build().unwrap();
    assert_eq!((channel.servers().len(), channel.inspect().options.channel.max_retry), (3, 2));
}

#[cfg(all(feature = "naming-http", feature = "_tls"))]
#[test]
fn c6_an_error_of_the_tls_of_sources_stays_until_a_file_says_something_about_it() {
    let wrong = r#"{"sources": {"http": {"tls": {"roots": "/nowhere/root.pem"}}}}"#;
    let build = |later: &str| {
        let builder = [wrong, later].iter().fold(hedge_tokio::builder("127.0.0.1:1"), |builder, json| {
            builder.channel_file(&serde_json::from_str::<ChannelFile>(json).unwrap())
        });
        builder.build().map(drop).map_err(|error| error.to_string())
    };
    for silent in ["{}", r#"{"sources": {"http": {"allow_clear_text_credentials": true}}}"#] {
        let error = build(silent).unwrap_err();
        assert!(error.contains("sources.http.tls.roots"), "nothing is sent in clear text by mistake: {error}");
    }
    build(r#"{"sources": {"http": {"tls": {}}}}"#).unwrap();
}

/// Fails once, and then has a list.
struct FailsOnce(bool);

impl Naming for FailsOnce {
    async fn next(&mut self) -> Result<Update, NamingError> {
        if std::mem::replace(&mut self.0, true) {
            return Ok(Update::from_lines("10.0.0.1:1"));
        }
        Err(NamingError::new("test://users", NamingErrorKind::Unreachable))
    }
}

#[tokio::test(start_paused = true)]
async fn n2_a_file_or_the_program_sets_the_pauses_after_an_error_of_a_source() {
    let file = |json: &str| serde_json::from_str::<ChannelFile>(json).unwrap();
    let pauses = r#"{"sources": {"retry": {"min": "3s", "max": "4s"}}}"#;
    let program = || Sources::new(Tokio::new()).retry(PauseRange::of_millis::<7_000, 8_000>());
    for (sources, json, bounds) in [
        (None, "{}", 500..=1_000),
        (None, pauses, 3_000..=4_000),
        (Some(program()), r#"{"sources": {"file": {"every": "1s"}}}"#, 7_000..=8_000),
        (Some(program()), pauses, 3_000..=4_000),
    ] {
        let builder = hedge_tokio::builder("");
        let builder = if let Some(sources) = sources { builder.sources(sources) } else { builder };
        let builder = builder.channel_file(&file(json)).naming(FailsOnce(false)).load_balancer("rr");
        let (channel, start) = (builder.build().unwrap(), tokio::time::Instant::now());
        channel.ready().await;
        assert!(bounds.contains(&start.elapsed().as_millis()), "{json}: {:?}", start.elapsed());
    }
}
