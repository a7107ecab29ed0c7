//! The sources of this build, by their schemes: [`Sources`].

#[cfg(feature = "dns")]
use std::net::SocketAddr;
use std::sync::Arc;

use hedge_fleet::{BoxNaming, Follower, Naming, NamingError, PauseRange, SchemeError, Schemes};
use hedge_link::{BoxResolve, Runtime};

#[cfg(feature = "http")]
use crate::consul::Consul;
#[cfg(feature = "dns")]
use crate::dns::{DnsNaming, LookupTimeout, SrvNaming};
#[cfg(feature = "http")]
use crate::etcd::Etcd;
use crate::file::FileNaming;
use crate::host::HostNaming;
#[cfg(all(feature = "http", feature = "_tls"))]
use crate::kubernetes::Kubernetes;
use crate::options::{Options, PollInterval};
#[cfg(feature = "http")]
use crate::over_http::{OptionsNumber, OverHttp};
#[cfg(feature = "http")]
use crate::remotefile::RemoteFile;
use crate::shared::Shared;

/// The sources of this build, on one runtime: `file`, `http` and `https`. The feature `dns` adds `dns` and `srv`. The
/// feature `http` adds `etcd`, `consul` and `remotefile`, and together with a feature of TLS, `kubernetes`.
///
/// Channels on one runtime that name one URL share one watcher, if their options are the same too
/// ([N6](hedge_core::rules#N6)). It starts with the first wait for a list, and ends with the last channel.
///
/// ```
/// # use hedge_link::Runtime;
/// # fn open<R: Runtime>(runtime: R) -> Result<(), Box<dyn std::error::Error>> {
/// use hedge_naming::Sources;
///
/// let schemes = Sources::new(runtime).schemes();
/// let name = schemes.open("file:///etc/servers")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Sources<R> {
    runtime: R,
    pub(crate) options: Options,
    /// The pauses after errors.
    pauses: PauseRange,
    #[cfg(feature = "http")]
    pub(crate) over_http: OverHttp<R>,
}

impl<R: Runtime> Sources<R> {
    /// The sources with the default options.
    pub fn new(runtime: R) -> Self {
        Self {
            #[cfg(feature = "http")]
            over_http: OverHttp::new(&runtime),
            options: Options::default(),
            pauses: Follower::PAUSES,
            runtime,
        }
    }

    /// Resolves the names of `http://` and `https://` by this resolver. Default: the operating system's.
    #[must_use]
    pub fn resolver(mut self, resolver: BoxResolve) -> Self {
        self.options.resolver = resolver;
        self
    }

    /// How long a channel waits after a source has failed, before it asks the source again: [`PauseRange`]. It applies
    /// to every source of the channel. Default: 0.5 s to 10 s ([N2](hedge_core::rules#N2)).
    #[must_use]
    pub const fn retry(mut self, pauses: PauseRange) -> Self {
        self.pauses = pauses;
        self
    }

    /// How long a channel waits after a source has failed, before it asks the source again.
    #[must_use]
    pub const fn pauses(&self) -> PauseRange {
        self.pauses
    }

    /// How often the files of `file://` are looked at. Default: every second.
    #[must_use]
    pub const fn file_every(mut self, time: PollInterval) -> Self {
        self.options.file_every = Some(time);
        self
    }

    /// How often the addresses of `http://` and `https://` are looked up. Default: every 5 s.
    #[must_use]
    pub const fn host_every(mut self, time: PollInterval) -> Self {
        self.options.host_every = Some(time);
        self
    }

    /// How long one look-up of `dns://` or `srv://` may take: [`DnsNaming::timeout`]. If no name server answers, the
    /// error comes shortly before this time is over. Default: 10 s.
    #[cfg(feature = "dns")]
    #[must_use]
    pub const fn lookup_timeout(mut self, time: LookupTimeout) -> Self {
        self.options.lookup_timeout = Some(time);
        self
    }

    /// Asks these name servers for `dns://` and `srv://`, and reads no file of the system. Default: those that the system
    /// uses, as `/etc/resolv.conf` says.
    #[cfg(feature = "dns")]
    #[must_use]
    pub fn name_servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.options.name_servers = Some(servers.into_iter().collect());
        self
    }

    /// Opens the sources of `etcd://` with these options. They share no watcher with sources that have other options.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn etcd(self, etcd: Etcd<R>) -> Self {
        self.with_over_http(|sources| sources.etcd = etcd)
    }

    /// Opens the sources of `consul://` with these options. They share no watcher with sources that have other options.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn consul(self, consul: Consul<R>) -> Self {
        self.with_over_http(|sources| sources.consul = consul)
    }

    /// Opens the sources of `kubernetes://` with these options. They share no watcher with sources that have other
    /// options.
    #[cfg(all(feature = "http", feature = "_tls"))]
    #[must_use]
    pub fn kubernetes(self, kubernetes: Kubernetes<R>) -> Self {
        self.with_over_http(|sources| sources.kubernetes = kubernetes)
    }

    /// Opens the sources of `remotefile://` with these options. They share no watcher with sources that have other
    /// options.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn remote_file(self, file: RemoteFile<R>) -> Self {
        self.with_over_http(|sources| sources.remote_file = file)
    }

    #[cfg(feature = "http")]
    fn with_over_http(mut self, change: impl FnOnce(&mut OverHttp<R>)) -> Self {
        change(&mut self.over_http);
        self.options.over_http = OptionsNumber::next();
        self
    }

    /// The table of these schemes, and of `list`. Schemes that this build leaves out are in it too: their error names the
    /// feature.
    #[must_use]
    pub fn schemes(&self) -> Schemes {
        let table = self.try_schemes();
        // The names are valid and differ, which a test shows.
        table.unwrap_or_default()
    }

    fn try_schemes(&self) -> Result<Schemes, SchemeError> {
        let table = Schemes::new();
        let table = self.with(table, "file", |own, rest| {
            let source = FileNaming::parse(own.runtime.clone(), rest)?;
            Ok(with_if(source, own.options.file_every, FileNaming::every))
        })?;
        let table = self.with(table, "http", |own, rest| own.host("http", rest, 80))?;
        let table = self.with(table, "https", |own, rest| own.host("https", rest, 443))?;
        self.http(self.dns(table)?)
    }

    #[cfg(feature = "dns")]
    fn dns(&self, table: Schemes) -> Result<Schemes, SchemeError> {
        let table = self.with(table, "dns", |own, rest| {
            let source = DnsNaming::parse(own.runtime.clone(), rest)?.asking(own.options.name_servers.clone());
            Ok(with_if(source, own.options.lookup_timeout, DnsNaming::timeout))
        })?;
        self.with(table, "srv", |own, rest| {
            let source = SrvNaming::parse(own.runtime.clone(), rest)?.asking(own.options.name_servers.clone());
            Ok(with_if(source, own.options.lookup_timeout, SrvNaming::timeout))
        })
    }

    #[cfg(not(feature = "dns"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    fn dns(&self, table: Schemes) -> Result<Schemes, SchemeError> {
        table.without("dns", "naming-dns")?.without("srv", "naming-dns")
    }

    #[cfg(feature = "http")]
    fn http(&self, table: Schemes) -> Result<Schemes, SchemeError> {
        let table = self.with(table, "etcd", |own, rest| own.over_http.etcd.open(rest))?;
        let table = self.with(table, "consul", |own, rest| own.over_http.consul.open(rest))?;
        let table = self.with(table, "remotefile", |own, rest| own.over_http.remote_file.open(rest))?;
        #[cfg(feature = "_tls")]
        return self.with(table, "kubernetes", |own, rest| own.over_http.kubernetes.open(rest));
        #[cfg(not(feature = "_tls"))]
        table.without("kubernetes", "tls or tls-aws-lc")
    }

    #[cfg(not(feature = "http"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    fn http(&self, table: Schemes) -> Result<Schemes, SchemeError> {
        let schemes = ["etcd", "consul", "remotefile", "kubernetes"];
        schemes.into_iter().try_fold(table, |table, scheme| table.without(scheme, "naming-http"))
    }

    fn host(&self, scheme: &str, rest: &str, port: u16) -> Result<HostNaming<R>, NamingError> {
        let source = HostNaming::parse(self.runtime.clone(), scheme, rest, port)?;
        Ok(with_if(source.resolver(self.options.resolver.clone()), self.options.host_every, HostNaming::every))
    }

    /// Adds a scheme whose sources are shared. `parse` opens one.
    fn with<N: Naming>(
        &self,
        table: Schemes,
        scheme: &'static str,
        parse: impl Fn(&Self, &str) -> Result<N, NamingError> + Send + Sync + 'static,
    ) -> Result<Schemes, SchemeError> {
        let (own, parse) = (self.clone(), Arc::new(parse));
        table.with(scheme, move |rest| {
            // What is wrong with the URL is said at once.
            parse(&own, rest)?;
            let (sources, parse, text) = (own.clone(), Arc::clone(&parse), Box::<str>::from(rest));
            let url = format!("{scheme}://{rest}");
            let open = move || parse(&sources, &text).map(BoxNaming::new);
            Ok(BoxNaming::new(Shared::new(own.runtime.clone(), url, own.options.clone(), open)))
        })
    }
}

/// Sets an option of a source, if it is given.
fn with_if<S, T>(source: S, value: Option<T>, set: impl FnOnce(S, T) -> S) -> S {
    match value {
        Some(value) => set(source, value),
        None => source,
    }
}

/// The table of the sources of this build, with the default options: [`Sources::schemes`].
#[must_use]
pub fn schemes<R: Runtime>(runtime: &R) -> Schemes {
    Sources::new(runtime.clone()).schemes()
}
