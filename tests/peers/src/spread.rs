//! Where calls go while one of ten servers fails fast, and what retry budgets grant.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hedge_core::bounded::{Bounded, Decimal};
use hedge_core::limit::{Budget as OwnBudget, BudgetOptions};
use hedge_core::policy::BackupPolicy;
use hedge_core::time::Instant;
use hedge_tokio::Tokio;
use hedge_tower::HedgeSet;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma};
use tower::retry::budget::{Budget, TpsBudget};
use tower::util::BoxService;
use tower::util::rng::HasherRng;
use tower::{BoxError, Service as _, ServiceExt};

use crate::script::{Answer, Failed};

const SERVERS: usize = 10;
/// How many calls a second there are, one a millisecond.
const CALLS: usize = 1_000;
/// For how long the server fails.
const FAILING_SECONDS: usize = 10;

/// The share of the calls, in percent, that goes to one of ten servers.
pub(crate) struct Shares {
    /// While it fails after 1 ms, from the first call on.
    pub(crate) failing: f64,
    /// In the last of so many seconds after it has recovered.
    pub(crate) recovered: f64,
}

/// Under tower's P2C by peak EWMA.
pub(crate) async fn tower_p2c(seconds: usize) -> Shares {
    const FIRST_GUESS: Duration = Duration::from_millis(10);
    const DECAY_NS: f64 = 10e9;
    let first = Server::default();
    let load = |server| PeakEwma::new(server, FIRST_GUESS, DECAY_NS, CompleteOnResponse::default());
    let services: Vec<_> = fleet(&first).map(load).collect();
    // The same each run.
    let rng = HasherRng::with_hasher(BuildHasherDefault::<DefaultHasher>::default());
    shares(&first, seconds, Balance::from_rng(ServiceList::new(services), rng).boxed()).await
}

/// Under one of hedge's balancers, by name. Each call is one attempt, as tower's are.
pub(crate) async fn own(balancer: &str, seconds: usize) -> Result<Shares, BoxError> {
    let first = Server::default();
    let builder = hedge_tower::builder(Tokio::new()).max_retry(0).seed(1).load_balancer(balancer);
    let set: HedgeSet<usize, Server, Tokio> = builder.set()?;
    for (key, server) in fleet(&first).enumerate() {
        set.insert(key, server)?;
    }
    Ok(shares(&first, seconds, set.map_err(BoxError::from).boxed()).await)
}

/// The server in question, and nine that never fail. All are alike: where they are not, `la` gives the fastest nearly
/// everything in the end, whoever has failed.
fn fleet(first: &Server) -> impl Iterator<Item = Server> {
    [first.clone()].into_iter().chain((1..SERVERS).map(|_| Server::default()))
}

async fn shares(server: &Server, seconds: usize, mut fleet: BoxService<(), (), BoxError>) -> Shares {
    let mut in_flight = JoinSet::new();
    let (mut failing, mut recovered) = (0, 0);
    for second in 0..FAILING_SECONDS + seconds {
        server.fails.store(second < FAILING_SECONDS, Ordering::Relaxed);
        for _ in 0..CALLS {
            if let Ok(fleet) = fleet.ready().await {
                in_flight.spawn(fleet.call(()));
            }
            sleep(Duration::from_millis(1)).await;
            // What a call comes to is not the question here.
            while in_flight.try_join_next().is_some() {}
        }
        recovered = server.attempts.swap(0, Ordering::Relaxed);
        if second < FAILING_SECONDS {
            failing += recovered;
        }
    }
    Shares { failing: percent(failing, CALLS * FAILING_SECONDS), recovered: percent(recovered, CALLS) }
}

/// A server that answers after 10 ms, or fails after 1 ms; a clone is the same one.
#[derive(Clone, Default)]
struct Server {
    fails: Arc<AtomicBool>,
    attempts: Arc<AtomicUsize>,
}

impl tower::Service<()> for Server {
    type Response = ();
    type Error = Failed;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Answer {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let fails = self.fails.load(Ordering::Relaxed);
        let (after, result) = if fails { (1, Err(Failed)) } else { (10, Ok(())) };
        Box::pin(async move {
            sleep(Duration::from_millis(after)).await;
            result
        })
    }
}

/// How many requests the budgets see.
const REQUESTS: usize = 10_000;

/// The retries granted a request to who asked for 0.6, 0.7 and 0.9, when every request wants one.
pub(crate) fn retry_budgets() -> [f64; 3] {
    [0.6, 0.7, 0.9].map(|asked| {
        let budget = TpsBudget::new(Duration::from_secs(10), 0, asked);
        let granted = (0..REQUESTS)
            .filter(|_| {
                budget.deposit();
                budget.withdraw()
            })
            .count();
        percent(granted, REQUESTS) / 100.0
    })
}

/// The same of hedge's budget, without its burst.
pub(crate) fn own_retry_budgets() -> [f64; 3] {
    let now = Instant::ZERO;
    let granted = |share| {
        let budget =
            OwnBudget::new(BudgetOptions { share, minimum_per_second: Bounded::of::<0>(), ..BudgetOptions::DEFAULT });
        while budget.may_retry(now).is_ok() {}
        let requests = (0..REQUESTS).filter(|_| {
            budget.completed(now);
            budget.may_retry(now).is_ok()
        });
        percent(requests.count(), REQUESTS) / 100.0
    };
    [Decimal::of_thousandths::<600>(), Decimal::of_thousandths::<700>(), Decimal::of_thousandths::<900>()].map(granted)
}

fn percent(part: usize, whole: usize) -> f64 {
    let [part, whole] = [part, whole].map(|count| u32::try_from(count).map_or(f64::NAN, f64::from));
    part * 100.0 / whole
}
