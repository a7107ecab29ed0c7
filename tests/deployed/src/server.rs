//! A server in a process of its own: [`Server`]. It can be killed, frozen, thawed and started again on its port.

mod haproxy;
pub(crate) mod misbehaving;
mod nghttpd;
mod nginx;

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::certificate::Certificate;
use crate::protocol::Protocol;

/// The body of every good answer.
pub(crate) const PAGE: &str = "a small page\n";
/// The path of that page.
pub(crate) const PATH: &str = "/page.txt";
/// The directory of the pages, in that of the server.
const PAGES: &str = "html";

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    Nghttpd,
    /// This program's own, which answers some requests wrongly or not at all.
    Misbehaving,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Nghttpd => "nghttpd",
            Self::Misbehaving => "misbehaving",
        }
    }
}

/// The directory and the port of a server, from which its configuration is made.
pub(crate) struct Place<'a> {
    pub(crate) home: &'a Path,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) certificate: &'a Certificate,
}

/// A server process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    port: u16,
    home: PathBuf,
    command: Command,
    child: Option<Child>,
    is_frozen: bool,
}

impl Server {
    /// Starts a server on a free port, and waits until it listens.
    ///
    /// # Errors
    /// The program is missing, or does not listen in time. The error has the end of its log.
    pub(crate) fn start(
        kind: Kind,
        protocol: Protocol,
        certificate: &Certificate,
        home: PathBuf,
    ) -> Result<Self, Box<dyn Error>> {
        let pages = home.join(PAGES);
        fs::create_dir_all(&pages)?;
        fs::write(pages.join(PATH.trim_start_matches('/')), PAGE)?;
        let port = free_port()?;
        let place = Place { home: &home, port, protocol, certificate };
        let command = match kind {
            Kind::Nginx => nginx::command(&place)?,
            Kind::Haproxy => haproxy::command(&place)?,
            Kind::Nghttpd => nghttpd::command(&place),
            Kind::Misbehaving => misbehaving::command(&place)?,
        };
        let mut server = Self { kind, port, home, command, child: None, is_frozen: false };
        server.restart()?;
        Ok(server)
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The directory of the pages that nginx and nghttpd serve.
    pub(crate) fn pages(&self) -> PathBuf {
        self.home.join(PAGES)
    }

    /// Starts the server again after [`kill`](Self::kill), on the same port.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub(crate) fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        let log = File::options().create(true).append(true).open(self.log())?;
        self.command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let mut child = self.command.spawn().map_err(|error| format!("{}: {error}", self.kind.name()))?;
            while Instant::now() < deadline && child.try_wait()?.is_none() {
                if TcpStream::connect(self.address()).is_ok() {
                    self.child = Some(child);
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            // It ended by itself. A port that a client's connection still holds becomes free soon.
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{} does not listen on port {}: {}", self.kind.name(), self.port, self.end_of_log()).into())
    }

    /// Kills the server at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.is_frozen = false;
        if let Some(mut child) = self.child.take() {
            // Both fail only if the process has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the server's process, so that it accepts and reads nothing, and answers nothing.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn freeze(&mut self) -> io::Result<()> {
        self.is_frozen = true;
        self.signal(Signal::STOP)
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn thaw(&mut self) -> io::Result<()> {
        self.is_frozen = false;
        self.signal(Signal::CONT)
    }

    /// Whether the server is frozen.
    pub(crate) const fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let child = self.child.as_ref().ok_or(io::ErrorKind::NotFound)?;
        kill_process(Pid::from_child(child), signal).map_err(io::Error::from)
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of the loopback on which nothing listens, below those that clients are given.
pub(crate) fn free_port() -> io::Result<u16> {
    for _ in 0..200 {
        let port = fastrand::u16(10_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}
