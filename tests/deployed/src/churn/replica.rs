//! A small server in a process of its own, which comes and goes: [`Replica`].

use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::PAGE;

/// The argument that makes this program the server.
pub(crate) const ARGUMENT: &str = "serve";

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server process. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) address: SocketAddr,
    /// `None` while it is dead.
    child: Option<Child>,
    /// When it was killed or started last.
    pub(super) since: Instant,
}

impl Replica {
    /// Starts a server, and waits until it listens.
    ///
    /// # Errors
    /// It does not listen in time.
    pub(super) fn start(address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let mut replica = Self { address, child: None, since: Instant::now() };
        replica.restart()?;
        Ok(replica)
    }

    pub(super) const fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// Kills the server at once, as a crash would.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if the process has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.since = Instant::now();
    }

    /// Starts the server again at its address.
    ///
    /// # Errors
    /// It does not listen in time.
    pub(super) fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        let program = std::env::current_exe()?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let mut command = Command::new(&program);
            command.arg(ARGUMENT).arg(self.address.to_string());
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            while Instant::now() < deadline && child.try_wait()?.is_none() {
                if TcpStream::connect(self.address).is_ok() {
                    self.child = Some(child);
                    self.since = Instant::now();
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(2));
            }
            // It ended by itself, since another program has the port for a moment.
            let _ = child.kill();
            let _ = child.wait();
        }
        Err(format!("no server listens at {}", self.address).into())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Serves the page until the process is killed.
///
/// # Errors
/// The port is taken.
pub(crate) fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    for stream in listener.incoming().flatten() {
        thread::Builder::new().stack_size(64 * 1024).spawn(move || connection(&stream))?;
    }
    Ok(())
}

/// Answers the requests of one connection, which have no bodies. Nobody reads its error: the client notices that the
/// connection has ended.
fn connection(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{PAGE}", PAGE.len());
    let mut writing = stream;
    for line in BufReader::new(stream).lines() {
        // A head ends with an empty line.
        if line?.is_empty() {
            writing.write_all(answer.as_bytes())?;
        }
    }
    Ok(())
}
