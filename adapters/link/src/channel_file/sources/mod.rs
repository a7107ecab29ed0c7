//! The options of sources of servers, as a file describes them: [`SourcesConfig`].

mod fields;
mod over_http;
#[cfg(feature = "_tls")]
mod tls;

use std::fmt;
use std::net::SocketAddr;

use hedge_core::bounded::BoundedSpan;
use hedge_fleet::PauseRange;
use serde::Deserialize;

pub use self::over_http::{
    ConsulSourceConfig, EtcdSourceConfig, HttpSourceConfig, KubernetesSourceConfig, RemoteFileSourceConfig,
};
#[cfg(feature = "_tls")]
pub use self::tls::SourceTlsConfig;
#[cfg(feature = "_tls")]
use super::TlsFileError;
#[cfg(feature = "_tls")]
use crate::tls::TlsConfigError;

/// The options of the sources of servers. A source is what `servers` names by a URL, such as `file:///etc/servers` or
/// `dns://users:80`. A field that is absent or null changes nothing. All values are checked when the file is read.
///
/// | field | value | default |
/// |---|---|---|
/// | `retry` | `{"min": …, "max": …}`: the pauses before a source that has failed is asked again, [`PauseRange`] | 500 ms, 10 s |
/// | `file.every` | how often a file is looked at, in \[100 ms, 1 h\] | 1 s |
/// | `host.every` | how often the addresses of `http://` and `https://` are looked up, in \[100 ms, 1 h\] | 5 s |
/// | `dns.name_servers` | 1 to 16 name servers, such as `["10.0.0.53"]` or `["10.0.0.53:5353"]` | the system's |
/// | `dns.timeout` | how long one look-up may take, in \[100 ms, 60 s\] | 10 s |
/// | `http` | what all sources over HTTP have in common: [`HttpSourceConfig`] | |
/// | `etcd` | [`EtcdSourceConfig`] | |
/// | `consul` | [`ConsulSourceConfig`] | |
/// | `kubernetes` | [`KubernetesSourceConfig`] | |
/// | `remotefile` | [`RemoteFileSourceConfig`] | |
///
/// The waits between two looks are random: 0.8 to 1.2 times `every`.
///
/// A file never holds a credential. It names the file that holds it, such as `etcd.password_file`.
///
/// ```
/// use hedge_link::ChannelFile;
///
/// let text = r#"{
///     "servers": "etcd://10.0.0.5:2379/services/users",
///     "sources": {
///         "retry": {"min": "1s", "max": "30s"},
///         "http": {"answer_timeout": "10s", "max_answer": 1000000},
///         "etcd": {"user": "reader", "password_file": "/run/secrets/etcd", "check_every": "10s"}
///     }
/// }"#;
/// let config: ChannelFile = serde_json::from_str(text)?;
/// assert_eq!(config.sources.etcd.user.as_deref(), Some("reader"));
///
/// let text = r#"{"sources": {"dns": {"timeout": "2h"}}}"#;
/// let error = serde_json::from_str::<ChannelFile>(text).unwrap_err().to_string();
/// assert!(error.starts_with("sources.dns.timeout \"2h\": must be a duration"), "{error}");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SourcesConfig {
    /// The pauses before a source that has failed is asked again. They apply to every source of the channel.
    #[serde(deserialize_with = "fields::retry")]
    pub retry: Option<PauseRange>,
    /// The sources of `file://`.
    #[serde(deserialize_with = "fields::file")]
    pub file: FileSourceConfig,
    /// The sources of `http://` and `https://`.
    #[serde(deserialize_with = "fields::host")]
    pub host: HostSourceConfig,
    /// The sources of `dns://` and `srv://`.
    #[serde(deserialize_with = "fields::dns")]
    pub dns: DnsSourceConfig,
    /// What all sources over HTTP have in common.
    #[serde(deserialize_with = "fields::http")]
    pub http: HttpSourceConfig,
    /// The sources of `etcd://`.
    #[serde(deserialize_with = "fields::etcd")]
    pub etcd: EtcdSourceConfig,
    /// The sources of `consul://`.
    #[serde(deserialize_with = "fields::consul")]
    pub consul: ConsulSourceConfig,
    /// The sources of `kubernetes://`.
    #[serde(deserialize_with = "fields::kubernetes")]
    pub kubernetes: KubernetesSourceConfig,
    /// The sources of `remotefile://`.
    #[serde(deserialize_with = "fields::remotefile")]
    pub remotefile: RemoteFileSourceConfig,
}

/// The options of `file://`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FileSourceConfig {
    /// How often the file is looked at. Absent: every second.
    #[serde(deserialize_with = "fields::file_every")]
    pub every: Option<BoundedSpan<100, 3_600_000>>,
}

/// The options of `http://` and `https://` as sources.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HostSourceConfig {
    /// How often the addresses are looked up. Absent: every 5 s.
    #[serde(deserialize_with = "fields::host_every")]
    pub every: Option<BoundedSpan<100, 3_600_000>>,
}

/// The options of `dns://` and `srv://`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DnsSourceConfig {
    /// The name servers, from 1 to 16. The port is 53 if it is absent. Absent: those of the system.
    #[serde(deserialize_with = "fields::name_servers")]
    pub name_servers: Option<Box<[SocketAddr]>>,
    /// How long one look-up may take. A source whose name servers do not answer fails after about this time. Absent: 10 s.
    #[serde(deserialize_with = "fields::dns_timeout")]
    pub timeout: Option<BoundedSpan<100, 60_000>>,
}

/// Why the options of sources cannot be used.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum SourcesConfigError {
    /// A field is there without another field that it needs.
    Alone {
        /// The field that is there.
        there: &'static str,
        /// The field that is missing.
        missing: &'static str,
    },
    /// This build does not have the source to which the field belongs.
    NeedsFeature {
        /// The field.
        field: &'static str,
        /// The feature, by its name in hedge-tokio, hedge-smol and hedge-net.
        feature: &'static str,
    },
    /// The files of `sources.http.tls` cannot be used.
    #[cfg(feature = "_tls")]
    Tls(TlsFileError),
    /// A name that certificates cannot have.
    #[cfg(feature = "_tls")]
    Name {
        /// The field.
        field: &'static str,
        /// What is wrong.
        error: TlsConfigError,
    },
}

impl fmt::Display for SourcesConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone { there, missing } => write!(f, "{there}: needs {missing}"),
            Self::NeedsFeature { field, feature } => write!(f, "{field}: needs the feature {feature}"),
            // Its text begins with the field, such as `tls.roots`.
            #[cfg(feature = "_tls")]
            Self::Tls(error) => write!(f, "sources.http.{error}"),
            #[cfg(feature = "_tls")]
            Self::Name { field, error } => write!(f, "{field}: {error}"),
        }
    }
}

impl std::error::Error for SourcesConfigError {}

#[cfg(test)]
mod tests;
