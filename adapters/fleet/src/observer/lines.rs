//! The feature `log`: writes the events of a channel as lines of the crate `log`.

use std::error::Error;

use hedge_core::time::{Duration, Micros};
use log::{Level, LevelFilter, log};

use super::care::{Care, care};
use super::{AttemptEnded, AttemptStarted, CallId, CheckEnded, ServerChange, ServerRef};
use crate::address::Address;
use crate::end::CallEnd;
use crate::naming::NamingError;

const TARGET: &str = "hedge";

/// Returns whether a logger may want some of the lines. This compares levels, which costs one load of an atomic.
#[inline]
pub(super) fn are_on() -> bool {
    log::max_level() >= LevelFilter::Warn && log::STATIC_MAX_LEVEL >= LevelFilter::Warn
}

/// Returns whether a logger may want the lines of calls. Their level is DEBUG.
#[inline]
pub(super) fn of_calls_are_on() -> bool {
    log::max_level() >= LevelFilter::Debug && log::STATIC_MAX_LEVEL >= LevelFilter::Debug
}

pub(super) fn attempt_started(attempt: &AttemptStarted<'_>) {
    let AttemptStarted { call, attempt: number, kind, server, started } = attempt;
    let started = Micros::from_duration(*started);
    log::debug!(target: TARGET, "call {call}: attempt {number} ({kind}) to {server} started after {started}");
}

pub(super) fn attempt_ended(attempt: &AttemptEnded<'_>) {
    let AttemptEnded { call, attempt: number, kind, server, code, latency, .. } = attempt;
    let latency = Micros::from_duration(*latency);
    let outcome = attempt.outcome();
    if *code == hedge_core::outcome::Code::NONE {
        log::debug!(target: TARGET, "call {call}: attempt {number} ({kind}) to {server}: {outcome} after {latency}");
    } else {
        log::debug!(target: TARGET, "call {call}: attempt {number} ({kind}) to {server}: {outcome} after {latency}: {code}");
    }
}

pub(super) fn call_ended(call: CallId, end: &CallEnd<'_>) {
    log::debug!(target: TARGET, "call {call}: {end}");
}

pub(super) fn server_changed(server: &ServerRef<'_>, change: ServerChange) {
    let level = match care(change) {
        Care::Warn => Level::Warn,
        Care::Info => Level::Info,
        Care::Debug => Level::Debug,
    };
    log!(target: TARGET, level, "server {server}: {change}");
}

pub(super) fn server_checked(check: &CheckEnded<'_>) {
    let CheckEnded { server, step, outcome, latency } = check;
    let latency = Micros::from_duration(*latency);
    log::debug!(target: TARGET, "server {server}: check ({step}) {outcome} after {latency}");
}

pub(super) fn naming_failed(source: &str, error: &(dyn Error + 'static)) {
    // The text of a `NamingError` begins with the name of its source.
    if error.downcast_ref::<NamingError>().is_some_and(|error| error.name() == source) {
        log::warn!(target: TARGET, "naming {error}");
    } else {
        log::warn!(target: TARGET, "naming {source}: {error}");
    }
}

pub(super) fn connection_expired(address: &Address, idle: Duration) {
    log::debug!(target: TARGET, "connection to {address} closed: idle for {}", Micros::from_duration(idle));
}
