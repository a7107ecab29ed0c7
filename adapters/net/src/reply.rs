//! What a successful call returns: [`Reply`].

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use hedge_fleet::{Report, Server, Trace};

use crate::check_state::{Lease, Node};

/// A reply, with the report of its call. It dereferences to the transport's own reply.
pub struct Reply<B> {
    inner: B,
    trace: Trace,
    /// `None`: an interceptor answered.
    winner: Option<Arc<Node>>,
    /// The lease of a streaming call's winner, if the transport does not say when the body ends. It is held until this
    /// reply is dropped.
    lease: Option<Lease>,
}

impl<B> Reply<B> {
    pub(crate) const fn new(inner: B, trace: Trace, winner: Option<Arc<Node>>, lease: Option<Lease>) -> Self {
        Self { inner, trace, winner, lease }
    }

    /// What happened in the call.
    pub fn report(&self) -> &Report {
        &self.trace
    }

    /// The report, and the servers that the attempts went to.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The server that the reply is from. `None` if an interceptor answered the call ([I1](hedge_core::rules#I1)), so
    /// this does not happen in a channel without interceptors.
    pub fn server(&self) -> Option<&Server> {
        self.winner.as_ref().map(|winner| winner.key())
    }

    /// Where the reply is from, for a message.
    pub fn answered_by(&self) -> AnsweredBy<'_> {
        AnsweredBy::new(self.server())
    }

    /// The transport's own reply.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// The transport's own reply, and the report with its servers.
    #[cfg(feature = "grpc")]
    pub(crate) fn into_traced(self) -> (B, Trace) {
        (self.inner, self.trace)
    }

    /// The transport's own reply, and the report.
    pub fn into_parts(self) -> (B, Report) {
        (self.inner, self.trace.into_report())
    }
}

/// Where a reply is from. `Display` writes the server, or `an interceptor`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnsweredBy<'a> {
    /// A server.
    Server(&'a Server),
    /// An interceptor answered the call itself ([I1](hedge_core::rules#I1)).
    Interceptor,
}

impl<'a> AnsweredBy<'a> {
    pub(crate) fn new(server: Option<&'a Server>) -> Self {
        server.map_or(Self::Interceptor, Self::Server)
    }
}

impl fmt::Display for AnsweredBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => server.fmt(f),
            Self::Interceptor => f.write_str("an interceptor"),
        }
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
            .field("server", &self.server())
            .field("report", self.report())
            .field("streaming", &self.lease.is_some())
            .finish()
    }
}
