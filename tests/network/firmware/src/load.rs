//! Two clients that call as fast as they are answered, and what it came to.

use core::cell::{Cell, RefCell};

use embassy_futures::join::join;
use embassy_time::Instant;

use crate::samples::Samples;

/// How many calls are made at a time.
pub const CLIENTS: usize = 2;

/// What a run came to; of at most `N` answers.
#[derive(Debug, Default)]
pub struct Run<const N: usize> {
    /// How long the calls took that were answered.
    pub answered: Samples<N>,
    /// Calls that were not.
    pub failed: usize,
}

/// Makes so many calls, each client one after another; `call` is lent the client and the number of the call, and says
/// whether it was answered. What an earlier run came to is forgotten.
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
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { answered: Samples::new(), failed: 0 }
    }

    /// One line of a table.
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
