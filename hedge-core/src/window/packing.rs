//! Packs the number of a bucket and a total into one word: [`Packing`]. A [`ScaledInstant`] can be compared with such
//! words.

use crate::time::{Instant, Micros};

/// The number of a bucket, and the total at some moment within this bucket. Both numbers wrap.
#[derive(Clone, Copy)]
pub(super) struct BucketTotal {
    pub(super) bucket: u64,
    pub(super) total: u64,
}

/// The width of buckets. The number of a bucket is the time in microseconds times `factor`, shifted right by
/// `total_bits`. So the width does not have to be a power of two, a whole number of buckets covers the window, and no
/// division is needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// The factor by which microseconds are multiplied, from 1024 to 2047.
    factor: u16,
    total_bits: u8,
}

impl Scale {
    /// Returns the scale in which `buckets` buckets are as long as the window, or a little longer. The window must be
    /// at least one second.
    pub(super) fn of(window: Micros, buckets: u64) -> Self {
        let mut total_bits = 10;
        while buckets << total_bits < window.as_micros() << 10 {
            total_bits += 1;
        }
        // The factor is computed bit by bit, since some targets have no division.
        let mut factor = 0;
        for bit in (0..11).rev() {
            if u64::from(factor | 1 << bit) * window.as_micros() <= buckets << total_bits {
                factor |= 1 << bit;
            }
        }
        Self { factor, total_bits }
    }

    pub(super) const fn packing(self) -> Packing {
        Packing { total_bits: self.total_bits as u32 }
    }

    /// Returns the width of a bucket in microseconds, rounded up.
    pub(super) const fn bucket(self) -> Micros {
        let mut width = 0;
        let mut bit = self.total_bits as u32;
        while bit > 0 {
            bit -= 1;
            if ((width | 1 << bit) - 1) * (self.factor as u64) < 1 << self.total_bits {
                width |= 1 << bit;
            }
        }
        Micros::from_micros(width)
    }

    /// Returns the number of the bucket that contains a moment.
    pub(super) const fn bucket_of(self, micros: u64) -> u64 {
        micros.wrapping_mul(self.factor as u64) >> self.total_bits
    }
}

/// The layout of a [`BucketTotal`] in a word. The upper bits hold the bucket's number, which wraps after at least 2^53
/// us. The lower `total_bits` hold the total.
#[derive(Clone, Copy)]
pub(super) struct Packing {
    total_bits: u32,
}

// These functions shift 64 bits. On a microcontroller each inlined copy would make the program larger.
impl Packing {
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) const fn unpack(self, word: u64) -> BucketTotal {
        BucketTotal { bucket: word >> self.total_bits, total: self.total(word) }
    }

    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) const fn pack(self, total: BucketTotal) -> u64 {
        self.bucket(total.bucket) << self.total_bits | self.total(total.total)
    }

    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) const fn total(self, total: u64) -> u64 {
        total & ((1 << self.total_bits) - 1)
    }

    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) const fn bucket(self, bucket: u64) -> u64 {
        bucket & (u64::MAX >> self.total_bits)
    }

    /// Returns the difference between two words whose buckets are `buckets` apart.
    pub(super) const fn later(self, buckets: u64) -> u64 {
        buckets << self.total_bits
    }

    /// Returns a word whose bucket is at least 142 years away from `bucket`, so no window begins in that bucket. In the
    /// cache of the window's beginning, such a word means that nothing is cached.
    pub(super) const fn far_from(self, bucket: u64) -> u64 {
        self.pack(BucketTotal { bucket: bucket.wrapping_add(self.bucket(u64::MAX) / 2), total: 0 })
    }
}

/// An instant in the units of a packed word, so that the instant can be compared with packed words. It is computed once
/// for all counts with the same window and number of buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScaledInstant {
    now: Instant,
    /// The instant times the factor. The bucket's number is in the same bits as in a packed word. The lower bits are
    /// the time within the bucket.
    placed: u64,
    /// The same product for the moment just before the window.
    before: u64,
    /// A mask of the bits of a word that hold the total.
    totals: u64,
}

/// The rounding of a count at the window's beginning.
#[derive(Clone, Copy)]
pub(super) enum Edge {
    /// The count is rounded up: the whole bucket in which the window begins counts.
    Covering,
    /// The count is rounded down: it begins with the next bucket.
    Inside,
}

impl ScaledInstant {
    #[inline]
    pub(super) const fn new(now: Instant, window_us: u32, scale: Scale) -> Self {
        let placed = now.as_micros().wrapping_mul(scale.factor as u64);
        let before = placed.wrapping_sub(window_us as u64 * scale.factor as u64);
        Self { now, placed, before, totals: (1 << scale.total_bits) - 1 }
    }

    /// Moves this moment into another bucket. The result is the first or the last moment of that bucket, depending on
    /// which is less favourable to the caller.
    pub(super) const fn moved(self, bucket: u64, edge: Edge) -> Self {
        let begin = bucket.wrapping_mul(self.totals + 1);
        let placed = match edge {
            Edge::Covering => begin,
            Edge::Inside => begin | self.totals,
        };
        Self { placed, before: placed.wrapping_sub(self.placed.wrapping_sub(self.before)), ..self }
    }

    pub(crate) const fn now(self) -> Instant {
        self.now
    }

    /// Returns a word in the first bucket that counts. This is the bucket of the moment just before the window, or the
    /// next bucket.
    #[inline]
    pub(super) const fn first(self, edge: Edge) -> u64 {
        match edge {
            Edge::Covering => self.before,
            Edge::Inside => self.before.wrapping_add(self.totals + 1),
        }
    }

    /// Returns whether a word is in the current bucket.
    #[inline]
    pub(super) const fn is_now(self, word: u64) -> bool {
        word != 0 && self.is_same_bucket(word, self.placed)
    }

    /// Returns whether two words are in the same bucket.
    #[inline]
    pub(super) const fn is_same_bucket(self, one: u64, other: u64) -> bool {
        one ^ other <= self.totals
    }

    /// Returns whether the bucket of `word` is the bucket of `first`, the current bucket, or a bucket between these
    /// two.
    #[inline]
    pub(super) const fn is_since(self, first: u64, word: u64) -> bool {
        self.is_between(first, word, self.placed)
    }

    /// Returns whether the bucket of `word` is the bucket of `first` or an earlier one. The result is right if the two
    /// buckets are less than 142 years apart.
    pub(super) const fn is_before(self, first: u64, word: u64) -> bool {
        self.is_between(word, first, word.wrapping_add(u64::MAX / 2))
    }

    /// Returns a word in the bucket that is `windows` windows before the present one.
    pub(super) const fn ago(self, windows: u64) -> u64 {
        self.placed.wrapping_sub(self.placed.wrapping_sub(self.before) * windows)
    }

    /// Returns the total that a word holds. If the word is the difference of two words, this is the difference of their
    /// totals.
    #[inline]
    pub(super) const fn total(self, word: u64) -> u64 {
        word & self.totals
    }

    /// Returns whether `n` more fit into the total of a word. If they did not fit, an addition would carry into the
    /// bucket's number.
    #[inline]
    pub(super) const fn is_far_from_wrapping(self, word: u64, n: u32) -> bool {
        self.total(word) < self.totals - n as u64
    }

    #[inline]
    const fn is_between(self, first: u64, word: u64, last: u64) -> bool {
        let first = first & !self.totals;
        word.wrapping_sub(first) <= (last | self.totals).wrapping_sub(first)
    }
}
