//! The rules of a call, one by one, in virtual milliseconds. The simulator tests random schedules.

mod backup;
mod cancel;
mod end;
mod late;
mod pushback;
mod retry;
mod servers;

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;
use crate::balance::{NoServer, Pick, RoundRobin, Selection};
use crate::channel::Channel;
use crate::id::AddressKey;
use crate::outcome::{Code, Denial, ErrorKind, NotHedged, Pushback, State};
use crate::policy::{BackupDelay, BackupPolicy, CallKind, ChannelOptions, Ended, NoPolicy, OnEarlyFailure};
use crate::time::{Duration, Timeout};

type Line<P> = Channel<u16, RoundRobin, P, u8, 8>;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Makes a channel with `servers` servers. Their addresses are 0, 1, 2 and so on. The balancer visits them in this
/// order, beginning with 0.
fn line_with<P: BackupPolicy>(servers: u16, options: ChannelOptions, policy: P) -> Line<P> {
    let mut channel = Channel::with_policy(options, RoundRobin::starting_at(0), policy, 7);
    for address in 0..servers {
        channel.insert(address, 0).unwrap();
    }
    channel
}

fn line(servers: u16, options: ChannelOptions) -> Line<NoPolicy> {
    line_with(servers, options, NoPolicy)
}

/// Returns brpc's options with a backup after `delay` ms.
fn hedged(delay: u64) -> ChannelOptions {
    ChannelOptions { backup: BackupDelay::after(ms(delay)), ..ChannelOptions::brpc() }
}

/// Methods with which a test drives a call step by step.
trait ByHand {
    fn expect_start(&mut self, millis: u64) -> Start;
    fn expect_wait(&mut self, millis: u64) -> Option<u64>;
    fn expect_done(&mut self, millis: u64) -> End;
    fn verdict(&mut self, millis: u64, attempt: AttemptId, verdict: Verdict);
    fn judged(&mut self, millis: u64, attempt: AttemptId, judgement: Judgement);
}

impl<P: Deref<Target: Host>, const N: usize> ByHand for Call<'_, P, N> {
    fn expect_start(&mut self, millis: u64) -> Start {
        match self.poll(at(millis)) {
            Action::Start(start) => start,
            other => panic!("at {millis} ms: {other:?}, expected a start"),
        }
    }

    /// Returns the instant of the next timer in ms, or `None` if no timer is armed. Panics if the call does not wait.
    fn expect_wait(&mut self, millis: u64) -> Option<u64> {
        match self.poll(at(millis)) {
            Action::Wait { until } => until.map(|until| until.as_micros() / 1_000),
            other => panic!("at {millis} ms: {other:?}, expected to wait"),
        }
    }

    /// Returns how the call ended. Ignores the attempts that the call abandons.
    fn expect_done(&mut self, millis: u64) -> End {
        loop {
            match self.poll(at(millis)) {
                Action::Done(end) => return end,
                Action::Abandon { .. } => {}
                other => panic!("at {millis} ms: {other:?}, expected the end"),
            }
        }
    }

    fn verdict(&mut self, millis: u64, attempt: AttemptId, verdict: Verdict) {
        self.handle(at(millis), Input::finished(attempt, verdict));
    }

    fn judged(&mut self, millis: u64, attempt: AttemptId, judgement: Judgement) {
        self.handle(at(millis), Input::Finished { attempt, judgement });
    }
}

/// A policy that counts how often it is asked and informed.
#[derive(Debug, Default)]
struct Counting {
    delay: Option<BackupDelay>,
    refuse: AtomicBool,
    asked: AtomicU32,
    retries: AtomicU32,
    ended: AtomicU32,
}

impl Counting {
    fn refusing() -> Self {
        Self { refuse: AtomicBool::new(true), ..Self::default() }
    }

    fn count(counter: &AtomicU32) -> u32 {
        counter.load(Ordering::Relaxed)
    }

    fn answer(&self, counter: &AtomicU32) -> Result<(), Denial> {
        counter.fetch_add(1, Ordering::Relaxed);
        if self.refuse.load(Ordering::Relaxed) { Err(Denial::Policy) } else { Ok(()) }
    }
}

impl BackupPolicy for Counting {
    fn delay(&self, _: Instant) -> Option<BackupDelay> {
        self.delay
    }

    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        self.answer(&self.asked)
    }

    fn may_retry(&self, _: Instant) -> Result<(), Denial> {
        self.answer(&self.retries)
    }

    fn ended(&self, _: &Ended<'_>) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn l3_more_attempts_than_the_call_holds_is_an_error_and_never_a_clamp() {
    let channel = line(3, ChannelOptions::brpc());
    let options = CallOptions { max_retry: Some(4), ..CallOptions::new() };
    let error = ConfigError::TooManyAttempts { max_retry: 4, capacity: 4 };
    assert_eq!(channel.call(&options, at(0)).err(), Some(error));
    assert!(Call::<_, 5>::new(&channel, &options, at(0)).is_ok());
    let channel = line(3, ChannelOptions { max_retry: 9, ..ChannelOptions::brpc() });
    assert!(channel.call(&CallOptions::new(), at(0)).is_err(), "a channel's own options are checked too");
    let fewer = CallOptions { max_retry: Some(1), ..CallOptions::new() };
    assert!(channel.call(&fewer, at(0)).is_ok(), "what is overridden does not count");
}

#[test]
fn a_call_is_as_small_as_the_docs_say() {
    extern crate std;
    type Plain<'c> = Call<'c, &'c Line<NoPolicy>>;
    std::println!(
        "Call<4>: {} bytes, its report {}, an attempt {}",
        size_of::<Plain<'_>>(),
        size_of::<Report>(),
        size_of::<Attempt>()
    );
    assert!(size_of::<Plain<'_>>() <= 192);
    assert_eq!(size_of::<Attempt>(), 20);
}
