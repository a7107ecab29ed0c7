//! Which sub-channels count as down, and how they come back.

use std::sync::atomic::Ordering;

use hedge_compose::hedge_core::health::{BreakerOptions, FailureOptions};
use hedge_compose::hedge_core::{bounded::Bounded, outcome::End};
use hedge_compose::hedge_fleet::{CallOptions, Caller, Outcome as _};
use hedge_compose::{Parallel, Selective};

use crate::tree::in_order;
use crate::world::{Answer, Clock, Leaf, Said, Wrong};

/// Panics if it is asked while it has no usable server.
#[derive(Clone)]
struct Panics(Leaf);

impl Caller<String> for Panics {
    type Reply = Said;
    type Error = Wrong;

    async fn call_with(&self, request: &String, options: &CallOptions) -> Result<Said, Wrong> {
        self.0.call_with(request, options).await
    }

    fn has_usable_server(&self) -> bool {
        assert!(self.0.has_usable_server(), "the program's own code");
        true
    }
}

#[test]
fn x1_a_check_that_panics_has_failed_and_the_next_one_follows() {
    let clock = Clock::default();
    let leaf = Leaf::new(&clock, "a", &[(Answer::Down, 0), (Answer::Ok, 0)]);
    let selective = Selective::builder(clock.clone()).channel("a", Panics(leaf.clone())).build().unwrap();
    leaf.set_usable(false);
    let call = || clock.run(selective.call_with(&String::new(), &CallOptions::new())).is_ok();
    assert!(!call());
    assert_eq!(leaf.0.asked.load(Ordering::SeqCst), 1, "when its call failed");
    clock.set(1_000);
    // The check fails, but a call a tenth of a second may try a channel whose servers are all down (H5).
    call();
    assert_eq!(leaf.0.asked.load(Ordering::SeqCst), 2);
    leaf.set_usable(true);
    clock.set(2_000);
    assert!(call() && selective.usable("a"));
}

#[test]
fn x1_a_check_that_panics_does_not_hide_a_usable_sub_channel() {
    let clock = Clock::default();
    let leaf = |name: &str| Panics(Leaf::new(&clock, name, &[(Answer::Ok, 0)]));
    let (a, b) = (leaf("a"), leaf("b"));
    a.0.set_usable(false);
    let selective = Selective::builder(clock.clone()).channel("a", a.clone()).channel("b", b.clone()).build().unwrap();
    assert!(selective.has_usable_server());
    let parallel = Parallel::builder(clock.clone()).channel("a", a).channel("b", b.clone()).build().unwrap();
    assert!(Caller::<String>::has_usable_server(&parallel));
    b.0.set_usable(false);
    assert!(!selective.has_usable_server() && !Caller::<String>::has_usable_server(&parallel));
}

#[test]
fn x1_servers_that_a_call_names_take_no_sub_channel_down_s8() {
    let clock = Clock::default();
    let leaves: Vec<_> = ["a", "b"].iter().map(|name| Leaf::new(&clock, name, &[(Answer::Down, 0)])).collect();
    let failures = FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT };
    let mut builder = Selective::builder(clock.clone()).circuit_breaker(BreakerOptions::ConsecutiveFailures(failures));
    for leaf in &leaves {
        builder = builder.channel(leaf.0.name.as_str(), leaf.clone());
    }
    let selective = builder.build().unwrap();
    let named = CallOptions { servers: Some(Vec::new()), ..CallOptions::new() };
    let error = clock.run(selective.call_with(&String::new(), &named)).unwrap_err();
    assert_eq!((error.end(), error.all_down()), (Some(End::Failed), false));
    assert!(selective.usable("a") && selective.usable("b"), "neither down nor isolated");
    clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap_err();
    assert!(!selective.usable("a") && !selective.usable("b"));
}

#[test]
fn x1_a_sub_channel_is_down_if_it_says_so_after_a_failure() {
    let clock = Clock::default();
    // Whether it says that it is usable after it has failed in this way, and whether it is down then.
    for (answer, says_usable, is_down) in [
        (Answer::Refused, false, true),
        (Answer::Fail, false, true),
        (Answer::Refused, true, false),
        // No server could be used for this call, but the next one may find one: it may be let through (H3), it may send
        // other parts, or the first list may come (N5).
        (Answer::Down, true, false),
    ] {
        let (a, b) =
            (Leaf::new(&clock, "a", &[(answer, 0), (Answer::Ok, 0)]), Leaf::new(&clock, "b", &[(Answer::Ok, 0)]));
        a.set_usable(says_usable);
        let selective = Selective::builder(clock.clone()).seed(in_order(2)).channel("a", a).channel("b", b);
        let selective = selective.build().unwrap();
        let reply = clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap();
        assert_eq!(reply.text, "b");
        assert_eq!(!selective.usable("a"), is_down, "{answer:?} {says_usable}");
        assert!(selective.usable("b"));
    }
}

#[test]
fn x1_a_call_that_takes_the_last_sub_channel_down_says_so() {
    let clock = Clock::default();
    let leaf = Leaf::new(&clock, "a", &[(Answer::Refused, 0)]);
    let selective = Selective::builder(clock.clone()).channel("a", leaf.clone()).build().unwrap();
    let run = || clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap_err();
    assert!(!run().all_down(), "it says that it has a usable server");
    leaf.set_usable(false);
    let error = run();
    assert_eq!((error.end(), error.all_down(), error.never_left()), (Some(End::Failed), true, true));
    assert_eq!((run().end(), leaf.starts().len()), (Some(End::AllDown), 5));
}
