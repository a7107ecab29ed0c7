//! The memory in which a ring keeps its points. It is a fixed array, or heap memory with an index.

use core::ops::Range;

use super::{BATCH, Point, RingError, heapsort, merge_behind};

mod sealed {
    pub trait Sealed {}
}

/// The memory in which a [`Ring`](super::Ring) keeps its points: [`Fixed`], or `Heap` with the feature `alloc`.
pub trait RingStorage: Default + sealed::Sealed {
    /// Returns all points.
    fn points(&self) -> &[Point];

    /// Returns all points, so that they can be changed in place.
    fn points_mut(&mut self) -> &mut [Point];

    /// Changes the number of points to `len`. The values of new points are unspecified.
    ///
    /// # Errors
    /// Returns [`RingError::Full`] if `len` points do not fit. The points are unchanged then.
    fn resize(&mut self, len: usize) -> Result<(), RingError>;

    /// Removes all points after the first `len`.
    fn truncate(&mut self, len: usize);

    /// Removes all points that `keep` does not accept. The other points stay in their order.
    fn retain(&mut self, keep: impl FnMut(&Point) -> bool);

    /// Sorts the points from index `old` on. `before` says whether one point comes before another. `before` must
    /// compare hashes first.
    fn sort(&mut self, old: usize, before: impl Fn(&Point, &Point) -> bool) {
        heapsort(self.points_mut().get_mut(old..).unwrap_or_default(), before);
    }

    /// Merges the points from index `old` on into the points before that index. Both parts must be sorted.
    fn merge(&mut self, old: usize, before: impl Fn(&Point, &Point) -> bool) {
        merge_behind(self.points_mut(), old, &mut [BLANK; BATCH], before);
    }

    /// Builds the index again. This must be called after the points have changed. The points must be sorted.
    fn index(&mut self) {}

    /// Returns a range of points to search. The first point with a hash of at least `code` is in this range, or it is
    /// the point right after the range.
    #[inline]
    fn around(&self, code: u32) -> Range<usize> {
        let _ = code;
        0..self.points().len()
    }
}

/// A placeholder for a point that has not been set yet.
const BLANK: Point = Point { hash: 0, slot: 0 };

/// A fixed array with room for `N` points of a ring. It needs no heap.
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

    /// The smallest number of points per entry of the index, on average. With this number, a search reads two cache
    /// lines of points on average, and the index stays small.
    const SHARED: usize = 8;

    /// Points on the heap, with an index. The index more than halves the time of a lookup.
    #[derive(Clone, Debug, Default)]
    pub struct Heap {
        points: Vec<Point>,
        /// For each value of the upper bits of a hash: the index of the first point with these bits. One more entry at
        /// the end says where the last points end.
        starts: Vec<u32>,
        /// How many upper bits of a hash the index uses.
        bits: u32,
    }

    impl Heap {
        fn bucket(&self, hash: u32) -> usize {
            // This is computed in 64 bits, since an index of no bits needs a shift by 32. The result is below 2^bits,
            // which is at most the number of points.
            usize::try_from(u64::from(hash) << self.bits >> 32).unwrap_or(0)
        }
    }

    /// Returns how many upper bits of a hash the index uses, for a ring of `points` points.
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
            // Memory for the index is reserved here too, so that `index` cannot run out of memory.
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
            // `before` comes from the caller and may contradict itself. The sort of `core` may panic then, so it sorts
            // only by hash. Points of equal hash are sorted by heapsort, which never panics.
            let new = self.points.get_mut(old..).unwrap_or_default();
            new.sort_unstable_by_key(|point| point.hash);
            for alike in new.chunk_by_mut(|one, other| one.hash == other.hash) {
                heapsort(alike, &before);
            }
        }

        fn merge(&mut self, old: usize, before: impl Fn(&Point, &Point) -> bool) {
            let new = self.points.len().saturating_sub(old);
            let (mut few, mut many) = ([BLANK; BATCH], Vec::new());
            // If there is no memory for all of the new points, they are merged in batches. That is only slower, so it
            // is not an error.
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
            // First each bucket that has points gets its end, right after its last point. Then each bucket without
            // points ends where the bucket before it ends. A `u32` is enough: there are at most 2^16 slots with fewer
            // than 2^16 points each.
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
