//! All that a channel tells what happens: its [`Observers`], and the features `tracing` and `log`.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "log")]
use super::lines;
#[cfg(feature = "tracing")]
use super::spans;
use super::{AttemptEnded, AttemptStarted, CallId, CheckEnded, Observer, ServerChange, ServerRef};
use crate::caught::caught;
use crate::end::CallEnd;

/// The observers of a channel, in the order in which they are told. A clone has the same observers.
#[derive(Clone, Default)]
pub struct Observers(Option<Arc<[Arc<dyn Observer>]>>);

impl Observers {
    /// No observer.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Adds an observer, which is told after those that are here already.
    pub fn add(&mut self, observer: Arc<dyn Observer>) {
        self.0 = Some(self.all().iter().cloned().chain([observer]).collect());
    }

    fn all(&self) -> &[Arc<dyn Observer>] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether calls are told to an observer or to a logger.
    #[inline]
    pub(crate) fn want_calls(&self) -> bool {
        #[cfg(feature = "log")]
        if lines::of_calls_are_on() {
            return true;
        }
        self.0.is_some()
    }

    /// Whether what happens to servers is told to anyone: an observer, a subscriber or a logger.
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

    /// Tells that something happened to a server.
    pub fn server_changed(&self, server: &ServerRef<'_>, change: ServerChange) {
        #[cfg(feature = "tracing")]
        caught(|| spans::server_changed(server, change));
        #[cfg(feature = "log")]
        caught(|| lines::server_changed(server, change));
        self.tell(|observer| observer.server_changed(server, change));
    }

    /// Tells that a step of a check has ended.
    pub fn server_checked(&self, check: &CheckEnded<'_>) {
        #[cfg(feature = "tracing")]
        caught(|| spans::server_checked(check));
        #[cfg(feature = "log")]
        caught(|| lines::server_checked(check));
        self.tell(|observer| observer.server_checked(check));
    }

    /// Tells that the names of the servers could not be read.
    pub fn naming_failed(&self, source: &str, error: &(dyn Error + 'static)) {
        #[cfg(feature = "tracing")]
        caught(|| spans::naming_failed(source, error));
        #[cfg(feature = "log")]
        caught(|| lines::naming_failed(source, error));
        self.tell(|observer| observer.naming_failed(source, error));
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.all().len()).finish()
    }
}
