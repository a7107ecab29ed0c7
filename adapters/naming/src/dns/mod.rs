//! Servers from DNS: [`DnsNaming`] and [`SrvNaming`].

mod candidates;
mod client;
mod families;
mod limit;
mod provider;
mod srv;
mod system;
mod together;
mod within;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use hedge_core::time::Duration;
use hedge_fleet::{Address, Naming, NamingError, NamingErrorKind, Server, Update};
use hedge_link::Runtime;

use self::client::Client;
use self::families::Families;
use self::limit::Limit;
pub use self::limit::LookupTimeout;
pub use self::srv::SrvNaming;
use crate::jitter::Jitter;
use crate::poller::{Found, Lookup, Polled};

/// Records whose time to live is shorter are looked up again after this time.
const SHORTEST: Duration = Duration::from_secs(1);
/// Records whose time to live is longer are looked up again after this time.
const LONGEST: Duration = Duration::from_secs(300);
/// A name that has no records, or of which a part could not be looked up, is looked up again after this time.
const AGAIN: Duration = Duration::from_secs(5);

/// Takes every IPv4 and IPv6 address of a host as a server: the source of `dns://host:port`.
///
/// A and AAAA records are asked for at the same time, and again after their time to live: at least 1 s, at most 5
/// minutes, times a random factor in 1.0 to 1.2. One look-up takes at most 10 s ([`timeout`](Self::timeout)). An answer
/// that does not fit into a datagram is asked for by TCP.
///
/// `/etc/hosts` and `/etc/resolv.conf` are read for each look-up, so changes of them count. A name that is in
/// `/etc/hosts` has the addresses that are there, and is looked up again after 5 s. A relative name is tried with each
/// domain of `search`, as resolv.conf(5) says; the first name that exists is used, even if it has no address. If a
/// look-up fails, the next domain is not tried, since the same name in that domain may be another host. If
/// `/etc/resolv.conf` is missing or names no server, the name server at 127.0.0.1 is asked. The zone of a name server's
/// address, as in `fe80::1%eth0`, is ignored, so such a server cannot be reached. All tries of one request take at most
/// 8 s, whatever `timeout` and `attempts` say.
///
/// # Errors
/// The last list stays in use if there is no such name ([`NamingErrorKind::NotFound`]), if the name servers fail, or if
/// they do not answer. If only one of the two families fails, the last addresses of that family stay, and the name is
/// looked up again after 5 s. Once one family is answered, the other one has 2 s left. A name that exists and has no
/// address is an empty list.
///
/// # Security
/// Each request has a random id and a random local port. What does not answer the question is ignored. DNS is not
/// encrypted, so TLS to the servers is what proves who they are.
pub struct DnsNaming<R>(Polled<R, Host<R>>);

#[derive(Debug)]
struct Host<R> {
    client: Client<R>,
    address: Address,
    last: Families,
    jitter: Jitter,
}

impl<R: Runtime> DnsNaming<R> {
    /// Parses the rest of a URL after `dns://`: `host:port`.
    ///
    /// # Errors
    /// [`NamingErrorKind::Invalid`] if it is not a host and a port.
    pub fn parse(runtime: R, rest: &str) -> Result<Self, NamingError> {
        let url: Arc<str> = format!("dns://{rest}").into();
        let invalid = NamingError::new(Arc::clone(&url), NamingErrorKind::Invalid);
        let address = match rest.parse() {
            Ok(Address::Unix(_)) => return Err(invalid.because("is a unix socket; write dns://host:port")),
            Ok(address) => address,
            Err(error) => return Err(invalid.because(error)),
        };
        let client = Client::new(runtime.clone(), url);
        Ok(Self(Polled::new(runtime, Host { client, address, last: Families::default(), jitter: Jitter::new() })))
    }

    /// Asks these name servers, and reads no file of the system. `None`: those that the system uses.
    #[must_use]
    pub fn asking(mut self, name_servers: Option<Arc<[SocketAddr]>>) -> Self {
        self.0.lookup_mut().client.name_servers = name_servers;
        self
    }

    /// How long one look-up may take. If no name server answers, the source fails after about nine tenths of this time.
    /// All tries of one request take at most eight tenths of it. Once one family is answered, the other one has two tenths
    /// left. Default: 10 s.
    #[must_use]
    pub fn timeout(mut self, time: LookupTimeout) -> Self {
        self.0.lookup_mut().client.limit = Limit::new(time);
        self
    }
}

impl<R: Runtime> Lookup for Host<R> {
    fn url(&self) -> &Arc<str> {
        &self.client.url
    }

    fn timeout(&self) -> Duration {
        self.client.limit.whole()
    }

    async fn look(&mut self) -> Result<Found, NamingError> {
        let Address::Name { host, port } = &self.address else {
            return Ok(Found { servers: vec![Server::from(self.address.clone())], again: None });
        };
        let session = self.client.open().await?;
        let (v4, v6) = session.addresses(host, session.deadline).await;
        let addresses = self.last.take_in(v4, v6)?;
        let servers = addresses.list.iter().map(|ip| Server::from(SocketAddr::new(*ip, *port))).collect();
        Ok(Found { servers, again: Some(again(addresses.valid, &mut self.jitter)) })
    }
}

/// Returns the wait before the next look-up of records that are valid for the time `valid`.
fn again(valid: Option<Duration>, jitter: &mut Jitter) -> Duration {
    jitter.after(valid.unwrap_or(AGAIN).clamp(SHORTEST, LONGEST))
}

impl<R: Runtime> Naming for DnsNaming<R> {
    async fn next(&mut self) -> Result<Update, NamingError> {
        self.0.next().await
    }
}

impl<R> fmt::Debug for DnsNaming<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsNaming").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n1_the_time_to_live_has_a_floor_and_a_ceiling() {
        let mut jitter = Jitter::new();
        for (valid, low) in [(Some(0), 1), (Some(1), 1), (Some(60), 60), (Some(u32::MAX.into()), 300), (None, 5)] {
            let low = Duration::from_secs(low);
            for _ in 0..100 {
                let wait = again(valid.map(Duration::from_secs), &mut jitter);
                assert!((low..=low.mul_f64(1.2)).contains(&wait), "{valid:?}: {wait:?}");
            }
        }
    }
}
