//! Measuring: every contender in every round, batch beside batch.
//!
//! A round runs one batch of each contender, so a machine that is slow for a while is slow for all of them. What is
//! compared is never two medians but the median of the rounds' ratios, and how far the middle half of them spreads says
//! how much of it is noise.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::allocations;

/// What a row is measured for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// At most so many times what another row takes.
    AtMost(f64, &'static str),
    /// No allocation.
    NoAllocation,
    /// No timer made.
    NoTimer,
}

/// One thing to measure.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    /// The row that its ratio is of; its own name makes it a floor.
    pub(crate) floor: &'static str,
    pub(crate) targets: Vec<Target>,
    /// Does it so many times; answers whether each went as it should, and how long they took.
    batch: Box<dyn FnMut(u32) -> (bool, Duration) + 'a>,
    /// How many calls a batch has, if that is not to be found out.
    calls: Option<u32>,
    /// How many timers were made so far, if that is counted.
    timers: Option<Box<dyn Fn() -> u32 + 'a>>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: &'static str, floor: &'static str, mut once: impl FnMut() -> bool + 'a) -> Self {
        Self::batched(name, floor, move |count| timed(|| (0..count).fold(true, |fine, _| fine & once())))
    }

    /// What does and times a whole batch by itself.
    pub(crate) fn batched(
        name: &'static str,
        floor: &'static str,
        batch: impl FnMut(u32) -> (bool, Duration) + 'a,
    ) -> Self {
        Self { name, floor, targets: Vec::new(), batch: Box::new(batch), calls: None, timers: None }
    }

    /// Awaits it in a runtime: what is pending waits for its turn there.
    pub(crate) fn awaited(
        name: &'static str,
        floor: &'static str,
        runtime: &'a Runtime,
        mut once: impl AsyncFnMut() -> bool + 'a,
    ) -> Self {
        Self::batched(name, floor, move |count| {
            timed(|| {
                runtime.block_on(async {
                    let mut fine = true;
                    for _ in 0..count {
                        fine &= once().await;
                    }
                    fine
                })
            })
        })
    }

    /// Of so many calls a batch.
    pub(crate) fn of(mut self, calls: u32) -> Self {
        self.calls = Some(calls);
        self
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    pub(crate) fn counting_timers(mut self, timers: impl Fn() -> u32 + 'a) -> Self {
        self.timers = Some(Box::new(timers));
        self
    }
}

/// What a batch answered, and how long it took.
pub(crate) fn timed(batch: impl FnOnce() -> bool) -> (bool, Duration) {
    let start = Instant::now();
    let fine = batch();
    (fine, start.elapsed())
}

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) batch: Duration,
    pub(crate) rounds: u32,
}

/// What was measured of one contender.
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) floor: &'static str,
    pub(crate) targets: Vec<Target>,
    /// Nanoseconds a call, round by round.
    times: Vec<f64>,
    /// Over all batches that were measured.
    pub(crate) allocations: f64,
    pub(crate) timers: Option<f64>,
}

impl Measured {
    #[cfg(test)]
    pub(crate) fn of_times(name: &'static str, times: Vec<f64>) -> Self {
        Self { name, floor: "floor", targets: Vec::new(), times, allocations: 0.0, timers: None }
    }

    pub(crate) fn time(&self) -> Quartiles {
        Quartiles::of(self.times.clone())
    }

    /// What this takes in terms of another, compared round by round.
    pub(crate) fn over(&self, other: &Self) -> Quartiles {
        Quartiles::of(self.times.iter().zip(&other.times).map(|(own, other)| own / other).collect())
    }
}

/// The middle of a distribution.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quartiles {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Quartiles {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values.get(values.len().saturating_sub(1) * quarter / 4).copied().unwrap_or(f64::NAN);
        Self { low: at(1), median: at(2), high: at(3) }
    }

    /// Half the distance of the outer quartiles, in percent of the median.
    pub(crate) fn spread(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.median * 100.0
    }
}

/// Measures all contenders.
///
/// # Errors
/// The name of one that did not do what it should.
pub(crate) fn measure(contenders: Vec<Contender<'_>>, effort: Effort) -> Result<Vec<Measured>, String> {
    let mut running =
        contenders.into_iter().map(|contender| Running::warm(contender, effort)).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..effort.rounds {
        running.iter_mut().try_for_each(Running::round)?;
    }
    Ok(running.into_iter().map(Running::finish).collect())
}

/// A contender among the rounds.
struct Running<'a> {
    contender: Contender<'a>,
    /// How many calls a batch has.
    count: u32,
    times: Vec<f64>,
    allocations: u64,
    timers: u64,
}

impl<'a> Running<'a> {
    fn warm(contender: Contender<'a>, effort: Effort) -> Result<Self, String> {
        let calls = contender.calls;
        let mut running = Self { contender, count: calls.unwrap_or(1), times: Vec::new(), allocations: 0, timers: 0 };
        // The fastest of three: one that was interrupted says nothing about how many calls fill a batch.
        while running.batch()?.min(running.batch()?).min(running.batch()?) < effort.batch
            && calls.is_none()
            && running.count < u32::MAX / 2
        {
            running.count *= 2;
        }
        running.times.reserve(usize::try_from(effort.rounds).unwrap_or(0));
        Ok(running)
    }

    fn batch(&mut self) -> Result<Duration, String> {
        let (fine, time) = (self.contender.batch)(self.count);
        if fine { Ok(time) } else { Err(format!("{}: a call did not go as it should", self.contender.name)) }
    }

    fn round(&mut self) -> Result<(), String> {
        let (allocations, timers) = (allocations::count(), self.timers_made());
        let time = self.batch()?;
        self.allocations += allocations::count() - allocations;
        self.timers += u64::from(self.timers_made().wrapping_sub(timers));
        self.times.push(time.as_secs_f64() * 1e9 / f64::from(self.count));
        Ok(())
    }

    fn timers_made(&self) -> u32 {
        self.contender.timers.as_ref().map_or(0, |timers| timers())
    }

    fn finish(self) -> Measured {
        let calls = self.times.len() as f64 * f64::from(self.count);
        // Counts are far below 2^53.
        let per_call = |total: u64| total as f64 / calls;
        Measured {
            name: self.contender.name,
            floor: self.contender.floor,
            timers: self.contender.timers.is_some().then(|| per_call(self.timers)),
            allocations: per_call(self.allocations),
            targets: self.contender.targets,
            times: self.times,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hint::black_box;

    use super::*;

    const EFFORT: Effort = Effort { batch: Duration::from_micros(50), rounds: 5 };

    #[test]
    fn allocations_and_timers_are_counted_per_call_and_warming_up_is_not() {
        let timers = Cell::new(0);
        let two = || {
            black_box((Box::new(1), Box::new(2)));
            timers.set(timers.get() + 3);
            true
        };
        let contenders = vec![
            Contender::new("none", "none", || true),
            Contender::new("two", "none", two).counting_timers(|| timers.get()),
        ];
        let measured = measure(contenders, EFFORT).unwrap();
        let counted: Vec<_> = measured.iter().map(|row| (row.allocations, row.timers)).collect();
        assert_eq!(counted, [(0.0, None), (2.0, Some(3.0))]);
    }

    #[test]
    fn a_call_that_fails_is_no_measurement() {
        let calls = Cell::new(0);
        let fails_late = || {
            calls.set(calls.get() + 1);
            calls.get() != 100
        };
        let error = measure(vec![Contender::new("late", "late", fails_late)], EFFORT).err().unwrap();
        assert!(error.contains("late"), "{error}");
    }
}
