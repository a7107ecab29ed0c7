//! A ring of hashed points, for consistent hashing: `c_murmurhash`, `c_md5`, `c_ketama`.
//!
//! A server has some points on a ring of 2^32 places, and a request code belongs to the server of the first point at or
//! behind it. So a server that comes or goes moves only the codes of its own points, and a code that passes over a server
//! that is down goes where it would go without that server (Karger et al. 1997; the keys and hashes are brpc's and, of
//! four points a digest, libketama's).
//!
//! # Cost
//!
//! 8 bytes a point, and half a byte more on the heap for an index of the points by their hashes' upper bits. A
//! [`lookup`](Ring::lookup) is a binary search among the points that share those bits, 8 to 16 on average however many
//! there are, in a [`FixedRing`] among all. To add a server hashes its own keys, searches for the place of each, moves what
//! is behind once for every 128 of them, and goes through the points for the index; nothing is sorted again.

mod storage;

use core::fmt::{self, Write};
use core::{iter, slice};

use super::hash::{Md5, Murmur3};
#[cfg(feature = "alloc")]
pub use storage::Heap;
pub use storage::{Fixed, RingStorage};

/// How many points a server has unless told otherwise: brpc's `chash_num_replicas`.
pub const REPLICAS: u16 = 100;

/// How many of a server's points are sorted and merged at a time.
const BATCH: usize = 128;

/// The points of servers, by hash; a server is the number of its slot.
///
/// Two clients that know the same servers agree on the server of every code, however they came to know them: points of
/// equal hash stand in the canonical order of their servers, which `insert` is told where it matters.
///
/// ```
/// use hedge_core::balance::hash::murmur3_32;
/// use hedge_core::balance::ring::{FixedRing, REPLICAS, RingHash};
///
/// let servers = ["10.92.115.19:8833", "10.42.108.25:8833", "10.36.150.32:8833"];
/// let mut ring: FixedRing<300> = FixedRing::new(RingHash::Murmur, REPLICAS)?;
/// for (slot, server) in (0..).zip(servers) {
///     ring.insert(slot, server, |other| servers.get(usize::from(other)) < Some(&server))?;
/// }
///
/// let code = murmur3_32(b"user-7");
/// assert_eq!(ring.walk(code).next(), Some(2));
/// // The server in slot 2 is down:
/// assert_eq!(ring.walk(code).find(|slot| *slot != 2), Some(1));
/// # Ok::<(), hedge_core::balance::ring::RingError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ring<S> {
    hash: RingHash,
    replicas: u16,
    storage: S,
}

/// A ring of at most `N` points, in itself: for `N / replicas` servers.
pub type FixedRing<const N: usize> = Ring<Fixed<N>>;

/// A ring of any number of points, on the heap.
#[cfg(feature = "alloc")]
pub type HeapRing = Ring<Heap>;

/// A place on the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Point {
    /// Where it is.
    pub hash: u32,
    /// The slot of the server that it belongs to.
    pub slot: u16,
}

impl<S: RingStorage> Ring<S> {
    /// A ring without servers, each of which will have `replicas` points, usually [`REPLICAS`].
    ///
    /// # Errors
    /// [`RingError::Replicas`]: no points at all, or for [`RingHash::Ketama`] not a multiple of 4.
    pub fn new(hash: RingHash, replicas: u16) -> Result<Self, RingError> {
        if replicas == 0 || !replicas.is_multiple_of(hash.points_a_key()) {
            return Err(RingError::Replicas { hash, replicas });
        }
        Ok(Self { hash, replicas, storage: S::default() })
    }

    /// Adds the server in `slot`. `endpoint` is its address as all clients write it; `precedes` answers whether the server
    /// in another slot, which has a point of the same hash, stands before this one in the canonical order.
    ///
    /// # Errors
    /// [`RingError::Full`], [`RingError::Taken`] and [`RingError::Endpoint`]; nothing has changed then.
    pub fn insert(
        &mut self,
        slot: u16,
        endpoint: impl fmt::Display,
        precedes: impl Fn(u16) -> bool,
    ) -> Result<(), RingError> {
        if self.points().iter().any(|point| point.slot == slot) {
            return Err(RingError::Taken { slot });
        }
        let key = Key::new(self.hash, endpoint).map_err(|_| RingError::Endpoint { slot })?;
        let mut old = self.points().len();
        self.storage.resize(old + usize::from(self.replicas))?;

        let mut hashes = (0..self.replicas / self.hash.points_a_key()).flat_map(|i| key.hashes(i));
        loop {
            let (mut batch, mut count) = ([Point { hash: 0, slot }; BATCH], 0);
            for hash in hashes.by_ref().take(BATCH) {
                // Not by core's sort: that is kilobytes of code, with a panic in them.
                merge(&mut batch, count, &[Point { hash, slot }], |one, other| one.hash < other.hash);
                count += 1;
            }
            let Some(batch) = batch.get(..count).filter(|batch| !batch.is_empty()) else { break };
            merge(self.storage.points_mut(), old, batch, |one, new| {
                one.hash < new.hash || one.hash == new.hash && (one.slot == slot || precedes(one.slot))
            });
            old += count;
        }
        self.storage.index();
        Ok(())
    }

    /// Removes the server in `slot`; false if it has no points.
    pub fn remove(&mut self, slot: u16) -> bool {
        let before = self.points().len();
        self.storage.retain(|point| point.slot != slot);
        self.storage.index();
        self.points().len() < before
    }

    /// All points, by ascending hash.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        self.storage.points()
    }

    /// The index among [`Self::points`] of the one that `code` belongs to: the first whose hash is `code` or more, or
    /// else the first of all. 0 if there is none.
    #[inline]
    #[must_use]
    pub fn lookup(&self, code: u32) -> usize {
        let around = self.storage.around(code);
        let near = self.points().get(around.clone()).unwrap_or_default();
        let at = around.start + near.partition_point(|point| point.hash < code);
        if at < self.points().len() { at } else { 0 }
    }

    /// The slots of the points from the one that `code` belongs to, once around the ring: first choice, then fallbacks.
    ///
    /// A server comes as often as it has points. Whoever passes over some takes few steps while most will do, and as many
    /// as there are servers to each that will do when most will not.
    #[inline]
    pub fn walk(&self, code: u32) -> Walk<'_> {
        let (before, ahead) = self.points().split_at_checked(self.lookup(code)).unwrap_or_default();
        Walk { points: ahead.iter().chain(before) }
    }

    /// By point, its slot and how many of the 2^32 codes belong to it. A server's share of the ring is the sum over its
    /// points.
    pub fn arcs(&self) -> impl Iterator<Item = (u16, u64)> {
        const ROUND: u64 = 1 << 32;
        let mut behind = self.points().last().map_or(0, |last| last.hash.into());
        self.points().iter().map(move |point| {
            let here = ROUND + u64::from(point.hash);
            let codes = here - behind;
            behind = here;
            (point.slot, codes)
        })
    }
}

/// Slots along a ring, once around; from [`Ring::walk`].
#[derive(Clone, Debug)]
pub struct Walk<'r> {
    points: iter::Chain<slice::Iter<'r, Point>, slice::Iter<'r, Point>>,
}

impl Iterator for Walk<'_> {
    type Item = u16;

    #[inline]
    fn next(&mut self) -> Option<u16> {
        self.points.next().map(|point| point.slot)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.points.size_hint()
    }
}

/// How the points of a server follow from its endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RingHash {
    /// `c_murmurhash`: the MurmurHash3_x86_32 of `<endpoint>-<i>`, for each `i` below the number of points.
    Murmur,
    /// `c_md5`: the first four bytes of its MD5 digest, little-endian.
    Md5,
    /// `c_ketama`: all four words of the digest, little-endian, for each `i` below a quarter of the number of points.
    Ketama,
}

impl RingHash {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Murmur, Self::Md5, Self::Ketama];

    /// The name of the balancer that uses it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Murmur => "c_murmurhash",
            Self::Md5 => "c_md5",
            Self::Ketama => "c_ketama",
        }
    }

    const fn points_a_key(self) -> u16 {
        match self {
            Self::Murmur | Self::Md5 => 1,
            Self::Ketama => 4,
        }
    }
}

/// Why a ring could not be made or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RingError {
    /// A number of points a server that the hash cannot give.
    Replicas {
        /// How points are hashed.
        hash: RingHash,
        /// The number.
        replicas: u16,
    },
    /// No room for another server's points.
    Full {
        /// How many points there would be.
        points: usize,
        /// How many there can be; on the heap, before it would have to give more than it has.
        capacity: usize,
    },
    /// The slot has points already.
    Taken {
        /// The slot.
        slot: u16,
    },
    /// The endpoint's `Display` failed.
    Endpoint {
        /// The slot.
        slot: u16,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas { hash, replicas } => {
                write!(f, "replicas {replicas}: must be in [1, 65535]")?;
                match hash.points_a_key() {
                    1 => Ok(()),
                    multiple => write!(f, " and a multiple of {multiple} for {}", hash.name()),
                }
            }
            Self::Full { points, capacity } => write!(f, "points {points}: must be in [0, {capacity}]"),
            Self::Taken { slot } => write!(f, "slot {slot}: has points already"),
            Self::Endpoint { slot } => write!(f, "slot {slot}: its endpoint cannot be written"),
        }
    }
}

impl core::error::Error for RingError {}

/// A hasher that has read `<endpoint>-`, which is the same for all points of a server.
enum Key {
    Murmur(Murmur3),
    Md5(Md5),
    Ketama(Md5),
}

impl Key {
    fn new(hash: RingHash, endpoint: impl fmt::Display) -> Result<Self, fmt::Error> {
        fn read<H: Write + Default>(endpoint: impl fmt::Display) -> Result<H, fmt::Error> {
            let mut hasher = H::default();
            write!(hasher, "{endpoint}-")?;
            Ok(hasher)
        }
        Ok(match hash {
            RingHash::Murmur => Self::Murmur(read(endpoint)?),
            RingHash::Md5 => Self::Md5(read(endpoint)?),
            RingHash::Ketama => Self::Ketama(read(endpoint)?),
        })
    }

    /// The hashes of `<endpoint>-<i>`: one, or ketama's four.
    fn hashes(&self, i: u16) -> impl Iterator<Item = u32> + use<> {
        fn numbered<H: Write + Clone>(hasher: &H, i: u16) -> H {
            let mut hasher = hasher.clone();
            // These hashers take whatever is written.
            let _ = write!(hasher, "{i}");
            hasher
        }
        let (words, count) = match self {
            Self::Murmur(hasher) => ([numbered(hasher, i).finish(), 0, 0, 0], 1),
            Self::Md5(hasher) => (numbered(hasher, i).finish(), 1),
            Self::Ketama(hasher) => (numbered(hasher, i).finish(), 4),
        };
        words.into_iter().take(count)
    }
}

/// Merges the points `new` into the `old` first of `points`, which has room for both; both are sorted. `before` answers
/// whether an old point stands before a new one.
///
/// From the back, so that each point moves at most once, together with its neighbours.
fn merge(points: &mut [Point], old: usize, new: &[Point], before: impl Fn(&Point, &Point) -> bool) {
    let mut left = old;
    for (index, new) in new.iter().enumerate().rev() {
        let shift = index + 1;
        let at = points.get(..left).map_or(0, |left| left.partition_point(|point| before(point, new)));
        if let Some(place) = points.get_mut(at..left + shift)
            && let Some(moved) = place.len().checked_sub(shift)
        {
            place.copy_within(..moved, shift);
            if let Some(place) = place.get_mut(index) {
                *place = *new;
            }
        }
        left = at;
    }
}

#[cfg(test)]
mod tests;
