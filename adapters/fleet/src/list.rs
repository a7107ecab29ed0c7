//! Replacing the list of [`Server`]s: which servers it may hold, [`Filter`], and what a new list changed,
//! [`ListUpdate`].

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::num::NonZeroU32;

use hedge_core::balance::{ArrangeError, Balancer as _, Weighing, WeightError};
use hedge_core::id::AddressKey;
use hedge_core::time::Instant;

use crate::address::Address;
use crate::node::Service;
use crate::server::Server;
use crate::servers::{ListEntry, Servers};
use crate::snapshot::List;

/// How many servers a list of [`Server`]s can hold. The other half of the ids is for servers that calls name themselves
/// ([S8](hedge_core::rules#S8)).
pub const MAX_SERVERS: u16 = 0x8000;

/// What a new list changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ListUpdate {
    /// How many servers the list holds now.
    pub servers: usize,
    /// How many of them are new.
    pub inserted: usize,
    /// How many servers were removed.
    pub removed: usize,
    /// The servers that were refused, in canonical order, and why.
    pub refused: Vec<(Server, RefusedServer)>,
}

/// Why a server was refused by the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RefusedServer {
    /// The balancer uses weights, and the server's tag is not a weight ([S2](hedge_core::rules#S2)).
    Weight(WeightError),
    /// The channel's filter refuses it ([N3](hedge_core::rules#N3)).
    FilteredOut,
    /// The list is full: it holds 32,768 servers.
    Full,
}

impl fmt::Display for RefusedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(error) => error.fmt(f),
            Self::FilteredOut => f.write_str("the filter refuses it"),
            Self::Full => write!(f, "the list is full: it holds {MAX_SERVERS} servers"),
        }
    }
}

impl std::error::Error for RefusedServer {}

/// Why a new list was refused. The old list stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ListError {
    /// The balancer cannot arrange this list, for instance because the points of its ring do not fit into memory.
    Arrange(ArrangeError),
    /// The channel's filter tried to set the list of the same channel. This is refused, since it could recurse without
    /// end.
    InFilter,
}

impl From<ArrangeError> for ListError {
    fn from(error: ArrangeError) -> Self {
        Self::Arrange(error)
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arrange(error) => error.fmt(f),
            Self::InFilter => f.write_str("list of servers: set by the channel's own filter"),
        }
    }
}

impl std::error::Error for ListError {}

/// Decides which servers a list may hold ([N3](hedge_core::rules#N3)): `true` lets the server in.
pub type Filter = Box<dyn Fn(&Server) -> bool + Send + Sync>;

impl<S: Service + From<AddressKey>> Servers<Server, S> {
    /// Replaces the list with `servers`. Returns what that changed, and the nodes that were removed. If anything fails,
    /// the old list stays.
    ///
    /// # Errors
    /// See [`ListError`].
    pub fn set(
        &self,
        servers: Vec<Server>,
        filter: Option<&Filter>,
        now: Instant,
    ) -> Result<(ListUpdate, Vec<Gone<S>>), ListError> {
        let mut update = ListUpdate::default();
        // The filter is the program's code, so it runs before the lock is taken.
        let let_in = {
            let _filtering = Filtering::begin(self)?;
            // How the balancer weighs servers does not depend on the list.
            let_in(servers, filter, self.load().balancer().weighing(), &mut update)
        };
        let write = |server: &Server, out: &mut dyn fmt::Write| write!(out, "{}", server.address);
        let changed = self.change(write, now, |old| Some(places(let_in, old.list())))?;
        let Some(changed) = changed else { return Ok((update, Vec::new())) };
        update.refused.extend(changed.left_out.into_iter().map(|(server, _)| (server, RefusedServer::Full)));
        (update.servers, update.inserted, update.removed) = (changed.servers, changed.inserted, changed.gone.len());
        Ok((update, changed.gone))
    }
}

impl<S: Service> List<Server, S> {
    /// The number of an address, if a server of this list has that address.
    pub fn key_of(&self, address: &Address) -> Option<AddressKey> {
        let place = self.nodes().binary_search_by(|node| node.key().address.cmp(address)).ok()?;
        self.nodes().get(place).map(|node| node.address_key())
    }
}

/// A server that was removed from the list.
type Gone<S> = std::sync::Arc<crate::node::Node<Server, S>>;

/// The servers that the list takes in, each once and in canonical order, with their weights.
fn let_in(
    mut servers: Vec<Server>,
    filter: Option<&Filter>,
    weighing: Weighing,
    update: &mut ListUpdate,
) -> Vec<(Server, NonZeroU32)> {
    servers.sort_unstable();
    servers.dedup();
    let mut let_in = Vec::with_capacity(servers.len());
    for server in servers {
        let refusal = if filter.is_some_and(|filter| !filter(&server)) {
            RefusedServer::FilteredOut
        } else {
            match weighing.weight(&&*server.tag) {
                Err(error) => RefusedServer::Weight(error),
                Ok(_) if let_in.len() >= usize::from(MAX_SERVERS) => RefusedServer::Full,
                Ok(weight) => {
                    let_in.push((server, weight));
                    continue;
                }
            }
        };
        update.refused.push((server, refusal));
    }
    let_in
}

/// Servers that stay keep their nodes. Servers of one address share its key.
fn places<S: Service + From<AddressKey>>(
    servers: Vec<(Server, NonZeroU32)>,
    old: &List<Server, S>,
) -> Vec<ListEntry<Server, S>> {
    let mut keys: HashMap<Address, AddressKey> = HashMap::new();
    for node in servers.iter().filter_map(|(server, _)| old.named(server)) {
        keys.insert(node.key().address.clone(), node.address_key());
    }
    let mut used: HashSet<AddressKey> = keys.values().copied().collect();
    let place = |(server, weight): (Server, _)| {
        if let Some(node) = old.named(&server) {
            return ListEntry::Stays(std::sync::Arc::clone(node));
        }
        let key = *keys.entry(server.address.clone()).or_insert_with(|| {
            std::iter::successors(Some(AddressKey::of(&server.address)), |key| Some(key.next()))
                .find(|key| used.insert(*key))
                .unwrap_or_default()
        });
        ListEntry::New { key: server, service: S::from(key), weight }
    };
    servers.into_iter().map(place).collect()
}

thread_local! {
    /// The lists whose filters run on this thread now, by their addresses in memory.
    static FILTERING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Marks that the filter of a list runs on this thread, until it is dropped.
struct Filtering;

impl Filtering {
    fn begin<S>(servers: &Servers<Server, S>) -> Result<Self, ListError> {
        let list = std::ptr::from_ref(servers).addr();
        FILTERING.with_borrow_mut(|lists| {
            if lists.contains(&list) {
                return Err(ListError::InFilter);
            }
            lists.push(list);
            Ok(Self)
        })
    }
}

impl Drop for Filtering {
    fn drop(&mut self) {
        FILTERING.with_borrow_mut(Vec::pop);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use super::*;
    use hedge_core::health::{AnyBreaker, Health, IsolationLimit, Recovering};
    use hedge_core::id::ServerId;

    /// A service that holds only its address key.
    struct Bare(AddressKey);

    impl From<AddressKey> for Bare {
        fn from(key: AddressKey) -> Self {
            Self(key)
        }
    }

    impl Service for Bare {
        fn address_key(&self, _: ServerId) -> AddressKey {
            self.0
        }
    }

    type List = Servers<Server, Bare>;

    const NOW: Instant = Instant::ZERO;

    fn servers(balancer: &str) -> List {
        let breaker = Recovering::new(AnyBreaker::None, None);
        let health = breaker.and_then(|breaker| Health::new(breaker, IsolationLimit::DEFAULT));
        Servers::new(crate::Balancer::named(balancer, 1).unwrap(), health.unwrap(), usize::from(MAX_SERVERS))
    }

    fn list(text: &str) -> Vec<Server> {
        crate::parse_servers(text).unwrap()
    }

    fn set(servers: &List, text: &str) -> ListUpdate {
        let list = if text.is_empty() { Vec::new() } else { list(text) };
        servers.set(list, None, NOW).unwrap().0
    }

    fn ids(servers: &List) -> Vec<ServerId> {
        servers.load().list().nodes().iter().map(|node| node.id()).collect()
    }

    #[test]
    fn s7_a_server_that_stays_keeps_its_id_and_counts() {
        let servers = servers("p2c");
        set(&servers, "list://127.0.0.1:3,127.0.0.1:1");
        let before = ids(&servers);
        let stays = Arc::clone(&servers.load().list().nodes()[1]);
        assert!(stays.start());
        let (update, gone) = servers.set(list("list://127.0.0.1:2,127.0.0.1:3"), None, NOW).unwrap();
        assert_eq!((update.servers, update.inserted, update.removed, update.refused.len()), (2, 1, 1, 0));
        assert_eq!(gone[0].id(), before[0]);
        let now = servers.load();
        assert!(Arc::ptr_eq(&now.list().nodes()[1], &stays), "and everything else that is known of it");
        assert_eq!(now.list().nodes()[1].id(), before[1]);
        assert_eq!(now.list().nodes()[1].in_flight(), 1);
        assert_eq!(now.list().nodes()[0].id().slot(), before[0].slot(), "the slot lives again");
        assert_ne!(now.list().nodes()[0].id(), before[0], "as another server");
        assert!(now.list().get(before[0]).is_none());
    }

    #[test]
    fn l20_a_server_that_comes_back_is_another() {
        let servers = servers("rr");
        set(&servers, "127.0.0.1:1");
        let old = ids(&servers);
        assert_eq!(set(&servers, "").removed, 1);
        assert_eq!(servers.load().list().nodes().len(), 0);
        set(&servers, "127.0.0.1:1");
        assert_ne!(old, ids(&servers));
    }

    /// Sets more lists than a slot has generations, while one of the servers is still held.
    #[test]
    fn l20_an_id_does_not_recur_while_something_speaks_of_it() {
        let servers = servers("la");
        set(&servers, "list://127.0.0.1:1,127.0.0.1:9");
        let held = Arc::clone(&servers.load().list().nodes()[0]);
        let (one, other) = (list("list://127.0.0.1:2,127.0.0.1:9"), list("list://127.0.0.1:3,127.0.0.1:9"));
        let mut slots = HashSet::new();
        for number in 0..=u16::MAX {
            let next = if number % 2 == 0 { &one } else { &other };
            servers.set(next.clone(), None, NOW).unwrap();
            let now = servers.load();
            assert!(now.list().get(held.id()).is_none(), "after {number} lists");
            slots.extend(now.list().nodes().iter().map(|node| node.id().slot()));
        }
        assert_eq!(slots.len(), 2, "and no slot is lost");
        // An id that nothing holds is used again.
        let id = held.id();
        drop(held);
        for number in 0..=u16::MAX {
            let next = if number % 2 == 0 { &one } else { &other };
            servers.set(next.clone(), None, NOW).unwrap();
            if servers.load().list().get(id).is_some() {
                return;
            }
        }
        panic!("it never came back");
    }

    #[test]
    fn n3_a_filter_that_sets_the_list_is_refused() {
        static SERVERS: OnceLock<List> = OnceLock::new();
        let servers = SERVERS.get_or_init(|| servers("rr"));
        let filter: Filter = Box::new(|_| {
            let nested = SERVERS.get().map(|servers| servers.set(list("127.0.0.1:2"), None, NOW).map(drop));
            nested == Some(Err(ListError::InFilter))
        });
        for _ in 0..2 {
            let (update, _) = servers.set(list("127.0.0.1:1"), Some(&filter), NOW).unwrap();
            assert_eq!(update.servers, 1, "it was refused, and could say so");
        }
    }

    #[test]
    fn a_filter_that_panics_changes_nothing() {
        let filter: Filter = Box::new(|server| {
            if &*server.tag == "bad" {
                std::panic::resume_unwind(Box::new("bad"));
            }
            true
        });
        let servers = servers("rr");
        set(&servers, "127.0.0.1:1");
        let before = ids(&servers);
        let bad = || servers.set(list("list://127.0.0.1:2,127.0.0.1:3 bad"), Some(&filter), NOW).map(drop);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(bad)).is_err());
        assert_eq!(ids(&servers), before);
        assert_eq!(set(&servers, "127.0.0.1:4").servers, 1, "and the next list is taken in");
    }

    #[test]
    fn servers_of_one_address_share_its_key() {
        let servers = servers("rr");
        set(&servers, "list://127.0.0.1:1 a,127.0.0.1:2,127.0.0.1:1 b,127.0.0.1:1 a");
        let now = servers.load();
        let keys: Vec<_> = now.list().nodes().iter().map(|node| node.address_key()).collect();
        assert_eq!(keys.len(), 3, "a server that is named twice is there once");
        assert_eq!(keys[0], keys[1]);
        assert_ne!(keys[0], keys[2]);
        assert_eq!(now.list().addresses(), 2);
        drop(now);
        set(&servers, "list://127.0.0.1:0,127.0.0.1:1 b");
        let now = servers.load();
        assert_eq!(now.list().nodes()[1].address_key(), keys[0]);
        assert_ne!(now.list().nodes()[0].address_key(), keys[0]);
    }

    #[test]
    fn more_servers_than_ids_are_refused_in_canonical_order() {
        let servers = servers("rr");
        let many: Vec<Server> =
            (0..=u16::MAX).map(|port| Server::from(Address::Socket(([127, 0, 0, 1], port).into()))).collect();
        let (update, _) = servers.set(many, None, NOW).unwrap();
        assert_eq!((update.servers, update.refused.len()), (usize::from(MAX_SERVERS), 0x8000));
        assert_eq!(update.refused[0], ("127.0.0.1:32768".parse().unwrap(), RefusedServer::Full));
    }

    #[test]
    fn s2_servers_whose_tags_are_no_weights_are_refused_and_the_rest_is_taken_in() {
        let servers = servers("wrr");
        let update = set(&servers, "list://127.0.0.1:1 2,127.0.0.1:2 heavy,127.0.0.1:3,127.0.0.1:4 1");
        let refused: Vec<_> =
            update.refused.iter().map(|(server, reason)| (server.to_string(), reason.to_string())).collect();
        assert_eq!(update.servers, 2);
        assert_eq!(refused[0], ("127.0.0.1:2 heavy".into(), "weight: not an integer in [1, 4294967295]".into()));
        assert_eq!(refused[1].0, "127.0.0.1:3");
        assert_eq!(servers.load().list().nodes()[0].weight().get(), 2);
    }

    #[test]
    fn n3_a_filter_runs_before_the_balancer_sees_a_server() {
        let filter: Filter = Box::new(|server| &*server.tag != "canary");
        let servers = servers("rr");
        let (update, _) = servers.set(list("list://127.0.0.1:1,127.0.0.1:2 canary"), Some(&filter), NOW).unwrap();
        assert_eq!(update.refused, [("127.0.0.1:2 canary".parse().unwrap(), RefusedServer::FilteredOut)]);
        assert_eq!(servers.load().list().nodes().len(), 1);
    }
}
