//! A runtime whose connections and tasks are counted.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use hedge_core::time::Instant;
use hedge_net::{Address, Connect, Runtime, RuntimeId, Spawn, Timer};

use super::signal::Signal;

/// A runtime that tells what it is asked for.
#[derive(Clone)]
pub struct Watched<R> {
    inner: R,
    connects: Arc<Mutex<HashMap<Address, Signal>>>,
    /// Tasks, as they begin and as they end.
    pub begun: Signal,
    pub ended: Signal,
}

impl<R> Watched<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, connects: Arc::default(), begun: Signal::new(), ended: Signal::new() }
    }

    /// Raised whenever a connection to an address is asked for.
    pub fn connects(&self, address: SocketAddr) -> Signal {
        self.signal(&address.into())
    }

    fn signal(&self, address: &Address) -> Signal {
        self.connects.lock().unwrap().entry(address.clone()).or_default().clone()
    }
}

impl<R: Runtime> Timer for Watched<R> {
    type Sleep = R::Sleep;

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn sleep_until(&self, at: Instant) -> R::Sleep {
        self.inner.sleep_until(at)
    }

    fn reset(&self, sleep: Pin<&mut R::Sleep>, at: Instant) {
        self.inner.reset(sleep, at);
    }
}

impl<R: Runtime> Connect for Watched<R> {
    type Io = R::Io;

    async fn connect(&self, address: &Address) -> io::Result<R::Io> {
        self.signal(address).raise();
        self.inner.connect(address).await
    }
}

impl<R: Runtime> Spawn for Watched<R> {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.begun.raise();
        let ended = Ends(self.ended.clone());
        self.inner.spawn(async move {
            let _ended = ended;
            task.await;
        });
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
