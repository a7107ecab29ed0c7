//! The use of a shared connection by one call: [`Lease`].

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::line::Login;
use crate::auth::Credential;
use crate::pool::PoolSettings;
use crate::runtime::RuntimeId;

/// The use of a connection by one call. Until the lease is dropped, the call counts against the limit of the
/// connection.
pub struct Lease<C> {
    pub(super) connection: Arc<C>,
    pub(super) member: u64,
    pub(super) runtime: RuntimeId,
    pub(super) settings: Arc<PoolSettings>,
    pub(super) store: Arc<dyn Leased>,
    /// Whether this call must send the credential, since it is the first call on its connection.
    pub(super) is_first: bool,
    pub(super) credential: Option<Credential>,
}

/// The methods of a store that its leases call.
pub(super) trait Leased: Send + Sync {
    /// Records that a call has ended.
    fn ended(&self, runtime: RuntimeId, member: u64, settings: &Arc<PoolSettings>);

    /// Records whether the first call on a connection has sent the credential.
    fn logged_in(&self, runtime: RuntimeId, member: u64, login: Login);

    /// Removes a connection, so that it gets no more calls.
    fn retire(&self, runtime: RuntimeId, member: u64);
}

impl<C> Lease<C> {
    /// Returns the credential that this call must send, if it is the first call on its connection. The other calls wait
    /// until [`credential_written`](Self::credential_written) is called. If the lease is dropped before, the next call
    /// must send the credential.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// Records that the credential has been written, so that the other calls may use the connection.
    pub fn credential_written(&mut self) {
        if std::mem::take(&mut self.is_first) {
            self.credential = None;
            self.store.logged_in(self.runtime, self.member, Login::Done);
        }
    }

    /// Removes the connection, so that it gets no more calls. Use this, for example, if the server has refused the
    /// credential, or if its answer is not valid. Calls in flight on the connection continue.
    pub fn retire(&self) {
        self.store.retire(self.runtime, self.member);
    }

    pub(super) const fn must_log_in(&self) -> bool {
        self.is_first
    }

    pub(super) fn log_in(&mut self, credential: Credential) {
        self.credential = Some(credential);
    }
}

impl<C> Deref for Lease<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C> Drop for Lease<C> {
    fn drop(&mut self) {
        if self.is_first {
            self.store.logged_in(self.runtime, self.member, Login::Needed);
        }
        self.store.ended(self.runtime, self.member, &self.settings);
    }
}

impl<C> fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("member", &self.member).field("is_first", &self.is_first).finish_non_exhaustive()
    }
}
