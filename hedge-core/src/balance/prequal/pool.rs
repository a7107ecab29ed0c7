//! The pool of probes: it stores the servers' answers in a fixed number of slots.
//!
//! A slot is two words, which are read and written like a seqlock. The first word contains the server of the probe, how
//! often the probe may still be used, and the requests in flight. The second word contains the instant of the answer
//! and the latency. A writer claims the slot by the first word, then writes the second word, and then sets the first
//! word to its new value. A reader reads the first word before and after the second. If the server is the same both
//! times, the second word belongs to that server. (It may belong to a newer answer of the same server.) No thread waits
//! for another thread: a slot that is claimed is skipped.

use super::super::timed_span::TimedSpan;
use crate::atomic::{AtomicU64, Ordering::SeqCst};
use crate::id::ServerId;
use crate::time::{Instant, Micros};

/// How many probes a pool holds. The paper says: "a pool size of 16 suffices" (section 4).
pub(super) const POOL: u32 = 16;
/// The number of uses that means: this probe may be used any number of times.
pub(super) const ENDLESS: u32 = 255;
/// The largest number of requests in flight that a probe can hold.
pub(super) const MOST_IN_FLIGHT: u32 = (1 << RIF_BITS) - 1;

const RIF_BITS: u32 = 24;
const USES_BITS: u32 = 8;
/// The first word of a slot without a probe.
const EMPTY: u64 = 0;
/// The first word of a slot that a thread is writing to. The slot holds no probe at that time.
const TAKEN: u64 = 1;
/// How many times an answer tries to claim a slot. After that, the answer is dropped.
const TRIES: usize = 4;

/// The first word of a slot: the server, how many uses are left, and the requests in flight. If no use is left, the
/// word is not a probe.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    const fn new(server: ServerId, uses: u32, in_flight: u32) -> Self {
        let server = (server.slot() as u64) << 16 | server.generation() as u64;
        let uses = if uses < ENDLESS { uses } else { ENDLESS } as u64;
        let in_flight = if in_flight < MOST_IN_FLIGHT { in_flight } else { MOST_IN_FLIGHT } as u64;
        Self((server << USES_BITS | uses) << RIF_BITS | in_flight)
    }

    /// Returns the entry of a word. Returns `None` if the word is not a probe.
    fn of(word: u64) -> Option<Self> {
        (Self(word).uses() > 0).then_some(Self(word))
    }

    fn server(self) -> ServerId {
        let half = |shift: u32| u16::try_from((self.0 >> shift) & 0xFFFF).unwrap_or(0);
        ServerId::new(half(RIF_BITS + USES_BITS + 16), half(RIF_BITS + USES_BITS))
    }

    fn uses(self) -> u32 {
        u32::try_from((self.0 >> RIF_BITS) & u64::from(ENDLESS)).unwrap_or(0)
    }

    fn in_flight(self) -> u32 {
        u32::try_from(self.0 & u64::from(MOST_IN_FLIGHT)).unwrap_or(0)
    }

    /// Returns what this word becomes when one more request goes to the server. `chosen` says whether the pool chose the
    /// server by this probe. If so, the probe loses one use, unless it is [`ENDLESS`]. After its last use, the word is
    /// [`EMPTY`].
    fn after_request(self, chosen: bool) -> u64 {
        let uses = match self.uses() {
            1 if chosen => return EMPTY,
            ENDLESS => ENDLESS,
            uses => uses - u32::from(chosen),
        };
        Self::new(self.server(), uses, self.in_flight().saturating_add(1)).0
    }
}

/// A copy of a probe in the pool.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    slot: &'a Slot,
    entry: Entry,
    pub(super) server: ServerId,
    pub(super) in_flight: u32,
    pub(super) latency: Micros,
    pub(super) age: Micros,
}

impl Probe<'_> {
    /// Removes the probe from the pool. Does nothing if the probe's slot has changed since the copy was made.
    pub(super) fn remove(self) {
        self.slot.replace(self.entry.0, EMPTY);
    }
}

#[derive(Debug)]
struct Slot {
    entry: AtomicU64,
    /// A [`TimedSpan`] of the instant at which the probe was answered, and the latency.
    answered: AtomicU64,
}

impl Slot {
    fn probe(&self, now: Instant) -> Option<Probe<'_>> {
        // The slot is read like a seqlock: the first word, then the second, then the first again.
        let server = Entry::of(self.entry.load(SeqCst))?.server();
        let answered = TimedSpan::of(self.answered.load(SeqCst));
        let entry = Entry::of(self.entry.load(SeqCst)).filter(|entry| entry.server() == server)?;
        let (latency, age) = (answered.span(), answered.age(now));
        Some(Probe { slot: self, entry, server, in_flight: entry.in_flight(), latency, age })
    }

    fn replace(&self, from: u64, to: u64) -> bool {
        self.entry.compare_exchange(from, to, SeqCst, SeqCst).is_ok()
    }
}

/// A pool of at most [`POOL`] probes. Each server has at most one probe, except after a race between threads.
#[derive(Debug)]
pub(super) struct Pool {
    slots: [Slot; POOL as usize],
}

impl Pool {
    pub(super) const fn new() -> Self {
        Self { slots: [const { Slot { entry: AtomicU64::new(EMPTY), answered: AtomicU64::new(0) } }; POOL as usize] }
    }

    pub(super) fn probes(&self, now: Instant) -> impl Iterator<Item = Probe<'_>> {
        self.slots.iter().filter_map(move |slot| slot.probe(now))
    }

    /// Puts an answer into a slot. The slot is that of the server's last probe. If the server has no probe, it is a
    /// free slot. If no slot is free, it is the slot of the oldest probe.
    pub(super) fn put(&self, now: Instant, server: ServerId, uses: u32, in_flight: u32, latency: Micros) {
        for _ in 0..TRIES {
            let Some((slot, found)) = self.place(now, server) else { return };
            if slot.replace(found, TAKEN) {
                // The code swaps and does not store. So a reader that sees the new second word also sees that the first
                // word is claimed.
                slot.answered.swap(TimedSpan::new(now, latency).word(), SeqCst);
                slot.entry.swap(Entry::new(server, uses, in_flight).0, SeqCst);
                return;
            }
        }
    }

    /// Adds one more request to the requests in flight of a server's probe. `chosen` says whether the pool chose the
    /// server by this probe.
    pub(super) fn sent(&self, server: ServerId, chosen: bool) {
        for slot in &self.slots {
            let _ = slot.entry.fetch_update(SeqCst, SeqCst, |word| {
                let entry = Entry::of(word).filter(|entry| entry.server() == server)?;
                Some(entry.after_request(chosen))
            });
        }
    }

    /// Removes the probes of all servers for which `stays` returns false.
    pub(super) fn retain(&self, stays: impl Fn(ServerId) -> bool) {
        for slot in &self.slots {
            let word = slot.entry.load(SeqCst);
            if Entry::of(word).is_some_and(|entry| !stays(entry.server())) {
                slot.replace(word, EMPTY);
            }
        }
    }

    /// Returns the slot for an answer of `server`, and the first word in that slot. Returns `None` if other threads are
    /// writing to all slots.
    fn place(&self, now: Instant, server: ServerId) -> Option<(&Slot, u64)> {
        let mut oldest = None;
        for slot in &self.slots {
            let word = slot.entry.load(SeqCst);
            let rank = match Entry::of(word) {
                Some(entry) if entry.server() == server => return Some((slot, word)),
                Some(_) => (false, TimedSpan::of(slot.answered.load(SeqCst)).age(now)),
                None if word == TAKEN => continue,
                None => (true, Micros::ZERO),
            };
            if oldest.is_none_or(|(best, _, _)| rank > best) {
                oldest = Some((rank, slot, word));
            }
        }
        oldest.map(|(_, slot, word)| (slot, word))
    }
}
