//! The driver of hedge-core over attempts that are ready, pending once, or beaten by their backup, beside the same done by
//! hand without any decision.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use hedge_core::balance::RoundRobin;
use hedge_core::drive::Timer;
use hedge_core::id::AttemptId;
use hedge_core::policy::CallOptions;
use hedge_instructions::driven::{Answer, Failed, Jumping, by_hand, driven};
use hedge_instructions::{BACKUP_DELAY, Line};
use tokio::runtime::Runtime;

use crate::clock::TokioClock;
use crate::harness::Contender;
use crate::harness::Target::{AtMost, NoAllocation, NoTimer};

const READY: &str = "bare transport, ready";
const RACE: &str = "race by hand";

/// What every way of waiting for an attempt that is pending once is compared with.
pub(crate) const FLOOR: &str = "floor driver";

pub(crate) fn ready<'a>(
    line: &'a Line<RoundRobin>,
    options: &'a CallOptions<'a>,
    clock: &'a TokioClock,
) -> Vec<Contender<'a>> {
    vec![
        Contender::new(READY, READY, move || by_hand(black_box(Answer::ready(1))) == Ok(1)),
        Contender::new("hedge-core driver, ready", READY, move || {
            by_hand(driven(line, options, clock, |_| Answer::ready(1))) == Some(1)
        })
        .target(NoAllocation)
        .target(NoTimer)
        .counting_timers(move || clock.sleeps()),
    ]
}

pub(crate) fn pending_once<'a>(
    runtime: &'a Runtime,
    line: &'a Line<RoundRobin>,
    options: &'a CallOptions<'a>,
    clock: &'a TokioClock,
    below: &'static str,
) -> Vec<Contender<'a>> {
    vec![
        Contender::awaited("bare transport, pending once", FLOOR, runtime, async || {
            black_box(Answer::pending_once(1)).await == Ok(1)
        }),
        Contender::new("clock read", FLOOR, || {
            black_box(tokio::time::Instant::now());
            true
        }),
        Contender::new("clock read, as the driver's Timer", FLOOR, move || {
            black_box(clock.now());
            true
        }),
        Contender::awaited(FLOOR, FLOOR, runtime, async || floor().await == Some(1)),
        Contender::awaited("hedge-core driver", FLOOR, runtime, async || {
            driven(line, options, clock, |_| Answer::pending_once(1)).await == Some(1)
        })
        .target(AtMost(1.3, FLOOR))
        .target(AtMost(1.0, below))
        .target(NoAllocation)
        .counting_timers(move || clock.sleeps()),
    ]
}

pub(crate) fn fires<'a>(
    line: &'a Line<RoundRobin>,
    options: &'a CallOptions<'a>,
    clock: &'a Jumping,
) -> Vec<Contender<'a>> {
    vec![
        Contender::new(RACE, RACE, move || by_hand(race(clock)) == Some(1)).counting_timers(move || clock.sleeps()),
        Contender::new("hedge-core driver, backup wins", RACE, move || {
            let answer = |attempt| if attempt == AttemptId::FIRST { Answer::never() } else { Answer::ready(1) };
            by_hand(driven(line, options, clock, answer)) == Some(1)
        })
        .target(NoAllocation)
        .counting_timers(move || clock.sleeps()),
    ]
}

/// What a hedged call cannot do without: two pinned slots, one clock read and one sleep. Called in one place only, so
/// that it is inlined as a user's own would be.
async fn floor() -> Option<u64> {
    let mut slots: [Pin<&mut Option<Answer>>; 2] = [pin!(None), pin!(None)];
    let [first, _] = &mut slots;
    first.set(Some(black_box(Answer::pending_once(1))));
    let now = tokio::time::Instant::now();
    let mut sleep = pin!(tokio::time::sleep_until(now + BACKUP_DELAY));
    poll_fn(|cx| {
        if let Some(result) = answered(&mut slots, cx) {
            return Poll::Ready(result.ok());
        }
        sleep.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// The same over any timer, where the first attempt never answers and a second is started when the sleep ends.
async fn race(timer: &impl Timer) -> Option<u64> {
    let mut slots: [Pin<&mut Option<Answer>>; 2] = [pin!(None), pin!(None)];
    let [first, _] = &mut slots;
    first.set(Some(black_box(Answer::never())));
    let mut sleep = pin!(timer.sleep_until(timer.now() + BACKUP_DELAY));
    let mut sent = false;
    poll_fn(|cx| {
        loop {
            if let Some(result) = answered(&mut slots, cx) {
                return Poll::Ready(result.ok());
            }
            if sent || sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let [_, second] = &mut slots;
            second.set(Some(black_box(Answer::ready(1))));
            sent = true;
        }
    })
    .await
}

/// The result of the first attempt that has one.
fn answered(slots: &mut [Pin<&mut Option<Answer>>; 2], cx: &mut Context<'_>) -> Option<Result<u64, Failed>> {
    slots.iter_mut().find_map(|slot| match slot.as_mut().as_pin_mut()?.poll(cx) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    })
}
