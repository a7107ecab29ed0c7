//! The client with hedge: one request over an `rr` channel of 16 servers, with retries and a backup after 2 ms, run by
//! the core's driver, under one policy or another.

use core::hint::black_box;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

use crate::{Line, Lost, REQUEST, SERVERS, Ticks, block_on};
use hedge_core::balance::RoundRobin;
use hedge_core::channel::Channel;
use hedge_core::drive::{AttemptInfo, Driver, Timer, drive};
use hedge_core::policy::{
    BackupDelay, BackupPolicy, CallOptions, ChannelOptions, ConfigError, ErrorKind, Judgement, Verdict,
};
use hedge_core::time::{Duration, Instant};

/// Calls on and on, over a channel under `policy`.
pub fn run<P: BackupPolicy>(policy: P) -> ! {
    let channel = channel(policy);
    let options = CallOptions::new();
    loop {
        let Ok(Ok(mut call)) = channel.as_ref().map(|channel| channel.call(&options, Clock.now())) else { continue };
        let request = black_box(REQUEST);
        let start = |attempt: AttemptInfo<u16>| Line.exchange(attempt.address, request);
        let result = block_on(drive(&mut call, [pin!(None), pin!(None)], Driver::new(&Clock, &judge), start));
        let _ = black_box((result.ok(), call.report().elapsed()));
    }
}

type Fleet<P> = Channel<u16, RoundRobin, P, u8, 16>;

fn channel<P: BackupPolicy>(policy: P) -> Result<Fleet<P>, ConfigError> {
    let options = ChannelOptions { backup: BackupDelay::After(Duration::from_millis(2)), ..ChannelOptions::brpc() };
    let mut channel = Channel::with_policy(options, RoundRobin::new(1), policy, 1)?;
    for address in 0..SERVERS {
        // There is room for all of them.
        let _ = channel.insert(address, 0);
    }
    Ok(channel)
}

/// Every answer is accepted, and a connection that was lost is retried elsewhere.
fn judge(result: Result<&u32, &Lost>) -> Judgement {
    match result {
        Ok(_) => Verdict::Accept.into(),
        Err(Lost) => Judgement::new(Verdict::Retry, ErrorKind::Reset.into()),
    }
}

/// The core's clock over [`Ticks`]: looked at whenever the executor comes round.
struct Clock;

impl Timer for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_millis(u64::from(Ticks.now()))
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { at }
    }
}

struct Sleep {
    at: Instant,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Clock.now() < self.at { Poll::Pending } else { Poll::Ready(()) }
    }
}
