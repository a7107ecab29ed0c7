//! Outages (B8): every server slow, or every server failing, and how many attempts a channel makes of its calls then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hedge_core::balance::RoundRobin;
use hedge_core::call::{Action, Call, Input};
use hedge_core::channel::Channel;
use hedge_core::id::AttemptId;
use hedge_core::outcome::Verdict;
use hedge_core::policy::{BackupDelay, BackupPolicy, CallOptions, ChannelOptions, ConfigError};
use hedge_core::time::{Duration, Instant};

/// How the servers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outage {
    /// Each attempt is answered after 400 ms, where the backup is due after 50.
    Slow,
    /// Each attempt fails after 5 ms.
    Failing,
}

/// How many servers there are.
const SERVERS: u16 = 8;
/// Between the starts of two calls.
const EVERY: Duration = Duration::from_millis(1);

type Line<P> = Channel<u16, RoundRobin, P, (), { SERVERS as usize }>;

/// What became of a run.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// How many attempts were made in all.
    pub attempts: u64,
    /// From the first call's start to the last one's end.
    pub run: Duration,
}

/// Makes `calls` calls, a thousand a second, on a channel with `policy`, brpc's options and a backup after 50 ms.
///
/// # Errors
/// None, as its options fit.
pub fn run(outage: Outage, policy: impl BackupPolicy, calls: u32) -> Result<Sent, ConfigError> {
    let options = ChannelOptions { backup: BackupDelay::after(Duration::from_millis(50)), ..ChannelOptions::brpc() };
    let mut line = Line::with_policy(options, RoundRobin::new(1), policy, 1);
    for address in 0..SERVERS {
        // There is room for them.
        let _ = line.insert(address, ());
    }
    let own = CallOptions::new();
    let mut open: Vec<Option<Call<'_, &Line<_>>>> = Vec::new();
    // Of one instant, in the order of the calls: what their attempts answer, then their timers.
    let mut events: BinaryHeap<Reverse<(Instant, usize, Option<AttemptId>)>> = BinaryHeap::new();
    let mut sent = Sent { attempts: 0, run: Duration::ZERO };
    let mut start = Instant::ZERO;
    for _ in 0..calls {
        open.push(Some(line.call(&own, start)?));
        events.push(Reverse((start, open.len() - 1, None)));
        start = start + EVERY;
    }
    while let Some(Reverse((now, index, answered))) = events.pop() {
        let Some(call) = open.get_mut(index) else { continue };
        let Some(running) = call else { continue };
        if let Some(attempt) = answered {
            let verdict = if outage == Outage::Slow { Verdict::Accept } else { Verdict::Retry };
            running.handle(now, Input::finished(attempt, verdict));
        }
        loop {
            match running.poll(now) {
                Action::Start(started) => {
                    sent.attempts += 1;
                    let takes = if outage == Outage::Slow { 400 } else { 5 };
                    events.push(Reverse((now + Duration::from_millis(takes), index, Some(started.attempt))));
                }
                Action::Abandon { .. } => {}
                Action::Wait { until } => {
                    events.extend(until.map(|until| Reverse((until, index, None))));
                    break;
                }
                Action::Done(_) => {
                    *call = None;
                    sent.run = now.since(Instant::ZERO);
                    break;
                }
            }
        }
    }
    Ok(sent)
}
