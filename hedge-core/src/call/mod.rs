//! One call: a state machine from the first attempt to the report.
//!
//! A [`Call`] is told the time and what happened, and answers what to do next. It starts attempts, decides on retries and
//! backups, keeps the deadline, and ends exactly once. It knows no list of servers and does no I/O: it asks a [`Host`].
//!
//! # The contract
//!
//! The driver calls [`Call::poll`] until it answers [`Action::Wait`] or [`Action::Done`]. On `Wait` it waits until the
//! given instant, or until something happens, which it hands to [`Call::handle`]. Then it polls again. Within one
//! instant the order is fixed ([L14](crate::rules#L14)): inputs as they are handed in, the deadline, the pending start,
//! the backup timer. `now` never goes back: an instant before the latest seen counts as the latest seen.
//!
//! # Cost
//!
//! A call allocates nothing, takes no lock and reads no clock. A poll does a bounded amount of work. It looks at each
//! attempt, and it searches for a server once for each action; a first attempt searches up to four times, if other
//! calls take the balancer's turn. It never loops on time. A `Call` with room for 4 attempts is at most 192 bytes on a
//! 64-bit target, its report included.

mod action;
mod ending;
mod flags;
mod following;
mod host;
mod report;
mod text;

#[cfg(test)]
mod tests;

use core::fmt;
use core::ops::Deref;

pub use action::{Action, Input, Start};
pub use host::Host;
pub use report::Report;

use crate::balance::{NoServer, Pick, Selection};
use crate::id::{AddressKey, AttemptId, ServerId};
use crate::outcome::{Attempt, Denial, End, Feedback, Judgement, Kind, NotHedged, Verdict};
use crate::policy::{BackupDelay, CallKind, CallOptions, ConfigError, Idempotency, RetryTarget, When};
use crate::random::Random;
use crate::time::{Instant, Micros};
use flags::Flags;

/// Whether the common case, a first attempt that is accepted, has a code path of its own: inlined, and without the
/// parts that only other attempts need. On a microcontroller code size matters more, so there is one path for all.
const FAST_PATH: bool = !cfg!(target_os = "none");

/// Whether hosts may cap the attempts at a server, and let calls wait for room (L22). On a microcontroller, where code
/// size matters, the cap does not exist.
const CAPS: bool = !cfg!(target_os = "none");

/// How often a first attempt searches for a server while other calls take the balancer's turn. The last try insists.
const PICK_TRIES: usize = 4;

/// Why an attempt that was due is not started.
enum NotStarted {
    NoAttemptLeft,
    Server(NoServer),
    Limit(Denial),
}

/// The timers of a call, in the order in which they fire within one instant (L14).
#[derive(Clone, Copy)]
enum CallTimer {
    Deadline,
    /// The start that is due next: the first attempt's, or a retry's.
    Pending,
    Backup,
}

/// One call of at most `N` attempts, the first included.
///
/// `P` points to the [`Host`]: a reference on a microcontroller, an `Arc` on a host. Dropping a call before it is done
/// cancels it, at the latest instant that it has seen (L20). The servers' counts of attempts in flight and the notice
/// to the policy are settled exactly once.
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
    /// By [`CallTimer`]. A timer that is not armed is [`Instant::NEVER`].
    timers: [Instant; 3],
    /// The latest instant that the driver has told.
    seen: Instant,
    backup_delay: Micros,
    random: Random,
    /// The server whose failure led to the pending start, or whose failure is held (L9).
    retry_of: ServerId,
    /// The server whose failure is held until the backup's timer (L9).
    held_of: ServerId,
    max_retry: u8,
    max_backups: u8,
    backups: u8,
    /// How many attempts are in flight. After the end: how many abandoned attempts the driver has not been told of yet.
    open: u8,
    /// The number of the attempt at which the search for the next `Abandon` goes on.
    abandoned: u8,
    flags: Flags,
}

impl<'o, P, const N: usize> Call<'o, P, N>
where
    P: Deref<Target: Host>,
{
    /// A call that starts at `now`; nothing happens before the first poll.
    ///
    /// # Errors
    /// Options that ask for more attempts than `N` (L3), that contradict themselves, or that lack a request code which
    /// the host needs (S5).
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

    /// What to do next. Call it until it answers `Wait` or `Done`.
    // Inlined on a host: most polls find nothing to do.
    #[cfg_attr(not(target_os = "none"), inline)]
    pub fn poll(&mut self, now: Instant) -> Action {
        self.see(now);
        if !self.flags.has(Flags::POLLED) {
            self.flags.set(Flags::POLLED);
            // It ended before its first poll. The policy hears only of calls that were polled (B2), so it is told now.
            if let Some(end) = self.report.end() {
                self.notify_late(end);
            }
        }
        // Each round disarms the timer that was due, and may start an attempt, end the call or arm another timer: the
        // rounds are few.
        loop {
            if let Some(action) = self.idle() {
                return action;
            }
            if let Some(start) = self.act() {
                return Action::Start(start);
            }
        }
    }

    /// The answer if no timer is due; `None` if one is.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn idle(&mut self) -> Option<Action> {
        if let Some(end) = self.report.end() {
            return Some(self.after_end(end));
        }
        let next = self.next_timer();
        (next > self.seen).then(|| Action::Wait { until: Some(next).filter(|at| *at < Instant::NEVER) })
    }

    /// Does what is due first. Returns the attempt that it starts, if any.
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

    /// Takes in what happened. Results of attempts that are no longer in flight, and anything after the end, change
    /// nothing (L1).
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

    /// Searches for a server again at the next poll, if the call waits in its host's queue (L22). Call it when
    /// [`Host::poll_room`] is ready.
    pub fn look_again(&mut self, now: Instant) {
        self.see(now);
        if self.flags.has(Flags::QUEUED) && self.report.attempts().is_empty() && self.report.end().is_none() {
            self.set(CallTimer::Pending, self.seen);
        }
    }

    /// What has happened so far; complete once the call is done.
    pub const fn report(&self) -> &Report<N> {
        &self.report
    }

    /// The host, which knows the servers.
    pub fn host(&self) -> &P::Target {
        &self.host
    }

    /// The deadline; [`Instant::NEVER`] without one.
    pub const fn deadline(&self) -> Instant {
        self.timer(CallTimer::Deadline)
    }

    /// How many backups it may send. At most one attempt more than that is in flight at once (L6).
    pub const fn max_backups(&self) -> u8 {
        self.max_backups
    }

    /// Whether the request may be sent twice, as the call and its channel say (L15).
    pub fn idempotent(&self) -> bool {
        let idempotency = match self.options.idempotency {
            Idempotency::Unset => self.host.idempotency(),
            own => own,
        };
        idempotency != Idempotency::NotIdempotent
    }

    /// Whether its attempts win at the head of their replies (T2).
    pub const fn streaming(&self) -> bool {
        self.options.streaming
    }

    /// The server of a streaming call's winner, which is still at work on the body (T2). The reader of the body must
    /// call [`Host::released`] for it once, when the body has ended or is dropped.
    pub fn winner_at_work(&self) -> Option<ServerId> {
        let winner = self.report.winner().filter(|_| self.options.streaming)?;
        self.report.attempts().get(winner.index()).map(Attempt::server)
    }

    /// Ends the call at the latest instant that it has seen, unless it is over (L12, L20).
    pub(crate) fn cancel(&mut self) {
        if self.report.end().is_none() {
            self.end(End::Cancelled);
        }
    }

    // ---- what an attempt's result does ----

    fn finish(&mut self, id: AttemptId, judgement: &Judgement) {
        match judgement.verdict {
            Verdict::Accept if FAST_PATH => self.settle(id, Verdict::Accept, judgement),
            verdict => self.settle(id, verdict, judgement),
        }
    }

    /// Takes in the result of an attempt. `verdict` is that of `judgement`; as a constant it shortens the inlined copy.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn settle(&mut self, id: AttemptId, verdict: Verdict, judgement: &Judgement) {
        let offset = self.offset();
        let Some(attempt) = self.report.get_mut(id).filter(|attempt| attempt.in_flight()) else { return };
        let Judgement { code, local, .. } = *judgement;
        let elapsed = attempt.finish(offset, verdict, code);
        let attempt = *attempt;
        // No underflow: this attempt was in flight.
        self.open -= 1;
        self.report.decide(id);
        let feedback = match verdict {
            Verdict::Accept => Feedback::Success { latency: elapsed },
            _ if local => Feedback::Local { age: elapsed },
            // The server did answer; the fault is the request's.
            Verdict::Fatal => Feedback::Success { latency: elapsed },
            Verdict::Retry | Verdict::Wait => Feedback::Failure { latency: elapsed },
        };
        // The server of a streaming call's winner is still at work on the body (T2).
        self.tell(id, &attempt, feedback, code, verdict == Verdict::Accept && self.options.streaming);
        match verdict {
            Verdict::Accept => self.end_inline(End::Accepted),
            // The next poll ends the call, unless a success is handed in before (L14).
            _ if self.due(CallTimer::Deadline) => {}
            Verdict::Fatal => self.end(End::Fatal),
            Verdict::Retry | Verdict::Wait => self.follow(attempt.server(), judgement),
        }
    }

    // ---- what a timer does ----

    /// Starts an attempt that is due; `None` if it cannot be started after all.
    // Inlined on a host, so that a pick stays in registers. On a microcontroller code size matters more.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn start(&mut self, kind: Kind) -> Option<Start> {
        match self.choose(kind) {
            Ok(pick) => self.record(pick.server, pick.address, kind),
            Err(reason) => {
                self.not_started(kind, reason);
                None
            }
        }
    }

    /// Handles an attempt that could not be started when it was due.
    #[cold]
    fn not_started(&mut self, kind: Kind, reason: NotStarted) {
        match (kind, reason) {
            (Kind::First, NotStarted::Server(NoServer::Empty)) => self.end(End::NoServer),
            (Kind::First, NotStarted::Server(NoServer::AllFull)) if CAPS => self.end(End::AllFull),
            (Kind::First, NotStarted::Server(NoServer::Queued)) if CAPS => {
                self.flags.set(Flags::QUEUED);
                // At this instant the search is made a last time, and the host says that all are full.
                self.set(CallTimer::Pending, self.host.queued_until());
            }
            (Kind::First, _) => self.end(End::AllDown),
            // The search is repeated when an attempt of this call ends (L11).
            (Kind::Retry, NotStarted::Server(NoServer::AllBusy)) => self.flags.set(Flags::RETRY_WAITS),
            (Kind::Retry, _) => self.end_if_stuck(),
            (Kind::Backup, reason) => {
                if matches!(reason, NotStarted::Server(NoServer::AllBusy)) {
                    self.flags.set(Flags::BACKUP_WAITS);
                }
                let reason = match reason {
                    // A backup that waited for an idle address and found none (L11).
                    NotStarted::NoAttemptLeft if self.report.reason() == NotHedged::NoOtherServer => {
                        NotHedged::NoOtherServer
                    }
                    NotStarted::NoAttemptLeft => NotHedged::NoAttemptLeft,
                    NotStarted::Server(_) => NotHedged::NoOtherServer,
                    NotStarted::Limit(limit) => NotHedged::Denied(limit),
                };
                self.report.set_not_hedged(reason);
                // The failure that waited for this backup is retried at once instead, also before a backoff is over (L9). A
                // pushback holds it back (R4), and so does a start that waits for an idle address (L11).
                if self.flags.take(Flags::HELD) && !self.flags.has(Flags::PUSHED) && !self.flags.has(Flags::RETRY_WAITS)
                {
                    self.set(CallTimer::Pending, self.seen);
                    self.retry_of = self.held_of;
                }
                self.end_if_stuck();
            }
        }
    }

    /// Disarms the timer that is due, the pending start before the backup (L14), and returns the kind of attempt to
    /// start. `None` if the backup timer is armed again instead (L17).
    fn take_due(&mut self) -> Option<Kind> {
        if self.due(CallTimer::Pending) {
            self.set(CallTimer::Pending, Instant::NEVER);
            self.flags.take(Flags::PUSHED);
            return Some(if self.report.attempts().is_empty() { Kind::First } else { Kind::Retry });
        }
        self.set(CallTimer::Backup, Instant::NEVER);
        if self.armed(CallTimer::Pending) && self.open == 0 {
            // Nothing is in flight to back up: the backup moves behind the start that a backoff delays (L17).
            self.arm_backup(self.timer(CallTimer::Pending));
            return None;
        }
        Some(Kind::Backup)
    }

    /// Checks what an attempt needs, at the moment it is due: an attempt left, a server, and last the limits, since
    /// they count what they grant (L5, L9). Then commits to the server.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn choose(&mut self, kind: Kind) -> Result<Pick<<P::Target as Host>::Ticket>, NotStarted> {
        if kind != Kind::First && !self.attempts_left() {
            return Err(NotStarted::NoAttemptLeft);
        }
        // A retry may have to go to the server that failed; a backup goes elsewhere.
        let same = (kind == Kind::Retry && self.retry_target() == RetryTarget::Same).then_some(self.retry_of);
        for tries_left in (0..PICK_TRIES).rev() {
            let pick = self.look(kind, same).map_err(NotStarted::Server)?;
            // The limits are asked once, although a host with a cap may refuse a pick that insists.
            if !CAPS || tries_left == PICK_TRIES - 1 {
                self.permitted(kind).map_err(NotStarted::Limit)?;
            }
            // A retry or a backup insists on its pick, since its limit has counted it already. A first attempt may
            // search again.
            if self.host.commit(&pick, self.sent_now(), kind != Kind::First || tries_left == 0) {
                return Ok(pick);
            }
        }
        Err(NotStarted::Server(self.host.refused(self.report.attempts(), self.seen)))
    }

    fn retry_target(&self) -> RetryTarget {
        self.options.retry_target.unwrap_or(self.host.options().retry_target)
    }

    /// Records an attempt whose server is committed, and arms the backup timer where it starts one. Returns what the
    /// driver is told.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn record(&mut self, server: ServerId, address: AddressKey, kind: Kind) -> Option<Start> {
        let attempt = self.report.push(Attempt::start(self.offset(), server, address, kind))?;
        // No overflow: the report had room for it.
        self.open += 1;
        match kind {
            Kind::First => match self.first_backup() {
                Ok(at) => self.set(CallTimer::Backup, at),
                Err(reason) => self.report.set_not_hedged(reason),
            },
            Kind::Retry => {}
            Kind::Backup => {
                self.flags.take(Flags::HELD);
                // No overflow: there are at most 255 attempts.
                self.backups += 1;
                if self.backups < self.max_backups && self.attempts_left() {
                    self.arm_backup(self.seen);
                }
            }
        }
        Some(Start { attempt, kind, server, remaining: self.remaining(), connect_deadline: self.connect_deadline() })
    }

    /// When the connection of an attempt that starts now must be established at the latest.
    fn connect_deadline(&self) -> Option<Instant> {
        let connect_timeout = self.options.connect_timeout.unwrap_or(self.host.options().connect_timeout);
        Some(connect_timeout.ends(self.seen).min(self.deadline())).filter(|at| *at < Instant::NEVER)
    }

    /// When the first backup is due, or why there is none (L4, L19).
    fn first_backup(&mut self) -> Result<Instant, NotHedged> {
        let resolved = self.resolve_backup().when();
        let (When::After(delay) | When::Shadow(delay)) = resolved else {
            return Err(NotHedged::Disabled);
        };
        self.backup_delay = delay;
        // A call that has waited for room is backed up as if it had started now (L22).
        let from = if CAPS && self.flags.has(Flags::QUEUED) { self.seen } else { self.report.started() };
        let at = from + delay;
        if self.max_backups == 0 {
            Err(NotHedged::Disabled)
        } else if self.options.kind != CallKind::Unary {
            Err(NotHedged::NotHedgeable)
        } else if !self.idempotent() {
            Err(NotHedged::NotIdempotent)
        } else if at >= self.deadline() {
            Err(NotHedged::DelayPastDeadline)
        } else if !self.attempts_left() {
            Err(NotHedged::NoAttemptLeft)
        } else if !self.host.options().same_server_backup && !self.several_addresses() {
            Err(NotHedged::NoOtherServer)
        } else if matches!(resolved, When::Shadow(_)) {
            Err(NotHedged::Shadow)
        } else {
            Ok(at)
        }
    }

    /// B1: the call's own setting, then the channel's; within each the policy before the plain delay.
    fn resolve_backup(&self) -> BackupDelay {
        let own = self.options.backup_policy.and_then(|policy| policy.delay(self.seen));
        own.or(self.options.backup).unwrap_or_else(|| self.host.backup_delay(self.seen))
    }

    /// Whether there is more than one address to choose from.
    fn several_addresses(&self) -> bool {
        match self.options.servers {
            None => self.host.addresses() > 1,
            // These are servers, not addresses: the search when the timer fires compares the addresses.
            Some(servers) => servers.len() > 1,
        }
    }

    /// Sets the backup's timer to the delay after `from`.
    // On a microcontroller its bytes count, in as many places as ask.
    #[cfg_attr(target_os = "none", inline(never))]
    fn arm_backup(&mut self, from: Instant) {
        let at = from + self.backup_delay;
        // Nothing starts at or after the deadline (L2).
        self.set(CallTimer::Backup, if at < self.deadline() { at } else { Instant::NEVER });
    }

    // ---- what is asked of the host and the policies ----

    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn look(&mut self, kind: Kind, same: Option<ServerId>) -> Result<Pick<<P::Target as Host>::Ticket>, NoServer> {
        let selection = Selection {
            tried: match kind {
                // A first attempt has tried nothing. As a constant, that shortens the inlined copy.
                Kind::First if FAST_PATH => &[],
                _ => self.report.attempts(),
            },
            same,
            working_too: self.host.options().same_server_backup,
            servers: self.options.servers,
            request_code: self.options.request_code,
            now: self.seen,
        };
        self.host.look(&selection, &mut || self.random.next(self.host.seeds()))
    }

    /// Asks the policy that counts for this call (B1).
    fn permitted(&self, kind: Kind) -> Result<(), Denial> {
        match (kind, self.options.backup_policy) {
            (Kind::First, _) => Ok(()),
            (Kind::Retry, Some(policy)) => policy.may_retry(self.seen),
            (Kind::Retry, None) => self.host.may_retry(self.seen),
            (Kind::Backup, Some(policy)) => policy.may_back_up(self.seen),
            (Kind::Backup, None) => self.host.may_back_up(self.seen),
        }
    }

    // ---- small questions ----

    // Not inlined on a microcontroller: it is called in many places, and code size counts.
    #[cfg_attr(target_os = "none", inline(never))]
    fn see(&mut self, now: Instant) {
        if now > self.seen {
            // Below `NEVER`, so that a timer that is not armed is never due.
            self.seen = now.min(Instant::LAST);
        }
    }

    // On a microcontroller its bytes count, in as many places as ask.
    #[cfg_attr(target_os = "none", inline(never))]
    fn offset(&self) -> Micros {
        self.seen.micros_since(self.report.started())
    }

    /// The start of an attempt that starts now, capped as its record keeps it.
    fn sent_now(&self) -> Instant {
        self.report.started() + Attempt::kept(self.offset())
    }

    // Not inlined on a microcontroller: it is called in many places, and code size counts.
    #[cfg_attr(target_os = "none", inline(never))]
    fn attempts_left(&self) -> bool {
        // Only asked after the first attempt has started, so one less than `len` extra attempts are used up.
        self.report.attempts().len() <= usize::from(self.max_retry)
    }

    /// What is left until the deadline; `None` without one.
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
