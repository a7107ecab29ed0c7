//! A consistent hashing ring of points: `c_murmurhash`, `c_md5`, `c_ketama`.
//!
//! Each server has some points on a ring of 2^32 places. A request code belongs to the server of the first point at or
//! after it. So when a server comes or goes, only the codes of its own points move. A code whose server is down goes
//! where it would go without that server (Karger et al. 1997). The keys and hashes are brpc's; those of four points a
//! digest are libketama's.
//!
//! # Cost
//!
//! 8 bytes a point; on the heap half a byte more, for an index by the upper bits of the hashes. A
//! [`lookup`](Ring::lookup) is a binary search. On the heap it is among the points that share those bits, 8 to 16 on
//! average for rings of any size. In a [`FixedRing`] it is among all points.
//!
//! Adding servers, one or many at once, hashes their keys, sorts their own points and merges these into the others. The
//! points behind them move once on the heap, and once for every 128 new points in a [`FixedRing`]. The others are not
//! sorted again; they are only read, to check the slots and to make the index. Removing servers is one pass, and one
//! for the index.

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

/// How many points a server has unless told otherwise: brpc's `chash_num_replicas`.
pub const REPLICAS: u16 = 100;

/// How many new points are merged at a time if there is no heap to hold more of them aside.
const BATCH: usize = 128;

/// The points of servers, sorted by hash. A server is named by the number of its slot.
///
/// Two clients that know the same servers agree on the server of every code, in whatever order they came to know them.
/// Points of equal hash stand in the canonical order of their servers; `insert_all` asks for that order where it
/// matters.
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

/// A ring of at most `N` points, without a heap: for `N / replicas` servers.
pub type FixedRing<const N: usize> = Ring<Fixed<N>>;

/// A ring of any number of points, on the heap.
#[cfg(feature = "alloc")]
pub type HeapRing = Ring<Heap>;

/// A server's point on the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Point {
    /// Its place on the ring.
    pub hash: u32,
    /// The slot of the server that it belongs to.
    pub slot: u16,
}

impl<S: RingStorage> Ring<S> {
    /// A ring without servers. Each server will have `replicas` points, usually [`REPLICAS`].
    ///
    /// # Errors
    /// [`RingError::Replicas`]: `replicas` is 0, or it is not a multiple of 4 for [`RingHash::Ketama`].
    /// [`RingError::NeedsFeature`]: the hash is not built in.
    pub fn new(hash: RingHash, replicas: u16) -> Result<Self, RingError> {
        if cfg!(not(feature = "md5")) && hash.needs_md5() {
            return Err(RingError::NeedsFeature { hash, feature: "md5" });
        }
        if replicas == 0 || !replicas.is_multiple_of(hash.points_a_key()) {
            return Err(RingError::Replicas { hash, replicas });
        }
        Ok(Self { hash, replicas, storage: S::default() })
    }

    /// Adds the server in `slot`: [`insert_all`](Self::insert_all) of one.
    ///
    /// # Errors
    /// [`RingError::Full`], [`RingError::Endpoint`] and [`RingError::Taken`]; nothing has changed then.
    pub fn insert(
        &mut self,
        slot: u16,
        endpoint: impl fmt::Display,
        order: impl Fn(u16, u16) -> Ordering,
    ) -> Result<(), RingError> {
        self.insert_all(iter::once((slot, endpoint)), order)
    }

    /// Adds servers, each by its slot and by its address as all clients write it. `order` compares the servers in two
    /// slots, added or already there, by the canonical order. It is asked only for points of equal hash.
    ///
    /// The ring is the same as if the servers had come one by one in any order, but the work is one pass for all of
    /// them.
    ///
    /// # Errors
    /// [`RingError::Full`], [`RingError::Endpoint`], and [`RingError::Taken`] also for a slot that comes twice; nothing has
    /// changed then.
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
            // By slot, if `order` finds them equal: the ring must not depend on the order in which they came.
            let order = || order(one.slot, other.slot).then(one.slot.cmp(&other.slot));
            one.hash.cmp(&other.hash).then_with(order).is_lt()
        };
        self.storage.sort(old, before);
        self.storage.merge(old, before);
        self.storage.index();
        Ok(())
    }

    /// Appends the points of `servers`, server by server, unsorted. After an error some of them are there.
    fn append<E: fmt::Display>(&mut self, servers: impl IntoIterator<Item = (u16, E)>) -> Result<(), RingError> {
        let servers = servers.into_iter();
        let replicas = usize::from(self.replicas);
        let keys = self.replicas / self.hash.points_a_key();
        let mut end = self.points().len();
        // Room for all that are known to come, at once.
        let (at_least, _) = servers.size_hint();
        self.storage.resize(end.saturating_add(at_least.saturating_mul(replicas)))?;
        for (slot, endpoint) in servers {
            // The endpoint is hashed once; each point only adds its number.
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

    /// Removes the server in `slot`: [`retain_slots`](Self::retain_slots) of all others. Returns false if it has no
    /// points.
    pub fn remove(&mut self, slot: u16) -> bool {
        self.retain_slots(|other| other != slot)
    }

    /// Removes the servers whose slots `keep` refuses. Returns false if there were none. `keep` is asked for every
    /// point.
    pub fn retain_slots(&mut self, mut keep: impl FnMut(u16) -> bool) -> bool {
        let before = self.points().len();
        self.storage.retain(|point| keep(point.slot));
        let removed = self.points().len() < before;
        if removed {
            self.storage.index();
        }
        removed
    }

    /// All points, by ascending hash.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        self.storage.points()
    }

    /// The index among [`Self::points`] of the point that `code` belongs to: the first one whose hash is `code` or
    /// more, else the first of all. 0 if there are no points.
    #[inline]
    #[must_use]
    pub fn lookup(&self, code: u32) -> usize {
        let around = self.storage.around(code);
        let near = self.points().get(around.clone()).unwrap_or_default();
        let at = around.start + near.partition_point(|point| point.hash < code);
        // Past the last point the ring begins again.
        if at < self.points().len() { at } else { 0 }
    }

    /// The slots of the points from the one that `code` belongs to, once around the ring: first choice, then fallbacks.
    ///
    /// A server comes once for each of its points. On average, a walk takes as many steps to a server that will do as
    /// there are servers, divided by the number of those that will do.
    #[inline]
    pub fn walk(&self, code: u32) -> Walk<'_> {
        let (before, ahead) = self.points().split_at_checked(self.lookup(code)).unwrap_or_default();
        Walk { points: ahead.iter().chain(before) }
    }

    /// For each point, its slot and how many of the 2^32 codes belong to it. A server's share of the ring is the sum
    /// over its points.
    pub fn arcs(&self) -> impl Iterator<Item = (u16, u64)> {
        const ROUND: u64 = 1 << 32;
        // The arc of the first point begins at the last point, a round earlier.
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

/// How the points of a server are computed from its endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RingHash {
    /// `c_murmurhash`: the MurmurHash3_x86_32 of `<endpoint>-<i>`, for each `i` below the number of points.
    Murmur,
    /// `c_md5` (feature `md5`): the first four bytes of its MD5 digest, little-endian.
    Md5,
    /// `c_ketama` (feature `md5`): all four words of the digest, little-endian, for each `i` below a quarter of the number
    /// of points.
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

/// Why a ring could not be made or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RingError {
    /// The hash cannot give this number of points a server.
    Replicas {
        /// How points are hashed.
        hash: RingHash,
        /// The number.
        replicas: u16,
    },
    /// The hash is not built in.
    NeedsFeature {
        /// How points should be hashed.
        hash: RingHash,
        /// The feature of hedge-core that brings the hash.
        feature: &'static str,
    },
    /// There is no room for the points of another server.
    Full {
        /// How many points there would be, at least.
        points: usize,
        /// How many there is room for; on the heap, in the memory that the ring already has.
        capacity: usize,
    },
    /// The slot has points already, or it comes twice among the servers to add.
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

/// A hasher that has read `<endpoint>-`, which is the same for all points of a server.
enum Key {
    Murmur(Murmur3),
    /// And of how many words of a digest points are made.
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
            // `Ring::new` has refused it.
            #[cfg(not(feature = "md5"))]
            RingHash::Md5 | RingHash::Ketama => return Err(fmt::Error),
        })
    }

    /// The hashes of `<endpoint>-<i>`: one, or ketama's four.
    fn hashes(&self, i: u16) -> impl Iterator<Item = u32> + use<> {
        fn numbered<H: Write + Clone>(hasher: &H, i: u16) -> H {
            let mut hasher = hasher.clone();
            // A hasher takes whatever is written: no error.
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

/// A slot that is used twice: by `old` and by `new` points, or by two of the new servers. The new points are `replicas`
/// of each server, one server after another.
fn duplicate_slot(old: &[Point], new: &[Point], replicas: usize) -> Option<u16> {
    // A bitmap of so many slots at a time, in 1 KiB. One for all slots would be 8 KiB, which is much on a small stack.
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
        // A quick test first: mostly no old slot is even in the range of the new ones, as with a single new server.
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

/// Sorts in place. Core's sort would be kilobytes of code, with a panic in them.
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

/// Puts a point into a max-heap whose place `at` is free, by sifting it down: as long as it comes before a child, that
/// child moves up and leaves its own place free.
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

/// Merges the `points` from `old` on into those before, as many at a time as the buffer `aside` holds. Both parts are
/// sorted.
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

/// Merges the points `new` into the first `old` ones of `points`, which has room for both; both are sorted. `before`
/// says whether an old point comes before a new one.
///
/// It goes from the back, so that each old point moves at most once, in one block with its neighbours.
fn merge(points: &mut [Point], old: usize, new: &[Point], before: impl Fn(&Point, &Point) -> bool) {
    // How many old points are between two new ones, on average.
    let apart = old.checked_div(new.len()).unwrap_or(0).max(1);
    let mut left = old;
    for (index, new) in new.iter().enumerate().rev() {
        let shift = index + 1;
        let at = gallop(points.get(..left).unwrap_or_default(), apart, |point| before(point, new));
        if let Some(place) = points.get_mut(at..left + shift)
            && let Some(moved) = place.len().checked_sub(shift)
        {
            // The old points behind the new one move up in one block, by as many new points as come before them.
            place.copy_within(..moved, shift);
            if let Some(place) = place.get_mut(index) {
                *place = *new;
            }
        }
        left = at;
    }
}

/// How many of the sorted `points` are `before`: a galloping search from the back, by a step of `apart` that doubles,
/// since the place of one point is likely to be near that of the next.
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
