//! Configuration: presets, channels that are described in files, and warnings about settings that contradict each
//! other. No other module of this crate uses this module.

#[cfg(feature = "serde")]
mod channel_config;
#[cfg(all(feature = "serde", has_atomic_64))]
mod limit_config;
#[cfg(all(feature = "serde", has_atomic_64))]
mod limit_patch;
#[cfg(all(feature = "serde", has_atomic_64))]
mod load_balancer;
mod preset;
#[cfg(feature = "serde")]
#[doc(hidden)]
pub mod reading;
mod server_limits;
#[cfg(all(feature = "serde", feature = "alloc"))]
mod servers_config;
#[cfg(feature = "serde")]
pub mod service_config;
#[cfg(feature = "serde")]
mod setting;
#[cfg(has_atomic_64)]
mod setup;
#[cfg(all(feature = "serde", has_atomic_64))]
mod trpc;
#[cfg(has_atomic_64)]
mod warning;

#[cfg(feature = "serde")]
pub use channel_config::ChannelConfig;
#[cfg(all(feature = "serde", has_atomic_64))]
pub use limit_config::LimitConfig;
#[cfg(all(feature = "serde", has_atomic_64))]
pub use limit_patch::{BudgetConfig, RatioConfig, TokenConfig};
pub use preset::{Preset, UnknownPreset};
pub use server_limits::ServerLimits;
#[cfg(all(feature = "serde", feature = "alloc"))]
pub use servers_config::ServersConfig;
#[cfg(feature = "serde")]
pub use setting::Setting;
#[cfg(has_atomic_64)]
pub use setup::Setup;
#[cfg(all(feature = "serde", has_atomic_64))]
pub use trpc::TrpcService;
#[cfg(has_atomic_64)]
pub use warning::{Origin, Warning, Warnings};
