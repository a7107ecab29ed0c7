//! Tests of pauses, and of clocks that are set back or forward.

use super::*;
use crate::bounded::BoundedSpan;

fn before(now: Instant, back: Duration) -> Instant {
    Instant::from_micros(now.as_micros() - micros(back))
}

#[test]
fn a_pause_of_any_length_is_forgotten_over() {
    let window = micros(recorder().window());
    let round = micros(recorder().slice()) << 32;
    for pause in [window, window + 1, 3 * window, round, round + window / 3, 5 * round, u64::MAX - window] {
        let recorder = recorder();
        let (start, later) = (at(3_000), at(3_000) + us(pause));
        recorder.record(start, ms(50));
        assert_eq!(recorder.snapshot(later).count(), 0, "asking forgets too, after {pause} us");
        assert_eq!(recorder.quantile(later, Quantile::P50), None, "after {pause} us");
        assert!(!recorder.is_stale(start));
        // A round is 2^32 slices. After a pause of whole rounds, the lower 32 bits of the slice are the same as before.
        // So the recorder does not notice the pause before the next slice.
        assert_eq!(recorder.is_stale(later), pause % round >= window, "after {pause} us");
        let noticed = if pause % round == 0 { later + recorder.slice() } else { later };
        recorder.record(noticed, ms(1));
        let snapshot = recorder.snapshot(noticed);
        assert_eq!((snapshot.count(), snapshot.max()), (1, ms(1)), "after {pause} us");
        assert!(!recorder.is_stale(noticed));
    }
}

#[test]
fn an_instant_less_than_a_window_back_counts_as_the_latest_seen() {
    let recorder = recorder();
    let (slice, window) = (recorder.slice(), recorder.window());
    let latest = at(100_000);
    recorder.record(latest, ms(50));
    for back in [us(1), slice, ms(1_000), ms(5_000), window - slice] {
        recorder.record(before(latest, back), ms(50));
        assert!(!recorder.is_stale(before(latest, back)));
        assert_eq!(recorder.snapshot(before(latest, back)).count(), recorder.snapshot(latest).count(), "{back:?}");
    }
    assert_eq!(recorder.snapshot(latest).count(), 6);
    recorder.record(at(101_000), ms(50));
    assert_eq!(recorder.snapshot(at(101_000)).count(), 7);
    assert_eq!(recorder.snapshot(at(111_000)).count(), 0);
}

#[test]
fn a_clock_set_back_by_a_window_or_more_is_a_pause() {
    let latest = Instant::from_micros(u64::MAX / 2);
    let (window, slice) = (recorder().window(), recorder().slice());
    let round = us(micros(slice) << 32);
    for back in [window, window + slice, ms(3_600_000), round + window, us(u64::MAX / 3)] {
        let recorder = recorder();
        recorder.record(latest, ms(50));
        recorder.record(latest + slice, ms(50));
        assert!(recorder.kept().is_some());
        let now = before(latest, back);
        assert!(recorder.is_stale(now), "{back:?}");
        assert_eq!(recorder.snapshot(now).count(), 0, "asking forgets too: {back:?}");
        recorder.record(now, ms(1));
        let snapshot = recorder.snapshot(now);
        assert_eq!((snapshot.count(), snapshot.max(), recorder.kept()), (1, ms(1), None), "{back:?}");
        // From the new reading on, the recorder works as usual.
        recorder.record(now + slice, ms(1));
        near(recorder.kept(), ms(1), ERROR, "kept");
        assert_eq!(recorder.snapshot(now + slice).count(), 2);
        assert!(recorder.snapshot(now + window).count() < 2 && !recorder.is_stale(now + slice));
    }
}

#[test]
fn one_wrong_instant_costs_a_window_and_no_more() {
    for ahead in [ms(10_000), ms(3_600_000), us(u64::MAX / 3), Duration::MAX] {
        let recorder = recorder();
        (0..100).for_each(|sample| recorder.record(at(1_000 + sample * 10), ms(5)));
        assert!(recorder.kept().is_some());
        recorder.record(at(2_000) + ahead, ms(5));
        (0..100).for_each(|sample| recorder.record(at(2_000 + sample * 10), ms(7)));
        near(recorder.kept(), ms(7), ERROR, "a second later");
        let snapshot = recorder.snapshot(at(3_000));
        assert_eq!((snapshot.count(), snapshot.max()), (100, ms(7)), "{ahead:?} ahead");
        assert!(snapshot.span() <= ms(1_200), "{:?}", snapshot.span());
    }
}

#[test]
fn the_span_and_the_rate_are_right_whichever_half_is_recorded_into() {
    let recorder = LatencyRecorder::new(BoundedSpan::of_secs::<1>(), Quantile::P50);
    let half = micros(recorder.window()) / 2;
    let slice = micros(recorder.slice());
    // One sample is recorded in each millisecond, for four windows.
    for sample in 0..8 * half / 1_000 {
        let now = us(sample * 1_000);
        recorder.record(Instant::ZERO + now, ms(1));
        let snapshot = recorder.snapshot(Instant::ZERO + now);
        let covered = if now < us(half) { micros(now.max(us(slice))) } else { half + micros(now) % half };
        assert_eq!(snapshot.span(), us(covered), "at {now:?}");
        assert!(now < us(half) || (995..=1_005).contains(&snapshot.qps()), "{} at {now:?}", snapshot.qps());
    }
}

#[test]
fn the_first_samples_are_no_flood() {
    let recorder = recorder();
    assert_eq!(recorder.snapshot(at(0)).qps(), 0);
    // A slice is 262 ms.
    let start = Instant::from_micros(micros(recorder.slice()) * 1_000);
    recorder.record(start + us(1), ms(1));
    for later in [us(1), us(2), ms(200)] {
        let snapshot = recorder.snapshot(start + later);
        assert_eq!((snapshot.qps(), snapshot.span()), (3, recorder.slice()), "{later:?} on");
    }
    assert_eq!(recorder.snapshot(start + ms(500)).qps(), 2);
}
