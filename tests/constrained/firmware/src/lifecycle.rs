//! Replays cases of the lifecycle's table in virtual time: attempts follow a script, and the end of the call is compared.
//!
//! Each case is one of `tests/conformance/tables/lifecycle_cases.json`, with the same name.

mod cases;

use cases::{CASES, Case, Expect, Finish};
use hedge_core::balance::RoundRobin;
use hedge_core::call::{Action, Input, Report};
use hedge_core::channel::Channel;
use hedge_core::id::AttemptId;
use hedge_core::outcome::{Denial, End, ErrorKind, Judgement, Kind, Verdict as Means};
use hedge_core::policy::{Backoff, BackupDelay, BackupPolicy, CallOptions, ChannelOptions};
use hedge_core::time::{Duration, Instant};

use crate::verdict::Verdict;

/// How many attempts a call of these cases makes at most.
const ATTEMPTS: usize = 4;

/// Replays all cases.
pub(crate) fn check(verdict: &mut Verdict) {
    for case in CASES {
        verdict.expect(case.name, play(case).is_some_and(|got| got == case.expect));
    }
}

/// The limit of a case: it refuses every backup or none.
struct Limit {
    refuses: bool,
}

impl BackupPolicy for Limit {
    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        if self.refuses { Err(Denial::Ratio) } else { Ok(()) }
    }
}

/// Runs one case. At each instant comes the cancel first, then the attempts by number, then the call. Returns `None` if the
/// options cannot be carried out, or if the call would wait for ever.
fn play(case: &Case) -> Option<Expect> {
    let limit = Limit { refuses: case.set.backup_denied };
    let mut line: Channel<u16, RoundRobin, Limit, u8, 3> =
        Channel::with_policy(options(case), RoundRobin::starting_at(0), limit, 1).ok()?;
    for address in 0..case.set.servers {
        line.insert(address, 0).ok()?;
    }
    let own = CallOptions::new();
    let mut call = line.call(&own, Instant::ZERO).ok()?;
    let mut cancel = case.set.cancel_at.map(Instant::from_millis);
    let mut running: [Option<(AttemptId, Instant, Judgement)>; ATTEMPTS] = [None; ATTEMPTS];
    let mut now = Instant::ZERO;
    loop {
        if cancel.take_if(|at| *at <= now).is_some() {
            call.handle(now, Input::Cancel);
        }
        for place in &mut running {
            if let Some((attempt, _, judgement)) = place.take_if(|(_, at, _)| *at <= now) {
                call.handle(now, Input::Finished { attempt, judgement });
            }
        }
        let until = loop {
            match call.poll(now) {
                Action::Start(start) => {
                    let index = start.attempt.index();
                    if let (Some((after, finish)), Some(place)) = (case.attempts.get(index), running.get_mut(index)) {
                        let at = now + Duration::from_millis(*after);
                        *place = judgement(*finish).map(|judgement| (start.attempt, at, judgement));
                    }
                }
                Action::Abandon { attempt } => {
                    if let Some(place) = running.get_mut(attempt.index()) {
                        *place = None;
                    }
                }
                Action::Wait { until } => break until,
                Action::Done(end) => return Some(outcome(case, end, call.report())),
            }
        };
        let answers = running.iter().flatten().map(|(_, at, _)| *at);
        let next = answers.chain(until).chain(cancel).min()?;
        now = now.max(next);
    }
}

fn options(case: &Case) -> ChannelOptions {
    let ms = Duration::from_millis;
    let set = &case.set;
    ChannelOptions {
        timeout: ms(set.timeout).into(),
        max_retry: set.max_retry,
        backup: set.backup.map_or(BackupDelay::Disabled, |delay| BackupDelay::After(ms(delay))),
        max_backups: set.max_backups,
        backoff: set.backoff.map_or(Backoff::None, |delay| Backoff::Fixed(ms(delay))),
        on_early_failure: set.on_early_failure,
        idempotency: set.idempotency,
        ..ChannelOptions::brpc()
    }
}

/// The judgement of a result; `None` if there is no result.
fn judgement(finish: Finish) -> Option<Judgement> {
    let failure = |verdict, kind: ErrorKind| Some(Judgement::new(verdict, kind.into()));
    match finish {
        Finish::Ok => Some(Means::Accept.into()),
        Finish::Retry => failure(Means::Retry, ErrorKind::Reset),
        Finish::Refused => failure(Means::Retry, ErrorKind::Refused).map(Judgement::never_left),
        Finish::Internal => failure(Means::Wait, ErrorKind::Internal),
        Finish::Fatal => failure(Means::Fatal, ErrorKind::BadRequest),
        Finish::Timeout | Finish::Cancelled | Finish::NoServer => None,
    }
}

fn outcome(case: &Case, end: End, report: &Report) -> Expect {
    let scripted =
        || report.decisive().and_then(|attempt| case.attempts.get(attempt.index())).map(|(_, finish)| *finish);
    let result = match end {
        End::Accepted | End::Failed | End::Fatal => scripted(),
        End::Deadline => Some(Finish::Timeout),
        End::Cancelled => Some(Finish::Cancelled),
        End::NoServer | End::AllDown => Some(Finish::NoServer),
    };
    Expect {
        result,
        at: report.elapsed().as_millis(),
        attempts: report.attempts().len(),
        backup_sent: report.attempts().iter().any(|attempt| attempt.kind() == Kind::Backup),
        winner: report.winner().map(AttemptId::index),
    }
}
