//! The report of a call and the servers that it went to: [`Trace`].

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use hedge_core::id::{AttemptId, ServerId};

use crate::host::Tried;
use crate::node::Node;
use crate::server::Server;
use crate::{MAX_ATTEMPTS, Report};

/// The report of a call, and the servers that it went to. A [`Report`] otherwise.
pub struct Trace {
    report: Report,
    tried: [Option<Arc<dyn TriedServer>>; MAX_ATTEMPTS],
}

/// A server that a call went to, whatever the host keeps for it.
trait TriedServer: Send + Sync {
    fn id(&self) -> ServerId;
    fn server(&self) -> &Server;
}

impl<S: Send + Sync> TriedServer for Node<Server, S> {
    fn id(&self) -> ServerId {
        Self::id(self)
    }

    fn server(&self) -> &Server {
        self.key()
    }
}

impl Trace {
    /// The report of a call that went to these servers.
    pub fn new<S: Send + Sync + 'static>(report: Report, tried: Tried<Server, S>) -> Self {
        Self { report, tried: tried.map(|place| place.into_inner().map(|node| node as Arc<dyn TriedServer>)) }
    }

    /// The report of a call that went nowhere.
    #[must_use]
    pub fn nowhere(report: Report) -> Self {
        Self { report, tried: Default::default() }
    }

    /// The server that an attempt went to; `None` for an attempt that was never made, or whose server was removed at the
    /// moment it was to start.
    pub fn server(&self, attempt: AttemptId) -> Option<&Server> {
        let id = self.report.attempts().get(attempt.index())?.server();
        self.tried.iter().map_while(|node| node.as_ref()).find(|node| node.id() == id).map(|node| node.server())
    }

    /// The report alone.
    #[must_use]
    pub fn into_report(self) -> Report {
        self.report
    }
}

impl Deref for Trace {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.report
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.tried.iter().map_while(|node| node.as_ref()).map(|node| node.server()).collect();
        f.debug_struct("Trace").field("report", &self.report).field("servers", &servers).finish()
    }
}
