//! Replaces a list of [`Server`]s. A [`Filter`] decides which servers may enter the list. A [`ListUpdate`] says what a
//! new list has changed.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;

use hedge_core::balance::{ArrangeError, Balancer as _, Weighing, WeightError};
use hedge_core::id::AddressKey;
use hedge_core::time::Instant;

use crate::address::Address;
use crate::node::Service;
use crate::server::{MAX_SERVERS, Server};
use crate::servers::{ListEntry, Servers};
use crate::snapshot::List;

/// The changes that a new list has made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ListUpdate {
    /// How many servers the list holds now.
    pub servers: usize,
    /// How many of the servers are new.
    pub inserted: usize,
    /// How many servers were removed.
    pub removed: usize,
    /// The servers that were refused, each with the reason, in canonical order.
    pub refused: Vec<(Server, RefusedServer)>,
}

/// The reason why the list refused a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RefusedServer {
    /// The balancer uses weights, and the server's tag is not a weight ([S2](hedge_core::rules#S2)).
    Weight(WeightError),
    /// The channel's filter refuses the server ([N3](hedge_core::rules#N3)).
    FilteredOut,
    /// The list is full: it holds 32,768 servers.
    Full,
}

impl fmt::Display for RefusedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(error) => error.fmt(f),
            Self::FilteredOut => f.write_str("refused by the channel's filter"),
            Self::Full => write!(f, "the list is full: it holds {MAX_SERVERS} servers"),
        }
    }
}

impl std::error::Error for RefusedServer {}

/// The reason why a new list was refused. The old list stays in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ListError {
    /// The balancer cannot arrange this list, for example because the points of its ring do not fit into memory.
    Arrange(ArrangeError),
    /// The channel's filter tried to set the list of its own channel. This is refused, because setting the list calls
    /// the filter again, and this could go on without end.
    InFilter,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arrange(error) => error.fmt(f),
            Self::InFilter => f.write_str("list of servers: a filter may not set the list of its own channel"),
        }
    }
}

impl std::error::Error for ListError {}

/// The reason why a list that must be taken in strictly was refused: [`Servers::set_strictly`]. The old list stays in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StrictListError {
    /// The list was refused.
    List(ListError),
    /// The balancer uses weights, and the tag of a server is not a weight ([S2](hedge_core::rules#S2)).
    Weight {
        /// The server.
        server: Server,
        /// What is wrong with its tag.
        error: WeightError,
    },
    /// The list is empty, or the filter refuses every server.
    NoServers,
}

impl From<ListError> for StrictListError {
    fn from(error: ListError) -> Self {
        Self::List(error)
    }
}

impl fmt::Display for StrictListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(error) => error.fmt(f),
            Self::Weight { server, error } => write!(f, "server {server}: {error}"),
            Self::NoServers => f.write_str("the list of servers is empty, or the filter refuses them all"),
        }
    }
}

impl std::error::Error for StrictListError {}

/// A function that decides which servers a list may hold ([N3](hedge_core::rules#N3)). If it returns `true`, the server
/// may enter.
pub type Filter = Box<dyn Fn(&Server) -> bool + Send + Sync>;

impl<S: Service + From<AddressKey>> Servers<Server, S> {
    /// Replaces the list by `servers`. Returns the changes, and the nodes of the servers that were removed. If anything
    /// fails, the old list stays in use.
    ///
    /// # Errors
    /// Returns the reason why the new list was refused.
    pub fn set(
        &self,
        servers: Vec<Server>,
        filter: Option<&Filter>,
        now: Instant,
    ) -> Result<(ListUpdate, Vec<Gone<S>>), ListError> {
        self.set_if(servers, filter, now, |_| Ok(()))
    }

    /// Replaces the list by `servers`, as [`set`](Self::set) does, but also refuses the whole list if it has a server whose
    /// tag is not a weight although the balancer uses weights, and if no server is left. So a list that somebody wrote down
    /// is never half in use.
    ///
    /// # Errors
    /// Returns the reason why the new list was refused. The old list stays in use then.
    pub fn set_strictly(
        &self,
        servers: Vec<Server>,
        filter: Option<&Filter>,
        now: Instant,
    ) -> Result<(ListUpdate, Vec<Gone<S>>), StrictListError> {
        self.set_if(servers, filter, now, |planned| {
            for (server, refusal) in &planned.refused {
                if let RefusedServer::Weight(error) = *refusal {
                    return Err(StrictListError::Weight { server: server.clone(), error });
                }
            }
            if planned.servers == 0 { Err(StrictListError::NoServers) } else { Ok(()) }
        })
    }

    /// Replaces the list, unless `accept` refuses the plan. A plan says how many servers may enter, and which may not.
    fn set_if<E: From<ListError>>(
        &self,
        servers: Vec<Server>,
        filter: Option<&Filter>,
        now: Instant,
        accept: impl FnOnce(&ListUpdate) -> Result<(), E>,
    ) -> Result<(ListUpdate, Vec<Gone<S>>), E> {
        let mut update = ListUpdate::default();
        // The filter is the program's code, so it runs before the lock is taken.
        let let_in = {
            let _filtering = Filtering::begin(self)?;
            // The rule for weights is the same for every list, so the lock is not needed to read it.
            let now = self.load();
            let_in(servers, filter, (now.balancer().weighing(), now.list()), &mut update)
        };
        update.servers = let_in.servers.len();
        accept(&update)?;
        let write = |server: &Server, out: &mut dyn fmt::Write| write!(out, "{}", server.address);
        let changed = self.change_tagged((write, |server| &server.tag), now, |old| Some(places(let_in, old.list())));
        let Some(changed) = changed.map_err(ListError::Arrange)? else { return Ok((update, Vec::new())) };
        update.refused.extend(changed.left_out.into_iter().map(|(server, _)| (server, RefusedServer::Full)));
        (update.servers, update.inserted, update.removed) = (changed.servers, changed.inserted, changed.gone.len());
        Ok((update, changed.gone))
    }
}

impl<S: Service> List<Server, S> {
    /// Returns the key of an address. Returns `None` if no server of this list has the address.
    pub fn key_of(&self, address: &Address) -> Option<AddressKey> {
        let place = self.nodes().binary_search_by(|node| node.key().address.cmp(address)).ok()?;
        self.nodes().get(place).map(|node| node.address_key())
    }
}

/// A server that was removed from the list.
type Gone<S> = std::sync::Arc<crate::node::Node<Server, S>>;

/// The servers that a list may hold, each once and in canonical order.
struct LetIn {
    servers: Vec<Server>,
    /// The weight of each server.
    weights: Vec<NonZeroU32>,
}

/// Returns the servers that the list may hold. All other servers are recorded in `update` as refused. A server that is in
/// `list` keeps its weight, so its tag is not read again.
fn let_in<S: Service>(
    mut servers: Vec<Server>,
    filter: Option<&Filter>,
    (weighing, list): (Weighing, &List<Server, S>),
    update: &mut ListUpdate,
) -> LetIn {
    // Most sources list their servers in the same order each time, and many in this one.
    if !servers.is_sorted_by(|a, b| a < b) {
        servers.sort_unstable();
        servers.dedup();
    }
    let mut weights = Vec::with_capacity(servers.len());
    // Without weights, there is nothing to keep.
    let mut known = Cursor(if matches!(weighing, Weighing::Alike) { &[] } else { list.nodes() });
    servers.retain(|server| {
        let refusal = if filter.is_some_and(|filter| !filter(server)) {
            RefusedServer::FilteredOut
        } else {
            match known.find(server).map_or_else(|| weighing.weight(&&*server.tag), |node| Ok(node.weight())) {
                Err(error) => RefusedServer::Weight(error),
                Ok(_) if weights.len() >= usize::from(MAX_SERVERS) => RefusedServer::Full,
                Ok(weight) => {
                    weights.push(weight);
                    return true;
                }
            }
        };
        update.refused.push((server.clone(), refusal));
        false
    });
    LetIn { servers, weights }
}

/// The servers of a list from one place on. It finds different servers that are asked for in canonical order, in one
/// pass.
struct Cursor<'a, S>(&'a [Gone<S>]);

impl<'a, S> Cursor<'a, S> {
    /// Returns the server of the list that is equal to `server`. It must come behind the earlier ones.
    fn find(&mut self, server: &Server) -> Option<&'a Gone<S>> {
        while let Some((first, rest)) = self.0.split_first() {
            // Equality is the usual case, and costs less than the order.
            if first.key() == server {
                self.0 = rest;
                return Some(first);
            }
            if first.key() > server {
                return None;
            }
            self.0 = rest;
        }
        None
    }
}

/// If at most this many servers are new, their address keys are compared with the key of each server in the old list.
/// If more are new, a set of all keys is made first.
const FEW: usize = 16;

/// Returns the entries of the next list. A server that stays keeps its node. Servers with the same address have the
/// same address key.
fn places<S: Service + From<AddressKey>>(
    LetIn { servers, weights }: LetIn,
    old: &List<Server, S>,
) -> Vec<ListEntry<Server, S>> {
    let mut known = Cursor(old.nodes());
    let nodes: Vec<_> = servers.iter().map(|server| known.find(server)).collect();
    let few = nodes.iter().filter(|node| node.is_none()).count() <= FEW;
    let keys = || old.ids().iter().map(|(_, key)| *key);
    let mut used: HashSet<AddressKey> = if few { HashSet::new() } else { keys().collect() };
    let mut is_new = |key| !(few && keys().any(|used| used == key)) && used.insert(key);
    // The address of the last new server, and its key.
    let mut last: Option<(Address, AddressKey)> = None;
    let mut place = |((server, weight), node): ((Server, NonZeroU32), Option<&Gone<S>>)| {
        if let Some(node) = node {
            return ListEntry::Stays(std::sync::Arc::clone(node));
        }
        let same = last.take().filter(|(address, _)| *address == server.address).map(|(_, key)| key);
        let key = same.or_else(|| old.key_of(&server.address)).unwrap_or_else(|| {
            let keys = std::iter::successors(Some(AddressKey::of(&server.address)), |key| Some(key.next()));
            keys.into_iter().find(|key| is_new(*key)).unwrap_or_default()
        });
        last = Some((server.address.clone(), key));
        ListEntry::new(server, S::from(key), weight)
    };
    servers.into_iter().zip(weights).zip(nodes).map(&mut place).collect()
}

thread_local! {
    /// The lists whose filters are running on this thread. A list is identified by its address in memory.
    static FILTERING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A mark that the filter of a list is running on this thread. Dropping it removes the mark.
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
        let health = Health::new(Recovering::new(AnyBreaker::None, None), IsolationLimit::DEFAULT);
        Servers::new(crate::Balancer::named(balancer, 1).unwrap(), health, usize::from(MAX_SERVERS))
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
        assert!(Arc::ptr_eq(&now.list().nodes()[1], &stays), "the server keeps its node, and so all that was learned");
        assert_eq!(now.list().nodes()[1].id(), before[1]);
        assert_eq!(now.list().nodes()[1].in_flight(), 1);
        assert_eq!(now.list().nodes()[0].id().slot(), before[0].slot(), "the slot is used again");
        assert_ne!(now.list().nodes()[0].id(), before[0], "the slot now belongs to another server");
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
        assert_eq!(slots.len(), 2, "no slot is lost");
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
        panic!("the id was never used again");
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
            assert_eq!(update.servers, 1, "the nested call was refused, so the filter let the server in");
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
        assert_eq!(set(&servers, "127.0.0.1:4").servers, 1, "the next list is accepted");
    }

    #[test]
    fn servers_of_one_address_share_its_key() {
        let servers = servers("rr");
        set(&servers, "list://127.0.0.1:1 a,127.0.0.1:2,127.0.0.1:1 b,127.0.0.1:1 a");
        let now = servers.load();
        let keys: Vec<_> = now.list().nodes().iter().map(|node| node.address_key()).collect();
        assert_eq!(keys.len(), 3, "a server that occurs twice is in the list once");
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
    fn s2_a_strict_list_is_taken_in_or_nothing_changes() {
        let servers = servers("wrr");
        set(&servers, "list://127.0.0.1:1 2");
        let before = ids(&servers);
        let strictly = |text: &str, filter: Option<&Filter>| {
            servers.set_strictly(list(text), filter, NOW).map(|(update, _)| update.servers)
        };
        let error = strictly("list://127.0.0.1:2 1,127.0.0.1:3", None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "server 127.0.0.1:3: weight: missing; the tag must be an integer in [1, 4294967295]"
        );
        let nothing: Filter = Box::new(|_| false);
        assert_eq!(strictly("list://127.0.0.1:2 1", Some(&nothing)), Err(StrictListError::NoServers));
        assert_eq!(strictly("list://", None), Err(StrictListError::NoServers));
        assert_eq!(ids(&servers), before);
        let not_3: Filter = Box::new(|server| server.address != "127.0.0.1:3".parse().unwrap());
        assert_eq!(strictly("list://127.0.0.1:2 1,127.0.0.1:3", Some(&not_3)), Ok(1), "a filter may refuse some");
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
