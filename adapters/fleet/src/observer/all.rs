//! The receivers of a channel's events: its [`Observers`], and the features `tracing` and `log`.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hedge_core::time::Duration;

#[cfg(feature = "log")]
use super::lines;
#[cfg(feature = "tracing")]
use super::spans;
use super::{AttemptEnded, AttemptStarted, CallId, CheckEnded, Observer, ServerChange, ServerRef};
use crate::address::Address;
use crate::caught::caught;
use crate::end::CallEnd;

/// The observers of a channel. They are notified in the order in which they were added. A clone has the same observers.
#[derive(Clone, Default)]
pub struct Observers(Option<Arc<[Arc<dyn Observer>]>>);

impl Observers {
    /// Makes an empty list of observers.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Adds an observer. It is notified after all observers that were added before.
    pub fn add(&mut self, observer: Arc<dyn Observer>) {
        self.0 = Some(self.all().iter().cloned().chain([observer]).collect());
    }

    fn all(&self) -> &[Arc<dyn Observer>] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Returns whether an observer or a logger wants the events of calls.
    #[inline]
    pub(crate) fn want_calls(&self) -> bool {
        #[cfg(feature = "log")]
        if lines::of_calls_are_on() {
            return true;
        }
        self.0.is_some()
    }

    /// Returns whether an observer, a subscriber or a logger wants the events of servers.
    #[inline]
    pub fn want_servers(&self) -> bool {
        #[cfg(feature = "tracing")]
        if spans::are_on() {
            return true;
        }
        #[cfg(feature = "log")]
        if lines::are_on() {
            return true;
        }
        self.0.is_some()
    }

    fn tell(&self, tell: impl Fn(&dyn Observer)) {
        for observer in self.all() {
            caught(|| tell(&**observer));
        }
    }

    pub(crate) fn call_started(&self, call: CallId) {
        self.tell(|observer| observer.call_started(call));
    }

    pub(crate) fn attempt_started(&self, attempt: &AttemptStarted<'_>) {
        #[cfg(feature = "log")]
        caught(|| lines::attempt_started(attempt));
        self.tell(|observer| observer.attempt_started(attempt));
    }

    pub(crate) fn attempt_ended(&self, attempt: &AttemptEnded<'_>) {
        #[cfg(feature = "log")]
        caught(|| lines::attempt_ended(attempt));
        self.tell(|observer| observer.attempt_ended(attempt));
    }

    pub(crate) fn call_ended(&self, call: CallId, end: &CallEnd<'_>) {
        #[cfg(feature = "log")]
        caught(|| lines::call_ended(call, end));
        self.tell(|observer| observer.call_ended(call, end));
    }

    /// Notifies the observers, the subscriber and the logger of a change of a server.
    pub fn server_changed(&self, server: &ServerRef<'_>, change: ServerChange) {
        #[cfg(feature = "tracing")]
        caught(|| spans::server_changed(server, change));
        #[cfg(feature = "log")]
        caught(|| lines::server_changed(server, change));
        self.tell(|observer| observer.server_changed(server, change));
    }

    /// Notifies the observers, the subscriber and the logger that a step of a health check has ended.
    pub fn server_checked(&self, check: &CheckEnded<'_>) {
        #[cfg(feature = "tracing")]
        caught(|| spans::server_checked(check));
        #[cfg(feature = "log")]
        caught(|| lines::server_checked(check));
        self.tell(|observer| observer.server_checked(check));
    }

    /// Notifies the observers, the subscriber and the logger that a naming source has failed. `source` is the name of
    /// the source.
    pub fn naming_failed(&self, source: &str, error: &(dyn Error + 'static)) {
        #[cfg(feature = "tracing")]
        caught(|| spans::naming_failed(source, error));
        #[cfg(feature = "log")]
        caught(|| lines::naming_failed(source, error));
        self.tell(|observer| observer.naming_failed(source, error));
    }

    /// Notifies the observers, the subscriber and the logger that a connection was closed after it had been idle.
    pub fn connection_expired(&self, address: &Address, idle: Duration) {
        #[cfg(feature = "tracing")]
        caught(|| spans::connection_expired(address, idle));
        #[cfg(feature = "log")]
        caught(|| lines::connection_expired(address, idle));
        self.tell(|observer| observer.connection_expired(address, idle));
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.all().len()).finish()
    }
}
