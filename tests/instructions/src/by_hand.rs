//! Calls driven by hand: what [`Call`](hedge_core::call::Call) itself costs.

use std::hint::black_box;

use hedge_core::balance::Balancer;
use hedge_core::call::{Action, Input, Report};
use hedge_core::outcome::{End, Verdict};
use hedge_core::policy::CallOptions;
use hedge_core::time::{Instant, Micros};

use crate::Line;

const ANSWERED_AFTER: Micros = Micros::from_millis(1);

/// Start, pick a server, wait, accept, done. On a channel with backups one is armed and not needed.
#[inline]
pub fn plain<B: Balancer>(line: &Line<B>, options: &CallOptions<'_>, now: Instant) -> bool {
    let Ok(mut call) = line.call(options, now) else { return false };
    let Action::Start(start) = call.poll(now) else { return false };
    let Action::Wait { until } = call.poll(now) else { return false };
    black_box(until.is_some());
    let answered = black_box(now + ANSWERED_AFTER);
    call.handle(answered, Input::finished(black_box(start.attempt), Verdict::Accept));
    let done = call.poll(answered);
    black_box(call.report());
    matches!(done, Action::Done(End::Accepted))
}

/// The first attempt never answers, the backup is sent when it is due and wins, the first is abandoned.
#[inline]
pub fn backup_wins<B: Balancer>(line: &Line<B>, options: &CallOptions<'_>, now: Instant) -> bool {
    let Ok(mut call) = line.call(options, now) else { return false };
    let Action::Start(first) = call.poll(now) else { return false };
    let Action::Wait { until: Some(due) } = call.poll(now) else { return false };
    black_box(first.server);
    let due = black_box(due);
    let Action::Start(backup) = call.poll(due) else { return false };
    let Action::Wait { until } = call.poll(due) else { return false };
    black_box(until.is_some());
    let answered = black_box(due + ANSWERED_AFTER);
    call.handle(answered, Input::finished(black_box(backup.attempt), Verdict::Accept));
    let Action::Abandon { attempt } = call.poll(answered) else { return false };
    let done = call.poll(answered);
    black_box(call.report());
    attempt == first.attempt && matches!(done, Action::Done(End::Accepted))
}

/// The first attempt fails, its retry at another server is accepted.
#[inline]
pub fn retry<B: Balancer>(line: &Line<B>, options: &CallOptions<'_>, now: Instant) -> bool {
    let Ok(mut call) = line.call(options, now) else { return false };
    let Action::Start(first) = call.poll(now) else { return false };
    let Action::Wait { until } = call.poll(now) else { return false };
    black_box(until.is_some());
    let failed = black_box(now + ANSWERED_AFTER);
    call.handle(failed, Input::finished(black_box(first.attempt), Verdict::Retry));
    let Action::Start(second) = call.poll(failed) else { return false };
    let Action::Wait { until } = call.poll(failed) else { return false };
    black_box(until.is_some());
    let answered = black_box(failed + ANSWERED_AFTER);
    call.handle(answered, Input::finished(black_box(second.attempt), Verdict::Accept));
    let done = call.poll(answered);
    black_box(call.report());
    second.server != first.server && matches!(done, Action::Done(End::Accepted))
}

/// No attempt answers before the deadline. For a channel without backups.
#[inline]
pub fn deadline<B: Balancer>(line: &Line<B>, options: &CallOptions<'_>, now: Instant) -> bool {
    let Ok(mut call) = line.call(options, now) else { return false };
    let Action::Start(start) = call.poll(now) else { return false };
    let Action::Wait { until: Some(until) } = call.poll(now) else { return false };
    let until = black_box(until);
    let Action::Abandon { attempt } = call.poll(until) else { return false };
    let done = call.poll(until);
    black_box(call.report());
    attempt == start.attempt && matches!(done, Action::Done(End::Deadline))
}

/// The report of a call whose backup won: two attempts.
#[must_use]
pub fn report<B: Balancer>(line: &Line<B>, options: &CallOptions<'_>, now: Instant) -> Option<Report> {
    let mut call = line.call(options, now).ok()?;
    let mut now = now;
    loop {
        match call.poll(now) {
            Action::Start(start) if start.attempt.index() == 0 => {}
            Action::Start(start) => call.handle(now, Input::finished(start.attempt, Verdict::Accept)),
            Action::Abandon { .. } => {}
            Action::Wait { until } => now = until?,
            Action::Done(_) => return Some(call.report().clone()),
        }
    }
}
