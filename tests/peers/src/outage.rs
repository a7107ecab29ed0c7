//! How much load hedging adds when every server is slow or fails.

use std::time::Duration;

use hedge_core::limit::{BudgetOptions, LimitOptions, RatioOptions};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Service as _, ServiceExt};

use crate::Contender;
use crate::script::{Service, Step};

/// How the servers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outage {
    /// Each attempt is answered after 200 ms.
    Slow,
    /// Each attempt fails after 5 ms.
    Failing,
}

/// What bounds the attempts of an outage by rule B8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bound {
    /// `Exact`, which counts backups.
    Ratio,
    /// `Budget`, which counts retries too.
    Budget,
}

/// What a run came to.
pub(crate) struct Sent {
    pub(crate) attempts: usize,
    run: Duration,
}

impl Sent {
    /// How many attempts of so many calls a limit of the default options allows.
    pub(crate) fn bound(&self, bound: Bound, calls: u32) -> f64 {
        let (ratio, budget) = (RatioOptions::DEFAULT, BudgetOptions::DEFAULT);
        let seconds = self.run.as_secs_f64();
        let calls = f64::from(calls);
        match bound {
            Bound::Ratio => {
                let windows = (seconds / ratio.window.get().as_secs_f64()).ceil();
                calls * (1.0 + ratio.max_backup_ratio.get()) + f64::from(ratio.burst.get()) * windows
            }
            Bound::Budget => {
                let minimum = f64::from(budget.minimum_per_second.get()) * seconds;
                calls * (1.0 + budget.share.get()) + f64::from(budget.burst.get()) + minimum
            }
        }
    }

    pub(crate) fn within(&self, bound: f64) -> bool {
        u32::try_from(self.attempts).is_ok_and(|attempts| f64::from(attempts) <= bound)
    }
}

/// How many attempts are made of so many calls, a thousand a second. `limits` are for those that take some.
pub(crate) async fn run(contender: Contender, limits: LimitOptions, outage: Outage, calls: u32) -> Sent {
    let step = if outage == Outage::Slow { Step::Ok(200) } else { Step::Fail(5) };
    let service = Service::new(&[step]);
    let mut hedged = contender.wrap(service.clone(), limits);
    let mut running = JoinSet::new();
    let start = Instant::now();
    for _ in 0..calls {
        if let Ok(hedged) = hedged.ready().await {
            running.spawn(hedged.call(()));
        }
        sleep(Duration::from_millis(1)).await;
        // What a call comes to is not the question here.
        while running.try_join_next().is_some() {}
    }
    running.join_all().await;
    Sent { attempts: service.attempts(), run: start.elapsed() }
}
