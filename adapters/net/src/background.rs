//! The runtime of a fleet, without its type: [`Background`].

use hedge_core::time::Instant;
use hedge_link::{Connector, Runtime, RuntimeId};

use crate::check::Checking;
use crate::naming::Following;
use crate::probe::Probing;

/// What a fleet needs from its runtime, for checks, probes and naming in the background. It hides the type of the runtime.
pub(crate) trait Background: Send + Sync {
    /// The present time on the runtime's clock.
    fn clock(&self) -> Instant;

    /// The id of the runtime that this is called on.
    fn here(&self) -> RuntimeId;

    /// Checks a server in the background.
    fn check(&self, checking: Checking);

    /// Probes a server in the background.
    fn probe(&self, probing: Probing);

    /// Follows the source of the list in the background.
    fn follow(&self, following: Following);
}

/// A runtime, and how connections are made on it for checks.
pub(crate) struct OnRuntime<R> {
    pub(crate) runtime: R,
    pub(crate) connector: Connector<R>,
}

impl<R: Runtime> Background for OnRuntime<R> {
    fn clock(&self) -> Instant {
        self.runtime.now()
    }

    fn here(&self) -> RuntimeId {
        self.runtime.id()
    }

    fn check(&self, checking: Checking) {
        let (runtime, connector) = (self.runtime.clone(), self.connector.clone());
        self.runtime.spawn(async move { checking.run(&runtime, &connector).await });
    }

    fn probe(&self, probing: Probing) {
        let runtime = self.runtime.clone();
        self.runtime.spawn(async move { probing.run(&runtime).await });
    }

    fn follow(&self, following: Following) {
        let runtime = self.runtime.clone();
        self.runtime.spawn(async move { following.run(&runtime).await });
    }
}
