//! What a call may do: options, fail modes, verdicts on results, backoff between retries, and the hook for backups.
//!
//! Nothing here decides anything by itself; [`Call`](crate::call::Call) reads it. Options come in two layers:
//! [`ChannelOptions`] has a value for everything, [`CallOptions`] overrides some of them for one call.

mod adaptive;
mod backoff;
mod backup;
#[cfg(feature = "serde")]
mod config;
#[cfg(all(feature = "serde", any(target_has_atomic = "64", feature = "portable-atomic")))]
mod limit_config;
mod options;
mod preset;
#[cfg(feature = "serde")]
pub mod service_config;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
mod shadow;
mod verdict;

pub use adaptive::{AdaptiveDelay, AdaptiveError, AdaptiveOptions, Target};
pub use backoff::{Backoff, BackoffError};
pub use backup::{BackupDelay, BackupPolicy, Denial, Ended, Extra, NoPolicy, Shared};
#[cfg(feature = "serde")]
pub use config::ChannelConfig;
#[cfg(all(feature = "serde", any(target_has_atomic = "64", feature = "portable-atomic")))]
pub use limit_config::LimitConfig;
pub use options::{
    CallKind, CallOptions, ChannelOptions, ConfigError, FailMode, Idempotency, OnEarlyFailure, RetryTarget, Timeout,
};
pub use preset::{Preset, UnknownPreset};
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub use shadow::{Shadow, ShadowCount};
pub use verdict::{AttemptError, Code, DefaultRetryPolicy, ErrorKind, Judgement, Pushback, RetryPolicy, Verdict};
