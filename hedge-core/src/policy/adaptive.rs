//! A backup delay that follows the latencies of attempts: [`AdaptiveDelay`] ([B7](crate::rules#B7)).

mod options;

use super::allowance::Allowance;
use super::sample::sample_of;
use super::{BackupDelay, BackupPolicy, Ended};
use crate::atomic::{AtomicU32, Ordering};
use crate::latency::LatencyRecorder;
use crate::outcome::{Denial, Extra};
use crate::time::{Instant, Micros};

pub use self::options::{AdaptiveOptions, DelayRange, ExtraLoad, Target};

/// The value of `delay_us` if there is no delay.
const OFF: u32 = u32::MAX;

/// A delay that follows the latencies of recent attempts. It is either a quantile of these latencies, or the delay that
/// causes a given extra load ([B7](crate::rules#B7)).
///
/// # Which attempts count
///
/// First attempts and retries count. The time of each is measured from its own start. An answer gives a latency, even
/// if the verdict is `Fatal`. An attempt that was abandoned or failed gives a lower bound: its age.
///
/// Backups do not count, for two reasons. First, a backup is sent because its call is slow. A slow backup would count
/// the slow moment a second time, and a fast backup would hide it. Second, the delay says how long to wait for an
/// attempt that is not a backup. So each call has the same weight, with or without a backup.
///
/// # Why backups do not change the delay
///
/// The delay is the end of the bucket that contains the quantile (see [`latency`](crate::latency)). If a backup wins,
/// the other attempt is abandoned before its latency is known. But this happens only to latencies above the delay. So
/// all latencies up to the end of that bucket are measured in full. Backups change neither the quantile nor the delay,
/// even if there are many backups or they are fast. Unless the range of the options changes the delay, it is never
/// below the quantile, and from 64 us on it is at most 9.7 % above the quantile. So the extra load is not exceeded if
/// many latencies are close together.
///
/// If every latency grows, the growth is hidden at first, since backups win before the long latencies are known. The
/// delay then rises to the longest known latencies, and from there further up. If latencies become shorter, the delay
/// follows at once. In both cases, the old latencies no longer count after one window.
///
/// # How many backups the policy allows
///
/// Backups add load. Load makes servers slower, and the delay reacts to this only afterwards. So the number of backups
/// has a fixed bound: 1.1 times the target's share of the calls that have ended, plus [`BURST`](Self::BURST). The
/// target of a quantile is the share of calls beyond it, 5 % at the 95th percentile. While the delay fits the
/// latencies, the number of backups stays below the bound. Otherwise, backups above the bound are refused as
/// [`Denial::ExtraLoad`]. So backups cannot cause an outage if the servers can carry this load.
///
/// Some servers have queues. While the load (with backups) is below two thirds of the servers' capacity, the delay
/// differs from its mean by at most a fifth. At a higher load, the delay varies with the lengths of the queues. The
/// lengths vary without backups too, and backups help less if the load is higher. With the 95th percentile, backups
/// lower the p99 by 11 % at a load of 0.6. At a load of 0.8 they raise it by 6 %, if servers finish abandoned requests.
/// At such loads set a smaller target, or send no backups.
///
/// # When there is no delay
///
/// There is no delay, and so no backup, until the window holds `warm_up` answers. The delay is switched off in two
/// cases: fewer than a quarter of `warm_up` answers are left, or no call has ended for a whole window. The limit is a
/// quarter because half of the answers leave the window at once.
///
/// # Cost
///
/// Reading the delay is two loads, and a backup is one compare-and-swap. Each attempt costs one atomic addition, and
/// sometimes also the upkeep of the [`LatencyRecorder`]. Memory: 2048 bytes. Retries are not limited: combine this
/// policy with a limit.
#[derive(Debug)]
pub struct AdaptiveDelay {
    latencies: LatencyRecorder,
    allowance: Allowance,
    /// The delay in microseconds, or [`OFF`].
    delay_us: AtomicU32,
    options: AdaptiveOptions,
}

impl AdaptiveDelay {
    /// The delay is precise if the window holds at least this number of calls. It is then between 10 % below and 20 %
    /// above the true quantile, except in rare cases. This is true for the 95th to 98th percentile of usual
    /// distributions (a lognormal of deviation 1, an exponential). A higher percentile needs more calls, and a narrower
    /// distribution needs fewer calls.
    pub const SETTLED_AFTER: u32 = 5_000;

    /// The number of backups that can be saved up while calls do not need backups. At most this many backups can be
    /// sent at once.
    pub const BURST: u32 = 100;

    /// Makes a delay without samples. The delay is off at first.
    #[must_use]
    pub const fn new(options: AdaptiveOptions) -> Self {
        let latencies = LatencyRecorder::new(options.window, options.target.quantile());
        let allowance = Allowance::new(Self::BURST, options.target.extra_ppm() / 10 * 11);
        Self { latencies, allowance, delay_us: AtomicU32::new(OFF), options }
    }

    /// Returns the options with which this policy was made.
    #[must_use]
    pub const fn options(&self) -> &AdaptiveOptions {
        &self.options
    }

    /// Returns the latencies that the delay follows. Programs can take snapshots of them.
    #[must_use]
    pub const fn latencies(&self) -> &LatencyRecorder {
        &self.latencies
    }

    /// Sets the delay. `quantile_end` is the end of the quantile's bucket, and `answers` is the number of answers in
    /// the window.
    fn follow(&self, quantile_end: Option<Micros>, answers: u64) {
        let warm_up = u64::from(self.options.warm_up.get());
        let is_on = self.delay_us.load(Ordering::Relaxed) != OFF;
        let enough = answers >= if is_on { warm_up.div_ceil(4) } else { warm_up };
        let delay_us = quantile_end.filter(|_| enough).map_or(OFF, |end| {
            let range = self.options.delay;
            let delay = end.max(range.min().micros()).min(range.max().micros());
            // There is no overflow: an hour takes 32 bits of microseconds.
            u32::try_from(delay.as_micros()).unwrap_or(OFF - 1)
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

/// Reads the fields of the options from files.
#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::balance::RoundRobin;
    use crate::bounded::{Bounded, SpanRange};
    use crate::call::{Action, Input};
    use crate::channel::Channel;
    use crate::id::AttemptId;
    use crate::latency::Quantile;
    use crate::outcome::{End, Kind, Verdict};
    use crate::policy::{CallOptions, ChannelOptions};
    use crate::time::Duration;
    use fastrand::Rng;
    use std::vec::Vec;

    type Line<'p> = Channel<u16, RoundRobin, &'p AdaptiveDelay, u8, 8>;
    type Shape = fn(&mut Rng) -> f64;

    /// The time from one call to the next: a thousand calls a second.
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

    /// Returns the true quantile of the latencies of `shape`. The quantile is given in ten-thousandths.
    fn truth(shape: Shape, ten_thousandths: usize) -> f64 {
        let mut rng = Rng::with_seed(99);
        let mut all: Vec<f64> = (0..200_000).map(|_| shape(&mut rng)).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[ten_thousandths * 20]
    }

    /// Makes calls at equal intervals. The test chooses the latencies of the servers.
    struct Loop<'p> {
        channel: Line<'p>,
        now: Instant,
        /// The number of calls in the last run. The fields after this one are about the last run too.
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

        /// Makes `calls` calls, and ends each call before the next one begins. A call may last longer than [`GAP`].
        /// Then the next call begins at an instant before the end of this call, so the policy sees a clock that goes
        /// back a little.
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

        /// Checks that every call from number `skip` on had a delay near `truth`.
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
        AdaptiveDelay::new(options)
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
            // The delay that the policy would have without backups.
            let unhedged = LatencyRecorder::default();
            let policy = AdaptiveDelay::new(AdaptiveOptions::DEFAULT);
            let (mut rng, mut line) = (Rng::with_seed(seed), Loop::new(&policy));
            let mut latency = |now: Instant, kind| {
                let latency = rounded(shape(&mut rng));
                if kind == Kind::First {
                    unhedged.record(now + latency, latency);
                }
                latency
            };
            line.run(AdaptiveDelay::SETTLED_AFTER, &mut latency).assert_near(truth, 4_999, name);
            // For a minute, the delay stays nearly constant.
            line.run(60_000, &mut latency).assert_near(truth, 0, name);
            let (early, late) = line.delays.split_at(30_000);
            let mean = |delays: &[f64]| delays.iter().sum::<f64>() / delays.len() as f64;
            let creep = mean(late) / mean(early);
            assert!((0.95..=1.05).contains(&creep), "{name}: by {creep} in half a minute");
            assert!(line.extra_load() <= 0.051, "{name}: {}", line.extra_load());
            // The delay is the end of a bucket, and `kept` returns the middle of a bucket. Both are of the same bucket
            // or of neighbouring buckets.
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
        for (target, tenth_more) in
            [(Target::Quantile(Quantile::P95), 0.055), (Target::ExtraLoad(Bounded::of::<1_000>()), 0.11)]
        {
            // Every call is slower than the longest delay.
            let policy =
                policy(AdaptiveOptions { target, delay: SpanRange::of_millis::<1, 1>(), ..AdaptiveOptions::DEFAULT });
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
                let policy = to(Target::ExtraLoad(Bounded::new(ten_thousandths).unwrap()));
                let (mut rng, mut line) = (Rng::with_seed(seed), Loop::new(&policy));
                let mut latency = |_, _| rounded(shape(&mut rng));
                line.run(10_000, &mut latency).run(50_000, &mut latency);
                let (load, most) = (line.extra_load(), f64::from(ten_thousandths) / 10_000.0);
                std::println!("{name}: {load:.4} of at most {most}");
                // The load may be far below the target only if many latencies are in one bucket. Then no delay gives a
                // load closer to the target.
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
        // After two windows, a window holds only about seven answers. The first upkeep that finds fewer than 25 answers
        // switches the delay off.
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
            let delay = DelayRange::new(ms(min), ms(max)).unwrap();
            let policy = policy(AdaptiveOptions { delay, ..AdaptiveOptions::DEFAULT });
            let mut line = Loop::new(&policy);
            assert_eq!(line.run(1_000, |_, _| ms(10)).delay(), Some(ms(expected)));
        }
        let delay = SpanRange::of_millis::<3_600_000, 3_600_000>();
        let longest = policy(AdaptiveOptions { delay, ..AdaptiveOptions::DEFAULT });
        assert_eq!(Loop::new(&longest).run(1_000, |_, _| ms(10)).delay(), Some(Duration::from_secs(3_600)));
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
        // The first attempt fails after 5 ms, and its retry is answered 8 ms later.
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
        // The backup loses, and the first attempt ends as `Fatal`, which is an answer.
        let mut call = line.channel.call(&own, at(200)).unwrap();
        let first = start(200, &mut |now| call.poll(now));
        start(220, &mut |now| call.poll(now));
        call.handle(at(230), Input::finished(first, Verdict::Fatal));
        assert_eq!(counts(230), (4, 2, ms(30)));
        // A cancelled attempt gives a lower bound.
        let mut call = line.channel.call(&own, at(300)).unwrap();
        start(300, &mut |now| call.poll(now));
        call.handle(at(310), Input::Cancel);
        assert_eq!(counts(310), (5, 3, ms(30)));
    }
}
