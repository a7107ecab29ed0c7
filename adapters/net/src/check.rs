//! The task that checks a server whose connection broke (H1): [`Checking`].
//!
//! A task a broken server: it comes with the break and ends when the server is back, has left the list, or the channel is
//! gone. While all is well there is none. It runs on the runtime of the call that found the server broken. If nothing polls
//! that any more, the next call on another runtime takes the checks over.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;

use hedge_core::health::{CheckAction, CheckId, CheckInput, Checker};
use hedge_fleet::{caught, caught_in};
use hedge_link::{Runtime, before};

use crate::checks::{Asked, Checks};
use crate::outage::{Node, Round};

/// Whose servers are checked.
pub(crate) trait Checked: Send + Sync {
    /// How; `None` if they are not.
    fn checks(&self) -> Option<&Checks>;

    /// A server is back, or its checks have ended for another reason: the next connection that is refused will tell.
    fn is_back(&self, node: &Node, round: Round);
}

/// The checking of one server. Dropped before its end, as with a runtime that shuts down, it lets the server in again: the
/// next call there finds out, and its runtime checks.
pub(crate) struct Checking {
    fleet: Weak<dyn Checked>,
    node: Arc<Node>,
    checker: Checker,
    round: Round,
}

impl Checking {
    /// `checker` has published that the server is broken.
    pub(crate) fn new(fleet: Weak<dyn Checked>, node: &Arc<Node>, checker: Checker, round: Round) -> Self {
        Self { fleet, node: Arc::clone(node), checker, round }
    }

    /// Checks until the server is back or nobody wants to know any more; what is left is the drop's.
    pub(crate) async fn run<R: Runtime>(mut self, runtime: &R) {
        loop {
            let news = self.node.service().news();
            match self.next(runtime) {
                // That it is broken was published before.
                Some(CheckAction::Publish { .. } | CheckAction::Done) | None => return,
                Some(CheckAction::Connect { check, until }) => {
                    let address = self.node.key().address.clone();
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
                    before(runtime, until, poll_fn(|cx| self.node.service().poll_news(news, cx))).await;
                }
            }
        }
    }

    /// What to do now; `None` once the channel or the server is gone, or the server is back.
    fn next<R: Runtime>(&mut self, runtime: &R) -> Option<CheckAction> {
        let now = runtime.now();
        let mut outage = self.node.service().lock();
        if !outage.runs(self.round) {
            return None;
        }
        outage.ran(now);
        if outage.take_hurried() {
            self.checker.handle(now, CheckInput::Now);
        }
        drop(outage);
        let interval = self.fleet.upgrade()?.checks()?.options().interval;
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

    fn ask(&self) -> Option<Asked> {
        self.fleet.upgrade()?.checks()?.ask(&self.node.key().address)
    }

    /// Runs a step; `None` if it took too long, or if nobody waits for it any more.
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
