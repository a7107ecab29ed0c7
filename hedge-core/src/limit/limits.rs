//! All limits that a channel's configuration describes, in one type: [`Limits`].

use super::{Budget, BudgetOptions, RatioLimit, RatioOptions, TokenBucket, TokenOptions};
use crate::outcome::{Denial, Extra};
use crate::policy::{BackupDelay, BackupPolicy, Ended, LimitError};
use crate::time::Instant;

/// Which limits a channel has; each may be left out.
///
/// In a file, a limit that is absent is the one of [`LimitOptions::SAFE`], and `"none"` means that there is no such limit.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LimitOptions {
    /// Backups in proportion to calls.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "files::ratio", serialize_with = "super::setting::write_whole")
    )]
    pub ratio: Option<RatioOptions>,
    /// Extra attempts only while most calls succeed.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "files::tokens", serialize_with = "super::setting::write_whole")
    )]
    pub tokens: Option<TokenOptions>,
    /// One budget for retries and backups.
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
    /// No limit at all: a slow cluster may be sent every call twice. It must be asked for ([B8](crate::rules#B8)).
    pub const NONE: Self = Self { ratio: None, tokens: None, budget: None };

    /// The limits of a channel by default: backups for 10 % of its calls, and a budget for retries and backups
    /// ([B8](crate::rules#B8)).
    pub const SAFE: Self =
        Self { ratio: Some(RatioOptions::DEFAULT), tokens: None, budget: Some(BudgetOptions::DEFAULT) };
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self::SAFE
    }
}

/// The limits that [`LimitOptions`] describe. All of them must agree.
///
/// Cost: the sum of their costs. 1312 bytes, 544 on a microcontroller.
#[derive(Debug)]
pub struct Limits {
    tokens: Option<TokenBucket>,
    ratio: Option<RatioLimit>,
    budget: Option<Budget>,
}

impl Limits {
    /// Limits under which nothing has happened yet.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: LimitOptions) -> Result<Self, LimitError> {
        let of = |limit| move |error: LimitError| error.of(limit);
        let kind = match options.tokens {
            Some(TokenOptions::Grpc { .. }) => "limits.tokens.grpc.",
            _ => "limits.tokens.trpc.",
        };
        Ok(Self {
            tokens: options.tokens.map(TokenBucket::new).transpose().map_err(of(kind))?,
            ratio: options.ratio.map(RatioLimit::new).transpose().map_err(of("limits.ratio."))?,
            budget: options.budget.map(Budget::new).transpose().map_err(of("limits.budget."))?,
        })
    }

    /// Limits with other options that go on from what these have learned, for a channel whose options are replaced while it
    /// runs: see [`RatioLimit::replaced`], [`TokenBucket::replaced`] and [`Budget::replaced`]. A limit that was off begins
    /// as a new one.
    ///
    /// # Errors
    /// The first option that is out of its range, as from [`Limits::new`].
    pub fn replaced(&self, options: LimitOptions, now: Instant) -> Result<Self, LimitError> {
        let new = Self::new(options)?;
        Ok(Self {
            tokens: match (&self.tokens, options.tokens) {
                (Some(old), Some(options)) => Some(old.replaced(options)?),
                _ => new.tokens,
            },
            ratio: match (&self.ratio, options.ratio) {
                (Some(old), Some(options)) => Some(old.replaced(options, now)?),
                _ => new.ratio,
            },
            budget: match (&self.budget, options.budget) {
                (Some(old), Some(options)) => Some(old.replaced(options, now)?),
                _ => new.budget,
            },
        })
    }

    /// The limits in the order in which they are asked. Those that count what they grant come last.
    const fn all(&self) -> (&Option<TokenBucket>, (&Option<RatioLimit>, &Option<Budget>)) {
        (&self.tokens, (&self.ratio, &self.budget))
    }
}

impl Default for Limits {
    /// [`LimitOptions::SAFE`].
    fn default() -> Self {
        // This does not fail, since the options are in their ranges.
        Self::new(LimitOptions::SAFE).unwrap_or(Self { tokens: None, ratio: None, budget: None })
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
        let ratio: RatioLimit = RatioLimit::new(RatioOptions::DEFAULT).unwrap();
        let budget = Budget::new(BudgetOptions { burst: 3, minimum_per_second: 0, ..BudgetOptions::DEFAULT }).unwrap();
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
            let options = RatioOptions { mode, update_interval_seconds: 1, ..RatioOptions::DEFAULT };
            let ratio: RatioLimit = RatioLimit::new(options).unwrap();
            let budget = BudgetOptions { share: 0.0, burst: 2, minimum_per_second: 0, maximum_per_second: None };
            let both = (&ratio, Budget::new(budget).unwrap());
            (0..10_000).for_each(|_| ratio.completed(at(0)));
            let granted = (0..5_000).filter(|ms| both.may_back_up(at(*ms)).is_ok()).count();
            assert_eq!(granted, 2);
            let granted = (0..970).filter(|_| ratio.may_back_up(at(6_000)).is_ok()).count();
            assert_eq!(granted, 970, "{mode:?}: a tenth of the calls and the burst, but for one in each bucket");
        }
    }

    /// Makes a call of one attempt under a policy.
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
            RatioLimit::new(RatioOptions { max_backup_ratio: 0.5, ..RatioOptions::DEFAULT }).unwrap();
        let budget = BudgetOptions { share: 0.5, burst: 2, minimum_per_second: 0, maximum_per_second: None };
        let budget = Budget::new(budget).unwrap();
        let tokens = TokenBucket::new(TokenOptions::Trpc { max_tokens: 8, token_ratio: 2 }).unwrap();
        let all = Limits::new(LimitOptions { tokens: Some(TokenOptions::TRPC), ..LimitOptions::SAFE }).unwrap();
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
            Counted::new(Limits::new(LimitOptions { tokens: Some(TokenOptions::TRPC), ..LimitOptions::NONE }).unwrap());
        (0..5).for_each(|_| call(&counted, Verdict::Retry));
        assert_eq!(counted.may_retry(NOW), Err(Denial::Tokens));
        assert_eq!(counted.denied(Extra::Retry, Denial::Tokens), 1);
    }

    #[test]
    fn b1_a_ratios_delay_is_that_of_all_limits_and_of_what_counts_them() {
        let ratio = RatioOptions { backup: Some(Duration::from_millis(7)), ..RatioOptions::DEFAULT };
        let limits = Counted::new(Limits::new(LimitOptions { ratio: Some(ratio), ..LimitOptions::NONE }).unwrap());
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
        assert_eq!(granted(&Limits::new(LimitOptions::NONE).unwrap()), 1_000);
    }

    #[test]
    fn b3_and_b5_options_at_the_ends_of_their_ranges_are_valid_and_beyond_they_are_not() {
        let ratio = |window_size_seconds, update_interval_seconds, burst| {
            RatioOptions { window_size_seconds, update_interval_seconds, burst, ..RatioOptions::DEFAULT }.validate()
        };
        assert_eq!([ratio(1, 1, 0), ratio(3_600, 3_600, 1_000_000)], [Ok(None); 2], "an interval may be the window");
        assert!(
            [ratio(0, 1, 0), ratio(3_601, 1, 0), ratio(1, 0, 0), ratio(1, 1, 1_000_001)].iter().all(Result::is_err)
        );
        let budget = |share, burst, minimum_per_second| {
            BudgetOptions { share, burst, minimum_per_second, maximum_per_second: Some(1) }.validate()
        };
        assert_eq!([budget(0.0, 2, 0), budget(10.0, 16_000, 1_000)], [Ok(()); 2]);
        assert!([budget(10.1, 2, 0), budget(0.0, 1, 0), budget(0.0, 16_001, 0)].iter().all(Result::is_err));
    }

    #[test]
    fn b6_refusals_are_counted_by_kind_and_reason() {
        let limits = Counted::new(Limits::new(LimitOptions::SAFE).unwrap());
        for _ in 0..30 {
            assert_eq!(limits.may_back_up(NOW).is_ok(), limits.denied(Extra::Backup, Denial::Ratio) == 0);
        }
        assert_eq!(limits.denied(Extra::Backup, Denial::Ratio), 20);
        assert_eq!(limits.denied(Extra::Retry, Denial::Ratio), 0);
        assert!(Denial::ALL.iter().skip(2).all(|other| limits.denied(Extra::Backup, *other) == 0));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn b8_null_is_an_error_and_none_has_to_be_said() {
        extern crate std;
        use std::string::ToString;
        let read = |json: &str| serde_json::from_str::<LimitOptions>(json).map_err(|error| error.to_string());
        assert_eq!(read("{}"), Ok(LimitOptions::SAFE));
        let none = r#"{"ratio":"none","tokens":"none","budget":"none"}"#;
        assert_eq!(read(none), Ok(LimitOptions::NONE));
        assert_eq!(serde_json::to_string(&LimitOptions::NONE).unwrap(), none);
        let all = LimitOptions { tokens: Some(TokenOptions::TRPC), ..LimitOptions::SAFE };
        assert_eq!(read(&serde_json::to_string(&all).unwrap()), Ok(all));
        for limit in ["ratio", "tokens", "budget"] {
            let error = read(&std::format!(r#"{{"{limit}": null}}"#)).unwrap_err();
            let text = "null: must be a map of what differs from the preset, or \"none\" for no such limit";
            assert!(error.starts_with(&std::format!("limits.{limit} {text}")), "{error}");
        }
    }

    #[test]
    fn sizes_are_what_the_docs_state() {
        assert_eq!(size_of::<Limits>(), 1_312);
    }
}
