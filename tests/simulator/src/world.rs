//! A world: one channel, its servers, and calls that come, wait, end, are cancelled or dropped.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hedge_core::call::{Action, Call, Host, Input, Report};
use hedge_core::id::AttemptId;
use hedge_core::outcome::Judgement;
use hedge_core::policy::{CallOptions, RetryTarget};
use hedge_core::time::Instant;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::{ATTEMPTS, Broken, Change, Line, ServerModel, Watch};

/// More actions than this within one poll is a livelock.
const MOST_ACTIONS: usize = 4 * ATTEMPTS;

/// One call of a world.
#[derive(Clone, Copy, Debug)]
pub struct CallPlan<'o> {
    /// When it starts.
    pub start: Instant,
    /// What it sets itself.
    pub options: &'o CallOptions<'o>,
    /// When the caller cancels it.
    pub cancel_at: Option<Instant>,
    /// When the caller drops it.
    pub drop_at: Option<Instant>,
}

/// What became of a call.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It ended by itself.
    Ended(Report<ATTEMPTS>),
    /// The caller dropped it; what it was up to then.
    Dropped(Report<ATTEMPTS>),
}

impl Outcome {
    /// The report, whole if the call ended by itself.
    #[must_use]
    pub const fn report(&self) -> &Report<ATTEMPTS> {
        let (Self::Ended(report) | Self::Dropped(report)) = self;
        report
    }
}

/// Every decision of a run, as bytes that can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    bytes: Vec<u8>,
}

impl Log {
    /// The log as it is.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn action(&mut self, now: Instant, call: usize, action: &Action) {
        self.bytes.extend_from_slice(&now.as_micros().to_le_bytes());
        self.bytes.extend_from_slice(&call.to_le_bytes());
        match action {
            Action::Start(start) => {
                self.bytes.extend([b'S', start.kind as u8]);
                self.bytes.extend_from_slice(&start.server.slot().to_le_bytes());
            }
            Action::Abandon { attempt } => self.bytes.extend(format!("A{attempt}").bytes()),
            Action::Wait { until } => {
                self.bytes.push(b'W');
                self.bytes.extend_from_slice(&until.map_or(u64::MAX, Instant::as_micros).to_le_bytes());
            }
            Action::Done(end) => self.bytes.extend([b'D', *end as u8]),
        }
    }
}

/// One channel, its servers by address, and the calls on it.
#[derive(Debug)]
pub struct World<'w> {
    line: &'w Line,
    servers: Vec<ServerModel>,
    rng: SmallRng,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    sequence: u64,
    log: Option<Log>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Change(usize),
    Start(usize),
    /// Which call, which attempt, which of the judgements kept aside.
    Finished(usize, AttemptId, usize),
    Timer(usize),
    Cancel(usize),
    Drop(usize),
}

struct Running<'w> {
    call: Call<'w, &'w Line, ATTEMPTS>,
    watch: Watch,
    timer: Option<Instant>,
}

impl<'w> World<'w> {
    /// A world on `line`, whose server at address a is `servers[a]`.
    #[must_use]
    pub fn new(line: &'w Line, servers: Vec<ServerModel>, seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self { line, servers, rng, events: BinaryHeap::new(), sequence: 0, log: None }
    }

    /// The same, keeping every decision.
    #[must_use]
    pub fn logged(mut self) -> Self {
        self.log = Some(Log::default());
        self
    }

    /// Runs all calls to their ends, while the server list changes; answers what became of each, and the log if it is
    /// kept.
    ///
    /// # Errors
    /// The first broken promise.
    pub fn run(
        mut self,
        plans: &[CallPlan<'w>],
        changes: &[(Instant, Change)],
    ) -> Result<(Vec<Outcome>, Option<Log>), Broken> {
        for (index, (at, _)) in changes.iter().enumerate() {
            self.schedule(*at, Event::Change(index));
        }
        for (index, plan) in plans.iter().enumerate() {
            self.schedule(plan.start, Event::Start(index));
            for (at, event) in [(plan.cancel_at, Event::Cancel(index)), (plan.drop_at, Event::Drop(index))] {
                if let Some(at) = at {
                    self.schedule(at.max(plan.start), event);
                }
            }
        }
        let mut running: Vec<Option<Running<'w>>> = plans.iter().map(|_| None).collect();
        let mut outcomes: Vec<Option<Outcome>> = plans.iter().map(|_| None).collect();
        let mut judgements: Vec<Judgement> = Vec::new();
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            let (index, input) = match event {
                Event::Change(change) => {
                    self.line.apply(changes[change].1, now);
                    continue;
                }
                Event::Start(index) => {
                    let broken = |what: String| Broken { call: index, at: now, what };
                    running[index] = Some(start(self.line, plans[index].options, now).map_err(broken)?);
                    (index, None)
                }
                Event::Timer(index) => (index, None),
                Event::Cancel(index) => (index, Some(Input::Cancel)),
                Event::Finished(index, attempt, kept) => {
                    (index, Some(Input::Finished { attempt, judgement: judgements[kept] }))
                }
                Event::Drop(index) => {
                    if let Some(gone) = running[index].take() {
                        outcomes[index] = Some(Outcome::Dropped(gone.call.report().clone()));
                    }
                    continue;
                }
            };
            let Some(it) = &mut running[index] else { continue };
            let stale = event == Event::Timer(index) && it.timer != Some(now);
            if stale || matches!(input, Some(Input::Finished { attempt, .. }) if !it.watch.finished(attempt)) {
                continue;
            }
            let broken = |what: String| Broken { call: index, at: now, what };
            if let Some(input) = input {
                it.call.handle(now, input);
            }
            self.poll(index, it, now, &mut judgements).map_err(broken)?;
            if it.watch.is_done() {
                it.watch.reported(it.call.report()).map_err(broken)?;
                outcomes[index] = Some(Outcome::Ended(it.call.report().clone()));
                running[index] = None;
            }
        }
        self.settled(plans, outcomes)
    }

    /// Polls a call until it waits or is done, doing what it asks for.
    fn poll(
        &mut self,
        index: usize,
        it: &mut Running<'w>,
        now: Instant,
        judgements: &mut Vec<Judgement>,
    ) -> Result<(), String> {
        for _ in 0..MOST_ACTIONS {
            let action = it.call.poll(now);
            it.watch.answered(now, &action, self.line)?;
            if let Some(log) = &mut self.log {
                log.action(now, index, &action);
            }
            match action {
                Action::Start(start) => {
                    let address = self.line.address(start.server).map(usize::from);
                    let server = address.and_then(|address| self.servers.get_mut(address)).ok_or("no such server")?;
                    if let Some((at, judgement)) = server.take(now, &mut self.rng) {
                        judgements.push(judgement);
                        self.schedule(at, Event::Finished(index, start.attempt, judgements.len() - 1));
                    }
                }
                Action::Abandon { .. } => {}
                Action::Wait { until } => {
                    if let Some(at) = until.filter(|_| it.timer != until) {
                        self.schedule(at, Event::Timer(index));
                    }
                    it.timer = until;
                    return Ok(());
                }
                Action::Done(_) => {
                    let again = it.call.poll(now);
                    return it.watch.answered(now, &again, self.line);
                }
            }
        }
        Err(format!("livelock: more than {MOST_ACTIONS} actions in one poll"))
    }

    /// Of one instant, events come in a random but seeded order: the second key is a draw above a sequence number.
    fn schedule(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        // Changes and starts come as they were planned, everything else by chance.
        let chance = match event {
            Event::Change(_) | Event::Start(_) => 0,
            _ => u64::from(self.rng.random::<u16>()) + 1,
        };
        self.events.push(Reverse((at, (chance << 40) | self.sequence, event)));
    }

    /// What must hold when nothing happens any more.
    fn settled(
        self,
        plans: &[CallPlan<'w>],
        outcomes: Vec<Option<Outcome>>,
    ) -> Result<(Vec<Outcome>, Option<Log>), Broken> {
        let end = |call, what: &str| Broken { call, at: Instant::NEVER, what: what.into() };
        if let Some(call) = outcomes.iter().position(Option::is_none) {
            return Err(end(call, "L1: never ended"));
        }
        let in_flight = self.line.in_flight();
        if in_flight != 0 {
            return Err(end(plans.len(), &format!("L20: {in_flight} attempts still counted in flight")));
        }
        Ok((outcomes.into_iter().flatten().collect(), self.log))
    }
}

/// Starts a call and the watch over it.
fn start<'w>(line: &'w Line, options: &'w CallOptions<'w>, now: Instant) -> Result<Running<'w>, String> {
    let channel = line.options();
    let call = Call::<_, ATTEMPTS>::new(line, options, now).map_err(|error| error.to_string())?;
    let connect = options.connect_timeout.unwrap_or(channel.connect_timeout).limit();
    let mut watch = Watch::new(
        call.deadline(),
        connect,
        options.max_retry.unwrap_or(channel.max_retry),
        options.max_backups.unwrap_or(channel.max_backups),
    );
    watch.same_server_backup = channel.same_server_backup;
    watch.retries_same = options.retry_target.unwrap_or(channel.retry_target) == RetryTarget::Same;
    watch.named = options.servers.is_some();
    Ok(Running { call, watch, timer: None })
}
