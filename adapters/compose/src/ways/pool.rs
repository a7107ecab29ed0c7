//! The threads that run callbacks: [`Pool`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use hedge_fleet::caught;

/// How many callbacks run at once, at most. Callbacks that wait in [`waiting`] do not count.
const THREADS: usize = 4;

/// How many callbacks wait in [`waiting`] at once, at most. So a pool has at most 64 threads.
const WAITING: usize = 60;

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
    start: Start,
}

/// Starts a thread that does this. The tests replace it by an operating system that refuses.
type Start = fn(Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// If `queue` has a job, `active` is not 0. So a thread that may not wait in [`waiting`] runs the job.
struct State {
    queue: VecDeque<Job>,
    /// The threads that wait in [`waiting`].
    waiting: usize,
    /// All other threads.
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
        Self::with(|work| thread::Builder::new().name("hedge-callback".into()).spawn(work).map(drop))
    }

    fn with(start: Start) -> Self {
        let state = State { queue: VecDeque::new(), waiting: 0, active: 0, idle: 0, closed: false };
        Self(Arc::new(Owner(Arc::new(Threads { state: Mutex::new(state), changed: Condvar::new(), start }))))
    }

    /// Runs a job on a thread of the pool.
    ///
    /// # Errors
    /// Gives the job back if no thread of the pool would run it: each one waits in [`waiting`], or there is none, and
    /// the operating system starts none.
    pub(crate) fn run(&self, job: Job) -> Result<(), Job> {
        let threads = &self.0.0;
        let mut state = threads.lock();
        state.queue.push_back(job);
        if state.idle < state.queue.len() {
            threads.start_one(&mut state);
        }
        if state.active == 0
            && let Some(job) = state.queue.pop_back()
        {
            return Err(job);
        }
        drop(state);
        threads.changed.notify_one();
        Ok(())
    }
}

/// Runs `wait`, which waits for another call. On a thread of a pool, the pool uses another thread meanwhile. So
/// callbacks that wait for the callbacks of other calls cannot use up the pool.
///
/// Returns `None`, and does not wait, if the pool has no other thread for its work: too many of them wait, or the
/// operating system starts none. Without this, a thread could wait for a callback that only the thread itself can run.
pub(crate) fn waiting<T>(wait: impl FnOnce() -> T) -> Option<T> {
    let pool = OWN_POOL.try_with(|own| own.borrow().clone()).ok().flatten();
    let Some(threads) = pool else { return Some(wait()) };
    let mut state = threads.lock();
    if state.waiting >= WAITING {
        return None;
    }
    state.active -= 1;
    if state.idle < state.queue.len() {
        threads.start_one(&mut state);
        if state.active == 0 {
            state.active += 1;
            return None;
        }
    }
    state.waiting += 1;
    drop(state);
    let answer = wait();
    let mut state = threads.lock();
    state.waiting -= 1;
    state.active += 1;
    Some(answer)
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
        if (self.start)(Box::new(move || own.work())).is_ok() {
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
        state.active -= 1;
        // This thread may have been woken for a job that it leaves to another one.
        self.changed.notify_one();
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// An operating system that starts one thread, and then no more.
    fn start_once(started: &AtomicBool, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        if started.swap(true, Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        thread::spawn(work);
        Ok(())
    }

    #[test]
    fn w1_the_last_thread_does_not_wait_while_jobs_are_in_the_queue() {
        static STARTED: AtomicBool = AtomicBool::new(false);
        let pool = Pool::with(|work| start_once(&STARTED, work));
        let (go, goes) = mpsc::channel();
        let (ran, runs) = mpsc::channel();
        let (result, results) = mpsc::channel();
        let first: Job = Box::new(move || {
            goes.recv().unwrap();
            // Only this thread can run the second job, so this would wait for ever.
            let waited = waiting(|| runs.recv().unwrap());
            result.send((waited, runs)).unwrap();
        });
        assert!(pool.run(first).is_ok());
        assert!(pool.run(Box::new(move || ran.send(()).unwrap())).is_ok());
        go.send(()).unwrap();
        let (waited, runs) = results.recv().unwrap();
        assert_eq!((waited, runs.recv()), (None, Ok(())), "the thread ran the second job after the first");
    }

    #[test]
    fn w1_a_job_is_given_back_while_all_threads_wait() {
        static STARTED: AtomicBool = AtomicBool::new(false);
        let pool = Pool::with(|work| start_once(&STARTED, work));
        let (waits, awaited) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let (result, results) = mpsc::channel();
        let first: Job = Box::new(move || {
            let waited = waiting(|| {
                waits.send(()).unwrap();
                ends.recv().unwrap();
            });
            result.send(waited).unwrap();
        });
        assert!(pool.run(first).is_ok());
        awaited.recv().unwrap();
        let second: Job = Box::new(move || end.send(()).unwrap());
        let Err(second) = pool.run(second) else { panic!("the job would wait for a thread that waits for the job") };
        second();
        assert_eq!(results.recv(), Ok(Some(())));
        let (third, thirds) = mpsc::channel();
        assert!(pool.run(Box::new(move || third.send(()).unwrap())).is_ok(), "the thread is back");
        assert_eq!(thirds.recv(), Ok(()));
    }
}
