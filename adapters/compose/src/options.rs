//! The options that a sub-call inherits from the call above it.

use hedge_core::policy::Idempotency;
use hedge_core::time::Timeout;
use hedge_fleet::CallOptions;

/// The options of a sub-call. It runs under the deadline of the call above it, and it never sends twice what the call
/// may not send twice. What concerns requests and connections is passed on: the kind of exchange, the request code, the
/// mode of the body, the connect timeout and the named servers. The retries, the backups, their policy, the attempt
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
        ..CallOptions::new()
    }
}
