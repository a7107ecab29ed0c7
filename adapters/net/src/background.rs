//! The runtime of a fleet, without its type: [`Background`].

use hedge_core::time::Instant;
use hedge_link::{Runtime, RuntimeId};

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

impl<R: Runtime> Background for R {
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

    fn follow(&self, following: Following) {
        let runtime = self.clone();
        self.spawn(async move { following.run(&runtime).await });
    }
}
