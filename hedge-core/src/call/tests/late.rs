//! Long calls, late polls, and the feedback at the deadline: rules L13 and L14.

use super::end::Ears;
use super::*;
use crate::outcome::{Code, Feedback};
use crate::time::Micros;

fn ears(servers: u16, options: ChannelOptions) -> Ears {
    Ears::new(line(servers, options))
}

#[test]
fn l14_a_late_success_wins_in_every_order_in_which_results_are_handed_in() {
    let channel = line(3, hedged(20));
    let options = CallOptions::new();
    for lost in [Verdict::Retry, Verdict::Wait, Verdict::Fatal] {
        for success_first in [false, true] {
            let mut call = channel.call(&options, at(0)).unwrap();
            let (first, backup) = (call.expect_start(0), call.expect_start(20));
            let mut results = [(first.attempt, lost), (backup.attempt, Verdict::Accept)];
            if success_first {
                results.reverse();
            }
            for (attempt, verdict) in results {
                call.verdict(600, attempt, verdict);
            }
            assert_eq!(call.expect_done(600), End::Accepted, "{lost:?}, the success first: {success_first}");
            assert_eq!(call.report().winner(), Some(backup.attempt));
        }
    }
}

#[test]
fn l14_late_failures_alone_are_the_deadline_and_start_nothing() {
    let channel = line(3, hedged(20));
    let options = CallOptions::new();
    for lost in [Verdict::Retry, Verdict::Wait, Verdict::Fatal] {
        let mut call = channel.call(&options, at(0)).unwrap();
        let (first, backup) = (call.expect_start(0), call.expect_start(20));
        call.verdict(500, first.attempt, lost);
        call.verdict(600, backup.attempt, lost);
        assert_eq!(call.expect_done(600), End::Deadline, "{lost:?}");
        assert_eq!(call.report().attempts().len(), 2);
    }
    let mut call = channel.call(&options, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(20));
    call.verdict(499, first.attempt, Verdict::Fatal);
    call.verdict(499, backup.attempt, Verdict::Accept);
    assert_eq!(call.expect_done(499), End::Fatal, "before the deadline it ends the call at once");
}

#[test]
fn l14_a_success_after_a_poll_saw_the_deadline_is_too_late() {
    let channel = line(3, hedged(20));
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(500, first.attempt, Verdict::Wait);
    assert_eq!(call.expect_done(500), End::Deadline);
    call.verdict(500, first.attempt, Verdict::Accept);
    assert_eq!(call.expect_done(500), End::Deadline);
}

#[test]
fn l13_at_the_deadline_an_attempt_with_half_of_both_timeouts_has_failed() {
    let within = |millis: u64| Some(Timeout::after(ms(millis)));
    // Each case has the call's timeout, the time of the poll that sees the deadline, and whether each of two attempts
    // counts as failed. The second attempt starts at 200.
    for (timeout, polled, failed) in [
        (None, 500, [true, true]),
        (within(480), 480, [true, true]),
        (within(300), 300, [true, false]),
        (within(251), 251, [true, false]),
        // The first attempt ran for less than half of the channel's timeout of 500 ms.
        (within(249), 249, [false, false]),
        // The poll was late, so the first attempt ran for half of the channel's timeout of 500 ms.
        (within(249), 250, [true, false]),
        (within(900), 900, [true, true]),
        (within(360), 449, [true, false]),
    ] {
        let host = ears(3, hedged(200));
        let options = CallOptions { timeout, ..CallOptions::new() };
        let mut call = Call::<_, 4>::new(&host, &options, at(0)).unwrap();
        call.expect_start(0);
        call.expect_start(200);
        assert_eq!(call.poll(at(polled)), Action::Abandon { attempt: AttemptId::FIRST }, "as at any end");
        let expected = [(polled, failed[0]), (polled - 200, failed[1])].map(|(age, failed)| match failed {
            true => (Feedback::Failure { latency: ms(age).into() }, Code::from(ErrorKind::Deadline)),
            false => (Feedback::Abandoned { age: ms(age).into() }, Code::NONE),
        });
        assert_eq!(host.told(), expected, "{timeout:?}");
        assert!(call.report().attempts().iter().all(|attempt| attempt.state() == State::Abandoned));
    }
}

#[test]
fn l13_only_the_deadline_makes_failures_of_what_is_abandoned() {
    for (cancelled, timeout) in [(true, None), (false, Some(Timeout::NEVER))] {
        let host = ears(2, ChannelOptions::brpc());
        let options = CallOptions { timeout, ..CallOptions::new() };
        let mut call = Call::<_, 4>::new(&host, &options, at(0)).unwrap();
        call.expect_start(0);
        if cancelled {
            call.handle(at(499), Input::Cancel);
        } else {
            assert_eq!(call.poll(at(499)), Action::Wait { until: None });
        }
        drop(call);
        assert_eq!(host.told(), [(Feedback::Abandoned { age: ms(499).into() }, Code::NONE)]);
    }
    let never = ChannelOptions { timeout: Timeout::NEVER, ..ChannelOptions::brpc() };
    let host = ears(2, never);
    let options = CallOptions { timeout: Some(Timeout::after(ms(100))), ..CallOptions::new() };
    let mut call = Call::<_, 4>::new(&host, &options, at(0)).unwrap();
    call.expect_start(0);
    let _ = call.poll(at(100));
    assert_eq!(
        host.told(),
        [(Feedback::Abandoned { age: ms(100).into() }, Code::NONE)],
        "half of for ever has not passed"
    );
}

#[test]
fn s7_a_local_failure_is_told_as_one_whatever_its_verdict() {
    for verdict in [Verdict::Retry, Verdict::Wait, Verdict::Fatal] {
        let host = ears(2, ChannelOptions::brpc());
        let options = CallOptions::new();
        let mut call = Call::<_, 4>::new(&host, &options, at(0)).unwrap();
        let first = call.expect_start(0);
        let code = Code::from(ErrorKind::BadRequest);
        call.judged(3, first.attempt, Judgement::new(verdict, code).never_left());
        assert_eq!(host.told(), [(Feedback::Local { age: ms(3).into() }, code)], "{verdict:?}");
        assert_eq!(host.channel.cluster().in_flight(first.server), 0);
    }
}

#[test]
fn l16_times_are_right_in_calls_that_run_for_hours() {
    const MINUTE: u64 = 60_000;
    let never = ChannelOptions { timeout: Timeout::NEVER, ..ChannelOptions::brpc() };
    for (starts, takes) in
        [(72 * MINUTE, MINUTE), (72 * MINUTE + 7, 61), (30 * 24 * 60 * MINUTE / 3, 1), (73 * MINUTE, 34 * MINUTE)]
    {
        let host = ears(2, never.clone());
        let options = CallOptions::new();
        let mut call = Call::<_, 4>::new(&host, &options, at(1_000)).unwrap();
        let first = call.expect_start(1_000);
        let pushback = Pushback::after(ms(starts));
        call.judged(1_000, first.attempt, Judgement::from(Verdict::Retry).with_pushback(pushback));
        let retry = call.expect_start(1_000 + starts);
        assert_eq!(host.committed(), [at(1_000), at(1_000 + starts)]);
        call.verdict(1_000 + starts + takes, retry.attempt, Verdict::Accept);
        assert_eq!(host.told()[1], (Feedback::Success { latency: ms(takes).into() }, Code::NONE));
        let attempt = call.report().attempts()[1];
        assert_eq!((attempt.started(), attempt.ended()), (ms(starts), Some(ms(starts + takes))));
    }
}

#[test]
fn an_attempt_that_takes_days_is_kept_to_a_millisecond_or_so() {
    let day = Duration::from_secs(86_400);
    let mut attempt = Attempt::start(ms(5).into(), ServerId::default(), AddressKey::default(), Kind::Backup);
    assert_eq!(attempt.abandon((ms(5) + day).into()), day.into(), "what is told is exact");
    let kept = attempt.ended().unwrap() - attempt.started();
    assert!(kept <= day && day - kept < Duration::from_micros(1_024));
    assert_eq!((attempt.kind(), attempt.state()), (Kind::Backup, State::Abandoned));
    for (kind, verdict) in [Kind::First, Kind::Retry, Kind::Backup].into_iter().flat_map(|kind| {
        let verdicts = [Verdict::Accept, Verdict::Retry, Verdict::Wait, Verdict::Fatal].map(Some);
        verdicts.into_iter().chain([None]).map(move |verdict| (kind, verdict))
    }) {
        let mut attempt = Attempt::start(Micros::MAX, ServerId::default(), AddressKey::default(), kind);
        assert!(attempt.in_flight() && attempt.started() > Duration::from_secs(12 * 86_400));
        let expected = match verdict {
            Some(verdict) => {
                attempt.finish(Micros::MAX, verdict, Code(7));
                assert!(!attempt.never_left());
                attempt.set_never_left();
                (State::Finished(verdict), Code(7))
            }
            None => {
                attempt.abandon(Micros::MAX);
                (State::Abandoned, Code::NONE)
            }
        };
        assert_eq!((attempt.kind(), (attempt.state(), attempt.code())), (kind, expected));
        assert_eq!((attempt.never_left(), attempt.in_flight()), (verdict.is_some(), false));
        assert!(attempt.ended().unwrap() > Duration::from_secs(36 * 86_400));
    }
}
