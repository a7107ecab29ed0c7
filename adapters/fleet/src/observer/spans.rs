//! The feature `tracing`: a span for each call, a span for each attempt, and events for changes of servers.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use hedge_core::id::AttemptId;
use hedge_core::outcome::{Code, End, ErrorKind};
use hedge_core::time::{Duration, Micros};
use tracing::field::{Empty, display};
use tracing::level_filters::LevelFilter;
use tracing::{Span, debug, info, info_span, warn};

use super::care::{Care, care};
use super::{AttemptEnded, AttemptStarted, CallId, CheckEnded, ServerChange, ServerRef};
use crate::Report;
use crate::address::Address;

/// Returns whether a subscriber may want any of the spans or events. This is tracing's own check, which costs one load
/// of an atomic.
#[inline]
pub(super) fn are_on() -> bool {
    LevelFilter::current() >= LevelFilter::WARN
}

/// The spans of a call and of its attempts in flight. The span of an attempt closes when the attempt ends. The span of
/// the call closes when the call ends.
#[derive(Debug)]
pub(crate) struct AttemptSpans {
    call: Span,
    /// The spans of the attempts in flight. These are few, so a linear search is cheap.
    open: Mutex<Vec<(AttemptId, Span)>>,
}

impl AttemptSpans {
    /// Returns whether there may be a subscriber that wants spans.
    #[inline]
    pub(crate) fn are_on() -> bool {
        LevelFilter::current() >= LevelFilter::INFO
    }

    /// Opens the span of a call inside the current span. Returns `None` if no subscriber wants the span.
    pub(crate) fn new(call: CallId) -> Option<Self> {
        let call = info_span!(
            target: "hedge",
            "hedge.call",
            "hedge.call" = call.get(),
            "hedge.end" = Empty,
            "hedge.attempts" = Empty,
            "hedge.winner" = Empty,
            "hedge.not_hedged" = Empty,
            "error.type" = Empty,
            "otel.kind" = "internal",
            "otel.status_code" = Empty,
        );
        (!call.is_disabled()).then(|| Self { call, open: Mutex::default() })
    }

    pub(crate) fn attempt_started(&self, attempt: &AttemptStarted<'_>) {
        let span = info_span!(
            target: "hedge",
            parent: &self.call,
            "hedge.attempt",
            "hedge.attempt" = attempt.attempt.index(),
            "hedge.kind" = display(attempt.kind),
            "http.request.resend_count" = Empty,
            "server.address" = Empty,
            "server.port" = Empty,
            "hedge.outcome" = Empty,
            "error.type" = Empty,
            "otel.kind" = "client",
            "otel.status_code" = Empty,
        );
        if attempt.attempt != AttemptId::FIRST {
            span.record("http.request.resend_count", attempt.attempt.index());
        }
        match attempt.server.address() {
            Some(Address::Socket(address)) => {
                span.record("server.address", display(address.ip()));
                span.record("server.port", address.port());
            }
            Some(Address::Name { host, port }) => {
                span.record("server.address", &*host);
                span.record("server.port", port);
            }
            Some(Address::Unix(path)) => {
                span.record("server.address", display(path.display()));
            }
            // A layer around one service does not know the address of the service.
            None if attempt.server.any_key().is_some() => {
                span.record("server.address", display(attempt.server));
            }
            None => {}
        }
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push((attempt.attempt, span));
    }

    /// Returns the span of an attempt in flight. If the attempt has no span, returns a disabled span.
    pub(crate) fn of(&self, attempt: AttemptId) -> Span {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().find(|(id, _)| *id == attempt).map_or_else(Span::none, |(_, span)| span.clone())
    }

    pub(crate) fn attempt_ended(&self, attempt: &AttemptEnded<'_>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = open.iter().position(|(id, _)| *id == attempt.attempt) else { return };
        let (_, span) = open.swap_remove(place);
        drop(open);
        span.record("hedge.outcome", attempt.outcome());
        if attempt.verdict.is_some_and(|verdict| verdict != hedge_core::outcome::Verdict::Accept) {
            span.record("error.type", display(ErrorType(attempt.code)));
            span.record("otel.status_code", "ERROR");
        }
    }

    pub(crate) fn call_ended(&self, report: &Report) {
        let Some(end) = report.end() else { return };
        self.call.record("hedge.end", name(end));
        self.call.record("hedge.attempts", report.attempts().len());
        if let Some(winner) = report.winner() {
            self.call.record("hedge.winner", winner.index());
        }
        if let Some(reason) = report.not_hedged() {
            self.call.record("hedge.not_hedged", display(reason));
        }
        match end {
            End::Accepted => return,
            End::Failed | End::Fatal => {
                let decisive = report.decisive().and_then(|id| report.attempts().get(id.index()));
                let code = decisive.map_or(Code::NONE, |attempt| attempt.code());
                self.call.record("error.type", display(ErrorType(code)));
            }
            _ => _ = self.call.record("error.type", name(end)),
        }
        if end != End::Cancelled {
            self.call.record("otel.status_code", "ERROR");
        }
    }
}

/// Returns the name of a call's end. The field of [`Counters`](crate::Counters) for this end has the same name.
const fn name(end: End) -> &'static str {
    match end {
        End::Accepted => "accepted",
        End::Failed => "failed",
        End::Fatal => "fatal",
        End::Deadline => "deadline",
        End::Cancelled => "cancelled",
        End::NoServer => "no_server",
        End::AllDown => "all_down",
        End::AllFull => "all_full",
    }
}

/// Formats a code as OpenTelemetry's `error.type`: a status as its number, an error kind as one word, and `_OTHER` if
/// the reason of the failure is unknown.
struct ErrorType(Code);

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ErrorKind::ALL.iter().find(|kind| Code::from(**kind) == self.0) {
            Some(kind) => write!(SnakeCase(f), "{kind:?}"),
            None if self.0 == Code::NONE => f.write_str("_OTHER"),
            None => write!(f, "{}", self.0.0),
        }
    }
}

/// Writes names in snake case, for example `ConnectTimeout` as `connect_timeout`.
struct SnakeCase<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for SnakeCase<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, letter) in text.chars().enumerate() {
            if letter.is_ascii_uppercase() && index > 0 {
                self.0.write_char('_')?;
            }
            self.0.write_char(letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

pub(super) fn server_changed(server: &ServerRef<'_>, change: ServerChange) {
    match care(change) {
        Care::Warn => warn!(target: "hedge", { hedge.server = %server, hedge.change = %change }, "server changed"),
        Care::Info => info!(target: "hedge", { hedge.server = %server, hedge.change = %change }, "server changed"),
        Care::Debug => debug!(target: "hedge", { hedge.server = %server, hedge.change = %change }, "server changed"),
    }
}

pub(super) fn server_checked(check: &CheckEnded<'_>) {
    let CheckEnded { server, step, outcome, latency } = check;
    debug!(
        target: "hedge",
        {
            hedge.server = %server,
            hedge.check = %step,
            hedge.outcome = %outcome,
            hedge.latency_us = Micros::from_duration(*latency).as_micros(),
        },
        "server checked"
    );
}

pub(super) fn naming_failed(source: &str, error: &(dyn Error + 'static)) {
    warn!(target: "hedge", { hedge.source = source, error.message = %error }, "naming failed");
}

pub(super) fn connection_expired(address: &Address, idle: Duration) {
    let idle = Micros::from_duration(idle).as_micros();
    debug!(target: "hedge", { hedge.server = %address, hedge.idle_us = idle }, "idle connection expired");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_types_are_words_and_statuses() {
        for (code, text) in [
            (Code::from(ErrorKind::ConnectTimeout), "connect_timeout"),
            (Code::from(ErrorKind::Refused), "refused"),
            (Code(503), "503"),
            (Code::NONE, "_OTHER"),
        ] {
            assert_eq!(ErrorType(code).to_string(), text);
        }
    }
}
