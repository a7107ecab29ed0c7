//! A copy of a recorder's window: [`Snapshot`].

mod within;

pub use within::Within;

use super::Quantile;
use super::estimate::{Cell, ProductLimit, bucket_at};
use super::grid::{self, BUCKETS};
use crate::time::{Duration, Micros};

/// The share 1 in the units of a [`Curve`].
const ONE: u32 = 1 << 31;

/// The latencies of a window as plain numbers. They can be read, merged with other snapshots, and written to a file or
/// a page.
///
/// The latencies are estimated as if no attempt had been abandoned, within 6 % (see the [module](super)). A snapshot
/// takes 2 KB, and each method that computes a result goes through all of it. So do not use a snapshot in every call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// For each bucket, the count of answers and the count of abandoned attempts. A count of one stands for 2^`scale`
    /// samples.
    cells: [[u32; 2]; BUCKETS],
    scale: u8,
    answered: u64,
    abandoned: u64,
    max: Micros,
    span: Micros,
}

impl Snapshot {
    /// Makes an empty snapshot, into which others can be merged.
    #[must_use]
    pub const fn new() -> Self {
        Self { cells: [[0; 2]; BUCKETS], scale: 0, answered: 0, abandoned: 0, max: Micros::ZERO, span: Micros::ZERO }
    }

    /// Adds the snapshot `other` of another recorder. Both snapshots should cover about the same time. All samples have
    /// the same weight, even if one snapshot has many more samples than the other (up to 2^40 per bucket).
    pub fn merge(&mut self, other: &Self) {
        self.add(other.cells());
        self.count_in([other.answered, other.abandoned], other.max);
        self.cover(other.span);
    }

    /// Returns how many attempts were recorded. Abandoned attempts count too.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.answered.saturating_add(self.abandoned)
    }

    /// Returns how many attempts were abandoned.
    #[must_use]
    pub const fn abandoned(&self) -> u64 {
        self.abandoned
    }

    /// Returns the longest latency of an answered attempt, at most 71 minutes. This value is exact.
    #[must_use]
    pub const fn max(&self) -> Duration {
        self.max.to_duration()
    }

    /// Returns how much time the snapshot covers. Usually this is between half of the window and the whole window.
    /// After a start or a pause it is less, but at least a [slice](super::LatencyRecorder::slice). A merged snapshot
    /// has the longest span of its parts. The span is zero if no snapshot was merged, or if all samples have left the
    /// window.
    #[must_use]
    pub const fn span(&self) -> Duration {
        self.span.to_duration()
    }

    /// Returns the attempts per second over the [`span`](Self::span), rounded down. The span is at least a slice, so
    /// the first attempts after a start or a pause do not look like a very high rate.
    #[must_use]
    pub const fn qps(&self) -> u64 {
        match self.count().saturating_mul(1_000_000).checked_div(self.span.as_micros()) {
            Some(qps) => qps,
            None => 0,
        }
    }

    /// Returns the mean latency. Returns `None` if there are no samples.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let curve = self.curve()?;
        // The loop adds twice each middle, since middles are not always whole numbers.
        let sum = (0..BUCKETS).fold(0_u64, |sum, bucket| {
            let share = u64::from(curve.from(bucket).saturating_sub(curve.beyond(bucket)));
            sum.saturating_add(share.saturating_mul(2 * grid::begin(bucket) + grid::width(bucket) - 1))
        });
        Some(Duration::from_micros(sum.saturating_add(ONE.into()) / u64::from(ONE) / 2))
    }

    /// Returns a quantile of the latencies: the middle of the bucket that contains the quantile. Returns `None` if
    /// there are no samples. If that part of the distribution has only abandoned attempts, the result is the middle of
    /// the bucket of the longest age among them. The true quantile is at least that age.
    #[must_use]
    pub fn quantile(&self, quantile: Quantile) -> Option<Duration> {
        bucket_at(self.cells(), quantile).map(|bucket| grid::middle(bucket).to_duration())
    }

    /// Returns the distribution: the 10th to 90th percentile in steps of ten, the 91st to 99th in steps of one, the
    /// 99.9th and the 99.99th. Returns `None` if there are no samples.
    #[must_use]
    pub fn cdf(&self) -> Option<[(Quantile, Duration); 20]> {
        // This returns early only if there is no quantile at all: if one quantile exists, all exist.
        let median = self.quantile(Quantile::P50)?;
        Some(Quantile::CDF.map(|quantile| (quantile, self.quantile(quantile).unwrap_or(median))))
    }

    /// Estimates the effect of a backup after `delay`: how many calls would send a backup, and the latency at
    /// `quantile`. The assumption is that the backup's latency is an independent draw from this distribution. The
    /// result is right within 10 %, since the delay may be anywhere in its bucket. Returns `None` if there are no
    /// samples.
    #[must_use]
    pub fn hedged(&self, delay: Duration, quantile: Quantile) -> Option<Hedged> {
        let curve = self.curve()?;
        let wait = Micros::from_duration(delay);
        // Let L be the first attempt's latency, L' the backup's, and d the delay. The probability that neither has
        // answered by t is P(min(L, d + L') > t) = P(L > t) P(L' > t - d).
        let unanswered = |time: Micros| {
            let backup = if time < wait { ONE } else { curve.longer(time - wait) };
            (u64::from(curve.longer(time)) * u64::from(backup)) >> ONE.trailing_zeros()
        };
        let wanted =
            u64::from(Quantile::WHOLE - quantile.ten_thousandths()) * u64::from(ONE) / u64::from(Quantile::WHOLE);
        let (mut from, mut to) = (0, u64::from(u32::MAX));
        while from < to {
            let middle = from + (to - from) / 2;
            if unanswered(Micros::from_micros(middle)) <= wanted {
                to = middle;
            } else {
                from = middle + 1;
            }
        }
        let backups_ppm = (u64::from(curve.longer(wait)) * 1_000_000) >> ONE.trailing_zeros();
        Some(Hedged {
            delay,
            backups_ppm: u32::try_from(backups_ppm).unwrap_or(u32::MAX),
            quantile,
            latency: Duration::from_micros(to),
        })
    }

    /// Adds the counts of buckets. If a sum does not fit into its word, all counts are halved until every sum fits.
    pub(super) fn add(&mut self, cells: impl Iterator<Item = Cell> + Clone) {
        let sums = self.cells().zip(cells.clone()).map(|(held, cell)| held.plus(cell));
        let most = sums.map(|cell| cell.answered.max(cell.abandoned)).max().unwrap_or(0);
        let (before, after) = (self.scale, (32_u8..64).find(|bits| most >> bits == 0).map_or(0, |bits| bits - 32));
        self.scale = before.max(after);
        // The bits that the shift drops are less than 2^-23 of the count that did not fit.
        for (held, cell) in self.cells.iter_mut().zip(cells) {
            let sum = widened(*held, before).plus(cell);
            *held = [sum.answered, sum.abandoned].map(|sum| u32::try_from(sum >> self.scale).unwrap_or(u32::MAX));
        }
    }

    /// Makes the snapshot cover at least the time `span`.
    pub(super) fn cover(&mut self, span: Micros) {
        self.span = self.span.max(span);
    }

    /// Adds the exact numbers of answered and of abandoned attempts, and the longest latency of an answer. The buckets
    /// do not contain these numbers.
    pub(super) fn count_in(&mut self, [answered, abandoned]: [u64; 2], max: Micros) {
        self.answered = self.answered.saturating_add(answered);
        self.abandoned = self.abandoned.saturating_add(abandoned);
        self.max = self.max.max(max);
    }

    fn cells(&self) -> impl Iterator<Item = Cell> + Clone {
        let scale = self.scale;
        self.cells.iter().map(move |held| widened(*held, scale))
    }

    fn curve(&self) -> Option<Curve> {
        let mut estimate = ProductLimit::of(self.cells())?;
        Some(Curve(self.cells.map(|held| {
            let passed = estimate.pass(widened(held, self.scale));
            estimate.left(passed)
        })))
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the numbers of samples that the two counts of a bucket stand for.
fn widened([answered, abandoned]: [u32; 2], scale: u8) -> Cell {
    Cell { answered: u64::from(answered) << scale, abandoned: u64::from(abandoned) << scale }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Snapshot {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut snapshot = serializer.serialize_struct("Snapshot", 7)?;
        snapshot.serialize_field("span_us", &self.span.as_micros())?;
        snapshot.serialize_field("count", &self.count())?;
        snapshot.serialize_field("abandoned", &self.abandoned)?;
        snapshot.serialize_field("qps", &self.qps())?;
        snapshot.serialize_field("mean_us", &self.mean().map(in_micros))?;
        snapshot.serialize_field("max_us", &self.max.as_micros())?;
        let cdf = self.cdf().map(|cdf| cdf.map(|(quantile, latency)| (quantile, in_micros(latency))));
        snapshot.serialize_field("cdf_us", &cdf)?;
        snapshot.end()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Snapshot {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Snapshot {{ span: {}, count: {}, abandoned: {}, qps: {}, mean: {}, max: {}, p50: {}, p95: {}, p99: {} }}",
            self.span,
            self.count(),
            self.abandoned,
            self.qps(),
            self.mean().map(Micros::from_duration),
            self.max,
            self.quantile(Quantile::P50).map(Micros::from_duration),
            self.quantile(Quantile::P95).map(Micros::from_duration),
            self.quantile(Quantile::P99).map(Micros::from_duration),
        );
    }
}

/// The estimated effect of backups. [`Snapshot::hedged`] returns this type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Hedged {
    /// The delay of the backups.
    #[cfg_attr(feature = "serde", serde(rename = "delay_us", serialize_with = "micros"))]
    pub delay: Duration,
    /// How many of a million calls would send a backup.
    pub backups_ppm: u32,
    /// The quantile that the caller asked for.
    pub quantile: Quantile,
    /// The latency at `quantile` if backups are sent.
    #[cfg_attr(feature = "serde", serde(rename = "latency_us", serialize_with = "micros"))]
    pub latency: Duration,
}

#[cfg(feature = "serde")]
const fn in_micros(duration: Duration) -> u64 {
    Micros::from_duration(duration).as_micros()
}

#[cfg(feature = "serde")]
fn micros<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(in_micros(*duration))
}

/// For each bucket, the share of latencies beyond this bucket, in units of 2^-31.
struct Curve([u32; BUCKETS]);

impl Curve {
    /// Returns the share of latencies in this bucket or beyond it.
    fn from(&self, bucket: usize) -> u32 {
        bucket.checked_sub(1).map_or(ONE, |before| self.beyond(before))
    }

    /// Returns the share of latencies beyond this bucket.
    fn beyond(&self, bucket: usize) -> u32 {
        self.0.get(bucket).copied().unwrap_or(0)
    }

    /// Returns the share of latencies that are longer than `than`. The latencies of a bucket count as evenly spread
    /// over the bucket.
    fn longer(&self, than: Micros) -> u32 {
        let bucket = grid::bucket_of(than);
        let (beyond, width) = (self.beyond(bucket), grid::width(bucket));
        let rest = grid::end(bucket) - than - Micros::from_micros(1);
        let held = u64::from(self.from(bucket).saturating_sub(beyond));
        let longer = (held * rest.as_micros()).checked_div(width).unwrap_or(0);
        beyond.saturating_add(u32::try_from(longer).unwrap_or(u32::MAX))
    }
}
