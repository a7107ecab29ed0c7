//! Faults on purpose around a whole sub-channel.

use std::time::Duration;

use hedge_compose::hedge_core::bounded::Ratio;
use hedge_compose::hedge_core::limit::LimitOptions;
use hedge_compose::hedge_core::outcome::Verdict;
use hedge_compose::hedge_core::policy::Idempotency;
use hedge_compose::hedge_core::time::Instant;
use hedge_compose::hedge_fleet::{CallOptions, Caller, Outcome, Report, Trace};
use hedge_compose::{FaultOptions, Faults, Selective};

use crate::tree::in_order;
use crate::world::{Answer, Clock, Leaf, Said, Wrong};

const ALL: Ratio = Ratio::of_percent::<100>();
const LATE: Duration = Duration::from_millis(30);

/// The error of a call that is aborted.
struct Aborted(Trace);

impl Outcome for Aborted {
    fn trace(&self) -> &Trace {
        &self.0
    }

    fn verdict(&self) -> Verdict {
        Verdict::Retry
    }

    fn never_left(&self) -> bool {
        false
    }

    fn all_down(&self) -> bool {
        false
    }
}

fn aborted() -> Result<Said, Wrong> {
    let outcome = Box::new(Aborted(Trace::nowhere(Report::new(Instant::ZERO))));
    Err(Wrong { kind: "aborted".into(), outcome })
}

type Faulty = Faults<Leaf, Clock, fn() -> Result<Said, Wrong>>;

fn faulty(clock: &Clock, leaf: &Leaf, options: FaultOptions) -> Faulty {
    Faults::of_calls(leaf.clone(), clock.clone(), options, aborted)
}

#[test]
fn x1_an_aborted_call_goes_to_another_sub_channel() {
    let clock = Clock::default();
    let [a, b] = ["a", "b"].map(|name| Leaf::new(&clock, name, &[(Answer::Ok, 5)]));
    let selective = Selective::builder(clock.clone()).seed(in_order(2));
    let selective = selective.channel("a", faulty(&clock, &a, FaultOptions::new(1).with_abort(ALL)));
    let selective = selective.channel("b", faulty(&clock, &b, FaultOptions::new(1))).build().unwrap();
    let reply = clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap();
    assert_eq!((reply.text.as_str(), clock.millis(), a.starts().len()), ("b", 5, 0), "nothing of it is sent");
}

#[test]
fn x1_a_delayed_call_has_a_backup_at_another_sub_channel() {
    let clock = Clock::default();
    let [a, b] = ["a", "b"].map(|name| Leaf::new(&clock, name, &[(Answer::Ok, 5)]));
    let selective = Selective::builder(clock.clone()).seed(in_order(2)).backup(Duration::from_millis(10));
    let selective = selective.channel("a", faulty(&clock, &a, FaultOptions::new(1).with_delay(ALL, LATE)));
    let selective = selective.channel("b", faulty(&clock, &b, FaultOptions::new(1))).build().unwrap();
    let reply = clock.run(selective.call_with(&String::new(), &CallOptions::new())).unwrap();
    assert_eq!((reply.text.as_str(), clock.millis(), clock.sleeps()), ("b", 15, 0));
    assert_eq!((a.starts().len(), b.starts()), (0, vec![10]));
}

#[test]
fn l2_a_delay_counts_against_the_timeout_of_the_call() {
    let clock = Clock::default();
    let leaf = Leaf::with(&clock, "a", &[(Answer::Ok, 1)], true);
    let faulty = faulty(&clock, &leaf, FaultOptions::new(1).with_delay(ALL, LATE));
    assert_eq!(faulty.idempotency(&String::new()), Idempotency::NotIdempotent);
    for (timeout, told, at) in [(Some(100), Some(70), 31), (Some(20), Some(0), 52), (None, None, 83)] {
        let options = timeout.map(|millis| CallOptions::new().with_timeout(Duration::from_millis(millis)));
        clock.run(faulty.call_with(&String::new(), &options.unwrap_or_default())).unwrap();
        assert_eq!((leaf.0.timeouts.lock().unwrap().last(), clock.millis()), (Some(&told), at));
    }
    leaf.set_usable(false);
    assert!(!Caller::<String>::has_usable_server(&faulty));
}

#[test]
fn the_seed_decides_which_calls_are_aborted() {
    let draw = |seed| {
        let clock = Clock::default();
        let leaf = Leaf::new(&clock, "a", &[(Answer::Ok, 0)]);
        let faulty = faulty(&clock, &leaf, FaultOptions::new(seed).with_abort(Ratio::of_percent::<20>()));
        let selective = Selective::builder(clock.clone()).max_retry(0).limits(LimitOptions::NONE);
        let selective = selective.channel("a", faulty).build().unwrap();
        let call = || clock.run(selective.call_with(&String::new(), &CallOptions::new())).is_err();
        (0..1_000).map(|_| call()).collect::<Vec<_>>()
    };
    let one = draw(7);
    let count = one.iter().filter(|aborted| **aborted).count();
    assert!((150..250).contains(&count), "{count}");
    assert!(one == draw(7) && one != draw(8));
}
