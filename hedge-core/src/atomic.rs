//! The atomic integers of this crate: the target's own, or portable-atomic's where it has no compare-and-swap, or none of
//! 64 bits.

pub(crate) use core::sync::atomic::fence;
#[cfg(not(feature = "portable-atomic"))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
#[cfg(feature = "portable-atomic")]
pub(crate) use portable_atomic::{AtomicBool, AtomicU32, Ordering};

#[cfg(all(target_has_atomic = "64", not(feature = "portable-atomic")))]
pub(crate) use core::sync::atomic::AtomicU64;
#[cfg(feature = "portable-atomic")]
pub(crate) use portable_atomic::AtomicU64;
