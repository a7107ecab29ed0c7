//! What a program may be told of its calls and its servers while they happen: [`Observer`].

mod all;
#[cfg(any(feature = "tracing", feature = "log"))]
mod care;
mod event;
#[cfg(feature = "log")]
mod lines;
#[cfg(feature = "tracing")]
mod spans;

use std::error::Error;

pub use all::Observers;
pub use event::{AttemptEnded, AttemptStarted, CallId, CheckEnded, CheckOutcome, CheckStep, ServerChange, ServerRef};
#[cfg(feature = "tracing")]
pub(crate) use spans::AttemptSpans;

use crate::end::CallEnd;

/// Is told of calls, attempts, servers, checks and naming while they happen. Every method has a default that does
/// nothing.
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
/// A builder's `observer` sets one, and may be called several times. One observer may serve several channels: a
/// [`CallId`] is unique in the process.
///
/// # Contract
/// For each call there is [`call_started`](Self::call_started), then a start and an end for each attempt, then
/// [`call_ended`](Self::call_ended), also if the call is dropped. A call whose options cannot be carried out is not
/// told. A call that streams ends with the head of its reply.
///
/// The methods run on the thread on which it happens, most of them within a call's future: they should not block. No
/// lock is held then, so they may use the channel. A panic harms no call.
///
/// Changes that threads make to one server at the same moment may be told in either order.
///
/// # Features
/// With the feature `tracing`, each call is a span and each attempt another one inside it, and what happens to servers
/// is an event. With `log`, the same are lines. Both work without an [`Observer`]: the program's subscriber or logger
/// decides what it wants. Everything has the target `hedge`.
///
/// | what | `tracing` | `log` |
/// |---|---|---|
/// | a call | span `hedge.call`, INFO | its end, DEBUG |
/// | an attempt | span `hedge.attempt`, INFO | its start and its end, DEBUG |
/// | a server was inserted or removed, or is back | event, INFO | INFO |
/// | a server was isolated, withdrawn, or its connection broke | event, WARN | WARN |
/// | an attempt probes a server; a check has ended | event, DEBUG | DEBUG |
/// | naming failed | event, WARN | WARN |
///
/// The span of a call is a child of the span in which the call's future is polled first. What an attempt does runs in
/// the attempt's span, so the spans of a client or a transport below are its children. The fields have OpenTelemetry's
/// names where it has one:
///
/// | span | field | value |
/// |---|---|---|
/// | call | `hedge.call` | the call's [`CallId`] |
/// | call | `hedge.end` | `accepted`, `failed`, `fatal`, `deadline`, `cancelled`, `no_server` or `all_down`; a call that was dropped is `cancelled` |
/// | call | `hedge.attempts` | how many attempts there were |
/// | call | `hedge.winner` | the number of the attempt whose reply was accepted |
/// | call | `hedge.not_hedged` | why no backup was sent, if none was |
/// | attempt | `hedge.attempt` | its number, from 0 |
/// | attempt | `hedge.kind` | `first`, `retry` or `backup` |
/// | attempt | `http.request.resend_count` | its number, except for the first attempt |
/// | attempt | `server.address`, `server.port` | the server; `server.address` is the whole key if that is no address |
/// | attempt | `hedge.outcome` | `accept`, `retry`, `wait`, `fatal`, `abandoned`, or `cancelled` if the call was cancelled or dropped |
/// | both | `error.type` | why it failed: a status such as `503`, a kind such as `connect_timeout`, or a code of the program; 1000 + code for gRPC (hedge-http); `_OTHER` if that is not known |
/// | both | `otel.kind`, `otel.status_code` | `internal` for a call and `client` for an attempt; `ERROR` after a failure |
///
/// # Cost
/// Without observers, and without the two features, a call checks one pointer when it starts, and a field of its own
/// at each start and end of an attempt. A call that is observed allocates once. With the feature `tracing`, the future
/// of a call has 80 bytes more. While there is no subscriber, a call checks tracing's level in addition. `log` is the
/// same.
pub trait Observer: Send + Sync {
    /// A call has started.
    fn call_started(&self, call: CallId) {
        let _ = call;
    }

    /// An attempt has started.
    fn attempt_started(&self, attempt: &AttemptStarted<'_>) {
        let _ = attempt;
    }

    /// An attempt has a result, or the call no longer waits for it.
    fn attempt_ended(&self, attempt: &AttemptEnded<'_>) {
        let _ = attempt;
    }

    /// A call has ended. The report says how, by which attempt, and why no backup was sent if none was.
    fn call_ended(&self, call: CallId, end: &CallEnd<'_>) {
        let _ = (call, end);
    }

    /// Something happened to a server: it entered or left the list, or takes calls or does not.
    fn server_changed(&self, server: &ServerRef<'_>, change: ServerChange) {
        let _ = (server, change);
    }

    /// A step of a health check has ended ([H1](hedge_core::rules#H1)). Sets of hedge-tower have no checks.
    fn server_checked(&self, check: &CheckEnded<'_>) {
        let _ = check;
    }

    /// The names of the servers could not be read, so the list stays as it is. `source` is the name that was to be
    /// resolved, for instance the path of a file.
    fn naming_failed(&self, source: &str, error: &(dyn Error + 'static)) {
        let _ = (source, error);
    }
}
