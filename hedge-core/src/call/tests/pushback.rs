//! Rule R4 about pushback, and starts that wait for an idle address (L11).

use super::retry::with_backoff;
use super::*;
use crate::policy::{Backoff, FailMode};

fn pushed(verdict: Verdict, pushback: Pushback) -> Judgement {
    Judgement::from(verdict).with_pushback(pushback)
}

#[test]
fn r4_a_pushback_delay_is_exact_whatever_the_backoff_says() {
    let backoff = Backoff::fixed(ms(1));
    for on_early_failure in [OnEarlyFailure::StartNext, OnEarlyFailure::Wait] {
        let channel =
            line(3, ChannelOptions { on_early_failure, backup: BackupDelay::after(ms(20)), ..with_backoff(backoff) });
        let options = CallOptions::new();
        let mut call = channel.call(&options, at(0)).unwrap();
        let first = call.expect_start(0);
        call.judged(5, first.attempt, Judgement::from(Verdict::Retry).with_pushback(Pushback::after(ms(35))));
        assert_eq!(call.expect_wait(5), Some(40));
        let second = call.expect_start(40);
        assert_eq!(second.kind, Kind::Retry);
        assert_eq!(call.expect_wait(40), Some(60), "the backup timer moved to pushback + delay");
        assert_eq!(call.expect_start(60).kind, Kind::Backup);
    }
}

#[test]
fn r4_a_pushback_moves_a_start_that_is_pending_for_another() {
    let channel = line(5, ChannelOptions { backup: BackupDelay::after(ms(1)), ..with_backoff(Backoff::fixed(ms(30))) });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(1));
    call.verdict(10, first.attempt, Verdict::Retry);
    call.judged(20, backup.attempt, Judgement::from(Verdict::Wait).with_pushback(Pushback::after(ms(100))));
    assert_eq!(call.expect_wait(20), Some(120));
}

#[test]
fn r4_do_not_ends_every_further_retry_and_backup() {
    let channel = line(3, hedged(20));
    let options = CallOptions::new();
    let timeout = ms(500);
    for pushback in
        [Pushback::DO_NOT, Pushback::after(timeout), Pushback::after(ms(470)), Pushback::after(Duration::MAX)]
    {
        let mut call = channel.call(&options, at(0)).unwrap();
        let (first, backup) = (call.expect_start(0), call.expect_start(20));
        call.judged(30, backup.attempt, Judgement::from(Verdict::Retry).with_pushback(pushback));
        assert_eq!(call.expect_wait(30), Some(500));
        call.verdict(50, first.attempt, Verdict::Retry);
        assert_eq!(call.expect_done(50), End::Failed, "whichever attempt it came from: {pushback:?}");
    }
    let mut call = channel.call(&options, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(20));
    call.judged(30, backup.attempt, Judgement::from(Verdict::Retry).with_pushback(Pushback::after(ms(469))));
    assert_eq!(call.expect_wait(30), Some(499), "there is time for it, if little");
    call.verdict(40, first.attempt, Verdict::Wait);
    assert_eq!(call.expect_start(499).kind, Kind::Retry);

    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.judged(5, first.attempt, Judgement::from(Verdict::Retry).with_pushback(Pushback::DO_NOT));
    assert_eq!(call.expect_done(5), End::Failed);
    assert_eq!(call.report().not_hedged(), Some(NotHedged::Pushback));
}

#[test]
fn r4_without_a_deadline_only_never_is_do_not() {
    let channel = line(3, hedged(20));
    let options = CallOptions { timeout: Some(Timeout::NEVER), ..CallOptions::new() };
    let year = Duration::from_secs(365 * 86_400);
    for (pushback, may_follow) in [(year, true), (Duration::MAX, false)] {
        let mut call = channel.call(&options, at(0)).unwrap();
        let (first, backup) = (call.expect_start(0), call.expect_start(20));
        call.judged(30, backup.attempt, Judgement::from(Verdict::Retry).with_pushback(Pushback::after(pushback)));
        assert_eq!(call.expect_wait(30), may_follow.then(|| 30 + year.as_secs() * 1_000));
        call.verdict(50, first.attempt, Verdict::Retry);
        if may_follow {
            let due = 30 + year.as_secs() * 1_000;
            assert_eq!(call.expect_wait(50), Some(due), "another failure does not bring it forward");
        } else {
            assert_eq!(call.expect_done(50), End::Failed);
        }
    }
}

#[test]
fn r4_a_servers_own_pushback_holds_no_other_server_back() {
    let options = CallOptions::new();
    for pushback in
        [Pushback::after(ms(1_000)).for_server(), Pushback::after(ms(100)).for_server(), Pushback::DO_NOT.for_server()]
    {
        // A retry goes to another server at once, with or without a backup armed.
        for channel in [line(3, ChannelOptions::brpc()), line(3, hedged(20))] {
            let mut call = channel.call(&options, at(0)).unwrap();
            let first = call.expect_start(0);
            call.judged(5, first.attempt, pushed(Verdict::Retry, pushback));
            assert_ne!(call.expect_start(5).server, first.server, "{pushback:?}");
        }
        // The pushback does not change the verdict: after `Wait`, no retry follows.
        let channel = line(3, hedged(20));
        let mut call = channel.call(&options, at(0)).unwrap();
        let (first, backup) = (call.expect_start(0), call.expect_start(20));
        call.judged(25, backup.attempt, pushed(Verdict::Wait, pushback));
        assert_eq!(call.expect_wait(25), Some(500), "{pushback:?}");
        call.judged(30, first.attempt, pushed(Verdict::Wait, pushback));
        assert_eq!(call.expect_done(30), End::Failed);
    }
}

#[test]
fn r4_a_servers_own_pushback_counts_once_no_untried_address_is_usable() {
    let options = CallOptions::new();
    let wait = Pushback::after(ms(100)).for_server();
    // The pushback counts in four cases. Both of two servers were tried. Of three servers, one is down and two were
    // tried. An option says that pushbacks concern the whole service. Retries go to the same server.
    let down = line(3, ChannelOptions::brpc());
    down.set_usable(down.cluster().find(2, 0).unwrap(), false, at(0));
    let for_service = ChannelOptions { pushback_for_service: true, ..ChannelOptions::brpc() };
    let same = ChannelOptions::brpc().with_fail_mode(FailMode::FailTry);
    for (channel, failures) in
        [(line(2, ChannelOptions::brpc()), 2), (down, 2), (line(5, for_service), 1), (line(5, same), 1)]
    {
        for (pushback, due) in [(wait, Some(110)), (Pushback::DO_NOT.for_server(), None)] {
            let mut call = channel.call(&options, at(0)).unwrap();
            for failure in 0..failures {
                let start = call.expect_start(failure * 10);
                let last = failure + 1 == failures;
                call.judged(
                    10,
                    start.attempt,
                    pushed(Verdict::Retry, if last { pushback } else { Pushback::after(ms(1)).for_server() }),
                );
            }
            match due {
                Some(due) => {
                    assert_eq!(call.expect_wait(10), Some(due));
                    assert_eq!(call.expect_start(due).kind, Kind::Retry);
                }
                None => assert_eq!(call.expect_done(10), End::Failed),
            }
        }
    }
}

#[test]
fn r4_why_no_backup_was_sent_names_the_pushback_only_where_it_was_the_reason() {
    let channel = line(3, hedged(20));
    let options = CallOptions::new();
    let reason = |pushback, verdict, ends_at, accepted: bool| {
        let mut call = channel.call(&options, at(0)).unwrap();
        let first = call.expect_start(0);
        call.judged(5, first.attempt, pushed(verdict, pushback));
        if accepted {
            let retry = call.expect_start(5 + 10);
            call.verdict(ends_at, retry.attempt, Verdict::Accept);
        }
        let _ = call.poll(at(ends_at));
        call.report().not_hedged()
    };
    assert_eq!(reason(Pushback::DO_NOT, Verdict::Retry, 5, false), Some(NotHedged::Pushback));
    let later = Pushback::after(ms(10));
    assert_eq!(
        reason(later, Verdict::Retry, 18, true),
        Some(NotHedged::FinishedFirst),
        "it would not have been sent either"
    );
    assert_eq!(reason(later, Verdict::Retry, 30, true), Some(NotHedged::Pushback), "it would have been sent at 20");
    assert_eq!(
        reason(Pushback::after(ms(490)), Verdict::Retry, 600, false),
        Some(NotHedged::Pushback),
        "moved past the deadline"
    );
}

#[test]
fn l11_a_backup_that_waits_is_sent_once_an_address_is_idle_and_asked_for_once() {
    let options = ChannelOptions { max_backups: 3, ..hedged(10) };
    let channel = line_with(2, options, Counting::default());
    let own = CallOptions::new();
    let mut call = channel.call(&own, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(10));
    assert_eq!(call.expect_wait(20), Some(500), "both addresses are at work, and no further backup is armed");
    assert_eq!(Counting::count(&channel.policy().asked), 1);
    call.verdict(33, backup.attempt, Verdict::Wait);
    let waited = call.expect_start(33);
    assert_eq!((waited.kind, waited.server), (Kind::Backup, backup.server));
    assert_eq!(Counting::count(&channel.policy().asked), 2);
    assert_eq!(call.expect_wait(34), Some(43), "the next is armed when this one has started");
    call.verdict(50, first.attempt, Verdict::Accept);
    assert_eq!(call.expect_done(50), End::Accepted);
}

#[test]
fn l11_a_backup_that_never_starts_says_that_there_was_no_other_server() {
    let options = ChannelOptions { max_backups: 3, ..hedged(10) };
    let channel = line(2, options);
    channel.set_usable(channel.cluster().find(1, 0).unwrap(), false, at(0));
    let own = CallOptions::new();
    let mut call = channel.call(&own, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(call.expect_wait(10), Some(500));
    // The call ends although a start waits for an idle address, since no attempt can win the call any more (L10).
    call.verdict(20, first.attempt, Verdict::Wait);
    assert_eq!(call.expect_done(20), End::Failed);
    assert_eq!(call.report().not_hedged(), Some(NotHedged::NoOtherServer));
}

#[test]
fn l11_a_pushback_is_heeded_by_starts_that_wait() {
    let options = ChannelOptions { max_backups: 3, ..hedged(10) };
    let channel = line(2, options);
    let own = CallOptions::new();
    let mut call = channel.call(&own, at(0)).unwrap();
    let (_, backup) = (call.expect_start(0), call.expect_start(10));
    assert_eq!(call.expect_wait(20), Some(500));
    call.judged(30, backup.attempt, pushed(Verdict::Wait, Pushback::after(ms(50))));
    assert_eq!(call.expect_wait(30), Some(90), "50 ms, and the delay of the backup");
    assert_eq!(call.expect_start(90).kind, Kind::Backup);

    let mut call = channel.call(&own, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(10));
    assert_eq!(call.expect_wait(20), Some(500));
    call.judged(30, backup.attempt, pushed(Verdict::Wait, Pushback::DO_NOT));
    assert_eq!(call.expect_wait(30), Some(500));
    call.verdict(40, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_done(40), End::Failed);
}

#[test]
fn l9_a_held_failure_goes_to_the_server_that_failed_where_retries_do() {
    let held = ChannelOptions { on_early_failure: OnEarlyFailure::Wait, ..hedged(20) };
    let channel = line_with(3, held.clone().with_fail_mode(FailMode::FailTry), NoBackups);
    let own = CallOptions::new();
    let mut call = channel.call(&own, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(5, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_wait(5), Some(20));
    let retry = call.expect_start(20);
    assert_eq!((retry.kind, retry.server), (Kind::Retry, first.server));
    call.verdict(25, retry.attempt, Verdict::Accept);
    assert_eq!(call.expect_done(25), End::Accepted);
    assert_eq!(call.report().not_hedged(), Some(NotHedged::Denied(Denial::Policy)));

    // The retry that follows a refused backup needs the permission that retries need.
    let channel = line_with(3, held, Counting::refusing());
    let mut call = channel.call(&own, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(5, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_done(20), End::Failed);
    let policy = channel.policy();
    assert_eq!((Counting::count(&policy.asked), Counting::count(&policy.retries)), (1, 1));
}

/// A policy that refuses backups and allows retries.
struct NoBackups;

impl BackupPolicy for NoBackups {
    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        Err(Denial::Policy)
    }
}
