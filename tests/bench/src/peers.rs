//! The ways in which others wait for a service that is pending once, all with a sleep of the backup's delay armed.

use std::future::{Ready, poll_fn, ready};
use std::hint::black_box;
use std::task::{Context, Poll};
use std::time::Duration;

use hedge_instructions::SERVERS;
use hedge_instructions::driven::{Answer, Failed};
use tokio::runtime::Runtime;
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::hedge::Hedge;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::retry::Retry;
use tower::timeout::Timeout;
use tower_service::Service;

use crate::driver::FLOOR;
use crate::harness::Contender;

/// What ours have to be cheaper than.
pub(crate) const TOWER_HEDGE: &str = "tower::hedge, armed";

pub(crate) const DELAY: Duration = Duration::from_millis(2);
pub(crate) const TIMEOUT: Duration = Duration::from_millis(500);
/// No histogram is rotated away while the bench runs.
const PERIOD: Duration = Duration::from_secs(3_600);
/// Latencies that arm tower's hedge: as few and as short as they may be, which is cheapest for it to look up.
const LATENCIES_MS: [u64; 10] = [2; 10];

/// A service that is always ready, and whose answers are pending once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow;

impl Service<u64> for Slow {
    type Response = u64;
    type Error = Failed;
    type Future = Answer;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Answer {
        black_box(Answer::pending_once(request))
    }
}

/// Sends every request twice if need be, and retries every failure.
#[derive(Clone, Copy, Debug)]
struct Always;

impl tower::hedge::Policy<u64> for Always {
    fn clone_request(&self, request: &u64) -> Option<u64> {
        Some(*request)
    }

    fn can_retry(&self, _: &u64) -> bool {
        true
    }
}

impl<E> tower::retry::Policy<u64, u64, E> for Always {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u64, result: &mut Result<u64, E>) -> Option<Ready<()>> {
        result.is_err().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

pub(crate) fn contenders(runtime: &Runtime) -> Vec<Contender<'_>> {
    let mut hedge = armed(Slow);
    let resilience = tower_resilience_hedge::HedgeLayer::builder().delay(DELAY).max_hedged_attempts(2).build();
    let mut resilience = tower::Layer::layer(&resilience, Slow);
    let mut stack = stack(runtime);
    vec![
        Contender::awaited("tokio::select! of a call and a sleep", FLOOR, runtime, async || select().await == Some(1)),
        Contender::awaited(TOWER_HEDGE, FLOOR, runtime, async move || called(&mut hedge).await),
        Contender::awaited("tower-resilience-hedge, armed", FLOOR, runtime, async move || {
            called(&mut resilience).await
        }),
        Contender::awaited("tower timeout + hedge + retry + p2c", FLOOR, runtime, async move || {
            called(&mut stack).await
        }),
    ]
}

/// tower's hedge with just the data points that it wants to see before it sends anything twice.
fn armed<S>(service: S) -> Hedge<S, Always>
where
    S: Service<u64, Error: Into<tower::BoxError>> + Clone,
{
    Hedge::new_with_mock_latencies(service, Always, 10, 0.9, PERIOD, &LATENCIES_MS)
}

/// Calls a service as soon as it is ready.
#[inline]
pub(crate) async fn called<S: Service<u64, Response = u64>>(service: &mut S) -> bool {
    if poll_fn(|cx| service.poll_ready(cx)).await.is_err() {
        return false;
    }
    service.call(black_box(1)).await.is_ok_and(|reply| reply == 1)
}

/// What a careful user writes by hand, here without the second attempt that would follow.
async fn select() -> Option<u64> {
    let call = Slow.call(black_box(1));
    tokio::select! {
        biased;
        result = call => result.ok(),
        () = tokio::time::sleep(DELAY) => None,
    }
}

type Balanced = Balance<ServiceList<Vec<PendingRequests<Slow>>>, u64>;
type Stack = Timeout<Hedge<Retry<Always, Buffer<u64, <Balanced as Service<u64>>::Future>>, Always>>;

/// The hedge and the retry want clones of what they wrap, and neither the balancer nor the hedge is one: so there is a
/// buffer around the balancer, and the hedge is around the retry.
fn stack(runtime: &Runtime) -> Stack {
    let services: Vec<_> = (0..SERVERS).map(|_| PendingRequests::new(Slow, CompleteOnResponse::default())).collect();
    let (buffer, worker) = Buffer::pair(Balance::new(ServiceList::new::<u64>(services)), 16);
    let retry = Retry::new(Always, buffer);
    runtime.spawn(worker);
    Timeout::new(armed(retry), TIMEOUT)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tower::{ServiceExt, service_fn};

    use super::*;

    #[test]
    fn tower_hedge_is_armed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let calls = Arc::new(AtomicU32::new(0));
            let first_never_answers = service_fn(move |request: u64| {
                let never = calls.fetch_add(1, Ordering::Relaxed) == 0;
                async move {
                    if never {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Failed>(request)
                }
            });
            let start = tokio::time::Instant::now();
            assert_eq!(armed(first_never_answers).oneshot(7).await.unwrap(), 7);
            assert!(start.elapsed() <= DELAY + Duration::from_millis(1), "{:?}", start.elapsed());
        });
    }

    #[test]
    fn every_contender_gets_its_answers() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let effort = crate::harness::Effort { batch: Duration::from_micros(20), rounds: 3 };
        let measured = crate::harness::measure(contenders(&runtime), effort).unwrap();
        assert_eq!(measured.len(), 4);
    }
}
