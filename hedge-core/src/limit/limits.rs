//! All limits of a channel's configuration together, as one policy: [`Limits`].

use super::{Budget, BudgetOptions, RatioLimit, RatioOptions, TokenBucket, TokenOptions};
use crate::outcome::{Denial, Extra};
use crate::policy::{BackupDelay, BackupPolicy, Ended};
use crate::time::Instant;

/// The limits of a channel. Each limit may be left out.
///
/// If a limit is absent in a file, the limit of [`LimitOptions::SAFE`] is used. `"off"` means that there is no such
/// limit.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LimitOptions {
    /// The limit on backups in proportion to calls.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "files::ratio", serialize_with = "super::setting::write_whole")
    )]
    pub ratio: Option<RatioOptions>,
    /// The limit that allows extra attempts only while most calls succeed.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "files::tokens", serialize_with = "super::setting::write_whole")
    )]
    pub tokens: Option<TokenOptions>,
    /// The budget for retries and backups together.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "files::budget", serialize_with = "super::setting::write_whole")
    )]
    pub budget: Option<BudgetOptions>,
}

#[cfg(feature = "serde")]
mod files {
    use serde::Deserializer;

    use super::{BudgetOptions, RatioOptions, TokenOptions};
    use crate::limit::setting::read_whole;

    pub(super) fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RatioOptions>, D::Error> {
        read_whole(deserializer, "limits.ratio")
    }

    pub(super) fn tokens<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TokenOptions>, D::Error> {
        read_whole(deserializer, "limits.tokens")
    }

    pub(super) fn budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BudgetOptions>, D::Error> {
        read_whole(deserializer, "limits.budget")
    }
}

impl LimitOptions {
    /// No limit. Every call may then be sent twice while the servers are slow. So this value is used only if the
    /// program asks for it ([B8](crate::rules#B8)).
    pub const NONE: Self = Self { ratio: None, tokens: None, budget: None };

    /// The default limits of a channel: backups for at most 10 % of its calls, and a budget for retries and backups
    /// ([B8](crate::rules#B8)).
    pub const SAFE: Self =
        Self { ratio: Some(RatioOptions::DEFAULT), tokens: None, budget: Some(BudgetOptions::DEFAULT) };
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self::SAFE
    }
}

/// The limits that [`LimitOptions`] describe, as one policy. An extra attempt needs the permission of all these limits.
///
/// Cost: the sum of the costs of the limits. Memory: 1312 bytes, or 544 bytes on a microcontroller.
#[derive(Debug)]
pub struct Limits {
    tokens: Option<TokenBucket>,
    ratio: Option<RatioLimit>,
    budget: Option<Budget>,
}

impl Limits {
    /// Makes limits that have not counted anything yet.
    #[must_use]
    pub fn new(options: LimitOptions) -> Self {
        Self {
            tokens: options.tokens.map(TokenBucket::new),
            ratio: options.ratio.map(RatioLimit::new),
            budget: options.budget.map(Budget::new),
        }
    }

    /// Makes limits with other options. This is for a channel whose options change while it runs. The new limits
    /// continue from the counts of these limits; see [`RatioLimit::replaced`], [`TokenBucket::replaced`] and
    /// [`Budget::replaced`]. A limit that was off before begins without counts.
    #[must_use]
    pub fn replaced(&self, options: LimitOptions, now: Instant) -> Self {
        let new = Self::new(options);
        Self {
            tokens: match (&self.tokens, options.tokens) {
                (Some(old), Some(options)) => Some(old.replaced(options)),
                _ => new.tokens,
            },
            ratio: match (&self.ratio, options.ratio) {
                (Some(old), Some(options)) => Some(old.replaced(options, now)),
                _ => new.ratio,
            },
            budget: match (&self.budget, options.budget) {
                (Some(old), Some(options)) => Some(old.replaced(options, now)),
                _ => new.budget,
            },
        }
    }

    /// Returns the limits in the order in which they are asked. Limits that count their permissions come last, so that
    /// a permission rarely has to be taken back.
    const fn all(&self) -> (&Option<TokenBucket>, (&Option<RatioLimit>, &Option<Budget>)) {
        (&self.tokens, (&self.ratio, &self.budget))
    }
}

impl Default for Limits {
    /// Makes the limits of [`LimitOptions::SAFE`].
    fn default() -> Self {
        Self::new(LimitOptions::SAFE)
    }
}

impl BackupPolicy for Limits {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        self.all().delay(now)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.all().may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.all().may_retry(now)
    }

    fn take_back(&self, extra: Extra, now: Instant) {
        self.all().take_back(extra, now);
    }

    fn ended(&self, call: &Ended<'_>) {
        self.all().ended(call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::RoundRobin;
    use crate::bounded::{Bounded, BoundedSpan, Decimal, Ratio};
    use crate::call::{Action, Input};
    use crate::channel::Channel;
    use crate::limit::{Counted, RatioMode};
    use crate::outcome::Verdict;
    use crate::policy::{CallOptions, ChannelOptions};
    use crate::time::Duration;

    const NOW: Instant = Instant::from_millis(1);

    fn granted(policy: &impl BackupPolicy) -> usize {
        (0..1_000).take_while(|_| policy.may_back_up(NOW).is_ok()).count()
    }

    #[test]
    fn b6_what_one_has_granted_is_taken_back_if_a_later_one_refuses() {
        let ratio: RatioLimit = RatioLimit::new(RatioOptions::DEFAULT);
        let budget = Budget::new(BudgetOptions {
            burst: Bounded::of::<3>(),
            minimum_per_second: Bounded::of::<0>(),
            ..BudgetOptions::DEFAULT
        });
        let both = (&ratio, &budget);
        assert_eq!(granted(&both), 3);
        assert_eq!(both.may_back_up(NOW), Err(Denial::Budget));
        assert_eq!(granted(&ratio), 7, "of the ratio's burst of 10");
        let other_way = (&budget, &ratio);
        budget.take_back(Extra::Backup, NOW);
        assert_eq!(other_way.may_back_up(NOW), Err(Denial::Ratio));
        assert_eq!(granted(&budget), 1);
        assert_eq!(both.may_retry(NOW), Err(Denial::Budget), "retries pass the ratio");
    }

    #[test]
    fn b6_what_another_limit_refuses_does_not_use_up_the_ratio() {
        let at = Instant::from_millis;
        for mode in [RatioMode::Exact, RatioMode::Cached] {
            let options = RatioOptions { mode, update_interval: BoundedSpan::of_secs::<1>(), ..RatioOptions::DEFAULT };
            let ratio: RatioLimit = RatioLimit::new(options);
            let budget = BudgetOptions {
                share: Decimal::of_thousandths::<0>(),
                burst: Bounded::of::<2>(),
                minimum_per_second: Bounded::of::<0>(),
                maximum_per_second: None,
            };
            let both = (&ratio, Budget::new(budget));
            (0..10_000).for_each(|_| ratio.completed(at(0)));
            let granted = (0..5_000).filter(|ms| both.may_back_up(at(*ms)).is_ok()).count();
            assert_eq!(granted, 2);
            let granted = (0..970).filter(|_| ratio.may_back_up(at(6_000)).is_ok()).count();
            assert_eq!(granted, 970, "{mode:?}: a tenth of the calls and the burst, but for one in each bucket");
        }
    }

    /// Makes a call of one attempt under `policy`. The attempt ends with `verdict`.
    fn call(policy: &impl BackupPolicy, verdict: Verdict) {
        let options = ChannelOptions { max_retry: 0, ..ChannelOptions::brpc() };
        let mut channel: Channel<u8, RoundRobin, _> = Channel::with_policy(options, RoundRobin::new(1), policy, 1);
        channel.insert(1, "").unwrap();
        let own = CallOptions::new();
        let mut call = channel.call(&own, NOW).unwrap();
        let Action::Start(first) = call.poll(NOW) else { panic!("the first attempt") };
        call.handle(NOW, Input::finished(first.attempt, verdict));
        assert!(matches!(call.poll(NOW), Action::Done(_)));
    }

    #[test]
    fn b2_each_limit_hears_of_every_calls_end() {
        let ratio: RatioLimit =
            RatioLimit::new(RatioOptions { max_backup_ratio: Ratio::of_percent::<50>(), ..RatioOptions::DEFAULT });
        let budget = BudgetOptions {
            share: Decimal::of_thousandths::<500>(),
            burst: Bounded::of::<2>(),
            minimum_per_second: Bounded::of::<0>(),
            maximum_per_second: None,
        };
        let budget = Budget::new(budget);
        let tokens =
            TokenBucket::new(TokenOptions::Trpc { max_tokens: Bounded::of::<8>(), token_ratio: Bounded::of::<2>() });
        let all = Limits::new(LimitOptions { tokens: Some(TokenOptions::TRPC), ..LimitOptions::SAFE });
        assert_eq!((granted(&ratio), granted(&budget)), (10, 2));
        assert_eq!(granted(&all), 10);
        for _ in 0..20 {
            call(&(&ratio, &budget), Verdict::Accept);
            call(&all, Verdict::Accept);
        }
        assert_eq!((granted(&ratio), granted(&budget), granted(&all)), (10, 2, 2));
        call(&tokens, Verdict::Fatal);
        assert_eq!(tokens.tokens_milli(), 8_000, "it says nothing about the servers");
        call(&tokens, Verdict::Retry);
        call(&tokens, Verdict::Wait);
        assert_eq!(tokens.tokens_milli(), 4_000);
        call(&tokens, Verdict::Accept);
        assert_eq!(tokens.tokens_milli(), 5_000);
        (0..10).for_each(|_| call(&all, Verdict::Retry));
        assert_eq!(all.may_retry(NOW), Err(Denial::Tokens));
        let counted =
            Counted::new(Limits::new(LimitOptions { tokens: Some(TokenOptions::TRPC), ..LimitOptions::NONE }));
        (0..5).for_each(|_| call(&counted, Verdict::Retry));
        assert_eq!(counted.may_retry(NOW), Err(Denial::Tokens));
        assert_eq!(counted.denied(Extra::Retry, Denial::Tokens), 1);
    }

    #[test]
    fn b1_a_ratios_delay_is_that_of_all_limits_and_of_what_counts_them() {
        let ratio = RatioOptions { backup: Some(Duration::from_millis(7)), ..RatioOptions::DEFAULT };
        let limits = Counted::new(Limits::new(LimitOptions { ratio: Some(ratio), ..LimitOptions::NONE }));
        assert_eq!(limits.delay(NOW), Some(BackupDelay::after(Duration::from_millis(7))));
        assert_eq!(Limits::default().delay(NOW), None);
        assert_eq!(granted(&limits), 10);
        limits.take_back(Extra::Backup, NOW);
        assert_eq!(granted(&limits), 1, "what is taken back passes through");
    }

    #[test]
    fn b8_what_is_not_said_is_safe_and_none_has_to_be_said() {
        let safe = Limits::default();
        assert_eq!(granted(&safe), 10, "the ratio's burst");
        let retries = (0..1_000).take_while(|_| safe.may_retry(NOW).is_ok()).count();
        assert_eq!(retries, 100 - 10 - 1, "the budget's burst");
        assert_eq!(granted(&Limits::new(LimitOptions::NONE)), 1_000);
    }

    #[test]
    fn b6_refusals_are_counted_by_kind_and_reason() {
        let limits = Counted::new(Limits::new(LimitOptions::SAFE));
        for _ in 0..30 {
            assert_eq!(limits.may_back_up(NOW).is_ok(), limits.denied(Extra::Backup, Denial::Ratio) == 0);
        }
        assert_eq!(limits.denied(Extra::Backup, Denial::Ratio), 20);
        assert_eq!(limits.denied(Extra::Retry, Denial::Ratio), 0);
        assert!(Denial::ALL.iter().skip(2).all(|other| limits.denied(Extra::Backup, *other) == 0));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn b8_null_is_an_error_and_off_has_to_be_said() {
        extern crate std;
        use std::string::ToString;
        let read = |json: &str| serde_json::from_str::<LimitOptions>(json).map_err(|error| error.to_string());
        assert_eq!(read("{}"), Ok(LimitOptions::SAFE));
        let off = r#"{"ratio":"off","tokens":"off","budget":"off"}"#;
        assert_eq!(read(off), Ok(LimitOptions::NONE));
        assert_eq!(serde_json::to_string(&LimitOptions::NONE).unwrap(), off);
        let all = LimitOptions { tokens: Some(TokenOptions::TRPC), ..LimitOptions::SAFE };
        assert_eq!(read(&serde_json::to_string(&all).unwrap()), Ok(all));
        for limit in ["ratio", "tokens", "budget"] {
            let error = read(&std::format!(r#"{{"{limit}": null}}"#)).unwrap_err();
            let text = "null: must be a map of what differs from the preset, or \"off\" for no such limit";
            assert!(error.starts_with(&std::format!("limits.{limit} {text}")), "{error}");
        }
    }

    #[test]
    fn sizes_are_what_the_docs_state() {
        assert_eq!(size_of::<Limits>(), 1_312);
    }
}
