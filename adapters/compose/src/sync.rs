//! The locks and atomics that threads of this crate share. The tests in `tests/loom` replace this module.

pub(crate) use std::sync::atomic::{AtomicU32, Ordering};
pub(crate) use std::sync::{Condvar, Mutex, PoisonError};
