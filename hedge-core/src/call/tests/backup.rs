//! Backups: rules L4, L5, L6, L17, L19, B1 and B2.

use super::*;

#[test]
fn l4_the_timer_is_armed_at_call_start_whatever_retries_do() {
    let channel = line(3, hedged(50));
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(100)).unwrap();
    let first = call.expect_start(100);
    assert_eq!(call.expect_wait(100), Some(150));
    call.verdict(130, first.attempt, Verdict::Retry);
    call.expect_start(130);
    assert_eq!(call.expect_wait(130), Some(150));
    assert_eq!(call.expect_start(150).kind, Kind::Backup);
}

#[test]
fn l4_delay_zero_asks_right_after_the_first_start() {
    let channel = line_with(3, hedged(0), Counting::default());
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    assert_eq!(call.expect_start(0).kind, Kind::First);
    assert_eq!(Counting::count(&channel.policy().asked), 0);
    assert_eq!(call.expect_start(0).kind, Kind::Backup);
    assert_eq!(Counting::count(&channel.policy().asked), 1);
}

#[test]
fn l5_a_refusal_leaves_the_first_the_deadline_and_the_balancer_alone() {
    let channel = line_with(3, ChannelOptions { max_backups: 2, ..hedged(20) }, Counting::refusing());
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    assert_eq!(call.expect_start(0).server.slot(), 0);
    assert_eq!(call.expect_wait(20), Some(500), "no further backup is considered");
    assert_eq!(Counting::count(&channel.policy().asked), 1);
    assert_eq!(call.expect_done(500), End::Deadline);
    assert_eq!(call.report().not_hedged(), Some(NotHedged::Denied(Denial::Policy)));
    let mut next = channel.call(&options, at(0)).unwrap();
    assert_eq!(next.expect_start(0).server.slot(), 1, "a refusal does not advance rr");
}

#[test]
fn l5_a_server_is_looked_for_before_the_policy_is_asked() {
    let channel = line_with(2, hedged(20), Counting::default());
    let other = channel.cluster().find(1, 0).unwrap();
    channel.set_usable(other, false, Instant::ZERO);
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    call.expect_start(0);
    assert_eq!(call.expect_wait(20), Some(500));
    assert_eq!(Counting::count(&channel.policy().asked), 0);
    assert_eq!(call.report().not_hedged(), Some(NotHedged::NoOtherServer));
}

#[test]
fn l6_further_backups_each_a_delay_after_the_last() {
    let channel = line(5, ChannelOptions { max_backups: 2, ..hedged(20) });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    call.expect_start(0);
    // The first backup starts late. The delay of the second backup counts from this late start.
    assert_eq!(call.expect_start(27).kind, Kind::Backup);
    assert_eq!(call.expect_wait(27), Some(47));
    assert_eq!(call.expect_start(47).kind, Kind::Backup);
    assert_eq!(call.expect_wait(47), Some(500), "at most 1 + max_backups in flight");
    assert_eq!(call.report().backups(), 2);
    assert_eq!(call.report().not_hedged(), None);
}

#[test]
fn l17_a_timer_that_fires_during_a_backoff_follows_the_pending_start() {
    let backoff = crate::policy::Backoff::fixed(ms(40));
    let channel = line_with(3, ChannelOptions { backoff, ..hedged(20) }, Counting::default());
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(10, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_wait(20), Some(50), "nothing to back up");
    assert_eq!(Counting::count(&channel.policy().asked), 0);
    assert_eq!(call.expect_start(50).kind, Kind::Retry);
    assert_eq!(call.expect_wait(50), Some(70), "armed again at the pending start + delay");
    assert_eq!(call.expect_start(70).kind, Kind::Backup);
}

#[test]
fn l19_why_no_backup_was_sent_by_precedence() {
    let call_options = CallOptions::new;
    let stream = CallOptions { kind: CallKind::Stream, ..call_options() };
    let not_idempotent = CallOptions { idempotency: Idempotency::NotIdempotent, ..call_options() };
    let both = CallOptions { kind: CallKind::OneWay, idempotency: Idempotency::NotIdempotent, ..call_options() };
    let late = CallOptions { backup: Some(BackupDelay::after(ms(500))), ..call_options() };
    let no_retry = CallOptions { max_retry: Some(0), ..call_options() };
    let late_and_no_retry = CallOptions { max_retry: Some(0), ..late.clone() };
    let off = CallOptions { backup: Some(BackupDelay::OFF), kind: CallKind::Datagram, ..call_options() };
    let none = CallOptions { max_backups: Some(0), ..call_options() };
    for (servers, options, expected) in [
        (2, off, NotHedged::Disabled),
        (2, none, NotHedged::Disabled),
        (2, stream, NotHedged::NotHedgeable),
        (2, both, NotHedged::NotHedgeable),
        (2, not_idempotent, NotHedged::NotIdempotent),
        (2, late, NotHedged::DelayPastDeadline),
        (2, late_and_no_retry, NotHedged::DelayPastDeadline),
        (1, no_retry, NotHedged::NoAttemptLeft),
        (1, call_options(), NotHedged::NoOtherServer),
        (2, call_options(), NotHedged::FinishedFirst),
    ] {
        let channel = line(servers, hedged(20));
        let mut call = channel.call(&options, at(0)).unwrap();
        let first = call.expect_start(0);
        call.verdict(10, first.attempt, Verdict::Accept);
        assert_eq!(call.report().not_hedged(), Some(expected), "{options:?}");
    }
}

#[test]
fn l19_retries_that_use_up_the_attempts_are_why() {
    let channel = line(3, ChannelOptions { max_retry: 1, ..hedged(20) });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(5, first.attempt, Verdict::Retry);
    call.expect_start(5);
    assert_eq!(call.expect_wait(20), Some(500));
    assert_eq!(call.report().not_hedged(), Some(NotHedged::NoAttemptLeft));
}

#[test]
fn l19_a_call_that_started_nothing_finished_first() {
    let channel = line(0, hedged(20));
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    assert_eq!(call.expect_done(0), End::NoServer);
    assert_eq!(call.report().not_hedged(), Some(NotHedged::FinishedFirst));
}

#[test]
fn b1_the_calls_own_setting_then_the_channels_and_the_policy_before_the_delay() {
    let after = |delay| Some(BackupDelay::after(ms(delay)));
    let own_policy = Counting { delay: after(1), ..Counting::default() };
    let inherits = Counting::default();
    let cases = [
        // Each case has the channel's policy, the call's policy, the call's fixed delay, and the delay that applies, in
        // ms (`None` if there is no backup).
        (after(3), Some(&own_policy), after(2), Some(1)),
        (after(3), Some(&inherits), after(2), Some(2)),
        (after(3), None, after(2), Some(2)),
        (after(3), Some(&inherits), None, Some(3)),
        (after(3), None, None, Some(3)),
        (None, None, None, Some(4)),
        (None, Some(&inherits), None, Some(4)),
        (Some(BackupDelay::OFF), None, None, None),
    ];
    for (channels, policy, delay, expected) in cases {
        let channel = line_with(3, hedged(4), Counting { delay: channels, ..Counting::default() });
        let options = CallOptions {
            backup: delay,
            backup_policy: policy.map(|policy| policy as &(dyn BackupPolicy + Sync)),
            ..CallOptions::new()
        };
        let mut call = channel.call(&options, at(0)).unwrap();
        call.expect_start(0);
        assert_eq!(call.expect_wait(0), Some(expected.unwrap_or(500)));
    }
}

#[test]
fn b1_the_policy_that_counts_is_the_one_that_is_asked_and_told() {
    let channel = line_with(3, hedged(4), Counting::default());
    let own = Counting::refusing();
    let options = CallOptions { backup_policy: Some(&own), ..CallOptions::new() };
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(call.expect_wait(4), Some(500));
    call.verdict(5, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_done(5), End::Failed);
    let counts = |policy: &Counting| [&policy.asked, &policy.retries, &policy.ended].map(Counting::count);
    assert_eq!((counts(&own), counts(channel.policy())), ([1, 1, 1], [0, 0, 0]));
}

#[test]
fn b2_one_policy_may_serve_several_channels_by_reference() {
    let policy = Counting { delay: Some(BackupDelay::after(ms(3))), ..Counting::refusing() };
    for _ in 0..2 {
        let channel = line_with(3, ChannelOptions::brpc(), &policy);
        let options = CallOptions::new();
        let mut call = channel.call(&options, at(0)).unwrap();
        let first = call.expect_start(0);
        assert_eq!(call.expect_wait(0), Some(3));
        assert_eq!(call.expect_wait(3), Some(500));
        call.verdict(4, first.attempt, Verdict::Retry);
        assert_eq!(call.expect_done(4), End::Failed);
    }
    assert_eq!([&policy.asked, &policy.retries, &policy.ended].map(Counting::count), [2, 2, 2]);
}

#[test]
fn l11_a_backup_that_waited_in_vain_says_so_though_a_retry_took_the_last_attempt() {
    let channel = line(2, ChannelOptions { max_retry: 1, ..hedged(15) });
    channel.set_usable(channel.cluster().find(1, 0).unwrap(), false, Instant::ZERO);
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(call.expect_wait(15), Some(500), "the only address that is up is at work");
    call.verdict(35, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_start(35).kind, Kind::Retry);
    assert_eq!(call.expect_wait(35), Some(500));
    assert_eq!(call.report().not_hedged(), Some(NotHedged::NoOtherServer));
}
