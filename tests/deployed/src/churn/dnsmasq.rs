//! Debian's dnsmasq, whose hosts are replaced while it runs: [`Dnsmasq`].

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hedge_link::Runtime;
use hedge_naming::Sources;
use rustix::process::{Pid, Signal, kill_process};

use crate::server::free_port;

/// The only host of its zone.
pub(super) const HOST: &str = "fleet.test";
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// dnsmasq on a port of loopback. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Dnsmasq {
    child: Child,
    hosts: PathBuf,
    pub(super) address: SocketAddr,
}

impl Dnsmasq {
    /// Starts it with these addresses of the host, and waits until it answers.
    ///
    /// # Errors
    /// It is not installed, or does not answer in time.
    pub(super) fn start(home: &Path, servers: &[SocketAddr]) -> Result<Self, Box<dyn Error>> {
        let hosts = home.join("hosts");
        replace(&hosts, &lines(servers))?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
            let mut command = Command::new("dnsmasq");
            command.args(["--keep-in-foreground", "--log-facility=-", "--no-resolv", "--no-hosts"]);
            command.args(["--conf-file=/dev/null", "--user=", "--group=", "--pid-file=", "--bind-interfaces"]);
            command.args(["--listen-address=127.0.0.1", "--local=/test/", "--local-ttl=1"]);
            command.arg(format!("--port={}", address.port())).arg(format!("--addn-hosts={}", hosts.display()));
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let child = child.map_err(|error| format!("dnsmasq: {error}"))?;
            let mut started = Self { child, hosts: hosts.clone(), address };
            while Instant::now() < deadline && started.child.try_wait()?.is_none() {
                if answers(address)? {
                    return Ok(started);
                }
            }
            // Another program took the port before.
        }
        Err("dnsmasq does not answer".into())
    }

    /// Replaces the addresses of the host.
    ///
    /// # Errors
    /// The file cannot be written, or dnsmasq has ended.
    pub(super) fn write(&self, servers: &[SocketAddr]) -> Result<(), Box<dyn Error>> {
        replace(&self.hosts, &lines(servers))?;
        Ok(kill_process(Pid::from_child(&self.child), Signal::HUP)?)
    }

    /// Sources that ask this name server.
    pub(super) fn sources<R: Runtime>(&self, runtime: &R) -> Sources<R> {
        Sources::new(runtime.clone()).name_servers([self.address])
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // Both fail only if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Replaces a file in one step.
///
/// # Errors
/// The folder cannot be written to.
pub(super) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}

fn lines(servers: &[SocketAddr]) -> String {
    servers.iter().map(|server| format!("{} {HOST}\n", server.ip())).collect()
}

/// Whether a name server answers at this address. It is asked for the host's address, and given 100 ms.
fn answers(address: SocketAddr) -> std::io::Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05fleet\x04test\0\0\x01\0\x01";
    let asked = socket.send(question).and_then(|_| socket.recv(&mut [0; 512]));
    if asked.is_err() {
        thread::sleep(Duration::from_millis(5));
    }
    Ok(asked.is_ok())
}
