use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use hedge_core::bounded::Bounded;
use hedge_core::config::ServerLimits;
use hedge_core::outcome::{End, ErrorKind, NotHedged};
use hedge_core::policy::{Backoff, BackupDelay, RetryTarget};
use hedge_core::time::{Instant, Timeout};

use crate::testing::{Failed, Line};
use crate::testing_calls::{Held, Polled, after_one_failure};
use crate::{CallOptions, CancelToken, Lease};

const fn cap(attempts: u32) -> ServerLimits {
    ServerLimits { max_in_flight_per_server: Some(attempts), ..ServerLimits::NONE }
}

const fn queue(attempts: u32, calls: u32) -> ServerLimits {
    ServerLimits { max_queued_calls: calls, ..cap(attempts) }
}

fn plain() -> CallOptions {
    CallOptions { max_retry: Some(0), ..CallOptions::new() }
}

fn backup(millis: u64) -> CallOptions {
    CallOptions { max_retry: Some(1), ..CallOptions::new().with_backup(Duration::from_millis(millis)) }
}

/// Checks that no attempt counts as in flight, and that no call waits.
fn assert_settled(line: &Line) {
    for node in line.servers.load().list().nodes() {
        assert_eq!(node.in_flight(), 0, "{node:?}");
    }
    assert_eq!(line.servers.queued_calls(), 0);
}

#[test]
fn l22_a_full_server_is_passed_over_and_is_not_down() {
    for balancer in ["rr", "wrr", "random", "wr", "la", "p2c", "prequal", "c_murmurhash"] {
        let line = Line::new(balancer, 22, &[1, 2], cap(2));
        let held = Held::default();
        let options = || CallOptions { request_code: Some(7), ..plain() };
        let mut calls: Vec<_> = (0..4).map(|_| Polled::waits(&line, options(), &held)).collect();
        assert_eq!((line.in_flight(1), line.in_flight(2)), (2, 2), "{balancer}");
        let (result, report) = Polled::new(&line, options(), &held).end();
        assert_eq!((result, report.attempts().len()), (Err(End::AllFull), 0), "{balancer}");
        assert!(line.servers.load().health().usable(line.node(1).health(), Instant::ZERO), "{balancer}");
        held.answer(0, true);
        let first = held.servers()[0];
        assert_eq!(calls[0].end().0, Ok(first));
        let mut next = Polled::waits(&line, options(), &held);
        assert_eq!(held.servers()[4], first, "{balancer}: the one with room");
        (1..5).for_each(|attempt| held.answer(attempt, true));
        assert!(calls[1..].iter_mut().all(|call| call.end().0.is_ok()) && next.end().0.is_ok());
        assert_settled(&line);
    }
}

#[test]
fn l22_full_servers_are_no_down_servers_to_recovery_and_last_resort() {
    let line = Line::with("rr", 1, &[1, 2], |setup| {
        setup.server_limits = cap(1);
        setup.recovery = Some(hedge_core::health::RecoveryOptions {
            min_working: Bounded::of::<8>(),
            hold: hedge_core::bounded::BoundedSpan::of_secs::<60>(),
        });
    });
    let held = Held::default();
    line.clock.set(1_000);
    let mut call = Polled::waits(&line, plain(), &held);
    let working = held.servers()[0];
    line.set_broken(3 - working, true);
    line.clock.set(1_200);
    assert_eq!(Polled::new(&line, plain(), &held).end().0, Err(End::AllFull), "one is down, and one is full");
    held.answer(0, true);
    assert!(call.end().0.is_ok());
    for _ in 0..32 {
        // If the full server had counted as down, a recovery would have begun, and would refuse most of these calls.
        let mut call = Polled::waits(&line, plain(), &held);
        held.answer(held.servers().len() - 1, true);
        assert_eq!(call.end().0, Ok(working));
    }
    line.set_broken(working, true);
    assert_eq!(Polled::new(&line, plain(), &held).end().0, Err(End::AllDown));
}

#[test]
fn l22_a_retry_passes_over_full_servers_and_ends_the_call_where_all_are_full() {
    let line = Line::new("rr", 3, &[1, 2, 3], cap(1));
    let held = Held::default();
    let backoff = Some(Backoff::fixed(hedge_core::time::Duration::from_millis(10)));
    let mut call = Polled::waits(&line, CallOptions { backoff, ..CallOptions::new() }, &held);
    let mut other = Polled::waits(&line, plain(), &held);
    let servers = held.servers();
    let third = 6 - servers[0] - servers[1];
    held.answer(0, false);
    assert!(call.poll().is_none());
    line.clock.set(10);
    assert!(call.poll().is_none());
    assert_eq!(held.servers()[2], third, "the second is full");
    held.answer(2, false);
    assert!(call.poll().is_none());
    // Before the retry is due, other calls fill the two servers that this call has tried.
    let mut takers: Vec<_> = (0..2).map(|_| Polled::waits(&line, plain(), &held)).collect();
    line.clock.set(20);
    let (result, report) = call.end();
    assert_eq!((result, report.attempts().len()), (Err(End::Failed), 2));
    for attempt in [1, 3, 4] {
        held.answer(attempt, true);
    }
    assert!(other.end().0.is_ok() && takers.iter_mut().all(|call| call.end().0.is_ok()));
    assert_settled(&line);
}

#[test]
fn l22_a_retry_at_the_same_server_does_not_exceed_the_cap() {
    let line = Line::new("rr", 3, &[1, 2], cap(1));
    let held = Held::default();
    let same = CallOptions { max_retry: Some(3), retry_target: Some(RetryTarget::Same), ..CallOptions::new() };
    let mut call = Polled::waits(&line, same, &held);
    let mut other = Polled::waits(&line, plain(), &held);
    held.answer(0, false);
    // With a backoff there is time before the retry, in which another call can take the room.
    let backoff = CallOptions {
        max_retry: Some(3),
        retry_target: Some(RetryTarget::Same),
        backoff: Some(Backoff::fixed(hedge_core::time::Duration::from_millis(10))),
        ..CallOptions::new()
    };
    assert!(call.poll().is_none(), "it has room again, and is retried");
    assert_eq!(held.servers().len(), 3);
    held.answer(2, true);
    assert!(call.end().0.is_ok());
    let mut late = Polled::waits(&line, backoff, &held);
    let server = held.servers()[3];
    held.answer(3, false);
    assert!(late.poll().is_none());
    let mut taker = Polled::waits(&line, plain(), &held);
    assert_eq!(held.servers()[4], server);
    line.clock.set(20);
    let (result, report) = late.end();
    assert_eq!((result, report.attempts().len()), (Err(End::Failed), 1), "the same server is full: nothing follows");
    held.answer(1, true);
    held.answer(4, true);
    assert!(other.end().0.is_ok() && taker.end().0.is_ok());
    assert_settled(&line);
}

#[test]
fn l22_a_backup_that_finds_only_full_servers_waits_for_an_attempt_of_its_call() {
    let line = Line::new("rr", 3, &[1, 2], cap(1));
    let held = Held::default();
    let mut call = Polled::waits(&line, CallOptions { max_retry: Some(2), ..backup(10) }, &held);
    let mut other = Polled::waits(&line, plain(), &held);
    line.clock.set(10);
    assert!(call.poll().is_none());
    assert_eq!(held.servers().len(), 2, "no backup: both are full");
    held.answer(1, true);
    assert!(other.end().0.is_ok());
    line.clock.set(20);
    assert!(call.poll().is_none());
    assert_eq!(held.servers().len(), 2, "nothing of this call has ended (L11)");
    held.answer(0, true);
    let (result, report) = call.end();
    assert!(result.is_ok());
    assert_eq!(report.not_hedged(), Some(NotHedged::NoOtherServer));
    assert_settled(&line);
}

#[test]
fn l22_a_streaming_body_keeps_its_place() {
    let line = Line::new("rr", 3, &[1], queue(1, 1));
    let held = Held::default();
    let node = line.node(1);
    assert!(node.start());
    let lease = Lease::new(Arc::clone(&node));
    let mut call = Polled::waits(&line, plain(), &held);
    let lease = lease.any();
    assert_eq!((held.servers().len(), call.wakes(), node.in_flight()), (0, 0, 1), "held without its types too");
    drop(lease);
    assert_eq!(call.wakes(), 1);
    assert!(call.poll().is_none());
    held.answer(0, true);
    assert_eq!(call.end().0, Ok(1));
    assert_settled(&line);
}

#[test]
fn l22_calls_wait_in_order_and_one_place_wakes_one() {
    let line = Line::new("p2c", 3, &[1, 2], queue(1, 3));
    let held = Held::default();
    let mut working: Vec<_> = (0..2).map(|_| Polled::waits(&line, plain(), &held)).collect();
    let mut waiting: Vec<_> = (0..3).map(|_| Polled::waits(&line, plain(), &held)).collect();
    assert_eq!((line.servers.queued_calls(), held.servers().len()), (3, 2));
    assert_eq!(Polled::new(&line, plain(), &held).end().0, Err(End::AllFull), "the queue is full");
    held.answer(0, true);
    let first = working[0].end().0;
    assert_eq!(waiting.iter().map(Polled::wakes).collect::<Vec<_>>(), [1, 0, 0]);
    // The queue is full, and this call may not take the room for which another call was woken.
    assert_eq!(Polled::new(&line, plain(), &held).end().0, Err(End::AllFull));
    assert!(waiting[1].poll().is_none() && waiting[2].poll().is_none(), "it is not their turn");
    assert_eq!(held.servers().len(), 2);
    assert!(waiting[0].poll().is_none());
    assert_eq!((held.servers().len(), Ok(held.servers()[2])), (3, first));
    assert_eq!(waiting.iter().map(Polled::wakes).collect::<Vec<_>>(), [1, 0, 0], "there is no further room");
    // A call that comes now waits behind the others.
    let mut last = Polled::waits(&line, plain(), &held);
    held.answer(1, true);
    held.answer(2, true);
    assert!(working[1].end().0.is_ok() && waiting[0].end().0.is_ok());
    assert_eq!((waiting[1].wakes(), waiting[2].wakes(), last.wakes()), (1, 1, 0));
    assert!(waiting[1].poll().is_none() && waiting[2].poll().is_none());
    held.answer(3, true);
    held.answer(4, true);
    assert!(waiting[1].end().0.is_ok() && waiting[2].end().0.is_ok());
    assert!(last.poll().is_none());
    held.answer(5, true);
    assert!(last.end().0.is_ok());
    assert_settled(&line);
}

#[test]
fn l22_a_waiting_call_that_goes_passes_its_place_on() {
    for how in ["dropped", "cancelled", "at its deadline"] {
        let line = Line::new("rr", 3, &[1], queue(1, 2));
        let held = Held::default();
        let mut working = Polled::waits(&line, plain(), &held);
        let token = CancelToken::new();
        let mut options = CallOptions { cancel: Some(token.clone()), ..plain() };
        options.timeout = Some(Timeout::after(hedge_core::time::Duration::from_millis(50)));
        let mut first = Polled::waits(&line, options, &held);
        let mut second = Polled::waits(&line, plain(), &held);
        held.answer(0, true);
        assert!(working.end().0.is_ok());
        assert_eq!((first.wakes(), second.wakes()), (1, 0));
        match how {
            "dropped" => drop(first),
            "cancelled" => {
                token.cancel();
                assert_eq!(first.end().0, Err(End::Cancelled));
            }
            _ => {
                line.clock.set(50);
                let (result, report) = first.end();
                assert_eq!((result, report.elapsed().as_millis()), (Err(End::Deadline), 50));
                assert_eq!(report.attempts().len(), 0);
            }
        }
        assert_eq!(second.wakes(), 1, "{how}");
        assert!(second.poll().is_none());
        held.answer(1, true);
        assert!(second.end().0.is_ok(), "{how}");
        assert_settled(&line);
    }
}

#[test]
fn l22_a_call_that_goes_before_its_turn_wakes_nobody() {
    let line = Line::new("rr", 3, &[1], queue(1, 2));
    let held = Held::default();
    let mut working = Polled::waits(&line, plain(), &held);
    let first = Polled::waits(&line, plain(), &held);
    let mut second = Polled::waits(&line, plain(), &held);
    drop(first);
    assert_eq!((second.wakes(), line.servers.queued_calls()), (0, 1));
    held.answer(0, true);
    assert!(working.end().0.is_ok());
    assert_eq!(second.wakes(), 1);
    assert!(second.poll().is_none());
    held.answer(1, true);
    assert!(second.end().0.is_ok());
    assert_settled(&line);
}

#[test]
fn l22_a_call_waits_at_most_as_long_as_it_may() {
    let limits =
        ServerLimits { max_queue_wait: Timeout::after(hedge_core::time::Duration::from_millis(30)), ..queue(1, 8) };
    let line = Line::new("rr", 3, &[1], limits);
    let held = Held::default();
    let mut working = Polled::waits(&line, plain(), &held);
    let mut call = Polled::waits(&line, plain(), &held);
    line.clock.set(29);
    assert!(call.poll().is_none());
    line.clock.set(30);
    let (result, report) = call.end();
    assert_eq!((result, report.elapsed().as_millis()), (Err(End::AllFull), 30));
    held.answer(0, true);
    assert!(working.end().0.is_ok());
    assert_settled(&line);
}

#[test]
fn l22_the_backup_counts_from_the_first_start_and_the_timeout_from_the_calls() {
    let line = Line::new("rr", 3, &[1, 2], queue(1, 8));
    let held = Held::default();
    let mut working: Vec<_> = (0..2).map(|_| Polled::waits(&line, plain(), &held)).collect();
    let mut call = Polled::waits(&line, backup(20).with_timeout(Duration::from_millis(100)), &held);
    line.clock.set(50);
    held.answer(0, true);
    held.answer(1, true);
    assert!(working.iter_mut().all(|call| call.end().0.is_ok()));
    assert!(call.poll().is_none());
    assert_eq!((held.servers().len(), held.started(2)), (3, Instant::from_millis(50)));
    line.clock.set(69);
    assert!(call.poll().is_none());
    assert_eq!(held.servers().len(), 3, "the wait is over, and the delay is not");
    line.clock.set(70);
    assert!(call.poll().is_none());
    assert_eq!(held.servers().len(), 4);
    line.clock.set(100);
    let (result, report) = call.end();
    assert_eq!((result, report.elapsed().as_millis()), (Err(End::Deadline), 100));
    assert_settled(&line);
}

#[test]
fn l22_a_server_that_comes_or_returns_is_room() {
    let line = Line::new("rr", 3, &[1], queue(1, 8));
    let held = Held::default();
    let mut calls: Vec<_> = (0..4).map(|_| Polled::waits(&line, plain(), &held)).collect();
    line.set(&[1, 2, 3]);
    assert_eq!(calls[1].wakes(), 1);
    assert!(calls[1].poll().is_none());
    assert_eq!(calls[2].wakes(), 1, "there is room for another one");
    assert!(calls[2].poll().is_none());
    assert_eq!((held.servers().len(), calls[3].wakes()), (3, 0));
    line.set_broken(1, true);
    held.answer(0, true);
    assert!(calls[0].end().0.is_ok());
    assert!(calls[3].poll().is_none(), "the one with room is down");
    line.set_broken(1, false);
    assert!(calls[3].poll().is_none());
    assert_eq!(held.servers()[3], 1);
    for (attempt, call) in calls.iter_mut().enumerate().skip(1) {
        held.answer(attempt, true);
        assert!(call.end().0.is_ok());
    }
    assert_settled(&line);
}

#[test]
fn l22_a_waiting_call_learns_that_all_servers_are_down_or_gone() {
    let line = Line::with("rr", 1, &[1], |setup| {
        setup.server_limits = queue(1, 8);
    });
    let held = Held::default();
    let mut calls: Vec<_> = (0..3).map(|_| Polled::waits(&line, plain(), &held)).collect();
    line.set_broken(1, true);
    held.answer(0, false);
    assert_eq!(calls[0].end().0, Err(End::Failed));
    assert_eq!(calls[1].end().0, Err(End::AllDown));
    line.set(&[]);
    assert_eq!(calls[2].end().0, Err(End::NoServer));
    assert_settled(&line);
}

/// The end of an isolation causes no event. The next call that joins the queue notices it and wakes the first call.
#[test]
fn l22_a_call_that_joins_tells_the_first_of_room_that_nothing_announced() {
    let line = Line::with("rr", 1, &[1, 2], |setup| {
        setup.server_limits = queue(1, 8);
        setup.breaker = Some(after_one_failure());
    });
    let held = Held::default();
    let mut failing = Polled::waits(&line, plain(), &held);
    held.answer(0, false);
    assert_eq!(failing.end().0, Err(End::Failed));
    let mut working = Polled::waits(&line, plain(), &held);
    let mut waiting = Polled::waits(&line, plain(), &held);
    line.clock.set(150);
    assert!(waiting.poll().is_none());
    assert_eq!(held.servers().len(), 2);
    let mut next = Polled::waits(&line, plain(), &held);
    assert!(waiting.wakes() == 1 && waiting.poll().is_none());
    assert_eq!(held.servers()[2], held.servers()[0], "the probe");
    held.answer(1, true);
    held.answer(2, true);
    assert!(working.end().0.is_ok() && waiting.end().0.is_ok());
    assert!(next.poll().is_none());
    held.answer(3, true);
    assert!(next.end().0.is_ok());
    assert_settled(&line);
}

#[test]
fn l22_h4_a_lifted_isolation_wakes_a_waiting_call() {
    for withdrawn in [false, true] {
        let line = Line::with("rr", 1, &[1, 2], |setup| {
            setup.server_limits = queue(1, 8);
            setup.breaker = Some(after_one_failure());
        });
        let held = Held::default();
        let mut failing = Polled::waits(&line, plain(), &held);
        held.answer(0, false);
        assert_eq!(failing.end().0, Err(End::Failed));
        let mut working = Polled::waits(&line, plain(), &held);
        let mut waiting = Polled::waits(&line, plain(), &held);
        // The server that is left may not be isolated.
        match held.servers()[1] {
            full if withdrawn => line.servers.set_usable(&line.node(full), false, line.now()),
            full => line.set_broken(full, true),
        }
        assert!(waiting.wakes() == 1 && waiting.poll().is_none());
        assert_eq!(held.servers()[2], held.servers()[0]);
        held.answer(1, true);
        held.answer(2, true);
        assert!(working.end().0.is_ok() && waiting.end().0.is_ok());
        assert_settled(&line);
    }
}

/// A waker that unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut future, mut cx) = (std::pin::pin!(future), Context::from_waker(&waker));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}

/// Returns a future that is pending at its first `times` polls. Each of these polls yields the thread and wakes the
/// task.
async fn yields(mut times: u32) {
    poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        thread::yield_now();
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Counts how many attempts work at each server now, and the largest number at one server at any time.
#[derive(Default)]
struct Seen {
    at_work: [AtomicU32; 4],
    most: AtomicU32,
}

impl Seen {
    /// Does the work of one attempt. Every fifth attempt fails. An attempt that is dropped stops working.
    async fn work(&self, server: u16, number: u32) -> Result<u16, Failed> {
        struct Working<'a>(&'a AtomicU32);

        impl Drop for Working<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }

        let at_work = &self.at_work[usize::from(server)];
        let count = at_work.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(count, Ordering::SeqCst);
        let _working = Working(at_work);
        yields(number % 4).await;
        if number.is_multiple_of(5) { Err(Failed(ErrorKind::Refused)) } else { Ok(server) }
    }
}

/// Makes calls from 64 threads, with retries and backups. Checks that no server works on more than `most` attempts at
/// the same time. Returns how many calls found all servers full.
fn storm(line: &Arc<Line>, options: &CallOptions, most: u32) -> u32 {
    const CALLERS: u32 = 64;
    const CALLS: u32 = 200;
    let (seen, full) = (Arc::new(Seen::default()), AtomicU32::new(0));
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (line, seen, full) = (line, Arc::clone(&seen), &full);
            scope.spawn(move || {
                for call in 0..CALLS {
                    let (seen, number) = (Arc::clone(&seen), AtomicU32::new(caller * CALLS + call));
                    let serve = move |attempt: crate::testing_calls::Attempt| {
                        let (seen, number) = (Arc::clone(&seen), number.fetch_add(7, Ordering::Relaxed));
                        async move { seen.work(attempt.address, number).await }
                    };
                    let (result, _) = block_on(Arc::clone(line).call(options.clone(), serve));
                    match result {
                        Ok(_) | Err(End::Failed) => {}
                        Err(End::AllFull) => {
                            full.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(end) => panic!("{end}"),
                    }
                }
            });
        }
    });
    let seen_most = seen.most.load(Ordering::SeqCst);
    assert!(seen_most <= most, "{seen_most} at once at a server, and the cap is {most}");
    assert_eq!(seen_most, most, "64 callers fill the servers");
    assert_settled(line);
    full.into_inner()
}

#[test]
fn l22_the_cap_holds_exactly_under_64_callers() {
    let hedged = CallOptions {
        backup: Some(BackupDelay::after(hedge_core::time::Duration::ZERO)),
        max_backups: Some(2),
        ..CallOptions::new()
    };
    let same = CallOptions { retry_target: Some(RetryTarget::Same), max_retry: Some(4), ..CallOptions::new() };
    let mut refused = 0;
    for (balancer, options) in [("rr", &hedged), ("p2c", &hedged), ("wrr", &hedged), ("la", &same), ("wr", &same)] {
        let line = Line::new(balancer, 5, &[0, 1, 2, 3], cap(3));
        refused += storm(&line, options, 3);
    }
    assert!(refused > 0, "some found all servers full");
}

#[test]
fn l22_no_call_of_64_callers_is_lost_in_the_queue() {
    for balancer in ["rr", "p2c", "la"] {
        let hedged = CallOptions {
            backup: Some(BackupDelay::after(hedge_core::time::Duration::ZERO)),
            timeout: Some(Timeout::NEVER),
            ..CallOptions::new()
        };
        let line = Line::new(balancer, 5, &[0, 1, 2, 3], queue(2, 64));
        assert_eq!(storm(&line, &hedged, 2), 0, "{balancer}: there is a place for each of them");
    }
}
