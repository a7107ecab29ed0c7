//! One operation on two threads at once: this one, and one that sleeps between the batches.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hedge_core::time::Instant;

use crate::harness::timed;

/// Where the two are, in this order. The other thread moves on from `CALLED` and `STARTED`, this one from the rest.
const ASLEEP: u32 = 0;
const CALLED: u32 = 1;
const READY: u32 = 2;
const STARTED: u32 = 3;
const DONE: u32 = 4;
const FAILED: u32 = 5;
const ENDED: u32 = 6;

/// What both see.
#[derive(Default)]
struct Meeting {
    stage: AtomicU32,
    count: AtomicU32,
    now_us: AtomicU64,
}

impl Meeting {
    fn stage(&self) -> u32 {
        self.stage.load(Ordering::Acquire)
    }

    fn at(&self, stage: u32) {
        self.stage.store(stage, Ordering::Release);
    }

    fn wait_while(&self, stages: impl Fn(u32) -> bool) -> u32 {
        for turn in 1_u32.. {
            let stage = self.stage();
            if !stages(stage) {
                return stage;
            }
            // Where there are more threads than processors, the other may wait for this one's.
            if turn % 1_024 == 0 { thread::yield_now() } else { spin_loop() }
        }
        FAILED
    }
}

/// The other thread, and what both do.
pub(crate) struct Pair<F> {
    meeting: Arc<Meeting>,
    other: Option<JoinHandle<()>>,
    half: F,
}

impl<F: Fn(Instant, u32) -> bool + Clone + Send + 'static> Pair<F> {
    /// Two threads that each do `half` of a batch.
    pub(crate) fn new(half: F) -> Self {
        let meeting = Arc::new(Meeting::default());
        let (at, its) = (Arc::clone(&meeting), half.clone());
        let other = thread::spawn(move || {
            loop {
                match at.stage() {
                    CALLED => {
                        at.at(READY);
                        at.wait_while(|stage| stage != STARTED);
                        let now = Instant::from_micros(at.now_us.load(Ordering::Relaxed));
                        let fine = its(now, at.count.load(Ordering::Relaxed));
                        at.at(if fine { DONE } else { FAILED });
                    }
                    ENDED => return,
                    _ => thread::park(),
                }
            }
        });
        Self { meeting, other: Some(other), half }
    }

    /// A batch of `count` at `now` between them, timed from when both are awake to when both are done.
    pub(crate) fn batch(&self, now: Instant, count: u32) -> (bool, Duration) {
        let meeting = &self.meeting;
        meeting.count.store(count / 2, Ordering::Relaxed);
        meeting.now_us.store(now.as_micros(), Ordering::Relaxed);
        meeting.at(CALLED);
        self.wake();
        meeting.wait_while(|stage| stage != READY);
        let outcome = timed(|| {
            meeting.at(STARTED);
            let fine = (self.half)(now, count - count / 2);
            fine & (meeting.wait_while(|stage| stage == STARTED) == DONE)
        });
        meeting.at(ASLEEP);
        outcome
    }

    fn wake(&self) {
        if let Some(other) = &self.other {
            other.thread().unpark();
        }
    }
}

impl<F> Drop for Pair<F> {
    fn drop(&mut self) {
        self.meeting.at(ENDED);
        if let Some(other) = self.other.take() {
            other.thread().unpark();
            // It ends by itself, and its half is of no use any more.
            let _ = other.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_do_their_half_of_every_batch_and_one_that_fails_is_told() {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let pair = Pair::new(move |_, count| counted.fetch_add(count, Ordering::Relaxed) + count < 100);
        assert!(pair.batch(Instant::ZERO, 7).0 && pair.batch(Instant::ZERO, 8).0);
        assert_eq!(calls.load(Ordering::Relaxed), 15);
        assert!(!pair.batch(Instant::ZERO, 1_000).0);
    }
}
