//! Compares the recorder with exact counts, with HdrHistogram, and with itself.

extern crate std;

mod clock;
mod many;

use fastrand::Rng;
use hdrhistogram::Histogram;
use std::string::ToString;
use std::vec::Vec;

use super::*;

/// The largest relative error of a quantile.
const ERROR: f64 = 0.06;

const ALL: [Quantile; 20] = Quantile::CDF;

fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn micros(span: Duration) -> u64 {
    Micros::from(span).as_micros()
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "latencies of a test")]
fn rounded(micros: f64) -> Duration {
    us(micros.round() as u64)
}

fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

fn lognormal(rng: &mut Rng, median: f64, deviation: f64) -> f64 {
    let (u, v) = (1.0 - rng.f64(), rng.f64());
    median * (deviation * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()).exp()
}

type Shape = fn(&mut Rng) -> f64;

/// Distributions of latencies, with their names.
const SHAPES: [(&str, Shape); 7] = [
    ("constant", |_| 10_417.0),
    ("uniform", |rng| 1.0 + 50_000.0 * rng.f64()),
    ("exponential", |rng| exponential(rng, 3_000.0)),
    ("lognormal", |rng| lognormal(rng, 2_000.0, 1.0)),
    ("Pareto", |rng| 500.0 / (1.0 - rng.f64()).powf(1.0 / 1.2)),
    ("two humps", |rng| if rng.f64() < 0.94 { lognormal(rng, 900.0, 0.1) } else { 50_000.0 + 150_000.0 * rng.f64() }),
    ("microseconds", |rng| 40.0 * rng.f64()),
];

fn recorder() -> LatencyRecorder {
    LatencyRecorder::default()
}

fn near(estimate: Option<Duration>, truth: Duration, error: f64, what: &str) {
    let (estimate, truth) = (estimate.unwrap().as_micros() as f64, truth.as_micros() as f64);
    assert!((estimate - truth).abs() <= error * truth, "{what}: {estimate} us, truly {truth} us");
}

#[test]
fn it_is_as_small_as_the_docs_say() {
    std::println!("LatencyRecorder: {} bytes, Snapshot: {}", size_of::<LatencyRecorder>(), size_of::<Snapshot>());
    assert!(size_of::<LatencyRecorder>() <= 1_976);
    assert!(size_of::<Snapshot>() <= 1_960);
}

#[test]
fn quantiles_count_mean_and_max_are_those_of_hdr_histogram() {
    for (seed, (name, shape)) in (0..).zip(SHAPES) {
        let (mut rng, recorder) = (Rng::with_seed(seed), recorder());
        let mut reference = Histogram::<u64>::new_with_bounds(1, 1 << 32, 4).unwrap();
        for sample in 0..20_000 {
            let latency = rounded(shape(&mut rng)).max(us(1));
            recorder.record(at(sample / 10), latency);
            reference.saturating_record(micros(latency));
        }
        let (now, snapshot) = (at(2_000), recorder.snapshot(at(2_000)));
        for quantile in ALL {
            let truth = us(reference.value_at_quantile(f64::from(quantile.ten_thousandths()) / 10_000.0));
            // The tolerance includes the error of HdrHistogram.
            near(snapshot.quantile(quantile), truth, ERROR + 0.000_1, &std::format!("{name} {quantile}"));
            assert_eq!(recorder.quantile(now, quantile), snapshot.quantile(quantile), "{name} {quantile}");
        }
        assert_eq!((snapshot.count(), snapshot.abandoned()), (reference.len(), 0), "{name}");
        near(Some(snapshot.max()), us(reference.max()), 0.000_1, name);
        near(snapshot.mean(), rounded(reference.mean()), 0.03, name);
        assert_eq!(snapshot.cdf().unwrap().map(|(quantile, _)| quantile), ALL);
    }
}

#[test]
fn merging_is_recording_everything_in_one() {
    let (mut rng, whole, parts) = (Rng::with_seed(11), recorder(), [recorder(), recorder(), recorder()]);
    for sample in 0..30_000 {
        let (now, span) = (at(sample / 10), rounded(lognormal(&mut rng, 5_000.0, 1.0)));
        for recorder in [&whole, &parts[rng.usize(..parts.len())]] {
            if sample % 7 == 0 { recorder.record_censored(now, span) } else { recorder.record(now, span) }
        }
    }
    let mut merged = Snapshot::new();
    assert_eq!((merged.mean(), merged.quantile(Quantile::P50), merged.cdf(), merged.qps()), (None, None, None, 0));
    parts.iter().for_each(|part| merged.merge(&part.snapshot(at(3_000))));
    assert_eq!(merged, whole.snapshot(at(3_000)));
    assert_eq!((merged.count(), merged.abandoned(), merged.qps()), (30_000, 4_286, 10_000));
}

#[test]
fn the_window_is_half_to_whole_and_nothing_older() {
    for window in [ms(1_000), ms(1_500), ms(10_000), Duration::from_secs(3_600)] {
        let of_window = LatencyWindow::new(window).unwrap();
        let recorder = LatencyRecorder::new(of_window, Quantile::P50);
        let (asked, kept) = (micros(window), micros(recorder.window()));
        assert!(asked.abs_diff(kept) * 32 <= asked, "{window:?} became {kept} us");
        assert!((32..=64).contains(&(kept / micros(recorder.slice()))));
        for start in (0..kept).step_by(usize::try_from(kept / 50).unwrap()) {
            let recorder = LatencyRecorder::new(of_window, Quantile::P50);
            let (start, step) = (Instant::from_micros(7 * kept + start), us(kept / 100));
            recorder.record(start, ms(5));
            let (mut now, mut seen) = (start, 1);
            while recorder.snapshot(now).max() == ms(5) {
                assert!(now.since(start) <= us(kept), "it has left the window");
                assert_eq!(recorder.snapshot(now).count(), seen);
                now = now + step;
                recorder.record(now, ms(1));
                seen += 1;
            }
            // The tolerance is a tenth of the window, since a sample may be anywhere in its slice, and the test
            // advances in steps.
            assert!(now.since(start) + us(kept / 10) >= us(kept / 2), "it left after {:?}", now.since(start));
        }
    }
}

#[test]
fn the_kept_quantile_is_looked_for_once_a_slice() {
    let recorder = recorder();
    assert_eq!(recorder.kept(), None);
    for sample in 0..1_000 {
        recorder.record(at(sample), ms(1 + sample % 100));
    }
    near(recorder.kept(), ms(95), ERROR, "kept");
    assert_eq!(recorder.kept(), recorder.quantile(at(1_000), Quantile::P95));
    recorder.record(at(1_001), ms(500));
    let kept = recorder.kept();
    (0..1_000).for_each(|_| recorder.record(at(1_001), ms(500)));
    assert_eq!(recorder.kept(), kept, "in the same slice");
    recorder.record(at(1_300), ms(500));
    near(recorder.kept(), ms(500), ERROR, "kept");
    recorder.record(at(100_000), ms(500));
    assert_eq!(recorder.kept(), None, "before this one there was nothing left");
}

/// Makes an attempt as a hedging client sees it. After `delay` a backup is sent. When one of the two wins, the other
/// one is abandoned. Returns the time and the kind of the first attempt's sample, and the first attempt's true latency.
fn first_attempts(rng: &mut Rng, shape: Shape, delay: f64) -> (f64, Sample, f64) {
    let (first, backup) = (shape(rng), delay + shape(rng));
    if first <= delay.max(backup) { (first, Sample::Answered, first) } else { (backup, Sample::Abandoned, first) }
}

#[test]
fn l13_what_was_abandoned_is_a_lower_bound_and_drags_no_quantile() {
    // The p95 is 15 ms, and every call that takes longer than 10 ms is hedged.
    let shape = |rng: &mut Rng| exponential(rng, 5_000.0);
    let (mut rng, kaplan_meier, dropped, as_latency) = (Rng::with_seed(5), recorder(), recorder(), recorder());
    let mut truth = Vec::new();
    for sample in 0..50_000 {
        let (span, seen, latency) = first_attempts(&mut rng, shape, 10_000.0);
        let (now, span) = (at(sample / 20), rounded(span));
        kaplan_meier.note(now, span.into(), seen);
        as_latency.record(now, span);
        if seen == Sample::Answered {
            dropped.record(now, span);
        }
        truth.push(rounded(latency));
    }
    truth.sort_unstable();
    let now = at(2_500);
    for (quantile, rank) in [(Quantile::P50, 25_000), (Quantile::new(9_000).unwrap(), 45_000), (Quantile::P95, 47_500)]
    {
        near(kaplan_meier.quantile(now, quantile), truth[rank], ERROR, &quantile.to_string());
    }
    let drift = |recorder: &LatencyRecorder| {
        recorder.quantile(now, Quantile::P95).unwrap().as_micros() as f64 / truth[47_500].as_micros() as f64
    };
    std::println!("p95 / true p95: {:.3}", drift(&kaplan_meier));
    std::println!("losers dropped: {:.3}, their age as a latency: {:.3}", drift(&dropped), drift(&as_latency));
    assert!(drift(&dropped) < 0.85 && drift(&as_latency) < 0.92, "the others drift");
    let snapshot = kaplan_meier.snapshot(now);
    assert_eq!(snapshot.count(), 50_000);
    near(snapshot.mean(), us(5_000), 0.03, "mean");
}

#[test]
fn l13_every_quantile_is_true_at_every_delay_that_leaves_something_to_see() {
    for (seed, (name, shape)) in (20..).zip(SHAPES.into_iter().skip(1)) {
        let mut truth: Vec<_> = (0..100_000)
            .map({
                let mut rng = Rng::with_seed(seed);
                move |_| rounded(shape(&mut rng))
            })
            .collect();
        truth.sort_unstable();
        for hedged_from in [5_000, 9_000, 9_500, 9_900] {
            let delay = truth[hedged_from * 10];
            let (mut rng, recorder) = (Rng::with_seed(seed + 100), recorder());
            for sample in 0..100_000 {
                let (span, seen, _) = first_attempts(&mut rng, shape, delay.as_micros() as f64);
                recorder.note(at(sample / 50), rounded(span).into(), seen);
            }
            for quantile in [1_000, 5_000, 9_000, 9_500].into_iter().filter(|quantile| *quantile <= hedged_from) {
                let what = std::format!("{name}, hedged from {hedged_from}, quantile {quantile}");
                let estimate = recorder.quantile(at(2_000), Quantile::new(u16::try_from(quantile).unwrap()).unwrap());
                // The tolerance is larger by 0.03, since two sets of 100,000 samples differ by that much.
                near(estimate, truth[quantile * 10].max(us(1)), ERROR + 0.03, &what);
            }
        }
    }
}

#[test]
fn what_hedging_would_do_is_what_it_does() {
    for (seed, (name, shape)) in (40..).zip(SHAPES.into_iter().skip(1).take(5)) {
        let (mut rng, recorder) = (Rng::with_seed(seed), recorder());
        let mut plain: Vec<_> = (0..100_000).map(|_| rounded(shape(&mut rng))).collect();
        plain.iter().zip(0..).for_each(|(latency, sample)| recorder.record(at(sample / 50), *latency));
        plain.sort_unstable();
        let snapshot = recorder.snapshot(at(2_000));
        for delay in [plain[50_000], plain[90_000], plain[95_000]] {
            let mut hedged: Vec<_> =
                (0..100_000).map(|_| rounded(shape(&mut rng)).min(delay + rounded(shape(&mut rng)))).collect();
            hedged.sort_unstable();
            let sent = plain.iter().filter(|latency| **latency > delay).count();
            for (quantile, rank) in [(Quantile::P50, 50_000), (Quantile::P95, 95_000), (Quantile::P99, 99_000)] {
                let told = snapshot.hedged(delay, quantile).unwrap();
                let what = std::format!("{name} {quantile}, backup after {delay:?}");
                near(Some(told.latency), hedged[rank], 0.1, &what);
                let off = f64::from(told.backups_ppm) / 1e6 - sent as f64 / 1e5;
                assert!(off.abs() <= 0.03, "{what}: {} ppm, truly {sent} of 100000", told.backups_ppm);
            }
        }
        let never = snapshot.hedged(Duration::MAX, Quantile::P99).unwrap();
        assert_eq!(never.backups_ppm, 0);
        near(Some(never.latency), plain[99_000], 0.1, name);
    }
    assert_eq!(Snapshot::new().hedged(ms(1), Quantile::P99), None);
}

#[test]
fn threads_lose_nothing() {
    const EACH: u64 = 100_000;
    let recorder = recorder();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || {
                let mut rng = Rng::with_seed(thread);
                for sample in 0..EACH {
                    // The samples take four seconds in all, which is less than half a window.
                    recorder.record(at(sample / 25), us(rng.u64(1..100_000)));
                    if sample % 1_000 == 0 {
                        assert!(recorder.snapshot(at(sample / 25)).count() <= 4 * EACH);
                    }
                }
            });
        }
    });
    let snapshot = recorder.snapshot(at(4_000));
    assert_eq!(snapshot.count(), 4 * EACH);
    near(snapshot.quantile(Quantile::P50), ms(50), ERROR, "p50");
}

#[test]
fn whoever_comes_during_the_upkeep_records_and_reads() {
    let recorder = recorder();
    recorder.record(at(0), ms(1));
    let done = recorder.upkeep.try_write(|| {
        // An interrupt could do this: it records in another slice, where the upkeep is due again.
        recorder.record(at(60_000), ms(2));
        (recorder.kept(), recorder.snapshot(at(0)).count())
    });
    assert_eq!(done, Some((None, 2)));
    recorder.record(at(60_000), ms(3));
    assert_eq!(recorder.snapshot(at(60_000)).count(), 1, "the next one sees to it");
}

#[cfg(feature = "serde")]
#[test]
fn a_snapshot_is_written_out_as_what_it_tells() {
    let recorder = recorder();
    (0..100).for_each(|sample| recorder.record(at(20 * sample), us(10)));
    let text = serde_json::to_string(&recorder.snapshot(at(2_000))).unwrap();
    assert!(text.starts_with(r#"{"span_us":2000000,"count":100,"abandoned":0,"qps":50,"mean_us":10,"#), "{text}");
    assert!(text.contains(r#""max_us":10,"cdf_us":[[1000,10],[2000,10],"#), "{text}");
    let hedged = serde_json::to_string(&recorder.snapshot(at(2_000)).hedged(us(5), Quantile::P95)).unwrap();
    assert_eq!(hedged, r#"{"delay_us":5,"backups_ppm":1000000,"quantile":9500,"latency_us":10}"#);
    assert!(serde_json::from_str::<Quantile>("10001").is_err());
}
