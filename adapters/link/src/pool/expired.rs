//! Counts idle connections that have expired, and notifies the observers: [`Expired`].

use std::sync::Arc;

use hedge_core::time::{Duration, Instant};
use hedge_fleet::Address;

use super::settings::PoolSettings;

/// Counts idle connections that have expired. When this value is dropped, it notifies the observers. It must be dropped
/// after the lock is released, since an observer may run any code.
pub(crate) struct Expired<'a> {
    address: &'a Address,
    /// One entry for each connection of which the observers have not been notified yet: the settings of the channel
    /// that used the connection last, and how long the connection was idle.
    untold: Vec<(Arc<PoolSettings>, Duration)>,
}

impl<'a> Expired<'a> {
    pub(crate) const fn at(address: &'a Address) -> Self {
        Self { address, untold: Vec::new() }
    }

    pub(crate) fn add(&mut self, settings: &Arc<PoolSettings>, since: Instant, now: Instant) {
        settings.expire();
        if settings.observers().is_some() {
            self.untold.push((Arc::clone(settings), now.since(since)));
        }
    }
}

impl Drop for Expired<'_> {
    fn drop(&mut self) {
        for (settings, idle) in &self.untold {
            if let Some(observers) = settings.observers() {
                observers.connection_expired(self.address, *idle);
            }
        }
    }
}
