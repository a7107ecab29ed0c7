//! The driver: one future that runs a call over a transport and a timer.
//!
//! [`drive`] owns nothing. The caller lends it the call, whose report is there when it is over, and slots for the attempts'
//! futures, one for each that may be in flight at once: there is no heap and no task, and nothing large is moved. Dropping
//! the future cancels the call.
//!
//! ```
//! use core::pin::pin;
//! use hedge_core::call::AttemptId;
//! use hedge_core::drive::{Driver, drive};
//! # use hedge_core::balance::RoundRobin;
//! # use hedge_core::channel::Channel;
//! # use hedge_core::drive::Timer;
//! # use hedge_core::policy::{AttemptError, CallOptions, ChannelOptions, DefaultRetryPolicy, ErrorKind};
//! # use hedge_core::time::Instant;
//! # struct Still;
//! # impl Timer for Still {
//! #     type Sleep = core::future::Pending<()>;
//! #     fn now(&self) -> Instant { Instant::ZERO }
//! #     fn sleep_until(&self, _: Instant) -> Self::Sleep { core::future::pending() }
//! # }
//! # struct Refused;
//! # impl AttemptError for Refused { fn kind(&self) -> ErrorKind { ErrorKind::Refused } }
//! # let mut channel: Channel<&str, RoundRobin> = Channel::new(ChannelOptions::brpc(), RoundRobin::new(1), 1)?;
//! # channel.insert("10.0.0.1:80", "")?;
//! # channel.insert("10.0.0.2:80", "")?;
//! # let timer = Still;
//! # let future = async {
//! let options = CallOptions::new();
//! let mut call = channel.call(&options, timer.now())?;
//! let driver = Driver::new(&timer, &DefaultRetryPolicy);
//! let result = drive(&mut call, [pin!(None), pin!(None)], driver, |attempt| async move {
//!     if attempt.attempt == AttemptId::FIRST { Err(Refused) } else { Ok(attempt.address) }
//! })
//! .await;
//! assert!(result.is_ok());
//! assert_eq!(call.report().retried_count(), 1);
//! # Ok::<(), hedge_core::policy::ConfigError>(())
//! # };
//! # let mut future = core::pin::pin!(future);
//! # let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
//! # assert!(core::future::Future::poll(future.as_mut(), &mut cx).is_ready());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Order and cost
//!
//! A wake-up looks at the cancel signal, then at the attempts by index, then at the clock, then at the call, and at the
//! timer last: a success that is there wins over a deadline that has passed (L14). The clock is read once a wake-up; the
//! instant at which the call started serves the first. The timer is created when the call first has to wait and reset
//! only when it has to wait for another instant.

mod cancel;
mod transport;

#[cfg(test)]
mod tests;

use core::fmt;
use core::future::{Future, poll_fn};
use core::ops::Deref;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

pub use cancel::{Cancel, CancelSignal, NoCancel};
pub use transport::{AttemptInfo, SendTransport, Timer, Transport};

use crate::call::{Action, AttemptId, Call, End, Host, Input, Start};
use crate::policy::{Code, ConfigError, ErrorKind, Judgement, RetryPolicy, Verdict};
use crate::time::Instant;

/// Room for one attempt's future, lent by the caller: `pin!(None)`.
pub type Slot<'s, F> = Pin<&'s mut Option<F>>;

/// What a driver runs on.
pub struct Driver<'a, T, R, C = NoCancel> {
    timer: &'a T,
    retry_policy: &'a R,
    cancel: C,
}

impl<'a, T: Timer, R> Driver<'a, T, R> {
    /// A driver on `timer` whose results `retry_policy` judges.
    pub const fn new(timer: &'a T, retry_policy: &'a R) -> Self {
        Self { timer, retry_policy, cancel: NoCancel }
    }

    /// The same, listening to a signal that the caller lends, or to none (L12).
    #[must_use]
    pub const fn cancelled_by<C: Cancel>(self, cancel: C) -> Driver<'a, T, R, C> {
        Driver { timer: self.timer, retry_policy: self.retry_policy, cancel }
    }
}

impl<T, R, C> fmt::Debug for Driver<'_, T, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Why a call has no reply.
#[derive(Debug)]
pub enum CallFailure<Reply, Error> {
    /// The call ended without an accepted reply.
    Ended {
        /// How.
        end: End,
        /// The last failure, if any attempt failed: the transport's error, or a reply that was not accepted.
        last: Option<Result<Reply, Error>>,
    },
    /// More attempts may be in flight than slots were lent; nothing was started.
    Config(ConfigError),
}

/// Runs a call to its end; what happened is in [`Call::report`].
///
/// `start` makes the future of one attempt; it is polled here, among at most `K` others. Over a [`Transport`] it is
/// `|attempt| transport.start(&request, attempt)`. What a slot holds before is never polled. The future that this returns
/// can be dropped at any time: that is a cancel (L12). A call that is over already is not run again: it answers how it
/// ended, without a reply.
///
/// Await it as soon as the call is made: to save a look at the clock, the first poll takes the call's start for the present,
/// so a future that is kept lying about starts its first attempt late and tells it more time than remains.
///
/// # Errors
/// See [`CallFailure`].
pub fn drive<'r, P, T, R, C, Reply, Error, F, const N: usize, const K: usize>(
    call: &'r mut Call<'_, P, N>,
    slots: [Slot<'r, F>; K],
    driver: Driver<'r, T, R, C>,
    start: impl FnMut(AttemptInfo<<P::Target as Addresses>::Address>) -> F,
) -> impl Future<Output = Result<Reply, CallFailure<Reply, Error>>>
where
    P: Deref<Target: Host + Addresses>,
    T: Timer,
    R: RetryPolicy<Reply, Error>,
    C: Cancel,
    F: Future<Output = Result<Reply, Error>>,
{
    // Made before the future, which then holds it once: an `async fn` would keep its arguments beside it.
    let mut run =
        Run { call, slots, attempts: [None; K], driver, start, armed: Instant::NEVER, last: None, first_poll: true };
    async move {
        let max_backups = run.call.max_backups();
        if usize::from(max_backups) >= K {
            return Err(CallFailure::Config(ConfigError::TooManyInFlight { max_backups, slots: K }));
        }
        let mut sleep = pin!(None);
        poll_fn(|cx| run.poll(cx, sleep.as_mut())).await
    }
}

/// Where a host's servers are.
pub trait Addresses {
    /// What an attempt is sent to.
    type Address;

    /// The address of a server; `None` if it is gone from the list.
    fn address_of(&self, server: crate::call::ServerId) -> Option<Self::Address>;
}

struct Run<'r, 'o, P, T, R, C, Start, F, Reply, Error, const N: usize, const K: usize>
where
    P: Deref<Target: Host>,
{
    call: &'r mut Call<'o, P, N>,
    slots: [Slot<'r, F>; K],
    /// Which attempt a slot holds.
    attempts: [Option<AttemptId>; K],
    driver: Driver<'r, T, R, C>,
    start: Start,
    /// What the timer is set to; never, where it is not set.
    armed: Instant,
    last: Option<Result<Reply, Error>>,
    first_poll: bool,
}

impl<'r, P, T, R, C, S, F, Reply, Error, const N: usize, const K: usize>
    Run<'r, '_, P, T, R, C, S, F, Reply, Error, N, K>
where
    P: Deref<Target: Host + Addresses>,
    T: Timer,
    R: RetryPolicy<Reply, Error>,
    C: Cancel,
    S: FnMut(AttemptInfo<<P::Target as Addresses>::Address>) -> F,
    F: Future<Output = Result<Reply, Error>>,
{
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut sleep: Pin<&mut Option<T::Sleep>>,
    ) -> Poll<Result<Reply, CallFailure<Reply, Error>>> {
        // The call was made at an instant that serves the first poll.
        let mut now = None;
        if core::mem::take(&mut self.first_poll) {
            now = Some(self.call.report().started());
        }
        if self.driver.cancel.poll(cx) {
            let at = *now.get_or_insert_with(|| self.driver.timer.now());
            self.call.handle(at, Input::Cancel);
        }
        let mut fired = false;
        loop {
            let finished = self.poll_attempts(cx);
            let at = match (finished, now.take()) {
                (Some(at), _) | (None, Some(at)) => at,
                (None, None) => self.driver.timer.now(),
            };
            let until = match self.step(at) {
                Step::Done(result) => return Poll::Ready(result),
                Step::Started => {
                    // What has just been started is polled at the instant at which it was started.
                    now = Some(at);
                    continue;
                }
                Step::Wait(until) => until,
            };
            let Some(until) = until else { return Poll::Pending };
            if self.armed != until {
                self.armed = until;
                match sleep.as_mut().as_pin_mut() {
                    Some(sleep) => self.driver.timer.reset(sleep, until),
                    None => sleep.set(Some(self.driver.timer.sleep_until(until))),
                }
            }
            match sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(cx)) {
                Some(Poll::Ready(())) => {
                    // A finished sleep is not polled again. One that keeps firing before its instant must not spin here.
                    self.armed = Instant::NEVER;
                    if fired {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    fired = true;
                }
                Some(Poll::Pending) | None => return Poll::Pending,
            }
        }
    }

    /// Polls the attempts in flight by index until one decides the call; answers the instant if any had a result.
    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let mut now = None;
        for attempt in self.call.report().ids() {
            if self.call.report().end().is_some() {
                break;
            }
            let Some((held, slot)) = self.slot(Some(attempt)) else { continue };
            let Some(Poll::Ready(result)) = slot.as_mut().as_pin_mut().map(|future| future.poll(cx)) else { continue };
            slot.set(None);
            *held = None;
            let judgement = self.driver.retry_policy.judge(result.as_ref());
            self.last = Some(result);
            let at = *now.get_or_insert_with(|| self.driver.timer.now());
            self.call.handle(at, Input::Finished { attempt, judgement });
        }
        now
    }

    /// Does what the call asks for until it waits or ends, or until something was started, which is then to be polled.
    fn step(&mut self, now: Instant) -> Step<Reply, Error> {
        let mut started = false;
        loop {
            match self.call.poll(now) {
                Action::Start(start) => started |= self.begin(now, start),
                Action::Abandon { attempt } => {
                    if let Some((held, slot)) = self.slot(Some(attempt)) {
                        slot.set(None);
                        *held = None;
                    }
                }
                Action::Wait { .. } if started => return Step::Started,
                Action::Wait { until } => return Step::Wait(until),
                Action::Done(end) => return Step::Done(self.end(end)),
            }
        }
    }

    /// Starts an attempt; if its server has gone since it was picked, the attempt has failed instead.
    fn begin(&mut self, now: Instant, start: Start) -> bool {
        let Some(address) = self.call.host().address_of(start.server) else {
            let judgement = Judgement::new(Verdict::Retry, Code::from(ErrorKind::ServerGone)).never_left();
            self.call.handle(now, Input::Finished { attempt: start.attempt, judgement });
            return false;
        };
        let attempt = start.attempt;
        let future = (self.start)(AttemptInfo::new(start, address, now, self.call.idempotent()));
        // There is one: no more attempts are in flight than backups and one, which are fewer than slots.
        if let Some((held, slot)) = self.slot(None) {
            *held = Some(attempt);
            slot.set(Some(future));
        }
        true
    }

    /// The slot that holds an attempt, or one that holds none.
    fn slot(&mut self, attempt: Option<AttemptId>) -> Option<(&mut Option<AttemptId>, &mut Slot<'r, F>)> {
        self.attempts.iter_mut().zip(&mut self.slots).find(|(held, _)| **held == attempt)
    }

    fn end(&mut self, end: End) -> Result<Reply, CallFailure<Reply, Error>> {
        match (end, self.last.take()) {
            (End::Accepted, Some(Ok(reply))) => Ok(reply),
            (end, last) => Err(CallFailure::Ended { end, last }),
        }
    }
}

impl<P, T, R, C, S, F, Reply, Error, const N: usize, const K: usize> Drop
    for Run<'_, '_, P, T, R, C, S, F, Reply, Error, N, K>
where
    P: Deref<Target: Host>,
{
    fn drop(&mut self) {
        self.call.cancel();
        // What is abandoned is dropped now, and not only when the lender drops its slots.
        for slot in &mut self.slots {
            slot.set(None);
        }
    }
}

enum Step<Reply, Error> {
    Started,
    Wait(Option<Instant>),
    Done(Result<Reply, CallFailure<Reply, Error>>),
}
