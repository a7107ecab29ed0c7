//! Table 2 of *The Tail at Scale* (Dean and Barroso, CACM 2013): BigTable reads from disks, without a hedge and with a tied
//! request after 1 ms; on a cluster that is mostly idle, and on one that also sorts.
//!
//! # What is fitted, and what is not
//! The article gives four percentiles a row, and no distribution. The model is a number of disks, each with a queue. A read
//! takes lognormal time, and reads come at random times to random disks. So a row has three numbers: the median time of
//! a read, its spread sigma, and the load. They are fitted to the row without a hedge. But this row alone does not
//! decide between spread and load: every sigma from 0.2 to 0.5 fits the idle row to within some 2 %. So sigma was also
//! fitted to the tied row. Nothing else was: the percentiles of the tied row and the extra load are results of the
//! model.
//!
//! | row | p50 | p90 | p99 | p99.9 | extra reads |
//! |---|---|---|---|---|---|
//! | mostly idle, no hedge: article, model | 19, 19.2 | 38, 38.9 | 67, 66.9 | 98, 93.6 ms | |
//! | mostly idle, tied | 16, 17.0 | 29, 29.2 | 42, 45.0 | 61, 61.3 ms | < 1 %, 0.31 % |
//! | mostly idle, plain backup | 17.4 | 31.6 | 47.5 | 60.7 ms | 71 % |
//! | sorting, no hedge | 24, 24.3 | 56, 57.5 | 108, 106.6 | 159, 156.9 ms | |
//! | sorting, tied | 19, 20.1 | 38, 39.8 | 67, 68.0 | 108, 100.7 ms | < 1 %, 0.28 % |
//! | sorting, plain backup | 21.6 | 43.2 | 66.9 | 87.1 ms | 63 % |
//!
//! The servers run the queue of hedge-tower's layer ([`TieQueue`]), and the client is the core. A read that has begun is
//! never stopped. The row [`Hedging::Backup`] is not in the article: a plain backup after 1 ms. One of its copies
//! leaves the queue when the other copy is answered.

use std::collections::{BTreeMap, HashMap};

use hedge_core::balance::RandomChoice;
use hedge_core::call::{Action, Call, Input};
use hedge_core::channel::Channel;
use hedge_core::id::{AttemptId, IdempotencyKey};
use hedge_core::outcome::{Kind, Verdict};
use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions, NoPolicy};
use hedge_core::time::{Duration, Instant, Timeout};
use hedge_tower::tied::{Answer, CopyId, CopyState, Effect, TieQueue};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::{Broken, Latency, Measured};

/// How many disks there are, each with a server of its own.
pub const DISKS: usize = 20;

/// After how long the second request is sent.
pub const DELAY: Duration = Duration::from_millis(1);

/// How long a message takes, from a client to a server or between servers.
const NETWORK: Duration = Duration::from_micros(100);

/// How long a copy is held while the other server is asked.
const ASK: Duration = Duration::from_millis(1);

/// How many reads come before those that are measured.
const WARM_UP: usize = 1_000;

const ATTEMPTS: usize = 4;

/// How the disks are.
#[derive(Clone, Copy, Debug)]
pub struct Disks {
    /// The median time of a read, without its time in the queue.
    pub median: Duration,
    /// The sigma of the time's logarithm.
    pub sigma: f64,
    /// The share of the time at which a disk is busy without a hedge, in 0..1.
    pub load: f64,
}

/// The cluster that is mostly idle.
pub const IDLE: Disks = Disks { median: Duration::from_micros(15_950), sigma: 0.42, load: 0.32 };

/// The cluster that also sorts.
pub const SORTING: Disks = Disks { median: Duration::from_micros(18_400), sigma: 0.54, load: 0.38 };

/// What is done after [`DELAY`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hedging {
    /// Nothing.
    Off,
    /// A backup.
    Backup,
    /// A backup that is tied to the first request.
    Tied,
}

/// Reads as many blocks, one after the other, and measures how long each read took. [`Measured::attempts`] counts the
/// reads that a disk has begun.
///
/// # Errors
/// A promise is broken: no copy of a call has begun, or a copy that had begun was dropped.
pub fn run(disks: Disks, hedging: Hedging, reads: usize, seed: u64) -> Result<Measured, Broken> {
    let backup = if hedging == Hedging::Off { BackupDelay::OFF } else { BackupDelay::after(DELAY) };
    let options = ChannelOptions { backup, timeout: Timeout::NEVER, ..ChannelOptions::brpc() };
    let mut line = Line::with_policy(options, RandomChoice, NoPolicy, seed);
    for address in (0..).take(DISKS) {
        let inserted = line.insert(address, ());
        inserted.map_err(|error| Broken { call: 0, at: Instant::ZERO, what: error.to_string() })?;
    }
    let own = CallOptions::new();
    let mut run = Run {
        line: &line,
        own: &own,
        tied: hedging == Hedging::Tied,
        latency: Latency::LogNormal(disks.median, disks.sigma),
        rng: SmallRng::seed_from_u64(seed),
        disks: (0..DISKS).map(|_| Disk::new()).collect(),
        reads: HashMap::new(),
        events: BTreeMap::new(),
        next_event: 0,
        measured: Measured { latencies_us: Vec::with_capacity(reads), calls: 0, attempts: 0 },
    };
    // The mean of a lognormal time, and from it the time between two reads.
    let mean = disks.median.mul_f64((disks.sigma * disks.sigma / 2.0).exp());
    let every = Latency::Exponential(mean.div_f64(disks.load * DISKS as f64));
    run.all(reads, &every)?;
    run.measured.latencies_us.sort_unstable();
    Ok(run.measured)
}

type Line = Channel<u16, RandomChoice, NoPolicy, (), DISKS>;

struct Run<'r> {
    line: &'r Line,
    own: &'r CallOptions<'r>,
    tied: bool,
    latency: Latency,
    rng: SmallRng,
    disks: Vec<Disk>,
    /// The reads that are under way, by number.
    reads: HashMap<usize, Read<'r>>,
    /// What will happen, by its time. Events of one instant are in the order in which they were added.
    events: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    measured: Measured,
}

struct Read<'r> {
    call: Call<'r, &'r Line, ATTEMPTS>,
    started: Instant,
    /// The disk of each attempt.
    disks: [Option<usize>; ATTEMPTS],
    begun: usize,
    dropped: usize,
}

/// An attempt at a read.
type Try = (usize, AttemptId);

struct Disk {
    queue: TieQueue<usize>,
    tries: HashMap<CopyId, Try>,
    copies: HashMap<Try, CopyId>,
}

#[derive(Clone, Copy)]
enum Event {
    /// The next read starts.
    Next(usize),
    /// The client's timer.
    Wake(usize),
    /// A request reaches a disk; for a backup with the first request's disk.
    Arrive {
        at: usize,
        it: Try,
        first: Option<usize>,
    },
    /// The client does not wait any more.
    Cancel {
        at: usize,
        it: Try,
    },
    /// A disk has read.
    Finish {
        at: usize,
        copy: CopyId,
    },
    /// An answer reaches the client.
    Answer {
        it: Try,
        verdict: Verdict,
    },
    Ask {
        from: usize,
        to: usize,
        key: IdempotencyKey,
        copy: CopyId,
    },
    Answered {
        at: usize,
        copy: CopyId,
        answer: Answer,
    },
    Release {
        at: usize,
        copy: CopyId,
    },
    Tell {
        to: usize,
        key: IdempotencyKey,
    },
}

impl Disk {
    fn new() -> Self {
        Self { queue: TieQueue::new(1, usize::MAX), tries: HashMap::new(), copies: HashMap::new() }
    }

    fn leave(&mut self, copy: CopyId) -> Option<Try> {
        self.queue.leave(copy);
        let it = self.tries.remove(&copy)?;
        self.copies.remove(&it);
        Some(it)
    }
}

impl Run<'_> {
    fn all(&mut self, reads: usize, every: &Latency) -> Result<(), Broken> {
        self.put(Instant::ZERO, Event::Next(0));
        while let Some(((now, _), event)) = self.events.pop_first() {
            if let Event::Next(number) = event {
                if number < WARM_UP + reads {
                    self.start(number, now)?;
                    let after = every.sample(number, &mut self.rng);
                    self.put(now + after, Event::Next(number + 1));
                }
            } else {
                self.happen(event, now)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, at: Instant, event: Event) {
        self.events.insert((at, self.next_event), event);
        self.next_event += 1;
    }

    fn start(&mut self, number: usize, now: Instant) -> Result<(), Broken> {
        let call = self.line.call(self.own, now);
        let call = call.map_err(|error| Broken { call: number, at: now, what: error.to_string() })?;
        let read = Read { call, started: now, disks: [None; ATTEMPTS], begun: 0, dropped: 0 };
        self.reads.insert(number, read);
        self.wake(number, now)
    }

    fn happen(&mut self, event: Event, now: Instant) -> Result<(), Broken> {
        let at = match event {
            Event::Next(_) => return Ok(()),
            Event::Wake(number) => return self.wake(number, now),
            Event::Answer { it: (number, attempt), verdict } => {
                if let Some(read) = self.reads.get_mut(&number) {
                    read.call.handle(now, Input::finished(attempt, verdict));
                }
                return self.wake(number, now);
            }
            Event::Arrive { at, it, first } => {
                let key = self.tied.then(|| IdempotencyKey::from_bytes((it.0 as u128).to_be_bytes()));
                let disk = &mut self.disks[at];
                if let Ok(copy) = disk.queue.arrive(key, first.filter(|_| self.tied)) {
                    disk.tries.insert(copy, it);
                    disk.copies.insert(it, copy);
                }
                at
            }
            Event::Cancel { at, it } => {
                let disk = &mut self.disks[at];
                if let Some(copy) = disk.copies.get(&it).copied()
                    && disk.queue.state(copy) != Some(CopyState::Begun)
                {
                    disk.leave(copy);
                }
                at
            }
            Event::Finish { at, copy } => {
                if let Some(it) = self.disks[at].leave(copy) {
                    self.put(now + NETWORK, Event::Answer { it, verdict: Verdict::Accept });
                }
                at
            }
            Event::Ask { from, to, key, copy } => {
                let answer = self.disks[to].queue.asked(from, key);
                self.put(now + NETWORK, Event::Answered { at: from, copy, answer });
                to
            }
            Event::Answered { at, copy, answer } => {
                self.disks[at].queue.answered(copy, answer);
                at
            }
            Event::Release { at, copy } => {
                self.disks[at].queue.release(copy);
                at
            }
            Event::Tell { to, key } => {
                self.disks[to].queue.told(key);
                to
            }
        };
        self.effects(at, now)
    }

    /// Does what the queue of a disk asks for.
    fn effects(&mut self, at: usize, now: Instant) -> Result<(), Broken> {
        while let Some(effect) = self.disks[at].queue.next_effect() {
            match effect {
                Effect::Changed(copy) => self.changed(at, copy, now)?,
                Effect::Ask { to, key, copy } => {
                    self.put(now + NETWORK, Event::Ask { from: at, to, key, copy });
                    self.put(now + ASK, Event::Release { at, copy });
                }
                Effect::Tell { to, key } => self.put(now + NETWORK, Event::Tell { to, key }),
            }
        }
        Ok(())
    }

    /// A copy has begun or was dropped.
    fn changed(&mut self, at: usize, copy: CopyId, now: Instant) -> Result<(), Broken> {
        let disk = &mut self.disks[at];
        let Some(it) = disk.tries.get(&copy).copied() else { return Ok(()) };
        let begins = disk.queue.state(copy) == Some(CopyState::Begun);
        if let Some(read) = self.reads.get_mut(&it.0) {
            *(if begins { &mut read.begun } else { &mut read.dropped }) += 1;
            if read.begun == 0 {
                let what = "Y1: a copy is dropped, and no copy has begun".into();
                return Err(Broken { call: it.0, at: now, what });
            }
        }
        if begins {
            self.measured.attempts += u64::from(it.0 >= WARM_UP);
            let end = now + self.latency.sample(0, &mut self.rng);
            self.put(end, Event::Finish { at, copy });
        } else {
            disk.leave(copy);
            self.put(now + NETWORK, Event::Answer { it, verdict: Verdict::Wait });
        }
        Ok(())
    }

    /// Lets a read go on.
    fn wake(&mut self, number: usize, now: Instant) -> Result<(), Broken> {
        let Some(mut read) = self.reads.remove(&number) else { return Ok(()) };
        loop {
            match read.call.poll(now) {
                Action::Start(start) => {
                    let at = usize::from(start.server.slot());
                    let first = read.disks[0].filter(|_| start.kind == Kind::Backup);
                    read.disks[start.attempt.index()] = Some(at);
                    self.put(now + NETWORK, Event::Arrive { at, it: (number, start.attempt), first });
                }
                Action::Abandon { attempt } => {
                    if let Some(at) = read.disks[attempt.index()] {
                        self.put(now + NETWORK, Event::Cancel { at, it: (number, attempt) });
                    }
                }
                Action::Wait { until } => {
                    if let Some(until) = until {
                        self.put(until, Event::Wake(number));
                    }
                    self.reads.insert(number, read);
                    return Ok(());
                }
                Action::Done(_) if read.call.report().winner().is_none() => {
                    return Err(Broken { call: number, at: now, what: "Y1: the call failed".into() });
                }
                Action::Done(_) => {
                    if number >= WARM_UP {
                        self.measured.calls += 1;
                        self.measured.latencies_us.push(now.micros_since(read.started).as_micros());
                    }
                    return Ok(());
                }
            }
        }
    }
}
