//! What a call goes by: its own options over its channel's (B1, L15).

use hedge_core::policy::{Backoff, BackupDelay, CallKind, ChannelOptions, Idempotency, OnEarlyFailure, RetryTarget};
use hedge_core::time::{Micros, Timeout};

use crate::script::Script;

/// Options as they count for the call. Times in microseconds; `None` is no limit.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) timeout: Timeout,
    pub(super) channel_timeout: Timeout,
    pub(super) connect_timeout: Timeout,
    pub(super) max_retry: u8,
    pub(super) max_backups: u8,
    pub(super) backoff: Backoff,
    pub(super) no_backoff_remaining: u64,
    pub(super) target: RetryTarget,
    pub(super) same_server_backup: bool,
    pub(super) on_early_failure: OnEarlyFailure,
    pub(super) pushback_for_service: bool,
    pub(super) idempotent: bool,
    pub(super) kind: CallKind,
    pub(super) streaming: bool,
}

/// A limit in microseconds.
pub(super) fn micros(timeout: Timeout) -> Option<u64> {
    timeout.limit_micros().map(Micros::as_micros)
}

impl Settings {
    pub(super) fn new(script: &Script) -> Self {
        let Script { channel, own, .. } = script;
        let ChannelOptions { no_backoff_remaining, same_server_backup, on_early_failure, pushback_for_service, .. } =
            channel.clone();
        let idempotency = if own.idempotency == Idempotency::Unset { channel.idempotency } else { own.idempotency };
        Self {
            timeout: own.timeout.unwrap_or(channel.timeout),
            channel_timeout: channel.timeout,
            connect_timeout: own.connect_timeout.unwrap_or(channel.connect_timeout),
            max_retry: own.max_retry.unwrap_or(channel.max_retry),
            max_backups: own.max_backups.unwrap_or(channel.max_backups),
            backoff: own.backoff.unwrap_or(channel.backoff),
            no_backoff_remaining: Micros::from(no_backoff_remaining).as_micros(),
            target: own.retry_target.unwrap_or(channel.retry_target),
            same_server_backup,
            on_early_failure,
            pushback_for_service,
            idempotent: idempotency != Idempotency::NotIdempotent,
            kind: own.kind,
            streaming: own.streaming,
        }
    }

    /// The backoff, of those that leave nothing to chance.
    pub(super) fn wait(&self) -> u64 {
        Micros::from(self.backoff.shortest()).as_micros()
    }
}

/// Where the delay comes from, in the order in which they are asked (B1): the answer, and whose policies were asked.
pub(super) fn delay(script: &Script) -> (BackupDelay, Vec<&'static str>) {
    let mut asked = Vec::new();
    if let Some(policy) = &script.call_policy {
        asked.push("call");
        if let Some(delay) = policy.delay {
            return (delay, asked);
        }
    }
    if let Some(delay) = script.own.backup {
        return (delay, asked);
    }
    asked.push("channel");
    (script.channel_policy.delay.unwrap_or(script.channel.backup), asked)
}
