//! The queue of the calls that wait for a server with room ([L22](hedge_core::rules#L22)): [`Queue`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hedge_core::time::Instant;

/// The calls that wait for a server with room, in the order in which they joined the queue.
///
/// Each time a server has room again, one call is woken: the first one that has not been woken yet. The woken call
/// keeps its place until it has taken the room. If it leaves the queue and does not take the room, the next call is
/// woken.
///
/// # Cost
/// A call that waits takes a lock each time it joins, polls or leaves the queue. Its place in the queue takes about 50
/// bytes of memory. A call that does not wait reads one number.
pub(crate) struct Queue {
    most: usize,
    /// How many calls wait. This number can be read without the lock.
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    next: u64,
    places: Places,
}

type Places = BTreeMap<u64, Place>;

struct Place {
    state: State,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// There may be room, and the call has not looked for room yet.
    Woken,
    /// The call looks for room.
    Looking,
}

impl Queue {
    pub(crate) const fn new(most: usize) -> Self {
        let line = Line { next: 0, places: BTreeMap::new() };
        Self { most, waiting: AtomicUsize::new(0), line: Mutex::new(line) }
    }

    /// Returns whether no call waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Returns how many calls wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Wakes the first call that has not been woken yet.
    pub(crate) fn wake_first(&self) {
        // With the fences here and in `poll`, no wake-up is lost: if a call joins at the same time, either this
        // function sees the call, or the call sees the room.
        fence(Ordering::SeqCst);
        if !self.is_empty() {
            let line = self.lock();
            Self::wake(line, |places| places.values_mut().find(|place| place.state != State::Woken));
        }
    }

    /// Wakes the first call, unless it is already woken or looking for room. This is for room that causes no event, for
    /// example after the end of an isolation.
    pub(crate) fn remind_first(&self) {
        Self::wake(self.lock(), |places| {
            let first = places.first_entry()?.into_mut();
            (first.state == State::Waiting).then_some(first)
        });
    }

    #[cold]
    fn wake(mut line: MutexGuard<'_, Line>, choose: impl FnOnce(&mut Places) -> Option<&mut Place>) {
        let Some(place) = choose(&mut line.places) else { return };
        place.state = State::Woken;
        let waker = place.waker.take();
        // The lock is released first, since the waker belongs to the executor and may run any code.
        drop(line);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Joins the end of the queue, and returns the number of the place. Returns `None` if the queue is full. If the
    /// queue was empty, the call counts as woken, so it looks for room once more. The reason is that room may have come
    /// just before the call joined, when the queue had no call to wake.
    fn join(&self) -> Option<u64> {
        let mut line = self.lock();
        if line.places.len() >= self.most {
            return None;
        }
        let number = line.next;
        line.next = number.wrapping_add(1);
        let state = if line.places.is_empty() { State::Woken } else { State::Waiting };
        line.places.insert(number, Place { state, waker: None });
        self.waiting.store(line.places.len(), Ordering::SeqCst);
        Some(number)
    }

    fn poll(&self, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut line = self.lock();
        let Some(place) = line.places.get_mut(&number) else { return Poll::Pending };
        if place.state == State::Woken {
            place.state = State::Looking;
            drop(line);
            fence(Ordering::SeqCst);
            return Poll::Ready(());
        }
        place.state = State::Waiting;
        match &mut place.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Removes a call from the queue. Returns the last state of the call. Returns `None` if the call was no longer in
    /// the queue.
    fn leave(&self, number: u64) -> Option<State> {
        let mut line = self.lock();
        let place = line.places.remove(&number)?;
        self.waiting.store(line.places.len(), Ordering::SeqCst);
        drop(line);
        Some(place.state)
    }

    fn may_look(&self, number: u64) -> bool {
        let line = self.lock();
        let woken = line.places.get(&number).is_some_and(|place| place.state != State::Waiting);
        woken || line.places.first_key_value().is_some_and(|(first, _)| *first == number)
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one call in the queue. Dropping this value removes the call from the queue.
pub(crate) struct Queued {
    queue: Arc<Queue>,
    number: u64,
    until: Instant,
    left: AtomicBool,
}

impl Queued {
    /// Joins a queue. Returns `None` if the queue is full. The call waits until `until` at most.
    pub(crate) fn join(queue: &Arc<Queue>, until: Instant) -> Option<Self> {
        let number = queue.join()?;
        Some(Self { queue: Arc::clone(queue), number, until, left: AtomicBool::new(false) })
    }

    /// Returns the instant at which the wait ends if no server has room before.
    pub(crate) const fn until(&self) -> Instant {
        self.until
    }

    /// Becomes ready when there may be room for this call.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.queue() {
            Some(queue) => queue.poll(self.number, cx),
            None => Poll::Pending,
        }
    }

    /// Returns whether this call may take room that it finds. It may if it was woken, or if it is the first in the
    /// queue. Otherwise the room belongs to an earlier call.
    pub(crate) fn may_look(&self) -> bool {
        self.queue().is_none_or(|queue| queue.may_look(self.number))
    }

    /// Removes the call from the queue, because its attempt now starts at a server that had room. If `more` returns
    /// true, there is room for one more attempt, so the next call is woken.
    pub(crate) fn started(&self, more: impl FnOnce() -> bool) {
        let Some(queue) = self.queue() else { return };
        self.left.store(true, Ordering::Relaxed);
        queue.leave(self.number);
        if !queue.is_empty() && more() {
            queue.wake_first();
        }
    }

    /// Returns the queue. Returns `None` if the call has left it.
    fn queue(&self) -> Option<&Queue> {
        Some(&*self.queue).filter(|_| !self.left.load(Ordering::Relaxed))
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let Some(queue) = self.queue() else { return };
        // The call was woken for room that it did not take, so another call must be woken.
        if queue.leave(self.number).is_some_and(|state| state != State::Waiting) {
            queue.wake_first();
        }
    }
}
