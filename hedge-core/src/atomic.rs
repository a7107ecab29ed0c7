//! The atomic integers of this crate. They are the target's own atomic integers if the target has them, and otherwise
//! the atomic integers of portable-atomic. Words of 64 bits can also be guarded by critical sections.
//!
//! The README says which feature a program needs on which target. The build stops in three cases. `build.rs` stops it
//! for a target without compare-and-swap. portable-atomic stops it if the program has not chosen an implementation. An
//! assertion below stops it if the chosen implementation would use spin locks.

pub(crate) use core::sync::atomic::fence;
#[cfg(not(feature = "portable-atomic"))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
#[cfg(feature = "portable-atomic")]
pub(crate) use portable_atomic::{AtomicBool, AtomicU32, Ordering};

// All loads of a 64-bit word and all failed exchanges are sequentially consistent, and all stores are relaxed.
// portable-atomic matches on the order at run time, with a branch that panics. The compiler removes this branch only if
// the order is the same everywhere.
#[cfg(all(target_has_atomic = "64", not(feature = "portable-atomic")))]
pub(crate) use core::sync::atomic::AtomicU64;
#[cfg(all(feature = "critical-section", target_has_atomic = "32", not(target_has_atomic = "64")))]
pub(crate) use guarded::AtomicU64;
#[cfg(all(
    feature = "portable-atomic",
    not(all(feature = "critical-section", target_has_atomic = "32", not(target_has_atomic = "64")))
))]
pub(crate) use portable_atomic::AtomicU64;

// These targets have no operating system. If an interrupt handler waits for a lock, it waits for ever, since the code
// that holds the lock cannot run during the interrupt.
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

/// Returns the value of a word, loaded with acquire order. With portable-atomic this is a relaxed load and a fence,
/// since all 32-bit loads must have the same order there (see the comment on 64-bit words).
#[inline]
pub(crate) fn acquire(word: &AtomicU32) -> u32 {
    if cfg!(not(feature = "portable-atomic")) {
        return word.load(Ordering::Acquire);
    }
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

/// Words of 64 bits that are guarded by the program's critical sections. This is correct for any number of cores.
#[cfg(all(feature = "critical-section", target_has_atomic = "32", not(target_has_atomic = "64")))]
mod guarded {
    use core::cell::Cell;

    use super::Ordering;
    use critical_section::Mutex;

    /// Behaves like the `AtomicU64` of `core`. A critical section is sequentially consistent, so the order arguments
    /// are ignored.
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

        /// Replaces the value by the result of `to`. `to` runs with interrupts enabled. `to` runs again if the word has
        /// changed in the meantime. If `to` returns `None`, the value is not changed, and the result is `Err` with the
        /// value.
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
