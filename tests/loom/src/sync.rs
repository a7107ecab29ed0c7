//! What hedge-compose's sources find at `crate::sync`: loom's.

pub(crate) use std::sync::PoisonError;

pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
pub(crate) use loom::sync::{Condvar, Mutex};
