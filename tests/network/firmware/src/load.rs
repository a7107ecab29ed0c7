//! Two clients, each of which makes its next call when the last one has ended, and the results.

use core::cell::{Cell, RefCell};

use embassy_futures::join::join;
use embassy_time::Instant;

use crate::samples::Samples;

/// How many calls run at once.
pub const CLIENTS: usize = 2;

/// The result of a run with at most `N` answers.
#[derive(Debug, Default)]
pub struct Run<const N: usize> {
    /// How long the answered calls took.
    pub answered: Samples<N>,
    /// How many calls were not answered.
    pub failed: usize,
}

/// Makes `calls` calls: each client makes one after another. `call` makes one with the client and the number that it is
/// given, and returns whether it was answered. The result replaces that of an earlier run.
pub async fn run<const N: usize, C>(
    result: &mut Run<N>,
    calls: usize,
    clients: &mut [C; CLIENTS],
    call: impl AsyncFn(&mut C, usize) -> bool,
) {
    result.answered.clear();
    result.failed = 0;
    let (next, shared) = (Cell::new(0), RefCell::new(&mut *result));
    let work = async |client: &mut C| {
        while next.get() < calls {
            let number = next.replace(next.get() + 1);
            let started = Instant::now();
            let answered = call(client, number).await;
            let mut result = shared.borrow_mut();
            if answered {
                result.answered.record(started.elapsed());
            } else {
                result.failed += 1;
            }
        }
    };
    let [one, other] = clients;
    join(work(one), work(other)).await;
    result.answered.sort();
}

impl<const N: usize> Run<N> {
    /// A result without calls.
    pub const fn new() -> Self {
        Self { answered: Samples::new(), failed: 0 }
    }

    /// Logs one line of a table.
    pub fn print(&self, name: &str) {
        let samples = &self.answered;
        defmt::info!(
            "{=str}: {=usize} calls, {=usize} failed, p50 {=u32} us, p95 {=u32} us, p99 {=u32} us, max {=u32} us",
            name,
            samples.taken() + self.failed,
            self.failed,
            samples.at(500),
            samples.at(950),
            samples.at(990),
            samples.at(1_000)
        );
    }
}
