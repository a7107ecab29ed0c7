//! A delay that adapts where its backups are load: servers that work on one attempt at a time, the others in a queue, and serve
//! to its end what nobody waits for any more (B7).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::cell::RefCell;

use hedge_core::bounded::Bounded;
use hedge_core::latency::Quantile;
use hedge_core::outcome::{Denial, Extra};
use hedge_core::policy::{
    AdaptiveDelay, AdaptiveOptions, BackupDelay, BackupPolicy, ChannelOptions, DelayRange, Ended, Shadow, Target,
};
use hedge_core::time::{Duration, Instant, Timeout};
use hedge_simulator::{Fleet, Latency, Load, Measured, SERVERS};

const SEED: u64 = 3;
/// How long an attempt is worked on, on average.
const MEAN: Duration = Duration::from_millis(10);
/// How long a run is, and at which loads: all of it in a release build, a little in others.
const SECONDS: usize = if cfg!(debug_assertions) { 40 } else { 120 };
const MODERATE: &[f64] = if cfg!(debug_assertions) { &[0.5] } else { &[0.3, 0.5, 0.6] };
const HIGH: &[f64] = if cfg!(debug_assertions) { &[0.9] } else { &[0.8, 0.85, 0.9] };
const CALLS: usize = if cfg!(debug_assertions) { 40_000 } else { 200_000 };
/// Over so much the delay is averaged, in seconds.
const STRETCH: usize = 5;

const TARGETS: [Target; 3] = [
    Target::Quantile(Quantile::P95),
    Target::ExtraLoad(Bounded::of::<200>()),
    Target::ExtraLoad(Bounded::of::<1_000>()),
];

fn fleet() -> Fleet {
    let options = ChannelOptions { timeout: Timeout::NEVER, ..ChannelOptions::brpc() };
    Fleet { latency: Latency::Exponential(MEAN), workers: 1, options }
}

/// Calls at random, as many as keep so much of the servers' time busy.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands a second")]
fn load(share: f64) -> Load {
    let per_second = share * SERVERS as f64 * 1e6 / MEAN.as_micros() as f64;
    let every = Latency::Exponential(Duration::from_micros((1e6 / per_second).round() as u64));
    Load { requests: per_second as usize * SECONDS, warm_up: 0, keys: 1, every, seed: SEED }
}

/// An adaptive delay, and what it was in each stretch.
struct Watched<'p> {
    policy: &'p AdaptiveDelay,
    /// Whether what it asks for is sent.
    sends: bool,
    /// The sum of the delays in milliseconds, and how many there were.
    stretches: RefCell<Vec<(f64, f64)>>,
}

impl Watched<'_> {
    fn run(&self, share: f64) -> Measured {
        fleet().run(self, &load(share)).unwrap()
    }

    /// The means, once it has settled: a window later.
    fn means(&self) -> Vec<f64> {
        self.stretches.borrow().iter().skip(3).take(SECONDS / STRETCH - 3).map(|(sum, n)| sum / n).collect()
    }
}

impl BackupPolicy for Watched<'_> {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        let delay = self.policy.delay(now);
        if let Some(delay) = delay.and_then(BackupDelay::delay) {
            let mut stretches = self.stretches.borrow_mut();
            let index = usize::try_from(now.as_micros()).unwrap() / 1_000_000 / STRETCH;
            if stretches.len() <= index {
                stretches.resize(index + 1, (0.0, 0.0));
            }
            stretches[index].0 += delay.as_micros() as f64 / 1_000.0;
            stretches[index].1 += 1.0;
        }
        if self.sends { delay } else { Some(BackupDelay::OFF) }
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_back_up(now)
    }

    fn take_back(&self, extra: Extra, now: Instant) {
        self.policy.take_back(extra, now);
    }

    fn ended(&self, call: &Ended<'_>) {
        self.policy.ended(call);
    }
}

fn policy(target: Target) -> AdaptiveDelay {
    // Nothing but the target bounds the delay.
    let delay = DelayRange::new(Duration::from_micros(1), Duration::from_secs(3_600)).unwrap();
    AdaptiveDelay::new(AdaptiveOptions { target, delay, ..AdaptiveOptions::DEFAULT })
}

const fn share_of(target: Target) -> f64 {
    match target {
        Target::ExtraLoad(ten_thousandths) => ten_thousandths.get() as f64 / 10_000.0,
        _ => 0.05,
    }
}

/// A run with backups, and one without under the same delay.
fn both(target: Target, share: f64) -> [(Measured, Vec<f64>); 2] {
    [true, false].map(|sends| {
        let policy = policy(target);
        let watched = Watched { policy: &policy, sends, stretches: RefCell::default() };
        (watched.run(share), watched.means())
    })
}

/// The lowest and the highest, in proportion to the mean.
fn swing(means: &[f64]) -> (f64, f64) {
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    let (lowest, highest) = means.iter().fold((f64::MAX, 0.0_f64), |(low, high), at| (low.min(*at), high.max(*at)));
    (lowest / mean, highest / mean)
}

fn report(target: Target, share: f64, sent: &Measured, plain: &Measured, swing: (f64, f64)) {
    println!(
        "seed {SEED}, {target:?} at {share}: {:.2} % extra, p99 {:.1} ms (without {:.1}), delay {:.2} to {:.2} of its mean",
        100.0 * sent.extra(),
        sent.percentile_ms(0.99),
        plain.percentile_ms(0.99),
        swing.0,
        swing.1
    );
}

#[test]
fn b7_with_queues_the_delay_neither_oscillates_nor_creeps_and_helps() {
    for target in TARGETS {
        for share in MODERATE.iter().copied() {
            let [(sent, means), (plain, _)] = both(target, share);
            let (low, high) = swing(&means);
            report(target, share, &sent, &plain, (low, high));
            assert!(low >= 0.8 && high <= 1.2);
            let (early, late) = means.split_at(means.len() / 2);
            let creep = late.iter().sum::<f64>() / early.iter().sum::<f64>() * early.len() as f64 / late.len() as f64;
            assert!((0.93..1.07).contains(&creep), "by {creep} in a minute");
            let wanted = share_of(target);
            assert!((0.7 * wanted..=wanted).contains(&sent.extra()), "{}", sent.extra());
            assert!(sent.percentile_ms(0.99) < plain.percentile_ms(0.99));
        }
    }
}

#[test]
fn b7_no_load_makes_the_delay_send_more_than_a_tenth_above_its_target() {
    for (target, share) in TARGETS
        .into_iter()
        .flat_map(|target| HIGH.iter().map(move |share| (target, *share)))
        .chain([(Target::ExtraLoad(Bounded::of::<3_000>()), 0.7)])
    {
        let [(sent, means), (plain, _)] = both(target, share);
        let (low, high) = swing(&means);
        report(target, share, &sent, &plain, (low, high));
        let most = 1.1 * share_of(target) * plain.calls as f64 + f64::from(AdaptiveDelay::BURST);
        assert!((sent.attempts - sent.calls) as f64 <= most);
        // It follows the queues, which swing without any backup too, but it does not run away.
        assert!(low >= 0.5 && high <= 1.7);
    }
}

#[test]
fn b2_a_shadow_foretells_what_backups_win_and_save_however_the_calls_come() {
    let latency = Latency::Stalling {
        base: Box::new(Latency::Exponential(Duration::from_millis(2))),
        stall: Duration::from_millis(100),
        probability: 0.02,
    };
    let options = ChannelOptions { timeout: Timeout::NEVER, ..ChannelOptions::brpc() };
    let fleet = Fleet { latency, workers: 0, options };
    let delay = Duration::from_millis(10);
    for (keys, every_ms) in [(1, 1), (100, 20), (1_000, 2_000)] {
        let requests = CALLS / keys;
        let load =
            Load { requests, warm_up: 0, keys, every: Latency::Constant(Duration::from_millis(every_ms)), seed: SEED };
        let shadow = Shadow::new([delay]);
        let plain = fleet.run(&shadow, &load).unwrap();
        let counted = shadow.counts().next().unwrap();
        // What backups really did: of those that took longer than the delay without, so many do with.
        let hedged = Fleet {
            options: ChannelOptions { backup: BackupDelay::after(delay), ..fleet.options.clone() },
            ..fleet.clone()
        };
        let truth = Outcome::default();
        let sent = hedged.run(&truth, &load).unwrap();
        let (calls, backups, wins, total) = truth.take();
        let saved = {
            let outcome = Outcome::default();
            fleet.run(&outcome, &load).unwrap();
            outcome.take().3 - total
        };
        let told = (f64::from(counted.sent), f64::from(counted.won), counted.saved.as_micros() as f64);
        println!("seed {SEED}, {keys} keys every {every_ms} ms: told {told:?}, truly ({backups}, {wins}, {saved})");
        assert_eq!((f64::from(counted.calls), plain.attempts), (calls, plain.calls), "and none is sent");
        assert!((told.0 / backups - 1.0).abs() < 0.02 && sent.attempts > sent.calls);
        assert!((told.1 / wins - 1.0).abs() < 0.06);
        assert!((told.2 / saved - 1.0).abs() < 0.1);
    }
}

/// What came of the calls: how many, how many backups, how many of these won, and how long all took together.
#[derive(Default)]
struct Outcome(RefCell<(f64, f64, f64, f64)>);

impl Outcome {
    fn take(&self) -> (f64, f64, f64, f64) {
        self.0.take()
    }
}

impl BackupPolicy for Outcome {
    fn ended(&self, call: &Ended<'_>) {
        let mut counts = self.0.borrow_mut();
        counts.0 += 1.0;
        counts.1 += call.attempts.len() as f64 - 1.0;
        counts.2 += f64::from(u8::from(
            call.attempts
                .iter()
                .skip(1)
                .any(|attempt| matches!(attempt.state(), hedge_core::outcome::State::Finished(_))),
        ));
        counts.3 += call.elapsed().as_micros() as f64;
    }
}
