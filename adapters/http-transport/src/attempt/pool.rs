//! What the transport keeps for each server: [`Pool`].

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use hedge_core::time::Instant;
use hedge_fleet::{Address, ConnectionType};
use hedge_link::{ConnectionKey, Connector, PoolConnection as _, PoolSettings, Runtime};

use super::drain::{self, Abandoned, DrainOrClose};
#[cfg(feature = "http2")]
use super::http2::{self, Http2Pool, Http2Stream, PingOptions};
use crate::along_headers::AlongHeaders;
use crate::connection::Connection;
use crate::counters::Counts;
use crate::default_headers::DefaultHeaders;
use crate::limits::HeadLimits;
use crate::on_attempt::OnAttempt;
use crate::place::Place;
use crate::versions::HttpVersions;

/// The settings of an [`Http`](crate::Http) transport.
#[derive(Clone, Debug)]
pub(crate) struct HttpSettings {
    pub(crate) max_body: usize,
    #[cfg(feature = "_coding")]
    pub(crate) max_decoded_body: usize,
    pub(crate) head: HeadLimits,
    /// Whether a 408 on a connection that had been idle counts as a broken connection.
    pub(crate) retry_stale_408: bool,
    pub(crate) connection_type: ConnectionType,
    pub(crate) idle: Arc<PoolSettings>,
    /// What channels that share connections have in common.
    pub(crate) key: ConnectionKey,
    pub(crate) versions: HttpVersions,
    #[cfg(feature = "http2")]
    pub(crate) ping: PingOptions,
    pub(crate) drain: DrainOrClose,
    pub(crate) default_headers: DefaultHeaders,
    /// The headers that go along with each attempt. `None`: there are none.
    pub(crate) along: Option<Arc<AlongHeaders>>,
    pub(crate) on_attempt: Option<OnAttempt>,
    pub(crate) counts: Arc<Counts>,
}

/// An idle connection, and the time since when it has been idle.
pub(crate) type IdleConnection = hedge_link::IdleConnection<Connection>;

/// The idle connections to a server, and what requests to it need.
pub(crate) struct Pool<R: Runtime> {
    pub(crate) runtime: R,
    pub(crate) settings: HttpSettings,
    /// What the address means for the head of a request.
    pub(crate) place: Place,
    /// How many connections read answers that are thrown away.
    pub(crate) draining: AtomicUsize,
    /// The HTTP/2 connections. `None`: there is only HTTP/1.1.
    #[cfg(feature = "http2")]
    pub(crate) http2: Option<Http2Pool<R>>,
    /// `None`: each attempt has a connection of its own.
    idle: Option<hedge_link::Pool<R, Connection>>,
}

/// The place that a connection goes back to. It hides the type of the runtime from a reply's body.
pub(crate) trait PoolHandle: Send + Sync {
    /// Keeps a connection that is ready for another request.
    fn give_back(self: Arc<Self>, connection: Connection);

    /// Takes over the connection of an attempt that was abandoned.
    fn abandon(self: Arc<Self>, abandoned: Abandoned);

    /// Takes over a request over HTTP/2 that was abandoned.
    #[cfg(feature = "http2")]
    fn reset(self: Arc<Self>, stream: Http2Stream);
}

impl<R: Runtime> Pool<R> {
    pub(crate) fn new(
        runtime: R,
        connector: &Connector<R>,
        address: &Address,
        settings: HttpSettings,
        place: Place,
    ) -> Self {
        #[cfg(feature = "http2")]
        let http2 = Http2Pool::new(&runtime, connector, address, &settings);
        #[cfg(not(feature = "http2"))]
        let _ = connector;
        let pooled = || hedge_link::Pool::new(runtime.clone(), address, &settings.key, Arc::clone(&settings.idle));
        let idle = (settings.connection_type != ConnectionType::Short).then(pooled);
        Self {
            runtime,
            settings,
            place,
            draining: AtomicUsize::new(0),
            #[cfg(feature = "http2")]
            http2,
            idle,
        }
    }

    /// The connection of this runtime that was used last, unless it has been closed or idle for too long.
    pub(crate) fn take(&self, now: Instant) -> Option<IdleConnection> {
        self.idle.as_ref()?.take(now)
    }

    /// Notes that a connection has just been made.
    pub(crate) fn opened(&self, connection: &mut Connection) {
        if let Some(idle) = &self.idle {
            idle.opened(connection);
        }
    }

    /// Closes the connections that have been idle since `at` or longer.
    pub(crate) fn close_idle_since(&self, at: Instant) {
        if let Some(idle) = &self.idle {
            idle.close_idle_since(at);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        #[cfg(feature = "http2")]
        if self.http2.as_ref().is_some_and(|http2| !http2.is_empty()) {
            return false;
        }
        self.idle.as_ref().is_none_or(hedge_link::Pool::is_empty)
    }

    /// Whether each attempt has a connection of its own.
    pub(crate) fn is_short(&self) -> bool {
        self.idle.is_none()
    }

    pub(crate) fn settings_changed(&self) {
        if let Some(idle) = &self.idle {
            idle.settings_changed();
        }
        #[cfg(feature = "http2")]
        if let Some(http2) = &self.http2 {
            http2.settings_changed();
        }
    }
}

impl<R: Runtime> PoolHandle for Pool<R> {
    fn give_back(self: Arc<Self>, mut connection: Connection) {
        if let Some(idle) = self.idle.as_ref().filter(|_| !connection.is_closed()) {
            idle.give_back(connection);
        }
    }

    fn abandon(self: Arc<Self>, abandoned: Abandoned) {
        drain::abandon(&self, abandoned);
    }

    #[cfg(feature = "http2")]
    fn reset(self: Arc<Self>, stream: Http2Stream) {
        http2::reset(&self, stream);
    }
}
