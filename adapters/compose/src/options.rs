//! The options that a sub-call inherits from the call above it.

use hedge_core::policy::Idempotency;
use hedge_core::time::Timeout;
use hedge_fleet::{AlongOptions, CallOptions};

/// The options of a sub-call. It runs under the deadline of the call above it, and it never sends twice what the call
/// may not send twice. What concerns requests and connections is passed on: the kind of exchange, the request code, the
/// mode of the body, the connect timeout, the named servers, the log id and the request id. The key is not passed on:
/// [`for_same_request`] does that. The retries, the backups, their policy, the attempt
/// timeout and the cancel token belong to the call above. A parallel call, which is one attempt, uses of these only the
/// cancel token. The sub-channel has its own. `idempotent` says whether the call may be sent twice, and `timeout` is the
/// time that remains.
pub(crate) fn for_sub_call(options: &CallOptions, idempotent: bool, timeout: Timeout) -> CallOptions {
    let idempotency = if idempotent { options.idempotency } else { Idempotency::NotIdempotent };
    CallOptions {
        timeout: Some(timeout),
        connect_timeout: options.connect_timeout,
        idempotency,
        kind: options.kind,
        request_code: options.request_code,
        servers: options.servers.clone(),
        body: options.body,
        along: options.along.as_deref().map(without_key),
        ..CallOptions::new()
    }
}

#[cold]
fn without_key(along: &AlongOptions) -> Box<AlongOptions> {
    Box::new(AlongOptions { idempotency_key: None, ..along.clone() })
}

/// The options of a sub-call that sends the request of the call above it, so that all sub-calls of the call have its
/// key ([W3](hedge_core::rules#W3)). A part of a parallel call is another request, and must not have it: a server that
/// gets two parts would take the second for a copy of the first.
pub(crate) fn for_same_request(options: &CallOptions, idempotent: bool, timeout: Timeout) -> CallOptions {
    CallOptions { along: options.along.clone(), ..for_sub_call(options, idempotent, timeout) }
}
