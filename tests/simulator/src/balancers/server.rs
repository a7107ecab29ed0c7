//! One server of a fleet: workers, a queue, a cache perhaps, and what is wrong with it.

use std::collections::VecDeque;

use hedge_core::balance::ProbeAnswer;
use hedge_core::balance::prequal::ServerLoad;
use hedge_core::outcome::{Code, ErrorKind, Judgement, Verdict};
use hedge_core::time::{Duration, Instant};

use crate::model::scale;
use crate::{Latency, balancers::run::Request};

/// How many requests a server works on at once.
pub const WORKERS: usize = 4;

/// How long a server that fails, or answers without thinking, takes for it.
const AT_ONCE: Duration = Duration::from_millis(1);

/// How a server is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Condition {
    /// As it should be.
    Well,
    /// It takes so many times longer.
    Slow(f64),
    /// It answers every request with an error, in 1 ms, without work.
    Failing,
    /// It answers every request wrongly, in 1 ms, without work, and the client takes that for a success.
    Wrong,
    /// It takes every request and answers none.
    Frozen,
    /// Connections to it are refused, and those that stand are reset.
    Down,
    /// It is well, and in no list.
    Absent,
}

impl Condition {
    pub(super) fn is_well(self) -> bool {
        matches!(self, Self::Well | Self::Absent)
    }
}

/// What a request costs a server.
#[derive(Clone, Debug)]
pub enum Service {
    /// The same, whatever it asks for.
    Plain(Latency),
    /// Less if the server has been asked for its key before.
    Cached {
        /// Of what is in the cache.
        hit: Latency,
        /// Of what is not.
        miss: Latency,
        /// The keys of so many last requests are.
        keeps: u64,
    },
}

/// What a server makes of a request.
pub(super) enum Reply {
    /// It will be answered then, without a worker.
    Answered(Instant, Answer),
    /// A worker is at it.
    Begun(Request),
    /// It waits for a worker.
    Waits,
    /// It will not be answered.
    Silence,
}

/// What comes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Answer {
    Good,
    Wrong,
    Error,
    Refused,
    Reset,
}

impl Answer {
    pub(super) fn judgement(self) -> Judgement {
        match self {
            Self::Good | Self::Wrong => Verdict::Accept.into(),
            Self::Error => Judgement::new(Verdict::Retry, Code(503)),
            Self::Refused => Judgement::new(Verdict::Retry, ErrorKind::Refused.into()).never_left(),
            Self::Reset => Judgement::new(Verdict::Retry, ErrorKind::Reset.into()),
        }
    }

    /// Whether the connection is gone.
    pub(super) const fn breaks(self) -> bool {
        matches!(self, Self::Refused | Self::Reset)
    }
}

/// A server.
#[derive(Debug)]
pub struct Server {
    service: Service,
    pace: f64,
    condition: Condition,
    working: Vec<Request>,
    waiting: VecDeque<Request>,
    /// How often it has lost all its requests.
    life: u32,
    taken: u64,
    /// Which of the requests taken was the last one for a key, from 1.
    cached: Vec<u64>,
    load: ServerLoad,
}

impl Server {
    /// A server that takes `pace` times as long as `service` says, for keys below `keys`.
    #[must_use]
    pub fn new(service: Service, pace: f64, keys: usize) -> Self {
        let cached = if matches!(service, Service::Cached { .. }) { vec![0; keys] } else { Vec::new() };
        let (condition, working, waiting) = (Condition::Well, Vec::new(), VecDeque::new());
        Self { service, pace, condition, working, waiting, life: 0, taken: 0, cached, load: ServerLoad::new() }
    }

    /// How it is.
    #[must_use]
    pub const fn condition(&self) -> Condition {
        self.condition
    }

    /// What it answers a probe; `None` if it does not.
    pub(super) fn probed(&self, now: Instant) -> Option<ProbeAnswer> {
        let silent = matches!(self.condition, Condition::Frozen | Condition::Down);
        (!silent).then(|| self.load.answer(now))
    }

    pub(super) const fn life(&self) -> u32 {
        self.life
    }

    /// Changes how it is; answers the requests whose connections are reset.
    pub(super) fn set(&mut self, condition: Condition) -> Vec<Request> {
        self.condition = condition;
        if !matches!(condition, Condition::Frozen | Condition::Down) {
            return Vec::new();
        }
        self.life += 1;
        let lost: Vec<_> = self.working.drain(..).chain(self.waiting.drain(..)).collect();
        lost.iter().for_each(|_| self.load.dropped());
        if condition == Condition::Down { lost } else { Vec::new() }
    }

    /// How much work a request for a key is now.
    pub(super) fn work(&mut self, key: usize, rng: &mut impl rand::Rng) -> Duration {
        let factor = match self.condition {
            Condition::Well | Condition::Absent => 1.0,
            Condition::Slow(factor) => factor,
            _ => return Duration::ZERO,
        };
        let latency = match &self.service {
            Service::Plain(latency) => latency,
            Service::Cached { hit, miss, keeps } => {
                self.taken += 1;
                let last = std::mem::replace(&mut self.cached[key], self.taken);
                if last > 0 && self.taken - last <= *keeps { hit } else { miss }
            }
        };
        scale(latency.sample(0, rng), self.pace * factor)
    }

    /// Takes a request.
    pub(super) fn take(&mut self, mut request: Request, now: Instant) -> Reply {
        match self.condition {
            Condition::Failing => Reply::Answered(now + AT_ONCE, Answer::Error),
            Condition::Wrong => {
                let before = self.load.started();
                self.load.finished(now + AT_ONCE, before, AT_ONCE);
                Reply::Answered(now + AT_ONCE, Answer::Wrong)
            }
            Condition::Down => Reply::Answered(now, Answer::Refused),
            Condition::Frozen => Reply::Silence,
            Condition::Well | Condition::Slow(_) | Condition::Absent => {
                request.before = self.load.started();
                if self.working.len() < WORKERS {
                    self.working.push(request);
                    Reply::Begun(request)
                } else {
                    self.waiting.push_back(request);
                    Reply::Waits
                }
            }
        }
    }

    /// A worker is done with a request; answers what it turns to, the first that is still wanted.
    pub(super) fn served(
        &mut self,
        done: &Request,
        now: Instant,
        wanted: impl Fn(&Request) -> bool,
    ) -> Option<Request> {
        self.load.finished(now, done.before, now.since(done.sent));
        self.working.retain(|request| request != done);
        let next = loop {
            let next = self.waiting.pop_front()?;
            if wanted(&next) {
                break next;
            }
            self.load.dropped();
        };
        self.working.push(next);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedge_core::id::AttemptId;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn request(number: u64) -> Request {
        Request { slot: 0, number, attempt: AttemptId::FIRST, sent: Instant::ZERO, work: MS(10), before: 0 }
    }

    fn server(service: Service) -> Server {
        Server::new(service, 2.0, 10)
    }

    fn in_flight(server: &Server) -> Option<u32> {
        server.probed(Instant::ZERO).map(|answer| answer.in_flight)
    }

    #[test]
    fn what_nobody_waits_for_is_dropped_when_its_turn_comes() {
        let mut server = server(Service::Plain(Latency::Constant(MS(5))));
        let mut begun = Vec::new();
        for number in 0..7 {
            match server.take(request(number), Instant::ZERO) {
                Reply::Begun(request) => begun.push(request),
                reply => assert!(matches!(reply, Reply::Waits)),
            }
        }
        assert_eq!((begun.len(), in_flight(&server)), (WORKERS, Some(7)));
        let next = server.served(&begun[0], Instant::from_millis(10), |request| request.number > 5);
        assert_eq!(next.map(|next| next.number), Some(6));
        assert_eq!(server.served(&begun[1], Instant::from_millis(10), |_| true), None);
        assert_eq!(in_flight(&server), Some(3));
    }

    #[test]
    fn a_server_that_goes_down_resets_what_it_has_and_one_that_freezes_keeps_silent() {
        let mut server = server(Service::Plain(Latency::Constant(MS(5))));
        for (condition, lost) in [(Condition::Down, 6), (Condition::Frozen, 0)] {
            server.set(Condition::Well);
            (0..6).for_each(|number| assert!(!matches!(server.take(request(number), Instant::ZERO), Reply::Silence)));
            assert_eq!(server.set(condition).len(), lost);
            assert_eq!(in_flight(&server), None);
        }
        assert!(matches!(server.take(request(7), Instant::ZERO), Reply::Silence));
        server.set(Condition::Well);
        assert_eq!(in_flight(&server), Some(0));
    }

    #[test]
    fn a_key_is_cheap_while_it_is_among_the_last_ones() {
        let (hit, miss) = (Latency::Constant(MS(1)), Latency::Constant(MS(10)));
        let mut server = server(Service::Cached { hit, miss, keeps: 2 });
        let mut rng = SmallRng::seed_from_u64(1);
        let work = [1, 1, 2, 1, 2, 3, 1].map(|key| server.work(key, &mut rng).as_millis());
        assert_eq!(work, [20, 2, 20, 2, 2, 20, 20], "at half the pace");
    }
}
