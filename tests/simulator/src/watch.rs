//! What every call is held to while it runs.

use std::fmt;

use hedge_core::call::{Action, Report, Start};
use hedge_core::id::{AttemptId, ServerId};
use hedge_core::outcome::{End, Kind, State, Verdict};
use hedge_core::time::{Duration, Instant};

use crate::{ATTEMPTS, Line};

/// A promise that a call did not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which call of its world.
    pub call: usize,
    /// When.
    pub at: Instant,
    /// What.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} at {} us: {}", self.call, self.at.as_micros(), self.what)
    }
}

impl std::error::Error for Broken {}

/// What a call may do, and what it has done.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The options in force.
    pub max_retry: u8,
    /// As above.
    pub max_backups: u8,
    /// As above.
    pub same_server_backup: bool,
    /// As above; `None`: retries go to another server.
    pub retries_same: bool,
    /// The call names its own servers.
    pub named: bool,
    /// The call's deadline.
    pub deadline: Instant,
    /// The connect timeout in force.
    pub connect_timeout: Option<Duration>,
    started: Vec<(ServerId, Option<u16>)>,
    over: Vec<bool>,
    done: Option<End>,
}

impl Watch {
    /// Watches a call with these bounds.
    #[must_use]
    pub const fn new(deadline: Instant, connect_timeout: Option<Duration>, max_retry: u8, max_backups: u8) -> Self {
        Self {
            max_retry,
            max_backups,
            same_server_backup: false,
            retries_same: false,
            named: false,
            deadline,
            connect_timeout,
            started: Vec::new(),
            over: Vec::new(),
            done: None,
        }
    }

    /// Whether the call is done.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done.is_some()
    }

    /// An attempt's result is about to be handed in; false if nobody may wait for it any more.
    pub fn finished(&mut self, attempt: AttemptId) -> bool {
        match self.over.get_mut(attempt.index()) {
            Some(over) if self.done.is_none() && !*over => {
                *over = true;
                true
            }
            _ => false,
        }
    }

    /// Checks one answer of the call's `poll` at `now`.
    ///
    /// # Errors
    /// What it should not have answered.
    pub fn answered(&mut self, now: Instant, action: &Action, line: &Line) -> Result<(), String> {
        if let Some(end) = self.done {
            return ensure(*action == Action::Done(end), || format!("L1: {action:?} after the end {end:?}"));
        }
        match action {
            Action::Start(start) => self.start(now, start, line),
            Action::Abandon { attempt } => {
                let over = self.over.get_mut(attempt.index()).ok_or("L1: abandoned what was never started")?;
                ensure(!std::mem::replace(over, true), || format!("L1: attempt {attempt} was over already"))
            }
            Action::Wait { until } => {
                ensure(until.is_none_or(|until| until > now), || format!("L14: waits for {until:?}, now {now:?}"))?;
                ensure(until.is_none_or(|until| until <= self.deadline), || "L2: waits past the deadline".into())?;
                let helps = until.is_some_and(|until| until < self.deadline);
                ensure(self.in_flight() > 0 || helps, || "L10: waits for nothing that can help".into())
            }
            Action::Done(end) => {
                self.done = Some(*end);
                ensure(self.in_flight() == 0, || format!("L1: {end:?} with {} attempts in flight", self.in_flight()))
            }
        }
    }

    /// Checks the report of a call that is done.
    ///
    /// # Errors
    /// What does not agree with what was seen.
    pub fn reported(&self, report: &Report<ATTEMPTS>) -> Result<(), String> {
        let end = report.end();
        ensure(end == self.done, || format!("L1: the report says {end:?}, the poll {:?}", self.done))?;
        ensure(report.attempts().len() == self.started.len(), || "the report has other attempts".into())?;
        let accepted: Vec<usize> = (0..)
            .zip(report.attempts())
            .filter(|(_, attempt)| attempt.state() == State::Finished(Verdict::Accept))
            .map(|(index, _)| index)
            .collect();
        let winner = report.winner().map(AttemptId::index);
        ensure(accepted.len() <= 1, || "L7: several winners".into())?;
        ensure((end == Some(End::Accepted)) == winner.is_some(), || "L7: a winner without a win".into())?;
        ensure(winner == accepted.first().copied(), || format!("L7: winner {winner:?}, accepted {accepted:?}"))?;
        let nothing = matches!(end, Some(End::NoServer | End::AllDown | End::AllFull));
        ensure(!nothing || self.started.is_empty(), || format!("L16: {end:?} after something was started"))?;
        let backups = report.attempts().iter().filter(|attempt| attempt.kind() == Kind::Backup).count();
        ensure((backups == 0) == report.not_hedged().is_some(), || "L19: hedged, and a reason why not".into())?;
        for attempt in report.attempts() {
            let ended = attempt.ended().ok_or("L1: an attempt is still in flight")?;
            ensure(attempt.started() <= ended && ended <= report.elapsed(), || format!("times of {attempt:?}"))?;
        }
        Ok(())
    }

    fn start(&mut self, now: Instant, start: &Start, line: &Line) -> Result<(), String> {
        ensure(now < self.deadline, || "L2: started at or after the deadline".into())?;
        ensure(start.attempt.index() == self.started.len(), || format!("attempt {} out of order", start.attempt))?;
        ensure(self.started.len() <= usize::from(self.max_retry), || "L3: more than max_retry extra attempts".into())?;
        ensure(self.in_flight() <= usize::from(self.max_backups), || "L6: more than 1 + max_backups".into())?;
        ensure((start.kind == Kind::First) == self.started.is_empty(), || format!("{:?} comes late", start.kind))?;
        let remaining = (self.deadline < Instant::NEVER).then(|| self.deadline.micros_since(now));
        ensure(start.remaining == remaining, || format!("L2: {:?} remain, told {:?}", remaining, start.remaining))?;
        let connect = self.connect_timeout.map_or(Instant::NEVER, |timeout| now + timeout).min(self.deadline);
        let told = start.connect_deadline.unwrap_or(Instant::NEVER);
        ensure(told == connect, || format!("L2: connect deadline {told:?}, expected {connect:?}"))?;
        self.target(now, start, line)?;
        self.started.push((start.server, line.address(start.server)));
        self.over.push(false);
        Ok(())
    }

    /// L11, against a plain account of what was tried.
    fn target(&self, now: Instant, start: &Start, line: &Line) -> Result<(), String> {
        if self.named || (self.retries_same && start.kind == Kind::Retry) {
            return Ok(());
        }
        let address = line.address(start.server);
        let usable = line.usable(now);
        ensure(usable.iter().any(|(id, _)| *id == start.server), || format!("picked {address:?}, not usable"))?;
        let tried = |address: u16| self.started.iter().any(|(_, tried)| *tried == Some(address));
        let untried: Vec<u16> = usable.iter().map(|(_, address)| *address).filter(|it| !tried(*it)).collect();
        let chosen = address.ok_or("picked a server that is gone")?;
        ensure(untried.is_empty() || untried.contains(&chosen), || {
            format!("L11: {chosen} again while {untried:?} are untried")
        })?;
        let working = self.started.iter().zip(&self.over).any(|((_, tried), over)| *tried == Some(chosen) && !over);
        ensure(!working || self.same_server_backup, || format!("L11: {chosen} is at work on the call"))
    }

    fn in_flight(&self) -> usize {
        self.over.iter().filter(|over| !**over).count()
    }
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedge_core::balance::AnyBalancer;
    use hedge_core::call::{Call, Input};
    use hedge_core::policy::{CallOptions, ChannelOptions};

    use crate::{Change, SimPolicy};

    fn line(servers: u16) -> Line {
        let balancer = AnyBalancer::named("rr", 1).unwrap();
        let line = Line::new(ChannelOptions::brpc(), balancer, SimPolicy::default(), 1);
        (0..servers).for_each(|address| line.apply(Change::Insert(address, 0), Instant::ZERO));
        line
    }

    fn watch() -> Watch {
        Watch::new(Instant::from_millis(500), Some(Duration::from_millis(200)), 3, 1)
    }

    /// The first start of a real call on `line`.
    fn first(line: &Line) -> Start {
        let options = CallOptions::new();
        let mut call = Call::<_, ATTEMPTS>::new(line, &options, Instant::ZERO).unwrap();
        let Action::Start(start) = call.poll(Instant::ZERO) else { panic!("a call starts") };
        start
    }

    #[test]
    fn a_start_that_breaks_a_rule_is_caught() {
        let line = line(2);
        let start = first(&line);
        let caught = |now: u64, action: Action| {
            let mut watch = watch();
            watch.answered(Instant::from_millis(now), &action, &line).unwrap_err()
        };
        assert!(caught(500, Action::Start(start)).starts_with("L2: started"));
        assert!(caught(1, Action::Start(start)).starts_with("L2: Some"), "a stale remaining time");
        assert!(caught(0, Action::Wait { until: None }).starts_with("L10"));
        assert!(caught(0, Action::Wait { until: Some(Instant::ZERO) }).starts_with("L14"));
        assert!(caught(0, Action::Abandon { attempt: start.attempt }).starts_with("L1"));
        let mut watch = watch();
        watch.max_retry = 0;
        watch.answered(Instant::ZERO, &Action::Start(start), &line).unwrap();
        assert!(watch.answered(Instant::ZERO, &Action::Start(start), &line).unwrap_err().contains("out of order"));
        assert!(watch.answered(Instant::ZERO, &Action::Done(End::Failed), &line).unwrap_err().starts_with("L1"));
    }

    #[test]
    fn the_same_address_again_is_caught_while_another_is_untried() {
        let line = line(2);
        let options = CallOptions::new();
        let mut call = Call::<_, ATTEMPTS>::new(&line, &options, Instant::ZERO).unwrap();
        let mut watch = watch();
        let Action::Start(one) = call.poll(Instant::ZERO) else { panic!("a call starts") };
        watch.answered(Instant::ZERO, &Action::Start(one), &line).unwrap();
        assert!(watch.finished(one.attempt));
        assert!(!watch.finished(one.attempt), "once");
        call.handle(Instant::ZERO, Input::finished(one.attempt, Verdict::Retry));
        let Action::Start(two) = call.poll(Instant::ZERO) else { panic!("a retry") };
        let again = Start { server: one.server, ..two };
        assert!(watch.answered(Instant::ZERO, &Action::Start(again), &line).unwrap_err().starts_with("L11"));
        watch.answered(Instant::ZERO, &Action::Start(two), &line).unwrap();
    }

    #[test]
    fn anything_after_the_end_is_caught() {
        let line = line(0);
        let mut watch = watch();
        watch.answered(Instant::ZERO, &Action::Done(End::NoServer), &line).unwrap();
        watch.answered(Instant::ZERO, &Action::Done(End::NoServer), &line).unwrap();
        assert!(watch.answered(Instant::ZERO, &Action::Done(End::Failed), &line).is_err());
    }
}
