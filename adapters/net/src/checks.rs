//! The options of the checks of servers whose connections broke ([H1](hedge_core::rules#H1)): [`Checks`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hedge_core::health::{CheckInterval, CheckOptions};
use hedge_core::time::{Duration, Instant};
use hedge_fleet::Address;
use hedge_http_transport::{CheckFn, CheckFuture};

/// What the checks of all servers of a channel share.
pub(crate) struct Checks {
    options: Mutex<CheckOptions>,
    /// The application's own check. A check that panics has failed.
    application: Option<CheckFn>,
    /// When the next call has to look whether the check tasks still run, in microseconds. `u64::MAX`: no server is
    /// broken.
    look_at: AtomicU64,
}

impl Checks {
    /// Checks with these options, and with the application's check if there is one.
    pub(crate) fn new(options: CheckOptions, application: Option<CheckFn>) -> Self {
        let options = Mutex::new(CheckOptions { application: application.is_some(), ..options });
        Self { options, application, look_at: AtomicU64::new(u64::MAX) }
    }

    /// Asks the application whether the server at an address is healthy. `None` if the application has no check.
    pub(crate) fn ask(&self, address: &Address) -> Option<CheckFuture> {
        Some(self.application.as_ref()?(address.clone()))
    }

    pub(crate) fn options(&self) -> CheckOptions {
        *self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a task may be silent before another runtime takes over its checks.
    pub(crate) fn patience(&self) -> Duration {
        let CheckOptions { interval, timeout, .. } = self.options();
        2 * (interval.get() + timeout.get())
    }

    /// Whether it is time to look whether the tasks still run. Only one caller gets true.
    pub(crate) fn is_look_due(&self, now: Instant) -> bool {
        let due = self.look_at.load(Ordering::Relaxed);
        // If another caller has taken this look, and has perhaps set the next one, the next one stays.
        let took = || self.look_at.compare_exchange(due, u64::MAX, Ordering::Relaxed, Ordering::Relaxed);
        now.as_micros() >= due && took().is_ok()
    }

    /// Makes a call look at the tasks at `at`, or earlier if that was asked for before.
    pub(crate) fn look_at(&self, at: Instant) {
        self.look_at.fetch_min(at.as_micros(), Ordering::Relaxed);
    }

    /// Changes the interval. The caller must then wake the tasks with [`CheckState::tell`](crate::check_state::CheckState::tell).
    pub(crate) fn set_interval(&self, interval: CheckInterval) {
        self.options.lock().unwrap_or_else(PoisonError::into_inner).interval = interval;
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").field("options", &self.options()).finish_non_exhaustive()
    }
}
