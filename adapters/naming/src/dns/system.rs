//! How name servers are asked: by the system's files, or as the program says it: [`System`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use hedge_core::time::Duration;
use hedge_link::Blocking;
use hickory_resolver::Hosts;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf;

/// How long a request to one of the program's own name servers may take. For the system's name servers, the system's
/// configuration sets this time.
const REQUEST: Duration = Duration::from_secs(2);
/// How often a request may be repeated.
const MOST_REPEATS: usize = 5;
/// The name server that is asked if the system's files name none.
const OWN_HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

/// How name servers are asked.
#[derive(Clone)]
pub(super) struct System {
    pub(super) name_servers: Vec<NameServerConfig>,
    /// The domains that are appended to a relative name, in their order.
    pub(super) search: Vec<Name>,
    pub(super) options: ResolverOpts,
    pub(super) hosts: Arc<Hosts>,
}

impl System {
    /// The program's own name servers. No domain is appended, and no file is read.
    pub(super) fn own(servers: &[SocketAddr]) -> Self {
        let at = |server: &SocketAddr| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let with_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            NameServerConfig::new(server.ip(), true, connections.into_iter().map(with_port).collect())
        };
        let mut options = ResolverOpts::default();
        options.timeout = REQUEST;
        let config = ResolverConfig::from_name_servers(servers.iter().map(at).collect());
        Self::new(config, options, Arc::default())
    }

    /// Reads the system's files, on a thread.
    pub(super) async fn read() -> io::Result<Self> {
        static PROCESS: LazyLock<Blocking<(), System>> = LazyLock::new(|| {
            Blocking::new("hedge-dns", |()| {
                let hosts = Arc::new(Hosts::from_system().unwrap_or_default());
                match read_config() {
                    Ok((config, options)) => Ok(System::new(config, options, hosts)),
                    // As the system's own resolver does.
                    Err(NetError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                        Ok(System { hosts, ..System::own(&[OWN_HOST]) })
                    }
                    Err(error) => Err(io::Error::other(error)),
                }
            })
        });

        PROCESS.run(()).await
    }

    fn new(config: ResolverConfig, mut options: ResolverOpts, hosts: Arc<Hosts>) -> Self {
        let (domain, mut search, name_servers) = config.into_parts();
        if search.is_empty() {
            search.extend(domain);
        }
        // What is valid is remembered by the list itself.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.attempts = options.attempts.min(MOST_REPEATS);
        Self { name_servers, search, options, hosts }
    }

    /// Limits how long all tries of a request may take together.
    pub(super) fn within(mut self, all_tries: Duration) -> Self {
        let tries = u32::try_from(self.options.attempts).unwrap_or(u32::MAX).saturating_add(1);
        self.options.timeout = self.options.timeout.min(all_tries / tries);
        self
    }
}

#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
fn read_config() -> Result<(ResolverConfig, ResolverOpts), NetError> {
    parse_config(std::fs::read("/etc/resolv.conf")?)
}

/// Parses the text of `resolv.conf`. If it names no name server, the one on this host is asked, as the system's own
/// resolver does.
#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
fn parse_config(mut text: Vec<u8>) -> Result<(ResolverConfig, ResolverOpts), NetError> {
    system_conf::parse_resolv_conf(&text).or_else(|_| {
        text.extend_from_slice(format!("\nnameserver {}\n", OWN_HOST.ip()).as_bytes());
        system_conf::parse_resolv_conf(&text)
    })
}

#[cfg(not(all(unix, not(any(target_os = "android", target_vendor = "apple")))))]
fn read_config() -> Result<(ResolverConfig, ResolverOpts), NetError> {
    system_conf::read_system_conf()
}

#[cfg(test)]
#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
mod tests {
    use super::super::limit::{Limit, LookupTimeout};
    use super::*;

    fn parse(text: &str) -> System {
        let (config, options) = parse_config(text.into()).unwrap();
        System::new(config, options, Arc::default())
    }

    #[test]
    fn n1_without_a_name_server_the_one_on_this_host_is_asked() {
        for text in ["", "search a.test b.test\n", "search a.test b.test\nnameserver nonsense"] {
            let system = parse(text);
            assert_eq!(system.name_servers[0].ip, OWN_HOST.ip(), "{text}");
            assert_eq!(system.name_servers.len(), 1, "{text}");
        }
        let search: Vec<_> = parse("search a.test b.test\n").search.iter().map(Name::to_ascii).collect();
        assert_eq!(search, ["a.test", "b.test"]);
        assert_eq!(parse("nameserver 10.0.0.1\n").name_servers[0].ip.to_string(), "10.0.0.1");
    }

    #[test]
    fn n1_all_tries_of_a_request_end_before_the_look_up_must() {
        let limit = Limit::default();
        for (text, attempts, timeout) in [
            ("", 2, Duration::from_secs(8) / 3),
            ("options timeout:1 attempts:3", 3, Duration::from_secs(1)),
            ("options timeout:30 attempts:1", 1, Duration::from_secs(4)),
            ("options timeout:30 attempts:100", 5, Duration::from_secs(8) / 6),
        ] {
            let options = parse(text).within(limit.all_tries()).options;
            assert_eq!((options.attempts, options.timeout), (attempts, timeout), "{text}");
        }
        let own = System::own(&[OWN_HOST]).within(limit.all_tries()).options;
        assert_eq!((own.attempts, own.timeout), (2, Duration::from_secs(2)));
        let short = Limit::new(LookupTimeout::of_millis::<300>());
        assert_eq!(System::own(&[OWN_HOST]).within(short.all_tries()).options.timeout, Duration::from_millis(80));
    }
}
