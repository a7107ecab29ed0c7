//! Servers from the addresses of a host: [`HostNaming`].

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use hedge_fleet::{Address, Naming, NamingError, NamingErrorKind, Server, Update};
use hedge_link::{BoxResolve, Resolve as _, Runtime};

use crate::jitter::Jitter;
use crate::options::PollInterval;
use crate::poller::{Found, Lookup, Polled};

/// How often the addresses are looked up.
const EVERY: PollInterval = PollInterval::of_secs::<5>();

/// Takes every address of a host as a server: the source of `http://host:port` and `https://host:port`.
///
/// The addresses are looked up every 4 s to 6 s ([`every`](Self::every)), by the operating system's resolver or by
/// another [`BoxResolve`]. So the system's files and services count, such as `/etc/hosts`. One look-up takes at most
/// 10 s. The system's resolver does not say how long an address is valid. `dns://` knows this time and follows it.
///
/// # Errors
/// The last list stays in use if the name cannot be resolved.
pub struct HostNaming<R>(Polled<R, Addresses>);

#[derive(Debug)]
struct Addresses {
    url: Arc<str>,
    host: Box<str>,
    port: u16,
    resolver: BoxResolve,
    every: PollInterval,
    jitter: Jitter,
}

impl<R: Runtime> HostNaming<R> {
    /// Parses the rest of a URL after `scheme://`: `host[:port][/path]`. `port` is the default port. The path is ignored.
    ///
    /// # Errors
    /// [`NamingErrorKind::Invalid`] if the host or the port is not valid.
    pub fn parse(runtime: R, scheme: &str, rest: &str, port: u16) -> Result<Self, NamingError> {
        let url: Arc<str> = format!("{scheme}://{rest}").into();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // A colon behind the last bracket begins a port. An IPv6 address has its colons within brackets.
        let has_port = authority.rsplit(']').next().unwrap_or(authority).contains(':');
        let text = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
        let address = text
            .parse()
            .map_err(|error| NamingError::new(Arc::clone(&url), NamingErrorKind::Invalid).because(error))?;
        let (host, port) = match address {
            Address::Name { host, port } => (host.as_ref().into(), port),
            Address::Socket(address) => (address.ip().to_string().into(), address.port()),
            Address::Unix(_) => {
                return Err(
                    NamingError::new(url, NamingErrorKind::Invalid).because("is a unix socket, which has no port")
                );
            }
        };
        let (resolver, jitter) = (BoxResolve::default(), Jitter::new());
        Ok(Self(Polled::new(runtime, Addresses { url, host, port, resolver, every: EVERY, jitter })))
    }

    /// Resolves the name by this resolver. Default: the operating system's.
    #[must_use]
    pub fn resolver(mut self, resolver: BoxResolve) -> Self {
        self.0.lookup_mut().resolver = resolver;
        self
    }

    /// How often the addresses are looked up. Each wait is random, between 0.8 and 1.2 times this time. Default: 5 s.
    #[must_use]
    pub fn every(mut self, time: PollInterval) -> Self {
        self.0.lookup_mut().every = time;
        self
    }
}

impl Lookup for Addresses {
    fn url(&self) -> &Arc<str> {
        &self.url
    }

    async fn look(&mut self) -> Result<Found, NamingError> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(Found { servers: vec![Server::from(std::net::SocketAddr::new(ip, self.port))], again: None });
        }
        let addresses = self.resolver.resolve(&self.host, self.port).await;
        let failed = |error| NamingError::new(Arc::clone(&self.url), NamingErrorKind::Unreachable).because(error);
        let addresses = addresses.map_err(failed)?;
        let servers: Vec<_> = addresses.into_iter().take(MOST).map(Server::from).collect();
        Ok(Found { servers, again: Some(self.jitter.around(self.every.get())) })
    }
}

/// How many addresses of a host are read.
const MOST: usize = 4_096;

impl<R: Runtime> Naming for HostNaming<R> {
    async fn next(&mut self) -> Result<Update, NamingError> {
        self.0.next().await
    }
}

impl<R> fmt::Debug for HostNaming<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostNaming").finish_non_exhaustive()
    }
}
