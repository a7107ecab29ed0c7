//! The servers that a channel may choose from, in fixed slots, without a heap.

use core::cmp::Ordering;
use core::fmt;
use core::hash::Hash;
use core::num::NonZeroU32;

use heapless::Vec;

use crate::atomic::{AtomicU32, Ordering::Relaxed};
use crate::balance::{ArrangeError, WeightError};
use crate::id::{AddressKey, ServerId};

/// A server: its address, and a tag that distinguishes the server from other servers at the same address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Server<A, T> {
    /// The address to which attempts are sent.
    pub address: A,
    /// The tag. In the statistics, two tags mean two servers. But in the rules, "another server" means a server with
    /// another address.
    pub tag: T,
}

/// At most `N` servers in fixed slots, without a heap. A server keeps its slot until it is removed. `S` is the type of
/// the data that are kept for each server.
///
/// A pick takes `&self` and uses a few relaxed atomics. A change of the list takes `&mut self`. When a server leaves,
/// the generation of its slot goes up by one. So late feedback for the removed server is not counted for the next
/// server in the slot ([L20](crate::rules#L20)). After 65,536 servers, the generations of a slot begin again. The slot
/// then stays empty until every attempt at its former servers is over, so that no old attempt is counted for a new
/// server. The list is kept in the canonical order of (address, tag), independent of the order of the insertions
/// ([S7](crate::rules#S7)).
#[derive(Debug)]
pub struct Cluster<A, T = &'static str, const N: usize = 8, S = ()> {
    slots: [Slot<A, T, S>; N],
    /// The slots that are in use, in canonical order of their servers.
    order: Vec<u16, N, u32>,
    addresses: u32,
}

#[derive(Debug)]
struct Slot<A, T, S> {
    server: Option<Occupant<A, T, S>>,
    /// How many attempts are in flight at the server in this slot.
    in_flight: AtomicU32,
    /// How many attempts are still in flight at former servers of this slot.
    strays: AtomicU32,
    generation: u16,
    address: AddressKey,
}

/// A server in a slot, with the data that are kept for it.
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

    /// Returns whether a new server may take this slot. When the generations begin again at 0, the slot would repeat
    /// the ids of its former servers. So all attempts at these servers must be over first.
    fn is_free(&self) -> bool {
        self.server.is_none() && (self.generation != 0 || at_least_0(self.strays.load(Relaxed)) == 0)
    }

    /// Removes the server from the slot. The attempts in flight at this server are added to the count for the slot's
    /// former servers.
    fn leave(&mut self) {
        let out = at_least_0(core::mem::take(self.in_flight.get_mut()));
        let strays = self.strays.get_mut();
        *strays = strays.wrapping_add(out);
        self.generation = self.generation.wrapping_add(1);
    }
}

/// Returns a count, or 0 if the count has wrapped below 0. A count wraps if more ends than starts were reported.
const fn at_least_0(count: u32) -> u32 {
    if count > u32::MAX >> 1 { 0 } else { count }
}

impl<A: Ord + Hash, T: Ord, const N: usize, S> Cluster<A, T, N, S> {
    /// Adds a server and returns its id.
    ///
    /// # Errors
    /// - Returns [`ClusterError::Full`] if no slot is free. An empty slot is not free for a while if it would repeat
    ///   the id of a former server at which attempts are in flight.
    /// - Returns [`ClusterError::Duplicate`] if this pair of address and tag is already in the list.
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
        // `Vec::insert` is not used, since it might panic. Instead, each slot number from this place on moves up by
        // one.
        let mut next = index;
        for there in self.order.iter_mut().skip(place) {
            core::mem::swap(there, &mut next);
        }
        slot.address = key;
        self.addresses += u32::from(known.is_none());
        slot.server = Some(Occupant { server, weight, state });
        Ok(slot.id(index))
    }

    /// Removes a server. Attempts at this server continue, but their feedback is dropped ([L20](crate::rules#L20)).
    ///
    /// # Errors
    /// Returns [`ClusterError::Gone`] if no server has this id.
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

    /// Returns the server with this address and tag. Returns `None` if there is no such server.
    pub fn find(&self, address: A, tag: T) -> Option<ServerId> {
        self.find_server(&Server { address, tag })
    }

    pub(crate) fn find_server(&self, server: &Server<A, T>) -> Option<ServerId> {
        self.iter().find(|(_, there)| *there == server).map(|(id, _)| id)
    }
}

impl<A, T, const N: usize, S> Cluster<A, T, N, S> {
    /// Makes a cluster without servers.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N <= 0x1_0000, "slots are numbered with 16 bits") };
        Self { slots: [const { Slot::empty() }; N], order: Vec::new(), addresses: 0 }
    }

    /// Returns how many servers there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns whether the cluster has no servers.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns the server at a position of the canonical order. Returns `None` past the end.
    pub fn at(&self, position: usize) -> Option<ServerId> {
        self.in_slot(*self.order.get(position)?)
    }

    /// Returns the server in a slot. Returns `None` if the slot is empty.
    pub fn in_slot(&self, slot: u16) -> Option<ServerId> {
        let there = self.slots.get(usize::from(slot)).filter(|slot| slot.server.is_some())?;
        Some(there.id(slot))
    }

    /// Returns the server with this id. Returns `None` if it has been removed.
    pub fn server(&self, server: ServerId) -> Option<&Server<A, T>> {
        self.occupant(server).map(|occupant| &occupant.server)
    }

    /// Returns the address of the server with this id. Returns `None` if the server has been removed.
    pub fn address(&self, server: ServerId) -> Option<&A> {
        self.server(server).map(|server| &server.address)
    }

    /// Returns the weight of a server. Returns `None` if the server has been removed.
    pub fn weight(&self, server: ServerId) -> Option<NonZeroU32> {
        self.occupant(server).map(|occupant| occupant.weight)
    }

    /// Returns the data that are kept for a server. Returns `None` if the server has been removed.
    #[inline]
    pub fn state(&self, server: ServerId) -> Option<&S> {
        self.occupant(server).map(|occupant| &occupant.state)
    }

    /// Returns the servers, in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (ServerId, &Server<A, T>)> {
        self.order.iter().filter_map(|index| {
            let slot = self.slots.get(usize::from(*index))?;
            Some((slot.id(*index), &slot.server.as_ref()?.server))
        })
    }

    /// Returns how many different addresses the servers have. Servers that are not usable count too.
    pub const fn addresses(&self) -> usize {
        self.addresses as usize
    }

    /// Returns how many attempts are in flight at a server. Returns 0 if the server has been removed.
    pub fn in_flight(&self, server: ServerId) -> u32 {
        self.generation_of(server).map_or(0, |slot| at_least_0(slot.in_flight.load(Relaxed)))
    }

    /// Returns the id, the address and the state of the server in a slot. Returns `None` if the slot is empty.
    #[inline]
    pub(crate) fn candidate(&self, index: u16) -> Option<(ServerId, AddressKey, &S)> {
        let slot = self.slots.get(usize::from(index))?;
        Some((slot.id(index), slot.address, &slot.server.as_ref()?.state))
    }

    /// Returns the slot at a position of the canonical order. Returns `None` past the end.
    #[inline]
    pub(crate) fn slot_at(&self, position: usize) -> Option<u16> {
        self.order.get(position).copied()
    }

    /// Returns two things: the counter in which a server's attempts are counted, and the data that are kept for the
    /// server. If the server has been removed, returns the common counter of the slot's former servers and no data.
    /// Returns `None` if there is no such slot.
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

    /// Returns the slot of a server, if the slot's present generation is the server's generation. Otherwise returns
    /// `None`.
    fn generation_of(&self, server: ServerId) -> Option<&Slot<A, T, S>> {
        self.slots.get(usize::from(server.slot())).filter(|slot| slot.id(server.slot()) == server)
    }
}

impl<A, T, const N: usize, S> Default for Cluster<A, T, N, S> {
    fn default() -> Self {
        Self::new()
    }
}

/// The reason why a list of servers could not be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ClusterError {
    /// Every slot is taken.
    Full,
    /// The list already has a server with this address and tag.
    Duplicate,
    /// No server has this id, or the server with this id has been removed.
    Gone,
    /// The balancer uses weights, and the server's tag is not a valid weight.
    Weight(WeightError),
    /// The filter refuses the server.
    FilteredOut,
    /// The balancer has no room for the list. The server was not added.
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

    /// Counts the start of an attempt at a server. Returns the server's data, or `None` if the server has been removed.
    fn starts<A, T, const N: usize, S>(cluster: &Cluster<A, T, N, S>, server: ServerId) -> Option<&S> {
        let (out, state) = cluster.counted(server)?;
        out.fetch_add(1, Relaxed);
        state
    }

    /// Counts the end of an attempt at a server. Returns the server's data, or `None` if the server has been removed.
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

    /// Inserts `times` servers one after another into the only slot, and removes all of them except the last one.
    /// Returns the id of the last server.
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
        // If a server is removed between look and commit, its attempt is still counted.
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

    /// A simple model with which the cluster is compared. The model's servers have numbers that are never used again.
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
                        // A slot is empty because an attempt at a former server is still in flight.
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

        /// Does this `times` times: inserts a new server into the first free slot, and removes it at once. Stops early
        /// if no slot is free.
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
            // The number of servers is a little smaller than, equal to, or a little larger than the number of a slot's
            // generations.
            model.pass(&mut cluster, 65_530 + rng.u32(..12));
        }
        while let Some((id, _)) = model.out.pop() {
            let _ = is_over(&cluster, id);
        }
        assert!(cluster.slots.iter_mut().all(|slot| *slot.strays.get_mut() == 0), "every one is settled");
    }
}
