//! A runtime that counts its tasks: [`Counting`].

use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hedge_core::drive::Timer;
use hedge_core::time::Instant;
use hedge_net::{Datagrams, Dial, Dialed, Endpoint, Runtime, RuntimeId, SocketOptions, Spawn};

/// A runtime that counts the tasks which run on it.
#[derive(Clone, Debug)]
pub(crate) struct Counting<R> {
    runtime: R,
    tasks: Arc<AtomicU64>,
}

/// Counts one task until it is dropped.
struct Task(Arc<AtomicU64>);

impl Task {
    fn new(tasks: &Arc<AtomicU64>) -> Self {
        tasks.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(tasks))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<R> Counting<R> {
    pub(crate) fn new(runtime: R) -> Self {
        Self { runtime, tasks: Arc::default() }
    }

    fn counted<F: Future<Output = ()> + Send>(&self, task: F) -> impl Future<Output = ()> + Send + use<R, F> {
        let counted = Task::new(&self.tasks);
        async move {
            let _counted = counted;
            task.await;
        }
    }

    /// How many tasks run now.
    pub(crate) fn tasks(&self) -> u64 {
        self.tasks.load(Ordering::Relaxed)
    }
}

impl<R: Runtime> Timer for Counting<R> {
    type Sleep = R::Sleep;

    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn sleep_until(&self, at: Instant) -> R::Sleep {
        self.runtime.sleep_until(at)
    }

    fn reset(&self, sleep: Pin<&mut R::Sleep>, at: Instant) {
        self.runtime.reset(sleep, at);
    }
}

impl<R: Runtime> Spawn for Counting<R> {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(self.counted(task));
    }

    fn try_spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        self.runtime.try_spawn(self.counted(task))
    }
}

impl<R: Runtime> Dial for Counting<R> {
    type Io = R::Io;

    fn dial(&self, to: &Endpoint, options: &SocketOptions) -> impl Future<Output = io::Result<Dialed<R::Io>>> + Send {
        self.runtime.dial(to, options)
    }

    fn datagrams(&self, socket: UdpSocket) -> io::Result<Box<dyn Datagrams>> {
        self.runtime.datagrams(socket)
    }
}

impl<R: Runtime> Runtime for Counting<R> {
    fn id(&self) -> RuntimeId {
        self.runtime.id()
    }
}
