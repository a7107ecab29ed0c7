//! The three sources of a run, and how their lists are changed: [`Source`].

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use hedge_link::Runtime;
use hedge_naming::Sources;
use hedge_naming_tests::etcd_server::EtcdServer;

use super::dnsmasq::{Dnsmasq, HOST, replace};

/// The prefix of the keys of etcd that are servers.
const PREFIX: &str = "services/fleet";

/// A source whose list is changed.
pub(super) enum Source {
    /// A file, which is replaced.
    File(PathBuf),
    /// The addresses of a host in DNS.
    Dns(Dnsmasq),
    /// The keys of etcd, which are put and deleted one by one.
    Etcd { server: EtcdServer, keys: BTreeSet<SocketAddr> },
}

impl Source {
    /// Starts all of them, with this list.
    ///
    /// # Errors
    /// A program is missing, or a file cannot be written.
    pub(super) fn all(home: &Path, servers: &[SocketAddr]) -> Result<[Self; 3], Box<dyn Error>> {
        let mut file = Self::File(home.join("servers"));
        file.write(servers)?;
        let dns = Self::Dns(Dnsmasq::start(home, servers)?);
        let mut etcd = Self::Etcd { server: EtcdServer::start(), keys: BTreeSet::new() };
        etcd.write(servers)?;
        Ok([file, dns, etcd])
    }

    /// Replaces the list. A server that is in the old list and in the new one is never missing.
    ///
    /// # Errors
    /// The source cannot be written to.
    pub(super) fn write(&mut self, servers: &[SocketAddr]) -> Result<(), Box<dyn Error>> {
        match self {
            Self::File(path) => {
                let lines: String = servers.iter().map(|server| format!("{server}\n")).collect();
                replace(path, &lines)?;
            }
            Self::Dns(dnsmasq) => dnsmasq.write(servers)?,
            Self::Etcd { server, keys } => {
                let new: BTreeSet<_> = servers.iter().copied().collect();
                for address in new.difference(keys) {
                    server.put(&format!("{PREFIX}/{address}"), "");
                }
                for address in keys.difference(&new) {
                    server.delete(&format!("{PREFIX}/{address}"));
                }
                *keys = new;
            }
        }
        Ok(())
    }

    /// The URL of the source, for servers that listen on this port.
    pub(super) fn url(&self, port: u16) -> String {
        match self {
            Self::File(path) => format!("file://{}", path.display()),
            Self::Dns(_) => format!("dns://{HOST}:{port}"),
            Self::Etcd { server, .. } => format!("etcd://{}/{PREFIX}", server.address),
        }
    }

    /// Returns the sources that can open the URL.
    pub(super) fn sources<R: Runtime>(&self, runtime: &R) -> Sources<R> {
        match self {
            Self::Dns(dnsmasq) => dnsmasq.sources(runtime),
            Self::File(_) | Self::Etcd { .. } => Sources::new(runtime.clone()),
        }
    }

    /// Returns how many watchers follow the source. Only etcd can tell this; for the other sources, the result is 0.
    ///
    /// # Errors
    /// etcd does not tell.
    pub(super) fn watchers(&self) -> Result<u64, Box<dyn Error>> {
        const METRIC: &str = "\netcd_debugging_mvcc_watcher_total ";
        let Self::Etcd { server, .. } = self else { return Ok(0) };
        let mut stream = TcpStream::connect(server.address)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (_, value) = text.split_once(METRIC).ok_or("etcd tells no number of watchers")?;
        Ok(value.lines().next().unwrap_or_default().parse()?)
    }
}
