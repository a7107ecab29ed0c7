//! Rule L21: an attempt that takes too long ends, and another attempt can follow.

use super::*;
use crate::outcome::{Code, State};
use crate::policy::Idempotency;

/// Runs a script like [`run`], with a time limit for each attempt.
fn limited(channel: &Line, clock: &Clock, limit: u64, script: &[(u64, Outcome)]) -> Done<&'static str> {
    let dropped = Rc::default();
    let options = CallOptions::new();
    let mut script = script.iter();
    let timer = clock;
    let call = channel.call(&options, clock.time()).unwrap();
    let driver = Driver::new(&timer, &DefaultRetryPolicy).attempt_timeout(Duration::from_millis(limit).into());
    let start = |_| {
        let (answers_at, outcome) = script.next().map_or(NEVER, |(at, outcome)| (*at, copy(outcome)));
        Attempt { clock, answers_at, outcome: Some(outcome), dropped: Rc::clone(&dropped) }
    };
    let mut future = pin!(async { driven(call, [pin!(None), pin!(None)], driver, start).await });
    for _ in 0..10_000 {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(completed) => return completed,
            Poll::Pending => clock.now.set(clock.now.get() + 1),
        }
    }
    panic!("the call never ended");
}

fn codes(report: &Report<4>) -> Vec<(u16, Code)> {
    report.attempts().iter().map(|attempt| (attempt.server().slot(), attempt.code())).collect()
}

const NEVER: (u64, Outcome) = (u64::MAX, Ok("never"));
const LATE: Code = Code(ErrorKind::AttemptTimeout as u16);

#[test]
fn l21_an_attempt_that_takes_too_long_is_retried_elsewhere() {
    let (clock, channel) = (Clock::default(), line(3, ChannelOptions::brpc()));
    let done = limited(&channel, &clock, 30, &[NEVER, (35, Ok("second"))]);
    assert_eq!(done.result.unwrap(), "second");
    assert_eq!(codes(&done.report), [(0, LATE), (1, Code::NONE)]);
    assert_eq!(done.report.attempts()[0].ended(), Some(Duration::from_millis(30)));
    assert_eq!(done.report.elapsed(), Duration::from_millis(35));
    assert_eq!(in_flight(&channel), [0, 0, 0]);
    let (_, sleeps, resets) = clock.counts();
    assert_eq!((sleeps, resets), (1, 1), "one timer, set to the first attempt's end and then to the second's");
}

#[test]
fn l21_a_result_that_is_there_wins_over_the_limit() {
    let (clock, channel) = (Clock::default(), line(3, ChannelOptions::brpc()));
    let done = limited(&channel, &clock, 30, &[(30, Ok("just in time"))]);
    assert_eq!(done.result.unwrap(), "just in time");
    assert_eq!(done.report.attempts().len(), 1);
}

#[test]
fn l21_the_deadline_and_the_attempts_that_are_left_still_bound_the_call() {
    // Within 500 ms only three attempts of 200 ms can start.
    let (clock, channel) = (Clock::default(), line(5, ChannelOptions::brpc()));
    let done = limited(&channel, &clock, 200, &[]);
    assert_eq!(done.report.end(), Some(End::Deadline));
    assert_eq!((done.report.elapsed(), done.report.attempts().len()), (Duration::from_millis(500), 3));

    // The call makes four attempts of 10 ms. Then no attempt is left.
    let (clock, channel) = (Clock::default(), line(5, ChannelOptions::brpc()));
    let done = limited(&channel, &clock, 10, &[]);
    assert!(matches!(done.result, Err(CallFailure::Ended { end: End::Failed, last: None })), "{:?}", done.report);
    assert_eq!((done.report.elapsed(), done.report.attempts().len()), (Duration::from_millis(40), 4));
    assert!(done.report.attempts().iter().all(|attempt| matches!(attempt.state(), State::Finished(Verdict::Retry))));
}

#[test]
fn l21_each_attempt_has_its_own_time_and_backups_go_on() {
    let (clock, channel) = (Clock::default(), line(3, hedged(20)));
    // The first attempt ends at 50. The backup was sent at 20, so it has 20 ms left.
    let done = limited(&channel, &clock, 50, &[NEVER, (60, Ok("backup")), NEVER]);
    assert_eq!(done.result.unwrap(), "backup");
    assert_eq!(codes(&done.report)[0], (0, LATE));
    assert_eq!(done.report.attempts()[1].kind(), Kind::Backup);
    assert_eq!(done.report.elapsed(), Duration::from_millis(60));
    assert_eq!(in_flight(&channel), [0, 0, 0]);
}

#[test]
fn l15_what_may_not_be_sent_twice_ends_with_its_attempt() {
    let options = ChannelOptions { idempotency: Idempotency::NotIdempotent, ..ChannelOptions::brpc() };
    let (clock, channel) = (Clock::default(), line(3, options));
    let done = limited(&channel, &clock, 30, &[NEVER]);
    assert!(matches!(done.result, Err(CallFailure::Ended { end: End::Failed, last: None })));
    assert_eq!((done.report.elapsed(), done.report.attempts().len()), (Duration::from_millis(30), 1));
}

#[test]
fn l21_a_failure_before_is_not_taken_for_the_last() {
    let (clock, channel) = (Clock::default(), line(5, ChannelOptions { max_retry: 1, ..ChannelOptions::brpc() }));
    let done = limited(&channel, &clock, 30, &[(1, Err(Failed(ErrorKind::Reset))), NEVER]);
    assert!(matches!(done.result, Err(CallFailure::Ended { end: End::Failed, last: None })));
    assert_eq!(codes(&done.report), [(0, ErrorKind::Reset.into()), (1, LATE)]);
}
