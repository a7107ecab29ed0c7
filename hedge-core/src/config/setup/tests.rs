extern crate std;
use super::*;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::bounded::{Bounded, BoundedSpan, Decimal, Ratio};
use crate::policy::FailMode;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A function that changes the settings of a channel. Before the change, the channel has a backup after 20 ms.
type Change = fn(&mut ChannelOptions, &mut LimitOptions);

fn warnings(change: Change) -> Vec<String> {
    let mut options = ChannelOptions { backup: BackupDelay::after(MS(20)), ..ChannelOptions::brpc() };
    let mut limits = LimitOptions::SAFE;
    change(&mut options, &mut limits);
    of(&Setup::new(&options, &limits))
}

fn of(setup: &Setup<'_>) -> Vec<String> {
    setup.warnings().iter().map(ToString::to_string).collect()
}

/// Returns a ratio below one millionth.
fn tiny() -> Ratio {
    Ratio::new(1e-9).unwrap()
}

fn ratio(limits: &mut LimitOptions, change: RatioOptions) {
    limits.ratio = Some(change);
}

const RATIO: RatioOptions = RatioOptions::DEFAULT;
const BUDGET: BudgetOptions = BudgetOptions::DEFAULT;

#[test]
fn what_contradicts_something_else_or_does_nothing_is_named_with_what_to_write() {
    let table: &[(Change, &str)] = &[
        (
            |options, _| options.backup = BackupDelay::after(MS(500)),
            "backup 500 ms: not below timeout 500 ms, so no backup is ever sent; write a shorter backup or a longer timeout",
        ),
        (
            |options, _| options.max_retry = 0,
            "max_retry 0: allows one attempt a call, so no backup is ever sent although backup asks for one; write max_retry \
             1 or more",
        ),
        (
            |options, _| options.max_backups = 0,
            "max_backups 0: no backup is ever sent although backup asks for one; write max_backups 1 or more",
        ),
        (
            |options, _| options.idempotency = Idempotency::NotIdempotent,
            "idempotency not_idempotent: no backup is sent although backup asks for one, except by calls that say that they \
             are idempotent; write idempotency idempotent if requests may be sent twice",
        ),
        (
            |options, _| (options.max_backups, options.max_retry) = (2, 1),
            "max_backups 2: above max_retry 1, which bounds retries and backups together; write max_retry 2 or more",
        ),
        (
            |options, _| (options.max_backups, options.backup) = (3, BackupDelay::after(MS(200))),
            "max_backups 3: only 2 can be sent before timeout 500 ms, one after each backup delay; write a shorter backup, \
             or max_backups 2",
        ),
        (
            |options, _| (options.max_backups, options.backup) = (2, BackupDelay::OFF),
            "max_backups 2: does nothing without a backup; write a backup, such as 20ms",
        ),
        (
            |options, _| (options.same_server_backup, options.backup) = (true, BackupDelay::OFF),
            "same_server_backup true: does nothing without a backup; write a backup, such as 20ms",
        ),
        (
            |options, _| (options.on_early_failure, options.backup) = (OnEarlyFailure::Wait, BackupDelay::OFF),
            "on_early_failure wait: does nothing without a backup; write a backup, such as 20ms",
        ),
        (
            |options, _| options.timeout = Timeout::after(MS(200)),
            "connect_timeout 200 ms: not below timeout 200 ms, so a server that cannot be reached takes the whole call and \
             nothing is retried; write a shorter connect_timeout",
        ),
        (
            |options, _| options.backoff = Backoff::fixed(MS(500)),
            "backoff 500 ms: not below timeout 500 ms, so every retry is sent at once; write a shorter backoff",
        ),
        (
            |options, _| options.backoff = Backoff::jittered(MS(600), MS(700)).unwrap(),
            "backoff 600 ms: not below timeout 500 ms, so every retry is sent at once; write a shorter backoff",
        ),
        (
            |options, _| {
                options.max_retry = 0;
                options.backup = BackupDelay::OFF;
                options.backoff = Backoff::fixed(MS(1));
            },
            "backoff: does nothing, since max_retry 0 allows no retry; write max_retry 1 or more",
        ),
        (
            |options, _| {
                options.max_retry = 0;
                options.backup = BackupDelay::OFF;
                options.retry_target = RetryTarget::Same;
            },
            "retry_target same: does nothing, since max_retry 0 allows no retry; write max_retry 1 or more",
        ),
        (
            |options, _| {
                options.max_retry = 0;
                options.backup = BackupDelay::OFF;
                options.pushback_for_service = true;
            },
            "pushback_for_service true: does nothing, since max_retry 0 allows one attempt a call; write max_retry 1 or more",
        ),
        (
            |options, _| options.no_backoff_remaining = MS(5),
            "no_backoff_remaining 5 ms: does nothing without a backoff; write a backoff",
        ),
        (
            |options, _| (options.no_backoff_remaining, options.backoff) = (MS(500), Backoff::fixed(MS(1))),
            "no_backoff_remaining 500 ms: not below timeout 500 ms, so every retry is sent at once; write a shorter no_backoff_remaining",
        ),
        (
            |_, limits| ratio(limits, RatioOptions { backup: Some(MS(30)), ..RATIO }),
            "backup: never used, since limits.ratio.backup_request_ms gives the delay; leave one of them out",
        ),
        (
            |options, limits| {
                options.backup = BackupDelay::OFF;
                ratio(limits, RatioOptions { backup: Some(MS(600)), ..RATIO });
            },
            "limits.ratio.backup_request_ms 600 ms: not below timeout 500 ms, so no backup is ever sent; write a shorter \
             backup or a longer timeout",
        ),
        (
            |options, limits| {
                options.backup = BackupDelay::OFF;
                ratio(limits, RatioOptions { max_backup_ratio: Ratio::of_percent::<5>(), ..RATIO });
            },
            "limits.ratio: limits nothing, since no backup is asked for, except by calls that ask for one; write a backup, such \
             as 20ms",
        ),
        (
            |_, limits| ratio(limits, RatioOptions { max_backup_ratio: Ratio::WHOLE, ..RATIO }),
            "limits.ratio.max_backup_ratio 1: mode exact is off at 1; write a ratio below 1, or off for limits.ratio",
        ),
        (
            |_, limits| ratio(limits, RatioOptions { max_backup_ratio: tiny(), burst: Bounded::of::<0>(), ..RATIO }),
            "limits.ratio.max_backup_ratio: below 0.000001 and burst is 0, so no backup is ever allowed; write a larger max_backup_ratio",
        ),
        (
            |_, limits| ratio(limits, RatioOptions { update_interval: BoundedSpan::of_secs::<2>(), ..RATIO }),
            "limits.ratio.update_interval_seconds 2: does nothing in mode exact; leave it out, or write mode cached",
        ),
        (
            |_, limits| {
                ratio(
                    limits,
                    RatioOptions { mode: RatioMode::Cached, update_interval: BoundedSpan::of_secs::<11>(), ..RATIO },
                );
            },
            "limits.ratio.update_interval_seconds 11: above window_size_seconds 10, so the ratio is looked up less \
             often than it changes; write at most 10",
        ),
        (
            |_, limits| ratio(limits, RatioOptions { mode: RatioMode::Cached, burst: Bounded::of::<7>(), ..RATIO }),
            "limits.ratio.burst 7: does nothing in mode cached; leave it out, or write mode exact",
        ),
        (
            |_, limits| {
                limits.budget = Some(BudgetOptions {
                    share: Decimal::of_thousandths::<0>(),
                    minimum_per_second: Bounded::of::<0>(),
                    ..BUDGET
                });
            },
            "limits.budget: share and minimum_per_second are 0, so that after a burst of 100 no retry and no backup is ever \
             allowed; write a share such as 0.2",
        ),
        (
            |_, limits| limits.budget = Some(BudgetOptions { maximum_per_second: Some(Bounded::of::<9>()), ..BUDGET }),
            "limits.budget.maximum_per_second 9: below minimum_per_second 10; write at least 10",
        ),
    ];
    for (change, text) in table {
        assert_eq!(warnings(*change), [*text]);
    }
}

#[test]
fn what_can_be_carried_out_is_not_warned_of() {
    let table: &[Change] = &[
        |_, _| {},
        |options, _| options.backup = BackupDelay::after(MS(499)),
        |options, _| options.backup = BackupDelay::after(Duration::ZERO),
        |options, _| (options.backup, options.max_backups) = (BackupDelay::after(Duration::ZERO), 3),
        |options, _| (options.backup, options.max_backups) = (BackupDelay::after(MS(166)), 3),
        |options, _| (options.backup, options.max_retry) = (BackupDelay::OFF, 0),
        |options, _| (options.backup, options.max_backups) = (BackupDelay::OFF, 0),
        |options, _| (options.backup, options.idempotency) = (BackupDelay::OFF, Idempotency::NotIdempotent),
        |options, _| (options.timeout, options.backup) = (Timeout::NEVER, BackupDelay::after(Duration::MAX)),
        |options, _| (options.timeout, options.backoff) = (Timeout::NEVER, Backoff::fixed(Duration::MAX)),
        |options, _| options.connect_timeout = Timeout::NEVER,
        |options, _| (options.timeout, options.connect_timeout) = (Timeout::NEVER, Timeout::after(Duration::MAX)),
        |options, _| options.backoff = Backoff::exponential(MS(10), 1_000, MS(900)).unwrap(),
        |options, _| options.same_server_backup = true,
        |options, _| options.on_early_failure = OnEarlyFailure::Wait,
        |_, limits| *limits = LimitOptions::NONE,
        |_, limits| ratio(limits, RatioOptions { mode: RatioMode::Cached, max_backup_ratio: Ratio::WHOLE, ..RATIO }),
        |_, limits| ratio(limits, RatioOptions { window: BoundedSpan::of_secs::<1>(), ..RATIO }),
        |_, limits| ratio(limits, RatioOptions { burst: Bounded::of::<0>(), ..RATIO }),
        |_, limits| limits.budget = Some(BudgetOptions { share: Decimal::of_thousandths::<0>(), ..BUDGET }),
        |_, limits| limits.budget = Some(BudgetOptions { maximum_per_second: Some(Bounded::of::<10>()), ..BUDGET }),
    ];
    for (index, change) in table.iter().enumerate() {
        assert_eq!(warnings(*change), [""; 0], "row {index}");
    }
}

#[test]
fn f_presets_and_fail_modes_have_no_warnings() {
    for preset in Preset::ALL {
        assert_eq!(of(&Setup::new(&preset.options(), &preset.limits())), [""; 0], "{preset}");
        for mode in [FailMode::FailFast, FailMode::FailOver, FailMode::FailTry] {
            let options = ChannelOptions { backup: BackupDelay::OFF, max_backups: 1, ..preset.options() };
            let options = options.with_fail_mode(mode);
            assert_eq!(of(&Setup::new(&options, &preset.limits())), [""; 0], "{preset} {mode:?}");
        }
    }
}

#[test]
fn b1_who_gives_the_delay_is_who_is_named() {
    let none = ChannelOptions { max_retry: 0, ..ChannelOptions::brpc() };
    let plain = ChannelOptions { backup: BackupDelay::after(MS(20)), ..none.clone() };
    let (safe, of_ratio) = (LimitOptions::SAFE, RatioOptions { backup: Some(MS(0)), ..RATIO });
    let of_ratio = LimitOptions { ratio: Some(of_ratio), ..safe };
    let after = |delay| Some(BackupDelay::after(delay));
    let named = |options, limits, policy_delay| of(&Setup { policy_delay, ..Setup::new(options, limits) }).join(" | ");
    let attempt = |origin: &str| {
        std::format!(
            "max_retry 0: allows one attempt a call, so no backup is ever sent although {origin} asks for one; write \
             max_retry 1 or more"
        )
    };
    let replaced = |by: &str| std::format!("backup: never used, since {by} gives the delay; leave one of them out");
    assert_eq!(named(&plain, &safe, None), attempt("backup"));
    assert_eq!(named(&none, &safe, after(MS(20))), attempt("backup_policy"));
    assert_eq!(named(&none, &safe, Some(BackupDelay::OFF)), attempt("backup_policy"), "off for now");
    assert_eq!(named(&none, &safe, Some(BackupDelay::shadow(MS(1)))), "", "it sends none");
    assert_eq!(named(&none, &of_ratio, after(MS(20))), attempt("limits.ratio.backup_request_ms"));
    let both = [replaced("backup_policy"), attempt("backup_policy")].join(" | ");
    assert_eq!(named(&plain, &safe, after(MS(20))), both);
}

#[test]
fn l21_an_attempt_timeout_that_does_nothing_is_warned_of() {
    let with = |attempt_timeout: Timeout, max_retry| {
        let options = ChannelOptions { max_retry, ..ChannelOptions::brpc() };
        of(&Setup { attempt_timeout, ..Setup::new(&options, &LimitOptions::SAFE) })
    };
    assert_eq!(with(MS(499).into(), 1), [""; 0]);
    assert_eq!(with(Timeout::NEVER, 0), [""; 0]);
    assert_eq!(
        with(MS(500).into(), 3),
        ["attempt_timeout 500 ms: not below timeout 500 ms, so it does nothing; write a shorter attempt_timeout"]
    );
    assert_eq!(
        with(MS(100).into(), 0),
        [
            "attempt_timeout 100 ms: with max_retry 0 nothing follows an attempt that took too long; write a max_retry of at least \
          1, or a timeout"
        ]
    );
}

#[test]
fn l4_one_address_needs_same_server_backup() {
    let options = ChannelOptions { backup: BackupDelay::after(MS(20)), ..ChannelOptions::brpc() };
    let same = ChannelOptions { same_server_backup: true, ..options.clone() };
    let with = |options, addresses| of(&Setup { addresses, ..Setup::new(options, &LimitOptions::SAFE) });
    assert_eq!(
        with(&options, Some(1)),
        [
            "backup: there is one server address, so no backup is sent; name another server, or write same_server_backup true"
        ]
    );
    for (options, addresses) in [(&options, Some(2)), (&options, None), (&options, Some(0)), (&same, Some(1))] {
        assert_eq!(with(options, addresses), [""; 0], "{addresses:?}");
    }
    let own = ChannelOptions { timeout: MS(100).into(), ..options };
    let setup = Setup { connects: false, ..Setup::new(&own, &LimitOptions::SAFE) };
    assert_eq!(of(&setup), [""; 0], "a host that does not connect has no connect timeout");
}

#[test]
fn h4_a_breaker_that_never_isolates_and_probes_that_nobody_asks_for_are_named() {
    let options = ChannelOptions::brpc();
    let plain = Setup::new(&options, &LimitOptions::SAFE);
    let limit = |percent| IsolationLimit { selectable_percent: Bounded::new(percent).unwrap() };
    let name = |name: &str| name.parse::<BalancerSpec>().ok();
    for (setup, text) in [
        (
            Setup { breaker: true, servers: Some(1), ..plain },
            "circuit_breaker: there is one server, which is never isolated, since a share of the servers must stay; name \
             another server",
        ),
        (
            Setup { breaker: true, isolation_limit: limit(100), ..plain },
            "isolation_limit selectable_percent 100: no server may be isolated, so the circuit_breaker does nothing; write a \
             smaller share, such as 50",
        ),
        (
            Setup { isolation_limit: limit(30), ..plain },
            "isolation_limit selectable_percent 30: does nothing without a circuit breaker; add a circuit_breaker",
        ),
        (
            Setup { balancer: name("prequal"), ..plain },
            "load_balancer prequal: no server is probed, so it chooses as p2c does; add probes, or write p2c",
        ),
        (
            Setup { balancer: name("p2c"), probes: true, ..plain },
            "probe_with: does nothing under another load balancer than prequal; write load_balancer prequal",
        ),
    ] {
        assert_eq!(of(&setup), [text]);
    }
    for setup in [
        Setup { breaker: true, servers: Some(2), isolation_limit: limit(99), ..plain },
        Setup { breaker: true, ..plain },
        Setup { servers: Some(1), ..plain },
        Setup { balancer: name("prequal:probes=2"), probes: true, ..plain },
        Setup { balancer: name("p2c"), ..plain },
    ] {
        assert_eq!(of(&setup), [""; 0], "{setup:?}");
    }
}

#[test]
fn there_is_room_for_all_that_can_come_together() {
    let mut found = Warnings::default();
    (0..100).for_each(|_| found.push(Warning::RatioIsOff));
    assert_eq!((found.len(), found.clone().into_iter().count()), (32, 32));
    // Even the worst setup has fewer warnings than there are kinds, since some kinds exclude others.
    let options = ChannelOptions {
        timeout: MS(1).into(),
        max_retry: 0,
        max_backups: 0,
        backup: BackupDelay::after(MS(2)),
        backoff: Backoff::fixed(MS(1)),
        no_backoff_remaining: MS(1),
        retry_target: RetryTarget::Same,
        idempotency: Idempotency::NotIdempotent,
        ..ChannelOptions::brpc()
    };
    let ratio = RatioOptions {
        max_backup_ratio: tiny(),
        burst: Bounded::of::<0>(),
        update_interval: BoundedSpan::of_secs::<9>(),
        backup: Some(MS(3)),
        ..RATIO
    };
    let budget = BudgetOptions {
        share: Decimal::of_thousandths::<0>(),
        minimum_per_second: Bounded::of::<0>(),
        maximum_per_second: None,
        ..BUDGET
    };
    let limits = LimitOptions { ratio: Some(ratio), budget: Some(budget), ..LimitOptions::NONE };
    let setup =
        Setup { addresses: Some(1), servers: Some(1), breaker: true, probes: true, ..Setup::new(&options, &limits) };
    let all = of(&setup);
    assert_eq!(all.len(), 14, "{all:#?}");
}

#[test]
fn l22_a_queue_that_does_nothing_is_warned_of() {
    let options = ChannelOptions::brpc();
    let with = |max_in_flight_per_server, max_queued_calls, max_queue_wait: Timeout| {
        let server_limits =
            ServerLimits { max_in_flight_per_server, max_queued_calls, max_queue_wait, slow_start: None };
        of(&Setup { server_limits, ..Setup::new(&options, &LimitOptions::SAFE) })
    };
    assert_eq!(with(Some(1), 0, Timeout::NEVER), [""; 0]);
    assert_eq!(with(Some(1), 1, MS(499).into()), [""; 0]);
    assert_eq!(
        with(None, 8, Timeout::NEVER),
        [
            "max_queued_calls 8: does nothing without a cap, since no server is ever full; write a max_in_flight_per_server"
        ]
    );
    assert_eq!(
        with(Some(1), 0, MS(20).into()),
        ["max_queue_wait 20 ms: does nothing without a queue; write a max_queued_calls of at least 1"]
    );
    assert_eq!(
        with(Some(1), 8, MS(500).into()),
        ["max_queue_wait 500 ms: not below timeout 500 ms, so it does nothing; write a shorter max_queue_wait"]
    );
}

#[test]
fn s11_a_slow_start_of_the_only_server_is_warned_of() {
    let options = ChannelOptions::brpc();
    let with = |servers| {
        let server_limits = ServerLimits { slow_start: Some(MS(30_000)), ..ServerLimits::NONE };
        of(&Setup { server_limits, servers, ..Setup::new(&options, &LimitOptions::SAFE) })
    };
    assert_eq!((with(None), with(Some(2))), (Vec::new(), Vec::new()));
    assert_eq!(
        with(Some(1)),
        [
            "slow_start 30000 ms: does nothing, since there is only one server, which gets every call; name another server"
        ]
    );
}
