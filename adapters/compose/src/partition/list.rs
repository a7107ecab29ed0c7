//! The servers of one partition, as a source of servers: [`PartList`].

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use hedge_core::balance::Partition as Place;
use hedge_fleet::{Naming, NamingError, Server, Update};

/// The servers of one partition. It is a source of servers ([`Naming`]) for the channel of this partition. It has no
/// list until the first list of the whole name has come.
pub struct PartList {
    place: Place,
    shared: Arc<Shared>,
    /// The number of the last list that `next` has returned.
    seen: u64,
}

/// The end of a [`PartList`] that sets its servers.
pub(super) struct PartSender(Arc<Shared>);

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    /// How many lists there were.
    version: u64,
    servers: Vec<Server>,
    waker: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartList {
    /// Makes the list of a partition, and the end that sets it.
    pub(super) fn new(place: Place) -> (PartSender, Self) {
        let shared = Arc::<Shared>::default();
        (PartSender(Arc::clone(&shared)), Self { place, shared, seen: 0 })
    }

    /// Returns the partition: its index, and the number of partitions.
    #[must_use]
    pub const fn partition(&self) -> Place {
        self.place
    }

    /// Returns the servers of the partition. Before the first list there are none.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        self.shared.lock().servers.clone()
    }
}

impl PartSender {
    /// Sets the servers. The first list is always news, and a later one only if it differs.
    pub(super) fn set(&self, servers: Vec<Server>) {
        let mut state = self.0.lock();
        if state.version > 0 && state.servers == servers {
            return;
        }
        state.version += 1;
        state.servers = servers;
        let waker = state.waker.take();
        // The lock is released first, since the executor's waker may run any code.
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Naming for PartList {
    async fn next(&mut self) -> Result<Update, NamingError> {
        let Self { shared, seen, .. } = self;
        poll_fn(|cx| {
            let mut state = shared.lock();
            if state.version > *seen {
                *seen = state.version;
                return Poll::Ready(Ok(Update::Reset { servers: state.servers.clone(), rejected: Vec::new() }));
            }
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                waker => *waker = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

impl fmt::Debug for PartList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartList").field("partition", &self.place).field("servers", &self.servers()).finish()
    }
}
