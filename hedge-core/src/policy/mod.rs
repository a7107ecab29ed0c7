//! What a call may do: options, fail modes, verdicts on results, backoff between retries, and the hook for backups.
//!
//! Nothing here decides anything by itself; [`Call`](crate::call::Call) reads it. Options come in two layers:
//! [`ChannelOptions`] has a value for everything, [`CallOptions`] overrides some of them for one call.

mod adaptive;
mod allowance;
mod backoff;
mod backup;
mod call_latencies;
#[cfg(feature = "serde")]
mod config;
#[cfg(all(feature = "serde", any(target_has_atomic = "64", feature = "portable-atomic")))]
mod limit_config;
#[cfg(all(feature = "serde", any(target_has_atomic = "64", feature = "portable-atomic")))]
mod limit_patch;
#[cfg(feature = "serde")]
mod named;
mod options;
mod preset;
mod sample;
#[cfg(feature = "serde")]
pub mod service_config;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
mod setup;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
mod shadow;
#[cfg(feature = "serde")]
pub(crate) mod tagged;
mod verdict;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
mod warning;

pub use adaptive::{AdaptiveDelay, AdaptiveError, AdaptiveOptions, Target};
pub use backoff::{Backoff, BackoffError};
pub use backup::{BackupDelay, BackupPolicy, Denial, Ended, Extra, NoPolicy, Shared};
pub use call_latencies::CallLatencies;
#[cfg(feature = "serde")]
pub use config::ChannelConfig;
#[cfg(all(feature = "serde", any(target_has_atomic = "64", feature = "portable-atomic")))]
pub use limit_config::LimitConfig;
#[cfg(all(feature = "serde", any(target_has_atomic = "64", feature = "portable-atomic")))]
pub use limit_patch::{BudgetConfig, LimitSetting, RatioConfig, TokenConfig};
#[cfg(all(feature = "serde", any(target_has_atomic = "64", feature = "portable-atomic")))]
pub(crate) use limit_patch::{read_whole, write_whole};
pub use options::{
    CallKind, CallOptions, ChannelOptions, ConfigError, FailMode, Idempotency, OnEarlyFailure, RetryTarget, Timeout,
};
pub use preset::{Preset, UnknownPreset};
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub use setup::Setup;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub use shadow::{Shadow, ShadowCount};
pub use verdict::{AttemptError, Code, DefaultRetryPolicy, ErrorKind, Judgement, Pushback, RetryPolicy, Verdict};
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub use warning::{Origin, Warning, Warnings};
