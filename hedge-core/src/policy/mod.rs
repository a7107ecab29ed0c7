//! What a call may do: options, fail modes, verdicts on results, backoff between retries, and the hook for backups.
//!
//! Nothing here decides anything by itself; [`Call`](crate::call::Call) reads it. Options come in two layers:
//! [`ChannelOptions`] has a value for everything, [`CallOptions`] overrides some of them for one call.
//!
//! Times are written and read as [`Duration`](crate::time::Duration). A limit that does not exist is `NEVER`
//! ([`Timeout::NEVER`](crate::time::Timeout::NEVER)), and a feature that is switched off is `OFF` ([`BackupDelay::OFF`],
//! [`Backoff::OFF`]). In an option that overrides another, `None` means the other's value. Files write `"never"` for the
//! first, and `"disabled"` or `"none"` for the second.

mod adaptive;
mod allowance;
mod backoff;
mod backup;
mod call_latencies;
#[cfg(has_atomic_64)]
mod error;
mod options;
mod retry;
mod sample;
#[cfg(has_atomic_64)]
mod shadow;

pub use adaptive::{AdaptiveDelay, AdaptiveError, AdaptiveOptions, Target};
pub use backoff::{Backoff, BackoffError};
pub(crate) use backup::When;
pub use backup::{BackupDelay, BackupPolicy, ByPointer, Ended, NoPolicy};
pub use call_latencies::CallLatencies;
#[cfg(has_atomic_64)]
pub use error::LimitError;
pub use options::{
    CallKind, CallOptions, ChannelOptions, ConfigError, FailMode, Idempotency, OnEarlyFailure, RetryTarget,
};
pub use retry::{AttemptError, DefaultRetryPolicy, RetryPolicy};
#[cfg(has_atomic_64)]
pub use shadow::{Shadow, ShadowCount};
