//! The report of a call, together with the servers that it tried: [`Trace`].

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use hedge_core::id::{AttemptId, ServerId};
use hedge_core::outcome::{Attempt, Pushback};

use crate::Report;
use crate::end::Keys;
use crate::node::Node;
use crate::server::Server;
use crate::tried::{INLINE, TriedServers};

/// The report of a call, together with the servers that the call tried. A `Trace` dereferences to its [`Report`].
///
/// The keys of the servers depend on the caller. In a channel of `hedge-net` they are [`Server`]s. In a channel of
/// channels they are the names of the sub-channels.
///
/// # Cost
/// A `Trace` owns the servers that the call tried, with what their channel holds for each of them. In a channel of
/// channels, these are whole sub-channels. So a program that keeps a `Trace`, or a reply or an error that has one, also
/// keeps a sub-channel that was removed, with its tasks and connections. A program that keeps reports for a longer time
/// keeps their text, or [`into_report`](Self::into_report).
#[derive(Clone)]
pub struct Trace {
    report: Report,
    first: [Option<Arc<dyn TriedServer>>; INLINE],
    /// The servers after the first ones. They are boxed, because few calls try so many, and a `Trace` is moved often.
    more: Box<[Arc<dyn TriedServer>]>,
    pushback: Option<Pushback>,
}

/// A server that a call tried. The trait hides the types of the key and of the host's data for a server, so that
/// [`Trace`] needs no type parameter.
trait TriedServer: Send + Sync {
    fn id(&self) -> ServerId;
    fn key(&self) -> &dyn Any;
    fn text(&self) -> &dyn fmt::Display;
}

impl<K: fmt::Display + Send + Sync + 'static, S: Send + Sync> TriedServer for Node<K, S> {
    fn id(&self) -> ServerId {
        Self::id(self)
    }

    fn key(&self) -> &dyn Any {
        self.key()
    }

    fn text(&self) -> &dyn fmt::Display {
        self.key()
    }
}

impl Trace {
    /// Makes the report of a call that tried these servers. `pushback` is what is left of the pushback of its failures.
    pub(crate) fn new<K, S>(report: Report, tried: &TriedServers<K, S>, pushback: Option<Pushback>) -> Self
    where
        K: fmt::Display + Send + Sync + 'static,
        S: Send + Sync + 'static,
    {
        let mut tried = tried.iter().map(|node| Arc::clone(node) as Arc<dyn TriedServer>);
        let first = std::array::from_fn(|_| tried.next());
        Self { report, first, more: tried.collect(), pushback }
    }

    /// Makes the report of a call that tried no server.
    #[must_use]
    pub fn nowhere(report: Report) -> Self {
        Self { report, first: Default::default(), more: Box::default(), pushback: None }
    }

    /// Returns the server of an attempt. Returns `None` if there was no such attempt, if the server was removed just
    /// before the attempt was to start, or if the keys of the caller are not [`Server`]s.
    pub fn server(&self, attempt: AttemptId) -> Option<&Server> {
        self.key_of(attempt)
    }

    /// Returns the key of the server of an attempt. In addition to the cases of [`server`](Self::server), this returns
    /// `None` if `K` is not the type of the caller's keys.
    pub fn key_of<K: 'static>(&self, attempt: AttemptId) -> Option<&K> {
        self.named(self.report.attempts().get(attempt.index())?.server())?.key().downcast_ref()
    }

    fn named(&self, id: ServerId) -> Option<&dyn TriedServer> {
        self.servers().find(|node| node.id() == id)
    }

    fn servers(&self) -> impl Iterator<Item = &dyn TriedServer> {
        self.first.iter().flatten().chain(&self.more).map(|node| &**node)
    }

    /// Returns whether no part of the request has left this client ([T4](hedge_core::rules#T4)). This is so if no
    /// attempt was made, or if the retry policy said of every attempt that nothing was sent
    /// ([`Attempt::never_left`]).
    #[must_use]
    pub fn never_left(&self) -> bool {
        self.report.attempts().iter().all(Attempt::never_left)
    }

    /// Returns what was left of the pushback of the call's failures when the call ended
    /// ([`Pushbacks`](crate::Pushbacks)). `None` if no server had sent one.
    #[must_use]
    pub const fn pushback(&self) -> Option<Pushback> {
        self.pushback
    }

    /// Returns the report alone.
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

impl Keys for Trace {
    fn key(&self, server: ServerId) -> Option<&dyn Any> {
        self.named(server).map(TriedServer::key)
    }
}

/// Writes one line for a log: the line of the report, followed by the servers that this line names by their ids.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report.fmt(f)?;
        for (index, node) in self.servers().enumerate() {
            let before = if index == 0 { "; " } else { ", " };
            write!(f, "{before}{} is {}", node.id(), node.text())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers().map(|node| node.text().to_string()).collect();
        f.debug_struct("Trace").field("report", &self.report).field("servers", &servers).finish()
    }
}
