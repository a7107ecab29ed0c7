//! What a run leaves open: [`Before`] and [`Left`].

use std::fmt;
use std::fs;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hedge_net::Runtime;

use crate::counting::Counting;

/// How long everything may take to be closed and ended after the last call.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was open before a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    descriptors: u64,
}

/// What is open: after a run, what the run has left.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    /// Descriptors; after a run, above those before the run.
    pub(crate) descriptors: u64,
    pub(crate) tasks: u64,
}

impl Before {
    /// Counts what is open now. The runtime has opened the descriptors that it needs for itself.
    ///
    /// # Errors
    /// The descriptors cannot be listed.
    pub(crate) fn note<R: Runtime>(runtime: &R) -> io::Result<Self> {
        warm_up(runtime);
        Ok(Self { descriptors: descriptors()? })
    }

    /// What was open. There were no tasks.
    pub(crate) const fn all(self) -> Left {
        Left { descriptors: self.descriptors, tasks: 0 }
    }

    /// Waits until nothing is left, at most 5 s. Returns what is left then.
    ///
    /// # Errors
    /// The descriptors cannot be listed.
    pub(crate) fn left<R>(self, runtime: &Counting<R>) -> io::Result<Left> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = Left { descriptors: descriptors()?.saturating_sub(self.descriptors), tasks: runtime.tasks() };
            if left.is_nothing() || Instant::now() >= deadline {
                return Ok(left);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Left {
    /// What is open now.
    ///
    /// # Errors
    /// The descriptors cannot be listed.
    pub(crate) fn now<R>(runtime: &Counting<R>) -> io::Result<Self> {
        Ok(Self { descriptors: descriptors()?, tasks: runtime.tasks() })
    }

    pub(crate) const fn is_nothing(self) -> bool {
        self.descriptors == 0 && self.tasks == 0
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5} {:>5}", self.descriptors, self.tasks)
    }
}

/// Makes the runtime open the descriptors that it needs for itself. smol's reactor starts when a task waits for it.
fn warm_up<R: Runtime>(runtime: &R) {
    let (working, ended) = mpsc::channel::<()>();
    let timer = runtime.clone();
    runtime.spawn(async move {
        let _working = working;
        // On a busy machine the time may be over before the sleep is polled, and then the task has not waited.
        while !has_waited(&timer).await {}
    });
    let _ = ended.recv();
}

/// Sleeps for a moment. Returns whether that made the task wait.
async fn has_waited<R: Runtime>(timer: &R) -> bool {
    let mut sleep = pin!(timer.sleep_until(timer.now() + Duration::from_millis(1)));
    let mut has_waited = false;
    poll_fn(|cx| {
        let polled = sleep.as_mut().poll(cx);
        has_waited |= polled.is_pending();
        polled
    })
    .await;
    has_waited
}

/// How many descriptors this process has open.
fn descriptors() -> io::Result<u64> {
    Ok(fs::read_dir("/proc/self/fd")?.count() as u64)
}
