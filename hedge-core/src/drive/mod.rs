//! The driver: one future that runs a call over a transport and a timer.
//!
//! [`drive`] owns nothing. The caller lends it the call, and reads the call's report afterwards. The caller also lends
//! slots for the attempts' futures, one for each attempt that may be in flight at once. So there is no heap and no
//! task, and nothing large is moved. Dropping the future cancels the call.
//!
//! ```
//! use core::pin::pin;
//! use hedge_core::id::AttemptId;
//! use hedge_core::drive::{Driver, drive};
//! # use hedge_core::balance::RoundRobin;
//! # use hedge_core::channel::Channel;
//! # use hedge_core::drive::Timer;
//! # use hedge_core::outcome::ErrorKind;
//! # use hedge_core::policy::{AttemptError, CallOptions, ChannelOptions, DefaultRetryPolicy};
//! # use hedge_core::time::Instant;
//! # struct Still;
//! # impl Timer for Still {
//! #     type Sleep = core::future::Pending<()>;
//! #     fn now(&self) -> Instant { Instant::ZERO }
//! #     fn sleep_until(&self, _: Instant) -> Self::Sleep { core::future::pending() }
//! # }
//! # struct Refused;
//! # impl AttemptError for Refused { fn kind(&self) -> ErrorKind { ErrorKind::Refused } }
//! # let mut channel: Channel<&str, RoundRobin> = Channel::new(ChannelOptions::brpc(), RoundRobin::new(1), 1);
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
//! Each wake-up polls the cancel signal, then the attempts by index, then reads the clock, then polls the call, and
//! polls the timer last. So a success that is ready wins over a deadline that has passed ([L14](crate::rules#L14)). The
//! clock is read once a wake-up; the first poll uses the instant at which the call started instead. The timer is
//! created when the call first has to wait. It is reset only when the call has to wait for another instant.

mod attempt_timeout;
mod cancel;
mod transport;
mod watch;

#[cfg(test)]
mod tests;

use core::fmt;
use core::future::{Future, poll_fn};
use core::ops::Deref;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

pub use attempt_timeout::{AttemptTimeout, NoAttemptTimeout};
pub use cancel::{Cancel, CancelSignal, NoCancel};
pub use transport::{AttemptInfo, SendTransport, Timer, Transport};
pub use watch::{NoWatch, Watch};

use crate::call::{Action, Call, Host, Input, Start};
use crate::id::AttemptId;
use crate::outcome::{Code, End, ErrorKind, Judgement, Verdict};
use crate::policy::{ConfigError, RetryPolicy};
use crate::time::{Instant, Timeout};

/// Room for one attempt's future, lent by the caller: `pin!(None)`.
pub type Slot<'s, F> = Pin<&'s mut Option<F>>;

/// What a driver runs on.
pub struct Driver<'a, T, R, C = NoCancel, A = NoAttemptTimeout, W = NoWatch> {
    timer: &'a T,
    retry_policy: &'a R,
    cancel: C,
    attempt_timeout: A,
    watch: W,
}

impl<'a, T: Timer, R> Driver<'a, T, R> {
    /// A driver that waits on `timer` and judges results by `retry_policy`.
    pub const fn new(timer: &'a T, retry_policy: &'a R) -> Self {
        Self { timer, retry_policy, cancel: NoCancel, attempt_timeout: NoAttemptTimeout, watch: NoWatch }
    }

    /// The same driver with a signal that may cancel the call (L12): a [`CancelSignal`] that the caller lends, or an
    /// `Option` of one.
    #[must_use]
    pub const fn cancelled_by<C: Cancel>(self, cancel: C) -> Driver<'a, T, R, C> {
        let Self { timer, retry_policy, attempt_timeout, watch, .. } = self;
        Driver { timer, retry_policy, cancel, attempt_timeout, watch }
    }
}

impl<'a, T: Timer, R, C: Copy> Driver<'a, T, R, C> {
    /// The same, with a limit for each attempt, or with none (L21). An attempt that takes as long is dropped, counts as a
    /// failure of its server ([`ErrorKind::AttemptTimeout`]), and is retried elsewhere if the call may retry. A call that may
    /// not be sent twice ends with it. A limit of 0 lets no attempt succeed that has to wait.
    ///
    /// It costs no timer of its own: the one timer of a call is set to whatever comes first.
    #[must_use]
    pub const fn attempt_timeout(self, limit: Timeout) -> Driver<'a, T, R, C, Timeout> {
        let Self { timer, retry_policy, cancel, watch, .. } = self;
        Driver { timer, retry_policy, cancel, attempt_timeout: limit, watch }
    }
}

impl<'a, T, R, C: Copy, A: Copy> Driver<'a, T, R, C, A> {
    /// The same, with one that is told of the call's attempts and of its end: a [`Watch`].
    #[must_use]
    pub const fn watched_by<W>(self, watch: W) -> Driver<'a, T, R, C, A, W> {
        let Self { timer, retry_policy, cancel, attempt_timeout, .. } = self;
        Driver { timer, retry_policy, cancel, attempt_timeout, watch }
    }
}

impl<T, R, C, A, W> fmt::Debug for Driver<'_, T, R, C, A, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Why a call has no reply.
#[derive(Debug)]
pub enum CallFailure<Reply, Error> {
    /// The call ended without an accepted reply.
    Ended {
        /// How it ended.
        end: End,
        /// The last failure, if any attempt failed: the transport's error, or a reply that was not accepted.
        last: Option<Result<Reply, Error>>,
    },
    /// Fewer slots were lent than attempts may be in flight at once. Nothing was started.
    Config(ConfigError),
}

/// Runs a call to its end. [`Call::report`] then says what happened.
///
/// `start` makes the future of one attempt, which `drive` then polls. At most `K` of them are polled at once. Over a
/// [`Transport`] it is `|attempt| transport.start(&request, attempt)`. A future that a slot held before is never
/// polled. Dropping the returned future cancels the call, at any time (L12). A call that has already ended is not run
/// again: the result says how it ended, without a reply.
///
/// Await it as soon as the call is made. The first poll saves a look at the clock and takes the call's start for the
/// present. A future that is first polled later starts its first attempt late and tells it more time than remains.
///
/// # Errors
/// See [`CallFailure`].
pub fn drive<'r, P, T, R, C, A, W, Reply, Error, F, const N: usize, const K: usize>(
    call: &'r mut Call<'_, P, N>,
    slots: [Slot<'r, F>; K],
    driver: Driver<'r, T, R, C, A, W>,
    start: impl FnMut(AttemptInfo<<P::Target as Addresses>::Address>) -> F,
) -> impl Future<Output = Result<Reply, CallFailure<Reply, Error>>>
where
    P: Deref<Target: Host + Addresses>,
    T: Timer,
    R: RetryPolicy<Reply, Error>,
    C: Cancel,
    A: AttemptTimeout,
    W: Watch<N>,
    F: Future<Output = Result<Reply, Error>>,
{
    // `run` is made outside the future, which then holds it once. An `async fn` would hold its arguments in addition.
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

/// The addresses of a host's servers.
pub trait Addresses {
    /// What an attempt is sent to.
    type Address;

    /// The address of a server; `None` if it is gone from the list.
    fn address_of(&self, server: crate::id::ServerId) -> Option<Self::Address>;
}

struct Run<'r, 'o, P, T, R, C, A, W, Start, F, Reply, Error, const N: usize, const K: usize>
where
    P: Deref<Target: Host>,
    W: Watch<N>,
{
    call: &'r mut Call<'o, P, N>,
    slots: [Slot<'r, F>; K],
    /// The attempt that each slot holds.
    attempts: [Option<AttemptId>; K],
    driver: Driver<'r, T, R, C, A, W>,
    start: Start,
    /// The instant that the timer is set to; [`Instant::NEVER`] if it is not set.
    armed: Instant,
    /// The last result of an attempt.
    last: Option<Result<Reply, Error>>,
    first_poll: bool,
}

impl<'r, P, T, R, C, A, W, S, F, Reply, Error, const N: usize, const K: usize>
    Run<'r, '_, P, T, R, C, A, W, S, F, Reply, Error, N, K>
where
    P: Deref<Target: Host + Addresses>,
    T: Timer,
    R: RetryPolicy<Reply, Error>,
    C: Cancel,
    A: AttemptTimeout,
    W: Watch<N>,
    S: FnMut(AttemptInfo<<P::Target as Addresses>::Address>) -> F,
    F: Future<Output = Result<Reply, Error>>,
{
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut sleep: Pin<&mut Option<T::Sleep>>,
    ) -> Poll<Result<Reply, CallFailure<Reply, Error>>> {
        // The first poll takes the call's start for the present, which saves a look at the clock.
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
            self.time_out(at);
            let until = match self.step(at) {
                StepResult::Done(result) => return Poll::Ready(result),
                StepResult::Started => {
                    // The new attempts are polled at once, at the instant of their start.
                    now = Some(at);
                    continue;
                }
                StepResult::Wait(_) if self.call.host().poll_room(cx).is_ready() => {
                    self.call.look_again(at);
                    now = Some(at);
                    continue;
                }
                StepResult::Wait(until) => until,
            };
            let Some(until) = self.or_attempt_timeout(until) else { return Poll::Pending };
            if self.armed != until {
                self.armed = until;
                match sleep.as_mut().as_pin_mut() {
                    Some(sleep) => self.driver.timer.reset(sleep, until),
                    None => sleep.set(Some(self.driver.timer.sleep_until(until))),
                }
            }
            match sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(cx)) {
                Some(Poll::Ready(())) => {
                    // A finished sleep must not be polled again. If the timer fires early once more, the task asks for
                    // another wake-up, so that it does not spin here.
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

    /// Polls the attempts in flight by index until one decides the call. Returns the present instant if any had a
    /// result.
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
            self.driver.watch.attempt_ended(self.call.report(), attempt);
        }
        now
    }

    /// Ends the attempts whose time is up (L21), after results that are there and before the call's own timers (L14).
    fn time_out(&mut self, now: Instant) {
        let Some(limit) = self.driver.attempt_timeout.limit() else { return };
        for attempt in self.call.report().ids() {
            if self.call.report().end().is_some() {
                return;
            }
            if self.started(attempt).is_none_or(|started| now.micros_since(started) < limit) {
                continue;
            }
            let Some((held, slot)) = self.slot(Some(attempt)) else { continue };
            slot.set(None);
            *held = None;
            // The last failure is this one, of which the transport has nothing to tell.
            self.last = None;
            let judgement = Judgement::new(Verdict::Retry, Code::from(ErrorKind::AttemptTimeout));
            self.call.handle(now, Input::Finished { attempt, judgement });
            self.driver.watch.attempt_ended(self.call.report(), attempt);
        }
    }

    /// The earlier of `until` and the instant at which the next attempt's time is up.
    fn or_attempt_timeout(&self, until: Option<Instant>) -> Option<Instant> {
        let Some(limit) = self.driver.attempt_timeout.limit() else { return until };
        let started = self.attempts.iter().flatten().filter_map(|attempt| self.started(*attempt));
        let next = started.map(|started| started + limit).min();
        until.into_iter().chain(next).min().filter(|at| *at < Instant::NEVER)
    }

    /// When an attempt was started.
    fn started(&self, attempt: AttemptId) -> Option<Instant> {
        let report = self.call.report();
        Some(report.started() + report.attempts().get(attempt.index())?.started_micros())
    }

    /// Does what the call asks for until it waits or ends, or until something was started, which is then to be polled.
    fn step(&mut self, now: Instant) -> StepResult<Reply, Error> {
        let mut started = false;
        loop {
            match self.call.poll(now) {
                Action::Start(start) => started |= self.begin(now, start),
                Action::Abandon { attempt } => {
                    self.driver.watch.attempt_ended(self.call.report(), attempt);
                    if let Some((held, slot)) = self.slot(Some(attempt)) {
                        slot.set(None);
                        *held = None;
                    }
                }
                Action::Wait { .. } if started => return StepResult::Started,
                Action::Wait { until } => return StepResult::Wait(until),
                Action::Done(end) => return StepResult::Done(self.end(end)),
            }
        }
    }

    /// Starts an attempt; returns whether it did. If the server has left the list since it was picked, the attempt
    /// fails as `ServerGone` instead.
    fn begin(&mut self, now: Instant, start: Start) -> bool {
        self.driver.watch.attempt_started(self.call.report(), start.attempt);
        let Some(address) = self.call.host().address_of(start.server) else {
            let judgement = Judgement::new(Verdict::Retry, Code::from(ErrorKind::ServerGone)).never_left();
            self.call.handle(now, Input::Finished { attempt: start.attempt, judgement });
            self.driver.watch.attempt_ended(self.call.report(), start.attempt);
            return false;
        };
        let attempt = start.attempt;
        let future =
            (self.start)(AttemptInfo::new(start, address, now, (self.call.idempotent(), self.call.streaming())));
        // There is a free slot: at most `max_backups` + 1 attempts are in flight, and `drive` has checked that there
        // are as many slots.
        if let Some((held, slot)) = self.slot(None) {
            *held = Some(attempt);
            slot.set(Some(future));
        }
        true
    }

    /// The slot that holds `attempt`; for `None`, a free one.
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

impl<P, T, R, C, A, W, S, F, Reply, Error, const N: usize, const K: usize> Drop
    for Run<'_, '_, P, T, R, C, A, W, S, F, Reply, Error, N, K>
where
    P: Deref<Target: Host>,
    W: Watch<N>,
{
    fn drop(&mut self) {
        self.call.cancel();
        // What is abandoned is dropped now, and not only when the lender drops its slots.
        for slot in &mut self.slots {
            slot.set(None);
        }
        if W::WATCHES && !self.first_poll {
            self.driver.watch.call_ended(self.call.report());
        }
    }
}

enum StepResult<Reply, Error> {
    Started,
    Wait(Option<Instant>),
    Done(Result<Reply, CallFailure<Reply, Error>>),
}
