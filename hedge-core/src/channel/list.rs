//! The list of a channel's servers: the methods that change the list, and the list in the form for balancers.

use core::fmt::{self, Display};
use core::hash::Hash;

use super::{BackupPolicy, Balancer, Candidate, Channel, Cluster, ClusterError, Server, ServerId, Tag};
use crate::balance::{Load, Roster, ServerList};
use crate::health::{Breaker, Health, ServerHealth};
use crate::time::Instant;

/// The data that a channel keeps for each server.
#[derive(Debug)]
pub struct Record<S, K: Breaker> {
    pub(super) stats: S,
    pub(super) health: ServerHealth<K>,
}

impl<S, K: Breaker> Record<S, K> {
    /// Returns what the balancer has learned about the server.
    pub const fn stats(&self) -> &S {
        &self.stats
    }

    /// Returns the server's health.
    pub const fn health(&self) -> &ServerHealth<K> {
        &self.health
    }
}

/// A change of a channel's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListChange<A, T> {
    /// Add this server.
    Insert(Server<A, T>),
    /// Remove this server.
    Remove(Server<A, T>),
}

/// The differences between the old and the new list of servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Update {
    /// How many servers were added.
    pub inserted: u16,
    /// How many servers were removed.
    pub removed: u16,
    /// How many servers of the new list were refused.
    pub refused: u16,
    /// The reason why the first refused server was refused: [`ClusterError::Weight`], [`ClusterError::FilteredOut`] or
    /// [`ClusterError::Full`]. It is `None` if no server was refused.
    pub reason: Option<ClusterError>,
}

impl Update {
    fn refuse(&mut self, reason: ClusterError) {
        self.refused = self.refused.saturating_add(1);
        self.reason = self.reason.or(Some(reason));
    }
}

impl<A, B, P, T, const N: usize, K> Channel<A, B, P, T, N, K>
where
    A: Ord + Hash + Display,
    B: Balancer,
    P: BackupPolicy,
    T: Ord + Tag,
    K: Breaker,
{
    /// Adds a server. The server is usable at once.
    ///
    /// This method does not know the time. So a balancer within groups ([S9](crate::rules#S9), [S10](crate::rules#S10))
    /// counts isolated servers as usable, until later calls refresh the health that the balancer has stored. To avoid
    /// this, use [`apply`](Self::apply) or [`set_servers`](Self::set_servers).
    ///
    /// # Errors
    /// Returns the reason why the server could not be added. In this case the list is not changed.
    pub fn insert(&mut self, address: A, tag: T) -> Result<ServerId, ClusterError> {
        self.insert_at(Server { address, tag }, Instant::ZERO)
    }

    fn insert_at(&mut self, server: Server<A, T>, now: Instant) -> Result<ServerId, ClusterError> {
        let inserted = self.take_in(server)?;
        if let Err(error) = self.arrange(now) {
            // The balancer had room for the earlier list, so arranging the earlier list again cannot fail.
            let _ = self.cluster.remove(inserted);
            let _ = self.arrange(now);
            return Err(ClusterError::Balancer(error));
        }
        Ok(inserted)
    }

    /// Removes a server. Attempts at this server continue, but their feedback is dropped ([L20](crate::rules#L20)).
    ///
    /// # Errors
    /// Returns [`ClusterError::Gone`] if the server is not in the list.
    pub fn remove(&mut self, server: ServerId, now: Instant) -> Result<Server<A, T>, ClusterError> {
        let removed = self.cluster.remove(server)?;
        self.arrange(now).map_err(ClusterError::Balancer)?;
        Ok(removed)
    }

    /// Applies a change. Returns whether the list has changed.
    ///
    /// # Errors
    /// Returns the reason why the server could not be added. In this case the list is not changed.
    pub fn apply(&mut self, change: ListChange<A, T>, now: Instant) -> Result<bool, ClusterError> {
        match change {
            ListChange::Insert(server) => match self.insert_at(server, now) {
                Err(ClusterError::Duplicate) => Ok(false),
                inserted => inserted.map(|_| true),
            },
            ListChange::Remove(server) => match self.cluster.find_server(&server) {
                Some(there) => self.remove(there, now).map(|_| true),
                None => Ok(false),
            },
        }
    }

    /// Replaces the list by `servers`, and returns the differences. Servers that stay in the list keep their ids and
    /// all their data. Servers that are not in `servers` are removed first. A server that cannot be added, for example
    /// because the list is full, is counted in [`Update::refused`]. The other servers are still added.
    ///
    /// # Errors
    /// Returns [`ClusterError::Balancer`] if the balancer has no room for the servers. In this case the list is empty
    /// afterwards.
    pub fn set_servers<I>(&mut self, servers: I, now: Instant) -> Result<Update, ClusterError>
    where
        I: IntoIterator<Item = (A, T), IntoIter: Clone>,
    {
        let servers = servers.into_iter().map(|(address, tag)| Server { address, tag });
        let mut update = Update::default();
        // `stays` says for each slot whether its server is in the new list and passes the filter.
        let mut stays = [false; N];
        for there in
            servers.clone().filter(|server| self.lets_through(server)).filter_map(|it| self.cluster.find_server(&it))
        {
            if let Some(stays) = stays.get_mut(usize::from(there.slot())) {
                *stays = true;
            }
        }
        // Servers that are not in the new list are removed first, to make room.
        for (slot, stays) in (0..).zip(stays) {
            if let Some(server) = self.cluster.in_slot(slot).filter(|_| !stays) {
                update.removed = update.removed.saturating_add(u16::from(self.cluster.remove(server).is_ok()));
            }
        }
        for server in servers {
            match self.take_in(server) {
                Ok(_) => update.inserted = update.inserted.saturating_add(1),
                Err(ClusterError::Duplicate) => {}
                Err(reason) => update.refuse(reason),
            }
        }
        if let Err(error) = self.arrange(now) {
            // The list is emptied, since every balancer has room for an empty list.
            for slot in 0..u16::try_from(N).unwrap_or(u16::MAX) {
                let _ = self.cluster.in_slot(slot).map(|server| self.cluster.remove(server));
            }
            let _ = self.arrange(now);
            return Err(ClusterError::Balancer(error));
        }
        Ok(update)
    }

    /// Adds a server to the cluster. The caller must [`arrange`](Self::arrange) the list afterwards.
    fn take_in(&mut self, server: Server<A, T>) -> Result<ServerId, ClusterError> {
        if !self.lets_through(&server) {
            return Err(ClusterError::FilteredOut);
        }
        let weight = self.balancer.weighing().weight(&server.tag).map_err(ClusterError::Weight)?;
        let record = Record { stats: self.balancer.stats(), health: ServerHealth::new() };
        self.cluster.insert(server, weight, record)
    }

    fn lets_through(&self, server: &Server<A, T>) -> bool {
        self.filter.is_none_or(|filter| filter(server))
    }

    /// Has the balancer arrange the changed list. After that, ends the isolations that exceed the limit of the new list
    /// ([H4](crate::rules#H4)).
    fn arrange(&mut self, now: Instant) -> Result<(), crate::balance::ArrangeError> {
        self.balancer.arrange(&View { cluster: &self.cluster, health: &self.health, now })?;
        self.health.changed(now, || self.healths());
        Ok(())
    }
}

/// A channel's list in the form for the balancer. It contains each server's health at `now`.
pub(super) struct View<'a, A, T, const N: usize, S, K: Breaker> {
    pub(super) cluster: &'a Cluster<A, T, N, Record<S, K>>,
    pub(super) health: &'a Health<K>,
    pub(super) now: Instant,
}

impl<A, T, const N: usize, S, K: Breaker> ServerList for View<'_, A, T, N, S, K> {
    type Stats = S;

    fn len(&self) -> usize {
        self.cluster.len()
    }

    #[inline]
    fn at(&self, position: usize) -> Option<Candidate> {
        self.in_slot(self.cluster.slot_at(position)?)
    }

    fn slots(&self) -> usize {
        N
    }

    #[inline]
    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        let (server, address, record) = self.cluster.candidate(slot)?;
        Some(Candidate { server, address, usable: self.health.usable(&record.health, self.now) })
    }

    fn load(&self, server: ServerId) -> Option<Load<'_, S>> {
        let stats = &self.cluster.state(server)?.stats;
        let (in_flight, weight) = (self.cluster.in_flight(server), self.cluster.weight(server)?);
        Some(Load { stats, in_flight, weight })
    }
}

impl<A: Display, T: Tag, const N: usize, S, K: Breaker> Roster for View<'_, A, T, N, S, K> {
    fn write_address(&self, position: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        let address = self.cluster.at(position).and_then(|server| self.cluster.address(server)).ok_or(fmt::Error)?;
        write!(out, "{address}")
    }

    fn tag(&self, position: usize) -> &str {
        let server = self.cluster.at(position).and_then(|server| self.cluster.server(server));
        server.map_or("", |server| server.tag.text())
    }
}
