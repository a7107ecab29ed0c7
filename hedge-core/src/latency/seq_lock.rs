//! A sequence lock (seqlock) for several words: [`SeqLock`]. Only one thread writes at a time. A reader reads again if
//! a writer was active.

use crate::atomic::{AtomicU32, Ordering, acquire, fence};

/// A reader reads at most this many times. The last result is used even if a writer was active.
const READS: usize = 3;

/// A sequence lock in which no thread waits. If a writer is active, a second writer gives up and does not write.
#[derive(Debug)]
pub(crate) struct SeqLock(
    /// The sequence number. It is odd while a writer is active, and grows by two with each write.
    AtomicU32,
);

impl SeqLock {
    /// Makes a lock that no writer holds.
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Runs `work` as the only writer. If another writer is active, returns `None` and does nothing.
    pub(crate) fn try_write<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let sequence = self.0.load(Ordering::Relaxed) & !1;
        self.0.compare_exchange(sequence, sequence | 1, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // A reader that sees any part of the writes also sees the odd number.
        fence(Ordering::Release);
        let done = work();
        self.0.store(sequence.wrapping_add(2), Ordering::Release);
        Some(done)
    }

    /// Runs `read` and returns its result. Runs `read` again if a writer was active at the same time. The third result
    /// is returned in any case: this function may run in an interrupt of the writer, and then waiting for the writer
    /// would never end.
    pub(crate) fn read<T>(&self, read: impl Fn() -> T) -> T {
        for _ in 1..READS {
            let sequence = acquire(&self.0);
            let seen = read();
            fence(Ordering::Acquire);
            if sequence & 1 == 0 && self.0.load(Ordering::Relaxed) == sequence {
                return seen;
            }
        }
        read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// Returns how many times `read` reads if `meanwhile` runs during each reading.
    fn looks(lock: &SeqLock, meanwhile: impl Fn(usize)) -> usize {
        let looks = Cell::new(0);
        lock.read(|| {
            looks.set(looks.get() + 1);
            meanwhile(looks.get());
            looks.get()
        })
    }

    #[test]
    fn what_was_changed_meanwhile_is_read_again() {
        let lock = SeqLock::new();
        let changes = |_| assert_eq!(lock.try_write(|| ()), Some(()));
        assert_eq!(looks(&lock, |_| ()), 1);
        assert_eq!(
            looks(&lock, |look| if look == 1 {
                changes(look);
            }),
            2
        );
        assert_eq!(looks(&lock, changes), READS, "and no more often than that");
        assert_eq!(lock.try_write(|| looks(&lock, |_| ())), Some(READS), "nobody waits for whom it interrupts");
        assert_eq!(looks(&lock, |_| ()), 1);
    }

    #[test]
    fn only_one_works_at_a_time() {
        let lock = SeqLock::new();
        assert_eq!(lock.try_write(|| lock.try_write(|| ())), Some(None));
        assert_eq!(lock.try_write(|| 7), Some(7), "and then the next");
    }
}
