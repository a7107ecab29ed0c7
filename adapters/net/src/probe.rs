//! Probes of servers, for a balancer that goes by them (`prequal`): [`Probes`], and the task that makes one, [`Probing`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use hedge_core::balance::ProbeAnswer;
use hedge_core::time::Duration;

use crate::address::Address;
use crate::fleet::Fleet;
use crate::node::Node;
use crate::runtime::{Runtime, before};

/// An answer that takes longer says nothing any more.
const PATIENCE: Duration = Duration::from_millis(100);

/// Asks the server at an address how busy it is; nothing if it does not say.
pub(crate) type Probe = Box<dyn Fn(Address) -> Asked + Send + Sync>;
type Asked = Pin<Box<dyn Future<Output = Option<ProbeAnswer>> + Send>>;

/// How the servers of a channel are probed.
pub(crate) struct Probes(Probe);

impl Probes {
    pub(crate) const fn new(probe: Probe) -> Self {
        Self(probe)
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probes")
    }
}

/// One probe of one server. It keeps no channel alive.
pub(crate) struct Probing {
    fleet: Weak<Fleet>,
    node: Arc<Node>,
    asked: Asked,
}

impl Probing {
    pub(crate) fn new(fleet: &Arc<Fleet>, node: &Arc<Node>, Probes(probe): &Probes) -> Self {
        let asked = probe(node.server.address.clone());
        Self { fleet: Arc::downgrade(fleet), node: Arc::clone(node), asked }
    }

    pub(crate) async fn run<R: Runtime>(self, runtime: &R) {
        let answer = before(runtime, Some(runtime.now() + PATIENCE), self.asked).await.flatten();
        if let (Some(answer), Some(fleet)) = (answer, self.fleet.upgrade()) {
            fleet.probed(&self.node, answer, runtime.now());
        }
    }
}
