//! Suite `lifecycle_cases`: scripted attempts in, the end of the call out, in virtual time.

use hedge_core::balance::RoundRobin;
use hedge_core::call::{Action, Call, Input, Report};
use hedge_core::channel::Channel;
use hedge_core::outcome::{Denial, End, ErrorKind, Judgement, Kind, NotHedged, Pushback, Verdict as Means};
use hedge_core::policy::{
    Backoff, BackupDelay, BackupPolicy, CallOptions, ChannelOptions, ConfigError, FailMode, Idempotency, OnEarlyFailure,
};
use hedge_core::time::{Duration, Instant, Timeout};
use serde::Deserialize;

use crate::{Case, Verdict};

/// How many attempts a call of this suite holds.
const ATTEMPTS: usize = 64;
/// How many servers its channel holds.
const SERVERS: usize = 64;

#[derive(Deserialize)]
struct Table {
    cases: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(rename = "name")]
    _name: String,
    #[serde(default)]
    options: Options,
    #[serde(default)]
    attempts: Vec<Attempt>,
    expect: Expect,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Options {
    timeout_ms: Option<u64>,
    backup_ms: Option<u64>,
    max_retry: Option<u8>,
    servers: Option<u16>,
    fail_mode: Option<FailMode>,
    backup_denied: bool,
    same_server_backup: bool,
    on_early_failure: OnEarlyFailure,
    max_backups: Option<u8>,
    backoff_ms: Option<u64>,
    no_backoff_remaining_ms: u64,
    idempotency: Idempotency,
    cancel_at_ms: Option<u64>,
    retry_everything: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempt {
    #[serde(default)]
    after_ms: u64,
    result: Finish,
    pushback_ms: Option<i64>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
enum Finish {
    Ok,
    Business,
    Retry,
    Refused,
    Internal,
    Fatal,
    Never,
    Timeout,
    Cancelled,
    NoServer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    result: Finish,
    at_ms: u64,
    attempts: usize,
    backup_sent: bool,
    winner: Option<usize>,
    not_hedged: Option<String>,
}

/// The limit of the cases: it refuses every backup or none.
struct Limit {
    refuses: bool,
}

impl BackupPolicy for Limit {
    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        if self.refuses { Err(Denial::Ratio) } else { Ok(()) }
    }
}

pub(crate) fn run(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Table = serde_json::from_str(text)?;
    Ok((1..).zip(table.cases).map(|(number, case)| judge(number, case)).collect())
}

fn judge(number: usize, case: serde_json::Value) -> Case {
    let name = case.get("name").and_then(|name| name.as_str()).map_or_else(|| format!("case {number}"), str::to_owned);
    let fail = |expected: String, got: String| Verdict::Fail { expected, got };
    let verdict = match serde_json::from_value::<Script>(case) {
        Err(error) => fail("a case of this suite".into(), error.to_string()),
        Ok(script) => match play(&script) {
            Err(error) => fail(describe(&script.expect, &script.expect), format!("options refused: {error}")),
            Ok(got) => compare(&script.expect, &got),
        },
    };
    Case { name, verdict }
}

/// Only what the table states is compared.
fn compare(expect: &Expect, got: &Expect) -> Verdict {
    let (expected, got) = (describe(expect, expect), describe(got, expect));
    if expected == got { Verdict::Ok } else { Verdict::Fail { expected, got } }
}

/// One line with what `asked` states.
fn describe(what: &Expect, asked: &Expect) -> String {
    let Expect { result, at_ms, attempts, backup_sent, winner, not_hedged } = what;
    let mut text = format!("{result:?} at {at_ms} ms, attempts {attempts}, backup sent {backup_sent}");
    if asked.winner.is_some() {
        text += &format!(", winner {winner:?}");
    }
    if asked.not_hedged.is_some() {
        text += &format!(", not hedged {not_hedged:?}");
    }
    text
}

/// Runs one case: in each instant the cancel first, then the attempts by number, then the call.
fn play(script: &Script) -> Result<Expect, ConfigError> {
    let options = &script.options;
    let limit = Limit { refuses: options.backup_denied };
    let mut channel: Channel<u16, RoundRobin, Limit, u8, SERVERS> =
        Channel::with_policy(channel_options(options), RoundRobin::starting_at(0), limit, 1);
    for address in 0..options.servers.unwrap_or(3) {
        // More than fit are not needed: no call makes as many attempts.
        let _ = channel.insert(address, 0);
    }
    let own = CallOptions::new();
    let mut call = Call::<_, ATTEMPTS>::new(&channel, &own, Instant::ZERO)?;
    let mut cancel = options.cancel_at_ms.map(Instant::from_millis);
    let mut running = Vec::new();
    let mut now = Instant::ZERO;
    loop {
        if cancel.is_some_and(|at| at <= now) {
            cancel = None;
            call.handle(now, Input::Cancel);
        }
        running.sort_by_key(|(_, attempt, _)| *attempt);
        for (_, attempt, judgement) in running.extract_if(.., |(at, ..)| *at <= now) {
            call.handle(now, Input::Finished { attempt, judgement });
        }
        let until = loop {
            match call.poll(now) {
                Action::Start(start) => {
                    let scripted = script.attempts.get(start.attempt.index());
                    if let Some((after, judgement)) =
                        scripted.and_then(|attempt| attempt.judgement(options.retry_everything))
                    {
                        running.push((now + after, start.attempt, judgement));
                    }
                }
                Action::Abandon { attempt } => running.retain(|(_, other, _)| *other != attempt),
                Action::Wait { until } => break until,
                Action::Done(end) => return Ok(outcome(script, end, call.report())),
            }
        };
        let next = running.iter().map(|(at, ..)| *at).chain(until).chain(cancel).min();
        match next {
            Some(next) => now = now.max(next),
            // Nothing will ever happen: no deadline, no answer.
            None => {
                let mut waits = outcome(script, End::Cancelled, call.report());
                waits.result = Finish::Never;
                return Ok(waits);
            }
        }
    }
}

fn channel_options(options: &Options) -> ChannelOptions {
    let ms = Duration::from_millis;
    let preset = ChannelOptions::brpc().with_fail_mode(options.fail_mode.unwrap_or(FailMode::FailOver));
    let max_retry = match options.fail_mode {
        Some(FailMode::FailFast) => preset.max_retry,
        _ => options.max_retry.unwrap_or(preset.max_retry),
    };
    ChannelOptions {
        timeout: options.timeout_ms.map_or(Timeout::NEVER, |timeout| ms(timeout).into()),
        max_retry,
        backup: options.backup_ms.map_or(preset.backup, |delay| BackupDelay::after(ms(delay))),
        max_backups: options.max_backups.unwrap_or(preset.max_backups),
        backoff: options.backoff_ms.map_or(Backoff::OFF, |delay| Backoff::fixed(ms(delay))),
        no_backoff_remaining: ms(options.no_backoff_remaining_ms),
        same_server_backup: options.same_server_backup,
        on_early_failure: options.on_early_failure,
        idempotency: options.idempotency,
        ..preset
    }
}

impl Attempt {
    /// How long it takes and what it means; `None` if it never answers.
    fn judgement(&self, retry_everything: bool) -> Option<(Duration, Judgement)> {
        let failure = |verdict, kind: ErrorKind| Judgement::new(verdict, kind.into());
        let mut judgement = match self.result {
            Finish::Ok | Finish::Business => Means::Accept.into(),
            Finish::Retry => failure(Means::Retry, ErrorKind::Reset),
            Finish::Refused => failure(Means::Retry, ErrorKind::Refused).never_left(),
            Finish::Internal => failure(Means::Wait, ErrorKind::Internal),
            Finish::Fatal => failure(Means::Fatal, ErrorKind::BadRequest),
            Finish::Never | Finish::Timeout | Finish::Cancelled | Finish::NoServer => return None,
        };
        if retry_everything && judgement.verdict == Means::Wait {
            judgement.verdict = Means::Retry;
        }
        if let Some(pushback) = self.pushback_ms {
            let pushback = match u64::try_from(pushback) {
                Ok(delay) => Pushback::after(Duration::from_millis(delay)),
                Err(_) => Pushback::DO_NOT,
            };
            judgement = judgement.with_pushback(pushback);
        }
        Some((Duration::from_millis(self.after_ms), judgement))
    }
}

fn outcome(script: &Script, end: End, report: &Report<ATTEMPTS>) -> Expect {
    let scripted = report.decisive().and_then(|attempt| script.attempts.get(attempt.index()));
    let result = match end {
        End::Accepted | End::Failed | End::Fatal => scripted.map_or(Finish::Never, |attempt| attempt.result),
        End::Deadline => Finish::Timeout,
        End::Cancelled => Finish::Cancelled,
        End::NoServer | End::AllDown | End::AllFull => Finish::NoServer,
    };
    Expect {
        result,
        at_ms: report.elapsed_micros().as_millis(),
        attempts: report.attempts().len(),
        backup_sent: report.attempts().iter().any(|attempt| attempt.kind() == Kind::Backup),
        winner: report.winner().map(|winner| winner.index()),
        not_hedged: report.not_hedged().map(|reason| reason_name(reason).into()),
    }
}

const fn reason_name(reason: NotHedged) -> &'static str {
    match reason {
        NotHedged::Disabled => "disabled",
        NotHedged::NotHedgeable => "not_hedgeable",
        NotHedged::NotIdempotent => "not_idempotent",
        NotHedged::DelayPastDeadline => "delay_past_deadline",
        NotHedged::NoAttemptLeft => "no_attempt_left",
        NotHedged::NoOtherServer => "no_other_server",
        NotHedged::Shadow => "shadow",
        NotHedged::Denied(_) => "denied",
        NotHedged::Pushback => "pushback",
        NotHedged::FinishedFirst => "finished_first",
    }
}
