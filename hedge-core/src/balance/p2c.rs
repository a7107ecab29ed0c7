//! `p2c`: power of two choices. The cheapest of a few random candidates, by peak-EWMA latency and load
//! ([S4](crate::rules#S4)).
//!
//! A server costs (latency + penalty) × (attempts in flight + 1) / weight:
//!
//! - The latency is a peak EWMA. It jumps up to any latency above it, and decays with a time constant of 10 s, also
//!   while no answer comes in (Finagle's `PeakEwma`; the arithmetic is that of brpc's `p2c`).
//! - Failures do not enter the latency. A failure sets a penalty: the call's timeout, or the failure's own latency if
//!   that is longer, but at most 30 s. The penalty decays with a time constant of 2 s, and each success halves it. So a
//!   server that fails fast attracts no calls, and after a penalty of 500 ms it gets the first call after some 7 s.
//! - An abandoned attempt is neither a success nor a failure ([L13](crate::rules#L13)). Its latency is unknown, but at
//!   least its age: a decayed latency below that age is raised to it, and never lowered.
//! - A failure at this client, or by its caller's fault, says nothing ([S7](crate::rules#S7)).
//!
//! Cost: 16 bytes a server. A feedback is one compare-and-swap, and another while a penalty decays. A score is two
//! loads, up to 14 multiplications and, for a weight other than 1, a division. The rule itself is 40 bytes, its tables
//! 512.

use core::fmt;
use core::num::NonZeroU32;

use super::decay::Decay;
use super::timed_span::TimedSpan;
use super::{Balancer, Offer, Order, Search, ServerList, Weighing};
use crate::atomic::{AtomicU64, Ordering::SeqCst};
use crate::outcome::{Feedback, Finished};
use crate::time::{Duration, Instant, Micros, Timeout};

/// The time constant with which a penalty decays.
const PENALTY_TAU: Micros = Micros::from_secs(2);
/// The longest penalty; also that of a failure under no timeout.
const LONGEST_PENALTY: Micros = Micros::from_secs(30);
/// The least latency in a score, in microseconds, so that attempts in flight count even if nothing else is known.
const LEAST: u64 = 1;
/// The fractional bits of a score.
const FRACTION: u32 = 24;
/// The range of `choices`.
const CHOICES: (u32, u32) = (2, 64);
/// The range of `tau`.
const TAU: (Micros, Micros) = (Micros::from_millis(1), Micros::from_secs(3_600));

/// The options of a [`P2c`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct P2cOptions {
    /// How many candidates are compared, in \[2, 64\]. Default 2.
    pub choices: u32,
    /// The time constant with which latencies decay, from 1 ms to 1 h. Default 10 s, Finagle's and brpc's.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::text::span"))]
    pub tau: Duration,
}

impl P2cOptions {
    /// brpc's defaults.
    pub const DEFAULT: Self = Self { choices: 2, tau: Duration::from_secs(10) };

    /// Checks that each option is in its range.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<(), P2cError> {
        if self.choices < CHOICES.0 || self.choices > CHOICES.1 {
            return Err(P2cError::Choices(self.choices));
        }
        let tau = Micros::from_duration(self.tau).as_micros();
        if tau < TAU.0.as_micros() || tau > TAU.1.as_micros() {
            return Err(P2cError::Tau(self.tau));
        }
        Ok(())
    }
}

impl Default for P2cOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The rule that compares servers. What it knows of each server is in a [`P2cStats`].
///
/// ```
/// use hedge_core::balance::p2c::{P2c, P2cOptions, P2cStats};
/// use hedge_core::outcome::Feedback;
/// use hedge_core::time::{Duration, Instant, Micros, Timeout};
///
/// let rule = P2c::new(P2cOptions::DEFAULT)?;
/// let (now, timeout) = (Instant::ZERO, Timeout::after(Duration::from_millis(500)));
/// let (quick, failing) = (P2cStats::new(), P2cStats::new());
/// rule.feedback(&quick, now, Feedback::Success { latency: Micros::from_millis(10) }, timeout);
/// rule.feedback(&failing, now, Feedback::Failure { latency: Micros::from_millis(1) }, timeout);
/// let score = |stats| rule.score(stats, now, 0, core::num::NonZeroU32::MIN);
/// assert_eq!(rule.choose([("failing", score(&failing)), ("quick", score(&quick))]), Some("quick"));
/// # Ok::<(), hedge_core::balance::p2c::P2cError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct P2c {
    choices: usize,
    latency: Decay,
    penalty: Decay,
}

impl P2c {
    /// A rule with these options.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: P2cOptions) -> Result<Self, P2cError> {
        options.validate().map(|()| Self::with_valid(options))
    }

    pub(super) fn with_valid(options: P2cOptions) -> Self {
        Self {
            choices: usize::try_from(options.choices).unwrap_or(0),
            latency: Decay::new(Micros::from_duration(options.tau)),
            penalty: Decay::new(PENALTY_TAU),
        }
    }

    /// Takes in the feedback of an attempt that ended `now`, in a call with this timeout. A success that took no time
    /// leaves the latency as it is.
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

    /// The cost of one more attempt at a server now, in microseconds times 2^24. The lowest cost is the best. It
    /// saturates: at a latency of 1 s, with about a million attempts in flight.
    #[must_use]
    pub fn score(&self, stats: &P2cStats, now: Instant, in_flight: u32, weight: NonZeroU32) -> u64 {
        let left = |decay: Decay, word: &AtomicU64| {
            let packed = TimedSpan::of(word.load(SeqCst));
            // Zero needs no decay.
            if packed.span() == Micros::ZERO {
                return 0;
            }
            decay.left_of(packed.span().as_micros() << FRACTION, packed.age(now))
        };
        let latency = left(self.latency, &stats.average).max(LEAST << FRACTION);
        let cost = latency.saturating_add(left(self.penalty, &stats.penalty));
        let cost = cost.saturating_mul(u64::from(in_flight) + 1);
        // A division costs as much as everything else here.
        if weight == NonZeroU32::MIN { cost } else { cost / u64::from(weight.get()) }
    }

    /// What is left of the penalty now.
    #[must_use]
    pub fn penalty(&self, stats: &P2cStats, now: Instant) -> Micros {
        let penalty = TimedSpan::of(stats.penalty.load(SeqCst));
        Micros::from_micros(self.penalty.left_of(penalty.span().as_micros(), penalty.age(now)))
    }

    /// The cheapest of the first `choices` candidates; of equals the first. Pass the candidates in random order,
    /// without those that the call cannot use. Only those that are compared are taken from the iterator.
    pub fn choose<T>(&self, candidates: impl IntoIterator<Item = (T, u64)>) -> Option<T> {
        let compared = candidates.into_iter().take(self.choices);
        compared.min_by_key(|(_, score)| *score).map(|(candidate, _)| candidate)
    }

    fn averaged(&self, average: TimedSpan, now: Instant, latency: Micros) -> Option<TimedSpan> {
        if latency == Micros::ZERO {
            return None;
        }
        // The peak EWMA: up at once, since `above` is 0 for a higher latency; down by decay of the difference. Rounded
        // down.
        let above = (average.span() - latency).as_micros();
        let left = Micros::from_micros(self.latency.left_of(above, average.age(now)));
        Some(TimedSpan::new(now, latency + left))
    }

    /// The average raised to `age`, if less is left of it ([L13](crate::rules#L13)).
    fn raised(&self, average: TimedSpan, now: Instant, age: Micros) -> Option<TimedSpan> {
        let left = self.latency.left_of(average.span().as_micros(), average.age(now));
        (age.as_micros() > left).then(|| TimedSpan::new(now, age))
    }

    /// Half of what is left.
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

    /// A server whose tag is no weight weighs 1.
    fn weighing(&self) -> Weighing {
        Weighing::TagOr(NonZeroU32::MIN)
    }

    /// First the cheapest of those that the call takes, then the others as they were drawn.
    fn offers<'a, L: ServerList<Stats = P2cStats> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<()>> + 'a {
        // One random order, walked twice: for the cheapest of its first servers, and then for the others.
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

/// What `p2c` knows of one server: 16 bytes.
#[derive(Debug, Default)]
pub struct P2cStats {
    /// The average latency, and the instant since when it decays.
    average: AtomicU64,
    /// The penalty, and the instant since when it decays.
    penalty: AtomicU64,
}

impl P2cStats {
    /// The statistics of a server of which nothing is known: it costs as much as one with a latency of a microsecond.
    #[must_use]
    pub const fn new() -> Self {
        Self { average: AtomicU64::new(0), penalty: AtomicU64::new(0) }
    }

    /// The average latency as it was after the last feedback that changed it, at most 268 s; zero before the first.
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

/// An option of `p2c` that is out of its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum P2cError {
    /// `choices`.
    Choices(u32),
    /// `tau`.
    Tau(Duration),
}

impl fmt::Display for P2cError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choices(choices) => write!(f, "choices {choices}: must be in [{}, {}]", CHOICES.0, CHOICES.1),
            Self::Tau(tau) => write!(f, "tau {}: must be in [{}, {}]", Micros::from(*tau), TAU.0, TAU.1),
        }
    }
}

impl core::error::Error for P2cError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeMap;
    use std::string::ToString;

    const TIMEOUT: Timeout = Timeout::after(Duration::from_millis(500));
    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn rule() -> P2c {
        P2c::new(P2cOptions::DEFAULT).unwrap()
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

    /// In microseconds.
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
        let choose = |choices| P2c::new(P2cOptions { choices, ..P2cOptions::DEFAULT }).unwrap().choose(candidates);
        assert_eq!((choose(2), choose(3), choose(64)), (Some('a'), Some('c'), Some('c')));
        assert_eq!(rule().choose::<char>([]), None);
    }

    #[test]
    fn s4_options_out_of_range_say_which_and_what() {
        let options = P2cOptions::DEFAULT;
        for (options, text) in [
            (P2cOptions { choices: 1, ..options }, "choices 1: must be in [2, 64]"),
            (P2cOptions { choices: 65, ..options }, "choices 65: must be in [2, 64]"),
            (P2cOptions { tau: Duration::ZERO, ..options }, "tau 0 us: must be in [1 ms, 3600000 ms]"),
            (
                P2cOptions { tau: Duration::MAX, ..options },
                "tau 18446744073709551.615 ms: must be in [1 ms, 3600000 ms]",
            ),
        ] {
            assert_eq!(P2c::new(options).unwrap_err().to_string(), text);
        }
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
        /// By end, in microseconds, and number: server, latency, whether it will be answered.
        working: BTreeMap<(u64, u64), (usize, Micros, bool)>,
        calls: u64,
    }

    impl World {
        fn new(seed: u64) -> Self {
            let stats = [const { P2cStats::new() }; SERVERS];
            let rng = fastrand::Rng::with_seed(seed);
            Self { rng, stats, in_flight: [0; SERVERS], working: BTreeMap::new(), calls: 0 }
        }

        /// Lets `seconds` pass; returns the sick server's share of the calls. `sick` is its latency in ms, and of how
        /// many calls one fails (0: none).
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
