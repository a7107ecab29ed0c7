//! The HTTP/2 connections to a server: [`Http2Pool`].

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hedge_core::time::Instant;
use hedge_fleet::Address;
use hedge_link::{ConnectError, ConnectProgress, Connector, Endpoint, Lease, Notifier, Runtime, Single, SingleError};

use super::connection::Http2Connection;
use super::ping::PingOptions;
use crate::attempt::pool::HttpSettings;
use crate::connection::Connection;
use crate::counters::Counts;
use crate::error::{HttpError, ProtocolError};
use crate::limits::HeadLimits;
use crate::versions::HttpVersions;

/// The HTTP/2 connections to a server, and whether the server supports HTTP/2.
pub(crate) struct Http2Pool<R: Runtime> {
    connect: Connect<R>,
    single: Single<R, Http2Connection, ConnectFault>,
    /// Whether the server has chosen HTTP/1.1 in the last TLS handshake.
    is_http1: AtomicBool,
}

/// The settings with which a new connection is made.
#[derive(Clone)]
struct Connect<R> {
    runtime: R,
    connector: Connector<R>,
    address: Address,
    versions: HttpVersions,
    limits: HeadLimits,
    ping: PingOptions,
    counts: Arc<Counts>,
    progress: ConnectProgress,
}

/// The reason why there is no HTTP/2 connection.
pub(super) enum ConnectFault {
    Connect(ConnectError),
    /// Only HTTP/2 is allowed, and the server did not agree to it.
    NoVersion,
    /// The server chose HTTP/1.1. One of the requests that waited uses the connection.
    Http1(Mutex<Option<Connection>>),
}

/// A connection for a request.
pub(super) enum Route {
    Http2(Lease<Http2Connection>),
    /// The server chose HTTP/1.1. The value is the new connection, unless another request uses it.
    Http1(Option<Connection>),
}

impl<R: Runtime> Http2Pool<R> {
    /// Makes the pool of a server. Returns `None` if the versions do not include HTTP/2.
    pub(crate) fn new(
        runtime: &R,
        connector: &Connector<R>,
        address: &Address,
        settings: &HttpSettings,
    ) -> Option<Self> {
        let HttpSettings { head, idle, key, ping, counts, versions, .. } = settings;
        if *versions == HttpVersions::Http1 {
            return None;
        }
        let connect = Connect {
            runtime: runtime.clone(),
            connector: connector.clone(),
            address: address.clone(),
            versions: *versions,
            limits: *head,
            ping: *ping,
            counts: Arc::clone(counts),
            progress: ConnectProgress::new(),
        };
        let single = Single::new(runtime.clone(), address, key, Arc::clone(idle));
        Some(Self { connect, single, is_http1: AtomicBool::new(false) })
    }

    /// Returns whether requests should be sent over HTTP/2. This is so unless the server chose HTTP/1.1 in the last
    /// handshake.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.is_http1.load(Ordering::Relaxed)
    }

    /// Records which version the server has chosen.
    pub(crate) fn note(&self, is_http2: bool) {
        self.is_http1.store(!is_http2, Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.single.connections() == 0
    }

    pub(crate) fn settings_changed(&self) {
        self.single.changed();
    }

    /// Returns a connection with room for one more request. Waits until the instant `by` at most.
    pub(super) async fn get(&self, by: Option<Instant>) -> Result<Route, HttpError> {
        let connect = || {
            let (connect, notifier) = (self.connect.clone(), self.single.notifier());
            async move { connect.run(notifier).await }
        };
        let fault = match self.single.get(by, connect).await {
            Ok(lease) => return Ok(Route::Http2(lease)),
            Err(SingleError::Connect(fault)) => fault,
            Err(SingleError::NoRoom) => return Err(HttpError::NoRoom),
            // There is no authenticator, so this error is a timeout.
            Err(_) => return Err(HttpError::Connect(ConnectError::Timeout(self.connect.progress.step()))),
        };
        match &*fault {
            ConnectFault::Connect(error) => Err(HttpError::Connect(error.duplicate())),
            ConnectFault::NoVersion => Err(HttpError::Protocol(ProtocolError::NoVersion)),
            ConnectFault::Http1(connection) => {
                self.note(false);
                Ok(Route::Http1(connection.lock().unwrap_or_else(PoisonError::into_inner).take()))
            }
        }
    }
}

impl<R: Runtime> Connect<R> {
    async fn run(self, notifier: Notifier) -> Result<Http2Connection, ConnectFault> {
        let Self { runtime, connector, address, versions, limits, ping, counts, progress } = self;
        // There is no time limit here, since each caller that waits has its own time limit.
        let connected = connector.connect_with(&address, None, &progress).await.map_err(ConnectFault::Connect)?;
        let is_http2 = !connector.is_tls() || connected.info.is_http2();
        if !is_http2 && versions == HttpVersions::Http2 {
            return Err(ConnectFault::NoVersion);
        }
        let to = connected.info.remote.clone();
        if is_http2 {
            let opened = Http2Connection::open(&runtime, connected, limits, ping, Some(notifier), Some(&counts)).await;
            return opened.map_err(|error| aborted(to, &error));
        }
        let opened = Connection::over(&runtime, connected, limits, Some(&counts)).await;
        Err(opened.map_or_else(|error| aborted(to, &error), |made| ConnectFault::Http1(Mutex::new(Some(made)))))
    }
}

/// Makes the error of a connection that broke before it could take a request.
fn aborted(to: Endpoint, error: &impl ToString) -> ConnectFault {
    let error = io::Error::new(io::ErrorKind::ConnectionAborted, error.to_string());
    ConnectFault::Connect(ConnectError::Dial { to, error })
}
