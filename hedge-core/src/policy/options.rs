//! The options of a channel, and what one call may override.

use core::fmt;

#[cfg(has_atomic_64)]
use super::LimitError;
use super::{Backoff, BackupDelay, BackupPolicy};
use crate::id::ServerId;
use crate::time::{Duration, Timeout};

/// Whether a request may be sent twice ([L15](crate::rules#L15)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Idempotency {
    /// As the channel says; if the channel is `Unset` too, this means `Idempotent`.
    #[default]
    Unset,
    /// It may be sent twice: retries and backups are allowed.
    Idempotent,
    /// It may not be sent twice: no backup, and no retry once the request may have left this client.
    NotIdempotent,
}

/// What kind of exchange a call is. Only `Unary` calls are ever hedged ([L15](crate::rules#L15)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CallKind {
    /// One request, one reply; the reply's body may stream.
    #[default]
    Unary,
    /// A request without a reply.
    OneWay,
    /// A stream in both directions.
    Stream,
    /// A datagram.
    Datagram,
}

/// What a `Retry` verdict does while a backup timer is armed ([L9](crate::rules#L9)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OnEarlyFailure {
    /// Start the next attempt, at once or after the backoff.
    #[default]
    StartNext,
    /// Start nothing: the timer then sends the backup as usual, if the policy grants it.
    Wait,
}

/// Where a retry goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RetryTarget {
    /// To another server, as [L11](crate::rules#L11) chooses.
    #[default]
    Another,
    /// To the server of the failed attempt again, even if it was isolated meanwhile.
    Same,
}

/// rpcx's fail modes, as presets over the options ([F](crate::rules#F)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FailMode {
    /// One attempt: no retry, no backup.
    FailFast,
    /// Up to 3 further attempts, each at another server. The default.
    FailOver,
    /// Up to 3 further attempts at the server that failed; backups go elsewhere.
    FailTry,
    /// `FailOver` with a backup after 10 ms, rpcx's default. rpcx sends at most two requests and takes the first that
    /// completes, even if it is an error; here a failed attempt is retried, and never ends the call while another may win.
    FailBackup,
}

/// The number of extra attempts that rpcx and brpc allow by default.
const MAX_RETRY: u8 = 3;

/// Everything a channel decides for its calls; [`CallOptions`] overrides some of it for one call.
///
/// The default is brpc's: see [`ChannelOptions::brpc`].
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
    /// The limit from the call's start to its end, retries, backups and waits included ([L2](crate::rules#L2)). Default 500
    /// ms.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::timeout"))]
    pub timeout: Timeout,
    /// The limit for making one connection; it never goes beyond the deadline. The transport enforces it. Default 200 ms.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::connect_timeout"))]
    pub connect_timeout: Timeout,
    /// How many attempts may follow the first, retries and backups together ([L3](crate::rules#L3)). Default 3; 0 disables
    /// both.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::max_retry"))]
    pub max_retry: u8,
    /// When to send a backup. Default: disabled.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::backup"))]
    pub backup: BackupDelay,
    /// How many backups a call may send, each a delay after the last ([L6](crate::rules#L6)). Default 1; 0 disables them.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::max_backups"))]
    pub max_backups: u8,
    /// How long a retry waits ([R3](crate::rules#R3)). Default: not at all.
    pub backoff: Backoff,
    /// If less time than this is left, a retry does not wait for its backoff ([L18](crate::rules#L18)). Default 0.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "fields::no_backoff_remaining",
            serialize_with = "crate::time::text::span::serialize"
        )
    )]
    pub no_backoff_remaining: Duration,
    /// Where a retry goes. Default: another server.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::retry_target"))]
    pub retry_target: RetryTarget,
    /// Whether an extra attempt may go to an address that is still working on the call ([L4](crate::rules#L4),
    /// [L11](crate::rules#L11)). Default false.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::same_server_backup"))]
    pub same_server_backup: bool,
    /// What a failure does while a backup timer is armed ([L9](crate::rules#L9)). Default: start the next at once.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::on_early_failure"))]
    pub on_early_failure: OnEarlyFailure,
    /// Whether a pushback that speaks for its server only, as HTTP's `Retry-After`, holds back the whole service
    /// ([R4](crate::rules#R4)). Default false: other servers are tried.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::pushback_for_service"))]
    pub pushback_for_service: bool,
    /// Whether a call may be sent twice that does not say so itself ([L15](crate::rules#L15)). Default `Unset`, which means
    /// `Idempotent`.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::idempotency"))]
    pub idempotency: Idempotency,
}

impl ChannelOptions {
    /// brpc's defaults as its header states them: timeout 500 ms, connect timeout 200 ms, 3 retries, no backup. (An older
    /// page of its documentation says 1 s for both timeouts.)
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

    /// The same with the retries, the retry target and the backup of `mode` ([F](crate::rules#F)). Options that a mode does
    /// not set stay.
    #[must_use]
    pub fn with_fail_mode(mut self, mode: FailMode) -> Self {
        self.max_retry = if mode == FailMode::FailFast { 0 } else { MAX_RETRY };
        self.retry_target = if mode == FailMode::FailTry { RetryTarget::Same } else { RetryTarget::Another };
        if mode == FailMode::FailBackup {
            self.backup = BackupDelay::after(Duration::from_millis(10));
        }
        self
    }

    /// Checks the options against a call's capacity of `attempts` attempts. Valid options that contradict each other are
    /// warnings of [`Setup`](crate::config::Setup).
    ///
    /// # Errors
    /// The first rule that does not hold.
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

/// What one call sets differently from its channel. `None` means the channel's value.
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
    /// As [`ChannelOptions::timeout`].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_timeout"))]
    pub timeout: Option<Timeout>,
    /// As [`ChannelOptions::connect_timeout`].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_connect_timeout"))]
    pub connect_timeout: Option<Timeout>,
    /// As [`ChannelOptions::max_retry`].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_max_retry"))]
    pub max_retry: Option<u8>,
    /// As [`ChannelOptions::backup`]. It overrides the delay of the channel's policy ([B1](crate::rules#B1)). The channel's
    /// policy still decides whether a backup may be sent.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_backup"))]
    pub backup: Option<BackupDelay>,
    /// As [`ChannelOptions::max_backups`].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_max_backups"))]
    pub max_backups: Option<u8>,
    /// As [`ChannelOptions::backoff`].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_backoff"))]
    pub backoff: Option<Backoff>,
    /// As [`ChannelOptions::retry_target`].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_retry_target"))]
    pub retry_target: Option<RetryTarget>,
    /// Whether this request may be sent twice.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::idempotency"))]
    pub idempotency: Idempotency,
    /// What kind of exchange it is.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::kind"))]
    pub kind: CallKind,
    /// The reply's body streams ([T2](crate::rules#T2)): the winner stays in flight for the balancer until the caller says
    /// that the body ended. See [`Call::winner_at_work`](crate::call::Call::winner_at_work).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::streaming"))]
    pub streaming: bool,
    /// The key of the request for balancers that hash.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::own_request_code"))]
    pub request_code: Option<u32>,
    /// A policy for this call. It replaces the channel's policy and its limits: with a policy that limits nothing,
    /// everything may be sent.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub backup_policy: Option<&'a (dyn BackupPolicy + Sync)>,
    /// The servers to use, in this order, instead of what the balancer would choose ([S8](crate::rules#S8)).
    #[cfg_attr(feature = "serde", serde(skip))]
    pub servers: Option<&'a [ServerId]>,
}

impl CallOptions<'_> {
    /// The channel's options as they are.
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

/// Readers of fields; each knows the name of its field.
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

    /// Null is an error, since it could be taken for "no backoff".
    pub(super) fn own_backoff<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Backoff>, D::Error> {
        if deserializer.is_human_readable() {
            Backoff::deserialize(deserializer).map(Some)
        } else {
            Option::deserialize(deserializer)
        }
    }
}

/// Options that a channel or a call cannot follow.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// `max_retry` + 1 attempts do not fit the call's capacity ([L3](crate::rules#L3)).
    TooManyAttempts {
        /// What was asked for.
        max_retry: u8,
        /// How many attempts a call holds, the first included.
        capacity: usize,
    },
    /// 1 + `max_backups` attempts in flight do not fit the driver's slots.
    TooManyInFlight {
        /// What was asked for.
        max_backups: u8,
        /// How many attempts the driver can have in flight.
        slots: usize,
    },
    /// A time limit of 0 leaves no time for anything ([L2](crate::rules#L2)).
    NoTime {
        /// The name of the time limit.
        field: &'static str,
    },
    /// No attempt fits ([L22](crate::rules#L22)).
    NoRoom {
        /// The name of the limit.
        field: &'static str,
    },
    /// The balancer hashes, and the call has no request code ([S5](crate::rules#S5)).
    NoRequestCode,
    /// An option of a limit is out of its range.
    #[cfg(has_atomic_64)]
    Limit(LimitError),
}

impl ConfigError {
    /// Checks options that count for a call of at most `capacity` attempts.
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
            #[cfg(has_atomic_64)]
            Self::Limit(error) => error.fmt(f),
        }
    }
}

#[cfg(has_atomic_64)]
impl From<LimitError> for ConfigError {
    fn from(error: LimitError) -> Self {
        Self::Limit(error)
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
