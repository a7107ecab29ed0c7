//! Asks name servers: [`Client`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hedge_core::time::{Duration, Instant};
use hedge_fleet::{NamingError, NamingErrorKind};
use hedge_link::{Runtime, before};
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, Resolver};

use super::candidates::candidates;
use super::limit::Limit;
use super::provider::Provider;
use super::system::System;
use super::together::both;
use super::within::Within;

/// How many records of an answer are read.
const MOST: usize = 4_096;
/// After how long a name of the system's hosts file is looked up again.
const HOSTS: Duration = Duration::from_secs(5);

/// Asks name servers.
#[derive(Clone, Debug)]
pub(super) struct Client<R> {
    pub(super) runtime: R,
    /// The name of the source in errors: its URL.
    pub(super) url: Arc<str>,
    /// `None`: those of the system.
    pub(super) name_servers: Option<Arc<[SocketAddr]>>,
    pub(super) limit: Limit,
}

/// The connection to name servers during one look-up. A new one is made for each, so that a change of the system's
/// configuration is noticed, and nothing is open between look-ups.
pub(super) struct Session<'a, R: Runtime> {
    pub(super) client: &'a Client<R>,
    resolver: Arc<Resolver<Provider<R>>>,
    /// The domains that are appended to a relative name.
    search: Vec<Name>,
    hosts: Arc<Hosts>,
    /// From this instant on, the look-up waits for no more answers.
    pub(super) deadline: Instant,
}

/// The records of an answer.
#[derive(Clone, Debug)]
pub(super) struct Records<T> {
    pub(super) list: Vec<T>,
    /// How long they are valid. `None` if there are none.
    pub(super) valid: Option<Duration>,
}

pub(super) type Answer<T> = Result<Records<T>, NamingError>;

impl<R: Runtime> Client<R> {
    pub(super) fn new(runtime: R, url: Arc<str>) -> Self {
        Self { runtime, url, name_servers: None, limit: Limit::default() }
    }

    pub(super) async fn open(&self) -> Result<Session<'_, R>, NamingError> {
        let system = match &self.name_servers {
            Some(servers) => System::own(servers),
            None => System::read().await.map_err(|error| self.error(NamingErrorKind::Unreachable).because(error))?,
        };
        self.asking(system)
    }

    fn asking(&self, system: System) -> Result<Session<'_, R>, NamingError> {
        let System { name_servers, search, options, hosts } = system.within(self.limit.all_tries());
        // Only absolute names are asked for, so the resolver needs no domains.
        let config = ResolverConfig::from_name_servers(name_servers);
        let mut builder = Resolver::builder_with_config(config, Provider(Arc::new(self.runtime.clone())));
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| self.error(NamingErrorKind::Invalid).because(error))?;
        let deadline = self.runtime.now() + self.limit.last_answer();
        Ok(Session { client: self, resolver: Arc::new(resolver), search, hosts, deadline })
    }

    pub(super) fn error(&self, kind: NamingErrorKind) -> NamingError {
        NamingError::new(Arc::clone(&self.url), kind)
    }
}

impl<R: Runtime> Session<'_, R> {
    /// The IPv4 and the IPv6 addresses of a host. A relative name may stand for several names; the first that exists is
    /// used. The two families of a name are asked for at the same time. What is not answered by the deadline has
    /// failed.
    pub(super) async fn addresses(&self, host: &str, deadline: Instant) -> (Answer<IpAddr>, Answer<IpAddr>) {
        let names = match self.candidates(host, RecordType::A) {
            Ok((name, names)) => match self.in_hosts(&name) {
                Some(answers) => return answers,
                None => names,
            },
            Err(error) => return (Err(error.clone()), Err(error)),
        };
        for name in names {
            let (v4, v6) = self.both_families(&name, deadline).await;
            // Some servers say that a name does not exist if it has no IPv6 address. So what they say of IPv4 counts.
            if !is_not_found(&v4) || has_some(&v6) {
                return (or_none(v4), or_none(v6));
            }
        }
        let error = self.client.error(NamingErrorKind::NotFound).at(place(host, RecordType::A));
        (Err(error.clone()), Err(error))
    }

    async fn both_families(&self, name: &Name, deadline: Instant) -> (Answer<IpAddr>, Answer<IpAddr>) {
        let v4 = self.records(name, RecordType::A, deadline, |data| match data {
            RData::A(address) => Some(address.0.into()),
            _ => None,
        });
        let v6 = self.records(name, RecordType::AAAA, deadline, |data| match data {
            RData::AAAA(address) => Some(address.0.into()),
            _ => None,
        });
        let is_answer = |answer: &Answer<IpAddr>| answer.is_ok() || is_not_found(answer);
        let Client { runtime, limit, .. } = self.client;
        let (v4, v6) = both(runtime, limit.other_family(), is_answer, v4, v6).await;
        let late = |kind| move || Err(self.late(name, kind));
        (v4.unwrap_or_else(late(RecordType::A)), v6.unwrap_or_else(late(RecordType::AAAA)))
    }

    /// The SRV records of a name. A relative name may stand for several names; the first that exists is used.
    pub(super) async fn services(&self, name: &str) -> Answer<SRV> {
        let service = |data: &RData| match data {
            RData::SRV(service) => Some(service.clone()),
            _ => None,
        };
        for name in self.candidates(name, RecordType::SRV)?.1 {
            let answer = self.records(&name, RecordType::SRV, self.deadline, service).await;
            if !is_not_found(&answer) {
                return answer;
            }
        }
        Err(self.client.error(NamingErrorKind::NotFound).at(place(name, RecordType::SRV)))
    }

    /// A name as it was given, and the absolute names that it may stand for.
    fn candidates(&self, name: &str, kind: RecordType) -> Result<(Name, Vec<Name>), NamingError> {
        let parsed = Name::from_ascii(name)
            .map_err(|error| self.client.error(NamingErrorKind::Invalid).at(place(name, kind)).because(error))?;
        let names = candidates(&parsed, &self.search, self.resolver.options().ndots);
        Ok((parsed, names))
    }

    /// The addresses of a name in the system's hosts file. If the file has the name, no name server is asked.
    fn in_hosts(&self, name: &Name) -> Option<(Answer<IpAddr>, Answer<IpAddr>)> {
        let find = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let (v4, v6) = (find(RecordType::A), find(RecordType::AAAA));
        if v4.is_none() && v6.is_none() {
            return None;
        }
        let records = |found: Option<Lookup>| {
            let answers = found.iter().flat_map(|found| found.answers()).take(MOST);
            Ok(Records { list: answers.filter_map(|record| record.data.ip_addr()).collect(), valid: Some(HOSTS) })
        };
        Some((records(v4), records(v6)))
    }

    /// The records of an absolute name. The list is empty if the name exists but has no such records.
    async fn records<T>(
        &self,
        name: &Name,
        kind: RecordType,
        deadline: Instant,
        of: impl Fn(&RData) -> Option<T>,
    ) -> Answer<T> {
        let (resolver, runtime) = (Arc::clone(&self.resolver), &self.client.runtime);
        let asked = name.clone();
        let answer = Within::new(Arc::new(runtime.clone()), async move { resolver.lookup(asked, kind).await });
        match before(runtime, Some(deadline), answer).await {
            None => Err(self.late(name, kind)),
            Some(Ok(lookup)) => {
                let answers = lookup.answers().iter().take(MOST);
                let valid = answers.clone().map(|record| record.ttl).min();
                let list = answers.filter_map(|record| of(&record.data)).collect();
                Ok(Records { list, valid: valid.map(|ttl| Duration::from_secs(ttl.into())) })
            }
            Some(Err(error)) if error.is_no_records_found() && !error.is_nx_domain() => {
                Ok(Records { list: Vec::new(), valid: None })
            }
            Some(Err(error)) => {
                Err(self.client.error(kind_of(&error)).at(place(&name.to_ascii(), kind)).because(error))
            }
        }
    }

    /// The error of a name server that did not answer in time.
    fn late(&self, name: &Name, kind: RecordType) -> NamingError {
        self.client.error(NamingErrorKind::TimedOut).at(place(&name.to_ascii(), kind))
    }
}

/// The text that names a question in errors, such as `A of db1`.
fn place(name: &str, kind: RecordType) -> String {
    format!("{kind} of {}", name.strip_suffix('.').unwrap_or(name))
}

fn is_not_found<T>(answer: &Answer<T>) -> bool {
    matches!(answer, Err(error) if error.kind() == NamingErrorKind::NotFound)
}

fn has_some<T>(answer: &Answer<T>) -> bool {
    matches!(answer, Ok(records) if !records.list.is_empty())
}

/// Replaces the error "no such name" by an empty list. This is for one family of a name that exists: it has no records
/// of this family.
fn or_none<T>(answer: Answer<T>) -> Answer<T> {
    if is_not_found(&answer) { Ok(Records { list: Vec::new(), valid: None }) } else { answer }
}

fn kind_of(error: &NetError) -> NamingErrorKind {
    match error {
        error if error.is_nx_domain() => NamingErrorKind::NotFound,
        NetError::Timeout => NamingErrorKind::TimedOut,
        NetError::Io(error) if error.kind() == io::ErrorKind::TimedOut => NamingErrorKind::TimedOut,
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => NamingErrorKind::Denied,
        NetError::Proto(_) => NamingErrorKind::Invalid,
        _ => NamingErrorKind::Unreachable,
    }
}

#[cfg(test)]
mod tests;
