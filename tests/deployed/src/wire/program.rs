//! A server program of Debian: [`Program`].

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::free_port;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process on a port of loopback. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    pub(super) address: SocketAddr,
    /// The port at which other nodes of a cluster reach this one.
    pub(super) bus: u16,
}

impl Program {
    /// Starts redis-server, which keeps no data. A node of a cluster writes its own file in the directory.
    ///
    /// # Errors
    /// It is not installed, or does not answer in time.
    pub(super) fn redis(home: &Path, is_node: bool) -> Result<Self, Box<dyn Error>> {
        Self::start("redis-server", b"PING\r\n", |port, bus| {
            let mut arguments: Vec<String> =
                ["--bind", "127.0.0.1", "--save", "", "--enable-debug-command", "yes", "--dir"]
                    .map(str::to_owned)
                    .to_vec();
            arguments.extend([home.display().to_string(), "--port".to_owned(), port.to_string()]);
            if is_node {
                arguments.extend(["--cluster-enabled", "yes", "--cluster-config-file"].map(str::to_owned));
                arguments.push(format!("nodes-{port}.conf"));
                arguments.extend(["--cluster-port".to_owned(), bus.to_string()]);
            }
            arguments
        })
    }

    /// Starts memcached.
    ///
    /// # Errors
    /// It is not installed, or does not answer in time.
    pub(super) fn memcached() -> Result<Self, Box<dyn Error>> {
        // As root it refuses to run, unless `-u` names another user.
        let fixed = ["-l", "127.0.0.1", "-U", "0", "-u", "nobody", "-p"];
        Self::start("memcached", b"version\r\n", |port, _| {
            fixed.iter().map(|&word| word.to_owned()).chain([port.to_string()]).collect()
        })
    }

    /// Starts a program on free ports, and waits until it answers this line. A node of a cluster listens on its first
    /// port before it takes its second port. It ends if another program has that port.
    fn start(name: &str, line: &[u8], arguments: impl Fn(u16, u16) -> Vec<String>) -> Result<Self, Box<dyn Error>> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let (port, bus) = (free_port()?, free_port()?);
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let mut command = Command::new(name);
            command.args(arguments(port, bus)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
            let mut started = Self { child, address, bus };
            while Instant::now() < deadline && started.child.try_wait()?.is_none() {
                if answers(address, line).is_ok() {
                    return Ok(started);
                }
                thread::sleep(Duration::from_millis(5));
            }
            // Another program took a port before.
        }
        Err(format!("{name} does not answer").into())
    }
}

/// Sends a line, and reads the first byte of the answer.
fn answers(address: SocketAddr, line: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(line)?;
    stream.read_exact(&mut [0])
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
