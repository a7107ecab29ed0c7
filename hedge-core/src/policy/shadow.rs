//! Hedging on paper: [`Shadow`].

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::call::End;
use crate::policy::{BackupDelay, BackupPolicy, Denial, Ended};
use crate::time::{Duration, Instant};

/// A policy that sends no backup and counts what backups after each of `D` delays would have sent and saved, so that a
/// delay can be chosen before any load is added.
///
/// A call would have sent a backup if it was still running when the delay was over; limits are not looked at, so it is what
/// the delay asks for. The backup is taken to need what the call before it needed in all: a draw from the same servers at
/// the same time, made for another request. What is saved is the sum over the calls that were accepted or ran into their
/// deadline. A call that outlasts the shortest delay reports [`NotHedged::Denied`](crate::call::NotHedged::Denied) with
/// [`Denial::Shadow`].
///
/// Counters wrap; take differences. Cost: a call's end is two additions and one more a delay that it outlasted, three if the
/// backup would have won. 24 bytes and 24 a delay.
///
/// ```
/// use hedge_core::policy::Shadow;
/// use hedge_core::time::Duration;
///
/// let shadow = Shadow::new([5, 10, 20].map(Duration::from_millis));
/// assert!(shadow.counts().all(|count| count.sent == 0));
/// ```
#[derive(Debug)]
pub struct Shadow<const D: usize> {
    delays: [Delay; D],
    calls: AtomicU32,
    /// How long the last accepted call took, in microseconds; 0 before the first.
    last: AtomicU32,
}

/// What backups after one delay would have done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ShadowCount {
    /// The delay.
    pub delay: Duration,
    /// Of so many calls …
    pub calls: u32,
    /// … so many would have sent a backup …
    pub sent: u32,
    /// … which would have been the first to answer so often …
    pub won: u32,
    /// … and saved so much time in all.
    pub saved: Duration,
}

#[derive(Debug)]
struct Delay {
    delay: Duration,
    sent: AtomicU32,
    won: AtomicU32,
    saved_us: AtomicU64,
}

impl<const D: usize> Shadow<D> {
    /// Counts for these delays.
    #[must_use]
    pub fn new(delays: [Duration; D]) -> Self {
        let zero = || AtomicU32::new(0);
        let of = |delay| Delay { delay, sent: zero(), won: zero(), saved_us: AtomicU64::new(0) };
        Self { delays: delays.map(of), calls: zero(), last: zero() }
    }

    /// What was counted, in the order of the delays.
    pub fn counts(&self) -> impl Iterator<Item = ShadowCount> + '_ {
        let calls = self.calls.load(Ordering::Relaxed);
        self.delays.iter().map(move |counted| ShadowCount {
            delay: counted.delay,
            calls,
            sent: counted.sent.load(Ordering::Relaxed),
            won: counted.won.load(Ordering::Relaxed),
            saved: Duration::from_micros(counted.saved_us.load(Ordering::SeqCst)),
        })
    }
}

impl<const D: usize> BackupPolicy for Shadow<D> {
    fn delay(&self, _: Instant) -> Option<BackupDelay> {
        self.delays.iter().map(|counted| counted.delay).min().map(BackupDelay::After)
    }

    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        Err(Denial::Shadow)
    }

    fn ended(&self, call: &Ended<'_>) {
        if !matches!(call.end, End::Accepted | End::Deadline) {
            return;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let took = u32::try_from(call.elapsed.as_micros()).unwrap_or(u32::MAX).max(1);
        let last = match call.end {
            End::Accepted => self.last.swap(took, Ordering::Relaxed),
            _ => self.last.load(Ordering::Relaxed),
        };
        for counted in self.delays.iter().filter(|counted| counted.delay < call.elapsed) {
            counted.sent.fetch_add(1, Ordering::Relaxed);
            let hedged = counted.delay + Duration::from_micros(last.into());
            if last > 0 && hedged < call.elapsed {
                counted.won.fetch_add(1, Ordering::Relaxed);
                counted.saved_us.fetch_add((call.elapsed - hedged).as_micros(), Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::balance::RoundRobin;
    use crate::call::{Action, Input, NotHedged};
    use crate::channel::Channel;
    use crate::policy::{CallOptions, ChannelOptions, Verdict};
    use std::vec::Vec;

    /// Makes a call that is answered after so long; answers why it was not hedged.
    fn call(channel: &Channel<u8, RoundRobin, &Shadow<2>, u8>, start: u64, took: u64) -> Option<NotHedged> {
        let options = CallOptions::new();
        let mut call = channel.call(&options, Instant::from_millis(start)).unwrap();
        let answered = Instant::from_millis(start + took);
        let mut now = Instant::from_millis(start);
        loop {
            match call.poll(now) {
                Action::Start(attempt) => assert_eq!(attempt.attempt.index(), 0, "nothing else is sent"),
                Action::Wait { until } if until.is_some_and(|until| until < answered) => now = until.unwrap(),
                Action::Wait { .. } => {
                    now = answered;
                    call.handle(now, Input::finished(crate::call::AttemptId::FIRST, Verdict::Accept));
                }
                Action::Abandon { .. } => {}
                Action::Done(_) => return call.report().not_hedged(),
            }
        }
    }

    #[test]
    fn b2_a_shadow_sends_nothing_and_counts_what_would_have_been() {
        let shadow = Shadow::new([10, 40].map(Duration::from_millis));
        let mut channel = Channel::with_policy(ChannelOptions::brpc(), RoundRobin::new(1), &shadow, 1).unwrap();
        for address in 0..3 {
            channel.insert(address, 0).unwrap();
        }
        assert_eq!(call(&channel, 0, 5), Some(NotHedged::FinishedFirst));
        assert_eq!(call(&channel, 100, 30), Some(NotHedged::Denied(Denial::Shadow)));
        assert_eq!(call(&channel, 200, 32), Some(NotHedged::Denied(Denial::Shadow)));
        assert_eq!(call(&channel, 300, 100), Some(NotHedged::Denied(Denial::Shadow)));
        call(&channel, 1_000, 900);
        let counts: Vec<_> = shadow.counts().map(|count| (count.calls, count.sent, count.won, count.saved)).collect();
        let ms = Duration::from_millis;
        // After 10 ms: 15 instead of 30, 42 instead of 100, 110 instead of the deadline at 500.
        assert_eq!(counts[0], (5, 4, 3, ms(15 + 58 + 390)));
        // After 40 ms: 72 instead of 100, 140 instead of the deadline.
        assert_eq!(counts[1], (5, 2, 2, ms(28 + 360)));
    }
}
