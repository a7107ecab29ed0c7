//! A fleet under load: requests that read one key or many, each read a call on one channel, and how long they took.
//!
//! Unlike a [`World`](crate::World) it watches no promise and keeps no report, only latencies and counts: 20 million calls
//! fit. Servers do not fail, and what nobody waits for any more is still served to its end.
//!
//! Cost: an event is a pass through a heap of the calls that are in flight, and a call has one event for its start and one
//! for each time it would be woken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hedge_core::balance::RandomChoice;
use hedge_core::call::{Action, Call, Input};
use hedge_core::channel::Channel;
use hedge_core::id::AttemptId;
use hedge_core::outcome::Verdict;
use hedge_core::policy::{BackupPolicy, CallOptions, ChannelOptions};
use hedge_core::time::Instant;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::{Broken, Faults, Latency, ServerModel};

/// How many servers a [`Fleet`] has.
pub const SERVERS: usize = 100;

/// What a call of [`Channel::call`] holds.
const ATTEMPTS: usize = 4;

type Line<P, const N: usize> = Channel<u16, RandomChoice, P, (), N>;

/// [`SERVERS`] servers.
pub type Fleet = FleetOf<SERVERS>;

/// `N` servers that are all alike, behind one channel that chooses among them at random.
#[derive(Clone, Debug)]
pub struct FleetOf<const N: usize> {
    /// How long a read takes, each attempt at it a draw of its own.
    pub latency: Latency,
    /// How many reads a server works on at once, the others in a queue; 0: as many as come.
    pub workers: usize,
    /// What the channel's calls may do.
    pub options: ChannelOptions,
}

/// What is asked of a fleet.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many requests are measured.
    pub requests: usize,
    /// How many come before those, and are not.
    pub warm_up: usize,
    /// How many keys a request reads, all at once; it is done when the last of them is.
    pub keys: usize,
    /// From one request to the next.
    pub every: Latency,
    /// Where all chance comes from.
    pub seed: u64,
}

/// What a fleet made of a load.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How long each request took, in us, ascending.
    pub latencies_us: Vec<u64>,
    /// The calls of those requests, one a key.
    pub calls: u64,
    /// Their attempts.
    pub attempts: u64,
}

impl Measured {
    /// The least latency in ms that at least this share of the requests, in 0..=1, did not exceed.
    #[must_use]
    pub fn percentile_ms(&self, share: f64) -> f64 {
        percentile_ms(&self.latencies_us, share)
    }

    /// The mean latency in ms.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        self.latencies_us.iter().sum::<u64>() as f64 / self.latencies_us.len() as f64 / 1_000.0
    }

    /// The attempts beyond one a call, as a share of the calls.
    #[must_use]
    pub fn extra(&self) -> f64 {
        (self.attempts - self.calls) as f64 / self.calls as f64
    }
}

/// Of ascending latencies in us, the least in ms that at least this share of them, in 0..=1, does not exceed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank among the latencies")]
pub(crate) fn percentile_ms(latencies_us: &[u64], share: f64) -> f64 {
    let rank = (latencies_us.len() as f64 * share).ceil() as usize;
    latencies_us.get(rank.max(1) - 1).map_or(f64::NAN, |us| *us as f64 / 1_000.0)
}

impl<const N: usize> FleetOf<N> {
    /// Puts the load on the fleet; `policy` is the channel's.
    ///
    /// # Errors
    /// Options that contradict themselves, and calls that would never end.
    pub fn run<P: BackupPolicy>(&self, policy: P, load: &Load) -> Result<Measured, Broken> {
        let broken = |what: String| Broken { call: 0, at: Instant::ZERO, what };
        let mut line = Line::<P, N>::with_policy(self.options.clone(), RandomChoice, policy, load.seed);
        for address in (0..).take(N) {
            line.insert(address, ()).map_err(|error| broken(error.to_string()))?;
        }
        let own = CallOptions::new();
        let servers = vec![ServerModel::new(self.latency.clone(), Faults::default(), self.workers); N];
        let rng = SmallRng::seed_from_u64(load.seed);
        let run = Run {
            line: &line,
            own: &own,
            servers,
            rng,
            reads: Vec::new(),
            free: Vec::new(),
            events: BinaryHeap::new(),
        };
        run.all(load)
    }
}

/// A run and its calls in flight, in slots that are used again.
struct Run<'r, P: BackupPolicy, const N: usize> {
    line: &'r Line<P, N>,
    own: &'r CallOptions<'r>,
    servers: Vec<ServerModel>,
    rng: SmallRng,
    reads: Vec<Option<Read<'r, P, N>>>,
    free: Vec<usize>,
    /// When which read goes on, at most one event a read. Of one instant, in the order of the slots.
    events: BinaryHeap<Reverse<(Instant, usize)>>,
}

/// One key of a request.
struct Read<'r, P: BackupPolicy, const N: usize> {
    call: Call<'r, &'r Line<P, N>, ATTEMPTS>,
    request: usize,
    /// When its attempts are answered.
    answers: [Option<(Instant, AttemptId)>; ATTEMPTS],
}

/// One request that is under way.
#[derive(Clone, Copy)]
struct Open {
    started: Instant,
    keys_left: usize,
}

impl<'r, P: BackupPolicy, const N: usize> Run<'r, P, N> {
    fn all(mut self, load: &Load) -> Result<Measured, Broken> {
        let mut open: Vec<Open> = Vec::with_capacity(load.warm_up + load.requests);
        let mut measured = Measured { latencies_us: Vec::with_capacity(load.requests), calls: 0, attempts: 0 };
        let mut next_request = Instant::ZERO;
        loop {
            let due = self.events.peek().map(|Reverse((at, _))| *at);
            if open.len() < load.warm_up + load.requests && due.is_none_or(|at| at > next_request) {
                open.push(Open { started: next_request, keys_left: load.keys });
                for _ in 0..load.keys {
                    self.start(open.len() - 1, next_request)?;
                }
                next_request = next_request + load.every.sample(open.len(), &mut self.rng);
                continue;
            }
            let Some(Reverse((now, slot))) = self.events.pop() else { break };
            let Some((request, attempts)) = self.wake(slot, now)? else { continue };
            let it = &mut open[request];
            it.keys_left -= 1;
            if request >= load.warm_up {
                measured.calls += 1;
                measured.attempts += attempts as u64;
                if it.keys_left == 0 {
                    measured.latencies_us.push(now.micros_since(it.started).as_micros());
                }
            }
        }
        measured.latencies_us.sort_unstable();
        Ok(measured)
    }

    fn start(&mut self, request: usize, now: Instant) -> Result<(), Broken> {
        let call = self.line.call(self.own, now);
        let call = call.map_err(|error| Broken { call: request, at: now, what: error.to_string() })?;
        let read = Some(Read { call, request, answers: [None; ATTEMPTS] });
        let slot = match self.free.pop() {
            Some(slot) => {
                self.reads[slot] = read;
                slot
            }
            None => {
                self.reads.push(read);
                self.reads.len() - 1
            }
        };
        self.events.push(Reverse((now, slot)));
        Ok(())
    }

    /// Lets a read go on; answers its request and the number of its attempts if it is done.
    fn wake(&mut self, slot: usize, now: Instant) -> Result<Option<(usize, usize)>, Broken> {
        let Some(read) = &mut self.reads[slot] else { return Ok(None) };
        for answer in &mut read.answers {
            if let Some((_, attempt)) = answer.take_if(|(at, _)| *at <= now) {
                read.call.handle(now, Input::finished(attempt, Verdict::Accept));
            }
        }
        loop {
            match read.call.poll(now) {
                Action::Start(start) => {
                    // In an order of their own: they are all alike.
                    let taken = self.servers[usize::from(start.server.slot())].take(now, &mut self.rng);
                    read.answers[start.attempt.index()] = taken.map(|(at, _)| (at, start.attempt));
                }
                Action::Abandon { .. } => {}
                Action::Wait { until } => {
                    let answers = read.answers.iter().flatten().map(|(at, _)| *at);
                    let Some(next) = answers.chain(until).min() else {
                        let what = "L10: waits for nothing".into();
                        return Err(Broken { call: read.request, at: now, what });
                    };
                    self.events.push(Reverse((next, slot)));
                    return Ok(None);
                }
                Action::Done(_) => {
                    let done = (read.request, read.call.report().attempts().len());
                    self.reads[slot] = None;
                    self.free.push(slot);
                    return Ok(Some(done));
                }
            }
        }
    }
}
