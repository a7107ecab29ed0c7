//! What a call that succeeded answers: [`Reply`].

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use hedge_core::call::Report;
use hedge_core::id::AttemptId;

use crate::host::{MAX_ATTEMPTS, Tried, find};
use crate::naming::Server;
use crate::node::Node;
use crate::stream::Lease;

/// The report of a call, and the servers that it went to. A [`Report`] otherwise.
pub struct Trace {
    report: Report<MAX_ATTEMPTS>,
    tried: Tried,
}

impl Trace {
    pub(crate) const fn new(report: Report<MAX_ATTEMPTS>, tried: Tried) -> Self {
        Self { report, tried }
    }

    /// The server that an attempt went to; `None` for an attempt that was never made, or whose server was removed at the
    /// moment it was to start.
    pub fn server(&self, attempt: AttemptId) -> Option<&Server> {
        self.node(attempt).map(|node| &node.server)
    }

    pub(crate) fn node(&self, attempt: AttemptId) -> Option<&Arc<Node>> {
        find(&self.tried, self.report.attempts().get(attempt.index())?.server())
    }

    pub(crate) fn into_report(self) -> Report<MAX_ATTEMPTS> {
        self.report
    }
}

impl Deref for Trace {
    type Target = Report<MAX_ATTEMPTS>;

    fn deref(&self) -> &Report<MAX_ATTEMPTS> {
        &self.report
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = self.tried.iter().map_while(|node| node.get()).map(|node| &node.server);
        let servers: Vec<_> = servers.collect();
        f.debug_struct("Trace").field("report", &self.report).field("servers", &servers).finish()
    }
}

/// A reply, and how the call came to it.
pub struct Reply<B> {
    inner: B,
    trace: Trace,
    winner: Arc<Node>,
    /// The winner of a streaming call over a transport that does not tell when a body ends.
    lease: Option<Lease>,
}

impl<B> Reply<B> {
    pub(crate) const fn new(inner: B, trace: Trace, winner: Arc<Node>, lease: Option<Lease>) -> Self {
        Self { inner, trace, winner, lease }
    }

    /// What happened in the call.
    pub fn report(&self) -> &Report<MAX_ATTEMPTS> {
        &self.trace
    }

    /// The report, and the servers that the attempts went to.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The server that the reply is from.
    pub fn server(&self) -> &Server {
        &self.winner.server
    }

    /// The transport's own reply.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// The transport's own reply, and the report.
    pub fn into_parts(self) -> (B, Report<MAX_ATTEMPTS>) {
        (self.inner, self.trace.into_report())
    }
}

impl<B> Deref for Reply<B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.inner
    }
}

impl<B> DerefMut for Reply<B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.inner
    }
}

impl<B: fmt::Debug> fmt::Debug for Reply<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("inner", &self.inner)
            .field("server", &self.winner.server)
            .field("report", &self.trace.report)
            .field("streaming", &self.lease.is_some())
            .finish()
    }
}
