//! How much load hedging adds when every server is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hedge_core::policy::{BackupDelay, BackupPolicy, Denial};
use hedge_core::time::Instant;
use tower::{Service as _, ServiceExt};

use crate::Contender;
use crate::script::{Service, Step};

const CALLS: usize = 1_000;
const BURST: usize = 10;

/// The calls, 10 % of backups, and the burst.
pub(crate) const ALLOWED: usize = CALLS + CALLS / 10 + BURST;

/// How many attempts a thousand calls make at servers that take 200 ms.
pub(crate) async fn attempts(contender: Contender) -> usize {
    let service = Service::new(&[Step::Ok(200)]);
    let mut hedged = contender.wrap(service.clone(), Some(Arc::new(TenPercent::default())));
    for _ in 0..CALLS {
        if let Ok(hedged) = hedged.ready().await {
            // What a call comes to is not the question here.
            hedged.call(()).await.ok();
        }
    }
    service.attempts()
}

/// A user's own limit: one backup for ten calls, and a few to begin with.
#[derive(Debug, Default)]
struct TenPercent {
    calls: AtomicUsize,
    backups: AtomicUsize,
}

impl BackupPolicy for TenPercent {
    fn delay(&self, _: Instant) -> Option<BackupDelay> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        let allowed = BURST + self.calls.load(Ordering::Relaxed) / 10;
        let grant = |backups| (backups < allowed).then_some(backups + 1);
        let granted = self.backups.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grant);
        granted.map(drop).map_err(|_| Denial::Ratio)
    }
}
