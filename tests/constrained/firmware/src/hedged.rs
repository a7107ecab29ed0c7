//! The calls with hedge, driven by hand: several at once over one channel, in virtual time.

use core::cell::Cell;

use hedge_core::balance::RoundRobin;
use hedge_core::call::{Action, Call, Input};
use hedge_core::channel::Channel;
use hedge_core::id::AttemptId;
use hedge_core::outcome::{End, Kind, Verdict as Means};
use hedge_core::policy::{BackupDelay, BackupPolicy, CallOptions, ChannelOptions, Ended};
use hedge_core::time::{Duration, Instant};

use crate::fleet::{CALLS, Fleet, STALL_US};
use crate::plain::Run;
use crate::verdict::Verdict;

/// How many servers there are.
const SERVERS: u16 = 16;
/// How many calls run at once.
const LANES: usize = 4;
/// How long a call waits before its request is sent to another server too.
const BACKUP: Duration = Duration::from_millis(2);

type Line = Channel<u16, RoundRobin, Notices, u8, 16>;

/// A policy that counts the ends of calls (B2).
struct Notices {
    ended: Cell<u32>,
}

impl BackupPolicy for Notices {
    fn ended(&self, _: &Ended<'_>) {
        self.ended.set(self.ended.get().saturating_add(1));
    }
}

/// The errors of a run, counted.
#[derive(Default)]
struct Faults {
    /// Calls that did not end with an accepted answer.
    failed: u32,
    /// Calls that returned something else than their end after it.
    ended_twice: u32,
    /// Attempts that had to be abandoned although they were never started or had a result.
    abandoned_wrongly: u32,
}

/// Makes a run without backups and one with them, and checks what must hold for both.
pub(crate) fn check(verdict: &mut Verdict, plain: &Run) {
    let alone = run("rr", BackupDelay::Disabled, verdict);
    let hedged = run("backup", BackupDelay::After(BACKUP), verdict);
    let Some((alone, hedged)) = alone.zip(hedged) else { return };
    verdict.expect("without backups, one request a call", alone.attempts == CALLS);
    verdict.expect("without backups, a channel is as slow as its servers", same_tail(&alone, plain));
    verdict.expect("backups win calls", hedged.backups_won > 0);
    verdict.expect("backups cost at most 8 % more requests", hedged.attempts <= CALLS + CALLS / 100 * 8);
    let (before, after) = (alone.latencies.quantile(990), hedged.latencies.quantile(990));
    verdict.expect("p99 with backups is below a quarter of p99 without", after * 4 <= before);
}

fn same_tail(one: &Run, other: &Run) -> bool {
    let stalls = |run: &Run| run.latencies.quantile(990) >= STALL_US;
    stalls(one) && stalls(other)
}

/// Makes one run. Returns `None` if its options cannot be carried out.
fn run(name: &'static str, backup: BackupDelay, verdict: &mut Verdict) -> Option<Run> {
    let options = ChannelOptions { backup, ..ChannelOptions::brpc() };
    let notices = Notices { ended: Cell::new(0) };
    let mut line: Line = Channel::with_policy(options, RoundRobin::new(3), notices, 3).ok()?;
    for address in 0..SERVERS {
        line.insert(address, 0).ok()?;
    }
    let own = CallOptions::new();
    let mut fleet = Fleet::new();
    let (mut run, mut faults) = (Run::new(), Faults::default());
    let mut lanes: [Option<Lane<'_>>; LANES] = [const { None }; LANES];
    let mut left = CALLS;
    let mut now = Instant::ZERO;
    loop {
        for place in &mut lanes {
            // A call that ends makes room for the next, at the same instant.
            loop {
                if place.is_none() && left > 0 {
                    left -= 1;
                    *place = Some(Lane::new(line.call(&own, now).ok()?));
                }
                let Some(lane) = place else { break };
                let Some(end) = lane.step(now, &mut fleet, &mut run, &mut faults) else { break };
                lane.finish(now, end, &mut run, &mut faults);
                *place = None;
            }
        }
        match lanes.iter().flatten().map(Lane::next).min() {
            Some(next) => now = now.max(next),
            None => break,
        }
    }
    run.print(name);
    verdict.expect("every call is accepted", faults.failed == 0 && run.latencies.total() == CALLS);
    verdict.expect("every call ends once", faults.ended_twice == 0 && line.policy().ended.get() == CALLS);
    verdict.expect("only what is in flight is abandoned", faults.abandoned_wrongly == 0);
    let in_flight: u32 = line.cluster().iter().map(|(server, _)| line.cluster().in_flight(server)).sum();
    verdict.expect("no server is left with an attempt in flight", in_flight == 0);
    Some(run)
}

/// A call, and its requests that have no answer yet.
struct Lane<'a> {
    call: Call<'a, &'a Line>,
    running: [Option<(AttemptId, Instant)>; 4],
    until: Option<Instant>,
}

impl<'a> Lane<'a> {
    const fn new(call: Call<'a, &'a Line>) -> Self {
        Self { call, running: [None; 4], until: None }
    }

    /// When something happens next.
    fn next(&self) -> Instant {
        let answers = self.running.iter().flatten().map(|(_, at)| *at);
        answers.chain(self.until).min().unwrap_or(Instant::NEVER)
    }

    /// Does everything that happens at this instant. Returns the call's end if it has ended.
    fn step(&mut self, now: Instant, fleet: &mut Fleet, run: &mut Run, faults: &mut Faults) -> Option<End> {
        for place in &mut self.running {
            if let Some((attempt, _)) = place.take_if(|(_, at)| *at <= now) {
                self.call.handle(now, Input::finished(attempt, Means::Accept));
            }
        }
        loop {
            match self.call.poll(now) {
                Action::Start(start) => {
                    run.attempts += 1;
                    let at = now + Duration::from_micros(fleet.latency());
                    if let Some(place) = self.running.get_mut(start.attempt.index()) {
                        *place = Some((start.attempt, at));
                    }
                }
                Action::Abandon { attempt } => {
                    if self.running.get_mut(attempt.index()).and_then(Option::take).is_none() {
                        faults.abandoned_wrongly += 1;
                    }
                }
                Action::Wait { until } => {
                    self.until = until;
                    return None;
                }
                Action::Done(end) => return Some(end),
            }
        }
    }

    /// Counts a call that has ended, and checks that later inputs do not change it.
    fn finish(&mut self, now: Instant, end: End, run: &mut Run, faults: &mut Faults) {
        let report = self.call.report();
        run.latencies.record(report.elapsed().as_micros());
        let won = report.winner().and_then(|winner| report.attempts().get(winner.index()));
        run.backups_won += u32::from(won.is_some_and(|attempt| attempt.kind() == Kind::Backup));
        faults.failed += u32::from(end != End::Accepted);
        self.call.handle(now, Input::Cancel);
        self.call.handle(now, Input::finished(AttemptId::FIRST, Means::Fatal));
        faults.ended_twice += u32::from(self.call.poll(now + BACKUP) != Action::Done(end));
    }
}
