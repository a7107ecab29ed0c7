//! A run: the calls of a scenario through real channels, from event to event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hedge_core::balance::{AnyBalancer, ProbeAnswer, hash};
use hedge_core::call::{Action, Call, Host, Input, Start};
use hedge_core::health::{AnyBreaker, CheckAction, CheckInput, CheckOptions, Checker};
use hedge_core::id::{AttemptId, ServerId};
use hedge_core::outcome::{End, Kind};
use hedge_core::policy::CallOptions;
use hedge_core::random::Seeds;
use hedge_core::time::{Duration, Instant};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1, Zipf};

use super::server::{Answer, Reply};
use super::{Arrivals, Condition, Keys, Measured, Scenario, Server, Step};
use crate::model::scale;
use crate::{Broken, Change, Line, SimPolicy};

/// What a call holds: brpc's three retries, and the first.
const ATTEMPTS: usize = 4;

/// How long a probe's answer takes.
const PROBE: Duration = Duration::from_micros(500);

/// What a caller does between two calls in a row takes.
const BETWEEN: Duration = Duration::from_micros(100);

/// One attempt at a server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Request {
    pub(super) slot: usize,
    pub(super) number: u64,
    pub(super) attempt: AttemptId,
    pub(super) sent: Instant,
    pub(super) work: Duration,
    /// How many the server had when it came.
    pub(super) before: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    /// A step of the scenario.
    Step(usize),
    /// The next call.
    Arrival,
    /// A worker of a server, in one of its lives, is done.
    Served(usize, u32, Request),
    /// A request is answered by who and how.
    Answered(usize, Request, Answer),
    /// A call in a slot wants to be polled.
    Timer(usize, u64),
    /// A client's check of a server may be due.
    Check(usize, usize),
    /// The body of a client's stream has ended.
    Streamed(usize, ServerId),
    /// A client's probe of a server is answered: with so many requests in flight, and that latency.
    Probed(usize, ServerId, u32, Duration),
}

/// A call under way.
struct Open<'r> {
    call: Call<'r, &'r Line, ATTEMPTS>,
    number: u64,
    client: usize,
    key: usize,
    started: Instant,
    timer: Option<Instant>,
    /// The attempt that was answered wrongly.
    wrong: Option<AttemptId>,
}

struct Run<'r> {
    scenario: &'r Scenario,
    lines: &'r [Line],
    own: &'r [CallOptions<'r>],
    /// Of the call that streams.
    streaming: &'r CallOptions<'r>,
    checkers: Vec<Vec<Checker>>,
    servers: Vec<Server>,
    /// What arrives; the same before every balancer.
    arrivals: SmallRng,
    /// How much work it is.
    work: SmallRng,
    open: Vec<Option<Open<'r>>>,
    free: Vec<usize>,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    sequence: u64,
    /// Where each key went first, the last time.
    last: Vec<Option<usize>>,
    zipf: Option<Zipf<f64>>,
    /// How many calls there were, and how many of them after the warm-up.
    made: u64,
    begun: usize,
    /// Whether there are more to come.
    more: bool,
    measured: Measured,
}

/// Measures `calls` calls through a balancer of this name, after the warm-up.
///
/// # Errors
/// A balancer or options that cannot be made, a server that is not taken in, and calls that would never end.
pub fn run(scenario: &Scenario, balancer: &str, calls: usize, seed: u64) -> Result<Measured, Broken> {
    let broken = |what: String| Broken { call: 0, at: Instant::ZERO, what };
    let count = scenario.paces.len();
    let seeds = Seeds::new(seed);
    let mut lines = Vec::new();
    let mut checkers = Vec::new();
    for _ in 0..scenario.clients {
        let balancer = AnyBalancer::named(balancer, seeds.next()).map_err(|error| broken(error.to_string()))?;
        let breaker = scenario.breaker.map_or(AnyBreaker::None, AnyBreaker::new);
        lines.push(Line::under(breaker, scenario.options.clone(), balancer, SimPolicy::default(), seeds.next()));
        checkers.push((0..count).map(|_| Checker::new(CheckOptions::DEFAULT, &seeds)).collect::<Vec<_>>());
    }
    let keys = scenario.keys.count();
    let code = |key: usize| Some(hash::murmur3_32(&key.to_le_bytes()));
    let own: Vec<_> = (0..keys).map(|key| CallOptions { request_code: code(key), ..CallOptions::new() }).collect();
    let streaming = CallOptions { streaming: true, request_code: code(0), ..CallOptions::new() };
    let zipf = match scenario.keys {
        Keys::Zipf(count, exponent) => Zipf::new(count as f64, exponent).ok(),
        _ => None,
    };
    let measured = Measured {
        latencies_us: Vec::with_capacity(calls),
        attempts: vec![0; count],
        firsts: vec![0; count],
        work: vec![Duration::ZERO; count],
        ..Measured::default()
    };
    let run = Run {
        scenario,
        lines: &lines,
        own: &own,
        streaming: &streaming,
        checkers,
        servers: scenario.paces.iter().map(|pace| Server::new(scenario.service.clone(), *pace, keys)).collect(),
        arrivals: SmallRng::seed_from_u64(seeds.next()),
        work: SmallRng::seed_from_u64(seeds.next()),
        open: Vec::new(),
        free: Vec::new(),
        events: BinaryHeap::new(),
        sequence: 0,
        last: vec![None; keys],
        zipf,
        made: 0,
        begun: 0,
        more: true,
        measured,
    };
    run.all(calls)
}

impl<'r> Run<'r> {
    fn all(mut self, calls: usize) -> Result<Measured, Broken> {
        let start = Instant::ZERO + self.scenario.warm_up;
        if self.scenario.steps.iter().any(|step| !step.condition.is_well()) {
            self.measured.unwell = Some(0);
        }
        for server in 0..self.servers.len() {
            // Who is to come has not come yet.
            let absent = |step: &Step| usize::from(step.server) == server && step.condition == Condition::Absent;
            let condition = if self.scenario.steps.iter().any(absent) { Condition::Absent } else { Condition::Well };
            self.servers[server].set(condition);
            if condition == Condition::Well {
                self.enlist(server, true, Instant::ZERO)?;
            }
        }
        for (index, step) in self.scenario.steps.iter().enumerate() {
            self.schedule(start + step.after, Event::Step(index));
        }
        let callers = if let Arrivals::InRow(callers) = self.scenario.arrivals { callers } else { 1 };
        (0..callers).for_each(|_| self.schedule(Instant::ZERO, Event::Arrival));
        // What is left then are steps, and checks.
        while self.more || self.open.len() > self.free.len() {
            let Some(Reverse((now, _, event))) = self.events.pop() else {
                return Err(Broken { call: self.begun, at: Instant::NEVER, what: "L1: never ended".into() });
            };
            match event {
                Event::Step(index) => self.step(index, now)?,
                Event::Arrival => self.arrive(now, calls)?,
                Event::Served(server, life, request) => self.served(server, life, request, now)?,
                Event::Answered(server, request, answer) => self.answered(server, request, answer, now)?,
                Event::Timer(slot, number) => {
                    let due = |it: &Open<'_>| it.number == number && it.timer == Some(now);
                    if self.open[slot].as_ref().is_some_and(due) {
                        self.poll(slot, now)?;
                    }
                }
                Event::Check(client, server) => self.check(client, server, now),
                Event::Streamed(client, server) => self.lines[client].released(server),
                Event::Probed(client, server, in_flight, latency) => {
                    self.lines[client].probed(server, ProbeAnswer { in_flight, latency }, now);
                }
            }
        }
        self.measured.latencies_us.sort_unstable();
        Ok(self.measured)
    }

    /// Whether what begins now is measured.
    fn counts(&self, now: Instant) -> bool {
        now.since(Instant::ZERO) >= self.scenario.warm_up
    }

    /// Of one instant, events come as they were scheduled.
    fn schedule(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn step(&mut self, index: usize, now: Instant) -> Result<(), Broken> {
        let step = self.scenario.steps[index];
        let server = usize::from(step.server);
        let before = self.servers[server].condition();
        for request in self.servers[server].set(step.condition) {
            self.schedule(now, Event::Answered(server, request, Answer::Reset));
        }
        if (before == Condition::Absent) != (step.condition == Condition::Absent) {
            self.enlist(server, before == Condition::Absent, now)?;
        }
        if let Some(again) = self.scenario.again {
            self.schedule(now + again, Event::Step(index));
        }
        Ok(())
    }

    /// Takes a server into every client's list, or out of it.
    fn enlist(&mut self, server: usize, comes: bool, now: Instant) -> Result<(), Broken> {
        let (address, tag) = (address(server), self.scenario.weights[server]);
        for line in self.lines {
            let change = if comes { Change::Insert(address, tag) } else { Change::Remove(address, tag) };
            line.apply(change, now);
            if line.usable(now).iter().any(|(_, there)| *there == address) != comes {
                return Err(Broken { call: 0, at: now, what: format!("{change:?} did nothing") });
            }
        }
        Ok(())
    }

    /// A call begins, and the next one is due.
    fn arrive(&mut self, now: Instant, calls: usize) -> Result<(), Broken> {
        if !self.more {
            return Ok(());
        }
        let gaps = match self.scenario.arrivals {
            Arrivals::Poisson => Some(Exp1.sample(&mut self.arrivals)),
            Arrivals::Even => Some(1.0),
            Arrivals::InRow(_) => None,
        };
        let key = self.key();
        let client = self.arrivals.random_range(0..self.lines.len());
        let broken = |what: String| Broken { call: 0, at: now, what };
        self.probe(client, now);
        // The first that is measured.
        let streams = self.scenario.stream.is_some() && self.counts(now) && self.begun == 0;
        let own = if streams { self.streaming } else { &self.own[key] };
        let call = Call::new(&self.lines[client], own, now).map_err(|error| broken(error.to_string()))?;
        self.made += 1;
        let open = Some(Open { call, number: self.made, client, key, started: now, timer: None, wrong: None });
        let slot = self.free.pop().unwrap_or(self.open.len());
        match self.open.get_mut(slot) {
            Some(free) => *free = open,
            None => self.open.push(open),
        }
        self.begun += usize::from(self.counts(now));
        self.more = self.begun < calls;
        self.poll(slot, now)?;
        if let Some(gaps) = gaps.filter(|_| self.more) {
            self.schedule(now + scale(Duration::from_secs(1), gaps / self.scenario.per_second), Event::Arrival);
        }
        Ok(())
    }

    /// Which key is next.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ranks and counts of keys are small")]
    fn key(&mut self) -> usize {
        match (self.scenario.keys, &self.zipf) {
            (Keys::Zipf(..), Some(zipf)) => zipf.sample(&mut self.arrivals) as usize - 1,
            (Keys::InTurn(count), _) => (self.made % count as u64) as usize,
            (keys, _) => self.arrivals.random_range(0..keys.count()),
        }
    }

    /// Sends the probes that a client's balancer asks for.
    fn probe(&mut self, client: usize, now: Instant) {
        let lines = self.lines;
        lines[client].probes(now, &mut |server| {
            let answer = lines[client].address(server).and_then(|there| self.servers[usize::from(there)].probed(now));
            if let Some(ProbeAnswer { in_flight, latency }) = answer {
                self.schedule(now + PROBE, Event::Probed(client, server, in_flight, latency));
            }
        });
    }

    /// Does what a call asks for until it waits or is done.
    fn poll(&mut self, slot: usize, now: Instant) -> Result<(), Broken> {
        let Some(mut it) = self.open[slot].take() else { return Ok(()) };
        loop {
            match it.call.poll(now) {
                Action::Start(start) => self.send(&it, slot, &start, now),
                Action::Abandon { .. } => {}
                Action::Wait { until } => {
                    if let Some(at) = until.filter(|_| it.timer != until) {
                        self.schedule(at, Event::Timer(slot, it.number));
                    }
                    it.timer = until;
                    self.open[slot] = Some(it);
                    return Ok(());
                }
                Action::Done(end) => {
                    self.free.push(slot);
                    if let (Some(body), Some(server)) = (self.scenario.stream, it.call.winner_at_work()) {
                        self.measured.streamed = self.lines[it.client].address(server).map(usize::from);
                        self.schedule(now + body, Event::Streamed(it.client, server));
                    }
                    if self.counts(it.started) {
                        let well =
                            end == End::Accepted && (it.wrong.is_none() || it.wrong != it.call.report().winner());
                        self.measured.failed += u64::from(!well);
                        self.measured.latencies_us.push(now.micros_since(it.started).as_micros());
                    }
                    if self.more && matches!(self.scenario.arrivals, Arrivals::InRow(_)) {
                        self.schedule(now + BETWEEN, Event::Arrival);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Sends an attempt to its server.
    fn send(&mut self, it: &Open<'_>, slot: usize, start: &Start, now: Instant) {
        let Some(address) = self.lines[it.client].address(start.server) else { return };
        let server = usize::from(address);
        let work = self.servers[server].work(it.key, &mut self.work);
        self.count(it.key, server, start.kind, work, now);
        let request = Request { slot, number: it.number, attempt: start.attempt, sent: now, work, before: 0 };
        match self.servers[server].take(request, now) {
            Reply::Answered(at, answer) => self.schedule(at, Event::Answered(server, request, answer)),
            Reply::Begun(begun) => {
                self.schedule(now + work, Event::Served(server, self.servers[server].life(), begun));
            }
            Reply::Waits | Reply::Silence => {}
        }
    }

    fn count(&mut self, key: usize, server: usize, kind: Kind, work: Duration, now: Instant) {
        let (second, counts) = (usize::try_from(now.as_micros() / 1_000_000).unwrap_or(usize::MAX), self.counts(now));
        let measured = &mut self.measured;
        if measured.seconds.len() <= second {
            measured.seconds.resize(second + 1, vec![0; self.servers.len()]);
        }
        measured.seconds[second][server] += 1;
        let last = if kind == Kind::First { self.last[key].replace(server) } else { None };
        if !counts {
            return;
        }
        measured.attempts[server] += 1;
        measured.firsts[server] += u64::from(kind == Kind::First);
        measured.work[server] += work;
        if let Some(unwell) = &mut measured.unwell {
            *unwell += u64::from(!self.servers[server].condition().is_well());
        }
        if let Some(last) = last {
            measured.moved.0 += 1;
            measured.moved.1 += u64::from(last != server);
        }
    }

    /// A worker is done: it turns to the next request, and the client hears of this one.
    fn served(&mut self, server: usize, life: u32, request: Request, now: Instant) -> Result<(), Broken> {
        if self.servers[server].life() != life {
            return Ok(());
        }
        let wanted = |request: &Request| {
            let open = self.open[request.slot].as_ref().filter(|it| it.number == request.number);
            open.is_some_and(|it| it.call.report().attempts()[request.attempt.index()].in_flight())
        };
        if let Some(next) = self.servers[server].served(&request, now, wanted) {
            self.schedule(now + next.work, Event::Served(server, life, next));
        }
        self.answered(server, request, Answer::Good, now)
    }

    fn answered(&mut self, server: usize, request: Request, answer: Answer, now: Instant) -> Result<(), Broken> {
        let Some(it) = self.open[request.slot].as_mut().filter(|it| it.number == request.number) else { return Ok(()) };
        if answer == Answer::Wrong {
            it.wrong = Some(request.attempt);
        }
        let client = it.client;
        it.call.handle(now, Input::Finished { attempt: request.attempt, judgement: answer.judgement() });
        if answer.breaks() {
            self.checkers[client][server].handle(now, CheckInput::Broken);
            self.check(client, server, now);
        }
        self.poll(request.slot, now)
    }

    /// Does what a checker asks for until it waits.
    fn check(&mut self, client: usize, server: usize, now: Instant) {
        let checker = &mut self.checkers[client][server];
        loop {
            match checker.poll(now) {
                CheckAction::Publish { usable } => {
                    let (address, tag) = (address(server), self.scenario.weights[server]);
                    self.lines[client].apply(Change::Usable(address, tag, usable), now);
                }
                CheckAction::Connect { check, .. } | CheckAction::Ask { check, .. } => {
                    let down = self.servers[server].condition() == Condition::Down;
                    checker.handle(now, if down { CheckInput::Failed { check } } else { CheckInput::Passed { check } });
                }
                CheckAction::Abandon { .. } => {}
                CheckAction::Wait { until } => {
                    if let Some(at) = until {
                        self.schedule(at, Event::Check(client, server));
                    }
                    return;
                }
                CheckAction::Done => return,
            }
        }
    }
}

/// A server's address is its place.
#[expect(clippy::cast_possible_truncation, reason = "there are a dozen")]
const fn address(server: usize) -> u16 {
    server as u16
}
