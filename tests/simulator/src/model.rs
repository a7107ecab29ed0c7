//! Models of servers: how long they take, how many they serve at once, and how they fail.

use hedge_core::outcome::{Code, ErrorKind, Judgement, Pushback, Verdict};
use hedge_core::time::{Duration, Instant};
use rand::RngExt;
use rand_distr::{Distribution, Exp, LogNormal};

/// How long a request takes once it is served.
#[derive(Clone, Debug)]
pub enum Latency {
    /// Always the same.
    Constant(Duration),
    /// Exponential with this mean.
    Exponential(Duration),
    /// Lognormal with this median and this sigma of the logarithm.
    LogNormal(Duration, f64),
    /// `base`, and `stall` more with this probability.
    Stalling {
        /// Without a stall.
        base: Box<Latency>,
        /// How much longer with one.
        stall: Duration,
        /// How often, in 0..=1.
        probability: f64,
    },
    /// `body`, kept below `from`; but a Pareto tail from there on with this probability.
    Tailed {
        /// Without the tail.
        body: Box<Latency>,
        /// Where the tail begins.
        from: Duration,
        /// How often, in 0..=1.
        probability: f64,
        /// How fast it falls: that it exceeds t becomes less likely as t^-exponent.
        exponent: f64,
    },
    /// One after the other, the last one for ever.
    Scripted(Vec<Duration>),
}

impl Latency {
    /// One sample; `served` is how many requests the server has taken before.
    pub fn sample(&self, served: usize, rng: &mut impl rand::Rng) -> Duration {
        match self {
            Self::Constant(latency) => *latency,
            Self::Exponential(mean) => {
                let unit: f64 = Exp::new(1.0).map_or(1.0, |exp| exp.sample(rng));
                scale(*mean, unit)
            }
            Self::LogNormal(median, sigma) => {
                let unit = LogNormal::new(0.0, *sigma).map_or(1.0, |lognormal| lognormal.sample(rng));
                scale(*median, unit)
            }
            Self::Stalling { base, stall, probability } => {
                let latency = base.sample(served, rng);
                if rng.random_bool(*probability) { latency + *stall } else { latency }
            }
            Self::Tailed { body, from, probability, exponent } => {
                // Above 0, of which the tail would make infinity.
                let dice = 1.0 - rng.random::<f64>();
                if dice <= *probability {
                    scale(*from, (probability / dice).powf(1.0 / exponent))
                } else {
                    body.sample(served, rng).min(*from)
                }
            }
            Self::Scripted(latencies) => latencies.get(served).or(latencies.last()).copied().unwrap_or(Duration::ZERO),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates when it becomes a u64")]
pub(crate) fn scale(duration: Duration, factor: f64) -> Duration {
    Duration::from_micros((duration.as_micros() as f64 * factor).round() as u64)
}

/// How often a server does what, in 0..=1 each; what is left is accepted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// `Retry` verdicts.
    pub retry: f64,
    /// `Retry` verdicts of requests that certainly never left, at once.
    pub refused: f64,
    /// `Wait` verdicts.
    pub internal: f64,
    /// `Fatal` verdicts.
    pub fatal: f64,
    /// No answer, ever.
    pub silent: f64,
    /// How many of the failures push back.
    pub pushback: f64,
}

/// A server with a queue: `workers` requests are served at once, in the order of their arrival, each to its end even if
/// nobody waits for it any more.
#[derive(Clone, Debug)]
pub struct ServerModel {
    latency: Latency,
    faults: Faults,
    /// When each worker is free.
    workers: Vec<Instant>,
    served: usize,
}

impl ServerModel {
    /// A server; `workers` 0 means that there is no queue.
    #[must_use]
    pub fn new(latency: Latency, faults: Faults, workers: usize) -> Self {
        Self { latency, faults, workers: vec![Instant::ZERO; workers], served: 0 }
    }

    /// Takes a request: when and how it will be answered, or `None` if never.
    pub fn take(&mut self, now: Instant, rng: &mut impl rand::Rng) -> Option<(Instant, Judgement)> {
        let judgement = self.faults.draw(rng)?;
        if judgement.never_left {
            return Some((now, judgement));
        }
        let latency = self.latency.sample(self.served, rng);
        self.served += 1;
        let begin = self.workers.iter_mut().min().map(|free| {
            let begin = now.max(*free);
            *free = begin + latency;
            begin
        });
        Some((begin.unwrap_or(now) + latency, judgement))
    }
}

impl Faults {
    /// What becomes of one request; `None`: no answer.
    fn draw(&self, rng: &mut impl rand::Rng) -> Option<Judgement> {
        let mut dice: f64 = rng.random();
        let mut hit = |probability: f64| {
            dice -= probability;
            dice < 0.0
        };
        let judgement = if hit(self.silent) {
            return None;
        } else if hit(self.retry) {
            Judgement::new(Verdict::Retry, ErrorKind::Reset.into())
        } else if hit(self.refused) {
            Judgement::new(Verdict::Retry, ErrorKind::Refused.into()).never_left()
        } else if hit(self.internal) {
            Judgement::new(Verdict::Wait, Code(500))
        } else if hit(self.fatal) {
            Judgement::new(Verdict::Fatal, ErrorKind::BadRequest.into())
        } else {
            return Some(Verdict::Accept.into());
        };
        if self.pushback > 0.0 && rng.random_bool(self.pushback) {
            let pushback = match rng.random_range(0..4) {
                0 => Pushback::DO_NOT,
                _ => Pushback::after(Duration::from_millis(rng.random_range(0..80))),
            };
            let pushback = if rng.random_bool(0.5) { pushback.for_server() } else { pushback };
            return Some(judgement.with_pushback(pushback));
        }
        Some(judgement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use hedge_core::time::Micros;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn mean_us(latency: &Latency) -> f64 {
        let mut rng = SmallRng::seed_from_u64(3);
        let samples: Vec<u64> = (0..100_000).map(|n| Micros::from(latency.sample(n, &mut rng)).as_micros()).collect();
        samples.iter().sum::<u64>() as f64 / samples.len() as f64
    }

    #[test]
    fn latencies_have_their_means() {
        let lognormal = Latency::LogNormal(MS(1), 0.5);
        let stalling = Latency::Stalling { base: Box::new(lognormal.clone()), stall: MS(20), probability: 0.05 };
        let body = Box::new(Latency::Constant(MS(70)));
        let tailed = Latency::Tailed { body, from: MS(20), probability: 0.25, exponent: 4.0 };
        for (latency, expected) in [
            (Latency::Constant(MS(7)), 7_000.0),
            (Latency::Exponential(MS(10)), 10_000.0),
            (lognormal, 1_000.0 * 0.125f64.exp()),
            (stalling, 1_000.0 * 0.125f64.exp() + 1_000.0),
            (tailed, 0.75 * 20_000.0 + 0.25 * 20_000.0 * 4.0 / 3.0),
            (Latency::Scripted(vec![MS(5), MS(9)]), 9_000.0),
        ] {
            let mean = mean_us(&latency);
            assert!((mean / expected - 1.0).abs() < 0.02, "{latency:?}: {mean}, expected {expected}");
        }
    }

    #[test]
    fn a_queue_serves_in_order_of_arrival() {
        let mut server = ServerModel::new(Latency::Constant(MS(10)), Faults::default(), 2);
        let mut rng = SmallRng::seed_from_u64(1);
        let ends: Vec<u64> =
            (0..5).map(|_| server.take(Instant::ZERO, &mut rng).unwrap().0.as_micros() / 1_000).collect();
        assert_eq!(ends, [10, 10, 20, 20, 30]);
    }
}
