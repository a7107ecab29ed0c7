//! One call: a state machine that goes from the first attempt to the report.
//!
//! The driver tells a [`Call`] the time and what happened, and the call answers what to do next. It starts attempts,
//! decides on retries and backups, keeps the deadline, and ends exactly once. A call holds no list of servers and does
//! no I/O: it asks its [`Host`] for a server, and the driver sends the request.
//!
//! # The contract
//!
//! The driver calls [`Call::poll`] until the answer is [`Action::Wait`] or [`Action::Done`]. On `Wait`, the driver
//! waits until the given instant or until something happens. It passes each event to [`Call::handle`], and then polls
//! again. Events of one instant have a fixed order ([L14](crate::rules#L14)): inputs in the order in which they are
//! passed in, then the deadline, then the pending start, then the backup timer. Time never goes back: if `now` is
//! before the latest instant that the call has seen, that instant is used instead.
//!
//! # Cost
//!
//! A call allocates nothing, takes no lock and reads no clock. A poll does a bounded amount of work: it looks at each
//! attempt, and searches for a server once for each action. There are two exceptions. A first attempt may search up to
//! four times, if other calls take the server that the balancer offered to this call. Under a host with a cap
//! ([L22](crate::rules#L22)), every attempt may search up to four times, if the server is full. A `Call` with room for
//! 4 attempts is at most 192 bytes on a 64-bit target, including its report.

mod action;
mod ending;
mod flags;
mod following;
mod host;
mod report;
mod starting;
mod text;

#[cfg(test)]
mod tests;

use core::fmt;
use core::ops::Deref;

pub use action::{Action, Input, Start};
pub use host::Host;
pub use report::Report;

use crate::id::{AttemptId, ServerId};
use crate::outcome::{Attempt, End, Feedback, Judgement, Kind, Verdict};
use crate::policy::{CallOptions, ConfigError, Idempotency};
use crate::random::Random;
use crate::time::{Instant, Micros};
use flags::Flags;

/// True if there is separate inlined code for the usual case: a first attempt that is accepted. This code leaves out
/// the parts that only other attempts need. On a microcontroller code size matters more, so this is false there, and
/// all attempts share one path.
const FAST_PATH: bool = !cfg!(target_os = "none");

/// True if hosts may limit the attempts in flight at a server and let calls wait in a queue ([L22](crate::rules#L22)).
/// On a microcontroller this is false, so that the code for these limits takes no space.
const CAPS: bool = !cfg!(target_os = "none");

/// The timers of a call, in the order in which they fire within one instant (L14).
#[derive(Clone, Copy)]
enum CallTimer {
    Deadline,
    /// The timer of the next start that is not a backup: the start of the first attempt or of a retry.
    Pending,
    Backup,
}

/// One call. It makes at most `N` attempts, including the first.
///
/// `P` points to the [`Host`], for example a reference on a microcontroller and an `Arc` elsewhere. If a call is
/// dropped before it is done, it is cancelled at the latest instant that it has seen ([L20](crate::rules#L20)). The
/// servers' counts of attempts in flight are then corrected, and the policy is informed once.
///
/// ```
/// use hedge_core::balance::RoundRobin;
/// use hedge_core::call::{Action, Input};
/// use hedge_core::channel::Channel;
/// use hedge_core::outcome::Verdict;
/// use hedge_core::policy::{CallOptions, ChannelOptions};
/// use hedge_core::time::{Duration, Instant};
///
/// let mut channel: Channel<&str, RoundRobin> = Channel::new(ChannelOptions::brpc(), RoundRobin::new(7), 7);
/// channel.insert("10.0.0.1:80", "")?;
///
/// let start = Instant::ZERO;
/// let options = CallOptions::new();
/// let mut call = channel.call(&options, start)?;
/// let Action::Start(first) = call.poll(start) else { panic!("a call begins with its first attempt") };
/// // … send it to channel.cluster().address(first.server), and when the answer is there:
/// let now = start + Duration::from_millis(3);
/// call.handle(now, Input::finished(first.attempt, Verdict::Accept));
/// assert!(matches!(call.poll(now), Action::Done(_)));
/// assert_eq!(call.report().elapsed(), Duration::from_millis(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Call<'o, P, const N: usize = 4>
where
    P: Deref<Target: Host>,
{
    host: P,
    options: &'o CallOptions<'o>,
    report: Report<N>,
    /// The instants at which the call's timers fire, in the order of [`CallTimer`]. [`Instant::NEVER`] means that a
    /// timer is not armed.
    timers: [Instant; 3],
    /// The latest instant that the driver has passed in.
    seen: Instant,
    backup_delay: Micros,
    random: Random,
    /// The server of the failure that the pending start retries.
    retry_of: ServerId,
    /// The server of the held failure ([L9](crate::rules#L9)). The backup replaces the retry of this failure.
    held_of: ServerId,
    max_retry: u8,
    max_backups: u8,
    backups: u8,
    /// Before the end: how many attempts are in flight. After the end: how many abandoned attempts have not been
    /// reported to the driver yet.
    open: u8,
    /// After the end: the number of the attempt at which the search for the next unreported abandoned attempt begins.
    abandoned: u8,
    flags: Flags,
}

impl<'o, P, const N: usize> Call<'o, P, N>
where
    P: Deref<Target: Host>,
{
    /// Makes a call that starts at `now`. Nothing happens before the first poll.
    ///
    /// # Errors
    /// Returns an error if the options ask for more attempts than `N` ([L3](crate::rules#L3)), or if the host needs a
    /// request code and the options have neither a request code nor servers ([S5](crate::rules#S5)).
    pub fn new(host: P, options: &'o CallOptions<'o>, now: Instant) -> Result<Self, ConfigError> {
        const { assert!(0 < N && N < 256, "a call holds 1 to 255 attempts") };
        let channel = host.options();
        let max_retry = options.max_retry.unwrap_or(channel.max_retry);
        ConfigError::check(max_retry, N)?;
        if options.request_code.is_none() && options.servers.is_none() && host.needs_request_code() {
            return Err(ConfigError::NoRequestCode);
        }
        let deadline = options.timeout.unwrap_or(channel.timeout).ends(now);
        let max_backups = options.max_backups.unwrap_or(channel.max_backups);
        Ok(Self {
            host,
            options,
            report: Report::new(now),
            timers: [deadline, now, Instant::NEVER],
            seen: now.min(Instant::LAST),
            backup_delay: Micros::ZERO,
            random: Random::unseeded(),
            retry_of: ServerId::default(),
            held_of: ServerId::default(),
            max_retry,
            max_backups,
            backups: 0,
            open: 0,
            abandoned: 0,
            flags: Flags::default(),
        })
    }

    /// Returns the next thing that the driver should do. Call this until it returns `Wait` or `Done`.
    // This function is inlined, except on a microcontroller, since most polls find nothing to do.
    #[cfg_attr(not(target_os = "none"), inline)]
    pub fn poll(&mut self, now: Instant) -> Action {
        self.see(now);
        if !self.flags.has(Flags::POLLED) {
            self.flags.set(Flags::POLLED);
            // If the call ended before its first poll, the policy is informed only now, since it learns only of calls
            // that were polled (B2).
            if let Some(end) = self.report.end() {
                self.notify_late(end);
            }
        }
        // The loop has few rounds: each round disarms the timer that was due, and then starts an attempt, ends the call
        // or arms another timer.
        loop {
            if let Some(action) = self.idle() {
                return action;
            }
            if let Some(start) = self.act() {
                return Action::Start(start);
            }
        }
    }

    /// Returns the action if the call has ended or if no timer is due. Returns `None` if a timer is due.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn idle(&mut self) -> Option<Action> {
        if let Some(end) = self.report.end() {
            return Some(self.after_end(end));
        }
        let next = self.next_timer();
        (next > self.seen).then(|| Action::Wait { until: Some(next).filter(|at| *at < Instant::NEVER) })
    }

    /// Handles the timer that is due first. Returns the attempt to start. Returns `None` if no attempt starts.
    #[cfg_attr(not(target_os = "none"), inline(never))]
    fn act(&mut self) -> Option<Start> {
        if self.due(CallTimer::Deadline) {
            self.end(End::Deadline);
            return None;
        }
        match self.take_due()? {
            Kind::First if FAST_PATH => self.start(Kind::First),
            kind => self.start(kind),
        }
    }

    /// Informs the call of an event. Nothing changes if the input is the result of an attempt that is no longer in
    /// flight, or if the call has already ended ([L1](crate::rules#L1)).
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.see(now);
        if self.report.end().is_some() {
            return;
        }
        match input {
            Input::Cancel => self.end(End::Cancelled),
            Input::Finished { attempt, judgement } => self.finish(attempt, &judgement),
        }
    }

    /// Informs the call that its host's queue may have room: the next poll searches for a server again
    /// ([L22](crate::rules#L22)). The driver calls this when [`Host::poll_room`] is ready. A call that does not wait in
    /// a queue is not changed.
    pub fn look_again(&mut self, now: Instant) {
        self.see(now);
        if self.flags.has(Flags::QUEUED) && self.report.attempts().is_empty() && self.report.end().is_none() {
            self.set(CallTimer::Pending, self.seen);
        }
    }

    /// Returns the report of the call so far. The report is complete once the call is done.
    pub const fn report(&self) -> &Report<N> {
        &self.report
    }

    /// Returns the host of this call. The host chooses the servers.
    pub fn host(&self) -> &P::Target {
        &self.host
    }

    /// Returns the deadline of this call. Returns [`Instant::NEVER`] if it has none.
    pub const fn deadline(&self) -> Instant {
        self.timer(CallTimer::Deadline)
    }

    /// Returns how many backups this call may send. At most `max_backups + 1` attempts are in flight at once (L6).
    pub const fn max_backups(&self) -> u8 {
        self.max_backups
    }

    /// Returns whether the request may be sent twice ([L15](crate::rules#L15)). The call's options decide. If they are
    /// `Unset`, the host decides ([`Host::idempotency`]).
    pub fn idempotent(&self) -> bool {
        let idempotency = match self.options.idempotency {
            Idempotency::Unset => self.host.idempotency(),
            own => own,
        };
        idempotency != Idempotency::NotIdempotent
    }

    /// Returns whether an attempt wins as soon as the head of its reply has arrived (T2).
    pub const fn streaming(&self) -> bool {
        self.options.streaming
    }

    /// Returns the server that still sends the body of a streaming call's winner ([T2](crate::rules#T2)). The reader of
    /// the body must call [`Host::released`] once for this server, when the body has ended or is dropped.
    pub fn winner_at_work(&self) -> Option<ServerId> {
        let winner = self.report.winner().filter(|_| self.options.streaming)?;
        self.report.attempts().get(winner.index()).map(Attempt::server)
    }

    /// Ends the call as cancelled, at the latest instant that it has seen (L12, L20). Does nothing if the call has
    /// ended.
    pub(crate) fn cancel(&mut self) {
        if self.report.end().is_none() {
            self.end(End::Cancelled);
        }
    }

    // ---- results of attempts ----

    fn finish(&mut self, id: AttemptId, judgement: &Judgement) {
        match judgement.verdict {
            Verdict::Accept if FAST_PATH => self.settle(id, Verdict::Accept, judgement),
            verdict => self.settle(id, verdict, judgement),
        }
    }

    /// Records the result of an attempt. `verdict` equals `judgement.verdict`. It is a separate parameter: if a caller
    /// passes a constant, the compiler makes the inlined copy shorter.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn settle(&mut self, id: AttemptId, verdict: Verdict, judgement: &Judgement) {
        let offset = self.offset();
        let Some(attempt) = self.report.get_mut(id).filter(|attempt| attempt.in_flight()) else { return };
        let Judgement { code, local, never_left, .. } = *judgement;
        let elapsed = attempt.finish(offset, verdict, code);
        if never_left && verdict != Verdict::Accept {
            attempt.set_never_left();
        }
        let attempt = *attempt;
        // There is no underflow, since this attempt was counted in `open`.
        self.open -= 1;
        self.report.decide(id);
        let feedback = match verdict {
            Verdict::Accept => Feedback::Success { latency: elapsed },
            _ if local => Feedback::Local { age: elapsed },
            // The server has answered: the request was wrong, not the server.
            Verdict::Fatal => Feedback::Success { latency: elapsed },
            Verdict::Retry | Verdict::Wait => Feedback::Failure { latency: elapsed },
        };
        // The server of a streaming call's winner still sends the body (T2).
        self.tell(id, &attempt, feedback, code, verdict == Verdict::Accept && self.options.streaming);
        match verdict {
            Verdict::Accept => self.end_inline(End::Accepted),
            // The call does not end here: a success that is passed in before the next poll still wins (L14).
            _ if self.due(CallTimer::Deadline) => {}
            Verdict::Fatal => self.end(End::Fatal),
            Verdict::Retry | Verdict::Wait => self.follow(attempt.server(), judgement),
        }
    }

    // ---- timers ----

    /// Disarms the timer that is due and returns the kind of attempt to start. If both timers are due, the pending
    /// start comes before the backup ([L14](crate::rules#L14)). Returns `None` if the backup timer is armed again
    /// instead ([L17](crate::rules#L17)).
    fn take_due(&mut self) -> Option<Kind> {
        if self.due(CallTimer::Pending) {
            self.set(CallTimer::Pending, Instant::NEVER);
            self.flags.take(Flags::PUSHED);
            return Some(if self.report.attempts().is_empty() { Kind::First } else { Kind::Retry });
        }
        self.set(CallTimer::Backup, Instant::NEVER);
        if self.armed(CallTimer::Pending) && self.open == 0 {
            // A backup needs an attempt in flight. Here no attempt is in flight, and only a backoff is pending. So the
            // backup timer moves to one backup delay after the pending start (L17).
            self.arm_backup(self.timer(CallTimer::Pending));
            return None;
        }
        Some(Kind::Backup)
    }

    /// Sets the backup timer to one backup delay after `from`.
    // Not inlined on a microcontroller: it is called in many places, and code size counts.
    #[cfg_attr(target_os = "none", inline(never))]
    fn arm_backup(&mut self, from: Instant) {
        let at = from + self.backup_delay;
        // Nothing starts at or after the deadline (L2).
        self.set(CallTimer::Backup, if at < self.deadline() { at } else { Instant::NEVER });
    }

    // ---- helpers ----

    // Not inlined on a microcontroller: it is called in many places, and code size counts.
    #[cfg_attr(target_os = "none", inline(never))]
    fn see(&mut self, now: Instant) {
        if now > self.seen {
            // The instant is always below `NEVER`, since a timer that is not armed must never be due.
            self.seen = now.min(Instant::LAST);
        }
    }

    // Not inlined on a microcontroller: it is called in many places, and code size counts.
    #[cfg_attr(target_os = "none", inline(never))]
    fn offset(&self) -> Micros {
        self.seen.micros_since(self.report.started())
    }

    /// Returns the instant at which an attempt that starts now counts as sent. This is the present instant, but at most
    /// the latest start that a report can hold.
    fn sent_now(&self) -> Instant {
        self.report.started() + Attempt::kept(self.offset())
    }

    // Not inlined on a microcontroller: it is called in many places, and code size counts.
    #[cfg_attr(target_os = "none", inline(never))]
    fn attempts_left(&self) -> bool {
        // This function is called only after the first attempt. The number of extra attempts is the length of the list
        // minus one.
        self.report.attempts().len() <= usize::from(self.max_retry)
    }

    /// Returns the time left until the deadline. Returns `None` if the call has no deadline.
    fn remaining(&self) -> Option<Micros> {
        let deadline = self.deadline();
        (deadline < Instant::NEVER).then(|| deadline.micros_since(self.seen))
    }

    const fn timer(&self, timer: CallTimer) -> Instant {
        let [deadline, pending, backup] = self.timers;
        match timer {
            CallTimer::Deadline => deadline,
            CallTimer::Pending => pending,
            CallTimer::Backup => backup,
        }
    }

    const fn set(&mut self, timer: CallTimer, at: Instant) {
        let [deadline, pending, backup] = &mut self.timers;
        *(match timer {
            CallTimer::Deadline => deadline,
            CallTimer::Pending => pending,
            CallTimer::Backup => backup,
        }) = at;
    }

    fn armed(&self, timer: CallTimer) -> bool {
        self.timer(timer) < Instant::NEVER
    }

    fn due(&self, timer: CallTimer) -> bool {
        self.timer(timer) <= self.seen
    }

    fn next_timer(&self) -> Instant {
        let [deadline, pending, backup] = self.timers;
        deadline.min(pending).min(backup)
    }
}

impl<P, const N: usize> Drop for Call<'_, P, N>
where
    P: Deref<Target: Host>,
{
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<P, const N: usize> fmt::Debug for Call<'_, P, N>
where
    P: Deref<Target: Host>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("report", &self.report).field("seen", &self.seen).finish_non_exhaustive()
    }
}
