//! Tests of the driver. The timer moves only when the test moves it, and the attempts follow a script.

extern crate std;

mod attempt_timeout;
mod told;
mod watch;

use core::cell::{Cell, RefCell};
use core::future::{pending, ready};
use core::pin::Pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Waker;
use std::boxed::Box;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Wake;
use std::vec::Vec;

use super::*;
use crate::balance::RoundRobin;
use crate::call::Report;
use crate::channel::Channel;
use crate::id::ServerId;
use crate::outcome::{Kind, NotHedged};
use crate::policy::{AttemptError, BackupDelay, CallOptions, ChannelOptions, DefaultRetryPolicy};
use crate::time::Duration;

/// A clock that the test moves. It counts how often the driver used it.
#[derive(Default)]
struct Clock {
    now: Cell<u64>,
    reads: Cell<u32>,
    sleeps: Cell<u32>,
    resets: Cell<u32>,
    /// Each sleep ends this number of milliseconds too early.
    early: Cell<u64>,
}

struct Sleep<'c> {
    clock: &'c Clock,
    until: Instant,
}

impl Clock {
    fn counts(&self) -> (u32, u32, u32) {
        (self.reads.get(), self.sleeps.get(), self.resets.get())
    }

    fn time(&self) -> Instant {
        Instant::from_millis(self.now.get())
    }
}

impl<'c> Timer for &'c Clock {
    type Sleep = Sleep<'c>;

    fn now(&self) -> Instant {
        self.reads.set(self.reads.get() + 1);
        self.time()
    }

    fn sleep_until(&self, until: Instant) -> Sleep<'c> {
        self.sleeps.set(self.sleeps.get() + 1);
        Sleep { clock: self, until }
    }

    fn reset(&self, mut sleep: Pin<&mut Sleep<'c>>, until: Instant) {
        self.resets.set(self.resets.get() + 1);
        sleep.until = until;
    }
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let early = Duration::from_millis(self.clock.early.get());
        if self.clock.time() + early >= self.until { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[derive(Debug, PartialEq)]
struct Failed(ErrorKind);

impl AttemptError for Failed {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

type Outcome = Result<&'static str, Failed>;

/// An attempt that follows a script. The attempt answers once the clock reaches `answers_at`. If the attempt is dropped
/// earlier, `dropped` grows by one.
struct Attempt<'c> {
    clock: &'c Clock,
    answers_at: u64,
    outcome: Option<Outcome>,
    dropped: Rc<Cell<u32>>,
}

impl Future for Attempt<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Outcome> {
        if self.clock.now.get() < self.answers_at {
            return Poll::Pending;
        }
        Poll::Ready(self.outcome.take().unwrap())
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            self.dropped.set(self.dropped.get() + 1);
        }
    }
}

type Line = Channel<u16, RoundRobin, crate::policy::NoPolicy, u8>;

fn line(servers: u16, options: ChannelOptions) -> Line {
    let mut channel = Channel::with_policy(options, RoundRobin::starting_at(0), crate::policy::NoPolicy, 1);
    for address in 0..servers {
        channel.insert(address, 0).unwrap();
    }
    channel
}

/// The result and the report of a call that is over.
struct Done<Reply> {
    result: Result<Reply, CallFailure<Reply, Failed>>,
    report: Report<4>,
}

/// Runs [`drive`]. Returns the result of `drive` and the call's report.
async fn driven<'r, H, R, C, A, Reply, F, const K: usize>(
    mut call: Call<'_, &H, 4>,
    slots: [Slot<'r, F>; K],
    driver: Driver<'r, &'r Clock, R, C, A>,
    start: impl FnMut(AttemptInfo<H::Address>) -> F,
) -> Done<Reply>
where
    H: Host + Addresses,
    R: RetryPolicy<Reply, Failed>,
    C: Cancel,
    A: AttemptTimeout,
    F: Future<Output = Result<Reply, Failed>>,
{
    let result = drive(&mut call, slots, driver, start).await;
    Done { result, report: call.report().clone() }
}

fn hedged(millis: u64) -> ChannelOptions {
    ChannelOptions { backup: BackupDelay::after(Duration::from_millis(millis)), ..ChannelOptions::brpc() }
}

fn in_flight(channel: &Line) -> Vec<u32> {
    channel.cluster().iter().map(|(id, _)| channel.cluster().in_flight(id)).collect()
}

/// Runs a call by a script. The script has one pair for each attempt: the instant at which the attempt answers, and its
/// outcome. Moves the clock by 1 ms whenever the call waits.
fn run(channel: &Line, clock: &Clock, script: &[(u64, Outcome)], dropped: &Rc<Cell<u32>>) -> Done<&'static str> {
    let options = CallOptions::new();
    let script: Vec<_> = script.iter().map(|(at, outcome)| (*at, copy(outcome))).collect();
    let script = RefCell::new(script.into_iter());
    let timer = clock;
    let call = channel.call(&options, clock.time()).unwrap();
    let driver = Driver::new(&timer, &DefaultRetryPolicy);
    let mut future = pin!(async {
        driven(call, [pin!(None), pin!(None)], driver, |_| {
            let (answers_at, outcome) = script.borrow_mut().next().unwrap_or((u64::MAX, Ok("never")));
            Attempt { clock, answers_at, outcome: Some(outcome), dropped: Rc::clone(dropped) }
        })
        .await
    });
    for _ in 0..10_000 {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(completed) => return completed,
            Poll::Pending => clock.now.set(clock.now.get() + 1),
        }
    }
    panic!("the call never ended");
}

fn copy(outcome: &Outcome) -> Outcome {
    match outcome {
        Ok(reply) => Ok(reply),
        Err(Failed(kind)) => Err(Failed(*kind)),
    }
}

#[test]
fn a_ready_transport_costs_one_clock_read_and_no_timer() {
    let (clock, dropped) = (Clock::default(), Rc::default());
    let done = run(&line(3, hedged(20)), &clock, &[(0, Ok("at once"))], &dropped);
    assert_eq!(done.result.unwrap(), "at once");
    assert_eq!(clock.counts(), (1, 0, 0));
}

#[test]
fn the_timer_is_made_when_the_call_first_waits_and_reset_only_for_another_instant() {
    let (clock, dropped) = (Clock::default(), Rc::default());
    let done = run(&line(3, hedged(20)), &clock, &[(40, Ok("first")), (99, Ok("backup"))], &dropped);
    assert_eq!(done.report.winner(), Some(AttemptId::FIRST));
    assert_eq!(done.report.elapsed(), Duration::from_millis(40));
    let (_, sleeps, resets) = clock.counts();
    assert_eq!((sleeps, resets), (1, 1), "the backup's instant, then the deadline's");
    assert_eq!(dropped.get(), 1, "the loser was dropped");
}

#[test]
fn l7_a_backup_wins_over_a_slow_first() {
    let (clock, dropped) = (Clock::default(), Rc::default());
    let channel = line(3, hedged(20));
    let done = run(&channel, &clock, &[(200, Ok("first")), (25, Ok("backup"))], &dropped);
    assert_eq!(done.result.unwrap(), "backup");
    assert_eq!(done.report.attempts()[1].kind(), Kind::Backup);
    assert_eq!((done.report.elapsed(), dropped.get()), (Duration::from_millis(25), 1));
    assert_eq!(in_flight(&channel), [0, 0, 0]);
}

#[test]
fn l9_an_early_failure_starts_the_next_at_once() {
    let (clock, dropped) = (Clock::default(), Rc::default());
    let script = [(1, Err(Failed(ErrorKind::Reset))), (6, Ok("second"))];
    let done = run(&line(3, hedged(50)), &clock, &script, &dropped);
    assert_eq!(done.result.unwrap(), "second");
    assert_eq!(done.report.elapsed(), Duration::from_millis(6));
    assert_eq!(done.report.not_hedged(), Some(NotHedged::FinishedFirst));
}

#[test]
fn l14_a_success_that_is_there_wins_over_a_deadline_that_has_passed() {
    let clock = Clock::default();
    let channel = line(3, ChannelOptions::brpc());
    let options = CallOptions::new();
    let timer = &clock;
    let call = channel.call(&options, Instant::ZERO).unwrap();
    let driver = Driver::new(&timer, &DefaultRetryPolicy);
    let clock = &clock;
    let mut future = pin!(async {
        driven(call, [pin!(None), pin!(None)], driver, |_| Attempt {
            clock,
            answers_at: 499,
            outcome: Some(Ok("late")),
            dropped: Rc::default(),
        })
        .await
    });
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    clock.now.set(700);
    let Poll::Ready(done) = future.as_mut().poll(&mut cx) else { panic!("both are due") };
    assert_eq!(done.result.unwrap(), "late");
    assert_eq!(done.report.elapsed(), Duration::from_millis(700));
}

#[test]
fn l16_the_last_typed_error_is_the_calls() {
    let (clock, dropped) = (Clock::default(), Rc::default());
    let script = [(1, Err(Failed(ErrorKind::Reset))), (3, Err(Failed(ErrorKind::Internal)))];
    let done = run(&line(3, ChannelOptions::brpc()), &clock, &script, &dropped);
    let Err(CallFailure::Ended { end: End::Failed, last: Some(Err(error)) }) = done.result else {
        panic!("{:?}", done.result)
    };
    assert_eq!(error, Failed(ErrorKind::Internal));
}

#[test]
fn r2_a_reply_that_is_not_accepted_is_kept() {
    let channel = line(1, ChannelOptions { max_retry: 0, ..ChannelOptions::brpc() });
    let options = CallOptions::new();
    let clock = &Clock::default();
    let policy = |result: Result<&u16, &Failed>| match result {
        Ok(status) if *status >= 500 => Judgement::new(Verdict::Wait, Code(*status)),
        _ => Verdict::Accept.into(),
    };
    let call = channel.call(&options, Instant::ZERO).unwrap();
    let mut future =
        pin!(async { driven(call, [pin!(None), pin!(None)], Driver::new(&clock, &policy), |_| ready(Ok(503))).await });
    let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!("ready") };
    assert!(matches!(done.result, Err(CallFailure::Ended { end: End::Failed, last: Some(Ok(503)) })));
    assert_eq!(done.report.attempts()[0].code(), Code(503));
}

#[test]
fn l12_dropping_the_future_abandons_everything() {
    let (clock, dropped) = (Clock::default(), Rc::<Cell<u32>>::default());
    let channel = line(3, hedged(0));
    let options = CallOptions::new();
    let clock = &clock;
    {
        let call = channel.call(&options, Instant::ZERO).unwrap();
        let mut future = pin!(async {
            driven(call, [pin!(None), pin!(None)], Driver::new(&clock, &DefaultRetryPolicy), |_| Attempt {
                clock,
                answers_at: 900,
                outcome: Some(Ok("never")),
                dropped: Rc::clone(&dropped),
            })
            .await
        });
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(in_flight(&channel), [1, 1, 0]);
    }
    assert_eq!(in_flight(&channel), [0, 0, 0]);
    assert_eq!(dropped.get(), 2);
}

#[test]
fn l12_a_call_whose_future_was_dropped_is_over_and_not_run_again() {
    let channel = line(3, ChannelOptions::brpc());
    let options = CallOptions::new();
    let timer = &Clock::default();
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = channel.call(&options, Instant::ZERO).unwrap();
    {
        let slots = [pin!(None), pin!(None)];
        let future = pin!(drive(&mut call, slots, Driver::new(&timer, &DefaultRetryPolicy), never));
        assert!(future.poll(&mut cx).is_pending());
    }
    assert_eq!((call.report().end(), in_flight(&channel)), (Some(End::Cancelled), std::vec![0, 0, 0]));
    {
        let slots = [pin!(None), pin!(None)];
        let again = pin!(drive(&mut call, slots, Driver::new(&timer, &DefaultRetryPolicy), never));
        let Poll::Ready(result) = again.poll(&mut cx) else { panic!("it is over") };
        assert!(matches!(result, Err(CallFailure::Ended { end: End::Cancelled, last: None })));
    }
    assert_eq!(call.report().attempts().len(), 1, "nothing was sent again");
}

/// A waker that counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn never(_: AttemptInfo<u16>) -> impl Future<Output = Outcome> {
    pending()
}

#[test]
fn l12_a_signal_cancels_from_any_thread_and_before_the_start_too() {
    let channel = line(3, ChannelOptions::brpc());
    let options = CallOptions::new();
    let clock = &Clock::default();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut signal = CancelSignal::new();
    {
        let driver = Driver::new(&clock, &DefaultRetryPolicy).cancelled_by(&signal);
        let call = channel.call(&options, Instant::ZERO).unwrap();
        let mut future = pin!(async { driven(call, [pin!(None), pin!(None)], driver, never).await });
        assert!(future.as_mut().poll(&mut cx).is_pending());
        std::thread::scope(|scope| {
            scope.spawn(|| signal.cancel());
            scope.spawn(|| signal.cancel());
        });
        assert!(woken.0.load(Ordering::Relaxed) >= 1);
        let Poll::Ready(done) = future.as_mut().poll(&mut cx) else { panic!("cancelled") };
        assert!(matches!(done.result, Err(CallFailure::Ended { end: End::Cancelled, last: None })));
        assert_eq!(done.report.attempts().len(), 1);
    }
    {
        let driver = Driver::new(&clock, &DefaultRetryPolicy).cancelled_by(&signal);
        let call = channel.call(&options, Instant::ZERO).unwrap();
        let mut future = pin!(async { driven(call, [pin!(None), pin!(None)], driver, never).await });
        let Poll::Ready(done) = future.as_mut().poll(&mut cx) else { panic!("cancelled before the start") };
        assert!(done.report.attempts().is_empty());
    }
    assert!(signal.is_cancelled());
    signal.reset();
    assert!(!signal.is_cancelled());
    assert_eq!(in_flight(&channel), [0, 0, 0]);
}

#[test]
fn a_timer_that_fires_early_does_not_spin() {
    let channel = line(1, ChannelOptions::brpc());
    let options = CallOptions::new();
    let clock = &Clock::default();
    clock.early.set(1_000);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let call = channel.call(&options, Instant::ZERO).unwrap();
    let mut future =
        pin!(async { driven(call, [pin!(None), pin!(None)], Driver::new(&clock, &DefaultRetryPolicy), never).await });
    assert!(future.as_mut().poll(&mut cx).is_pending());
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "it asks to be polled again instead");
    clock.now.set(500);
    assert!(future.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn l6_fewer_slots_than_attempts_in_flight_is_an_error() {
    let channel = line(3, ChannelOptions { max_backups: 2, ..hedged(20) });
    let options = CallOptions::new();
    let clock = &Clock::default();
    let call = channel.call(&options, Instant::ZERO).unwrap();
    let mut future =
        pin!(async { driven(call, [pin!(None), pin!(None)], Driver::new(&clock, &DefaultRetryPolicy), never).await });
    let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!("an error") };
    let expected = ConfigError::TooManyInFlight { max_backups: 2, slots: 2 };
    assert!(matches!(done.result, Err(CallFailure::Config(error)) if error == expected));
}

#[test]
fn l6_three_in_flight_need_three_slots() {
    let channel = line(4, ChannelOptions { max_backups: 2, ..hedged(10) });
    let options = CallOptions::new();
    let clock = &Clock::default();
    let call = channel.call(&options, Instant::ZERO).unwrap();
    let slots = [pin!(None), pin!(None), pin!(None)];
    let mut future = pin!(async { driven(call, slots, Driver::new(&clock, &DefaultRetryPolicy), never).await });
    let mut cx = Context::from_waker(Waker::noop());
    for now in [0, 10, 20, 30] {
        clock.now.set(now);
        assert!(future.as_mut().poll(&mut cx).is_pending());
    }
    let mut servers = in_flight(&channel);
    servers.sort_unstable();
    assert_eq!(servers, [0, 1, 1, 1], "at three servers, one each");
    clock.now.set(500);
    let Poll::Ready(done) = future.as_mut().poll(&mut cx) else { panic!("the deadline") };
    assert!(matches!(done.result, Err(CallFailure::Ended { end: End::Deadline, .. })));
}

/// A host that no longer has the first server's address when the attempt starts.
struct Vanishing(Line, Cell<u32>);

impl crate::call::Host for Vanishing {
    type Ticket = crate::balance::RrTicket;

    fn options(&self) -> &ChannelOptions {
        self.0.options()
    }
    fn seeds(&self) -> &crate::random::Seeds {
        self.0.seeds()
    }
    fn addresses(&self) -> usize {
        self.0.addresses()
    }
    fn look(
        &self,
        selection: &crate::balance::Selection<'_>,
        random: &mut dyn FnMut() -> u32,
    ) -> Result<crate::balance::Pick<crate::balance::RrTicket>, crate::balance::NoServer> {
        self.0.look(selection, random)
    }
    fn commit(&self, pick: &crate::balance::Pick<crate::balance::RrTicket>, now: Instant, insist: bool) -> bool {
        self.0.commit(pick, now, insist)
    }
    fn finished(&self, attempt: &crate::outcome::Finished) {
        self.0.finished(attempt);
    }
    fn answered(&self, attempt: &crate::outcome::Finished) {
        self.0.answered(attempt);
    }
    fn released(&self, server: ServerId) {
        self.0.released(server);
    }
}

impl Addresses for Vanishing {
    type Address = u16;

    fn address_of(&self, server: ServerId) -> Option<u16> {
        self.1.set(self.1.get() + 1);
        if self.1.get() == 1 { None } else { self.0.address_of(server) }
    }
}

#[test]
fn r1_a_server_that_is_gone_when_its_attempt_starts_is_retried_elsewhere() {
    let host = Vanishing(line(3, ChannelOptions::brpc()), Cell::new(0));
    let options = CallOptions { idempotency: crate::policy::Idempotency::NotIdempotent, ..CallOptions::new() };
    let clock = &Clock::default();
    let call = Call::<_, 4>::new(&host, &options, Instant::ZERO).unwrap();
    let mut future = pin!(async {
        driven(call, [pin!(None), pin!(None)], Driver::new(&clock, &DefaultRetryPolicy), |info| {
            ready(Outcome::Ok(if info.address == 1 { "the second" } else { "?" }))
        })
        .await
    });
    let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!("ready") };
    assert_eq!(done.result.unwrap(), "the second");
    assert_eq!(done.report.attempts()[0].code(), ErrorKind::ServerGone.into());
}

/// A transport whose attempts borrow the request (T3).
struct Echo;

impl SendTransport for Echo {
    type Address = u16;
    type Request = str;
    type Reply = usize;
    type Error = Failed;

    async fn start(&self, request: &str, attempt: AttemptInfo<u16>) -> Result<usize, Failed> {
        if attempt.kind == Kind::First { Err(Failed(ErrorKind::Refused)) } else { Ok(request.len()) }
    }
}

#[test]
fn t3_every_attempt_borrows_the_request() {
    let channel = line(3, ChannelOptions::brpc());
    let options = CallOptions::new();
    let clock = &Clock::default();
    let request = std::string::String::from("four");
    let call = channel.call(&options, Instant::ZERO).unwrap();
    let mut future = pin!(async {
        driven(call, [pin!(None), pin!(None)], Driver::new(&clock, &DefaultRetryPolicy), |attempt| {
            Transport::start(&Echo, &request, attempt)
        })
        .await
    });
    let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!("ready") };
    assert_eq!(done.result.unwrap(), 4);
    assert_eq!(Transport::idempotency(&Echo, "any"), crate::policy::Idempotency::Unset);
}

#[test]
fn l12_a_future_that_is_dropped_drops_its_attempts_though_the_slots_live_on() {
    let (channel, options) = (
        line(2, ChannelOptions { backup: BackupDelay::after(Duration::from_millis(20)), ..ChannelOptions::brpc() }),
        CallOptions::new(),
    );
    let clock = &Clock::default();
    let dropped = Rc::new(Cell::new(0));
    let mut call = channel.call(&options, Instant::ZERO).unwrap();
    let (mut one, mut other) = (pin!(None), pin!(None));
    let start = |_| Attempt { clock, answers_at: u64::MAX, outcome: Some(Ok("late")), dropped: Rc::clone(&dropped) };
    let driver = Driver::new(&clock, &DefaultRetryPolicy);
    let mut future = Box::pin(drive(&mut call, [one.as_mut(), other.as_mut()], driver, start));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    clock.now.set(20);
    assert!(future.as_mut().poll(&mut cx).is_pending());
    assert_eq!(dropped.get(), 0);
    drop(future);
    assert_eq!(dropped.get(), 2);
    assert!(one.is_none() && other.is_none());
    assert_eq!(call.report().end(), Some(End::Cancelled));
}
