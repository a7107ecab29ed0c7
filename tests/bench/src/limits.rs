//! What a limit decides, beside `governor`'s check: on one thread, and on two that share the limit.
//!
//! No clock is read: ours are told the time, and governor is given a clock that stands still. The quota is never used up, so
//! that its check is its cheapest: a load and a compare-and-swap. All but what is used up has to have room for a batch, of
//! which the next is later; so batches are short.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use hedge_core::limit::{Budget, BudgetOptions, Limits, RatioLimit, RatioOptions, TokenBucket};
use hedge_core::policy::BackupPolicy;
use hedge_core::time::{Instant, Micros};
use hedge_instructions::limits::{self, NOW, cached, roomy_budget, roomy_limits, roomy_ratio, tokens, used_up};

use crate::harness::Target::{AtMost, NoAllocation};
use crate::harness::{Contender, timed};
use crate::pair::Pair;

const CHECK: &str = "governor: check";
const CHECK_TWO: &str = "governor: check, 2 threads";

/// What a budget pays out between two of its batches.
const BATCH: u32 = 15_000;
const PAUSE: Micros = Micros::from_secs(17);
/// One bucket of a window of 10 s: the others are not empty.
const BUCKET: Micros = Micros::from_millis(700);
const NO_PAUSE: Micros = Micros::ZERO;

/// On one thread.
pub(crate) fn alone<'a>() -> Option<Vec<Contender<'a>>> {
    let decided = |row: Contender<'a>| row.target(AtMost(2.0, CHECK)).target(NoAllocation);
    Some(vec![
        one(CHECK, NO_PAUSE, governor()?, check).target(NoAllocation),
        decided(one("ratio, exact: grant", BUCKET, roomy_ratio()?, grants)),
        decided(one("ratio, exact: refusal", NO_PAUSE, used_up(exact())?, refuses)),
        decided(one("ratio, cached: grant", BUCKET, cached()?, grants)),
        decided(one("tokens: grant", BUCKET, tokens(), grants)),
        decided(one("budget: grant", PAUSE, roomy_budget(), grants)),
        decided(one("budget: refusal", NO_PAUSE, used_up(budget())?, refuses)),
        // Two decisions.
        one("ratio and budget: grant", PAUSE, roomy_limits()?, grants).target(NoAllocation),
        decided(one("safe defaults: refusal", NO_PAUSE, used_up(Limits::default())?, refuses)),
        ends("ratio, exact: ended", BUCKET, exact()),
        ends("ratio, cached: ended", BUCKET, cached()?),
        ends("tokens, full: ended", BUCKET, tokens()),
        ends("budget: ended", BUCKET, roomy_budget()),
        ends("safe defaults: ended", BUCKET, roomy_limits()?),
    ])
}

/// On two.
pub(crate) fn shared<'a>() -> Option<Vec<Contender<'a>>> {
    let decided = |row: Contender<'a>| row.target(AtMost(1.0, CHECK_TWO));
    Some(vec![
        two(CHECK_TWO, NO_PAUSE, governor()?, check),
        decided(two("ratio, exact: grant, 2 threads", BUCKET, roomy_ratio()?, grants)),
        decided(two("ratio, exact: refusal, 2 threads", NO_PAUSE, used_up(exact())?, refuses)),
        decided(two("ratio, cached: grant, 2 threads", BUCKET, cached()?, grants)),
        decided(two("tokens: grant, 2 threads", BUCKET, tokens(), grants)),
        decided(two("budget: grant, 2 threads", PAUSE, roomy_budget(), grants)),
        decided(two("budget: refusal, 2 threads", NO_PAUSE, used_up(budget())?, refuses)),
        two("ratio and budget: grant, 2 threads", PAUSE, roomy_limits()?, grants),
        decided(two("safe defaults: refusal, 2 threads", NO_PAUSE, used_up(Limits::default())?, refuses)),
    ])
}

fn exact() -> RatioLimit {
    RatioLimit::new(RatioOptions::DEFAULT)
}

fn budget() -> Budget {
    Budget::new(BudgetOptions::DEFAULT)
}

#[inline]
fn grants(policy: &impl BackupPolicy, now: Instant) -> bool {
    policy.may_back_up(now).is_ok()
}

#[inline]
fn refuses(policy: &impl BackupPolicy, now: Instant) -> bool {
    policy.may_back_up(now).is_err()
}

/// A clock that stands still.
#[derive(Clone, Copy, Debug)]
struct Still;

impl Clock for Still {
    type Instant = Nanos;

    #[inline]
    fn now(&self) -> Nanos {
        Nanos::new(black_box(1_000_000))
    }
}

type Governor = RateLimiter<NotKeyed, InMemoryState, Still, NoOpMiddleware<Nanos>>;

fn governor() -> Option<Governor> {
    let quota = Quota::per_second(NonZeroU32::new(1_000_000_000)?).allow_burst(NonZeroU32::MAX);
    Some(RateLimiter::direct_with_clock(quota, Still))
}

fn check(limiter: &Governor, _: Instant) -> bool {
    limiter.check().is_ok()
}

/// A limit that is told of calls before it grants: those that pay for a batch, if calls do.
trait Paid {
    fn pay(&self, _: Instant) {}
}

impl Paid for Governor {}
impl Paid for TokenBucket {}
impl Paid for Budget {}

impl Paid for RatioLimit {
    fn pay(&self, now: Instant) {
        limits::pay(self, now);
    }
}

impl Paid for Limits {
    fn pay(&self, now: Instant) {
        limits::pay(self, now);
    }
}

/// One decision after the other.
#[inline]
fn all<L>(limit: &L, now: Instant, count: u32, decide: impl Fn(&L, Instant) -> bool) -> bool {
    (0..count).fold(true, |fine, _| fine & decide(black_box(limit), black_box(now)))
}

fn one<'a, L: Paid + 'a>(
    name: &'static str,
    pause: Micros,
    limit: L,
    decide: impl Fn(&L, Instant) -> bool + Copy + 'a,
) -> Contender<'a> {
    let mut now = NOW;
    let batch = move |count| {
        now = now + pause;
        if pause != NO_PAUSE {
            limit.pay(now);
        }
        timed(|| all(&limit, now, count, decide))
    };
    Contender::batched(name, CHECK, batch).of(BATCH)
}

fn ends<'a>(name: &'static str, pause: Micros, limit: impl BackupPolicy + 'a) -> Contender<'a> {
    let mut now = NOW;
    let batch = move |count| {
        now = now + pause;
        timed(|| limits::ended(&limit, now, count))
    };
    Contender::batched(name, CHECK, batch).of(BATCH).target(NoAllocation)
}

fn two<'a, L: Paid + Send + Sync + 'static>(
    name: &'static str,
    pause: Micros,
    limit: L,
    decide: impl Fn(&L, Instant) -> bool + Copy + Send + 'static,
) -> Contender<'a> {
    let limit = Arc::new(limit);
    let paid = Arc::clone(&limit);
    let pair = Pair::new(move |now: Instant, count| all(&*limit, now, count, decide));
    let mut now = NOW;
    let batch = move |count| {
        now = now + pause;
        if pause != NO_PAUSE {
            paid.pay(now);
        }
        pair.batch(now, count)
    };
    Contender::batched(name, CHECK_TWO, batch).of(BATCH)
}
