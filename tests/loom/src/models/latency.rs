//! What a recorder shares: its halves, its sequence lock, and whose the upkeep is.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::AtomicUsize;

use hedge_core::time::{Duration, Instant, Micros};
use loom::sync::Arc;

use crate::atomic::{AtomicU32, Ordering};
use crate::bounded::BoundedSpan;
use crate::check::{check, check_walks, together};
use crate::latency::half::{Half, Sample};
use crate::latency::seq_lock::SeqLock;
use crate::latency::{LatencyRecorder, Quantile};

pub(super) fn all() {
    sequence_locks();
    samples();
    readers();
    halvings();
}

const MS: Duration = Duration::from_millis(1);

// ---- sequence locks ----

/// Two words that are only ever changed together.
#[derive(Debug)]
struct Pair {
    lock: SeqLock,
    words: [AtomicU32; 2],
}

impl Pair {
    fn new() -> Arc<Self> {
        Arc::new(Self { lock: SeqLock::new(), words: [AtomicU32::new(0), AtomicU32::new(0)] })
    }

    fn change(&self) -> u32 {
        let changed = self.lock.try_write(|| {
            let [first, second] = &self.words;
            let before = first.load(Ordering::Relaxed);
            assert_eq!(second.load(Ordering::Relaxed), before, "who may change them sees all that was changed");
            for word in &self.words {
                word.store(before + 1, Ordering::Relaxed);
            }
        });
        u32::from(changed.is_some())
    }

    /// What both are, unless it has seen them being changed for the third time.
    fn read(&self) -> u32 {
        let looks = Cell::new(0);
        let [first, second] = self.lock.read(|| {
            looks.set(looks.get() + 1);
            self.words.each_ref().map(|word| word.load(Ordering::Relaxed))
        });
        assert!(first == second || looks.get() == 3, "{first} and {second}, at look {}", looks.get());
        0
    }
}

fn sequence_locks() {
    check("seqlock: of two who want to change something one does, or one after the other", || {
        let pair = Pair::new();
        let changed: u32 = together(&pair, [Pair::change, Pair::change]).into_iter().sum();
        assert!([1, 2].contains(&changed));
        assert_eq!(pair.words.each_ref().map(|word| word.load(Ordering::Relaxed)), [changed; 2]);
    });
    check("seqlock: who reads sees all of a change or nothing of it", || {
        let pair = Pair::new();
        together(&pair, [Pair::change, Pair::read]);
        pair.read();
    });
}

// ---- recorders ----

/// A recorder over a second, in halves of 31 slices, that has been used before, and has one sample in its first slice.
fn recorder() -> Arc<LatencyRecorder> {
    let recorder = LatencyRecorder::new(BoundedSpan::of_secs::<1>(), Quantile::P95);
    assert_eq!(micros(recorder.window()), micros(recorder.slice()) * 62);
    // After a pause the halves take turns: both are made, and neither holds anything of before.
    recorder.record(Instant::from_micros(micros(recorder.slice()) * 100), MS);
    recorder.record(recorder.at(1), MS);
    assert_eq!((recorder.held(1), recorder.kept()), (1, None), "the upkeep comes before the sample");
    Arc::new(recorder)
}

/// As precisely as a bucket tells.
fn micros(span: Duration) -> u64 {
    Micros::from(span).as_micros()
}

fn is_a_millisecond(kept: Duration) -> bool {
    kept.as_micros().abs_diff(1_000) <= 60
}

impl LatencyRecorder {
    fn at(&self, slice: u64) -> Instant {
        Instant::from_micros(micros(self.slice()) * (200 + slice))
    }

    fn held(&self, slice: u64) -> u64 {
        self.snapshot(self.at(slice)).count()
    }

    fn one(&self, slice: u64) -> u64 {
        self.record(self.at(slice), MS);
        0
    }
}

fn samples() {
    check_walks("latency: no sample is lost when a slice begins, and one of two does the upkeep", || {
        let recorder = recorder();
        together(&recorder, [|recorder| recorder.one(2), |recorder| recorder.one(2)]);
        assert_eq!(recorder.held(2), 3);
        assert!(recorder.kept().is_some_and(is_a_millisecond));
    });
    check_walks("latency: no sample is lost when the halves take turns", || {
        let recorder = recorder();
        together(&recorder, [|recorder| recorder.one(35), |recorder| recorder.one(35)]);
        assert_eq!(recorder.held(35), 3);
        assert!(recorder.kept().is_some_and(is_a_millisecond));
    });
    check_walks("latency: after a pause of a window its past is gone, and whoever does the upkeep is counted", || {
        let recorder = recorder();
        together(&recorder, [|recorder| recorder.one(100), |recorder| recorder.one(100)]);
        // Who comes while the past is forgotten may be forgotten with it.
        assert!([1, 2].contains(&recorder.held(100)));
    });
    check_walks("latency: who records into a half that was cleared finds it clear", || {
        let recorder = recorder();
        recorder.record(recorder.at(1), Duration::from_millis(5));
        recorder.one(35);
        // The half of the first two samples is used again, and no 5 ms are left in it to keep the longest out.
        let longest = |recorder: &LatencyRecorder| {
            recorder.record(recorder.at(66), Duration::from_millis(2));
            0
        };
        together(&recorder, [|recorder| recorder.one(66), longest]);
        assert_eq!(recorder.snapshot(recorder.at(66)).max(), Duration::from_millis(2));
    });
}

/// In how many halves whoever looked has found something, and how often.
static TOLD: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

fn readers() {
    check_walks("latency: who asks for the delay while the halves take turns is told what it was or is", || {
        let recorder = recorder();
        recorder.record(recorder.at(2), MS);
        let asks = |recorder: &LatencyRecorder| {
            assert!(recorder.kept().is_some_and(is_a_millisecond) && !recorder.is_stale(recorder.at(35)));
            0
        };
        together(&recorder, [asks, |recorder| recorder.one(35)]);
        assert_eq!(recorder.held(35), 3);
    });
    check_walks("latency: whoever looks while the halves take turns finds what was recorded, in one of them", || {
        let recorder = recorder();
        let asks = |recorder: &LatencyRecorder| {
            recorder.alive(recorder.at(35)).halves().filter(|half| half.max() == Micros::from(MS)).count()
        };
        let turns = |recorder: &LatencyRecorder| {
            recorder.one(35);
            1
        };
        // Who changes something comes first, so that loom knows of it when another looks.
        let held = together(&recorder, [asks, turns])[0];
        TOLD[held].fetch_add(1, Ordering::Relaxed);
    });
    let [nothing, one, both] = TOLD.each_ref().map(|told| told.load(Ordering::Relaxed));
    assert!(nothing == 0 && one > 0 && both > 0, "{nothing}, {one}, {both}");
}

// ---- halving ----

/// A half with two samples of a bucket, and one of another.
struct FilledHalf(Half);

impl fmt::Debug for FilledHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.counts().fmt(f)
    }
}

impl FilledHalf {
    fn new() -> Arc<Self> {
        let half = Self(Half::NEW);
        for (span, sample) in
            [(MS.into(), Sample::Answered), (MS.into(), Sample::Answered), (Micros::ZERO, Sample::Abandoned)]
        {
            half.0.add(span, sample);
        }
        assert_eq!(half.0.counts(), [2, 1]);
        Arc::new(half)
    }

    fn one(&self, sample: Sample) {
        self.0.add(MS.into(), sample);
    }
}

fn halvings() {
    check_walks("latency: every sample is counted, whenever room is made", || {
        let half = FilledHalf::new();
        let records = |half: &FilledHalf| (0..2).for_each(|_| half.one(Sample::Answered));
        together(&half, [|half| half.0.halve_counts(), records, |half| half.one(Sample::Abandoned)]);
        assert_eq!(half.0.counts(), [4, 2]);
        half.0.halve_counts();
        assert_eq!(half.0.counts(), [4, 2]);
    });
}
