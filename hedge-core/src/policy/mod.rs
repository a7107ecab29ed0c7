//! What a call may do: options, fail modes, verdicts on results, backoff between retries, and the hook for backups.
//!
//! Nothing here decides anything by itself; [`Call`](crate::call::Call) reads it. Options come in two layers:
//! [`ChannelOptions`] has a value for everything, [`CallOptions`] overrides some of them for one call.

mod backoff;
mod backup;
mod options;
mod verdict;

pub use backoff::{Backoff, BackoffError};
pub use backup::{BackupDelay, BackupPolicy, Denial, Ended, NoPolicy};
pub use options::{
    CallKind, CallOptions, ChannelOptions, ConfigError, FailMode, Idempotency, OnEarlyFailure, RetryTarget, Timeout,
};
pub use verdict::{AttemptError, Code, DefaultRetryPolicy, ErrorKind, Judgement, Pushback, RetryPolicy, Verdict};
