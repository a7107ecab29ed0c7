//! Settings that contradict each other.

use std::sync::Arc;
use std::time::Duration;

use hedge_core::bounded::Bounded;
use hedge_net::{
    AdaptiveDelay, AdaptiveOptions, Backoff, BreakerOptions, Channel, FailureOptions, Idempotency, IsolationLimit,
    LimitOptions, RatioOptions, Runtime,
};

pub async fn settings_that_contradict_each_other_are_warned_of<R: Runtime>(runtime: R) {
    let two = || Channel::builder(runtime.clone(), "list://127.0.0.1:1,127.0.0.1:2").load_balancer("rr");
    let one = || Channel::builder(runtime.clone(), "127.0.0.1:1");
    let breaker = || BreakerOptions::ConsecutiveFailures(FailureOptions::DEFAULT);
    let ms = Duration::from_millis;
    let adaptive = || Arc::new(AdaptiveDelay::new(AdaptiveOptions::DEFAULT));
    let of_ratio = RatioOptions { backup: Some(ms(500)), ..RatioOptions::DEFAULT };
    for (builder, texts) in [
        (two(), &[][..]),
        (one(), &[]),
        (two().backup(ms(20)), &[]),
        (one().backup(ms(20)).same_server_backup(true), &[]),
        (two().backup(ms(500)), &["backup 500 ms: not below timeout 500 ms"]),
        (two().backup(ms(20)).timeout(ms(20)).connect_timeout(ms(5)), &["backup 20 ms: not below timeout 20 ms"]),
        (two().max_retry(0).backup(ms(20)), &["max_retry 0: allows one attempt a call"]),
        (two().max_retry(0).backup_policy(adaptive()), &["max_retry 0: allows one attempt a call"]),
        (two().max_backups(0).backup(ms(20)), &["max_backups 0: no backup is ever sent"]),
        (two().max_backups(2).max_retry(1).backup(ms(20)), &["max_backups 2: above max_retry 1"]),
        (
            two().idempotency(Idempotency::NotIdempotent).backup_policy(adaptive()),
            &["idempotency not_idempotent: no backup"],
        ),
        (one().backup(ms(20)), &["backup: there is one server address"]),
        (
            Channel::builder(runtime.clone(), "list://127.0.0.1:1 a,127.0.0.1:1 b").load_balancer("rr").backup(ms(20)),
            &["backup: there is one server address"],
        ),
        (two().timeout(ms(200)), &["connect_timeout 200 ms: not below timeout 200 ms"]),
        (two().backoff(Backoff::fixed(ms(500))), &["backoff 500 ms: not below timeout 500 ms"]),
        (
            two().limits(LimitOptions { ratio: Some(of_ratio), ..LimitOptions::SAFE }),
            &["limits.ratio.backup_request_ms 500 ms: not below timeout 500 ms"],
        ),
        (one().circuit_breaker(breaker()), &["circuit_breaker: there is one server"]),
        (two().circuit_breaker(breaker()), &[]),
        (
            two().isolation_limit(IsolationLimit { selectable_percent: Bounded::of::<10>() }),
            &["isolation_limit selectable_percent 10: does"],
        ),
        (two().load_balancer("prequal"), &["load_balancer prequal: no server is probed"]),
        (two().probe_with(|_| async { None }), &["probe_with: does nothing"]),
        (two().load_balancer("prequal").probe_with(|_| async { None }), &[]),
        (two().health_check_path("/").without_health_checks(), &["health_check_with: does nothing"]),
        (
            one().max_retry(0).backup(ms(500)),
            &["backup 500 ms: not below timeout", "backup: there is one server", "max_retry 0: allows one attempt"],
        ),
    ] {
        let warnings: Vec<_> = builder.warnings().iter().map(ToString::to_string).collect();
        let as_wanted =
            warnings.len() == texts.len() && warnings.iter().zip(texts).all(|(had, text)| had.starts_with(text));
        assert!(as_wanted, "{warnings:?} instead of {texts:?}");
        builder.build().unwrap();
    }
}
