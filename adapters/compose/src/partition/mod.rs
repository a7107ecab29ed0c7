//! Channels of the partitions of one name: [`Partition`] and [`DynamicPartition`] ([X3](hedge_core::rules#X3)).

mod dynamic;
mod list;
mod split;

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hedge_core::balance::Partition as Place;
use hedge_core::drive::Timer;
use hedge_core::policy::Idempotency;
use hedge_fleet::{BoxNaming, CallOptions, Caller, Follower, Naming, NamingError, Server, Setup};

pub use dynamic::DynamicPartition;
pub use list::PartList;
pub use split::{PartitionGroup, PartitionStatus, PartitionWarning};

use crate::build_error::BuildError;
use crate::parallel::{BoxError, Parallel, ParallelBuilder};
use list::PartSender;
use split::split;

/// The most partitions of one channel.
const MAX_PARTITIONS: u32 = 1 << 16;

/// A channel over the partitions of one name ([X3](hedge_core::rules#X3)). The servers of the name have tags `i/n`, and
/// those with the same `i` form one sub-channel. A call goes to all partitions at once, as in a [`Parallel`]. All clones
/// are the same channel.
///
/// [`ParallelBuilder::partitions`] makes it. The program says how the channel of one partition is made from its
/// [`PartList`]. The servers come from a source ([`follow`](Self::follow)) or from the program
/// ([`set_servers`](Self::set_servers)). Servers that cannot be used, and partitions without servers, are in the
/// [`status`](Self::status). A call to a partition without servers fails in this part, and `fail_limit` decides about
/// the call.
pub struct Partition<P> {
    inner: Arc<Inner<P>>,
}

struct Inner<P> {
    channel: P,
    /// The lock is held while a list is taken in, which wakes the channels of the partitions.
    senders: Mutex<Box<[PartSender]>>,
    count: u32,
    status: Status,
}

/// What is known about the servers of a name. The lock is only held to copy, so any code may ask at any time.
#[derive(Default)]
struct Status(Mutex<PartitionStatus>);

impl Status {
    fn lock(&self) -> MutexGuard<'_, PartitionStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> PartitionStatus {
        self.lock().clone()
    }

    fn set(&self, status: &PartitionStatus) {
        self.lock().clone_from(status);
    }

    /// The source of the servers has failed.
    fn failed(&self, error: &NamingError) {
        self.lock().source_error = Some(error.to_string());
    }
}

impl<P> Partition<P> {
    /// Makes a channel of `count` partitions. `make` gets their lists, in the order of their indices, and makes the
    /// channel of all of them.
    ///
    /// # Errors
    /// [`BuildError::Partitions`] if `count` is not from 1 to 65,536, and [`BuildError::Part`] with the error of `make`.
    pub fn new<E: Into<BoxError>>(
        count: u32,
        make: impl FnOnce(Vec<PartList>) -> Result<P, E>,
    ) -> Result<Self, BuildError> {
        if count == 0 || count > MAX_PARTITIONS {
            return Err(BuildError::Partitions { count });
        }
        let (senders, lists): (Vec<_>, _) =
            (0..count).filter_map(|it| Place::new(it, count)).map(PartList::new).unzip();
        let channel = make(lists).map_err(|error| BuildError::Part(Arc::from(error.into())))?;
        let inner = Inner { channel, senders: Mutex::new(senders.into()), count, status: Status::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sets the servers of the name, and splits them. Each partition keeps the state of the servers that stay. Returns
    /// what is now known about the servers.
    pub fn set_servers(&self, servers: Vec<Server>) -> PartitionStatus {
        let inner = &*self.inner;
        // The lock is held, so that two lists that come at once are not mixed.
        let senders = inner.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut groups, status) = split(servers, Some(inner.count));
        let mut lists = groups.remove(&inner.count).unwrap_or_default();
        for (index, sender) in (0..).zip(&*senders) {
            sender.set(lists.remove(&index).unwrap_or_default());
        }
        inner.status.set(&status);
        status
    }

    /// Returns what is known about the servers of the name.
    pub fn status(&self) -> PartitionStatus {
        self.inner.status.get()
    }

    /// Follows a source of servers as long as the future is polled: spawn it, and drop it to stop. `name` is the name of
    /// the source in errors. If the source fails, the last list stays, and the source is asked again after a pause
    /// ([N2](hedge_core::rules#N2)).
    pub fn follow<T, N>(&self, timer: T, name: &str, naming: N) -> impl Future<Output = ()> + Send + use<P, T, N>
    where
        P: Send + Sync,
        T: Timer<Sleep: Send> + Send + Sync,
        N: Naming,
    {
        let this = self.clone();
        follow(timer, name.into(), BoxNaming::new(naming), move |news| match news {
            Ok(servers) => drop(this.set_servers(servers)),
            Err(error) => this.inner.status.failed(&error),
        })
    }

    /// Returns the channel of all partitions.
    pub fn channel(&self) -> &P {
        &self.inner.channel
    }
}

impl<C, T: Timer> Partition<Parallel<C, T>> {
    /// Returns a builder. [`ParallelBuilder::partitions`] builds the channel.
    pub fn builder(timer: T) -> ParallelBuilder<C, T> {
        Parallel::builder(timer).name("partition")
    }
}

impl<C, T: Timer, M, G> ParallelBuilder<C, T, M, G> {
    /// Builds a channel of `count` partitions of one name. `make` makes the channel of each partition from its list. A
    /// mapper gets the index of the partition.
    ///
    /// # Errors
    /// See [`build`](Self::build) and [`Partition::new`].
    pub fn partitions<E: Into<BoxError>>(
        self,
        count: u32,
        mut make: impl FnMut(PartList) -> Result<C, E>,
    ) -> Result<Partition<Parallel<C, T, M, G>>, BuildError> {
        Partition::new(count, |lists| {
            let mut builder = self;
            for list in lists {
                let place = list.partition();
                builder =
                    builder.channel(format!("{}/{}", place.index(), place.count()), make(list).map_err(Into::into)?);
            }
            builder.build().map_err(BoxError::from)
        })
    }
}

impl<P: Caller<Request>, Request: Sync> Caller<Request> for Partition<P> {
    type Reply = P::Reply;
    type Error = P::Error;

    fn call_with(
        &self,
        request: &Request,
        options: &CallOptions,
    ) -> impl Future<Output = Result<P::Reply, P::Error>> + Send {
        self.inner.channel.call_with(request, options)
    }

    fn has_usable_server(&self) -> bool {
        self.inner.channel.has_usable_server()
    }

    fn idempotency(&self, request: &Request) -> Idempotency {
        self.inner.channel.idempotency(request)
    }

    fn wants_key(&self) -> bool {
        self.inner.channel.wants_key()
    }
}

/// Follows a source, and hands over each list and each error.
async fn follow<T: Timer<Sleep: Send> + Send + Sync>(
    timer: T,
    name: Arc<str>,
    naming: BoxNaming,
    take: impl Fn(Result<Vec<Server>, NamingError>) + Send,
) {
    let mut follower = Follower::new(name, naming, Setup::new().seed());
    loop {
        take(follower.next(&timer).await.map(|news| news.servers));
    }
}

/// Returns the number of servers as a weight, which is at least 1.
fn weight(servers: u32) -> NonZeroU32 {
    NonZeroU32::new(servers).unwrap_or(NonZeroU32::MIN)
}

impl<P> Clone for Partition<P> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<P: fmt::Debug> fmt::Debug for Partition<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("channel", &self.inner.channel)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
