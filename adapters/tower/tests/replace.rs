//! Options of a layer and of a set are replaced while calls run, in tokio's paused time.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use common::{NEVER, Reports, Scripted, builder, call, ms};
use hedge_tokio::Tokio;
use hedge_tower::hedge_core::bounded::{Bounded, SpanRange};
use hedge_tower::hedge_core::health::{FailureOptions, IsolationOptions};
use hedge_tower::hedge_core::outcome::{Denial, Extra, NotHedged};
use hedge_tower::hedge_core::policy::{BackupDelay, ConfigError};
use hedge_tower::hedge_core::time::Timeout;
use hedge_tower::{BreakerOptions, Error, HedgeSet, LimitOptions};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt};

#[tokio::test(start_paused = true)]
async fn l2_a_layers_call_in_flight_keeps_its_options_and_a_new_one_has_the_new_ones() {
    let reports = Reports::default();
    let layer = reports.hear(builder().timeout(ms(500)).backup(ms(100))).layer().unwrap();
    let mut service = layer.layer(Scripted::new(&[(NEVER, Ok("late"))]));
    let mut unpolled_service = service.clone();
    let unpolled = ServiceExt::<()>::ready(&mut unpolled_service).await.unwrap().call(());
    let mut calls = JoinSet::new();
    let mut in_flight = service.clone();
    calls.spawn(async move { call(&mut in_flight, ()).await.1 });
    tokio::time::sleep(ms(50)).await;

    let mut options = layer.options().with_timeout(ms(200));
    options.channel.backup = BackupDelay::OFF;
    options.channel.same_server_backup = false;
    assert_eq!(layer.set_options(options.clone()).unwrap().len(), 0);
    options.channel.same_server_backup = true;
    assert_eq!((layer.options(), service.options()), (options.clone(), options), "as for every layer");

    let (result, at) = call(&mut service, ()).await;
    assert!(matches!(result, Err(Error::Deadline { last: None })));
    assert_eq!((at, reports.only().not_hedged()), (200, Some(NotHedged::Disabled)));
    assert_eq!(calls.join_next().await.unwrap().unwrap(), 500);
    assert_eq!(reports.only().attempts().len(), 2, "its backup was sent");
    // A call starts when its future is first polled, so this one starts with the new options.
    let start = tokio::time::Instant::now();
    unpolled.await.unwrap_err();
    assert_eq!((start.elapsed(), reports.only().not_hedged()), (ms(200), Some(NotHedged::Disabled)));
}

#[tokio::test(start_paused = true)]
async fn b8_new_limits_of_a_layer_apply_at_once_and_give_no_fresh_burst() {
    let layer = builder().backup(ms(10)).layer().unwrap();
    let service = layer.layer(Scripted::new(&[(50, Ok("slow"))]));
    let wave = async || {
        let mut calls = JoinSet::new();
        for _ in 0..20 {
            let mut service = service.clone();
            calls.spawn(async move { call(&mut service, ()).await });
        }
        calls.join_all().await;
        service.denied(Extra::Backup, Denial::Ratio)
    };
    assert_eq!(wave().await, 10, "the burst is spent");
    layer.set_options(layer.options().with_timeout(ms(400))).unwrap();
    assert_eq!(wave().await, 28, "two were earned");
    let mut options = layer.options();
    options.limits = LimitOptions::NONE;
    layer.set_options(options).unwrap();
    assert_eq!(wave().await, 28);
    assert_eq!(service.latencies().count(), 60, "latencies go on");
}

fn breaker(failures: u32) -> Option<BreakerOptions> {
    let isolation = IsolationOptions { times: SpanRange::of_millis::<10_000, 10_000>(), probes: Bounded::of::<1>() };
    let failures = Bounded::new(failures).unwrap();
    Some(BreakerOptions::ConsecutiveFailures(FailureOptions { failures, isolation }))
}

#[tokio::test(start_paused = true)]
async fn h2_a_sets_breaker_is_switched_on_changed_and_switched_off() {
    let set: HedgeSet<usize, Scripted, Tokio> = builder().max_retry(0).set().unwrap();
    for key in 0..4 {
        set.insert(key, Scripted::new(&[(1, Err("no"))])).unwrap();
    }
    let mut clone = set.clone();
    let usable = || (0..4).filter(|key| set.usable(key)).count();
    let replace = |breaker| {
        let mut options = set.options();
        options.breaker = breaker;
        assert_eq!(set.set_options(options.clone()).unwrap().len(), 0);
        assert_eq!(set.options(), options);
    };
    let _ = call(&mut clone, ()).await;
    assert_eq!(usable(), 4, "there is no breaker");
    replace(breaker(1));
    let _ = call(&mut clone, ()).await;
    assert_eq!(usable(), 3);
    replace(breaker(2));
    assert_eq!(usable(), 3, "it stays isolated");
    for _ in 0..3 {
        let _ = call(&mut clone, ()).await;
    }
    assert_eq!(usable(), 3, "one failure is not enough any more");
    replace(None);
    assert_eq!(usable(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_option_changes_nothing_and_warnings_are_those_of_the_builder() {
    let set: HedgeSet<usize, Scripted, Tokio> = builder().set().unwrap();
    let layer = builder().layer().unwrap();
    let there = set.options();
    let wrong = there.clone().with_timeout(ms(0));
    let error = ConfigError::NoTime { field: "timeout" };
    assert_eq!(set.set_options(wrong.clone()), Err(error));
    assert_eq!(layer.set_options(wrong), Err(error));
    assert_eq!(set.options(), there);
    assert_eq!(layer.options().channel.timeout, Timeout::after(ms(500)));

    let text = |warnings: hedge_tower::Warnings| warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let built = text(builder().backup(ms(500)).attempt_timeout(ms(600)).warnings());
    assert_eq!(built.len(), 2, "{built:?}");
    let options = there.with_backup(ms(500)).with_attempt_timeout(ms(600));
    assert_eq!(text(set.set_options(options.clone()).unwrap()), built);
    assert_eq!(text(layer.set_options(options).unwrap()), built);
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn f_a_file_that_has_changed_is_applied_while_calls_run() {
    use hedge_tower::hedge_core::config::ChannelConfig;

    let read = |json: &str| serde_json::from_str::<ChannelConfig>(json).unwrap();
    let config =
        read(r#"{"timeout": "150ms", "backup": "20ms", "attempt_timeout": "90ms", "limits": {"ratio": "off"}}"#);
    let layer = builder().layer().unwrap();
    let set: HedgeSet<usize, Scripted, Tokio> = builder().circuit_breaker(breaker(1).unwrap()).set().unwrap();
    assert_eq!(layer.set_config(&config).unwrap().len(), 0);
    assert_eq!(set.set_config(&config).unwrap().len(), 0);
    let built: HedgeSet<usize, Scripted, Tokio> =
        builder().config(&config).circuit_breaker(breaker(1).unwrap()).set().unwrap();
    assert_eq!(set.options(), built.options());
    assert_eq!(layer.options(), builder().config(&config).layer().unwrap().options());
    assert_eq!(call(&mut layer.layer(Scripted::new(&[(NEVER, Ok("late"))])), ()).await.1, 150);

    let health = read(
        r#"{
            "circuit_breaker": {"consecutive_failures": {"failures": 2}},
            "isolation_limit": {"selectable_percent": 30},
            "recovery": {"min_working": 2, "hold": "1s"}
        }"#,
    );
    set.set_config(&health).unwrap();
    let built: HedgeSet<usize, Scripted, Tokio> = builder().config(&health).set().unwrap();
    assert_eq!(set.options(), built.options(), "what the file names is replaced");
    set.set_config(&config).unwrap();
    let stays = (set.options().breaker, set.options().isolation_limit, set.options().recovery);
    assert_eq!(stays, (built.options().breaker, built.options().isolation_limit, built.options().recovery));
    set.set_config(&read(r#"{"circuit_breaker": "off"}"#)).unwrap();
    assert_eq!(set.options().breaker, None);

    let there = set.options();
    let wrong = read(r#"{"max_retry": 8, "circuit_breaker": {"consecutive_failures": {"failures": 2}}}"#);
    assert!(layer.set_config(&wrong).is_err() && set.set_config(&wrong).is_err());
    assert_eq!(set.options(), there);
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn h2_a_file_that_has_changed_switches_a_sets_breaker_on_and_off() {
    use hedge_tower::hedge_core::config::ChannelConfig;

    let read = |json: &str| serde_json::from_str::<ChannelConfig>(json).unwrap();
    let set: HedgeSet<usize, Scripted, Tokio> = builder().max_retry(0).set().unwrap();
    set.insert(0, Scripted::new(&[(1, Err("no"))])).unwrap();
    set.insert(1, Scripted::new(&[(1, Ok("yes"))])).unwrap();
    let breaker = r#"{"max_retry": 0, "circuit_breaker": {"consecutive_failures": {"failures": 1}}}"#;
    set.set_config(&read(breaker)).unwrap();
    for _ in 0..4 {
        let _ = call(&mut set.clone(), ()).await;
    }
    assert_eq!((set.usable(&0), set.usable(&1)), (false, true));
    set.set_config(&read(r#"{"max_retry": 0, "circuit_breaker": "off"}"#)).unwrap();
    assert!(set.usable(&0));
}
