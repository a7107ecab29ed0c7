//! What is counted: [`OPERATIONS`], by name.

use std::fmt;
use std::hint::black_box;
use std::num::NonZeroU32;

use hedge_core::balance::la::LocalityAware;
use hedge_core::balance::p2c::{P2c, P2cOptions};
use hedge_core::balance::ring::{Ring, RingHash};
use hedge_core::balance::{Consistent, Fixed, RandomChoice, RoundRobin, Selection, WeightedRoundRobin};
use hedge_core::call::{Host, Report};
use hedge_core::id::{AttemptId, ServerId};
use hedge_core::limit::{Budget, BudgetOptions, Limits, RatioLimit, RatioOptions, TokenBucket};
use hedge_core::outcome::{Code, Feedback, SentAttempt};
use hedge_core::policy::{BackupPolicy, CallOptions};
use hedge_core::time::Instant;

use crate::driven::{Answer, Jumping, Still, by_hand, driven};
use crate::{Line, SERVERS, by_hand as core, limits, line};

/// What the operations work on.
#[derive(Debug)]
pub struct World {
    plain: Line<RoundRobin>,
    hedged: Line<RoundRobin>,
    random: Line<RandomChoice>,
    balancers: Balancers,
    options: CallOptions<'static>,
    report: Report,
    jumping: Jumping,
    limits: Decided,
}

/// The further balancers, each over servers of its own.
#[derive(Debug)]
struct Balancers {
    wrr: Line<WeightedRoundRobin<Room>>,
    p2c: Line<P2c>,
    la: Line<LocalityAware<Room>>,
    ketama: Line<Consistent<Room>>,
}

/// For the servers of a line, and 40 points of each.
type Room = Fixed<{ SERVERS as usize }, { 40 * SERVERS as usize }>;

impl Balancers {
    fn new() -> Option<Self> {
        Some(Self {
            wrr: line(WeightedRoundRobin::new(1).or_weight(NonZeroU32::MIN), false)?,
            p2c: line(P2c::new(P2cOptions::DEFAULT), false)?,
            la: line(LocalityAware::new(1), false)?,
            ketama: line(Consistent::new(Ring::new(RingHash::Ketama, 40).ok()?), false)?,
        })
    }
}

/// Limits that grant whatever is asked of them here, and limits that refuse.
#[derive(Debug)]
struct Decided {
    exact: RatioLimit,
    exact_saved: RatioLimit,
    exact_used: RatioLimit,
    cached: RatioLimit,
    tokens: TokenBucket,
    budget: Budget,
    budget_used: Budget,
    roomy: Limits,
    safe_used: Limits,
}

impl Decided {
    fn new() -> Option<Self> {
        Some(Self {
            exact: limits::roomy_ratio()?,
            exact_saved: limits::saving_ratio(),
            exact_used: limits::used_up(RatioLimit::new(RatioOptions::DEFAULT))?,
            cached: limits::cached()?,
            tokens: limits::tokens(),
            budget: limits::roomy_budget(),
            budget_used: limits::used_up(Budget::new(BudgetOptions::DEFAULT))?,
            roomy: limits::roomy_limits()?,
            safe_used: limits::used_up(Limits::default())?,
        })
    }
}

impl World {
    /// The same world every time. `None` if the core refuses its options.
    #[must_use]
    pub fn new() -> Option<Self> {
        let hedged = line(RoundRobin::new(1), true)?;
        let options = CallOptions::new();
        let report = core::report(&hedged, &options, Instant::ZERO)?;
        let plain = line(RoundRobin::new(1), false)?;
        let (random, limits) = (line(RandomChoice, false)?, Decided::new()?);
        let balancers = Balancers::new()?;
        Some(Self { plain, hedged, random, balancers, options, report, jumping: Jumping::default(), limits })
    }
}

/// One operation of the core.
#[derive(Clone, Copy)]
pub struct Operation {
    /// What it is called in the baseline.
    pub name: &'static str,
    run: fn(&World, u32) -> bool,
}

impl Operation {
    /// Does it `count` times; answers whether each went as it should.
    #[must_use]
    pub fn run(&self, world: &World, count: u32) -> bool {
        (self.run)(world, count)
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("name", &self.name).finish_non_exhaustive()
    }
}

const NOW: Instant = Instant::from_millis(1);

/// Repeats an operation; the world comes out of a black box each time, so that nothing is carried over.
#[inline]
fn repeat(world: &World, count: u32, mut once: impl FnMut(&World) -> bool) -> bool {
    (0..count).fold(true, |fine, _| fine & once(black_box(world)))
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $text:literal: $once:expr;)* @ended $($told:ident = $its_text:literal: $policy:ident;)*) => {
        $($(#[$doc])* #[inline(never)] fn $name(world: &World, count: u32) -> bool { repeat(world, count, $once) })*
        $(#[inline(never)] fn $told(world: &World, count: u32) -> bool { limits::ended(&world.limits.$policy, limits::NOW, count) })*

        /// All of them, in the order of the baseline.
        pub const OPERATIONS: &[Operation] =
            &[$(Operation { name: $text, run: $name },)* $(Operation { name: $its_text, run: $told }),*];
    };
}

operations! {
    /// No backup is armed.
    plain = "plain_call": |w| core::plain(&w.plain, &w.options, black_box(NOW));
    /// A backup is armed, and not needed.
    armed = "plain_call_backup_armed": |w| core::plain(&w.hedged, &w.options, black_box(NOW));
    backup = "backup_that_wins": |w| core::backup_wins(&w.hedged, &w.options, black_box(NOW));
    retry = "retry_after_failure": |w| core::retry(&w.plain, &w.options, black_box(NOW));
    deadline = "deadline": |w| core::deadline(&w.plain, &w.options, black_box(NOW));
    ready = "driver_ready": |w| {
        by_hand(driven(&w.hedged, &w.options, &Still, |_| Answer::ready(1))) == Some(1)
    };
    pending = "driver_pending_once": |w| {
        by_hand(driven(&w.hedged, &w.options, &Still, |_| Answer::pending_once(1))) == Some(1)
    };
    fires = "driver_backup_that_wins": |w| {
        let answer = |attempt| if attempt == AttemptId::FIRST { Answer::never() } else { Answer::ready(1) };
        by_hand(driven(&w.hedged, &w.options, &w.jumping, answer)) == Some(1)
    };
    /// A look and its commit among 16 servers.
    rr = "pick_rr": |w| pick(&w.plain);
    random = "pick_random": |w| pick(&w.random);
    wrr = "pick_wrr": |w| pick(&w.balancers.wrr);
    ketama = "pick_ketama": |w| pick(&w.balancers.ketama);
    /// And its end, which these two learn from.
    p2c = "pick_p2c_and_answer": |w| attempt(&w.balancers.p2c);
    la = "pick_la_and_answer": |w| attempt(&w.balancers.la);
    clone = "report_clone": |w| { black_box(w.report.clone()); true };
    exact_grant = "limit_exact_grant": |w| w.limits.exact.may_back_up(black_box(limits::NOW)).is_ok();
    exact_saved = "limit_exact_grant_saved": |w| w.limits.exact_saved.may_back_up(black_box(limits::NOW)).is_ok();
    exact_refusal = "limit_exact_refusal": |w| w.limits.exact_used.may_back_up(black_box(limits::NOW)).is_err();
    cached_grant = "limit_cached_grant": |w| w.limits.cached.may_back_up(black_box(limits::NOW)).is_ok();
    tokens_grant = "limit_tokens_grant": |w| w.limits.tokens.may_back_up(black_box(limits::NOW)).is_ok();
    budget_grant = "limit_budget_grant": |w| w.limits.budget.may_back_up(black_box(limits::NOW)).is_ok();
    budget_refusal = "limit_budget_refusal": |w| w.limits.budget_used.may_back_up(black_box(limits::NOW)).is_err();
    roomy_grant = "limit_both_grant": |w| w.limits.roomy.may_back_up(black_box(limits::NOW)).is_ok();
    safe_refusal = "limit_safe_refusal": |w| w.limits.safe_used.may_back_up(black_box(limits::NOW)).is_err();
    @ended
    exact_ended = "limit_ended_exact": exact;
    cached_ended = "limit_ended_cached": cached;
    tokens_ended = "limit_ended_tokens": tokens;
    budget_ended = "limit_ended_budget": budget;
    safe_ended = "limit_ended_safe": roomy;
}

#[inline]
fn pick(host: &impl Host) -> bool {
    picked(host).is_some()
}

#[inline]
fn picked(host: &impl Host) -> Option<ServerId> {
    let request_code = Some(black_box(7));
    let selection =
        Selection { tried: &[], same: None, working_too: false, servers: None, request_code, now: Instant::ZERO };
    let mut random = hedge_core::random::Random::unseeded();
    let pick = host.look(black_box(&selection), &mut || random.next(host.seeds())).ok()?;
    host.commit(black_box(&pick), Instant::ZERO, false).then_some(pick.server)
}

#[inline]
fn attempt(host: &impl Host) -> bool {
    let Some(server) = picked(host) else { return false };
    let sent = SentAttempt {
        server,
        at: Instant::ZERO,
        attempt: AttemptId::FIRST,
        max_retry: 3,
        timeout: host.options().timeout,
    };
    let feedback = Feedback::Success { latency: NOW.micros_since(Instant::ZERO) };
    host.finished(black_box(&sent.finished(NOW, feedback, Code::NONE)));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_goes_as_it_should_every_time() {
        let world = World::new().unwrap();
        for operation in OPERATIONS {
            assert!(operation.run(&world, 100), "{}", operation.name);
        }
    }

    #[test]
    fn a_driven_call_sleeps_only_if_it_has_to_wait() {
        let world = World::new().unwrap();
        let clock = Jumping::default();
        let run = |answer: fn(AttemptId) -> Answer| by_hand(driven(&world.hedged, &world.options, &clock, answer));
        assert_eq!((run(|_| Answer::ready(7)), clock.sleeps()), (Some(7), 0));
        let slow_first = |attempt| if attempt == AttemptId::FIRST { Answer::never() } else { Answer::ready(8) };
        assert_eq!((run(slow_first), clock.sleeps()), (Some(8), 1));
    }
}
