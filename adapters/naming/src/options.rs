//! What the sources of a program have in common: [`Options`].

#[cfg(feature = "dns")]
use std::net::SocketAddr;
#[cfg(feature = "dns")]
use std::sync::Arc;

use hedge_link::BoxResolve;

#[cfg(feature = "http")]
use crate::over_http::OptionsNumber;

/// The options of sources. Sources with different options are not shared.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Options {
    /// Resolves the names of `http://` and `https://`.
    pub(crate) resolver: BoxResolve,
    /// The name servers of `dns://` and `srv://`. `None`: the system's.
    #[cfg(feature = "dns")]
    pub(crate) name_servers: Option<Arc<[SocketAddr]>>,
    /// The options of the sources over HTTP.
    #[cfg(feature = "http")]
    pub(crate) over_http: OptionsNumber,
}
