//! The atomic integers of this crate: the target's own, or portable-atomic's where it has no compare-and-swap, or none of
//! 64 bits.

pub(crate) use core::sync::atomic::fence;
#[cfg(not(feature = "portable-atomic"))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
#[cfg(feature = "portable-atomic")]
pub(crate) use portable_atomic::{AtomicBool, AtomicU32, Ordering};

// Every load of one, and every exchange that fails, is sequentially consistent, and every store is relaxed: portable-atomic
// looks at the order at run time, where it could panic, unless the compiler finds it to be the same everywhere.
#[cfg(all(target_has_atomic = "64", not(feature = "portable-atomic")))]
pub(crate) use core::sync::atomic::AtomicU64;
#[cfg(feature = "portable-atomic")]
pub(crate) use portable_atomic::AtomicU64;

/// A load that acquires. portable-atomic's loads of 32 bits are all relaxed, for the same reason.
#[inline]
pub(crate) fn acquire(word: &AtomicU32) -> u32 {
    if cfg!(not(feature = "portable-atomic")) {
        return word.load(Ordering::Acquire);
    }
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}
