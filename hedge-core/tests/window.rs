//! Sliding counts against a model that keeps everything, and where the clock and the totals go too far.
#![allow(clippy::unwrap_used, reason = "tests")]

use hedge_core::bounded::BoundedSpan;
use hedge_core::time::{Duration, Instant, Micros};
use hedge_core::window::{CountWindow, SlidingCount};
use proptest::prelude::*;

fn micros(span: Duration) -> u64 {
    Micros::from(span).as_micros()
}

/// What lies between two additions.
#[derive(Clone, Copy, Debug)]
enum Pause {
    Micros(u64),
    /// Up to a microsecond before, at or behind the next bucket's beginning.
    ToBucket(u64),
    /// Up to where the window begins so near a bucket's beginning.
    ToWindow(u64),
    /// The clock goes back.
    Back(u64),
    /// It goes back to where it was so many additions ago, as nearly.
    To(usize, u64),
    /// It goes back by so many buckets from where a step becomes a pause.
    BackToLate(u64),
}

impl Pause {
    fn after(self, now: u64, clock: Clock, model: &Model) -> u64 {
        let Clock { window, late, .. } = clock;
        let edge = |at: u64| clock.begin_of(clock.bucket_of(at) + 2);
        match self {
            Self::Micros(micros) => now + micros,
            Self::ToBucket(beside) => edge(now) + beside - 1,
            Self::ToWindow(beside) => edge(now.saturating_sub(window)) + window + beside - 1,
            Self::Back(micros) => now.saturating_sub(micros),
            Self::To(ago, beside) => model.0.iter().rev().nth(ago).map_or(now, |added| added.0 + beside),
            Self::BackToLate(beside) => clock.begin_of(clock.bucket_of(now).saturating_sub(late + beside - 1)),
        }
    }
}

/// Pauses from nothing to some years, mostly about the window.
fn pause() -> impl Strategy<Value = Pause> {
    prop_oneof![
        4 => (0..200_000_u64).prop_map(Pause::Micros),
        2 => (0..3_000_000_u64).prop_map(Pause::Micros),
        1 => (0..40_000_000_u64).prop_map(Pause::Micros),
        1 => (0..48_u32).prop_map(|bits| Pause::Micros(1 << bits)),
        2 => (0..3_u64).prop_map(Pause::ToBucket),
        2 => (0..3_u64).prop_map(Pause::ToWindow),
    ]
}

/// Pauses, and steps back of all sizes, often to where the clock has been before.
fn step() -> impl Strategy<Value = Pause> {
    prop_oneof![
        8 => pause(),
        1 => (0..48_u32).prop_map(|bits| Pause::Back(1 << bits)),
        2 => (0..40_usize, 0..2_000_000_u64).prop_map(|(ago, beside)| Pause::To(ago, beside)),
        1 => (0..3_u64).prop_map(Pause::BackToLate),
    ]
}

/// How a count tells buckets apart: a moment in microseconds times `factor`, which is from 1024 to 2047, in parts of 2^`bits`.
#[derive(Clone, Copy)]
struct Clock {
    factor: u64,
    bits: u32,
    window: u64,
    /// How many buckets behind is late.
    late: u64,
}

impl Clock {
    fn of<const N: usize>(count: &SlidingCount<N>) -> Self {
        let (window, buckets) = (micros(count.window()), N as u64 - 1);
        let bits = (10..).find(|bits| buckets << bits >= window << 10).unwrap();
        let clock = Self { factor: (buckets << bits) / window, bits, window, late: 0 };
        assert!((1_024..2_048).contains(&clock.factor) && micros(count.bucket()) == clock.begin_of(1));
        Self { late: N as u64 + clock.bucket_of(1 << 23), ..clock }
    }

    fn bucket_of(self, at: u64) -> u64 {
        u64::try_from((u128::from(at) * u128::from(self.factor)) >> self.bits).unwrap()
    }

    fn begin_of(self, bucket: u64) -> u64 {
        u64::try_from((u128::from(bucket) << self.bits).div_ceil(self.factor.into())).unwrap()
    }

    /// The bucket that a window begins behind where it ends in one, or at one moment of it.
    fn before(self, bucket: u64, end: End) -> i128 {
        let end = match end {
            End::Earliest => i128::from(bucket) << self.bits,
            End::At(now) => i128::from(now) * i128::from(self.factor),
            End::Latest => (i128::from(bucket + 1) << self.bits) - 1,
        };
        (end - i128::from(self.window) * i128::from(self.factor)) >> self.bits
    }
}

/// At which moment of a bucket.
#[derive(Clone, Copy)]
enum End {
    Earliest,
    At(u64),
    Latest,
}

/// What was added, when by the clock, and when in the count's own time, of which a step back may be none; `None` once that is
/// forgotten.
#[derive(Default)]
struct Model(Vec<(u64, Option<u64>, u32)>);

impl Model {
    /// Adds; answers what time it is in the count's own, which is by the bucket.
    fn add(&mut self, now: u64, n: u32, clock: Clock) -> u64 {
        let latest = self.0.iter().rev().find(|added| added.2 > 0).and_then(|added| added.1);
        let behind = latest.map_or(0, |latest| clock.bucket_of(latest).saturating_sub(clock.bucket_of(now)));
        let at = if behind > 0 && behind <= clock.late { latest.unwrap_or(now) } else { now };
        if behind > clock.late {
            self.0.iter_mut().for_each(|added| added.1 = None);
        }
        self.0.push((now, Some(at), n));
        at
    }

    /// What was added after `after` and up to `now`, by the count's own time.
    fn between(&self, after: Option<u64>, now: u64) -> u64 {
        let is_in = |at: &u64| *at <= now && after.is_none_or(|after| *at > after);
        self.0.iter().filter(|added| added.1.as_ref().is_some_and(is_in)).map(|added| u64::from(added.2)).sum()
    }
}

fn against_the_model<const N: usize>(seconds: u64, steps: &[(Pause, u32)]) -> Result<(), TestCaseError> {
    let count = SlidingCount::<N>::new(CountWindow::new(Duration::from_secs(seconds)).unwrap());
    let clock = Clock::of(&count);
    let window = clock.window;
    let mut model = Model::default();
    let mut now = 0;
    for (pause, n) in steps {
        now = pause.after(now, clock, &model);
        let at = Instant::from_micros(now);
        count.add(at, *n);
        let own = model.add(now, *n, clock);
        let (covering, inside) = (count.covering(at), count.inside(at));
        // By the bucket at the end: within one, the clock may have gone back as well.
        let bucket = clock.bucket_of(own);
        let (begin, end) = (clock.begin_of(bucket), clock.begin_of(bucket + 1) - 1);
        // Where it went back by more, any moment of the bucket may be now.
        let is_now = begin <= now && now <= end;
        let (earliest, latest) = if is_now { (now, now) } else { (begin, end) };
        let exact = model.between(earliest.checked_sub(window), end);
        prop_assert!(covering >= exact, "{exact} <= {covering} at {now}");
        let exact = model.between(latest.checked_sub(window), end);
        prop_assert!(inside <= exact, "{inside} <= {exact} at {now}");
        // Whole buckets, none missing and none twice: from the one that the window begins behind, and from the next.
        let since = |bucket: i128| {
            let begin = u64::try_from(bucket).map(|bucket| clock.begin_of(bucket));
            model.between(begin.ok().and_then(|begin| begin.checked_sub(1)), end)
        };
        let at = |end: End| clock.before(bucket, if is_now { End::At(now) } else { end });
        prop_assert_eq!(covering, since(at(End::Earliest)), "covering at {}", now);
        prop_assert_eq!(inside, since(at(End::Latest) + 1), "inside at {}", now);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b3_counts_are_the_models_to_the_bucket(
        seconds in prop_oneof![1..15_u64, 1..=3_600_u64],
        steps in prop::collection::vec((pause(), 0..5_u32), 1..200),
    ) {
        against_the_model::<4>(seconds, &steps)?;
        against_the_model::<16>(seconds, &steps)?;
        against_the_model::<64>(seconds, &steps)?;
    }

    #[test]
    fn b3_counts_are_the_models_when_the_clock_goes_back(
        seconds in prop_oneof![1..15_u64, 1..=3_600_u64],
        steps in prop::collection::vec((step(), 1..5_u32), 1..200),
    ) {
        against_the_model::<4>(seconds, &steps)?;
        against_the_model::<16>(seconds, &steps)?;
        against_the_model::<64>(seconds, &steps)?;
    }

    #[test]
    fn b3_whatever_the_clock_does_what_was_just_added_counts(
        times in prop::collection::vec(any::<u64>(), 1..100),
    ) {
        let count = SlidingCount::<16>::new(BoundedSpan::of_secs::<10>());
        for at in times {
            let now = Instant::from_micros(at);
            let before = count.covering(now);
            count.add(now, 1);
            prop_assert_eq!(count.covering(now), before + 1);
            prop_assert!(count.inside(now) >= 1);
            prop_assert_eq!(count.covering(now + Duration::from_secs(25)), 0);
        }
    }

    #[test]
    fn b3_a_step_of_any_size_to_anywhere_forgets(from in any::<u64>(), step in 25_000_000..u64::MAX) {
        let count = SlidingCount::<16>::new(BoundedSpan::of_secs::<10>());
        // Of 285 years or more, what is left counts: the product is told apart within 2^64.
        let left = step.wrapping_mul(Clock::of(&count).factor) / Clock::of(&count).factor;
        prop_assume!((25_000_000..(1 << 53) - 25_000_000).contains(&left));
        count.add(Instant::from_micros(from), 7);
        let now = Instant::from_micros(from.wrapping_add(step));
        prop_assert_eq!((count.covering(now), count.inside(now)), (0, 0));
        count.add(now, 2);
        prop_assert_eq!((count.covering(now), count.inside(now)), (2, 2));
    }
}

fn second() -> SlidingCount<8> {
    SlidingCount::new(BoundedSpan::of_secs::<1>())
}

#[test]
fn b3_edges_are_rounded_against_the_caller() {
    let count = second();
    let bucket = count.bucket();
    assert!((1_000_000..1_001_000).contains(&(micros(bucket) * 7)), "{bucket:?}");
    for start in 0..micros(bucket) / 1_000 {
        let count = second();
        let at = Instant::from_millis(10_000 + start);
        count.add(at, 1);
        let covering = (0..3_000).take_while(|ms| count.covering(at + Duration::from_millis(*ms)) == 1).count();
        let inside = (0..3_000).take_while(|ms| count.inside(at + Duration::from_millis(*ms)) == 1).count();
        assert!((1_000..1_000 + 144).contains(&covering), "never less than the window: {covering} ms");
        assert!((1_000 - 144..=1_000).contains(&inside), "never more than the window: {inside} ms");
    }
}

#[test]
fn b3_an_idle_past_is_forgotten_however_long() {
    // A minute less or more than what looks like none.
    const MINUTE: u64 = 60_000_000;
    let none = (1 << 63) / Clock::of(&second()).factor * 2;
    let gaps = [
        1_320_000,
        2_000_000,
        1 << 21,
        1 << 30,
        1 << 52,
        1 << 53,
        none - MINUTE,
        none + MINUTE,
        5 * none + MINUTE,
        u64::MAX - MINUTE,
    ];
    for gap in gaps {
        let count = second();
        count.add(Instant::ZERO, 7);
        let later = Instant::from_micros(gap);
        assert_eq!((count.covering(later), count.inside(later)), (0, 0), "after {gap} us");
        count.add(later, 2);
        assert_eq!((count.covering(later), count.inside(later)), (2, 2), "after {gap} us");
    }
}

#[test]
fn b3_a_clock_that_goes_back_a_little_stands_still() {
    let count = second();
    count.add(Instant::from_millis(60_000), 5);
    let back = Instant::from_millis(50_600);
    assert_eq!((count.covering(back), count.inside(back)), (5, 5));
    count.add(back, 1);
    assert!(count.add_if(back, 1, |there| there == 6));
    assert_eq!((count.covering(back), count.covering(Instant::from_millis(60_100))), (7, 7));
    assert_eq!(count.covering(Instant::from_millis(62_000)), 0);
}

#[test]
fn b3_a_clock_that_goes_back_a_lot_forgets_and_goes_on() {
    let count: SlidingCount = SlidingCount::new(BoundedSpan::of_secs::<10>());
    let at = |second: u64| Instant::from_millis(second * 1_000);
    (7_000..7_200).for_each(|second| count.add(at(second), 1));
    for second in 3_600..7_300 {
        assert!(second > 3_600 || (count.covering(at(second)), count.inside(at(second))) == (0, 0));
        count.add(at(second), 1);
        let covering = count.covering(at(second));
        assert!(covering <= 12 && covering >= 10.min(second - 3_599), "{covering} at {second} s");
    }
}

#[test]
fn b3_what_was_before_a_step_back_is_not_there_when_the_clock_is_there_again() {
    // In buckets: one that is not begun this time, one that is, and one that only counts.
    for again in [100, 101, 102, 103] {
        let count = second();
        let at = |bucket: u64| Instant::from_micros(bucket * micros(count.bucket()));
        for bucket in 100..104 {
            count.add(at(bucket), 1_000);
            assert!(count.covering(at(bucket)) > 0 && count.inside(at(bucket)) > 0);
        }
        count.add(at(3), 10);
        count.add(at(again), 1);
        for later in again..again + 3 {
            assert_eq!((count.covering(at(later)), count.inside(at(later))), (1, 1), "{again} again, at {later}");
        }
        count.add(at(104), 2);
        assert_eq!((count.covering(at(104)), count.inside(at(110))), (3, 2), "{again} again");
    }
}

#[test]
fn b3_totals_wrap_and_counts_do_not_notice() {
    let count = second();
    for ms in 0..90_000 {
        count.add(Instant::from_millis(ms), 60_000);
    }
    let now = Instant::from_millis(89_999);
    assert!((1_000..1_144).contains(&(count.covering(now) / 60_000)), "{}", count.covering(now));
}

#[test]
fn b3_what_is_added_on_a_condition_is_asked_with_what_there_is() {
    let count = second();
    let now = Instant::from_millis(100);
    assert!((0..3).all(|there| count.add_if(now, 1, |covered| covered == there)));
    assert!(!count.add_if(now, 1, |covered| covered < 3));
    let later = Instant::from_millis(5_000);
    assert!(count.add_if(later, 1, |covered| covered == 0));
    assert_eq!((count.covering(later), count.inside(later)), (1, 1));
}

#[test]
fn b3_much_at_once_fills_a_window_half_and_no_further() {
    // Of a total of 27 bits.
    const HALF: u64 = (1 << 26) - 1;
    for n in [1 << 16, 1 << 26, (1 << 27) - 1, 1 << 27, (1 << 27) + 1, u32::MAX] {
        let count: SlidingCount = SlidingCount::new(BoundedSpan::of_secs::<1>());
        let at = |ms: u64| Instant::from_millis(ms);
        let fits = HALF.min(n.into());
        assert!(count.add_if(at(0), n, |there| there == 0));
        assert_eq!((count.covering(at(0)), count.inside(at(0))), (fits, fits), "{n}");
        count.add(at(0), 5);
        let most = count.covering(at(0)).max(HALF);
        count.add(at(0), n);
        assert!(count.add_if(at(0), n, |there| (fits + 5..=most).contains(&there)));
        assert!(count.add_if(at(200), n, |there| there >= fits + 5));
        count.add(at(400), n);
        count.add(at(400), n);
        assert!((fits + 5..=most).contains(&count.covering(at(400))), "{n}: {}", count.covering(at(400)));
        assert!(count.add_if(at(5_000), n, |there| there == 0));
        assert_eq!((count.covering(at(5_000)), count.inside(at(5_000))), (fits, fits), "{n}");
        assert!(count.add_if(at(9_000), 3, |there| there == 0));
        assert_eq!((count.covering(at(9_000)), count.inside(at(9_000))), (3, 3), "{n}");
    }
}

#[test]
fn b3_a_total_that_wraps_while_a_bucket_is_added_to_does_not_carry_into_it() {
    // Of a total of 28 bits, all but `left`.
    for (left, is_asked) in (0..=6).flat_map(|left| [(left, false), (left, true)]) {
        let (count, fresh) = (second(), second());
        let half = (1 << 27) - 1;
        for (second, n) in [(0, half), (3, half - 4), (6, 6 - left)] {
            count.add(Instant::from_millis(second * 1_000), n);
        }
        let bucket = |after: u64| Instant::from_millis(9_000) + Duration::from_micros(after * micros(count.bucket()));
        for at in [0, 0, 0, 0, 0, 1, 1, 2].map(bucket) {
            if is_asked {
                assert!(count.add_if(at, 1, |covered| covered == fresh.covering(at)));
            } else {
                count.add(at, 1);
            }
            fresh.add(at, 1);
        }
        for at in (2..10).map(bucket) {
            assert_eq!(count.covering(at), fresh.covering(at), "{left} left, at {at:?}");
            assert_eq!(count.inside(at), fresh.inside(at), "{left} left, at {at:?}");
        }
    }
}

#[test]
fn b3_nothing_added_is_no_time() {
    let count = second();
    count.add(Instant::from_millis(60_000), 5);
    count.add(Instant::from_millis(1_000), 0);
    count.add(Instant::from_millis(90_000), 0);
    assert_eq!(count.covering(Instant::from_millis(60_000)), 5);
}
