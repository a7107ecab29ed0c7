//! Buckets and totals in one word: [`Packing`], and a [`ScaledInstant`] to compare words with.

use crate::time::{Instant, Micros};

/// A bucket's number, and the total at some moment; both wrap.
#[derive(Clone, Copy)]
pub(super) struct BucketTotal {
    pub(super) bucket: u64,
    pub(super) total: u64,
}

/// How wide buckets are. Microseconds times `factor`, shifted right by `total_bits`, are a bucket's number. So the width
/// need not be a power of two, a whole number of buckets is as long as the window, and nothing is divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// From 1024 to 2047.
    factor: u16,
    total_bits: u8,
}

impl Scale {
    /// The scale by which `buckets` buckets are as long as the window, which is at least a second, or a little longer.
    pub(super) fn of(window: Micros, buckets: u64) -> Self {
        let mut total_bits = 10;
        while buckets << total_bits < window.as_micros() << 10 {
            total_bits += 1;
        }
        // Found bit by bit, since not every target has a division.
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

    /// How wide a bucket is, rounded up.
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

    /// The bucket of a moment.
    pub(super) const fn bucket_of(self, micros: u64) -> u64 {
        micros.wrapping_mul(self.factor as u64) >> self.total_bits
    }
}

/// How a [`BucketTotal`] is packed in a word: the bucket's number in the upper bits, where it lasts for at least 2^53 us,
/// and the total in the lower `total_bits`.
#[derive(Clone, Copy)]
pub(super) struct Packing {
    total_bits: u32,
}

// 64-bit shifts: on a microcontroller each inlined copy would cost flash.
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

    /// The difference of two words whose buckets are `buckets` apart.
    pub(super) const fn later(self, buckets: u64) -> u64 {
        buckets << self.total_bits
    }

    /// A word in whose bucket no window begins for 142 years before and after `bucket`. In the cache of the window's
    /// beginning it means "look it up".
    pub(super) const fn far_from(self, bucket: u64) -> u64 {
        self.pack(BucketTotal { bucket: bucket.wrapping_add(self.bucket(u64::MAX) / 2), total: 0 })
    }
}

/// A moment in the units of words. It is computed once for all counts that have the same window and buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScaledInstant {
    now: Instant,
    /// `now` times the factor: its bucket's number is where a word has it, and the bits below are the time within the
    /// bucket.
    placed: u64,
    /// The same for the moment just before the window.
    before: u64,
    /// The bits of a word that hold the total.
    totals: u64,
}

/// How a count is rounded where the window begins.
#[derive(Clone, Copy)]
pub(super) enum Edge {
    /// Up: the whole bucket counts.
    Covering,
    /// Down: the next bucket is the first that counts.
    Inside,
}

impl ScaledInstant {
    #[inline]
    pub(super) const fn new(now: Instant, window_us: u32, scale: Scale) -> Self {
        let placed = now.as_micros().wrapping_mul(scale.factor as u64);
        let before = placed.wrapping_sub(window_us as u64 * scale.factor as u64);
        Self { now, placed, before, totals: (1 << scale.total_bits) - 1 }
    }

    /// The same at a moment of another bucket. If now may be any moment of that bucket, this is the one that gives the
    /// caller the least.
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

    /// A word of the first bucket that counts: the bucket of the moment just before the window, or the next one.
    #[inline]
    pub(super) const fn first(self, edge: Edge) -> u64 {
        match edge {
            Edge::Covering => self.before,
            Edge::Inside => self.before.wrapping_add(self.totals + 1),
        }
    }

    /// Whether a word is of the current bucket.
    #[inline]
    pub(super) const fn is_now(self, word: u64) -> bool {
        word != 0 && self.is_same_bucket(word, self.placed)
    }

    /// Whether two words are of one bucket.
    #[inline]
    pub(super) const fn is_same_bucket(self, one: u64, other: u64) -> bool {
        one ^ other <= self.totals
    }

    /// Whether a word is of the bucket of `first`, of the current bucket, or of one between them.
    #[inline]
    pub(super) const fn is_since(self, first: u64, word: u64) -> bool {
        self.is_between(first, word, self.placed)
    }

    /// Whether a word is of an earlier bucket than `first`, by less than 142 years.
    pub(super) const fn is_before(self, first: u64, word: u64) -> bool {
        self.is_between(word, first, word.wrapping_add(u64::MAX / 2))
    }

    /// A word of the bucket that is `windows` windows before now.
    pub(super) const fn ago(self, windows: u64) -> u64 {
        self.placed.wrapping_sub(self.placed.wrapping_sub(self.before) * windows)
    }

    /// The total of a word, or of a difference of words.
    #[inline]
    pub(super) const fn total(self, word: u64) -> u64 {
        word & self.totals
    }

    /// Whether `n` more fit in the total of a word. If not, an addition would carry into the bucket's number.
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
