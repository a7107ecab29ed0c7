//! Reads the fields of a [`ChannelConfig`](super::ChannelConfig). An error names the field.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;

use serde::{Deserialize, Deserializer};

#[cfg(feature = "alloc")]
use super::super::ServersConfig;
#[cfg(has_atomic_64)]
pub(super) use super::super::load_balancer::load_balancer;
use super::super::{Preset, Setting};
use crate::field::named::{self, fields};
use crate::field::table;
use crate::health::{BreakerOptions, CheckOptions, IsolationLimit, RecoveryOptions};
use crate::policy::{AdaptiveOptions, Backoff, BackupDelay, FailMode, Idempotency, OnEarlyFailure, RetryTarget};
use crate::time::{Duration, Timeout};

fields! {
    named_preset: optional, "preset", Preset,
        "one of \"brpc\", \"rpcx\", \"rpcx_fail_fast\", \"rpcx_fail_over\", \"rpcx_fail_try\", \"rpcx_fail_backup\", \
         \"trpc\", \"grpc_retry\", \"grpc_hedging\", \"finagle\"";
    fail_mode: optional, "fail_mode", FailMode,
        "one of \"fail_fast\", \"fail_over\", \"fail_try\", \"fail_backup\"";
    timeout: optional, "timeout", Timeout, named::TIME_LIMIT;
    connect_timeout: optional, "connect_timeout", Timeout, named::TIME_LIMIT;
    attempt_timeout: optional, "attempt_timeout", Timeout, named::TIME_LIMIT;
    max_in_flight_per_server: optional, "max_in_flight_per_server", u32, "an integer in [1, 4294967295]";
    max_queued_calls: optional, "max_queued_calls", u32, "an integer in [0, 4294967295]";
    max_queue_wait: optional, "max_queue_wait", Timeout, named::TIME_LIMIT;
    slow_start: optional, "slow_start", Timeout, named::TIME_LIMIT;
    max_retry: optional, "max_retry", u8, named::MAX_RETRY;
    backup: optional, "backup", BackupDelay, named::DELAY;
    max_backups: optional, "max_backups", u8, named::MAX_BACKUPS;
    no_backoff_remaining: optional, "no_backoff_remaining", Duration, named::DURATION;
    retry_target: optional, "retry_target", RetryTarget, named::RETRY_TARGETS;
    same_server_backup: optional, "same_server_backup", bool, named::SWITCH;
    on_early_failure: optional, "on_early_failure", OnEarlyFailure, named::EARLY_FAILURES;
    pushback_for_service: optional, "pushback_for_service", bool, named::SWITCH;
    idempotency: optional, "idempotency", Idempotency, named::IDEMPOTENCIES;
    seed: optional, "seed", u64, "an integer in [0, 18446744073709551615]";
}

#[cfg(feature = "alloc")]
fields! {
    protocol: optional, "protocol", Box<str>, "text, as in \"http\"";
    connection_type: optional, "connection_type", Box<str>, "text, as in \"pooled\"";
}

#[cfg(feature = "alloc")]
pub(super) fn servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ServersConfig>, D::Error> {
    ServersConfig::deserialize(deserializer).map(Some)
}

pub(super) fn adaptive_backup<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AdaptiveOptions>, D::Error> {
    table::read(deserializer, "adaptive_backup").map(Some)
}

pub(super) fn isolation_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IsolationLimit>, D::Error> {
    table::read(deserializer, "isolation_limit").map(Some)
}

pub(super) fn recovery<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RecoveryOptions>, D::Error> {
    table::read(deserializer, "recovery").map(Some)
}

pub(super) fn circuit_breaker<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Setting<BreakerOptions>>, D::Error> {
    let wanted = "a map with `circuit` or `consecutive_failures`, or \"off\" for no circuit breaker";
    Setting::read(deserializer, "circuit_breaker", wanted).map(Some)
}

pub(super) fn health_checks<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Setting<CheckOptions>>, D::Error> {
    let wanted = "a map with `interval` or `timeout`, or \"off\" for no checks";
    Setting::read(deserializer, "health_checks", wanted).map(Some)
}

/// Reads the preset. Null means the default preset.
pub(super) fn preset<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Preset, D::Error> {
    named_preset(deserializer).map(Option::unwrap_or_default)
}

/// Reads the backoff. Null is an error, since a reader could think that it means "no backoff".
pub(super) fn backoff<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Backoff>, D::Error> {
    Backoff::deserialize(deserializer).map(Some)
}
