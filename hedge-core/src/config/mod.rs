//! What stands above everything else: presets, a channel described in a file, and settings that contradict each other.

#[cfg(feature = "serde")]
mod channel_config;
#[cfg(all(feature = "serde", any(target_has_atomic = "64", feature = "portable-atomic")))]
mod limit_config;
#[cfg(all(feature = "serde", any(target_has_atomic = "64", feature = "portable-atomic")))]
mod limit_patch;
mod preset;
#[cfg(feature = "serde")]
pub mod service_config;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
mod setup;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
mod warning;

#[cfg(feature = "serde")]
pub use channel_config::ChannelConfig;
#[cfg(all(feature = "serde", any(target_has_atomic = "64", feature = "portable-atomic")))]
pub use limit_config::LimitConfig;
#[cfg(all(feature = "serde", any(target_has_atomic = "64", feature = "portable-atomic")))]
pub use limit_patch::{BudgetConfig, RatioConfig, TokenConfig};
pub use preset::{Preset, UnknownPreset};
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub use setup::Setup;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub use warning::{Origin, Warning, Warnings};
