//! The servers a channel may choose from, in fixed slots, without a heap.

use core::cmp::Ordering;
use core::fmt;
use core::hash::Hash;

use heapless::Vec;

use crate::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use crate::balance::{Candidate, ServerList};
use crate::call::{AddressKey, ServerId};

/// A server: where it is, and a tag that tells it from others at the same address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server<A, T> {
    /// Where it is.
    pub address: A,
    /// Its tag: part of its identity for statistics, not of "another server".
    pub tag: T,
}

/// At most `N` servers in slots that stay where they are while a server lives.
///
/// Picks go through `&self` and a few relaxed atomics; the list changes through `&mut self`. A slot that was emptied counts
/// its generation up, so that what is still told of the old server is dropped (L20). The list is kept in the canonical
/// order of (address, tag), whatever the order of the insertions (S7).
#[derive(Debug)]
pub struct Cluster<A, T = &'static str, const N: usize = 8> {
    slots: [Slot<A, T>; N],
    /// The slots in use, in canonical order.
    order: Vec<u16, N>,
    addresses: u32,
}

#[derive(Debug)]
struct Slot<A, T> {
    server: Option<Server<A, T>>,
    in_flight: AtomicU32,
    usable: AtomicBool,
    generation: u16,
    address: AddressKey,
}

impl<A, T> Slot<A, T> {
    const fn empty() -> Self {
        Self {
            server: None,
            in_flight: AtomicU32::new(0),
            usable: AtomicBool::new(false),
            generation: 0,
            address: AddressKey(0),
        }
    }

    fn candidate(&self, slot: u16) -> Candidate {
        Candidate {
            server: ServerId::new(slot, self.generation),
            address: self.address,
            usable: self.usable.load(Relaxed),
        }
    }
}

impl<A: Ord + Hash, T: Ord, const N: usize> Cluster<A, T, N> {
    /// Adds a server, usable at once.
    ///
    /// # Errors
    /// [`ClusterError::Full`], and [`ClusterError::Duplicate`] for a pair of address and tag that is there already.
    pub fn insert(&mut self, address: A, tag: T) -> Result<ServerId, ClusterError> {
        let server = Server { address, tag };
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
        self.order.insert(place, index).map_err(|_| ClusterError::Full)?;
        slot.address = key;
        self.addresses += u32::from(known.is_none());
        slot.server = Some(server);
        slot.in_flight.store(0, Relaxed);
        slot.usable.store(true, Relaxed);
        Ok(ServerId::new(index, slot.generation))
    }

    /// Removes a server; attempts at it go on, what is told of them is dropped.
    ///
    /// # Errors
    /// [`ClusterError::Gone`].
    pub fn remove(&mut self, server: ServerId) -> Result<Server<A, T>, ClusterError> {
        let slot = self.slots.get_mut(usize::from(server.slot())).filter(|slot| slot.generation == server.generation());
        let slot = slot.ok_or(ClusterError::Gone)?;
        let removed = slot.server.take().ok_or(ClusterError::Gone)?;
        slot.generation = slot.generation.wrapping_add(1);
        self.order.retain(|slot| *slot != server.slot());
        if self.iter().all(|(_, there)| there.address != removed.address) {
            self.addresses -= 1;
        }
        Ok(removed)
    }

    /// The server with that address and tag.
    pub fn find(&self, address: A, tag: T) -> Option<ServerId> {
        let server = Server { address, tag };
        self.iter().find(|(_, there)| **there == server).map(|(id, _)| id)
    }
}

impl<A, T, const N: usize> Cluster<A, T, N> {
    /// No servers.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N <= 0x1_0000, "slots are numbered with 16 bits") };
        Self { slots: [const { Slot::empty() }; N], order: Vec::new(), addresses: 0 }
    }

    /// The server with that id; `None` if it is gone.
    pub fn server(&self, server: ServerId) -> Option<&Server<A, T>> {
        self.slot(server)?.server.as_ref()
    }

    /// The address of the server with that id; `None` if it is gone.
    pub fn address(&self, server: ServerId) -> Option<&A> {
        self.server(server).map(|server| &server.address)
    }

    /// The servers, in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (ServerId, &Server<A, T>)> {
        self.order.iter().filter_map(|index| {
            let slot = self.slots.get(usize::from(*index))?;
            Some((ServerId::new(*index, slot.generation), slot.server.as_ref()?))
        })
    }

    /// How many different addresses there are, usable or not.
    pub const fn addresses(&self) -> usize {
        self.addresses as usize
    }

    /// Says whether a server takes calls; false if it is gone.
    pub fn set_usable(&self, server: ServerId, usable: bool) -> bool {
        match self.slot(server) {
            Some(slot) => {
                slot.usable.store(usable, Relaxed);
                true
            }
            None => false,
        }
    }

    /// How many attempts a server is working on; 0 if it is gone.
    pub fn in_flight(&self, server: ServerId) -> u32 {
        self.slot(server).map_or(0, |slot| slot.in_flight.load(Relaxed))
    }

    /// One attempt more at this server.
    pub(crate) fn started(&self, server: ServerId) {
        if let Some(slot) = self.generation_of(server) {
            slot.in_flight.fetch_add(1, Relaxed);
        }
    }

    /// One attempt less at this server.
    pub(crate) fn finished(&self, server: ServerId) {
        if let Some(slot) = self.generation_of(server) {
            slot.in_flight.fetch_sub(1, Relaxed);
        }
    }

    fn slot(&self, server: ServerId) -> Option<&Slot<A, T>> {
        self.generation_of(server).filter(|slot| slot.server.is_some())
    }

    /// The slot, if no other server has lived in it since. Enough for counting: a server that comes starts from 0.
    fn generation_of(&self, server: ServerId) -> Option<&Slot<A, T>> {
        self.slots.get(usize::from(server.slot())).filter(|slot| slot.generation == server.generation())
    }
}

impl<A, T, const N: usize> ServerList for Cluster<A, T, N> {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        let index = *self.order.get(position)?;
        Some(self.slots.get(usize::from(index))?.candidate(index))
    }

    fn find(&self, server: ServerId) -> Option<Candidate> {
        Some(self.slot(server)?.candidate(server.slot()))
    }
}

impl<A, T, const N: usize> Default for Cluster<A, T, N> {
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
    /// That address with that tag is there already.
    Duplicate,
    /// No server has that id (any more).
    Gone,
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "cluster: every slot is taken",
            Self::Duplicate => "cluster: that address with that tag is there already",
            Self::Gone => "cluster: no server has that id",
        })
    }
}

impl core::error::Error for ClusterError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec as List;

    fn addresses<const N: usize>(cluster: &Cluster<u8, u8, N>) -> List<(u8, u8)> {
        cluster.iter().map(|(_, server)| (server.address, server.tag)).collect()
    }

    #[test]
    fn s7_the_order_does_not_depend_on_the_insertions() {
        let mut cluster = Cluster::<u8, u8, 4>::new();
        for (address, tag) in [(3, 0), (1, 1), (2, 0), (1, 0)] {
            cluster.insert(address, tag).unwrap();
        }
        assert_eq!(addresses(&cluster), [(1, 0), (1, 1), (2, 0), (3, 0)]);
        assert_eq!(cluster.addresses(), 3);
        assert_eq!(cluster.insert(9, 9), Err(ClusterError::Full));
        assert_eq!(cluster.insert(1, 1), Err(ClusterError::Duplicate));
    }

    #[test]
    fn l20_a_slot_that_lives_again_is_another_server() {
        let mut cluster = Cluster::<u8, u8, 1>::new();
        let old = cluster.insert(1, 0).unwrap();
        cluster.started(old);
        cluster.remove(old).unwrap();
        let new = cluster.insert(2, 0).unwrap();
        assert_ne!(old, new);
        assert_eq!(cluster.server(old), None);
        cluster.finished(old);
        assert_eq!(cluster.in_flight(new), 0, "the old server's feedback is dropped");
        assert_eq!(cluster.remove(old), Err(ClusterError::Gone));
        assert!(!cluster.set_usable(old, false));
        assert_eq!(cluster.find(2, 0), Some(new));
    }

    #[test]
    fn servers_of_one_address_share_its_key_and_keep_it() {
        let mut cluster = Cluster::<u8, u8, 4>::new();
        let (a, b) = (cluster.insert(1, 0).unwrap(), cluster.insert(1, 1).unwrap());
        let key = |cluster: &Cluster<u8, u8, 4>, id| ServerList::find(cluster, id).unwrap().address;
        let shared = key(&cluster, a);
        assert_eq!(shared, key(&cluster, b));
        cluster.remove(a).unwrap();
        let c = cluster.insert(2, 0).unwrap();
        assert_eq!(key(&cluster, b), shared);
        assert_ne!(key(&cluster, c), shared);
        cluster.remove(b).unwrap();
        let again = cluster.insert(1, 7).unwrap();
        assert_eq!(key(&cluster, again), shared, "L11: an address that comes back has been tried by whoever tried it");
    }
}
