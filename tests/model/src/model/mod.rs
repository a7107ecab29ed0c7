//! The life of a call by its rules, written from them alone: [`Model`]. Slow and plain on purpose.

mod account;
mod failure;
mod readings;
mod servers;
mod settings;

use std::collections::BTreeSet;

use hedge_core::balance::NoServer;
use hedge_core::outcome::{Code, Denial, End, Feedback, Judgement, Kind, NotHedged, State, Verdict};
use hedge_core::policy::{BackupDelay, CallKind, RetryTarget};
use hedge_core::time::Micros;

use crate::play::{Account, Machine, Step, play};
use crate::script::{Script, Server};
use crate::words;
use servers::{List, Wanted};
use settings::{Settings, micros};

/// An instant that never comes, which is where clocks saturate.
const NEVER: u64 = u64::MAX;

/// An attempt. Times are the driver's clock.
#[derive(Clone, Debug)]
struct Attempt {
    kind: Kind,
    server: usize,
    address: u16,
    started: u64,
    ended: Option<u64>,
    state: State,
    code: Code,
}

/// A start that a failure asked for (L9).
#[derive(Clone, Debug)]
struct Pending {
    due: u64,
    /// The server of the failed attempt.
    failed: usize,
    /// A pushback has set its time (R4).
    pushed: bool,
    /// It was due and found every address at work (L11).
    waits: bool,
}

/// The backup timer.
#[derive(Clone, Debug)]
struct Timer {
    at: u64,
    /// A pushback has set its time (R4).
    pushed: bool,
    /// It fired and found every address at work (L11).
    waits: bool,
}

/// A call.
pub(crate) struct Model<'a> {
    script: &'a Script,
    settings: Settings,
    list: List,
    /// The servers that the call names (S8).
    named: Option<Vec<usize>>,
    deadline: Option<u64>,
    attempts: Vec<Attempt>,
    polled: bool,
    pending: Option<Pending>,
    timer: Option<Timer>,
    delay: u64,
    /// When the timer would have fired, had no pushback moved it (R4).
    meant: Option<u64>,
    /// When a backup that is only counted would have been sent.
    shadow: Option<u64>,
    /// The server of the failure that waits for the timer (L9).
    held: Option<usize>,
    /// The server of the failure that last asked for a start.
    last_asked: usize,
    /// Until when a pushback holds back the next start (R4).
    not_before: Option<u64>,
    /// No further attempt is to be started (R4).
    stopped: bool,
    reason: NotHedged,
    end: Option<(End, u64)>,
    decisive: Option<usize>,
    /// Attempts whose `Abandon` is still to be answered.
    to_abandon: Vec<usize>,
    told: bool,
    last_seen: u64,
    backups_asked: usize,
    retries_asked: usize,
    host: Vec<String>,
    policy: Vec<String>,
    /// Which branches of the rules were taken.
    seen: BTreeSet<&'static str>,
}

/// Plays a script before the model.
#[must_use]
pub(crate) fn run(script: &Script) -> Account {
    play(script, Model::new(script))
}

impl<'a> Model<'a> {
    fn new(script: &'a Script) -> Self {
        let (settings, list) = (Settings::new(script), List::new(script));
        Self {
            script,
            deadline: micros(settings.timeout).map(|timeout| script.start.saturating_add(timeout)),
            settings,
            named: script.named.as_ref().map(|named| named.iter().copied().filter(|it| list.is_there(*it)).collect()),
            list,
            attempts: Vec::new(),
            polled: false,
            pending: None,
            timer: None,
            delay: 0,
            meant: None,
            shadow: None,
            held: None,
            last_asked: 0,
            not_before: None,
            stopped: false,
            reason: NotHedged::FinishedFirst,
            end: None,
            decisive: None,
            to_abandon: Vec::new(),
            told: false,
            last_seen: script.start,
            backups_asked: 0,
            retries_asked: 0,
            host: Vec::new(),
            policy: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    fn in_flight(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.ended.is_none()).count()
    }

    fn backups(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.kind == Kind::Backup).count()
    }

    /// Whether an extra attempt is left (L3).
    fn attempt_left(&self) -> bool {
        self.attempts.len() <= usize::from(self.settings.max_retry)
    }

    fn late(&self, now: u64) -> bool {
        now == NEVER || self.deadline.is_some_and(|deadline| now >= deadline)
    }

    fn remaining(&self, now: u64) -> Option<u64> {
        self.deadline.map(|deadline| deadline.saturating_sub(now))
    }

    /// Looks for a server for the next attempt.
    fn look(&self, same: Option<usize>) -> Result<usize, NoServer> {
        let tried = self.tried();
        self.list.look(&Wanted {
            tried: &tried,
            same,
            working_too: self.settings.same_server_backup,
            named: self.named.as_deref(),
        })
    }

    fn tried(&self) -> Vec<(u16, bool)> {
        self.attempts.iter().map(|attempt| (attempt.address, attempt.ended.is_none())).collect()
    }

    fn start(&mut self, now: u64, kind: Kind, server: usize) -> Step {
        self.seen.insert(match kind {
            Kind::First => "a first attempt",
            Kind::Retry => "L9: a retry",
            Kind::Backup if self.backups() > 0 => "L6: a further backup",
            Kind::Backup => "L5: a backup",
        });
        let number = self.attempts.len();
        let address = self.list.address(server);
        if self.attempts.iter().any(|it| it.address == address && it.server != server) {
            self.seen.insert("L11: an address under another tag");
        }
        if self.attempts.iter().any(|it| it.address == address && it.ended.is_none()) {
            self.seen.insert("L11: an address at work gets another attempt");
        }
        let (state, code) = (State::InFlight, Code::NONE);
        self.attempts.push(Attempt { kind, server, address, started: now, ended: None, state, code });
        self.list.count(server, true);
        self.host.push(format!("{now}: commit server {server} (true)"));
        let remaining = self.remaining(now);
        let connect = micros(self.settings.connect_timeout).map(|timeout| now.saturating_add(timeout));
        let connect = [connect, self.deadline].into_iter().flatten().min();
        Step::Start(number, words::start(&kind, &format!("server {server}"), remaining, connect))
    }

    /// The call's first start, and whether a backup may follow (L4, L19).
    fn first(&mut self, now: u64) -> Option<Step> {
        let server = match self.look(None) {
            Ok(server) => server,
            Err(NoServer::Empty) => {
                self.finish_call(End::NoServer, now);
                return None;
            }
            Err(_) => {
                self.finish_call(End::AllDown, now);
                return None;
            }
        };
        let step = self.start(now, Kind::First, server);
        let (delay, asked) = settings::delay(self.script);
        for who in asked {
            self.policy.push(words::asked(who, "delay", now));
        }
        self.reason = self.arm(delay);
        Some(step)
    }

    /// Arms the timer for the first backup, or says why not.
    fn arm(&mut self, delay: BackupDelay) -> NotHedged {
        let shadow = delay.shadow_delay().is_some();
        let Some(delay) = delay.delay().or(delay.shadow_delay()) else { return NotHedged::Disabled };
        let delay = Micros::from(delay).as_micros();
        if self.settings.max_backups == 0 {
            return NotHedged::Disabled;
        }
        if self.settings.kind != CallKind::Unary {
            return NotHedged::NotHedgeable;
        }
        if !self.settings.idempotent {
            return NotHedged::NotIdempotent;
        }
        let never = self.script.start.saturating_add(delay) == NEVER;
        if never || micros(self.settings.timeout).is_some_and(|timeout| delay >= timeout) {
            return NotHedged::DelayPastDeadline;
        }
        if self.settings.max_retry == 0 {
            return NotHedged::NoAttemptLeft;
        }
        // Of servers that the call names, the addresses are not known before they are looked for.
        let others = self.named.as_ref().map_or_else(|| self.list.addresses(), Vec::len);
        if others < 2 && !self.settings.same_server_backup {
            return NotHedged::NoOtherServer;
        }
        if shadow {
            self.shadow = Some(self.script.start.saturating_add(delay));
            return NotHedged::FinishedFirst;
        }
        self.delay = delay;
        self.timer = Some(Timer { at: self.script.start.saturating_add(delay), pushed: false, waits: false });
        NotHedged::FinishedFirst
    }

    /// Arms the timer a delay after `after`, if it can fire before the deadline.
    fn arm_again(&mut self, after: u64) {
        let at = after.saturating_add(self.delay);
        self.timer = if self.late(at) { None } else { Some(Timer { at, pushed: false, waits: false }) };
    }

    /// The pending start, if it is due.
    fn retry(&mut self, now: u64) -> Option<Step> {
        let pending = self.pending.clone()?;
        if pending.due > now || pending.waits {
            return None;
        }
        self.pending = None;
        if !self.attempt_left() {
            return None;
        }
        let same = Some(pending.failed).filter(|_| self.settings.target == RetryTarget::Same);
        match self.look(same) {
            Ok(server) => {
                if self.ask(now, Kind::Retry).is_err() {
                    self.seen.insert("L9: a retry is refused");
                    return None;
                }
                Some(self.start(now, Kind::Retry, server))
            }
            Err(NoServer::AllBusy) => {
                self.seen.insert("L11: a retry waits for an address");
                self.pending = Some(Pending { waits: true, ..pending });
                None
            }
            Err(_) => {
                self.seen.insert("L9: a retry finds no server");
                None
            }
        }
    }

    /// The backup, if its timer fires.
    fn backup(&mut self, now: u64) -> Option<Step> {
        let timer = self.timer.clone()?;
        if timer.at > now || timer.waits {
            return None;
        }
        if self.in_flight() == 0
            && let Some(pending) = &self.pending
        {
            // L17.
            self.seen.insert("L17: a timer fires during a backoff");
            self.arm_again(pending.due);
            return None;
        }
        self.timer = None;
        if !self.attempt_left() {
            let waited = self.reason == NotHedged::NoOtherServer;
            let reason = if waited { NotHedged::NoOtherServer } else { NotHedged::NoAttemptLeft };
            return self.no_backup(now, reason);
        }
        match self.look(None) {
            Ok(server) => {
                if let Err(limit) = self.ask(now, Kind::Backup) {
                    self.seen.insert("L5: a backup is refused");
                    return self.no_backup(now, NotHedged::Denied(limit));
                }
                if self.held.take().is_some() {
                    self.seen.insert("L9: a backup uses a held failure up");
                }
                let step = self.start(now, Kind::Backup, server);
                if self.backups() < usize::from(self.settings.max_backups) && self.attempt_left() {
                    self.arm_again(now);
                }
                Some(step)
            }
            Err(NoServer::AllBusy) => {
                self.seen.insert("L11: a backup waits for an address");
                self.timer = Some(Timer { waits: true, pushed: false, ..timer });
                self.no_backup(now, NotHedged::NoOtherServer)
            }
            Err(_) => {
                self.seen.insert("L5: a backup finds no server");
                self.no_backup(now, NotHedged::NoOtherServer)
            }
        }
    }

    /// No backup is sent any more; a held failure becomes a pending start (L9).
    fn no_backup(&mut self, now: u64, reason: NotHedged) -> Option<Step> {
        self.reason = reason;
        let failed = self.held.take()?;
        self.seen.insert("L9: a held failure becomes a pending start");
        self.make_pending(now, failed, false);
        self.retry(now)
    }

    /// Asks the policy that counts: the call's own, else the channel's (B1).
    fn ask(&mut self, now: u64, kind: Kind) -> Result<(), Denial> {
        let (who, answers) = match &self.script.call_policy {
            Some(own) => ("call", own),
            None => ("channel", &self.script.channel_policy),
        };
        let (what, answers, asked) = match kind {
            Kind::Backup => ("backup", &answers.backups, &mut self.backups_asked),
            _ => ("retry", &answers.retries, &mut self.retries_asked),
        };
        let answer = answers.get(*asked).copied().flatten();
        *asked += 1;
        self.policy.push(words::asked(who, what, now));
        answer.map_or(Ok(()), Err)
    }

    /// Ends the call with the last failure if nothing can come of it any more (L10).
    fn end_if_hopeless(&mut self, now: u64) {
        let timer = self.timer.as_ref().is_some_and(|timer| !self.late(timer.at));
        let timer_helps = timer && self.held.is_some() && self.attempt_left();
        if self.in_flight() == 0 && self.pending.is_none() && !timer_helps {
            self.finish_call(End::Failed, now);
        }
    }
}

impl Machine for Model<'_> {
    fn poll(&mut self, now: u64) -> Step {
        self.polled = true;
        self.last_seen = now;
        let step = if self.end.is_none() { self.proceed(now) } else { None };
        if let Some(step) = step {
            return step;
        }
        self.tell_end();
        if !self.to_abandon.is_empty() {
            return Step::Abandon(self.to_abandon.remove(0));
        }
        match self.end {
            Some((end, _)) => Step::Done(end),
            None => Step::Wait(self.next()),
        }
    }

    fn finish(&mut self, now: u64, attempt: usize, judgement: Judgement) {
        let Some(known) = self.attempts.get(attempt) else { return };
        self.last_seen = now;
        if self.end.is_some() || known.ended.is_some() {
            self.seen.insert("L1: a second result, or one after the end");
            return;
        }
        self.finish_attempt(now, attempt, judgement);
        if self.late(now) {
            self.seen.insert(match judgement.verdict {
                Verdict::Accept => "L14: a late success",
                Verdict::Fatal => "L14: a late fatal result",
                _ => "L14: a late failure",
            });
        }
        match judgement.verdict {
            Verdict::Accept => {
                self.decisive = Some(attempt);
                self.finish_call(End::Accepted, now);
            }
            // Only the deadline can follow.
            _ if self.late(now) => self.decisive = Some(attempt),
            Verdict::Fatal => {
                self.decisive = Some(attempt);
                self.finish_call(End::Fatal, now);
            }
            Verdict::Retry | Verdict::Wait => {
                self.decisive = Some(attempt);
                self.failed(now, attempt, judgement);
                self.look_again();
                self.end_if_hopeless(now);
            }
        }
    }

    fn cancel(&mut self, now: u64) {
        self.last_seen = now;
        if self.end.is_none() {
            self.finish_call(End::Cancelled, now);
        }
    }

    fn set_usable(&mut self, _: u64, server: usize, usable: bool) {
        self.list.set_usable(server, usable);
    }

    fn remove(&mut self, _: u64, server: usize) {
        self.list.remove(server);
    }

    fn insert(&mut self, server: Server) {
        self.list.insert(server);
    }

    fn finish_up(self) -> Account {
        self.account()
    }
}

impl Model<'_> {
    /// One thing that the call does now, in the order of L14: the deadline, the pending start, the backup timer.
    fn proceed(&mut self, now: u64) -> Option<Step> {
        if self.late(now) {
            self.finish_call(End::Deadline, now);
            return None;
        }
        if self.attempts.is_empty() {
            return self.first(now);
        }
        if let Some(step) = self.retry(now) {
            return Some(step);
        }
        self.end_if_hopeless(now);
        if self.end.is_some() {
            return None;
        }
        let step = self.backup(now);
        if step.is_none() {
            self.end_if_hopeless(now);
        }
        step
    }

    /// When the call has to be polled again.
    fn next(&self) -> Option<u64> {
        let pending = self.pending.as_ref().filter(|it| !it.waits).map(|it| it.due);
        let timer = self.timer.as_ref().filter(|it| !it.waits).map(|it| it.at);
        [self.deadline, pending, timer].into_iter().flatten().min().filter(|at| *at != NEVER)
    }

    /// An attempt has ended: starts that wait for an address are looked for again (L11).
    fn look_again(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.waits = false;
        }
        if let Some(timer) = &mut self.timer {
            timer.waits = false;
        }
    }

    fn finish_attempt(&mut self, now: u64, number: usize, judgement: Judgement) {
        let state = State::Finished(judgement.verdict);
        let Some(attempt) = self.attempts.get_mut(number) else { return };
        (attempt.ended, attempt.state, attempt.code) = (Some(now), state, judgement.code);
        let took = Micros::from_micros(now - attempt.started);
        let feedback = match judgement.verdict {
            Verdict::Accept => Feedback::Success { latency: took },
            _ if judgement.local => Feedback::Local { age: took },
            Verdict::Fatal => Feedback::Success { latency: took },
            Verdict::Retry | Verdict::Wait => Feedback::Failure { latency: took },
        };
        let streams = judgement.verdict == Verdict::Accept && self.settings.streaming;
        self.tell_host(if streams { "answered" } else { "finished" }, now, number, feedback, judgement.code);
    }
}
