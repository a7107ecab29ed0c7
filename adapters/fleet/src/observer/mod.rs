//! Notifies a program of the events of its calls and servers: [`Observer`].

mod all;
#[cfg(any(feature = "tracing", feature = "log"))]
mod care;
mod event;
#[cfg(feature = "log")]
mod lines;
#[cfg(feature = "tracing")]
mod spans;

use std::error::Error;

use hedge_core::time::Duration;

pub use all::Observers;
pub use event::{AttemptEnded, AttemptStarted, CallId, CheckEnded, CheckOutcome, CheckStep, ServerChange, ServerRef};
#[cfg(feature = "tracing")]
pub(crate) use spans::AttemptSpans;

use crate::address::Address;
use crate::end::CallEnd;

/// Receives the events of calls, attempts, servers, health checks, naming sources and idle connections, at the moment at
/// which they happen. Every method has a default that does nothing.
///
/// ```
/// use hedge_fleet::{AttemptEnded, CallEnd, CallId, Observer, ServerChange, ServerRef};
///
/// struct Print;
///
/// impl Observer for Print {
///     fn attempt_ended(&self, attempt: &AttemptEnded<'_>) {
///         let AttemptEnded { call, attempt: number, kind, server, latency, .. } = attempt;
///         println!("call {call}: attempt {number} ({kind}) to {server} {} after {latency:?}", attempt.outcome());
///     }
///
///     fn call_ended(&self, call: CallId, end: &CallEnd<'_>) {
///         println!("call {call}: {end}");
///     }
///
///     fn server_changed(&self, server: &ServerRef<'_>, change: ServerChange) {
///         println!("server {server}: {change}");
///     }
/// }
/// ```
///
/// The method `observer` of a builder adds an observer. Call it several times to add several observers. One observer
/// may serve several channels. It can distinguish their calls, since a [`CallId`] is unique in the process.
///
/// # Contract
/// Each call causes [`call_started`](Self::call_started), then a start and an end for each attempt, then
/// [`call_ended`](Self::call_ended). This is also true for a call that is dropped. A call that is rejected because its
/// options are invalid causes no event. For a call whose reply streams, the call ends with the head of the reply.
///
/// Each method runs on the thread on which the event happens. Most events happen while the future of a call is polled,
/// so a method should not block. No lock of this library is held at that time, so a method may use the channel. A panic
/// in a method is caught and does no harm to the call.
///
/// If two threads change one server at the same moment, the observer may be notified of the changes in either order.
///
/// # Features
/// With the feature `tracing`, each call is a span, each attempt is a span inside the call's span, and each change of a
/// server is an event. With the feature `log`, each of these is a line. Both features work without an [`Observer`]: the
/// program's subscriber or logger decides what it records. All spans, events and lines have the target `hedge`.
///
/// | what | `tracing` | `log` |
/// |---|---|---|
/// | a call | span `hedge.call`, INFO | its end, DEBUG |
/// | an attempt | span `hedge.attempt`, INFO | its start and its end, DEBUG |
/// | a server was inserted or removed, or is back | event, INFO | INFO |
/// | a server was isolated, withdrawn, or its connection broke | event, WARN | WARN |
/// | an attempt probes a server; a check has ended | event, DEBUG | DEBUG |
/// | naming failed | event, WARN | WARN |
/// | an idle connection has expired | event, DEBUG | DEBUG |
///
/// The span of a call is a child of the span in which the call's future is polled first. An attempt runs inside its own
/// span, so the spans that its client or transport opens are children of this span. If OpenTelemetry has a name for a
/// field, the field has that name:
///
/// | span | field | value |
/// |---|---|---|
/// | call | `hedge.call` | the call's [`CallId`] |
/// | call | `hedge.end` | `accepted`, `failed`, `fatal`, `deadline`, `cancelled`, `no_server`, `all_down` or `all_full`; a call that was dropped is `cancelled` |
/// | call | `hedge.attempts` | the number of attempts |
/// | call | `hedge.winner` | the number of the attempt whose reply was accepted |
/// | call | `hedge.not_hedged` | the reason why no backup was sent; missing if a backup was sent |
/// | attempt | `hedge.attempt` | its number, from 0 |
/// | attempt | `hedge.kind` | `first`, `retry` or `backup` |
/// | attempt | `http.request.resend_count` | its number, except for the first attempt |
/// | attempt | `server.address`, `server.port` | the server; if the key is not an address, `server.address` is the whole key |
/// | attempt | `hedge.outcome` | `accept`, `retry`, `wait`, `fatal`, `abandoned`, or `cancelled` if the call was cancelled or dropped |
/// | both | `error.type` | why the call or attempt failed: a status such as `503`, a kind such as `connect_timeout`, or a code of the program; 1000 + code for gRPC (hedge-http); `_OTHER` if the reason is not known |
/// | both | `otel.kind`, `otel.status_code` | `internal` for a call and `client` for an attempt; `ERROR` after a failure |
///
/// # Cost
/// Without observers and without the two features, a call checks one pointer when it starts, and one field of its own
/// at each start and end of an attempt. An observed call allocates once. The feature `tracing` makes the future of a
/// call 80 bytes larger. With one of the two features, a call also checks the maximum level of `tracing` or `log` when
/// it starts. If there is no subscriber and no logger, there is no other cost.
pub trait Observer: Send + Sync {
    /// Called when a call has started.
    fn call_started(&self, call: CallId) {
        let _ = call;
    }

    /// Called when an attempt has started.
    fn attempt_started(&self, attempt: &AttemptStarted<'_>) {
        let _ = attempt;
    }

    /// Called when an attempt has a result, or when the call no longer waits for a result.
    fn attempt_ended(&self, attempt: &AttemptEnded<'_>) {
        let _ = attempt;
    }

    /// Called when a call has ended. The report in `end` says how the call ended, which attempt decided it, and why no
    /// backup was sent.
    fn call_ended(&self, call: CallId, end: &CallEnd<'_>) {
        let _ = (call, end);
    }

    /// Called when a server has changed: it entered or left the list, it gets calls again, it gets no more calls, or an
    /// attempt probes it.
    fn server_changed(&self, server: &ServerRef<'_>, change: ServerChange) {
        let _ = (server, change);
    }

    /// Called when a step of a health check has ended ([H1](hedge_core::rules#H1)). Sets of hedge-tower have no checks.
    fn server_checked(&self, check: &CheckEnded<'_>) {
        let _ = check;
    }

    /// Called when a naming source has failed. The list of servers stays unchanged. `source` is the name of the source,
    /// for example its URL.
    fn naming_failed(&self, source: &str, error: &(dyn Error + 'static)) {
        let _ = (source, error);
    }

    /// Called when an idle connection to the server at `address` was closed, because it was idle for too long, was too
    /// old, or was idle for as long as the server had announced ([C4](hedge_core::rules#C4)). `idle` is how long the
    /// connection was idle. If several channels share the connection, the observers of the channel that used it last
    /// are notified.
    fn connection_expired(&self, address: &Address, idle: Duration) {
        let _ = (address, idle);
    }
}
