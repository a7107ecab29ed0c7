//! Retries: rules L3, L9, L15, L18, R1, R3, R4 and R5, and the fail modes of rule F.

use super::*;
use crate::policy::{Backoff, FailMode};

pub(super) fn with_backoff(backoff: Backoff) -> ChannelOptions {
    ChannelOptions { backoff, ..ChannelOptions::brpc() }
}

#[test]
fn l3_extra_attempts_of_every_kind_share_one_bound() {
    let channel = line(5, ChannelOptions { max_retry: 2, ..hedged(20) });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(5, first.attempt, Verdict::Retry);
    let second = call.expect_start(5);
    let backup = call.expect_start(20);
    assert_eq!(backup.kind, Kind::Backup);
    call.verdict(25, second.attempt, Verdict::Retry);
    assert_eq!(call.expect_wait(25), Some(500), "the backup took the last one");
    call.verdict(30, backup.attempt, Verdict::Retry);
    assert_eq!(call.expect_done(30), End::Failed);
    assert_eq!(call.report().retried_count(), 2);
}

#[test]
fn l9_a_failed_backup_never_disturbs_the_first() {
    let channel = line(3, ChannelOptions { max_retry: 1, ..hedged(50) });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(50));
    call.verdict(51, backup.attempt, Verdict::Retry);
    assert_eq!(call.expect_wait(51), Some(500));
    call.verdict(200, first.attempt, Verdict::Accept);
    assert_eq!(call.expect_done(200), End::Accepted);
}

#[test]
fn l9_at_most_one_start_is_pending_and_the_earlier_due_stays() {
    let channel = line(5, ChannelOptions { backup: BackupDelay::after(ms(1)), ..with_backoff(Backoff::fixed(ms(30))) });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(1));
    call.verdict(10, first.attempt, Verdict::Retry);
    call.verdict(20, backup.attempt, Verdict::Retry);
    assert_eq!(call.expect_wait(20), Some(40));
    assert_eq!(call.expect_start(40).kind, Kind::Retry);
    assert_eq!(call.expect_wait(40), Some(500), "one start for both failures");
}

#[test]
fn l9_early_failure_held_is_sent_by_the_timer_asked_and_counted() {
    let options = CallOptions::new();
    let held = ChannelOptions { on_early_failure: OnEarlyFailure::Wait, ..hedged(30) };
    let channel = line_with(3, held, Counting::default());
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(10, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_wait(10), Some(30), "L10: the timer may still start something");
    assert_eq!(call.expect_start(30).kind, Kind::Backup);
    assert_eq!((Counting::count(&channel.policy().asked), Counting::count(&channel.policy().retries)), (1, 0));
}

#[test]
fn l9_what_a_pending_start_needs_is_checked_again_when_due() {
    let options = CallOptions::new();
    // The budget is asked when the retry is due, and refuses.
    let channel = line_with(3, with_backoff(Backoff::fixed(ms(30))), Counting::refusing());
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(10, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_wait(10), Some(40));
    assert_eq!(call.expect_done(40), End::Failed);
    assert_eq!(Counting::count(&channel.policy().retries), 1);
    // A retry needs a server. The call searches for the server before it asks the budget, so that no grant is wasted.
    let channel = line_with(2, with_backoff(Backoff::fixed(ms(30))), Counting::default());
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(10, first.attempt, Verdict::Retry);
    for address in 0..2 {
        channel.set_usable(channel.cluster().find(address, 0).unwrap(), false, at(0));
    }
    assert_eq!(call.expect_done(40), End::Failed);
    assert_eq!(Counting::count(&channel.policy().retries), 0);
    // An attempt must be left. Here a backup took the last one while the backoff ran.
    let channel = line(
        3,
        ChannelOptions {
            max_retry: 2,
            max_backups: 2,
            backup: BackupDelay::after(ms(15)),
            ..with_backoff(Backoff::fixed(ms(30)))
        },
    );
    let mut call = channel.call(&options, at(0)).unwrap();
    let (_, second) = (call.expect_start(0), call.expect_start(15));
    call.verdict(20, second.attempt, Verdict::Retry);
    assert_eq!(call.expect_start(30).kind, Kind::Backup);
    assert_eq!(call.expect_wait(50), Some(500), "in flight: it goes on");
    assert_eq!(call.report().retried_count(), 2);
}

#[test]
fn l15_not_idempotent_is_neither_hedged_nor_retried_once_it_may_have_left() {
    let channel = line(3, hedged(20));
    let options = CallOptions { idempotency: Idempotency::NotIdempotent, ..CallOptions::new() };
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(call.expect_wait(0), Some(500), "no backup timer");
    call.verdict(5, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_done(5), End::Failed);
    assert_eq!(call.report().not_hedged(), Some(NotHedged::NotIdempotent));
}

#[test]
fn r5_what_never_left_is_retried_even_when_not_idempotent() {
    let channel = line(3, ChannelOptions { idempotency: Idempotency::NotIdempotent, ..ChannelOptions::brpc() });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.judged(2, first.attempt, Judgement::from(Verdict::Retry).never_left());
    let retry = call.expect_start(2);
    assert_eq!(retry.kind, Kind::Retry, "L15: the channel's default counts too");
    // The report keeps what the judgement said, not what the code would mean.
    call.judged(3, retry.attempt, Judgement::new(Verdict::Retry, ErrorKind::Refused.into()));
    assert_eq!(call.expect_done(3), End::Failed);
    assert!(call.report().attempts().iter().map(Attempt::never_left).eq([true, false]));
    let yes = CallOptions { idempotency: Idempotency::Idempotent, ..CallOptions::new() };
    let mut call = channel.call(&yes, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(2, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_start(2).kind, Kind::Retry, "the call's own word wins");
}

#[test]
fn l18_a_backoff_that_would_not_leave_time_is_skipped() {
    let options = CallOptions { timeout: Some(ms(100).into()), ..CallOptions::new() };
    // The backoff is not shorter than the time that remains.
    let channel = line(3, with_backoff(Backoff::fixed(ms(40))));
    for (fails_at, starts_at) in [(59, 99), (60, 60)] {
        let mut call = channel.call(&options, at(0)).unwrap();
        let first = call.expect_start(0);
        call.verdict(fails_at, first.attempt, Verdict::Retry);
        if starts_at > fails_at {
            assert_eq!(call.expect_wait(fails_at), Some(starts_at));
        }
        assert_eq!(call.expect_start(starts_at).kind, Kind::Retry);
    }
    // Less than `no_backoff_remaining` is left.
    let channel = line(3, ChannelOptions { no_backoff_remaining: ms(60), ..with_backoff(Backoff::fixed(ms(20))) });
    for (fails_at, starts_at) in [(40, 60), (41, 41)] {
        let mut call = channel.call(&options, at(0)).unwrap();
        let first = call.expect_start(0);
        call.verdict(fails_at, first.attempt, Verdict::Retry);
        if starts_at > fails_at {
            assert_eq!(call.expect_wait(fails_at), Some(starts_at));
        }
        assert_eq!(call.expect_start(starts_at).kind, Kind::Retry);
    }
}

#[test]
fn r1_the_deadline_is_never_retried_even_if_the_policy_says_so() {
    let channel = line(3, ChannelOptions::brpc());
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.judged(5, first.attempt, Judgement::new(Verdict::Retry, ErrorKind::Deadline.into()));
    assert_eq!(call.expect_done(5), End::Failed);
}

#[test]
fn r3_the_backoff_counts_retries_and_not_backups() {
    let backoff = Backoff::exponential(ms(10), 2_000, ms(1_000)).unwrap();
    let channel = line(5, ChannelOptions { backup: BackupDelay::after(ms(1)), ..with_backoff(backoff) });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(1));
    call.verdict(2, backup.attempt, Verdict::Wait);
    call.verdict(10, first.attempt, Verdict::Retry);
    let due = call.expect_wait(10).unwrap();
    assert!((18..=22).contains(&due), "the first retry waits 10 ms within a fifth: {due}");
    let second = call.expect_start(22);
    call.verdict(30, second.attempt, Verdict::Retry);
    let due = call.expect_wait(30).unwrap();
    assert!((46..=54).contains(&due), "the second 20 ms: {due}");
}

#[test]
fn f_fail_fast_makes_one_attempt() {
    let channel = line(3, hedged(20).with_fail_mode(FailMode::FailFast));
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(call.expect_wait(20), Some(500), "no backup either");
    call.verdict(25, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_done(25), End::Failed);
    assert_eq!(call.report().not_hedged(), Some(NotHedged::NoAttemptLeft));
}

#[test]
fn f_fail_try_stays_at_its_server_even_if_isolated_and_backs_up_elsewhere() {
    let channel = line(3, hedged(50).with_fail_mode(FailMode::FailTry));
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    channel.set_usable(first.server, false, Instant::ZERO);
    call.verdict(5, first.attempt, Verdict::Retry);
    let second = call.expect_start(5);
    assert_eq!(second.server, first.server);
    let backup = call.expect_start(50);
    assert_ne!(backup.server, first.server);
    call.verdict(60, backup.attempt, Verdict::Retry);
    assert_eq!(call.expect_start(60).server, backup.server, "the server of the failed attempt");
    assert_eq!(channel.cluster().in_flight(first.server), 1);
}

#[test]
fn f_fail_try_at_a_removed_server_ends_with_the_last_failure() {
    let mut channel = line(3, ChannelOptions::brpc().with_fail_mode(FailMode::FailTry));
    channel.insert(9, 0).unwrap();
    let server = channel.cluster().find(0, 0).unwrap();
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(first.server, server);
    // The list cannot change under a borrowed channel, so the test uses an id of another generation for the removed
    // server.
    call.verdict(5, first.attempt, Verdict::Retry);
    call.retry_of = ServerId::new(server.slot(), server.generation() + 1);
    assert_eq!(call.expect_done(5), End::Failed);
}

#[test]
fn f_fail_try_of_two_failures_in_one_instant_the_earlier_is_retried() {
    let channel = line(3, hedged(20).with_fail_mode(FailMode::FailTry));
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(20));
    call.verdict(30, first.attempt, Verdict::Retry);
    call.verdict(30, backup.attempt, Verdict::Retry);
    assert_eq!(call.expect_start(30).server, first.server);
    assert_eq!(call.expect_wait(30), Some(500), "one start for both");
}

#[test]
fn l9_a_backup_timer_that_would_fire_at_the_deadline_holds_no_failure() {
    let options = ChannelOptions {
        timeout: ms(100).into(),
        max_backups: 2,
        on_early_failure: OnEarlyFailure::Wait,
        ..hedged(50)
    };
    let channel = line(4, options);
    let own = CallOptions::new();
    let mut call = channel.call(&own, at(0)).unwrap();
    let first = call.expect_start(0);
    call.expect_start(50);
    call.verdict(60, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_start(60).kind, Kind::Retry, "a second backup would be due at 100: it is not armed");
}
