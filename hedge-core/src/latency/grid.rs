//! The buckets of a log-linear histogram. There are 8 buckets per octave (a doubling). From 64 us on, the width of a
//! bucket is at most 9.7 % of the bucket's lower bound.
//!
//! An octave is divided into 64 linear steps. Each bucket consists of 6 to 10 of these steps, so that all buckets have
//! about the same relative width. (The relative width of 8 linear buckets would vary from 6.7 % to 12.5 %.) The code
//! finds a bucket by a shift and by a lookup in a table of 64 bytes. Below 16 us, every microsecond has its own bucket.

use crate::time::Micros;

/// The number of buckets. The buckets go up to 2^32 us.
pub(super) const BUCKETS: usize = 240;

/// Durations below this number of microseconds are not divided into octaves: each microsecond has its own bucket.
const SINGLE: u32 = 8;

/// The lower bounds of the buckets of an octave, in 64ths of the lower bound of the octave.
const BEGINS: [u8; 8] = [64, 70, 76, 83, 91, 99, 108, 118];

/// The bucket of each step of an octave.
const JOINED: [u8; 64] = joined();

#[expect(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
const fn joined() -> [u8; 64] {
    let mut joined = [0; 64];
    let mut step = 1;
    while step < joined.len() {
        let last = joined[step - 1];
        let next = last as usize + 1;
        joined[step] = if next < BEGINS.len() && BEGINS[next] as usize == 64 + step { last + 1 } else { last };
        step += 1;
    }
    joined
}

/// Returns the bucket of a duration. A duration above 2^32 - 1 us (71 minutes) counts as 2^32 - 1 us.
pub(super) fn bucket_of(duration: Micros) -> usize {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    if micros < SINGLE {
        return micros as usize;
    }
    let zeros = micros.leading_zeros();
    // These are the six bits below the highest set bit.
    let step = (micros << zeros >> 25) & 63;
    let joined = JOINED.get(step as usize).map_or(0, |bucket| usize::from(*bucket));
    (29 - zeros) as usize * BEGINS.len() + joined
}

/// Returns the lower bound of a bucket in microseconds. For the number [`BUCKETS`], returns the end of the last bucket.
pub(super) fn begin(bucket: usize) -> u64 {
    if bucket < SINGLE as usize {
        return bucket as u64;
    }
    let octave = bucket / BEGINS.len() + 2;
    let begin = BEGINS.get(bucket % BEGINS.len()).map_or(64, |begin| u64::from(*begin));
    // The result is rounded up, since a shorter duration belongs to the bucket before.
    ((begin << octave) + 63) >> 6
}

/// Returns the width of a bucket in microseconds, at least 1.
pub(super) fn width(bucket: usize) -> u64 {
    begin(bucket + 1) - begin(bucket)
}

/// Returns the middle of a bucket. The middle differs from every duration in the bucket by at most 6 %, or by at most
/// 4.9 % from 64 us on.
pub(super) fn middle(bucket: usize) -> Micros {
    Micros::from_micros(begin(bucket) + (width(bucket) - 1) / 2)
}

/// Returns the end of a bucket. The end is longer than every duration in the bucket. From 64 us on, it is longer by at
/// most 9.7 %.
pub(super) fn end(bucket: usize) -> Micros {
    Micros::from_micros(begin(bucket + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: u64) -> Micros {
        Micros::from_micros(micros)
    }

    #[test]
    fn every_duration_has_a_bucket_and_every_bucket_its_durations() {
        for bucket in 0..BUCKETS {
            let (first, last) = (begin(bucket), begin(bucket + 1) - 1);
            assert!(first <= last, "bucket {bucket} is empty");
            assert_eq!((bucket_of(us(first)), bucket_of(us(last))), (bucket, bucket), "{first} to {last} us");
        }
        assert_eq!(begin(BUCKETS), 1 << 32);
        assert_eq!(bucket_of(Micros::MAX), BUCKETS - 1, "clamped");
        assert_eq!(bucket_of(us(1 << 32)), BUCKETS - 1, "clamped");
        assert!((0..16).all(|micros| middle(bucket_of(us(micros))) == us(micros)));
    }

    #[test]
    fn middles_and_ends_are_as_near_as_the_docs_say() {
        for bucket in 1..BUCKETS {
            let (first, last, middle) = (begin(bucket), begin(bucket + 1) - 1, middle(bucket).as_micros());
            let thousandths = if first >= 64 { 49 } else { 60 };
            assert!((middle - first) * 1_000 <= first * thousandths, "bucket {bucket} from {first} us");
            assert!((last - middle) * 1_000 <= last * thousandths, "bucket {bucket} to {last} us");
            if first >= 64 {
                assert!((end(bucket).as_micros() - first) * 1_000 <= first * 97, "bucket {bucket} from {first} us");
            }
        }
    }
}
