//! The client with hedge: one request over a channel of 16 servers, with retries and a backup after 2 ms, run by the core's
//! driver. The programs choose the policy, the balancer or the breaker.

use core::hint::black_box;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

use crate::{Line, Lost, REQUEST, SERVERS, Ticks, block_on};
use hedge_core::balance::{Balancer, RoundRobin};
use hedge_core::channel::Channel;
use hedge_core::drive::{AttemptInfo, Driver, Timer, drive};
use hedge_core::health::{Breaker, Health, IsolationLimit};
use hedge_core::outcome::{ErrorKind, Judgement, Verdict};
use hedge_core::policy::{BackupDelay, BackupPolicy, CallOptions, ChannelOptions, NoPolicy};
use hedge_core::time::{Duration, Instant};

/// Makes calls for ever, over a channel with `rr` and `policy`.
pub fn run<P: BackupPolicy>(policy: P) -> ! {
    call(RoundRobin::new(1), policy, Health::none())
}

/// Makes calls for ever, over a channel with `balancer`.
pub fn run_by<B: Balancer>(balancer: B) -> ! {
    call(balancer, NoPolicy, Health::none())
}

/// Makes calls for ever, over a channel with `rr` and a breaker.
pub fn run_under<K: Breaker>(breaker: K) -> ! {
    let health = Health::new(breaker, IsolationLimit::DEFAULT);
    call(RoundRobin::new(1), NoPolicy, health)
}

fn call<B: Balancer, P: BackupPolicy, K: Breaker>(balancer: B, policy: P, health: Health<K>) -> ! {
    let request_code = balancer.needs_request_code().then(|| black_box(7));
    let channel = channel(balancer, policy, health);
    let options = CallOptions { request_code, ..CallOptions::new() };
    loop {
        let Ok(mut call) = channel.call(&options, Clock.now()) else { continue };
        let request = black_box(REQUEST);
        let start = |attempt: AttemptInfo<u16>| Line.exchange(attempt.address, request);
        let result = block_on(drive(&mut call, [pin!(None), pin!(None)], Driver::new(&Clock, &judge), start));
        let _ = black_box((result.ok(), call.report().elapsed_micros()));
    }
}

type Fleet<B, P, K> = Channel<u16, B, P, u8, { SERVERS as usize }, K>;

fn channel<B: Balancer, P: BackupPolicy, K: Breaker>(balancer: B, policy: P, health: Health<K>) -> Fleet<B, P, K> {
    let options = ChannelOptions { backup: BackupDelay::after(Duration::from_millis(2)), ..ChannelOptions::brpc() };
    let mut channel = Channel::with_health(options, balancer, policy, health, 1);
    for address in 0..SERVERS {
        // The list has room for all of them. The tag is a weight.
        let _ = channel.insert(address, 1);
    }
    channel
}

/// Accepts every answer. A connection that was lost is retried at another server.
fn judge(result: Result<&u32, &Lost>) -> Judgement {
    match result {
        Ok(_) => Verdict::Accept.into(),
        Err(Lost) => Judgement::new(Verdict::Retry, ErrorKind::Reset.into()),
    }
}

/// The core's clock over [`Ticks`]. The executor polls all the time, so no timer has to wake it.
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
