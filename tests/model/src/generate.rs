//! Scripts at random: [`script`].

use fastrand::Rng;
use hedge_core::outcome::{Code, Denial, ErrorKind, Judgement, Pushback, Verdict};
use hedge_core::policy::{
    Backoff, BackupDelay, CallKind, CallOptions, ChannelOptions, Idempotency, OnEarlyFailure, RetryTarget,
};
use hedge_core::time::{Duration, Timeout};

use crate::script::{Answers, Event, Outcome, Script, Server, Wake, What};

/// The unit of most times, in microseconds: small, so that much happens at one instant.
const GRID: u64 = 5_000;

/// The script of a seed: of every second one of a call that may go on for long.
#[must_use]
pub fn script(seed: u64) -> Script {
    let mut rng = Rng::with_seed(seed);
    let script = anything(&mut rng);
    if seed.is_multiple_of(2) { script } else { longer(&mut rng, script) }
}

/// A call that may be hedged and retried often, with failures enough.
fn longer(rng: &mut Rng, script: Script) -> Script {
    let timeout = if one_in(rng, 3) { Timeout::NEVER } else { Timeout::after(span(rng, 100)) };
    let channel = ChannelOptions {
        timeout,
        max_retry: rng.u8(3..=7),
        backup: BackupDelay::after(span(rng, 6)),
        max_backups: rng.u8(1..=4),
        idempotency: Idempotency::Unset,
        ..script.channel
    };
    let attempts = (0..8).map(|_| {
        let mut outcome = outcome(rng);
        if matches!(outcome.judgement.verdict, Verdict::Accept | Verdict::Fatal) && !one_in(rng, 4) {
            outcome.judgement.verdict = Verdict::Retry;
        }
        outcome
    });
    let attempts = attempts.collect();
    let servers = (0..rng.usize(2..=5)).map(|_| server(rng)).collect();
    Script { channel, own: CallOptions::new(), attempts, servers, named: None, ..script }
}

fn anything(rng: &mut Rng) -> Script {
    let channel = channel(rng);
    let own = own(rng);
    let servers = servers(rng);
    let count = rng.usize(0..=8);
    let attempts = (0..count).map(|_| outcome(rng)).collect();
    let count = if rng.u8(..) < 100 { 0 } else { rng.usize(1..=4) };
    let events = (0..count).map(|_| event(rng, servers.len())).collect();
    Script {
        channel,
        own,
        named: one_in(rng, 10).then(|| (0..rng.usize(0..4)).map(|_| rng.usize(0..=servers.len())).collect()),
        channel_policy: answers(rng),
        call_policy: one_in(rng, 4).then(|| answers(rng)),
        first_offset: rng.usize(0..4),
        further_offset: rng.usize(0..4),
        lost_commits: (0..rng.usize(0..3)).map(|_| rng.bool()).collect(),
        start: if rng.bool() { 0 } else { 1_000_000_007 },
        first_poll: if one_in(rng, 8) { some_time(rng, 25) } else { 0 },
        attempts,
        events,
        wakes: if one_in(rng, 3) { (0..8).map(|_| wake(rng)).collect() } else { Vec::new() },
        servers,
    }
}

fn one_in(rng: &mut Rng, many: u32) -> bool {
    rng.u32(0..many) == 0
}

fn any<T: Copy>(rng: &mut Rng, of: &[T]) -> Option<T> {
    rng.choice(of).copied()
}

/// A time of up to so many units, mostly on the grid.
fn some_time(rng: &mut Rng, most: u64) -> u64 {
    let time = rng.u64(0..=most) * GRID;
    if one_in(rng, 12) { time + rng.u64(0..3) } else { time }
}

fn span(rng: &mut Rng, most: u64) -> Duration {
    Duration::from_micros(some_time(rng, most))
}

/// A wait, at times one that never ends.
fn wait(rng: &mut Rng, most: u64) -> Duration {
    if one_in(rng, 100) { Duration::MAX } else { span(rng, most) }
}

fn timeout(rng: &mut Rng) -> Timeout {
    if one_in(rng, 5) { Timeout::NEVER } else { Timeout::after(span(rng, 24)) }
}

fn backup(rng: &mut Rng) -> BackupDelay {
    match rng.u8(0..16) {
        0 => BackupDelay::OFF,
        1 => BackupDelay::shadow(wait(rng, 8)),
        _ => BackupDelay::after(wait(rng, 8)),
    }
}

fn backoff(rng: &mut Rng) -> Backoff {
    match rng.u8(0..4) {
        0 => Backoff::fixed(span(rng, 8)),
        1 => {
            let wait = span(rng, 6);
            Backoff::jittered(wait, wait).unwrap_or_default()
        }
        _ => Backoff::OFF,
    }
}

fn idempotency(rng: &mut Rng) -> Idempotency {
    match rng.u8(0..10) {
        0 => Idempotency::NotIdempotent,
        1..4 => Idempotency::Idempotent,
        _ => Idempotency::Unset,
    }
}

fn target(rng: &mut Rng) -> RetryTarget {
    if one_in(rng, 4) { RetryTarget::Same } else { RetryTarget::Another }
}

fn channel(rng: &mut Rng) -> ChannelOptions {
    ChannelOptions {
        timeout: timeout(rng),
        connect_timeout: timeout(rng),
        max_retry: rng.u8(0..=7),
        backup: backup(rng),
        max_backups: any(rng, &[0, 1, 1, 1, 2, 2, 3, 4]).unwrap_or(1),
        backoff: backoff(rng),
        no_backoff_remaining: if one_in(rng, 3) { span(rng, 12) } else { Duration::ZERO },
        retry_target: target(rng),
        same_server_backup: one_in(rng, 4),
        on_early_failure: if one_in(rng, 3) { OnEarlyFailure::Wait } else { OnEarlyFailure::StartNext },
        pushback_for_service: one_in(rng, 4),
        idempotency: idempotency(rng),
    }
}

fn own(rng: &mut Rng) -> CallOptions<'static> {
    CallOptions {
        timeout: one_in(rng, 4).then(|| timeout(rng)),
        connect_timeout: one_in(rng, 8).then(|| timeout(rng)),
        max_retry: one_in(rng, 6).then(|| rng.u8(0..=7)),
        backup: one_in(rng, 4).then(|| backup(rng)),
        max_backups: one_in(rng, 6).then(|| rng.u8(0..=4)),
        backoff: one_in(rng, 8).then(|| backoff(rng)),
        retry_target: one_in(rng, 8).then(|| target(rng)),
        idempotency: idempotency(rng),
        kind: match rng.u8(0..24) {
            0 => CallKind::OneWay,
            1 => CallKind::Stream,
            2 => CallKind::Datagram,
            _ => CallKind::Unary,
        },
        streaming: one_in(rng, 4),
        ..CallOptions::new()
    }
}

fn server(rng: &mut Rng) -> Server {
    Server { address: rng.u16(0..4), tag: rng.u8(0..2), usable: !one_in(rng, 6) }
}

fn servers(rng: &mut Rng) -> Vec<Server> {
    let count = any(rng, &[0, 1, 2, 2, 3, 3, 4, 5, 6]).unwrap_or(2);
    (0..count).map(|_| server(rng)).collect()
}

fn denials(rng: &mut Rng) -> Vec<Option<Denial>> {
    if one_in(rng, 2) {
        return Vec::new();
    }
    (0..rng.usize(1..4)).map(|_| if one_in(rng, 2) { any(rng, &Denial::ALL) } else { None }).collect()
}

fn answers(rng: &mut Rng) -> Answers {
    Answers { delay: one_in(rng, 4).then(|| backup(rng)), backups: denials(rng), retries: denials(rng) }
}

fn judgement(rng: &mut Rng) -> Judgement {
    let code = any(rng, ErrorKind::ALL).map_or(Code::NONE, Code::from);
    let code = if one_in(rng, 3) { Code(rng.u16(0..600)) } else { code };
    let mut judgement = match rng.u8(0..16) {
        0..2 => Judgement::new(Verdict::Accept, if rng.bool() { Code::NONE } else { code }),
        2..11 => Judgement::new(Verdict::Retry, code),
        11..15 => Judgement::new(Verdict::Wait, code),
        _ => Judgement::new(Verdict::Fatal, code),
    };
    if one_in(rng, 5) {
        judgement = judgement.never_left();
    }
    if one_in(rng, 10) {
        judgement = judgement.local();
    }
    if one_in(rng, 4) {
        let after = wait(rng, 10);
        let pushback = [
            Pushback::after(after),
            Pushback::after(after),
            Pushback::DO_NOT,
            Pushback::after(after).for_server(),
            Pushback::DO_NOT.for_server(),
        ];
        if let Some(pushback) = any(rng, &pushback) {
            judgement = judgement.with_pushback(pushback);
        }
    }
    judgement
}

fn outcome(rng: &mut Rng) -> Outcome {
    Outcome {
        after: (!one_in(rng, 6)).then(|| some_time(rng, 12)),
        judgement: judgement(rng),
        tie: rng.u8(0..4),
        poll: !one_in(rng, 4),
    }
}

fn event(rng: &mut Rng, servers: usize) -> Event {
    let server = rng.usize(0..=servers);
    let what = match rng.u8(0..16) {
        0 => What::Cancel,
        1 => What::Drop,
        2..6 => What::Usable(server, rng.bool()),
        6..8 => What::Remove(server),
        8..10 => What::Insert(self::server(rng)),
        10..13 => What::Result(rng.usize(0..4), judgement(rng)),
        _ => What::Nothing,
    };
    Event { at: some_time(rng, 20), tie: rng.u8(0..4), poll: !one_in(rng, 4), what }
}

fn wake(rng: &mut Rng) -> Wake {
    Wake { late: if one_in(rng, 2) { 0 } else { some_time(rng, 3) }, tie: rng.u8(0..4) }
}
