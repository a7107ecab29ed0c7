//! Cancelling a call: rule L12.

use super::*;

#[test]
fn l12_cancel_before_the_start_sends_nothing() {
    let channel = line(3, hedged(20));
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    call.handle(at(0), Input::Cancel);
    assert_eq!(call.poll(at(0)), Action::Done(End::Cancelled));
    assert!(call.report().attempts().is_empty());
    assert_eq!(call.report().not_hedged(), Some(NotHedged::FinishedFirst));
}

#[test]
fn l12_cancel_is_idempotent_and_ends_a_backoff_too() {
    let backoff = crate::policy::Backoff::fixed(ms(50));
    let channel = line(3, ChannelOptions { backoff, ..ChannelOptions::brpc() });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(10, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_wait(10), Some(60));
    call.handle(at(20), Input::Cancel);
    call.handle(at(21), Input::Cancel);
    assert_eq!(call.expect_done(22), End::Cancelled);
    assert_eq!(call.report().elapsed(), ms(20));
    assert_eq!(call.report().attempts().len(), 1);
}
