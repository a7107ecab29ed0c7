//! One service under the layer, in tokio's paused time. The service of each test panics if it is called before it is
//! ready.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Carried, Carrying, NEVER, Reports, Scripted, Step, builder, call, ms};
use hedge_tower::hedge_core::drive::CancelSignal;
use hedge_tower::hedge_core::outcome::{Code, Denial, End, ErrorKind, Judgement, Kind, NotHedged, Verdict};
use hedge_tower::hedge_core::policy::{BackupDelay, BackupPolicy, ConfigError, Ended, Idempotency};
use hedge_tower::hedge_core::time::Instant;
use hedge_tower::{BuildError, CallOptions, Error, Hedge};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt};

/// Makes one call to a service, with a backup after 50 ms.
async fn hedged(steps: &[Step]) -> (Result<&'static str, Error<&'static str>>, u128) {
    let layer = builder().timeout(ms(10_000)).backup(ms(50)).layer().unwrap();
    call(&mut layer.layer(Scripted::new(steps)), ()).await
}

#[tokio::test(start_paused = true)]
async fn l9_a_backup_that_fails_never_ends_what_the_first_would_win() {
    let (result, at) = hedged(&[(200, Ok("first")), (1, Err("no"))]).await;
    assert_eq!((result.unwrap(), at), ("first", 200));
}

#[tokio::test(start_paused = true)]
async fn l9_a_first_that_fails_starts_the_next_at_once() {
    let (result, at) = hedged(&[(1, Err("no")), (5, Ok("second"))]).await;
    assert_eq!((result.unwrap(), at), ("second", 6));
}

#[tokio::test(start_paused = true)]
async fn l7_a_backup_in_flight_wins_after_the_first_has_failed() {
    let (result, at) = hedged(&[(60, Err("no")), (30, Ok("backup")), (NEVER, Ok("third"))]).await;
    assert_eq!((result.unwrap(), at), ("backup", 80));
}

#[tokio::test(start_paused = true)]
async fn l10_a_call_whose_attempts_all_fail_ends_with_the_last_failure() {
    let (result, at) = hedged(&[(1, Err("a")), (1, Err("b")), (1, Err("c")), (1, Err("d")), (1, Ok("late"))]).await;
    let error = result.unwrap_err();
    assert_eq!((error.to_string(), at), ("failed: d".into(), 4));
    assert_eq!(error.into_service_error(), Some("d"));
}

#[tokio::test(start_paused = true)]
async fn l2_the_deadline_covers_attempts_and_the_readiness_of_clones() {
    let reports = Reports::default();
    let layer = reports.hear(builder().max_retry(1)).layer().unwrap();
    let (result, at) = call(&mut layer.layer(Scripted::new(&[(NEVER, Ok("late"))])), ()).await;
    assert!(matches!(result, Err(Error::Deadline { last: None })));
    assert_eq!(at, 500);
    assert_eq!(reports.only().not_hedged(), Some(NotHedged::Disabled));

    // The retry's clone never becomes ready.
    let service = Scripted::new(&[(1, Err("no")), (1, Ok("yes"))]).clones_unready_for(NEVER);
    let counts = service.counts();
    let (result, at) = call(&mut layer.layer(service), ()).await;
    assert!(matches!(result, Err(Error::Deadline { last: Some("no") })));
    assert_eq!((at, counts.get()), (500, (1, 0)));
    assert_eq!(reports.only().attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_clone_becomes_ready_as_part_of_its_attempt() {
    let service = Scripted::new(&[(NEVER, Ok("first")), (5, Ok("backup"))]).clones_unready_for(20);
    let layer = builder().backup(ms(50)).layer().unwrap();
    let mut service = layer.layer(service);
    let (result, at) = call(&mut service, ()).await;
    assert_eq!((result.unwrap(), at), ("backup", 75));
    // The next call goes to a clone, which has replaced the service in the layer and has to become ready first.
    let (result, at) = call(&mut service, ()).await;
    assert_eq!((result.unwrap(), at), ("backup", 25));
}

#[tokio::test(start_paused = true)]
async fn backpressure_below_reaches_the_caller_and_holds_backups_back() {
    let counted = Scripted::new(&[(100, Ok("yes"))]);
    let counts = counted.counts();
    let layer = builder().backup(ms(50)).max_retry(1).layer().unwrap();
    let service = ServiceBuilder::new().layer(layer).concurrency_limit(1).service(counted);
    let calls = (0..3).map(|_| {
        let mut service = service.clone();
        tokio::spawn(async move { call(&mut service, ()).await })
    });
    let mut ends = Vec::new();
    for task in calls.collect::<Vec<_>>() {
        let (result, at) = task.await.unwrap();
        assert_eq!(result.unwrap(), "yes");
        ends.push(at);
    }
    // A free permit goes to the attempt that waits longest. A backup that still waited when its call ended has taken
    // none.
    assert_eq!((ends, counts.get()), (vec![100, 200, 300], (3, 0)));
}

#[tokio::test(start_paused = true)]
async fn l12_dropping_the_future_cancels_every_attempt_and_tells_the_policy() {
    #[derive(Default)]
    struct Told(AtomicUsize);
    impl BackupPolicy for Told {
        fn ended(&self, call: &Ended<'_>) {
            assert_eq!((call.end, call.attempts.len()), (End::Cancelled, 2));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (told, reports) = (Arc::new(Told::default()), Reports::default());
    let service = Scripted::new(&[(NEVER, Ok("late"))]);
    let counts = service.counts();
    let layer = reports.hear(builder().backup(ms(50)).backup_policy(told.clone())).layer().unwrap();
    let mut service = layer.layer(service);
    assert!(tokio::time::timeout(ms(60), call(&mut service, ())).await.is_err());
    assert_eq!(counts.get(), (2, 0));
    assert_eq!(told.0.load(Ordering::Relaxed), 1);
    assert!(reports.none());
}

#[tokio::test(start_paused = true)]
async fn l12_a_signal_in_the_request_cancels() {
    let service = Scripted::new(&[(NEVER, Ok("late"))]);
    let counts = service.counts();
    let mut service = builder().protocol(Carried).layer().unwrap().layer(service);
    let signal = Arc::new(CancelSignal::new());
    let raised = Arc::clone(&signal);
    tokio::spawn(async move {
        tokio::time::sleep(ms(30)).await;
        raised.cancel();
    });
    let options = CallOptions { cancel: Some(signal), ..CallOptions::new() };
    let (result, at) = call(&mut service, Carrying(options)).await;
    assert!(matches!(result, Err(Error::Cancelled { last: None })));
    assert_eq!((at, counts.get()), (30, (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn b1_a_calls_own_options_count_before_the_layers() {
    let mut service = builder().protocol(Carried).layer().unwrap().layer(Scripted::new(&[(NEVER, Ok("late"))]));
    let options = CallOptions::new().with_timeout(ms(70)).with_backup(ms(10));
    let (result, at) = call(&mut service, Carrying(options)).await;
    assert!(matches!(result, Err(Error::Deadline { .. })));
    assert_eq!(at, 70);

    let once = CallOptions { idempotency: Idempotency::NotIdempotent, ..CallOptions::new() };
    let mut service =
        builder().protocol(Carried).layer().unwrap().layer(Scripted::new(&[(1, Err("no")), (1, Ok("yes"))]));
    let (result, _) = call(&mut service, Carrying(once)).await;
    assert!(matches!(result, Err(Error::Failed("no"))));
}

/// A request that is neither `Clone` nor `Sync`.
struct OneShot {
    _not_sync: std::cell::Cell<u32>,
}

#[tokio::test(start_paused = true)]
async fn l15_a_request_that_cannot_be_copied_is_sent_once_and_the_report_says_so() {
    let reports = Reports::default();
    let never = |_: &OneShot| None;
    let layer = reports.hear(builder().protocol(never).backup(ms(50))).layer().unwrap();
    let service = Scripted::new(&[(100, Ok("first")), (1, Err("no")), (1, Ok("second"))]);
    let counts = service.counts();
    let mut service: Hedge<Scripted, _, _, _> = layer.layer(service);
    let one_shot = || OneShot { _not_sync: std::cell::Cell::new(1) };
    let (result, at) = call(&mut service, one_shot()).await;
    assert_eq!((result.unwrap(), at), ("first", 100));
    assert_eq!(reports.only().not_hedged(), Some(NotHedged::NotIdempotent));
    let (result, _) = call(&mut service, one_shot()).await;
    assert!(matches!(result, Err(Error::Failed("no"))), "not retried either");
    assert_eq!(counts.get(), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn t3_a_request_is_copied_for_each_attempt_and_not_at_all_without_any() {
    let copies = Arc::new(AtomicUsize::new(0));
    let counted = |copies: &Arc<AtomicUsize>| {
        let copies = Arc::clone(copies);
        move |text: &String| {
            copies.fetch_add(1, Ordering::Relaxed);
            Some(text.clone())
        }
    };
    let layer = builder().protocol(counted(&copies)).max_retry(0).layer().unwrap();
    call(&mut layer.layer(Scripted::new(&[(1, Ok("yes"))])), "text".to_owned()).await.0.unwrap();
    assert_eq!(copies.load(Ordering::Relaxed), 0);
    let layer = builder().protocol(counted(&copies)).layer().unwrap();
    let steps = [(1, Err("a")), (1, Err("b")), (1, Ok("yes"))];
    call(&mut layer.layer(Scripted::new(&steps)), "text".to_owned()).await.0.unwrap();
    assert_eq!(copies.load(Ordering::Relaxed), 3, "one to keep, one a retry");
}

#[tokio::test(start_paused = true)]
async fn t3_a_request_that_cannot_be_copied_after_all_ends_the_call() {
    let once = AtomicUsize::new(1);
    let copy = move |text: &&'static str| once.swap(0, Ordering::Relaxed).eq(&1).then_some(*text);
    let layer = builder().protocol(copy).layer().unwrap();
    let (result, _) = call(&mut layer.layer(Scripted::new(&[(1, Err("no")), (1, Ok("yes"))])), "text").await;
    assert!(matches!(result, Err(Error::NotSent)));
}

#[tokio::test(start_paused = true)]
async fn b2_a_policy_limits_and_delays_and_the_report_names_it() {
    struct Sparing;
    impl BackupPolicy for Sparing {
        fn delay(&self, _: Instant) -> Option<BackupDelay> {
            Some(BackupDelay::after(ms(10)))
        }
        fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
            if now < Instant::from_micros(100_000) { Err(Denial::Ratio) } else { Ok(()) }
        }
        fn may_retry(&self, _: Instant) -> Result<(), Denial> {
            Err(Denial::Budget)
        }
    }
    let reports = Reports::default();
    let layer = reports.hear(builder().backup_policy(Arc::new(Sparing))).layer().unwrap();
    let (result, at) = call(&mut layer.layer(Scripted::new(&[(150, Ok("first"))])), ()).await;
    assert_eq!((result.unwrap(), at), ("first", 150));
    assert_eq!(reports.only().not_hedged(), Some(NotHedged::Denied(Denial::Ratio)));
    let steps = [(200, Ok("first")), (5, Ok("backup"))];
    assert_eq!(call(&mut layer.layer(Scripted::new(&steps)), ()).await.1, 15);
    let report = reports.only();
    assert_eq!((report.not_hedged(), report.attempts()[1].kind()), (None, Kind::Backup));
    let (result, _) = call(&mut layer.layer(Scripted::new(&[(1, Err("no")), (1, Ok("yes"))])), ()).await;
    assert!(matches!(result, Err(Error::Failed("no"))));
}

#[tokio::test(start_paused = true)]
async fn r2_a_response_that_is_not_accepted_is_the_callers_if_nothing_better_comes() {
    let reports = Reports::default();
    let judge = |result: Result<&&'static str, &&'static str>| match result {
        Ok(&"good") => Judgement::from(Verdict::Accept),
        Ok(_) => Judgement::new(Verdict::Retry, Code(503)),
        Err(_) => Verdict::Fatal.into(),
    };
    let layer = reports.hear(builder().retry_policy(judge).max_retry(2)).layer().unwrap();
    let (result, _) = call(&mut layer.layer(Scripted::new(&[(1, Ok("bad")), (1, Ok("good"))])), ()).await;
    assert_eq!((result.unwrap(), reports.only().end()), ("good", Some(End::Accepted)));
    let (result, at) = call(&mut layer.layer(Scripted::new(&[(1, Ok("bad"))])), ()).await;
    assert_eq!((result.unwrap(), at), ("bad", 3));
    assert_eq!(reports.only().end(), Some(End::Failed));
    let (result, at) = call(&mut layer.layer(Scripted::new(&[(1, Err("forbidden"))])), ()).await;
    assert!(matches!(result, Err(Error::Fatal("forbidden"))));
    assert_eq!((at, reports.only().end()), (1, Some(End::Fatal)));
}

#[tokio::test(start_paused = true)]
async fn l6_several_backups_each_a_delay_after_the_last() {
    let layer = builder().backup(ms(10)).max_backups(3).layer().unwrap();
    let service = Scripted::new(&[(NEVER, Ok("a")), (NEVER, Ok("b")), (NEVER, Ok("c")), (5, Ok("d"))]);
    let counts = service.counts();
    let (result, at) = call(&mut layer.layer(service), ()).await;
    assert_eq!((result.unwrap(), at, counts.get()), ("d", 35, (4, 0)));
}

#[tokio::test(start_paused = true)]
async fn l3_options_that_cannot_be_carried_out_are_an_error() {
    assert_eq!(
        builder().max_retry(8).layer().unwrap_err(),
        BuildError::Options(ConfigError::TooManyAttempts { max_retry: 8, capacity: hedge_tower::MAX_ATTEMPTS })
    );
    assert_eq!(
        builder().max_backups(5).layer().unwrap_err(),
        BuildError::Options(ConfigError::TooManyInFlight { max_backups: 5, slots: hedge_tower::MAX_IN_FLIGHT })
    );
    let mut service = builder().protocol(Carried).layer().unwrap().layer(Scripted::new(&[(1, Ok("yes"))]));
    for options in [
        CallOptions { max_retry: Some(200), ..CallOptions::new() },
        CallOptions { max_backups: Some(5), ..CallOptions::new() },
    ] {
        assert!(matches!(call(&mut service, Carrying(options)).await.0, Err(Error::Config(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn layers_whose_errors_are_boxed_go_below_and_above() {
    let layer = || builder().backup(ms(50)).layer().unwrap();
    let inner = ServiceExt::<()>::map_err(Scripted::new(&[(1, Err("no"))]), BoxError::from);
    let mut service = ServiceBuilder::new().map_err(BoxError::from).layer(layer()).layer(layer()).service(inner);
    let (result, _) = call(&mut service, ()).await;
    assert_eq!(result.unwrap_err().to_string(), "failed: failed: no");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_move_between_threads() {
    let steps = [(30, Ok("slow")), (1, Ok("fast"))];
    let layer = builder().backup(ms(2)).layer().unwrap();
    let calls = (0..50).map(|_| {
        let mut service = layer.layer(Scripted::new(&steps));
        tokio::spawn(async move { call(&mut service, ()).await.0 })
    });
    for task in calls.collect::<Vec<_>>() {
        assert!(task.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn l21_an_attempt_that_takes_too_long_makes_room_for_another() {
    let reports = Reports::default();
    let layer = reports.hear(builder().attempt_timeout(ms(30))).layer().unwrap();
    let (result, at) = call(&mut layer.layer(Scripted::new(&[(NEVER, Ok("late")), (5, Ok("second"))])), ()).await;
    assert_eq!((result.unwrap(), at), ("second", 35));
    assert_eq!(reports.only().attempts()[0].code(), Code::from(ErrorKind::AttemptTimeout));
    let error = builder().attempt_timeout(ms(0)).layer().unwrap_err();
    assert_eq!(error.to_string(), "attempt_timeout 0: must be above 0; for no limit, write never");
}
