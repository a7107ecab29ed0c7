//! Estimates whether one more attempt would answer in time: [`Snapshot::within`].

use super::{ONE, Snapshot};
use crate::latency::grid::{self, BUCKETS};
use crate::time::{Duration, Micros};

/// The estimated result of one more attempt that has a given time to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Within {
    /// How many of a million such attempts would answer within the given time.
    pub ppm: u32,
    /// How much of the given time would be left when the attempt answers, on average. The time left counts as 0 for an
    /// attempt that answers too late.
    pub left: Duration,
}

/// The same estimate as [`Within`], with the time left in microseconds.
pub(crate) struct WithinMicros {
    pub(crate) ppm: u32,
    pub(crate) left_us: u64,
}

impl Snapshot {
    /// Returns how likely it is that one more attempt answers within `time`, and how much of `time` would be left then.
    /// The assumption is that the latency of the attempt follows this distribution. Returns `None` if there are no
    /// samples.
    #[must_use]
    pub fn within(&self, time: Duration) -> Option<Within> {
        let WithinMicros { ppm, left_us } = self.within_micros(time.into())?;
        Some(Within { ppm, left: Duration::from_micros(left_us) })
    }

    pub(crate) fn within_micros(&self, time: Micros) -> Option<WithinMicros> {
        let curve = self.curve()?;
        let last = grid::bucket_of(time);
        let share = |longer: u32, beyond: u32| u64::from(longer.saturating_sub(beyond));
        // All latencies of a bucket count as the middle of the bucket. In the last bucket only the part before `time`
        // counts, and its latencies count as the middle of that part.
        let whole = (0..last.min(BUCKETS)).fold(0_u64, |sum, bucket| {
            let left = time.as_micros().saturating_sub(grid::middle(bucket).as_micros());
            sum.saturating_add(share(curve.from(bucket), curve.beyond(bucket)).saturating_mul(left))
        });
        let longer = curve.longer(time);
        let part = share(curve.from(last), longer) * (time.as_micros().saturating_sub(grid::begin(last)) / 2);
        Some(WithinMicros {
            ppm: u32::try_from((share(ONE, longer) * 1_000_000) >> ONE.trailing_zeros()).unwrap_or(u32::MAX),
            left_us: whole.saturating_add(part) >> ONE.trailing_zeros(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::LatencyRecorder;
    use crate::time::Instant;

    #[test]
    fn l13_another_attempt_is_as_quick_as_those_that_were_seen() {
        let recorder = LatencyRecorder::default();
        let ms = Duration::from_millis;
        assert_eq!(recorder.snapshot(Instant::ZERO).within(ms(5)), None);
        (1..=1_000).for_each(|tenth| recorder.record(Instant::from_millis(500), Duration::from_micros(100 * tenth)));
        // Latencies are uniform from 0 to 100 ms. So the share t/100 of the attempts answers within t ms. At their
        // answers, t/2 ms are left on average; the other attempts leave nothing.
        let snapshot = recorder.snapshot(Instant::from_millis(500));
        for (millis, ppm, left_us) in
            [(10, 100_000, 500), (50, 500_000, 12_500), (100, 1_000_000, 50_000), (300, 1_000_000, 250_000)]
        {
            let within = snapshot.within(ms(millis)).unwrap();
            assert!(within.ppm.abs_diff(ppm) <= ppm / 50, "{millis} ms: {within:?}");
            assert!(within.left.as_micros().abs_diff(left_us) <= left_us / 20, "{millis} ms: {within:?}");
        }
        assert_eq!(snapshot.within(Duration::ZERO), Some(Within { ppm: 0, left: Duration::ZERO }));
        assert_eq!(snapshot.within(Duration::MAX).map(|within| within.ppm), Some(1_000_000));
    }
}
