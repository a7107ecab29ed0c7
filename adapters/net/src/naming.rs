//! The source of a channel's list: [`Source`], and the task that follows it, [`Following`].

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use futures_channel::oneshot;
use hedge_fleet::{
    Follower, LineError, ListUpdate, NamingError, NamingErrorKind, News, Observers, RefusedServer, Server, caught,
};
use hedge_link::Runtime;

/// How many rejected lines, and how many refused servers, a channel keeps for [`NamingStatus`].
const KEPT: usize = 16;

/// The first list has come.
const LISTED: u8 = 1;
/// A task follows the source.
const FOLLOWED: u8 = 2;

/// What a channel knows about the source of its list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct NamingStatus {
    /// How many lists and changes the channel has taken in.
    pub updates: u64,
    /// Why the source has no newer list. `None`: its last answer was a list or a change.
    pub error: Option<NamingError>,
    /// The lines of the last list that are not servers, by their number from 1; the first 16 of them.
    pub rejected: Vec<(usize, LineError)>,
    /// The servers that the last update would have added, and that were refused; the first 16 of them.
    pub refused: Vec<(Server, RefusedServer)>,
}

/// The source of a channel's list. It is followed by one task, which starts with the first call. The task does not keep
/// the channel alive. When its runtime ends, the follower comes back here, and the next call starts another task.
pub(crate) struct Source {
    /// `LISTED` and `FOLLOWED`.
    state: AtomicU8,
    shared: Mutex<Shared>,
}

/// What a caller without a list does next: [`Source::wait`].
#[derive(Debug)]
pub(crate) enum Wait {
    /// There is a list.
    Listed,
    /// No task follows the source. The caller starts one.
    Begin,
    /// A task follows the source. An error of the receiver means that there is news.
    News(oneshot::Receiver<Infallible>),
}

struct Shared {
    /// The follower; `None` while a task has it.
    follower: Option<Follower>,
    /// Dropping it ends the task.
    alive: Option<oneshot::Sender<Infallible>>,
    /// Those who wait for the first list. Dropping the senders wakes them.
    waiters: Vec<oneshot::Sender<Infallible>>,
    status: NamingStatus,
}

impl Source {
    pub(crate) fn new(follower: Follower) -> Self {
        let (waiters, status) = (Vec::new(), NamingStatus::default());
        let shared = Shared { follower: Some(follower), alive: None, waiters, status };
        Self { state: AtomicU8::new(0), shared: Mutex::new(shared) }
    }

    /// Whether there is a list, and a task that follows the source. A call then has nothing to do here.
    pub(crate) fn is_settled(&self) -> bool {
        self.state.load(Ordering::Acquire) == LISTED | FOLLOWED
    }

    fn is_listed(&self) -> bool {
        self.state.load(Ordering::Acquire) & LISTED != 0
    }

    /// Whether a call may get a list that is not there yet. Without a task that follows the source, a call is needed to
    /// start one. With one, there is no hope for now if nothing is listed and the last answer was an error.
    pub(crate) fn is_promising(&self) -> bool {
        match self.state.load(Ordering::Acquire) {
            FOLLOWED => self.lock().status.error.is_none(),
            state => state & FOLLOWED == 0,
        }
    }

    /// The task to start, if none follows the source.
    pub(crate) fn begin(&self, fleet: Weak<dyn Followed>) -> Option<Following> {
        let mut shared = self.lock();
        let follower = shared.follower.take()?;
        let (alive, gone) = oneshot::channel();
        shared.alive = Some(alive);
        self.state.fetch_or(FOLLOWED, Ordering::Release);
        Some(Following { fleet, follower: Some(follower), gone })
    }

    /// A task has ended with its runtime. Those who wait are woken, so that one of them starts another task.
    fn park(&self, follower: Follower) {
        let mut shared = self.lock();
        shared.follower = Some(follower);
        shared.alive = None;
        self.state.fetch_and(!FOLLOWED, Ordering::Release);
        let waiters = std::mem::take(&mut shared.waiters);
        // The lock is released first, since wakers may run any code.
        drop(shared);
        drop(waiters);
    }

    /// Whether there is a list, and if there is none, what to wait for.
    pub(crate) fn wait(&self) -> Wait {
        let mut shared = self.lock();
        if self.is_listed() {
            return Wait::Listed;
        }
        // The task that had the follower has ended since the caller looked. It wakes only those who waited by then.
        if shared.follower.is_some() {
            return Wait::Begin;
        }
        let (sender, news) = oneshot::channel();
        // Waiters that have left are removed each time the vector would grow. So its capacity is at most twice the
        // number that ever waited at once.
        if shared.waiters.len() == shared.waiters.capacity() {
            shared.waiters.retain(|waiter| !waiter.is_canceled());
        }
        shared.waiters.push(sender);
        Wait::News(news)
    }

    /// The channel has taken in a list.
    fn listed(&self, mut update: ListUpdate, mut rejected: Vec<(usize, LineError)>) {
        rejected.truncate(KEPT);
        update.refused.truncate(KEPT);
        let mut shared = self.lock();
        let updates = shared.status.updates.wrapping_add(1);
        shared.status = NamingStatus { updates, error: None, rejected, refused: update.refused };
        self.state.fetch_or(LISTED, Ordering::Release);
        let waiters = std::mem::take(&mut shared.waiters);
        drop(shared);
        drop(waiters);
    }

    /// The source has no new list. The observers are told, with no lock held.
    fn failed(&self, error: &NamingError, observers: &Observers) {
        self.lock().status.error = Some(error.clone());
        observers.naming_failed(error.name(), error);
    }

    pub(crate) fn status(&self) -> NamingStatus {
        self.lock().status.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// The owner of a list that follows a source.
pub(crate) trait Followed: Send + Sync {
    fn source(&self) -> Option<&Source>;

    /// All that is told what happens.
    fn observers(&self) -> &Observers;

    /// Replaces the list.
    fn list(&self, servers: Vec<Server>) -> Result<ListUpdate, hedge_fleet::ListError>;
}

/// The task that follows a source. It ends when the channel is dropped.
pub(crate) struct Following {
    fleet: Weak<dyn Followed>,
    follower: Option<Follower>,
    gone: oneshot::Receiver<Infallible>,
}

impl Following {
    pub(crate) async fn run<R: Runtime>(mut self, runtime: &R) {
        while let Some(news) = self.next(runtime).await {
            self.tell(news);
        }
    }

    /// The next news; `None` once the channel is gone.
    async fn next<R: Runtime>(&mut self, runtime: &R) -> Option<Result<News, NamingError>> {
        let gone = &mut self.gone;
        let mut news = pin!(self.follower.as_mut()?.next(runtime));
        poll_fn(|cx| match news.as_mut().poll(cx) {
            Poll::Pending if Pin::new(&mut *gone).poll(cx).is_ready() => Poll::Ready(None),
            poll => poll.map(Some),
        })
        .await
    }

    /// Hands news to the channel.
    fn tell(&self, news: Result<News, NamingError>) {
        let (Some(fleet), Some(follower)) = (self.fleet.upgrade(), &self.follower) else { return };
        let Some(source) = fleet.source() else { return };
        let observers = fleet.observers();
        let failed = |kind| NamingError::new(follower.name().clone(), kind);
        let News { servers, rejected } = match news {
            Ok(news) => news,
            Err(error) => return source.failed(&error, observers),
        };
        // The channel's filter is the program's code, and may panic.
        match caught(|| fleet.list(servers)) {
            Some(Ok(update)) => source.listed(update, rejected),
            Some(Err(error)) => source.failed(&failed(NamingErrorKind::Refused).because(error), observers),
            None => {
                source.failed(&failed(NamingErrorKind::Refused).because("the channel's filter panicked"), observers);
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let (Some(fleet), Some(follower)) = (self.fleet.upgrade(), self.follower.take())
            && let Some(source) = fleet.source()
        {
            source.park(follower);
        }
    }
}

#[cfg(test)]
mod tests {
    use hedge_fleet::{BoxNaming, Naming, Update};

    use super::*;

    struct Silent;

    impl Naming for Silent {
        async fn next(&mut self) -> Result<Update, NamingError> {
            std::future::pending().await
        }
    }

    struct Nowhere;

    impl Followed for Nowhere {
        fn source(&self) -> Option<&Source> {
            None
        }

        fn observers(&self) -> &Observers {
            unreachable!("the task never runs")
        }

        fn list(&self, _: Vec<Server>) -> Result<ListUpdate, hedge_fleet::ListError> {
            unreachable!("the task never runs")
        }
    }

    #[test]
    fn n5_a_source_that_fails_before_its_first_list_promises_nothing() {
        let source = Source::new(Follower::new("mine://a", BoxNaming::new(Silent), 1));
        assert!(source.is_promising(), "a call has to start the task");
        let mut following = source.begin(Weak::<Nowhere>::new()).unwrap();
        assert!(source.is_promising(), "the first answer may come");
        let error = NamingError::new("mine://a", NamingErrorKind::Panicked);
        source.failed(&error, &Observers::none());
        assert!(!source.is_promising());
        source.park(following.follower.take().unwrap());
        assert!(source.is_promising(), "a call has to start another task");
        let _following = source.begin(Weak::<Nowhere>::new()).unwrap();
        source.listed(ListUpdate::default(), Vec::new());
        assert!(!source.is_promising(), "the list is there");
    }

    #[test]
    fn n6_a_caller_does_not_wait_for_a_task_whose_runtime_has_ended() {
        let source = Source::new(Follower::new("mine://a", BoxNaming::new(Silent), 1));
        let begin = || source.begin(Weak::<Nowhere>::new());
        let mut following = begin().unwrap();
        assert!(begin().is_none(), "one task is enough");
        let Wait::News(mut early) = source.wait() else { panic!("a task follows the source") };
        assert_eq!(early.try_recv(), Ok(None));
        // A second caller has seen the task. Then the task's runtime ends, and only then does the caller wait.
        assert!(begin().is_none());
        source.park(following.follower.take().unwrap());
        assert!(early.try_recv().is_err(), "a caller that waited is woken");
        assert!(matches!(source.wait(), Wait::Begin), "no task would ever wake the caller");
        assert!(begin().is_some());
        assert!(matches!(source.wait(), Wait::News(_)));
    }
}
