//! The threads that run callbacks: [`Pool`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use hedge_fleet::caught;

/// How many callbacks run at once, at most. Callbacks that wait for another call do not count.
const THREADS: usize = 4;

/// A callback with its result.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A few threads that run callbacks. A thread is started when a callback finds no idle one. The threads end when the
/// last clone has been dropped and the queue is empty. No drop waits for them, so a callback may drop the last clone.
///
/// The queue holds at most one job for each call whose callback has not begun.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Owner>);

struct Owner(Arc<Threads>);

struct Threads {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    /// All threads.
    alive: usize,
    /// The threads without those that wait for a call.
    active: usize,
    /// The threads that wait for a job.
    idle: usize,
    closed: bool,
}

thread_local! {
    /// The pool that this thread belongs to.
    static OWN_POOL: RefCell<Option<Arc<Threads>>> = const { RefCell::new(None) };
}

impl Pool {
    /// Makes a pool without threads.
    pub(crate) fn new() -> Self {
        let state = State { queue: VecDeque::new(), alive: 0, active: 0, idle: 0, closed: false };
        Self(Arc::new(Owner(Arc::new(Threads { state: Mutex::new(state), changed: Condvar::new() }))))
    }

    /// Runs a job on a thread of the pool.
    ///
    /// # Errors
    /// Gives the job back if the pool has no thread, and the operating system starts none.
    pub(crate) fn run(&self, job: Job) -> Result<(), Job> {
        let threads = &self.0.0;
        let mut state = threads.lock();
        state.queue.push_back(job);
        if state.idle < state.queue.len() {
            threads.start_one(&mut state);
        }
        if state.alive == 0
            && let Some(job) = state.queue.pop_back()
        {
            return Err(job);
        }
        drop(state);
        threads.changed.notify_one();
        Ok(())
    }
}

/// Runs `wait`, which waits for a call. On a thread of a pool, the pool may use another thread meanwhile. So callbacks
/// that wait for the callbacks of other calls cannot use up the pool.
pub(crate) fn waiting<T>(wait: impl FnOnce() -> T) -> T {
    let pool = OWN_POOL.try_with(|own| own.borrow().clone()).ok().flatten();
    let Some(threads) = pool else { return wait() };
    let mut state = threads.lock();
    state.active -= 1;
    if state.idle < state.queue.len() {
        threads.start_one(&mut state);
    }
    drop(state);
    let answer = wait();
    threads.lock().active += 1;
    answer
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Threads {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread, unless there are enough. If the operating system refuses, the threads that there are do the
    /// work.
    fn start_one(self: &Arc<Self>, state: &mut State) {
        if state.active >= THREADS {
            return;
        }
        let own = Arc::clone(self);
        if thread::Builder::new().name("hedge-callback".into()).spawn(move || own.work()).is_ok() {
            state.alive += 1;
            state.active += 1;
        }
    }

    fn work(self: Arc<Self>) {
        OWN_POOL.with(|own| *own.borrow_mut() = Some(Arc::clone(&self)));
        while let Some(job) = self.next() {
            caught(job);
        }
    }

    /// Waits for the next job. `None` means that this thread no longer counts and must end.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        // Threads that waited for a call have been replaced meanwhile, so there may be too many.
        while state.active <= THREADS {
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        state.alive -= 1;
        state.active -= 1;
        // This thread may have been woken for a job that it leaves to another one.
        self.changed.notify_one();
        None
    }
}
