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

/// At most `N` servers in fixed slots: a server keeps its slot until it is removed. `S` is the state that is kept for each.
///
/// Picks go through `&self` and a few relaxed atomics; the list changes through `&mut self`. A slot that was emptied
/// counts its generation up, so that what is still told of the old server is dropped ([L20](crate::rules#L20)). After
/// 65,536 servers the generations of a slot begin again: then it stays empty until every attempt at its former servers
/// is over, so that no end of an attempt is counted for another server. The list is kept in the canonical order of
/// (address, tag), whatever the order of the insertions ([S7](crate::rules#S7)).
#[derive(Debug)]
pub struct Cluster<A, T = &'static str, const N: usize = 8, S = ()> {
    slots: [Slot<A, T, S>; N],
    /// The slots in use, in canonical order.
    order: Vec<u16, N, u32>,
    addresses: u32,
}

#[derive(Debug)]
struct Slot<A, T, S> {
    server: Option<Occupant<A, T, S>>,
    /// How many attempts are out at the server.
    in_flight: AtomicU32,
    /// How many attempts are still out at servers that have left.
    strays: AtomicU32,
    generation: u16,
    address: AddressKey,
}

/// A server in a slot.
#[derive(Debug)]
struct Occupant<A, T, S> {
    server: Server<A, T>,
    weight: NonZeroU32,
    state: S,
}

impl<A, T, S> Slot<A, T, S> {
    const fn empty() -> Self {
        let (in_flight, strays) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { server: None, in_flight, strays, generation: 0, address: AddressKey(0) }
    }

    #[inline]
    const fn id(&self, slot: u16) -> ServerId {
        ServerId::new(slot, self.generation)
    }

    /// Whether a server can be taken in whose id no attempt that is out has.
    fn is_free(&self) -> bool {
        self.server.is_none() && (self.generation != 0 || at_least_0(self.strays.load(Relaxed)) == 0)
    }

    /// The server leaves: its attempts join those that are out at former ones.
    fn leave(&mut self) {
        let out = at_least_0(core::mem::take(self.in_flight.get_mut()));
        let strays = self.strays.get_mut();
        *strays = strays.wrapping_add(out);
        self.generation = self.generation.wrapping_add(1);
    }
}

/// A count, which is below 0 where more ends than starts were told: then 0.
const fn at_least_0(count: u32) -> u32 {
    if count > u32::MAX >> 1 { 0 } else { count }
}

impl<A: Ord + Hash, T: Ord, const N: usize, S> Cluster<A, T, N, S> {
    /// Adds a server.
    ///
    /// # Errors
    /// [`ClusterError::Full`], also where each slot without a server has attempts out whose servers' ids it would give again;
    /// and [`ClusterError::Duplicate`] for a pair of address and tag that is there already.
    pub fn insert(&mut self, server: Server<A, T>, weight: NonZeroU32, state: S) -> Result<ServerId, ClusterError> {
        let (mut place, mut known) = (0, None);
        for (there, at) in self.iter().zip(1..) {
            match there.1.cmp(&server) {
                Ordering::Less => place = at,
                Ordering::Equal => return Err(ClusterError::Duplicate),
                Ordering::Greater => {}
            }
            if there.1.address == server.address {
                known = self.candidate(there.0.slot()).map(|(_, key, _)| key);
            }
        }
        let key = known.unwrap_or_else(|| {
            let mut key = AddressKey::of(&server.address);
            while self.slots.iter().any(|slot| slot.server.is_some() && slot.address == key) {
                key = key.next();
            }
            key
        });
        let free = self.slots.iter().position(Slot::is_free).ok_or(ClusterError::Full)?;
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
        slot.server = Some(Occupant { server, weight, state });
        Ok(slot.id(index))
    }

    /// Removes a server. Attempts at it go on, but their feedback is dropped ([L20](crate::rules#L20)).
    ///
    /// # Errors
    /// [`ClusterError::Gone`]: no server has that id.
    pub fn remove(&mut self, server: ServerId) -> Result<Server<A, T>, ClusterError> {
        let slot = self.slots.get_mut(usize::from(server.slot())).filter(|slot| slot.id(server.slot()) == server);
        let slot = slot.ok_or(ClusterError::Gone)?;
        let removed = slot.server.take().ok_or(ClusterError::Gone)?.server;
        slot.leave();
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
        Some(there.id(slot))
    }

    /// The server with that id; `None` if it is gone.
    pub fn server(&self, server: ServerId) -> Option<&Server<A, T>> {
        self.occupant(server).map(|occupant| &occupant.server)
    }

    /// The address of the server with that id; `None` if it is gone.
    pub fn address(&self, server: ServerId) -> Option<&A> {
        self.server(server).map(|server| &server.address)
    }

    /// The weight of a server; `None` if it is gone.
    pub fn weight(&self, server: ServerId) -> Option<NonZeroU32> {
        self.occupant(server).map(|occupant| occupant.weight)
    }

    /// The state that is kept for a server; `None` if it is gone.
    #[inline]
    pub fn state(&self, server: ServerId) -> Option<&S> {
        self.occupant(server).map(|occupant| &occupant.state)
    }

    /// The servers, in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (ServerId, &Server<A, T>)> {
        self.order.iter().filter_map(|index| {
            let slot = self.slots.get(usize::from(*index))?;
            Some((slot.id(*index), &slot.server.as_ref()?.server))
        })
    }

    /// The states of the servers, in the order of their slots.
    pub fn states(&self) -> impl Iterator<Item = &S> {
        self.slots.iter().filter_map(|slot| slot.server.as_ref().map(|occupant| &occupant.state))
    }

    /// How many different addresses there are, usable or not.
    pub const fn addresses(&self) -> usize {
        self.addresses as usize
    }

    /// How many attempts a server is working on; 0 if it is gone.
    pub fn in_flight(&self, server: ServerId) -> u32 {
        self.generation_of(server).map_or(0, |slot| at_least_0(slot.in_flight.load(Relaxed)))
    }

    /// The id, the address and the state of the server in a slot; `None` if the slot is empty.
    #[inline]
    pub(crate) fn candidate(&self, index: u16) -> Option<(ServerId, AddressKey, &S)> {
        let slot = self.slots.get(usize::from(index))?;
        Some((slot.id(index), slot.address, &slot.server.as_ref()?.state))
    }

    /// The slot at a position.
    #[inline]
    pub(crate) fn slot_at(&self, position: usize) -> Option<u16> {
        self.order.get(position).copied()
    }

    /// The count of the attempts that are out at a server, and what else is kept of the server, `None` if it is gone. Where it
    /// is gone, the count is that of all its slot's former servers. `None` if there is no such slot.
    #[inline]
    pub(crate) fn counted(&self, server: ServerId) -> Option<(&AtomicU32, Option<&S>)> {
        let slot = self.slots.get(usize::from(server.slot()))?;
        Some(match &slot.server {
            Some(lives) if slot.generation == server.generation() => (&slot.in_flight, Some(&lives.state)),
            _ => (&slot.strays, None),
        })
    }

    fn occupant(&self, server: ServerId) -> Option<&Occupant<A, T, S>> {
        self.generation_of(server)?.server.as_ref()
    }

    /// The slot of a server, if no later server has had it.
    fn generation_of(&self, server: ServerId) -> Option<&Slot<A, T, S>> {
        self.slots.get(usize::from(server.slot())).filter(|slot| slot.id(server.slot()) == server)
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

    /// An attempt starts at a server. Returns what is kept of the server, `None` if it is gone.
    fn starts<A, T, const N: usize, S>(cluster: &Cluster<A, T, N, S>, server: ServerId) -> Option<&S> {
        let (out, state) = cluster.counted(server)?;
        out.fetch_add(1, Relaxed);
        state
    }

    /// An attempt at a server is over.
    fn is_over<A, T, const N: usize, S>(cluster: &Cluster<A, T, N, S>, server: ServerId) -> Option<&S> {
        let (out, state) = cluster.counted(server)?;
        out.fetch_sub(1, Relaxed);
        state
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
        let _ = starts(&cluster, old);
        cluster.remove(old).unwrap();
        let new = insert(&mut cluster, 2, 0).unwrap();
        assert_ne!(old, new);
        assert_eq!((cluster.server(old), cluster.state(old)), (None, None));
        assert!(is_over(&cluster, old).is_none(), "the old server's feedback is dropped");
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

    /// Replaces the server in the only slot so often.
    fn replace(cluster: &mut Cluster<u8, u8, 1>, times: u32) -> Result<ServerId, ClusterError> {
        for _ in 1..times {
            let id = insert(cluster, 1, 0)?;
            cluster.remove(id)?;
        }
        insert(cluster, 1, 0)
    }

    #[test]
    fn l20_an_id_is_not_given_again_while_an_attempt_at_its_former_server_is_out() {
        let mut cluster = Cluster::<u8, u8, 1>::new();
        let old = replace(&mut cluster, 3).unwrap();
        let _ = starts(&cluster, old);
        let _ = starts(&cluster, old);
        cluster.remove(old).unwrap();
        let last = replace(&mut cluster, 65_533).unwrap();
        assert_eq!(last.generation(), u16::MAX);
        // It has gone between the look and the commit, and is counted all the same.
        cluster.remove(last).unwrap();
        let _ = starts(&cluster, last);
        for late in [old, last, old] {
            assert_eq!(insert(&mut cluster, 1, 0), Err(ClusterError::Full));
            assert!(is_over(&cluster, late).is_none());
        }
        assert_eq!(replace(&mut cluster, 3), Ok(old));
        assert_eq!(cluster.in_flight(old), 0);
    }

    #[test]
    fn l20_another_free_slot_is_used_while_attempts_keep_one_empty() {
        let mut cluster = Cluster::<u8, u8, 2>::new();
        let old = insert(&mut cluster, 1, 0).unwrap();
        let _ = starts(&cluster, old);
        cluster.remove(old).unwrap();
        for _ in 0..70_000 {
            let id = insert(&mut cluster, 1, 0).unwrap();
            assert_ne!(id, old);
            cluster.remove(id).unwrap();
        }
        let beside = insert(&mut cluster, 1, 0).unwrap();
        assert_eq!(beside.slot(), 1);
        assert_eq!(insert(&mut cluster, 2, 0), Err(ClusterError::Full));
        assert!(is_over(&cluster, old).is_none());
        assert_eq!(insert(&mut cluster, 2, 0), Ok(old));
    }

    #[test]
    fn l20_ends_of_ids_that_were_made_up_read_as_0_and_keep_no_slot() {
        let mut cluster = Cluster::<u8, u8, 1>::new();
        let there = insert(&mut cluster, 1, 0).unwrap();
        for id in [there, ServerId::new(0, 7), ServerId::new(1, 0), ServerId::new(u16::MAX, u16::MAX)] {
            assert_eq!(is_over(&cluster, id).is_some(), id == there);
            assert_eq!((cluster.in_flight(there), cluster.in_flight(id)), (0, 0), "{id}");
        }
        cluster.remove(there).unwrap();
        assert!(is_over(&cluster, there).is_none());
        assert_eq!(replace(&mut cluster, 65_536).unwrap(), there, "a whole round");
    }

    #[test]
    fn l20_many_attempts_keep_their_slot_empty_until_the_last_is_over() {
        let mut cluster = Cluster::<u8, u8, 1>::new();
        let old = insert(&mut cluster, 1, 0).unwrap();
        (0..70_000).for_each(|_| assert!(starts(&cluster, old).is_some()));
        cluster.remove(old).unwrap();
        (0..69_999).for_each(|_| assert!(is_over(&cluster, old).is_none()));
        assert_eq!(replace(&mut cluster, 65_536), Err(ClusterError::Full));
        assert!(is_over(&cluster, old).is_none());
        assert_eq!(insert(&mut cluster, 1, 0), Ok(old));
    }

    /// What a cluster is compared with: its servers have numbers that never come again.
    #[derive(Default)]
    struct Model {
        there: List<(ServerId, u64)>,
        out: List<(ServerId, u64)>,
        next: u64,
    }

    impl Model {
        fn step(&mut self, cluster: &mut Cluster<u64, u8, 3, u64>, rng: &mut fastrand::Rng) {
            match rng.u8(0..8) {
                0..3 if self.there.len() < 3 => {
                    let server = Server { address: self.next, tag: 0 };
                    match cluster.insert(server, NonZeroU32::MIN, self.next) {
                        Ok(id) => self.there.push((id, self.next)),
                        // Some slot is kept empty by an attempt.
                        Err(error) => assert!(error == ClusterError::Full && !self.out.is_empty(), "{error}"),
                    }
                    self.next += 1;
                }
                3..5 if !self.there.is_empty() => {
                    let (id, number) = self.there.swap_remove(rng.usize(..self.there.len()));
                    assert_eq!(cluster.remove(id).unwrap().address, number);
                }
                5 if !self.there.is_empty() && self.out.len() < 6 => {
                    let sent = self.there[rng.usize(..self.there.len())];
                    let _ = starts(cluster, sent.0);
                    self.out.push(sent);
                }
                6 | 7 if !self.out.is_empty() => {
                    let (id, number) = self.out.swap_remove(rng.usize(..self.out.len()));
                    let kept = self.there.contains(&(id, number)).then_some(&number);
                    assert_eq!(is_over(cluster, id), kept, "counted for a stranger, or not counted");
                }
                _ => {}
            }
            for (id, number) in &self.there {
                let out = self.out.iter().filter(|(_, at)| at == number).count();
                assert_eq!((cluster.in_flight(*id) as usize, cluster.state(*id)), (out, Some(number)));
            }
        }

        /// Lets so many servers pass through the first slot that is free.
        fn pass(&mut self, cluster: &mut Cluster<u64, u8, 3, u64>, times: u32) {
            for _ in 0..times {
                let server = Server { address: self.next, tag: 0 };
                let Ok(id) = cluster.insert(server, NonZeroU32::MIN, self.next) else { return };
                cluster.remove(id).unwrap();
                self.next += 1;
            }
        }
    }

    #[test]
    fn l20_ids_that_come_again_count_as_those_of_a_model_that_gives_none_again() {
        const SEED: u64 = 20;
        std::println!("seed {SEED}");
        let mut rng = fastrand::Rng::with_seed(SEED);
        let (mut cluster, mut model) = (Cluster::<u64, u8, 3, u64>::new(), Model::default());
        for _ in 0..40 {
            (0..200).for_each(|_| model.step(&mut cluster, &mut rng));
            // Just before, at and behind a whole round.
            model.pass(&mut cluster, 65_530 + rng.u32(..12));
        }
        while let Some((id, _)) = model.out.pop() {
            let _ = is_over(&cluster, id);
        }
        assert!(cluster.slots.iter_mut().all(|slot| *slot.strays.get_mut() == 0), "every one is settled");
    }
}
