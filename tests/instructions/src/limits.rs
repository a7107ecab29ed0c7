//! Limits in the states in which they decide: with room, and with none.

use std::hint::black_box;

use hedge_core::balance::RoundRobin;
use hedge_core::bounded::{Bounded, BoundedSpan, Ratio};
use hedge_core::call::{Action, Input};
use hedge_core::channel::Channel;
use hedge_core::limit::{
    Budget, BudgetOptions, LimitOptions, Limits, RatioLimit, RatioMode, RatioOptions, TokenBucket, TokenOptions,
};
use hedge_core::outcome::Verdict;
use hedge_core::policy::{BackupPolicy, CallOptions, ChannelOptions, Ended};
use hedge_core::time::Instant;

/// When they are asked.
pub const NOW: Instant = Instant::from_millis(20_000);

/// Almost one for each call that ended, of which [`pay`] tells.
const ROOMY_RATIO: RatioOptions =
    RatioOptions { max_backup_ratio: Ratio::of_percent::<99>(), burst: Bounded::of::<0>(), ..RatioOptions::DEFAULT };
/// How many grants calls are told of that pay for them.
const GRANTS: u32 = 16_000;
const ROOMY_BUDGET: BudgetOptions = BudgetOptions {
    burst: Bounded::of::<16_000>(),
    minimum_per_second: Bounded::of::<1_000>(),
    ..BudgetOptions::DEFAULT
};

/// Grants 15,000 to begin with, as so many calls have ended.
#[must_use]
pub fn roomy_ratio() -> Option<RatioLimit> {
    Some(RatioLimit::new(ROOMY_RATIO)).filter(|limit| pay(limit, NOW))
}

/// Grants a million from what is saved up, where no call has ended.
#[must_use]
pub fn saving_ratio() -> RatioLimit {
    RatioLimit::new(RatioOptions { burst: Bounded::of::<1_000_000>(), ..RatioOptions::DEFAULT })
}

/// Tells of the ends of calls that pay for 15,000 backups.
pub fn pay(policy: &impl BackupPolicy, now: Instant) -> bool {
    ended(policy, now, GRANTS)
}

/// Grants whatever comes, as it looked when nothing had been sent, and does not look again.
#[must_use]
pub fn cached() -> Option<RatioLimit> {
    let options = RatioOptions {
        mode: RatioMode::Cached,
        update_interval: BoundedSpan::of_secs::<{ u32::MAX as u64 }>(),
        ..RatioOptions::DEFAULT
    };
    let limit = RatioLimit::new(options);
    limit.may_back_up(Instant::ZERO).ok()?;
    Some(limit)
}

/// tRPC's bucket, full.
#[must_use]
pub fn tokens() -> TokenBucket {
    TokenBucket::new(TokenOptions::TRPC)
}

/// Grants 16,000, and again after 16 s.
#[must_use]
pub fn roomy_budget() -> Budget {
    Budget::new(ROOMY_BUDGET)
}

/// What a channel has by default, with more room: grants 15,000 to begin with, as so many calls have ended.
#[must_use]
pub fn roomy_limits() -> Option<Limits> {
    let limits = Limits::new(LimitOptions { ratio: Some(ROOMY_RATIO), tokens: None, budget: Some(ROOMY_BUDGET) });
    Some(limits).filter(|limits| pay(limits, NOW))
}

/// A policy that has granted all that it would, over ten seconds of a hundred calls before [`NOW`].
#[must_use]
pub fn used_up<P: BackupPolicy>(policy: P) -> Option<P> {
    for call in 1..=100 {
        let at = Instant::from_millis(NOW.as_micros() / 1_000 - 10_000 + 100 * call);
        ended(&policy, at, 1).then_some(())?;
        // As many as there are; the last is refused.
        while policy.may_back_up(at).is_ok() {}
    }
    Some(policy)
}

/// Tells a policy of the end of a call `count` times: only a call can tell of one. False if it did not go as it should.
#[inline(never)]
pub fn ended(policy: &impl BackupPolicy, now: Instant, count: u32) -> bool {
    tell(&Repeated { policy, count }, now).is_some()
}

fn tell(policy: &impl BackupPolicy, now: Instant) -> Option<()> {
    let mut line: Channel<u32, _, _, &'static str, 1> =
        Channel::with_policy(ChannelOptions::brpc(), RoundRobin::starting_at(0), policy, 1);
    line.insert(0, "").ok()?;
    let options = CallOptions::new();
    let mut call = line.call(&options, now).ok()?;
    let Action::Start(start) = call.poll(now) else { return None };
    call.handle(now, Input::finished(start.attempt, Verdict::Accept));
    matches!(call.poll(now), Action::Done(_)).then_some(())
}

/// Hears of an end so many times.
struct Repeated<'p, P> {
    policy: &'p P,
    count: u32,
}

impl<P: BackupPolicy> BackupPolicy for Repeated<'_, P> {
    fn ended(&self, call: &Ended<'_>) {
        (0..self.count).for_each(|_| black_box(self.policy).ended(black_box(call)));
    }
}
