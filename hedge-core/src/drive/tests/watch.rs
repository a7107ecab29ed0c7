//! Tests of what a `Watch` learns about a call.

use super::*;
use crate::outcome::State;
use std::format;
use std::string::String;

/// A watch that records all its notices.
#[derive(Default)]
struct Told(RefCell<Vec<String>>);

impl Watch<4> for Told {
    fn attempt_started(&self, report: &Report<4>, attempt: AttemptId) {
        let kind = report.attempts()[attempt.index()].kind();
        self.0.borrow_mut().push(format!("{attempt} {kind}"));
    }

    fn attempt_ended(&self, report: &Report<4>, attempt: AttemptId) {
        let attempt = &report.attempts()[attempt.index()];
        self.0.borrow_mut().push(format!("{:?} {}", attempt.state(), attempt.code()));
    }

    fn call_ended(&self, report: &Report<4>) {
        assert!(report.attempts().iter().all(|attempt| attempt.state() != State::InFlight));
        self.0.borrow_mut().push(format!("{}", report.end().unwrap()));
    }
}

/// Polls a call for `ms` milliseconds, then drops it. Returns what its watch recorded.
fn told(options: ChannelOptions, ms: u64, script: &[(u64, Outcome)]) -> Vec<String> {
    let (clock, channel, told) = (Clock::default(), line(3, options), Told::default());
    {
        let own = CallOptions::new();
        let (timer, mut script) = (&clock, script.iter());
        let mut call = channel.call(&own, clock.time()).unwrap();
        let driver = Driver::new(&timer, &DefaultRetryPolicy).watched_by(&told);
        let start = |_| {
            let (answers_at, outcome) =
                script.next().map_or((u64::MAX, Ok("never")), |(at, outcome)| (*at, copy(outcome)));
            Attempt { clock: &clock, answers_at, outcome: Some(outcome), dropped: Rc::default() }
        };
        let slots = [pin!(None), pin!(None)];
        let mut future = pin!(drive(&mut call, slots, driver, start));
        for _ in 0..ms {
            if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
            clock.now.set(clock.now.get() + 1);
        }
    }
    told.0.into_inner()
}

fn hedged() -> ChannelOptions {
    ChannelOptions { backup: BackupDelay::after(Duration::from_millis(10)), ..ChannelOptions::brpc() }
}

#[test]
fn l7_a_watch_is_told_of_each_attempt_and_then_of_the_end() {
    assert_eq!(
        told(hedged(), 100, &[(50, Ok("late")), (13, Ok("first"))]),
        ["0 first", "1 backup", "Finished(Accept) not said", "Abandoned not said", "accepted"]
    );
}

#[test]
fn l8_a_watch_is_told_of_a_failure_before_its_retry() {
    assert_eq!(
        told(ChannelOptions::brpc(), 100, &[(2, Err(Failed(ErrorKind::Refused))), (4, Ok("yes"))]),
        ["0 first", "Finished(Retry) connection refused", "1 retry", "Finished(Accept) not said", "accepted"]
    );
}

#[test]
fn l12_a_watch_is_told_of_a_dropped_call_once_it_was_polled() {
    assert_eq!(told(hedged(), 15, &[]), ["0 first", "1 backup", "cancelled"]);
    assert_eq!(told(hedged(), 0, &[]), [""; 0]);
}
