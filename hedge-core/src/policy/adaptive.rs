//! A backup's delay that follows the latencies: [`AdaptiveDelay`] ([B7](crate::rules#B7)).

use core::fmt;

use super::allowance::Allowance;
use super::sample::sample_of;
use super::{BackupDelay, BackupPolicy, Ended};
use crate::atomic::{AtomicU32, Ordering};
use crate::latency::{LatencyRecorder, Quantile, WindowError};
use crate::outcome::{Denial, Extra};
use crate::time::{Duration, Instant, Micros};

/// The delay word while there is no delay.
const OFF: u32 = u32::MAX;

/// What the delay aims at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Target {
    /// A quantile of the latencies.
    Quantile(Quantile),
    /// The shortest delay that sends a backup for at most this many ten-thousandths of the calls, in (0, 10000]: 200 is 2 %
    /// more requests.
    ExtraLoad(u16),
}

impl Target {
    /// The quantile that the delay follows. For an extra load of 2 % it is the 98th percentile.
    const fn quantile(self) -> Quantile {
        match self {
            Self::Quantile(quantile) => quantile,
            Self::ExtraLoad(ten_thousandths) => Quantile::beyond(ten_thousandths),
        }
    }

    /// How many of a million calls are slower than the quantile.
    const fn extra_ppm(self) -> u32 {
        (Quantile::WHOLE - self.quantile().ten_thousandths()) as u32 * 100
    }
}

/// The options of an [`AdaptiveDelay`].
///
/// ```
/// use hedge_core::policy::{AdaptiveDelay, AdaptiveOptions, Target};
/// use hedge_core::time::Duration;
///
/// let options = AdaptiveOptions { target: Target::ExtraLoad(200), ..AdaptiveOptions::DEFAULT };
/// assert!(AdaptiveDelay::new(options).is_ok());
/// let error = AdaptiveDelay::new(AdaptiveOptions { min: Duration::from_secs(2), ..options }).unwrap_err();
/// assert_eq!(error.to_string(), "min 2000 ms: must be in [0, max], and max is 1000 ms");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AdaptiveOptions {
    /// What the delay aims at. Default: the 95th percentile, as in Dean and Barroso ("The Tail at Scale", 2013). It cuts
    /// the worst of the tail for 5 % more requests.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::target"))]
    pub target: Target,
    /// No delay is shorter. Default 1 ms: about the resolution of a timer and a round trip nearby. After a shorter delay a
    /// missing answer does not mean anything yet.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::time::text::span::serialize", deserialize_with = "file::min")
    )]
    pub min: Duration,
    /// No delay is longer. Default 1 s: twice the default timeout, so that a call that a backup cannot help in time gets
    /// none. If the maximum is below the time that calls take when every server is slow, then as many backups are sent as
    /// the target allows.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::time::text::span::serialize", deserialize_with = "file::max")
    )]
    pub max: Duration,
    /// How many answers a window must hold before there is a delay, at least 1. Default 100: five of them lie beyond the
    /// 95th percentile.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::warm_up"))]
    pub warm_up: u32,
    /// How long a latency counts as recent, in [1 s, 3600 s]. Default 10 s, as [`LatencyRecorder::DEFAULT_WINDOW`].
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::time::text::span::serialize", deserialize_with = "file::window")
    )]
    pub window: Duration,
}

impl AdaptiveOptions {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        target: Target::Quantile(Quantile::P95),
        min: Duration::from_millis(1),
        max: Duration::from_secs(1),
        warm_up: 100,
        window: LatencyRecorder::DEFAULT_WINDOW,
    };

    /// Checks that each option is in its range.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<(), AdaptiveError> {
        let Self { target, min, max, warm_up, window } = *self;
        match target {
            Target::ExtraLoad(ten_thousandths) if ten_thousandths == 0 || ten_thousandths > Quantile::WHOLE => {
                return Err(AdaptiveError::ExtraLoad { ten_thousandths });
            }
            _ => {}
        }
        if Micros::from_duration(min).as_micros() > Micros::from_duration(max).as_micros() {
            return Err(AdaptiveError::MinAboveMax { min, max });
        }
        if warm_up == 0 {
            return Err(AdaptiveError::NoWarmUp);
        }
        match LatencyRecorder::check(window) {
            Ok(()) => Ok(()),
            Err(error) => Err(AdaptiveError::Window(error)),
        }
    }
}

impl Default for AdaptiveOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A delay that follows the latencies of recent attempts: a quantile of them, or what a given extra load allows
/// ([B7](crate::rules#B7)).
///
/// # What feeds it
///
/// First attempts and retries, each measured from its own start. An answer, `Fatal` included, is a latency. An attempt that
/// was abandoned or failed gives a lower bound. Backups do not count, for two reasons. A backup is sent because its call is
/// slow: at a slow server it would count the slow moment twice, at a fast one it would make the moment look fast. And the
/// delay says how long to wait for an attempt that is not a backup. So each call weighs the same, hedged or not.
///
/// # Why backups do not move it
///
/// The delay is the end of the bucket that the quantile lies in (see [`latency`](crate::latency)). A backup cuts off only
/// latencies above the delay. So all latencies up to the end of that bucket are seen in full, and their share is what was
/// counted: backups, however many and however fast, move neither the quantile nor the delay. The delay is never below the
/// quantile, so that the extra load is not exceeded where many latencies lie close together. It is at most 9.7 % above.
///
/// When everything becomes slower, backups cut off the latencies that would show it. Then the delay moves up to where they
/// cut off, and from there further on. When latencies become shorter, that shows at once. In both cases the old latencies
/// are forgotten after one window.
///
/// # What it may send
///
/// Backups are load, load makes servers slower, and the delay learns of that only afterwards. So there is a fixed bound: of
/// the calls that end, at most 1.1 times the target get a backup, and [`BURST`](Self::BURST) more in all. The target of a
/// quantile is the share beyond it, 5 % at the 95th percentile. While the delay fits, the bound is never reached. Where it
/// does not, backups above the bound are refused as [`Denial::ExtraLoad`]. Servers that bear such a load cannot be driven
/// into an outage by it.
///
/// For servers with queues: while the load, backups included, is below two thirds of their capacity, the delay stays within
/// a fifth of its mean. Above that it swings with the lengths of the queues, which swing without backups too, and backups
/// help less and less. With the 95th percentile they lower the p99 by 11 % at a load of 0.6. At 0.8 they raise it by 6 %,
/// if servers work on abandoned requests to the end. At such loads set a smaller target, or send no backups.
///
/// # When it is off
///
/// It is off until the window holds `warm_up` answers. It is off again when fewer than a quarter of that are left (half of
/// the answers leave the window at once), and when no call has ended for a whole window.
///
/// # Cost
///
/// Reading the delay is two loads, and a backup is one compare-and-swap. Feeding it is one atomic addition per attempt, and
/// now and then an upkeep (see [`LatencyRecorder`]). 2048 bytes. It does not limit retries: combine it with a limit.
#[derive(Debug)]
pub struct AdaptiveDelay {
    latencies: LatencyRecorder,
    allowance: Allowance,
    /// The delay in microseconds, or [`OFF`].
    delay_us: AtomicU32,
    options: AdaptiveOptions,
}

impl AdaptiveDelay {
    /// When the window holds this many calls, the delay is from 10 % below to 20 % above the true quantile, except once in
    /// some thousand times. This holds for the 95th to 98th percentile of usual distributions (a lognormal of deviation 1,
    /// an exponential). A target further out needs more calls, a narrower distribution fewer.
    pub const SETTLED_AFTER: u32 = 5_000;

    /// How many backups are saved up at most while calls do not need them. So this many may be sent at once.
    pub const BURST: u32 = 100;

    /// A delay without samples. It is off at first.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn new(options: AdaptiveOptions) -> Result<Self, AdaptiveError> {
        if let Err(error) = options.validate() {
            return Err(error);
        }
        match LatencyRecorder::new(options.window, options.target.quantile()) {
            Ok(latencies) => {
                let allowance = Allowance::new(Self::BURST, options.target.extra_ppm() / 10 * 11);
                Ok(Self { latencies, allowance, delay_us: AtomicU32::new(OFF), options })
            }
            Err(error) => Err(AdaptiveError::Window(error)),
        }
    }

    /// The options that it was made with.
    #[must_use]
    pub const fn options(&self) -> &AdaptiveOptions {
        &self.options
    }

    /// The latencies that it follows, for snapshots.
    #[must_use]
    pub const fn latencies(&self) -> &LatencyRecorder {
        &self.latencies
    }

    /// Sets the delay from what the window holds.
    fn follow(&self, quantile_end: Option<Micros>, answers: u64) {
        let warm_up = u64::from(self.options.warm_up);
        let is_on = self.delay_us.load(Ordering::Relaxed) != OFF;
        let enough = answers >= if is_on { warm_up.div_ceil(4) } else { warm_up };
        let delay_us = quantile_end.filter(|_| enough).map_or(OFF, |end| {
            let delay = end.max(self.options.min.into()).min(self.options.max.into());
            u32::try_from(delay.as_micros()).unwrap_or(OFF).min(OFF - 1)
        });
        self.delay_us.store(delay_us, Ordering::Relaxed);
    }
}

impl BackupPolicy for AdaptiveDelay {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        let delay_us = self.delay_us.load(Ordering::Relaxed);
        Some(if delay_us == OFF || self.latencies.is_stale(now) {
            BackupDelay::OFF
        } else {
            Micros::from_micros(delay_us.into()).into()
        })
    }

    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        if self.allowance.draw() { Ok(()) } else { Err(Denial::ExtraLoad) }
    }

    fn take_back(&self, extra: Extra, _: Instant) {
        if extra == Extra::Backup {
            self.allowance.give_back();
        }
    }

    fn ended(&self, call: &Ended<'_>) {
        self.allowance.pay();
        for (span, sample) in call.attempts.iter().filter_map(sample_of) {
            if let Some(found) = self.latencies.note(call.at, span, sample) {
                self.follow(found.end(), found.answers);
            }
        }
    }
}

/// An option of an [`AdaptiveDelay`] that is out of its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AdaptiveError {
    /// `target`: the extra load is 0, or more than all calls.
    ExtraLoad {
        /// Its value.
        ten_thousandths: u16,
    },
    /// `min` is above `max`.
    MinAboveMax {
        /// The shortest delay.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// `warm_up` is 0: nothing is known then.
    NoWarmUp,
    /// `window` is not from 1 s to 3600 s.
    Window(WindowError),
}

impl fmt::Display for AdaptiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExtraLoad { ten_thousandths } => {
                write!(f, "target extra_load {ten_thousandths}: must be in (0, 10000] ten-thousandths")
            }
            Self::MinAboveMax { min, max } => {
                let (min, max) = (Micros::from(*min), Micros::from(*max));
                write!(f, "min {min}: must be in [0, max], and max is {max}")
            }
            Self::NoWarmUp => f.write_str("warm_up 0: must be in [1, 4294967295]"),
            Self::Window(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for AdaptiveError {}

/// How the fields are read from files.
#[cfg(feature = "serde")]
mod file {
    use super::{Duration, Target};
    use crate::field::named::{self, fields};
    use crate::field::tagged;

    fields! {
        min: required, "adaptive_backup.min", Duration, named::DURATION;
        max: required, "adaptive_backup.max", Duration, named::DURATION;
        warm_up: required, "adaptive_backup.warm_up", u32, "an integer in [1, 4294967295]";
        window: required, "adaptive_backup.window", Duration, named::DURATION;
    }

    pub(super) fn target<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Target, D::Error> {
        let wanted = "a map with `quantile` or `extra_load`, in ten-thousandths";
        tagged::read(deserializer, "adaptive_backup.target", wanted)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::balance::RoundRobin;
    use crate::call::{Action, Input};
    use crate::channel::Channel;
    use crate::id::AttemptId;
    use crate::outcome::{End, Kind, Verdict};
    use crate::policy::{CallOptions, ChannelOptions};
    use fastrand::Rng;
    use std::string::ToString;
    use std::vec::Vec;

    type Line<'p> = Channel<u16, RoundRobin, &'p AdaptiveDelay, u8, 8>;
    type Shape = fn(&mut Rng) -> f64;

    /// A thousand calls a second.
    const GAP: Duration = Duration::from_millis(1);

    fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn lognormal(rng: &mut Rng, median: f64, deviation: f64) -> f64 {
        let (u, v) = (1.0 - rng.f64(), rng.f64());
        median * (deviation * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()).exp()
    }

    const SHAPES: [(&str, Shape); 4] = [
        ("lognormal", |rng| lognormal(rng, 5_000.0, 1.0)),
        ("exponential", |rng| -5_000.0 * (1.0 - rng.f64()).ln()),
        ("narrow", |rng| lognormal(rng, 10_000.0, 0.02)),
        ("two humps", |rng| if rng.f64() < 0.9 { lognormal(rng, 900.0, 0.1) } else { lognormal(rng, 60_000.0, 0.3) }),
    ];

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "latencies of a test")]
    fn rounded(micros: f64) -> Duration {
        us(micros.round() as u64)
    }

    /// The latency that `ten_thousandths` of all latencies do not exceed.
    fn truth(shape: Shape, ten_thousandths: usize) -> f64 {
        let mut rng = Rng::with_seed(99);
        let mut all: Vec<f64> = (0..200_000).map(|_| shape(&mut rng)).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[ten_thousandths * 20]
    }

    /// Calls at equal intervals, to servers whose latencies the test chooses.
    struct Loop<'p> {
        channel: Line<'p>,
        now: Instant,
        /// The calls of the last run; what follows is of the last run too.
        calls: u32,
        backups: u32,
        delays: Vec<f64>,
    }

    impl<'p> Loop<'p> {
        fn new(policy: &'p AdaptiveDelay) -> Self {
            let options = ChannelOptions { timeout: ms(10_000).into(), ..ChannelOptions::brpc() };
            let mut channel = Channel::with_policy(options, RoundRobin::starting_at(0), policy, 7);
            for address in 0..4 {
                channel.insert(address, 0).unwrap();
            }
            Self { channel, now: at(5_000), calls: 0, backups: 0, delays: Vec::new() }
        }

        /// Drives each call to its end before the next begins, so the policy sees a clock that goes back a little.
        fn run(&mut self, calls: u32, mut latency: impl FnMut(Instant, Kind) -> Duration) -> &mut Self {
            (self.calls, self.backups) = (calls, 0);
            self.delays.clear();
            for _ in 0..calls {
                let own = CallOptions::new();
                let mut call = self.channel.call(&own, self.now).unwrap();
                let mut now = self.now;
                let mut working: Vec<(Instant, AttemptId)> = Vec::new();
                loop {
                    match call.poll(now) {
                        Action::Start(start) => working.push((now + latency(now, start.kind), start.attempt)),
                        Action::Abandon { attempt } => working.retain(|(_, other)| *other != attempt),
                        Action::Wait { until } => {
                            let (end, attempt) = working.iter().min().copied().unwrap();
                            now = until.map_or(end, |until| until.min(end));
                            if end <= now {
                                working.retain(|(_, other)| *other != attempt);
                                call.handle(now, Input::finished(attempt, Verdict::Accept));
                            }
                        }
                        Action::Done(end) => break assert_eq!(end, End::Accepted),
                    }
                }
                self.backups += u32::try_from(call.report().backups()).unwrap();
                drop(call);
                self.delays.extend(self.delay().map(|delay| delay.as_micros() as f64));
                self.now = self.now + GAP;
            }
            self
        }

        fn delay(&self) -> Option<Duration> {
            delay(self.channel.policy(), self.now)
        }

        fn extra_load(&self) -> f64 {
            f64::from(self.backups) / f64::from(self.calls)
        }

        /// Checks that from call `skip` on every call had a delay, near `truth`.
        fn assert_near(&self, truth: f64, skip: u32, what: &str) {
            let missing = self.calls as usize - self.delays.len();
            let skip = (skip as usize).checked_sub(missing).expect("a delay at every call");
            for (call, delay) in self.delays.iter().enumerate().skip(skip) {
                assert!((0.9..=1.2).contains(&(delay / truth)), "{what}, call {call}: {delay} us, truly {truth} us");
            }
        }
    }

    fn delay(policy: &AdaptiveDelay, now: Instant) -> Option<Duration> {
        let delay = policy.delay(now).expect("it never inherits");
        assert_eq!(delay.shadow_delay(), None);
        delay.delay()
    }

    fn policy(options: AdaptiveOptions) -> AdaptiveDelay {
        AdaptiveDelay::new(options).unwrap()
    }

    fn to(target: Target) -> AdaptiveDelay {
        policy(AdaptiveOptions { target, ..AdaptiveOptions::DEFAULT })
    }

    #[test]
    fn it_is_as_small_as_the_docs_say() {
        std::println!("AdaptiveDelay: {} bytes", size_of::<AdaptiveDelay>());
        assert!(size_of::<AdaptiveDelay>() <= 2_048);
    }

    #[test]
    fn b7_the_delay_is_a_quantile_that_backups_do_not_drag() {
        for (seed, (name, shape)) in (0..).zip(SHAPES) {
            let truth = truth(shape, 9_500);
            // The delay if nothing were hedged.
            let unhedged = LatencyRecorder::default();
            let policy = AdaptiveDelay::new(AdaptiveOptions::DEFAULT).unwrap();
            let (mut rng, mut line) = (Rng::with_seed(seed), Loop::new(&policy));
            let mut latency = |now: Instant, kind| {
                let latency = rounded(shape(&mut rng));
                if kind == Kind::First {
                    unhedged.record(now + latency, latency);
                }
                latency
            };
            line.run(AdaptiveDelay::SETTLED_AFTER, &mut latency).assert_near(truth, 4_999, name);
            // Over a minute the delay neither swings nor drifts.
            line.run(60_000, &mut latency).assert_near(truth, 0, name);
            let (early, late) = line.delays.split_at(30_000);
            let mean = |delays: &[f64]| delays.iter().sum::<f64>() / delays.len() as f64;
            let creep = mean(late) / mean(early);
            assert!((0.95..=1.05).contains(&creep), "{name}: by {creep} in half a minute");
            assert!(line.extra_load() <= 0.051, "{name}: {}", line.extra_load());
            // The middle of the same bucket, or of the next.
            let drag = line.delays[59_999] / unhedged.kept().unwrap().as_micros() as f64;
            assert!((0.95..=1.15).contains(&drag), "{name}: dragged by {drag}");
        }
    }

    #[test]
    fn b7_settled_is_what_it_is_said_to_be() {
        for (name, shape) in &SHAPES[..2] {
            for percentile in [9_500, 9_800] {
                let truth = truth(*shape, percentile.into());
                for seed in 0..20 {
                    let policy = to(Target::Quantile(Quantile::new(percentile).unwrap()));
                    let (mut rng, mut line) = (Rng::with_seed(seed), Loop::new(&policy));
                    line.now = line.now + us(rng.u64(..20_000_000));
                    let what = std::format!("{name} at {percentile}, seed {seed}");
                    line.run(AdaptiveDelay::SETTLED_AFTER, |_, _| rounded(shape(&mut rng)))
                        .assert_near(truth, 4_999, &what);
                }
            }
        }
    }

    #[test]
    fn b7_what_is_sent_is_bounded_by_the_target_whatever_the_delay() {
        for (target, tenth_more) in [(Target::Quantile(Quantile::P95), 0.055), (Target::ExtraLoad(1_000), 0.11)] {
            // Every call is slower than the longest delay.
            let policy = policy(AdaptiveOptions { target, max: ms(1), ..AdaptiveOptions::DEFAULT });
            let mut line = Loop::new(&policy);
            line.run(50_000, |_, _| ms(10));
            let most = 50_000.0 * tenth_more + f64::from(AdaptiveDelay::BURST);
            assert!((0.98 * most..=most).contains(&f64::from(line.backups)), "{} of at most {most}", line.backups);
            assert_eq!(policy.may_back_up(line.now), Err(Denial::ExtraLoad));
            policy.take_back(Extra::Retry, line.now);
            assert_eq!(policy.may_back_up(line.now), Err(Denial::ExtraLoad));
            policy.take_back(Extra::Backup, line.now);
            assert_eq!(policy.may_back_up(line.now), Ok(()), "another limit had refused it");
            assert_eq!(policy.may_retry(line.now), Ok(()));
        }
    }

    #[test]
    fn b7_after_a_change_the_delay_is_there_within_a_window() {
        for (seed, (name, shape)) in (10..).zip(SHAPES) {
            let truth = truth(shape, 9_500);
            let policy = to(Target::Quantile(Quantile::P95));
            let (mut rng, mut line) = (Rng::with_seed(seed), Loop::new(&policy));
            let window = u32::try_from(policy.latencies().window().as_millis()).unwrap();
            for factor in [1.0, 3.0, 1.0, 1.0 / 3.0, 1.0] {
                let what = std::format!("{name} times {factor}");
                line.run(3 * window, |_, _| rounded(factor * shape(&mut rng)));
                line.assert_near(factor * truth, window, &what);
            }
        }
    }

    #[test]
    fn b7_a_target_load_is_kept_to_however_much_is_hedged() {
        for ten_thousandths in [200, 1_000, 3_000] {
            for (seed, (name, shape)) in (20..).zip(SHAPES) {
                let policy = to(Target::ExtraLoad(ten_thousandths));
                let (mut rng, mut line) = (Rng::with_seed(seed), Loop::new(&policy));
                let mut latency = |_, _| rounded(shape(&mut rng));
                line.run(10_000, &mut latency).run(50_000, &mut latency);
                let (load, most) = (line.extra_load(), f64::from(ten_thousandths) / 10_000.0);
                std::println!("{name}: {load:.4} of at most {most}");
                // It may be far less only where many latencies lie in one bucket, so that no delay comes closer.
                let least = if ["lognormal", "exponential"].contains(&name) { 0.8 * most } else { 0.0 };
                assert!(least < load && load <= 1.05 * most, "{name}: {load} of at most {most}");
            }
        }
    }

    #[test]
    fn b7_off_until_there_are_enough_answers_and_when_they_are_gone() {
        let policy = to(Target::Quantile(Quantile::P95));
        let mut line = Loop::new(&policy);
        assert!(line.run(100, |_, _| ms(10)).delays.is_empty(), "100 answers, and nobody has looked yet");
        line.run(300, |_, _| ms(10));
        assert!(line.delay().is_some());
        // After two windows, seven answers a window are left. The first upkeep that sees fewer than 25 turns the delay off.
        for _ in 0..14 {
            line.run(1, |_, _| ms(10));
            line.now = line.now + ms(1_400);
        }
        assert_eq!(line.delay(), None);
        line.run(1_000, |_, _| ms(10));
        let settled = line.delay().unwrap();
        assert!((ms(10)..=ms(11)).contains(&settled));
        let window = policy.latencies().window();
        assert_eq!(delay(&policy, line.now + (window - ms(600))), Some(settled));
        assert_eq!(delay(&policy, line.now + window), None, "nothing has ended for a whole window");
        line.now = line.now + window + window;
        line.run(1, |_, _| ms(10));
        assert_eq!(line.delay(), None, "and nothing is left");
    }

    #[test]
    fn b7_the_delay_keeps_to_its_bounds() {
        for (min, max, expected) in [(20, 30, 20), (1, 5, 5), (7, 7, 7)] {
            let policy = policy(AdaptiveOptions { min: ms(min), max: ms(max), ..AdaptiveOptions::DEFAULT });
            let mut line = Loop::new(&policy);
            assert_eq!(line.run(1_000, |_, _| ms(10)).delay(), Some(ms(expected)));
        }
        let longest = policy(AdaptiveOptions { min: Duration::MAX, max: Duration::MAX, ..AdaptiveOptions::DEFAULT });
        assert!(Loop::new(&longest).run(1_000, |_, _| ms(10)).delay().unwrap() > Duration::from_secs(4_294));
    }

    #[test]
    fn b7_answers_of_first_attempts_and_retries_feed_it() {
        let policy = to(Target::Quantile(Quantile::P95));
        let line = Loop::new(&policy);
        let own = CallOptions { backup: Some(BackupDelay::after(ms(20))), ..CallOptions::new() };
        let start = |millis, what: &mut dyn FnMut(Instant) -> Action| match what(at(millis)) {
            Action::Start(start) => start.attempt,
            other => panic!("{other:?}, expected a start"),
        };
        let counts = |now| {
            let snapshot = policy.latencies().snapshot(at(now));
            (snapshot.count(), snapshot.abandoned(), snapshot.max())
        };
        // The first fails after 5 ms, its retry is answered after 8 ms more.
        let mut call = line.channel.call(&own, at(0)).unwrap();
        let first = start(0, &mut |now| call.poll(now));
        call.handle(at(5), Input::finished(first, Verdict::Retry));
        let retry = start(5, &mut |now| call.poll(now));
        call.handle(at(13), Input::finished(retry, Verdict::Accept));
        assert_eq!(counts(13), (2, 1, ms(8)));
        // The backup wins.
        let mut call = line.channel.call(&own, at(100)).unwrap();
        start(100, &mut |now| call.poll(now));
        let backup = start(120, &mut |now| call.poll(now));
        call.handle(at(190), Input::finished(backup, Verdict::Accept));
        assert_eq!(counts(190), (3, 2, ms(8)));
        // The backup loses; a refusal for good is an answer.
        let mut call = line.channel.call(&own, at(200)).unwrap();
        let first = start(200, &mut |now| call.poll(now));
        start(220, &mut |now| call.poll(now));
        call.handle(at(230), Input::finished(first, Verdict::Fatal));
        assert_eq!(counts(230), (4, 2, ms(30)));
        // Cancelled: a lower bound.
        let mut call = line.channel.call(&own, at(300)).unwrap();
        start(300, &mut |now| call.poll(now));
        call.handle(at(310), Input::Cancel);
        assert_eq!(counts(310), (5, 3, ms(30)));
    }

    #[test]
    fn options_out_of_range_are_named() {
        let default = AdaptiveOptions::DEFAULT;
        for (options, text) in [
            (
                AdaptiveOptions { target: Target::ExtraLoad(0), ..default },
                "target extra_load 0: must be in (0, 10000] ten-thousandths",
            ),
            (
                AdaptiveOptions { target: Target::ExtraLoad(10_001), ..default },
                "target extra_load 10001: must be in (0, 10000] ten-thousandths",
            ),
            (AdaptiveOptions { min: ms(3), max: ms(2), ..default }, "min 3 ms: must be in [0, max], and max is 2 ms"),
            (AdaptiveOptions { warm_up: 0, ..default }, "warm_up 0: must be in [1, 4294967295]"),
            (AdaptiveOptions { window: ms(999), ..default }, "window 999 ms: must be in [1000 ms, 3600000 ms]"),
        ] {
            let error = AdaptiveDelay::new(options).unwrap_err();
            assert_eq!((error.to_string().as_str(), options.validate()), (text, Err(error)));
        }
        assert_eq!(default.validate(), Ok(()));
        assert_eq!(AdaptiveOptions { target: Target::ExtraLoad(10_000), ..default }.validate(), Ok(()));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn options_are_read_over_the_defaults() {
        let read: AdaptiveOptions = serde_json::from_str(r#"{"target": {"extra_load": 200}, "warm_up": 50}"#).unwrap();
        assert_eq!(read, AdaptiveOptions { target: Target::ExtraLoad(200), warm_up: 50, ..AdaptiveOptions::DEFAULT });
        let written = serde_json::to_string(&AdaptiveOptions::DEFAULT).unwrap();
        assert_eq!(serde_json::from_str::<AdaptiveOptions>(&written).unwrap(), AdaptiveOptions::DEFAULT);
        let error = serde_json::from_str::<AdaptiveOptions>(r#"{"target": {"quantile": 10001}}"#).unwrap_err();
        assert!(error.to_string().contains("must be in [0, 10000]"), "{error}");
    }
}
