//! What runs tasks: [`Spawn`].

use std::future::Future;

use hedge_core::drive::Timer;

/// An async runtime as far as calls without connections go: a timer and tasks. `hedge-tokio` and `hedge-smol` are two of them.
pub trait Spawn: Timer<Sleep: Send> + Clone + Send + Sync + 'static {
    /// Runs a task in the background.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}
