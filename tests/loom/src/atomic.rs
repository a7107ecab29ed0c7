//! What hedge-core's sources find at `crate::atomic`: loom's integers.

use std::sync::OnceLock;
use std::sync::atomic as plain;

pub(crate) use loom::sync::atomic::{Ordering, fence};

/// Whether every operation is a step that loom orders among all others.
///
/// By itself it orders those on one word, and of these it compares each with the one before it only: a thread that looks
/// at a word before it changes it hides from loom who has looked at it earlier.
pub(crate) static STEPS: plain::AtomicBool = plain::AtomicBool::new(false);

/// How often a word of 64 bits was loaded by itself, and not to change it.
pub(crate) static LOADS: plain::AtomicUsize = plain::AtomicUsize::new(0);

loom::lazy_static! {
    static ref STEP: loom::sync::atomic::AtomicUsize = loom::sync::atomic::AtomicUsize::new(0);
}

fn step() {
    if STEPS.load(plain::Ordering::Relaxed) {
        // It hands nothing on: what was written before it is no more visible after it.
        STEP.fetch_add(1, Ordering::Relaxed);
    }
}

/// A word, made when it is first touched: hedge-core's is made in constants, and loom's cannot be. Who makes it has to be
/// known to all who touch it later, or loom says so; so what is to be shared is written out before, which touches all of it.
macro_rules! word {
    ($name:ident, $value:ty) => {
        #[derive(Default)]
        pub struct $name {
            initial: $value,
            made: OnceLock<Box<loom::sync::atomic::$name>>,
        }

        impl $name {
            pub(crate) const fn new(initial: $value) -> Self {
                Self { initial, made: OnceLock::new() }
            }

            fn made(&self) -> &loom::sync::atomic::$name {
                self.made.get_or_init(|| Box::new(loom::sync::atomic::$name::new(self.initial)))
            }

            /// loom's, in a step of its own.
            fn stepped(&self) -> &loom::sync::atomic::$name {
                let made = self.made();
                step();
                made
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                LOADS.fetch_add(usize::from(size_of::<$value>() == 8), plain::Ordering::Relaxed);
                self.stepped().load(order)
            }

            /// As an exchange: loom does not see that between what a read-modify-write reads and what it writes there is
            /// no other store, and lets a store be undone by an addition that did not see it.
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.swap(value, order);
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                self.stepped().swap(value, order)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.made();
                f.write_str(stringify!($name))
            }
        }
    };
}

/// What numbers have besides.
macro_rules! number {
    ($name:ident, $value:ty) => {
        impl $name {
            pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.stepped().fetch_add(value, order)
            }

            pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.stepped().fetch_sub(value, order)
            }

            pub(crate) fn fetch_update(
                &self,
                set: Ordering,
                get: Ordering,
                to: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                update(self.stepped().load(get), to, |old, new| self.compare_exchange(old, new, set, get))
            }

            pub(crate) fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                done: Ordering,
                not: Ordering,
            ) -> Result<$value, $value> {
                self.stepped().compare_exchange(old, new, done, not)
            }
        }
    };
}

word!(AtomicBool, bool);
word!(AtomicU32, u32);
word!(AtomicU64, u64);
number!(AtomicU32, u32);
number!(AtomicU64, u64);

impl AtomicU32 {
    pub(crate) fn fetch_max(&self, value: u32, order: Ordering) -> u32 {
        self.stepped().fetch_max(value, order)
    }
}

pub(crate) fn acquire(word: &AtomicU32) -> u32 {
    word.load(Ordering::Acquire)
}

/// What `fetch_update` does, in steps.
fn update<T: Copy>(
    mut old: T,
    mut to: impl FnMut(T) -> Option<T>,
    exchange: impl Fn(T, T) -> Result<T, T>,
) -> Result<T, T> {
    while let Some(new) = to(old) {
        match exchange(old, new) {
            Ok(old) => return Ok(old),
            Err(found) => old = found,
        }
    }
    Err(old)
}
