//! The timer and the tasks of an async runtime: [`Spawn`].

use std::future::Future;

use hedge_core::drive::Timer;

/// The part of an async runtime that calls need if they open no connections: a timer and background tasks.
/// `hedge-tokio` and `hedge-smol` implement it.
pub trait Spawn: Timer<Sleep: Send> + Clone + Send + Sync + 'static {
    /// Runs a task in the background.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}
