//! Checks a server whose connection broke ([H1](hedge_core::rules#H1)): the task [`Checking`].
//!
//! Each broken server has one task. It starts with the break. It ends when the server is back, the server has left the
//! list, or the channel is dropped. While no server is broken, there is no task. The task runs on the runtime of the
//! call that found the server broken. If that runtime does not run any more, a later call on another runtime takes the
//! checks over.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;

use hedge_core::health::{CheckAction, CheckId, CheckInput, Checker};
use hedge_core::time::{Duration, Instant};
use hedge_fleet::{CheckOutcome, CheckStep, caught, caught_in};
use hedge_http_transport::CheckFuture;
use hedge_link::{Connector, Runtime, before};

use crate::check_state::{Node, Round};
use crate::checks::Checks;

/// The owner of servers that are checked.
pub(crate) trait Checked: Send + Sync {
    /// How the servers are checked; `None` if they are not.
    fn checks(&self) -> Option<&Checks>;

    /// Puts a server back: it has passed its check, or the checks ended for another reason. In that case the next
    /// connection shows whether it is still down.
    fn is_back(&self, node: &Node, round: Round);

    /// Says how a step of a check ended.
    fn checked(&self, node: &Node, step: CheckStep, outcome: CheckOutcome, latency: Duration);
}

/// The checks of one server. If this is dropped before the server has passed, for instance because the runtime shuts
/// down, the server is put back. If it is still down, the next call finds that out, and the checks go on on that call's
/// runtime.
pub(crate) struct Checking {
    fleet: Weak<dyn Checked>,
    node: Arc<Node>,
    checker: Checker,
    round: Round,
}

impl Checking {
    /// Begins the checks. `checker` must already have published that the server is broken.
    pub(crate) fn new(fleet: Weak<dyn Checked>, node: &Arc<Node>, checker: Checker, round: Round) -> Self {
        Self { fleet, node: Arc::clone(node), checker, round }
    }

    /// Checks until the server has passed, or these checks are over. The drop of `self` then puts the server back,
    /// unless the checks were over before.
    pub(crate) async fn run<R: Runtime>(mut self, runtime: &R, connector: &Connector<R>) {
        loop {
            let news = self.node.service().news();
            match self.next(runtime) {
                // That the server is broken was published before the task began.
                Some(CheckAction::Publish { .. } | CheckAction::Done) | None => return,
                Some(CheckAction::Connect { check, until }) => {
                    let address = self.node.key().address.clone();
                    let begun = runtime.now();
                    // With TLS, this includes the handshake.
                    let connected = before(runtime, Some(until), connector.connect(&address, None));
                    let connected = self.unless_gone(connected).await;
                    let passed = connected.map(|connection| connection.is_ok());
                    self.settle(runtime, (check, CheckStep::Connect, begun), passed);
                }
                Some(CheckAction::Ask { check, until }) => {
                    let begun = runtime.now();
                    let passed = match caught(|| self.ask()) {
                        Some(Some(asked)) => {
                            let asked = self.unless_gone(before(runtime, Some(until), caught_in(asked))).await;
                            asked.map(|passed| passed.unwrap_or(false))
                        }
                        Some(None) => Some(true),
                        None => Some(false),
                    };
                    self.settle(runtime, (check, CheckStep::Application, begun), passed);
                }
                // The step that is to be abandoned has been dropped already.
                Some(CheckAction::Abandon { .. }) => {}
                Some(CheckAction::Wait { until }) => {
                    before(runtime, until, poll_fn(|cx| self.node.service().poll_news(news, cx))).await;
                }
            }
        }
    }

    /// The next action. `None` if the channel or the server is gone, or the server is back.
    fn next<R: Runtime>(&mut self, runtime: &R) -> Option<CheckAction> {
        let now = runtime.now();
        let mut check_state = self.node.service().lock();
        if !check_state.runs(self.round) {
            return None;
        }
        check_state.ran(now);
        if check_state.take_hurried() {
            self.checker.handle(now, CheckInput::Now);
        }
        drop(check_state);
        let interval = self.fleet.upgrade()?.checks()?.options().interval;
        self.checker.set_interval(interval);
        Some(self.checker.poll(now))
    }

    /// Tells the checker how a step went that began at `begun`. `None` is a step that took too long, which the checker
    /// notices by itself, or one that is no longer needed.
    fn settle<R: Runtime>(
        &mut self,
        runtime: &R,
        (check, step, begun): (CheckId, CheckStep, Instant),
        passed: Option<bool>,
    ) {
        let now = runtime.now();
        if let Some(passed) = passed {
            let input = if passed { CheckInput::Passed { check } } else { CheckInput::Failed { check } };
            self.checker.handle(now, input);
        }
        let outcome = match passed {
            Some(true) => CheckOutcome::Passed,
            Some(false) => CheckOutcome::Failed,
            None if self.node.service().lock().runs(self.round) => CheckOutcome::TimedOut,
            None => return,
        };
        if let Some(fleet) = self.fleet.upgrade() {
            fleet.checked(&self.node, step, outcome, now.since(begun));
        }
    }

    fn ask(&self) -> Option<CheckFuture> {
        self.fleet.upgrade()?.checks()?.ask(&self.node.key().address)
    }

    /// Runs a step. `None` if it took too long, or if these checks are over.
    async fn unless_gone<T>(&self, step: impl Future<Output = Option<T>>) -> Option<T> {
        let mut step = pin!(step);
        poll_fn(
            |cx| if self.node.service().poll_over(self.round, cx) { Poll::Ready(None) } else { step.as_mut().poll(cx) },
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
