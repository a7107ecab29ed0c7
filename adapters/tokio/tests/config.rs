//! From a file to a channel: the core's own files, and gRPC's service configs. In tokio's paused time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::fmt;
use std::future::pending;
use std::time::Duration;

use hedge_net::service_config::ServiceConfig;
use hedge_net::{
    Address, AttemptError, AttemptInfo, BuildError, Channel, ChannelConfig, ChannelOptions, Denial, ErrorKind,
    Idempotency, Kind, LimitOptions, NotHedged, Report, SendTransport,
};
use hedge_tokio::{CallError, Tokio};

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
    for (json, text) in [
        (r#"{"max_retry": 8}"#, "max_retry 8: must be in [0, 7], as a call holds 8 attempts with the first"),
        (
            r#"{"max_retry": 7, "max_backups": 5}"#,
            "max_backups 5: must be in [0, 4], as 5 attempts with the first fit in flight",
        ),
        (r#"{"backoff": {"jittered": {"min": 2, "max": 1}}}"#, "backoff.jittered.min: must be in [0, max]"),
        (r#"{"limits": {"ratio": {"max_backup_ratio": 1.5}}}"#, "max_backup_ratio 1.5: must be in (0, 1]"),
        (r#"{"limits": {"budget": {"burst": 1}}}"#, "burst 1: must be in [2, 16000]"),
    ] {
        let error = builder().config(&read(json)).build().unwrap_err();
        assert!(error.to_string().contains(text), "{json}: {error}");
        assert!(matches!(error, BuildError::Options(_)), "{json}: {error:?}");
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
