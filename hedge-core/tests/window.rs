//! Sliding counts against a model that keeps everything.
#![allow(clippy::unwrap_used, reason = "tests")]

use hedge_core::time::{Duration, Instant};
use hedge_core::window::SlidingCount;
use proptest::prelude::*;

/// What lies between two additions.
#[derive(Clone, Copy, Debug)]
enum Pause {
    Micros(u64),
    /// Up to a microsecond before, at or behind the next bucket's beginning.
    ToBucket(u64),
    /// Up to where the window begins so near a bucket's beginning.
    ToWindow(u64),
}

impl Pause {
    fn after(self, now: u64, bucket: u64, window: u64) -> u64 {
        let edge = |at: u64| at.next_multiple_of(bucket) + bucket;
        match self {
            Self::Micros(micros) => now + micros,
            Self::ToBucket(beside) => edge(now) + beside - 1,
            Self::ToWindow(beside) => edge(now.saturating_sub(window)) + window + beside - 1,
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

/// What was added, and when.
#[derive(Default)]
struct Model(Vec<(u64, u32)>);

impl Model {
    /// What was added after `after`.
    fn since(&self, after: Option<u64>) -> u64 {
        self.0.iter().filter(|(at, _)| after.is_none_or(|after| *at > after)).map(|(_, n)| u64::from(*n)).sum()
    }
}

fn against_the_model<const N: usize>(seconds: u64, steps: &[(Pause, u32)]) -> Result<(), TestCaseError> {
    let window = Duration::from_secs(seconds);
    let count = SlidingCount::<N>::new(window).unwrap();
    let bucket = count.bucket().as_micros();
    prop_assert!(bucket < 2 * window.as_micros() / (N as u64 - 1));
    let mut model = Model::default();
    let mut now = 0;
    for (pause, n) in steps {
        now = pause.after(now, bucket, window.as_micros());
        let at = Instant::from_micros(now);
        count.add(at, *n);
        model.0.push((now, *n));
        let (covering, inside) = (count.covering(at), count.inside(at));
        let edge = now.checked_sub(window.as_micros());
        let exact = model.since(edge);
        prop_assert!(covering >= exact && inside <= exact, "{inside} <= {exact} <= {covering} at {now}");
        // Whole buckets, none missing and none twice: as many as a window may reach into, and as many as it always holds.
        let since = |buckets: u64| model.since((now / bucket * bucket).checked_sub(buckets * bucket + 1));
        prop_assert_eq!(covering, since(window.as_micros().div_ceil(bucket)));
        prop_assert_eq!(inside, since(window.as_micros() / bucket - 1));
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
    fn b3_whatever_the_clock_does_what_was_just_added_counts(
        times in prop::collection::vec(0..1_u64 << 50, 1..100),
    ) {
        let count = SlidingCount::<16>::new(Duration::from_secs(10)).unwrap();
        let mut latest = 0;
        for at in times {
            latest = latest.max(at);
            let now = Instant::from_micros(at);
            let before = count.covering(now);
            count.add(now, 1);
            prop_assert!(count.covering(now) >= before);
            if at == latest {
                prop_assert!(count.inside(now) >= 1, "the clock is where it never was before");
            }
        }
        let later = Instant::from_micros(latest + 25_000_000);
        prop_assert_eq!(count.covering(later), 0);
    }
}
