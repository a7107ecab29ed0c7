//! The start of an attempt: the choice of its server, the permission of the limits, the entry in the report, and the
//! timer of the first backup ([L4](crate::rules#L4), [L5](crate::rules#L5), [L11](crate::rules#L11)).

use core::ops::Deref;

use super::host::selection;
use super::{CAPS, Call, CallTimer, FAST_PATH, Flags, Host, Start};
use crate::balance::{NoServer, Pick};
use crate::id::{AddressKey, ServerId};
use crate::outcome::{Attempt, Denial, End, Kind, NotHedged};
use crate::policy::{BackupDelay, CallKind, RetryTarget, When};
use crate::time::Instant;

/// An attempt searches for a server at most this many times. A first attempt searches again if another call has taken
/// the balancer's turn. The last search accepts its server even then. Any attempt searches again if a host with a cap
/// refuses its server ([L22](crate::rules#L22)).
const PICK_TRIES: usize = 4;

/// The reason why an attempt was not started when it was due.
enum NotStarted {
    NoAttemptLeft,
    Server(NoServer),
    Limit(Denial),
}

impl<P, const N: usize> Call<'_, P, N>
where
    P: Deref<Target: Host>,
{
    /// Starts an attempt that is due. Returns `None` if no attempt is left, no server is found, or a limit refuses the
    /// attempt.
    // This function is inlined so that a pick stays in registers. It is not inlined on a microcontroller, where code
    // size matters more.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub(super) fn start(&mut self, kind: Kind) -> Option<Start> {
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
                // At this instant the call searches for the last time. If there is still no room, the host answers that
                // all servers are full.
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
                    // This backup waited for an idle address and found none (L11).
                    NotStarted::NoAttemptLeft if self.report.reason() == NotHedged::NoOtherServer => {
                        NotHedged::NoOtherServer
                    }
                    NotStarted::NoAttemptLeft => NotHedged::NoAttemptLeft,
                    NotStarted::Server(_) => NotHedged::NoOtherServer,
                    NotStarted::Limit(limit) => NotHedged::Denied(limit),
                };
                self.report.set_not_hedged(reason);
                // A failure was held for this backup. The failure is now retried at once, even if the backoff of
                // another retry still runs (L9). There are two exceptions: a pushback has set the time of the next
                // start (R4), or a retry already waits for an idle address (L11).
                if self.flags.take(Flags::HELD) && !self.flags.has(Flags::PUSHED) && !self.flags.has(Flags::RETRY_WAITS)
                {
                    self.set(CallTimer::Pending, self.seen);
                    self.retry_of = self.held_of;
                }
                self.end_if_stuck();
            }
        }
    }

    /// Checks whether a due attempt can start: an attempt must be left, a server must be found, and the limits must
    /// allow the attempt. Then commits to the server and returns the pick. The limits are asked last, because
    /// they count an attempt as sent as soon as they allow it ([L5](crate::rules#L5), [L9](crate::rules#L9)).
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn choose(&mut self, kind: Kind) -> Result<Pick<<P::Target as Host>::Ticket>, NotStarted> {
        if kind != Kind::First && !self.attempts_left() {
            return Err(NotStarted::NoAttemptLeft);
        }
        // A retry may have to go to the server that failed (F). A backup never has to go there.
        let same = (kind == Kind::Retry && self.retry_target() == RetryTarget::Same).then_some(self.retry_of);
        for tries_left in (0..PICK_TRIES).rev() {
            if FAST_PATH && kind == Kind::First {
                match self.look_and_commit(tries_left == 0).map_err(NotStarted::Server)? {
                    Some(pick) => return Ok(pick),
                    None => continue,
                }
            }
            let pick = self.look(same).map_err(NotStarted::Server)?;
            // The limits are asked in the first round only. A host with a cap may refuse a pick even with `insist`, and
            // then another round follows. The permission of the first round is still valid then.
            if !CAPS || tries_left == PICK_TRIES - 1 {
                self.permitted(kind).map_err(NotStarted::Limit)?;
            }
            // A retry or a backup insists on its pick, since a limit has already counted the attempt. A first attempt
            // may search again.
            if self.host.commit(&pick, self.sent_now(), kind != Kind::First || tries_left == 0) {
                return Ok(pick);
            }
        }
        Err(NotStarted::Server(self.host.refused(self.report.attempts(), self.seen)))
    }

    pub(super) fn retry_target(&self) -> RetryTarget {
        self.options.retry_target.unwrap_or(self.host.options().retry_target)
    }

    /// Adds an attempt at a committed server to the report. Arms the backup timer if a backup may follow. Returns the
    /// attempt that the driver has to start.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn record(&mut self, server: ServerId, address: AddressKey, kind: Kind) -> Option<Start> {
        let attempt = self.report.push(Attempt::start(self.offset(), server, address, kind))?;
        // There is no overflow: `open` is at most the length of the report.
        self.open += 1;
        match kind {
            Kind::First => match self.first_backup() {
                Ok(at) => self.set(CallTimer::Backup, at),
                Err(reason) => self.report.set_not_hedged(reason),
            },
            Kind::Retry => {}
            Kind::Backup => {
                self.flags.take(Flags::HELD);
                // There is no overflow: a call has at most 255 attempts.
                self.backups += 1;
                if self.backups < self.max_backups && self.attempts_left() {
                    self.arm_backup(self.seen);
                }
            }
        }
        Some(Start { attempt, kind, server, remaining: self.remaining(), connect_deadline: self.connect_deadline() })
    }

    /// Returns the latest instant at which the connection of an attempt that starts now must be established. Returns
    /// `None` if there is no limit.
    fn connect_deadline(&self) -> Option<Instant> {
        let connect_timeout = self.options.connect_timeout.unwrap_or(self.host.options().connect_timeout);
        Some(connect_timeout.ends(self.seen).min(self.deadline())).filter(|at| *at < Instant::NEVER)
    }

    /// Returns the instant at which the first backup is due. The error is the reason why there will be no backup
    /// ([L4](crate::rules#L4), [L19](crate::rules#L19)).
    fn first_backup(&mut self) -> Result<Instant, NotHedged> {
        let resolved = self.resolve_backup().when();
        let (When::After(delay) | When::Shadow(delay)) = resolved else {
            return Err(NotHedged::Disabled);
        };
        self.backup_delay = delay;
        // For a call that has waited in a queue, the delay counts from its first start (L22).
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

    /// Returns the delay of backups ([B1](crate::rules#B1)). The call's own setting comes before the channel's setting.
    /// A policy comes before a fixed delay.
    fn resolve_backup(&self) -> BackupDelay {
        let own = self.options.backup_policy.and_then(|policy| policy.delay(self.seen));
        own.or(self.options.backup).unwrap_or_else(|| self.host.backup_delay(self.seen))
    }

    /// Returns whether a backup may be able to find another address ([L4](crate::rules#L4)).
    fn several_addresses(&self) -> bool {
        match self.options.servers {
            None => self.host.addresses() > 1,
            // Several servers may have the same address. The search compares addresses when the timer fires.
            Some(servers) => servers.len() > 1,
        }
    }

    // ---- questions to the host and the policies ----

    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub(super) fn look(&mut self, same: Option<ServerId>) -> Result<Pick<<P::Target as Host>::Ticket>, NoServer> {
        let selection = selection(&*self.host, self.options, self.report.attempts(), same, self.seen);
        self.host.look(&selection, &mut || self.random.next(self.host.seeds()))
    }

    /// Searches for a server for a first attempt and commits to it, in one step. Returns `None` if the commit was
    /// refused. A first attempt asks no limit between the search and the commit, so one step is possible.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn look_and_commit(&mut self, insist: bool) -> Result<Option<Pick<<P::Target as Host>::Ticket>>, NoServer> {
        // Before the first attempt, no server was tried. The empty slice is a constant, which makes the inlined copy
        // shorter.
        let selection = selection(&*self.host, self.options, &[], None, self.seen);
        let now = self.sent_now();
        self.host.look_and_commit(&selection, &mut || self.random.next(self.host.seeds()), now, insist)
    }

    /// Asks whether an attempt may start. The call's own policy answers. If the call has no policy, the channel's
    /// policy answers ([B1](crate::rules#B1)). A first attempt needs no permission.
    fn permitted(&self, kind: Kind) -> Result<(), Denial> {
        match (kind, self.options.backup_policy) {
            (Kind::First, _) => Ok(()),
            (Kind::Retry, Some(policy)) => policy.may_retry(self.seen),
            (Kind::Retry, None) => self.host.may_retry(self.seen),
            (Kind::Backup, Some(policy)) => policy.may_back_up(self.seen),
            (Kind::Backup, None) => self.host.may_back_up(self.seen),
        }
    }
}
