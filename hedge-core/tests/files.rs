//! What files get wrong, in three formats: every message names the field, its value and what to write.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use hedge_core::config::ChannelConfig;
use hedge_core::policy::{CallOptions, ChannelOptions};
use serde_json::Value;

/// What a channel of hedge-net holds.
const ATTEMPTS: usize = 8;

const TIME_LIMIT: &str = r#"must be a duration above 0 such as "200ms" or "2s", or "never""#;
const DELAY: &str = r#"must be a duration such as "20ms" or "2s", or "off""#;
const DURATION: &str = r#"must be a duration such as "20ms" or "2s""#;
const MAX_RETRY: &str = "must be an integer in [0, 254], in hedge-net and hedge-tower in [0, 7]";
const MAX_BACKUPS: &str = "must be an integer in [0, 254], in hedge-net and hedge-tower in [0, 4]";
const BACKOFF: &str = r#"must be "off", or a map with one key: `fixed`, `jittered` or `exponential`"#;
const ONE_BACKOFF: &str = "write exactly one of `off`, `fixed`, `jittered`, `exponential`";
const LIMITS: &str =
    r#"must be a map with `ratio`, `tokens` or `budget`, or "off" for no limit; leave it out for the preset's"#;
const LIMIT: &str = r#"must be a map of what differs from the preset, or "off" for no such limit"#;
/// What needs a heap is a field only where there is one.
const FIELDS: &str = if cfg!(feature = "alloc") {
    "expected one of `servers`, `load_balancer`, `protocol`, `connection_type`, `preset`, `fail_mode`, `timeout`, \
     `connect_timeout`, `attempt_timeout`, `max_in_flight_per_server`, `max_queued_calls`, `max_queue_wait`, `slow_start`, \
     `max_retry`, `backup`, `adaptive_backup`, `max_backups`, `backoff`, \
     `no_backoff_remaining`, `retry_target`, `same_server_backup`, `on_early_failure`, `pushback_for_service`, `idempotency`, \
     `limits`, `circuit_breaker`, `isolation_limit`, `health_checks`, `recovery`, `seed`"
} else {
    "expected one of `load_balancer`, `preset`, `fail_mode`, `timeout`, `connect_timeout`, `attempt_timeout`, \
     `max_in_flight_per_server`, `max_queued_calls`, `max_queue_wait`, `slow_start`, `max_retry`, \
     `backup`, `adaptive_backup`, `max_backups`, `backoff`, `no_backoff_remaining`, `retry_target`, `same_server_backup`, \
     `on_early_failure`, `pushback_for_service`, `idempotency`, `limits`, `circuit_breaker`, `isolation_limit`, \
     `health_checks`, `recovery`, `seed`"
};

/// What is wrong with a file: reading it, or carrying it out.
fn wrong(json: &str) -> Option<String> {
    match serde_json::from_str::<ChannelConfig>(json) {
        // Where it is in the text.
        Err(error) => error.to_string().rsplit_once(" at line ").map(|(message, _)| message.to_owned()),
        Ok(config) => config.options().validate(ATTEMPTS).err().map(|error| error.to_string()),
    }
}

#[test]
fn what_cannot_be_is_named_with_its_value_and_what_to_write() {
    let rows: &[(&str, &str)] = &[
        // Nothing, where something is expected.
        (r#"{"limits": null}"#, &format!("limits null: {LIMITS}")),
        (r#"{"limits": ""}"#, &format!("limits \"\": {LIMITS}")),
        (r#"{"limits": []}"#, &format!("limits (a list): {LIMITS}")),
        (r#"{"limits": {"ratio": null}}"#, &format!("limits.ratio null: {LIMIT}")),
        (r#"{"limits": {"ratio": ""}}"#, &format!("limits.ratio \"\": {LIMIT}")),
        (r#"{"limits": {"ratio": []}}"#, &format!("limits.ratio (a list): {LIMIT}")),
        (r#"{"limits": {"tokens": null}}"#, &format!("limits.tokens null: {LIMIT}")),
        (r#"{"limits": {"tokens": {}}}"#, "limits.tokens is empty: write exactly one of `trpc`, `grpc`"),
        (r#"{"limits": {"budget": null}}"#, &format!("limits.budget null: {LIMIT}")),
        (r#"{"backoff": null}"#, &format!("backoff null: {BACKOFF}")),
        (r#"{"backoff": {}}"#, &format!("backoff is empty: {ONE_BACKOFF}")),
        (r#"{"backoff": ""}"#, &format!("backoff has no ``: {ONE_BACKOFF}")),
        (r#"{"backoff": []}"#, &format!("backoff (a list): {BACKOFF}")),
        (r#"{"backoff": {"fixed": null}}"#, &format!("backoff.fixed null: {DURATION}")),
        (r#"{"backoff": {"jittered": {}}}"#, r#"backoff.jittered.min is missing: write one such as "1ms""#),
        (r#"{"backoff": {"jittered": {"min": 1}}}"#, r#"backoff.jittered.max is missing: write one such as "2ms""#),
        (
            r#"{"backoff": {"jittered": {"min": 1, "max": null}}}"#,
            r#"backoff.jittered.max is missing: write one such as "2ms""#,
        ),
        (
            r#"{"backoff": {"exponential": {"initial": 1, "max": 2}}}"#,
            "backoff.exponential.multiplier_milli is missing: write one such as 2000",
        ),
        (r#"{"timeout": ""}"#, &format!("timeout \"\": {TIME_LIMIT}")),
        (
            r#"{"preset": ""}"#,
            r#"preset "": must be one of "brpc", "rpcx", "rpcx_fail_fast", "rpcx_fail_over", "rpcx_fail_try", "rpcx_fail_backup", "trpc", "grpc_retry", "grpc_hedging", "finagle""#,
        ),
        // No time at all.
        (r#"{"timeout": 0}"#, &format!("timeout 0: {TIME_LIMIT}")),
        (r#"{"timeout": "0s"}"#, &format!("timeout \"0s\": {TIME_LIMIT}")),
        (r#"{"timeout": 0.0}"#, &format!("timeout 0: {TIME_LIMIT}")),
        (r#"{"connect_timeout": 0}"#, &format!("connect_timeout 0: {TIME_LIMIT}")),
        // Numbers that may mean seconds.
        (
            r#"{"timeout": 0.2}"#,
            &format!(
                "timeout 0.2: {TIME_LIMIT}; a number is milliseconds: write \"200ms\" for 0.2 s, or \"200us\" for 0.2 ms"
            ),
        ),
        (
            r#"{"timeout": 1.5}"#,
            &format!(
                "timeout 1.5: {TIME_LIMIT}; a number is milliseconds: write \"1500ms\" for 1.5 s, or \"1500us\" for 1.5 ms"
            ),
        ),
        (
            r#"{"connect_timeout": 0.05}"#,
            &format!(
                "connect_timeout 0.05: {TIME_LIMIT}; a number is milliseconds: write \"50ms\" for 0.05 s, or \"50us\" for 0.05 ms"
            ),
        ),
        (
            r#"{"backup": 0.02}"#,
            &format!(
                "backup 0.02: {DELAY}; a number is milliseconds: write \"20ms\" for 0.02 s, or \"20us\" for 0.02 ms"
            ),
        ),
        (
            r#"{"no_backoff_remaining": 0.5}"#,
            &format!(
                "no_backoff_remaining 0.5: {DURATION}; a number is milliseconds: write \"500ms\" for 0.5 s, or \"500us\" for 0.5 ms"
            ),
        ),
        (
            r#"{"backoff": {"fixed": 0.1}}"#,
            &format!(
                "backoff.fixed 0.1: {DURATION}; a number is milliseconds: write \"100ms\" for 0.1 s, or \"100us\" for 0.1 ms"
            ),
        ),
        (
            r#"{"backoff": {"jittered": {"min": 1, "max": 0.0000001}}}"#,
            &format!("backoff.jittered.max 0.0000001: {DURATION}; a number is milliseconds"),
        ),
        // Negative, huge, of another kind.
        (r#"{"timeout": -1}"#, &format!("timeout -1: {TIME_LIMIT}")),
        (r#"{"timeout": 18446744073709551615}"#, &format!("timeout 18446744073709551615: {TIME_LIMIT}")),
        (r#"{"timeout": "5124095577h"}"#, &format!("timeout \"5124095577h\": {TIME_LIMIT}")),
        (r#"{"timeout": "200"}"#, &format!("timeout \"200\": {TIME_LIMIT}; write \"200ms\" for milliseconds")),
        (r#"{"timeout": "200 parsecs"}"#, &format!("timeout \"200 parsecs\": {TIME_LIMIT}")),
        (r#"{"timeout": "none"}"#, &format!("timeout \"none\": {TIME_LIMIT}")),
        (r#"{"timeout": true}"#, &format!("timeout true: {TIME_LIMIT}")),
        (r#"{"timeout": {"secs": 1, "nanos": 0}}"#, &format!("timeout (a map): {TIME_LIMIT}")),
        (r#"{"timeout": [1]}"#, &format!("timeout (a list): {TIME_LIMIT}")),
        (r#"{"backup": -1}"#, &format!("backup -1: {DELAY}")),
        (r#"{"backup": "never"}"#, &format!("backup \"never\": {DELAY}")),
        (r#"{"backup": "20"}"#, &format!("backup \"20\": {DELAY}; write \"20ms\" for milliseconds")),
        (r#"{"backup": false}"#, &format!("backup false: {DELAY}")),
        (r#"{"max_retry": 300}"#, &format!("max_retry 300: {MAX_RETRY}")),
        (r#"{"max_retry": 255}"#, "max_retry 255: must be in [0, 7], as a call holds 8 attempts with the first"),
        (r#"{"max_retry": 8}"#, "max_retry 8: must be in [0, 7], as a call holds 8 attempts with the first"),
        (r#"{"max_retry": -1}"#, &format!("max_retry -1: {MAX_RETRY}")),
        (r#"{"max_retry": 1.5}"#, &format!("max_retry 1.5: {MAX_RETRY}")),
        (r#"{"max_retry": 1e300}"#, &format!("max_retry 1{}: {MAX_RETRY}", "0".repeat(300))),
        (r#"{"max_retry": "3"}"#, &format!("max_retry \"3\": {MAX_RETRY}; write 3 without quotes")),
        (r#"{"max_retry": "many"}"#, &format!("max_retry \"many\": {MAX_RETRY}")),
        (r#"{"max_retry": true}"#, &format!("max_retry true: {MAX_RETRY}")),
        (r#"{"max_backups": 256}"#, &format!("max_backups 256: {MAX_BACKUPS}")),
        (r#"{"same_server_backup": 1}"#, "same_server_backup 1: must be true or false"),
        (
            r#"{"same_server_backup": "true"}"#,
            r#"same_server_backup "true": must be true or false; write true without quotes"#,
        ),
        (r#"{"same_server_backup": "yes"}"#, r#"same_server_backup "yes": must be true or false"#),
        (
            r#"{"fail_mode": "failover"}"#,
            r#"fail_mode "failover": must be one of "fail_fast", "fail_over", "fail_try", "fail_backup""#,
        ),
        (r#"{"fail_mode": 1}"#, r#"fail_mode 1: must be one of "fail_fast", "fail_over", "fail_try", "fail_backup""#),
        (r#"{"retry_target": "other"}"#, r#"retry_target "other": must be "another" or "same""#),
        (r#"{"on_early_failure": "retry"}"#, r#"on_early_failure "retry": must be "start_next" or "wait""#),
        (r#"{"pushback_for_service": 0}"#, "pushback_for_service 0: must be true or false"),
        (r#"{"idempotency": true}"#, r#"idempotency true: must be "unset", "idempotent" or "not_idempotent""#),
        (r#"{"backoff": 5}"#, &format!("backoff 5: {BACKOFF}")),
        (r#"{"backoff": "5ms"}"#, &format!("backoff has no `5ms`: {ONE_BACKOFF}")),
        (r#"{"backoff": {"fixd": 1}}"#, &format!("backoff has no `fixd`: {ONE_BACKOFF}")),
        (r#"{"backoff": {"fixed": 1, "jittered": 2}}"#, &format!("backoff has another key `jittered`: {ONE_BACKOFF}")),
        (
            r#"{"backoff": {"exponential": {"initial": 1, "multiplier_milli": 1.6, "max": 9}}}"#,
            "backoff.exponential.multiplier_milli 1.6: must be an integer of thousandths in [1000, 4294967295], such as 2000 \
             to double",
        ),
        (
            r#"{"backoff": {"exponential": {"initial": 1, "multiplier_milli": 2, "max": 9}}}"#,
            "backoff.exponential.multiplier_milli: must be in [1000, 4294967295]",
        ),
        (r#"{"backoff": {"jittered": {"min": 2, "max": 1}}}"#, "backoff.jittered.min: must be in [0, max]"),
        // Limits.
        (r#"{"limits": "none"}"#, &format!("limits \"none\": {LIMITS}")),
        (r#"{"limits": true}"#, &format!("limits true: {LIMITS}")),
        (r#"{"limits": {"ratio": 0.1}}"#, &format!("limits.ratio 0.1: {LIMIT}")),
        (r#"{"limits": {"tokens": "trpc"}}"#, &format!("limits.tokens \"trpc\": {LIMIT}")),
        (r#"{"limits": {"tokens": {"tprc": {}}}}"#, "limits.tokens has no `tprc`: write exactly one of `trpc`, `grpc`"),
        (
            r#"{"limits": {"ratio": {"max_backup_ratio": "5%"}}}"#,
            r#"limits.ratio.max_backup_ratio "5%": must be a number in (0, 1]; write 0.05"#,
        ),
        (
            r#"{"limits": {"ratio": {"max_backup_ratio": "0.1"}}}"#,
            r#"limits.ratio.max_backup_ratio "0.1": must be a number in (0, 1]; write 0.1 without quotes"#,
        ),
        (
            r#"{"limits": {"ratio": {"max_backup_ratio": 5}}}"#,
            "limits.ratio.max_backup_ratio 5: must be a number in (0, 1]",
        ),
        (
            r#"{"limits": {"ratio": {"max_backup_ratio": 0}}}"#,
            "limits.ratio.max_backup_ratio 0: must be a number in (0, 1]",
        ),
        (
            r#"{"limits": {"ratio": {"max_backup_ratio": -0.1}}}"#,
            "limits.ratio.max_backup_ratio -0.1: must be a number in (0, 1]",
        ),
        (r#"{"limits": {"ratio": {"mode": "exakt"}}}"#, r#"limits.ratio.mode "exakt": must be "exact" or "cached""#),
        (r#"{"limits": {"ratio": {"burst": 1.5}}}"#, "limits.ratio.burst 1.5: must be an integer in [0, 1000000]"),
        (
            r#"{"limits": {"ratio": {"window_size_seconds": "10s"}}}"#,
            r#"limits.ratio.window_size_seconds "10s": must be an integer in [1, 3600]"#,
        ),
        (
            r#"{"limits": {"ratio": {"window_size_seconds": 3601}}}"#,
            "limits.ratio.window_size_seconds 3601: must be an integer in [1, 3600]",
        ),
        (
            r#"{"limits": {"ratio": {"backup_request_ms": 99999999999}}}"#,
            "limits.ratio.backup_request_ms 99999999999: must be an integer in [-1, 2147483647]",
        ),
        (r#"{"limits": {"budget": {"burst": 1}}}"#, "limits.budget.burst 1: must be an integer in [2, 16000]"),
        (r#"{"limits": {"budget": {"share": "x"}}}"#, r#"limits.budget.share "x": must be a number in [0, 10]"#),
        (r#"{"limits": {"budget": {"share": 11}}}"#, "limits.budget.share 11: must be a number in [0, 10]"),
        (
            r#"{"limits": {"tokens": {"trpc": {"max_tokens": 0}}}}"#,
            "limits.tokens.trpc.max_tokens 0: must be an integer in [1, 1000000]",
        ),
        (
            r#"{"limits": {"tokens": {"grpc": {"token_ratio": "x"}}}}"#,
            r#"limits.tokens.grpc.token_ratio "x": must be a number in [0.001, 1000]"#,
        ),
        (
            r#"{"limits": {"tokens": {"grpc": {"max_tokens": 1001}}}}"#,
            "limits.tokens.grpc.max_tokens 1001: must be an integer in [1, 1000]",
        ),
        // Unknown fields.
        (r#"{"timeout_ms": 5}"#, &format!("unknown field `timeout_ms`, {FIELDS}")),
        (r#"{"limits": {"ration": {}}}"#, "unknown field `ration`, expected one of `ratio`, `tokens`, `budget`"),
    ];
    for (json, message) in rows {
        assert_eq!(wrong(json).as_deref(), Some(*message), "{json}");
    }
    assert!(rows.len() >= 90, "{}", rows.len());
}

/// The same text as YAML and TOML; TOML has no null.
#[test]
fn every_format_says_the_same() {
    for (json, message) in [
        (r#"{"limits": {"ratio": null}}"#, "limits.ratio null: must be a map of what differs from the preset"),
        (r#"{"backoff": null}"#, "backoff null: must be \"off\""),
        (r#"{"limits": null}"#, "limits null: must be a map"),
        (r#"{"timeout": 0}"#, "timeout 0: must be a duration above 0"),
        (r#"{"timeout": 0.2}"#, "write \"200ms\" for 0.2 s, or \"200us\" for 0.2 ms"),
        (r#"{"timeout": -1}"#, "timeout -1: must be a duration above 0"),
        (
            r#"{"max_retry": 300}"#,
            "max_retry 300: must be an integer in [0, 254], in hedge-net and hedge-tower in [0, 7]",
        ),
        (r#"{"max_retry": "3"}"#, "; write 3 without quotes"),
        (r#"{"same_server_backup": "yes"}"#, "same_server_backup \"yes\": must be true or false"),
        (r#"{"backoff": {"jittered": {"min": 1}}}"#, "backoff.jittered.max is missing"),
        (r#"{"backoff": {"jittered": []}}"#, "backoff.jittered (a list): must be a map of its fields"),
        (r#"{"backoff": {"exponential": null}}"#, "backoff.exponential null: must be a map of its fields"),
        (r#"{"limits": {"tokens": {"trpc": null}}}"#, "limits.tokens.trpc null: must be a map of its fields"),
        (
            r#"{"limits": {"tokens": {"grpc": {"max_tokens": 1.5}}}}"#,
            "limits.tokens.grpc.max_tokens 1.5: must be an integer",
        ),
        (r#"{"limits": {"budget": {"burst": "x"}}}"#, "limits.budget.burst \"x\": must be an integer in [2, 16000]"),
    ] {
        let value: Value = serde_json::from_str(json).unwrap();
        let error = serde_json::from_str::<ChannelConfig>(json).unwrap_err().to_string();
        assert!(error.contains(message), "{json}: {error}");
        let yaml = serde_yaml_ng::to_string(&value).unwrap();
        let error = serde_yaml_ng::from_str::<ChannelConfig>(&yaml).unwrap_err().to_string();
        assert!(error.contains(message), "{yaml}: {error}");
        // TOML writes no null: what would be one is left out.
        if json.contains("null") {
            continue;
        }
        let toml = toml::to_string(&value).unwrap();
        let error = toml::from_str::<ChannelConfig>(&toml).unwrap_err().to_string();
        assert!(error.contains(message), "{toml}: {error}");
    }
}

#[test]
fn yaml_with_nothing_under_a_name_says_nothing_by_accident_no_more() {
    for (yaml, message) in [
        ("limits:\n  ratio:\n", "limits.ratio null"),
        ("limits:\n  ratio:\n    # max_backup_ratio: 0.05\n", "limits.ratio null"),
        ("limits:\n  tokens: ~\n", "limits.tokens null"),
        ("limits:\n  budget:\n  ratio: {burst: 1}\n", "limits.budget null"),
        ("limits:\n", "limits null"),
        ("backoff:\ntimeout: 1s\n", "backoff null"),
        ("limits:\n  tokens:\n    trpc:\n", "limits.tokens.trpc null"),
        ("backoff:\n  jittered:\n", "backoff.jittered null"),
        ("backoff:\n  fixed:\n", "backoff.fixed null"),
    ] {
        let error = serde_yaml_ng::from_str::<ChannelConfig>(yaml).unwrap_err().to_string();
        assert!(error.contains(message), "{yaml}: {error}");
    }
    // Where there is one value and no fields, nothing is the preset's, as the docs say.
    let config: ChannelConfig = serde_yaml_ng::from_str("timeout:\nmax_retry: ~\nbackup:\n").unwrap();
    assert_eq!(config, ChannelConfig::default());
}

#[test]
fn options_are_named_as_files_are() {
    for (json, message) in [
        (r#"{"timeout": 0}"#, format!("timeout 0: {TIME_LIMIT}")),
        (r#"{"connect_timeout": "soon"}"#, format!("connect_timeout \"soon\": {TIME_LIMIT}")),
        (r#"{"max_retry": 300}"#, format!("max_retry 300: {MAX_RETRY}")),
        (r#"{"backup": "20"}"#, format!("backup \"20\": {DELAY}; write \"20ms\" for milliseconds")),
        (
            r#"{"idempotency": "maybe"}"#,
            r#"idempotency "maybe": must be "unset", "idempotent" or "not_idempotent""#.into(),
        ),
        (r#"{"backoff": null}"#, format!("backoff null: {BACKOFF}")),
    ] {
        let cut =
            |error: serde_json::Error| error.to_string().rsplit_once(" at line ").map(|(text, _)| text.to_owned());
        assert_eq!(cut(serde_json::from_str::<ChannelOptions>(json).unwrap_err()).as_ref(), Some(&message), "{json}");
        let Err(error) = serde_json::from_str::<CallOptions<'_>>(json) else { panic!("{json} was read") };
        assert_eq!(cut(error).as_ref(), Some(&message), "{json}");
    }
    let error = serde_json::from_str::<ChannelOptions>(r#"{"timeout": null}"#).unwrap_err().to_string();
    assert!(error.starts_with(&format!("timeout null: {TIME_LIMIT}")), "{error}");
    let none = serde_json::from_str::<CallOptions<'_>>(r#"{"timeout": null, "request_code": null}"#).unwrap();
    assert!(none.timeout.is_none() && none.request_code.is_none());
}

#[test]
fn what_a_file_contradicts_is_warned_of() {
    let warnings = |json: &str| -> Vec<String> {
        let config: ChannelConfig = serde_json::from_str(json).unwrap();
        config.warnings().iter().map(ToString::to_string).collect()
    };
    for (json, text) in [
        (
            r#"{"timeout": "20ms", "connect_timeout": "5ms", "backup": "20ms"}"#,
            "backup 20 ms: not below timeout 20 ms, so no backup is ever sent; write a shorter backup or a longer timeout",
        ),
        (
            r#"{"max_retry": 0, "backup": "20ms"}"#,
            "max_retry 0: allows one attempt a call, so no backup is ever sent although backup asks for one; write max_retry \
             1 or more",
        ),
        (
            r#"{"preset": "rpcx_fail_backup", "fail_mode": "fail_fast"}"#,
            "max_retry 0: allows one attempt a call, so no backup is ever sent although backup asks for one; write max_retry \
             1 or more",
        ),
        (
            r#"{"limits": {"ratio": {"max_backup_ratio": 0.05}}}"#,
            "limits.ratio: limits nothing, since no backup is asked for, except by calls that ask for one; write a backup, such \
             as 20ms",
        ),
        (
            r#"{"timeout": "150ms"}"#,
            "connect_timeout 200 ms: not below timeout 150 ms, so a server that cannot be reached takes the whole call and \
             nothing is retried; write a shorter connect_timeout",
        ),
    ] {
        assert_eq!(warnings(json), [text], "{json}");
    }
    for json in [
        "{}",
        r#"{"preset": "trpc", "timeout": "200ms", "backup": "10ms", "limits": {"ratio": {"max_backup_ratio": 0.02}}}"#,
        r#"{"preset": "grpc_hedging", "timeout": "never"}"#,
        r#"{"preset": "finagle", "fail_mode": "fail_fast"}"#,
        r#"{"limits": "off"}"#,
    ] {
        assert_eq!(warnings(json), [""; 0], "{json}");
    }
}
