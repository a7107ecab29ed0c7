//! Servers from SRV records: [`SrvNaming`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hedge_core::time::Duration;
use hedge_fleet::{Address, Naming, NamingError, NamingErrorKind, Server, Update};
use hedge_link::Runtime;
use hickory_resolver::proto::rr::rdata::SRV;

use super::client::{Client, Records, Session};
use super::families::{Families, shorter};
use super::limit::{Limit, LookupTimeout};
use super::together::all;
use super::{AGAIN, again};
use crate::jitter::Jitter;
use crate::poller::{Found, Lookup, Polled};

/// How many targets of a name are used.
const MOST: usize = 256;
/// How many targets are looked up at the same time.
const AT_ONCE: usize = 16;

/// Takes the targets of a service as servers: the source of `srv://_service._protocol.name`.
///
/// Each SRV record gives a port and a target, and every address of the target is a server. Its tag is
/// `weight=W priority=P` ([S10](hedge_core::rules#S10)): P is the record's priority, of which the lowest is preferred,
/// and W is its weight; a weight of 0 counts as 1. At most 256 targets are used, those with the lowest priority first.
/// A target of `.` means that there is no such service, which is an empty list.
///
/// The records and the addresses are looked up again after the shortest of their times to live, with the same bounds as
/// in [`DnsNaming`](super::DnsNaming). One look-up of all of them takes at most 10 s.
///
/// # Errors
/// The errors are those of [`DnsNaming`](super::DnsNaming). If the look-up of one target fails, or takes longer than 4
/// s, its last addresses stay, and it is looked up again after 5 s. A target that does not exist is left out. If no
/// target has an address and the look-up of a target failed, the source returns the last such error.
pub struct SrvNaming<R>(Polled<R, Service<R>>);

#[derive(Debug)]
struct Service<R> {
    client: Client<R>,
    name: Box<str>,
    /// The last addresses of each target.
    last: BTreeMap<Box<str>, Families>,
    jitter: Jitter,
}

impl<R: Runtime> SrvNaming<R> {
    /// Parses the rest of a URL after `srv://`: the name, such as `_http._tcp.example.com`.
    ///
    /// # Errors
    /// [`NamingErrorKind::Invalid`] if it is not a name.
    pub fn parse(runtime: R, rest: &str) -> Result<Self, NamingError> {
        let url: Arc<str> = format!("srv://{rest}").into();
        let invalid = NamingError::new(Arc::clone(&url), NamingErrorKind::Invalid);
        if rest.contains(':') {
            return Err(invalid.because("has a port; write srv://_service._tcp.name, since the records say the ports"));
        }
        match format!("{rest}:0").parse() {
            Ok(Address::Name { .. }) => {}
            Ok(_) => return Err(invalid.because("is an address; write srv://_service._tcp.name")),
            Err(error) => return Err(invalid.because(error)),
        }
        let client = Client::new(runtime.clone(), url);
        let (name, last, jitter) = (rest.into(), BTreeMap::new(), Jitter::new());
        Ok(Self(Polled::new(runtime, Service { client, name, last, jitter })))
    }

    /// Asks these name servers, and reads no file of the system. `None`: those that the system uses.
    #[must_use]
    pub fn asking(mut self, name_servers: Option<Arc<[SocketAddr]>>) -> Self {
        self.0.lookup_mut().client.name_servers = name_servers;
        self
    }

    /// How long one look-up of the records and of all addresses may take. The look-up of one target takes at most four
    /// tenths of this time. Default: 10 s.
    #[must_use]
    pub fn timeout(mut self, time: LookupTimeout) -> Self {
        self.0.lookup_mut().client.limit = Limit::new(time);
        self
    }
}

impl<R: Runtime> Lookup for Service<R> {
    fn url(&self) -> &Arc<str> {
        &self.client.url
    }

    fn timeout(&self) -> Duration {
        self.client.limit.whole()
    }

    async fn look(&mut self) -> Result<Found, NamingError> {
        let client = self.client.clone();
        let session = client.open().await?;
        let Records { mut list, mut valid } = session.services(&self.name).await?;
        list.retain(|service| !service.target.is_root());
        list.sort_by_key(|service| (service.priority, u16::MAX - service.weight));
        list.truncate(MOST);
        let targets = Targets::look_up(&session, &list, &self.last).await;
        let mut servers = Vec::new();
        for service in &list {
            let Some((_, addresses)) = targets.found.get(&name_of(service)) else { continue };
            valid = shorter(valid, addresses.valid.or(Some(AGAIN)));
            servers.extend(addresses.list.iter().map(|ip| server(SocketAddr::new(*ip, service.port), service)));
        }
        self.last = targets.found.into_iter().map(|(name, (families, _))| (name, families)).collect();
        match targets.error {
            Some(error) if servers.is_empty() => Err(error),
            _ => Ok(Found { servers, again: Some(again(valid, &mut self.jitter)) }),
        }
    }
}

fn name_of(service: &SRV) -> Box<str> {
    service.target.to_ascii().into()
}

fn server(address: SocketAddr, service: &SRV) -> Server {
    Server::new(address, format!("weight={} priority={}", service.weight.max(1), service.priority))
}

/// The addresses of the targets of one look-up.
struct Targets {
    found: BTreeMap<Box<str>, (Families, Records<IpAddr>)>,
    /// The last error.
    error: Option<NamingError>,
}

impl Targets {
    /// Looks each target up once, some at the same time.
    async fn look_up<R: Runtime>(
        session: &Session<'_, R>,
        services: &[SRV],
        last: &BTreeMap<Box<str>, Families>,
    ) -> Self {
        let names: Vec<Box<str>> = services.iter().map(name_of).collect::<BTreeSet<_>>().into_iter().collect();
        let mut targets = Self { found: BTreeMap::new(), error: None };
        let look_up = async |name: &str| {
            let Client { runtime, limit, .. } = session.client;
            let deadline = session.deadline.min(runtime.now() + limit.target());
            session.addresses(name, deadline).await
        };
        let answers = all(AT_ONCE, names.iter().map(|name| look_up(name))).await;
        for (name, (v4, v6)) in names.iter().zip(answers) {
            let mut families = last.get(name).cloned().unwrap_or_default();
            let records = families.take_in(v4, v6).unwrap_or_else(|error| {
                if error.kind() == NamingErrorKind::NotFound {
                    families = Families::default();
                }
                targets.error = Some(error);
                Records { list: families.all(), valid: None }
            });
            targets.found.insert(name.clone(), (families, records));
        }
        targets
    }
}

impl<R: Runtime> Naming for SrvNaming<R> {
    async fn next(&mut self) -> Result<Update, NamingError> {
        self.0.next().await
    }
}

impl<R> fmt::Debug for SrvNaming<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrvNaming").finish_non_exhaustive()
    }
}
