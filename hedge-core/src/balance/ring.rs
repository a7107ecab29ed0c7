//! A ring of points for consistent hashing: `c_murmurhash`, `c_md5`, `c_ketama`.
//!
//! Each server has some points on a ring of 2^32 places. A request code belongs to the first point at or after the
//! code, and so to the server of that point. So when a server comes or goes, only the codes of its own points move. If
//! a code's server is down, the code goes to the server to which it would belong without the first server (Karger et
//! al. 1997). Keys and hashes are the same as in brpc. Ketama's four points for each digest are the same as in
//! libketama.
//!
//! # Cost
//!
//! A point takes 8 bytes. On the heap, an index by the upper bits of the hashes adds up to half a byte for each point.
//! A [`lookup`](Ring::lookup) is a binary search. In a [`FixedRing`] it searches among all points. On the heap it
//! searches only among the points with the same upper bits. On average, these are fewer than 16 points, however large
//! the ring is.
//!
//! Servers can be added one by one or many at once. Adding servers hashes their keys, sorts their points, and merges
//! these into the other points. The other points are not sorted again. They are read to check the slots and to make the
//! index, and the points after a new point move up. On the heap, each of these points moves once. In a [`FixedRing`],
//! it moves once for every 128 new points. Removing servers takes one pass over the points, and one pass for the index.

mod storage;

use core::cmp::Ordering;
use core::fmt::{self, Write};
use core::{iter, slice};

#[cfg(feature = "md5")]
use super::hash::Md5;
use super::hash::Murmur3;
#[cfg(feature = "alloc")]
pub use storage::Heap;
pub use storage::{Fixed, RingStorage};

/// The usual number of points for each server. This is the default of brpc's `chash_num_replicas`.
pub const REPLICAS: u16 = 100;

/// How many new points are merged at a time if no heap memory is available for them.
const BATCH: usize = 128;

/// The points of servers, sorted by hash. Each server is identified by the number of its slot.
///
/// Two clients that know the same servers find the same server for every code. The order in which the clients learned
/// of the servers does not matter. Points of equal hash are in the canonical order of their servers. `insert_all` asks
/// its caller for that order, but only for such points.
///
/// ```
/// use hedge_core::balance::hash::murmur3_32;
/// use hedge_core::balance::ring::{FixedRing, REPLICAS, RingHash};
///
/// let servers = ["10.92.115.19:8833", "10.42.108.25:8833", "10.36.150.32:8833"];
/// let mut ring: FixedRing<300> = FixedRing::new(RingHash::Murmur, REPLICAS)?;
/// let server = |slot: u16| servers.get(usize::from(slot));
/// ring.insert_all((0..).zip(servers), |one, other| server(one).cmp(&server(other)))?;
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

/// A ring of at most `N` points, without a heap. `N / replicas` servers fit.
pub type FixedRing<const N: usize> = Ring<Fixed<N>>;

/// A ring on the heap, with any number of points.
#[cfg(feature = "alloc")]
pub type HeapRing = Ring<Heap>;

/// A point on the ring, which belongs to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Point {
    /// The position of the point on the ring.
    pub hash: u32,
    /// The slot of the server that the point belongs to.
    pub slot: u16,
}

impl<S: RingStorage> Ring<S> {
    /// Makes a ring without servers. Each server will have `replicas` points; [`REPLICAS`] is the usual number.
    ///
    /// # Errors
    /// - Returns [`RingError::Replicas`] if `replicas` is 0, or if the hash is [`RingHash::Ketama`] and `replicas` is
    ///   not a multiple of 4.
    /// - Returns [`RingError::NeedsFeature`] if this build does not contain the hash.
    pub fn new(hash: RingHash, replicas: u16) -> Result<Self, RingError> {
        if cfg!(not(feature = "md5")) && hash.needs_md5() {
            return Err(RingError::NeedsFeature { hash, feature: "md5" });
        }
        if replicas == 0 || !replicas.is_multiple_of(hash.points_a_key()) {
            return Err(RingError::Replicas { hash, replicas });
        }
        Ok(Self { hash, replicas, storage: S::default() })
    }

    /// Adds the server in `slot`. This does the same as [`insert_all`](Self::insert_all) with one server.
    ///
    /// # Errors
    /// Returns the errors of [`insert_all`](Self::insert_all). After an error, the ring is unchanged.
    pub fn insert(
        &mut self,
        slot: u16,
        endpoint: impl fmt::Display,
        order: impl Fn(u16, u16) -> Ordering,
    ) -> Result<(), RingError> {
        self.insert_all(iter::once((slot, endpoint)), order)
    }

    /// Adds servers. Each is given by its slot and its address, in the form in which all clients write the address.
    /// `order` compares two servers, new or old, by their slots, and returns their canonical order. `order` is called
    /// only for points of equal hash.
    ///
    /// The ring is the same as if the servers were added one by one in any order, but one pass over the points is
    /// enough for all of them.
    ///
    /// # Errors
    ///
    /// - Returns [`RingError::Full`] if there is no room for the points.
    /// - Returns [`RingError::Endpoint`] if an address cannot be written.
    /// - Returns [`RingError::Taken`] if a slot already has points, or if a slot comes twice.
    ///
    /// After an error, the ring is unchanged.
    pub fn insert_all<E: fmt::Display>(
        &mut self,
        servers: impl IntoIterator<Item = (u16, E)>,
        order: impl Fn(u16, u16) -> Ordering,
    ) -> Result<(), RingError> {
        // The new points are appended and checked, then sorted, then merged into the old ones.
        let old = self.points().len();
        let appended = self.append(servers).and_then(|()| {
            let (old, new) = self.points().split_at_checked(old).unwrap_or_default();
            duplicate_slot(old, new, self.replicas.into()).map_or(Ok(()), |slot| Err(RingError::Taken { slot }))
        });
        if appended.is_err() {
            self.storage.truncate(old);
        }
        if self.points().len() == old {
            return appended;
        }
        let before = |one: &Point, other: &Point| {
            // If `order` finds two servers equal, their slots decide: the ring must not depend on the order in which
            // the servers were added.
            let order = || order(one.slot, other.slot).then(one.slot.cmp(&other.slot));
            one.hash.cmp(&other.hash).then_with(order).is_lt()
        };
        self.storage.sort(old, before);
        self.storage.merge(old, before);
        self.storage.index();
        Ok(())
    }

    /// Appends the points of `servers`, in the order of the servers. The new points are not sorted. After an error, the
    /// ring may contain some of them.
    fn append<E: fmt::Display>(&mut self, servers: impl IntoIterator<Item = (u16, E)>) -> Result<(), RingError> {
        let servers = servers.into_iter();
        let replicas = usize::from(self.replicas);
        let keys = self.replicas / self.hash.points_a_key();
        let mut end = self.points().len();
        // The code makes room at once for as many servers as the iterator promises.
        let (at_least, _) = servers.size_hint();
        self.storage.resize(end.saturating_add(at_least.saturating_mul(replicas)))?;
        for (slot, endpoint) in servers {
            // The endpoint is hashed once for all its points. Each point then adds only its number.
            let key = Key::new(self.hash, endpoint).map_err(|_| RingError::Endpoint { slot })?;
            let start = end;
            end += replicas;
            if end > self.points().len() {
                self.storage.resize(end)?;
            }
            let places = self.storage.points_mut().get_mut(start..end).unwrap_or_default();
            for (place, hash) in places.iter_mut().zip((0..keys).flat_map(|i| key.hashes(i))) {
                *place = Point { hash, slot };
            }
        }
        self.storage.truncate(end);
        Ok(())
    }

    /// Removes the server in `slot`. Returns false if the slot has no points.
    pub fn remove(&mut self, slot: u16) -> bool {
        self.retain_slots(|other| other != slot)
    }

    /// Removes the servers whose slots `keep` refuses. Returns false if no point was removed. `keep` is called for
    /// every point.
    pub fn retain_slots(&mut self, mut keep: impl FnMut(u16) -> bool) -> bool {
        let before = self.points().len();
        self.storage.retain(|point| keep(point.slot));
        let removed = self.points().len() < before;
        if removed {
            self.storage.index();
        }
        removed
    }

    /// Returns all points, sorted by hash.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        self.storage.points()
    }

    /// Returns the index, in [`Self::points`], of the point that `code` belongs to. This is the first point whose hash
    /// is at least `code`. If there is no such point, it is the first point of all, at index 0. Returns 0 if there are
    /// no points.
    #[inline]
    #[must_use]
    pub fn lookup(&self, code: u32) -> usize {
        let around = self.storage.around(code);
        let near = self.points().get(around.clone()).unwrap_or_default();
        let at = around.start + near.partition_point(|point| point.hash < code);
        // After the last point the ring begins again.
        if at < self.points().len() { at } else { 0 }
    }

    /// Returns the slots of the points along the ring, once around, beginning at the point that `code` belongs to. The
    /// first slot is the first choice, the others are fallbacks.
    ///
    /// A slot comes once for each of its points. If 1/n of the servers can be used, a walk takes n steps on average to
    /// reach the first of these.
    #[inline]
    pub fn walk(&self, code: u32) -> Walk<'_> {
        let (before, ahead) = self.points().split_at_checked(self.lookup(code)).unwrap_or_default();
        Walk { points: ahead.iter().chain(before) }
    }

    /// Returns, for each point, its slot and how many of the 2^32 codes belong to the point. A server's share of the
    /// codes is the sum over its points.
    pub fn arcs(&self) -> impl Iterator<Item = (u16, u64)> {
        const ROUND: u64 = 1 << 32;
        // The arc of the first point begins at the last point, in the round before.
        let mut behind = self.points().last().map_or(0, |last| last.hash.into());
        self.points().iter().map(move |point| {
            let here = ROUND + u64::from(point.hash);
            let codes = here - behind;
            behind = here;
            (point.slot, codes)
        })
    }
}

/// The slots of the points along a ring, once around. [`Ring::walk`] makes this iterator.
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

/// The rule by which a server's points are computed from its endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RingHash {
    /// The rule of `c_murmurhash`: the points are the MurmurHash3_x86_32 hashes of `<endpoint>-<i>`, for each `i` below
    /// the number of points.
    Murmur,
    /// The rule of `c_md5` (feature `md5`): the points are the first four bytes, little-endian, of the MD5 digest of
    /// `<endpoint>-<i>`, for each `i` below the number of points.
    Md5,
    /// The rule of `c_ketama` (feature `md5`): the points are all four words, little-endian, of the MD5 digest of
    /// `<endpoint>-<i>`, for each `i` below a quarter of the number of points.
    Ketama,
}

impl RingHash {
    /// All rules for points.
    pub const ALL: &'static [Self] = &[Self::Murmur, Self::Md5, Self::Ketama];

    /// Returns the name of the balancer that uses this rule.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Murmur => "c_murmurhash",
            Self::Md5 => "c_md5",
            Self::Ketama => "c_ketama",
        }
    }

    const fn needs_md5(self) -> bool {
        matches!(self, Self::Md5 | Self::Ketama)
    }

    const fn points_a_key(self) -> u16 {
        match self {
            Self::Murmur | Self::Md5 => 1,
            Self::Ketama => 4,
        }
    }
}

/// The reason why a ring could not be made or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RingError {
    /// The rule cannot give a server this number of points.
    Replicas {
        /// The rule that was asked for.
        hash: RingHash,
        /// The number of points for each server.
        replicas: u16,
    },
    /// This build does not contain the hash.
    NeedsFeature {
        /// The rule that needs the hash.
        hash: RingHash,
        /// The feature of hedge-core that provides the hash.
        feature: &'static str,
    },
    /// There is no room for the points of the servers to add.
    Full {
        /// How many points the ring would need at least.
        points: usize,
        /// How many points fit. On the heap: how many fit into the memory that the ring already has.
        capacity: usize,
    },
    /// The slot already has points, or it comes twice among the servers to add.
    Taken {
        /// The slot that is used twice.
        slot: u16,
    },
    /// The endpoint could not be written: its `Display` failed.
    Endpoint {
        /// The slot of the server with this endpoint.
        slot: u16,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsFeature { hash, feature } => {
                write!(f, "{} needs the feature `{feature}` of hedge-core", hash.name())
            }
            Self::Replicas { hash, replicas } => {
                write!(f, "replicas {replicas}: must be in [1, 65535]")?;
                match hash.points_a_key() {
                    1 => Ok(()),
                    multiple => write!(f, " and a multiple of {multiple} for {}", hash.name()),
                }
            }
            Self::Full { points, capacity } => write!(f, "points {points}: the ring has room for {capacity}"),
            Self::Taken { slot } => write!(f, "slot {slot}: has points already"),
            Self::Endpoint { slot } => write!(f, "slot {slot}: its endpoint cannot be written"),
        }
    }
}

impl core::error::Error for RingError {}

/// A hasher that has already read `<endpoint>-`. This part is the same for all points of a server.
enum Key {
    Murmur(Murmur3),
    /// The second value says how many words of each digest become points.
    #[cfg(feature = "md5")]
    Md5(Md5, usize),
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
            #[cfg(feature = "md5")]
            RingHash::Md5 | RingHash::Ketama => Self::Md5(read(endpoint)?, hash.points_a_key().into()),
            // This is not reached, since `Ring::new` has refused this hash.
            #[cfg(not(feature = "md5"))]
            RingHash::Md5 | RingHash::Ketama => return Err(fmt::Error),
        })
    }

    /// Returns the hashes of `<endpoint>-<i>`: one hash, or four hashes for ketama.
    fn hashes(&self, i: u16) -> impl Iterator<Item = u32> + use<> {
        fn numbered<H: Write + Clone>(hasher: &H, i: u16) -> H {
            let mut hasher = hasher.clone();
            // A hasher accepts everything that is written, so there is no error.
            let _ = write!(hasher, "{i}");
            hasher
        }
        let (words, count) = match self {
            Self::Murmur(hasher) => ([numbered(hasher, i).finish(), 0, 0, 0], 1),
            #[cfg(feature = "md5")]
            Self::Md5(hasher, words) => (numbered(hasher, i).finish(), *words),
        };
        words.into_iter().take(count)
    }
}

/// Returns a slot that is used twice: by an `old` and a `new` point, or by two new servers. Returns `None` if no slot
/// is used twice. The new points must come server by server, with `replicas` points each.
fn duplicate_slot(old: &[Point], new: &[Point], replicas: usize) -> Option<u16> {
    // The slots are checked in ranges of `MARKS`, with a bitmap of 1 KiB. A bitmap for all slots would take 8 KiB,
    // which is much on a small stack.
    const MARKS: u16 = 8_192;
    for window in 0..=u16::MAX / MARKS {
        let mut marks = [0_u32; MARKS as usize / 32];
        let mark = |slot: u16| (usize::from(slot % MARKS / 32), u32::from(slot / MARKS == window) << (slot % 32));
        let (mut least, mut most) = (u16::MAX, 0);
        for slot in (0..).map_while(|server| new.get(server * replicas)).map(|point| point.slot) {
            let (word, bit) = mark(slot);
            if let Some(word) = marks.get_mut(word)
                && bit != 0
            {
                if *word & bit != 0 {
                    return Some(slot);
                }
                *word |= bit;
                (least, most) = (least.min(slot), most.max(slot));
            }
        }
        // A quick test comes first. Usually no old slot is in the range of the new slots, for example if one server is
        // added.
        let among = |point: &Point| least <= point.slot && point.slot <= most;
        let marked = |point: &&Point| {
            let (word, bit) = mark(point.slot);
            marks.get(word).is_some_and(|word| word & bit != 0)
        };
        if least <= most
            && old.iter().fold(false, |any, point| any | among(point))
            && let Some(point) = old.iter().find(marked)
        {
            return Some(point.slot);
        }
    }
    None
}

/// Sorts points in place, in the order of `before`. This code is used because the sort of `core` would add kilobytes of
/// code and a possible panic.
fn heapsort(points: &mut [Point], before: impl Fn(&Point, &Point) -> bool) {
    for at in (0..points.len() / 2).rev() {
        if let Some(point) = points.get(at).copied() {
            sift_down(points, at, point, &before);
        }
    }
    let mut heap = points;
    while let Some((last, rest)) = heap.split_last_mut() {
        if let Some(first) = rest.first() {
            let point = core::mem::replace(last, *first);
            sift_down(rest, 0, point, &before);
        }
        heap = rest;
    }
}

/// Puts a point into a max-heap whose place `at` is free. While the point comes before a child of the free place, that
/// child moves up, and the child's place becomes the free one.
fn sift_down(heap: &mut [Point], mut at: usize, point: Point, before: impl Fn(&Point, &Point) -> bool) {
    loop {
        let left = 2 * at + 1;
        let (child, last) = match (heap.get(left), heap.get(left + 1)) {
            (Some(one), Some(other)) if before(one, other) => (left + 1, *other),
            (Some(one), _) => (left, *one),
            (None, _) => break,
        };
        if !before(&point, &last) {
            break;
        }
        if let Some(place) = heap.get_mut(at) {
            *place = last;
        }
        at = child;
    }
    if let Some(place) = heap.get_mut(at) {
        *place = point;
    }
}

/// Merges the `points` from index `old` on into the points before that index. Both parts must be sorted. The points are
/// merged in batches, each as large as the buffer `aside`.
fn merge_behind(points: &mut [Point], mut old: usize, aside: &mut [Point], before: impl Fn(&Point, &Point) -> bool) {
    while old > 0
        && let Some(behind) = points.get(old..)
        && let Some(batch) = aside.get_mut(..behind.len().min(aside.len()))
        && !batch.is_empty()
    {
        for (aside, point) in batch.iter_mut().zip(behind) {
            *aside = *point;
        }
        merge(points, old, batch, &before);
        old += batch.len();
    }
}

/// Merges the points `new` into the first `old` points of `points`. `points` must have room for both. Both parts must
/// be sorted. `before` says whether an old point comes before a new point.
///
/// The merge starts at the end. So each old point moves at most once, in one block with its neighbours.
fn merge(points: &mut [Point], old: usize, new: &[Point], before: impl Fn(&Point, &Point) -> bool) {
    // This is the average number of old points between two new points.
    let apart = old.checked_div(new.len()).unwrap_or(0).max(1);
    let mut left = old;
    for (index, new) in new.iter().enumerate().rev() {
        let shift = index + 1;
        let at = gallop(points.get(..left).unwrap_or_default(), apart, |point| before(point, new));
        if let Some(place) = points.get_mut(at..left + shift)
            && let Some(moved) = place.len().checked_sub(shift)
        {
            // The old points after the new one move up in one block, by the number of new points that come before them.
            place.copy_within(..moved, shift);
            if let Some(place) = place.get_mut(index) {
                *place = *new;
            }
        }
        left = at;
    }
}

/// Returns for how many of the sorted `points` the function `before` returns true. This is a galloping search from the
/// end. Its step starts at `apart` and doubles, since the searched place is probably near the place of the previous
/// search.
fn gallop(points: &[Point], apart: usize, before: impl Fn(&Point) -> bool) -> usize {
    let (mut end, mut step) = (points.len(), apart);
    loop {
        let start = end.saturating_sub(step);
        let near = points.get(start..end).unwrap_or_default();
        if start == 0 || near.first().is_none_or(&before) {
            return start + near.partition_point(&before);
        }
        end = start;
        step = step.saturating_mul(2);
    }
}

#[cfg(test)]
#[cfg(feature = "md5")]
mod tests;

#[cfg(test)]
#[cfg(not(feature = "md5"))]
mod without_md5 {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn s1_a_hash_that_is_not_built_in_is_an_error_that_names_the_feature() {
        for hash in RingHash::ALL {
            let made = FixedRing::<8>::new(*hash, 4);
            if *hash == RingHash::Murmur {
                assert!(made.is_ok());
                continue;
            }
            let error = made.unwrap_err();
            assert_eq!(error, RingError::NeedsFeature { hash: *hash, feature: "md5" });
            assert_eq!(error.to_string(), std::format!("{} needs the feature `md5` of hedge-core", hash.name()));
            #[cfg(all(feature = "alloc", has_atomic_64))]
            assert_eq!(
                crate::balance::AnyBalancer::<crate::balance::Heap>::named(hash.name(), 1).unwrap_err(),
                crate::balance::BalancerError::Ring(error)
            );
        }
    }
}
