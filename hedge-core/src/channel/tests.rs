//! Tests of channels with each balancer: which servers they choose when the list changes, and which data they keep for
//! a server.

extern crate std;

mod health;

use std::collections::{BTreeMap, BTreeSet};
use std::string::ToString;
use std::vec::Vec;

use super::*;
use crate::balance::hash::murmur3_32;
use crate::balance::p2c::{P2c, P2cOptions};
use crate::balance::prequal::{Prequal, PrequalOptions, ProbePool};
use crate::balance::{
    AnyBalancer, AnyStats, ArrangeError, BalancerName, Fixed, Heap, RoundRobin, WeightError, WeightedRoundRobin,
};
use crate::bounded::{Bounded, BoundedSpan};
use crate::call::{Action, Input};
use crate::health::{ConsecutiveFailures, FailureOptions, IsolationLimit, Recovering, RecoveryOptions};
use crate::id::AttemptId;
use crate::outcome::{Code, End, ErrorKind, Feedback, SentAttempt, Verdict};
use crate::policy::NoPolicy;
use crate::time::{Duration, Micros, Timeout};

type Any = AnyBalancer<Heap>;
type Line = Channel<u16, Any, NoPolicy, &'static str, 16>;

const NOW: Instant = Instant::from_millis(5);

fn line(balancer: &str, servers: u16) -> Line {
    let balancer = AnyBalancer::named(balancer, 7).unwrap();
    let mut line = Line::with_policy(ChannelOptions::brpc(), balancer, NoPolicy, 7);
    for address in 0..servers {
        line.insert(address, "1").unwrap();
    }
    line
}

fn selection(code: u32) -> Selection<'static> {
    Selection { tried: &[], same: None, working_too: false, servers: None, request_code: Some(code), now: NOW }
}

/// Returns the address that a call with this request code is sent to. The attempt stays in flight.
fn send(line: &Line, code: u32, random: &mut fastrand::Rng) -> u16 {
    let pick = line.look(&selection(code), &mut || random.u32(..)).unwrap();
    assert!(line.commit(&pick, NOW, false));
    *line.cluster().address(pick.server).unwrap()
}

/// Makes a call whose attempts all end with `verdict`. Returns the addresses of the attempts.
fn call(line: &Line, code: u32, verdict: Verdict) -> Vec<u16> {
    let options = CallOptions { request_code: Some(code), ..CallOptions::new() };
    let mut call = line.call(&options, NOW).unwrap();
    let mut sent = Vec::new();
    loop {
        match call.poll(NOW) {
            Action::Start(start) => {
                sent.push(*line.cluster().address(start.server).unwrap());
                call.handle(NOW + Duration::from_millis(3), Input::finished(start.attempt, verdict));
            }
            Action::Done(_) => return sent,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn l11_s6_a_call_that_fails_everywhere_goes_to_each_server_once_under_every_balancer() {
    for name in BalancerName::NAMES {
        let line = line(name, 4);
        let down = line.cluster().find(2, "1").unwrap();
        assert!(line.set_usable(down, false, NOW));
        for code in 0..200 {
            let sent = call(&line, code, Verdict::Retry);
            let distinct: BTreeSet<u16> = sent.iter().copied().collect();
            // The fourth attempt goes to the least recently tried server.
            assert_eq!((sent.len(), distinct), (4, BTreeSet::from([0, 1, 3])), "{name}: {sent:?}");
            assert_eq!(sent[3], sent[0], "{name}");
        }
        assert!(line.cluster().iter().all(|(id, _)| line.cluster().in_flight(id) == 0), "{name}");
    }
}

#[test]
fn s6_every_server_is_chosen_first_under_every_balancer_when_all_are_alike() {
    for name in BalancerName::NAMES {
        let line = line(name, 8);
        let mut counts = BTreeMap::new();
        for number in 0..4_000_u32 {
            let sent = call(&line, murmur3_32(&number.to_le_bytes()), Verdict::Accept);
            *counts.entry(sent[0]).or_insert(0) += 1;
        }
        let least = counts.values().min().copied().unwrap_or(0);
        assert!(counts.len() == 8 && least > 200, "{name}: {counts:?}");
    }
}

#[test]
fn s7_lists_may_change_at_any_time_under_every_balancer() {
    const SEED: u64 = 11;
    for name in BalancerName::NAMES {
        let mut rng = fastrand::Rng::with_seed(SEED);
        let mut line = line(name, 0);
        let mut there = BTreeSet::new();
        for step in 0..600 {
            let address = rng.u16(0..12);
            if rng.bool() {
                assert_eq!(line.insert(address, "2").is_ok(), there.insert(address), "{name}");
            } else if let Some(server) = line.cluster().find(address, "2") {
                line.remove(server, NOW).unwrap();
                there.remove(&address);
            }
            if there.is_empty() {
                assert_eq!(line.look(&selection(1), &mut || 0), Err(NoServer::Empty), "{name}");
                continue;
            }
            for _ in 0..4 {
                let sent = send(&line, rng.u32(..), &mut rng.clone());
                assert!(there.contains(&sent), "{name}, step {step}, seed {SEED}: {sent} of {there:?}");
            }
        }
    }
}

#[test]
fn s5_clients_that_saw_the_servers_in_different_orders_agree_on_every_code() {
    const SEED: u64 = 3;
    for name in ["c_murmurhash", "c_md5", "c_ketama"] {
        let mut rng = fastrand::Rng::with_seed(SEED);
        let mut addresses: Vec<u16> = (0..12).collect();
        let first = line(name, 12);
        for _ in 0..5 {
            rng.shuffle(&mut addresses);
            let mut other = line(name, 0);
            for address in &addresses {
                other.insert(*address, "1").unwrap();
                // A server that was added and removed must not change the choice.
                let gone = other.insert(99, "1").unwrap();
                other.remove(gone, NOW).unwrap();
            }
            for code in 0..2_000 {
                let code = murmur3_32(&u32::to_le_bytes(code));
                assert_eq!(send(&first, code, &mut rng), send(&other, code, &mut rng), "{name}, seed {SEED}");
            }
        }
    }
}

#[test]
fn s5_a_server_that_comes_takes_only_what_it_gets() {
    let (before, mut after) = (line("c_ketama", 10), line("c_ketama", 10));
    after.insert(10, "1").unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    let codes: Vec<u32> = (0..5_000_u32).map(|number| murmur3_32(&number.to_le_bytes())).collect();
    let moved: Vec<u16> = codes
        .iter()
        .filter_map(|code| {
            let (was, is) = (send(&before, *code, &mut rng), send(&after, *code, &mut rng));
            (was != is).then_some(is)
        })
        .collect();
    assert!(moved.iter().all(|to| *to == 10) && (300..700).contains(&moved.len()), "{}", moved.len());
}

#[test]
fn s5_a_call_without_a_request_code_is_refused_before_anything_is_sent() {
    for name in BalancerName::NAMES {
        let line = line(name, 2);
        let options = CallOptions::new();
        let refused = line.call(&options, NOW).err();
        assert_eq!(refused.is_some(), name.starts_with("c_"), "{name}");
        if let Some(error) = refused {
            assert_eq!(error, ConfigError::NoRequestCode);
            assert_eq!(error.to_string(), "request_code: missing; the load balancer hashes it");
        }
        let named = [line.cluster().at(1).unwrap()];
        let options = CallOptions { servers: Some(&named), ..CallOptions::new() };
        assert!(line.call(&options, NOW).is_ok(), "{name}: who names the servers needs none");
    }
}

#[test]
fn s2_weights_are_tags_and_a_tag_that_is_none_is_refused_or_weighs_the_default() {
    let mut weighted = line("wrr", 0);
    weighted.insert(0, "3").unwrap();
    weighted.insert(1, "1").unwrap();
    assert_eq!(weighted.insert(2, "heavy"), Err(ClusterError::Weight(WeightError::NoInteger)));
    assert_eq!(weighted.insert(2, "0"), Err(ClusterError::Weight(WeightError::Zero)));
    let mut rng = fastrand::Rng::with_seed(1);
    let sent = (0..400).filter(|_| send(&weighted, 0, &mut rng) == 0).count();
    assert_eq!(sent, 300);
    let mut lenient = line("wr:default_weight=9", 0);
    lenient.insert(0, "heavy").unwrap();
    lenient.insert(1, "1").unwrap();
    let sent = (0..10_000).filter(|_| send(&lenient, 0, &mut rng) == 0).count();
    assert!((8_800..9_200).contains(&sent), "{sent}, seed 1");
}

#[test]
fn s7_statistics_stay_with_a_server_as_others_come_and_go() {
    for name in ["p2c", "la"] {
        let mut line = line(name, 3);
        for code in 0..60 {
            call(&line, code, Verdict::Accept);
        }
        let server = line.cluster().find(1, "1").unwrap();
        let known = |line: &Line| match line.cluster().state(server).unwrap().stats() {
            AnyStats::P2c(stats) => stats.latency(),
            AnyStats::LocalityAware(stats) => stats.latency(),
            AnyStats::Nothing => panic!("{name} keeps nothing"),
        };
        assert_eq!(known(&line), Duration::from_millis(3), "{name}");
        line.set_servers([(5, "1"), (1, "1"), (4, "1")], NOW).unwrap();
        assert_eq!(known(&line), Duration::from_millis(3), "{name}");
        let new = line.cluster().find(4, "1").unwrap();
        assert_eq!(line.cluster().in_flight(new), 0);
    }
}

#[test]
fn s4_p2c_without_a_name_prefers_who_answers() {
    let balancer = P2c::new(P2cOptions::DEFAULT);
    let mut line: Channel<u16, P2c, NoPolicy, &str, 2> =
        Channel::with_policy(ChannelOptions::brpc(), balancer, NoPolicy, 1);
    let failing = line.insert(0, "").unwrap();
    line.insert(1, "").unwrap();
    let options = CallOptions { max_retry: Some(0), ..CallOptions::new() };
    let mut failures = 0;
    for number in 0..1_000 {
        let now = Instant::from_millis(number);
        let mut call = line.call(&options, now).unwrap();
        let Action::Start(start) = call.poll(now) else { panic!("a start") };
        let verdict = if start.server == failing { Verdict::Retry } else { Verdict::Accept };
        failures += u32::from(start.server == failing);
        call.handle(now + Duration::from_millis(1), Input::finished(start.attempt, verdict));
    }
    assert!(failures <= 2, "{failures}");
}

#[test]
fn prequal_goes_by_probes_and_without_them_as_p2c() {
    let line = line("prequal", 8);
    let mut rng = fastrand::Rng::with_seed(1);
    let probe = |answers: &dyn Fn(u16) -> ProbeAnswer| {
        let mut probed = 0;
        line.probes(NOW, &mut |server| {
            line.probed(server, answers(*line.cluster().address(server).unwrap()), NOW);
            probed += 1;
        });
        probed
    };
    assert!((0..100).map(|_| send(&line, 0, &mut rng)).collect::<BTreeSet<_>>().len() > 6, "nothing is known");
    let answer = |in_flight, ms| ProbeAnswer { in_flight, latency: Duration::from_millis(ms) };
    for _ in 0..20 {
        assert_eq!(probe(&|address| if address == 5 { answer(1, 2) } else { answer(1, 20) }), 3);
    }
    let counts = (0..100).filter(|_| send(&line, 0, &mut rng) == 5).count();
    assert!((1..50).contains(&counts), "{counts}: until it is as busy as the others");
    let fifth = line.cluster().find(5, "1").unwrap();
    line.set_usable(fifth, false, NOW);
    assert!((0..100).all(|_| send(&line, 0, &mut rng) != 5));
    let mut asked = BTreeSet::new();
    (0..200).for_each(|_| line.probes(NOW, &mut |server| _ = asked.insert(server)));
    assert_eq!((asked.len(), asked.contains(&fifth)), (7, false), "who is down is not probed");
}

#[test]
fn n3_a_full_list_is_applied_as_differences() {
    let mut line = line("rr", 4);
    let kept = line.cluster().find(2, "1").unwrap();
    let update = line.set_servers([(7, "1"), (2, "1"), (0, "1"), (7, "1")], NOW).unwrap();
    assert_eq!(update, Update { inserted: 1, removed: 2, refused: 0, reason: None });
    assert_eq!(line.cluster().find(2, "1"), Some(kept));
    let addresses: Vec<u16> = line.cluster().iter().map(|(_, server)| server.address).collect();
    assert_eq!(addresses, [0, 2, 7]);
    assert_eq!(line.set_servers([], NOW).unwrap().removed, 3);
    assert!(line.cluster().is_empty());
}

#[test]
fn n3_deltas_change_what_they_name_and_nothing_else() {
    let mut line = line("p2c", 2);
    let server = |address| Server { address, tag: "1" };
    assert_eq!(line.apply(ListChange::Insert(server(5)), NOW), Ok(true));
    assert_eq!(line.apply(ListChange::Insert(server(5)), NOW), Ok(false));
    assert_eq!(line.apply(ListChange::Remove(server(0)), NOW), Ok(true));
    assert_eq!(line.apply(ListChange::Remove(server(0)), NOW), Ok(false));
    assert_eq!(line.cluster().iter().map(|(_, server)| server.address).collect::<Vec<_>>(), [1, 5]);
}

#[test]
fn n3_a_filter_runs_before_the_balancer_sees_a_server() {
    let mut line = line("rr", 0);
    line.set_filter(|server| server.tag != "canary");
    assert_eq!(line.insert(1, "canary"), Err(ClusterError::FilteredOut));
    let update = line.set_servers([(1, "canary"), (2, ""), (3, "")], NOW).unwrap();
    assert_eq!((update.inserted, update.refused, update.reason), (2, 1, Some(ClusterError::FilteredOut)));
    line.set_filter(|server| server.tag.is_empty() && server.address != 3);
    assert_eq!(line.set_servers([(2, ""), (3, "")], NOW).unwrap().removed, 1, "who is let through no more goes");
}

#[test]
fn a_list_that_is_too_long_is_cut_and_said_to_be_and_a_balancer_without_room_refuses() {
    let mut line = line("rr", 0);
    let update = line.set_servers((0..20).map(|address| (address, "")), NOW).unwrap();
    assert_eq!((update.inserted, update.refused, update.reason), (16, 4, Some(ClusterError::Full)));

    let mut small: Channel<u16, WeightedRoundRobin<Fixed<2>>, NoPolicy, &str, 4> =
        Channel::with_policy(ChannelOptions::brpc(), WeightedRoundRobin::new(1), NoPolicy, 1);
    for address in 0..2 {
        small.insert(address, "1").unwrap();
    }
    let no_room = ClusterError::Balancer(ArrangeError::Room { servers: 2 });
    assert_eq!(small.insert(2, "1"), Err(no_room));
    assert_eq!(small.cluster().len(), 2, "nothing has changed");
    assert!(small.look(&selection(0), &mut || 0).is_ok());
    assert_eq!(small.set_servers((0..3).map(|address| (address, "1")), NOW), Err(no_room));
    assert_eq!(small.look(&selection(0), &mut || 0), Err(NoServer::Empty));
}

#[test]
fn what_is_wrong_with_a_list_is_said() {
    for (error, text) in [
        (ClusterError::Weight(WeightError::Zero), "weight: 0 is not in [1, 4294967295]"),
        (ClusterError::FilteredOut, "cluster: the filter refuses that server"),
        (ClusterError::Balancer(ArrangeError::Room { servers: 2 }), "balancer: has room for 2 servers"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

/// Inserts `times` servers, each in the first free slot, and removes all of them except the last one. Returns the id of
/// the last server.
fn pass<B: Balancer>(line: &mut Channel<u16, B, NoPolicy, &'static str, 16>, times: u32) -> ServerId {
    let mut last = line.insert(1, "1").unwrap();
    for _ in 1..times {
        line.remove(last, NOW).unwrap();
        last = line.insert(1, "1").unwrap();
    }
    last
}

#[test]
fn l20_no_end_and_no_head_is_counted_for_a_server_that_came_after_a_whole_round_of_ids() {
    for name in ["p2c", "la"] {
        let mut line = line(name, 1);
        let look = |line: &Line| line.look(&selection(0), &mut || 0).unwrap();
        let (unary, streaming) = (look(&line), look(&line));
        let sent = |server| {
            let (attempt, timeout) = (AttemptId::FIRST, Timeout::after(Duration::from_secs(5)));
            SentAttempt { server, at: NOW, attempt, max_retry: 3, timeout }
        };
        for pick in [&unary, &streaming] {
            assert!(line.commit(pick, NOW, false));
        }
        let old = unary.server;
        line.remove(old, NOW).unwrap();
        // The server is chosen before its removal and committed after its removal. No server gets the attempt, but the
        // attempt's end is reported.
        assert!(line.commit(&unary, NOW, true));
        let stranger = pass(&mut line, 65_536);
        assert_ne!(stranger.slot(), old.slot(), "{name}: that slot would give the old id again");
        let latency = Micros::from_secs(5);
        line.answered(&sent(old).finished(NOW, Feedback::Success { latency }, Code::NONE));
        for _ in 0..2 {
            line.finished(&sent(old).finished(NOW, Feedback::Failure { latency }, ErrorKind::Deadline.into()));
        }
        let third = line.insert(3, "1").unwrap();
        assert_ne!(third, old, "{name}: the body is under way");
        line.released(old);
        assert_eq!(line.insert(2, "1"), Ok(old), "{name}: all of them are over");
        for id in [old, stranger, third] {
            assert_eq!(line.cluster().in_flight(id), 0, "{name}");
            let stats = std::format!("{:?}", line.cluster().state(id).unwrap().stats());
            assert_eq!(stats, std::format!("{:?}", line.balancer().stats()), "{name}: as new");
        }
    }
}

#[test]
fn l20_what_a_server_answered_a_probe_goes_with_it() {
    forgets_probes(Prequal::new(PrequalOptions::DEFAULT, 7), Prequal::pool);
    forgets_probes(Any::named("prequal", 7).unwrap(), |balancer| match balancer {
        AnyBalancer::Prequal(prequal) => prequal.pool(),
        other => panic!("{other:?}"),
    });
}

fn forgets_probes<B: Balancer>(balancer: B, pool: fn(&B) -> &ProbePool) {
    let mut line: Channel<u16, B, NoPolicy, &str, 16> =
        Channel::with_policy(ChannelOptions::brpc(), balancer, NoPolicy, 7);
    let old = line.insert(1, "1").unwrap();
    let other = line.insert(2, "1").unwrap();
    let answer = ProbeAnswer { in_flight: 0, latency: Duration::from_millis(1) };
    line.probed(old, answer, NOW);
    line.probed(other, answer, NOW);
    line.remove(old, NOW).unwrap();
    assert_eq!(pool(line.balancer()).len(NOW), 1);
    line.probed(old, answer, NOW);
    assert_eq!(pass(&mut line, 65_536), old, "nothing is out at it");
    assert_eq!(pool(line.balancer()).len(NOW), 1, "that of the server that stayed");
}
