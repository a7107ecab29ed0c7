//! The driver: one future that runs a call over a transport and a timer.
//!
//! [`drive`] owns neither the call nor the attempts' futures. The caller lends the call to `drive`, and reads the
//! call's report afterwards. The caller also lends slots for the attempts' futures, one slot for each attempt that may
//! be in flight at the same time. So the driver needs no heap and no task, and moves no large values. Dropping the
//! future cancels the call.
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
//! Each wake-up polls the cancel signal, and then the attempts by index. Then it reads the clock, polls the call, and
//! at the end polls the timer. So a success that is ready wins over a deadline that has passed
//! ([L14](crate::rules#L14)). The clock is read once for each wake-up. It is read again only if an attempt that was
//! started in this wake-up has a result at once, or if the timer fires during this wake-up. The first poll does not
//! read the clock: it uses the instant at which the call started. The timer is created when the call has to wait for
//! the first time, and reset only when the instant to wait for changes.

mod along;
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

pub use along::{Along, CallAlong, FirstRuns};
pub use attempt_timeout::{AttemptTimeout, NoAttemptTimeout};
pub use cancel::{Cancel, CancelSignal, NoCancel};
pub use transport::{AttemptInfo, SendTransport, Timer, Transport};
pub use watch::{NoWatch, Watch};

use crate::call::{Action, Call, Host, Input, Start};
use crate::id::AttemptId;
use crate::outcome::{Code, End, ErrorKind, Judgement, Verdict};
use crate::policy::{ConfigError, RetryPolicy};
use crate::time::{Instant, Timeout};

/// True if the driver may skip a poll of the call. It skips the poll if the attempts that the call has just started
/// have no result yet. On a microcontroller code size matters more, so this is false there.
const SKIPS: bool = !cfg!(target_os = "none");

/// The memory for one attempt's future. The caller makes a slot by `pin!(None)` and lends the slot to the driver.
pub type Slot<'s, F> = Pin<&'s mut Option<F>>;

/// The parameters of [`drive`]: a timer, a retry policy, and optionally a cancel signal, a limit for each attempt and a
/// [`Watch`].
pub struct Driver<'a, T, R, C = NoCancel, A = NoAttemptTimeout, W = NoWatch> {
    timer: &'a T,
    retry_policy: &'a R,
    cancel: C,
    attempt_timeout: A,
    watch: W,
}

impl<'a, T: Timer, R> Driver<'a, T, R> {
    /// Makes a driver that waits on `timer` and judges results by `retry_policy`.
    pub const fn new(timer: &'a T, retry_policy: &'a R) -> Self {
        Self { timer, retry_policy, cancel: NoCancel, attempt_timeout: NoAttemptTimeout, watch: NoWatch }
    }

    /// Returns the same driver with a signal that can cancel the call ([L12](crate::rules#L12)). `cancel` is a
    /// [`CancelSignal`] that the caller lends, or an `Option` of one.
    #[must_use]
    pub const fn cancelled_by<C: Cancel>(self, cancel: C) -> Driver<'a, T, R, C> {
        let Self { timer, retry_policy, attempt_timeout, watch, .. } = self;
        Driver { timer, retry_policy, cancel, attempt_timeout, watch }
    }
}

impl<'a, T: Timer, R, C: Copy> Driver<'a, T, R, C> {
    /// Returns the same driver with a time limit for each attempt ([L21](crate::rules#L21)). If an attempt has no
    /// result within `limit`, the attempt is dropped. It counts as a failure of its server
    /// ([`ErrorKind::AttemptTimeout`]), and another server is tried if the call may retry. If the request may not be
    /// sent twice, the call ends with this failure. Under a limit of 0, only an attempt that is ready at its first poll
    /// can succeed. [`Timeout::NEVER`] means no limit.
    ///
    /// The limit needs no additional timer: the call's only timer is always set to the earliest instant at which
    /// something is due.
    #[must_use]
    pub const fn attempt_timeout(self, limit: Timeout) -> Driver<'a, T, R, C, Timeout> {
        let Self { timer, retry_policy, cancel, watch, .. } = self;
        Driver { timer, retry_policy, cancel, attempt_timeout: limit, watch }
    }
}

impl<'a, T, R, C: Copy, A: Copy> Driver<'a, T, R, C, A> {
    /// Returns the same driver with a [`Watch`]. The driver informs the watch of the call's attempts and of its end.
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

/// The reason why a call has no accepted reply.
#[derive(Debug)]
pub enum CallFailure<Reply, Error> {
    /// The call ended without an accepted reply.
    Ended {
        /// How the call ended.
        end: End,
        /// The last result that the transport gave: its error, or a reply that was not accepted. It is `None` if the
        /// transport gave no result, or if an attempt timeout came after its last result.
        last: Option<Result<Reply, Error>>,
    },
    /// The caller lent too few slots: the call may have more attempts in flight than there are slots. Nothing was
    /// started.
    Config(ConfigError),
}

/// Returns a future that runs a call to its end. The future's output is the accepted reply. Afterwards,
/// [`Call::report`] says what happened.
///
/// `start` makes the future of one attempt, and `drive` polls this future. At most `K` futures are in flight at the
/// same time. With a [`Transport`], `start` is `|attempt| transport.start(&request, attempt)`. If a slot already holds
/// a future, that future is dropped and not polled. Dropping the returned future cancels the call
/// ([L12](crate::rules#L12)). A call that has already ended is not run again: the result is then an error that says how
/// the call ended.
///
/// Await the returned future as soon as the call is made. The first poll uses the call's start as the present instant,
/// which saves one reading of the clock. If the first poll comes late, the first attempt starts late, and the remaining
/// time in its [`AttemptInfo`] is too long.
///
/// # Errors
/// Returns a [`CallFailure`] if the call ends without an accepted reply, or if the caller lent too few slots.
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
    // The future holds `run` once. An `async fn` would also hold its arguments.
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

/// A host that knows the addresses of its servers.
pub trait Addresses {
    /// The type of an address that an attempt can be sent to.
    type Address;

    /// Returns the address of a server. Returns `None` if the server has been removed from the list.
    fn address_of(&self, server: crate::id::ServerId) -> Option<Self::Address>;
}

struct Run<'r, 'o, P, T, R, C, A, W, Start, F, Reply, Error, const N: usize, const K: usize>
where
    P: Deref<Target: Host>,
    W: Watch<N>,
{
    call: &'r mut Call<'o, P, N>,
    slots: [Slot<'r, F>; K],
    /// For each slot, the number of the attempt whose future is in the slot.
    attempts: [Option<AttemptId>; K],
    driver: Driver<'r, T, R, C, A, W>,
    start: Start,
    /// The instant to which the timer is set, or [`Instant::NEVER`] if the timer is not set.
    armed: Instant,
    /// The result of the last attempt that ended.
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
        // The first poll uses the start of the call as the present instant. This saves one reading of the clock.
        let mut now = None;
        if core::mem::take(&mut self.first_poll) {
            now = Some(self.call.report().started());
        }
        if self.driver.cancel.poll(cx) {
            let at = *now.get_or_insert_with(|| self.driver.timer.now());
            self.call.handle(at, Input::Cancel);
        }
        let mut fired = false;
        // The instant until which the call waits. It is set if the call has just started attempts. These attempts are
        // polled next.
        let mut started = None;
        loop {
            let finished = self.poll_attempts(cx);
            let until = match (finished, started.take()) {
                // Nothing has happened to the call since its last answer.
                (None, Some(until)) => until,
                _ => {
                    let at = match (finished, now.take()) {
                        (Some(at), _) | (None, Some(at)) => at,
                        (None, None) => self.driver.timer.now(),
                    };
                    self.time_out(at);
                    match self.step(at) {
                        StepResult::Done(result) => return Poll::Ready(result),
                        StepResult::Started(until) => {
                            // New attempts are polled at once, at the instant of their start. A limit of 0 may then end
                            // these attempts (L21).
                            match self.driver.attempt_timeout.limit() {
                                None if SKIPS => started = Some(until),
                                _ => now = Some(at),
                            }
                            continue;
                        }
                        StepResult::Wait(_) if self.call.host().poll_room(cx).is_ready() => {
                            self.call.look_again(at);
                            now = Some(at);
                            continue;
                        }
                        StepResult::Wait(until) => until,
                    }
                }
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
                    // A finished sleep must not be polled again. If the timer fires too early twice in a row, this task
                    // asks to be woken again and does not loop here.
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

    /// Polls the attempts in flight by index until one of them decides the call. Returns the present instant if at
    /// least one attempt had a result.
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

    /// Ends the attempts that have reached their time limit ([L21](crate::rules#L21)). The driver does this after it
    /// has handled ready results, and before it checks the call's own timers ([L14](crate::rules#L14)).
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
            // The call's last failure is now this timeout. The transport has no result for a timeout.
            self.last = None;
            let judgement = Judgement::new(Verdict::Retry, Code::from(ErrorKind::AttemptTimeout));
            self.call.handle(now, Input::Finished { attempt, judgement });
            self.driver.watch.attempt_ended(self.call.report(), attempt);
        }
    }

    /// Returns the earlier of two instants: `until`, and the instant at which the next attempt reaches its limit
    /// ([L21](crate::rules#L21)).
    fn or_attempt_timeout(&self, until: Option<Instant>) -> Option<Instant> {
        let Some(limit) = self.driver.attempt_timeout.limit() else { return until };
        let started = self.attempts.iter().flatten().filter_map(|attempt| self.started(*attempt));
        let next = started.map(|started| started + limit).min();
        until.into_iter().chain(next).min().filter(|at| *at < Instant::NEVER)
    }

    /// Returns when an attempt was started. Returns `None` if the call has no such attempt.
    fn started(&self, attempt: AttemptId) -> Option<Instant> {
        let report = self.call.report();
        Some(report.started() + report.attempts().get(attempt.index())?.started_micros())
    }

    /// Carries out the call's actions. Returns when the call waits or ends, or when started attempts have to be polled.
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
                Action::Wait { until } if started => return StepResult::Started(until.filter(|_| SKIPS)),
                Action::Wait { until } => return StepResult::Wait(until),
                Action::Done(end) => return StepResult::Done(self.end(end)),
            }
        }
    }

    /// Starts an attempt and returns true. If the server has been removed from the list since it was picked, the
    /// attempt fails as `ServerGone`, and the result is false.
    fn begin(&mut self, now: Instant, start: Start) -> bool {
        self.driver.watch.attempt_started(self.call.report(), start.attempt);
        let Some(address) = self.call.host().address_of(start.server) else {
            let judgement = Judgement::new(Verdict::Retry, Code::from(ErrorKind::ServerGone)).never_left();
            self.call.handle(now, Input::Finished { attempt: start.attempt, judgement });
            self.driver.watch.attempt_ended(self.call.report(), start.attempt);
            return false;
        };
        let attempt = start.attempt;
        let info = AttemptInfo::new(start, address, now, (self.call.idempotent(), self.call.streaming()));
        // There is a free slot: at most `max_backups` + 1 attempts are in flight, and `drive` has checked that there
        // are as many slots.
        let mut slots = self.attempts.iter_mut().zip(&mut self.slots);
        if let Some((held, slot)) = slots.find(|(held, _)| held.is_none()) {
            *held = Some(attempt);
            // The slot is emptied first. So the compiler makes the future in its slot, and does not copy it there.
            slot.set(None);
            slot.set(Some((self.start)(info)));
        }
        true
    }

    /// Returns the slot that holds `attempt`. If `attempt` is `None`, returns a free slot.
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
        // Abandoned attempts are dropped now. Otherwise they would exist until the caller drops the slots.
        for slot in &mut self.slots {
            slot.set(None);
        }
        if W::WATCHES && !self.first_poll {
            self.driver.watch.call_ended(self.call.report());
        }
    }
}

enum StepResult<Reply, Error> {
    /// Attempts have started. The driver polls them next. The instant is the `until` of the call's [`Action::Wait`].
    Started(Option<Instant>),
    Wait(Option<Instant>),
    Done(Result<Reply, CallFailure<Reply, Error>>),
}
