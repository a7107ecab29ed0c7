//! Checks of servers whose connections broke (H1): [`Checks`], and the task that makes them, [`Checking`].
//!
//! A task a broken server: it comes with the break and ends when the server is back, has left the list, or the channel is
//! gone. While all is well there is none. It runs on the runtime of the call that found the server broken. If nothing polls
//! that any more, the next call on another runtime takes the checks over.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;

use hedge_core::health::{CheckAction, CheckId, CheckInput, CheckOptions, Checker, HealthError};
use hedge_core::time::{Duration, Instant};

use crate::address::Address;
use crate::caught::{caught, caught_in};
use crate::fleet::Fleet;
use crate::node::Node;
use crate::outage::Round;
use crate::probe::Probing;
use crate::runtime::{Runtime, RuntimeId, before};

/// The application's own check: whether the server at an address is well. One that panics has failed.
pub(crate) type Ask = Box<dyn Fn(Address) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// What the checks of a channel's servers have in common.
pub(crate) struct Checks {
    options: Mutex<CheckOptions>,
    application: Option<Ask>,
    /// When a call is to look whether the tasks are run, in microseconds. The last number there is: no server is broken.
    look_at: AtomicU64,
}

impl Checks {
    /// Checks with these options, and with the application's check if there is one.
    pub(crate) fn new(options: CheckOptions, application: Option<Ask>) -> Result<Self, HealthError> {
        options.validate()?;
        let options = Mutex::new(CheckOptions { application: application.is_some(), ..options });
        Ok(Self { options, application, look_at: AtomicU64::new(u64::MAX) })
    }

    pub(crate) fn options(&self) -> CheckOptions {
        *self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a task may not run before another runtime takes over.
    pub(crate) fn patience(&self) -> Duration {
        let CheckOptions { interval, timeout, .. } = self.options();
        interval + interval + timeout + timeout
    }

    /// Whether it is time to look whether the tasks are run; says so once.
    pub(crate) fn is_look_due(&self, now: Instant) -> bool {
        let due = now.as_micros() >= self.look_at.load(Ordering::Relaxed);
        due && now.as_micros() >= self.look_at.swap(u64::MAX, Ordering::Relaxed)
    }

    /// Makes a call look at `at`, at the latest.
    pub(crate) fn look_at(&self, at: Instant) {
        self.look_at.fetch_min(at.as_micros(), Ordering::Relaxed);
    }

    /// Changes the interval, for tasks that are told to look.
    pub(crate) fn set_interval(&self, interval: Duration) -> Result<(), HealthError> {
        let mut options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = CheckOptions { interval, ..*options };
        changed.validate()?;
        *options = changed;
        Ok(())
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").field("options", &self.options()).finish_non_exhaustive()
    }
}

/// What a fleet needs of its runtime, whichever that is.
pub(crate) trait Ground: Send + Sync {
    /// The time.
    fn clock(&self) -> Instant;

    /// Which runtime this is.
    fn here(&self) -> RuntimeId;

    /// Checks a server in the background.
    fn check(&self, checking: Checking);

    /// Probes a server in the background.
    fn probe(&self, probing: Probing);
}

impl<R: Runtime> Ground for R {
    fn clock(&self) -> Instant {
        self.now()
    }

    fn here(&self) -> RuntimeId {
        self.id()
    }

    fn check(&self, checking: Checking) {
        let runtime = self.clone();
        self.spawn(async move { checking.run(&runtime).await });
    }

    fn probe(&self, probing: Probing) {
        let runtime = self.clone();
        self.spawn(async move { probing.run(&runtime).await });
    }
}

/// The checking of one server. Dropped before its end, as with a runtime that shuts down, it lets the server in again: the
/// next call there finds out, and its runtime checks.
pub(crate) struct Checking {
    fleet: Weak<Fleet>,
    node: Arc<Node>,
    checker: Checker,
    round: Round,
}

impl Checking {
    /// `checker` has published that the server is broken.
    pub(crate) fn new(fleet: &Arc<Fleet>, node: &Arc<Node>, checker: Checker, round: Round) -> Self {
        Self { fleet: Arc::downgrade(fleet), node: Arc::clone(node), checker, round }
    }

    /// Checks until the server is back or nobody wants to know any more; what is left is the drop's.
    async fn run<R: Runtime>(mut self, runtime: &R) {
        loop {
            let news = self.node.outage.news();
            match self.next(runtime) {
                // That it is broken was published before.
                Some(CheckAction::Publish { .. } | CheckAction::Done) | None => return,
                Some(CheckAction::Connect { check, until }) => {
                    let address = self.node.server.address.clone();
                    let connected = before(runtime, Some(until), runtime.connect(&address));
                    let connected = self.unless_gone(connected).await;
                    self.settle(runtime, check, connected.map(|connection| connection.is_ok()));
                }
                Some(CheckAction::Ask { check, until }) => {
                    let passed = match caught(|| self.ask()) {
                        Some(Some(asked)) => {
                            let asked = self.unless_gone(before(runtime, Some(until), caught_in(asked))).await;
                            asked.map(|passed| passed.unwrap_or(false))
                        }
                        Some(None) => Some(true),
                        None => Some(false),
                    };
                    self.settle(runtime, check, passed);
                }
                // What was to be abandoned has been dropped.
                Some(CheckAction::Abandon { .. }) => {}
                Some(CheckAction::Wait { until }) => {
                    before(runtime, until, poll_fn(|cx| self.node.outage.poll_news(news, cx))).await;
                }
            }
        }
    }

    /// What to do now; `None` once the channel or the server is gone, or the server is back.
    fn next<R: Runtime>(&mut self, runtime: &R) -> Option<CheckAction> {
        let now = runtime.now();
        let mut outage = self.node.outage.lock();
        if !outage.runs(self.round) {
            return None;
        }
        outage.ran(now);
        if outage.take_hurried() {
            self.checker.handle(now, CheckInput::Now);
        }
        drop(outage);
        let interval = self.fleet.upgrade()?.checks.as_ref()?.options().interval;
        // It was checked when it was set.
        let _ = self.checker.set_interval(interval);
        Some(self.checker.poll(now))
    }

    /// Hands in how a step went; of one that took too long the checker knows by itself.
    fn settle<R: Runtime>(&mut self, runtime: &R, check: CheckId, passed: Option<bool>) {
        if let Some(passed) = passed {
            let input = if passed { CheckInput::Passed { check } } else { CheckInput::Failed { check } };
            self.checker.handle(runtime.now(), input);
        }
    }

    fn ask(&self) -> Option<Pin<Box<dyn Future<Output = bool> + Send>>> {
        let ask = self.fleet.upgrade()?;
        let ask = ask.checks.as_ref()?.application.as_ref()?;
        Some(ask(self.node.server.address.clone()))
    }

    /// Runs a step; `None` if it took too long, or if nobody waits for it any more.
    async fn unless_gone<T>(&self, step: impl Future<Output = Option<T>>) -> Option<T> {
        let mut step = pin!(step);
        poll_fn(
            |cx| if self.node.outage.poll_over(self.round, cx) { Poll::Ready(None) } else { step.as_mut().poll(cx) },
        )
        .await
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        if let Some(fleet) = self.fleet.upgrade() {
            fleet.is_back(&self.node, self.round);
        }
    }
}
