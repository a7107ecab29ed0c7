//! The limits of health ([H4](hedge_core::rules#H4), [H5](hedge_core::rules#H5)) in a channel whose client uses a subset
//! of the servers ([S9](hedge_core::rules#S9)).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use hedge_core::balance::grouped::{Grouped, Grouping, SubsetOptions, SubsetSize};
use hedge_core::balance::{Balancer, Fixed, RoundRobin};
use hedge_core::bounded::Bounded;
use hedge_core::call::{Action, Input};
use hedge_core::channel::Channel;
use hedge_core::health::{ConsecutiveFailures, FailureOptions, Health, IsolationLimit};
use hedge_core::id::ServerId;
use hedge_core::outcome::{End, Verdict};
use hedge_core::policy::{CallOptions, ChannelOptions, NoPolicy};
use hedge_core::time::Instant;

const NOW: Instant = Instant::from_millis(5);

type Line = Channel<u16, Grouped<RoundRobin, Fixed<32>, 1>, NoPolicy, &'static str, 32, ConsecutiveFailures>;

/// Makes a channel with 20 servers, of which the client uses 3, with 3 more as the reserve. One failure isolates a server.
fn line() -> Line {
    let subset = Some(SubsetOptions { size: SubsetSize::of::<3>(), id: Some(1) });
    let balancer = Grouped::new(Grouping { locality: None, subset }, RoundRobin::new(1), 1);
    let failures = FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT };
    let health = Health::new(ConsecutiveFailures::new(failures), IsolationLimit::DEFAULT);
    let mut line = Line::with_health(ChannelOptions::brpc(), balancer, NoPolicy, health, 1);
    line.set_servers((0..20).map(|address| (address, "")), NOW).unwrap();
    line
}

/// Returns the servers that the client may use.
fn mine(line: &Line) -> Vec<ServerId> {
    let all = line.cluster().iter().map(|(server, _)| server);
    all.filter(|server| line.balancer().may_choose(server.slot())).collect()
}

fn usable(line: &Line) -> usize {
    mine(line).iter().filter(|server| line.usable(**server, NOW)).count()
}

/// Makes a call without retries. Returns its server, or how the call ended without an attempt.
fn once(line: &Line, now: Instant, verdict: Verdict) -> Result<ServerId, End> {
    let options = CallOptions { max_retry: Some(0), ..CallOptions::new() };
    let mut call = line.call(&options, now).unwrap();
    match call.poll(now) {
        Action::Start(start) => {
            call.handle(now, Input::finished(start.attempt, verdict));
            Ok(start.server)
        }
        Action::Done(end) => Err(end),
        other => panic!("{other:?}"),
    }
}

#[test]
fn h4_a_breaker_leaves_a_share_of_the_subset_even_as_servers_go() {
    let mut line = line();
    assert_eq!(mine(&line).len(), 6);
    for _ in 0..40 {
        once(&line, NOW, Verdict::Retry).unwrap();
    }
    assert_eq!(usable(&line), 3, "half of six, and not half of twenty");
    // Only the isolated servers stay.
    let all: Vec<ServerId> = line.cluster().iter().map(|(server, _)| server).collect();
    let gone: Vec<ServerId> = all.into_iter().filter(|server| line.usable(*server, NOW)).collect();
    for server in gone {
        line.remove(server, NOW).unwrap();
    }
    assert_eq!((mine(&line).len(), usable(&line)), (3, 2), "half of three, rounded up");
}

#[test]
fn h5_the_last_resort_comes_while_only_the_subset_is_broken() {
    let line = line();
    for server in mine(&line) {
        assert!(line.set_broken(server, true, NOW));
    }
    assert_eq!(once(&line, NOW, Verdict::Accept), Err(End::AllDown));
    let later = Instant::from_millis(200);
    let back = once(&line, later, Verdict::Accept).unwrap();
    assert!(mine(&line).contains(&back) && line.usable(back, later));
}
