//! Runs work that blocks on a few threads: [`Blocking`].

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use futures_channel::oneshot;

/// How many threads there are at once, at most.
const THREADS: usize = 16;

/// Runs work that blocks for an unlimited time and cannot be stopped, such as the operating system's resolver, or reading
/// a file of a network file system. It runs on at most 16 threads, which end when there is no work.
///
/// A key says what the work is. One run serves all callers that ask for the same key at the same time. Work that finds no
/// free thread waits in a queue. Dropping the future ends the wait. Work that is still in the queue when its last waiter
/// has left is not started. A clone shares the threads.
///
/// # Cost
/// One thread for a run, which takes about 50 µs to start, and one allocation for each waiter.
pub struct Blocking<K, V>(Arc<Works<K, V>>);

impl<K: Clone + Eq + Hash + Send + 'static, V: Clone + Send + 'static> Blocking<K, V> {
    /// Makes a set of threads. None is started yet. `name` is their name. `run` does the work of a key. A
    /// panic of it is caught, and is an error of the callers that wait for this key.
    pub fn new(name: &'static str, run: impl Fn(&K) -> io::Result<V> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Works { name, run: Box::new(run), state: Mutex::new(State::new()) }))
    }

    /// Runs the work of a key, or waits for the run that is under way.
    ///
    /// # Errors
    /// The work's own error. An error of the kind [`Other`](io::ErrorKind::Other) if the work panicked. The operating
    /// system's error if no thread could be started and none is running.
    pub async fn run(&self, key: K) -> io::Result<V> {
        match self.wait_for(key).await {
            Ok(answer) => answer.map_err(|(kind, words)| io::Error::new(kind, &*words)),
            // Every run sends its answer. So this does not happen.
            Err(oneshot::Canceled) => Err(io::Error::other("blocking work ended without an answer")),
        }
    }

    fn wait_for(&self, key: K) -> oneshot::Receiver<Answer<V>> {
        let (waiter, answer) = oneshot::channel();
        let mut state = self.0.lock();
        if state.join(key, waiter) && state.threads < THREADS {
            state.threads += 1;
            drop(state);
            let own = Arc::clone(&self.0);
            if let Err(error) = thread::Builder::new().name(self.0.name.into()).spawn(move || own.work()) {
                self.0.no_thread(&error);
            }
        }
        answer
    }
}

impl<K, V> Clone for Blocking<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for Blocking<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blocking").field(&self.0.name).finish()
    }
}

/// An answer that several waiters can share. An error is kept as its kind and its text, since `io::Error` cannot be
/// cloned.
type Answer<V> = Result<V, (io::ErrorKind, Arc<str>)>;

type Run<K, V> = dyn Fn(&K) -> io::Result<V> + Send + Sync;

type Waiters<V> = Vec<oneshot::Sender<Answer<V>>>;

/// The work that is running, and what waits for a thread.
struct Works<K, V> {
    name: &'static str,
    run: Box<Run<K, V>>,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    threads: usize,
    /// The waiters of each key whose work runs or is in the queue.
    keys: HashMap<K, Waiters<V>>,
    queue: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V: Clone> Works<K, V> {
    /// Works until the queue is empty.
    fn work(&self) {
        loop {
            let Some(key) = self.lock().next() else { return };
            let run = || (self.run)(&key).map_err(|error| (error.kind(), error.to_string().into()));
            // Nothing is shared with the work but the key, which is only read.
            let answer = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
                // Dropping it could panic again.
                std::mem::forget(payload);
                Err((io::ErrorKind::Other, "the work panicked".into()))
            });
            let waiters = self.lock().keys.remove(&key).unwrap_or_default();
            tell(waiters, &answer);
        }
    }

    /// A thread could not be started. The threads that run will do the work that waits. If there are none, it fails.
    fn no_thread(&self, error: &io::Error) {
        let mut state = self.lock();
        state.threads -= 1;
        if state.threads > 0 {
            return;
        }
        state.queue.clear();
        let keys = std::mem::take(&mut state.keys);
        drop(state);
        let answer = Err((error.kind(), error.to_string().into()));
        keys.into_values().for_each(|waiters| tell(waiters, &answer));
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V> State<K, V> {
    fn new() -> Self {
        Self { threads: 0, keys: HashMap::new(), queue: VecDeque::new() }
    }

    /// Adds a waiter for a key. Returns whether it is the first, so that the key is new in the queue.
    fn join(&mut self, key: K, waiter: oneshot::Sender<Answer<V>>) -> bool {
        if let Some(waiters) = self.keys.get_mut(&key) {
            // Waiters that have left are removed each time the vector would grow. So its capacity is at most twice the
            // number that ever waited at once.
            if waiters.len() == waiters.capacity() {
                waiters.retain(|waiter| !waiter.is_canceled());
            }
            waiters.push(waiter);
            return false;
        }
        if self.queue.len() == self.queue.capacity() {
            let keys = &mut self.keys;
            self.queue.retain(|key| is_awaited(keys, key));
        }
        self.queue.push_back(key.clone());
        self.keys.insert(key, vec![waiter]);
        true
    }

    /// The next key to work on. `None` means that there is none: the thread no longer counts and must end.
    fn next(&mut self) -> Option<K> {
        while let Some(key) = self.queue.pop_front() {
            if is_awaited(&mut self.keys, &key) {
                return Some(key);
            }
        }
        self.threads -= 1;
        None
    }
}

/// Whether a waiter of this key is left. If not, the key is removed.
fn is_awaited<K: Eq + Hash, V>(keys: &mut HashMap<K, Waiters<V>>, key: &K) -> bool {
    let awaited = keys.get(key).is_some_and(|waiters| waiters.iter().any(|waiter| !waiter.is_canceled()));
    if !awaited {
        keys.remove(key);
    }
    awaited
}

fn tell<V: Clone>(waiters: Waiters<V>, answer: &Answer<V>) {
    for waiter in waiters {
        // An error means that the waiter has left, so it needs no answer.
        let _ = waiter.send(answer.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::net::{IpAddr, Ipv4Addr};
    use std::pin::pin;
    use std::sync::Condvar;
    use std::task::{Context, Poll, Wake, Waker};

    type Lookups = Blocking<Arc<str>, Arc<[IpAddr]>>;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    /// A resolver that answers `quick` and fails for `unknown` at once, and blocks for all other names until it is
    /// released.
    #[derive(Default)]
    struct Resolver {
        state: Mutex<Hanging>,
        changed: Condvar,
    }

    #[derive(Default)]
    struct Hanging {
        asked: Vec<String>,
        hanging: usize,
        most: usize,
        let_go: bool,
    }

    impl Resolver {
        fn lookups() -> (Arc<Self>, Lookups) {
            let resolver = Arc::<Self>::default();
            let own = Arc::clone(&resolver);
            (resolver, Blocking::new("hedge-test", move |host: &Arc<str>| own.resolve(host).map(Into::into)))
        }

        fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
            let mut state = self.state.lock().unwrap();
            state.asked.push(host.into());
            match host {
                "quick" => {}
                "unknown" => return Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
                _ if host.starts_with("panic") => {
                    // So that the lock is not poisoned.
                    drop(state);
                    panic!("a panic of the work");
                }
                _ => {
                    state.hanging += 1;
                    state.most = state.most.max(state.hanging);
                    self.changed.notify_all();
                    state = self.changed.wait_while(state, |state| !state.let_go).unwrap();
                    state.hanging -= 1;
                }
            }
            Ok(vec![ADDRESS])
        }

        fn until(&self, so: impl Fn(&Hanging) -> bool) {
            drop(self.changed.wait_while(self.state.lock().unwrap(), |state| !so(state)).unwrap());
        }

        fn let_go(&self) {
            self.state.lock().unwrap().let_go = true;
            self.changed.notify_all();
        }

        fn asked(&self) -> usize {
            self.state.lock().unwrap().asked.len()
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        struct Unpark(thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    #[test]
    fn n4_lookups_of_one_name_are_one() {
        let (resolver, lookups) = Resolver::lookups();
        let waiting: Vec<_> = (0..100).map(|_| lookups.wait_for("slow".into())).collect();
        resolver.until(|state| state.hanging == 1);
        assert_eq!(*block_on(lookups.run("quick".into())).unwrap(), [ADDRESS], "another name does not wait for it");
        resolver.let_go();
        for answer in waiting {
            assert_eq!(*block_on(answer).unwrap().unwrap(), [ADDRESS]);
        }
        assert_eq!(resolver.asked(), 2);
        let error = block_on(lookups.run("unknown".into())).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::NotFound, "no such name"));
    }

    #[test]
    fn n4_lookups_are_bounded_and_those_that_wait_have_their_turn() {
        let (resolver, lookups) = Resolver::lookups();
        let waiting: Vec<_> = (0..3 * THREADS).map(|number| lookups.wait_for(number.to_string().into())).collect();
        resolver.until(|state| state.hanging == THREADS);
        resolver.let_go();
        for answer in waiting {
            assert_eq!(*block_on(answer).unwrap().unwrap(), [ADDRESS]);
        }
        let state = resolver.state.lock().unwrap();
        assert_eq!((state.most, state.asked.len()), (THREADS, 3 * THREADS));
    }

    #[test]
    fn n4_work_that_panics_is_an_error_and_its_thread_goes_on() {
        let (resolver, lookups) = Resolver::lookups();
        for number in 0..2 * THREADS {
            let error = block_on(lookups.run(format!("panic {number}").into())).unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::Other, "the work panicked"));
        }
        assert_eq!(*block_on(lookups.run("quick".into())).unwrap(), [ADDRESS], "there are threads left");
        let again: Vec<_> = (0..2).map(|_| lookups.wait_for("panic 0".into())).collect();
        for answer in again {
            assert!(block_on(answer).unwrap().is_err(), "a key that panicked is asked for again");
        }
        assert!(resolver.asked() > 2 * THREADS + 1);
    }

    #[test]
    fn n4_a_caller_that_leaves_costs_no_lookup_and_no_memory() {
        let (resolver, lookups) = Resolver::lookups();
        let hanging: Vec<_> = (0..THREADS).map(|number| lookups.wait_for(number.to_string().into())).collect();
        resolver.until(|state| state.hanging == THREADS);
        for number in 0..10_000 {
            drop(lookups.wait_for("0".into()));
            drop(lookups.wait_for(format!("left {number}").into()));
        }
        {
            let state = lookups.0.lock();
            assert!(state.keys.len() < 100 && state.queue.len() < 100, "{} names", state.keys.len());
            assert!(state.keys["0"].len() < 100);
        }
        let last = lookups.wait_for("last".into());
        resolver.let_go();
        assert_eq!(*block_on(last).unwrap().unwrap(), [ADDRESS]);
        assert_eq!(resolver.asked(), THREADS + 1, "whom nobody waits for is not looked up");
        drop(hanging);
    }
}
