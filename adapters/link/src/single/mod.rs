//! Connections with many calls at once: [`Single`].

mod call;
mod lease;
mod line;
mod store;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Weak};

use hedge_core::time::Instant;
use hedge_fleet::Address;

use crate::auth::{Authenticator, CredentialError};
use crate::key::ConnectionKey;
use crate::pool::PoolSettings;
use crate::registry::Place;
use crate::runtime::{Runtime, before};

use call::Call;
pub use lease::Lease;
use store::Store;

/// A connection with many calls at once. Dropping it closes the connection.
pub trait SharedConnection: Send + Sync + 'static {
    /// Returns whether the connection takes no new calls, since it is closed, or since the server has announced that it
    /// will close the connection. This method is called while a lock is held, so it must not block and must not wake a
    /// task.
    fn is_closed(&self) -> bool;

    /// Returns how many calls the connection takes at once now, for example HTTP/2's limit of streams. This method is
    /// called while a lock is held, so it must not block and must not wake a task.
    fn limit(&self) -> usize;

    /// Returns whether the limit is known. A new connection may learn its limit from the settings that the server
    /// sends. Until then, calls that find no room wait, and make no other connection. This method is called while a
    /// lock is held, so it must not block and must not wake a task.
    fn is_settled(&self) -> bool {
        true
    }
}

/// The connection to one server for the connection type `single` ([C1](hedge_core::rules#C1)). Many calls are in flight
/// on it. A further connection is made only if each connection is at its [limit](SharedConnection::limit). There are at
/// most [`max_connections`](PoolSettings::set_max_connections). Each `Single` belongs to one channel. Channels with
/// equal keys share their connections ([C4](hedge_core::rules#C4)). A connection is used only on the runtime that made
/// it.
///
/// The first caller connects. The other callers wait for this attempt to connect, each until its own time limit. If the
/// caller that connects leaves, another caller continues the same attempt. If no caller waits, the attempt is dropped.
/// If the attempt fails, all callers that wait for it fail. A connection that is [closed](SharedConnection::is_closed)
/// gets no new calls, and is replaced. Calls in flight on it continue.
///
/// With an [`Authenticator`], the first call on a connection carries the credential. The other calls wait until the
/// credential is written ([C9](hedge_core::rules#C9)).
///
/// # Cost
/// A call takes one short lock when it starts and one when it ends. While there are connections, one task for each
/// runtime closes the connections that have been idle for too long. The task wakes once in each idle timeout. If there
/// are no connections, there is no task and no timer.
pub struct Single<R: Runtime, C: SharedConnection, E: Send + Sync + 'static> {
    runtime: R,
    settings: Arc<PoolSettings>,
    authenticator: Option<Arc<dyn Authenticator>>,
    store: Arc<Store<R, C, E>>,
}

impl<R: Runtime, C: SharedConnection, E: Send + Sync + 'static> Single<R, C, E> {
    /// Makes a value for connections to `address`. All values in the process with this address and an equal key share
    /// their connections.
    #[must_use]
    pub fn new(runtime: R, address: &Address, key: &ConnectionKey, settings: Arc<PoolSettings>) -> Self {
        Self::at(&Place::of::<Store<R, C, E>>(address, key), runtime, settings)
    }

    fn at(place: &Place, runtime: R, settings: Arc<PoolSettings>) -> Self {
        let store = place.enter(|place| Store::new(runtime.clone(), place), Store::keep_open);
        Self { runtime, settings, authenticator: None, store }
    }

    /// Sets the authenticator, which returns the credential for each new connection. The [identity](crate::Identity) of
    /// the authenticator must be a part of the key, so that channels with different authenticators do not share
    /// connections.
    #[must_use]
    pub fn with_authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Returns a connection for one call. If no connection has room, `connect` may be called to make a new one. The
    /// call waits until the instant `by` at most. The future of `connect` should have no time limit, since other
    /// callers, with their own time limits, may wait for it too.
    ///
    /// # Errors
    /// See [`SingleError`]. In case of an error, no part of the request has left this client.
    pub async fn get<F>(&self, by: Option<Instant>, connect: impl FnOnce() -> F) -> Result<Lease<C>, SingleError<E>>
    where
        F: Future<Output = Result<C, E>> + Send + 'static,
    {
        let mut call = Call::new(&self.runtime, &self.store, &self.settings, self.authenticator.is_some(), connect);
        let lease = before(&self.runtime, by, poll_fn(|cx| call.poll(cx))).await;
        let timeout = || if call.has_connection() { SingleError::NoRoom } else { SingleError::Timeout };
        let mut lease = lease.ok_or_else(timeout)?.map_err(SingleError::Connect)?;
        if let Some(authenticator) = self.authenticator.as_ref().filter(|_| lease.must_log_in()) {
            let credential = authenticator.credential(self.store.place.address());
            lease.log_in(credential.map_err(SingleError::Credential)?);
        }
        Ok(lease)
    }

    /// Returns how many connections take calls, on all runtimes. Connections whose limit is not known yet are not
    /// counted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.store.connections()
    }

    /// Notifies the calls that wait, and the tasks that close idle connections, of a change. Call this method if the
    /// settings have changed, if a connection was closed, or if a connection takes more calls than before. It need not
    /// be called at the end of a call.
    pub fn changed(&self) {
        self.store.look();
    }

    /// Returns a notifier. With it, code that does not own this value, such as the task of a connection, can report
    /// changes.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        let store = Arc::downgrade(&self.store);
        Notifier(store)
    }
}

/// Notifies a [`Single`], and all values that share its connections, that a connection has changed. A notifier does not
/// keep the connections open.
#[derive(Clone)]
pub struct Notifier(Weak<dyn Look>);

impl Notifier {
    /// Reports that a connection was closed, or takes more calls than before. See [`Single::changed`].
    pub fn changed(&self) {
        if let Some(store) = self.0.upgrade() {
            store.look();
        }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

/// A [`Store`] whose type parameters are hidden.
trait Look: Send + Sync {
    fn look(&self);
}

impl<R: Runtime, C: SharedConnection, E: Send + Sync + 'static> Look for Store<R, C, E> {
    fn look(&self) {
        Self::look(self);
    }
}

/// Dropping the last value with this key closes the connections, at once or after the time of
/// [`set_defer_close`](PoolSettings::set_defer_close). A connection in use is closed when its calls have ended.
impl<R: Runtime, C: SharedConnection, E: Send + Sync + 'static> Drop for Single<R, C, E> {
    fn drop(&mut self) {
        let mut is_deferred = false;
        self.store.place.leave(|| {
            is_deferred = self.settings.defer_close().is_some_and(|time| self.store.defer_close(time));
            is_deferred
        });
        if is_deferred {
            self.store.look();
        }
    }
}

impl<R: Runtime, C: SharedConnection, E: Send + Sync + 'static> fmt::Debug for Single<R, C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, settings) = (self.store.place.address(), &self.settings);
        f.debug_struct("Single").field("address", address).field("settings", settings).finish_non_exhaustive()
    }
}

/// The reason why a call got no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum SingleError<E> {
    /// The connection could not be made. All calls that waited for it get the same error.
    Connect(Arc<E>),
    /// At the time limit of the call, there was no connection yet.
    Timeout,
    /// At the time limit of the call, there were connections on its runtime, but none had room.
    NoRoom,
    /// The authenticator has returned no credential for a new connection.
    Credential(CredentialError),
}

impl<E: fmt::Display> fmt::Display for SingleError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Timeout => f.write_str("no connection to the server was made in time"),
            Self::NoRoom => f.write_str("no connection to the server had room in time"),
            Self::Credential(error) => write!(f, "no credential for a new connection: {error}"),
        }
    }
}

impl<E: Error + 'static> Error for SingleError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => error.source(),
            Self::Timeout | Self::NoRoom => None,
            Self::Credential(error) => Some(&**error),
        }
    }
}
