//! A scripted service, which panics if a caller breaks tower's contract, and helpers for tests that use it.
#![allow(dead_code, reason = "each test uses its part of it")]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hedge_tokio::Tokio;
use hedge_tower::{Builder, CallOptions, Protocol, Report};
use tokio::time::Sleep;
use tower::{Service, ServiceExt};

/// After how many milliseconds an attempt ends, and its result.
pub(crate) type Step = (u64, Result<&'static str, &'static str>);

/// A time in milliseconds that is longer than any call in these tests.
pub(crate) const NEVER: u64 = 1_000_000;

/// A service whose n-th attempt takes the n-th step of a script. Attempts after the last step take the last step. The
/// service panics if it is called before it was polled ready. A clone is not ready, even if the original is, and
/// neither is a service that has been called.
pub(crate) struct Scripted {
    steps: Arc<[Step]>,
    counts: Arc<Counts>,
    /// How long the service takes to become ready.
    unready_for: u64,
    clones_unready_for: u64,
    readying: Option<Pin<Box<Sleep>>>,
    ready: bool,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) started: AtomicUsize,
    pub(crate) in_flight: AtomicUsize,
}

impl Scripted {
    pub(crate) fn new(steps: &[Step]) -> Self {
        let (steps, counts) = (steps.into(), Arc::default());
        Self { steps, counts, unready_for: 0, clones_unready_for: 0, readying: None, ready: false }
    }

    pub(crate) fn unready_for(self, millis: u64) -> Self {
        Self { unready_for: millis, clones_unready_for: millis, ..self }
    }

    pub(crate) fn clones_unready_for(self, millis: u64) -> Self {
        Self { clones_unready_for: millis, ..self }
    }

    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

impl Counts {
    pub(crate) fn get(&self) -> (usize, usize) {
        (self.started.load(Ordering::Relaxed), self.in_flight.load(Ordering::Relaxed))
    }
}

impl Clone for Scripted {
    fn clone(&self) -> Self {
        Self {
            steps: Arc::clone(&self.steps),
            counts: Arc::clone(&self.counts),
            unready_for: self.clones_unready_for,
            clones_unready_for: self.clones_unready_for,
            readying: None,
            ready: false,
        }
    }
}

/// Counts one attempt that the service works on, until it is dropped.
struct InFlight(Arc<Counts>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<Request> Service<Request> for Scripted {
    type Response = &'static str;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<&'static str, &'static str>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        if !self.ready && self.unready_for > 0 {
            let after = Duration::from_millis(self.unready_for);
            let sleep = self.readying.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
            std::task::ready!(sleep.as_mut().poll(cx));
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called unready");
        let attempt = self.counts.started.fetch_add(1, Ordering::Relaxed);
        self.counts.in_flight.fetch_add(1, Ordering::Relaxed);
        let in_flight = InFlight(self.counts());
        let (after, result) = self.steps.get(attempt).or(self.steps.last()).copied().unwrap();
        Box::pin(async move {
            let _in_flight = in_flight;
            tokio::time::sleep(Duration::from_millis(after)).await;
            result
        })
    }
}

/// The reports of the calls that ended.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<Mutex<Vec<Report>>>);

impl Reports {
    pub(crate) fn hear<R, C>(&self, builder: Builder<Tokio, R, C>) -> Builder<Tokio, R, C> {
        let reports = self.clone();
        builder.on_end(move |report| reports.0.lock().unwrap().push(report.report().clone()))
    }

    /// Takes the reports since the last call of this method, of which there must be exactly one.
    pub(crate) fn only(&self) -> Report {
        let mut reports = self.0.lock().unwrap();
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    pub(crate) fn none(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

/// A request that contains the options of its call. A protocol of the program can read them from there.
#[derive(Clone, Default)]
pub(crate) struct Carrying(pub(crate) CallOptions);

#[derive(Clone, Copy)]
pub(crate) struct Carried;

impl<Response> Protocol<Carrying, Response> for Carried {
    fn copy(&self, request: &Carrying) -> Option<Carrying> {
        Some(request.clone())
    }

    fn options(&self, request: &Carrying) -> CallOptions {
        request.0.clone()
    }
}

/// A builder with tokio's timer and a fixed seed.
pub(crate) fn builder() -> Builder<Tokio> {
    hedge_tower::builder(Tokio::new()).seed(1)
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Makes one call. Returns its result, and after how many milliseconds the result came.
pub(crate) async fn call<S, Request>(service: &mut S, request: Request) -> (Result<S::Response, S::Error>, u128)
where
    S: Service<Request>,
{
    let start = tokio::time::Instant::now();
    let result = match service.ready().await {
        Ok(service) => service.call(request).await,
        Err(error) => Err(error),
    };
    (result, start.elapsed().as_millis())
}
