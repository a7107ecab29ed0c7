//! The default settings of other systems: [`Preset`] ([F](crate::rules#F), [B8](crate::rules#B8)). Each preset has a
//! name.

use core::fmt;
use core::str::FromStr;

#[cfg(has_atomic_64)]
use crate::bounded::{Bounded, BoundedSpan, Decimal, Ratio};
#[cfg(has_atomic_64)]
use crate::limit::{BudgetOptions, LimitOptions, RatioMode, RatioOptions, TokenOptions};
use crate::policy::{Backoff, BackupDelay, ChannelOptions, FailMode};
use crate::time::{Duration, Timeout};

/// The default options and limits of another system. With a preset, a channel that replaces a client of that system
/// begins with the same behaviour.
///
/// A preset is a starting point. Override the settings that should differ, in code or in a file
#[cfg_attr(feature = "serde", doc = "([`ChannelConfig`](super::ChannelConfig)).")]
#[cfg_attr(not(feature = "serde"), doc = "(feature `serde`).")]
/// All presets but `brpc` have no deadline, like the systems that they come from. A program that chooses such a preset
/// asks for calls without a deadline ([L2](crate::rules#L2)). So such a program should set `timeout` too.
///
/// The rules of this crate hold under every preset. An extra attempt goes to another address as long as there is an
/// untried one ([L11](crate::rules#L11)). A failed backup does not end a call that another attempt may still win
/// ([L7](crate::rules#L7), [L9](crate::rules#L9)). `max_retry` bounds retries and backups together
/// ([L3](crate::rules#L3)). A call that is not idempotent is not sent twice ([L15](crate::rules#L15)).
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
    /// The defaults of brpc, as its header file says: timeout 500 ms, connect timeout 200 ms, 3 retries, no backup, no
    /// backoff. (An older page of brpc's documentation says 1 s for both timeouts.)
    ///
    /// Difference: brpc limits backups only if a policy is set, and never limits retries. Here the safe limits are on
    /// ([B8](crate::rules#B8)), so that setting `backup` alone cannot double the load.
    #[default]
    Brpc,
    /// The defaults of rpcx's mode `Failfast`: connect timeout 1 s (10 s in early releases), no call timeout, one
    /// attempt.
    ///
    /// There is no difference from rpcx. The safe limits are on, but a call with one attempt has nothing that they
    /// could refuse.
    RpcxFailFast,
    /// The defaults of rpcx's mode `Failover`, which is rpcx's default mode. This preset is like
    /// [`Preset::RpcxFailFast`], with up to 3 retries without a pause. `rpcx` is another name for this preset.
    ///
    /// Differences: rpcx selects a server again for each retry, and may choose the server that has just failed. Here a
    /// retry goes to another server, which is more likely to succeed ([L11](crate::rules#L11)). rpcx has no limits.
    /// Here the safe limits are on, so that an outage is not made worse ([B8](crate::rules#B8)).
    #[cfg_attr(feature = "serde", serde(alias = "rpcx"))]
    RpcxFailOver,
    /// The defaults of rpcx's mode `Failtry`. This preset is like [`Preset::RpcxFailOver`], but the retries go to the
    /// server that failed.
    ///
    /// Difference: rpcx has no limits. Here the safe limits are on, so that an outage is not made worse
    /// ([B8](crate::rules#B8)).
    RpcxFailTry,
    /// The defaults of rpcx's mode `Failbackup`. This preset is like [`Preset::RpcxFailOver`], with a second request
    /// after 10 ms.
    ///
    /// Differences: rpcx sends at most two requests and retries nothing. It takes the first request that completes,
    /// even if the result is an error. Here a failure is retried, and does not end a call that another attempt may win.
    /// rpcx has no limits. Here the safe limits are on. Otherwise every call would be sent twice while the servers take
    /// longer than 10 ms ([B8](crate::rules#B8)).
    RpcxFailBackup,
    /// The defaults of tRPC-Cpp: no timeout and no connect timeout. If a delay is set for a call, a backup request goes
    /// to a second node after the delay. It goes there at once if the first request fails before the delay is over.
    /// With only one node there is no backup request. The limiter of tRPC, `retry_hedging_limit`, has 100 tokens, and a
    /// failure takes 10 of them.
    ///
    /// The limiter counts failures only. So once `backup` is set, every call is sent twice while the servers are slow
    /// but answer. For more protection add `ratio` or `budget` to the limits ([B8](crate::rules#B8)).
    #[cfg_attr(feature = "serde", doc = "[`TrpcService`](super::TrpcService) reads the limiter from tRPC's own file.")]
    ///
    /// There are two differences. First, tRPC without a delay sends one request. Here a call may have one extra
    /// attempt, and without a delay this is a retry. So it is enough to set `backup` to get tRPC's two requests.
    /// Second, the limiter of tRPC is off until it is enabled. Here it is on, since a channel is without limits only if
    /// the program asks for that ([B8](crate::rules#B8)).
    Trpc,
    /// gRPC's retries. gRPC has no defaults, so the values are those of the example in gRPC's proposal A6: 4 attempts,
    /// a backoff that doubles from 100 ms to 1 s with a jitter of a fifth, and a throttle of 10 tokens to which a
    /// success adds 0.1. There is no deadline. Making a connection may take 20 s.
    ///
    /// The throttle counts failures only. So once `backup` is set, every call is sent twice while the servers are slow
    /// but answer. For more protection add `ratio` or `budget` to the limits ([B8](crate::rules#B8)).
    ///
    /// There are three differences from gRPC. First, gRPC's retry policy says which status codes are retried. These
    /// options do not contain the codes. The codes are read by the module
    #[cfg_attr(feature = "serde", doc = "[`service_config`](super::service_config).")]
    #[cfg_attr(not(feature = "serde"), doc = "`service_config` (feature `serde`).")]
    /// Second, the throttle counts a call once, and not each of its attempts. So a call with four attempts does not
    /// take tokens four times ([B4](crate::rules#B4)). Third, after a pushback the backoff continues to grow, while A6
    /// starts the backoff again. There are two reasons for this. The length of wait n depends on n alone
    /// ([R3](crate::rules#R3)). And a server that has just pushed back should not get its next attempt sooner than
    /// without the pushback.
    GrpcRetry,
    /// gRPC's hedging, with the values of the example in gRPC's proposal A6: 4 attempts, 500 ms apart. The throttle,
    /// the deadline and the connect timeout are those of [`Preset::GrpcRetry`].
    ///
    /// The throttle counts failures only. So every call is sent four times while the servers are slow but answer. For
    /// more protection add `ratio` or `budget` to the limits ([B8](crate::rules#B8)).
    ///
    /// The differences are those of [`Preset::GrpcRetry`], and two more. First, after a failure the next attempt
    /// follows at once, as in A6. But the failure does not change the times of the attempts after that one
    /// ([L4](crate::rules#L4)), since the failure says nothing about how long the other attempts take. Second, if there
    /// are fewer servers than attempts, no server gets two attempts at the same time. A6 does not say what to do in
    /// this case. A server that is slow with one attempt is not faster with two ([L11](crate::rules#L11)).
    GrpcHedging,
    /// The defaults of Finagle: no timeout, connect timeout 1 s, 2 retries without a pause. The retries use a budget:
    /// each request adds a fifth of a retry, and each second adds 10 retries. The budget keeps what was added for 10 s.
    /// Backups are off. If Finagle's backup filter is on, it has a budget of its own: each request adds the share
    /// `maxExtraLoad` of a backup (1 % in Finagle's examples), and each second adds 10 backups. A backup uses both
    /// budgets, so retries and backups together stay within the first budget.
    ///
    /// The first difference is the budget of the backup filter. Its share `maxExtraLoad` is used here, but its 10
    /// backups a second are not. For a client of 100 calls a second, these 10 backups would add a tenth to the load,
    /// and an outage would begin with 100 backups. Without these 10 backups a second, the backups stay in proportion to
    /// the calls ([B3](crate::rules#B3)). So no backup is sent before calls have completed, and a client with fewer
    /// than 100 calls in 10 s sends no backup. With `burst: 1` in `ratio`, such a client sends a backup for one call in
    /// 100.
    ///
    /// The second difference is the backup delay. In Finagle it is a percentile of latencies, at least 1 ms, such that
    /// a share `maxExtraLoad` of the latencies is longer. Here such a delay is a policy,
    /// [`AdaptiveDelay`](crate::policy::AdaptiveDelay), since an option does not change with latencies.
    ///
    /// The third difference is about retries. The 2 retries are those of Finagle's `MethodBuilder`. Finagle also
    /// repeats requests that certainly never left the client. The number of these repeats is limited to a fifth of the
    /// budget. Here such attempts count among the 2 retries, since one number bounds all extra attempts
    /// ([L3](crate::rules#L3)).
    ///
    /// The fourth difference is when calls add to the budget. Here they add when they end, and not when they begin. So
    /// calls that hang add nothing ([B5](crate::rules#B5)).
    Finagle,
}

impl Preset {
    /// All presets.
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

    /// Returns the preset's name in files. The name `rpcx` can be read too, but is never written. It means
    /// [`Preset::RpcxFailOver`], which is rpcx's default.
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

    /// Returns the preset's options for a channel.
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

    /// Returns the preset's limits on extra attempts. For a system without limits, these are [`LimitOptions::SAFE`]
    /// ([B8](crate::rules#B8)).
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
                    max_backup_ratio: Ratio::of_percent::<1>(),
                    window: BoundedSpan::of_secs::<10>(),
                    burst: Bounded::of::<0>(),
                    ..RatioOptions::DEFAULT
                }),
                budget: Some(BudgetOptions {
                    share: Decimal::of_thousandths::<200>(),
                    burst: Bounded::of::<100>(),
                    minimum_per_second: Bounded::of::<10>(),
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
/// The backoff of the example in gRPC's proposal A6.
const GRPC_BACKOFF: Backoff = match Backoff::exponential(Duration::from_millis(100), 2_000, Duration::from_secs(1)) {
    Ok(backoff) => backoff,
    Err(_) => panic!("the bounds are in order"),
};
/// The tokens of the example in gRPC's proposal A6.
#[cfg(has_atomic_64)]
pub(super) const GRPC_TOKENS: TokenOptions =
    TokenOptions::Grpc { max_tokens: Bounded::of::<10>(), token_ratio: Decimal::of_thousandths::<100>() };

/// Returns the basic options of the presets without a deadline.
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

/// The error for a name that is not the name of a preset.
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
                max_backup_ratio: Ratio::of_percent::<10>(),
                window: BoundedSpan::of_secs::<10>(),
                update_interval: BoundedSpan::of_secs::<5>(),
                burst: Bounded::of::<10>(),
                backup: None,
            }),
            tokens: None,
            budget: Some(BudgetOptions {
                share: Decimal::of_thousandths::<200>(),
                burst: Bounded::of::<100>(),
                minimum_per_second: Bounded::of::<10>(),
                maximum_per_second: None,
            }),
        };
        let tokens = |tokens| LimitOptions { ratio: None, tokens: Some(tokens), budget: None };
        let grpc = tokens(TokenOptions::Grpc {
            max_tokens: Bounded::of::<10>(),
            token_ratio: Decimal::of_thousandths::<100>(),
        });
        let finagle = LimitOptions {
            ratio: Some(RatioOptions {
                mode: RatioMode::Exact,
                max_backup_ratio: Ratio::of_percent::<1>(),
                window: BoundedSpan::of_secs::<10>(),
                update_interval: BoundedSpan::of_secs::<5>(),
                burst: Bounded::of::<0>(),
                backup: None,
            }),
            tokens: None,
            budget: Some(BudgetOptions {
                share: Decimal::of_thousandths::<200>(),
                burst: Bounded::of::<100>(),
                minimum_per_second: Bounded::of::<10>(),
                maximum_per_second: None,
            }),
        };
        let expected = [
            (Preset::Brpc, safe),
            (Preset::RpcxFailFast, safe),
            (Preset::RpcxFailOver, safe),
            (Preset::RpcxFailTry, safe),
            (Preset::RpcxFailBackup, safe),
            (
                Preset::Trpc,
                tokens(TokenOptions::Trpc { max_tokens: Bounded::of::<100>(), token_ratio: Bounded::of::<10>() }),
            ),
            (Preset::GrpcRetry, grpc),
            (Preset::GrpcHedging, grpc),
            (Preset::Finagle, finagle),
        ];
        assert_eq!(expected.map(|(preset, _)| preset), Preset::ALL);
        for (preset, limits) in expected {
            assert_eq!(preset.limits(), limits, "{preset}");
        }
    }

    #[cfg(has_atomic_64)]
    #[test]
    fn b3_finagles_backups_need_calls_that_completed() {
        use crate::limit::Limits;
        use crate::outcome::{Denial, End};
        use crate::policy::{BackupPolicy, Ended};
        use crate::time::Instant;

        let (limits, now) = (Limits::new(Preset::Finagle.limits()), Instant::from_millis(1));
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
