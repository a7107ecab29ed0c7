//! Time may be counted from any origin: from when a clock started, from 1970, and from where a word that keeps it comes round.
#![cfg(has_atomic_64)]
#![allow(clippy::unwrap_used, reason = "tests")]

use hedge_core::balance::RoundRobin;
use hedge_core::bounded::BoundedSpan;
use hedge_core::call::{Action, Input};
use hedge_core::channel::Channel;
use hedge_core::latency::{LatencyRecorder, Quantile};
use hedge_core::limit::{RatioLimit, RatioMode, RatioOptions};
use hedge_core::outcome::Verdict;
use hedge_core::policy::{AdaptiveDelay, AdaptiveOptions, BackupDelay, BackupPolicy, CallOptions, ChannelOptions};
use hedge_core::time::{Duration, Instant};

/// A minute before every power of two and at it; the last leaves an hour.
fn origins() -> impl Iterator<Item = u64> {
    let powers = (26..64).map(|bit| 1_u64 << bit);
    let near = powers.flat_map(|power| [power - 60_000_000, power]);
    near.chain([0, 1, 1_770_000_000_000_000, u64::MAX - 3_600_000_000])
}

#[test]
fn b3_a_ratio_is_the_same_from_any_origin() {
    for origin in origins() {
        let at = |ms: u64| Instant::from_micros(origin + 1_000 * ms);
        let limit: RatioLimit = RatioLimit::new(RatioOptions::DEFAULT);
        let granted = (0..15_000).filter(|ms| {
            limit.completed(at(*ms));
            limit.may_back_up(at(*ms)).is_ok()
        });
        let granted = granted.count();
        assert!((1_470..=1_510).contains(&granted), "from {origin}: {granted}");
        let cached = RatioOptions {
            mode: RatioMode::Cached,
            update_interval: BoundedSpan::of_secs::<1>(),
            ..RatioOptions::DEFAULT
        };
        let cached: RatioLimit = RatioLimit::new(cached);
        (0..100).for_each(|_| cached.completed(at(0)));
        assert!((0..50).all(|_| cached.may_back_up(at(0)).is_ok()), "from {origin}");
        assert!(cached.may_back_up(at(1_100)).is_err(), "from {origin}: it looks again");
        (0..1_000).for_each(|_| cached.completed(at(1_200)));
        assert!(cached.may_back_up(at(2_300)).is_ok(), "from {origin}: and again");
    }
}

#[test]
fn b3_a_cached_ratio_is_looked_up_again_after_the_clock_went_back() {
    let at = Instant::from_millis;
    let options =
        RatioOptions { mode: RatioMode::Cached, update_interval: BoundedSpan::of_secs::<1>(), ..RatioOptions::DEFAULT };
    let limit: RatioLimit = RatioLimit::new(options);
    (0..100).for_each(|_| limit.completed(at(9_000_000)));
    assert!((0..50).all(|_| limit.may_back_up(at(9_000_000)).is_ok()));
    assert!(limit.may_back_up(at(9_001_100)).is_err());
    (0..1_000).for_each(|_| limit.completed(at(1_000)));
    assert!(limit.may_back_up(at(1_000)).is_ok(), "none of 1000 since the clock went back");
}

#[test]
fn b7_latencies_and_the_delay_that_follows_them_are_the_same_from_any_origin() {
    for origin in origins() {
        let at = |ms: u64| Instant::from_micros(origin + 1_000 * ms);
        let recorder = LatencyRecorder::new(BoundedSpan::of_secs::<10>(), Quantile::P95);
        (15_000..30_000).for_each(|ms| recorder.record(at(ms), Duration::from_micros(1_000 + ms % 1_000)));
        let snapshot = recorder.snapshot(at(29_999));
        let p95 = recorder.quantile(at(29_999), Quantile::P95).unwrap().as_micros();
        assert!((1_800..2_100).contains(&p95), "from {origin}: {p95} us");
        assert!((4_500..=10_500).contains(&snapshot.count()), "from {origin}: {}", snapshot.count());
        assert_eq!(recorder.snapshot(at(60_000)).count(), 0, "from {origin}");

        let adaptive = AdaptiveDelay::new(AdaptiveOptions::DEFAULT);
        let mut channel: Channel<u8, RoundRobin, _> =
            Channel::with_policy(ChannelOptions::brpc(), RoundRobin::new(1), &adaptive, 1);
        channel.insert(1, "").unwrap();
        for begin in (0..20_000).step_by(20) {
            let own = CallOptions::new();
            let mut call = channel.call(&own, at(begin)).unwrap();
            let Action::Start(first) = call.poll(at(begin)) else { panic!("the first attempt") };
            call.handle(at(begin + 5), Input::finished(first.attempt, Verdict::Accept));
            assert!(matches!(call.poll(at(begin + 5)), Action::Done(_)));
        }
        let delay = adaptive.delay(at(20_000));
        let Some(delay) = delay.and_then(BackupDelay::delay) else { panic!("from {origin}: {delay:?}") };
        assert!((4_900..5_600).contains(&delay.as_micros()), "from {origin}: {delay:?}");
        assert_eq!(adaptive.delay(at(60_000)), Some(BackupDelay::OFF), "from {origin}: nothing ended for a window");
    }
}
