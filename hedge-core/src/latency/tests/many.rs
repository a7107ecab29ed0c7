//! Tests of more samples than the buckets can count.

use super::*;

/// Latencies in the order of their recording. Each entry is a number of samples and their common latency.
type Runs<'a> = &'a [(u64, Duration)];

/// Returns the exact mean, and the exact quantiles of [`ALL`].
fn truth(runs: Runs<'_>) -> (Duration, [Duration; ALL.len()]) {
    let mut sorted = runs.to_vec();
    sorted.sort_unstable_by_key(|(_, latency)| *latency);
    let all: u64 = sorted.iter().map(|(count, _)| count).sum();
    let sum: u64 = sorted.iter().map(|(count, latency)| count * micros(*latency)).sum();
    let quantiles = ALL.map(|quantile| {
        let mut rank = (all * u64::from(quantile.ten_thousandths())).div_ceil(10_000);
        let found = sorted.iter().find(|(count, _)| {
            let here = rank <= *count;
            rank = rank.saturating_sub(*count);
            here
        });
        found.unwrap().1
    });
    (us(sum / all), quantiles)
}

fn is_true(snapshot: &Snapshot, runs: Runs<'_>, what: &str) {
    let (mean, quantiles) = truth(runs);
    for (quantile, truth) in ALL.into_iter().zip(quantiles) {
        near(snapshot.quantile(quantile), truth, ERROR, &std::format!("{what} {quantile}"));
    }
    near(snapshot.mean(), mean, ERROR, what);
    assert_eq!(snapshot.count(), runs.iter().map(|(count, _)| count).sum::<u64>(), "{what}");
}

/// Records runs one after another, with `rate` samples a second. Returns the instant of the end.
fn record(recorder: &LatencyRecorder, rate: u64, runs: Runs<'_>) -> Instant {
    let mut now = Instant::ZERO;
    for (count, latency) in runs {
        for _ in 0..*count {
            recorder.record(now, *latency);
            now = now + us(1_000_000 / rate);
        }
    }
    now
}

#[test]
fn a_tail_of_ones_survives_halving() {
    let recorder = recorder();
    // There are 1000 samples in the tail, and only a few of them in each bucket at a time. The counts are halved four
    // times, so about 62 of these samples are left.
    for sample in 0..1_000_000 {
        recorder.record(at(0), if sample % 1_000 == 7 { us(1 << (17 + (sample / 1_000) % 12)) } else { us(900) });
        if sample % 10 == 0 {
            recorder.record_censored(at(0), us(800));
        }
    }
    let snapshot = recorder.snapshot(at(0));
    assert_eq!((snapshot.count(), snapshot.abandoned()), (1_100_000, 100_000));
    near(snapshot.quantile(Quantile::P50), us(900), ERROR, "p50");
    near(snapshot.quantile(Quantile::new(9_995).unwrap()), us(1 << 23), 1.0, "p99.95");
    let beyond = snapshot.hedged(ms(1), Quantile::P50).unwrap().backups_ppm;
    assert!((750..=1_250).contains(&beyond), "{beyond} ppm");
}

#[test]
fn recorders_that_have_seen_more_and_less_are_merged_by_how_much() {
    for (many, few) in [(1_000_000, 100_000), (140_000, 500_000), (400_000, 2_000)] {
        let (runs, whole) = ([(many, us(900)), (few, ms(10))], recorder());
        let parts = runs.map(|run| {
            let recorder = recorder();
            record(&recorder, 1_000_000, &[run]);
            recorder.snapshot(at(0))
        });
        for [first, second] in [[0, 1], [1, 0]] {
            let mut merged = parts[first].clone();
            merged.merge(&parts[second]);
            is_true(&merged, &runs, "merged");
        }
        let now = record(&whole, 1_000_000, &runs);
        is_true(&whole.snapshot(now), &runs, "one after the other");
    }
}

#[test]
fn a_change_is_seen_when_it_comes_whatever_was_before() {
    // Both runs are in one half of the window: four seconds, then 0.8 seconds.
    let (runs, recorder) = ([(500_000, us(900)), (100_000, ms(10))], recorder());
    let now = record(&recorder, 125_000, &runs);
    is_true(&recorder.snapshot(now), &runs, "in one half");
    assert_eq!(recorder.quantile(now, Quantile::new(6_000).unwrap()), recorder.quantile(now, Quantile::P50));
}

#[test]
fn halves_of_different_weight_are_one_window() {
    // Half a window is 4.98 s here. The first run fills one half, and the second run the next.
    for (rates, what) in [([200, 20], "full, then sparse"), ([20, 200], "sparse, then full")] {
        let recorder = recorder();
        let half = recorder.window().as_micros() / 2;
        let (mut now, mut last) = (Instant::ZERO, Instant::ZERO);
        let runs = [(rates[0], us(900)), (rates[1], ms(10))].map(|(per_milli, latency)| {
            let mut count = 0;
            for _ in 0..half / 1_000 {
                (0..per_milli).for_each(|_| recorder.record(now, latency));
                count += per_milli;
                last = now;
                now = now + ms(1);
            }
            (count, latency)
        });
        is_true(&recorder.snapshot(last), &runs, what);
        // The kept quantile does not include the latest slices, but these change no rank here.
        near(recorder.kept(), truth(&runs).1[13], ERROR, what);
    }
}

#[test]
fn l13_many_that_were_abandoned_weigh_what_they_did() {
    // The product limit, computed by hand. A quarter of all samples are answers at 1 ms. Half of the others are
    // abandoned at 2 ms. So the answers at 10 ms stand for three quarters of all samples.
    for abandoned in [1_000, 100_000, 400_000] {
        let (recorder, mut count) = (recorder(), 0);
        let mut note = |sample, latency, times: u64| {
            (0..times).for_each(|_| {
                recorder.note(at(count / 1_000), Micros::from(latency), sample);
                count += 1;
            });
        };
        note(Sample::Answered, ms(1), abandoned * 2 / 3);
        note(Sample::Abandoned, ms(2), abandoned);
        note(Sample::Answered, ms(10), abandoned);
        let snapshot = recorder.snapshot(at(count / 1_000));
        assert_eq!((snapshot.count(), snapshot.abandoned()), (count, abandoned));
        for (ten_thousandths, truth) in [(2_400, ms(1)), (2_600, ms(10)), (9_900, ms(10))] {
            near(snapshot.quantile(Quantile::new(ten_thousandths).unwrap()), truth, ERROR, "quantile");
        }
        near(snapshot.mean(), us(7_750), ERROR, "mean");
    }
}

#[test]
fn merging_goes_on_when_counts_outgrow_their_words() {
    let parts = [(1_000_000, us(900)), (1_000, ms(10)), (3, ms(80)), (4, ms(160))].map(|run| {
        let recorder = recorder();
        record(&recorder, 1_000_000, &[run]);
        recorder.snapshot(at(0))
    });
    let mut merged = Snapshot::new();
    parts.iter().for_each(|part| merged.merge(part));
    // After 20 doublings there are 10^12 answers in one bucket.
    for doubled in 1..=20 {
        let same = merged.clone();
        merged.merge(&same);
        assert_eq!(merged.count(), 1_001_007 << doubled);
        near(merged.quantile(Quantile::P99), us(900), ERROR, "p99");
        near(merged.mean(), us(909), ERROR, "mean");
        let beyond = merged.hedged(ms(5), Quantile::P50).unwrap().backups_ppm;
        assert!((1_000..=1_010).contains(&beyond), "{beyond} ppm");
    }
    // Now one bucket is full. Further merges must not make its count wrap.
    for _ in 0..30 {
        let same = merged.clone();
        merged.merge(&same);
    }
    assert_eq!((merged.count(), merged.max()), (u64::MAX, ms(160)));
    near(merged.quantile(Quantile::new(0).unwrap()), us(900), ERROR, "the shortest");
}
