//! The atomic integers of this crate: the target's own where it has them, else portable-atomic's. Words of 64 bits can also
//! be guarded by critical sections.
//!
//! Which feature a program needs on which target is in the README. A target without compare-and-swap is refused by
//! `build.rs`, portable-atomic without a choice by portable-atomic, and a choice that would take spin locks below.

pub(crate) use core::sync::atomic::fence;
#[cfg(not(feature = "portable-atomic"))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
#[cfg(feature = "portable-atomic")]
pub(crate) use portable_atomic::{AtomicBool, AtomicU32, Ordering};

// Every load of one, and every exchange that fails, is sequentially consistent, and every store is relaxed: portable-atomic
// looks at the order at run time, where it could panic, unless the compiler finds it to be the same everywhere.
#[cfg(all(target_has_atomic = "64", not(feature = "portable-atomic")))]
pub(crate) use core::sync::atomic::AtomicU64;
#[cfg(all(feature = "critical-section", target_has_atomic = "32", not(target_has_atomic = "64")))]
pub(crate) use guarded::AtomicU64;
#[cfg(all(
    feature = "portable-atomic",
    not(all(feature = "critical-section", target_has_atomic = "32", not(target_has_atomic = "64")))
))]
pub(crate) use portable_atomic::AtomicU64;

// Without an operating system an interrupt that finds a lock taken waits for ever: what holds it does not run meanwhile.
#[cfg(all(
    feature = "portable-atomic",
    not(feature = "critical-section"),
    target_os = "none",
    target_has_atomic = "32",
    not(target_has_atomic = "64")
))]
const _: () = assert!(
    AtomicU64::is_always_lock_free(),
    "portable-atomic would use spin locks for words of 64 bits on this target: 2 KB of them, and a deadlock once an interrupt \
     needs a word that main is using. Its feature `critical-section` changes nothing here. If the chip has one core, turn on \
     `unsafe-assume-single-core` of portable-atomic in the program, and not `critical-section`. If it has several, or another \
     crate turns `critical-section` on, turn on the feature `critical-section` of hedge-core (or of hedge-embassy) instead"
);

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

/// Words of 64 bits by the program's critical sections, which know how many cores there are.
#[cfg(all(feature = "critical-section", target_has_atomic = "32", not(target_has_atomic = "64")))]
mod guarded {
    use core::cell::Cell;

    use super::Ordering;
    use critical_section::Mutex;

    /// As the target's own would be. A critical section is sequentially consistent, so orders say nothing.
    #[derive(Debug)]
    pub(crate) struct AtomicU64(Mutex<Cell<u64>>);

    impl AtomicU64 {
        pub(crate) const fn new(value: u64) -> Self {
            Self(Mutex::new(Cell::new(value)))
        }

        pub(crate) fn load(&self, _: Ordering) -> u64 {
            self.with(Cell::get)
        }

        pub(crate) fn store(&self, value: u64, _: Ordering) {
            self.with(|word| word.set(value));
        }

        pub(crate) fn swap(&self, value: u64, _: Ordering) -> u64 {
            self.with(|word| word.replace(value))
        }

        pub(crate) fn fetch_add(&self, more: u64, _: Ordering) -> u64 {
            self.with(|word| word.replace(word.get().wrapping_add(more)))
        }

        pub(crate) fn fetch_sub(&self, less: u64, _: Ordering) -> u64 {
            self.with(|word| word.replace(word.get().wrapping_sub(less)))
        }

        pub(crate) fn compare_exchange(&self, from: u64, to: u64, _: Ordering, _: Ordering) -> Result<u64, u64> {
            self.with(|word| {
                let value = word.get();
                if value != from {
                    return Err(value);
                }
                word.set(to);
                Ok(value)
            })
        }

        /// `to` runs with interrupts on, and again if the word has changed meanwhile.
        pub(crate) fn fetch_update(
            &self,
            set: Ordering,
            fetch: Ordering,
            mut to: impl FnMut(u64) -> Option<u64>,
        ) -> Result<u64, u64> {
            let mut value = self.load(fetch);
            while let Some(next) = to(value) {
                match self.compare_exchange(value, next, set, fetch) {
                    Err(changed) => value = changed,
                    exchanged => return exchanged,
                }
            }
            Err(value)
        }

        fn with<V>(&self, act: impl FnOnce(&Cell<u64>) -> V) -> V {
            critical_section::with(|section| act(self.0.borrow(section)))
        }
    }

    impl Default for AtomicU64 {
        fn default() -> Self {
            Self::new(0)
        }
    }
}
