//! The options and policies of calls: fail modes, verdicts on results, backoff between retries, and backup delays.
//!
//! A [`Call`](crate::call::Call) reads the options and decides; nothing in this module runs by itself. There are two
//! layers of options: [`ChannelOptions`] has a value for everything, and [`CallOptions`] overrides some of these values
//! for one call.
//!
//! Times are written and read as [`Duration`](crate::time::Duration). The value `NEVER` means that there is no time
//! limit ([`Timeout::NEVER`](crate::time::Timeout::NEVER)). The value `OFF` means that a feature is switched off
//! ([`BackupDelay::OFF`], [`Backoff::OFF`]). In an option that overrides another option, `None` means the value of the
//! other option. Files write `"never"` for `NEVER`, and `"off"` for `OFF`.

mod adaptive;
mod allowance;
mod backoff;
mod backup;
mod call_latencies;
mod options;
mod retry;
mod sample;
#[cfg(has_atomic_64)]
mod shadow;

pub use adaptive::{AdaptiveDelay, AdaptiveOptions, DelayRange, ExtraLoad, Target};
pub use backoff::{Backoff, BackoffError};
pub(crate) use backup::When;
pub use backup::{BackupDelay, BackupPolicy, ByPointer, Ended, NoPolicy};
pub use call_latencies::CallLatencies;
pub use options::{
    CallKind, CallOptions, ChannelOptions, ConfigError, FailMode, Idempotency, OnEarlyFailure, RetryTarget,
};
pub use retry::{AttemptError, DefaultRetryPolicy, RetryPolicy};
#[cfg(has_atomic_64)]
pub use shadow::{Shadow, ShadowCount};
