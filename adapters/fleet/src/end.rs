//! What a program's `on_end` is told of a call: [`CallEnd`].

use std::any::Any;
use std::fmt;
use std::ops::Deref;

use hedge_core::id::ServerId;

use crate::Report;
use crate::server::Server;

/// A call that has ended: its report, and the keys of the servers that it went to. A [`Report`] otherwise, and `Display`
/// writes the same line.
///
/// # Cost
/// It borrows everything: nothing is copied or allocated for it.
pub struct CallEnd<'a> {
    report: &'a Report,
    keys: &'a dyn Keys,
}

/// What the program calls at every call's end.
pub type OnEnd = Box<dyn Fn(&CallEnd<'_>) + Send + Sync>;

/// Knows the keys of the servers that a call has gone to.
pub trait Keys {
    /// The key of one of these servers; `None` if the call has not gone there, or if the host has no keys.
    fn key(&self, server: ServerId) -> Option<&dyn Any>;

    /// Writes the key of a server that the call has gone to, as text. By default, it writes the server's id.
    ///
    /// # Errors
    /// `out` fails.
    fn write_key(&self, server: ServerId, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "server {server}")
    }
}

impl<'a> CallEnd<'a> {
    /// What is told of a call, for hosts.
    #[must_use]
    pub const fn new(report: &'a Report, keys: &'a dyn Keys) -> Self {
        Self { report, keys }
    }

    /// The report alone, for a program that keeps a copy of it.
    #[must_use]
    pub const fn report(&self) -> &Report {
        self.report
    }

    /// The key of the server that an attempt names by its [id](hedge_core::outcome::Attempt::server). `None` if `K` is not the
    /// type of the host's keys, and for a server that was removed at the moment the attempt was to start.
    #[must_use]
    pub fn key<K: 'static>(&self, server: ServerId) -> Option<&K> {
        self.keys.key(server)?.downcast_ref()
    }

    /// The key of the server whose reply was accepted. `None` if there was no such reply, or if `K` is not the type of the
    /// host's keys.
    #[must_use]
    pub fn winner_key<K: 'static>(&self) -> Option<&K> {
        let winner = self.report.attempts().get(self.report.winner()?.index())?;
        self.key(winner.server())
    }

    /// The same where the keys are [`Server`]s, as in a channel.
    #[must_use]
    pub fn server(&self, server: ServerId) -> Option<&Server> {
        self.key(server)
    }

    /// The server whose reply was accepted, where the keys are [`Server`]s, as in a channel. `None` if there was no such reply.
    #[must_use]
    pub fn winner_server(&self) -> Option<&Server> {
        self.winner_key()
    }
}

impl Deref for CallEnd<'_> {
    type Target = Report;

    fn deref(&self) -> &Report {
        self.report
    }
}

impl fmt::Display for CallEnd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report.fmt(f)
    }
}

impl fmt::Debug for CallEnd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallEnd").field("report", self.report).finish_non_exhaustive()
    }
}
