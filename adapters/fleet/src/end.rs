//! A call that has ended, in the form in which the program's `on_end` gets it: [`CallEnd`].

use std::any::Any;
use std::fmt;
use std::ops::Deref;

use hedge_core::id::ServerId;

use crate::Report;
use crate::server::Server;

/// A call that has ended: its report, and the keys of the servers that the call tried. A `CallEnd` dereferences to its
/// [`Report`]. `Display` writes the same line as for the report.
///
/// # Cost
/// A `CallEnd` borrows the report and the keys. Nothing is copied or allocated.
#[derive(Clone, Copy)]
pub struct CallEnd<'a> {
    report: &'a Report,
    keys: &'a dyn Keys,
}

/// A function of the program that is called at the end of each call.
pub type OnEnd = Box<dyn Fn(&CallEnd<'_>) + Send + Sync>;

/// Finds the keys of servers by their ids. The host of a call implements this trait for the servers that the call
/// tried.
pub trait Keys {
    /// Returns the key of a server. Returns `None` if the call has not tried this server, or if the host has no keys.
    fn key(&self, server: ServerId) -> Option<&dyn Any>;

    /// Writes the key of a server as text. By default, this writes the id of the server.
    ///
    /// # Errors
    /// Returns an error if writing to `out` has failed.
    fn write_key(&self, server: ServerId, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "server {server}")
    }
}

impl<'a> CallEnd<'a> {
    /// Makes the `CallEnd` of a call. Hosts use this.
    #[must_use]
    pub const fn new(report: &'a Report, keys: &'a dyn Keys) -> Self {
        Self { report, keys }
    }

    /// Returns the report alone, for a program that wants to copy it.
    #[must_use]
    pub const fn report(&self) -> &Report {
        self.report
    }

    /// Returns the key of the server of an attempt. The server is given by [its
    /// id](hedge_core::outcome::Attempt::server). Returns `None` if `K` is not the type of the host's keys, or if the
    /// server was removed just before the attempt was to start.
    #[must_use]
    pub fn key<K: 'static>(&self, server: ServerId) -> Option<&K> {
        self.keys.key(server)?.downcast_ref()
    }

    /// Writes the key of the server of an attempt as text. The server is given by its id, as in [`key`](Self::key). If
    /// the host has no keys, or if the server was removed just before the attempt was to start, this writes the id.
    ///
    /// # Errors
    /// Returns an error if writing to `out` has failed.
    pub fn write_server(&self, server: ServerId, out: &mut dyn fmt::Write) -> fmt::Result {
        match self.server(server) {
            Some(server) => write!(out, "{server}"),
            None => self.keys.write_key(server, out),
        }
    }

    /// Returns the key of the server whose reply was accepted. Returns `None` if no reply was accepted, or if `K` is
    /// not the type of the host's keys.
    #[must_use]
    pub fn winner_key<K: 'static>(&self) -> Option<&K> {
        let winner = self.report.attempts().get(self.report.winner()?.index())?;
        self.key(winner.server())
    }

    /// Returns the server of an attempt. The server is given by its id, as in [`key`](Self::key). In addition to the
    /// cases of `key`, this returns `None` if the host's keys are not [`Server`]s. In a channel of `hedge-net` they are
    /// `Server`s.
    #[must_use]
    pub fn server(&self, server: ServerId) -> Option<&Server> {
        self.key(server)
    }

    /// Returns the server whose reply was accepted. Returns `None` if no reply was accepted, or if the host's keys are
    /// not [`Server`]s. In a channel of `hedge-net` they are `Server`s.
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
