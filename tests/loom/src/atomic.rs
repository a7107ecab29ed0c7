//! What hedge-core's sources find at `crate::atomic`: loom's integers.

use std::sync::OnceLock;
use std::sync::atomic as plain;

pub(crate) use loom::sync::atomic::{AtomicBool, Ordering, fence};

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

/// loom's, made when it is first touched: hedge-core's is made in constants. Who makes it has to be known to all who touch
/// it later, or loom says so; the models touch what they share before they share it.
#[derive(Default)]
pub(crate) struct AtomicU32 {
    initial: u32,
    made: OnceLock<Box<loom::sync::atomic::AtomicU32>>,
}

impl AtomicU32 {
    pub(crate) const fn new(initial: u32) -> Self {
        Self { initial, made: OnceLock::new() }
    }

    /// loom's, in a step of its own.
    fn stepped(&self) -> &loom::sync::atomic::AtomicU32 {
        let made = self.made.get_or_init(|| Box::new(loom::sync::atomic::AtomicU32::new(self.initial)));
        step();
        made
    }

    pub(crate) fn load(&self, order: Ordering) -> u32 {
        self.stepped().load(order)
    }

    /// As an exchange: loom does not see that between what a read-modify-write reads and what it writes there is no other
    /// store, and lets a store be undone by an addition that did not see it.
    pub(crate) fn store(&self, value: u32, order: Ordering) {
        self.stepped().swap(value, order);
    }

    pub(crate) fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.stepped().fetch_add(value, order)
    }

    pub(crate) fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        self.stepped().fetch_sub(value, order)
    }

    pub(crate) fn fetch_max(&self, value: u32, order: Ordering) -> u32 {
        self.stepped().fetch_max(value, order)
    }

    pub(crate) fn fetch_update(
        &self,
        set: Ordering,
        get: Ordering,
        to: impl FnMut(u32) -> Option<u32>,
    ) -> Result<u32, u32> {
        update(self.load(get), to, |old, new| self.compare_exchange(old, new, set, get))
    }

    pub(crate) fn compare_exchange(&self, old: u32, new: u32, done: Ordering, not: Ordering) -> Result<u32, u32> {
        self.stepped().compare_exchange(old, new, done, not)
    }
}

impl std::fmt::Debug for AtomicU32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtomicU32")
    }
}

/// loom's, with its loads counted.
#[derive(Debug)]
pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn new(initial: u64) -> Self {
        Self(loom::sync::atomic::AtomicU64::new(initial))
    }

    fn stepped(&self) -> &loom::sync::atomic::AtomicU64 {
        step();
        &self.0
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        LOADS.fetch_add(1, plain::Ordering::Relaxed);
        self.stepped().load(order)
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        self.stepped().swap(value, order);
    }

    pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.stepped().fetch_add(value, order)
    }

    pub(crate) fn fetch_update(
        &self,
        set: Ordering,
        get: Ordering,
        to: impl FnMut(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        update(self.stepped().load(get), to, |old, new| self.compare_exchange(old, new, set, get))
    }

    pub(crate) fn compare_exchange(&self, old: u64, new: u64, done: Ordering, not: Ordering) -> Result<u64, u64> {
        self.stepped().compare_exchange(old, new, done, not)
    }
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
