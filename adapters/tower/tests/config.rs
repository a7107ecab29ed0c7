//! Layers and sets that are built from a file: from the core's own format, and from gRPC's service configs. In tokio's
//! paused time.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::time::Duration;

use common::{NEVER, Reports, Scripted, builder, call, ms};
use hedge_tokio::Tokio;
use hedge_tower::hedge_core::bounded::Bounded;
use hedge_tower::hedge_core::config::ChannelConfig;
use hedge_tower::hedge_core::config::service_config::ServiceConfig;
use hedge_tower::hedge_core::health::FailureOptions;
use hedge_tower::hedge_core::outcome::{Denial, Kind, NotHedged};
use hedge_tower::hedge_core::policy::{ChannelOptions, ConfigError, Idempotency};
use hedge_tower::{BreakerOptions, BuildError, Builder, Error, HedgeSet, IsolationLimit, LimitOptions};
use tower::Layer;

fn read(json: &str) -> ChannelConfig {
    serde_json::from_str(json).unwrap()
}

#[tokio::test(start_paused = true)]
async fn f_what_a_file_says_is_what_a_layer_does() {
    let config = read(r#"{"timeout": "150ms", "backup": "20ms", "max_retry": 1, "limits": {"ratio": {"burst": 1}}}"#);
    let reports = Reports::default();
    // The file replaces the options and the limits that were set before.
    let replaced = builder().timeout(ms(1)).max_retry(7).max_backups(3).limits(LimitOptions::NONE);
    let layer = reports.hear(replaced.config(&config)).layer().unwrap();
    let stalled = Scripted::new(&[(NEVER, Ok("late"))]);
    let (result, at) = call(&mut layer.layer(stalled.clone()), ()).await;
    assert!(matches!(result, Err(Error::Deadline { last: None })));
    let report = reports.only();
    let backup = report.attempts().get(1).unwrap();
    assert_eq!((at, report.attempts().len(), backup.kind()), (150, 2, Kind::Backup));
    assert_eq!(backup.started(), ms(20));
    // The burst of one backup is spent.
    let _ = call(&mut layer.layer(stalled), ()).await;
    assert_eq!(reports.only().not_hedged(), Some(NotHedged::Denied(Denial::Ratio)));
}

#[tokio::test(start_paused = true)]
async fn f_setters_that_follow_a_file_change_single_options() {
    let config = read(r#"{"timeout": "150ms", "idempotency": "not_idempotent"}"#);
    let steps = [(1, Err("no")), (NEVER, Ok("late"))];
    let layer = builder().config(&config).idempotency(Idempotency::Idempotent).layer().unwrap();
    let (result, at) = call(&mut layer.layer(Scripted::new(&steps)), ()).await;
    assert!(matches!(result, Err(Error::Deadline { last: Some("no") })));
    assert_eq!(at, 150);
    let layer = builder().config(&config).timeout(ms(70)).layer().unwrap();
    let (result, _) = call(&mut layer.layer(Scripted::new(&steps)), ()).await;
    assert!(matches!(result, Err(Error::Failed("no"))));
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
        let config = read(json);
        let error = builder().config(&config).layer().unwrap_err();
        assert!(error.to_string().contains(text), "{json}: {error}");
        assert_eq!(builder().config(&config).set::<u16, Scripted>().unwrap_err(), error, "{json}");
        assert!(matches!(error, BuildError::Options(_)), "{json}: {error:?}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_warned_of_in_code_and_files() {
    let breaker = BreakerOptions::ConsecutiveFailures(FailureOptions::DEFAULT);
    for (builder, text) in [
        (builder(), ""),
        (builder().timeout(ms(100)), ""),
        (builder().backup(ms(20)), ""),
        (builder().backup(ms(500)), "backup 500 ms: not below timeout 500 ms"),
        (builder().max_retry(0).backup(ms(20)), "max_retry 0: allows one attempt a call"),
        (builder().max_backups(2), "max_backups 2: does nothing without a backup"),
        (builder().load_balancer("prequal"), "load_balancer prequal: no server is probed"),
        (builder().circuit_breaker(breaker), ""),
        (
            builder()
                .circuit_breaker(breaker)
                .isolation_limit(IsolationLimit { selectable_percent: Bounded::of::<100>() }),
            "isolation_limit selectable_percent 100: no server may be isolated",
        ),
        (builder().config(&read(r#"{"timeout": "20ms", "backup": "20ms"}"#)), "backup 20 ms: not below timeout 20 ms"),
        (
            builder().config(&read(r#"{"limits": {"ratio": {"max_backup_ratio": 0.05}}}"#)),
            "limits.ratio: limits nothing, since no backup is asked for",
        ),
    ] {
        let warnings: Vec<_> = builder.warnings().iter().map(ToString::to_string).collect();
        let as_wanted = match warnings.as_slice() {
            [] => text.is_empty(),
            [warning] => !text.is_empty() && warning.starts_with(text),
            _ => false,
        };
        assert!(as_wanted, "{warnings:?} instead of {text}");
    }
}

#[test]
fn l2_no_time_at_all_is_an_error() {
    let error = builder().timeout(Duration::ZERO).layer().unwrap_err();
    assert_eq!(error, BuildError::Options(ConfigError::NoTime { field: "timeout" }));
    assert_eq!(error.to_string(), "timeout 0: must be above 0; for no limit, write never");
}

/// A builder from a service config whose hedging policy asks for this many attempts, and the list that gets the
/// reports.
fn hedging(max_attempts: u32) -> (Builder<Tokio>, Reports) {
    let text = format!(
        r#"{{"methodConfig": [{{"name": [{{"service": "users.Users"}}], "timeout": "1s",
             "hedgingPolicy": {{"maxAttempts": {max_attempts}, "hedgingDelay": "0.01s"}}}}]}}"#
    );
    let config: ServiceConfig<'_> = serde_json::from_str(&text).unwrap();
    let method = config.method("users.Users", "Get").unwrap();
    let reports = Reports::default();
    (reports.hear(builder().options(method.channel_options(&ChannelOptions::brpc()))), reports)
}

#[tokio::test(start_paused = true)]
async fn l6_a_hedging_policy_of_five_attempts_sends_five() {
    // A6 treats any number above 5 as 5.
    for (max_attempts, sent) in [(2, 2), (4, 4), (5, 5), (6, 5), (99, 5)] {
        let (builder, reports) = hedging(max_attempts);
        let service = Scripted::new(&[(NEVER, Ok("late"))]);
        let counts = service.counts();
        let (result, at) = call(&mut builder.layer().unwrap().layer(service), ()).await;
        assert!(matches!(result, Err(Error::Deadline { last: None })), "{max_attempts}: {result:?}");
        assert_eq!((at, counts.get()), (1_000, (sent, 0)), "{max_attempts}");
        let report = reports.only();
        let starts = report.attempts().iter().map(|attempt| attempt.started().as_millis());
        assert!(starts.eq((0..sent as u128).map(|attempt| 10 * attempt)), "{report:?}");

        let (builder, reports) = hedging(max_attempts);
        let mut set: HedgeSet<u16, Scripted, Tokio> = builder.set().unwrap();
        let servers = [1, 2, 3, 4, 5, 6].map(|_| Scripted::new(&[(NEVER, Ok("late"))]));
        let counts = servers.each_ref().map(Scripted::counts);
        for (key, server) in (0..).zip(servers) {
            set.insert(key, server).unwrap();
        }
        assert!(matches!(call(&mut set, ()).await.0, Err(Error::Deadline { last: None })));
        assert_eq!(reports.only().backups() + 1, sent);
        assert_eq!(counts.iter().filter(|counts| counts.get() == (1, 0)).count(), sent, "each at a server of its own");
    }
}

#[tokio::test(start_paused = true)]
async fn l7_the_fifth_attempt_may_win() {
    let steps = [(NEVER, Ok("a")), (NEVER, Ok("b")), (NEVER, Ok("c")), (NEVER, Ok("d")), (5, Ok("fifth"))];
    let (builder, _) = hedging(5);
    let (result, at) = call(&mut builder.layer().unwrap().layer(Scripted::new(&steps)), ()).await;
    assert_eq!((result.unwrap(), at), ("fifth", 45));
}

#[test]
fn a_file_names_nothing_that_the_program_brings_itself() {
    for (json, field) in [
        (r#"{"servers": "list://a:1"}"#, "servers"),
        (r#"{"protocol": "http"}"#, "protocol"),
        (r#"{"health_checks": "off"}"#, "health_checks"),
    ] {
        let error = builder().config(&read(json)).layer().unwrap_err();
        assert_eq!(error, BuildError::Unsupported { field });
        assert!(error.to_string().starts_with(&format!("{field}: the program brings its services")), "{error}");
        assert!(builder().config(&read(json)).set::<u16, Scripted>().is_err());
    }
    let all = r#"{"load_balancer": "p2c", "adaptive_backup": {}, "circuit_breaker": {"circuit": {}}, "seed": 1}"#;
    assert!(builder().config(&read(all)).set::<u16, Scripted>().is_ok());
    let error =
        serde_json::from_str::<ChannelConfig>(r#"{"adaptive_backup": {"warm_up": 0}}"#).unwrap_err().to_string();
    assert!(error.starts_with("adaptive_backup.warm_up 0: must be an integer in [1, 4294967295]"), "{error}");
}
