//! Where a ring keeps its points: in fixed memory, or on the heap with an index.

use core::ops::Range;

use super::{BATCH, Point, RingError, heapsort, merge_behind};

mod sealed {
    pub trait Sealed {}
}

/// Where a [`Ring`](super::Ring) keeps its points: [`Fixed`], or with feature `alloc` `Heap`.
pub trait RingStorage: Default + sealed::Sealed {
    /// All points.
    fn points(&self) -> &[Point];

    /// All points, to be changed.
    fn points_mut(&mut self) -> &mut [Point];

    /// Makes it `len` points in all. What the new ones are is unspecified.
    ///
    /// # Errors
    /// [`RingError::Full`], with nothing changed.
    fn resize(&mut self, len: usize) -> Result<(), RingError>;

    /// Keeps the first `len` points.
    fn truncate(&mut self, len: usize);

    /// Keeps only the points that `keep` accepts, in their order.
    fn retain(&mut self, keep: impl FnMut(&Point) -> bool);

    /// Sorts the points from `old` on. `before` says whether one point comes before another, by hash first.
    fn sort(&mut self, old: usize, before: impl Fn(&Point, &Point) -> bool) {
        heapsort(self.points_mut().get_mut(old..).unwrap_or_default(), before);
    }

    /// Merges the points from `old` on into those before; both parts are sorted.
    fn merge(&mut self, old: usize, before: impl Fn(&Point, &Point) -> bool) {
        merge_behind(self.points_mut(), old, &mut [BLANK; BATCH], before);
    }

    /// Makes the index anew, after the points have changed. They are sorted.
    fn index(&mut self) {}

    /// The first point with a hash of `code` or more is in this range, or just behind it.
    #[inline]
    fn around(&self, code: u32) -> Range<usize> {
        let _ = code;
        0..self.points().len()
    }
}

/// A place for which no point has been written yet.
const BLANK: Point = Point { hash: 0, slot: 0 };

/// Room for `N` points, without a heap.
#[derive(Clone, Debug, Default)]
pub struct Fixed<const N: usize> {
    points: heapless::Vec<Point, N>,
}

impl<const N: usize> sealed::Sealed for Fixed<N> {}

impl<const N: usize> RingStorage for Fixed<N> {
    #[inline]
    fn points(&self) -> &[Point] {
        &self.points
    }

    fn points_mut(&mut self) -> &mut [Point] {
        &mut self.points
    }

    fn resize(&mut self, len: usize) -> Result<(), RingError> {
        self.points.resize(len, BLANK).map_err(|_| RingError::Full { points: len, capacity: N })
    }

    fn truncate(&mut self, len: usize) {
        self.points.truncate(len);
    }

    fn retain(&mut self, keep: impl FnMut(&Point) -> bool) {
        self.points.retain(keep);
    }
}

#[cfg(feature = "alloc")]
pub use heap::Heap;

#[cfg(feature = "alloc")]
mod heap {
    use alloc::vec::Vec;

    use super::{BATCH, BLANK, Point, Range, RingError, RingStorage, heapsort, merge_behind, sealed::Sealed};

    /// How many points share an entry of the index on average, at least. A search then reads, on average, two cache
    /// lines of points at most, and the index stays small.
    const SHARED: usize = 8;

    /// Points on the heap, as many as there are, with an index that takes more than half off the time of a lookup.
    #[derive(Clone, Debug, Default)]
    pub struct Heap {
        points: Vec<Point>,
        /// For each value of the upper bits of a hash: where the points with these bits begin. At the end, where the
        /// last of them end.
        starts: Vec<u32>,
        /// How many upper bits the index goes by.
        bits: u32,
    }

    impl Heap {
        fn bucket(&self, hash: u32) -> usize {
            // In 64 bits, since with no bits at all this shifts by 32. The result is below 2^bits, which is at most the
            // number of points.
            usize::try_from(u64::from(hash) << self.bits >> 32).unwrap_or(0)
        }
    }

    /// How many upper bits the index of so many points goes by.
    const fn bits(points: usize) -> u32 {
        match (points / SHARED).checked_ilog2() {
            Some(bits) => bits,
            None => 0,
        }
    }

    impl Sealed for Heap {}

    impl RingStorage for Heap {
        #[inline]
        fn points(&self) -> &[Point] {
            &self.points
        }

        fn points_mut(&mut self) -> &mut [Point] {
            &mut self.points
        }

        fn resize(&mut self, len: usize) -> Result<(), RingError> {
            let full = RingError::Full { points: len, capacity: self.points.capacity() };
            let starts = (1 << bits(len)) + 1;
            self.points.try_reserve(len.saturating_sub(self.points.len())).map_err(|_| full)?;
            // Reserved here, so that `index` does not run out of memory half-way.
            self.starts.try_reserve(usize::saturating_sub(starts, self.starts.len())).map_err(|_| full)?;
            self.points.resize(len, BLANK);
            Ok(())
        }

        fn truncate(&mut self, len: usize) {
            self.points.truncate(len);
        }

        fn retain(&mut self, keep: impl FnMut(&Point) -> bool) {
            self.points.retain(keep);
        }

        fn sort(&mut self, old: usize, before: impl Fn(&Point, &Point) -> bool) {
            // Core's sort may panic at an order that contradicts itself, as the caller's might. The order of hashes
            // never does, so core sorts by hash, and heapsort sorts what has equal hashes.
            let new = self.points.get_mut(old..).unwrap_or_default();
            new.sort_unstable_by_key(|point| point.hash);
            for alike in new.chunk_by_mut(|one, other| one.hash == other.hash) {
                heapsort(alike, &before);
            }
        }

        fn merge(&mut self, old: usize, before: impl Fn(&Point, &Point) -> bool) {
            let new = self.points.len().saturating_sub(old);
            let (mut few, mut many) = ([BLANK; BATCH], Vec::new());
            // Without memory for more it merges in batches, which is only slower and so not an error.
            let aside = if old > 0 && new > BATCH && many.try_reserve_exact(new).is_ok() {
                many.resize(new, BLANK);
                many.as_mut_slice()
            } else {
                few.as_mut_slice()
            };
            merge_behind(&mut self.points, old, aside, before);
        }

        fn index(&mut self) {
            self.bits = bits(self.points.len());
            let mut starts = core::mem::take(&mut self.starts);
            starts.clear();
            starts.resize((1 << self.bits) + 1, 0);
            // First the end of each bucket that has points: behind its last point. Then the buckets without points end
            // where the one before does. A `u32` is enough: there are at most 2^16 slots of less than 2^16 points each.
            for (end, point) in (1..).zip(&self.points) {
                if let Some(next) = starts.get_mut(self.bucket(point.hash) + 1) {
                    *next = end;
                }
            }
            let mut end = 0;
            for start in &mut starts {
                end = end.max(*start);
                *start = end;
            }
            self.starts = starts;
        }

        #[inline]
        fn around(&self, code: u32) -> Range<usize> {
            match self.starts.get(self.bucket(code)..) {
                Some([start, end, ..]) => *start as usize..*end as usize,
                _ => 0..0,
            }
        }
    }
}
