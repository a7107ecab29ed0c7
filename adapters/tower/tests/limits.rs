//! How many attempts a layer and a set with the default limits make in an outage (B8), in tokio's paused time.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::fmt::Debug;

use common::{Scripted, Step, builder, call, ms};
use hedge_tokio::Tokio;
use hedge_tower::hedge_core::limit::{BudgetOptions, RatioOptions};
use hedge_tower::hedge_core::outcome::{Denial, Extra};
use hedge_tower::{Builder, HedgeSet};
use tokio::task::JoinSet;
use tower::{Layer, Service};

const WAVES: usize = 20;
const CALLS: usize = WAVES * 100;

fn hedged() -> Builder<Tokio> {
    builder().backup(ms(20))
}

/// Makes [`CALLS`] calls in waves. All of them are within one window of the ratio limit.
async fn outage<S>(service: &S)
where
    S: Service<(), Response = &'static str, Error: Debug + Send, Future: Send> + Clone + Send + 'static,
{
    let start = tokio::time::Instant::now();
    for _ in 0..WAVES {
        let mut wave = JoinSet::new();
        for _ in 0..CALLS / WAVES {
            let mut service = service.clone();
            wave.spawn(async move { call(&mut service, ()).await.0.is_ok() });
        }
        wave.join_all().await;
    }
    assert!(start.elapsed() < RatioOptions::DEFAULT.window.get());
}

/// How many attempts [`CALLS`] calls made in an outage, and how many extra attempts were refused.
struct Outage {
    attempts: usize,
    refused_backups: u32,
    refused_retries: u32,
}

/// An outage of one service under a layer.
async fn layered(step: Step) -> Outage {
    let one = Scripted::new(&[step]);
    let counts = one.counts();
    let service = hedged().layer().unwrap().layer(one);
    outage(&service).await;
    Outage {
        attempts: counts.get().0,
        refused_backups: service.denied(Extra::Backup, Denial::Ratio),
        refused_retries: service.denied(Extra::Retry, Denial::Budget),
    }
}

/// An outage of all servers of a set.
async fn in_a_set(step: Step) -> Outage {
    let servers = [1, 2, 3].map(|_| Scripted::new(&[step]));
    let counts = servers.each_ref().map(Scripted::counts);
    let set: HedgeSet<usize, Scripted, Tokio> = hedged().set().unwrap();
    for (key, server) in servers.into_iter().enumerate() {
        set.insert(key, server).unwrap();
    }
    outage(&set).await;
    Outage {
        attempts: counts.iter().map(|counts| counts.get().0).sum(),
        refused_backups: set.denied(Extra::Backup, Denial::Ratio),
        refused_retries: set.denied(Extra::Retry, Denial::Budget),
    }
}

#[tokio::test(start_paused = true)]
async fn b8_what_is_slow_as_a_whole_is_not_sent_everything_twice() {
    let slow = (100, Ok("slow"));
    let burst = RatioOptions::DEFAULT.burst.get();
    for Outage { attempts, refused_backups, refused_retries } in [layered(slow).await, in_a_set(slow).await] {
        assert!(attempts <= CALLS + CALLS / 10 + burst as usize, "{attempts} attempts");
        // The limits do not turn backups off either.
        assert!(attempts > CALLS + burst as usize, "{attempts} attempts");
        assert_eq!((attempts + refused_backups as usize, refused_retries), (2 * CALLS, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn b8_what_fails_as_a_whole_is_not_sent_everything_four_times() {
    let failing = (5, Err("no"));
    // The budget allows extra attempts for a fifth of the calls, the burst, and the minimum for each second. The calls
    // take less than two seconds.
    let BudgetOptions { burst, minimum_per_second, .. } = BudgetOptions::DEFAULT;
    let most = CALLS + CALLS / 5 + (burst.get() + 2 * minimum_per_second.get()) as usize;
    for Outage { attempts, refused_retries, .. } in [layered(failing).await, in_a_set(failing).await] {
        assert!(CALLS < attempts && attempts <= most, "{attempts} attempts, at most {most}");
        assert!(refused_retries > 0);
    }
}
