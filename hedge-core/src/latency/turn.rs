//! A sequence lock (seqlock) for several words: one writer at a time, and readers that see a complete write: [`Turn`].

use crate::atomic::{AtomicU32, Ordering, acquire, fence};

/// How often a reader reads at most. The last time it takes what it sees, even if a writer is at work.
const READS: usize = 3;

/// A sequence lock in which no one waits: a writer that finds another at work does not write.
#[derive(Debug)]
pub(crate) struct Turn(
    /// The sequence number. It is odd while a writer is at work, and each write moves it on by two.
    AtomicU32,
);

impl Turn {
    /// A lock that no writer holds.
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Does `work` as the only writer; `None`, with nothing done, if another writer is at work.
    pub(crate) fn take<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let turn = self.0.load(Ordering::Relaxed) & !1;
        self.0.compare_exchange(turn, turn | 1, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // A reader that sees any part of the work also sees the odd number.
        fence(Ordering::Release);
        let done = work();
        self.0.store(turn.wrapping_add(2), Ordering::Release);
        Some(done)
    }

    /// Reads again if a writer was at work meanwhile. It does not wait for the writer, which may be the code that this
    /// reader has interrupted: the third time it takes what it sees.
    pub(crate) fn read<T>(&self, read: impl Fn() -> T) -> T {
        for _ in 1..READS {
            let turn = acquire(&self.0);
            let seen = read();
            fence(Ordering::Acquire);
            if turn & 1 == 0 && self.0.load(Ordering::Relaxed) == turn {
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
    fn looks(turn: &Turn, meanwhile: impl Fn(usize)) -> usize {
        let looks = Cell::new(0);
        turn.read(|| {
            looks.set(looks.get() + 1);
            meanwhile(looks.get());
            looks.get()
        })
    }

    #[test]
    fn what_was_changed_meanwhile_is_read_again() {
        let turn = Turn::new();
        let changes = |_| assert_eq!(turn.take(|| ()), Some(()));
        assert_eq!(looks(&turn, |_| ()), 1);
        assert_eq!(
            looks(&turn, |look| if look == 1 {
                changes(look);
            }),
            2
        );
        assert_eq!(looks(&turn, changes), READS, "and no more often than that");
        assert_eq!(turn.take(|| looks(&turn, |_| ())), Some(READS), "nobody waits for whom it interrupts");
        assert_eq!(looks(&turn, |_| ()), 1);
    }

    #[test]
    fn only_one_works_at_a_time() {
        let turn = Turn::new();
        assert_eq!(turn.take(|| turn.take(|| ())), Some(None));
        assert_eq!(turn.take(|| 7), Some(7), "and then the next");
    }
}
