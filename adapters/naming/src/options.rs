//! What the sources of a program have in common: [`Options`].

#[cfg(feature = "dns")]
use std::net::SocketAddr;
#[cfg(any(feature = "dns", all(feature = "http", feature = "serde")))]
use std::sync::Arc;

use hedge_core::bounded::BoundedSpan;
use hedge_link::BoxResolve;

#[cfg(feature = "dns")]
use crate::dns::LookupTimeout;
#[cfg(feature = "http")]
use crate::over_http::OptionsNumber;

/// How often a source looks for changes, in \[100 ms, 1 h\].
pub type PollInterval = BoundedSpan<100, 3_600_000>;

/// The options of sources. Sources with different options are not shared.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Options {
    /// Resolves the names of `http://` and `https://`.
    pub(crate) resolver: BoxResolve,
    /// How often files are looked at. `None`: as [`FileNaming`](crate::FileNaming) says.
    pub(crate) file_every: Option<PollInterval>,
    /// How often the addresses of `http://` and `https://` are looked up. `None`: as
    /// [`HostNaming`](crate::HostNaming) says.
    pub(crate) host_every: Option<PollInterval>,
    /// The name servers of `dns://` and `srv://`. `None`: the system's.
    #[cfg(feature = "dns")]
    pub(crate) name_servers: Option<Arc<[SocketAddr]>>,
    /// How long a look-up of `dns://` or `srv://` may take. `None`: as [`DnsNaming`](crate::DnsNaming) says.
    #[cfg(feature = "dns")]
    pub(crate) lookup_timeout: Option<LookupTimeout>,
    /// The options of the sources over HTTP.
    #[cfg(feature = "http")]
    pub(crate) over_http: OptionsNumber,
    /// What a file has changed in the options of the sources over HTTP.
    #[cfg(all(feature = "http", feature = "serde"))]
    pub(crate) over_http_file: Option<Arc<hedge_link::SourcesConfig>>,
}
