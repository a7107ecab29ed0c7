//! What a reply may take: [`Limits`].

/// The highest limit of levels that can be set. brpc has the same limit.
pub const MAX_DEPTH: u8 = 128;

/// The limits of one reply. A reply that announces more than a limit is an error at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// The most bytes of a reply, with all of its lines. Default: 64 MiB.
    pub bytes: usize,
    /// The most levels of aggregates: 0 allows no array at all, 1 allows an array of numbers. Default: [`MAX_DEPTH`]. A
    /// higher limit counts as [`MAX_DEPTH`].
    pub depth: u8,
    /// The most values inside of aggregates, on all levels together. A map has two values an entry, and an attribute
    /// counts as one more. Default: 1,048,576.
    pub elements: u32,
}

impl Limits {
    /// The default limits.
    pub const DEFAULT: Self = Self { bytes: 64 << 20, depth: MAX_DEPTH, elements: 1 << 20 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
