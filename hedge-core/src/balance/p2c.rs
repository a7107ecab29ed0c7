//! The balancer `p2c` (power of two choices). It takes the cheapest of a few random candidates. The cost of a candidate
//! depends on its peak-EWMA latency and its load ([S4](crate::rules#S4)).
//!
//! The cost of a server is (latency + penalty) × (attempts in flight + 1) / weight:
//!
//! - The latency is a peak EWMA (exponentially weighted moving average). A higher latency replaces the average at
//!   once. Otherwise the average decays with a time constant of 10 s, even while no answers come in. This is Finagle's
//!   `PeakEwma`; the arithmetic is that of brpc's `p2c`.
//! - The latency of a failure does not change the average. A failure sets a penalty instead: the call's timeout, or
//!   the failure's own latency if that is longer, but at most 30 s. The penalty decays with a time constant of 2 s, and
//!   each success halves it. So a server that fails fast attracts no calls. After a penalty of 500 ms, the server gets
//!   the next call after about 7 s.
//! - An abandoned attempt is neither a success nor a failure ([L13](crate::rules#L13)). Its latency is unknown, but
//!   it is at least the attempt's age. So if the decayed average is below that age, it is raised to that age. An
//!   abandoned attempt never lowers the average.
//! - A failure at this client, or by its caller's fault, changes nothing ([S7](crate::rules#S7)).
//!
//! Cost: `p2c` takes 16 bytes for each server. A feedback is one compare-and-swap, and a second one while a penalty
//! decays. A score is two loads, up to 17 multiplications, up to two divisions by 3 and, for a weight other than 1, a
//! division by the weight. The rule itself takes 40 bytes, and its tables take 512 bytes.

use core::num::NonZeroU32;

use super::decay::Decay;
use super::timed_span::TimedSpan;
use super::{Balancer, Offer, Order, Search, ServerList, Weighing};
use crate::atomic::{AtomicU64, Ordering::SeqCst};
use crate::bounded::{Bounded, BoundedSpan};
use crate::outcome::{Feedback, Finished};
use crate::time::{Duration, Instant, Micros, Timeout};

/// The time constant of the decay of penalties.
const PENALTY_TAU: Micros = Micros::from_secs(2);
/// The longest penalty. A failure in a call without a timeout sets this penalty too.
const LONGEST_PENALTY: Micros = Micros::from_secs(30);
/// The smallest latency in a score, in microseconds. Because it is not zero, attempts in flight count even if nothing
/// else is known.
const LEAST: u64 = 1;
/// The number of fractional bits in a score.
const FRACTION: u32 = 24;

/// The type of the number of candidates that are compared.
pub type Choices = Bounded<2, 64>;
/// The type of the time constant of a decay.
pub type Tau = BoundedSpan<1, 3_600_000>;

/// The options of a [`P2c`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct P2cOptions {
    /// How many candidates are compared. Default 2.
    pub choices: Choices,
    /// The time constant of the decay of latencies. The default is 10 s, as in Finagle and brpc.
    pub tau: Tau,
}

impl P2cOptions {
    /// The defaults of brpc.
    pub const DEFAULT: Self = Self { choices: Bounded::of::<2>(), tau: BoundedSpan::of_secs::<10>() };
}

impl Default for P2cOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The balancer `p2c`. It compares servers by their cost. What it knows about each server is in a [`P2cStats`].
///
/// ```
/// use hedge_core::balance::p2c::{P2c, P2cOptions, P2cStats};
/// use hedge_core::outcome::Feedback;
/// use hedge_core::time::{Duration, Instant, Micros, Timeout};
///
/// let rule = P2c::new(P2cOptions::DEFAULT);
/// let (now, timeout) = (Instant::ZERO, Timeout::after(Duration::from_millis(500)));
/// let (quick, failing) = (P2cStats::new(), P2cStats::new());
/// rule.feedback(&quick, now, Feedback::Success { latency: Micros::from_millis(10) }, timeout);
/// rule.feedback(&failing, now, Feedback::Failure { latency: Micros::from_millis(1) }, timeout);
/// let score = |stats| rule.score(stats, now, 0, core::num::NonZeroU32::MIN);
/// assert_eq!(rule.choose([("failing", score(&failing)), ("quick", score(&quick))]), Some("quick"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct P2c {
    choices: usize,
    latency: Decay,
    penalty: Decay,
}

impl P2c {
    /// Makes a rule with these options.
    #[must_use]
    pub fn new(options: P2cOptions) -> Self {
        Self {
            choices: usize::try_from(options.choices.get()).unwrap_or(usize::MAX),
            latency: Decay::new(options.tau.micros()),
            penalty: Decay::new(PENALTY_TAU),
        }
    }

    /// Records the feedback of an attempt that ended at `now`, in a call with this timeout. A success that took no time
    /// does not change the latency.
    pub fn feedback(&self, stats: &P2cStats, now: Instant, feedback: Feedback, timeout: Timeout) {
        match feedback {
            Feedback::Success { latency } => {
                stats.average(|average| self.averaged(average, now, latency));
                stats.penalise(|penalty| self.forgiven(penalty, now));
            }
            Feedback::Failure { latency } => stats.penalise(|penalty| self.penalised(penalty, now, latency, timeout)),
            Feedback::Abandoned { age } => stats.average(|average| self.raised(average, now, age)),
            Feedback::Local { .. } => {}
        }
    }

    /// Returns the cost of one more attempt at a server at `now`, in microseconds times 2^24. The server with the
    /// lowest cost is the best. Very high costs saturate, for example at a latency of 1 s with about a million attempts
    /// in flight.
    #[must_use]
    pub fn score(&self, stats: &P2cStats, now: Instant, in_flight: u32, weight: NonZeroU32) -> u64 {
        let left = |decay: Decay, word: &AtomicU64| {
            let packed = TimedSpan::of(word.load(SeqCst));
            // Zero stays zero, so no decay is computed.
            if packed.span() == Micros::ZERO {
                return 0;
            }
            decay.left_of(packed.span().as_micros() << FRACTION, packed.age(now))
        };
        let latency = left(self.latency, &stats.average).max(LEAST << FRACTION);
        let cost = latency.saturating_add(left(self.penalty, &stats.penalty));
        let cost = cost.saturating_mul(u64::from(in_flight) + 1);
        // A division costs as much as the rest of this function, so it is left out for the usual weight.
        if weight == NonZeroU32::MIN { cost } else { cost / u64::from(weight.get()) }
    }

    /// Returns the part of a server's penalty that is left at `now`.
    #[must_use]
    pub fn penalty(&self, stats: &P2cStats, now: Instant) -> Micros {
        let penalty = TimedSpan::of(stats.penalty.load(SeqCst));
        Micros::from_micros(self.penalty.left_of(penalty.span().as_micros(), penalty.age(now)))
    }

    /// Returns the cheapest of the first `choices` candidates. If several are equally cheap, returns the first of
    /// these. The candidates must come in random order, without those that the call cannot use. Only the compared
    /// candidates are taken from the iterator.
    pub fn choose<T>(&self, candidates: impl IntoIterator<Item = (T, u64)>) -> Option<T> {
        let compared = candidates.into_iter().take(self.choices);
        compared.min_by_key(|(_, score)| *score).map(|(candidate, _)| candidate)
    }

    fn averaged(&self, average: TimedSpan, now: Instant, latency: Micros) -> Option<TimedSpan> {
        if latency == Micros::ZERO {
            return None;
        }
        // This is the peak EWMA. A higher latency replaces the average at once, since `above` is then 0. With a lower
        // latency, the difference decays. The result is rounded down.
        let above = (average.span() - latency).as_micros();
        let left = Micros::from_micros(self.latency.left_of(above, average.age(now)));
        Some(TimedSpan::new(now, latency + left))
    }

    /// Returns the new average after an attempt of this age was abandoned ([L13](crate::rules#L13)). If the average has
    /// decayed below `age`, the new average is `age`. Otherwise the average does not change, and the result is `None`.
    fn raised(&self, average: TimedSpan, now: Instant, age: Micros) -> Option<TimedSpan> {
        let left = self.latency.left_of(average.span().as_micros(), average.age(now));
        (age.as_micros() > left).then(|| TimedSpan::new(now, age))
    }

    /// Returns half of the part of a penalty that is left. Returns `None` if there is no penalty.
    fn forgiven(&self, penalty: TimedSpan, now: Instant) -> Option<TimedSpan> {
        let span = penalty.span().as_micros();
        let left = || self.penalty.left_of(span, penalty.age(now)) / 2;
        (span > 0).then(|| TimedSpan::new(now, Micros::from_micros(left())))
    }

    fn penalised(&self, penalty: TimedSpan, now: Instant, latency: Micros, timeout: Timeout) -> Option<TimedSpan> {
        let at_least = match timeout.limit_micros() {
            Some(timeout) => timeout.max(latency).min(LONGEST_PENALTY),
            None => LONGEST_PENALTY,
        };
        let left = self.penalty.left_of(penalty.span().as_micros(), penalty.age(now));
        (at_least.as_micros() > left).then(|| TimedSpan::new(now, at_least))
    }
}

impl Balancer for P2c {
    type Stats = P2cStats;
    type Ticket = ();

    fn stats(&self) -> P2cStats {
        P2cStats::new()
    }

    /// Returns the rule for weights: a server whose tag is not a weight gets the weight 1.
    fn weighing(&self) -> Weighing {
        Weighing::TagOr(NonZeroU32::MIN)
    }

    /// Offers the cheapest of the drawn servers that the call takes. Then offers the other servers in the order of the
    /// draw.
    fn offers<'a, L: ServerList<Stats = P2cStats> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<()>> + 'a {
        // One random order has two uses: the cheapest of its first servers is found, and then the others are offered.
        let drawn = search.in_order(|len| Order::random(len, random));
        let taken = drawn.clone().filter(move |(_, candidate)| search.takes(candidate));
        let best = self.choose(taken.filter_map(|(position, candidate)| {
            let load = search.list.load(candidate.server)?;
            let score = self.score(load.stats, search.selection.now, load.in_flight, load.weight);
            Some(((position, candidate), score))
        }));
        let others = drawn.filter(move |(position, _)| best.is_none_or(|(best, _)| *position != best));
        best.into_iter().chain(others).map(|(_, candidate)| Offer { candidate, ticket: () })
    }

    fn finished<L: ServerList<Stats = P2cStats>>(&self, list: &L, attempt: &Finished) {
        if let Some(load) = list.load(attempt.sent.server) {
            self.feedback(load.stats, attempt.now, attempt.feedback, attempt.sent.timeout);
        }
    }
}

/// What `p2c` knows about one server: 16 bytes.
#[derive(Debug, Default)]
pub struct P2cStats {
    /// The average latency, and the instant at which its decay began.
    average: AtomicU64,
    /// The penalty, and the instant at which its decay began.
    penalty: AtomicU64,
}

impl P2cStats {
    /// Makes the statistics of a server about which nothing is known. Its latency counts as one microsecond in a score.
    #[must_use]
    pub const fn new() -> Self {
        Self { average: AtomicU64::new(0), penalty: AtomicU64::new(0) }
    }

    /// Returns the average latency right after the last feedback that changed it, at most 268 s. Returns zero before
    /// the first feedback.
    #[must_use]
    pub fn latency(&self) -> Duration {
        TimedSpan::of(self.average.load(SeqCst)).span().to_duration()
    }

    fn average(&self, to: impl Fn(TimedSpan) -> Option<TimedSpan>) {
        change(&self.average, to);
    }

    fn penalise(&self, to: impl Fn(TimedSpan) -> Option<TimedSpan>) {
        change(&self.penalty, to);
    }
}

fn change(word: &AtomicU64, to: impl Fn(TimedSpan) -> Option<TimedSpan>) {
    let _ = word.fetch_update(SeqCst, SeqCst, |word| to(TimedSpan::of(word)).map(TimedSpan::word));
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeMap;

    const TIMEOUT: Timeout = Timeout::after(Duration::from_millis(500));
    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn rule() -> P2c {
        P2c::new(P2cOptions::DEFAULT)
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn ms(ms: u64) -> Micros {
        Micros::from_millis(ms)
    }

    fn success(stats: &P2cStats, at_ms: u64, latency: u64) {
        rule().feedback(stats, at(at_ms), Feedback::Success { latency: ms(latency) }, TIMEOUT);
    }

    fn failure(stats: &P2cStats, at_ms: u64, latency: u64, timeout: Timeout) {
        rule().feedback(stats, at(at_ms), Feedback::Failure { latency: ms(latency) }, timeout);
    }

    fn abandoned(stats: &P2cStats, at_ms: u64, age: u64) {
        rule().feedback(stats, at(at_ms), Feedback::Abandoned { age: ms(age) }, TIMEOUT);
    }

    /// Returns the cost of an attempt, in microseconds.
    fn cost(stats: &P2cStats, at_ms: u64) -> u64 {
        rule().score(stats, at(at_ms), 0, ONE) >> FRACTION
    }

    #[test]
    fn s4_an_average_jumps_up_and_comes_down_by_and_by() {
        let stats = P2cStats::new();
        assert_eq!(cost(&stats, 0), 1, "of an unknown server");
        success(&stats, 0, 10);
        success(&stats, 5, 80);
        assert_eq!(stats.latency(), ms(80).to_duration());
        success(&stats, 10_005, 10);
        assert_eq!(stats.latency().as_micros(), 35_751, "10 ms and 1/e of 70");
        success(&stats, 10_005, 10);
        assert_eq!(stats.latency().as_micros(), 35_751, "no time, no change");
        assert_eq!(cost(&stats, 20_005), 13_152, "it is forgotten while nothing comes in");
        assert_eq!(cost(&stats, 10_000_000), 1);
        rule().feedback(&stats, at(30_000), Feedback::Success { latency: Micros::ZERO }, TIMEOUT);
        assert_eq!(stats.latency().as_micros(), 35_751);
    }

    #[test]
    fn s4_a_score_is_latency_times_load_over_weight() {
        let stats = P2cStats::new();
        success(&stats, 0, 12);
        let score = |in_flight, weight| rule().score(&stats, at(0), in_flight, NonZeroU32::new(weight).unwrap());
        assert_eq!(score(0, 1), 12_000 << FRACTION);
        assert_eq!(score(4, 3), 20_000 << FRACTION);
        assert_eq!(score(u32::MAX, 1), u64::MAX, "it saturates");
    }

    #[test]
    fn s4_a_failure_is_a_penalty_of_its_own_and_soon_forgotten() {
        let stats = P2cStats::new();
        success(&stats, 0, 10);
        failure(&stats, 0, 1, TIMEOUT);
        assert_eq!((stats.latency(), cost(&stats, 0)), (ms(10).into(), 510_000));
        assert_eq!(cost(&stats, 2_000), 8_187 + 183_939 + 1, "1/e of the penalty after 2 s");
        failure(&stats, 2_000, 700, TIMEOUT);
        assert_eq!(cost(&stats, 2_000), 708_187, "a longer one replaces it");
        failure(&stats, 2_001, 1, TIMEOUT);
        assert!(cost(&stats, 2_001) < 708_187, "a shorter one does not");
        for (latency, timeout) in [(1, Timeout::NEVER), (1, Timeout::after(Duration::MAX)), (40_000, TIMEOUT)] {
            let stats = P2cStats::new();
            failure(&stats, 0, latency, timeout);
            assert_eq!(cost(&stats, 0), 30_000_001, "30 s at most");
        }
    }

    #[test]
    fn l13_the_age_of_an_abandoned_attempt_raises_what_is_left_of_an_average_and_lowers_nothing() {
        let stats = P2cStats::new();
        success(&stats, 0, 10);
        abandoned(&stats, 1, 3);
        assert_eq!((stats.latency(), cost(&stats, 0)), (ms(10).into(), 10_000), "at least 3 ms is nothing new");
        abandoned(&stats, 1, 25);
        assert_eq!(stats.latency(), ms(25).to_duration());
        assert_eq!(cost(&stats, 60_001), 61);
        abandoned(&stats, 60_001, 3);
        assert_eq!(cost(&stats, 60_001), 3_000, "who never answers does not become cheap");
    }

    #[test]
    fn s4_the_cheapest_of_the_first_candidates_is_chosen_and_of_equals_the_first() {
        let candidates = [('a', 5), ('b', 5), ('c', 1)];
        let choose = |choices| {
            let options = P2cOptions { choices: Choices::new(choices).unwrap(), ..P2cOptions::DEFAULT };
            P2c::new(options).choose(candidates)
        };
        assert_eq!((choose(2), choose(3), choose(64)), (Some('a'), Some('c'), Some('c')));
        assert_eq!(rule().choose::<char>([]), None);
    }

    #[test]
    fn sizes_are_what_the_docs_state() {
        assert_eq!(size_of::<P2cStats>(), 16);
        #[cfg(target_pointer_width = "64")]
        assert_eq!(size_of::<P2c>(), 40);
    }

    const SERVERS: usize = 10;
    const SICK: usize = 3;
    const HEALTHY: (u64, u64) = (10, 0);

    /// Ten servers and a call a millisecond.
    struct World {
        rng: fastrand::Rng,
        stats: [P2cStats; SERVERS],
        in_flight: [u32; SERVERS],
        /// The attempts in flight, by end (in microseconds) and number: the server, the latency, and whether it will be
        /// answered.
        working: BTreeMap<(u64, u64), (usize, Micros, bool)>,
        calls: u64,
    }

    impl World {
        fn new(seed: u64) -> Self {
            let stats = [const { P2cStats::new() }; SERVERS];
            let rng = fastrand::Rng::with_seed(seed);
            Self { rng, stats, in_flight: [0; SERVERS], working: BTreeMap::new(), calls: 0 }
        }

        /// Makes calls for `seconds`, and returns the sick server's share of them. `sick` is this server's latency in
        /// ms, and a number n: one in n of its calls fails (0: none).
        fn run(&mut self, seconds: u64, sick: (u64, u64)) -> f64 {
            let mut had = 0;
            for _ in 0..seconds * 1_000 {
                let now = at(self.calls);
                while let Some(entry) = self.working.first_entry().filter(|entry| entry.key().0 <= now.as_micros()) {
                    let ((end, _), (server, latency, answered)) = entry.remove_entry();
                    let feedback = if answered { Feedback::Success { latency } } else { Feedback::Failure { latency } };
                    rule().feedback(&self.stats[server], Instant::from_micros(end), feedback, TIMEOUT);
                    self.in_flight[server] -= 1;
                }
                let first = self.rng.usize(0..SERVERS);
                let second = (first + self.rng.usize(1..SERVERS)) % SERVERS;
                let scored = [first, second]
                    .map(|server| (server, rule().score(&self.stats[server], now, self.in_flight[server], ONE)));
                let server = rule().choose(scored).unwrap();
                let (takes, fails) = if server == SICK { sick } else { HEALTHY };
                let answered = fails == 0 || self.rng.u64(0..fails) > 0;
                self.in_flight[server] += 1;
                self.working.insert(((now + ms(takes)).as_micros(), self.calls), (server, ms(takes), answered));
                self.calls += 1;
                had += u32::from(server == SICK);
            }
            f64::from(had) / (seconds * 1_000) as f64
        }
    }

    #[test]
    fn s4_a_server_that_fails_fast_or_hangs_draws_little_and_is_back_soon() {
        for seed in 1..6 {
            for (before, outage, sick, most) in
                [(0, 10, (1, 1), 0.002), (20, 60, (1, 1), 0.002), (20, 60, (500, 1), 0.002), (20, 60, (10, 3), 0.002)]
            {
                let mut world = World::new(seed);
                world.run(before, HEALTHY);
                let out = world.run(outage, sick);
                assert!(out < most, "{before} s healthy, then {outage} s of {sick:?}: {out}, seed {seed}");
                let back: std::vec::Vec<f64> = (0..12).map(|_| world.run(1, HEALTHY)).collect();
                assert!(back[9] >= 0.09, "{before} s healthy, then {outage} s of {sick:?}: back {back:?}, seed {seed}");
            }
        }
    }
}
