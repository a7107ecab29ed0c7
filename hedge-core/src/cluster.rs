//! The servers a channel may choose from, in fixed slots, without a heap.

use core::cmp::Ordering;
use core::fmt;
use core::hash::Hash;
use core::num::NonZeroU32;

use heapless::Vec;

use crate::atomic::{AtomicU32, Ordering::Relaxed};
use crate::balance::{ArrangeError, WeightError};
use crate::id::{AddressKey, ServerId};

/// A server: its address, and a tag that tells it apart from others at the same address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server<A, T> {
    /// Its address.
    pub address: A,
    /// Its tag. It is part of the server's identity for statistics, but "another server" means another address.
    pub tag: T,
}

/// At most `N` servers in slots that stay where they are while a server lives; `S` is what is kept of each beside.
///
/// Picks go through `&self` and a few relaxed atomics; the list changes through `&mut self`. A slot that was emptied counts
/// its generation up, so that what is still told of the old server is dropped (L20). The list is kept in the canonical
/// order of (address, tag), whatever the order of the insertions (S7).
#[derive(Debug)]
pub struct Cluster<A, T = &'static str, const N: usize = 8, S = ()> {
    slots: [Slot<A, T, S>; N],
    /// The slots in use, in canonical order.
    order: Vec<u16, N, u32>,
    addresses: u32,
}

#[derive(Debug)]
struct Slot<A, T, S> {
    server: Option<Lives<A, T, S>>,
    in_flight: AtomicU32,
    generation: u16,
    address: AddressKey,
}

/// A server in a slot.
#[derive(Debug)]
struct Lives<A, T, S> {
    server: Server<A, T>,
    weight: NonZeroU32,
    state: S,
}

impl<A, T, S> Slot<A, T, S> {
    const fn empty() -> Self {
        Self { server: None, in_flight: AtomicU32::new(0), generation: 0, address: AddressKey(0) }
    }
}

impl<A: Ord + Hash, T: Ord, const N: usize, S> Cluster<A, T, N, S> {
    /// Adds a server.
    ///
    /// # Errors
    /// [`ClusterError::Full`], and [`ClusterError::Duplicate`] for a pair of address and tag that is there already.
    pub fn insert(&mut self, server: Server<A, T>, weight: NonZeroU32, state: S) -> Result<ServerId, ClusterError> {
        let (mut place, mut known) = (0, None);
        for (there, at) in self.iter().zip(1..) {
            match there.1.cmp(&server) {
                Ordering::Less => place = at,
                Ordering::Equal => return Err(ClusterError::Duplicate),
                Ordering::Greater => {}
            }
            if there.1.address == server.address {
                known = self.slot(there.0).map(|slot| slot.address);
            }
        }
        let key = known.unwrap_or_else(|| {
            let mut key = AddressKey::of(&server.address);
            while self.slots.iter().any(|slot| slot.server.is_some() && slot.address == key) {
                key = key.next();
            }
            key
        });
        let free = self.slots.iter().position(|slot| slot.server.is_none()).ok_or(ClusterError::Full)?;
        let index = u16::try_from(free).map_err(|_| ClusterError::Full)?;
        let slot = self.slots.get_mut(free).ok_or(ClusterError::Full)?;
        self.order.push(index).map_err(|_| ClusterError::Full)?;
        // Not by `insert`, which might panic: each slot number behind the place moves on by one.
        let mut next = index;
        for there in self.order.iter_mut().skip(place) {
            core::mem::swap(there, &mut next);
        }
        slot.address = key;
        self.addresses += u32::from(known.is_none());
        slot.server = Some(Lives { server, weight, state });
        slot.in_flight.store(0, Relaxed);
        Ok(ServerId::new(index, slot.generation))
    }

    /// Removes a server. Attempts at it go on, but their feedback is dropped (L20).
    ///
    /// # Errors
    /// [`ClusterError::Gone`]: no server has that id.
    pub fn remove(&mut self, server: ServerId) -> Result<Server<A, T>, ClusterError> {
        let slot = self.slots.get_mut(usize::from(server.slot())).filter(|slot| slot.generation == server.generation());
        let slot = slot.ok_or(ClusterError::Gone)?;
        let removed = slot.server.take().ok_or(ClusterError::Gone)?.server;
        slot.generation = slot.generation.wrapping_add(1);
        self.order.retain(|slot| *slot != server.slot());
        if self.iter().all(|(_, there)| there.address != removed.address) {
            self.addresses -= 1;
        }
        Ok(removed)
    }

    /// The server with that address and tag.
    pub fn find(&self, address: A, tag: T) -> Option<ServerId> {
        self.find_server(&Server { address, tag })
    }

    pub(crate) fn find_server(&self, server: &Server<A, T>) -> Option<ServerId> {
        self.iter().find(|(_, there)| *there == server).map(|(id, _)| id)
    }
}

impl<A, T, const N: usize, S> Cluster<A, T, N, S> {
    /// A cluster without servers.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N <= 0x1_0000, "slots are numbered with 16 bits") };
        Self { slots: [const { Slot::empty() }; N], order: Vec::new(), addresses: 0 }
    }

    /// How many servers there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The server at a position of the canonical order; `None` past the end.
    pub fn at(&self, position: usize) -> Option<ServerId> {
        self.in_slot(*self.order.get(position)?)
    }

    /// The server in a slot.
    pub fn in_slot(&self, slot: u16) -> Option<ServerId> {
        let there = self.slots.get(usize::from(slot)).filter(|slot| slot.server.is_some())?;
        Some(ServerId::new(slot, there.generation))
    }

    /// The server with that id; `None` if it is gone.
    pub fn server(&self, server: ServerId) -> Option<&Server<A, T>> {
        self.lives(server).map(|lives| &lives.server)
    }

    /// The address of the server with that id; `None` if it is gone.
    pub fn address(&self, server: ServerId) -> Option<&A> {
        self.server(server).map(|server| &server.address)
    }

    /// The weight of a server; `None` if it is gone.
    pub fn weight(&self, server: ServerId) -> Option<NonZeroU32> {
        self.lives(server).map(|lives| lives.weight)
    }

    /// The state that is kept for a server; `None` if it is gone.
    #[inline]
    pub fn state(&self, server: ServerId) -> Option<&S> {
        self.lives(server).map(|lives| &lives.state)
    }

    /// The servers, in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (ServerId, &Server<A, T>)> {
        self.order.iter().filter_map(|index| {
            let slot = self.slots.get(usize::from(*index))?;
            Some((ServerId::new(*index, slot.generation), &slot.server.as_ref()?.server))
        })
    }

    /// The states of the servers, in the order of their slots.
    pub fn states(&self) -> impl Iterator<Item = &S> {
        self.slots.iter().filter_map(|slot| slot.server.as_ref().map(|lives| &lives.state))
    }

    /// How many different addresses there are, usable or not.
    pub const fn addresses(&self) -> usize {
        self.addresses as usize
    }

    /// How many attempts a server is working on; 0 if it is gone.
    pub fn in_flight(&self, server: ServerId) -> u32 {
        self.slot(server).map_or(0, |slot| slot.in_flight.load(Relaxed))
    }

    /// The id, the address and the state of the server in a slot; `None` if the slot is empty.
    #[inline]
    pub(crate) fn candidate(&self, index: u16) -> Option<(ServerId, AddressKey, &S)> {
        let slot = self.slots.get(usize::from(index))?;
        Some((ServerId::new(index, slot.generation), slot.address, &slot.server.as_ref()?.state))
    }

    /// The slot at a position.
    #[inline]
    pub(crate) fn slot_at(&self, position: usize) -> Option<u16> {
        self.order.get(position).copied()
    }

    /// The count of attempts at a server, and what else is kept of it; `None` if it is gone.
    #[inline]
    pub(crate) fn counted(&self, server: ServerId) -> Option<(&AtomicU32, &S)> {
        let slot = self.generation_of(server)?;
        Some((&slot.in_flight, &slot.server.as_ref()?.state))
    }

    fn slot(&self, server: ServerId) -> Option<&Slot<A, T, S>> {
        self.generation_of(server).filter(|slot| slot.server.is_some())
    }

    fn lives(&self, server: ServerId) -> Option<&Lives<A, T, S>> {
        self.generation_of(server)?.server.as_ref()
    }

    /// The slot of a server, if no later server has had it.
    fn generation_of(&self, server: ServerId) -> Option<&Slot<A, T, S>> {
        self.slots.get(usize::from(server.slot())).filter(|slot| slot.generation == server.generation())
    }
}

impl<A, T, const N: usize, S> Default for Cluster<A, T, N, S> {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a list of servers could not be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ClusterError {
    /// Every slot is taken.
    Full,
    /// A server with that address and tag is in the list already.
    Duplicate,
    /// No server has that id, or none has it any more.
    Gone,
    /// The balancer uses weights, and the server's tag is no weight.
    Weight(WeightError),
    /// The filter refuses the server.
    FilteredOut,
    /// The balancer has no room for the list; the server was not added.
    Balancer(ArrangeError),
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "cluster: every slot is taken",
            Self::Duplicate => "cluster: that address and tag are listed already",
            Self::Gone => "cluster: no server has that id",
            Self::FilteredOut => "cluster: the filter refuses that server",
            Self::Weight(error) => return error.fmt(f),
            Self::Balancer(error) => return error.fmt(f),
        })
    }
}

impl core::error::Error for ClusterError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec as List;

    fn insert<const N: usize>(
        cluster: &mut Cluster<u8, u8, N>,
        address: u8,
        tag: u8,
    ) -> Result<ServerId, ClusterError> {
        cluster.insert(Server { address, tag }, NonZeroU32::MIN, ())
    }

    fn addresses<const N: usize>(cluster: &Cluster<u8, u8, N>) -> List<(u8, u8)> {
        cluster.iter().map(|(_, server)| (server.address, server.tag)).collect()
    }

    #[test]
    fn s7_the_order_does_not_depend_on_the_insertions() {
        let mut cluster = Cluster::<u8, u8, 4>::new();
        for (address, tag) in [(3, 0), (1, 1), (2, 0), (1, 0)] {
            insert(&mut cluster, address, tag).unwrap();
        }
        assert_eq!(addresses(&cluster), [(1, 0), (1, 1), (2, 0), (3, 0)]);
        assert_eq!(cluster.addresses(), 3);
        assert_eq!(insert(&mut cluster, 9, 9), Err(ClusterError::Full));
        assert_eq!(insert(&mut cluster, 1, 1), Err(ClusterError::Duplicate));
    }

    #[test]
    fn l20_a_slot_that_lives_again_is_another_server() {
        let mut cluster = Cluster::<u8, u8, 1>::new();
        let old = insert(&mut cluster, 1, 0).unwrap();
        cluster.counted(old).unwrap().0.fetch_add(1, Relaxed);
        cluster.remove(old).unwrap();
        let new = insert(&mut cluster, 2, 0).unwrap();
        assert_ne!(old, new);
        assert_eq!((cluster.server(old), cluster.state(old)), (None, None));
        assert!(cluster.counted(old).is_none(), "the old server's feedback is dropped");
        assert_eq!(cluster.in_flight(new), 0);
        assert_eq!(cluster.remove(old), Err(ClusterError::Gone));
        assert_eq!(cluster.find(2, 0), Some(new));
    }

    #[test]
    fn servers_of_one_address_share_its_key_and_keep_it() {
        let mut cluster = Cluster::<u8, u8, 4>::new();
        let (a, b) = (insert(&mut cluster, 1, 0).unwrap(), insert(&mut cluster, 1, 1).unwrap());
        let key = |cluster: &Cluster<u8, u8, 4>, id: ServerId| cluster.candidate(id.slot()).unwrap().1;
        let shared = key(&cluster, a);
        assert_eq!(shared, key(&cluster, b));
        cluster.remove(a).unwrap();
        let c = insert(&mut cluster, 2, 0).unwrap();
        assert_eq!(key(&cluster, b), shared);
        assert_ne!(key(&cluster, c), shared);
        cluster.remove(b).unwrap();
        let again = insert(&mut cluster, 1, 7).unwrap();
        assert_eq!(key(&cluster, again), shared, "L11: an address that comes back has been tried by whoever tried it");
    }
}
