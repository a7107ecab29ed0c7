//! Looks host names up: [`lookup`].

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use futures_channel::oneshot;

/// How many names the process looks up at once, at most.
const THREADS: usize = 16;

/// Looks up the addresses of a host with the operating system's resolver, for
/// [`Connect::connect`](crate::Connect::connect).
///
/// That resolver blocks for an unlimited time and cannot be stopped. So it runs on threads of its own: at most 16 in
/// the whole process, which end when there is nothing to look up. One look-up serves all callers that ask for the same
/// name at the same time. Look-ups that find no free thread wait in a queue. Dropping the future ends the wait. A
/// look-up that is still in the queue when its last waiter has left is not started.
///
/// # Errors
/// The resolver's own error. The operating system's error if no thread could be started and none is running.
///
/// # Cost
/// One thread for a look-up, which takes about 50 µs to start, and one allocation for each waiter.
pub async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    static PROCESS: LazyLock<Arc<Lookups>> = LazyLock::new(|| Lookups::new(resolve));

    let addresses = PROCESS.ask(host).await?;
    Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
}

fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// An answer that several waiters can share. An error is kept as its kind and its text, since `io::Error` cannot be
/// cloned.
type Answer = Result<Arc<[IpAddr]>, (io::ErrorKind, Arc<str>)>;

type Resolve = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

type Waiters = Vec<oneshot::Sender<Answer>>;

/// The look-ups that are running, and those that wait for a thread.
struct Lookups {
    resolve: Box<Resolve>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    threads: usize,
    /// The waiters of each name that is being looked up or is in the queue.
    names: HashMap<Arc<str>, Waiters>,
    queue: VecDeque<Arc<str>>,
}

impl Lookups {
    fn new(resolve: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { resolve: Box::new(resolve), state: Mutex::default() })
    }

    async fn ask(self: &Arc<Self>, host: &str) -> io::Result<Arc<[IpAddr]>> {
        match self.wait_for(host).await {
            Ok(answer) => answer.map_err(|(kind, words)| io::Error::new(kind, &*words)),
            // This does not happen: every look-up sends its answer.
            Err(oneshot::Canceled) => Err(io::Error::other("look-up ended without an answer")),
        }
    }

    fn wait_for(self: &Arc<Self>, host: &str) -> oneshot::Receiver<Answer> {
        let (waiter, answer) = oneshot::channel();
        let mut state = self.lock();
        if state.join(host, waiter) && state.threads < THREADS {
            state.threads += 1;
            drop(state);
            let own = Arc::clone(self);
            if let Err(error) = thread::Builder::new().name("hedge-lookup".into()).spawn(move || own.work()) {
                self.no_thread(&error);
            }
        }
        answer
    }

    /// Looks names up until the queue is empty.
    fn work(&self) {
        loop {
            let Some(name) = self.lock().next() else { return };
            let answer: Answer = match (self.resolve)(&name) {
                Ok(addresses) => Ok(addresses.into()),
                Err(error) => Err((error.kind(), error.to_string().into())),
            };
            let waiters = self.lock().names.remove(&name).unwrap_or_default();
            tell(waiters, &answer);
        }
    }

    /// A thread could not be started. The threads that run will do the waiting look-ups. If there are none, these fail.
    fn no_thread(&self, error: &io::Error) {
        let mut state = self.lock();
        state.threads -= 1;
        if state.threads > 0 {
            return;
        }
        state.queue.clear();
        let names = std::mem::take(&mut state.names);
        drop(state);
        let answer = Err((error.kind(), error.to_string().into()));
        names.into_values().for_each(|waiters| tell(waiters, &answer));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds a waiter for a name. Returns whether it is the first, so that the name is new in the queue.
    fn join(&mut self, host: &str, waiter: oneshot::Sender<Answer>) -> bool {
        if let Some(waiters) = self.names.get_mut(host) {
            // Waiters that have left are removed each time the vector would grow. So its capacity is at most twice the
            // number that ever waited at once.
            if waiters.len() == waiters.capacity() {
                waiters.retain(|waiter| !waiter.is_canceled());
            }
            waiters.push(waiter);
            return false;
        }
        if self.queue.len() == self.queue.capacity() {
            let names = &mut self.names;
            self.queue.retain(|name| is_awaited(names, name));
        }
        let name: Arc<str> = host.into();
        self.queue.push_back(Arc::clone(&name));
        self.names.insert(name, vec![waiter]);
        true
    }

    /// The next name to look up. `None` means that there is none: the thread no longer counts and must end.
    fn next(&mut self) -> Option<Arc<str>> {
        while let Some(name) = self.queue.pop_front() {
            if is_awaited(&mut self.names, &name) {
                return Some(name);
            }
        }
        self.threads -= 1;
        None
    }
}

/// Whether a waiter of this name is left. If not, the name is removed.
fn is_awaited(names: &mut HashMap<Arc<str>, Waiters>, name: &Arc<str>) -> bool {
    let awaited = names.get(name).is_some_and(|waiters| waiters.iter().any(|waiter| !waiter.is_canceled()));
    if !awaited {
        names.remove(name);
    }
    awaited
}

fn tell(waiters: Waiters, answer: &Answer) {
    for waiter in waiters {
        // An error means that the waiter has left, so it needs no answer.
        let _ = waiter.send(answer.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::net::Ipv4Addr;
    use std::pin::pin;
    use std::sync::Condvar;
    use std::task::{Context, Poll, Wake, Waker};

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
        fn lookups() -> (Arc<Self>, Arc<Lookups>) {
            let resolver = Arc::<Self>::default();
            let own = Arc::clone(&resolver);
            (resolver, Lookups::new(move |host| own.resolve(host)))
        }

        fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
            let mut state = self.state.lock().unwrap();
            state.asked.push(host.into());
            match host {
                "quick" => {}
                "unknown" => return Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
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
        let waiting: Vec<_> = (0..100).map(|_| lookups.wait_for("slow")).collect();
        resolver.until(|state| state.hanging == 1);
        assert_eq!(*block_on(lookups.ask("quick")).unwrap(), [ADDRESS], "another name does not wait for it");
        resolver.let_go();
        for answer in waiting {
            assert_eq!(*block_on(answer).unwrap().unwrap(), [ADDRESS]);
        }
        assert_eq!(resolver.asked(), 2);
        let error = block_on(lookups.ask("unknown")).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::NotFound, "no such name"));
    }

    #[test]
    fn n4_lookups_are_bounded_and_those_that_wait_have_their_turn() {
        let (resolver, lookups) = Resolver::lookups();
        let waiting: Vec<_> = (0..3 * THREADS).map(|number| lookups.wait_for(&number.to_string())).collect();
        resolver.until(|state| state.hanging == THREADS);
        resolver.let_go();
        for answer in waiting {
            assert_eq!(*block_on(answer).unwrap().unwrap(), [ADDRESS]);
        }
        let state = resolver.state.lock().unwrap();
        assert_eq!((state.most, state.asked.len()), (THREADS, 3 * THREADS));
    }

    #[test]
    fn n4_a_caller_that_leaves_costs_no_lookup_and_no_memory() {
        let (resolver, lookups) = Resolver::lookups();
        let hanging: Vec<_> = (0..THREADS).map(|number| lookups.wait_for(&number.to_string())).collect();
        resolver.until(|state| state.hanging == THREADS);
        for number in 0..10_000 {
            drop(lookups.wait_for("0"));
            drop(lookups.wait_for(&format!("left {number}")));
        }
        {
            let state = lookups.lock();
            assert!(state.names.len() < 100 && state.queue.len() < 100, "{} names", state.names.len());
            assert!(state.names["0"].len() < 100);
        }
        let last = lookups.wait_for("last");
        resolver.let_go();
        assert_eq!(*block_on(last).unwrap().unwrap(), [ADDRESS]);
        assert_eq!(resolver.asked(), THREADS + 1, "whom nobody waits for is not looked up");
        drop(hanging);
    }
}
