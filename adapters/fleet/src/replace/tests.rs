//! Tests that replace options, in virtual time and also by several threads at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use hedge_core::bounded::{Bounded, Ratio, SpanRange};
use hedge_core::call::{Action, Call, Host as _, Input, Start};
use hedge_core::health::{FailureOptions, IsolationOptions};
use hedge_core::limit::RatioOptions;
use hedge_core::outcome::{Denial, End, Extra, NotHedged, Verdict};
use hedge_core::policy::{CallOptions, Idempotency};
use hedge_core::time::Duration as Span;
use hedge_core::time::Instant;

use super::*;
use crate::host::CallHost;
use crate::node::Node;
use crate::run::CallContext;
use crate::servers::ListEntry;
use crate::setup::Setup;
use crate::testing::Line;

impl Line {
    fn fleet(servers: u16, setup: Setup) -> Self {
        let keys: Vec<u16> = (0..servers).collect();
        Self::build("rr", 1, &keys, |it| *it = setup)
    }

    fn replace(
        &self,
        now: Instant,
        change: impl FnOnce(ReplaceableOptions) -> ReplaceableOptions,
    ) -> Result<ReplaceableOptions, ConfigError> {
        self.settings.replace_with(&self.servers, now, |old| change(old.clone()))
    }

    fn usable_at(&self, now: Instant) -> Vec<u16> {
        let snapshot = self.servers.load();
        let usable = |node: &&Arc<Node<u16, _>>| snapshot.health().usable(node.health(), now);
        snapshot.list().nodes().iter().filter(usable).map(|node| *node.key()).collect()
    }

    fn isolated_until(&self, key: u16, now: Instant) -> Option<Instant> {
        let snapshot = self.servers.load();
        snapshot.health().isolated_until(snapshot.list().named(&key)?.health(), now)
    }

    /// Makes a call. Every attempt of the call ends at once with this verdict.
    fn judged(&self, now: Instant, verdict: Verdict) {
        let host = held(self);
        let mut call: OneCall<'_> = Call::new(&host, &OWN, now).unwrap();
        while let Action::Start(start) = call.poll(now) {
            call.handle(now, Input::finished(start.attempt, verdict));
        }
    }

    /// Returns how many backups the limits allow.
    fn granted(&self, now: Instant) -> usize {
        (0..1_000).take_while(|_| self.settings.may_back_up(now).is_ok()).count()
    }
}

/// Makes the host of a call that starts now.
fn held(fleet: &Line) -> CallHost<&Line> {
    let mut host = CallHost::new(fleet, ());
    host.hold();
    host
}

type OneCall<'a> = Call<'a, &'a CallHost<&'a Line>, { crate::MAX_ATTEMPTS }>;

static OWN: CallOptions<'_> = CallOptions::new();

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

fn start(call: &mut OneCall<'_>, now: Instant) -> Start {
    let Action::Start(start) = call.poll(now) else { panic!("nothing starts at {now:?}") };
    start
}

fn ratio(max_backup_ratio: f64) -> LimitOptions {
    LimitOptions {
        ratio: Some(RatioOptions { max_backup_ratio: Ratio::new(max_backup_ratio).unwrap(), ..RatioOptions::DEFAULT }),
        ..LimitOptions::NONE
    }
}

#[test]
fn l2_a_call_in_flight_keeps_its_options_and_a_new_one_has_the_new_ones() {
    let mut setup = Setup::new();
    setup.options.backup = BackupDelay::after(ms(10));
    setup.attempt_timeout = Timeout::after(ms(100));
    let fleet = Line::fleet(3, setup);
    let before = held(&fleet);
    let mut old = Call::new(&before, &OWN, at(0)).unwrap();
    start(&mut old, at(0));

    let options = fleet.settings.options().with_timeout(Duration::from_millis(50));
    let new_ones = ReplaceableOptions {
        channel: ChannelOptions {
            backup: BackupDelay::OFF,
            max_retry: 0,
            idempotency: Idempotency::NotIdempotent,
            ..options.channel
        },
        attempt_timeout: Timeout::after(ms(20)),
        ..options
    };
    assert_eq!(fleet.replace(at(5), |_| new_ones.clone()), Ok(new_ones.clone()));
    assert_eq!(fleet.settings.options(), new_ones);

    let after = held(&fleet);
    let mut new = Call::new(&after, &OWN, at(5)).unwrap();
    start(&mut new, at(5));
    assert_eq!([before.attempt_timeout(), after.attempt_timeout()], [100, 20].map(|it| Timeout::after(ms(it))));
    assert_eq!((old.deadline(), new.deadline()), (at(500), at(55)));
    assert_eq!((old.idempotent(), new.idempotent()), (true, false));

    let backup = start(&mut old, at(10));
    assert!(matches!(new.poll(at(54)), Action::Wait { until } if until == Some(at(55))), "no backup");
    // With the old options a failed attempt is retried. With the new options the call ends at its deadline.
    old.handle(at(54), Input::finished(backup.attempt, Verdict::Retry));
    start(&mut old, at(54));
    assert!(matches!(old.poll(at(55)), Action::Wait { .. }));
    assert!(matches!(new.poll(at(55)), Action::Abandon { .. }));
    assert_eq!((old.report().end(), new.report().end()), (None, Some(End::Deadline)));
    assert_eq!(new.report().not_hedged(), Some(NotHedged::Disabled));
}

#[test]
fn b1_a_ratios_delay_is_one_of_the_options_that_a_call_holds() {
    let fleet = Line::fleet(3, Setup::new());
    let before = held(&fleet);
    let mut old = Call::new(&before, &OWN, at(0)).unwrap();
    let limit = RatioOptions { backup: Some(ms(7)), ..RatioOptions::DEFAULT };
    fleet
        .replace(at(0), |old| ReplaceableOptions { limits: LimitOptions { ratio: Some(limit), ..old.limits }, ..old })
        .unwrap();
    let after = held(&fleet);
    let mut new = Call::new(&after, &OWN, at(0)).unwrap();
    start(&mut old, at(0));
    start(&mut new, at(0));
    assert!(matches!(old.poll(at(7)), Action::Wait { until } if until == Some(at(500))));
    start(&mut new, at(7));
}

#[test]
fn b3_a_lower_ratio_holds_at_once_and_a_higher_one_allows_more_at_once() {
    let fleet = Line::fleet(2, Setup { limits: ratio(0.1), ..Setup::new() });
    (0..1_000).for_each(|call| fleet.judged(at(call), Verdict::Accept));
    let first = fleet.granted(at(1_000));
    assert!((95..=110).contains(&first), "a tenth, and the burst: {first}");
    let denied = fleet.settings.denied(Extra::Backup, Denial::Ratio);
    let to = |max| fleet.replace(at(1_000), |old| ReplaceableOptions { limits: ratio(max), ..old }).unwrap();

    to(0.05);
    assert_eq!(fleet.granted(at(1_000)), 0, "1000 calls earn 50, and there is no fresh burst");
    assert_eq!(fleet.settings.denied(Extra::Backup, Denial::Ratio), denied + 1, "refusals are counted on");
    (1_000..2_000).for_each(|call| fleet.judged(at(call), Verdict::Accept));
    let second = fleet.granted(at(2_000));
    assert!(first + second <= 100 + 10, "5 % of 2000 calls, and the burst: {first} and {second}");
    to(0.2);
    let third = fleet.granted(at(2_000));
    assert!((380..=410).contains(&(first + second + third)), "a fifth: {first}, {second} and {third}");
    assert_eq!(fleet.settings.latencies(at(2_000)).count(), 2_000);
}

#[test]
fn b5_options_that_leave_the_limits_as_they_are_leave_what_is_saved_up() {
    let fleet = Line::fleet(2, Setup { limits: ratio(0.1), ..Setup::new() });
    assert_eq!(fleet.granted(at(0)), 10);
    for round in 0..5 {
        fleet.replace(at(round), |old| old.with_timeout(Duration::from_millis(100 + round))).unwrap();
        assert_eq!(fleet.granted(at(round)), 0);
    }
    // A call in flight uses the limits in force now, not the limits of the options that it holds.
    let held = fleet.settings.hold();
    fleet.replace(at(5), |old| ReplaceableOptions { limits: LimitOptions::NONE, ..old }).unwrap();
    assert_eq!(fleet.granted(at(5)), 1_000);
    assert_eq!(fleet.settings.inherited(&held).timeout, Timeout::after(ms(104)));
}

/// Returns a circuit breaker that isolates a server for `isolation_ms` after `failures` failures in a row.
fn breaker(failures: u32, isolation_ms: u64) -> Option<BreakerOptions> {
    let times = SpanRange::new(ms(isolation_ms), ms(isolation_ms)).unwrap();
    let isolation = IsolationOptions { times, probes: Bounded::of::<1>() };
    let failures = Bounded::new(failures).unwrap();
    Some(BreakerOptions::ConsecutiveFailures(FailureOptions { failures, isolation }))
}

#[test]
fn h2_an_isolated_server_stays_isolated_under_other_options_until_its_time_is_over() {
    let mut setup = Setup { breaker: breaker(1, 10_000), ..Setup::new() };
    setup.options.max_retry = 0;
    let fleet = Line::fleet(4, setup);
    fleet.judged(at(1_000), Verdict::Retry);
    let isolated: Vec<_> = (0..4).filter(|key| fleet.isolated_until(*key, at(1_000)).is_some()).collect();
    let [key] = isolated[..] else { panic!("{isolated:?}") };
    let until = fleet.isolated_until(key, at(1_000));

    let set = |now, breaker| fleet.replace(now, |old| ReplaceableOptions { breaker, ..old }).unwrap();
    set(at(2_000), breaker(3, 50));
    assert_eq!(fleet.isolated_until(key, at(2_000)), until);
    assert_eq!((fleet.usable_at(at(10_900)).len(), fleet.usable_at(at(11_100)).len()), (3, 4));
    // The new options are in force: two failures of a server do not isolate it now.
    (0..3 + 2).for_each(|_| fleet.judged(at(3_000), Verdict::Retry));
    assert_eq!(fleet.usable_at(at(3_000)).len(), 3);

    set(at(4_000), None);
    assert_eq!(fleet.usable_at(at(4_000)).len(), 4, "switched off");
    (0..40).for_each(|_| fleet.judged(at(4_000), Verdict::Retry));
    assert_eq!(fleet.usable_at(at(4_000)).len(), 4);
    set(at(5_000), breaker(1, 10_000));
    assert_eq!(fleet.usable_at(at(5_000)).len(), 4, "switched on");
    fleet.judged(at(5_000), Verdict::Retry);
    fleet.judged(at(5_000), Verdict::Retry);
    assert_eq!(fleet.usable_at(at(5_000)).len(), 2);

    let isolation_limit = IsolationLimit { selectable_percent: Bounded::of::<75>() };
    fleet.replace(at(5_001), |old| ReplaceableOptions { isolation_limit, ..old }).unwrap();
    assert_eq!(fleet.usable_at(at(5_001)).len(), 3, "one of four may be isolated");
}

#[test]
fn h1_a_broken_server_stays_broken_and_a_list_keeps_the_health_of_the_replacement() {
    let fleet = Line::fleet(3, Setup::new());
    let snapshot = fleet.servers.load();
    let node = snapshot.list().named(&1).unwrap();
    fleet.servers.set_broken(node, true, at(1)).tell(&fleet.servers, node);
    fleet.replace(at(2), |old| ReplaceableOptions { breaker: breaker(1, 10_000), ..old }).unwrap();
    assert_eq!(fleet.usable_at(at(2)), [0, 2]);
    let stay = |old: &crate::Snapshot<_, _>| Some(old.list().nodes().iter().cloned().map(ListEntry::Stays).collect());
    fleet.servers.change(|key, out| write!(out, "{key}"), at(3), stay).unwrap();
    assert_eq!(fleet.usable_at(at(3)), [0, 2]);
    (0..3).for_each(|_| fleet.judged(at(3), Verdict::Retry));
    assert_eq!(fleet.usable_at(at(3)).len(), 1, "the breaker isolates");
    assert_eq!(fleet.servers.load().list().nodes().iter().map(|node| node.in_flight()).sum::<u32>(), 0);
}

#[test]
fn a_wrong_option_changes_nothing() {
    let fleet = Line::fleet(2, Setup { breaker: breaker(1, 10_000), ..Setup::new() });
    fleet.replace(at(0), |old| old.with_backup(Duration::from_millis(3))).unwrap();
    let there = fleet.settings.options();
    let of = |change: fn(&mut ReplaceableOptions)| {
        let refused = fleet.replace(at(1), |mut options| {
            // This option is valid, but it is refused together with the invalid one.
            options = options.with_timeout(Duration::from_secs(9));
            change(&mut options);
            options
        });
        assert_eq!(fleet.settings.options(), there);
        assert_eq!(held(&fleet).attempt_timeout(), Timeout::NEVER);
        refused.unwrap_err().to_string()
    };
    for (change, text) in [
        ((|it| it.channel.timeout = Timeout::after(Span::ZERO)) as fn(&mut ReplaceableOptions), "timeout"),
        (|it| it.channel.max_retry = 8, "max_retry 8"),
        (|it| it.channel.max_backups = 5, "max_backups 5"),
        (|it| it.attempt_timeout = Timeout::after(Span::ZERO), "attempt_timeout"),
    ] {
        let error = of(change);
        assert!(error.starts_with(text), "{error} instead of {text}");
    }
    fleet.judged(at(2), Verdict::Retry);
    assert_eq!(fleet.usable_at(at(2)).len(), 1, "the breaker is the old one");
}

#[test]
fn options_that_are_replaced_while_threads_call_are_never_torn_and_leave_no_memory() {
    const TIMES: u64 = 10_000;
    /// Returns options that all contain the same number. So the test would notice a mixture of two versions.
    fn numbered(number: u64, old: &ReplaceableOptions) -> ReplaceableOptions {
        let small = u8::try_from(number % 8).unwrap();
        let limit = RatioOptions { backup: Some(ms(number)), ..RatioOptions::DEFAULT };
        let limits = LimitOptions {
            ratio: Some(RatioOptions { burst: Bounded::new(small.into()).unwrap(), ..limit }),
            ..LimitOptions::SAFE
        };
        ReplaceableOptions {
            channel: ChannelOptions { timeout: Timeout::after(ms(number)), max_retry: small, ..old.channel.clone() },
            attempt_timeout: Timeout::after(ms(number)),
            limits,
            breaker: breaker(u32::from(small) + 1, 10 + number),
            ..old.clone()
        }
    }
    let fleet = Line::fleet(3, Setup::new());
    fleet.replace(at(0), |old| numbered(1, &old)).unwrap();
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut versions = Vec::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let host = held(&fleet);
                    let mut call = Call::new(&host, &OWN, at(0)).unwrap();
                    let first = start(&mut call, at(0));
                    let timeout = host.attempt_timeout().limit().unwrap();
                    assert_eq!(host.options().timeout, Timeout::after(timeout));
                    assert_eq!(u128::from(host.options().max_retry), timeout.as_millis() % 8);
                    assert_eq!(call.deadline(), at(0) + timeout);
                    assert_eq!(host.backup_delay(at(0)), BackupDelay::after(timeout));
                    let _ = host.may_retry(at(0));
                    call.handle(at(0), Input::finished(first.attempt, Verdict::Accept));
                    calls.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
            });
        }
        for number in 2..TIMES {
            fleet.replace(at(number), |old| numbered(number, &old)).unwrap();
            versions.push(fleet.settings.hold().weak().unwrap());
        }
        done.store(true, Ordering::Relaxed);
    });
    let alive = versions.iter().filter(|version| version.strong_count() > 0).count();
    assert_eq!(alive, 1, "of {} versions only the one in force is left", versions.len());
    assert!(calls.load(Ordering::Relaxed) > 100);
    assert_eq!(fleet.servers.load().list().nodes().iter().map(|node| node.in_flight()).sum::<u32>(), 0);
}
