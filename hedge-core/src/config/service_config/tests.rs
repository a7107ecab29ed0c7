extern crate std;
use super::*;
use crate::bounded::{Bounded, Decimal};
use std::format;
use std::string::{String, ToString};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn read(json: &str) -> Result<ServiceConfig<'_>, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// Returns a document with one method config, which applies to every method. In addition to its name, the config has
/// `fields`.
fn one(fields: &str) -> String {
    format!(r#"{{"methodConfig": [{{"name": [{{}}]{fields}}}]}}"#)
}

fn retry(max_attempts: &str, initial: &str, max: &str, multiplier: &str, codes: &str) -> String {
    one(&format!(
        r#", "retryPolicy": {{"maxAttempts": {max_attempts}, "initialBackoff": {initial}, "maxBackoff": {max},
            "backoffMultiplier": {multiplier}, "retryableStatusCodes": {codes}}}"#
    ))
}

fn hedging(fields: &str) -> String {
    one(&format!(r#", "hedgingPolicy": {{{fields}}}"#))
}

/// Returns the policy of a document with one method config.
fn policy(json: &str) -> Option<MethodPolicy> {
    let config = read(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    config.method("any", "any").and_then(|method| method.policy().copied())
}

fn codes(of: &[u8]) -> StatusCodes {
    let mut codes = StatusCodes::default();
    assert!(of.iter().all(|code| codes.insert(Value::Number((*code).into()))));
    codes
}

#[test]
fn the_examples_of_a6_are_read() {
    let text = r#"{
      "loadBalancingPolicy": "round_robin",
      "methodConfig": [
        {"name": [{"service": "a.A"}], "waitForReady": true, "timeout": "1.5s",
         "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
                         "retryableStatusCodes": ["UNAVAILABLE"]}},
        {"name": [{"service": "b.B", "method": "Get"}],
         "hedgingPolicy": {"maxAttempts": 4, "hedgingDelay": "0.5s",
                           "nonFatalStatusCodes": ["UNAVAILABLE", "INTERNAL", "ABORTED"]}}
      ],
      "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
    }"#;
    let config = read(text).unwrap();
    let base = ChannelOptions::brpc();

    let retried = config.method("a.A", "Any").unwrap();
    let backoff = Backoff::exponential(MS(100), 2_000, MS(1_000)).unwrap();
    let expected = ChannelOptions {
        timeout: MS(1_500).into(),
        max_retry: 3,
        backoff,
        idempotency: Idempotency::Idempotent,
        ..base.clone()
    };
    assert_eq!(retried.channel_options(&base), expected);
    assert_eq!(retried.policy(), Some(&MethodPolicy::Retry { max_attempts: 4, backoff, retryable: codes(&[14]) }));

    let hedged = config.method("b.B", "Get").unwrap();
    let expected = ChannelOptions {
        max_retry: 3,
        backup: BackupDelay::after(MS(500)),
        max_backups: 3,
        idempotency: Idempotency::Idempotent,
        ..base.clone()
    };
    assert_eq!(hedged.channel_options(&base), expected);

    assert!(config.method("c.C", "Get").is_none());
    #[cfg(has_atomic_64)]
    assert_eq!(
        config.throttling(),
        Some(TokenOptions::Grpc { max_tokens: Bounded::of::<10>(), token_ratio: Decimal::of_thousandths::<100>() })
    );
}

#[test]
fn what_a6_allows_is_read() {
    for (json, expected) in [
        (hedging(r#""maxAttempts": 2"#), (2, 0, &[][..])),
        (hedging(r#""maxAttempts": 5, "hedgingDelay": "0s""#), (5, 0, &[])),
        (hedging(r#""maxAttempts": 6, "hedgingDelay": "0.000000001s""#), (5, 1, &[])),
        (hedging(r#""maxAttempts": 1e300, "nonFatalStatusCodes": []"#), (5, 0, &[])),
        (hedging(r#""maxAttempts": 3.0, "hedgingDelay": null, "nonFatalStatusCodes": null"#), (3, 0, &[])),
        (hedging(r#""maxAttempts": 2, "nonFatalStatusCodes": ["unavailable", 13, "Aborted"]"#), (2, 0, &[10, 13, 14])),
        (hedging(r#""maxAttempts": 2, "nonFatalStatusCodes": [0, 16, 16], "unknown": [{}]"#), (2, 0, &[0, 16])),
    ] {
        let (max_attempts, micros, of) = expected;
        let delay = Duration::from_micros(micros);
        let expected = MethodPolicy::Hedging { max_attempts, delay, non_fatal: codes(of) };
        assert_eq!(policy(&json), Some(expected), "{json}");
    }
    let (ms, us) = (MS, Duration::from_micros);
    for (json, max_attempts, initial, multiplier_milli, max) in [
        (retry("2", r#""1s""#, r#""2s""#, "1.6", "[14]"), 2, ms(1_000), 1_600, ms(2_000)),
        (retry("99", r#""0.5s""#, r#""10s""#, "1", r#"["unavailable"]"#), 5, ms(500), 1_000, ms(10_000)),
        // If the initial backoff is above the maximum, the first wait is the maximum too.
        (retry("2", r#""3s""#, r#""2s""#, "2", "[14]"), 2, ms(2_000), 2_000, ms(2_000)),
        // Waits neither shrink nor overflow.
        (retry("2", r#""1s""#, r#""2s""#, "0.5", "[14]"), 2, ms(1_000), 1_000, ms(2_000)),
        (retry("2", r#""0.0000001s""#, r#""2s""#, "1e300", "[14]"), 2, us(1), u32::MAX, ms(2_000)),
    ] {
        let backoff = Backoff::exponential(initial, multiplier_milli, max).unwrap();
        let expected = MethodPolicy::Retry { max_attempts, backoff, retryable: codes(&[14]) };
        assert_eq!(policy(&json), Some(expected), "{json}");
    }
}

#[test]
fn what_a6_forbids_is_an_error_that_names_field_value_and_range() {
    let good = [r#""1s""#, r#""2s""#, "2", "[14]"];
    let with = |at: usize, value: &'static str| {
        let mut fields = good;
        fields[at] = value;
        retry("2", fields[0], fields[1], fields[2], fields[3])
    };
    let attempts = |value: &str| retry(value, good[0], good[1], good[2], good[3]);
    let throttle = |fields: &str| format!(r#"{{"retryThrottling": {{{fields}}}}}"#);
    let (above_one, above_zero) = ("must be an integer above 1", r#"must be seconds such as "1.5s", above 0"#);
    let (number, seconds) = ("must be a number above 0", r#"must be seconds such as "1.5s", at least 0"#);
    let ratio = "must be a number of at least 0.001";
    let (listed, tokens) =
        ("must be a list of status codes, as integers or by name", "must be an integer in (0, 1000]");
    for (json, field, range) in [
        (attempts("1"), "retryPolicy.maxAttempts 1", above_one),
        (attempts("-3"), "retryPolicy.maxAttempts -3", above_one),
        (attempts("2.5"), "retryPolicy.maxAttempts 2.5", above_one),
        (attempts("null"), "retryPolicy.maxAttempts is missing", above_one),
        (attempts(r#""3""#), r#"retryPolicy.maxAttempts "3""#, above_one),
        (attempts("[3]"), "retryPolicy.maxAttempts", above_one),
        (with(0, r#""0s""#), r#"retryPolicy.initialBackoff "0s""#, above_zero),
        (with(0, r#""1ms""#), r#"retryPolicy.initialBackoff "1ms""#, above_zero),
        (with(0, "1"), "retryPolicy.initialBackoff 1", above_zero),
        (with(0, "null"), "retryPolicy.initialBackoff is missing", above_zero),
        (with(1, r#"".5s""#), r#"retryPolicy.maxBackoff ".5s""#, above_zero),
        (with(1, r#""-1s""#), r#"retryPolicy.maxBackoff "-1s""#, above_zero),
        (with(2, "0"), "retryPolicy.backoffMultiplier 0", number),
        (with(2, r#""2""#), r#"retryPolicy.backoffMultiplier "2""#, number),
        (with(2, "null"), "retryPolicy.backoffMultiplier is missing", number),
        (with(3, "[]"), "retryPolicy.retryableStatusCodes is missing", "must be at least one status code"),
        (with(3, "null"), "retryPolicy.retryableStatusCodes is missing", "must be at least one status code"),
        (with(3, "[17]"), "retryPolicy.retryableStatusCodes 17", listed),
        (with(3, r#"["OK?", 14, -1]"#), r#"retryPolicy.retryableStatusCodes "OK?""#, listed),
        (one(r#", "retryPolicy": {}"#), "retryPolicy.maxAttempts is missing", above_one),
        (hedging(r#""hedgingDelay": "1s""#), "hedgingPolicy.maxAttempts is missing", above_one),
        (hedging(r#""maxAttempts": true"#), "hedgingPolicy.maxAttempts", above_one),
        (hedging(r#""maxAttempts": 2, "hedgingDelay": "soon""#), r#"hedgingPolicy.hedgingDelay "soon""#, seconds),
        (hedging(r#""maxAttempts": 2, "hedgingDelay": {}"#), "hedgingPolicy.hedgingDelay", seconds),
        (hedging(r#""maxAttempts": 2, "nonFatalStatusCodes": [1.5]"#), "hedgingPolicy.nonFatalStatusCodes 1.5", listed),
        (one(r#", "timeout": "1""#), r#"timeout "1""#, above_zero),
        (one(r#", "timeout": "0s""#), r#"timeout "0s""#, above_zero),
        (one(r#", "timeout": 1"#), "timeout 1", above_zero),
        (
            one(r#", "retryPolicy": {}, "hedgingPolicy": {}"#),
            "hedgingPolicy",
            "must be absent where there is a retryPolicy",
        ),
        (throttle(r#""tokenRatio": 1"#), "retryThrottling.maxTokens is missing", tokens),
        (throttle(r#""maxTokens": 0, "tokenRatio": 1"#), "retryThrottling.maxTokens 0", tokens),
        (throttle(r#""maxTokens": 1001, "tokenRatio": 1"#), "retryThrottling.maxTokens 1001", tokens),
        (throttle(r#""maxTokens": 1.5, "tokenRatio": 1"#), "retryThrottling.maxTokens 1.5", tokens),
        (throttle(r#""maxTokens": 10"#), "retryThrottling.tokenRatio is missing", ratio),
        (throttle(r#""maxTokens": 10, "tokenRatio": -0.1"#), "retryThrottling.tokenRatio -0.1", ratio),
        (throttle(r#""maxTokens": 10, "tokenRatio": 0.0009"#), "retryThrottling.tokenRatio 0.0009", ratio),
    ] {
        let error = read(&json).unwrap_err();
        let place = if json.contains("methodConfig") { "methodConfig[0]: " } else { "" };
        let expected = format!("{place}{field}: {range}");
        assert!(error.starts_with(&expected), "{json}\n got {error}\nwant {expected}");
    }
}

#[test]
fn a_document_is_checked_by_itself() {
    let json = retry("1", r#""1s""#, r#""1s""#, "1", "[14]");
    let document: Document<'_> = serde_json::from_str(&json).unwrap();
    let error = ServiceConfig::try_from(document).unwrap_err();
    let expected = ServiceConfigError::new("retryPolicy.maxAttempts", Value::Number(1.0), "an integer above 1");
    assert_eq!(error, expected.within(0));
}

#[test]
fn names_are_whole_and_named_once() {
    for (names, text) in [
        (r#"{"method": "Get"}"#, r#"methodConfig[1]: name.method "Get": must be absent where there is no service"#),
        (r#"{"service": 5}"#, "methodConfig[1]: name.service 5: must be text"),
        (r#"{"service": "a"}"#, r#"methodConfig[1]: name.service "a": must be named only once"#),
        (r#"{"service": "a", "method": "b"}"#, r#"methodConfig[1]: name.method "b": must be named only once"#),
        (r#"{}, {"service": ""}"#, r#"methodConfig[1]: name.service "": must be named only once"#),
    ] {
        let first = r#"{"name": [{"service": "a"}, {"service": "a", "method": "b"}]}"#;
        let error = read(&format!(r#"{{"methodConfig": [{first}, {{"name": [{names}]}}]}}"#)).unwrap_err();
        assert!(error.starts_with(text), "{error}");
    }
}

#[test]
fn more_than_there_is_room_for_is_an_error() {
    let json = r#"{"methodConfig": [{"name": [{}, {"service": "a"}]}, {}]}"#;
    let room = |error: serde_json::Error| error.to_string();
    assert!(serde_json::from_str::<ServiceConfig<'_, 2, 2>>(json).is_ok());
    let error = serde_json::from_str::<ServiceConfig<'_, 1, 2>>(json).map_err(room).unwrap_err();
    assert!(error.starts_with("methodConfig: there is room for 1"), "{error}");
    let error = serde_json::from_str::<ServiceConfig<'_, 2, 1>>(json).map_err(room).unwrap_err();
    assert!(error.starts_with("methodConfig[0]: name: there is room for 1"), "{error}");
}

#[test]
fn what_does_not_have_the_shape_is_an_error_that_names_it() {
    let codes = "must be a list of status codes, as integers or by name";
    let (object, objects) = ("must be an object", "must be a list of objects");
    let no_objects = [("5", " 5"), (r#""all""#, r#" "all""#), ("true", ""), ("[]", ""), (r#"[3, "1s", [14]]"#, "")];
    let no_lists = [("5", " 5"), (r#""all""#, r#" "all""#), ("true", ""), ("{}", ""), (r#"{"0": {}}"#, "")];
    let mut wrong = std::vec::Vec::new();
    for (value, shown) in no_objects {
        wrong.push((value.into(), format!("service config{shown}: {object}")));
        wrong.push((format!(r#"{{"retryThrottling": {value}}}"#), format!("retryThrottling{shown}: {object}")));
        wrong.push((format!(r#"{{"methodConfig": [{{}}, {value}]}}"#), format!("methodConfig{shown}: {objects}")));
        for policy in ["retryPolicy", "hedgingPolicy"] {
            wrong.push((
                one(&format!(r#", "{policy}": {value}"#)),
                format!("methodConfig[0]: {policy}{shown}: {object}"),
            ));
        }
        let json = format!(r#"{{"methodConfig": [{{"name": [{{}}, {value}]}}]}}"#);
        wrong.push((json, format!("methodConfig[0]: name{shown}: {objects}")));
    }
    for (value, shown) in no_lists {
        wrong.push((format!(r#"{{"methodConfig": {value}}}"#), format!("methodConfig{shown}: {objects}")));
        let json = format!(r#"{{"methodConfig": [{{"name": {value}}}]}}"#);
        wrong.push((json, format!("methodConfig[0]: name{shown}: {objects}")));
        let error = format!("methodConfig[0]: hedgingPolicy.nonFatalStatusCodes{shown}: {codes}");
        wrong.push((hedging(&format!(r#""maxAttempts": 2, "nonFatalStatusCodes": {value}"#)), error));
        let error = format!("methodConfig[0]: retryPolicy.retryableStatusCodes{shown}: {codes}");
        wrong.push((retry("2", r#""1s""#, r#""2s""#, "2", value), error));
    }
    // In a list no item can be missing, so null is a wrong value.
    wrong.push((r#"{"methodConfig": [null]}"#.into(), format!("methodConfig: {objects}")));
    let error = format!("methodConfig[0]: hedgingPolicy.nonFatalStatusCodes: {codes}");
    wrong.push((hedging(r#""maxAttempts": 2, "nonFatalStatusCodes": [null]"#), error));
    wrong.push(("null".into(), format!("service config is missing: {object}")));
    for (json, expected) in wrong {
        let error = read(&json).unwrap_err();
        assert!(error.starts_with(&expected), "{json}\n got {error}\nwant {expected}");
        let document: Document<'_> = serde_json::from_str(&json).unwrap();
        assert_eq!(ServiceConfig::try_from(document).unwrap_err().to_string(), expected, "{json}");
    }
}

#[test]
fn null_is_as_if_absent() {
    let json = r#"{"methodConfig": null, "retryThrottling": null}"#;
    assert_eq!(read(json), read("{}"));
    let null = one(r#", "timeout": null, "retryPolicy": null, "hedgingPolicy": null"#);
    assert_eq!(read(&null), read(&one("")));
    assert_eq!(
        policy(&hedging(r#""maxAttempts": 2, "nonFatalStatusCodes": null"#)),
        policy(&hedging(r#""maxAttempts": 2"#))
    );
}

#[test]
fn text_with_escapes_is_named_where_it_counts_and_ignored_where_it_does_not() {
    let name = |fields: &str| format!(r#"{{"methodConfig": [{{"name": [{{{fields}}}]}}]}}"#);
    for (json, field, range) in [
        (name(r#""service": "a.B\/c""#), "name.service", "text"),
        (name(r#""service": "a", "method": "\u0047et""#), "name.method", "text"),
        (one(r#", "timeout": "\u0031s""#), "timeout", r#"seconds such as "1.5s", above 0"#),
        (
            hedging(r#""maxAttempts": 2, "nonFatalStatusCodes": ["\u0041BORTED"]"#),
            "hedgingPolicy.nonFatalStatusCodes",
            "a list of status codes, as integers or by name",
        ),
        (one(r#", "hedgingPolicy": "\n""#), "hedgingPolicy", "an object"),
    ] {
        let document: Document<'_> = serde_json::from_str(&json).unwrap();
        let error = ServiceConfig::try_from(document).unwrap_err();
        assert_eq!((error.method_config, error.field, error.value), (Some(0), field, Value::Escaped), "{json}");
        let text = format!("methodConfig[0]: {field} has escapes, which are not supported: must be {range}");
        assert_eq!(error.to_string(), text);
    }
    assert!(read(&one(r#", "note": "a\/b", "\u0074imeout": "1s""#)).is_ok(), "fields may have them");
}

#[test]
fn a_timeout_of_each_attempt_is_ignored() {
    let with = |more: &str| {
        let json = retry("2", r#""1s""#, r#""2s""#, "2", &format!("[14]{more}"));
        policy(&json)
    };
    assert_eq!(with(r#", "perAttemptRecvTimeout": "soon""#), with(""));
}

#[test]
fn a_method_is_looked_up_from_the_most_to_the_least_specific() {
    let with = |names: &str, timeout: u32| format!(r#"{{"name": [{names}], "timeout": "{timeout}s"}}"#);
    let json = format!(
        r#"{{"methodConfig": [{}, {}, {}, {}]}}"#,
        with("{}", 1),
        with(r#"{"service": "a"}, {"service": "b"}"#, 2),
        with(r#"{"service": "a", "method": "Get"}"#, 3),
        with("", 4),
    );
    let config = read(&json).unwrap();
    for (service, method, seconds) in [("a", "Get", 3), ("a", "Put", 2), ("b", "Get", 2), ("c", "Get", 1), ("", "", 1)]
    {
        let timeout = config.method(service, method).and_then(MethodConfig::timeout);
        assert_eq!(timeout, Some(Duration::from_secs(seconds)), "{service}/{method}");
    }
    let empty = read("{}").unwrap();
    assert!(empty.method("a", "Get").is_none());
}

#[test]
fn methods_have_their_names() {
    let json = r#"{"methodConfig": [{"name": [{"service": "a", "method": "Get"}, {"service": "b"}]}, {"name": [{}]}]}"#;
    let config = read(json).unwrap();
    let names: std::vec::Vec<std::vec::Vec<_>> =
        config.methods().iter().map(|method| method.names().collect()).collect();
    assert_eq!(names, [std::vec![("a", "Get"), ("b", "")], std::vec![("", "")]]);
}

#[test]
fn without_a_policy_nothing_is_sent_again() {
    let json = one(r#", "timeout": "2s""#);
    let config = read(&json).unwrap();
    let method = config.method("a", "Get").unwrap();
    let base = ChannelOptions { backup: BackupDelay::after(MS(2)), ..ChannelOptions::brpc() };
    let expected =
        ChannelOptions { timeout: MS(2_000).into(), max_retry: 0, backup: BackupDelay::OFF, ..ChannelOptions::brpc() };
    assert_eq!(method.channel_options(&base), expected);
    assert_eq!((method.verdict(0), method.verdict(14)), (Verdict::Accept, Verdict::Fatal));
}

#[test]
fn a_call_overrides_what_the_channel_would() {
    let json = hedging(r#""maxAttempts": 3, "hedgingDelay": "0.02s""#);
    let config = read(&json).unwrap();
    let call = config.method("a", "Get").unwrap().call_options();
    assert_eq!((call.timeout, call.max_retry, call.max_backups), (None, Some(2), Some(2)));
    assert_eq!(call.backup, Some(BackupDelay::after(MS(20))));
    assert_eq!((call.backoff, call.idempotency), (Some(Backoff::OFF), Idempotency::Idempotent));
}

#[test]
fn l8_a_listed_code_is_retried_and_every_other_is_fatal() {
    let listed = [hedging(r#""maxAttempts": 2, "nonFatalStatusCodes": [14, "aborted", 0]"#)];
    let retried = [retry("2", r#""1s""#, r#""1s""#, "1", r#"[14, "aborted", 0]"#)];
    for json in listed.iter().chain(&retried) {
        let config = read(json).unwrap();
        let method = config.method("a", "Get").unwrap();
        for code in 0..=u8::MAX {
            let expected = match code {
                0 => Verdict::Accept,
                10 | 14 => Verdict::Retry,
                _ => Verdict::Fatal,
            };
            assert_eq!(method.verdict(code), expected, "{json}: {code}");
        }
    }
}

#[cfg(has_atomic_64)]
#[test]
fn b4_a_throttle_is_read_at_the_ends_of_its_ranges() {
    for (tokens, ratio, is) in [(1, "0.001", 0.001), (1_000, "1e9", 1_000.0), (10, "0.5466", 0.5466)] {
        let json = format!(r#"{{"retryThrottling": {{"maxTokens": {tokens}, "tokenRatio": {ratio}}}}}"#);
        let config = read(&json).unwrap();
        let (max_tokens, token_ratio) = (Bounded::new(tokens).unwrap(), Decimal::new(is).unwrap());
        assert_eq!(config.throttling(), Some(TokenOptions::Grpc { max_tokens, token_ratio }), "{json}");
    }
    assert_eq!(read("{}").unwrap().throttling(), None);
}
