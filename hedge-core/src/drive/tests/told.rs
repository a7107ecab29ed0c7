//! Tests of what an attempt is told.

use super::*;
use crate::time::Timeout;

#[test]
fn l15_an_attempt_is_told_when_it_starts_and_whether_it_may_be_repeated() {
    use crate::policy::Idempotency::{Idempotent, NotIdempotent, Unset};

    let clock = Clock { now: Cell::new(7), ..Clock::default() };
    for (own, of_the_channel, expected) in [
        (Unset, Unset, true),
        (Unset, NotIdempotent, false),
        (Idempotent, NotIdempotent, true),
        (NotIdempotent, Unset, false),
    ] {
        let channel = line(1, ChannelOptions { idempotency: of_the_channel, ..ChannelOptions::brpc() });
        let options = CallOptions { idempotency: own, ..CallOptions::new() };
        let timer = &clock;
        let call = channel.call(&options, clock.time()).unwrap();
        let driver = Driver::new(&timer, &DefaultRetryPolicy);
        let mut future = pin!(async {
            let told = |attempt: AttemptInfo<u16>| ready(Ok((attempt.started, attempt.idempotent)));
            driven(call, [pin!(None), pin!(None)], driver, told).await
        });
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(done) = future.as_mut().poll(&mut cx) else { panic!("it answers at once") };
        assert_eq!(done.result.unwrap(), (clock.time(), expected), "{own:?} {of_the_channel:?}");
    }
}

#[test]
fn h1_an_attempt_that_begins_later_has_its_whole_time_to_connect() {
    let (at, ms) = (Instant::from_millis, Duration::from_millis);
    // The call starts at 7 and has 100 ms, or no deadline. Making a connection may take 20 ms, or 500 ms, or any time.
    for (timeout, connect_timeout, by, connect_deadline, remaining) in [
        (Timeout::from(ms(100)), Timeout::from(ms(20)), 0, Some(at(27)), Some(ms(100))),
        (Timeout::from(ms(100)), Timeout::from(ms(20)), 30, Some(at(57)), Some(ms(70))),
        (Timeout::from(ms(100)), Timeout::from(ms(20)), 90, Some(at(107)), Some(ms(10))),
        (Timeout::from(ms(100)), Timeout::from(ms(500)), 30, Some(at(107)), Some(ms(70))),
        (Timeout::from(ms(100)), Timeout::NEVER, 30, Some(at(107)), Some(ms(70))),
        (Timeout::from(ms(100)), Timeout::from(ms(20)), 300, Some(at(107)), Some(ms(0))),
        (Timeout::NEVER, Timeout::from(ms(20)), 30, Some(at(57)), None),
        (Timeout::NEVER, Timeout::NEVER, 30, None, None),
    ] {
        let clock = Clock { now: Cell::new(7), ..Clock::default() };
        let channel = line(1, ChannelOptions { timeout, connect_timeout, ..ChannelOptions::brpc() });
        let timer = &clock;
        let options = CallOptions::new();
        let call = channel.call(&options, clock.time()).unwrap();
        let driver = Driver::new(&timer, &DefaultRetryPolicy);
        let mut future = pin!(async {
            let told = |attempt: AttemptInfo<u16>| ready(Ok(attempt.delayed(ms(by))));
            driven(call, [pin!(None), pin!(None)], driver, told).await
        });
        let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it answers at once")
        };
        let told = done.result.unwrap();
        assert_eq!(told.started, at(7 + by), "{by}");
        assert_eq!((told.connect_deadline, told.remaining()), (connect_deadline, remaining), "{by}");
    }
}
