//! The latencies of a layer and of a set, and what depends on latencies: an adaptive delay and a shadow policy. In
//! tokio's paused time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod common;

use std::sync::Arc;

use common::{Carried, Carrying, NEVER, Reports, Scripted, builder, call, ms};
use hedge_tokio::Tokio;
use hedge_tower::hedge_core::bounded::{Bounded, BoundedSpan};
use hedge_tower::hedge_core::latency::{Quantile, Snapshot};
use hedge_tower::hedge_core::outcome::{Judgement, Kind, NotHedged, Verdict};
use hedge_tower::hedge_core::policy::{AdaptiveDelay, AdaptiveOptions, BackupDelay, BackupPolicy, NoPolicy, Shadow};
use hedge_tower::hedge_core::time::{Duration, Instant};
use hedge_tower::{CallOptions, Error, Hedge, HedgeSet};
use tower::Layer;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn counts(latencies: &Snapshot) -> (u64, u64, Duration) {
    (latencies.count(), latencies.abandoned(), latencies.max())
}

/// A call with a policy of its own, which is notified of the end of the call.
fn with_own_policy() -> CallOptions {
    CallOptions { backup_policy: Some(Arc::new(NoPolicy)), ..CallOptions::new() }
}

#[tokio::test(start_paused = true)]
async fn l13_every_call_counts_and_what_was_not_answered_as_a_lower_bound() {
    let judge = |result: Result<&&'static str, &&'static str>| -> Judgement {
        match result {
            Ok(_) => Verdict::Accept.into(),
            Err(&"forbidden") => Verdict::Fatal.into(),
            Err(_) => Verdict::Wait.into(),
        }
    };
    let layer = builder().retry_policy(judge).protocol(Carried).layer().unwrap();
    let steps = [(10, Ok("a")), (20, Ok("b")), (30, Err("forbidden")), (40, Err("no")), (NEVER, Ok("late"))];
    for own in [CallOptions::new(), with_own_policy()] {
        let mut service: Hedge<Scripted, _, _, _> = layer.layer(Scripted::new(&steps));
        let before = counts(&service.latencies());
        for millis in [10, 20, 30, 40, 500] {
            assert_eq!(call(&mut service, Carrying(own.clone())).await.1, millis);
        }
        let dropped = tokio::time::timeout(ms(60), call(&mut service, Carrying(own.clone()))).await;
        assert!(dropped.is_err());
        let too_many = CallOptions { max_retry: Some(8), ..own };
        assert!(matches!(call(&mut service, Carrying(too_many)).await.0, Err(Error::Config(_))));
        let latencies = service.latencies();
        assert_eq!(counts(&latencies), (before.0 + 6, before.1 + 3, MS(30)));
    }
    // The services of the layer have made twelve calls in 1.32 s. The longest one had no answer after 500 ms.
    let service = layer.layer(Scripted::new(&steps));
    let latencies = service.latencies();
    assert_eq!((latencies.span(), latencies.qps()), (MS(1_320), 9));
    assert_eq!(service.now().since(Instant::ZERO), MS(1_320));
    let millis = |quantile| latencies.quantile(quantile).unwrap().as_millis();
    assert_eq!((millis(Quantile::P50), millis(Quantile::P99)), (28, 503), "30 ms and 500 ms, within 6 %");
    // One window later, all of these calls are forgotten.
    tokio::time::advance(ms(10_000)).await;
    assert_eq!(counts(&service.latencies()), (0, 0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn l16_a_set_counts_calls_that_found_no_server_too() {
    let mut set: HedgeSet<u16, Scripted, Tokio> = builder().set().unwrap();
    assert!(matches!(call(&mut set, ()).await.0, Err(Error::NoServer)));
    set.insert(1, Scripted::new(&[(10, Ok("a")), (20, Ok("b"))])).unwrap();
    for _ in 0..2 {
        call(&mut set, ()).await.0.unwrap();
    }
    assert_eq!(counts(&set.clone().latencies()), (3, 1, MS(20)));
    assert_eq!(set.now().since(Instant::ZERO), MS(30));
}

#[tokio::test(start_paused = true)]
async fn b7_an_adaptive_delay_hedges_once_it_has_warmed_up() {
    const WARM_UP: u32 = 20;
    let options = AdaptiveOptions {
        warm_up: Bounded::of::<WARM_UP>(),
        window: BoundedSpan::of_secs::<1>(),
        ..AdaptiveOptions::DEFAULT
    };
    let adaptive = Arc::new(AdaptiveDelay::new(options));
    let mut steps = vec![(9, Ok("yes")); 22];
    steps.extend([(NEVER, Ok("late")), (9, Ok("backup"))]);
    let reports = Reports::default();
    let layer = reports.hear(builder().backup_policy(adaptive.clone())).layer().unwrap();
    let mut service = layer.layer(Scripted::new(&steps));
    for _ in 0..WARM_UP {
        assert_eq!(call(&mut service, ()).await.1, 9);
        assert_eq!(reports.only().not_hedged(), Some(NotHedged::Disabled));
    }
    // The adaptive delay reads its histogram once in each slice of about 16 ms.
    for _ in 0..2 {
        assert_eq!(call(&mut service, ()).await.1, 9);
        reports.only();
    }
    // The delay is the upper end of the histogram's bucket that contains 9 ms.
    let delay = BackupDelay::after(Duration::from_micros(9_728));
    assert_eq!(adaptive.delay(service.now()), Some(delay));
    // tokio's timer rounds the delay up.
    let (result, at) = call(&mut service, ()).await;
    assert_eq!((result.unwrap(), at), ("backup", 19));
    let report = reports.only();
    assert_eq!((report.attempts()[1].kind(), report.not_hedged()), (Kind::Backup, None));
    // The attempt that lost took longer than the recorded time, but its call was answered.
    assert_eq!(counts(&adaptive.latencies().snapshot(service.now())), (23, 1, MS(9)));
    assert_eq!(counts(&service.latencies()), (23, 0, MS(19)));
}

#[tokio::test(start_paused = true)]
async fn b2_a_shadow_sends_no_backup_and_counts_it() {
    let shadow = Arc::new(Shadow::new([MS(20)]));
    let reports = Reports::default();
    let mut set: HedgeSet<u16, Scripted, Tokio> = reports.hear(builder().backup_policy(shadow.clone())).set().unwrap();
    let steps = [(4, Ok("quick")), (20, Ok("in time")), (100, Ok("slow"))];
    let servers = [Scripted::new(&steps), Scripted::new(&steps[..1])];
    let started = servers.each_ref().map(Scripted::counts);
    for (key, server) in (0..).zip(servers) {
        set.insert(key, server).unwrap();
    }
    let mut slow = 0;
    for _ in 0..6 {
        let at = call(&mut set, ()).await.1;
        let expected = if at == 100 { NotHedged::Shadow } else { NotHedged::FinishedFirst };
        assert_eq!(reports.only().not_hedged(), Some(expected));
        slow += u32::from(at == 100);
    }
    // `rr` uses one server after the other, so each gets three calls. Each call makes one attempt.
    assert_eq!((slow, started.map(|counts| counts.get())), (1, [(3, 0), (3, 0)]));
    let [count] = shadow.counts().collect::<Vec<_>>()[..] else { unreachable!("one delay") };
    assert_eq!((count.delay, count.calls, count.sent), (MS(20), 6, 1));
    // In the 80 ms that were left, a backup would have answered in five of six calls: four times after 4 ms, and once
    // after 20 ms.
    assert!((MS(53)..MS(65)).contains(&count.saved), "{count:?}");
    assert_eq!(counts(&shadow.latencies().snapshot(set.now())), counts(&set.latencies()));
}
