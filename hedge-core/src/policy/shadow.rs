//! Estimates the effect of backups without sending backups: [`Shadow`].

use super::sample::sample_of;
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::latency::{LatencyRecorder, Snapshot};
use crate::outcome::{End, NotHedged};
use crate::policy::{BackupDelay, BackupPolicy, Ended, When};
use crate::time::{Duration, Instant, Micros};

/// A policy that sends no backup. For each of `D` delays, it counts how many backups would have been sent and how much
/// time they would have saved. So you can choose a delay before backups add load. Calls run as they would without
/// backups: no backup timer is armed, and no limit is asked for a backup.
///
/// A call counts as one that would have sent a backup under two conditions: a backup was possible when the first
/// attempt started ([L4](crate::rules#L4)), and the call was still running when the delay was over. For example, a
/// backup is not possible if the request may not be sent twice, or if there is no other server. Limits are ignored, so
/// the count is the number of backups that the delay alone would cause. If a backup was possible, a call that takes
/// longer than the shortest delay reports [`NotHedged::Shadow`].
///
/// The latency of a backup that was not sent is estimated from the attempts of the last 10 s ([`Snapshot::within`]).
/// The number of backups that would have won, and the time that they would have saved, are summed over calls that were
/// accepted or reached their deadline. The load that real backups add is not part of the estimate. So if a delay sends
/// backups for more than a few percent of the calls, expect a smaller effect than the estimate.
///
/// Counters wrap, so use the difference of two readings. Cost: at a call's end, one addition and the cost of
/// [`LatencyRecorder`]. A call that takes longer than the shortest delay also takes a snapshot (2 KB, some
/// microseconds) and up to three additions for each delay. The policy takes 2 KB, plus 32 bytes for each delay.
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
    latencies: LatencyRecorder,
}

/// The estimated effect of backups after one delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ShadowCount {
    /// The delay to which these counts belong.
    pub delay: Duration,
    /// The number of calls for which a backup was possible.
    pub calls: u32,
    /// How many of these calls would have sent a backup.
    pub sent: u32,
    /// How many of these backups would have answered first.
    pub won: u32,
    /// How much time these backups would have saved in all.
    pub saved: Duration,
}

#[derive(Debug)]
struct Delay {
    delay: Micros,
    sent: AtomicU32,
    won_ppm: AtomicU64,
    saved_us: AtomicU64,
}

impl<const D: usize> Shadow<D> {
    /// Makes a policy that counts for these delays.
    #[must_use]
    pub fn new(delays: [Duration; D]) -> Self {
        let none = || AtomicU64::new(0);
        let of =
            |delay: Duration| Delay { delay: delay.into(), sent: AtomicU32::new(0), won_ppm: none(), saved_us: none() };
        Self { delays: delays.map(of), calls: AtomicU32::new(0), latencies: LatencyRecorder::default() }
    }

    /// Returns the counts for each delay, in the order of the delays.
    pub fn counts(&self) -> impl Iterator<Item = ShadowCount> + '_ {
        let calls = self.calls.load(Ordering::Relaxed);
        self.delays.iter().map(move |counted| ShadowCount {
            delay: counted.delay.into(),
            calls,
            sent: counted.sent.load(Ordering::Relaxed),
            won: u32::try_from(counted.won_ppm.load(Ordering::SeqCst) / 1_000_000).unwrap_or(u32::MAX),
            saved: Duration::from_micros(counted.saved_us.load(Ordering::SeqCst)),
        })
    }

    /// Returns the latencies of attempts, from which this policy estimates what backups would have done. From a
    /// snapshot of these latencies, [`Snapshot::hedged`] estimates a quantile of the latency with backups after a given
    /// delay.
    #[must_use]
    pub const fn latencies(&self) -> &LatencyRecorder {
        &self.latencies
    }
}

impl Delay {
    /// Counts a call that took longer than the delay.
    fn count(&self, call: &Ended<'_>, latencies: &Snapshot) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if !matches!(call.end, End::Accepted | End::Deadline) {
            return;
        }
        if let Some(within) = latencies.within_micros(call.elapsed_micros() - self.delay) {
            self.won_ppm.fetch_add(within.ppm.into(), Ordering::Relaxed);
            self.saved_us.fetch_add(within.left_us, Ordering::Relaxed);
        }
    }
}

impl<const D: usize> BackupPolicy for Shadow<D> {
    fn delay(&self, _: Instant) -> Option<BackupDelay> {
        self.delays.iter().map(|counted| counted.delay).min().map(|delay| When::Shadow(delay).into())
    }

    fn ended(&self, call: &Ended<'_>) {
        for (span, sample) in call.attempts.iter().filter_map(sample_of) {
            let _ = self.latencies.note(call.at, span, sample);
        }
        match call.not_hedged() {
            Some(NotHedged::FinishedFirst) if !call.attempts.is_empty() => {
                self.calls.fetch_add(1, Ordering::Relaxed);
            }
            Some(NotHedged::Shadow) => {
                self.calls.fetch_add(1, Ordering::Relaxed);
                let latencies = self.latencies.snapshot(call.at);
                let outlasted = self.delays.iter().filter(|counted| counted.delay < call.elapsed_micros());
                outlasted.for_each(|counted| counted.count(call, &latencies));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::balance::RoundRobin;
    use crate::call::{Action, Input};
    use crate::channel::Channel;
    use crate::limit::{Counted, Limits};
    use crate::outcome::{Denial, Extra, Verdict};
    use crate::policy::{CallOptions, ChannelOptions, Idempotency, NoPolicy, OnEarlyFailure};
    use std::vec::Vec;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn channel<P: BackupPolicy>(options: ChannelOptions, policy: P, servers: u8) -> Channel<u8, RoundRobin, P, u8> {
        let mut channel = Channel::with_policy(options, RoundRobin::starting_at(0), policy, 1);
        for address in 0..servers {
            channel.insert(address, 0).unwrap();
        }
        channel
    }

    /// Makes a call whose attempts take the given times. Returns how it ended, how long it took, how many attempts it
    /// had, and why it had no backup.
    fn call<P: BackupPolicy>(
        channel: &Channel<u8, RoundRobin, P, u8>,
        options: &CallOptions<'_>,
        start: u64,
        attempts: &[(u64, Verdict)],
    ) -> (End, Duration, usize, Option<NotHedged>) {
        let mut now = Instant::from_millis(start);
        let mut call = channel.call(options, now).unwrap();
        let mut working = Vec::new();
        let mut script = attempts.iter();
        loop {
            match call.poll(now) {
                Action::Start(started) => {
                    let (took, verdict) = script.next().expect("no more attempts than the script has");
                    working.push((now + MS(*took), started.attempt, *verdict));
                }
                Action::Wait { until } => {
                    let (end, attempt, verdict) = working.remove(0);
                    match until.filter(|until| *until < end) {
                        Some(until) => {
                            now = until;
                            working.insert(0, (end, attempt, verdict));
                        }
                        None => {
                            now = end;
                            call.handle(now, Input::finished(attempt, verdict));
                        }
                    }
                }
                Action::Abandon { attempt } => working.retain(|(_, other, _)| *other != attempt),
                Action::Done(end) => {
                    let report = call.report();
                    return (end, report.elapsed(), report.attempts().len(), report.not_hedged());
                }
            }
        }
    }

    fn counts<const D: usize>(shadow: &Shadow<D>) -> Vec<(u32, u32, u32, Duration)> {
        shadow.counts().map(|count| (count.calls, count.sent, count.won, count.saved)).collect()
    }

    #[test]
    fn b2_a_shadow_sends_nothing_and_counts_what_would_have_been() {
        let shadow = Shadow::new([10, 40].map(MS));
        let channel = channel(ChannelOptions::brpc(), &shadow, 3);
        let own = CallOptions::new();
        let accepted = |start, took| call(&channel, &own, start, &[(took, Verdict::Accept)]);
        for start in 0..999 {
            assert_eq!(accepted(start, 4).3, Some(NotHedged::FinishedFirst));
        }
        assert_eq!(accepted(1_000, 10).3, Some(NotHedged::FinishedFirst), "answered as the timer would have fired");
        assert_eq!(accepted(1_100, 100), (End::Accepted, MS(100), 1, Some(NotHedged::Shadow)));
        assert_eq!(accepted(1_300, 900), (End::Deadline, MS(500), 1, Some(NotHedged::Shadow)));
        let near = |saved: Duration, millis: u64| saved.abs_diff(MS(millis)) * 100 < 3 * MS(millis);
        let [(1_002, 2, won, early), (1_002, 2, also_won, late)] = counts(&shadow)[..] else { panic!("{shadow:?}") };
        assert!((1..=2).contains(&won) && (1..=2).contains(&also_won));
        // A backup would take 4 ms. So a call would take 14 ms with a backup after 10 ms, and 44 ms with a backup after
        // 40 ms. Without a backup, one call takes 100 ms, and the other call ends at its deadline after 500 ms.
        assert!(near(early, 86 + 486) && near(late, 56 + 456), "{early:?} and {late:?}");
    }

    #[test]
    fn b2_a_call_is_what_it_is_without_a_shadow() {
        let verdicts = [Verdict::Accept, Verdict::Retry, Verdict::Wait, Verdict::Fatal];
        let mut rng = fastrand::Rng::with_seed(5);
        for on_early_failure in [OnEarlyFailure::StartNext, OnEarlyFailure::Wait] {
            let options = ChannelOptions { on_early_failure, ..ChannelOptions::brpc() };
            let shadow = Shadow::new([MS(3)]);
            let limits = Counted::new(Limits::default());
            let (plain, shadowed) = (channel(options.clone(), NoPolicy, 3), channel(options, (&limits, &shadow), 3));
            for start in 0..2_000 {
                let script: Vec<_> = (0..4).map(|_| (rng.u64(..300), verdicts[rng.usize(..4)])).collect();
                let own = CallOptions { max_retry: Some(rng.u8(..4)), ..CallOptions::new() };
                let (end, elapsed, attempts, _) = call(&plain, &own, 1_000 * start, &script);
                let (also, took, made, _) = call(&shadowed, &own, 1_000 * start, &script);
                assert_eq!((end, elapsed, attempts), (also, took, made), "call {start}: {script:?}");
            }
            assert!(Denial::ALL.iter().all(|reason| limits.denied(Extra::Backup, *reason) == 0), "no limit was asked");
            assert!(counts(&shadow)[0].1 > 0);
        }
    }

    #[test]
    fn b2_only_calls_that_could_have_been_hedged_count_and_however_they_end() {
        let shadow = Shadow::new([MS(10)]);
        let alone = channel(ChannelOptions::brpc(), &shadow, 1);
        let slow = [(50, Verdict::Accept)];
        assert_eq!(call(&alone, &CallOptions::new(), 0, &slow).3, Some(NotHedged::NoOtherServer));
        let channel = channel(ChannelOptions::brpc(), &shadow, 3);
        let once = CallOptions { max_retry: Some(0), ..CallOptions::new() };
        assert_eq!(call(&channel, &once, 0, &slow).3, Some(NotHedged::NoAttemptLeft));
        let unsafe_twice = CallOptions { idempotency: Idempotency::NotIdempotent, ..CallOptions::new() };
        assert_eq!(call(&channel, &unsafe_twice, 0, &slow).3, Some(NotHedged::NotIdempotent));
        assert_eq!(counts(&shadow), [(0, 0, 0, Duration::ZERO)]);
        let own = CallOptions::new();
        assert_eq!(call(&channel, &own, 0, &[(50, Verdict::Fatal)]).0, End::Fatal);
        assert_eq!(call(&channel, &own, 100, &[(50, Verdict::Wait)]).0, End::Failed);
        assert_eq!(counts(&shadow), [(2, 2, 0, Duration::ZERO)], "sent, and nothing is known to be won");
    }
}
