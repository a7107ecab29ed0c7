//! Where balancers keep what they compute from a list: in [`Fixed`] memory, or on the `Heap`.

use core::fmt;
use core::ops::Deref;

use super::ArrangeError;
#[cfg(has_atomic_64)]
use super::la::LaNode;
use super::ring::{self, RingStorage};

/// A kind of memory for balancers: [`Fixed`] or `Heap`.
pub trait Storage: Copy + fmt::Debug + 'static {
    /// For the weights of a list.
    type Weights: Buffer<u32> + Clone + fmt::Debug;
    /// For the points of a ring.
    type Points: RingStorage + Clone + fmt::Debug;
    /// For the places of a tree.
    #[cfg(has_atomic_64)]
    type Nodes: Buffer<LaNode> + Clone + fmt::Debug;
    /// For parts that only some balancers need. On the heap they are boxed, so that the other balancers stay small.
    type MaybeBoxed<T: fmt::Debug>: Deref<Target = T> + From<T> + fmt::Debug;
}

/// A sequence of items that is replaced as a whole.
pub trait Buffer<T>: AsRef<[T]> + Default {
    /// Replaces all items.
    ///
    /// # Errors
    /// There are more items than room. Which items it then holds is unspecified.
    fn refill(&mut self, items: impl Iterator<Item = T>) -> Result<(), ArrangeError>;

    /// The items, to be changed.
    fn as_mut(&mut self) -> &mut [T];
}

/// Memory inside the balancer, for `SERVERS` slots and `POINTS` points of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fixed<const SERVERS: usize, const POINTS: usize = 0> {}

impl<const SERVERS: usize, const POINTS: usize> Storage for Fixed<SERVERS, POINTS> {
    type Weights = heapless::Vec<u32, SERVERS>;
    type Points = ring::Fixed<POINTS>;
    #[cfg(has_atomic_64)]
    type Nodes = heapless::Vec<LaNode, SERVERS>;
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

/// Memory on the heap, as much as is needed.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heap {}

#[cfg(feature = "alloc")]
impl Storage for Heap {
    type Weights = alloc::vec::Vec<u32>;
    type Points = ring::Heap;
    #[cfg(has_atomic_64)]
    type Nodes = alloc::vec::Vec<LaNode>;
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
