//! A channel as a file describes it: [`ChannelConfig`]. This is a preset, and the settings that differ from the preset.

mod fields;

#[cfg(feature = "alloc")]
use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

#[cfg(feature = "alloc")]
use super::ServersConfig;
#[cfg(has_atomic_64)]
use super::{LimitConfig, Setup, Warnings};
use super::{Preset, ServerLimits, Setting};
#[cfg(has_atomic_64)]
use crate::balance::BalancerSpec;
use crate::health::{BreakerOptions, CheckOptions, IsolationLimit, RecoveryOptions};
#[cfg(has_atomic_64)]
use crate::limit::LimitOptions;
use crate::policy::{
    AdaptiveOptions, Backoff, BackupDelay, ChannelOptions, FailMode, Idempotency, OnEarlyFailure, RetryTarget,
};
use crate::time::{Duration, Timeout};

/// The content of a file that describes a channel: its servers, how they are chosen and checked, and what calls may do.
/// A [`Preset`] gives the options of calls; the default preset is brpc's. The file then names every option that should
/// differ from the preset.
///
/// `fail_mode` overrides the preset, and the other fields override both. A field that is absent changes nothing. Null
/// changes nothing either, with these exceptions: null is an error for `servers`, `load_balancer`, `adaptive_backup`,
/// `backoff`, `limits`, each limit inside `limits`, `circuit_breaker`, `isolation_limit`, `health_checks` and
/// `recovery`. For some of them, a reader could think that null means "off", but off is written `"off"`. An unknown
/// field is an error, and the error names the field. A value that a field cannot have is an error that names the field
/// and says what to write. A duration is a number of milliseconds, or text with a unit ([`Duration`]). A time limit
/// that is a number may not have a fraction, since 1.5 probably means seconds.
///
/// Any self-describing format that serde reads can be used, such as JSON, YAML and TOML. Reading allocates only the
/// texts of `servers`, `protocol` and `connection_type`. The values are checked where they are used, by
/// [`ChannelOptions::validate`] and by the constructors of the limits. Settings that contradict each other are
/// [warnings](ChannelConfig::warnings).
///
/// ```
/// use hedge_core::config::ChannelConfig;
/// use hedge_core::policy::BackupDelay;
/// use hedge_core::time::Duration;
///
/// let text = r#"{"preset": "trpc", "timeout": "1s", "backup": 20}"#;
/// let config: ChannelConfig = serde_json::from_str(text)?;
/// assert_eq!(config.options().backup, BackupDelay::after(Duration::from_millis(20)));
/// assert!(config.limits().tokens.is_some(), "tRPC's");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[serde(default, deny_unknown_fields)]
pub struct ChannelConfig {
    /// The servers: a URL such as `"list://10.0.0.1:80,10.0.0.2:80"`, or one `"host:port"`, or a list of lines of the
    /// form `"host:port tag"`.
    #[cfg(feature = "alloc")]
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::servers")]
    pub servers: Option<ServersConfig>,
    /// The balancer: a name such as `"p2c"`, or `"name:key=value"`.
    #[cfg(has_atomic_64)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::load_balancer")]
    pub load_balancer: Option<BalancerSpec>,
    /// The protocol, such as `"http"`.
    #[cfg(feature = "alloc")]
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::protocol")]
    pub protocol: Option<Box<str>>,
    /// How calls share connections, such as `"pooled"`. Absent: the protocol's default.
    #[cfg(feature = "alloc")]
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::connection_type")]
    pub connection_type: Option<Box<str>>,
    /// The preset. All other fields override it. If the field is absent or null, the preset is `"brpc"`.
    #[serde(deserialize_with = "fields::preset")]
    pub preset: Preset,
    /// The fail mode, as in rpcx: `"fail_fast"`, `"fail_over"`, `"fail_try"` or `"fail_backup"`. It replaces the
    /// preset's retries and retry target. `fail_backup` also replaces the preset's backup. The other modes do not
    /// change the preset's backup, but under `fail_fast` no attempt is left for a backup
    /// ([`ChannelOptions::with_fail_mode`]).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::fail_mode")]
    pub fail_mode: Option<FailMode>,
    /// Overrides [`ChannelOptions::timeout`]. The value is a duration, or `"never"`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::timeout")]
    pub timeout: Option<Timeout>,
    /// Overrides [`ChannelOptions::connect_timeout`]. The value is a duration, or `"never"`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::connect_timeout")]
    pub connect_timeout: Option<Timeout>,
    /// How long one attempt may take before another server is tried ([L21](crate::rules#L21)). The value is a duration,
    /// or `"never"`. The default of every preset is `"never"`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::attempt_timeout")]
    pub attempt_timeout: Option<Timeout>,
    /// Sets [`ServerLimits::max_in_flight_per_server`] ([L22](crate::rules#L22)). If the field is absent, there is no
    /// cap; no preset has one.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::max_in_flight_per_server")]
    pub max_in_flight_per_server: Option<u32>,
    /// Sets [`ServerLimits::max_queued_calls`]. The default is 0, which means no queue.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::max_queued_calls")]
    pub max_queued_calls: Option<u32>,
    /// Sets [`ServerLimits::max_queue_wait`]. The value is a duration, or `"never"`. The default is `"never"`: a call
    /// waits until its deadline.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::max_queue_wait")]
    pub max_queue_wait: Option<Timeout>,
    /// Sets [`ServerLimits::slow_start`] ([S11](crate::rules#S11)). The value is a duration, or `"never"`. The default
    /// is `"never"`: no slow start.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::slow_start")]
    pub slow_start: Option<Timeout>,
    /// Overrides [`ChannelOptions::max_retry`]. Channels of hedge-net and hedge-tower allow at most 7.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::max_retry")]
    pub max_retry: Option<u8>,
    /// Overrides [`ChannelOptions::backup`]. The value is a duration, or `"off"`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::backup")]
    pub backup: Option<BackupDelay>,
    /// A backup delay that follows the latencies of attempts ([B7](crate::rules#B7)). It replaces `backup`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::adaptive_backup")]
    pub adaptive_backup: Option<AdaptiveOptions>,
    /// Overrides [`ChannelOptions::max_backups`]. Channels of hedge-net and hedge-tower allow at most 4.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::max_backups")]
    pub max_backups: Option<u8>,
    /// Overrides [`ChannelOptions::backoff`]. The value is `"off"`, `{"fixed": …}`, `{"jittered": {…}}` or
    /// `{"exponential": {…}}`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::backoff")]
    pub backoff: Option<Backoff>,
    /// Overrides [`ChannelOptions::no_backoff_remaining`].
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "fields::no_backoff_remaining",
        serialize_with = "crate::time::text::span::serialize_optional"
    )]
    pub no_backoff_remaining: Option<Duration>,
    /// Overrides [`ChannelOptions::retry_target`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::retry_target")]
    pub retry_target: Option<RetryTarget>,
    /// Overrides [`ChannelOptions::same_server_backup`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::same_server_backup")]
    pub same_server_backup: Option<bool>,
    /// Overrides [`ChannelOptions::on_early_failure`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::on_early_failure")]
    pub on_early_failure: Option<OnEarlyFailure>,
    /// Overrides [`ChannelOptions::pushback_for_service`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::pushback_for_service")]
    pub pushback_for_service: Option<bool>,
    /// Overrides [`ChannelOptions::idempotency`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::idempotency")]
    pub idempotency: Option<Idempotency>,
    /// The limits that differ from the preset: either some named limits, or `"off"`. If the field is absent, the
    /// preset's limits apply. Null is an error.
    #[cfg(has_atomic_64)]
    #[serde(skip_serializing_if = "LimitConfig::is_empty")]
    pub limits: LimitConfig,
    /// The circuit breaker ([H2](crate::rules#H2)): `{"circuit": {…}}`, `{"consecutive_failures": {…}}`, or `"off"`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::circuit_breaker")]
    pub circuit_breaker: Option<Setting<BreakerOptions>>,
    /// How many servers the circuit breaker may isolate ([H4](crate::rules#H4)): `{"selectable_percent": 50}`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::isolation_limit")]
    pub isolation_limit: Option<IsolationLimit>,
    /// How servers that are down are checked ([H1](crate::rules#H1)): `{"interval": "3s", "timeout": "500ms"}`, or `"off"`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::health_checks")]
    pub health_checks: Option<Setting<CheckOptions>>,
    /// How calls are admitted while servers come back after all were down ([H3](crate::rules#H3)). The value is
    /// `{"min_working": 2, "hold": "3s"}`, for example.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::recovery")]
    pub recovery: Option<RecoveryOptions>,
    /// The seed of all random numbers. If the field is absent, the seed cannot be predicted.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::seed")]
    pub seed: Option<u64>,
}

impl ChannelConfig {
    /// Returns the preset's options, overridden by the fields of this config.
    #[must_use]
    pub fn options(&self) -> ChannelOptions {
        let preset = self.preset.options();
        let preset = match self.fail_mode {
            Some(mode) => preset.with_fail_mode(mode),
            None => preset,
        };
        ChannelOptions {
            timeout: self.timeout.unwrap_or(preset.timeout),
            connect_timeout: self.connect_timeout.unwrap_or(preset.connect_timeout),
            max_retry: self.max_retry.unwrap_or(preset.max_retry),
            backup: self.backup.unwrap_or(preset.backup),
            max_backups: self.max_backups.unwrap_or(preset.max_backups),
            backoff: self.backoff.unwrap_or(preset.backoff),
            no_backoff_remaining: self.no_backoff_remaining.unwrap_or(preset.no_backoff_remaining),
            retry_target: self.retry_target.unwrap_or(preset.retry_target),
            same_server_backup: self.same_server_backup.unwrap_or(preset.same_server_backup),
            on_early_failure: self.on_early_failure.unwrap_or(preset.on_early_failure),
            pushback_for_service: self.pushback_for_service.unwrap_or(preset.pushback_for_service),
            idempotency: self.idempotency.unwrap_or(preset.idempotency),
        }
    }

    /// Returns the limit on the time of one attempt ([L21](crate::rules#L21)).
    #[must_use]
    pub fn attempt_timeout(&self) -> Timeout {
        self.attempt_timeout.unwrap_or(Timeout::NEVER)
    }

    /// Returns the limits of a single server ([L22](crate::rules#L22), [S11](crate::rules#S11)).
    #[must_use]
    pub fn server_limits(&self) -> ServerLimits {
        let none = ServerLimits::NONE;
        ServerLimits {
            max_in_flight_per_server: self.max_in_flight_per_server,
            max_queued_calls: self.max_queued_calls.unwrap_or(none.max_queued_calls),
            max_queue_wait: self.max_queue_wait.unwrap_or(none.max_queue_wait),
            slow_start: self.slow_start.and_then(Timeout::limit),
        }
    }

    /// Returns the preset's limits, overridden by the fields of this config. There is always a limit, unless the file
    /// turns off all limits ([B8](crate::rules#B8)).
    #[cfg(has_atomic_64)]
    #[must_use]
    pub fn limits(&self) -> LimitOptions {
        self.limits.over(self.preset.limits())
    }

    /// Returns warnings about settings of this file that contradict each other or do nothing. The builder of a host
    /// knows more settings and may give more warnings.
    #[cfg(has_atomic_64)]
    #[must_use]
    pub fn warnings(&self) -> Warnings {
        let (options, limits) = (self.options(), self.limits());
        let setup = Setup {
            attempt_timeout: self.attempt_timeout(),
            server_limits: self.server_limits(),
            // An adaptive delay is unknown until there have been calls.
            policy_delay: self.adaptive_backup.map(|_| BackupDelay::OFF),
            breaker: self.circuit_breaker.and_then(Setting::on).is_some(),
            isolation_limit: self.isolation_limit.unwrap_or_default(),
            ..Setup::new(&options, &limits)
        };
        setup.warnings()
    }
}

#[cfg(all(test, feature = "alloc", has_atomic_64))]
mod whole;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn read(json: &str) -> Result<ChannelConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn f_a_preset_alone_is_its_options() {
        assert_eq!(read("{}").unwrap().options(), ChannelOptions::brpc());
        for preset in Preset::ALL {
            let config = read(&std::format!(r#"{{"preset": "{preset}"}}"#)).unwrap();
            assert_eq!(config, ChannelConfig { preset, ..ChannelConfig::default() });
            assert_eq!(config.options(), preset.options());
        }
    }

    #[test]
    fn f_what_a_file_says_overrides_the_preset() {
        let json = r#"{"preset": "grpc_hedging", "timeout": "1.5s", "connect_timeout": "0.5ms", "max_retry": 1,
                       "backup": "250 us", "max_backups": 1, "backoff": {"jittered": {"min": 1, "max": "2ms"}},
                       "no_backoff_remaining": "5ms", "retry_target": "same", "same_server_backup": true,
                       "on_early_failure": "wait", "pushback_for_service": true, "idempotency": "not_idempotent"}"#;
        let expected = ChannelOptions {
            timeout: MS(1_500).into(),
            connect_timeout: Duration::from_micros(500).into(),
            max_retry: 1,
            backup: BackupDelay::after(Duration::from_micros(250)),
            max_backups: 1,
            backoff: Backoff::jittered(MS(1), MS(2)).unwrap(),
            no_backoff_remaining: MS(5),
            retry_target: RetryTarget::Same,
            same_server_backup: true,
            on_early_failure: OnEarlyFailure::Wait,
            pushback_for_service: true,
            idempotency: Idempotency::NotIdempotent,
        };
        assert_eq!(read(json).unwrap().options(), expected);
        let off = read(r#"{"preset": "rpcx_fail_backup", "timeout": 20, "backup": "off"}"#).unwrap().options();
        assert_eq!((off.timeout, off.backup), (MS(20).into(), BackupDelay::OFF));
        let null = read(r#"{"timeout": null, "connect_timeout": "never"}"#).unwrap().options();
        assert_eq!((null.timeout, null.connect_timeout), (MS(500).into(), Timeout::NEVER));
    }

    #[test]
    fn f_a_fail_mode_is_over_the_preset_and_under_what_is_named() {
        let options = |json: &str| read(json).unwrap().options();
        for (name, mode) in [
            ("fail_fast", FailMode::FailFast),
            ("fail_over", FailMode::FailOver),
            ("fail_try", FailMode::FailTry),
            ("fail_backup", FailMode::FailBackup),
        ] {
            for preset in Preset::ALL {
                let json = std::format!(r#"{{"preset": "{preset}", "fail_mode": "{name}"}}"#);
                assert_eq!(options(&json), preset.options().with_fail_mode(mode), "{json}");
            }
        }
        let named = options(
            r#"{"preset": "trpc", "fail_mode": "fail_backup", "max_retry": 7, "backup": "1ms", "retry_target": "same"}"#,
        );
        let expected = ChannelOptions {
            max_retry: 7,
            backup: BackupDelay::after(MS(1)),
            retry_target: RetryTarget::Same,
            ..Preset::Trpc.options()
        };
        assert_eq!(named, expected);
        assert_eq!(options(r#"{"preset": "rpcx"}"#), Preset::RpcxFailOver.options());
        assert_eq!(options(r#"{"fail_mode": null}"#), ChannelOptions::brpc());
        let error = read(r#"{"fail_mode": "fail_safe"}"#).unwrap_err();
        assert!(error.starts_with(r#"fail_mode "fail_safe": must be one of "fail_fast", "fail_over""#), "{error}");
    }

    #[test]
    fn f_null_says_nothing() {
        let json = r#"{"preset": null, "fail_mode": null, "timeout": null, "connect_timeout": null, "attempt_timeout": null, "max_retry": null,
                       "max_in_flight_per_server": null, "max_queued_calls": null, "max_queue_wait": null, "slow_start": null,
                       "backup": null, "max_backups": null, "no_backoff_remaining": null, "retry_target": null,
                       "same_server_backup": null, "on_early_failure": null, "pushback_for_service": null,
                       "idempotency": null}"#;
        assert_eq!(read(json), Ok(ChannelConfig::default()));
        for structure in ["backoff", "limits"] {
            let error = read(&std::format!(r#"{{"{structure}": null}}"#)).unwrap_err();
            assert!(error.starts_with(&std::format!("{structure} null: must be ")), "{error}");
        }
    }

    #[test]
    fn a_file_says_the_same_in_every_format() {
        let json = r#"{"preset": "grpc_hedging", "fail_mode": "fail_backup", "timeout": "1.5s", "connect_timeout": "never",
                       "attempt_timeout": "0.3s", "max_retry": 2, "backup": 2.5, "max_backups": 1, "retry_target": "another",
                       "backoff": {"exponential": {"initial": "1ms", "multiplier_milli": 1600, "max": 100}},
                       "same_server_backup": false, "idempotency": "idempotent",
                       "limits": {"ratio": {"mode": "cached", "max_backup_ratio": 0.05, "burst": 0, "backup_request_ms": -1},
                                  "tokens": {"grpc": {"max_tokens": 50}}, "budget": "off"}}"#;
        let toml = r#"
            preset = "grpc_hedging"
            fail_mode = "fail_backup"
            timeout = "1.5s"
            connect_timeout = "never"
            attempt_timeout = "0.3s"
            max_retry = 2
            backup = 2.5
            max_backups = 1
            retry_target = "another"
            same_server_backup = false
            idempotency = "idempotent"

            [backoff.exponential]
            initial = "1ms"
            multiplier_milli = 1600
            max = 100

            [limits]
            budget = "off"
            ratio = { mode = "cached", max_backup_ratio = 0.05, burst = 0, backup_request_ms = -1 }

            [limits.tokens.grpc]
            max_tokens = 50
        "#;
        let yaml = "
            preset: grpc_hedging
            fail_mode: fail_backup
            timeout: 1.5s
            connect_timeout: never
            attempt_timeout: 0.3s
            max_retry: 2
            backup: 2.5
            max_backups: 1
            retry_target: another
            backoff: {exponential: {initial: 1ms, multiplier_milli: 1600, max: 100}}
            same_server_backup: false
            idempotency: idempotent
            limits:
              ratio: {mode: cached, max_backup_ratio: 0.05, burst: 0, backup_request_ms: -1}
              tokens:
                grpc:
                  max_tokens: 50
              budget: off
        ";
        let config = read(json).unwrap();
        let backoff = Backoff::exponential(MS(1), 1_600, MS(100)).unwrap();
        let expected = ChannelOptions {
            timeout: MS(1_500).into(),
            connect_timeout: Timeout::NEVER,
            max_retry: 2,
            backup: BackupDelay::after(Duration::from_micros(2_500)),
            max_backups: 1,
            backoff,
            idempotency: Idempotency::Idempotent,
            ..ChannelOptions::brpc()
        };
        assert_eq!((config.options(), config.attempt_timeout()), (expected, MS(300).into()));
        assert_eq!(toml::from_str::<ChannelConfig>(toml).unwrap(), config);
        assert_eq!(serde_yaml_ng::from_str::<ChannelConfig>(yaml).unwrap(), config);
        let written = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<ChannelConfig>(&written).unwrap(), config, "{written}");
        let written = serde_yaml_ng::to_string(&config).unwrap();
        assert_eq!(serde_yaml_ng::from_str::<ChannelConfig>(&written).unwrap(), config, "{written}");
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(read(&written), Ok(config), "{written}");
    }

    #[test]
    fn what_cannot_be_read_is_named_in_every_format() {
        for (toml, yaml, text) in [
            ("max_retry = 256", "max_retry: 256", "max_retry 256: must be an integer in [0, 254]"),
            ("[backoff]\nfixd = 1", "backoff: {fixd: 1}", "backoff has no `fixd`: write exactly one of `off`, `fixed`"),
            (
                "[backoff]\nfixed = 1\nmax = 2",
                "backoff: {fixed: 1, max: 2}",
                "backoff has another key `max`: write exactly one of",
            ),
            ("[limits.tokens.grpc]\nmax = 2", "limits: {tokens: {grpc: {max: 2}}}", "unknown field `max`"),
            ("limits = 1", "limits: 1", r#"must be a map with `ratio`, `tokens` or `budget`, or "off""#),
        ] {
            let error = toml::from_str::<ChannelConfig>(toml).unwrap_err().to_string();
            assert!(error.contains(text), "{toml}: {error}");
            let error = serde_yaml_ng::from_str::<ChannelConfig>(yaml).unwrap_err().to_string();
            assert!(error.contains(text), "{yaml}: {error}");
        }
    }

    #[test]
    fn l22_a_file_may_cap_what_a_server_gets() {
        let json = r#"{"max_in_flight_per_server": 64, "max_queued_calls": 1000, "max_queue_wait": "50ms", "slow_start": "30s"}"#;
        let config = read(json).unwrap();
        let expected = ServerLimits {
            max_in_flight_per_server: Some(64),
            max_queued_calls: 1000,
            max_queue_wait: MS(50).into(),
            slow_start: Some(MS(30_000)),
        };
        assert_eq!((config.server_limits(), expected.validate()), (expected, Ok(())));
        let written = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<ChannelConfig>(&written).unwrap(), config, "{written}");
        assert_eq!(read("{}").unwrap().server_limits(), ServerLimits::NONE);
        let never = read(r#"{"max_queue_wait": "never", "slow_start": "never"}"#).unwrap().server_limits();
        assert_eq!(never, ServerLimits::NONE);
        for (json, text) in [
            (
                r#"{"max_in_flight_per_server": -1}"#,
                "max_in_flight_per_server -1: must be an integer in [1, 4294967295]",
            ),
            (r#"{"max_queued_calls": "9"}"#, r#"max_queued_calls "9": must be an integer in [0, 4294967295]; write 9"#),
            (r#"{"max_queue_wait": 0}"#, "max_queue_wait 0: must be a duration above 0"),
            (r#"{"slow_start": "slow"}"#, r#"slow_start "slow": must be a duration above 0"#),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
        let no_room = read(r#"{"max_in_flight_per_server": 0}"#).unwrap().server_limits().validate().unwrap_err();
        let text = "max_in_flight_per_server 0: must be above 0; for no limit, leave it out";
        assert_eq!(std::format!("{no_room}"), text);
    }

    #[test]
    fn f_the_readme_s_file_reads() {
        let json = r#"{"preset": "trpc", "timeout": "200ms", "backup": "10ms", "limits": {"ratio": {"max_backup_ratio": 0.02}}}"#;
        let config = read(json).unwrap();
        assert_eq!(config.options().backup, BackupDelay::after(MS(10)));
        let limits = config.limits();
        assert_eq!(limits.ratio.map(|ratio| ratio.max_backup_ratio.get()), Some(0.02));
        assert!(limits.tokens.is_some(), "the preset's own");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (json, texts) in [
            (
                r#"{"timeout_ms": 5}"#,
                [
                    "unknown field `timeout_ms`",
                    "`preset`, `fail_mode`, `timeout`, `connect_timeout`, `attempt_timeout`",
                ],
            ),
            (r#"{"preset": "thrift"}"#, [r#"preset "thrift": must be one of "brpc", "rpcx""#, r#""finagle""#]),
            (r#"{"timeout": "soon"}"#, [r#"timeout "soon": must be a duration above 0"#, r#"or "never""#]),
            (r#"{"backup": "never"}"#, [r#"backup "never": must be a duration"#, r#"or "off""#]),
            (r#"{"backoff": {"jittered": {"min": 1, "mux": 2}}}"#, ["unknown field `mux`", "`min` or `max`"]),
            (r#"{"max_retry": 256}"#, ["max_retry 256: must be an integer in [0, 254]", ""]),
            (
                r#"{"max_retry": -1}"#,
                ["max_retry -1: must be an integer in [0, 254]", "in hedge-net and hedge-tower in [0, 7]"],
            ),
            (
                r#"{"max_retry": 1.5}"#,
                ["max_retry 1.5: must be an integer in [0, 254]", "in hedge-net and hedge-tower in [0, 7]"],
            ),
            (r#"{"max_retry": "3"}"#, [r#"max_retry "3": must be an integer in [0, 254]"#, "; write 3 without quotes"]),
            (
                r#"{"max_backups": 18446744073709551615}"#,
                ["max_backups 18446744073709551615: must be an integer", "in [0, 4]"],
            ),
            (
                r#"{"backoff": {"fixed": 1, "jittered": 2}}"#,
                ["backoff has another key `jittered`", "exactly one of `off`, `fixed`"],
            ),
        ] {
            let error = read(json).unwrap_err();
            assert!(texts.iter().all(|text| error.contains(text)), "{json}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for json in [
            r#"{"preset":"brpc"}"#,
            r#"{"preset":"finagle","timeout":"never","backup":"1500us","backoff":{"fixed":"1ms"}}"#,
            r#"{"preset":"trpc","backup":"off","idempotency":"idempotent"}"#,
            r#"{"preset":"rpcx_fail_over","fail_mode":"fail_try","max_retry":255,"max_backups":0}"#,
        ] {
            let config = read(json).unwrap();
            assert_eq!(serde_json::to_string(&config).unwrap(), json);
        }
    }

    #[cfg(has_atomic_64)]
    #[test]
    fn b8_only_a_file_that_says_so_has_no_limit() {
        let limits = |json: &str| read(json).map(|config| config.limits());
        assert_eq!(limits("{}"), Ok(LimitOptions::SAFE));
        assert_eq!(limits(r#"{"backup": "2ms"}"#), Ok(LimitOptions::SAFE));
        assert_eq!(limits(r#"{"preset": "trpc", "limits": {}}"#), Ok(Preset::Trpc.limits()));
        assert_eq!(limits(r#"{"limits": "off"}"#), Ok(LimitOptions::NONE));
        let error = limits(r#"{"limits": null}"#).unwrap_err();
        assert!(error.contains(r#"must be a map with `ratio`, `tokens` or `budget`, or "off""#), "{error}");
    }
}
