//! How calls end: rules L1, L2, L7, L8, L10, L14, L16 and L20, and the notice at the end (B2).

use super::*;
use crate::balance::RrTicket;
use crate::outcome::Finished;

#[test]
fn l1_ends_once_abandons_what_is_in_flight_and_then_stays_done() {
    let channel = line(3, hedged(20));
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    let backup = call.expect_start(20);
    call.handle(at(30), Input::Cancel);
    assert_eq!(call.poll(at(30)), Action::Abandon { attempt: first.attempt });
    assert_eq!(call.poll(at(30)), Action::Abandon { attempt: backup.attempt });
    assert_eq!(call.poll(at(30)), Action::Done(End::Cancelled));
    let report = call.report().clone();
    call.verdict(31, first.attempt, Verdict::Accept);
    call.handle(at(32), Input::Cancel);
    assert_eq!(call.poll(at(900)), Action::Done(End::Cancelled), "later inputs and polls change nothing");
    assert_eq!(*call.report(), report);
}

#[test]
fn l1_results_of_unknown_or_finished_attempts_change_nothing() {
    let channel = line(3, ChannelOptions::brpc());
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    call.verdict(0, AttemptId::FIRST, Verdict::Accept);
    let first = call.expect_start(0);
    call.verdict(1, AttemptId::new(3), Verdict::Accept);
    call.verdict(1, first.attempt, Verdict::Retry);
    call.verdict(1, first.attempt, Verdict::Fatal);
    assert_eq!(call.expect_start(1).kind, Kind::Retry);
}

#[test]
fn l2_the_deadline_is_absolute_and_nothing_starts_at_it() {
    let channel = line(3, ChannelOptions { timeout: ms(100).into(), ..ChannelOptions::brpc() });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(call.expect_wait(0), Some(100));
    call.verdict(60, first.attempt, Verdict::Retry);
    let second = call.expect_start(60);
    assert_eq!(second.remaining, Some(ms(40).into()), "deadline minus now, not a stale copy");
    assert_eq!(call.expect_wait(60), Some(100), "a retry does not move it");
    assert_eq!(call.expect_done(100), End::Deadline);
    assert_eq!(call.report().elapsed(), ms(100));

    let mut late = channel.call(&options, at(0)).unwrap();
    assert_eq!(late.expect_done(100), End::Deadline);
    assert!(late.report().attempts().is_empty());
}

#[test]
fn l2_connect_deadline_is_the_earlier_of_its_own_and_the_calls() {
    let channel = line(3, ChannelOptions { connect_timeout: ms(30).into(), ..ChannelOptions::brpc() });
    let options = CallOptions { timeout: Some(ms(50).into()), ..CallOptions::new() };
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(first.connect_deadline, Some(at(30)));
    call.verdict(40, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_start(40).connect_deadline, Some(at(50)));

    let endless =
        CallOptions { timeout: Some(Timeout::NEVER), connect_timeout: Some(Timeout::NEVER), ..CallOptions::new() };
    let mut call = channel.call(&endless, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!((first.remaining, first.connect_deadline), (None, None));
    assert_eq!(call.expect_wait(0), None, "no timeout means no deadline");
}

#[test]
fn l7_the_first_acceptable_result_wins_whoever_brings_it() {
    for winner in 0..2 {
        let channel = line(3, hedged(20));
        let options = CallOptions::new();
        let mut call = channel.call(&options, at(0)).unwrap();
        let started = [call.expect_start(0), call.expect_start(20)];
        call.verdict(40, started[winner].attempt, Verdict::Accept);
        assert_eq!(call.poll(at(40)), Action::Abandon { attempt: started[1 - winner].attempt }, "never the winner");
        assert_eq!(call.poll(at(40)), Action::Done(End::Accepted));
        assert_eq!(call.report().winner(), Some(started[winner].attempt));
        assert_eq!(call.report().attempts()[winner].ended(), Some(ms(40)));
        assert_eq!(call.report().attempts()[1 - winner].state(), State::Abandoned);
    }
}

#[test]
fn l8_fatal_ends_at_once_and_wait_lets_the_others_win() {
    let channel = line(3, hedged(20));
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(20));
    call.verdict(30, backup.attempt, Verdict::Wait);
    assert_eq!(call.expect_wait(30), Some(500), "what is in flight may still win");
    call.verdict(40, first.attempt, Verdict::Accept);
    assert_eq!(call.expect_done(40), End::Accepted);

    let mut call = channel.call(&options, at(0)).unwrap();
    let (first, _) = (call.expect_start(0), call.expect_start(20));
    call.judged(30, first.attempt, Judgement::new(Verdict::Fatal, Code(401)));
    assert_eq!(call.expect_done(30), End::Fatal);
    assert_eq!(call.report().decisive(), Some(first.attempt));
    assert_eq!(call.report().attempts()[0].code(), Code(401));
}

#[test]
fn l10_ends_as_soon_as_nothing_can_win_and_keeps_every_code() {
    let channel = line(3, ChannelOptions { max_retry: 1, ..ChannelOptions::brpc() });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.judged(5, first.attempt, Judgement::new(Verdict::Retry, Code(1001)));
    let second = call.expect_start(5);
    call.judged(9, second.attempt, Judgement::new(Verdict::Retry, Code(1002)));
    assert_eq!(call.expect_done(9), End::Failed);
    assert_eq!(call.report().decisive(), Some(second.attempt), "the last failure is the call's");
    let codes = [0, 1].map(|index: usize| call.report().attempts()[index].code());
    assert_eq!(codes, [Code(1001), Code(1002)]);
}

#[test]
fn l10_a_wait_verdict_does_not_wait_for_an_armed_backup_timer() {
    for on_early_failure in [OnEarlyFailure::StartNext, OnEarlyFailure::Wait] {
        let channel = line(3, ChannelOptions { on_early_failure, ..hedged(20) });
        let options = CallOptions::new();
        let mut call = channel.call(&options, at(0)).unwrap();
        let first = call.expect_start(0);
        call.verdict(5, first.attempt, Verdict::Wait);
        assert_eq!(call.expect_done(5), End::Failed);
    }
}

#[test]
fn l14_a_success_handed_in_late_wins_and_a_failure_is_the_deadline() {
    let channel = line(3, ChannelOptions { timeout: ms(100).into(), ..ChannelOptions::brpc() });
    let options = CallOptions::new();
    for (verdict, end) in [
        (Verdict::Accept, End::Accepted),
        (Verdict::Retry, End::Deadline),
        (Verdict::Wait, End::Deadline),
        (Verdict::Fatal, End::Deadline),
    ] {
        let mut call = channel.call(&options, at(0)).unwrap();
        let first = call.expect_start(0);
        call.verdict(130, first.attempt, verdict);
        assert_eq!(call.expect_done(130), end, "{verdict:?}");
        assert_eq!(call.report().attempts()[0].state(), State::Finished(verdict));
    }
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(call.expect_done(100), End::Deadline);
    call.verdict(100, first.attempt, Verdict::Accept);
    assert_eq!(call.expect_done(100), End::Deadline, "a poll saw it");
}

#[test]
fn l14_in_one_instant_inputs_then_deadline_then_pending_then_backup() {
    let options = CallOptions::new();
    // The backoff ends at 50, when the backup timer fires too. The deadline is at 100.
    let channel = line(
        3,
        ChannelOptions { timeout: ms(100).into(), backoff: crate::policy::Backoff::fixed(ms(40)), ..hedged(50) },
    );
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(10, first.attempt, Verdict::Retry);
    // The retry and the backup timer are both due at 50: the retry starts first, then the backup.
    assert_eq!(call.expect_start(50).kind, Kind::Retry);
    assert_eq!(call.expect_start(50).kind, Kind::Backup);
    assert_eq!(call.expect_done(100), End::Deadline);
    // Inputs count in the order in which they are handed in: the failure ends the call, and the cancel comes too late.
    let channel = line(3, ChannelOptions { max_retry: 0, ..ChannelOptions::brpc() });
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(10, first.attempt, Verdict::Retry);
    call.handle(at(10), Input::Cancel);
    assert_eq!(call.expect_done(10), End::Failed);
}

#[test]
fn l14_time_never_goes_back() {
    let channel = line(3, ChannelOptions { timeout: ms(100).into(), ..ChannelOptions::brpc() });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(50)).unwrap();
    let first = call.expect_start(60);
    call.verdict(20, first.attempt, Verdict::Accept);
    assert_eq!(call.report().elapsed(), ms(10), "an earlier instant counts as the latest seen");
}

#[test]
fn l16_each_ending_says_where_and_after_how_long() {
    let options = CallOptions::new();
    let channel = line(0, ChannelOptions::brpc());
    let mut call = channel.call(&options, at(0)).unwrap();
    assert_eq!(call.expect_done(0), End::NoServer);
    assert_eq!(call.report().decisive(), None);

    let channel = line(2, ChannelOptions::brpc());
    let ids: [ServerId; 2] = [0, 1].map(|address| channel.cluster().find(address, 0).unwrap());
    assert_eq!(ids.map(|id| channel.set_usable(id, false, Instant::ZERO)), [true; 2]);
    let mut call = channel.call(&options, at(0)).unwrap();
    assert_eq!(call.expect_done(0), End::AllDown, "another error than an empty list");

    // A call that has started an attempt ends with its last failure instead of `AllDown`.
    assert_eq!(ids.map(|id| channel.set_usable(id, true, Instant::ZERO)), [true; 2]);
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(ids.map(|id| channel.set_usable(id, false, Instant::ZERO)), [true; 2]);
    call.verdict(7, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_done(7), End::Failed);
    assert_eq!((call.report().decisive(), call.report().elapsed()), (Some(first.attempt), ms(7)));
    assert_eq!(call.report().attempts()[0].server(), first.server);
}

#[test]
fn l20_dropping_a_call_settles_everything_once() {
    let channel = line_with(2, hedged(20), Counting::default());
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let servers = [call.expect_start(0).server, call.expect_start(20).server];
    assert_eq!(servers.map(|server| channel.cluster().in_flight(server)), [1, 1]);
    drop(call);
    assert_eq!(servers.map(|server| channel.cluster().in_flight(server)), [0, 0]);
    assert_eq!(Counting::count(&channel.policy().ended), 1);
}

#[test]
fn b2_the_end_is_told_once_of_every_call_that_was_ever_polled() {
    let channel = line_with(2, ChannelOptions::brpc(), Counting::default());
    let options = CallOptions::new();
    let told = || Counting::count(&channel.policy().ended);
    drop(channel.call(&options, at(0)).unwrap());
    assert_eq!(told(), 0, "never polled");
    let mut call = channel.call(&options, at(0)).unwrap();
    call.handle(at(0), Input::Cancel);
    assert_eq!(told(), 0, "not polled yet");
    assert_eq!(call.expect_done(0), End::Cancelled);
    assert_eq!(call.expect_done(1), End::Cancelled);
    drop(call);
    assert_eq!(told(), 1);
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(1, first.attempt, Verdict::Retry);
    let second = call.expect_start(1);
    call.verdict(2, second.attempt, Verdict::Accept);
    assert_eq!(told(), 2, "once a call, not once an attempt");
}

#[test]
fn t2_a_streaming_winner_is_told_at_its_head_and_in_flight_until_its_body_ends() {
    let host = Ears::new(line(2, ChannelOptions::brpc()));
    let options = CallOptions { streaming: true, ..CallOptions::new() };
    let mut call = Call::<_, 4>::new(&host, &options, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(call.winner_at_work(), None);
    call.verdict(5, first.attempt, Verdict::Accept);
    assert_eq!(host.feedback(), [Feedback::Success { latency: ms(5).into() }]);
    assert_eq!(call.expect_done(5), End::Accepted);
    let winner = call.winner_at_work().unwrap();
    assert_eq!(winner, first.server);
    drop(call);
    assert_eq!(host.channel.cluster().in_flight(winner), 1);
    host.released(winner);
    assert_eq!((host.channel.cluster().in_flight(winner), host.feedback().len()), (0, 1));
}

#[test]
fn l13_abandoned_attempts_are_told_with_their_age_and_as_nothing_else() {
    let host = Ears::new(line(2, hedged(20)));
    let options = CallOptions::new();
    let mut call = Call::<_, 4>::new(&host, &options, at(0)).unwrap();
    call.expect_start(0);
    let backup = call.expect_start(20);
    call.verdict(25, backup.attempt, Verdict::Accept);
    drop(call);
    assert_eq!(
        host.feedback(),
        [Feedback::Success { latency: ms(5).into() }, Feedback::Abandoned { age: ms(25).into() }]
    );
}

#[test]
fn s7_failures_and_fatal_answers_are_told_apart() {
    let host = Ears::new(line(2, ChannelOptions::brpc()));
    let options = CallOptions::new();
    let mut call = Call::<_, 4>::new(&host, &options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(5, first.attempt, Verdict::Retry);
    let second = call.expect_start(5);
    call.verdict(7, second.attempt, Verdict::Fatal);
    assert_eq!(
        host.feedback(),
        [Feedback::Failure { latency: ms(5).into() }, Feedback::Success { latency: ms(2).into() }]
    );
}

#[cfg(feature = "serde")]
#[test]
fn a_report_is_written_out_whole() {
    let channel = line(3, hedged(20));
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    call.expect_start(0);
    let backup = call.expect_start(20);
    call.verdict(25, backup.attempt, Verdict::Accept);
    let report = serde_json::to_value(call.report()).unwrap();
    let get = |path: &str| report.pointer(path).unwrap().clone();
    assert_eq!((get("/end"), get("/winner")), ("accepted".into(), 1.into()));
    assert_eq!((get("/elapsed_us"), get("/not_hedged")), (25_000.into(), serde_json::Value::Null));
    assert_eq!((get("/attempts/1/kind"), get("/attempts/0/state")), ("backup".into(), "abandoned".into()));
    assert_eq!(serde_json::from_value::<ServerId>(get("/attempts/1/server")).unwrap(), backup.server);
}

#[test]
fn everything_that_is_shown_says_what_it_is() {
    extern crate std;
    use std::{format, string::ToString};
    let ends = [
        (End::Accepted, "accepted"),
        (End::Failed, "failed"),
        (End::Fatal, "refused for good"),
        (End::Deadline, "deadline passed"),
        (End::Cancelled, "cancelled"),
        (End::NoServer, "no server"),
        (End::AllDown, "all servers down"),
        (End::AllFull, "all servers full"),
    ];
    for (end, expected) in ends {
        assert_eq!(end.to_string(), expected);
    }
    let reasons = [
        (NotHedged::Disabled, "disabled"),
        (NotHedged::NotHedgeable, "not hedgeable"),
        (NotHedged::NotIdempotent, "not idempotent"),
        (NotHedged::DelayPastDeadline, "delay past deadline"),
        (NotHedged::NoAttemptLeft, "no attempt left"),
        (NotHedged::NoOtherServer, "no other server"),
        (NotHedged::Denied(Denial::Policy), "denied: policy"),
        (NotHedged::Denied(Denial::Ratio), "denied: ratio"),
        (NotHedged::Denied(Denial::Tokens), "denied: tokens"),
        (NotHedged::Denied(Denial::Budget), "denied: budget"),
        (NotHedged::FinishedFirst, "finished first"),
    ];
    for (reason, text) in reasons {
        assert_eq!(reason.to_string(), text);
    }
    assert_eq!(AttemptId::new(2).to_string(), "2");
    let server = ServerId::new(3, 1);
    assert_eq!((server.to_string(), format!("{server:?}")), ("3.1".into(), "ServerId(3.1)".into()));
    let channel = line(1, ChannelOptions::brpc());
    let options = CallOptions::new();
    let call = channel.call(&options, at(0)).unwrap();
    assert!(format!("{call:?}").starts_with("Call { report: Report {"));
    assert!(format!("{options:?}").starts_with("CallOptions { timeout: None, connect_timeout: None"));
}

/// A host that records the instants at which attempts were sent, and the feedback for them.
pub(super) struct Ears {
    pub(super) channel: Line<NoPolicy>,
    sent: core::cell::RefCell<heapless::Vec<Instant, 8>>,
    heard: core::cell::RefCell<heapless::Vec<(Feedback, Code), 8>>,
}

impl Ears {
    pub(super) fn new(channel: Line<NoPolicy>) -> Self {
        Self { channel, sent: core::cell::RefCell::default(), heard: core::cell::RefCell::default() }
    }

    pub(super) fn committed(&self) -> heapless::Vec<Instant, 8> {
        self.sent.borrow().clone()
    }

    pub(super) fn told(&self) -> heapless::Vec<(Feedback, Code), 8> {
        self.heard.borrow().clone()
    }

    fn feedback(&self) -> heapless::Vec<Feedback, 8> {
        self.told().into_iter().map(|(feedback, _)| feedback).collect()
    }
}

impl Host for Ears {
    type Ticket = RrTicket;

    fn options(&self) -> &ChannelOptions {
        self.channel.options()
    }

    fn seeds(&self) -> &crate::random::Seeds {
        self.channel.seeds()
    }

    fn addresses(&self) -> usize {
        self.channel.addresses()
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<RrTicket>, NoServer> {
        self.channel.look(selection, random)
    }

    fn commit(&self, pick: &Pick<RrTicket>, now: Instant, insist: bool) -> bool {
        self.sent.borrow_mut().push(now).unwrap();
        self.channel.commit(pick, now, insist)
    }

    fn finished(&self, attempt: &Finished) {
        self.heard.borrow_mut().push((attempt.feedback, attempt.code)).unwrap();
        self.channel.finished(attempt);
    }

    fn answered(&self, attempt: &Finished) {
        self.heard.borrow_mut().push((attempt.feedback, attempt.code)).unwrap();
        self.channel.answered(attempt);
    }

    fn released(&self, server: ServerId) {
        self.channel.released(server);
    }
}
