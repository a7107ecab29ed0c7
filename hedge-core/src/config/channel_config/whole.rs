//! Tests of files that describe a whole channel.

extern crate std;
use super::*;
use std::string::{String, ToString};
use std::vec;

use crate::balance::{BalancerName, BalancerSpec};
use crate::bounded::{Bounded, BoundedSpan, SpanRange};
use crate::health::{CircuitOptions, FailureOptions, IsolationOptions, WindowOptions};
use crate::policy::Target;

fn read(json: &str) -> Result<ChannelConfig, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn a_whole_channel_says_the_same_in_every_format() {
    let json = r#"{"servers": ["10.0.0.1:80", "10.0.0.2:80 canary"], "load_balancer": "p2c:choices=3", "protocol": "http",
                   "connection_type": "pooled", "timeout": 200, "max_retry": 2, "limits": {"ratio": {"burst": 1}},
                   "adaptive_backup": {"target": {"extra_load": 200}, "min": "2ms", "max": 100, "warm_up": 50, "window": "20s"},
                   "circuit_breaker": {"circuit": {"short": {"size": 100, "max_error_percent": 20},
                                                   "isolation": {"max": "10s", "probes": 2}}},
                   "isolation_limit": {"selectable_percent": 60}, "health_checks": {"interval": "2s"},
                   "recovery": {"min_working": 2, "hold": "3s"}, "seed": 18446744073709551615}"#;
    let toml = r#"
        servers = ["10.0.0.1:80", "10.0.0.2:80 canary"]
        load_balancer = "p2c:choices=3"
        protocol = "http"
        connection_type = "pooled"
        timeout = 200
        max_retry = 2
        health_checks = { interval = "2s" }
        isolation_limit = { selectable_percent = 60 }
        recovery = { min_working = 2, hold = "3s" }
        limits.ratio.burst = 1

        [adaptive_backup]
        target.extra_load = 200
        min = "2ms"
        max = 100
        warm_up = 50
        window = "20s"

        [circuit_breaker.circuit]
        short = { size = 100, max_error_percent = 20 }
        isolation = { max = "10s", probes = 2 }
    "#;
    let yaml = "
        servers:
          - 10.0.0.1:80
          - 10.0.0.2:80 canary
        load_balancer: p2c:choices=3
        protocol: http
        connection_type: pooled
        timeout: 200
        max_retry: 2
        limits: {ratio: {burst: 1}}
        adaptive_backup: {target: {extra_load: 200}, min: 2ms, max: 100, warm_up: 50, window: 20s}
        circuit_breaker:
          circuit:
            short: {size: 100, max_error_percent: 20}
            isolation: {max: 10s, probes: 2}
        isolation_limit: {selectable_percent: 60}
        health_checks: {interval: 2s}
        recovery: {min_working: 2, hold: 3s}
        seed: 18446744073709551615
    ";
    let config = read(json).unwrap();
    assert_eq!(config.servers, Some(ServersConfig::Lines(vec!["10.0.0.1:80".into(), "10.0.0.2:80 canary".into()])));
    assert!(matches!(config.load_balancer, Some(BalancerSpec { of: BalancerName::P2c(_), .. })));
    assert_eq!((config.protocol.as_deref(), config.connection_type.as_deref()), (Some("http"), Some("pooled")));
    let adaptive = config.adaptive_backup.unwrap();
    assert_eq!(
        (adaptive.target, adaptive.delay),
        (Target::ExtraLoad(Bounded::of::<200>()), SpanRange::of_millis::<2, 100>())
    );
    assert_eq!(adaptive.window, BoundedSpan::of_secs::<20>());
    let isolation = IsolationOptions { times: SpanRange::of_millis::<100, 10_000>(), probes: Bounded::of::<2>() };
    let short = WindowOptions::of::<100, 20>();
    let circuit = CircuitOptions { short, isolation, ..CircuitOptions::DEFAULT };
    assert_eq!(config.circuit_breaker, Some(Setting::On(BreakerOptions::Circuit(circuit))));
    assert_eq!(config.isolation_limit, Some(IsolationLimit { selectable_percent: Bounded::of::<60>() }));
    let checks = CheckOptions { interval: BoundedSpan::of_secs::<2>(), ..CheckOptions::DEFAULT };
    assert_eq!(config.health_checks, Some(Setting::On(checks)));
    assert_eq!(
        config.recovery,
        Some(RecoveryOptions { min_working: Bounded::of::<2>(), hold: BoundedSpan::of_secs::<3>() })
    );
    assert_eq!(config.seed, Some(u64::MAX));

    // The integers of TOML have at most 63 bits.
    let of_toml = ChannelConfig { seed: Some(7), ..config.clone() };
    assert_eq!(toml::from_str::<ChannelConfig>(&std::format!("seed = 7\n{toml}")).unwrap(), of_toml);
    assert_eq!(serde_yaml_ng::from_str::<ChannelConfig>(yaml).unwrap(), config);
    let written = toml::to_string(&of_toml).unwrap();
    assert_eq!(toml::from_str::<ChannelConfig>(&written).unwrap(), of_toml, "{written}");
    let written = serde_yaml_ng::to_string(&config).unwrap();
    assert_eq!(serde_yaml_ng::from_str::<ChannelConfig>(&written).unwrap(), config, "{written}");
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(read(&written), Ok(config), "{written}");
}

#[test]
fn what_a_file_does_not_name_stays_and_off_switches_off() {
    let config = read("{}").unwrap();
    assert_eq!((config.servers, config.load_balancer, config.circuit_breaker), (None, None, None));
    let config = read(r#"{"servers": "list://a:1", "circuit_breaker": "off", "health_checks": "off", "seed": null}"#);
    let config = config.unwrap();
    assert_eq!(config.servers, Some(ServersConfig::Url("list://a:1".into())));
    assert_eq!((config.circuit_breaker, config.health_checks), (Some(Setting::Off), Some(Setting::Off)));
    assert_eq!(config.seed, None);
    let failures = read(r#"{"circuit_breaker": {"consecutive_failures": {"failures": 3}}}"#).unwrap().circuit_breaker;
    let expected = FailureOptions { failures: Bounded::of::<3>(), ..FailureOptions::DEFAULT };
    assert_eq!(failures, Some(Setting::On(BreakerOptions::ConsecutiveFailures(expected))));
}

#[test]
fn what_cannot_be_read_is_named_with_its_place() {
    for (json, text) in [
        (r#"{"server": "a:1"}"#, "unknown field `server`, expected one of `servers`, `load_balancer`, `protocol`"),
        (r#"{"servers": 5}"#, r#"servers 5: must be a URL such as "list://10.0.0.1:80,10.0.0.2:80", or a list"#),
        (r#"{"servers": null}"#, "servers null: must be a URL such as"),
        (r#"{"servers": ["a:1", 5]}"#, r#"servers, an entry 5: must be text, as in "10.0.0.1:80""#),
        (r#"{"load_balancer": "p3c"}"#, r#"load_balancer "p3c": "#),
        (r#"{"load_balancer": "p2c:choice=3"}"#, r#"load_balancer "p2c:choice=3": p2c has no parameter "choice""#),
        (r#"{"load_balancer": 5}"#, r#"load_balancer 5: must be the name of a balancer, as in "p2c""#),
        (r#"{"protocol": 5}"#, r#"protocol 5: must be text, as in "http""#),
        (r#"{"adaptive_backup": "p95"}"#, r#"adaptive_backup "p95": must be a map of its fields"#),
        (r#"{"adaptive_backup": {"target": {"p95": 1}}}"#, "adaptive_backup.target has no `p95`: write exactly one of"),
        (r#"{"adaptive_backup": {"min": "fast"}}"#, r#"adaptive_backup.min "fast": must be a duration such as"#),
        (r#"{"adaptive_backup": {"minimum": 1}}"#, "unknown field `minimum`, expected one of `target`, `min`"),
        (r#"{"circuit_breaker": "none"}"#, r#"circuit_breaker "none": must be a map with `circuit` or"#),
        (r#"{"circuit_breaker": {"brpc": {}}}"#, "circuit_breaker has no `brpc`: write exactly one of `circuit`"),
        (
            r#"{"circuit_breaker": {"consecutive_failures": {"failures": "5"}}}"#,
            r#"circuit_breaker.consecutive_failures.failures "5": must be an integer in [1, 4294967295]; write 5 without quotes"#,
        ),
        (
            r#"{"circuit_breaker": {"circuit": {"isolation": {"min": true}}}}"#,
            "isolation.min true: must be a duration such as",
        ),
        (r#"{"circuit_breaker": {"circuit": {"short": 5}}}"#, "circuit_breaker.circuit.short 5: must be a map"),
        (r#"{"isolation_limit": 50}"#, "isolation_limit 50: must be a map of its fields"),
        (r#"{"isolation_limit": {"selectable_percent": -1}}"#, "isolation_limit.selectable_percent -1: must be"),
        (r#"{"health_checks": true}"#, "health_checks true: must be a map with `interval` or `timeout`, or"),
        (r#"{"health_checks": {"interval": []}}"#, "health_checks.interval (a list): must be a duration such as"),
        (
            r#"{"adaptive_backup": {"target": {"extra_load": 0}}}"#,
            "adaptive_backup.target.extra_load 0: must be an integer in [1, 10000]",
        ),
        (r#"{"adaptive_backup": {"warm_up": 0}}"#, "adaptive_backup.warm_up 0: must be an integer in [1, 4294967295]"),
        (
            r#"{"adaptive_backup": {"max": "2h"}}"#,
            r#"max "2h": must be a duration such as "20ms" or "2s", in [0, 1 h]"#,
        ),
        (
            r#"{"adaptive_backup": {"min": "2s"}}"#,
            "adaptive_backup.min 2000 ms: must not be above max, which is 1000 ms",
        ),
        (
            r#"{"adaptive_backup": {"window": 999}}"#,
            r#"window 999: must be a duration such as "20ms" or "2s", in [1 s, 1 h]"#,
        ),
        (
            r#"{"circuit_breaker": {"circuit": {"short": {"size": 9, "max_error_percent": 50}}}}"#,
            "circuit_breaker.circuit, size of a window 9: must be an integer in [10, 10000]",
        ),
        (
            r#"{"circuit_breaker": {"circuit": {"long": {"size": 10000, "max_error_percent": 11}}}}"#,
            "circuit_breaker.circuit, a window, max_error_percent 11 of size 10000: their product must be in [100, 100000]",
        ),
        (
            r#"{"circuit_breaker": {"consecutive_failures": {"failures": 0}}}"#,
            "circuit_breaker.consecutive_failures.failures 0: must be an integer in [1, 4294967295]",
        ),
        (
            r#"{"circuit_breaker": {"circuit": {"isolation": {"max": "50ms"}}}}"#,
            "isolation.min 100 ms: must not be above max, which is 50 ms",
        ),
        (
            r#"{"circuit_breaker": {"circuit": {"isolation": {"min": 0}}}}"#,
            r#"isolation.min 0: must be a duration such as "20ms" or "2s", in [10 ms, 1 h]"#,
        ),
        (
            r#"{"circuit_breaker": {"circuit": {"isolation": {"probes": 101}}}}"#,
            "isolation.probes 101: must be an integer in [1, 100]",
        ),
        (r#"{"isolation_limit": {"selectable_percent": 0}}"#, "selectable_percent 0: must be an integer in [1, 100]"),
        (r#"{"health_checks": {"interval": "9ms"}}"#, r#"health_checks.interval "9ms": must be a duration such as"#),
        (
            r#"{"health_checks": {"timeout": "2h"}}"#,
            r#"timeout "2h": must be a duration such as "20ms" or "2s", in [1 ms, 1 h]"#,
        ),
        (r#"{"recovery": {"min_working": 0, "hold": 1}}"#, "recovery.min_working 0: must be an integer in [1, 65536]"),
        (r#"{"recovery": {"min_working": 1, "hold": 0}}"#, "recovery.hold 0: must be a duration such as"),
        (r#"{"recovery": {"min_working": 2}}"#, "missing field `hold`"),
        (r#"{"recovery": {"min_working": 2, "hold": "soon"}}"#, r#"recovery.hold "soon": must be a duration such as"#),
        (r#"{"seed": 1.5}"#, "seed 1.5: must be an integer in [0, 18446744073709551615]"),
    ] {
        let error = read(json).unwrap_err();
        assert!(error.contains(text), "{json}: {error}");
        assert!(error.contains(" at line 1 column "), "{error}");
        let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(json).unwrap();
        let error = serde_yaml_ng::from_str::<ChannelConfig>(&serde_yaml_ng::to_string(&yaml).unwrap()).unwrap_err();
        assert!(error.to_string().contains(text), "{json}: {error}");
    }
}

#[test]
fn a_file_warns_of_what_contradicts_itself() {
    for (json, text) in [
        (r#"{"adaptive_backup": {}}"#, ""),
        (r#"{"adaptive_backup": {}, "backup": "20ms"}"#, "backup: never used, since backup_policy gives the delay"),
        (r#"{"adaptive_backup": {}, "max_retry": 0}"#, "max_retry 0: allows one attempt a call"),
        (r#"{"isolation_limit": {"selectable_percent": 60}}"#, "isolation_limit selectable_percent 60: does nothing"),
        (
            r#"{"circuit_breaker": {"circuit": {}}, "isolation_limit": {"selectable_percent": 100}}"#,
            "isolation_limit selectable_percent 100: no server may be isolated",
        ),
    ] {
        let warnings = read(json).unwrap().warnings();
        assert_eq!(warnings.len(), usize::from(!text.is_empty()), "{json}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.to_string().starts_with(text)), "{warnings:?}");
    }
}
