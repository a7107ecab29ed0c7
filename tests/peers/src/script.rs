//! Scripted servers: [`Service`], and what comes of a call to it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hedge_core::limit::LimitOptions;
use tokio::time::Instant;
use tower::{Service as _, ServiceExt};

use crate::Contender;

/// What one attempt comes to, and after how many milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Ok(u64),
    Fail(u64),
}

/// What a call came to, and after how many milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Ok(u128),
    Error(u128),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(at) => write!(f, "ok at {at}"),
            Self::Error(at) => write!(f, "error at {at}"),
        }
    }
}

/// A server's failure.
#[derive(Clone, Debug)]
pub(crate) struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server failed")
    }
}

impl std::error::Error for Failed {}

/// The servers as one service: the n-th attempt takes the n-th step, those after the last take the last.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    steps: Arc<[Step]>,
    attempts: Arc<AtomicUsize>,
}

impl Service {
    pub(crate) fn new(steps: &[Step]) -> Self {
        Self { steps: steps.into(), attempts: Arc::default() }
    }

    /// How many attempts were made.
    pub(crate) fn attempts(&self) -> usize {
        self.attempts.load(Ordering::Relaxed)
    }
}

/// A server's answer.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<(), Failed>> + Send>>;

impl tower::Service<()> for Service {
    type Response = ();
    type Error = Failed;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let step = self.steps.get(attempt).or(self.steps.last()).copied();
        Box::pin(async move {
            let (after, result) = match step {
                Some(Step::Ok(after)) => (after, Ok(())),
                Some(Step::Fail(after)) => (after, Err(Failed)),
                None => (0, Err(Failed)),
            };
            tokio::time::sleep(Duration::from_millis(after)).await;
            result
        })
    }
}

/// Makes one call to a fresh service.
pub(crate) async fn play(contender: Contender, steps: &[Step]) -> Outcome {
    let mut service = contender.wrap(Service::new(steps), LimitOptions::SAFE);
    let start = Instant::now();
    let result = match service.ready().await {
        Ok(service) => service.call(()).await,
        Err(error) => Err(error),
    };
    let at = start.elapsed().as_millis();
    if result.is_ok() { Outcome::Ok(at) } else { Outcome::Error(at) }
}
