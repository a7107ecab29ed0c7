//! What tower's balancer does, until ours joins, and what retry budgets grant.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use hedge_core::limit::{Budget as OwnBudget, BudgetOptions, LimitError};
use hedge_core::policy::BackupPolicy;
use hedge_core::time::Instant;
use tokio::task::JoinSet;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma};
use tower::retry::budget::{Budget, TpsBudget};
use tower::util::rng::HasherRng;
use tower::{Service as _, ServiceExt};

use crate::script::{Service, Step};

const SERVERS: u64 = 10;
const CALLS: usize = 10_000;
const AT_ONCE: usize = 8;

/// The share of the calls, in percent, that goes to a server that fails after 1 ms where nine others answer after some
/// 10, under P2C by peak EWMA.
pub(crate) async fn failing_share() -> f64 {
    let failing = Service::new(&[Step::Fail(1)]);
    let others = (1..SERVERS).map(|server| Service::new(&[Step::Ok(5 + server)]));
    let services = others.chain([failing.clone()]).map(|service| {
        const FIRST_GUESS: Duration = Duration::from_millis(10);
        const DECAY_NS: f64 = 10e9;
        PeakEwma::new(service, FIRST_GUESS, DECAY_NS, CompleteOnResponse::default())
    });
    // The same each run.
    let rng = HasherRng::with_hasher(BuildHasherDefault::<DefaultHasher>::default());
    let mut balance = Balance::from_rng(ServiceList::new(services.collect::<Vec<_>>()), rng);
    let mut in_flight = JoinSet::new();
    for _ in 0..CALLS {
        if in_flight.len() == AT_ONCE {
            in_flight.join_next().await;
        }
        if let Ok(balance) = balance.ready().await {
            in_flight.spawn(balance.call(()));
        }
    }
    in_flight.join_all().await;
    percent(failing.attempts(), CALLS)
}

/// The retries granted a request to who asked for 0.6, 0.7 and 0.9, when every request wants one.
pub(crate) fn retry_budgets() -> [f64; 3] {
    [0.6, 0.7, 0.9].map(|asked| {
        let budget = TpsBudget::new(Duration::from_secs(10), 0, asked);
        let granted = (0..CALLS)
            .filter(|_| {
                budget.deposit();
                budget.withdraw()
            })
            .count();
        percent(granted, CALLS) / 100.0
    })
}

/// The same of hedge's budget, without its burst.
pub(crate) fn own_retry_budgets() -> Result<[f64; 3], LimitError> {
    let now = Instant::ZERO;
    let granted = |share| {
        let budget = OwnBudget::new(BudgetOptions { share, minimum_per_second: 0, ..BudgetOptions::DEFAULT })?;
        while budget.may_retry(now).is_ok() {}
        let requests = (0..CALLS).filter(|_| {
            budget.completed(now);
            budget.may_retry(now).is_ok()
        });
        Ok(percent(requests.count(), CALLS) / 100.0)
    };
    Ok([granted(0.6)?, granted(0.7)?, granted(0.9)?])
}

fn percent(part: usize, whole: usize) -> f64 {
    let [part, whole] = [part, whole].map(|count| u32::try_from(count).map_or(f64::NAN, f64::from));
    part * 100.0 / whole
}
