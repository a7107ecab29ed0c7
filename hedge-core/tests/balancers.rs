//! What holds under every balancer, seen through a channel.

#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use hedge_core::balance::{AnyBalancer, BalancerName, Heap};
use hedge_core::call::{Action, Call, Input, Start};
use hedge_core::channel::Channel;
use hedge_core::id::ServerId;
use hedge_core::outcome::{ErrorKind, Judgement, Verdict};
use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions, NoPolicy};
use hedge_core::time::{Duration, Instant};

const SEED: u64 = 5;

type Line<const N: usize = 8> = Channel<u16, AnyBalancer<Heap>, NoPolicy, u16, N>;

const ANSWERED: Duration = Duration::from_millis(5);
const BACKUP: Duration = Duration::from_millis(20);

/// So many servers with these weights.
fn line(balancer: &str, weights: &[u16]) -> Line {
    let options = ChannelOptions { backup: BackupDelay::after(BACKUP), ..ChannelOptions::brpc() };
    let balancer = AnyBalancer::named(balancer, SEED).unwrap();
    let mut line = Line::with_policy(options, balancer, NoPolicy, SEED);
    for (address, weight) in (0..).zip(weights) {
        line.insert(address, *weight).unwrap();
    }
    line
}

fn options(number: u64) -> CallOptions<'static> {
    let code = u32::try_from(number).unwrap().wrapping_mul(0x9E37_79B9);
    CallOptions { request_code: Some(code), ..CallOptions::new() }
}

/// How many first attempts and how many backups each server got, of calls in a row; `stalled` answers none.
struct Counts {
    firsts: [f64; 8],
    backups: [f64; 8],
}

fn calls_beside_a_stall(line: &Line, calls: u64, stalled: u16) -> Counts {
    let mut counts = Counts { firsts: [0.0; 8], backups: [0.0; 8] };
    let mut now = Instant::ZERO;
    let mut slot = |start: &Start, backup: bool| {
        let of = if backup { &mut counts.backups } else { &mut counts.firsts };
        of[usize::from(start.server.slot())] += 1.0;
        start.server.slot() != stalled
    };
    for number in 0..calls {
        let options = options(number);
        let mut call = line.call(&options, now).unwrap();
        let mut first = started(&mut call, now);
        if !slot(&first, false) {
            assert!(matches!(call.poll(now), Action::Wait { until } if until == Some(now + BACKUP)));
            now = now + BACKUP;
            first = started(&mut call, now);
            slot(&first, true);
        }
        now = now + ANSWERED;
        call.handle(now, Input::finished(first.attempt, Verdict::Accept));
        while !matches!(call.poll(now), Action::Done(_)) {}
    }
    counts
}

fn started<const N: usize>(call: &mut Call<'_, &Line<N>>, now: Instant) -> Start {
    let Action::Start(start) = call.poll(now) else { panic!("a start") };
    start
}

#[test]
fn s2_a_server_that_stalls_keeps_its_share_of_first_attempts_and_the_others_share_its_backups() {
    const CALLS: u64 = 12_000;
    let fair = CALLS as f64;
    for servers in [2, 3, 4, 6] {
        for balancer in ["rr", "wrr", "random", "wr"] {
            for stalled in [0, 1] {
                let line = line(balancer, &vec![1; servers.into()]);
                let Counts { firsts, backups } = calls_beside_a_stall(&line, CALLS, stalled);
                let what = format!("{balancer}, {servers} servers, {firsts:?}, {backups:?}, seed {SEED}");
                let (share, exact) = (fair / f64::from(servers), balancer.ends_with("rr"));
                let off = (firsts[usize::from(stalled)] - share).abs() / share;
                assert!(off < if exact { 0.001 } else { 0.05 }, "{what}");
                let each = firsts[usize::from(stalled)] / f64::from(servers - 1);
                let others = (0..servers).filter(|slot| *slot != stalled);
                let even = |slot: u16| (backups[usize::from(slot)] - each).abs() / each < 0.15;
                assert!(others.into_iter().all(even), "{what}");
            }
        }
    }
}

#[test]
fn s2_wrr_keeps_the_weights_of_first_attempts_beside_a_stall_and_heavy_servers_take_more_backups() {
    let line = line("wrr", &[4, 3, 2, 1]);
    let Counts { firsts, backups } = calls_beside_a_stall(&line, 10_000, 0);
    assert_eq!(firsts[..4], [4_000.0, 3_000.0, 2_000.0, 1_000.0]);
    for (slot, expected) in [(1, 2_000.0), (2, 1_333.0), (3, 667.0)] {
        assert!((backups[slot] - expected).abs() < 0.1 * expected, "{backups:?}, seed {SEED}");
    }
}

#[test]
fn s2_retries_move_no_turn() {
    // Each call of one channel has all the retries that it may have, each of the other none: the first attempts are the same.
    for balancer in ["rr", "wrr"] {
        let firsts = |retries: usize| -> Vec<ServerId> {
            let line = line(balancer, &[3, 1, 2, 2, 1]);
            let options = CallOptions { max_retry: Some(3), ..CallOptions::new() };
            let first = |_| {
                let mut call = line.call(&options, Instant::ZERO).unwrap();
                let first = started(&mut call, Instant::ZERO);
                let mut last = first;
                for _ in 0..retries {
                    call.handle(Instant::ZERO, Input::finished(last.attempt, Verdict::Retry));
                    last = started(&mut call, Instant::ZERO);
                }
                first.server
            };
            (0..200).map(first).collect()
        };
        assert_eq!(firsts(3), firsts(0), "{balancer}");
    }
}

#[test]
fn s9_no_balancer_starves_a_server_of_a_subset() {
    const CALLS: u64 = 8_000;
    for of in ["rr", "wrr", "random", "wr", "la", "p2c", "prequal"] {
        for size in [5, 20, 50] {
            let name = format!("subset:size={size} id=3 of={of}");
            let balancer = AnyBalancer::named(&name, SEED).unwrap();
            let mut line: Line<128> = Line::with_policy(ChannelOptions::brpc(), balancer, NoPolicy, SEED);
            let mut now = Instant::ZERO;
            line.set_servers((0..128).map(|address| (address, 1)), now).unwrap();
            let mut counts = std::collections::BTreeMap::new();
            for number in 0..CALLS {
                let options = options(number);
                let mut call = line.call(&options, now).unwrap();
                let start = started(&mut call, now);
                *counts.entry(start.server).or_insert(0.0) += f64::from(size) / CALLS as f64;
                now = now + ANSWERED;
                call.handle(now, Input::finished(start.attempt, Verdict::Accept));
                while !matches!(call.poll(now), Action::Done(_)) {}
            }
            assert_eq!(counts.len(), usize::try_from(size).unwrap(), "{name}: {counts:?}");
            let range = if of.ends_with("rr") { 0.99..=1.01 } else { 0.6..=1.5 };
            assert!(counts.values().all(|share| range.contains(share)), "{name}: {counts:?}, seed {SEED}");
        }
    }
}

/// The shares that two servers have of a thousand calls in a row after one attempt has failed so.
fn shares_after(balancer: &str, failure: Option<Judgement>) -> [f64; 2] {
    let line = line(balancer, &[1, 1]);
    let mut now = Instant::ZERO;
    let mut had = [0.0; 2];
    let mut failure = failure;
    for number in 0..1_200 {
        let options = CallOptions { max_retry: Some(0), ..options(number) };
        let mut call = line.call(&options, now).unwrap();
        let start = started(&mut call, now);
        let fails = failure.take_if(|_| number >= 100 && start.server.slot() == 0);
        now = now + if fails.is_some() { Duration::ZERO } else { ANSWERED };
        let judgement = fails.unwrap_or(Verdict::Accept.into());
        call.handle(now, Input::Finished { attempt: start.attempt, judgement });
        while !matches!(call.poll(now), Action::Done(_)) {}
        if number >= 200 {
            had[usize::from(start.server.slot())] += 0.001;
        }
    }
    had
}

#[test]
fn s7_what_failed_locally_teaches_no_balancer_anything() {
    for balancer in BalancerName::NAMES {
        let before = shares_after(balancer, None);
        for kind in [ErrorKind::Local, ErrorKind::RequestBody] {
            let judgement = Judgement::new(Verdict::Retry, kind.into());
            assert!(judgement.local);
            let after = shares_after(balancer, Some(judgement));
            assert!(
                (after[0] - before[0]).abs() < 0.02,
                "{balancer}: {before:?}, after {kind:?} {after:?}, seed {SEED}"
            );
        }
    }
}
