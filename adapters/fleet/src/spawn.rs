//! The timer and the tasks of an async runtime: [`Spawn`].

use std::future::Future;

use hedge_core::drive::Timer;

/// The parts of an async runtime that code without sockets needs: a timer and background tasks. `hedge-tokio` and
/// `hedge-smol` implement this trait.
pub trait Spawn: Timer<Sleep: Send> + Clone + Send + Sync + 'static {
    /// Runs `task` in the background until it ends.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Runs a task in the background. The caller may be code that runs outside of a runtime, such as a `drop`. Returns
    /// whether a runtime has accepted the task. If no runtime has accepted the task, or if the runtime that accepted it
    /// is ending, the task is dropped. This method must not panic.
    ///
    /// The default calls [`spawn`](Self::spawn). This default is for runtimes that always run.
    fn try_spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        self.spawn(task);
        true
    }

    /// Returns whether the present thread may wait, so that a task of this runtime can go on meanwhile
    /// ([W1](hedge_core::rules#W1)). In a task of the runtime this is false, as far as the runtime can tell.
    ///
    /// The default is true, for runtimes that cannot tell.
    #[must_use]
    fn may_block() -> bool {
        true
    }
}
