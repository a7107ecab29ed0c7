//! A sequence lock (seqlock) for several words: one writer at a time, and readers that see a complete write: [`SeqLock`].

use crate::atomic::{AtomicU32, Ordering, acquire, fence};

/// How often a reader reads at most. The last time it takes what it sees, even if a writer is at work.
const READS: usize = 3;

/// A sequence lock in which no one waits: a writer that finds another at work does not write.
#[derive(Debug)]
pub(crate) struct SeqLock(
    /// The sequence number. It is odd while a writer is at work, and each write moves it on by two.
    AtomicU32,
);

impl SeqLock {
    /// A lock that no writer holds.
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Does `work` as the only writer; `None`, with nothing done, if another writer is at work.
    pub(crate) fn try_write<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let sequence = self.0.load(Ordering::Relaxed) & !1;
        self.0.compare_exchange(sequence, sequence | 1, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // A reader that sees any part of the work also sees the odd number.
        fence(Ordering::Release);
        let done = work();
        self.0.store(sequence.wrapping_add(2), Ordering::Release);
        Some(done)
    }

    /// Reads again if a writer was at work meanwhile. It does not wait for the writer, which may be the code that this
    /// reader has interrupted: the third time it takes what it sees.
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

    /// How often `read` reads, if `meanwhile` runs during each reading.
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
