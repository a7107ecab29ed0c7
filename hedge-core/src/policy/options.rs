//! The options of a channel, and the options that one call may override.

use core::fmt;

use super::{Backoff, BackupDelay, BackupPolicy};
use crate::id::ServerId;
use crate::time::{Duration, Timeout};

/// Whether a request may be sent twice ([L15](crate::rules#L15)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Idempotency {
    /// The channel decides. If the channel says `Unset` too, this means `Idempotent`.
    #[default]
    Unset,
    /// The request may be sent twice: retries and backups are allowed.
    Idempotent,
    /// The request may not be sent twice: no backup, and no retry once the request may have left this client.
    NotIdempotent,
}

/// The kind of messages that a call sends and receives. Only `Unary` calls can be hedged ([L15](crate::rules#L15)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CallKind {
    /// One request and one reply. The reply's body may stream.
    #[default]
    Unary,
    /// A request without a reply.
    OneWay,
    /// A stream in both directions.
    Stream,
    /// A datagram.
    Datagram,
}

/// The reaction to a `Retry` verdict while a backup timer is armed ([L9](crate::rules#L9)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OnEarlyFailure {
    /// A retry starts, at once or after the backoff.
    #[default]
    StartNext,
    /// No attempt starts before the timer fires. Then the backup is sent as usual, if the policy allows it.
    Wait,
}

/// The server to which a retry goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RetryTarget {
    /// Another server, chosen by rule [L11](crate::rules#L11).
    #[default]
    Another,
    /// The server of the failed attempt again, even if this server has been isolated since.
    Same,
}

/// The fail modes of rpcx. Each mode is a preset of some options ([F](crate::rules#F)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FailMode {
    /// One attempt: no retry, no backup.
    FailFast,
    /// Up to 3 further attempts, each at another server. The default [`ChannelOptions`] correspond to this mode.
    FailOver,
    /// Up to 3 further attempts at the server that failed. Backups go to other servers.
    FailTry,
    /// The same as `FailOver`, with a backup after 10 ms, which is rpcx's default delay. rpcx itself sends at most two
    /// requests and takes the first one that completes, even if the result is an error. Here a failed attempt is
    /// retried, and does not end the call while another attempt may win.
    FailBackup,
}

/// The number of extra attempts that rpcx and brpc allow by default.
const MAX_RETRY: u8 = 3;

/// All options that a channel sets for its calls. [`CallOptions`] can override some of them for one call.
///
/// The default options are the defaults of brpc: see [`ChannelOptions::brpc`].
///
/// ```
/// use hedge_core::policy::{BackupDelay, ChannelOptions};
/// use hedge_core::time::Duration;
///
/// let options = ChannelOptions {
///     backup: BackupDelay::after(Duration::from_millis(2)),
///     ..ChannelOptions::brpc()
/// };
/// assert_eq!(options.max_retry, 3);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ChannelOptions {
    /// How long a call may take from its start to its end, including retries, backups and waits
    /// ([L2](crate::rules#L2)). Default 500 ms.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::timeout"))]
    pub timeout: Timeout,
    /// How long it may take to make one connection. The call's deadline applies as well. The transport enforces this
    /// limit. Default 200 ms.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::connect_timeout"))]
    pub connect_timeout: Timeout,
    /// How many attempts may follow the first one; retries and backups both count ([L3](crate::rules#L3)). Default 3.
    /// The value 0 disables retries and backups.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::max_retry"))]
    pub max_retry: u8,
    /// When to send a backup. Default: backups are disabled.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::backup"))]
    pub backup: BackupDelay,
    /// How many backups a call may send. Each further backup is sent one backup delay after the previous one
    /// ([L6](crate::rules#L6)). Default 1. The value 0 disables backups.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::max_backups"))]
    pub max_backups: u8,
    /// How long a retry waits ([R3](crate::rules#R3)). Default: a retry does not wait.
    pub backoff: Backoff,
    /// If less time than this is left until the deadline, a retry does not wait for its backoff
    /// ([L18](crate::rules#L18)). Default 0.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "fields::no_backoff_remaining",
            serialize_with = "crate::time::text::span::serialize"
        )
    )]
    pub no_backoff_remaining: Duration,
    /// The server to which a retry goes. Default: another server.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::retry_target"))]
    pub retry_target: RetryTarget,
    /// Whether an extra attempt may go to an address at which another attempt of the call is in flight
    /// ([L4](crate::rules#L4), [L11](crate::rules#L11)). Default false.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::same_server_backup"))]
    pub same_server_backup: bool,
    /// What happens after a failure while a backup timer is armed ([L9](crate::rules#L9)). Default: a retry starts, at
    /// once or after the backoff.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::on_early_failure"))]
    pub on_early_failure: OnEarlyFailure,
    /// Whether a pushback that is meant for one server only, such as HTTP's `Retry-After`, applies to the whole service
    /// ([R4](crate::rules#R4)). Default false: other servers are tried.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::pushback_for_service"))]
    pub pushback_for_service: bool,
    /// Whether a request may be sent twice. This option applies to calls whose own options do not say whether their
    /// request may be sent twice ([L15](crate::rules#L15)). Default `Unset`, which means `Idempotent`.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::idempotency"))]
    pub idempotency: Idempotency,
}

impl ChannelOptions {
    /// Returns the defaults of brpc, as brpc's header file states them: timeout 500 ms, connect timeout 200 ms, 3
    /// retries, no backup. (An older page of brpc's documentation says 1 s for both timeouts.)
    #[must_use]
    pub const fn brpc() -> Self {
        Self {
            timeout: Timeout::after(Duration::from_millis(500)),
            connect_timeout: Timeout::after(Duration::from_millis(200)),
            max_retry: MAX_RETRY,
            backup: BackupDelay::OFF,
            max_backups: 1,
            backoff: Backoff::OFF,
            no_backoff_remaining: Duration::ZERO,
            retry_target: RetryTarget::Another,
            same_server_backup: false,
            on_early_failure: OnEarlyFailure::StartNext,
            pushback_for_service: false,
            idempotency: Idempotency::Unset,
        }
    }

    /// Returns these options, changed by `mode`: it sets the number of retries and the retry target
    /// ([F](crate::rules#F)). [`FailMode::FailBackup`] also sets the backup delay. The other options are not changed.
    #[must_use]
    pub fn with_fail_mode(mut self, mode: FailMode) -> Self {
        self.max_retry = if mode == FailMode::FailFast { 0 } else { MAX_RETRY };
        self.retry_target = if mode == FailMode::FailTry { RetryTarget::Same } else { RetryTarget::Another };
        if mode == FailMode::FailBackup {
            self.backup = BackupDelay::after(Duration::from_millis(10));
        }
        self
    }

    /// Checks the options for a call that can hold `attempts` attempts. Options that are valid by themselves but
    /// contradict each other are not an error here. [`Setup`](crate::config::Setup) warns of such options.
    ///
    /// # Errors
    /// Returns the first error that is found.
    pub fn validate(&self, attempts: usize) -> Result<(), ConfigError> {
        for (field, timeout) in [("timeout", self.timeout), ("connect_timeout", self.connect_timeout)] {
            if timeout == Timeout::ZERO {
                return Err(ConfigError::NoTime { field });
            }
        }
        ConfigError::check(self.max_retry, attempts)
    }
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self::brpc()
    }
}

/// The options that one call sets differently from its channel. For an option that is `None`, the channel's value is
/// used.
///
/// ```
/// use hedge_core::policy::CallOptions;
/// use hedge_core::time::Duration;
///
/// let options = CallOptions { timeout: Some(Duration::from_millis(50).into()), ..CallOptions::new() };
/// assert!(options.max_retry.is_none());
/// ```
#[derive(Clone, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct CallOptions<'a> {
    /// Overrides [`ChannelOptions::timeout`] for this call.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_timeout"))]
    pub timeout: Option<Timeout>,
    /// Overrides [`ChannelOptions::connect_timeout`] for this call.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_connect_timeout"))]
    pub connect_timeout: Option<Timeout>,
    /// Overrides [`ChannelOptions::max_retry`] for this call.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_max_retry"))]
    pub max_retry: Option<u8>,
    /// Overrides [`ChannelOptions::backup`] for this call. This delay also comes before the delay of the channel's
    /// policy ([B1](crate::rules#B1)). The channel's policy still decides whether a backup may be sent.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_backup"))]
    pub backup: Option<BackupDelay>,
    /// Overrides [`ChannelOptions::max_backups`] for this call.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_max_backups"))]
    pub max_backups: Option<u8>,
    /// Overrides [`ChannelOptions::backoff`] for this call.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_backoff"))]
    pub backoff: Option<Backoff>,
    /// Overrides [`ChannelOptions::retry_target`] for this call.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_retry_target"))]
    pub retry_target: Option<RetryTarget>,
    /// Whether this request may be sent twice. `Unset` means the channel's value.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::idempotency"))]
    pub idempotency: Idempotency,
    /// The kind of this call. Only `Unary` calls can be hedged.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::kind"))]
    pub kind: CallKind,
    /// Whether the reply's body streams ([T2](crate::rules#T2)). If it does, the host counts the winner as in flight
    /// until the caller says that the body has ended. See [`Call::winner_at_work`](crate::call::Call::winner_at_work).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::streaming"))]
    pub streaming: bool,
    /// The request code: a number by which consistent hashing chooses the server ([S5](crate::rules#S5)). Other
    /// balancers ignore it.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_request_code"))]
    pub request_code: Option<u32>,
    /// A policy for this call. It is used instead of the channel's policy, so the channel's limits do not apply to this
    /// call. If this policy limits nothing, the call has no limit.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub backup_policy: Option<&'a (dyn BackupPolicy + Sync)>,
    /// The servers that the call uses, in this order. They replace the balancer's choice ([S8](crate::rules#S8)).
    #[cfg_attr(feature = "serde", serde(skip))]
    pub servers: Option<&'a [ServerId]>,
}

impl CallOptions<'_> {
    /// Makes options that override nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            timeout: None,
            connect_timeout: None,
            max_retry: None,
            backup: None,
            max_backups: None,
            backoff: None,
            retry_target: None,
            idempotency: Idempotency::Unset,
            kind: CallKind::Unary,
            streaming: false,
            request_code: None,
            backup_policy: None,
            servers: None,
        }
    }
}

impl fmt::Debug for CallOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions")
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_retry", &self.max_retry)
            .field("backup", &self.backup)
            .field("max_backups", &self.max_backups)
            .field("backoff", &self.backoff)
            .field("retry_target", &self.retry_target)
            .field("idempotency", &self.idempotency)
            .field("kind", &self.kind)
            .field("streaming", &self.streaming)
            .field("request_code", &self.request_code)
            .field("backup_policy", &self.backup_policy.is_some())
            .field("servers", &self.servers)
            .finish()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for CallOptions<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "CallOptions {{ timeout: {}, connect_timeout: {}, max_retry: {}, backup: {}, max_backups: {}, backoff: {}, \
             retry_target: {}, idempotency: {}, kind: {}, streaming: {}, request_code: {}, backup_policy: {}, servers: {} }}",
            self.timeout,
            self.connect_timeout,
            self.max_retry,
            self.backup,
            self.max_backups,
            self.backoff,
            self.retry_target,
            self.idempotency,
            self.kind,
            self.streaming,
            self.request_code,
            self.backup_policy.is_some(),
            self.servers,
        );
    }
}

#[cfg(feature = "serde")]
crate::field::named::names! { FailMode RetryTarget OnEarlyFailure Idempotency CallKind }

/// Functions that read the fields from files. Each function reads one field, and its errors name the field.
#[cfg(feature = "serde")]
mod fields {
    use serde::{Deserialize, Deserializer};

    use super::{Backoff, BackupDelay, CallKind, Duration, Idempotency, OnEarlyFailure, RetryTarget, Timeout};
    use crate::field::named::{self, fields};

    fields! {
        timeout: required, "timeout", Timeout, named::TIME_LIMIT;
        own_timeout: optional, "timeout", Timeout, named::TIME_LIMIT;
        connect_timeout: required, "connect_timeout", Timeout, named::TIME_LIMIT;
        own_connect_timeout: optional, "connect_timeout", Timeout, named::TIME_LIMIT;
        max_retry: required, "max_retry", u8, named::MAX_RETRY;
        own_max_retry: optional, "max_retry", u8, named::MAX_RETRY;
        backup: required, "backup", BackupDelay, named::DELAY;
        own_backup: optional, "backup", BackupDelay, named::DELAY;
        max_backups: required, "max_backups", u8, named::MAX_BACKUPS;
        own_max_backups: optional, "max_backups", u8, named::MAX_BACKUPS;
        no_backoff_remaining: required, "no_backoff_remaining", Duration, named::DURATION;
        retry_target: required, "retry_target", RetryTarget, named::RETRY_TARGETS;
        own_retry_target: optional, "retry_target", RetryTarget, named::RETRY_TARGETS;
        same_server_backup: required, "same_server_backup", bool, named::SWITCH;
        on_early_failure: required, "on_early_failure", OnEarlyFailure, named::EARLY_FAILURES;
        pushback_for_service: required, "pushback_for_service", bool, named::SWITCH;
        idempotency: required, "idempotency", Idempotency, named::IDEMPOTENCIES;
        kind: required, "kind", CallKind, "one of \"unary\", \"one_way\", \"stream\", \"datagram\"";
        streaming: required, "streaming", bool, named::SWITCH;
        own_request_code: optional, "request_code", u32, "an integer in [0, 4294967295]";
    }

    /// Reads the backoff of a call. Null is an error, since a reader could think that it means "no backoff".
    pub(super) fn own_backoff<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Backoff>, D::Error> {
        if deserializer.is_human_readable() {
            Backoff::deserialize(deserializer).map(Some)
        } else {
            Option::deserialize(deserializer)
        }
    }
}

/// The reason why a channel or a call cannot use its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// The call has no room for `max_retry` + 1 attempts ([L3](crate::rules#L3)).
    TooManyAttempts {
        /// The `max_retry` of the options.
        max_retry: u8,
        /// How many attempts a call can hold, including the first.
        capacity: usize,
    },
    /// The driver has too few slots for 1 + `max_backups` attempts in flight.
    TooManyInFlight {
        /// The `max_backups` of the options.
        max_backups: u8,
        /// How many attempts the driver can have in flight.
        slots: usize,
    },
    /// A time limit is 0, which leaves no time for any attempt ([L2](crate::rules#L2)).
    NoTime {
        /// The name of the time limit.
        field: &'static str,
    },
    /// A limit on attempts in flight is 0, which leaves no room for any attempt ([L22](crate::rules#L22)).
    NoRoom {
        /// The name of the limit.
        field: &'static str,
    },
    /// The balancer hashes the request code, but the call has no request code ([S5](crate::rules#S5)).
    NoRequestCode,
}

impl ConfigError {
    /// Checks that a call that can hold `capacity` attempts has room for the first attempt and `max_retry` extra
    /// attempts.
    pub(crate) const fn check(max_retry: u8, capacity: usize) -> Result<(), Self> {
        if max_retry as usize >= capacity {
            return Err(Self::TooManyAttempts { max_retry, capacity });
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyAttempts { max_retry, capacity } => {
                let most = capacity.saturating_sub(1);
                write!(
                    f,
                    "max_retry {max_retry}: must be in [0, {most}], as a call holds {capacity} attempts with the first"
                )
            }
            Self::TooManyInFlight { max_backups, slots } => {
                let most = slots.saturating_sub(1);
                write!(
                    f,
                    "max_backups {max_backups}: must be in [0, {most}], as {slots} attempts with the first fit in flight"
                )
            }
            Self::NoTime { field } => write!(f, "{field} 0: must be above 0; for no limit, write never"),
            Self::NoRoom { field } => write!(f, "{field} 0: must be above 0; for no limit, leave it out"),
            Self::NoRequestCode => f.write_str("request_code: missing; the load balancer hashes it"),
        }
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_the_brpc_preset_is_what_its_header_says() {
        let brpc = ChannelOptions::brpc();
        assert_eq!(brpc.timeout, Timeout::after(Duration::from_millis(500)));
        assert_eq!(brpc.connect_timeout, Timeout::after(Duration::from_millis(200)));
        assert_eq!((brpc.max_retry, brpc.backup), (3, BackupDelay::OFF));
    }

    #[test]
    fn f_fail_modes_are_presets_over_the_options() {
        let mode = |mode| ChannelOptions::brpc().with_fail_mode(mode);
        assert_eq!(mode(FailMode::FailFast).max_retry, 0);
        assert_eq!(mode(FailMode::FailOver), ChannelOptions::brpc());
        assert_eq!(mode(FailMode::FailTry).retry_target, RetryTarget::Same);
        assert_eq!(mode(FailMode::FailBackup).backup, BackupDelay::after(Duration::from_millis(10)));
    }

    #[test]
    fn l3_more_retries_than_a_call_holds_is_an_error() {
        let options = ChannelOptions { max_retry: 4, ..ChannelOptions::brpc() };
        assert_eq!(options.validate(4), Err(ConfigError::TooManyAttempts { max_retry: 4, capacity: 4 }));
        assert_eq!(options.validate(5), Ok(()));
        extern crate std;
        use std::string::ToString;
        for (error, text) in [
            (
                ConfigError::TooManyAttempts { max_retry: 4, capacity: 4 },
                "max_retry 4: must be in [0, 3], as a call holds 4 attempts with the first",
            ),
            (
                ConfigError::TooManyInFlight { max_backups: 2, slots: 2 },
                "max_backups 2: must be in [0, 1], as 2 attempts with the first fit in flight",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn l2_no_time_at_all_is_an_error_that_names_the_field() {
        extern crate std;
        use std::string::ToString;
        let zero = Timeout::after(Duration::ZERO);
        let brpc = ChannelOptions::brpc;
        for (options, text) in [
            (ChannelOptions { timeout: zero, ..brpc() }, "timeout 0: must be above 0; for no limit, write never"),
            (
                ChannelOptions { connect_timeout: zero, ..brpc() },
                "connect_timeout 0: must be above 0; for no limit, write never",
            ),
        ] {
            assert_eq!(options.validate(4).unwrap_err().to_string(), text);
        }
        let shortest = Timeout::after(Duration::from_micros(1));
        assert_eq!(ChannelOptions { timeout: shortest, connect_timeout: shortest, ..brpc() }.validate(4), Ok(()));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn options_are_read_over_the_defaults_and_unknown_fields_are_refused_by_name() {
        let text = r#"{"timeout": 20, "backup": "2ms", "connect_timeout": "never", "max_retry": 1}"#;
        let read: ChannelOptions = serde_json::from_str(text).unwrap();
        let expected = ChannelOptions {
            timeout: Duration::from_millis(20).into(),
            connect_timeout: Timeout::NEVER,
            backup: BackupDelay::after(Duration::from_millis(2)),
            max_retry: 1,
            ..ChannelOptions::brpc()
        };
        assert_eq!(read, expected);
        let written = serde_json::to_string(&expected).unwrap();
        assert_eq!(serde_json::from_str::<ChannelOptions>(&written).unwrap(), expected);
        extern crate std;
        use std::string::ToString;
        let error = serde_json::from_str::<CallOptions<'_>>(r#"{"timeout_ms": 5}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `timeout_ms`"), "{error}");
    }
}
