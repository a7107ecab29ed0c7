//! The sources over HTTP that [`Sources`](crate::Sources) opens: [`OverHttp`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use hedge_link::Runtime;
#[cfg(feature = "serde")]
use hedge_link::{SourcesConfig, SourcesConfigError};

use crate::consul::Consul;
use crate::etcd::Etcd;
#[cfg(feature = "_tls")]
use crate::kubernetes::Kubernetes;
use crate::remotefile::RemoteFile;

/// The sources over HTTP, with their options.
#[derive(Clone)]
pub(crate) struct OverHttp<R> {
    pub(crate) etcd: Etcd<R>,
    pub(crate) consul: Consul<R>,
    #[cfg(feature = "_tls")]
    pub(crate) kubernetes: Kubernetes<R>,
    pub(crate) remote_file: RemoteFile<R>,
}

impl<R: Runtime> OverHttp<R> {
    /// The sources with the default options.
    pub(crate) fn new(runtime: &R) -> Self {
        Self {
            etcd: Etcd::new(runtime.clone()),
            consul: Consul::new(runtime.clone()),
            #[cfg(feature = "_tls")]
            kubernetes: Kubernetes::new(runtime.clone()),
            remote_file: RemoteFile::new(runtime.clone()),
        }
    }
}

#[cfg(feature = "serde")]
impl<R: Runtime> OverHttp<R> {
    /// Applies the options of a file. The certificates are read here, which blocks.
    pub(crate) fn apply(&mut self, config: &SourcesConfig) -> Result<(), SourcesConfigError> {
        self.etcd.apply(&config.etcd)?;
        self.consul.apply(&config.consul);
        self.remote_file.apply(&config.remotefile);
        let etcd = &mut self.etcd.common.http;
        let (consul, remote_file) = (&mut self.consul.common.http, &mut self.remote_file.common.http);
        #[cfg(feature = "_tls")]
        {
            self.kubernetes.apply(&config.kubernetes)?;
            let tls = config.http.tls.as_ref().map(hedge_link::SourceTlsConfig::read).transpose()?;
            let kubernetes = &mut self.kubernetes.common.http;
            for options in [etcd, consul, remote_file, kubernetes] {
                options.apply(&config.http);
                if let Some((tls, name)) = &tls {
                    *options = options.clone().tls(tls.clone(), name.clone());
                }
            }
        }
        #[cfg(not(feature = "_tls"))]
        {
            if config.kubernetes != hedge_link::KubernetesSourceConfig::default() {
                let feature = "tls or tls-aws-lc";
                return Err(SourcesConfigError::NeedsFeature { field: "sources.kubernetes", feature });
            }
            for options in [etcd, consul, remote_file] {
                options.apply(&config.http);
            }
        }
        Ok(())
    }
}

impl<R> fmt::Debug for OverHttp<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverHttp").finish_non_exhaustive()
    }
}

/// Identifies the options of the sources over HTTP. Sources share a watcher only if their numbers are equal. The options
/// themselves are not compared, since they hold credentials.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct OptionsNumber(u64);

impl OptionsNumber {
    /// Returns a number that differs from all others of the process. The number of the default options is 0.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }
}
