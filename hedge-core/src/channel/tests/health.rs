//! Servers that fail, are isolated, and come back.

use super::*;

type Guarded<K> = Channel<u16, RoundRobin, NoPolicy, &'static str, 4, K>;

fn guarded<K: Breaker>(breaker: K, servers: u16) -> Guarded<K> {
    let health = Health::new(breaker, IsolationLimit::DEFAULT);
    let rr = RoundRobin::starting_at(0);
    let mut line = Guarded::with_health(ChannelOptions::brpc(), rr, NoPolicy, health, 1);
    for address in 0..servers {
        line.insert(address, "").unwrap();
    }
    line
}

fn in_a_row(failures: u32) -> ConsecutiveFailures {
    let failures = Bounded::new(failures).unwrap();
    ConsecutiveFailures::new(FailureOptions { failures, ..FailureOptions::DEFAULT })
}

/// Makes a call without retries at `now`. Returns the call's server. If the call starts no attempt, returns how it
/// ended.
fn once<K: Breaker>(line: &Guarded<K>, now: Instant, verdict: Verdict) -> Result<ServerId, End> {
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
fn h2_a_server_that_fails_is_isolated_then_probed_by_one_call_and_back() {
    let line = guarded(in_a_row(2), 3);
    let bad = line.cluster().at(1).unwrap();
    let at = |ms| NOW + Duration::from_millis(ms);
    let verdict = |server| if server == bad { Verdict::Retry } else { Verdict::Accept };
    let turn = |ms, good| {
        let turns = (0..3).map(|_| {
            let pick = line.look(&Selection { now: at(ms), ..selection(0) }, &mut || 0).unwrap().server;
            once(&line, at(ms), if good { Verdict::Accept } else { verdict(pick) }).unwrap()
        });
        turns.filter(|server| *server == bad).count()
    };
    assert_eq!((turn(0, false), turn(1, false)), (1, 1));
    assert_eq!((turn(2, false), line.usable(bad, at(2))), (0, false), "isolated");
    assert_eq!(turn(103, false), 1, "a probe, which fails");
    assert_eq!((turn(104, false), turn(303, false)), (0, 0), "for twice as long");
    assert_eq!(turn(306, true), 1, "a probe, which succeeds");
    assert!(line.usable(bad, at(307)));
}

#[test]
fn t2_a_probe_that_streams_brings_its_server_back_at_the_head() {
    let line = guarded(in_a_row(1), 2);
    let at = |ms| NOW + Duration::from_millis(ms);
    let failed = once(&line, at(0), Verdict::Retry).unwrap();
    assert!(!line.usable(failed, at(1)));
    let named = [failed];
    let options = CallOptions { streaming: true, servers: Some(&named), ..CallOptions::new() };
    let mut probe = line.call(&options, at(150)).unwrap();
    let Action::Start(start) = probe.poll(at(150)) else { panic!("the isolation is over") };
    assert!(!line.usable(failed, at(151)), "one probe at a time");
    probe.handle(at(152), Input::finished(start.attempt, Verdict::Accept));
    assert!(line.usable(failed, at(152)), "at the head");
    let at_work = probe.winner_at_work().unwrap();
    assert_eq!(line.cluster().in_flight(at_work), 1, "and at work on the body");
    line.released(at_work);
    assert_eq!(line.cluster().in_flight(at_work), 0);
}

#[test]
fn h3_after_all_were_down_calls_are_let_in_by_how_many_servers_are_back() {
    let options = RecoveryOptions { min_working: Bounded::of::<4>(), hold: BoundedSpan::of_secs::<3>() };
    let line = guarded(Recovering::new(in_a_row(5), Some(options)), 4);
    let servers: Vec<ServerId> = line.cluster().iter().map(|(id, _)| id).collect();
    for server in &servers {
        line.set_usable(*server, false, NOW);
    }
    assert_eq!(once(&line, NOW, Verdict::Accept), Err(End::AllDown));
    line.set_usable(servers[0], true, NOW);
    let admitted = |ms: u64| {
        let now = NOW + Duration::from_millis(ms);
        (0..4_000).filter(|_| once(&line, now, Verdict::Accept).is_ok()).count()
    };
    let quarter = admitted(1);
    assert!((900..1_100).contains(&quarter), "{quarter} of 4000");
    line.set_usable(servers[1], true, NOW);
    let half = admitted(2);
    assert!((1_900..2_100).contains(&half), "{half} of 4000");
    assert_eq!(admitted(3_100), 4_000, "for 3 s they have been as many");
}

#[test]
fn h5_while_all_are_broken_one_call_in_100_ms_goes_to_the_server_that_broke_first() {
    for recovery in [None, Some(RecoveryOptions { min_working: Bounded::of::<4>(), hold: BoundedSpan::of_secs::<3>() })]
    {
        let line = guarded(Recovering::new(in_a_row(5), recovery), 3);
        let at = |ms| NOW + Duration::from_millis(ms);
        let servers: Vec<ServerId> = line.cluster().iter().map(|(id, _)| id).collect();
        for (server, ms) in [(1, 0), (0, 10), (2, 20)] {
            assert!(line.set_broken(servers[server], true, at(ms)));
        }
        line.set_broken(servers[1], true, at(30));
        let lost = |ms| assert_eq!(once(&line, at(ms), Verdict::Accept), Err(End::AllDown), "{ms}");
        [20, 40, 118].into_iter().for_each(lost);
        assert_eq!(once(&line, at(122), Verdict::Wait), Ok(servers[1]), "broken since 0, whatever was said later");
        [122, 123, 220].into_iter().for_each(lost);
        assert!(!line.usable(servers[1], at(220)), "its failure changes nothing");
        assert_eq!(once(&line, at(224), Verdict::Accept), Ok(servers[1]));
        assert!(line.usable(servers[1], at(224)) && !line.usable(servers[0], at(224)), "its success brings it back");
        if recovery.is_none() {
            assert_eq!(once(&line, at(225), Verdict::Accept), Ok(servers[1]));
        }
    }
}

#[test]
fn h5_no_call_goes_to_what_was_withdrawn_by_hand_and_none_where_a_connection_stands() {
    let line = guarded(in_a_row(1), 4);
    let servers: Vec<ServerId> = line.cluster().iter().map(|(id, _)| id).collect();
    for server in &servers {
        line.set_usable(*server, false, NOW);
    }
    assert_eq!(once(&line, NOW, Verdict::Accept), Err(End::AllDown), "all are withdrawn");
    line.set_broken(servers[2], true, NOW);
    line.set_broken(servers[3], true, NOW);
    line.set_usable(servers[3], true, NOW);
    let later = NOW + Duration::from_millis(102);
    assert_eq!(once(&line, later, Verdict::Accept), Ok(servers[3]));
    assert!(line.usable(servers[3], later));
    line.set_usable(servers[2], true, NOW);
    assert!(!line.usable(servers[2], NOW), "it is still broken");
    line.set_usable(servers[3], false, NOW);
    line.set_broken(servers[2], false, NOW);
    assert!(line.usable(servers[2], NOW) && !line.usable(servers[3], NOW));
}

#[test]
fn h5_what_was_sent_before_the_break_brings_no_server_back() {
    let line = guarded(in_a_row(5), 1);
    let server = line.cluster().at(0).unwrap();
    let (options, at) = (CallOptions::new(), |ms| NOW + Duration::from_millis(ms));
    let mut before = line.call(&options, at(0)).unwrap();
    let Action::Start(first) = before.poll(at(0)) else { panic!("a start") };
    line.set_broken(server, true, at(10));
    before.handle(at(20), Input::finished(first.attempt, Verdict::Accept));
    assert!(!line.usable(server, at(20)));
    // A call that was let through and is dropped without a result does not bring the server back either.
    let mut lost = line.call(&options, at(130)).unwrap();
    assert!(matches!(lost.poll(at(130)), Action::Start(_)));
    drop(lost);
    assert!(!line.usable(server, at(131)));
}

#[test]
fn h4_a_breaker_never_isolates_everything_not_even_as_servers_go() {
    let mut line = guarded(in_a_row(1), 4);
    for _ in 0..12 {
        let _ = once(&line, NOW, Verdict::Retry);
    }
    let usable = |line: &Guarded<_>| line.cluster().iter().filter(|(id, _)| line.usable(*id, NOW)).count();
    assert_eq!(usable(&line), 2);
    let left: Vec<ServerId> = line.cluster().iter().map(|(id, _)| id).filter(|id| line.usable(*id, NOW)).collect();
    for server in left {
        line.remove(server, NOW).unwrap();
    }
    assert_eq!(usable(&line), 1, "one of the two that are left was lifted");
}

#[test]
fn s9_an_isolated_server_is_still_marked_after_a_change_of_the_list() {
    const SERVERS: u16 = 8;
    let balancer = AnyBalancer::<Heap>::named("subset:size=2 id=1 of=rr", 7).unwrap();
    let health = Health::new(in_a_row(1), IsolationLimit::DEFAULT);
    let mut line: Channel<u16, Any, NoPolicy, &str, 16, _> =
        Channel::with_health(ChannelOptions::brpc(), balancer, NoPolicy, health, 7);
    let now = Instant::from_millis(200_000);
    line.set_servers((0..SERVERS).map(|address| (address, "")), now).unwrap();
    let options = CallOptions { max_retry: Some(0), ..CallOptions::new() };
    let failed = {
        let mut call = line.call(&options, now).unwrap();
        let Action::Start(start) = call.poll(now) else { panic!("a start") };
        call.handle(now, Input::finished(start.attempt, Verdict::Retry));
        start.server
    };
    // `is_used` returns whether the failed server is in use. If it is, three servers are used, so that two of them are
    // usable.
    let is_used = |line: &Channel<u16, Any, NoPolicy, &str, 16, ConsecutiveFailures>| {
        let AnyBalancer::Grouped(groups) = line.balancer() else { panic!("groups") };
        let used: Vec<_> = groups.grouped().used().map(|position| line.cluster().at(position)).collect();
        let is_used = used.contains(&Some(failed));
        assert_eq!(used.len(), 2 + usize::from(is_used), "{used:?}");
        is_used
    };
    let later = now + Duration::from_millis(1);
    let mut seen = 0;
    for address in SERVERS..SERVERS + 4 {
        let server = Server { address, tag: "" };
        assert_eq!(line.apply(ListChange::Insert(server), later), Ok(true));
        seen += u32::from(is_used(&line));
        assert_eq!(line.apply(ListChange::Remove(server), later), Ok(true));
        assert!(is_used(&line));
    }
    assert!(seen > 0);
    line.set_servers((0..SERVERS).map(|address| (address, "")), later).unwrap();
    assert!(is_used(&line));
}
