//! The buffers of attempts: [`Slots`].

use core::cell::RefCell;
use core::fmt;
use core::future::{Future, poll_fn};
use core::task::{Context, Poll, Waker};

use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::mutex::{Mutex as Lent, MutexGuard};
use heapless::Vec;

/// `SLOTS` buffers of `BYTES` bytes. Each buffer is lent to one attempt at a time. An attempt that finds no free buffer
/// waits in a queue, which has room for `SLOTS` attempts.
pub struct Slots<M: RawMutex, const SLOTS: usize, const BYTES: usize> {
    buffers: [Lent<M, [u8; BYTES]>; SLOTS],
    queue: Queue<M, SLOTS>,
}

impl<M: RawMutex, const SLOTS: usize, const BYTES: usize> fmt::Debug for Slots<M, SLOTS, BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("free", &self.free()).finish_non_exhaustive()
    }
}

struct Queue<M: RawMutex, const WAITERS: usize>(Mutex<M, RefCell<Waiters<WAITERS>>>);

struct Waiters<const WAITERS: usize> {
    /// The tickets and wakers of the attempts that wait, in the order of their arrival.
    waiting: Vec<(u32, Waker), WAITERS>,
    next_ticket: u32,
    /// How many buffers are lent. They are counted, since trying each lock would hold the locks for a moment. A task of
    /// a higher priority would find no buffer in this moment.
    lent: usize,
}

/// A buffer that is lent to an attempt. Dropping it gives the buffer back.
pub struct Slot<'r, M: RawMutex, const SLOTS: usize, const BYTES: usize> {
    // Fields are dropped in this order: the buffer is free before the next attempt is woken.
    bytes: MutexGuard<'r, M, [u8; BYTES]>,
    _next: WakesNext<'r, M, SLOTS>,
}

impl<M: RawMutex, const SLOTS: usize, const BYTES: usize> fmt::Debug for Slot<'_, M, SLOTS, BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

struct WakesNext<'r, M: RawMutex, const SLOTS: usize>(&'r Queue<M, SLOTS>);

/// The queue is full.
pub(crate) struct TooManyWait;

impl<M: RawMutex, const SLOTS: usize, const BYTES: usize> Slots<M, SLOTS, BYTES> {
    pub(crate) const fn new() -> Self {
        let waiters = Waiters { waiting: Vec::new(), next_ticket: 0, lent: 0 };
        Self { buffers: [const { Lent::new([0; BYTES]) }; SLOTS], queue: Queue(Mutex::new(RefCell::new(waiters))) }
    }

    /// How many buffers are free.
    pub(crate) fn free(&self) -> usize {
        SLOTS.saturating_sub(self.queue.0.lock(|waiters| waiters.borrow().lent))
    }

    /// A free buffer. `None` if no buffer is free, or if other attempts wait for a buffer.
    pub(crate) fn try_take(&self) -> Option<Slot<'_, M, SLOTS, BYTES>> {
        let queue_is_empty = self.queue.0.lock(|waiters| waiters.borrow().waiting.is_empty());
        if queue_is_empty { self.any() } else { None }
    }

    /// Waits for a buffer, behind the attempts that wait already.
    pub(crate) fn take(&self) -> impl Future<Output = Result<Slot<'_, M, SLOTS, BYTES>, TooManyWait>> {
        let mut place = Place { queue: &self.queue, ticket: None };
        poll_fn(move |cx| {
            if !place.wait(cx)? {
                return Poll::Pending;
            }
            match self.any() {
                Some(slot) => {
                    // Leaving the queue wakes the next attempt in it, since another buffer may be free.
                    place.leave();
                    Poll::Ready(Ok(slot))
                }
                None => Poll::Pending,
            }
        })
    }

    fn any(&self) -> Option<Slot<'_, M, SLOTS, BYTES>> {
        let bytes = self.buffers.iter().find_map(|buffer| buffer.try_lock().ok())?;
        self.queue.0.lock(|waiters| waiters.borrow_mut().lent += 1);
        Some(Slot { bytes, _next: WakesNext(&self.queue) })
    }
}

impl<M: RawMutex, const SLOTS: usize, const BYTES: usize> Slot<'_, M, SLOTS, BYTES> {
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut *self.bytes
    }
}

impl<M: RawMutex, const SLOTS: usize, const BYTES: usize> AsRef<[u8]> for Slot<'_, M, SLOTS, BYTES> {
    fn as_ref(&self) -> &[u8] {
        &*self.bytes
    }
}

impl<M: RawMutex, const SLOTS: usize> Drop for WakesNext<'_, M, SLOTS> {
    fn drop(&mut self) {
        self.0.pass_on(1, None);
    }
}

impl<M: RawMutex, const WAITERS: usize> Queue<M, WAITERS> {
    /// Records that `back` buffers were given back, and that the attempt with the ticket `gone` has left the queue.
    /// Then wakes the first attempt in the queue.
    fn pass_on(&self, back: usize, gone: Option<u32>) {
        self.0.lock(|waiters| {
            let Waiters { waiting, lent, .. } = &mut *waiters.borrow_mut();
            *lent = lent.saturating_sub(back);
            if let Some(place) = waiting.iter().position(|(ticket, _)| Some(*ticket) == gone) {
                drop(waiting.remove(place));
            }
            if let Some((_, waker)) = waiting.first() {
                waker.wake_by_ref();
            }
        });
    }
}

/// The place of one attempt in the queue. Dropping it leaves the queue.
struct Place<'q, M: RawMutex, const WAITERS: usize> {
    queue: &'q Queue<M, WAITERS>,
    ticket: Option<u32>,
}

impl<M: RawMutex, const WAITERS: usize> Place<'_, M, WAITERS> {
    /// Enters the queue, if the attempt is not in the queue yet. Returns whether it is the first one there.
    fn wait(&mut self, cx: &mut Context<'_>) -> Result<bool, TooManyWait> {
        self.queue.0.lock(|waiters| {
            let waiters = &mut *waiters.borrow_mut();
            let ticket = *self.ticket.get_or_insert_with(|| {
                waiters.next_ticket = waiters.next_ticket.wrapping_add(1);
                waiters.next_ticket
            });
            match waiters.waiting.iter_mut().find(|(waiting, _)| *waiting == ticket) {
                Some((_, waker)) => waker.clone_from(cx.waker()),
                None => waiters.waiting.push((ticket, cx.waker().clone())).map_err(|_| TooManyWait)?,
            }
            Ok(waiters.waiting.first().is_some_and(|(first, _)| *first == ticket))
        })
    }

    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            // If this attempt was woken for a buffer that it does not take, the next attempt has to be woken.
            self.queue.pass_on(0, Some(ticket));
        }
    }
}

impl<M: RawMutex, const WAITERS: usize> Drop for Place<'_, M, WAITERS> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::pin::{Pin, pin};
    use core::sync::atomic::{AtomicUsize, Ordering};
    use embassy_sync::blocking_mutex::raw::NoopRawMutex;
    use std::sync::Arc;
    use std::task::Wake;

    type Two = Slots<NoopRawMutex, 2, 16>;
    type Taken<'s> = Result<Slot<'s, NoopRawMutex, 2, 16>, TooManyWait>;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<'s>(future: Pin<&mut impl Future<Output = Taken<'s>>>, wakes: &Arc<Wakes>) -> Poll<Taken<'s>> {
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(wakes))))
    }

    #[test]
    fn buffers_are_lent_in_the_order_of_the_queue() {
        let (slots, wakes) = (Two::new(), [(); 2].map(|()| Arc::<Wakes>::default()));
        let one = slots.try_take();
        let other = slots.try_take();
        assert!(one.is_some() && other.is_some() && slots.try_take().is_none() && slots.free() == 0);
        let (mut first, mut second) = (pin!(slots.take()), pin!(slots.take()));
        assert!(poll(first.as_mut(), &wakes[0]).is_pending());
        assert!(poll(second.as_mut(), &wakes[1]).is_pending());
        drop(one);
        assert_eq!(wakes.each_ref().map(|wakes| wakes.0.load(Ordering::Relaxed)), [1, 0]);
        assert!(slots.try_take().is_none(), "the buffer is for the first one in the queue");
        assert!(poll(second.as_mut(), &wakes[1]).is_pending());
        assert!(matches!(poll(first.as_mut(), &wakes[0]), Poll::Ready(Ok(_))));
    }

    #[test]
    fn one_that_is_woken_and_leaves_wakes_the_next() {
        let (slots, wakes) = (Two::new(), [(); 2].map(|()| Arc::<Wakes>::default()));
        let (one, _other) = (slots.try_take(), slots.try_take());
        let mut second = pin!(slots.take());
        {
            let mut first = pin!(slots.take());
            assert!(poll(first.as_mut(), &wakes[0]).is_pending());
            assert!(poll(second.as_mut(), &wakes[1]).is_pending());
            drop(one);
        }
        assert_eq!(wakes[1].0.load(Ordering::Relaxed), 1);
        assert!(matches!(poll(second.as_mut(), &wakes[1]), Poll::Ready(Ok(_))));
    }

    #[test]
    fn the_queue_has_room_for_as_many_as_there_are_buffers() {
        let (slots, wakes) = (Two::new(), Arc::<Wakes>::default());
        let _both = (slots.try_take(), slots.try_take());
        let mut waiting = [(); 2].map(|()| std::boxed::Box::pin(slots.take()));
        assert!(waiting.iter_mut().all(|one| poll(one.as_mut(), &wakes).is_pending()));
        assert!(matches!(poll(pin!(slots.take()), &wakes), Poll::Ready(Err(TooManyWait))));
        let [_first, second] = waiting;
        drop(second);
        assert!(poll(pin!(slots.take()), &wakes).is_pending());
    }
}
