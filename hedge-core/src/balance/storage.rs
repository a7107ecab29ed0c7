//! The memory in which balancers store what they compute from a list: [`Fixed`] memory or the `Heap`.

use core::fmt;
use core::ops::{Deref, DerefMut};

use super::ArrangeError;
#[cfg(has_atomic_64)]
use super::grouped::{NamedGroups, NoGroups};
#[cfg(has_atomic_64)]
use super::la::LaNode;
use super::ring::{self, RingStorage};
use crate::atomic::AtomicBool;

/// A kind of memory for balancers: [`Fixed`] or `Heap`.
pub trait Storage: Copy + fmt::Debug + 'static {
    /// The type of the memory for the weights of a list.
    type Weights: Buffer<u32> + Clone + fmt::Debug;
    /// The type of the memory for the points of a ring.
    type Points: RingStorage + Clone + fmt::Debug;
    /// The type of the memory for the nodes of a tree of weights.
    #[cfg(has_atomic_64)]
    type Nodes: Buffer<LaNode> + Clone + fmt::Debug;
    /// The type of the memory for one flag for each server.
    type Flags: Buffer<AtomicBool> + fmt::Debug;
    /// The type of the balancers within groups that an `AnyBalancer` can have in this memory ([S9](crate::rules#S9),
    /// [S10](crate::rules#S10)).
    #[cfg(has_atomic_64)]
    type Groups: NamedGroups<Self>;
    /// The type of the memory for parts that only some balancers need. On the heap these parts are boxed, so that the
    /// other balancers stay small.
    type MaybeBoxed<T: fmt::Debug>: DerefMut<Target = T> + From<T> + fmt::Debug;
}

/// A sequence of items. Its items are replaced all at once.
pub trait Buffer<T>: AsRef<[T]> + Default {
    /// Replaces all items.
    ///
    /// # Errors
    /// Returns an error if the buffer has no room for all items. The content of the buffer is then unspecified.
    fn refill(&mut self, items: impl Iterator<Item = T>) -> Result<(), ArrangeError>;

    /// Returns the items, so that they can be changed in place.
    fn as_mut(&mut self) -> &mut [T];
}

/// Memory inside the balancer, for `SERVERS` slots and for `POINTS` points of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fixed<const SERVERS: usize, const POINTS: usize = 0> {}

impl<const SERVERS: usize, const POINTS: usize> Storage for Fixed<SERVERS, POINTS> {
    type Weights = heapless::Vec<u32, SERVERS>;
    type Points = ring::Fixed<POINTS>;
    #[cfg(has_atomic_64)]
    type Nodes = heapless::Vec<LaNode, SERVERS>;
    type Flags = heapless::Vec<AtomicBool, SERVERS>;
    #[cfg(has_atomic_64)]
    type Groups = NoGroups<Self>;
    type MaybeBoxed<T: fmt::Debug> = InPlace<T>;
}

impl<T, const N: usize> Buffer<T> for heapless::Vec<T, N> {
    fn refill(&mut self, items: impl Iterator<Item = T>) -> Result<(), ArrangeError> {
        self.clear();
        for item in items {
            self.push(item).map_err(|_| ArrangeError::Room { servers: N })?;
        }
        Ok(())
    }

    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}

/// A value that is stored in place.
#[derive(Debug)]
pub struct InPlace<T>(T);

impl<T> From<T> for InPlace<T> {
    fn from(it: T) -> Self {
        Self(it)
    }
}

impl<T> Deref for InPlace<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for InPlace<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// Memory on the heap, which grows with the list.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heap {}

#[cfg(feature = "alloc")]
impl Storage for Heap {
    type Weights = alloc::vec::Vec<u32>;
    type Points = ring::Heap;
    #[cfg(has_atomic_64)]
    type Nodes = alloc::vec::Vec<LaNode>;
    type Flags = alloc::vec::Vec<AtomicBool>;
    #[cfg(has_atomic_64)]
    type Groups = super::grouped::HeapGroups;
    type MaybeBoxed<T: fmt::Debug> = alloc::boxed::Box<T>;
}

#[cfg(feature = "alloc")]
impl<T> Buffer<T> for alloc::vec::Vec<T> {
    fn refill(&mut self, items: impl Iterator<Item = T>) -> Result<(), ArrangeError> {
        self.clear();
        self.extend(items);
        Ok(())
    }

    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}
