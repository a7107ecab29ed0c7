//! A channel over several numbers of partitions at once: [`DynamicPartition`].

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use hedge_core::balance::Partition as Place;
use hedge_core::cluster::ClusterError;
use hedge_core::drive::Timer;
use hedge_core::policy::{Idempotency, RetryPolicy};
use hedge_fleet::{BoxNaming, CallOptions, Caller, Naming, Server, caught};

use super::list::{PartList, PartSender};
use super::split::{Groups, PartitionStatus, PartitionWarning, capacity, is_complete, split};
use super::{Status, follow, weight};
use crate::build_error::BuildError;
use crate::judge::OutcomePolicy;
use crate::parallel::BoxError;
use crate::selective::{Selective, SelectiveBuilder, SelectiveError, SelectiveReply};

/// A channel over a name whose servers are partitioned in several ways at once ([X3](hedge_core::rules#X3)). For
/// example, some have tags `i/3`, and others `i/4` while the data is being split anew. A number of partitions is
/// complete if each of its partitions has a server. For each call, one complete number is drawn, by default with a
/// chance in proportion to its servers. The call goes to all partitions of this number. All clones are the same
/// channel.
///
/// To this channel, each number of partitions is a sub-channel of a [`Selective`]: its retries and backups go to another
/// number of partitions. [`SelectiveBuilder::partitions`] makes it. The default balancer is `wr`.
///
/// When a number of partitions gets more or fewer servers, its weight changes, and so it is a new sub-channel of the
/// `Selective`. What the `Selective` knew about it starts anew: the latencies of its balancer, the circuit breaker, and
/// whether it is down. The channels of its partitions stay, with all that they know.
pub struct DynamicPartition<P, T, R = OutcomePolicy> {
    inner: Arc<Inner<P, T, R>>,
}

type Make<P> = Box<dyn Fn(NonZeroU32, Vec<PartList>) -> Result<P, BoxError> + Send + Sync>;

struct Inner<P, T, R> {
    selective: Selective<Arc<P>, T, R>,
    make: Make<P>,
    /// By the number of partitions. The lock is held while a list is taken in, which runs code of the program.
    groups: Mutex<BTreeMap<u32, Group<P>>>,
    /// The lock is only held to copy.
    status: Status,
}

/// The channel of one number of partitions. It is kept while any of its partitions has a server.
struct Group<P> {
    channel: Arc<P>,
    senders: Vec<PartSender>,
    /// How many servers there are, if every partition has one.
    complete: Option<u32>,
    /// The weight with which calls use the group. `None`: they do not use it.
    placed: Option<u32>,
}

impl<P, T: Timer> DynamicPartition<P, T> {
    /// Returns a builder. [`SelectiveBuilder::partitions`] builds the channel.
    pub fn builder(timer: T) -> SelectiveBuilder<Arc<P>, T> {
        Selective::builder(timer).name("partitions").load_balancer("wr")
    }
}

impl<P: 'static, T: Timer, R> SelectiveBuilder<Arc<P>, T, R> {
    /// Builds a channel over several numbers of partitions. `make` makes the channel of one number of partitions, for
    /// example a [`Parallel`](crate::Parallel), from the lists of its partitions. `make` is called when a number of
    /// partitions is complete and has no channel yet. `make` must not set the servers of the [`DynamicPartition`].
    ///
    /// # Errors
    /// See [`build`](Self::build).
    pub fn partitions<E: Into<BoxError>>(
        self,
        make: impl Fn(NonZeroU32, Vec<PartList>) -> Result<P, E> + Send + Sync + 'static,
    ) -> Result<DynamicPartition<P, T, R>, BuildError> {
        let selective = self.build()?;
        let make: Make<P> = Box::new(move |count, lists| make(count, lists).map_err(Into::into));
        let (groups, status) = (Mutex::default(), Status::default());
        Ok(DynamicPartition { inner: Arc::new(Inner { selective, make, groups, status }) })
    }
}

impl<P: 'static, T: Timer, R> DynamicPartition<P, T, R> {
    /// Sets the servers of the name, and splits them. Each partition keeps the state of the servers that stay. Returns
    /// what is now known about the servers. Two lists that come at once are taken in one after the other. So an observer
    /// that is notified meanwhile must not set the servers. It may read the [`status`](Self::status), which then is that
    /// of the list before.
    pub fn set_servers(&self, servers: Vec<Server>) -> PartitionStatus {
        let inner = &*self.inner;
        // The lock is held, so that two lists that come at once are not mixed.
        let mut groups = inner.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let (split, mut status) = split(servers, None);
        groups.retain(|count, _| split.contains_key(count));
        inner.update(&mut groups, split, &mut status);
        if let Err(error) = inner.place(&mut groups) {
            status.list_error = Some(error);
        }
        inner.status.set(&status);
        status
    }

    /// Returns what is known about the servers of the name.
    pub fn status(&self) -> PartitionStatus {
        self.inner.status.get()
    }

    /// Follows a source of servers: see [`Partition::follow`](crate::Partition::follow).
    pub fn follow<N>(&self, timer: T, name: &str, naming: N) -> impl Future<Output = ()> + Send + use<P, T, R, N>
    where
        P: Send + Sync,
        T: Timer<Sleep: Send> + Send + Sync,
        R: Send + Sync,
        N: Naming,
    {
        let this = self.clone();
        follow(timer, name.into(), BoxNaming::new(naming), move |news| match news {
            Ok(servers) => drop(this.set_servers(servers)),
            Err(error) => this.inner.status.failed(&error),
        })
    }

    /// Returns the channel that chooses among the numbers of partitions. The names of its sub-channels are the numbers.
    pub fn selective(&self) -> &Selective<Arc<P>, T, R> {
        &self.inner.selective
    }
}

impl<P: 'static, T: Timer, R> Inner<P, T, R> {
    /// Gives each partition its list. If a number of partitions is complete and has no channel yet, this makes the
    /// channel.
    fn update(&self, groups: &mut BTreeMap<u32, Group<P>>, split: Groups, status: &mut PartitionStatus) {
        for (count, mut lists) in split {
            let complete = is_complete(count, &lists).then(|| capacity(&lists));
            if complete.is_some() && !groups.contains_key(&count) {
                match self.group(count) {
                    Ok(group) => drop(groups.insert(count, group)),
                    Err(error) => status.warnings.push(PartitionWarning::NotBuilt { count, error }),
                }
            }
            let Some(group) = groups.get_mut(&count) else { continue };
            for (index, sender) in (0..).zip(&group.senders) {
                sender.set(lists.remove(&index).unwrap_or_default());
            }
            group.complete = complete;
        }
    }

    /// Makes calls use the complete groups, each by its number of servers, and no others.
    fn place(&self, groups: &mut BTreeMap<u32, Group<P>>) -> Result<(), ClusterError> {
        let is_complete = |name: &Arc<str>| {
            let group = name.parse().ok().and_then(|count: u32| groups.get(&count));
            group.is_some_and(|group| group.complete.is_some())
        };
        let remove: Vec<_> = self.selective.names().into_iter().filter(|name| !is_complete(name)).collect();
        let stale = groups.iter().filter(|(_, group)| group.complete != group.placed);
        let insert = stale.filter_map(|(count, group)| Some((*count, Arc::clone(&group.channel), group.complete?)));
        let insert =
            insert.map(|(count, channel, servers)| (count.to_string().into(), channel, weight(servers))).collect();
        self.selective.change(remove, insert)?;
        for group in groups.values_mut() {
            group.placed = group.complete;
        }
        Ok(())
    }

    /// Makes the channel of a number of partitions. There are at least as many servers, so the lists fit into memory.
    fn group(&self, count: u32) -> Result<Group<P>, String> {
        let number = NonZeroU32::new(count).ok_or("the number of partitions is 0")?;
        let (senders, lists): (Vec<_>, _) =
            (0..count).filter_map(|it| Place::new(it, count)).map(PartList::new).unzip();
        let made = caught(|| (self.make)(number, lists)).ok_or("the program's code has panicked")?;
        let channel = Arc::new(made.map_err(|error| error.to_string())?);
        Ok(Group { channel, senders, complete: None, placed: None })
    }
}

impl<Request, P, T, R> Caller<Request> for DynamicPartition<P, T, R>
where
    Request: Sync,
    P: Caller<Request> + 'static,
    T: Timer<Sleep: Send> + Send + Sync,
    R: RetryPolicy<P::Reply, P::Error> + Send + Sync,
{
    type Reply = SelectiveReply<P::Reply>;
    type Error = SelectiveError<P::Reply, P::Error>;

    fn call_with(
        &self,
        request: &Request,
        options: &CallOptions,
    ) -> impl Future<Output = Result<Self::Reply, Self::Error>> + Send {
        self.inner.selective.call_with(request, options)
    }

    fn has_usable_server(&self) -> bool {
        Caller::<Request>::has_usable_server(&self.inner.selective)
    }

    fn idempotency(&self, request: &Request) -> Idempotency {
        self.inner.selective.idempotency(request)
    }

    fn wants_key(&self) -> bool {
        Caller::<Request>::wants_key(&self.inner.selective)
    }
}

impl<P, T, R> Clone for DynamicPartition<P, T, R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<P, T, R> fmt::Debug for DynamicPartition<P, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicPartition").field("selective", &self.inner.selective).finish_non_exhaustive()
    }
}
