//! Other systems' defaults, by name: [`Preset`] (F, [B8](crate::rules#B8)).

use core::fmt;
use core::str::FromStr;

#[cfg(has_atomic_64)]
use crate::limit::{BudgetOptions, LimitOptions, RatioMode, RatioOptions, TokenOptions};
use crate::policy::{Backoff, BackupDelay, ChannelOptions, FailMode};
use crate::time::{Duration, Timeout};

/// The options and the limits that another system has by default, so that a channel that replaces it starts with the same
/// behaviour.
///
/// A preset is a starting point: override what differs, in code or in a file
#[cfg_attr(feature = "serde", doc = "([`ChannelConfig`](super::ChannelConfig)).")]
#[cfg_attr(not(feature = "serde"), doc = "(feature `serde`).")]
/// All presets but `brpc` have no deadline, as their systems have none. To choose one of them is to ask for that
/// ([L2](crate::rules#L2)); set `timeout` with it.
///
/// The rules of this crate hold under every preset: an extra attempt goes to another address as long as one is untried
/// ([L11](crate::rules#L11)), a failed backup never ends a call that may still be won ([L7](crate::rules#L7),
/// [L9](crate::rules#L9)), `max_retry` bounds retries and backups together ([L3](crate::rules#L3)), and a call that is not
/// idempotent is not sent twice ([L15](crate::rules#L15)).
///
/// ```
/// use hedge_core::config::Preset;
/// use hedge_core::policy::{BackupDelay, ChannelOptions};
/// use hedge_core::time::Duration;
///
/// let preset: Preset = "trpc".parse()?;
/// let backup = BackupDelay::after(Duration::from_millis(10));
/// let options = ChannelOptions { timeout: Duration::from_secs(1).into(), backup, ..preset.options() };
/// # Ok::<(), hedge_core::config::UnknownPreset>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Preset {
    /// brpc: timeout 500 ms, connect timeout 200 ms, 3 retries, no backup, no backoff, as its header says. (An older page of
    /// its documentation says 1 s and 1 s.)
    ///
    /// Differs: brpc limits backups only if a policy is set, and never limits retries. Here the safe limits are on
    /// ([B8](crate::rules#B8)), so that setting `backup` alone cannot double the load.
    #[default]
    Brpc,
    /// rpcx's `Failfast`: connect timeout 1 s (10 s in early releases), no call timeout, one attempt.
    ///
    /// This preset does not differ from rpcx. The safe limits are on, but a call with one attempt
    /// gives them nothing to refuse.
    RpcxFailFast,
    /// rpcx's `Failover`, its default mode: as above, and up to 3 retries without a pause. `rpcx` is another name for it.
    ///
    /// Differs: rpcx selects again, and may choose the server that has just failed; here a retry goes to another server,
    /// which is likelier to succeed ([L11](crate::rules#L11)). rpcx has no limits; here the safe ones are on, so that an
    /// outage is not made worse ([B8](crate::rules#B8)).
    #[cfg_attr(feature = "serde", serde(alias = "rpcx"))]
    RpcxFailOver,
    /// rpcx's `Failtry`: as above, with the retries at the server that failed.
    ///
    /// Differs: rpcx has no limits; here the safe ones are on, for the same reason.
    RpcxFailTry,
    /// rpcx's `Failbackup`: as above, with a second request after 10 ms.
    ///
    /// Differs: rpcx sends at most two requests, retries nothing, and takes the first that completes, even if it is an
    /// error. Here it is `Failover` with a backup, so that a failure is retried and never ends a call that another attempt
    /// may win. rpcx has no limits; here the safe ones are on, since otherwise servers slower than 10 ms would be sent
    /// every call twice ([B8](crate::rules#B8)).
    RpcxFailBackup,
    /// tRPC-Cpp: no timeout and no connect timeout. If a delay is set for a call, a backup request goes to a second node
    /// after the delay, or at once if the first request fails before. With one node there is no backup request. Its
    /// limiter, `retry_hedging_limit`, has 100 tokens, of which a failure takes 10.
    ///
    /// The limiter counts failures only. So once `backup` is set, servers that are slow but answer are sent every call
    /// twice. For more protection add `ratio` or `budget` to the limits ([B8](crate::rules#B8)).
    ///
    /// Differs: while no delay is set, tRPC sends one request; here the one extra attempt is then a retry, so that for the
    /// pair of requests it is enough to set `backup`. In tRPC the limiter must be enabled; here it is on, since to have no
    /// limit must be asked for ([B8](crate::rules#B8)).
    Trpc,
    /// gRPC's retries, with the values of A6's example, since gRPC has no defaults: 4 attempts, a backoff that doubles from
    /// 100 ms to 1 s with a jitter of a fifth, and a throttle of 10 tokens to which a success adds 0.1. No deadline; a
    /// connection has at least 20 s to be made.
    ///
    /// The throttle counts failures only. So once `backup` is set, servers that are slow but answer are sent every call
    /// twice. For more protection add `ratio` or `budget` to the limits ([B8](crate::rules#B8)).
    ///
    /// Differs: the retry policy says which status codes are retried, as
    #[cfg_attr(feature = "serde", doc = "[`service_config`](super::service_config)")]
    #[cfg_attr(not(feature = "serde"), doc = "`service_config` (feature `serde`)")]
    /// reads it; the options do not hold them. The throttle counts a call once, not each of its attempts, so that a call
    /// that was sent four times does not drain it four times ([B4](crate::rules#B4)). After a pushback the backoff goes on
    /// growing, where A6 starts it again: the n-th wait depends on n alone ([R3](crate::rules#R3)), and a server that has
    /// just pushed back should not be asked sooner for it.
    GrpcRetry,
    /// gRPC's hedging, with the values of A6's example: 4 attempts, 500 ms apart, and the throttle, deadline and connect
    /// timeout of [`Preset::GrpcRetry`].
    ///
    /// The throttle counts failures only. So servers that are slow but answer are sent every call four times. For more
    /// protection add `ratio` or `budget` to the limits ([B8](crate::rules#B8)).
    ///
    /// Differs as [`Preset::GrpcRetry`] does. A failure is followed by the next attempt at once, as in A6, but it does not
    /// move the attempts after that ([L4](crate::rules#L4)), since it says nothing about how long the others take. If there
    /// are fewer servers than attempts, no server gets two at a time, which A6 leaves open: a server that is slow with one
    /// is no faster with two ([L11](crate::rules#L11)).
    GrpcHedging,
    /// Finagle: no timeout, connect timeout 1 s, 2 retries without a pause, on a budget of one in five requests and 10 a
    /// second, kept for 10 s. Backups are off. If Finagle's backup filter is on, it has a budget of its own: `maxExtraLoad`
    /// (1 % in its examples) of the requests, and 10 a second too. A backup draws on both budgets, so retries and backups
    /// together stay within the first.
    ///
    /// Differs: of the filter's budget, `maxExtraLoad` is here but the 10 a second are not. They would be a tenth more load
    /// for a client of 100 calls a second, and an outage would begin with 100 backups. Without them backups stay in
    /// proportion to calls ([B3](crate::rules#B3)). So no backup is sent before calls complete, and none by a client of
    /// fewer than 100 calls in 10 s. With `burst: 1` in `ratio` such a client sends a backup for one call in 100.
    ///
    /// Finagle's backup delay is the percentile of latencies above which `maxExtraLoad` of them lie, at least 1 ms. Here
    /// that is a policy, [`AdaptiveDelay`](crate::policy::AdaptiveDelay), since an option does not change with latencies. The
    /// 2 retries are those of its `MethodBuilder`. Finagle sends requests that certainly never left again as often as a fifth
    /// of the budget allows; here these count among the 2 retries, since one number bounds every extra attempt
    /// ([L3](crate::rules#L3)). Calls pay into the budget when they end, not when they begin, so that calls that hang pay
    /// nothing ([B5](crate::rules#B5)).
    Finagle,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Brpc,
        Self::RpcxFailFast,
        Self::RpcxFailOver,
        Self::RpcxFailTry,
        Self::RpcxFailBackup,
        Self::Trpc,
        Self::GrpcRetry,
        Self::GrpcHedging,
        Self::Finagle,
    ];

    /// Its name in files. `rpcx` is read too, but not written: it means [`Preset::RpcxFailOver`], which is rpcx's default.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brpc => "brpc",
            Self::RpcxFailFast => "rpcx_fail_fast",
            Self::RpcxFailOver => "rpcx_fail_over",
            Self::RpcxFailTry => "rpcx_fail_try",
            Self::RpcxFailBackup => "rpcx_fail_backup",
            Self::Trpc => "trpc",
            Self::GrpcRetry => "grpc_retry",
            Self::GrpcHedging => "grpc_hedging",
            Self::Finagle => "finagle",
        }
    }

    /// The options of a channel.
    #[must_use]
    pub fn options(self) -> ChannelOptions {
        match self {
            Self::Brpc => ChannelOptions::brpc(),
            Self::RpcxFailFast => without_deadline(RPCX_CONNECT).with_fail_mode(FailMode::FailFast),
            Self::RpcxFailOver => without_deadline(RPCX_CONNECT).with_fail_mode(FailMode::FailOver),
            Self::RpcxFailTry => without_deadline(RPCX_CONNECT).with_fail_mode(FailMode::FailTry),
            Self::RpcxFailBackup => without_deadline(RPCX_CONNECT).with_fail_mode(FailMode::FailBackup),
            Self::Trpc => ChannelOptions { max_retry: 1, ..without_deadline(Timeout::NEVER) },
            Self::GrpcRetry => ChannelOptions { max_retry: 3, backoff: GRPC_BACKOFF, ..without_deadline(GRPC_CONNECT) },
            Self::GrpcHedging => ChannelOptions {
                max_retry: 3,
                backup: BackupDelay::after(Duration::from_millis(500)),
                max_backups: 3,
                ..without_deadline(GRPC_CONNECT)
            },
            Self::Finagle => ChannelOptions { max_retry: 2, ..without_deadline(FINAGLE_CONNECT) },
        }
    }

    /// The limits on extra attempts. A system that has no limits gets [`LimitOptions::SAFE`] ([B8](crate::rules#B8)).
    #[cfg(has_atomic_64)]
    #[must_use]
    pub const fn limits(self) -> LimitOptions {
        match self {
            Self::Brpc | Self::RpcxFailFast | Self::RpcxFailOver | Self::RpcxFailTry | Self::RpcxFailBackup => {
                LimitOptions::SAFE
            }
            Self::Trpc => LimitOptions { tokens: Some(TokenOptions::TRPC), ..LimitOptions::NONE },
            Self::GrpcRetry | Self::GrpcHedging => LimitOptions { tokens: Some(GRPC_TOKENS), ..LimitOptions::NONE },
            Self::Finagle => LimitOptions {
                ratio: Some(RatioOptions {
                    mode: RatioMode::Exact,
                    max_backup_ratio: 0.01,
                    window_size_seconds: 10,
                    burst: 0,
                    ..RatioOptions::DEFAULT
                }),
                budget: Some(BudgetOptions {
                    share: 0.2,
                    burst: 100,
                    minimum_per_second: 10,
                    ..BudgetOptions::DEFAULT
                }),
                ..LimitOptions::NONE
            },
        }
    }
}

const RPCX_CONNECT: Timeout = Timeout::after(Duration::from_secs(1));
const GRPC_CONNECT: Timeout = Timeout::after(Duration::from_secs(20));
const FINAGLE_CONNECT: Timeout = Timeout::after(Duration::from_secs(1));
/// The values of A6's example.
const GRPC_BACKOFF: Backoff = match Backoff::exponential(Duration::from_millis(100), 2_000, Duration::from_secs(1)) {
    Ok(backoff) => backoff,
    Err(_) => panic!("the bounds are in order"),
};
/// The values of A6's example.
#[cfg(has_atomic_64)]
pub(super) const GRPC_TOKENS: TokenOptions = TokenOptions::Grpc { max_tokens: 10, token_ratio: 0.1 };

/// The options that presets without a deadline are based on.
const fn without_deadline(connect_timeout: Timeout) -> ChannelOptions {
    ChannelOptions { timeout: Timeout::NEVER, connect_timeout, ..ChannelOptions::brpc() }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        if name == "rpcx" {
            return Ok(Self::RpcxFailOver);
        }
        Self::ALL.into_iter().find(|preset| preset.name() == name).ok_or(UnknownPreset(()))
    }
}

/// There is no preset with that name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnknownPreset(());

impl fmt::Display for UnknownPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such preset; known are")?;
        for (index, preset) in Preset::ALL.iter().enumerate() {
            write!(f, "{}{preset}", if index == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownPreset {}

#[cfg(feature = "serde")]
crate::field::named::names! { Preset }

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    use crate::outcome::NotHedged;
    use crate::policy::RetryTarget;
    use crate::time::Micros;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn f_every_preset_has_a_name_and_others_are_an_error_that_lists_them() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse(), Ok(preset));
            assert_eq!(preset.to_string(), preset.name());
        }
        assert_eq!(
            "thrift".parse::<Preset>().unwrap_err().to_string(),
            "no such preset; known are brpc, rpcx_fail_fast, rpcx_fail_over, rpcx_fail_try, rpcx_fail_backup, trpc, \
             grpc_retry, grpc_hedging, finagle"
        );
    }

    #[test]
    fn f_every_preset_is_what_its_source_documents() {
        let (never, disabled) = (Timeout::NEVER, BackupDelay::OFF);
        let (after, second) = (BackupDelay::after, Timeout::after(MS(1_000)));
        for (preset, timeout, connect_timeout, max_retry, backup, max_backups) in [
            (Preset::Brpc, MS(500).into(), MS(200).into(), 3, disabled, 1),
            (Preset::RpcxFailFast, never, second, 0, disabled, 1),
            (Preset::RpcxFailOver, never, second, 3, disabled, 1),
            (Preset::RpcxFailTry, never, second, 3, disabled, 1),
            (Preset::RpcxFailBackup, never, second, 3, after(MS(10)), 1),
            (Preset::Trpc, never, never, 1, disabled, 1),
            (Preset::GrpcRetry, never, MS(20_000).into(), 3, disabled, 1),
            (Preset::GrpcHedging, never, MS(20_000).into(), 3, after(MS(500)), 3),
            (Preset::Finagle, never, second, 2, disabled, 1),
        ] {
            let options = preset.options();
            let got =
                (options.timeout, options.connect_timeout, options.max_retry, options.backup, options.max_backups);
            assert_eq!(got, (timeout, connect_timeout, max_retry, backup, max_backups), "{preset}");
            let same = if preset == Preset::RpcxFailTry { RetryTarget::Same } else { RetryTarget::Another };
            assert_eq!(options.retry_target, same, "{preset}");
            let backoff = match preset {
                Preset::GrpcRetry => Backoff::exponential(MS(100), 2_000, MS(1_000)).unwrap(),
                _ => Backoff::OFF,
            };
            assert_eq!(options.backoff, backoff, "{preset}");
            assert_eq!(options.validate(4), Ok(()), "{preset} fits a call of 4 attempts");
        }
    }

    #[cfg(has_atomic_64)]
    #[test]
    fn b8_every_preset_has_the_limits_that_it_documents() {
        let safe = LimitOptions {
            ratio: Some(RatioOptions {
                mode: RatioMode::Exact,
                max_backup_ratio: 0.1,
                window_size_seconds: 10,
                update_interval_seconds: 5,
                burst: 10,
                backup: None,
            }),
            tokens: None,
            budget: Some(BudgetOptions { share: 0.2, burst: 100, minimum_per_second: 10, maximum_per_second: None }),
        };
        let tokens = |tokens| LimitOptions { ratio: None, tokens: Some(tokens), budget: None };
        let grpc = tokens(TokenOptions::Grpc { max_tokens: 10, token_ratio: 0.1 });
        let finagle = LimitOptions {
            ratio: Some(RatioOptions {
                mode: RatioMode::Exact,
                max_backup_ratio: 0.01,
                window_size_seconds: 10,
                update_interval_seconds: 5,
                burst: 0,
                backup: None,
            }),
            tokens: None,
            budget: Some(BudgetOptions { share: 0.2, burst: 100, minimum_per_second: 10, maximum_per_second: None }),
        };
        let expected = [
            (Preset::Brpc, safe),
            (Preset::RpcxFailFast, safe),
            (Preset::RpcxFailOver, safe),
            (Preset::RpcxFailTry, safe),
            (Preset::RpcxFailBackup, safe),
            (Preset::Trpc, tokens(TokenOptions::Trpc { max_tokens: 100, token_ratio: 10 })),
            (Preset::GrpcRetry, grpc),
            (Preset::GrpcHedging, grpc),
            (Preset::Finagle, finagle),
        ];
        assert_eq!(expected.map(|(preset, _)| preset), Preset::ALL);
        for (preset, limits) in expected {
            assert_eq!(preset.limits(), limits, "{preset}");
            assert!(limits.ratio.is_none_or(|ratio| ratio.validate() == Ok(None)), "{preset}");
            assert!(limits.tokens.is_none_or(|tokens| tokens.validate().is_ok()), "{preset}");
            assert!(limits.budget.is_none_or(|budget| budget.validate().is_ok()), "{preset}");
        }
    }

    #[cfg(has_atomic_64)]
    #[test]
    fn b3_finagles_backups_need_calls_that_completed() {
        use crate::limit::Limits;
        use crate::outcome::{Denial, End};
        use crate::policy::{BackupPolicy, Ended};
        use crate::time::Instant;

        let (limits, now) = (Limits::new(Preset::Finagle.limits()).unwrap(), Instant::from_millis(1));
        assert_eq!(limits.may_retry(now), Ok(()), "the budget's minimum");
        for completed in 0..100 {
            assert_eq!(limits.may_back_up(now), Err(Denial::Ratio), "after {completed} calls");
            limits.ended(&Ended::new(End::Accepted, (now, Micros::ZERO), &[], NotHedged::Disabled));
        }
        assert_eq!(limits.may_back_up(now), Ok(()), "one in a hundred");
    }

    #[test]
    fn f_rpcx_is_its_default_mode() {
        assert_eq!("rpcx".parse(), Ok(Preset::RpcxFailOver));
        assert_eq!("RPCX".parse::<Preset>(), Err(UnknownPreset(())));
        #[cfg(feature = "serde")]
        {
            assert_eq!(serde_json::from_str::<Preset>("\"rpcx\"").unwrap(), Preset::RpcxFailOver);
            assert_eq!(serde_json::to_string(&Preset::RpcxFailOver).unwrap(), "\"rpcx_fail_over\"");
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn f_a_file_calls_them_the_same() {
        for preset in Preset::ALL {
            let json = std::format!("\"{preset}\"");
            assert_eq!(serde_json::to_string(&preset).unwrap(), json);
            assert_eq!(serde_json::from_str::<Preset>(&json).unwrap(), preset);
        }
    }
}
