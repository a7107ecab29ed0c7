//! The report of a call, with the servers that it tried: [`Trace`].

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use hedge_core::id::{AttemptId, ServerId};
use hedge_core::outcome::{Code, ErrorKind};

use crate::node::Node;
use crate::server::Server;
use crate::tried::TriedServers;
use crate::{MAX_ATTEMPTS, Report};

/// The report of a call, with the servers that it tried. It dereferences to the [`Report`].
pub struct Trace {
    report: Report,
    tried: [Option<Arc<dyn TriedServer>>; MAX_ATTEMPTS],
}

/// A server that a call tried, without the type of what the host keeps for it.
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
    /// The report of a call that tried these servers.
    pub fn new<S: Send + Sync + 'static>(report: Report, tried: &TriedServers<Server, S>) -> Self {
        let mut places = <[Option<Arc<dyn TriedServer>>; MAX_ATTEMPTS]>::default();
        for (place, node) in places.iter_mut().zip(tried.iter()) {
            *place = Some(Arc::clone(node) as Arc<dyn TriedServer>);
        }
        Self { report, tried: places }
    }

    /// The report of a call that tried no server.
    #[must_use]
    pub fn nowhere(report: Report) -> Self {
        Self { report, tried: Default::default() }
    }

    /// The server that an attempt went to. `None` if the attempt was never made, or if its server was removed just
    /// before it was to start.
    pub fn server(&self, attempt: AttemptId) -> Option<&Server> {
        let id = self.report.attempts().get(attempt.index())?.server();
        self.tried.iter().map_while(|node| node.as_ref()).find(|node| node.id() == id).map(|node| node.server())
    }

    /// Whether no part of the request has left this client ([T4](hedge_core::rules#T4)): no attempt was made, or every
    /// attempt ended before anything was sent.
    #[must_use]
    pub fn never_left(&self) -> bool {
        let unsent = |code| ErrorKind::ALL.iter().any(|kind| kind.never_left() && Code::from(*kind) == code);
        self.report.attempts().iter().all(|attempt| unsent(attempt.code()))
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

/// One line for a log: the report's own line, and then the addresses of the servers that it names.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report.fmt(f)?;
        for (index, node) in self.tried.iter().map_while(|node| node.as_ref()).enumerate() {
            let before = if index == 0 { "; " } else { ", " };
            write!(f, "{before}{} is {}", node.id(), node.server())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.tried.iter().map_while(|node| node.as_ref()).map(|node| node.server()).collect();
        f.debug_struct("Trace").field("report", &self.report).field("servers", &servers).finish()
    }
}
