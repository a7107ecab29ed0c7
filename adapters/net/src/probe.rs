//! Probes servers for a balancer that uses the answers (`prequal`): [`Probes`], and the task of one probe, [`Probing`].

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;

use futures_channel::oneshot;
use hedge_core::balance::ProbeAnswer;
use hedge_core::time::{Duration, Instant};
use hedge_fleet::{Address, caught, caught_in};
use hedge_link::{Runtime, before};

use crate::check_state::Node;

/// How long a probe may take. A later answer would say too little about the present.
const PATIENCE: Duration = Duration::from_millis(100);

/// Asks the server at an address how busy it is. There is no answer if the server gives none, or if the probe panics.
pub(crate) type ProbeFn = Box<dyn Fn(Address) -> ProbeFuture + Send + Sync>;
type ProbeFuture = Pin<Box<dyn Future<Output = Option<ProbeAnswer>> + Send>>;

/// How the servers of a channel are probed.
pub(crate) struct Probes {
    probe: ProbeFn,
    /// One sender for each probe that runs, and for some that have ended. Dropping the senders ends the probes.
    under_way: Mutex<Vec<oneshot::Sender<Infallible>>>,
}

impl Probes {
    pub(crate) const fn new(probe: ProbeFn) -> Self {
        Self { probe, under_way: Mutex::new(Vec::new()) }
    }

    /// Registers a probe. The receiver tells it when the channel is gone.
    fn begin(&self) -> oneshot::Receiver<Infallible> {
        let (sender, gone) = oneshot::channel();
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // Senders of probes that have ended are removed each time the vector would grow. So its capacity is at most
        // twice the number of probes that ever ran at once.
        if under_way.len() == under_way.capacity() {
            under_way.retain(|probe| !probe.is_canceled());
        }
        under_way.push(sender);
        gone
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probes")
    }
}

/// The owner of servers that are probed.
pub(crate) trait Probed: Send + Sync {
    /// Takes in a server's answer to a probe.
    fn probed(&self, node: &Node, answer: ProbeAnswer, now: Instant);
}

/// One probe of one server. It does not keep the channel alive, and it ends when the channel is dropped.
pub(crate) struct Probing {
    fleet: Weak<dyn Probed>,
    node: Arc<Node>,
    asked: ProbeFuture,
    gone: oneshot::Receiver<Infallible>,
}

impl Probing {
    /// Starts a probe; `None` if it panics.
    pub(crate) fn new(fleet: Weak<dyn Probed>, node: &Arc<Node>, probes: &Probes) -> Option<Self> {
        let asked = caught(|| (probes.probe)(node.key().address.clone()))?;
        Some(Self { fleet, node: Arc::clone(node), asked, gone: probes.begin() })
    }

    pub(crate) async fn run<R: Runtime>(self, runtime: &R) {
        let Self { fleet, node, asked, mut gone } = self;
        let mut asked = pin!(caught_in(asked));
        let answer = poll_fn(|cx| match asked.as_mut().poll(cx) {
            Poll::Pending if Pin::new(&mut gone).poll(cx).is_ready() => Poll::Ready(None),
            poll => poll.map(Option::flatten),
        });
        let answer = before(runtime, Some(runtime.now() + PATIENCE), answer).await.flatten();
        if let (Some(answer), Some(fleet)) = (answer, fleet.upgrade()) {
            fleet.probed(&node, answer, runtime.now());
        }
    }
}
