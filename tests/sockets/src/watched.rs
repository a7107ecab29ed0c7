//! A runtime whose connections, tasks and timers are counted.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hedge_core::time::Instant;
use hedge_net::{Dial, Dialed, Endpoint, Runtime, RuntimeId, SocketOptions, Spawn, Timer};

use super::signal::Signal;

/// A runtime that tells what it is asked for.
#[derive(Clone)]
pub struct Watched<R> {
    inner: R,
    connects: Arc<Mutex<HashMap<Endpoint, Signal>>>,
    /// Tasks, as they begin and as they end.
    pub begun: Signal,
    pub ended: Signal,
    timers: Arc<AtomicUsize>,
}

/// A timer that counts for as long as it is there.
pub struct Sleep<S>(Pin<Box<S>>, Arc<AtomicUsize>);

impl<S: Future> Future for Sleep<S> {
    type Output = S::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<S> Drop for Sleep<S> {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<R> Watched<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, connects: Arc::default(), begun: Signal::new(), ended: Signal::new(), timers: Arc::default() }
    }

    /// Raised whenever a connection to an address is asked for.
    pub fn connects(&self, address: SocketAddr) -> Signal {
        self.signal(&Endpoint::Tcp(address))
    }

    /// How many tasks run now, and how many timers there are.
    pub fn tasks_and_timers(&self) -> (usize, usize) {
        let ended = self.ended.count();
        (self.begun.count() - ended, self.timers.load(Ordering::SeqCst))
    }

    fn watched<F: Future<Output = ()> + Send>(&self, task: F) -> impl Future<Output = ()> + Send + use<R, F> {
        self.begun.raise();
        let ended = Ends(self.ended.clone());
        async move {
            let _ended = ended;
            task.await;
        }
    }

    fn signal(&self, address: &Endpoint) -> Signal {
        self.connects.lock().unwrap().entry(address.clone()).or_default().clone()
    }
}

impl<R: Runtime> Timer for Watched<R> {
    type Sleep = Sleep<R::Sleep>;

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        self.timers.fetch_add(1, Ordering::SeqCst);
        Sleep(Box::pin(self.inner.sleep_until(at)), Arc::clone(&self.timers))
    }

    fn reset(&self, mut sleep: Pin<&mut Self::Sleep>, at: Instant) {
        self.inner.reset(sleep.0.as_mut(), at);
    }
}

impl<R: Runtime> Dial for Watched<R> {
    type Io = R::Io;

    async fn dial(&self, to: &Endpoint, options: &SocketOptions) -> io::Result<Dialed<R::Io>> {
        self.signal(to).raise();
        self.inner.dial(to, options).await
    }
}

impl<R: Runtime> Spawn for Watched<R> {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.spawn(self.watched(task));
    }

    fn try_spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        self.inner.try_spawn(self.watched(task))
    }
}

impl<R: Runtime> Runtime for Watched<R> {
    fn id(&self) -> RuntimeId {
        self.inner.id()
    }
}

/// Raises its signal when it goes.
pub struct Ends(pub(crate) Signal);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.raise();
    }
}
