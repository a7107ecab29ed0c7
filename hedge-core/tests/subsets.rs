//! The limits of health ([H4](hedge_core::rules#H4), [H5](hedge_core::rules#H5)) in a channel whose client uses a subset
//! of the servers ([S9](hedge_core::rules#S9)).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use hedge_core::balance::grouped::{Grouped, Grouping, SubsetOptions, SubsetSize};
use hedge_core::balance::la::LocalityAware;
use hedge_core::balance::{Balancer, Fixed, RoundRobin, Selection};
use hedge_core::bounded::Bounded;
use hedge_core::call::{Action, Host as _, Input};
use hedge_core::channel::Channel;
use hedge_core::health::{ConsecutiveFailures, FailureOptions, Health, IsolationLimit};
use hedge_core::id::{AttemptId, ServerId};
use hedge_core::outcome::{Code, End, Feedback, SentAttempt, Verdict};
use hedge_core::policy::{CallOptions, ChannelOptions, NoPolicy};
use hedge_core::time::{Instant, Micros, Timeout};

const NOW: Instant = Instant::from_millis(5);

type LineOf<B> = Channel<u16, Grouped<B, Fixed<32>, 1>, NoPolicy, &'static str, 32, ConsecutiveFailures>;
type Line = LineOf<RoundRobin>;

/// Makes a channel with 20 servers, of which the client uses 3, with 3 more as the reserve. One failure isolates a server.
fn line() -> Line {
    line_of(RoundRobin::new(1))
}

fn line_of<B: Balancer + Clone>(balancer: B) -> LineOf<B> {
    let subset = Some(SubsetOptions { size: SubsetSize::of::<3>(), id: Some(1) });
    let balancer = Grouped::new(Grouping { locality: None, subset }, balancer, 1);
    let failures = FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT };
    let health = Health::new(ConsecutiveFailures::new(failures), IsolationLimit::DEFAULT);
    let mut line = LineOf::with_health(ChannelOptions::brpc(), balancer, NoPolicy, health, 1);
    line.set_servers((0..20).map(|address| (address, "")), NOW).unwrap();
    line
}

/// Returns the servers that the client may use.
fn mine<B: Balancer + Clone>(line: &LineOf<B>) -> Vec<ServerId> {
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

#[test]
fn s7_s9_la_counts_attempts_in_flight_while_servers_enter_and_leave_the_subset() {
    let mut line = line_of(LocalityAware::<Fixed<32>>::new(1));
    let before = mine(&line);
    let all: Vec<ServerId> = line.cluster().iter().map(|(server, _)| server).collect();
    let in_flight = |line: &LineOf<LocalityAware<Fixed<32>>>, server: ServerId| {
        line.cluster().state(server).map(|record| record.stats().in_flight())
    };
    for server in &all {
        let servers = std::slice::from_ref(server);
        let selection = Selection {
            tried: &[],
            same: None,
            working_too: false,
            servers: Some(servers),
            request_code: None,
            now: NOW,
        };
        let pick = line.look(&selection, &mut || 0).unwrap();
        assert!(line.commit(&pick, NOW, true));
        assert_eq!(in_flight(&line, *server), Some(1), "{server}");
    }
    // Three servers of the subset go, so others enter. Then ten servers come, so some leave.
    let gone = &before[..3];
    for server in gone {
        line.remove(*server, NOW).unwrap();
    }
    let entered = mine(&line);
    assert!(entered.iter().any(|server| !before.contains(server)));
    let now = NOW + Micros::from_millis(10);
    let finish = |line: &LineOf<LocalityAware<Fixed<32>>>, server: ServerId| {
        let (attempt, timeout) = (AttemptId::FIRST, Timeout::NEVER);
        let sent = SentAttempt { server, at: NOW, attempt, max_retry: 0, timeout };
        line.finished(&sent.finished(now, Feedback::Success { latency: Micros::from_millis(10) }, Code::NONE));
    };
    let (first, second) = entered.split_at(3);
    first.iter().for_each(|server| finish(&line, *server));
    for address in 20..30 {
        line.insert(address, "").unwrap();
    }
    let after = mine(&line);
    assert!(second.iter().any(|server| !after.contains(server)), "{second:?}, then {after:?}");
    for server in all.iter().filter(|server| !gone.contains(server)) {
        if !first.contains(server) {
            finish(&line, *server);
        }
        assert_eq!(in_flight(&line, *server), Some(0), "{server}");
    }
}

#[test]
fn h4_s8_calls_that_name_servers_outside_the_subset_leave_a_share_of_the_list() {
    let line = line();
    let mine = mine(&line);
    let others: Vec<ServerId> =
        line.cluster().iter().map(|(server, _)| server).filter(|server| !mine.contains(server)).collect();
    assert_eq!(others.len(), 14);
    for server in &others {
        let servers = std::slice::from_ref(server);
        let options = CallOptions { max_retry: Some(0), servers: Some(servers), ..CallOptions::new() };
        let mut call = line.call(&options, NOW).unwrap();
        let Action::Start(start) = call.poll(NOW) else { panic!("no attempt at {server}") };
        call.handle(NOW, Input::finished(start.attempt, Verdict::Retry));
    }
    let isolated = others.iter().filter(|server| !line.usable(**server, NOW)).count();
    assert_eq!((isolated, usable(&line)), (10, 6), "half of twenty, and none of the subset");
}
