//! What a table cannot show of selective channels: several calls, changes of the list, cancels, and settings.

use std::future::Future as _;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hedge_compose::hedge_core::bounded::Bounded;
use hedge_compose::hedge_core::health::{BreakerOptions, FailureOptions};
use hedge_compose::hedge_core::limit::LimitOptions;
use hedge_compose::hedge_core::outcome::{Code, End, ErrorKind, Judgement, Verdict};
use hedge_compose::hedge_core::policy::CallKind;
use hedge_compose::hedge_core::time::Timeout;
use hedge_compose::hedge_fleet::{BodyMode, CallOptions, CallTree, Caller, CancelToken, Inspect as _, Outcome, SubEnd};
use hedge_compose::{BuildError, Selective, SelectiveBuilder};

use crate::tree::in_order;
use crate::world::{Answer, Clock, Leaf, Said, Wrong};

fn two(clock: &Clock, a: &[(Answer, u64)], b: &[(Answer, u64)]) -> (SelectiveBuilder<Leaf, Clock>, Leaf, Leaf) {
    let (a, b) = (Leaf::new(clock, "a", a), Leaf::new(clock, "b", b));
    let builder = Selective::builder(clock.clone()).seed(in_order(2)).channel("a", a.clone()).channel("b", b.clone());
    (builder, a, b)
}

/// Makes a call, and returns the name of the sub-channel that has replied, or the kind of the error.
fn call(clock: &Clock, selective: &Selective<Leaf, Clock>) -> String {
    let result = clock.run(selective.call_with(&String::new(), &CallOptions::new()));
    result.map_or_else(|error| error.kind().into(), |reply| reply.channel().unwrap().to_string())
}

#[test]
fn x1_a_sub_channel_without_servers_is_down_and_is_asked_every_second() {
    let clock = Clock::default();
    let (builder, a, _) = two(&clock, &[(Answer::Down, 0), (Answer::Ok, 0)], &[(Answer::Ok, 0)]);
    let selective = builder.build().unwrap();
    a.set_usable(false);
    let asked = || a.0.asked.load(Ordering::SeqCst);
    assert_eq!(call(&clock, &selective), "b");
    assert!(!selective.usable("a") && selective.usable("b"));
    for at in [1, 100, 500, 999] {
        clock.set(at);
        assert_eq!((call(&clock, &selective).as_str(), asked()), ("b", 1), "only when its call failed, at {at}");
    }
    for (at, times) in [(1_000, 2), (1_500, 2), (1_999, 2), (2_000, 3), (2_700, 3)] {
        clock.set(at);
        assert_eq!((call(&clock, &selective).as_str(), asked()), ("b", times), "at {at}");
    }
    a.set_usable(true);
    clock.set(2_999);
    assert_eq!(call(&clock, &selective), "b", "it is not asked before its second is over");
    clock.set(3_000);
    let used = [call(&clock, &selective), call(&clock, &selective)];
    assert!(used.contains(&"a".into()) && used.contains(&"b".into()), "{used:?}");
    assert_eq!((asked(), selective.usable("a")), (4, true));
    clock.set(9_000);
    call(&clock, &selective);
    assert_eq!(asked(), 4, "nothing is asked while nothing is down");
}

#[test]
fn x1_s9_only_the_channels_of_the_subset_count_as_usable() {
    let clock = Clock::default();
    let leaves: Vec<Leaf> = (0..6).map(|number| Leaf::new(&clock, &number.to_string(), &[(Answer::Ok, 0)])).collect();
    let builder = Selective::builder(clock.clone()).seed(1).load_balancer("subset:size=1 id=1 of=rr");
    let add = |builder: SelectiveBuilder<Leaf, Clock>, (number, leaf): (usize, &Leaf)| {
        builder.channel(number.to_string(), leaf.clone())
    };
    let selective = leaves.iter().enumerate().fold(builder, add).build().unwrap();
    // One sub-channel is used, and one more while that one is down.
    for down in 0..2 {
        assert!(selective.has_usable_server(), "{down} are down");
        let used = call(&clock, &selective).parse::<usize>().unwrap();
        leaves[used].set_usable(false);
        leaves[used].answers(&[(Answer::Down, 0)]);
        clock.set(10 * (down + 1));
        call(&clock, &selective);
        clock.set(10 * (down + 1) + 5);
    }
    assert!(!selective.has_usable_server(), "the client does not use the other four");
}

#[test]
fn x1_if_all_are_down_one_call_in_a_tenth_of_a_second_tries_h5() {
    let clock = Clock::default();
    let (builder, a, b) = two(&clock, &[(Answer::Down, 0)], &[(Answer::Down, 0)]);
    let selective = builder.build().unwrap();
    for leaf in [&a, &b] {
        leaf.set_usable(false);
    }
    let starts = || a.starts().len() + b.starts().len();
    assert_eq!((call(&clock, &selective).as_str(), starts()), ("failed", 2));
    assert_eq!((call(&clock, &selective).as_str(), starts()), ("all_down", 2));
    assert!(!selective.has_usable_server());
    clock.set(200);
    assert_eq!((call(&clock, &selective).as_str(), starts()), ("failed", 3));
    assert_eq!((call(&clock, &selective).as_str(), starts()), ("all_down", 3));
    for leaf in [&a, &b] {
        leaf.answers(&[(Answer::Ok, 0)]);
        leaf.set_usable(true);
    }
    clock.set(400);
    assert_eq!(call(&clock, &selective).len(), 1, "the call that is let through brings its sub-channel back");
    call(&clock, &selective);
    assert!(selective.usable("a") && selective.usable("b"), "and the others are asked at once");
    assert!(selective.has_usable_server());
}

#[test]
fn x1_all_down_is_known_as_such_by_the_level_above() {
    let clock = Clock::default();
    let (builder, a, b) = two(&clock, &[(Answer::Down, 0)], &[(Answer::Down, 0)]);
    let selective = builder.max_retry(1).build().unwrap();
    let run = || clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap_err();
    let error = run();
    assert!(error.all_down() && error.never_left() && error.verdict() == Verdict::Retry);
    assert!(run().all_down());
    // One sub-channel that the call could not try may have servers.
    selective.insert("c", Leaf::new(&clock, "c", &[(Answer::Fail, 0)])).unwrap();
    let error = run();
    assert!(!error.all_down() && !error.never_left());
    drop((a, b));
}

#[test]
fn x1_channels_come_and_go_while_calls_run_l20() {
    let clock = Clock::default();
    let (builder, a, b) = two(&clock, &[(Answer::Ok, 50)], &[(Answer::Ok, 5)]);
    let selective = builder.build().unwrap();
    let changed = selective.clone();
    let new = Leaf::new(&clock, "c", &[(Answer::Ok, 1)]);
    let added = new.clone();
    clock.at(10, move || {
        assert_eq!(changed.in_flight("a"), 1);
        assert!(changed.remove("a") && !changed.remove("a"));
        changed.insert("c", added).unwrap();
    });
    assert_eq!(call(&clock, &selective), "a", "the call at a sub-channel that was removed goes on");
    assert_eq!(a.0.in_flight.load(Ordering::SeqCst), 0);
    let names: Vec<_> = selective.names().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["b", "c"]);
    for _ in 0..4 {
        call(&clock, &selective);
    }
    assert_eq!((a.starts().len(), b.starts().len(), new.starts().len()), (1, 2, 2));
    assert_eq!(selective.names().iter().map(|name| selective.in_flight(name)).sum::<u32>(), 0);
    // A sub-channel of the same name replaces the old one.
    selective.insert("b", new.clone()).unwrap();
    assert_eq!((selective.names().len(), selective.get("b").unwrap().0.name.as_str()), (2, "c"));
    assert!(selective.get("a").is_none());
}

#[test]
fn x1_a_sub_channel_that_is_removed_while_a_backup_waits_gets_none() {
    let clock = Clock::default();
    let (builder, a, b) = two(&clock, &[(Answer::Ok, 50)], &[(Answer::Ok, 5)]);
    let selective = builder.backup(Duration::from_millis(10)).build().unwrap();
    let changed = selective.clone();
    clock.at(5, move || assert!(changed.remove("b")));
    assert_eq!((call(&clock, &selective).as_str(), clock.millis()), ("a", 50));
    assert_eq!((a.starts().len(), b.starts().len()), (1, 0));
}

#[test]
fn x1_a_cancel_reaches_the_sub_calls_l12() {
    let clock = Clock::default();
    let (builder, a, b) = two(&clock, &[(Answer::Never, 0)], &[(Answer::Never, 0)]);
    let selective = builder.backup(Duration::from_millis(10)).build().unwrap();
    let token = CancelToken::new();
    let options = CallOptions { cancel: Some(token.clone()), ..CallOptions::new() };
    clock.at(30, move || token.cancel());
    let error = clock.run(selective.call_with(&String::new(), &options)).unwrap_err();
    assert_eq!((error.end(), clock.millis()), (Some(End::Cancelled), 30));
    assert_eq!((a.dropped(), b.dropped(), clock.sleeps()), (1, 1, 0));
    assert_eq!(error.to_string(), "cancelled after 30 ms: attempt 1 at b had not answered");
    assert_eq!(error.verdict(), Verdict::Fatal);
    let error = clock.run(selective.call_with(&String::new(), &options)).unwrap_err();
    assert_eq!((error.kind(), a.starts().len()), ("cancelled", 1), "a token stays cancelled, so nothing starts");
}

#[test]
fn x1_a_dropped_call_cancels_its_sub_calls_and_counts_nothing_more() {
    let clock = Clock::default();
    let (builder, a, b) = two(&clock, &[(Answer::Never, 0)], &[(Answer::Never, 0)]);
    let selective = builder.backup(Duration::from_millis(10)).build().unwrap();
    let request = String::new();
    let options = CallOptions::new();
    let dropped = clock.run_until(20, selective.call_with(&request, &options));
    assert!(dropped.is_none());
    assert_eq!((a.dropped(), b.dropped(), clock.sleeps()), (1, 1, 0));
    assert_eq!((selective.in_flight("a"), selective.in_flight("b")), (0, 0));
    assert_eq!((selective.counters().cancelled, selective.counters().calls()), (1, 1));
    drop(selective.call_with(&request, &options));
    assert_eq!(selective.counters().calls(), 1, "a call that was never polled is no call");
}

#[test]
fn x1_a_sub_call_is_told_the_time_that_remains_l2() {
    let clock = Clock::default();
    let (builder, a, b) = two(&clock, &[(Answer::Never, 0)], &[(Answer::Fail, 5), (Answer::Ok, 1)]);
    let third = Leaf::new(&clock, "c", &[(Answer::Ok, 1)]);
    let builder = builder.seed(in_order(3)).channel("c", third.clone());
    let selective = builder.backup(Duration::from_millis(10)).timeout(Duration::from_millis(100)).build().unwrap();
    clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap();
    let timeouts: Vec<_> =
        [&a, &b, &third].iter().flat_map(|leaf| leaf.0.timeouts.lock().unwrap().clone()).flatten().collect();
    let mut sorted = timeouts.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [85, 90, 100], "a backup after 10 ms, and a retry of it after 15 ms");
    let forever = CallOptions { timeout: Some(Timeout::NEVER), max_retry: Some(0), ..CallOptions::new() };
    a.answers(&[(Answer::Ok, 1)]);
    b.answers(&[(Answer::Ok, 1)]);
    clock.run(selective.call_with(&String::new(), &forever)).unwrap();
    let last =
        [&a, &b, &third].iter().filter_map(|leaf| leaf.0.timeouts.lock().unwrap().last().copied()).collect::<Vec<_>>();
    assert!(last.contains(&None), "without a deadline above, a sub-call has none: {last:?}");
}

#[test]
fn x1_what_concerns_a_request_is_passed_on_and_what_concerns_the_call_is_not() {
    use std::sync::{Arc, Mutex};
    #[derive(Clone)]
    struct Sees(Arc<Mutex<Option<CallOptions>>>, Leaf);
    impl Caller<String> for Sees {
        type Reply = Said;
        type Error = Wrong;

        async fn call_with(&self, request: &String, options: &CallOptions) -> Result<Said, Wrong> {
            *self.0.lock().unwrap() = Some(options.clone());
            self.1.call_with(request, options).await
        }
    }
    let clock = Clock::default();
    let sees = Sees(Arc::default(), Leaf::new(&clock, "a", &[(Answer::Ok, 0)]));
    let selective = Selective::builder(clock.clone()).channel("a", sees.clone()).build().unwrap();
    let connect_timeout = Some(Timeout::after(Duration::from_millis(7)));
    let options = CallOptions {
        connect_timeout,
        request_code: Some(9),
        kind: CallKind::OneWay,
        max_retry: Some(2),
        cancel: Some(CancelToken::new()),
        ..CallOptions::new().with_backup(Duration::from_millis(1))
    };
    clock.run(selective.call_with(&String::new(), &options)).unwrap();
    let passed = sees.0.lock().unwrap().clone().unwrap();
    assert_eq!(
        (passed.connect_timeout, passed.request_code, passed.kind),
        (connect_timeout, Some(9), CallKind::OneWay)
    );
    assert!(passed.max_retry.is_none() && passed.backup.is_none() && passed.cancel.is_none());
}

#[test]
fn x1_the_limits_of_a_level_bound_its_backups() {
    let clock = Clock::default();
    let (builder, a, b) = two(&clock, &[(Answer::Ok, 20)], &[(Answer::Ok, 20)]);
    // A backup without a limit of its own gets 10 % and a burst.
    let selective = builder.backup(Duration::from_millis(10)).build().unwrap();
    for _ in 0..400 {
        call(&clock, &selective);
    }
    let counters = selective.counters();
    assert_eq!((counters.calls(), counters.first_attempts), (400, 400));
    assert!((20..=60).contains(&counters.backups), "{} backups", counters.backups);
    let denied = hedge_compose::hedge_core::outcome::Denial::Ratio;
    assert!(selective.denied(hedge_compose::hedge_core::outcome::Extra::Backup, denied) > 300);
    assert_eq!(a.starts().len() + b.starts().len(), 400 + usize::try_from(counters.backups).unwrap());
}

#[test]
fn x1_a_breaker_isolates_a_sub_channel_that_fails() {
    let clock = Clock::default();
    let (builder, a, b) = two(&clock, &[(Answer::Fail, 0)], &[(Answer::Ok, 0)]);
    let failures = FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT };
    let selective = builder.circuit_breaker(BreakerOptions::ConsecutiveFailures(failures)).build().unwrap();
    for _ in 0..10 {
        assert_eq!(call(&clock, &selective), "b");
    }
    assert_eq!((a.starts().len(), b.starts().len()), (1, 10));
    assert!(selective.inspect().to_string().contains("isolated"), "{}", selective.inspect());
}

#[test]
fn x1_a_fatal_result_says_nothing_about_the_sub_channel() {
    let clock = Clock::default();
    let (builder, a, _) = two(&clock, &[(Answer::Fatal, 0)], &[(Answer::Fatal, 0)]);
    let failures = FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT };
    let selective = builder.circuit_breaker(BreakerOptions::ConsecutiveFailures(failures)).build().unwrap();
    for _ in 0..4 {
        assert_eq!(call(&clock, &selective), "fatal");
    }
    assert!(selective.usable("a") && selective.usable("b") && a.starts().len() == 2);
}

#[test]
fn x1_a_cap_keeps_a_full_sub_channel_free_l22() {
    let clock = Clock::default();
    let (builder, a, b) = two(&clock, &[(Answer::Ok, 50)], &[(Answer::Ok, 50)]);
    let selective = builder.max_in_flight_per_server(1).build().unwrap();
    let (request, options) = (String::new(), CallOptions::new());
    let mut calls: Vec<_> = (0..3).map(|_| Box::pin(selective.call_with(&request, &options))).collect();
    let mut cx = Context::from_waker(Waker::noop());
    let ends: Vec<_> = calls.iter_mut().map(|call| call.as_mut().poll(&mut cx)).collect();
    assert!(ends[0].is_pending() && ends[1].is_pending());
    let Poll::Ready(Err(error)) = &ends[2] else { panic!("both are full") };
    assert_eq!((error.kind(), error.all_down(), error.never_left()), ("all_full", false, true));
    assert_eq!((a.starts().len(), b.starts().len()), (1, 1));
    drop(calls);
    assert_eq!((selective.in_flight("a"), selective.in_flight("b")), (0, 0));
}

#[test]
fn x1_a_policy_of_the_program_may_refuse_a_reply_r2() {
    let clock = Clock::default();
    let (builder, ..) = two(&clock, &[(Answer::Ok, 2)], &[(Answer::Ok, 3)]);
    let policy = |result: Result<&Said, &Wrong>| match result {
        Ok(said) if said.text == "a" => Judgement::new(Verdict::Retry, Code(403)),
        Ok(_) => Verdict::Accept.into(),
        Err(error) => Judgement::new(error.verdict(), Code(1)),
    };
    let selective = builder.retry_policy(policy).build().unwrap();
    let reply = clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap();
    assert_eq!(reply.text, "b");
    let subs = reply.sub_calls();
    assert!(subs.iter().all(|sub| matches!(sub.end, SubEnd::Ended(_))), "the reply that was refused has a report too");
    let only = Selective::builder(clock.clone()).retry_policy(policy);
    let only = only.channel("a", Leaf::new(&clock, "a", &[(Answer::Ok, 1)])).build().unwrap();
    let error = clock
        .run(only.call_with(&String::new(), &CallOptions { max_retry: Some(0), ..CallOptions::new() }))
        .unwrap_err();
    assert!(matches!(error.last(), Some(Ok(said)) if said.text == "a"));
    assert!(!error.never_left());
}

#[test]
fn x1_an_error_is_told_only_of_the_sub_call_that_it_is_of_l21() {
    let clock = Clock::default();
    let (builder, ..) = two(&clock, &[(Answer::Fail, 1)], &[(Answer::Never, 0)]);
    let selective = builder.attempt_timeout(Duration::from_millis(10)).max_retry(1).build().unwrap();
    let error = clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap_err();
    assert_eq!(error.to_string(), "failed after 11 ms: attempt 1 at b: attempt timeout");
    assert!(matches!(error.last(), Some(Err(wrong)) if wrong.kind == "fail"), "the last one that has an error");
    let tree = error.tree().to_string();
    assert_eq!(tree.lines().last(), Some("  1 b: cancelled at its attempt timeout"), "{tree}");
    // The other way round, the error is that of the decisive sub-call.
    let (builder, ..) = two(&clock, &[(Answer::Never, 0)], &[(Answer::Fail, 1)]);
    let selective = builder.attempt_timeout(Duration::from_millis(10)).max_retry(1).build().unwrap();
    let error = clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap_err();
    assert_eq!(error.to_string(), "failed after 11 ms: attempt 1 at b: fail");
}

#[test]
fn x1_the_policy_says_whether_a_request_never_left_and_the_code_does_not_t4() {
    let clock = Clock::default();
    let never_left = |judgement: Judgement| {
        let (builder, ..) = two(&clock, &[(Answer::Fail, 1)], &[(Answer::Fail, 1)]);
        let selective = builder.retry_policy(move |_: Result<&Said, &Wrong>| judgement).build().unwrap();
        clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap_err().trace().never_left()
    };
    assert!(never_left(Judgement::new(Verdict::Retry, Code(4_000)).never_left()));
    assert!(!never_left(Judgement::new(Verdict::Retry, ErrorKind::Refused.into())));
}

#[test]
fn x1_a_call_that_sets_what_cannot_be_done_starts_nothing() {
    let clock = Clock::default();
    let (builder, a, b) = two(&clock, &[(Answer::Ok, 0)], &[(Answer::Ok, 0)]);
    let selective = builder.build().unwrap();
    let options = CallOptions { max_retry: Some(8), ..CallOptions::new() };
    let error = clock.run(selective.call_with(&String::new(), &options)).unwrap_err();
    assert!(error.config().is_some() && error.end().is_none() && error.never_left());
    assert!(error.to_string().starts_with("options of the call: "), "{error}");
    assert_eq!(a.starts().len() + b.starts().len(), 0);
}

#[test]
fn x1_settings_that_cannot_be_used_are_named() {
    let clock = Clock::default();
    let (builder, ..) = two(&clock, &[(Answer::Ok, 0)], &[(Answer::Ok, 0)]);
    let error = builder.channel("a", Leaf::new(&clock, "a", &[(Answer::Ok, 0)])).build().unwrap_err();
    assert!(matches!(&error, BuildError::SameName(name) if &**name == "a"));
    assert_eq!(error.to_string(), "two sub-channels are named \"a\"; give each its own name");
    let (builder, ..) = two(&clock, &[(Answer::Ok, 0)], &[(Answer::Ok, 0)]);
    let error = builder.load_balancer("best").build().unwrap_err();
    assert!(error.to_string().starts_with("load balancer \"best\": "), "{error}");
    let (builder, ..) = two(&clock, &[(Answer::Ok, 0)], &[(Answer::Ok, 0)]);
    assert!(matches!(builder.timeout(Duration::ZERO).build(), Err(BuildError::Options(_))));
    let (builder, ..) = two(&clock, &[(Answer::Ok, 0)], &[(Answer::Ok, 0)]);
    assert!(!builder.max_retry(0).backup(Duration::from_millis(1)).warnings().is_empty());
}

#[test]
fn x1_a_weight_decides_how_many_calls_a_sub_channel_gets() {
    let clock = Clock::default();
    let leaves: Vec<_> = ["a", "b"].iter().map(|name| Leaf::new(&clock, name, &[(Answer::Ok, 0)])).collect();
    let selective = Selective::builder(clock.clone()).load_balancer("wrr").build().unwrap();
    for (leaf, weight) in leaves.iter().zip([3, 1]) {
        selective.insert_weighted(leaf.0.name.as_str(), leaf.clone(), weight.try_into().unwrap()).unwrap();
    }
    for _ in 0..40 {
        call(&clock, &selective);
    }
    assert_eq!((leaves[0].starts().len(), leaves[1].starts().len()), (30, 10));
    assert!(selective.set_usable("a", false) && !selective.set_usable("z", false));
    assert_eq!(call(&clock, &selective), "b");
}

#[test]
fn x4_the_report_of_a_call_is_a_tree() {
    let clock = Clock::default();
    let (inner, ..) = two(&clock, &[(Answer::Fail, 2)], &[(Answer::Fail, 3)]);
    let inner = inner.max_retry(1).build().unwrap();
    let (other, ..) = two(&clock, &[(Answer::Never, 0)], &[(Answer::Ok, 4)]);
    let other = other.backup(Duration::from_millis(10)).limits(LimitOptions::NONE).build().unwrap();
    let selective = Selective::builder(clock.clone()).seed(in_order(2)).channel("eu", inner).channel("us", other);
    let selective = selective.build().unwrap();
    let reply = clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap();
    let tree: CallTree = reply.tree();
    assert_eq!((reply.channel().map(AsRef::as_ref), tree.depth()), (Some("us"), 3));
    let lines: Vec<_> = tree.to_string().lines().map(ToOwned::to_owned).collect();
    assert!(lines[0].starts_with("accepted after 19 ms by attempt 1 (retry, "), "{tree}");
    assert!(lines[0].ends_with("0.0 is eu, 1.0 is us"), "{tree}");
    assert!(lines[1].starts_with("  0 eu: failed after 5 ms at attempt 1 (retry, "), "{tree}");
    assert!(lines[2].starts_with("    0 a: not ended; no attempt"), "{tree}");
    assert!(lines[4].starts_with("  1 us: accepted after 14 ms by attempt 1 (backup, "), "{tree}");
    assert!(lines[5].starts_with("    0 a: cancelled"), "{tree}");
    assert_eq!(lines.len(), 7);
}

#[test]
fn x1_a_reply_that_streams_keeps_its_sub_channel_busy_t2() {
    let clock = Clock::default();
    let (builder, ..) = two(&clock, &[(Answer::Ok, 1)], &[(Answer::Ok, 1)]);
    let selective = builder.build().unwrap();
    let options = CallOptions { body: BodyMode::Streaming, ..CallOptions::new() };
    let reply = clock.run(selective.call_with(&String::new(), &options)).unwrap();
    let name = reply.channel().unwrap().to_string();
    assert!(reply.is_streaming() && selective.in_flight(&name) == 1);
    drop(reply);
    assert_eq!(selective.in_flight(&name), 0);
    // A policy may accept an error, which has no body.
    let (builder, ..) = two(&clock, &[(Answer::Fail, 1)], &[(Answer::Fail, 1)]);
    let accepting = builder.retry_policy(|_: Result<&Said, &Wrong>| Verdict::Accept.into()).build().unwrap();
    let error = clock.run(accepting.call_with(&String::new(), &options)).unwrap_err();
    assert_eq!((error.end(), error.last().is_some()), (Some(End::Accepted), true));
    assert_eq!((accepting.in_flight("a"), accepting.in_flight("b")), (0, 0));
    let reply = clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap();
    assert!(!reply.is_streaming() && selective.in_flight(reply.channel().unwrap()) == 0);
}
