//! One watcher for all channels that name one URL: [`Shared`].

use std::any::TypeId;
use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use futures_channel::oneshot;
use hedge_fleet::{BoxNaming, LineError, Naming, NamingError, NamingErrorKind, Server, Update};
use hedge_link::{Runtime, RuntimeId};

use crate::options::Options;

/// A source that is shared by all who name it on one runtime ([N6](hedge_core::rules#N6)).
///
/// Each user has its own `Shared`. The first user that waits for a list opens the source. It is closed when the last
/// user is dropped. Users that join later get the current list at once. One of the waiting users polls the source, and
/// the others are woken when it has answered. If the user that polls is dropped, another one goes on. So there is no
/// task, and no runtime is needed before the first wait.
///
/// If a source fails, all who wait are told. Each pauses as [`Follower`](hedge_fleet::Follower) does, and the first whose
/// pause ends asks the source again.
///
/// # Cost
/// The last list is kept once, and copied for each who waits.
pub(crate) struct Shared<R> {
    runtime: R,
    url: Arc<str>,
    options: Options,
    open: Arc<Open>,
    joined: Option<Joined>,
}

/// Opens a source.
type Open = dyn Fn() -> Result<BoxNaming, NamingError> + Send + Sync;

/// What identifies a source.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    runtime: TypeId,
    id: RuntimeId,
    url: Arc<str>,
    options: Options,
}

struct Joined {
    hub: Arc<Hub>,
    /// The number of the last answer that was taken.
    seen: u64,
}

impl<R: Runtime> Shared<R> {
    /// A source that `open` opens. `url` must name it.
    pub(crate) fn new(
        runtime: R,
        url: impl Into<Arc<str>>,
        options: Options,
        open: impl Fn() -> Result<BoxNaming, NamingError> + Send + Sync + 'static,
    ) -> Self {
        Self { runtime, url: url.into(), options, open: Arc::new(open), joined: None }
    }

    /// Joins those who share the source on the runtime that this is called on.
    fn join(&mut self) -> Result<&mut Joined, NamingError> {
        let id = self.runtime.id();
        let joined = self.joined.take().filter(|joined| joined.hub.key.id == id);
        let joined = match joined {
            Some(joined) => joined,
            None => {
                let key = Key { runtime: TypeId::of::<R>(), id, url: self.url.clone(), options: self.options.clone() };
                Joined { hub: Hub::of(key, &*self.open)?, seen: 0 }
            }
        };
        Ok(self.joined.insert(joined))
    }
}

impl<R: Runtime> Naming for Shared<R> {
    async fn next(&mut self) -> Result<Update, NamingError> {
        let Joined { hub, seen } = self.join()?;
        hub.next(seen).await
    }
}

impl<R> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The open sources, by their keys. A source is in the map as long as someone shares it.
static PROCESS: LazyLock<Mutex<HashMap<Key, Weak<Hub>>>> = LazyLock::new(Mutex::default);

/// An open source.
struct Hub {
    key: Key,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` while one of those who wait drives it.
    source: Option<BoxNaming>,
    answers: u64,
    /// The last list, and the number of its answer.
    list: BTreeSet<Server>,
    rejected: Vec<(usize, LineError)>,
    listed: u64,
    /// The last error, and the number of its answer.
    error: Option<(u64, NamingError)>,
    /// Those who wait for an answer. Dropping the senders wakes them.
    waiters: Vec<oneshot::Sender<Infallible>>,
}

impl Hub {
    fn of(key: Key, open: &Open) -> Result<Arc<Self>, NamingError> {
        let mut hubs = hubs();
        if let Some(hub) = hubs.get(&key).and_then(Weak::upgrade) {
            return Ok(hub);
        }
        let state = Mutex::new(State { source: Some(open()?), ..State::default() });
        let hub = Arc::new(Self { key: key.clone(), state });
        hubs.insert(key, Arc::downgrade(&hub));
        Ok(hub)
    }

    async fn next(&self, seen: &mut u64) -> Result<Update, NamingError> {
        loop {
            let driver = {
                let mut state = self.lock();
                if let Some(news) = state.news(seen) {
                    return news;
                }
                match state.source.take() {
                    Some(source) => Ok(Driver { hub: self, source: Some(source) }),
                    None => Err(state.wait()),
                }
            };
            match driver {
                Ok(driver) => driver.drive().await,
                // An error: the sender was dropped, which means that there is news, or nobody drives the source.
                Err(news) => drop(news.await),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let mut hubs = hubs();
        // Another one may have taken its place already.
        if hubs.get(&self.key).is_some_and(|hub| hub.strong_count() == 0) {
            hubs.remove(&self.key);
        }
    }
}

fn hubs() -> MutexGuard<'static, HashMap<Key, Weak<Hub>>> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Returns the last list if it is newer than `seen`, or else the last error if that is newer. Sets `seen` to the
    /// number of this answer.
    fn news(&self, seen: &mut u64) -> Option<Result<Update, NamingError>> {
        if self.listed > *seen {
            *seen = self.listed;
            let (servers, rejected) = (self.list.iter().cloned().collect(), self.rejected.clone());
            return Some(Ok(Update::Reset { servers, rejected }));
        }
        let (number, error) = self.error.as_ref().filter(|(number, _)| number > seen)?;
        *seen = *number;
        Some(Err(error.clone()))
    }

    fn wait(&mut self) -> oneshot::Receiver<Infallible> {
        let (sender, news) = oneshot::channel();
        // Waiters that have left are removed each time the vector would grow.
        if self.waiters.len() == self.waiters.capacity() {
            self.waiters.retain(|waiter| !waiter.is_canceled());
        }
        self.waiters.push(sender);
        news
    }

    fn take_in(&mut self, answer: Result<Update, NamingError>, url: &Arc<str>) {
        self.answers = self.answers.wrapping_add(1);
        match answer {
            Err(error) => self.error = Some((self.answers, error)),
            Ok(Update::Reset { servers, rejected }) => {
                if let (true, Some((number, error))) = (servers.is_empty(), rejected.first()) {
                    let none = NamingError::new(Arc::clone(url), NamingErrorKind::NoValidLine);
                    self.error = Some((self.answers, none.at(format!("line {number}")).because(error.clone())));
                    return;
                }
                (self.list, self.rejected, self.listed) = (servers.into_iter().collect(), rejected, self.answers);
            }
            Ok(Update::Change { insert, remove }) => {
                for server in &remove {
                    self.list.remove(server);
                }
                self.list.extend(insert);
                (self.rejected, self.listed) = (Vec::new(), self.answers);
            }
        }
    }
}

/// The user that polls the source. When it is dropped, it puts the source back and wakes the others, and one of them
/// goes on.
struct Driver<'a> {
    hub: &'a Hub,
    source: Option<BoxNaming>,
}

impl Driver<'_> {
    async fn drive(mut self) {
        let Some(source) = &mut self.source else { return };
        let answer = source.next().await;
        self.hub.lock().take_in(answer, &self.hub.key.url);
    }
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        state.source = self.source.take();
        let waiters = std::mem::take(&mut state.waiters);
        // The lock is released first, since wakers may run any code.
        drop(state);
        drop(waiters);
    }
}
